use proptest::prelude::*;
use schemas::Millis;

use super::*;
use crate::testing::package;

const LIMITS: Limits = Limits { events_max: 100, event_bytes_max: 1000 };

fn plan() -> Plan {
    Plan::new(package())
}

fn read(body: &[u8]) -> Result<Decoded<'_>, BodyError> {
    decode(&plan(), body, LIMITS)
}

/// Serial numbers of the events in `body`, as far as they are events.
fn serials(body: &str) -> Vec<Option<String>> {
    let plan = plan();
    let decoded = match decode(&plan, body.as_bytes(), LIMITS) {
        Ok(decoded) => decoded,
        Err(error) => panic!("{error}"),
    };
    let serial = plan.word("serial_number").expect("it is declared");
    let events = decoded.cells.events.iter().map(|event| {
        let entries = &decoded.cells.entries[event.entries.clone()];
        let own = entries.iter().find(|entry| entry.word == serial && event.fault.is_none());
        own.and_then(|entry| decoded.cells.text(entry.cell)).map(str::to_owned)
    });
    events.collect()
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|text| (!text.is_empty()).then(|| (*text).to_owned())).collect()
}

#[test]
fn one_object_an_array_and_lines_are_told_apart_by_shape() {
    let a = r#"{"type":"device_usage","serial_number":"a"}"#;
    let b = "{\"serial_number\":\"b\",\r\n \"type\":\"device_usage\"}";
    assert_eq!(serials(a), some(&["a"]));
    assert_eq!(serials(b), some(&["b"]));
    assert_eq!(serials(&format!("[{a},{b}]")), some(&["a", "b"]));
    assert_eq!(serials(&format!("\u{feff} [\n{a}\n,\n{b}\n]\n")), some(&["a", "b"]));
    assert_eq!(serials(&format!("{a}\r\n\n{a}\n")), some(&["a", "a"]));
    assert_eq!(serials("[]"), some(&[]));
}

#[test]
fn an_envelope_shares_what_is_common_in_any_layout() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/envelope.json"));
    let text = text.unwrap();
    let compact: String = text.lines().map(str::trim).collect();
    for body in
        [text.as_str(), compact.as_str(), &text.replace("\"events\": [", "\"events\":\n[\n")]
    {
        let decoded = read(body.as_bytes()).unwrap();
        assert_eq!(decoded.events(), 2);
        assert_eq!(decoded.shared.boot, Some(57));
        assert_eq!(decoded.site(), None);
        assert_eq!(decoded.family_name(), Some("device_usage"));
    }
}

#[test]
fn common_may_stand_behind_the_events_it_is_common_to() {
    let body =
        br#"{"events":[{"serial_number":"a"}],"common":{"type":"device_usage"},"site":"shop"}"#;
    let decoded = read(body).unwrap();
    assert_eq!(decoded.family_name(), Some("device_usage"));
    assert_eq!(decoded.site(), Some("shop"));
}

#[test]
fn escapes_in_names_and_texts_are_undone() {
    let body = r#"{"type":"device_usage","serial\u005fnumber":"\u00e5\n\"x\""}"#;
    assert_eq!(serials(body), some(&["å\n\"x\""]));
}

#[test]
fn bad_lines_cost_themselves_alone() {
    let good = r#"{"type":"device_usage","serial_number":"a"}"#;
    let long = format!("{{\"serial_number\":\"{}\"}}", "x".repeat(2000));
    for bad in [
        "nonsense",
        "{\"serial_number\":\"b\"",
        "{\"serial_number\":\"b\",",
        "{\"serial_number\":",
        "[1,2]",
        "17",
        "{}{}",
        long.as_str(),
    ] {
        assert_eq!(serials(&format!("{good}\n{bad}\n{good}")), some(&["a", "", "a"]), "{bad}");
        if !bad.starts_with('[') {
            let first = format!("{bad}\n{good}\n{good}");
            assert_eq!(serials(&first), some(&["", "a", "a"]), "{bad} first");
        }
    }
    let body = [good.as_bytes(), b"\n{\"serial_number\":\"\xff\"}\n", good.as_bytes()].concat();
    let faults: Vec<bool> =
        read(&body).unwrap().cells.events.iter().map(|event| event.fault.is_some()).collect();
    assert_eq!(faults, [false, true, false]);
}

#[test]
fn bad_elements_cost_themselves_alone_as_far_as_the_json_is_whole() {
    let good = r#"{"type":"device_usage","serial_number":"a"}"#;
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(60), "]".repeat(60));
    for bad in
        ["17", "null", "\"text\"", "[[]]", r#"{"duration":1e999}"#, r#"{"x":"\ud800"}"#, &deep]
    {
        let array = format!("[{good},{bad},{good}]");
        assert_eq!(serials(&array), some(&["a", "", "a"]), "{bad}");
        let envelope = format!("{{\"boot\":1,\"events\":[{good},{bad},{good}],\"common\":{{}}}}");
        assert_eq!(serials(&envelope), some(&["a", "", "a"]), "{bad} in an envelope");
    }
}

#[test]
fn what_is_nested_deeper_than_anything_declared_is_refused() {
    let nested = |depth: usize| format!("{{\"x\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(nested(32).as_bytes()).is_ok());
    let error = read(nested(33).as_bytes()).err();
    assert!(matches!(error, Some(BodyError::TooDeep { max: 32, .. })), "{error:?}");
    let array = format!("[{{}},{}]", nested(33));
    assert_eq!(read(array.as_bytes()).unwrap().cells.events[1].fault, Some(Fault::NotAnObject));
}

#[test]
fn what_follows_an_isolated_body_is_not_lost_silently() {
    for body in
        [r#"[{"duration":1e999}] [{}]"#, r#"{"events":[{"duration":1e999}]} {"events":[{}]}"#]
    {
        assert!(matches!(read(body.as_bytes()), Err(BodyError::Syntax { .. })), "{body}");
    }
}

#[test]
fn broken_bodies_say_where_and_nothing_else() {
    for (body, expected) in [
        ("  \n", BodyError::Empty),
        ("[{\"a\":1},\n {\"a\" 2}]", BodyError::Syntax { line: 2, column: 7 }),
        ("[{\"a\":1}", BodyError::Truncated { line: 1, column: 8 }),
        ("[{\"a\":1}] x", BodyError::Syntax { line: 1, column: 11 }),
        ("true", BodyError::NoEvent),
        (r#"{"events":[],"events":[]}"#, BodyError::Twice { name: "events".to_owned() }),
        (r#"{"boot":1,"boot":2,"events":[]}"#, BodyError::Twice { name: "boot".to_owned() }),
        (
            r#"{"common":{"product":"x1"},"product":"x1","events":[]}"#,
            BodyError::Twice { name: "product".to_owned() },
        ),
        (
            r#"{"boot":"CANARY","events":[]}"#,
            BodyError::Envelope { name: "boot", expected: "a whole number from 0 on" },
        ),
        (
            r#"{"common":17,"events":[]}"#,
            BodyError::Envelope { name: "common", expected: "an object" },
        ),
    ] {
        assert_eq!(read(body.as_bytes()).err(), Some(expected), "{body}");
    }
    let not_text = read(b"[{\"a\":\n\"\xff\"}]").err();
    assert_eq!(not_text, Some(BodyError::NotUtf8 { line: 2, column: 2 }));
}

#[test]
fn the_number_of_events_is_bounded() {
    let many = |count: usize| vec!["{}"; count];
    for (open, between, close) in [("[", ",", "]"), ("", "\n", ""), ("{\"events\":[", ",", "]}")] {
        let body = |count| format!("{open}{}{close}", many(count).join(between));
        assert_eq!(read(body(100).as_bytes()).unwrap().events(), 100);
        let error = read(body(101).as_bytes()).err();
        assert_eq!(error, Some(BodyError::TooManyEvents { max: 100 }), "{open}");
    }
}

#[test]
fn names_repeated_without_end_take_no_memory() {
    let repeated = vec!["\"seq\":1"; 10_000].join(",");
    let decoded = format!("[{{{repeated}}},{{\"seq\":1}}]");
    let decoded = read(decoded.as_bytes()).unwrap();
    assert_eq!(decoded.cells.events[0].fault, Some(Fault::Repeats));
    assert_eq!(decoded.cells.events[1].fault, None);
    assert!(decoded.cells.entries.len() < 100);
    assert_eq!(read(format!("{{{repeated}}}").as_bytes()).err(), Some(BodyError::Repeats));
    let envelope = format!("{{\"events\":[{{\"duration\":1e999}}],{repeated}}}");
    assert!(read(envelope.as_bytes()).is_err());
}

#[test]
fn no_nesting_overflows_the_stack() {
    let depth = 1_000_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"type\":", "}"), ("{\"consent\":", "}")]
    {
        let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        for body in [
            nested.clone(),
            format!("[{{\"a\":{nested}}}]"),
            format!("[{{\"duration\":1e999}},{{\"a\":{nested}}}]"),
            format!("{{\"events\":[{{\"duration\":{nested}}}]}}"),
            format!("{{\"common\":{nested},\"events\":[]}}"),
        ] {
            let error = read(body.as_bytes()).err();
            assert!(
                matches!(
                    error,
                    Some(
                        BodyError::TooDeep { .. }
                            | BodyError::Syntax { .. }
                            | BodyError::Truncated { .. }
                    )
                ),
                "{open}: {error:?}"
            );
        }
        let lines = format!("{{}}\n{{\"a\":{nested}}}\n");
        let limits = Limits { events_max: 10, event_bytes_max: 1 << 30 };
        let plan = plan();
        let decoded = decode(&plan, lines.as_bytes(), limits).unwrap();
        assert_eq!(decoded.cells.events[1].fault, Some(Fault::NotAnObject));
    }
}

#[test]
fn consent_is_read_per_purpose_and_a_refusal_outlasts_a_grant() {
    let plan = plan();
    let of = |text: &str| {
        let body = format!("{{\"consent\":{text}}}");
        let decoded = decode(&plan, body.as_bytes(), LIMITS).unwrap();
        let Cell::Said(said) = decoded.cells.entries[0].cell else { return None };
        let package = plan.package();
        let stands = decoded.cells.said[said as usize].resolve(package, Millis(0)).granted;
        Some(stands.has(usize::from(plan.purpose("improve").unwrap())))
    };
    assert_eq!(of(r#"{"improve":true}"#), Some(true));
    assert_eq!(of(r#"{"improve":false,"improve":true}"#), Some(false));
    assert_eq!(of(r#"{"improve":{"granted":true,"version":"3"}}"#), Some(true));
    assert_eq!(of(r#"{"improve":{"granted":false,"granted":true}}"#), Some(false));
    assert_eq!(of(r#"{"improve":null,"unknown":17}"#), Some(true));
    for wrong in
        [r#"{"improve":"yes"}"#, r#"{"improve":{"version":1}}"#, r#"{"improve":[]}"#, "17", "[]"]
    {
        assert_eq!(of(wrong), None, "{wrong}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(read(&body));
    }

    #[test]
    fn nearly_json_never_panics(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "{", "}", "[", "]", ",", ":", "\n", "\"type\"", "\"device_usage\"", "\"events\"", "\"common\"",
                "\"consent\"", "\"improve\"", "\"end_user\"", "\"address\"", "true", "null", "1e999", "12.0", "-7",
                "\"\\ud800\"", "\"\\u00e5\"", "\"serial_number\"", "\"seq\"", "\"granted\"", "\"signals\"",
                "\"tcf\"", "\"google\"", "\"analytics_storage\"", "\"version\"", "\"at\"", "\"email\"",
            ]),
            0..40,
        ),
    ) {
        let body = parts.concat();
        drop(read(body.as_bytes()));
    }

    #[test]
    fn errors_hold_no_word_of_the_body(
        before in "[ -~]{0,20}",
        after in "[ -~]{0,20}",
    ) {
        let body = format!("{{\"{before}CANARY{after}\":CANARY [\"CANARY\"");
        if let Err(error) = read(body.as_bytes()) {
            let told = format!("{error} {error:?}");
            prop_assert!(!told.contains("CANARY"));
        }
    }
}
