// What the service answers, and how it is asked. Only the service that served this page is ever asked.

/** Length of the periods of a statistic. */
export type Every = "hour" | "day" | "week" | "epoch";

/** A measure's column: what it is of, and in which unit. */
export interface Column {
  /** As rows have it: `p95_duration`. */
  name: string;
  measure: "contributors" | "events" | "unattributed_events" | "sum" | "mean" | "share" | "quantile";
  /** Field that it is of; null of contributors and events. */
  field: string | null;
  unit: "ms" | "share" | null;
  /** What the field says, in the package's words. */
  about: string | null;
}

/** What may be asked of a statistic: an item of `GET /v1/statistics`. */
export interface Statistic {
  name: string;
  title: string;
  measures: string[];
  columns: Column[];
  groupings: string[][];
  every: Every;
  /** Length of a period; packages choose that of an epoch. */
  period_ms: number;
  /** End of the last released period; null before the first. */
  complete_until: string | null;
  /** When the next period closes. */
  closes_at: string | null;
  /** What contributors are called: "visitors". */
  contributors: string;
  /** Family that it is made of. */
  family: string;
  mechanism: string;
  min_contributors: number | null;
  rounding: number | null;
}

/** What protects an answer. */
export interface Privacy {
  mechanism: string;
  min_contributors?: number;
  rounding?: number;
  rho?: number;
  epsilon?: number;
  delta?: number;
  hidden_groups: boolean;
  note: string;
}

export type Row = { period_start: string; period_end: string } & Record<string, string | number | null>;

export interface Answer {
  complete_until: string | null;
  privacy: Privacy;
  rows: Row[];
  /** Beginnings of the periods in which something of the grouping is hidden, also of those without a row. */
  hidden_in: string[];
  /** Beginnings of the periods that were computed again after they had been released. */
  revised_in: string[];
}

/** A question in the words of `statistics.toml`. */
export interface Question {
  from: string;
  measures?: string[];
  by: string[];
  where?: Record<string, string>;
  between: [string, string];
}

/** Counts of one family since the service started; of what belongs to no family, if `family` is null. Every count is
 * rounded down to a multiple of `Live.rounding`, so that none tells of one device alone. */
export interface LiveFamily {
  family: string | null;
  /** Whether there was at least one event, taken or refused. */
  any: boolean;
  accepted: number;
  /** Accepted in the last 15 minutes. */
  recent: number;
  /** By reason; a reason that is there had at least one. */
  refused: Record<string, number>;
  /** Fields dropped because nobody declared them. */
  undeclared: number;
}

/** `GET /v1/live`. */
export interface Live {
  since: string;
  /** Truncated to the grain of its family; null before the first event. */
  last_event: string | null;
  /** Where events are posted, as senders reach it. */
  ingest: string;
  rounding: number;
  families: LiveFamily[];
}

/** A declared field: what comes in, and what is left of it. */
export interface PolicyField {
  name: string;
  about: string;
  category: string;
  /** Where its value comes from: "event", "address", "user agent", "url", … */
  source: string;
  /** What is kept, in words: "path, without query and identifiers"; null where nothing is. */
  kept: string | null;
  purposes: string[];
  /** From when on it is dropped. */
  expires: string | null;
}

export interface PolicyFamily {
  name: string;
  about?: string | null;
  /** What contributors are called. */
  called: string;
  /** How they are told apart, in words. */
  told: string;
  /** How long a pseudonym means anything. */
  epoch_ms: number;
  /** How long after it came a row is gone at the latest. */
  gone_after_ms: number;
  grain_ms: number;
  late_ms: number;
  /** What becomes of an event under a signal that is honoured. */
  under_signal: { means: string };
  fields: PolicyField[];
}

/** Counts of everything that was ever received, from the ledger. */
export interface Outcomes {
  family: string | null;
  received: number;
  /** Not refused: stored, second copies, expired and suppressed together, since what others sent decides among these. */
  taken: number;
  refused: Record<string, number>;
  notes: Record<string, number>;
  /** Of some notes, by declared word: fields nulled by purpose, refused names by category. */
  named?: Record<string, Record<string, number>>;
}

/** Keys of one use, from the ledger. */
export interface Keys {
  use: string;
  family: string | null;
  alive: number;
  destroyed: number;
  oldest_alive: string | null;
  last_destroyed: string | null;
}

/** `GET /v1/policy`: the package and the ledger, and no row. */
export interface Policy {
  controller: string;
  version: string;
  digest: string;
  residency: string | null;
  answer_within_days: number;
  purposes: { name: string; basis: string; source: string; notice: string }[];
  /** What is never taken, in words. */
  refused: string[];
  /** Signals that are honoured, and what they mean here. */
  signals: { name: string; means: string }[];
  families: PolicyFamily[];
  statistics: {
    name: string;
    title: string;
    every: Every;
    min_contributors: number | null;
    rounding: number | null;
    mechanism: string;
  }[];
  /** Counts of `outcomes` are rounded down to a multiple of this; a reason or note that is there had at least one. */
  rounding: number;
  keys: Keys[];
  outcomes: Outcomes[];
}

/** An answer that is none: with the service's own words where it had some. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Whether the token is not taken any more. Everything else passes, and is no reason to forget it. */
export function endsSession(error: unknown): error is Refused {
  return error instanceof Refused && (error.status === 401 || error.status === 403);
}

const AGE_MS = 60_000;
/** Who looks every few seconds has to know soon that nobody answers. */
const LIVE_MS = 10_000;

export class Api {
  private readonly answers = new Map<string, { at: number; answer: Promise<Answer> }>();

  constructor(readonly token: string) {}

  statistics(): Promise<Statistic[]> {
    return this.get("v1/statistics");
  }

  live(): Promise<Live> {
    return this.get("v1/live", { signal: AbortSignal.timeout(LIVE_MS) });
  }

  policy(): Promise<Policy> {
    return this.get("v1/policy");
  }

  /** Asks, or gives what was answered within the last minute. */
  ask(question: Question): Promise<Answer> {
    const key = JSON.stringify(question);
    const known = this.answers.get(key);
    if (known && Date.now() - known.at < AGE_MS) return known.answer;
    const answer = this.send("v1/query", question, "application/json").then((response) => response.json() as Promise<Answer>);
    this.answers.set(key, { at: Date.now(), answer });
    answer.catch(() => this.answers.delete(key));
    return answer;
  }

  async download(question: Question, mediaType: string): Promise<Blob> {
    return (await this.send("v1/query", question, mediaType)).blob();
  }

  private async get<T>(path: string, options: RequestInit = {}): Promise<T> {
    return (await this.request(path, options)).json() as Promise<T>;
  }

  private send(path: string, body: unknown, accept: string): Promise<Response> {
    return this.request(path, { method: "POST", body: JSON.stringify(body), headers: { Accept: accept } });
  }

  private async request(path: string, options: RequestInit): Promise<Response> {
    const headers = { ...options.headers, Authorization: `Bearer ${this.token}` };
    let response: Response;
    try {
      response = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
    } catch {
      throw new Refused(0, "The service cannot be reached.");
    }
    if (response.ok) return response;
    const said = await response.json().catch(() => null);
    const message = typeof said?.message === "string" ? said.message : `The service answered ${response.status}.`;
    throw new Refused(response.status, message);
  }
}
