use proptest::prelude::*;
use schemas::time::{HOUR_MS, MINUTE_MS};

use anonymizer::Value;
use schemas::Note;

use super::*;
use crate::decode::{Limits, decode};
use crate::testing::package;

pub(super) const NOW: Millis = Millis(1_763_770_000_000);
const LIMITS: Limits = Limits { events_max: 1000, event_bytes_max: 64 << 10 };

/// What was handed on, as far as tests ask.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    family: usize,
    values: Vec<String>,
    time: Millis,
    clock: ClockSource,
    id: Option<String>,
    boot: Option<u64>,
    seq: Option<u64>,
    pub(super) granted: u32,
    pub(super) location_off: bool,
    person: Option<usize>,
}

#[derive(Default)]
struct Kept(Vec<Row>);

impl Rows for Kept {
    fn row(&mut self, family: usize, event: &RawEvent<'_>, person: Option<usize>) {
        let value = |value: &Value<'_>| match value {
            Value::Null => String::new(),
            Value::Text(text) => (*text).to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(truth) => truth.to_string(),
            Value::Index(index) => format!("#{index}"),
        };
        self.0.push(Row {
            family,
            values: event.values.iter().map(value).collect(),
            time: event.time,
            clock: event.clock,
            id: event.id.map(str::to_owned),
            boot: event.boot,
            seq: event.seq,
            granted: event.granted.0,
            location_off: event.location_off,
            person,
        });
    }
}

pub(super) fn sending(kind: SourceKind) -> Sending<'static> {
    let received = Received::At(NOW);
    Sending { kind, permitted: None, received, signals: Signals::default() }
}

fn post(body: &str) -> (Vec<Row>, Report) {
    post_as(body, &sending(SourceKind::Device))
}

fn post_as(body: &str, sending: &Sending<'_>) -> (Vec<Row>, Report) {
    post_with(package(), body, sending)
}

pub(super) fn post_with(
    package: std::sync::Arc<schemas::Package>,
    body: &str,
    sending: &Sending<'_>,
) -> (Vec<Row>, Report) {
    let plan = Plan::new(package);
    let decoded = match decode(&plan, body.as_bytes(), LIMITS) {
        Ok(decoded) => decoded,
        Err(error) => panic!("{error}"),
    };
    let mut kept = Kept::default();
    let report = assemble(&plan, &decoded, sending, &mut kept);
    assert_eq!(kept.0.len() as u64, report.accepted_total());
    assert_eq!(decoded.events() as u64, report.accepted_total() + report.refused_total);
    let tallied: u64 = report.tallies.iter().map(Tally::refused_total).sum();
    assert_eq!(tallied, report.refused_total);
    (kept.0, report)
}

/// Reason and field of the one refusal of `body`.
fn refusal(body: &str) -> (&'static str, Option<String>) {
    let (_, mut report) = post(body);
    assert_eq!(report.refused_total, 1, "{body}");
    let refusal = report.refused.remove(0);
    assert!(!refusal.expected.is_empty());
    (refusal.reason.name(), refusal.field)
}

fn device(rest: &str) -> String {
    format!(r#"{{"type":"device_usage","product":"x1"{rest}}}"#)
}

#[test]
fn an_envelope_gives_rows_with_what_is_common() {
    let (rows, report) = post(include_str!("../../tests/envelope.json"));
    assert_eq!(rows.len(), 2);
    let expected = ["X1-2031-000417", "#0", "3.8.1", "", "#2", "14230", "", ""];
    assert_eq!(rows[0].values, expected);
    assert_eq!((rows[0].boot, rows[0].seq), (Some(57), Some(8812)));
    assert_eq!((rows[0].time, rows[0].clock), (NOW.plus(-32_090), ClockSource::Uptime));
    assert_eq!(rows[1].values[4], "#3");
    assert_eq!(report.changed_total, 1);
    let Change { index, field, kept, expected } = &report.changed[0];
    assert_eq!((*index, field.as_str(), kept.as_str()), (1, "scan_program", "other"));
    assert!(expected.contains("dentition"));
    let (device_usage, _) =
        package().family("device_usage").map(|(i, f)| (i, f.name.clone())).unwrap();
    assert_eq!(report.tallies[device_usage].notes[&Note::Otherwise], 1);
}

#[test]
fn the_event_wins_over_what_is_common() {
    let body = r#"{"common":{"type":"device_usage","product":"x1","boot":4,"uptime_ms":1},
        "events":[{"product":"kathea","boot":5,"seq":1}]}"#;
    let (rows, _) = post(body);
    assert_eq!((rows[0].values[1].as_str(), rows[0].boot), ("#1", Some(5)));
}

#[test]
fn type_may_stand_anywhere() {
    let (rows, _) = post(r#"{"duration":5,"product":"x1","type":"device_usage"}"#);
    assert_eq!(rows[0].values[5], "5");
}

#[test]
fn undeclared_fields_are_dropped_and_counted() {
    let (rows, report) =
        post(&device(r#","email":"CANARY@example.com","country":"DK","url":"/a","legacy":true"#));
    assert_eq!(report.undeclared, 4);
    let all = format!("{rows:?} {report:?}");
    assert!(!all.contains("CANARY") && !all.contains("DK"), "{all}");
    assert_eq!(rows[0].values[7], "", "an expired field is as good as undeclared");
}

#[test]
fn refusals_name_rule_and_field() {
    for (body, reason, field) in [
        ("{}".to_owned(), "unknown_type", Some("type")),
        (r#"{"type":17}"#.to_owned(), "wrong_type", Some("type")),
        (r#"{"type":"CANARY"}"#.to_owned(), "unknown_type", Some("type")),
        (r#"{"type":"device_usage"}"#.to_owned(), "missing_field", Some("product")),
        (r#"{"type":"device_usage","product":null}"#.to_owned(), "missing_field", Some("product")),
        (r#"{"type":"device_usage","product":"x2"}"#.to_owned(), "not_listed", Some("product")),
        (device(r#","duration":"5""#), "wrong_type", Some("duration")),
        (device(r#","duration":-5"#), "out_of_range", Some("duration")),
        (device(r#","duration":5,"duration":6"#), "malformed", Some("duration")),
        (device(r#","seq":5,"seq":5"#), "malformed", Some("seq")),
        (device(r#","error":"CANARY""#), "wrong_form", Some("error")),
        (device(r#","error":"data:image/png;base64,""#), "refused_content", Some("error")),
        (device(r#","id":"""#), "wrong_form", Some("id")),
        (device(r#","id":7"#), "wrong_type", Some("id")),
        (device(&format!(r#","id":"{}""#, "x".repeat(129))), "too_long", Some("id")),
        (device(r#","seq":-1"#), "out_of_range", Some("seq")),
        (device(r#","boot":"7""#), "wrong_type", Some("boot")),
        (device(r#","uptime_ms":1.5"#), "out_of_range", Some("uptime_ms")),
        (device(r#","time":"yesterday""#), "wrong_form", Some("time")),
        (device(r#","time":true"#), "wrong_type", Some("time")),
        (device(r#","consent":"yes""#), "wrong_type", Some("consent")),
        (device(r#","signals":{"gpc":"yes"}"#), "wrong_type", Some("signals")),
        (device(r#","end_user":{"address":"192.0.2.7"}"#), "not_permitted", Some("end_user")),
        ("[17]".to_owned(), "malformed", None),
    ] {
        assert_eq!(refusal(&body), (reason, field.map(str::to_owned)), "{body}");
    }
}

#[test]
fn a_source_may_be_limited_to_families() {
    let package = package();
    let permitted: Vec<bool> = package.families.iter().map(|family| family.name == "web").collect();
    let limited = Sending { permitted: Some(&permitted), ..sending(SourceKind::Device) };
    let body = format!("[{},{}]", device(""), r#"{"type":"web","url":"/a"}"#);
    let (rows, report) = post_as(&body, &limited);
    assert_eq!(rows.len(), 1);
    assert_eq!(report.refused[0].reason, Reason::NotPermitted);
}

#[test]
fn what_was_changed_in_a_refused_event_is_not_reported() {
    let (_, report) = post(&device(r#","scan_program":"new","duration":"5""#));
    assert_eq!((report.refused_total, report.changed_total, report.changed.len()), (1, 0, 0));
    assert!(report.tallies.iter().all(|tally| !tally.notes.contains_key(&Note::Otherwise)));
}

#[test]
fn lists_are_bounded_and_totals_are_not() {
    let body = format!("[{}]", vec![r#"{"type":"x"}"#; 500].join(","));
    let (_, report) = post(&body);
    assert_eq!((report.refused.len(), report.refused_total), (LISTED_MAX, 500));
    let body = format!("[{}]", vec![device(r#","scan_program":"new""#); 500].join(","));
    let (_, report) = post(&body);
    assert_eq!((report.changed.len(), report.changed_total), (LISTED_MAX, 500));
}

#[test]
fn the_strictest_of_consents_and_signals_wins() {
    let package = package();
    let bit = |name| 1_u32 << package.purpose(name).unwrap().0;
    let (improve, website) = (bit("improve"), bit("website"));
    let granted = |body: &str, signals: Signals| {
        let sending = Sending { signals, ..sending(SourceKind::Site) };
        post_as(body, &sending).0[0].granted
    };
    let none = Signals::default();
    assert_eq!(granted(&device(""), none), improve);
    assert_eq!(granted(&device(r#","consent":{"website":true}"#), none), improve | website);
    assert_eq!(granted(&device(r#","consent":{"improve":false}"#), none), 0);
    let gpc = Signals { gpc: true, dnt: false };
    assert_eq!(granted(&device(r#","consent":{"website":true}"#), gpc), 0);
    assert_eq!(granted(&device(r#","signals":{"dnt":true}"#), none), 0);
    let shared = |common: &str, own: &str| {
        let body = format!(r#"{{"common":{{"consent":{common}}},"events":[{}]}}"#, device(own));
        granted(&body, none)
    };
    assert_eq!(shared(r#"{"website":true}"#, ""), improve | website);
    assert_eq!(shared(r#"{"improve":false}"#, r#","consent":{"improve":true}"#), 0);
    let at_the_top = format!(r#"{{"consent":{{"improve":false}},"events":[{}]}}"#, device(""));
    assert_eq!(granted(&at_the_top, none), 0);
}

#[test]
fn signals_are_counted_in_events() {
    let sending =
        Sending { signals: Signals { gpc: true, dnt: false }, ..sending(SourceKind::Site) };
    let body = format!("[{},{}]", device(""), device(r#","signals":{"dnt":true}"#));
    let (_, report) = post_as(&body, &sending);
    let (family, _) = package().family("device_usage").map(|(index, _)| (index, ())).unwrap();
    assert_eq!(report.tallies[family].notes[&Note::SignalGpc], 2);
    assert_eq!(report.tallies[family].notes[&Note::SignalDnt], 1);
}

#[test]
fn servers_alone_speak_for_end_users() {
    let server = sending(SourceKind::Server);
    let body = device(r#","end_user":{"address":"192.0.2.7","user_agent":"x","language":"da"}"#);
    assert_eq!(post_as(&body, &server).0[0].person, Some(0));
    for wrong in [r#"{"address":"CANARY"}"#, r#"{"address":7}"#, r#"{"user_agent":[]}"#, "17"] {
        let (_, report) = post_as(&device(&format!(r#","end_user":{wrong}"#)), &server);
        assert_eq!(report.refused[0].field.as_deref(), Some("end_user"), "{wrong}");
    }
    assert_eq!(post_as(&device(r#","end_user":{"address":null}"#), &server).0.len(), 1);
    assert_eq!(post_as(&device(r#","end_user":null"#), &sending(SourceKind::Device)).0.len(), 1);
}

#[test]
fn a_number_of_an_envelope_counts_on() {
    let body = format!(
        r#"{{"boot":3,"seq":10,"events":[{},{},{}]}}"#,
        device(""),
        device(r#","seq":99"#),
        device("")
    );
    let seqs: Vec<_> = post(&body).0.iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [Some(10), Some(99), Some(12)]);
}

#[test]
fn one_id_for_all_events_is_no_id() {
    let body = format!(r#"{{"common":{{"id":"a"}},"events":[{},{}]}}"#, device(""), device(""));
    let (rows, report) = post(&body);
    assert!(rows.iter().all(|row| row.id.is_none()));
    assert_eq!(report.undeclared, 1);
}

#[test]
fn uptimes_of_another_run_are_not_compared() {
    let body = format!(
        r#"{{"boot":7,"sent_uptime_ms":5000,"events":[{},{}]}}"#,
        device(r#","uptime_ms":2000"#),
        device(r#","boot":6,"uptime_ms":2000"#)
    );
    let (rows, _) = post(&body);
    assert_eq!((rows[0].time, rows[0].clock), (NOW.plus(-3000), ClockSource::Uptime));
    assert_eq!(rows[1].clock, ClockSource::Received);
}

#[test]
fn a_time_that_is_not_believed_is_reported() {
    for time in ["0", "4070908800000", "9e18", "-1", "\"2099-01-01T00:00:00Z\""] {
        let (rows, report) = post(&device(&format!(r#","time":{time}"#)));
        assert_eq!((rows[0].time, rows[0].clock), (NOW, ClockSource::Received), "{time}");
        assert_eq!(report.changed[0].field, "time", "{time}");
    }
    let (rows, report) = post(&device(&format!(r#","time":{}"#, NOW.0 - HOUR_MS)));
    assert_eq!((rows[0].clock, report.changed_total), (ClockSource::Device, 0));
}

#[test]
fn history_tells_when_it_was_received() {
    let told = Sending { received: Received::Told(NOW), ..sending(SourceKind::Server) };
    let old = r#","time":"2021-05-04T10:00:00Z""#;
    let (rows, _) = post_as(&device(old), &told);
    assert_eq!(
        (rows[0].time.to_string().as_str(), rows[0].clock),
        ("2021-05-04T10:00:00.000Z", ClockSource::Device)
    );
    let (rows, _) = post_as(&device(&format!(r#"{old},"received":"2021-05-04T10:20:00Z""#)), &told);
    assert_eq!(rows[0].time.to_string(), "2021-05-04T10:00:00.000Z");
    for (rest, reason, field) in [
        ("".to_owned(), Reason::MissingField, "time"),
        (format!(r#","time":{}"#, NOW.0 + 6 * MINUTE_MS), Reason::OutOfRange, "time"),
        (r#","time":-1"#.to_owned(), Reason::OutOfRange, "time"),
        (format!(r#"{old},"received":{}"#, NOW.0 + HOUR_MS), Reason::OutOfRange, "received"),
    ] {
        let (_, report) = post_as(&device(&rest), &told);
        assert_eq!(report.refused[0].reason, reason, "{rest}");
        assert_eq!(report.refused[0].field.as_deref(), Some(field), "{rest}");
    }
}

/// Any JSON, with names and texts that mean something now and then.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let names = [
        "type",
        "id",
        "time",
        "seq",
        "boot",
        "uptime_ms",
        "sent",
        "sent_uptime_ms",
        "received",
        "consent",
        "signals",
        "end_user",
        "serial_number",
        "product",
        "version",
        "scan_program",
        "duration",
        "error",
        "legacy",
        "url",
        "note",
        "events",
        "common",
        "site",
        "improve",
        "granted",
        "gpc",
        "address",
        "CANARY name",
    ];
    let text = prop_oneof![
        3 => Just("CANARY".to_owned()),
        1 => proptest::sample::select(vec!["device_usage", "web", "x1", "E042", "3.8"]).prop_map(str::to_owned),
        1 => "CANARY\\PC{0,10}",
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        text.prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 8, move |inner| {
        let name = proptest::sample::select(names.to_vec()).prop_map(str::to_owned);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::vec((name, inner), 0..12)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_report_holds_a_value(body in any_json(), server: bool) {
        let plan = Plan::new(package());
        let text = body.to_string();
        let kind = if server { SourceKind::Server } else { SourceKind::Site };
        match decode(&plan, text.as_bytes(), LIMITS) {
            Err(error) => {
                let told = format!("{error} {error:?}");
                prop_assert!(!told.contains("CANARY"));
            }
            Ok(decoded) => {
                let report = assemble(&plan, &decoded, &sending(kind), &mut Kept::default());
                let told = format!("{report:?}");
                prop_assert!(!told.contains("CANARY"));
                let answer = serde_json::to_string(&(&report.refused, &report.changed)).unwrap();
                prop_assert!(!answer.contains("CANARY"));
            }
        }
    }
}
