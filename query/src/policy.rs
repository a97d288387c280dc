//! The answer for who has to answer for it: what the package says, and what the ledgers of keys and outcomes record.
//!
//! Both ledgers count; neither holds a row, an identifier or a key. What they count are single events all the same, so
//! a reader sees the counts rounded down as those of [`crate::live`] are, and times to the hour. Only what a request says of
//! itself decides whether it is refused, or noted; whether an event that was taken is stored, a second copy, or of
//! somebody who objected, depends on others. A reader who sends events for somebody else could read that off such counts,
//! so those outcomes are told together: the operator's `status` has each.

use std::collections::BTreeMap;

use schemas::model::Package;
use schemas::notice::Notice;
use schemas::time::{HOUR_MS, Millis};
use schemas::{Named, Note, Reason};
use serde::Serialize;

use crate::live::{LIVE, down, named_down, notes_down, rounding};

/// Keys of one use, counted from the key ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// What they are for: `seal`, `pseudonym`, `dedupe`, `suppression`.
    pub purpose: &'static str,
    /// The family whose keys they are; none for keys of all.
    pub family: Option<String>,
    /// Keys that could be used at the beginning of the day.
    pub alive: u64,
    /// Keys that were gone for good then.
    pub destroyed: u64,
    /// When the oldest of those that can be used was made.
    pub oldest_alive: Option<Millis>,
    /// When the last of those that are gone was destroyed.
    pub last_destroyed: Option<Millis>,
}

/// What became of the events of one family, counted from the outcomes ledger; exact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// The family; none for events that were refused before they had one.
    pub family: Option<String>,
    /// Events received: the sum of `taken` and `refused`.
    pub received: u64,
    /// Events that were not refused: stored, second copies, expired, suppressed.
    pub taken: u64,
    /// Refused events by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// What was noted on the way.
    pub notes: BTreeMap<Note, u64>,
    /// Of some notes, how much belongs to which declared word.
    pub named: Named,
}

/// The answer of `GET /v1/policy`.
#[derive(Serialize)]
pub(crate) struct Told<'a> {
    #[serde(flatten)]
    notice: &'a Notice,
    /// Counts of `outcomes` are multiples of this; what is there was counted at least once.
    rounding: u64,
    keys: Vec<KeysTold>,
    outcomes: Vec<OutcomesTold>,
    /// Which of both this process cannot tell, because others keep it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    elsewhere: Vec<&'static str>,
}

#[derive(Serialize)]
struct KeysTold {
    r#use: &'static str,
    family: Option<String>,
    alive: u64,
    destroyed: u64,
    oldest_alive: Option<String>,
    last_destroyed: Option<String>,
}

#[derive(Serialize)]
struct OutcomesTold {
    family: Option<String>,
    received: u64,
    taken: u64,
    refused: BTreeMap<Reason, u64>,
    notes: BTreeMap<Note, u64>,
    /// Fields nulled by purpose, refused names by category.
    named: Named,
}

/// What readers are told of the package and its ledgers.
pub(crate) fn tell<'a>(
    notice: &'a Notice,
    package: &Package,
    keys: Vec<Keys>,
    outcomes: Vec<Outcomes>,
    mut elsewhere: Vec<&'static str>,
) -> Told<'a> {
    elsewhere.retain(|part| *part != LIVE);
    let rounding = rounding(package);
    Told {
        notice,
        rounding,
        keys: keys.into_iter().map(|keys| keys.told(package)).collect(),
        outcomes: outcomes.into_iter().map(|outcomes| outcomes.told(rounding)).collect(),
        elsewhere,
    }
}

impl Keys {
    fn told(self, package: &Package) -> KeysTold {
        let Self { purpose, family, alive, destroyed, oldest_alive, last_destroyed } = self;
        let declared = family.as_deref().and_then(|name| package.family(name));
        let grain = declared.map_or(HOUR_MS, |(_, family)| family.grain_ms.max(HOUR_MS));
        let text = |time: Option<Millis>| time.map(|time| time.truncate(grain).to_string());
        let (oldest_alive, last_destroyed) = (text(oldest_alive), text(last_destroyed));
        KeysTold { r#use: purpose, family, alive, destroyed, oldest_alive, last_destroyed }
    }
}

impl Outcomes {
    fn told(self, rounding: u64) -> OutcomesTold {
        let Self { family, received, taken, refused, notes, named } = self;
        let count = |number| down(number, rounding);
        OutcomesTold {
            family,
            received: count(received),
            taken: count(taken),
            refused: refused.into_iter().map(|(reason, number)| (reason, count(number))).collect(),
            notes: notes_down(notes, rounding),
            named: named_down(named, rounding),
        }
    }
}
