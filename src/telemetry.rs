//! Log lines and metrics of the process itself.

use std::io::IsTerminal;
use std::sync::OnceLock;

use anyhow::Context;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
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
    let lines = lines(default, std::io::stderr().is_terminal(), std::io::stderr);
    // A second call (tests start several services in one process) keeps the first subscriber.
    drop(lines.try_init());
}

/// Writes lines to `writer`, in colours or not.
///
/// Filters are of everything, and not of the layer that writes: such a one remembers by thread that it refused a record
/// of the `log` crate, and takes that out on the next line of ours.
fn lines<W>(default: LevelFilter, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let asked = EnvFilter::builder().with_default_directive(default.into()).from_env_lossy();
    let ours = Targets::new().with_targets(OURS.map(|name| (name, Level::TRACE)));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    tracing_subscriber::registry().with(asked).with(ours).with(lines)
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_others_are_refused_and_take_none_of_ours_with_them() {
        let elsewhere = || tracing::info_span!(target: "elsewhere", "theirs").metadata();
        let theirs = with_default(tracing_subscriber::registry(), elsewhere).unwrap();
        let written = Written::default();
        let writer = written.clone();
        with_default(lines(LevelFilter::INFO, false, move || writer.clone()), || {
            for _ in 0..3 {
                // As a record of the `log` crate asks.
                let wanted = tracing::dispatcher::get_default(|lines| lines.enabled(theirs));
                assert!(!wanted);
                tracing::info!(target: "quorate::telemetry", "ours");
            }
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.matches("ours").count(), 3, "{text}");
    }
}
