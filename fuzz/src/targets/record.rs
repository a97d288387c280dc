//! Records of somebody else's topic: one a line, under a form that finds all it can in each.

use std::sync::{Arc, LazyLock, Mutex};

use anonymizer::Origin;
use ingest::{Record, RecordConfig, RecordFormat, RecordReader};
use schemas::Millis;

use crate::fixture::{HOUSE, NOW, PACKAGE};
use crate::must_not_repeat;

/// A record that is always accepted.
const GOOD: &[u8] = br#"{"type":"web","name":"pageview"}"#;
/// Small enough that inputs reach it.
const RECORD_BYTES_MAX: usize = 512;

static READER: LazyLock<Mutex<RecordReader>> = LazyLock::new(|| {
    let path = |path: &str| Some(path.to_owned());
    let pair = |name: &str, path: &str| [(name.to_owned(), path.to_owned())].into();
    let config = RecordConfig {
        family_field: path("type"),
        families: pair("view", "web"),
        fields: pair("url", "page.url"),
        id_field: path("event.id"),
        time_field: path("event.time"),
        received_field: path("event.time"),
        address_field: path("client.ip"),
        user_agent_field: path("client.agent"),
        language_field: path("client.language"),
        signals_field: path("signals"),
        consent: pair("improve", "prefs.improve"),
        record_bytes_max: RECORD_BYTES_MAX,
        ..RecordConfig::default()
    };
    let format = RecordFormat::new(Arc::clone(&PACKAGE), &config, "fuzz");
    let format = Arc::new(format.expect("it fits the shipped package"));
    Mutex::new(RecordReader::new(format, Arc::clone(&HOUSE.resolver)))
});

/// A record a line, after and before a good one, which none of them may cost.
pub(crate) fn run(data: &[u8]) {
    let lines = data.split(|byte| *byte == b'\n').map(|line| (!line.is_empty()).then_some(line));
    let values: Vec<Option<&[u8]>> =
        [Some(GOOD)].into_iter().chain(lines).chain([Some(GOOD)]).collect();
    let records = values.iter().enumerate().map(|(index, value)| Record {
        value: *value,
        timestamp: (index % 2 == 0).then_some(Millis(NOW.0 - 1000)),
    });
    let mut reader = READER.lock().expect("no target panicked before");
    let report = reader.push(records, NOW).expect("keys can be made");
    let told = format!("{:?} {:?}", report.refused, report.changed);
    must_not_repeat(&told);
    let ends = report.accepted_total() + report.refused_total;
    assert_eq!(ends, values.len() as u64, "every record ends once");
    let counted: u64 = reader.take_tally().iter().map(|(_, tally)| tally.refused_total()).sum();
    assert_eq!(report.refused_total, counted, "every refusal is counted");
    let mut rows = 0;
    for batch in reader.take() {
        let origin = Origin { partition: 1024, position: 0, import: false };
        let batch = HOUSE.gate.anonymize(batch, &origin, NOW).expect("its keys live");
        rows += batch.rows().num_rows() as u64 + batch.expired();
    }
    assert_eq!(rows, report.accepted_total(), "what is accepted is handed on");
    assert!(rows >= 1, "a record cost another one");
}
