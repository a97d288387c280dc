use proptest::prelude::*;
use schemas::Reason;
use schemas::time::DAY_MS;

use anonymizer::{ClockSource, RawEvent, Value};

use super::*;
use crate::rows::{Rows, assemble, people};
use crate::testing::package;

const NOW: Millis = Millis(1_763_770_000_000);
const RECORDED: Millis = Millis(1_763_769_000_000);

/// What was handed on, as far as tests ask.
#[derive(Debug, PartialEq)]
struct Row {
    family: String,
    product: Option<u16>,
    received: Millis,
    time: Millis,
    clock: ClockSource,
    id: Option<String>,
    seq: Option<u64>,
    granted: u32,
    person: Option<usize>,
}

struct Kept(Vec<Row>);

impl Rows for Kept {
    fn row(&mut self, family: usize, event: &RawEvent<'_>, person: Option<usize>) {
        let declared = &package().families[family];
        let product = declared.fields.iter().position(|field| field.name == "product");
        let product = product.and_then(|index| match event.values[index] {
            Value::Index(value) => Some(value),
            Value::Null
            | Value::Text(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_) => None,
        });
        self.0.push(Row {
            family: declared.name.clone(),
            product,
            received: event.received,
            time: event.time,
            clock: event.clock,
            id: event.id.map(str::to_owned),
            seq: event.seq,
            granted: event.granted.0,
            person,
        });
    }
}

fn config(text: &str) -> RecordConfig {
    toml::from_str(text).unwrap()
}

fn format(text: &str) -> RecordFormat {
    match RecordFormat::new(package(), &config(text), "test") {
        Ok(format) => format,
        Err(error) => panic!("{error}"),
    }
}

fn judge(format: &RecordFormat, values: &[Option<&[u8]>]) -> (Vec<Row>, Report) {
    let records = values.iter().map(|value| Record { value: *value, timestamp: Some(RECORDED) });
    let decoded = format.decode(records);
    assert_eq!(decoded.events(), values.len(), "an event a record");
    let mut kept = Kept(Vec::new());
    let report = assemble(&format.plan, &decoded, &sending(NOW), &mut kept);
    assert_eq!(values.len() as u64, report.accepted_total() + report.refused_total);
    (kept.0, report)
}

fn one(format: &RecordFormat, value: &str) -> Row {
    let (mut rows, report) = judge(format, &[Some(value.as_bytes())]);
    assert!(report.refused.is_empty(), "{:?}", report.refused);
    rows.remove(0)
}

fn refused(format: &RecordFormat, value: Option<&[u8]>) -> Reason {
    let (rows, report) = judge(format, &[value]);
    assert!(rows.is_empty());
    report.refused[0].reason
}

const DEVICES: &str = "family = \"device_usage\"\n";

#[test]
fn declared_fields_stand_at_the_top_or_where_they_are_said_to_be() {
    let flat = one(&format(DEVICES), r#"{"product":"x1","weather":"rain"}"#);
    assert_eq!((flat.family.as_str(), flat.product), ("device_usage", Some(0)));
    let nested = format(&format!("{DEVICES}[fields]\nproduct = \"payload.what.product\""));
    for value in [
        r#"{"payload":{"what":{"product":"x1"}}}"#,
        r#"{"payload.what":{"product":"x1"}}"#,
        r#"{"payload":{"what.product":"x1"}}"#,
        r#"{"payload.what.product":"x1"}"#,
    ] {
        assert_eq!(one(&nested, value).product, Some(0), "{value}");
    }
    for value in [r#"{"product":"x1"}"#, r#"{"payload":null}"#, r#"{"payload":["product"]}"#] {
        assert_eq!(refused(&nested, Some(value.as_bytes())), Reason::MissingField, "{value}");
    }
    let value = br#"{"payload":{"what":{"product":"x1","more":1},"else":{"a":1}},"top":[1]}"#;
    let (_, report) = judge(&nested, &[Some(value)]);
    assert_eq!(report.undeclared, 3);
}

#[test]
fn names_of_the_native_protocol_mean_nothing_unless_they_are_configured() {
    let value = r#"{"product":"x1","id":"customer-7","time":1763768000000,"received":1,"seq":4,
        "consent":{"improve":true},"end_user":{"address":"192.0.2.1"},"type":"web"}"#;
    let plain = one(&format(DEVICES), value);
    assert_eq!((plain.id, plain.seq, plain.person), (None, None, None));
    assert_eq!(
        (plain.received, plain.time, plain.clock),
        (RECORDED, RECORDED, ClockSource::Received)
    );
    assert_eq!(plain.family, "device_usage");
    let named = format(
        "family_field = \"type\"\nfamilies = { phone = \"device_usage\" }\nid_field = \"event.id\"\n\
         time_field = \"at\"\nreceived_field = \"got\"\nfields = { seq = \"n\" }",
    );
    let value = r#"{"type":"phone","product":"x1","event":{"id":"a"},"at":1763768000000,
        "got":"2025-11-22T00:00:00Z","n":4}"#;
    let row = one(&named, value);
    assert_eq!((row.id.as_deref(), row.seq), (Some("a"), Some(4)));
    assert_eq!((row.time, row.received), (Millis(1_763_768_000_000), Millis(1_763_769_600_000)));
}

#[test]
fn one_name_may_stand_for_two() {
    let both = format(&format!("{DEVICES}time_field = \"ts\"\nreceived_field = \"ts\""));
    let row = one(&both, r#"{"product":"x1","ts":1763768000000}"#);
    assert_eq!((row.time, row.received), (Millis(1_763_768_000_000), Millis(1_763_768_000_000)));
    let row = one(&both, r#"{"product":"x1","ts":null}"#);
    assert_eq!(row.received, RECORDED, "without a time of its own the record's stands");
}

#[test]
fn end_users_are_found_and_bad_addresses_refused() {
    let format = format(&format!(
        "{DEVICES}address_field = \"client.ip\"\nuser_agent_field = \"client.agent\""
    ));
    let value = br#"{"product":"x1","client":{"ip":"192.0.2.7","agent":"Firefox"}}"#;
    let decoded = format.decode([Record { value: Some(value), timestamp: None }]);
    let person = people(&decoded).next().unwrap().expect("it is well formed");
    assert_eq!(person.address.unwrap().to_string(), "192.0.2.7");
    assert_eq!((person.user_agent, person.language), ("Firefox", ""));
    assert_eq!(one(&format, r#"{"product":"x1","client":{}}"#).person, None);
    for (ip, reason) in [
        (r#""192.0.2.7:80""#, Reason::WrongForm),
        (r#""unknown""#, Reason::WrongForm),
        ("3221225991", Reason::WrongType),
        ("{}", Reason::WrongType),
    ] {
        let value = format!(r#"{{"product":"x1","client":{{"ip":{ip}}}}}"#);
        assert_eq!(refused(&format, Some(value.as_bytes())), reason, "{ip}");
    }
    let twice = br#"{"product":"x1","client":{"ip":"192.0.2.7"},"client.ip":"192.0.2.8"}"#;
    assert_eq!(refused(&format, Some(twice)), Reason::Malformed);
}

#[test]
fn every_bad_record_is_refused_by_its_reason_and_costs_nothing_else() {
    let format = format("family_field = \"type\"\nrecord_bytes_max = 200");
    let good = r#"{"type":"device_usage","product":"x1"}"#;
    let long = format!(r#"{{"type":"device_usage","product":"{}"}}"#, "x".repeat(200));
    let late = format!(r#"{{"type":"device_usage","product":{}1}}"#, "[".repeat(100));
    let bad: [(Option<&[u8]>, Reason); 14] = [
        (None, Reason::Empty),
        (Some(b""), Reason::Empty),
        (Some(b"{"), Reason::Malformed),
        (Some(b"not json"), Reason::Malformed),
        (Some(b"[]"), Reason::Malformed),
        (Some(b"null"), Reason::Malformed),
        (Some(b"{\"type\":\"\xff\"}"), Reason::Malformed),
        (Some(b"\0\0\0"), Reason::Malformed),
        (Some(late.as_bytes()), Reason::Malformed),
        (Some(br#"{"type":"device_usage","product":"x1","product":"x1"}"#), Reason::Malformed),
        (Some(long.as_bytes()), Reason::TooLong),
        (Some(br#"{"type":"visits","product":"x1"}"#), Reason::UnknownType),
        (Some(br#"{"product":"x1"}"#), Reason::UnknownType),
        (Some(br#"{"type":"device_usage","product":7}"#), Reason::WrongType),
    ];
    let mut values = vec![Some(good.as_bytes())];
    for (value, reason) in bad {
        assert_eq!(refused(&format, value), reason);
        values.extend([value, Some(good.as_bytes())]);
    }
    let (rows, report) = judge(&format, &values);
    assert_eq!((rows.len(), report.refused_total), (15, 14));
}

#[test]
fn a_record_of_a_schema_registry_is_read_behind_its_number() {
    let format = format(DEVICES);
    let value = [&b"\0\0\0\x01\x07"[..], br#"{"product":"x1"}"#].concat();
    let (rows, _) = judge(&format, &[Some(&value), Some(b"\xef\xbb\xbf{\"product\":\"x1\"}")]);
    assert_eq!(rows.len(), 2);
}

#[test]
fn a_time_of_receipt_to_come_is_refused() {
    let format = format(DEVICES);
    let at = |time: i64| {
        let record = Record { value: Some(br#"{"product":"x1"}"#), timestamp: Some(Millis(time)) };
        let decoded = format.decode([record]);
        assemble(&format.plan, &decoded, &sending(NOW), &mut Kept(Vec::new()))
    };
    assert_eq!(at(NOW.0 + 60_000).accepted_total(), 1);
    assert_eq!(at(NOW.0 + DAY_MS).refused[0].reason, Reason::OutOfRange);
    assert_eq!(at(-1).refused[0].reason, Reason::OutOfRange);
}

#[test]
fn consent_stands_where_it_is_said_to_and_nothing_grants_itself() {
    let by_purpose = format(&format!("{DEVICES}[consent]\nimprove = \"prefs.improve\""));
    let granted = |format: &RecordFormat, rest: &str| {
        one(format, &format!(r#"{{"product":"x1"{rest}}}"#)).granted
    };
    let silent = granted(&by_purpose, "");
    assert_eq!(granted(&by_purpose, r#","prefs":{"improve":null}"#), silent);
    let refusal = granted(&by_purpose, r#","prefs":{"improve":false}"#);
    assert_eq!(refusal & !silent, 0, "a refusal grants nothing");
    assert_ne!(refusal, granted(&by_purpose, r#","prefs":{"improve":true}"#));
    let unclear = br#"{"product":"x1","prefs":{"improve":"no"}}"#;
    assert_eq!(refused(&by_purpose, Some(unclear)), Reason::WrongType);
    let object = format(&format!("{DEVICES}consent_field = \"c\"\nsignals_field = \"s\""));
    assert_eq!(granted(&object, r#","c":{"improve":false}"#), refusal);
    let (_, report) = judge(&object, &[Some(br#"{"product":"x1","s":{"gpc":true}}"#)]);
    let noted: u64 =
        report.tallies.iter().filter_map(|tally| tally.notes.get(&schemas::Note::SignalGpc)).sum();
    assert_eq!(noted, 1);
}

#[test]
fn configurations_that_cannot_be_are_refused_with_their_key() {
    for (text, key) in [
        ("family = \"visits\"", "family"),
        ("family_field = \"t\"\nfamilies = { a = \"visits\" }", "families"),
        ("family = \"device_usage\"\naddress_field = \"a..b\"", "address_field"),
        ("family = \"device_usage\"\naddress_field = \"a\"\nuser_agent_field = \"a.b\"", "a"),
        ("family = \"device_usage\"\nfields = { id = \"a\" }", "fields.id"),
        ("family = \"device_usage\"\nfields = { no_such = \"a\" }", "fields.no_such"),
        ("family = \"device_usage\"\nfields = { url = \"a\" }", "fields.url"),
        ("family = \"device_usage\"\nconsent = { sell = \"a\" }", "consent.sell"),
        ("family = \"device_usage\"\nconsent_field = \"c\"\nid_field = \"c\"", "\"c\""),
        (
            "family = \"device_usage\"\nconsent_field = \"c\"\nconsent = { improve = \"d\" }",
            "consent",
        ),
    ] {
        let error =
            RecordFormat::new(package(), &config(text), "test").err().expect(text).to_string();
        assert!(error.contains(key), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn every_record_ends_once(values in prop::collection::vec(prop::option::of(any::<Vec<u8>>()), 0..8)) {
        let format = format("family_field = \"type\"\naddress_field = \"client.ip\"\n[fields]\nproduct = \"p.q\"");
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        judge(&format, &values);
    }

    #[test]
    fn no_report_holds_a_value(canary in "[a-z]{16}") {
        let format = format(&format!("{DEVICES}address_field = \"client.ip\""));
        for value in [
            format!(r#"{{"product":"{canary}","{canary}":1}}"#),
            format!(r#"{{"product":"x1","client":{{"ip":"{canary}"}}}}"#),
            format!(r#"{{"product":"x1","serial_number":["{canary}"]}}"#),
            format!(r#"{{"product":"x1" {canary}"#),
        ] {
            let (_, report) = judge(&format, &[Some(value.as_bytes())]);
            let told = format!("{:?} {:?}", report.refused, report.changed);
            prop_assert!(!told.contains(&canary));
        }
    }
}
