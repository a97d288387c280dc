//! Periods of a statistic, and when they close.
//!
//! A period closes when everything that may still count is committed: at its end plus the family's `late`. Rows
//! die 48 hours after their key epoch, though, and `late` may be longer (devices: 7 days). The last periods of
//! an epoch therefore close [`MARGIN_MS`] before their first rows die; what comes later than that is not in them.

use std::collections::BTreeSet;

use schemas::model::{Every, Family};
use schemas::time::{HOUR_MS, Millis, epoch_of, epoch_start};

/// How long before rows begin to die their periods are closed at the latest: 6 hours for a release to happen in.
pub const MARGIN_MS: i64 = 6 * HOUR_MS;

/// A span of event time, `start` included and `end` not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    /// When it begins.
    pub start: Millis,
    /// When the next one begins.
    pub end: Millis,
}

impl Period {
    /// The period of length `every` that holds `time`.
    #[must_use]
    pub fn holding(time: Millis, every: Every, family: &Family) -> Self {
        let start = every.start(time, family.epoch_days);
        Self { start, end: start.plus(every.length_ms(family.epoch_days)) }
    }

    /// The period that begins where this one ends.
    #[must_use]
    pub fn next(self, every: Every, family: &Family) -> Self {
        Self::holding(self.end, every, family)
    }

    /// The days, UTC, that it has a part in.
    pub fn days(self) -> impl Iterator<Item = i32> {
        self.start.day()..=self.end.plus(-1).day()
    }

    /// When everything that counts in it has been received: see the head of this file.
    #[must_use]
    pub fn closes_at(self, family: &Family) -> Millis {
        let epoch = epoch_of(self.end.plus(-1), family.epoch_days);
        let rows_die = epoch_start(epoch + 1, family.epoch_days).plus(family.grace_ms());
        self.end.plus(family.late_ms).min(rows_die.plus(-MARGIN_MS))
    }
}

/// The periods that have a part in one of `days`, in order of time.
pub fn touching(
    days: impl IntoIterator<Item = i32>,
    every: Every,
    family: &Family,
) -> BTreeSet<Period> {
    let mut periods = BTreeSet::new();
    for day in days {
        let mut period = Period::holding(Millis::of_day(day), every, family);
        while period.start < Millis::of_day(day.saturating_add(1)) {
            periods.insert(period);
            period = period.next(every, family);
        }
    }
    periods
}

/// The first period that closes after `now`.
#[must_use]
pub fn next_to_close(now: Millis, every: Every, family: &Family) -> Period {
    let length = every.length_ms(family.epoch_days);
    let long_closed = now.plus(-family.late_ms).plus(-2 * length);
    let mut period = Period::holding(long_closed, every, family);
    while period.closes_at(family) <= now {
        period = period.next(every, family);
    }
    period
}

#[cfg(test)]
mod tests {
    use schemas::model::{Contributor, ContributorSource, Flags, PurposeSet, Stated};
    use schemas::time::DAY_MS;

    use super::*;

    fn family(epoch_days: u32, late_ms: i64) -> Family {
        Family {
            name: "use".to_owned(),
            about: None,
            contributor: Contributor {
                source: ContributorSource::Visit,
                called: "devices".to_owned(),
            },
            epoch_days,
            grain_ms: HOUR_MS,
            late_ms,
            dedupe_window_ms: DAY_MS,
            purposes: PurposeSet::default(),
            flags: Flags::default(),
            kept_source: Stated::Assumed,
            fields: Vec::new(),
        }
    }

    fn at(text: &str) -> Millis {
        Millis::parse(text).expect("RFC 3339")
    }

    #[test]
    fn a_day_closes_late_after_its_end() {
        let web = family(1, 2 * HOUR_MS);
        let day = Period::holding(at("2024-05-17T13:00:00Z"), Every::Day, &web);
        assert_eq!(day.start, at("2024-05-17T00:00:00Z"));
        assert_eq!(day.closes_at(&web), at("2024-05-18T02:00:00Z"));
    }

    #[test]
    fn the_last_week_of_an_epoch_closes_before_its_rows_die() {
        let devices = family(28, 7 * DAY_MS);
        let epoch = epoch_start(epoch_of(at("2024-05-17T00:00:00Z"), 28), 28);
        let first = Period::holding(epoch, Every::Week, &devices);
        assert_eq!(first.closes_at(&devices), first.end.plus(7 * DAY_MS));
        let last = Period::holding(epoch.plus(27 * DAY_MS), Every::Week, &devices);
        let rows_die = epoch.plus(30 * DAY_MS);
        assert_eq!(last.closes_at(&devices), rows_die.plus(-MARGIN_MS));
        let whole = Period::holding(epoch, Every::Epoch, &devices);
        assert_eq!(whole.closes_at(&devices), rows_die.plus(-MARGIN_MS));
    }

    #[test]
    fn days_give_the_periods_that_they_have_a_part_in() {
        let devices = family(28, DAY_MS);
        let wednesday = at("2024-05-15T00:00:00Z").day();
        let weeks = touching([wednesday, wednesday + 1, wednesday + 7], Every::Week, &devices);
        let starts: Vec<_> = weeks.iter().map(|week| week.start.to_string()).collect();
        assert_eq!(starts, ["2024-05-13T00:00:00.000Z", "2024-05-20T00:00:00.000Z"]);
        assert_eq!(touching([wednesday], Every::Hour, &devices).len(), 24);
        assert_eq!(touching([wednesday], Every::Epoch, &devices).len(), 1);
    }

    #[test]
    fn a_period_of_hours_has_one_day_and_a_week_seven() {
        let devices = family(28, DAY_MS);
        let hour = Period::holding(at("2024-05-15T23:30:00Z"), Every::Hour, &devices);
        assert_eq!(hour.days().count(), 1);
        let week = Period::holding(at("2024-05-15T23:30:00Z"), Every::Week, &devices);
        assert_eq!(week.days().count(), 7);
    }

    #[test]
    fn the_next_to_close_is_the_first_that_is_open() {
        let web = family(1, 2 * HOUR_MS);
        let before = next_to_close(at("2024-05-18T01:59:59Z"), Every::Day, &web);
        assert_eq!(before.start, at("2024-05-17T00:00:00Z"));
        let after = next_to_close(at("2024-05-18T02:00:00Z"), Every::Day, &web);
        assert_eq!(after.start, at("2024-05-18T00:00:00Z"));
    }
}
