//! What to generate: how much, when, and how unruly.

use std::sync::Arc;

use schemas::Millis;

use super::habits::Habits;

/// How events reach the service, which decides what they look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Lines of NDJSON with their time, for `quorate import`.
    History,
    /// Bodies to be posted now: devices without a clock, clocks that are wrong, keys that may not send all.
    Live,
}

/// What to generate.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The same seed gives the same events.
    pub seed: u64,
    /// Events in all, retries and hostile ones included.
    pub events: u64,
    /// First moment, inclusive.
    pub from: Millis,
    /// Last moment, exclusive.
    pub to: Millis,
    /// Import or post.
    pub mode: Mode,
    /// How unruly senders are.
    pub unruly: Unruly,
    /// What the package says of its events.
    pub habits: Arc<Habits>,
}

impl Profile {
    /// `events` events of history between two moments, with the usual share of trouble.
    #[must_use]
    pub fn history(seed: u64, events: u64, from: Millis, to: Millis) -> Self {
        let (unruly, habits) = (Unruly::default(), Arc::default());
        Self { seed, events, from, to, mode: Mode::History, unruly, habits }
    }

    /// `events` events to be posted at `to`, with the usual share of trouble.
    #[must_use]
    pub fn live(seed: u64, events: u64, from: Millis, to: Millis) -> Self {
        Self { mode: Mode::Live, ..Self::history(seed, events, from, to) }
    }

    /// The same, of events as `habits` describe them.
    #[must_use]
    pub fn with(self, habits: &Arc<Habits>) -> Self {
        Self { habits: Arc::clone(habits), ..self }
    }
}

/// Shares of trouble, each 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct Unruly {
    /// Events with one defect or one text that must not be kept.
    pub hostile: f64,
    /// Accepted events that are sent again.
    pub retried: f64,
    /// Senders whose clock is wrong (live only).
    pub skewed: f64,
    /// Events of browsers that come under a device's key (live only); for keys that are known to forbid it.
    pub wrong_door: f64,
    /// Devices that have no clock at all (live only).
    pub clockless: f64,
    /// Senders who say nothing about consent where it is asked for.
    pub silent: f64,
    /// Senders who say no, or object.
    pub refusing: f64,
    /// Senders whose browser says `Sec-GPC: 1`.
    pub gpc: f64,
    /// Senders whose browser says `DNT: 1`.
    pub dnt: f64,
}

impl Default for Unruly {
    fn default() -> Self {
        Self {
            hostile: 0.03,
            retried: 0.02,
            skewed: 0.06,
            wrong_door: 0.0,
            clockless: 0.25,
            silent: 0.10,
            refusing: 0.05,
            gpc: 0.05,
            dnt: 0.04,
        }
    }
}

impl Unruly {
    /// Senders as one would wish them.
    #[must_use]
    pub fn none() -> Self {
        Self {
            hostile: 0.0,
            retried: 0.0,
            skewed: 0.0,
            wrong_door: 0.0,
            clockless: 0.0,
            silent: 0.0,
            refusing: 0.0,
            gpc: 0.0,
            dnt: 0.0,
        }
    }
}
