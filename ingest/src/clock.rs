//! When an event happened: one rule over three clocks, as a function of values.
//!
//! A device's clock may be wrong by decades, or missing. What can be trusted is the time between two readings of one
//! clock; so a time given together with the time of sending is measured back from the moment of receipt.

use anonymizer::ClockSource;
use schemas::Millis;
use schemas::time::MINUTE_MS;

/// How far ahead of the moment of receipt an event may be: senders' clocks are set by hand.
pub const AHEAD_MS: i64 = 5 * MINUTE_MS;

/// What a sender said about when an event happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// When it happened, by the sender's clock.
    pub time: Option<Millis>,
    /// When it was sent, by the same clock.
    pub sent: Option<Millis>,
    /// When it happened, in milliseconds since the device started.
    pub uptime_ms: Option<u64>,
    /// When it was sent, in milliseconds since the device started.
    pub sent_uptime_ms: Option<u64>,
    /// Whether the device started again in between, so that the two uptimes have nothing to do with each other.
    pub restarted: bool,
}

/// When an event happened, and how that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The event time.
    pub time: Millis,
    /// By which clock. `Uptime` stands for every time measured back from the moment of receipt, for such a time is
    /// another one with each attempt to send.
    pub clock: ClockSource,
    /// Whether the sender gave a time that could not be believed.
    pub disbelieved: bool,
}

/// The event time of an event received at `received`, of a family that takes events up to `late_ms` old.
///
/// `received - (sent - time)` if both are given, or the same with uptimes of one run of the device; else `time`.
/// A result outside the open interval from `received - late_ms` to `received + 5 min` is not believed, and the
/// received time stands instead.
#[must_use]
pub fn event_time(said: Said, received: Millis, late_ms: i64) -> Found {
    let Some((time, clock)) = by_sender(said, received) else {
        return Found { time: received, clock: ClockSource::Received, disbelieved: false };
    };
    if received.plus(late_ms.saturating_neg()) < time && time < received.plus(AHEAD_MS) {
        Found { time, clock, disbelieved: false }
    } else {
        Found { time: received, clock: ClockSource::Received, disbelieved: true }
    }
}

fn by_sender(said: Said, received: Millis) -> Option<(Millis, ClockSource)> {
    let Said { time, sent, uptime_ms, sent_uptime_ms, restarted } = said;
    if let (Some(time), Some(sent)) = (time, sent) {
        let age = sent.0.saturating_sub(time.0);
        return Some((received.plus(age.saturating_neg()), ClockSource::Uptime));
    }
    if let (Some(uptime), Some(sent), false) = (uptime_ms, sent_uptime_ms, restarted) {
        let age = i128::from(sent) - i128::from(uptime);
        let age = i64::try_from(age).unwrap_or(i64::MAX);
        return Some((received.plus(age.saturating_neg()), ClockSource::Uptime));
    }
    time.map(|time| (time, ClockSource::Device))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::time::{DAY_MS, HOUR_MS};

    use super::*;

    const RECEIVED: Millis = Millis(1_763_770_000_000);
    const LATE: i64 = 7 * DAY_MS;

    fn at(time: i64) -> Said {
        Said { time: Some(Millis(time)), ..Said::default() }
    }

    fn found(said: Said) -> Found {
        event_time(said, RECEIVED, LATE)
    }

    #[test]
    fn a_plausible_time_is_taken_as_it_is() {
        let time = RECEIVED.plus(-3 * HOUR_MS);
        let expected = Found { time, clock: ClockSource::Device, disbelieved: false };
        assert_eq!(found(at(time.0)), expected);
    }

    #[test]
    fn clocks_in_1970_and_2099_are_not_believed() {
        for time in [0, 86_400_000, 4_070_908_800_000, i64::MIN, i64::MAX] {
            let expected =
                Found { time: RECEIVED, clock: ClockSource::Received, disbelieved: true };
            assert_eq!(found(at(time)), expected, "{time}");
        }
    }

    #[test]
    fn without_any_time_the_received_time_stands() {
        let expected = Found { time: RECEIVED, clock: ClockSource::Received, disbelieved: false };
        assert_eq!(found(Said::default()), expected);
    }

    #[test]
    fn a_wrong_clock_that_also_says_when_it_sent_is_put_right() {
        let said = Said { sent: Some(Millis(100_000)), ..at(40_000) };
        let expected = RECEIVED.plus(-60_000);
        assert_eq!(found(said).time, expected);
        assert_eq!(found(said).clock, ClockSource::Uptime);
    }

    #[test]
    fn uptimes_of_one_run_stand_in_for_a_clock() {
        let said =
            Said { uptime_ms: Some(880_110), sent_uptime_ms: Some(912_200), ..Said::default() };
        assert_eq!(found(said).time, RECEIVED.plus(-32_090));
        let restarted = Said { restarted: true, ..said };
        assert_eq!(found(restarted).clock, ClockSource::Received);
        let with_time = Said { time: Some(RECEIVED.plus(-1)), ..restarted };
        assert_eq!(found(with_time).clock, ClockSource::Device);
    }

    #[test]
    fn bounds_are_open() {
        let bounds = [(-LATE, false), (-LATE + 1, true), (AHEAD_MS - 1, true), (AHEAD_MS, false)];
        for (offset, believed) in bounds {
            assert_eq!(found(at(RECEIVED.0 + offset)).disbelieved, !believed, "{offset}");
        }
    }

    proptest! {
        #[test]
        fn the_event_time_is_always_within_bounds(
            time: Option<i64>,
            sent: Option<i64>,
            uptime_ms: Option<u64>,
            sent_uptime_ms: Option<u64>,
            restarted: bool,
        ) {
            let (time, sent) = (time.map(Millis), sent.map(Millis));
            let said = Said { time, sent, uptime_ms, sent_uptime_ms, restarted };
            let found = found(said);
            prop_assert!(RECEIVED.plus(-LATE) < found.time);
            prop_assert!(found.time < RECEIVED.plus(AHEAD_MS));
        }
    }
}
