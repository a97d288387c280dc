//! Corrected events: checked to be of the same person and acceptable, then kept apart, sealed, until the wrong ones are erased.

use std::sync::Arc;

use anonymizer::{Gate, Identifier, Subject};
use anyhow::{Context, ensure};
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field as Column, Schema};
use ingest::Importer;
use schemas::model::{ContributorSource, Family};
use serde_json::Value;

use super::EVENTS_BYTES_MAX;

/// The site that visits belong to.
const SITE: &str = "site";
/// An event as it was given.
const EVENT: &str = "event";

/// Events of one person.
pub(crate) struct Corrected {
    /// The site that visits belong to; empty where none are counted.
    pub(crate) site: String,
    /// The events, one a line.
    pub(crate) lines: Vec<String>,
}

impl Corrected {
    /// Reads events and checks each: of the subject's family, by its identifier, with an id, and such as would be taken in.
    /// All of them are, or none.
    ///
    /// # Errors
    ///
    /// The first line that is not so, by number, and why; nothing of what it says.
    pub(super) fn check(
        gate: &Gate,
        family: &Family,
        subject: &Subject,
        text: &str,
        site: &str,
        mut importer: Importer,
    ) -> anyhow::Result<Self> {
        ensure!(text.len() <= EVENTS_BYTES_MAX, "more than {EVENTS_BYTES_MAX} bytes of events");
        let lines: Vec<&str> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        ensure!(
            !lines.is_empty(),
            "there are no corrected events: to have all erased, ask for erasure"
        );
        for (number, line) in (1..).zip(&lines) {
            let checked = of_subject(gate, family, subject, site, line).and_then(|()| {
                importer.push_line(line.as_bytes()).map_err(|error| anyhow::anyhow!("{error}"))
            });
            checked.with_context(|| format!("line {number} of the corrected events"))?;
        }
        let lines = lines.into_iter().map(str::to_owned).collect();
        Ok(Self { site: site.to_owned(), lines })
    }

    /// As rows, to be kept apart.
    pub(super) fn rows(&self) -> anyhow::Result<RecordBatch> {
        let column = |name| Column::new(name, DataType::Utf8, false);
        let schema = Arc::new(Schema::new(vec![column(SITE), column(EVENT)]));
        let sites = StringArray::from(vec![self.site.as_str(); self.lines.len()]);
        let events = StringArray::from(self.lines.clone());
        Ok(RecordBatch::try_new(schema, vec![Arc::new(sites), Arc::new(events)])?)
    }

    /// Of such rows.
    pub(crate) fn of_rows(rows: &[RecordBatch]) -> anyhow::Result<Self> {
        let mut corrected = Self { site: String::new(), lines: Vec::new() };
        for rows in rows {
            let column = |name| {
                let column = rows.column_by_name(name)?.as_string_opt::<i32>()?;
                Some(column.iter().flatten())
            };
            let (sites, events) = column(SITE).zip(column(EVENT)).context("no corrected events")?;
            corrected.lines.extend(events.map(str::to_owned));
            if let Some(site) = sites.last() {
                site.clone_into(&mut corrected.site);
            }
        }
        Ok(corrected)
    }
}

fn of_subject(
    gate: &Gate,
    family: &Family,
    subject: &Subject,
    site: &str,
    line: &str,
) -> anyhow::Result<()> {
    // The parser's own words may quote what it read: they end here.
    let event: Value = serde_json::from_str(line).ok().context("not a JSON object")?;
    ensure!(event["type"] == family.name.as_str(), "its type is not the family's");
    let has_id = event["id"].as_str().is_some_and(|id| !id.is_empty());
    ensure!(has_id, "without an id: it could come in twice");
    let identifier = match family.contributor.source {
        ContributorSource::Field(index) => {
            event[&family.fields[index].name].as_str().map(|text| Identifier::text(text.to_owned()))
        }
        ContributorSource::Visit => {
            let user = &event["end_user"];
            let address = user["address"].as_str().and_then(|address| address.parse().ok());
            address.zip(user["user_agent"].as_str()).map(|(address, agent)| {
                Identifier::visit(site.to_owned(), address, agent.to_owned())
            })
        }
    };
    let other = || "it does not name the same contributor";
    let named = gate.subject(&family.name, &identifier.with_context(other)?).ok();
    ensure!(named.is_some_and(|named| named.is_same(subject)), other());
    Ok(())
}
