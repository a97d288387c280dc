//! Legal holds: rows that somebody has to keep longer than they would live, for a reason that the policy package names.
//!
//! Held rows leave their table at once, so that no statistic sees them, and lie apart ([`crate::apart`]) under a key of their
//! own. The keys of their pseudonyms and epochs die on time: from then on nobody can tell whose rows they are. At the end of
//! the hold they are destroyed with their key; released before, they go back if their epoch's key still lives.

mod ledger;
pub mod operator;

use std::sync::Arc;

use anonymizer::Shelf;
use anyhow::{Context, ensure};
use schemas::time::DAY_MS;
use schemas::{Millis, Package};
use serde::{Deserialize, Serialize};

use crate::apart::{Kind, Lot, State};

pub(crate) use ledger::{HoldLedger, Step};

/// The ledger's name below the root of events.
pub(crate) const LEDGER: &str = "ledger/holds.jsonl";

/// What is asked for. No `Debug`: an identifier may be in it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Posted {
    /// A new hold.
    Add(Add),
    /// All holds.
    List,
    /// The end of one before its time, by id.
    Release(String),
}

/// Rows to be held. No `Debug`: an identifier may be in it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Add {
    /// The family.
    pub family: String,
    /// First and last day of the events, `2026-11-01`; none for a contributor.
    pub days: Option<(String, String)>,
    /// Whose rows, as it came on standard input; none for days.
    pub identifier: Option<String>,
    /// One of the package's reasons.
    pub reason: String,
    /// Last day of the hold.
    pub until: String,
}

/// What became of the rows of a hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Rows that are in their table again.
    pub put_back: u64,
    /// Rows that are gone: their epoch is over, their contributor is erased or objects, or the hold came to its end.
    pub destroyed: u64,
}

/// Opens the ledger of holds.
pub(crate) fn ledger(shelf: Arc<dyn Shelf>) -> HoldLedger {
    HoldLedger::new(shelf, LEDGER)
}

/// The lot of a new hold, if the package allows it.
///
/// # Errors
///
/// What it does not allow, or cannot be understood.
pub(crate) fn lot(package: &Package, add: &Add, now: Millis) -> anyhow::Result<Lot> {
    let allowed = package.legal_hold.as_ref();
    let allowed = allowed.context("the policy package allows no hold: it has no [legal_hold]")?;
    ensure!(
        allowed.reasons.contains(&add.reason),
        "the policy package allows a hold for: {}",
        allowed.reasons.join(", ")
    );
    let end =
        Millis::of_day(day(&add.until).context("--until is no day: 2026-11-30")?).plus(DAY_MS);
    ensure!(end > now, "the hold would be over already");
    let longest = now.plus(i64::from(allowed.days_max).saturating_mul(DAY_MS));
    ensure!(
        end <= longest.truncate(DAY_MS).plus(DAY_MS),
        "the policy package allows a hold of at most {} days",
        allowed.days_max
    );
    Ok(Lot {
        id: uuid::Uuid::new_v4().to_string(),
        kind: Kind::Hold,
        family: add.family.clone(),
        rows: 0,
        reason: add.reason.clone(),
        since: now.to_string(),
        end: Some(end.to_string()),
        state: State::Writing,
    })
}

/// A day, counted from 1970.
pub(crate) fn day(text: &str) -> Option<i32> {
    (text.len() == "2026-11-30".len())
        .then(|| Millis::parse(&format!("{text}T00:00:00Z")))
        .flatten()
        .map(Millis::day)
}

#[cfg(test)]
mod tests;
