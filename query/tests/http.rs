//! The reading side over a real socket: tokens, formats, errors.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail")]

mod fixture;

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, Schema};
use arrow::ipc::reader::StreamReader;
use fixture::support::{self, Store, at};
use fixture::{Known, NOW, quiet, statistics, store};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use query::{FamilyCounts, Keys, Outcomes, router};
use schemas::access::{Readers, SourceKind, Sources};
use schemas::time::Millis;
use schemas::{Note, Reason};
use serde_json::{Value, json};

struct Server {
    store: Store,
    address: String,
    token: String,
}

struct Response {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Server {
    async fn start() -> Self {
        Self::of(quiet()).await
    }

    async fn of(running: Known) -> Self {
        let store = store().await;
        let token = add_reader(&store, "board", 1);
        let clock = Arc::new(|| at(NOW));
        let (statistics, running) = (Arc::new(statistics(&store)), Arc::new(running));
        let app = router(statistics, running, store.root("readers.toml"), clock);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { store, address, token }
    }

    async fn send(&self, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Response {
        let url = format!("{}{path}", self.address);
        let headers: Vec<(String, String)> =
            headers.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let body = body.map(str::to_owned);
        let call = move || {
            let config = ureq::Agent::config_builder().http_status_as_error(false).build();
            let agent = ureq::Agent::new_with_config(config);
            let mut response = match body {
                Some(body) => {
                    let request = agent.post(&url);
                    let request = headers.iter().fold(request, |r, (a, b)| r.header(a, b));
                    request.send(body).unwrap()
                }
                None => {
                    let request = agent.get(&url);
                    headers.iter().fold(request, |r, (a, b)| r.header(a, b)).call().unwrap()
                }
            };
            Response {
                status: response.status().as_u16(),
                headers: response.headers().clone(),
                body: response.body_mut().read_to_vec().unwrap(),
            }
        };
        tokio::task::spawn_blocking(call).await.unwrap()
    }

    async fn query(&self, accept: &str, body: &str) -> Response {
        let bearer = format!("Bearer {}", self.token);
        self.send("/v1/query", &[("authorization", &bearer), ("accept", accept)], Some(body)).await
    }
}

fn add_reader(store: &Store, name: &str, entropy: u8) -> String {
    let path = store.root("readers.toml");
    let mut readers = Readers::load(&path).unwrap();
    let secret = readers.add(name, Millis(0), [entropy; 20]).unwrap();
    readers.save(&path).unwrap();
    secret.reveal().to_owned()
}

const BY_PRODUCT: &str =
    r#"{"from": "active_devices", "by": ["product"], "measures": ["devices"]}"#;

fn check_rows(rows: &RecordBatch, schema: &Schema) {
    let products: Vec<_> =
        rows.column_by_name("product").unwrap().as_string::<i32>().iter().flatten().collect();
    assert_eq!(products, ["kathea", "x1", "kathea", "x1"]);
    let devices = rows.column_by_name("devices").unwrap().as_primitive::<Int64Type>();
    assert_eq!(devices.values(), &[10, 50, 15, 50]);
    assert_eq!(schema.metadata()["complete_until"], "2024-05-17T00:00:00.000Z");
    let privacy: Value = serde_json::from_str(&schema.metadata()["privacy"]).unwrap();
    assert_eq!(privacy["hidden_groups"], json!(false));
}

#[tokio::test]
async fn every_format_says_the_same() {
    let server = Server::start().await;
    let response = server.query("application/json", BY_PRODUCT).await;
    assert_eq!((response.status, response.header("content-type")), (200, "application/json"));
    let body = response.json();
    assert_eq!(
        body["rows"][0],
        json!({"period_start": "2024-05-15T00:00:00Z", "period_end": "2024-05-16T00:00:00Z",
            "product": "kathea", "devices": 10})
    );
    assert_eq!(body["rows"].as_array().unwrap().len(), 4);
    assert_eq!(body["hidden_in"], json!([]));
    assert_eq!(body["complete_until"], "2024-05-17T00:00:00.000Z");
    assert_eq!(
        body["privacy"],
        json!({"mechanism": "threshold", "min_contributors": 10, "rounding": 5,
            "hidden_groups": false,
            "note": "staff-only, not anonymous: comparing groups can narrow down"})
    );
    assert_eq!(response.header("cache-control"), "no-store");
    assert_eq!(response.header("access-control-allow-origin"), "");

    let csv = server.query("text/csv", BY_PRODUCT).await;
    assert_eq!(csv.header("content-type"), "text/csv");
    assert_eq!(
        String::from_utf8(csv.body.clone()).unwrap().lines().collect::<Vec<_>>()[..2],
        [
            "period_start,period_end,product,devices",
            "2024-05-15T00:00:00Z,2024-05-16T00:00:00Z,kathea,10"
        ]
    );
    assert_eq!(csv.header("quorate-complete-until"), "2024-05-17T00:00:00.000Z");
    let privacy: Value = serde_json::from_str(csv.header("quorate-privacy")).unwrap();
    assert_eq!(privacy, body["privacy"]);

    let stream = server.query("application/vnd.apache.arrow.stream", BY_PRODUCT).await;
    let mut reader = StreamReader::try_new(&stream.body[..], None).unwrap();
    let schema = reader.schema();
    check_rows(&reader.next().unwrap().unwrap(), &schema);

    let file = server.query("application/vnd.apache.parquet", BY_PRODUCT).await;
    let bytes = axum::body::Bytes::from(file.body);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let plain = builder.metadata().file_metadata().key_value_metadata().unwrap();
    assert!(plain.iter().any(|entry| entry.key == "privacy"), "for readers that know no Arrow");
    let schema = Arc::clone(builder.schema());
    let mut reader = builder.build().unwrap();
    check_rows(&reader.next().unwrap().unwrap(), &schema);

    let refused = server.query("text/html", BY_PRODUCT).await;
    assert_eq!((refused.status, &refused.json()["error"]), (406, &json!("not_acceptable")));
}

#[tokio::test]
async fn nulls_are_said_and_empty_answers_are_whole() {
    let server = Server::start().await;
    for accept in [
        "application/json",
        "text/csv",
        "application/vnd.apache.arrow.stream",
        "application/vnd.apache.parquet",
    ] {
        let response = server.query(accept, r#"{"from": "never"}"#).await;
        assert_eq!(response.status, 200, "{accept}");
        assert_eq!(response.header("quorate-complete-until"), "");
    }
    let response = server.query("*/*", r#"{"from": "never"}"#).await;
    assert_eq!(response.json()["rows"], json!([]));
    assert_eq!(response.json()["complete_until"], Value::Null);
}

#[tokio::test]
async fn only_a_living_read_token_reads() {
    let server = Server::start().await;
    let mut sources = Sources::default();
    let write =
        sources.add("line", SourceKind::Device, vec![], vec![], Millis(0), [9; 20]).unwrap();
    let write = format!("Bearer {}", write.reveal());
    let good = format!("bearer {}", server.token);
    let cases = [
        (None, 401, "no_token"),
        (Some("Basic abc"), 401, "no_token"),
        (Some("Bearer "), 401, "no_token"),
        (Some("Bearer qr_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), 401, "unknown_token"),
        (Some(write.as_str()), 403, "write_key"),
        (Some(good.as_str()), 200, ""),
    ];
    for (authorization, status, error) in cases {
        let headers: Vec<_> =
            authorization.map(|value| ("authorization", value)).into_iter().collect();
        for (path, body) in [
            ("/v1/query", Some(BY_PRODUCT)),
            ("/v1/sql", Some(r#"{"sql": "select 1"}"#)),
            ("/v1/statistics", None),
            ("/v1/live", None),
            ("/v1/policy", None),
        ] {
            let response = server.send(path, &headers, body).await;
            assert_eq!(response.status, status, "{path} {headers:?}");
            if status != 200 {
                let body = response.json();
                assert_eq!((&body["error"], &body["retry"]), (&json!(error), &json!(false)));
            }
            let asks = response.header("www-authenticate") == "Bearer";
            assert_eq!(asks, status == 401);
        }
    }
}

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

#[tokio::test]
async fn the_page_is_served_without_a_token_under_a_policy_that_lets_nothing_else_in() {
    let server = Server::start().await;
    let page = server.send("/", &[], None).await;
    let text = String::from_utf8(page.body.clone()).unwrap();
    assert!(text.contains("<!doctype html>") && text.contains("assets/index.js"), "{text}");
    let named = server.send("/index.html", &[], None).await;
    assert_eq!(named.body, page.body);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
        ("/assets/index.js", "text/javascript; charset=utf-8"),
        ("/assets/index.css", "text/css; charset=utf-8"),
    ] {
        let answer = server.send(path, &[], None).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{path}");
        assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
        let tag = answer.header("etag").to_owned();
        let again = server.send(path, &[("if-none-match", &tag)], None).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.header("cache-control"), "no-cache", "{path}");
    }
    let small = server.send("/assets/index.js", &[("accept-encoding", "br")], None).await;
    assert_eq!(small.header("content-encoding"), "br");
}

#[tokio::test]
async fn every_answer_tells_browsers_to_trust_nothing_else() {
    let server = Server::start().await;
    let bearer = format!("Bearer {}", server.token);
    for (path, status, cached) in [
        ("/", 200, "no-cache"),
        ("/assets/index.js", 200, "no-cache"),
        ("/assets/none.js", 404, "no-store"),
        ("/assets/../index.html", 404, "no-store"),
        ("/v1/statistics", 200, "no-store"),
        ("/v1/live", 200, "no-store"),
        ("/v1/policy", 200, "no-store"),
        ("/v1/none", 404, "no-store"),
    ] {
        let answer = server.send(path, &[("authorization", &bearer)], None).await;
        assert_eq!(answer.status, status, "{path}");
        for (name, value) in [
            ("content-security-policy", POLICY),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", cached),
            ("access-control-allow-origin", ""),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
    }
}

#[tokio::test]
async fn under_v1_even_nothing_is_json() {
    let server = Server::start().await;
    for path in ["/v1/", "/v1/none", "/v1/statistics/none", "/v1/assets/index.js"] {
        for body in [None, Some("{}")] {
            let answer = server.send(path, &[], body).await;
            assert_eq!(
                (answer.status, answer.json()["error"].as_str()),
                (404, Some("unknown_path"))
            );
        }
    }
    for path in ["/none", "/assets/", "/index.htm", "/v2/none"] {
        let answer = server.send(path, &[], None).await;
        assert_eq!((answer.status, answer.body.len()), (404, 0), "{path}");
    }
}

/// For browsers and their extensions, which have no token.
#[tokio::test]
async fn who_heeds_global_privacy_control_says_so() {
    let server = Server::start().await;
    let answer = server.send("/.well-known/gpc.json", &[], None).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json()["gpc"], true);
}

/// What a service has counted whose devices have sent some, with one of a family at a time.
fn counted() -> Known {
    let mut known = quiet();
    let [devices, web] = &mut known.live.families[..] else { panic!("two families") };
    (devices.accepted, devices.recent, devices.undeclared) = (1_234, 9, 4);
    devices.refused =
        [(Reason::WrongType, 7), (Reason::TooLong, 1), (Reason::OutOfRange, 0)].into();
    devices.last = Some(at("2024-05-18T05:59:59Z"));
    devices.notes = [(Note::Nulled, 14), (Note::SignalGpc, 4)].into();
    let words = [("improve".to_owned(), 12), ("website".to_owned(), 3)];
    devices.named = [(Note::Nulled, words.into())].into();
    (web.accepted, web.recent) = (1, 1);
    let none = [(Reason::UnknownType, 3)].into();
    known.live.families.push(FamilyCounts { refused: none, ..FamilyCounts::default() });
    known
}

#[tokio::test]
async fn live_counts_are_rounded_down_and_times_truncated() {
    let server = Server::of(counted()).await;
    let bearer = format!("Bearer {}", server.token);
    let live = server.send("/v1/live", &[("authorization", &bearer)], None).await.json();
    assert_eq!(
        live,
        json!({"since": "2024-05-18T06:00:00.000Z", "last_event": "2024-05-18T05:00:00.000Z",
        "ingest": "http://in.example", "rounding": 5, "families": [
            {"family": "device_usage", "any": true, "accepted": 1230, "recent": 5,
                "refused": {"wrong_type": 5, "too_long": 0}, "undeclared": 0,
                "notes": {"nulled": 10}, "named": {"nulled": {"improve": 10}}},
            {"family": "web", "any": true, "accepted": 0, "recent": 0, "refused": {}, "undeclared": 0,
                "notes": {}, "named": {}},
            {"family": null, "any": true, "accepted": 0, "recent": 0,
                "refused": {"unknown_type": 0}, "undeclared": 0, "notes": {}, "named": {}},
        ]})
    );
    let server = Server::start().await;
    let bearer = format!("Bearer {}", server.token);
    let live = server.send("/v1/live", &[("authorization", &bearer)], None).await.json();
    assert_eq!((&live["last_event"], &live["families"][0]["any"]), (&Value::Null, &json!(false)));
}

/// Two services that differ in one event, or in when it came within the grain, answer the same.
#[tokio::test]
async fn one_event_more_is_not_told() {
    let told = async |known: Known| {
        let server = Server::of(known).await;
        let bearer = format!("Bearer {}", server.token);
        server.send("/v1/live", &[("authorization", &bearer)], None).await.json()
    };
    let mut more = counted();
    let devices = &mut more.live.families[0];
    (devices.accepted, devices.undeclared) = (1_230, 3);
    *devices.refused.get_mut(&Reason::WrongType).unwrap() += 1;
    devices.notes = [(Note::Nulled, 13), (Note::SignalDnt, 1)].into();
    devices.named =
        [(Note::Nulled, [("improve".to_owned(), 14), ("website".to_owned(), 4)].into())].into();
    devices.last = Some(at("2024-05-18T05:00:00Z"));
    assert_eq!(told(more).await, told(counted()).await);
}

/// Ledgers in which things were counted.
fn recorded() -> Known {
    let mut known = quiet();
    let key = |purpose, family: Option<&str>, time| Keys {
        purpose,
        family: family.map(str::to_owned),
        alive: 2,
        destroyed: 11,
        oldest_alive: Some(at(time)),
        last_destroyed: None,
    };
    known.keys = Some(vec![
        key("seal", None, "2024-05-15T09:14:31Z"),
        key("pseudonym", Some("device_usage"), "2024-05-01T00:59:59.999Z"),
    ]);
    known.outcomes = vec![
        Outcomes { received: 3, refused: [(Reason::Malformed, 3)].into(), ..Outcomes::default() },
        Outcomes {
            family: Some("device_usage".to_owned()),
            received: 1_009,
            taken: 1_005,
            refused: [(Reason::WrongType, 4)].into(),
            notes: [(Note::Undeclared, 12)].into(),
            named: [(Note::Nulled, [("improve".to_owned(), 7)].into())].into(),
        },
    ];
    known
}

async fn policy(known: Known) -> Response {
    let server = Server::of(known).await;
    let bearer = format!("Bearer {}", server.token);
    server.send("/v1/policy", &[("authorization", &bearer)], None).await
}

#[tokio::test]
async fn the_policy_is_the_notice_and_what_the_ledgers_count() {
    let told = policy(recorded()).await.json();
    let package = support::package(fixture::STATISTICS, 10, 5);
    let notice = serde_json::to_value(schemas::notice::Notice::of(&package)).unwrap();
    for (name, value) in notice.as_object().unwrap() {
        assert_eq!(&told[name], value, "{name}");
    }
    assert!(told["statistics"].is_array() && told["controller"].is_string());
    assert_eq!(told["rounding"], 5);
    assert_eq!(
        told["keys"],
        json!([
            {"use": "seal", "family": null, "alive": 2, "destroyed": 11,
                "oldest_alive": "2024-05-15T09:00:00.000Z", "last_destroyed": null},
            {"use": "pseudonym", "family": "device_usage", "alive": 2, "destroyed": 11,
                "oldest_alive": "2024-05-01T00:00:00.000Z", "last_destroyed": null},
        ])
    );
    assert_eq!(
        told["outcomes"],
        json!([
            {"family": null, "received": 0, "taken": 0, "refused": {"malformed": 0}, "notes": {}, "named": {}},
            {"family": "device_usage", "received": 1005, "taken": 1005, "refused": {"wrong_type": 0},
                "notes": {"undeclared": 10}, "named": {"nulled": {"improve": 5}}},
        ])
    );
}

/// Neither an objection nor an event more, nor the moment at which a key was made, is told.
#[tokio::test]
async fn one_line_more_in_a_ledger_is_not_told() {
    let mut more = recorded();
    let devices = &mut more.outcomes[1];
    (devices.received, devices.taken) = (1_008, 1_006);
    *devices.notes.get_mut(&Note::Undeclared).unwrap() += 1;
    more.keys.as_mut().unwrap()[1].oldest_alive = Some(at("2024-05-01T00:00:01Z"));
    assert_eq!(policy(more).await.json(), policy(recorded()).await.json());
}

#[tokio::test]
async fn a_ledger_that_cannot_be_read_is_not_an_empty_one() {
    let answer = policy(Known { keys: None, ..recorded() }).await;
    assert_eq!((answer.status, answer.json()["error"].as_str()), (503, Some("unavailable")));
}

#[tokio::test]
async fn visitors_are_told_without_a_token_on_a_page_that_runs_nothing() {
    let server = Server::start().await;
    let page = server.send("/privacy", &[], None).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("script-src") && !policy.contains("'self'"), "{policy}");
    assert_eq!(page.header("x-frame-options"), "DENY");
    let text = String::from_utf8(page.body).unwrap();
    assert!(text.contains("device_usage") && !text.contains("<script"), "{text}");
}

/// The head is enough to refuse: a body that never comes is not waited for.
#[tokio::test]
async fn who_has_no_token_is_refused_before_the_body_is_read() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::start().await;
    let address = server.address.trim_start_matches("http://");
    for path in ["query", "sql"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head =
            format!("POST /v1/{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 60000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        let read = stream.read_exact(&mut answer);
        let read = tokio::time::timeout(std::time::Duration::from_secs(5), read).await;
        read.expect("it is answered without its body").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 401");
    }
}

#[tokio::test]
async fn the_registry_is_read_again_when_it_changes() {
    let server = Server::start().await;
    let other = format!("Bearer {}", add_reader(&server.store, "another", 2));
    let ask = async |bearer: &str| {
        server.send("/v1/statistics", &[("authorization", bearer)], None).await.status
    };
    let own = format!("Bearer {}", server.token);
    assert_eq!((ask(&own).await, ask(&other).await), (200, 200));
    let path = server.store.root("readers.toml");
    let mut readers = Readers::load(&path).unwrap();
    readers.revoke("board", None, Millis(1)).unwrap();
    readers.save(&path).unwrap();
    assert_eq!((ask(&own).await, ask(&other).await), (401, 200));
    std::fs::write(&path, "not = [a registry").unwrap();
    assert_eq!(ask(&other).await, 503, "what cannot be read lets nobody in");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ask(&other).await, 401);
}

#[tokio::test]
async fn lists_answers_sql_and_says_what_is_wrong() {
    let server = Server::start().await;
    let bearer = format!("Bearer {}", server.token);
    let headers = [("authorization", bearer.as_str())];
    let list = server.send("/v1/statistics", &headers, None).await.json();
    assert_eq!(
        list[0],
        json!({"name": "active_devices", "title": "Active devices",
            "family": "device_usage", "contributors": "devices", "measures": ["devices", "events"],
            "columns": [
                {"name": "devices", "measure": "contributors", "field": null, "unit": null, "about": null},
                {"name": "events", "measure": "events", "field": null, "unit": null, "about": null},
            ],
            "mechanism": "threshold", "min_contributors": 10, "rounding": 5,
            "groupings": [[], ["product"], ["product", "version"]], "every": "day",
            "period_ms": 86_400_000,
            "complete_until": "2024-05-17T00:00:00.000Z", "closes_at": "2024-05-19T00:00:00.000Z"})
    );
    let sql = r#"{"sql": "select max(devices) as most from active_devices"}"#;
    let answer = server.send("/v1/sql", &headers, Some(sql)).await.json();
    assert_eq!(answer["rows"], json!([{"most": 65}]));
    assert_eq!(answer.get("hidden_in"), None, "SQL has no grouping");
    let hidden =
        r#"{"from": "spread", "by": ["country"], "between": ["2024-05-16", "2024-05-17"]}"#;
    let answer = server.query("*/*", hidden).await.json();
    assert_eq!(
        (&answer["hidden_in"], &answer["rows"]),
        (&json!(["2024-05-16T00:00:00Z"]), &json!([]))
    );
    let wrong = server.send("/v1/sql", &headers, Some(r#"{"sql": "drop table scans"}"#)).await;
    assert_eq!(wrong.status, 400);
    assert_eq!(
        wrong.json(),
        json!({"error": "sql_refused", "retry": false,
            "message": "only one SELECT over statistics is run; this is a statement that changes tables"})
    );
    let wrong = server.query("*/*", r#"{"from": "active_devices", "by": ["wrong"]}"#).await;
    assert_eq!(
        wrong.json(),
        json!({"error": "unknown_grouping", "retry": false,
            "message": "active_devices is not grouped that way; `by` is one of [], [\"product\"], [\"product\",\"version\"]"})
    );
    let long = format!(r#"{{"from": "{}"}}"#, "x".repeat(70_000));
    assert_eq!(server.query("*/*", &long).await.status, 413);
}
