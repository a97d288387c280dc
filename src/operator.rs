//! The operator's port: health, readiness, metrics, status. No token, loopback only.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use disclosure::Disclosure;
use ingest::Suspension;
use metrics_exporter_prometheus::PrometheusHandle;
use schemas::time::SECOND_MS;
use schemas::{Clock, Millis, Named, Note, Outcome};
use serde::{Deserialize, Serialize};
use sink::{Counted, OutcomeRow};
use transport::Log;

use crate::apart::Apart;
use crate::config::Roles;
use crate::pipeline::Progress;
use crate::residency::Placed;
use crate::space::Free;
use crate::subject::{Entry, Requests, Stage};
use crate::telemetry::as_gauge;

/// Failed rounds of the worker after which the service says that it is not ready.
const FAILURES_MAX: u64 = 3;

/// What the port looks at.
#[derive(Clone)]
pub struct Operator {
    /// The process's metrics.
    pub metrics: PrometheusHandle,
    /// How far the worker is.
    pub progress: Arc<Progress>,
    /// Room on the disk.
    pub free: Arc<Free>,
    /// What the process does.
    pub roles: Roles,
    /// The door, if this process has it.
    pub server: Option<Arc<ingest::Server>>,
    /// The log, if this process has it.
    pub log: Option<Arc<dyn Log>>,
    /// Gate 2, for the next closings, if this process has it.
    pub disclosure: Option<Arc<Disclosure>>,
    /// Requests of single people, if this process takes them.
    pub requests: Option<Arc<Requests>>,
    /// Rows that are kept apart, if this process can see them.
    pub apart: Option<Arc<Apart>>,
    /// Where stores are, if the package promises a residency.
    pub residency: Vec<Placed>,
    /// Tells the time.
    pub clock: Clock,
}

/// The answer of `/status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// What the process does, as in `--roles`.
    #[serde(default)]
    pub roles: String,
    /// Counts by source, since the service started; null where no events are taken.
    pub sources: serde_json::Value,
    /// Frames in the log that are not committed.
    pub backlog_frames: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// When the last commit was made, RFC 3339.
    pub committed: Option<String>,
    /// Everything received before this was committed, RFC 3339; null where this process cannot tell.
    pub complete_until: Option<String>,
    /// Partitions that this process reads.
    #[serde(default)]
    pub partitions: usize,
    /// Failed rounds of the worker since the last good one.
    pub worker_failures: u64,
    /// Seconds since the hour of the oldest uncommitted frame ended; at `raw_retention_max_hours` it expires.
    #[serde(default)]
    pub oldest_uncommitted_s: i64,
    /// Why no events are taken: `expiry`, so that those that are acknowledged do not expire; `space`; `shared`, because what other
    /// nodes did with keys and suppression list cannot be read.
    #[serde(default)]
    pub suspended: Vec<String>,
    /// How far the wall clock is off, in seconds, if it is not believed: then nothing is destroyed or released.
    #[serde(default)]
    pub clock_jump_s: Option<i64>,
    /// Bytes free on the fullest disk in use.
    #[serde(default)]
    pub free_bytes: Option<u64>,
    /// Acknowledged frames that could not be read and were passed over since the service started.
    #[serde(default)]
    pub lost_frames: u64,
    /// Legal holds on rows.
    #[serde(default)]
    pub holds: usize,
    /// What became of every event, by the ledger as it was last committed; those of no family first.
    #[serde(default)]
    pub outcomes: Vec<Outcomes>,
    /// Requests of single people that are not answered yet.
    #[serde(default)]
    pub requests_open: u64,
    /// Those of them that should have been by now.
    #[serde(default)]
    pub requests_overdue: u64,
    /// The next period of each statistic to close.
    pub closings: Vec<Closing>,
    /// Hours of the embedded log, oldest first.
    #[serde(default)]
    pub log_hours: Vec<LogHour>,
    /// Where stores are, if the package promises a residency.
    #[serde(default)]
    pub residency: Vec<Placed>,
}

/// Frames that were sealed in one hour or before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogHour {
    /// Begin of the hour, RFC 3339.
    pub hour: String,
    /// How many.
    pub frames: u64,
}

impl LogHour {
    /// The hours that a log holds.
    pub async fn of(log: &dyn Log) -> Vec<Self> {
        let hours = log.hours().await.into_iter();
        hours
            .map(|(hour, frames)| Self { hour: Millis::of_hour(hour).to_string(), frames })
            .collect()
    }
}

/// What became of the events of one family: received is the sum of the others.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// The family; null for events that were refused before they had one.
    pub family: Option<String>,
    /// Events received.
    pub received: u64,
    /// Events that are rows, or were until their time was over.
    pub stored: u64,
    /// Second copies.
    pub duplicate: u64,
    /// Events that were refused, for whatever reason.
    pub refused: u64,
    /// Events whose key was destroyed before they were committed.
    pub expired: u64,
    /// Events of people who objected or were erased.
    pub suppressed: u64,
    /// What was noted on the way, no outcome of its own: signals, grants that do not count, fields nulled and dropped.
    #[serde(default)]
    pub notes: BTreeMap<Note, u64>,
    /// Of some notes, how much belongs to which declared word: fields nulled by purpose, refused names by category.
    #[serde(default)]
    pub named: Named,
}

impl Outcomes {
    /// Adds up the lines of the ledger by family.
    fn by_family(rows: Vec<OutcomeRow>) -> Vec<Self> {
        let nothing = |family| Self { family, ..Self::default() };
        by_family(rows, nothing, |of, counted, count| match counted {
            Counted::Received => of.received += count,
            Counted::Outcome(Outcome::Stored) => of.stored += count,
            Counted::Outcome(Outcome::Duplicate) => of.duplicate += count,
            Counted::Outcome(Outcome::Expired) => of.expired += count,
            Counted::Outcome(Outcome::Suppressed) => of.suppressed += count,
            Counted::Refused(_) => of.refused += count,
            Counted::Note(note) => *of.notes.entry(note).or_default() += count,
            Counted::Named(note, word) => {
                *of.named.entry(note).or_default().entry(word).or_default() += count;
            }
            // The ledger counts refusals by reason alone.
            Counted::Outcome(Outcome::Refused) => {}
        })
    }
}

/// Adds up lines of the ledger, all partitions together: one entry a family, begun as `nothing`, those of no family first.
pub(crate) fn by_family<T>(
    rows: Vec<OutcomeRow>,
    nothing: impl Fn(Option<String>) -> T,
    add: impl Fn(&mut T, Counted, u64),
) -> Vec<T> {
    let mut families: BTreeMap<Option<String>, T> = BTreeMap::new();
    for OutcomeRow { family, counted, count, partition: _ } in rows {
        add(families.entry(family.clone()).or_insert_with(|| nothing(family)), counted, count);
    }
    families.into_values().collect()
}

/// When a period closes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Closing {
    /// The statistic.
    pub statistic: String,
    /// Start of the period, RFC 3339.
    pub period_start: String,
    /// From when on it can be released, RFC 3339.
    pub closes_at: String,
}

/// The routes of the port.
pub fn router(operator: Operator) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .route("/status", get(status))
        .with_state(operator)
}

async fn ready(State(operator): State<Operator>) -> impl IntoResponse {
    if !operator.server.as_ref().is_none_or(|server| server.ready()) {
        (StatusCode::SERVICE_UNAVAILABLE, "no events are taken: see the status and the log lines\n")
    } else if operator.progress.failures() < FAILURES_MAX {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the worker cannot commit: see the log lines\n")
    }
}

async fn render(State(operator): State<Operator>) -> impl IntoResponse {
    metrics::gauge!("quorate_log_backlog_frames").set(as_gauge(operator.progress.backlog_frames()));
    metrics::gauge!("quorate_log_bytes").set(as_gauge(operator.log_bytes().await));
    metrics::gauge!("quorate_lost_frames").set(as_gauge(operator.progress.lost_frames()));
    if let Some(free) = operator.free.bytes() {
        metrics::gauge!("quorate_disk_free_bytes").set(as_gauge(free));
    }
    let suspended = operator.suspensions();
    for reason in Suspension::ALL {
        let value = f64::from(u8::from(suspended.contains(&reason)));
        metrics::gauge!("quorate_suspended", "reason" => reason.name()).set(value);
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, operator.metrics.render())
}

async fn status(State(operator): State<Operator>) -> impl IntoResponse {
    let seen = operator.progress.seen();
    let disclosure = operator.disclosure.iter();
    let closings = disclosure.flat_map(|disclosure| disclosure.closings((operator.clock)()));
    let closing = |closing: disclosure::Closing| Closing {
        statistic: closing.statistic,
        period_start: closing.period_start.to_string(),
        closes_at: closing.closes_at.to_string(),
    };
    let (requests_open, requests_overdue) = operator.waiting();
    Json(Status {
        roles: operator.roles.to_string(),
        sources: serde_json::to_value(operator.server.as_ref().map(|server| server.stats()))
            .unwrap_or_default(),
        backlog_frames: operator.progress.backlog_frames(),
        log_bytes: operator.log_bytes().await,
        committed: operator.progress.committed().map(|time| time.to_string()),
        complete_until: operator.progress.complete_until().map(|time| time.to_string()),
        partitions: operator.progress.positions().len(),
        worker_failures: operator.progress.failures(),
        oldest_uncommitted_s: seen.oldest_uncommitted_ms / SECOND_MS,
        suspended: operator.suspensions().iter().map(|why| why.name().to_owned()).collect(),
        clock_jump_s: seen.jump_ms.map(|ms| ms / SECOND_MS),
        free_bytes: operator.free.bytes(),
        lost_frames: operator.progress.lost_frames(),
        holds: operator.apart.as_ref().map_or(0, |apart| apart.holds()),
        outcomes: Outcomes::by_family(operator.progress.outcomes()),
        requests_open,
        requests_overdue,
        closings: closings.map(closing).collect(),
        log_hours: match &operator.log {
            Some(log) => LogHour::of(log.as_ref()).await,
            None => Vec::new(),
        },
        residency: operator.residency,
    })
}

impl Operator {
    fn suspensions(&self) -> Vec<Suspension> {
        self.server.as_ref().map_or_else(Vec::new, |server| server.suspensions())
    }

    /// Requests that are not answered, and those that should have been.
    fn waiting(&self) -> (u64, u64) {
        let entries = self.requests.as_ref().map_or_else(Vec::new, |requests| requests.entries());
        let is_open = |entry: &&Entry| matches!(entry.state, Stage::Received | Stage::Removing);
        let overdue = entries.iter().filter(|entry| entry.overdue);
        (entries.iter().filter(is_open).count() as u64, overdue.count() as u64)
    }

    async fn log_bytes(&self) -> u64 {
        match &self.log {
            Some(log) => log.bytes().await,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::Reason;

    use super::*;

    #[test]
    fn outcomes_of_all_partitions_add_up_by_family() {
        let row = |family: Option<&str>, partition, counted, count| OutcomeRow {
            family: family.map(str::to_owned),
            partition,
            counted,
            count,
        };
        let outcomes = Outcomes::by_family(vec![
            row(Some("web"), 0, Counted::Received, 7),
            row(Some("web"), 1, Counted::Received, 8),
            row(Some("web"), 0, Counted::Outcome(Outcome::Stored), 5),
            row(Some("web"), 1, Counted::Outcome(Outcome::Duplicate), 4),
            row(Some("web"), 1, Counted::Outcome(Outcome::Expired), 3),
            row(Some("web"), 1, Counted::Outcome(Outcome::Suppressed), 2),
            row(Some("web"), 0, Counted::Refused(Reason::TooLong), 1),
            row(Some("web"), 0, Counted::Note(Note::Undeclared), 9),
            row(Some("web"), 0, Counted::Named(Note::Nulled, "website".to_owned()), 2),
            row(Some("web"), 1, Counted::Named(Note::Nulled, "website".to_owned()), 3),
            row(None, 0, Counted::Received, 6),
            row(None, 0, Counted::Refused(Reason::Malformed), 6),
        ]);
        let web = Outcomes {
            family: Some("web".to_owned()),
            received: 15,
            stored: 5,
            duplicate: 4,
            refused: 1,
            expired: 3,
            suppressed: 2,
            notes: [(Note::Undeclared, 9)].into(),
            named: [(Note::Nulled, [("website".to_owned(), 5)].into())].into(),
        };
        assert_eq!(outcomes, [Outcomes { received: 6, refused: 6, ..Outcomes::default() }, web]);
    }
}
