//! The answer to a request of access: what is stored of a contributor, and everything that has to be said beside it.

use std::collections::BTreeMap;

use anonymizer::{KeyEntry, Suppressed};
use anyhow::Context;
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Int32Type};
use schemas::model::ContributorSource;
use schemas::notice::Notice;
use schemas::{Millis, Package, columns};
use serde::Serialize;
use serde_json::Value;

use super::gone::{self, Epoch};
use super::portable::ndjson;

/// What an answer is made of.
pub(super) struct Found<'a> {
    pub(super) package: &'a Package,
    pub(super) family: usize,
    /// Of all families.
    pub(super) keys: &'a [KeyEntry],
    /// Rows of its table.
    pub(super) rows: &'a [RecordBatch],
    /// Rows that are set apart.
    pub(super) apart: &'a [RecordBatch],
    /// What the suppression list remembers of the contributor.
    pub(super) standing: &'a [Suppressed],
    /// How long sealed events are kept, in hours: as a rule, and at most.
    pub(super) sealed_hours: (i64, i64),
    pub(super) now: Millis,
}

#[derive(Serialize)]
struct Answer {
    /// What this is.
    about: &'static str,
    made: String,
    family: String,
    /// What the package says of the family: fields with purposes, basis and what is kept; recipients.
    policy: Notice,
    where_from: String,
    how_long: HowLong,
    rights: Vec<Right>,
    /// Requests of before that are in force.
    in_force: Vec<InForce>,
    epochs: Vec<Epoch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before_that: Option<&'static str>,
    /// Columns that are stored and not told, and why.
    kept_back: Vec<KeptBack>,
    rows: Vec<Value>,
    rows_set_apart: Vec<Value>,
}

#[derive(Serialize)]
struct HowLong {
    /// Rows, and the pseudonym by which they belong together.
    rows: String,
    /// Events as they came, sealed, before that.
    sealed_events: String,
    statistics: &'static str,
}

#[derive(Serialize)]
struct Right {
    name: &'static str,
    means: String,
}

#[derive(Serialize)]
struct InForce {
    kind: &'static str,
    since: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    purposes: Vec<String>,
}

#[derive(Serialize)]
struct KeptBack {
    column: String,
    why: &'static str,
}

/// Why a pseudonym is not told.
const PSEUDONYM: &str = "a keyed hash that means nothing outside: whoever had it could look for its contributor in the tables";
/// Why numbers of the log are not.
const PLACE: &str = "where in the log the row came from, or how a second copy of it would be known";

/// The answer, as JSON, and how many rows are in it.
pub(super) fn answer(found: &Found<'_>) -> anyhow::Result<(Vec<u8>, u64)> {
    let family = &found.package.families[found.family];
    let mut policy = Notice::of(found.package);
    policy.families.retain(|told| told.name == family.name);
    policy.statistics.retain(|told| told.family == family.name);
    let rows = objects(found.rows)?;
    let rows_set_apart = objects(found.apart)?;
    let epochs = gone::epochs(family, found.keys, &by_epoch(found.rows.iter().chain(found.apart)));
    let is_gone = epochs.iter().any(|epoch| epoch.rows.is_none());
    let count = (rows.len() + rows_set_apart.len()) as u64;
    let answer = Answer {
        about: "what is stored of one contributor, asked for under article 15 of the GDPR",
        made: found.now.to_string(),
        family: family.name.clone(),
        policy,
        where_from: where_from(found),
        how_long: how_long(found),
        rights: rights(found.package),
        in_force: in_force(found.standing),
        epochs,
        before_that: is_gone.then_some(gone::WHY),
        kept_back: kept_back(found),
        rows,
        rows_set_apart,
    };
    let text = serde_json::to_vec_pretty(&answer).context("an answer cannot be written")?;
    Ok((text, count))
}

/// Whether a column is told.
fn is_told(name: &str, data_type: &DataType) -> bool {
    *data_type != DataType::Binary && (!name.starts_with('_') || name == columns::PURPOSES)
}

fn objects(rows: &[RecordBatch]) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for rows in rows {
        let schema = rows.schema();
        let told = schema.fields().iter().enumerate();
        let told = told.filter(|(_, column)| is_told(column.name(), column.data_type()));
        let rows = rows.project(&told.map(|(index, _)| index).collect::<Vec<_>>())?;
        for line in ndjson(&[rows])?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            objects.push(serde_json::from_slice(line).context("a row cannot be told")?);
        }
    }
    Ok(objects)
}

fn by_epoch<'a>(rows: impl Iterator<Item = &'a RecordBatch>) -> BTreeMap<i32, u64> {
    let mut counts = BTreeMap::new();
    for rows in rows {
        let epochs = rows.column_by_name(columns::EPOCH);
        let epochs = epochs.and_then(|epochs| epochs.as_primitive_opt::<Int32Type>());
        for epoch in epochs.iter().flat_map(|epochs| epochs.values()) {
            *counts.entry(*epoch).or_default() += 1;
        }
    }
    counts
}

fn where_from(found: &Found<'_>) -> String {
    let family = &found.package.families[found.family];
    match family.contributor.source {
        ContributorSource::Field(index) => format!(
            "the events that were sent with this `{}`, and the connections they came over",
            family.fields[index].name
        ),
        ContributorSource::Visit => {
            "the visits from this address with this browser to this site: what the page sent, and \
            the connection it was sent over"
                .to_owned()
        }
    }
}

fn how_long(found: &Found<'_>) -> HowLong {
    let family = &found.package.families[found.family];
    let days = i64::from(family.epoch_days) + family.grace_ms() / schemas::time::DAY_MS;
    let (hours, most) = found.sealed_hours;
    HowLong {
        rows: format!(
            "until {days} days after the epoch of {} days began in which they came; then the rows and the key of their \
             pseudonym are destroyed",
            family.epoch_days
        ),
        sealed_events: format!("{hours} hours, {most} at most"),
        statistics: "without end: they are about groups with enough contributors, and can be traced to nobody",
    }
}

fn rights(package: &Package) -> Vec<Right> {
    let to = package.contact.as_deref().unwrap_or("the controller");
    let days = package.answer_within_days;
    let right = |name, means: &str| Right { name, means: means.to_owned() };
    let mut rights = vec![
        right("rectification", "wrong events are replaced by right ones"),
        right("erasure", "what is stored goes, and later events are kept out"),
        right(
            "restriction",
            "what is stored is set apart and used for nothing, until you say otherwise",
        ),
        right("portability", "what you supplied is handed over as NDJSON or Parquet"),
        right("objection", "against purposes that rest on legitimate or public interest"),
        right(
            "withdrawal",
            "of consent, for single purposes or all of them; what was done before stays lawful",
        ),
    ];
    rights.push(Right {
        name: "how",
        means: format!("ask {to}; requests are answered within {days} days"),
    });
    if let Some(authority) = &package.authority {
        rights.push(Right { name: "complaint", means: format!("to {authority}") });
    }
    rights
}

fn in_force(standing: &[Suppressed]) -> Vec<InForce> {
    let standing = standing.iter().filter(|entry| entry.stands());
    let told = standing.map(|entry| InForce {
        kind: entry.kind.name(),
        since: entry.since.clone(),
        purposes: entry.purposes.clone(),
    });
    told.collect()
}

fn kept_back(found: &Found<'_>) -> Vec<KeptBack> {
    let schema = found.package.families[found.family].stored_schema();
    let columns = schema.fields().iter();
    let back = columns.filter(|column| !is_told(column.name(), column.data_type()));
    let told = back.map(|column| KeptBack {
        column: column.name().clone(),
        why: if column.name().starts_with('_') { PLACE } else { PSEUDONYM },
    });
    told.collect()
}
