// Periods and moments. Everything is UTC, as the statistics are.

import type { Every } from "./api";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

const date = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });
const dayOnly = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short" });
const clock = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hour: "2-digit", minute: "2-digit" });

export function day(time: number): string {
  return date.format(time);
}

/** A moment: the date alone at midnight. */
export function moment(time: number): string {
  return time % DAY_MS === 0 ? day(time) : `${dayOnly.format(time)}, ${clock.format(time)} UTC`;
}

/** A period by its beginning and end: "22 Nov 2026", "9 to 15 Nov 2026", "22 Nov, 04:00 UTC". */
export function period(start: number, end: number): string {
  if (end - start < DAY_MS) return moment(start) === day(start) ? `${day(start)}, 00:00 UTC` : moment(start);
  if (end - start === DAY_MS) return day(start);
  return range(start, end);
}

/** From the first day to the last, which is the one before `end`. */
export function range(start: number, end: number): string {
  const last = end - 1;
  if (day(start) === day(last)) return day(start);
  const [from, to] = [new Date(start), new Date(last)];
  const sameYear = from.getUTCFullYear() === to.getUTCFullYear();
  return `${sameYear ? dayOnly.format(start) : day(start)} to ${day(last)}`;
}

/** How long until: "in 21 h". */
export function distance(to: number, now: number): string {
  const away = Math.max(0, to - now);
  const text =
    away < 60_000
      ? `${Math.round(away / 1_000)} s`
      : away < HOUR_MS
        ? `${Math.round(away / 60_000)} min`
        : away < 2 * DAY_MS
          ? `${Math.round(away / HOUR_MS)} h`
          : `${Math.round(away / DAY_MS)} days`;
  return `in ${text}`;
}

/** A span in its largest whole unit: "2 hours", "28 days". */
export function span(ms: number): string {
  const [unit, length] = ms % DAY_MS === 0 ? ["day", DAY_MS] : ms % HOUR_MS === 0 ? ["hour", HOUR_MS] : ["minute", 60_000];
  const count = Math.round(ms / (length as number));
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

/** Words for periods: "day", "days". */
export function periods(every: Every, count: number): string {
  const word = every === "epoch" ? "period" : every;
  return count === 1 ? word : `${word}s`;
}

/** As questions write it: a date at midnight, else RFC 3339. */
export function iso(time: number): string {
  const text = new Date(time).toISOString();
  return time % DAY_MS === 0 ? text.slice(0, 10) : text.replace(".000Z", "Z");
}
