//! The operator's port: health, readiness, metrics, status. No token, loopback only.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use disclosure::Disclosure;
use ingest::Suspension;
use metrics_exporter_prometheus::PrometheusHandle;
use schemas::Clock;
use schemas::time::SECOND_MS;
use serde::{Deserialize, Serialize};
use transport::Log;

use crate::pipeline::Progress;
use crate::space::Free;

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
    /// The door.
    pub server: Arc<ingest::Server>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// Gate 2, for the next closings.
    pub disclosure: Arc<Disclosure>,
    /// Tells the time.
    pub clock: Clock,
}

/// The answer of `/status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Status {
    /// Counts by source, since the service started.
    pub sources: serde_json::Value,
    /// Frames in the log that are not committed.
    pub backlog_frames: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// When the last commit was made, RFC 3339.
    pub committed: Option<String>,
    /// Everything received before this was committed, RFC 3339.
    pub complete_until: String,
    /// Failed rounds of the worker since the last good one.
    pub worker_failures: u64,
    /// Seconds since the hour of the oldest uncommitted frame ended; at `raw_retention_max_hours` it expires.
    #[serde(default)]
    pub oldest_uncommitted_s: i64,
    /// Why no events are taken: `expiry`, so that those that are acknowledged do not expire; `space`.
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
    /// The next period of each statistic to close.
    pub closings: Vec<Closing>,
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
    if !operator.server.ready() {
        (StatusCode::SERVICE_UNAVAILABLE, "no events are taken: see the status and the log lines\n")
    } else if operator.progress.failures() < FAILURES_MAX {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the worker cannot commit: see the log lines\n")
    }
}

async fn render(State(operator): State<Operator>) -> impl IntoResponse {
    metrics::gauge!("quorate_log_backlog_frames").set(as_gauge(operator.progress.backlog_frames()));
    metrics::gauge!("quorate_log_bytes").set(as_gauge(operator.log.bytes().await));
    metrics::gauge!("quorate_lost_frames").set(as_gauge(operator.progress.lost_frames()));
    if let Some(free) = operator.free.bytes() {
        metrics::gauge!("quorate_disk_free_bytes").set(as_gauge(free));
    }
    let suspended = operator.server.suspensions();
    for reason in Suspension::ALL {
        let value = f64::from(u8::from(suspended.contains(&reason)));
        metrics::gauge!("quorate_suspended", "reason" => reason.name()).set(value);
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (kind, operator.metrics.render())
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts stay far below 2^53")]
fn as_gauge(count: u64) -> f64 {
    count as f64
}

async fn status(State(operator): State<Operator>) -> impl IntoResponse {
    let seen = operator.progress.seen();
    let closings = operator.disclosure.closings((operator.clock)());
    let closing = |closing: disclosure::Closing| Closing {
        statistic: closing.statistic,
        period_start: closing.period_start.to_string(),
        closes_at: closing.closes_at.to_string(),
    };
    Json(Status {
        sources: serde_json::to_value(operator.server.stats()).unwrap_or_default(),
        backlog_frames: operator.progress.backlog_frames(),
        log_bytes: operator.log.bytes().await,
        committed: operator.progress.committed().map(|time| time.to_string()),
        complete_until: operator.progress.complete_until().to_string(),
        worker_failures: operator.progress.failures(),
        oldest_uncommitted_s: seen.oldest_uncommitted_ms / SECOND_MS,
        suspended: suspended(&operator.server),
        clock_jump_s: seen.jump_ms.map(|ms| ms / SECOND_MS),
        free_bytes: operator.free.bytes(),
        lost_frames: operator.progress.lost_frames(),
        closings: closings.into_iter().map(closing).collect(),
    })
}

fn suspended(server: &ingest::Server) -> Vec<String> {
    server.suspensions().into_iter().map(|reason| reason.name().to_owned()).collect()
}
