//! `quorate status`: what the running service does.

use std::net::SocketAddr;

use schemas::Note;
use serde_json::Value;

use crate::commands::{print, table};
use crate::config::{Config, Roles};
use crate::operator::{Outcomes, Status};
use crate::residency::Placed;

/// Options of `status`.
#[derive(clap::Args)]
pub struct Args {
    /// Prints the service's answer as JSON.
    #[arg(long)]
    json: bool,
}

/// Asks the operator's port, and prints its answer.
///
/// # Errors
///
/// If the service does not answer.
pub async fn run(args: &Args, config: Config) -> anyhow::Result<()> {
    let address = config.operator.listen;
    let text = tokio::task::spawn_blocking(move || fetch(address)).await??;
    if args.json {
        return print(&format!("{text}\n"));
    }
    print(&render(&serde_json::from_str(&text)?))
}

pub(crate) fn fetch(address: SocketAddr) -> anyhow::Result<String> {
    let mut answer = ureq::get(format!("http://{address}/status")).call().map_err(|error| {
        anyhow::anyhow!("no service answers at {address} ({error}): start it with `quorate run`")
    })?;
    Ok(answer.body_mut().read_to_string()?)
}

fn render(status: &Status) -> String {
    let mut text = String::new();
    if !status.roles.is_empty() && !status.roles.parse().is_ok_and(Roles::is_all) {
        let Status { roles, partitions, .. } = status;
        text.push_str(&format!("roles: {roles}; partitions read here: {partitions}\n\n"));
    }
    if !status.sources.is_null() {
        text.push_str(&render_sources(&status.sources));
    }
    text.push_str(&format!(
        "\nlog: {} frames not committed, {} bytes on disk\nlast commit: {}\ncomplete until: {}\n",
        status.backlog_frames,
        status.log_bytes,
        status.committed.as_deref().unwrap_or("none yet"),
        status.complete_until.as_deref().unwrap_or("another process knows"),
    ));
    if status.worker_failures > 0 {
        let failures = status.worker_failures;
        text.push_str(&format!("the worker failed {failures} times in a row: see the log lines\n"));
    }
    if status.oldest_uncommitted_s > 0 {
        let hours = status.oldest_uncommitted_s / 3_600;
        text.push_str(&format!("events are waiting for more than {hours} hours to be committed\n"));
    }
    if !status.suspended.is_empty() {
        let why = status.suspended.join(", ");
        text.push_str(&format!(
            "no events are taken, to keep those that are acknowledged: {why}\n"
        ));
    }
    if let Some(jump) = status.clock_jump_s {
        text.push_str(&format!(
            "the clock jumped by {jump} s: nothing is destroyed or released until it is right, or until\n\
             `quorate keyring trust-clock` says that it is\n"
        ));
    }
    if let Some(free) = status.free_bytes {
        text.push_str(&format!("disk: {free} bytes free\n"));
    }
    if status.lost_frames > 0 {
        let lost = status.lost_frames;
        text.push_str(&format!(
            "{lost} acknowledged frames could not be read: see the log lines\n"
        ));
    }
    if status.holds > 0 {
        text.push_str(&format!("legal holds: {} (see `quorate hold list`)\n", status.holds));
    }
    if status.requests_open > 0 {
        let (open, overdue) = (status.requests_open, status.requests_overdue);
        text.push_str(&format!(
            "requests of single people: {open} not answered, {overdue} overdue\n"
        ));
    }
    if !status.outcomes.is_empty() {
        text.push('\n');
        text.push_str(&render_outcomes(&status.outcomes));
    }
    if !status.residency.is_empty() {
        text.push('\n');
        text.push_str(&render_residency(&status.residency));
    }
    let mut rows = vec![["statistic", "period from", "closes at"].map(str::to_owned).to_vec()];
    for closing in &status.closings {
        let cells = [&closing.statistic, &closing.period_start, &closing.closes_at];
        rows.push(cells.map(Clone::clone).to_vec());
    }
    text.push('\n');
    text.push_str(&table(&rows));
    text
}

/// A line a family; what was received is the sum of the rest.
fn render_outcomes(outcomes: &[Outcomes]) -> String {
    let heading = ["family", "received", "stored", "duplicate", "refused", "expired", "suppressed"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for of in outcomes {
        let name = of.family.as_deref().unwrap_or("(none)").to_owned();
        let counts = [of.received, of.stored, of.duplicate, of.refused, of.expired, of.suppressed];
        rows.push(std::iter::once(name).chain(counts.map(|count| count.to_string())).collect());
    }
    format!("{}{}", table(&rows), render_notes(outcomes))
}

/// A line a note and declared word: what signals, refusals and flags took, and by whose word.
fn render_notes(outcomes: &[Outcomes]) -> String {
    let mut rows = vec![["family", "noted", "of", "count"].map(str::to_owned).to_vec()];
    for of in outcomes {
        let name = of.family.as_deref().unwrap_or("(none)");
        let mut row = |note: Note, word: &str, count: u64| {
            let note = note.name().replace('_', " ");
            rows.push(vec![name.to_owned(), note, word.to_owned(), count.to_string()]);
        };
        for (&note, &count) in &of.notes {
            row(note, "", count);
            let words = of.named.get(&note).into_iter().flatten();
            words.for_each(|(word, &count)| row(note, word, count));
        }
    }
    if rows.len() > 1 { format!("\n{}", table(&rows)) } else { String::new() }
}

/// A line a store: the promise is as good as what is known of where it is.
pub(crate) fn render_residency(stores: &[Placed]) -> String {
    let mut rows = vec![["store", "region", "residency"].map(str::to_owned).to_vec()];
    for Placed { store, place: _, region, verdict } in stores {
        let region = region.clone().unwrap_or_default();
        rows.push(vec![store.clone(), region, verdict.text().to_owned()]);
    }
    table(&rows)
}

/// A line a source; columns are named as the keys of the service's answer.
fn render_sources(sources: &Value) -> String {
    let Some(sources) = sources.as_array().filter(|sources| !sources.is_empty()) else {
        return "no event since the service started\n".to_owned();
    };
    let columns =
        ["source", "last_event", "events_per_minute", "accepted", "refused_total", "undeclared"];
    let heading = columns.iter().copied().chain(["refused"]);
    let mut rows = vec![heading.map(|name| name.replace('_', " ")).collect::<Vec<_>>()];
    for source in sources {
        let mut row: Vec<String> = columns.iter().map(|&column| word(&source[column])).collect();
        let reasons = source["refused"].as_object().map_or_else(String::new, |reasons| {
            let each = reasons.iter().map(|(reason, count)| format!("{reason} {count}"));
            each.collect::<Vec<_>>().join(", ")
        });
        row.push(reasons);
        rows.push(row);
    }
    table(&rows)
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::residency::Verdict;

    #[test]
    fn a_status_is_a_table_by_source_with_reasons_then_log_and_closings() {
        let status = Status {
            roles: "ingest,worker".to_owned(),
            partitions: 3,
            sources: serde_json::json!([{
                "source": "first-device", "last_event": "2026-01-01T00:00:00.000Z", "accepted": 7,
                "events_per_minute": 2, "refused_total": 1, "undeclared": 3,
                "refused": { "out_of_range": 1 },
            }]),
            backlog_frames: 4,
            log_bytes: 5,
            committed: None,
            complete_until: None,
            worker_failures: 0,
            oldest_uncommitted_s: 7_300,
            suspended: vec!["expiry".to_owned()],
            clock_jump_s: Some(-7_200),
            free_bytes: Some(6),
            lost_frames: 0,
            holds: 3,
            outcomes: vec![Outcomes {
                received: 91,
                suppressed: 91,
                notes: [(Note::Nulled, 7), (Note::SignalGpc, 5)].into(),
                named: [(Note::Nulled, [("website".to_owned(), 6)].into())].into(),
                ..Outcomes::default()
            }],
            requests_open: 2,
            requests_overdue: 1,
            closings: Vec::new(),
            log_hours: Vec::new(),
            residency: vec![Placed {
                store: "keyring".to_owned(),
                place: "keys".to_owned(),
                region: None,
                verdict: Verdict::Unchecked,
            }],
        };
        let text = render(&status);
        for part in [
            "first-device",
            "(none)",
            "91",
            "out_of_range 1",
            "signal gpc",
            "website",
            "4 frames not committed",
            "none yet",
            "roles: ingest,worker; partitions read here: 3",
            "complete until: another process knows",
            "2 hours",
            "acknowledged: expiry",
            "-7200 s",
            "2 not answered, 1 overdue",
            "legal holds: 3",
            "the operator's assertion",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(!text.contains("failed"));
    }
}
