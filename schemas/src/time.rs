//! Points and spans of time, in the units the pipeline decides by: milliseconds, hours, days, epochs.

use std::fmt;
use std::sync::Arc;

/// Milliseconds in one second.
pub const SECOND_MS: i64 = 1_000;
/// Milliseconds in one minute.
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
/// Milliseconds in one hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds in one day.
pub const DAY_MS: i64 = 24 * HOUR_MS;
/// The first Monday after the Unix epoch, 1970-01-05, in days: weeks and epochs are counted from it,
/// so that an epoch of 28 days holds four whole weeks.
pub const FIRST_MONDAY: i32 = 4;

/// Tells the time; handed in from the binary, so that a whole pipeline runs under a test clock.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, negative before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub i64);

impl Millis {
    /// Whole days since 1970-01-01, UTC.
    #[must_use]
    pub fn day(self) -> i32 {
        i32::try_from(self.0.div_euclid(DAY_MS)).unwrap_or(i32::MAX)
    }

    /// Whole hours since 1970-01-01T00:00Z; zero before it.
    #[must_use]
    pub fn hour(self) -> u32 {
        u32::try_from(self.0.div_euclid(HOUR_MS)).unwrap_or(0)
    }

    /// Midnight UTC at which `day` begins.
    #[must_use]
    pub fn of_day(day: i32) -> Self {
        Self(i64::from(day) * DAY_MS)
    }

    /// The beginning of `hour`, counted from 1970.
    #[must_use]
    pub fn of_hour(hour: u32) -> Self {
        Self(i64::from(hour) * HOUR_MS)
    }

    /// The beginning of the span of `grain_ms` milliseconds that holds this point.
    #[must_use]
    pub fn truncate(self, grain_ms: i64) -> Self {
        Self(self.0.div_euclid(grain_ms) * grain_ms)
    }

    /// This point moved by `ms` milliseconds, saturating at the ends of time.
    #[must_use]
    pub fn plus(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Reads RFC 3339, the only form in which timestamps are accepted as text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| Self(time.timestamp_millis()))
    }
}

/// RFC 3339 with milliseconds, UTC.
impl fmt::Display for Millis {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp_millis(self.0) {
            Some(time) => write!(out, "{}", time.format("%Y-%m-%dT%H:%M:%S%.3fZ")),
            None => write!(out, "{} ms", self.0),
        }
    }
}

/// The key epoch that holds `time`: epochs of `epoch_days` days are counted from the first Monday of 1970.
#[must_use]
pub fn epoch_of(time: Millis, epoch_days: u32) -> i32 {
    time.day()
        .saturating_sub(FIRST_MONDAY)
        .div_euclid(i32::try_from(epoch_days).unwrap_or(i32::MAX).max(1))
}

/// When `epoch` begins; it ends where the next one begins.
#[must_use]
pub fn epoch_start(epoch: i32, epoch_days: u32) -> Millis {
    Millis((i64::from(epoch) * i64::from(epoch_days) + i64::from(FIRST_MONDAY)) * DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_begin_on_mondays_and_hold_whole_weeks() {
        for epoch_days in [7, 28] {
            for epoch in [-3, -1, 0, 1, 2_000] {
                let start = epoch_start(epoch, epoch_days);
                assert_eq!((start.day() - 4).rem_euclid(7), 0, "1970-01-05 was a Monday");
                assert_eq!(epoch_of(start, epoch_days), epoch);
                assert_eq!(epoch_of(start.plus(-1), epoch_days), epoch - 1);
            }
        }
        let monday = Millis::parse("2026-11-16T00:00:00Z").unwrap();
        assert_eq!(epoch_start(epoch_of(monday, 7), 7), monday);
    }

    #[test]
    fn times_round_down_on_both_sides_of_1970() {
        assert_eq!(Millis(-1).day(), -1);
        assert_eq!(Millis(-1).hour(), 0);
        assert_eq!(Millis(-1).truncate(HOUR_MS), Millis(-HOUR_MS));
        assert_eq!(Millis(DAY_MS + 1).truncate(DAY_MS), Millis::of_day(1));
        assert_eq!(Millis::of_hour(Millis(HOUR_MS + 1).hour()), Millis(HOUR_MS));
        assert_eq!(Millis(i64::MAX).plus(1), Millis(i64::MAX));
    }

    #[test]
    fn only_rfc_3339_is_a_time() {
        let text = "2026-11-21T13:14:15.016+01:00";
        assert_eq!(Millis::parse(text).unwrap().to_string(), "2026-11-21T12:14:15.016Z");
        for wrong in ["2026-11-21", "1795000000", "yesterday", "", "2026-13-01T00:00:00Z"] {
            assert_eq!(Millis::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Millis(i64::MAX).to_string(), format!("{} ms", i64::MAX));
    }

    #[test]
    fn no_day_panics() {
        for ms in [i64::MIN, -1, 0, i64::MAX] {
            for epoch_days in [0, 1, 28, u32::MAX] {
                let epoch = epoch_of(Millis(ms), epoch_days);
                assert!(epoch <= i32::MAX - FIRST_MONDAY);
            }
        }
    }
}
