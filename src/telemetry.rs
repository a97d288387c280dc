//! Log lines and metrics of the process itself.

use std::io::IsTerminal;
use std::sync::OnceLock;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

mod described;

/// Crates whose log lines are written by us, and hence checked to hold nothing personal.
const OURS: [&str; 8] =
    ["quorate", "anonymizer", "disclosure", "ingest", "query", "schemas", "sink", "transport"];

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Writes log lines to standard error, as `RUST_LOG` asks, else from `default` on.
///
/// Other people's crates say nothing, whatever is asked: at `trace` an HTTP library may print headers, and those hold
/// addresses and keys. Their errors come back to us as results.
pub fn log_to_stderr(default: LevelFilter) {
    let asked = EnvFilter::builder().with_default_directive(default.into()).from_env_lossy();
    let ours = Targets::new().with_targets(OURS.map(|name| (name, Level::TRACE)));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Filters of everything, and not of this layer: such a one remembers by thread that it refused a record of the `log`
    // crate, and takes that out on the next line of ours.
    // A second call (tests start several services in one process) keeps the first subscriber.
    drop(tracing_subscriber::registry().with(asked).with(ours).with(lines).try_init());
}

/// The process's metrics, in Prometheus' text form when rendered.
///
/// # Errors
///
/// If another recorder was installed before.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    if let Some(handle) = METRICS.get() {
        return Ok(handle.clone());
    }
    let handle = PrometheusBuilder::new().install_recorder().context("cannot record metrics")?;
    described::describe();
    Ok(METRICS.get_or_init(|| handle).clone())
}

/// A count as the value of a gauge.
#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts stay far below 2^53")]
pub(crate) fn as_gauge(count: u64) -> f64 {
    count as f64
}
