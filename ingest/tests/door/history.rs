//! Import and `try`: the same decoding and checks as behind the door.

use std::sync::Arc;

use crate::support::{DANISH, Gates, NOW, TestClock, package};
use anonymizer::{Connection, Origin, Signals};
use arrow::array::AsArray;
use ingest::{Error, Importer, Outcome, Sender, explain};
use schemas::access::SourceKind;
use schemas::{Note, Reason};

fn gates() -> (tempfile::TempDir, Gates) {
    let folder = tempfile::tempdir().unwrap();
    let gates = Gates::new(package(), folder.path(), &TestClock::new().clock());
    (folder, gates)
}

fn importer(gates: &Gates) -> Importer {
    Importer::new(Arc::clone(&gates.package), Arc::clone(&gates.resolver), "shop", NOW)
}

#[test]
fn lines_become_batches_and_refusals_become_counts() {
    let (_folder, gates) = gates();
    let mut importer = importer(&gates);
    let line = |rest: &str| {
        format!(r#"{{"type":"device_usage","product":"x1","time":"2025-11-21T10:00:00Z"{rest}}}"#)
    };
    let person = format!(r#","end_user":{{"address":"{DANISH}"}},"signals":{{"gpc":true}}"#);
    assert!(importer.push_line(line(r#","scan_program":"new""#).as_bytes()).is_ok());
    assert!(importer.push_line(line(&person).as_bytes()).is_ok());
    assert!(importer.push_line(br#"{"type":"web","url":"/a","time":1763700000000}"#).is_ok());
    for (bad, expected) in [
        (line(r#","duration":-1"#), Reason::OutOfRange),
        (r#"{"type":"device_usage","product":"x1"}"#.to_owned(), Reason::MissingField),
        ("{".to_owned(), Reason::Malformed),
        (String::new(), Reason::Malformed),
        ("[]".to_owned(), Reason::Malformed),
        ("x".repeat(2 << 20), Reason::TooLong),
    ] {
        match importer.push_line(bad.as_bytes()) {
            Err(Error::Refused { reason, .. }) => assert_eq!(reason, expected, "{bad:.40}"),
            other => panic!("{other:?} for {bad:.40}"),
        }
    }
    assert_eq!(importer.rows(), 3);
    let batches = importer.take();
    let rows: Vec<usize> = batches.iter().map(anonymizer::RawBatch::rows).collect();
    assert_eq!((rows, importer.rows()), (vec![2, 1], 0));
    let (device_usage, _) = gates.package.family("device_usage").unwrap();
    let tallies = importer.take_tally();
    let (family, of_family) = &tallies[0];
    assert_eq!((*family, of_family.refused_total()), (Some(device_usage), 2));
    assert_eq!((of_family.notes[&Note::Otherwise], of_family.notes[&Note::SignalGpc]), (1, 1));
    let (none, of_none) = &tallies[1];
    assert_eq!((*none, of_none.refused_total()), (None, 4));
    assert!(importer.take_tally().is_empty());

    let origin = Origin { partition: u16::MAX, position: 0, import: true };
    let batch = batches.into_iter().next().unwrap();
    let anonymized = gates.gate.anonymize(batch, &origin, NOW).unwrap();
    let countries = anonymized.rows().column_by_name("country").unwrap().as_string::<i32>();
    assert!(countries.iter().all(|country| country.is_none()), "GPC forbids it, or nobody said");
}

#[test]
fn an_imported_event_gives_the_row_of_the_live_one() {
    let (_folder, gates) = gates();
    let mut importer = importer(&gates);
    let event = format!(
        r#"{{"type":"device_usage","product":"x1","serial_number":"X1-1","version":"3.8.1","time":{},"end_user":{{"address":"{DANISH}"}}}}"#,
        NOW.0 - 1000
    );
    importer.push_line(event.as_bytes()).unwrap();
    let batch = importer.take().remove(0);
    let origin = Origin { partition: u16::MAX, position: 0, import: true };
    let anonymized = gates.gate.anonymize(batch, &origin, NOW).unwrap();
    let rows = anonymized.rows();
    let text = |column: &str| rows.column_by_name(column).unwrap().as_string::<i32>().value(0);
    assert_eq!((text("country"), text("version"), text("_clock")), ("DK", "3.8", "device"));
}

fn try_out(gates: &Gates, kind: SourceKind, body: &str) -> Result<ingest::Explained, Error> {
    let sender = Sender { source: "try".to_owned(), kind, signals: Signals::default() };
    let connection = Connection {
        address: DANISH.parse().ok(),
        user_agent: String::new(),
        accept_language: String::new(),
    };
    let gates = (&gates.package, &gates.resolver, &gates.gate);
    explain(gates.0, gates.1, gates.2, &sender, connection, body.as_bytes(), NOW)
}

#[test]
fn a_trial_tells_the_fate_of_every_field() {
    let (_folder, gates) = gates();
    let body = r#"{"type":"device_usage","product":"x1","serial_number":"X1-CANARY","scan_program":"new",
        "email":"a@b.example","url":"/a"}"#;
    let explained = try_out(&gates, SourceKind::Device, body).unwrap();
    assert!(
        matches!(&explained.outcome, Outcome::Accepted { family, .. } if family == "device_usage")
    );
    assert_eq!(explained.undeclared, ["url"]);
    assert_eq!(explained.refused, [("email".to_owned(), "e-mail")]);
    assert_eq!(explained.changed[0].kept, "other");
    let fate = |field: &str| explained.fates.iter().find(|fate| fate.field == field).unwrap();
    assert_eq!(fate("country").kept.as_deref(), Some("DK"));
    assert!(!format!("{:?}", fate("serial_number").kept).contains("CANARY"));
    assert!(explained.outcome.to_string().starts_with("accepted as device_usage"));
}

#[test]
fn a_trial_of_a_bad_event_tells_why() {
    let (_folder, gates) = gates();
    let explained = try_out(&gates, SourceKind::Device, r#"{"type":"device_usage"}"#).unwrap();
    assert_eq!(
        explained.outcome.to_string(),
        "refused: product: missing field; expected one of x1, kathea"
    );
    assert!(explained.fates.is_empty());
    assert!(matches!(try_out(&gates, SourceKind::Device, "[]"), Err(Error::Body(_))));
    assert!(matches!(try_out(&gates, SourceKind::Device, "{"), Err(Error::Body(_))));
}

#[test]
fn a_trial_under_a_server_key_believes_the_end_user() {
    let (_folder, gates) = gates();
    let body = r#"{"type":"device_usage","product":"x1","end_user":{"address":"79.192.17.4"}}"#;
    let country = |kind| {
        let explained = try_out(&gates, kind, body).unwrap();
        explained.fates.into_iter().find(|fate| fate.field == "country").and_then(|fate| fate.kept)
    };
    assert_eq!(country(SourceKind::Server).as_deref(), Some("DE"));
    assert_eq!(country(SourceKind::Device), None, "the event is refused");
}
