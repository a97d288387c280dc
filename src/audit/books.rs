//! The ledgers as they are read: what became of events, who asked for what by when, what was released.

use std::collections::BTreeMap;

use anyhow::Context;
use schemas::{Millis, Outcome};
use serde_json::Value;
use sink::Counted;
use storage::Root;

use super::finding::{Code, Finding};
use super::report::{FamilyOutcomes, ReleaseAtRest, RequestAtRest};
use crate::config::Config;
use crate::operator;

/// States in which nothing is owed any more.
const ENDED: &[&str] = &["done", "dropped", "answered", "refused", "withdrawn"];

/// What became of events by family, and where the sums do not hold.
pub(super) async fn outcomes(
    config: &Config,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<Vec<FamilyOutcomes>> {
    let rows = sink::outcomes(&config.events_root()?, &config.staging_dir()).await;
    let rows = rows.context("ledger/outcomes cannot be read")?;
    let nothing = |family| FamilyOutcomes { family, ..FamilyOutcomes::default() };
    let families = operator::by_family(rows, nothing, |of, counted, count| match counted {
        Counted::Received => of.received += count,
        Counted::Outcome(Outcome::Stored) => of.stored += count,
        Counted::Outcome(Outcome::Duplicate) => of.duplicate += count,
        Counted::Outcome(Outcome::Expired) => of.expired += count,
        Counted::Outcome(Outcome::Suppressed) => of.suppressed += count,
        Counted::Refused(reason) => *of.refused.entry(reason.name()).or_default() += count,
        // The ledger counts refusals by reason alone.
        Counted::Outcome(Outcome::Refused) => {}
        Counted::Note(note) => *of.notes.entry(note.name().to_owned()).or_default() += count,
        Counted::Named(note, word) => {
            *of.notes.entry(format!("{}.{word}", note.name())).or_default() += count;
        }
    });
    for of in &families {
        let refused: u64 = of.refused.values().sum();
        let ends = of.stored + of.duplicate + refused + of.expired + of.suppressed;
        if of.received != ends {
            let family = of.family.as_deref().unwrap_or("(none)");
            let what = format!("{} events received, {ends} ended", of.received);
            let place = format!("ledger/outcomes, family {family}");
            let count = of.received.abs_diff(ends);
            findings.push(Finding::counted(Code::Books, what, place, count));
        }
    }
    Ok(families)
}

/// Requests of people, by their last state.
pub(super) fn requests(
    root: &Root,
    now: Millis,
    findings: &mut Vec<Finding>,
) -> anyhow::Result<Vec<RequestAtRest>> {
    let text = match root.read("ledger/requests.jsonl") {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        text => text.context("ledger/requests.jsonl cannot be read")?,
    };
    let mut requests: BTreeMap<String, RequestAtRest> = BTreeMap::new();
    for line in String::from_utf8_lossy(&text).lines() {
        // A line that a crash tore says nothing.
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let word = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let request = requests.entry(word("request")).or_insert_with(|| RequestAtRest {
            request: word("request"),
            kind: word("kind"),
            family: word("family"),
            received: word("at"),
            due: word("due"),
            state: String::new(),
        });
        if !ENDED.contains(&request.state.as_str()) || ENDED.contains(&word("state").as_str()) {
            request.state = word("state");
        }
    }
    for request in requests.values() {
        let due = Millis::parse(&request.due);
        if !ENDED.contains(&request.state.as_str()) && due.is_some_and(|due| due < now) {
            let RequestAtRest { kind, family, due, .. } = request;
            let what = format!("a request ({kind}, {family}) was due at {due}");
            let place = format!("ledger/requests.jsonl, request {}", request.request);
            findings.push(Finding::new(Code::RequestOverdue, what, place));
        }
    }
    let mut requests: Vec<_> = requests.into_values().collect();
    requests.sort_by(|one, other| one.received.cmp(&other.received));
    Ok(requests)
}

/// What was released, by statistic.
pub(super) async fn releases(ledger: &Root) -> anyhow::Result<Vec<ReleaseAtRest>> {
    let releases = disclosure::releases(ledger, None).await;
    let mut told: BTreeMap<String, ReleaseAtRest> = BTreeMap::new();
    for release in releases.context("ledger/releases cannot be read")? {
        let (start, end) = (release.period.start.to_string(), release.period.end.to_string());
        let of = told.entry(release.statistic.clone()).or_insert_with(|| ReleaseAtRest {
            statistic: release.statistic.clone(),
            periods: 0,
            groups: 0,
            oldest: start.clone(),
            newest: end.clone(),
            revised: 0,
        });
        of.periods += 1;
        of.groups += release.groups;
        of.revised += u64::from(release.revised_at.is_some());
        if start < of.oldest {
            of.oldest = start;
        }
        if end > of.newest {
            of.newest = end;
        }
    }
    Ok(told.into_values().collect())
}
