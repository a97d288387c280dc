//! `quorate audit`: holds what is at rest against what the policy promises, and tells what is there.
//!
//! It reads what the configuration names, in folders and object stores, whether a service runs on it or not, and changes
//! nothing; what only one process can have open, the embedded log, it asks the running service about. A [`Finding`] says
//! where and how often, never which value.

mod apart;
mod at_rest;
mod books;
pub mod finding;
mod html;
mod keys;
mod page;
mod patterns;
mod places;
pub mod report;
mod rows;
mod statistics;
mod tables;
mod text;
mod values;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use schemas::model::Category;
use schemas::{Millis, Package, columns};
use serde_json::Value;
use storage::Root;
use transport::Log;
use transport::embedded::EmbeddedLog;

pub use finding::{Code, Finding};
pub use report::Report;

use crate::commands::status;
use crate::config::Config;
use crate::operator::{LogHour, Status};
use crate::residency::{self, Verdict};
use crate::store::{self, DataLock};
use keys::Keys;
use places::Place;
use report::{Rare, Scanned};
use rows::{Known, Rows};
use tables::Table;
use values::Values;

/// Time for a running service to finish what it does with files, keys and their ledgers.
const AGAIN_AFTER: Duration = Duration::from_secs(3);

/// Looks at everything that the configuration names, as of `now`; again where something is found while a service is at work,
/// which may have been between a file and the line that names it: what is found twice stands.
///
/// # Errors
///
/// If a store cannot be reached, or the package is not valid.
pub async fn run(config: &Config, now: Millis) -> anyhow::Result<Report> {
    let package = store::package(config.policy.as_deref())?;
    let first = look(config, &package, now).await?;
    let alone = config.kafka.is_none() && !store::is_in_use(&config.data);
    if first.findings.is_empty() || alone {
        return Ok(first);
    }
    tokio::time::sleep(AGAIN_AFTER).await;
    let mut again = look(config, &package, now).await?;
    let known = |finding: &Finding| {
        let same = |other: &Finding| (other.code, &other.place) == (finding.code, &finding.place);
        first.findings.iter().any(same)
    };
    again.findings.retain(known);
    Ok(again)
}

/// What one look gathers.
#[derive(Default)]
struct Look {
    findings: Vec<Finding>,
    values: Values,
    files: u64,
    not_looked_at: Vec<String>,
}

async fn look(config: &Config, package: &Package, now: Millis) -> anyhow::Result<Report> {
    let mut look = Look::default();
    let (events, released) = (config.events_root()?, config.statistics_root()?);
    let staging = config.staging_dir();
    // Files first, then the logs that name them: what is written meanwhile is named and not looked at.
    let places = Place::all(config).await?;
    places::guarded(config, &mut look.findings);
    let keys = Keys::look(config, package, now, &mut look.findings)?;
    let destroyed = keys.destroyed();
    let known = Known { package, now, destroyed: &destroyed };
    let (families, rare) = look.families(&events, &known, &staging).await?;
    let statistics =
        statistics::look(&released, package, &staging, &mut look.values, &mut look.findings)
            .await?;
    let ledgers = look.ledgers(&events, &released, &staging).await?;
    let tables = || families.iter().chain(&statistics).chain(&ledgers);
    let named: BTreeSet<String> = tables().flat_map(Table::named).collect();
    look.files += tables().map(|table| table.files.len() as u64).sum::<u64>();
    for place in &places {
        look.files += places::look(place, &named, &mut look.values, &mut look.findings);
    }
    let hours = look.log_hours(config, now).await;
    let outcomes = books::outcomes(config, &mut look.findings).await?;
    let requests = books::requests(&events, now, &mut look.findings)?;
    let releases = books::releases(&released.join("ledger")).await?;
    let holds = apart::holds(&events, &places, package, now, &mut look.findings);
    let exports = apart::exports(&places, now, &mut look.findings);
    let residency = look.residency(config, package)?;
    let seen = at_rest::Seen {
        config,
        package,
        places: &places,
        families: &families,
        keys: &keys,
        hours: &hours,
        releases: &releases,
        requests: &requests,
    };
    let at_rest = seen.all(&events, &released);
    look.findings.extend(look.values.findings());
    look.findings.sort();
    look.findings.dedup();
    Ok(Report {
        format: report::FORMAT,
        at: now.to_string(),
        controller: package.controller.clone(),
        policy: package.version.clone(),
        digest: package.digest.to_string(),
        findings: look.findings,
        not_looked_at: look.not_looked_at,
        residency_promised: package.residency.clone(),
        residency,
        at_rest,
        fields: at_rest::fields(package),
        keys: keys.told(),
        rare,
        outcomes,
        requests,
        holds,
        exports,
        releases,
        scanned: Scanned {
            files: look.files,
            bytes: look.values.bytes,
            values: look.values.values,
        },
    })
}

impl Look {
    /// The tables of events.
    async fn families(
        &mut self,
        root: &Root,
        known: &Known<'_>,
        staging: &Path,
    ) -> anyhow::Result<(Vec<Table>, Vec<Rare>)> {
        let (mut tables, mut rare) = (Vec::new(), Vec::new());
        let archived = archived(root)?;
        let mut names = root.folders("events").context("events/ cannot be listed")?;
        names.sort_unstable();
        for name in names {
            let Some(table) = Table::open(root, "events", &name).await? else { continue };
            self.declared(&table, &name, known.package, &archived);
            let mut rows = Rows::of(known, &table);
            let values = &mut self.values;
            table.each_file(staging, &mut self.findings, &mut |file, batch| {
                rows.batch(file, batch, values)
            });
            rare.extend(rows.finish(&mut self.findings));
            tables.push(table);
        }
        Ok((tables, rare))
    }

    /// Whether a policy declares the family and each of its columns, and none under a refused name.
    fn declared(
        &mut self,
        table: &Table,
        name: &str,
        package: &Package,
        archived: &BTreeSet<(String, String)>,
    ) {
        let family = package.family(name).map(|(_, family)| family);
        let before = archived.iter().any(|(family, _)| family == name);
        if family.is_none() && !before {
            let what = "a table of events of a family that no policy declares";
            // Of its columns none is declared then.
            return self.find(Code::UndeclaredFamily, what, &table.name);
        }
        for column in &table.columns {
            let place = format!("{}, column {column}", table.name);
            let ours = columns::ALL.contains(&column.as_str());
            let field = family.is_some_and(|family| family.field(column).is_some());
            if !ours && !field && !archived.contains(&(name.to_owned(), column.clone())) {
                self.find(Code::UndeclaredColumn, "a column that no policy declares", &place);
            }
            let refused = Category::of_name(column);
            let refused = refused.filter(|category| package.refused.categories.contains(category));
            if let Some(category) = refused.filter(|_| !ours) {
                let what = format!("a column named after a refused category: {}", category.name());
                self.find(Code::RefusedCategory, what, &place);
            }
        }
    }

    /// The ledgers that are tables.
    async fn ledgers(
        &mut self,
        events: &Root,
        released: &Root,
        staging: &Path,
    ) -> anyhow::Result<Vec<Table>> {
        let mut tables = Vec::new();
        for (root, name) in [(events, "outcomes"), (released, "releases")] {
            let Some(table) = Table::open(root, "ledger", name).await? else { continue };
            let values = &mut self.values;
            table.each_file(staging, &mut self.findings, &mut |file, batch| {
                let place = table.place(file);
                for (column, array) in batch.schema().fields().iter().zip(batch.columns()) {
                    let at = format!("{}, column {}", table.name, column.name());
                    // Policy digests and hashes of rows.
                    let ours = matches!(column.name().as_str(), "manifest" | "digest");
                    let rules = if ours { patterns::Rules::STRICT } else { patterns::Rules::ALL };
                    values.column(&at, &place, array.as_ref(), rules);
                }
                Ok(())
            });
            tables.push(table);
        }
        Ok(tables)
    }

    /// Hours of the embedded log, and those that should be gone.
    async fn log_hours(&mut self, config: &Config, now: Millis) -> Vec<LogHour> {
        let hours = match hours(config).await {
            Ok(hours) => hours,
            Err(error) => {
                self.not_looked_at.push(format!("hours of the raw log: {error:#}"));
                return Vec::new();
            }
        };
        let (_, max_ms) = config.log.raw_retention_ms();
        for LogHour { hour, frames } in &hours {
            // The hour, and one for a running service to remove it.
            let end =
                Millis::parse(hour).map(|hour| hour.plus(max_ms + 2 * schemas::time::HOUR_MS));
            if end.is_some_and(|end| end <= now) {
                let what = "frames of an hour that should be gone";
                let place = format!("the raw log, hour {hour}");
                self.findings.push(Finding::counted(Code::LogPastEnd, what, place, *frames));
            }
        }
        hours
    }

    fn residency(
        &mut self,
        config: &Config,
        package: &Package,
    ) -> anyhow::Result<Vec<residency::Placed>> {
        let stores = residency::stores(config, package)?;
        for placed in stores.iter().filter(|placed| !placed.verdict.is_borne()) {
            let what = match placed.verdict {
                Verdict::Outside => "a store outside the residency that the policy promises",
                Verdict::Inside | Verdict::Asserted | Verdict::Unchecked | Verdict::Unknown => {
                    "a store of which nobody says that it is inside the residency"
                }
            };
            self.find(Code::Residency, what, &format!("{} ({})", placed.store, placed.place));
        }
        Ok(stores)
    }

    fn find(&mut self, code: Code, what: impl Into<String>, place: &str) {
        self.findings.push(Finding::new(code, what, place));
    }
}

/// Families and columns that earlier policies declared.
fn archived(root: &Root) -> anyhow::Result<BTreeSet<(String, String)>> {
    let mut declared = BTreeSet::new();
    for file in root.files("policies")? {
        let Ok(policy) = serde_json::from_slice::<Value>(&root.read(&file.name)?) else { continue };
        for family in policy["families"].as_array().into_iter().flatten() {
            let name = family["name"].as_str().unwrap_or_default();
            for column in family["columns"].as_array().into_iter().flatten() {
                let column = column["name"].as_str().unwrap_or_default();
                declared.insert((name.to_owned(), column.to_owned()));
            }
        }
    }
    Ok(declared)
}

/// Hours that the embedded log holds: from the running service, or from the log itself.
async fn hours(config: &Config) -> anyhow::Result<Vec<LogHour>> {
    anyhow::ensure!(config.kafka.is_none(), "it is in Kafka, which keeps frames as its topic says");
    if !config.log_dir().exists() {
        return Ok(Vec::new());
    }
    if store::is_in_use(&config.data) {
        let address = config.operator.listen;
        let text = tokio::task::spawn_blocking(move || status::fetch(address)).await??;
        let status: Status = serde_json::from_str(&text).context("not a status")?;
        return Ok(status.log_hours);
    }
    let _lock = DataLock::take(&config.data)?;
    let log = EmbeddedLog::open(&config.log_dir(), config.log.partitions)?;
    Ok(LogHour::of(&log as &dyn Log).await)
}

impl Report {
    /// For a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        text::render(&page::Page::of(self))
    }

    /// One file for a browser, without scripts.
    #[must_use]
    pub fn html(&self) -> String {
        html::render(&page::Page::of(self))
    }
}

#[cfg(test)]
mod tests;
