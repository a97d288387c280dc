//! What comes in just now: counts by family and reason since the service started, for who sets senders up.
//!
//! A live counter is an answer like any other, and has no period to hide in: an exact one would tell that a device
//! reported just now. So every count is rounded down, and times to the grain of their family. What is told beside that is
//! whether there was anything at all, for the first event has to be seen to arrive.

use std::collections::BTreeMap;

use schemas::model::{Mechanism, Package};
use schemas::time::Millis;
use schemas::{Named, Note, Reason};
use serde::Serialize;

/// What this is called where a process says that others know it.
pub(crate) const LIVE: &str = "live";

/// Counts are multiples of this at least, whatever the package's statistics declare.
const ROUNDING_MIN: u64 = 5;

/// Counts since the service started, exact: not for readers as they are.
#[derive(Clone, Debug)]
pub struct Live {
    /// When the service started.
    pub since: Millis,
    /// Base address at which events are posted, as senders reach it.
    pub ingest: String,
    /// By family.
    pub families: Vec<FamilyCounts>,
}

/// What came of one family; exact.
#[derive(Clone, Debug, Default)]
pub struct FamilyCounts {
    /// Its name; none for what belongs to no family.
    pub family: Option<String>,
    /// When its last accepted event was received.
    pub last: Option<Millis>,
    /// Accepted events.
    pub accepted: u64,
    /// Those of them that were received within the last quarter of an hour.
    pub recent: u64,
    /// Refused events by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Fields dropped because nobody declared them.
    pub undeclared: u64,
    /// Everything that was noted on the way.
    pub notes: BTreeMap<Note, u64>,
    /// Of some notes, how much belongs to which declared word.
    pub named: Named,
}

/// The answer of `GET /v1/live`.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    since: String,
    last_event: Option<String>,
    ingest: String,
    rounding: u64,
    families: Vec<FamilyTold>,
    /// Other processes take the events: this one cannot tell of them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    elsewhere: bool,
}

#[derive(Debug, Serialize)]
struct FamilyTold {
    family: Option<String>,
    /// Whether there was at least one event, taken or refused.
    any: bool,
    accepted: u64,
    recent: u64,
    /// A reason that is here had at least one.
    refused: BTreeMap<Reason, u64>,
    undeclared: u64,
    /// Without what rounds down to nothing: that somebody objected for the first time is nobody's business.
    notes: BTreeMap<Note, u64>,
    named: Named,
}

/// What counts are rounded down to outside of statistics: the coarsest that one of the package's statistics declares.
pub(crate) fn rounding(package: &Package) -> u64 {
    let declared = package.statistics.iter().map(|statistic| {
        let Mechanism::Threshold { rounding, .. } = statistic.mechanism;
        rounding
    });
    declared.fold(ROUNDING_MIN, u64::max)
}

/// `count` rounded down to a multiple of `to`.
pub(crate) fn down(count: u64, to: u64) -> u64 {
    count - count % to
}

/// Notes, each count rounded down to a multiple of `to`.
pub(crate) fn notes_down(notes: BTreeMap<Note, u64>, to: u64) -> BTreeMap<Note, u64> {
    notes.into_iter().map(|(note, count)| (note, down(count, to))).collect()
}

/// Parts of notes, each count rounded down to a multiple of `to`.
pub(crate) fn named_down(mut named: Named, to: u64) -> Named {
    named.values_mut().flat_map(BTreeMap::values_mut).for_each(|count| *count = down(*count, to));
    named
}

/// What is more than nothing.
fn seen<K: Ord>(counts: BTreeMap<K, u64>) -> BTreeMap<K, u64> {
    counts.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// What readers are told of `live`, or that it is `elsewhere`.
pub(crate) fn tell(live: Live, elsewhere: bool, package: &Package) -> Told {
    let rounding = rounding(package);
    let grain = |name: &Option<String>| {
        let family = name.as_deref().and_then(|name| package.family(name));
        family.map(|(_, family)| family.grain_ms)
    };
    let last = live.families.iter().filter_map(|family| {
        let (last, grain) = (family.last?, grain(&family.family)?);
        Some(last.truncate(grain))
    });
    let last_event = last.max().map(|time| time.to_string());
    let Live { since, ingest, families } = live;
    let families = families.into_iter().map(|family| family.told(rounding)).collect();
    Told { since: since.to_string(), last_event, ingest, rounding, families, elsewhere }
}

impl FamilyCounts {
    fn told(self, rounding: u64) -> FamilyTold {
        let Self { family, last: _, accepted, recent, refused, undeclared, notes, named } = self;
        let count = |number| down(number, rounding);
        FamilyTold {
            family,
            any: accepted > 0 || refused.values().any(|&number| number > 0),
            accepted: count(accepted),
            recent: count(recent),
            refused: refused
                .into_iter()
                .filter(|(_, number)| *number > 0)
                .map(|(reason, number)| (reason, count(number)))
                .collect(),
            undeclared: count(undeclared),
            notes: seen(notes_down(notes, rounding)),
            named: named_down(named, rounding)
                .into_iter()
                .map(|(note, words)| (note, seen(words)))
                .filter(|(_, words)| !words.is_empty())
                .collect(),
        }
    }
}
