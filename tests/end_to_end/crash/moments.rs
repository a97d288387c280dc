//! The moments at which the service is killed: what it says at `trace` under the target `quorate::moment`, where a step
//! begins or its next part does.
//!
//! A line is `<lane> <part>`. What is in one lane happens one after the other, so the last line of a lane tells in which
//! part of it the process died. At the door many requests are at work at once; there it tells which part began last.

use std::collections::BTreeMap;

/// Opening a data folder, also one that a crash left behind.
pub(super) const START: &[&str] =
    &["start keys", "start log", "start tables", "start books", "start index", "start serve"];

/// From a request to a commit.
pub(super) const LOAD: &[&str] = &[
    "door decode",
    "door seal",
    "door wait",
    "log append",
    "log tell",
    "door answer",
    "worker open",
    "worker files",
    "worker table",
    "worker index",
    "worker ledger",
];

/// What is due when time has passed, in the order in which it is done: closings, the ends of rows, compaction, the ends
/// of frames and keys.
pub(super) const UPKEEP: &[&str] = &[
    "worker compute",
    "worker statistic",
    "worker release",
    "worker remove",
    "worker mix",
    "worker swap",
    "worker outcomes",
    "worker checkpoint",
    "worker sweep",
    "worker forget",
    "worker frames",
    "worker keys",
];

/// Rows of past hours made anew under another policy, and put in the place of the old ones.
pub(super) const REPLAY: &[&str] =
    &["replay read", "rewrite table", "rewrite index", "rewrite ledger", "rewrite wipe"];

/// Every moment, and none that says that nothing is being done.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    [START, LOAD, UPKEEP, REPLAY].into_iter().flatten().copied()
}

/// The moment that a line of the log names.
pub(super) fn of_line(line: &str) -> Option<&str> {
    line.split_once("quorate::moment: ").map(|(_, moment)| moment.trim_end())
}

/// How often each moment was passed, and where each lane was last.
#[derive(Default)]
pub(super) struct Passed {
    counts: BTreeMap<String, u32>,
    last: BTreeMap<String, String>,
}

impl Passed {
    /// Notes a moment, and gives how often it has been passed.
    pub(super) fn note(&mut self, moment: &str) -> u32 {
        let lane = moment.split(' ').next().unwrap_or_default();
        self.last.insert(lane.to_owned(), moment.to_owned());
        let count = self.counts.entry(moment.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// How often a moment was passed.
    pub(super) fn count(&self, moment: &str) -> u32 {
        self.counts.get(moment).copied().unwrap_or(0)
    }

    /// The last moment of each lane.
    pub(super) fn last(&self) -> impl Iterator<Item = &str> {
        self.last.values().map(String::as_str)
    }
}
