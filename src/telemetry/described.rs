//! Every metric of the binary, with its unit: what stands behind `# HELP` at `GET /metrics`, and what the board in
//! `deploy/grafana` draws.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// How a metric moves.
#[derive(Clone, Copy)]
enum Kind {
    /// Up, from 0 at each start.
    Counter,
    /// Up and down.
    Gauge,
    /// A value each time, of which quantiles are told.
    Histogram,
}

/// Name, kind, unit, meaning.
const METRICS: &[(&str, Kind, Unit, &str)] = &[
    (
        "quorate_append_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "from a sealed frame to the log's acknowledgement",
    ),
    (
        "quorate_clock_jump_seconds",
        Kind::Gauge,
        Unit::Seconds,
        "how far the clock has jumped, while it is not believed; else 0",
    ),
    ("quorate_commits_total", Kind::Counter, Unit::Count, "commits to the tables"),
    (
        "quorate_committed_rows_total",
        Kind::Counter,
        Unit::Count,
        "rows committed to the tables of events",
    ),
    (
        "quorate_connections_closed_total",
        Kind::Counter,
        Unit::Count,
        "connections closed by the service, by reason",
    ),
    ("quorate_disk_free_bytes", Kind::Gauge, Unit::Bytes, "free space of the fullest disk in use"),
    (
        "quorate_events_total",
        Kind::Counter,
        Unit::Count,
        "events answered, by family, outcome and reason",
    ),
    ("quorate_frame_bytes", Kind::Histogram, Unit::Bytes, "size of sealed frames"),
    (
        "quorate_frames_total",
        Kind::Counter,
        Unit::Count,
        "frames sent to the log, by what became of them",
    ),
    ("quorate_in_flight_bytes", Kind::Gauge, Unit::Bytes, "bodies in memory"),
    (
        "quorate_lag_events",
        Kind::Gauge,
        Unit::Count,
        "events of a partition that are not committed",
    ),
    (
        "quorate_lag_records",
        Kind::Gauge,
        Unit::Count,
        "frames (of topics of others: records) of a partition that are not committed",
    ),
    (
        "quorate_lag_seconds",
        Kind::Gauge,
        Unit::Seconds,
        "how long ago the oldest of them was received",
    ),
    (
        "quorate_log_backlog_frames",
        Kind::Gauge,
        Unit::Count,
        "frames in the log that are not committed",
    ),
    ("quorate_log_bytes", Kind::Gauge, Unit::Bytes, "space that the log takes, about"),
    (
        "quorate_lost_frames",
        Kind::Gauge,
        Unit::Count,
        "acknowledged frames that could not be read and were passed over since the start",
    ),
    (
        "quorate_notes_total",
        Kind::Counter,
        Unit::Count,
        "what was noted on the way of events: signals, grants that do not count, fields nulled and dropped; by family and note",
    ),
    (
        "quorate_nulled_total",
        Kind::Counter,
        Unit::Count,
        "fields nulled because all of their purposes fell, by family and purpose, a field under each of its own",
    ),
    (
        "quorate_oldest_uncommitted_seconds",
        Kind::Gauge,
        Unit::Seconds,
        "age of the oldest acknowledged event that is not committed",
    ),
    (
        "quorate_refused_names_total",
        Kind::Counter,
        Unit::Count,
        "undeclared fields whose name says that they hold what the package refuses, by family and category",
    ),
    (
        "quorate_request_problems_total",
        Kind::Counter,
        Unit::Count,
        "requests without an event that could be read, by problem",
    ),
    ("quorate_requests_total", Kind::Counter, Unit::Count, "requests answered, by status"),
    (
        "quorate_suspended",
        Kind::Gauge,
        Unit::Count,
        "1 while events are answered 503 for this reason, else 0",
    ),
    (
        "quorate_undeclared_total",
        Kind::Counter,
        Unit::Count,
        "fields dropped because nobody declared them, by family",
    ),
    (
        "quorate_worker_failures_total",
        Kind::Counter,
        Unit::Count,
        "rounds of the worker that failed and are tried again",
    ),
];

/// Tells the recorder in force what each of them is.
pub(super) fn describe() {
    for &(name, kind, unit, about) in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, unit, about),
            Kind::Gauge => describe_gauge!(name, unit, about),
            Kind::Histogram => describe_histogram!(name, unit, about),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOARD: &str = include_str!("../../deploy/grafana/quorate.json");

    #[test]
    fn the_board_draws_metrics_that_there_are() {
        let names = BOARD.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        let mut drawn: Vec<&str> = names.filter(|name| name.starts_with("quorate_")).collect();
        drawn.sort_unstable();
        drawn.dedup();
        assert!(drawn.len() > 15, "{drawn:?}");
        for name in drawn {
            assert!(METRICS.iter().any(|(known, ..)| *known == name), "{name} is no metric");
        }
    }
}
