//! What an audit tells: the JSON of `docs/audit.md`, and what text and HTML are made of.

use std::collections::BTreeMap;

use serde::Serialize;

use super::finding::Finding;
use crate::residency::Placed;

/// Version of the JSON: members are added, never changed or removed, while it stays.
pub const FORMAT: u32 = 1;

/// Everything an audit tells. Times are RFC 3339.
#[derive(Debug, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// When it was made, by the clock of the data folder.
    pub at: String,
    /// Who collects.
    pub controller: String,
    /// Version of the policy in force.
    pub policy: String,
    /// Digest of the package.
    pub digest: String,
    /// What is not as promised; empty in a clean store.
    pub findings: Vec<Finding>,
    /// What was not looked at, and why.
    pub not_looked_at: Vec<String>,
    /// The residency that the policy promises, if any.
    pub residency_promised: Option<String>,
    /// Where stores are, if it promises one.
    pub residency: Vec<Placed>,
    /// What is at rest, where, since when.
    pub at_rest: Vec<AtRest>,
    /// Every field of every family.
    pub fields: Vec<FieldAtRest>,
    /// Keys, by commitment.
    pub keys: Vec<KeyAtRest>,
    /// How rare combinations of stored fields are: counts alone.
    pub rare: Vec<Rare>,
    /// What became of events, by family; those of no family first.
    pub outcomes: Vec<FamilyOutcomes>,
    /// Requests of single people, without who.
    pub requests: Vec<RequestAtRest>,
    /// Rows that are kept apart: holds and restrictions.
    pub holds: Vec<HoldAtRest>,
    /// Exports of requests that are not deleted yet.
    pub exports: Vec<ExportAtRest>,
    /// What was released.
    pub releases: Vec<ReleaseAtRest>,
    /// How much was looked at.
    pub scanned: Scanned,
}

/// One place of the table "What is at rest".
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct AtRest {
    /// Which place.
    pub place: String,
    /// Folder or URL.
    pub at: String,
    /// What it holds.
    pub holds: String,
    /// The oldest of it: a day of events, an hour of frames, a time; null where it holds nothing or tells nothing.
    pub oldest: Option<String>,
    /// The newest.
    pub newest: Option<String>,
    /// Files.
    pub files: u64,
    /// Rows, frames, lines or keys, whatever it holds.
    pub count: u64,
    /// How long it stays.
    pub kept: String,
}

/// A field, and why it is kept.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FieldAtRest {
    /// The family.
    pub family: String,
    /// The field.
    pub field: String,
    /// Its category.
    pub category: &'static str,
    /// What is stored of it; null if it is dropped.
    pub stored: Option<String>,
    /// Its purposes.
    pub purposes: Vec<PurposeOf>,
    /// How long, in words.
    pub kept: String,
    /// From when on it takes no value, if it expires.
    pub expires: Option<String>,
}

/// A purpose of a field.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct PurposeOf {
    /// Its name.
    pub purpose: String,
    /// Its legal basis.
    pub basis: &'static str,
    /// Where the basis comes from: `text` of the policy, or `assumed`.
    pub source: &'static str,
}

/// A key, alive or destroyed.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct KeyAtRest {
    /// `pseudonym/web/20600`.
    pub key: String,
    /// `alive` or `destroyed`.
    pub state: &'static str,
    /// When it was made.
    pub created: String,
    /// When it was destroyed.
    pub destroyed: Option<String>,
    /// Says which key it was, and nothing about it.
    pub commitment: String,
}

/// How many combinations of a family's stored values are held by few.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Rare {
    /// The family.
    pub family: String,
    /// Fields that were combined: all that are stored, but the contributor and other pseudonyms.
    pub fields: Vec<String>,
    /// Fewest contributors of a group that is not rare.
    pub min_contributors: u64,
    /// Combinations that some contributor holds.
    pub combinations: u64,
    /// Of them held by fewer than `min_contributors`.
    pub rare: u64,
    /// Of them held by one.
    pub of_one: u64,
    /// Whether there were too many to count, so that the counts are lower bounds.
    pub at_least: bool,
}

/// What became of a family's events.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct FamilyOutcomes {
    /// The family; null for events that were refused before they had one.
    pub family: Option<String>,
    /// Events received: the sum of the next five.
    pub received: u64,
    /// Rows.
    pub stored: u64,
    /// Second copies.
    pub duplicate: u64,
    /// Events refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Events whose key died first.
    pub expired: u64,
    /// Events of people who objected or were erased.
    pub suppressed: u64,
    /// What was noted on the way, signals among it.
    pub notes: BTreeMap<String, u64>,
}

/// A request of a person.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct RequestAtRest {
    /// Its id.
    pub request: String,
    /// What was asked for.
    pub kind: String,
    /// The family.
    pub family: String,
    /// When it was received.
    pub received: String,
    /// By when it has to be answered.
    pub due: String,
    /// Its last state in the ledger.
    pub state: String,
}

/// Rows that are kept apart.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct HoldAtRest {
    /// Its id.
    pub id: String,
    /// `hold` or `restriction`.
    pub kind: String,
    /// The family.
    pub family: String,
    /// Why, in a word of the policy.
    pub reason: Option<String>,
    /// Since when.
    pub since: Option<String>,
    /// Until when.
    pub end: Option<String>,
}

/// An export of a request.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ExportAtRest {
    /// Its file.
    pub file: String,
    /// When it was written.
    pub written: String,
}

/// What was released of one statistic.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ReleaseAtRest {
    /// The statistic.
    pub statistic: String,
    /// Periods.
    pub periods: u64,
    /// Groups shown in them.
    pub groups: u64,
    /// Begin of the oldest.
    pub oldest: String,
    /// End of the newest.
    pub newest: String,
    /// Periods that were computed again.
    pub revised: u64,
}

/// How much was looked at.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Scanned {
    /// Files.
    pub files: u64,
    /// Bytes of texts and values.
    pub bytes: u64,
    /// Values of columns.
    pub values: u64,
}
