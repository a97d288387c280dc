//! received = stored + duplicate + refused, per reason, against what the generator says it sent.
//!
//! The generator counts what must become of each event as it makes it, and never asks the pipeline; the
//! books are read from the ledger that the service wrote.

use std::collections::BTreeMap;
use std::path::Path;

use schemas::Note;
use serde_json::Value;

use crate::support::place::{ORIGIN, Place, SITE};
use crate::support::{quorate, search, succeed};

/// What a summary of `quorate generate` says: outcome or reason, and how many.
fn expected(summary: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(summary).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let total = summary["total"].as_object().unwrap();
    let mut counts = BTreeMap::new();
    for (name, count) in total {
        if let Some(reasons) = count.as_object() {
            let reasons = reasons.iter();
            counts.extend(reasons.map(|(name, count)| (name.clone(), count.as_u64().unwrap())));
        } else {
            counts.insert(name.clone(), count.as_u64().unwrap());
        }
    }
    counts.retain(|_, count| *count > 0);
    counts
}

/// What the books say, without notes, which are no outcomes.
fn booked(place: &Place) -> BTreeMap<String, u64> {
    let mut books = search::outcomes(&place.data());
    let is_note = |name: &str| Note::ALL.iter().any(|note| note.name() == name);
    books.retain(|name, count| *count > 0 && !is_note(name));
    books
}

fn assert_balanced(place: &Place, sent: &BTreeMap<String, u64>) {
    let books = booked(place);
    assert_eq!(&books, sent, "left: the books, right: what was sent");
    let ends: u64 = books.iter().filter(|(name, _)| *name != "received").map(|(_, n)| n).sum();
    assert_eq!(ends, books["received"]);
    for needed in ["stored", "duplicate", "malformed", "unknown_type", "wrong_type", "wrong_form"] {
        assert!(books.get(needed).is_some_and(|count| *count > 0), "{needed}: {books:?}");
    }
}

#[test]
fn live_events_of_all_doors_end_in_exactly_one_outcome() {
    let place = Place::new();
    let service = place.start();
    let summary = place.outputs().join("sent.json");
    let url = format!("http://{}", service.events);
    let mut generate = quorate();
    generate.args(["generate", "--events", "20000", "--seed", "7", "--live", &url]);
    generate.args(["--server-key", &place.server_key, "--device-key", &place.device_key]);
    generate.args(["--site", SITE, "--origin", ORIGIN]).arg("--summary").arg(&summary);
    succeed(&mut generate);
    service.stop();
    assert_balanced(&place, &expected(&summary));
}

#[test]
fn imported_events_end_in_exactly_one_outcome() {
    let place = Place::new();
    let (history, summary) = (place.outputs().join("history"), place.outputs().join("sent.json"));
    let mut generate = quorate();
    generate.args(["generate", "--events", "20000", "--seed", "8", "--days", "30"]);
    let lines = succeed(generate.arg("--summary").arg(&summary)).stdout;
    std::fs::write(&history, lines).unwrap();
    let printed = place.print(&["import", history.to_str().unwrap()]);
    let sent = expected(&summary);
    assert!(printed.contains(&format!("received {} ", sent["received"])), "{printed}");
    assert!(printed.contains(&format!("stored {} ", sent["stored"])), "{printed}");
    assert_balanced(&place, &sent);
}

/// A crash loses nothing that was acknowledged, and counts nothing twice.
#[test]
fn events_acknowledged_before_a_crash_are_counted_once_after_it() {
    let place = Place::new();
    let body = |from: u64| {
        let events = (from..from + 500).map(|number| {
            serde_json::json!({ "type": "device_usage", "id": number.to_string(),
                "serial_number": format!("QX-{}", number % 40), "product": "x1", "version": "3.8.1" })
        });
        Value::Array(events.collect()).to_string()
    };
    let (rounds, mut sent) = (4, 0);
    for _ in 0..rounds {
        // Dropped without a stop: the process is killed.
        let service = place.start();
        for _ in 0..3 {
            let answer = service.post(&place.server_key, &body(sent));
            assert_eq!((answer.status, answer.json()["accepted"].as_u64()), (202, Some(500)));
            sent += 500;
        }
        // One body again, as a client does that saw no answer.
        assert_eq!(service.post(&place.server_key, &body(sent - 500)).status, 202);
    }
    place.start().stop();
    let books = booked(&place);
    assert_eq!(books["stored"], sent, "{books:?}");
    assert_eq!(books["duplicate"], rounds * 500, "{books:?}");
    assert_eq!(books["received"], sent + rounds * 500, "{books:?}");
}
