//! Metrics. Labels are rules, and names that the package or the operator gave.

use axum::http::StatusCode;
use metrics::{counter, gauge};
use schemas::{Note, Package, Tally};

use crate::respond::Problem;
use crate::rows::Report;

/// Counts what became of the events of one request.
pub(crate) fn events(source: &str, package: &Package, report: &Report) {
    let family = |index: usize| package.families.get(index).map_or("", |family| &family.name);
    for (index, &count) in report.accepted.iter().enumerate().filter(|(_, count)| **count > 0) {
        let labels = [("source", source.to_owned()), ("family", family(index).to_owned())];
        counter!(
            "quorate_events_total",
            &[
                labels[0].clone(),
                labels[1].clone(),
                ("outcome", "accepted".to_owned()),
                ("reason", String::new()),
            ]
        )
        .increment(count);
    }
    for (index, tally) in report.tallies.iter().enumerate() {
        let labels = [("source", source.to_owned()), ("family", family(index).to_owned())];
        for (reason, &count) in &tally.refused {
            counter!(
                "quorate_events_total",
                &[
                    labels[0].clone(),
                    labels[1].clone(),
                    ("outcome", "refused".to_owned()),
                    ("reason", reason.name().to_owned()),
                ]
            )
            .increment(count);
        }
        if let Some(&count) = tally.notes.get(&Note::Undeclared) {
            counter!("quorate_undeclared_total", &labels).increment(count);
        }
        notes(family(index), tally);
    }
}

/// Counts what was noted of a family's events: signals, grants that do not count, fields nulled and dropped.
pub(crate) fn notes(family: &str, tally: &Tally) {
    for (note, &count) in &tally.notes {
        let labels = [("family", family.to_owned()), ("note", note.name().to_owned())];
        counter!("quorate_notes_total", &labels).increment(count);
    }
    for (note, words) in &tally.named {
        for (word, &count) in words {
            let label = |name| [("family", family.to_owned()), (name, word.clone())];
            if *note == Note::Nulled {
                counter!("quorate_nulled_total", &label("purpose")).increment(count);
            } else if *note == Note::RefusedName {
                counter!("quorate_refused_names_total", &label("category")).increment(count);
            }
        }
    }
}

/// Counts one answer.
pub(crate) fn answered(status: StatusCode) {
    counter!("quorate_requests_total", "status" => status.as_str().to_owned()).increment(1);
}

/// Counts why a request was not taken.
pub(crate) fn problem(problem: &Problem) {
    tracing::debug!(problem = problem.name(), "a request was not taken");
    counter!("quorate_request_problems_total", "problem" => problem.name()).increment(1);
}

/// Bytes of bodies in memory.
pub(crate) fn in_flight(bytes: usize) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "gauges are floats; memory stays far below 2^53"
    )]
    gauge!("quorate_in_flight_bytes").set(bytes as f64);
}
