//! Golden files: what senders hear is an interface, and does not change by accident.

use std::path::Path;

use axum::body::to_bytes;
use schemas::{Reason, Tally};

use super::*;

/// Status, headers that mean something, and body, as one text.
async fn whole(response: Response<Body>) -> String {
    let (parts, body) = response.into_parts();
    let mut text = format!("{}\n", parts.status);
    for name in [header::ALLOW, header::CONNECTION, header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        if let Some(value) = parts.headers.get(&name) {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
    }
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    text.push_str(&serde_json::to_string_pretty(&body).unwrap());
    text.push('\n');
    text
}

fn check(name: &str, answer: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(golden, answer, "{name}: if the change is wanted, put the new answer into the file");
}

#[tokio::test]
async fn answers_are_the_golden_ones() {
    let problems = [
        ("malformed.txt", Problem::Body(BodyError::Syntax { line: 3, column: 17 })),
        ("truncated.txt", Problem::Body(BodyError::Truncated { line: 1, column: 9 })),
        ("empty.txt", Problem::Body(BodyError::Empty)),
        ("too_many_events.txt", Problem::Body(BodyError::TooManyEvents { max: 20_000 })),
        ("corrupt.txt", Problem::Corrupt),
        ("no_key.txt", Problem::Denied(Denied::NoKey)),
        ("unknown_key.txt", Problem::Denied(Denied::Unknown)),
        ("origin.txt", Problem::Denied(Denied::Origin)),
        ("not_found.txt", Problem::NotFound),
        ("method.txt", Problem::Method),
        ("timeout.txt", Problem::Timeout),
        ("too_large.txt", Problem::TooLarge { bytes_max: 4_194_304 }),
        ("unsupported_encoding.txt", Problem::UnsupportedEncoding),
        ("too_many_requests.txt", Problem::TooMany { retry_after_s: 3 }),
        ("busy.txt", Problem::Busy),
        ("not_durable.txt", Problem::NotDurable),
        ("suspended.txt", Problem::Suspended),
    ];
    for (name, problem) in problems {
        check(name, &whole(problem.response()).await);
    }
}

fn report(accepted: u64) -> Report {
    let refusal = Refusal {
        index: 1,
        reason: Reason::OutOfRange,
        field: Some("duration".to_owned()),
        expected: "whole number of milliseconds from 0 to 3600000".to_owned(),
        retry: false,
    };
    let change = Change {
        index: 0,
        field: "scan_program".to_owned(),
        kept: "other".to_owned(),
        expected: "text, best one of dentition, tmj, other".to_owned(),
    };
    Report {
        accepted: vec![accepted],
        tallies: vec![Tally::default(); 2],
        refused: vec![refusal],
        refused_total: 1,
        changed: if accepted > 0 { vec![change] } else { Vec::new() },
        changed_total: accepted,
        undeclared: 2,
    }
}

#[tokio::test]
async fn receipts_are_the_golden_ones() {
    check("mixed.txt", &whole(receipt(&report(1))).await);
    check("all_refused.txt", &whole(receipt(&report(0))).await);
    check("nothing.txt", &whole(receipt(&Report::default())).await);
}
