//! `quorate policy export json-schema` against the door's own decisions: what the schema accepts the door accepts, and the
//! other way round as far as JSON Schema can say it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use anonymizer::{RawEvent, Signals};
use ingest::{Limits, Plan, Received, Rows, Sending, assemble, decode};
use proptest::prelude::*;
use regex::Regex;
use schemas::access::SourceKind;
use schemas::{Millis, Package};
use serde_json::{Value, json};

/// 2026-11-22T10:00:00Z.
const NOW: Millis = Millis(1_795_341_600_000);

const POLICY: &str = r#"
controller = "Example Ltd"
version = "1"
[purposes.site]
basis = "consent"
notice = "to see what is read"
[refused]
categories = ["name"]
content = []
"#;

/// Every kind of field, required and not.
const USE: &str = r#"
family = "use"
contributor = { field = "serial", called = "devices" }
purposes = ["site"]
[fields]
serial = { type = "string(64)", is = "identifier", transform = "pseudonym", required = true, about = "a" }
spare = { type = "string(16)", pattern = "[a-z]{1,8}", is = "identifier", transform = "pseudonym", about = "a" }
word = { type = ["a", "abc"], is = "usage", about = "a" }
mode = { type = ["a", "b"], otherwise = "other", required = true, is = "usage", about = "a" }
part = { type = "string(8)", pattern = "[A-Z][0-9]{3}|a+|/", is = "usage", about = "a" }
note = { type = "string(40)", is = "usage", transform = "drop", about = "a" }
count = { type = "integer", range = [0, 100], is = "usage", about = "a" }
weight = { type = "float", range = [-0.5, 100.0], is = "usage", about = "a" }
took = { type = "s", range = [0, 100], is = "usage", about = "a" }
at = { type = "timestamp", is = "usage", transform = { truncate = "1 day" }, about = "a" }
release = { type = "version", is = "usage", transform = { truncate = "major" }, about = "a" }
page = { type = "url", is = "usage", transform = "path", about = "a" }
ok = { type = "boolean", is = "usage", about = "a" }
"#;

const WEB: &str = r#"
family = "web"
contributor = { from = "visit", called = "visitors" }
purposes = ["site"]
[fields]
page = { type = "url", required = true, is = "usage", transform = "path", about = "a" }
ok = { type = "integer", range = [1, 5], is = "usage", about = "of another type than in `use`" }
"#;

fn package() -> Arc<Package> {
    let files = [("policy.toml", POLICY), ("use.toml", USE), ("web.toml", WEB)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    Arc::new(Package::from_files(files.to_vec()).unwrap_or_else(|found| panic!("{found:?}")))
}

/// The door, and the schema that is exported of the same package.
static BOTH: LazyLock<(Plan, Value)> = LazyLock::new(|| {
    let package = package();
    let schema = schemas::export::json_schema(&package);
    (Plan::new(package), serde_json::from_str(&schema).expect("it is JSON"))
});

/// Patterns of the schema, each compiled once.
static FORMS: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);

fn matches(pattern: &str, text: &str) -> bool {
    let mut forms = FORMS.lock().expect("no test panics while it looks at a pattern");
    let form = forms
        .entry(pattern.to_owned())
        .or_insert_with(|| Regex::new(pattern).expect("the pattern compiles"));
    form.is_match(text)
}

struct Taken;

impl Rows for Taken {
    fn row(&mut self, _family: usize, _event: &RawEvent<'_>, _person: Option<usize>) {}
}

/// Whether a server's key would see every event of the body accepted.
fn door(plan: &Plan, body: &Value) -> bool {
    let body = body.to_string();
    let limits = Limits { events_max: 10, event_bytes_max: 1 << 16 };
    let Ok(decoded) = decode(plan, body.as_bytes(), limits) else { return false };
    let sending = Sending {
        kind: SourceKind::Server,
        permitted: None,
        received: Received::At(NOW),
        signals: Signals::default(),
    };
    assemble(plan, &decoded, &sending, &mut Taken).refused_total == 0
}

/// As much of JSON Schema as the export says; an unknown word fails the test.
fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
    if let Some(all) = schema.as_bool() {
        return all;
    }
    let all = schema.as_object().expect("a schema is an object, or says all or nothing");
    all.iter().all(|(word, rule)| match word.as_str() {
        "$schema" | "$id" | "$comment" | "$defs" | "title" | "description" | "examples" => true,
        "$ref" => {
            let name = rule.as_str().and_then(|text| text.strip_prefix("#/$defs/")).unwrap();
            accepts(root, &root["$defs"][name], value)
        }
        "type" => match rule.as_array() {
            Some(names) => names.iter().any(|name| is(name, value)),
            None => is(rule, value),
        },
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
        "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
        "minLength" => letters(value).is_none_or(|count| count >= rule.as_u64().unwrap()),
        "maxLength" => letters(value).is_none_or(|count| count <= rule.as_u64().unwrap()),
        "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
        "anyOf" => rule.as_array().unwrap().iter().any(|one| accepts(root, one, value)),
        "allOf" => rule.as_array().unwrap().iter().all(|one| accepts(root, one, value)),
        "not" => !accepts(root, rule, value),
        "required" => value.as_object().is_none_or(|entries| {
            rule.as_array().unwrap().iter().all(|name| entries.contains_key(name.as_str().unwrap()))
        }),
        "properties" => value.as_object().is_none_or(|entries| {
            let own = rule.as_object().unwrap().iter();
            own.filter_map(|(name, one)| Some((one, entries.get(name)?)))
                .all(|(one, value)| accepts(root, one, value))
        }),
        "propertyNames" => value
            .as_object()
            .is_none_or(|entries| entries.keys().all(|name| accepts(root, rule, &json!(name)))),
        "items" => value
            .as_array()
            .is_none_or(|values| values.iter().all(|value| accepts(root, rule, value))),
        word => panic!("the test does not know `{word}`"),
    })
}

fn letters(value: &Value) -> Option<u64> {
    value.as_str().map(|text| text.chars().count() as u64)
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("the test does not know the type `{other}`"),
    }
}

/// What is put in the place of any value.
fn odd() -> Vec<Value> {
    let mut values =
        vec![json!(null), json!(true), json!(false), json!([]), json!(["a"]), json!({})];
    values.extend([0, 1, -1, 5, 100, 101, 1_764_000_000_000_i64].map(|number| json!(number)));
    values.extend([5.0, 0.5, -0.5, 100.5, 1e300].map(|number| json!(number)));
    let long = [
        "a".repeat(9),
        "a".repeat(64),
        "a".repeat(65),
        "a".repeat(129),
        "é".repeat(4),
        "é".repeat(65),
    ];
    values.extend(long.map(|text| json!(text)));
    values.extend(
        [
            "",
            "a",
            "abc",
            "E123",
            "E1234",
            "other",
            "1.2.3",
            "1.2.3.4.5",
            "3.8.1-beta",
            "1..2",
            "/",
            "/a/b?c",
            "//a",
            "https://example.com/x?y=1#z",
            "https://",
            "https:///a",
            "javascript:x",
            "ftp://a b",
            "2026-11-22T10:00:00Z",
            "2026-11-22T10:00:00.5+01:00",
            "2026-02-30T10:00:00Z",
            "2028-02-29T10:00:00Z",
            "2026-11-22",
            "no time",
            "192.0.2.7",
            "use",
            "web",
        ]
        .map(|text| json!(text)),
    );
    values.extend([
        json!({ "site": true }),
        json!({ "site": null, "unknown": 5 }),
        json!({ "site": "yes" }),
        json!({ "site": { "granted": true, "version": "1", "at": "2026-11-01T10:00:00Z" } }),
        json!({ "site": { "granted": "yes" } }),
        json!({ "site": { "version": "1" } }),
        json!({ "gpc": true, "dnt": null }),
        json!({ "dnt": "1" }),
        json!({ "address": "192.0.2.7", "language": "da" }),
        json!({ "address": "2001:db8::1", "user_agent": null }),
        json!({ "address": "192.0.2.7:80" }),
        json!({ "language": 5 }),
    ]);
    values
}

const NAMES: [&str; 26] = [
    "type",
    "serial",
    "spare",
    "word",
    "mode",
    "part",
    "note",
    "count",
    "weight",
    "took",
    "at",
    "release",
    "page",
    "ok",
    "id",
    "time",
    "sent",
    "session_start",
    "boot",
    "seq",
    "uptime_ms",
    "sent_uptime_ms",
    "consent",
    "signals",
    "end_user",
    "undeclared",
];

fn whole(family: bool) -> Value {
    if family {
        json!({ "type": "use", "serial": "S-1", "mode": "b", "count": 5, "at": "2026-11-22T09:00:00Z" })
    } else {
        json!({ "type": "web", "page": "https://example.com/a" })
    }
}

/// A whole event with some names set to something odd, or taken away.
fn event() -> impl Strategy<Value = Value> {
    let change = (
        prop::sample::select(NAMES.to_vec()),
        prop::option::weighted(0.9, prop::sample::select(odd())),
    );
    (any::<bool>(), prop::collection::vec(change, 0..3)).prop_map(|(family, changes)| {
        let mut event = whole(family);
        let entries = event.as_object_mut().unwrap();
        for (name, value) in changes {
            match value {
                Some(value) => entries.insert(name.to_owned(), value),
                None => entries.remove(name),
            };
        }
        event
    })
}

/// What a batch shares: names of the envelope, or the type and what the events then leave out.
fn batch() -> impl Strategy<Value = Value> {
    let envelope = prop::sample::select(vec!["time", "sent", "consent", "signals", "end_user"]);
    let own = (envelope, prop::sample::select(odd()), any::<bool>());
    let shared = (any::<bool>(), any::<bool>(), prop::sample::select(odd()));
    (prop::collection::vec(event(), 0..3), prop::option::of(own), prop::option::of(shared))
        .prop_map(|(mut events, own, shared)| {
            let mut body = json!({});
            if let Some((family, completes, mode)) = shared {
                // Events of that family, of which one name is in `common` alone.
                let mut common = whole(family);
                let name = if family { "mode" } else { "page" };
                if completes {
                    common[name] = mode;
                }
                let family = common["type"].clone();
                events.retain(|event| event["type"] == family);
                for event in &mut events {
                    let entries = event.as_object_mut().unwrap();
                    common.as_object().unwrap().keys().for_each(|name| drop(entries.remove(name)));
                }
                body["common"] = common;
            }
            if let Some((name, value, in_common)) = own {
                if in_common && body.get("common").is_none() {
                    body["common"] = json!({});
                }
                // An event that says it itself would leave a wrong one unread.
                for event in &mut events {
                    event.as_object_mut().unwrap().remove(name);
                }
                let place = if in_common { &mut body["common"] } else { &mut body };
                place[name] = value;
            }
            if events.is_empty() {
                let is_shared = body.get("common").is_some_and(|common| common["type"].is_string());
                events.push(if is_shared { json!({}) } else { whole(false) });
            }
            body["events"] = json!(events);
            body
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_schema_of_an_event_says_what_the_door_says(event in event(), in_list in any::<bool>()) {
        let (plan, root) = &*BOTH;
        let body = if in_list { json!([event]) } else { event };
        prop_assert_eq!(accepts(root, root, &body), door(plan, &body), "{}", body);
    }

    #[test]
    fn the_schema_of_a_batch_says_what_the_door_says(body in batch()) {
        let (plan, root) = &*BOTH;
        prop_assert_eq!(accepts(root, root, &body), door(plan, &body), "{}", body);
    }
}

/// The two agree on enough of both kinds for that to mean something.
#[test]
fn whole_events_are_accepted_and_each_mistake_is_not() {
    let (plan, root) = &*BOTH;
    for (body, accepted) in [
        (whole(true), true),
        (whole(false), true),
        (json!([whole(true), whole(false)]), true),
        (json!({ "events": [whole(true)], "site": "s", "consent": { "site": true } }), true),
        (
            json!({ "common": { "type": "web" }, "events": [{ "page": "/a" }, { "page": "/b" }] }),
            true,
        ),
        (json!({ "common": { "type": "web" }, "events": [{ "ok": 1 }] }), false),
        (json!({ "type": "use", "mode": "a" }), false),
        (json!({ "type": "use", "serial": "", "mode": "a" }), false),
        (json!({ "type": "none" }), false),
        (json!({ "type": "web", "page": "" }), false),
        (json!("text"), false),
    ] {
        assert_eq!(door(plan, &body), accepted, "door: {body}");
        assert_eq!(accepts(root, root, &body), accepted, "schema: {body}");
    }
    // What JSON Schema cannot say is refused by it, and never the other way round.
    for narrower in [
        json!({ "type": "use", "serial": "é".repeat(20), "mode": "a" }),
        json!({ "type": "web", "page": "/a", "time": "2026-06-30T23:59:60Z" }),
        json!({ "type": "web", "events": [whole(false)], "page": "/a" }),
    ] {
        assert!(door(plan, &narrower) && !accepts(root, root, &narrower), "{narrower}");
    }
}
