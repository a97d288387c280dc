//! Values on their whole way: decoded, checked, sealed, opened, transformed.

use anonymizer::{AnonymizedBatch, Origin};
use schemas::Tally;
use serde_json::json;

use crate::fixture::{HOUSE, NOW};
use crate::must_not_repeat;

/// When the page was viewed.
const TIME: &str = "2026-11-22T12:00:00Z";

/// Lines: URL, referrer, user agent, language, address, version, product, time. The gate has to take whatever passes.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let mut line = || lines.next().filter(|line| !line.is_empty());
    let (url, referrer) = (line(), line());
    let end_user = json!({ "user_agent": line(), "language": line(), "address": line() });
    let page = json!({
        "type": "web", "time": TIME, "name": "pageview", "url": url, "referrer": referrer, "end_user": end_user,
    });
    let use_of = json!({
        "type": "device_usage", "serial_number": referrer, "version": line(), "product": line(),
        "id": url, "end_user": end_user, "time": line(),
    });
    let mut importer = HOUSE.importer.lock().expect("no target panicked before");
    let mut accepted = 0;
    for event in [page, use_of] {
        match importer.push_line(event.to_string().as_bytes()) {
            Ok(()) => accepted += 1,
            Err(error) => must_not_repeat(&format!("{error} {error:?}")),
        }
    }
    let batches = importer.take();
    importer.take_tally();
    drop(importer);
    let mut rows = 0;
    for batch in batches {
        let sealed = HOUSE.gate.seal(batch, Tally::default()).expect("the hour has a key");
        let batch = HOUSE.gate.open(sealed).expect("what was sealed opens");
        let origin = Origin { partition: 0, position: 0, import: true };
        let batch = HOUSE.gate.anonymize(batch, &origin, NOW).expect("its keys live");
        rows += ends(&batch);
    }
    assert_eq!(rows, accepted, "every event ends once");
}

fn ends(batch: &AnonymizedBatch) -> u64 {
    batch.rows().num_rows() as u64 + batch.expired() + batch.tally().refused_total()
}
