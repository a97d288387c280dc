//! When things happen: mornings and evenings, working days and Sundays.

use schemas::Millis;
use schemas::time::HOUR_MS;

/// Activity by hour of the day, UTC: a European working day with a quiet night and an evening bump.
const BY_HOUR: [f64; 24] = [
    0.18, 0.12, 0.09, 0.08, 0.10, 0.20, 0.45, 0.85, 1.20, 1.40, 1.45, 1.35, 1.15, 1.30, 1.40, 1.35,
    1.20, 1.00, 0.90, 0.95, 0.90, 0.75, 0.50, 0.30,
];
/// Activity by day of the week, Monday first.
const BY_WEEKDAY: [f64; 7] = [1.15, 1.20, 1.18, 1.12, 1.00, 0.55, 0.48];

/// Part of an hour, and how many events fall into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) from: Millis,
    pub(super) to: Millis,
    pub(super) events: u64,
}

/// Spreads a number of events over a span of time; the slots' events sum to exactly that number.
pub(super) struct Rhythm {
    at: Millis,
    to: Millis,
    events: u64,
    given: u64,
    weight_total: f64,
    weight_given: f64,
}

impl Rhythm {
    pub(super) fn new(from: Millis, to: Millis, events: u64) -> Self {
        let to = to.max(from.plus(1));
        let mut rhythm =
            Self { at: from, to, events, given: 0, weight_total: 0.0, weight_given: 0.0 };
        let mut at = from;
        while at < to {
            let end = rhythm.slot_end(at);
            rhythm.weight_total += weight(at, end);
            at = end;
        }
        rhythm
    }

    fn slot_end(&self, at: Millis) -> Millis {
        at.truncate(HOUR_MS).plus(HOUR_MS).min(self.to)
    }
}

impl Iterator for Rhythm {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        if self.at >= self.to {
            return None;
        }
        let (from, to) = (self.at, self.slot_end(self.at));
        self.weight_given += weight(from, to);
        self.at = to;
        // The weights were added up in the same order before, so the last share is exactly the whole.
        let due = share(self.events, self.weight_given / self.weight_total);
        let events = due.saturating_sub(self.given);
        self.given += events;
        Some(Slot { from, to, events })
    }
}

/// `events × part`, rounded down and never more than `events`.
fn share(events: u64, part: f64) -> u64 {
    #[expect(clippy::cast_precision_loss, reason = "a share of a count needs no exact float")]
    let due = events as f64 * part.clamp(0.0, 1.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and events"
    )]
    let due = due as u64;
    due.min(events)
}

fn weight(from: Millis, to: Millis) -> f64 {
    let hour = usize::try_from(from.0.div_euclid(HOUR_MS).rem_euclid(24)).unwrap_or(0);
    // 1970-01-01 was a Thursday.
    let weekday = usize::try_from((i64::from(from.day()) + 3).rem_euclid(7)).unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "at most an hour of milliseconds")]
    let length = (to.0 - from.0) as f64;
    BY_HOUR[hour] * BY_WEEKDAY[weekday] * length
}

#[cfg(test)]
mod tests {
    use schemas::time::DAY_MS;

    use super::*;

    #[test]
    fn every_event_falls_into_one_slot() {
        for (events, length) in [(0, DAY_MS), (1, 1), (17, HOUR_MS + 5), (100_000, 30 * DAY_MS)] {
            let from = Millis(1_700_000_123_456);
            let slots: Vec<Slot> = Rhythm::new(from, from.plus(length), events).collect();
            assert_eq!(slots.iter().map(|slot| slot.events).sum::<u64>(), events);
            assert_eq!(slots[0].from, from);
            assert_eq!(slots[slots.len() - 1].to, from.plus(length));
            assert!(slots.windows(2).all(|pair| pair[0].to == pair[1].from));
        }
    }

    #[test]
    fn nights_and_sundays_are_quiet() {
        // 2024-05-06 is a Monday.
        let monday = Millis::parse("2024-05-06T00:00:00Z").unwrap();
        let slots: Vec<Slot> = Rhythm::new(monday, monday.plus(7 * DAY_MS), 100_000).collect();
        assert!(
            slots[10].events > 5 * slots[3].events,
            "ten in the morning against three at night"
        );
        let day = |day: usize| slots[day * 24..][..24].iter().map(|slot| slot.events).sum::<u64>();
        assert!(day(1) > 2 * day(6), "Tuesday against Sunday");
    }
}
