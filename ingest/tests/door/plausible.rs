//! Plausible's trackers: what they sent in a browser, what an operator may send, and what nobody should.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{Answer, House, config, shop};
use ingest::IngestConfig;
use schemas::{Note, Reason};

const ORIGIN: &str = "http://shop.example:39411";
const HEADERS: [(&str, &str); 2] = [("Origin", ORIGIN), ("Content-Type", "text/plain")];
const COLUMNS: [&str; 10] = [
    "name",
    "page",
    "hostname",
    "referrer",
    "utm_source",
    "utm_campaign",
    "engaged",
    "scroll_depth",
    "plan",
    "revenue",
];

async fn post(house: &House, body: &str) -> Answer {
    house.send("POST", "/api/event", &HEADERS, body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_trackers_sent_becomes_the_expected_rows() {
    let house = shop(config()).await;
    let captures = include_str!("../captures/plausible.json");
    let captures: Vec<serde_json::Value> = serde_json::from_str(captures).unwrap();
    assert_eq!(captures.len(), 8);
    for capture in &captures {
        let headers = capture["headers"].as_object().unwrap().iter();
        let headers: Vec<(&str, &str)> =
            headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        let body = capture["body"].as_str().unwrap();
        let answer = house.send("POST", "/api/event", &headers, body).await;
        assert_eq!((answer.status, answer.body.as_str()), (202, "ok"), "{answer:?}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    }
    let rows = house.lines("web", &COLUMNS).await.join("\n") + "\n";
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plausible.txt");
    let golden = std::fs::read_to_string(golden).unwrap_or_default();
    assert_eq!(golden, rows, "if the change is wanted, put the new rows into the file");
    let status = house.server.stats();
    assert_eq!((status[0].source.as_str(), status[0].accepted), ("shop.example", 8));
    // Titles six times, a user, a method, a name, the address of a file, a serial number, a MAC address.
    let web = house.server.families().into_iter().find(|web| web.accepted == 8).unwrap();
    assert_eq!((web.family.as_deref(), web.undeclared), (Some("web"), 12));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_api_with_long_names_works_after_a_preflight() {
    let house = shop(config()).await;
    let headers = [("Origin", ORIGIN), ("Access-Control-Request-Method", "POST")];
    let answer = house.send("OPTIONS", "/api/event", &headers, "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")));
    assert!(answer.header("access-control-allow-headers").unwrap().contains("content-type"));
    let headers = [("Origin", ORIGIN), ("Content-Type", "application/json")];
    let body = r#"{"name":"purchase","url":"http://shop.example/cart","domain":"shop.example,all.example",
        "referrer":"","props":{"plan":"pro"},"revenue":{"amount":15.99,"currency":"EUR"}}"#;
    let answer = house.send("POST", "/api/event", &headers, body).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let columns = ["name", "page", "referrer", "plan", "revenue", "currency"];
    assert_eq!(house.lines("web", &columns).await, ["purchase | /cart |  | pro | 15.0 | EUR"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_is_known_by_its_id_and_its_origins() {
    let house = shop(config()).await;
    let body = r#"{"n":"pageview","u":"http://shop.example/","d":"shop.example"}"#;
    let cases = [
        (Some(ORIGIN), body.to_owned(), 202, ""),
        (Some("https://evil.example"), body.to_owned(), 403, "origin_not_allowed"),
        (Some("null"), body.to_owned(), 403, "origin_not_allowed"),
        (None, body.to_owned(), 403, "origin_not_allowed"),
        (
            Some(ORIGIN),
            body.replace("shop.example\"}", "all.example,shop.example\"}"),
            401,
            "unauthorized",
        ),
        (Some(ORIGIN), r#"{"n":"pageview"}"#.to_owned(), 401, "unauthorized"),
    ];
    for (origin, body, status, error) in cases {
        let headers: Vec<_> = origin.iter().map(|origin| ("Origin", *origin)).collect();
        let answer = house.send("POST", "/api/event", &headers, body).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "errors can be read");
        if status != 202 {
            assert_eq!(answer.error(), error);
        }
    }
    let answer = house.send("GET", "/api/event", &[("Origin", ORIGIN)], "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
    assert_eq!(house.frames().await.iter().map(|(_, rows, _)| rows).sum::<u32>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_value_is_said_and_counted_and_never_repeated() {
    let house = shop(config()).await;
    let event = |more: &str| format!(r#"{{"d":"shop.example",{more}}}"#);
    let refused = [
        (event(r#""n":"x","u":"no canary URL""#), "wrong_form"),
        (event(r#""n":"x","u":{"canary":1}"#), "wrong_type"),
        (event(r#""n":["canary"]"#), "wrong_type"),
        (event(r#""u":"http://shop.example/canary""#), "missing_field"),
        (event(r#""n":"x","e":"canary""#), "wrong_type"),
        (event(r#""n":"x","sd":[]"#), "wrong_type"),
        (event(r#""n":"x","p":{"plan":"canary"}"#), "not_listed"),
        (event(r#""n":"x","p":{"plan":{"canary":1}}"#), "wrong_type"),
        (event(r#""n":"x","p":{"plan":"pro","plan":"canary"}"#), "malformed"),
        (event(r#""n":"x","$":{"amount":"canary"}"#), "wrong_type"),
        (
            event(&format!(r#""n":"x","u":"http://shop.example/{}""#, "canary".repeat(20_000))),
            "too_long",
        ),
    ];
    for (body, reason) in &refused {
        let answer = post(&house, body).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "all_refused"), "{answer:?}");
        assert_eq!(answer.json()["refused"][0]["reason"], *reason, "{answer:?}");
        assert!(!answer.body.contains("canary"), "{answer:?}");
    }
    let counted: u64 = house.frames().await.iter().map(|(_, _, tally)| tally.refused_total()).sum();
    assert_eq!(counted, refused.len() as u64);
    for body in [
        "canary",
        "[\"canary\"]",
        "{\"canary\":",
        "{\"n\":\"canary\",\"n\":1}",
        "{\"d\":\"shop.example\"}x",
    ] {
        let answer = post(&house, body).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "malformed"), "{body}");
        assert!(!answer.body.contains("canary"), "{answer:?}");
    }
    let large = event(&format!(r#""n":"{}""#, "canary".repeat(800_000)));
    assert_eq!(post(&house, &large).await.status, 413);
    // And the door is as open as before.
    assert_eq!(post(&house, &event(r#""n":"pageview""#)).await.status, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_and_limits_are_those_of_every_page() {
    let config = IngestConfig { address_requests_per_s: 1, ..config() };
    let house = shop(config).await;
    let body = r#"{"n":"pageview","u":"http://shop.example/a","d":"shop.example","e":9999999999}"#;
    let headers = [("Origin", ORIGIN), ("Sec-GPC", "1"), ("DNT", "1")];
    assert_eq!(house.send("POST", "/api/event", &headers, body).await.status, 202);
    let tally = house.frames().await.remove(0).2;
    assert_eq!((tally.notes[&Note::SignalGpc], tally.notes[&Note::SignalDnt]), (1, 1));
    assert_eq!(house.lines("web", &["page", "engaged"]).await, [" | "]);
    for _ in 0..9 {
        assert_eq!(post(&house, body).await.status, 202);
    }
    let answer = post(&house, body).await;
    assert_eq!((answer.status, answer.error().as_str()), (429, "too_many_requests"));
    assert!(answer.header("retry-after").is_some());
    house.server.suspend(ingest::Suspension::Space, true);
    assert_eq!(post(&house, body).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_tells_no_site_is_counted_as_of_no_family() {
    let house = shop(config()).await;
    for (sent, path, body) in [
        (1, "/api/event", r#"{"d":"shop.example","n":"x","n":1}"#),
        (2, "/api/event", r#"{"n":"#),
        (3, "/v1/events", r#"{"site":"shop""#),
    ] {
        let answer = house.send("POST", path, &HEADERS, body).await;
        assert_eq!((answer.status, answer.error().as_str()), (400, "malformed"), "{answer:?}");
        let status = house.server.families();
        let none = status.iter().find(|status| status.family.is_none());
        let refused = none.map(|none| none.refused.clone());
        assert_eq!(refused, Some([(Reason::Malformed, sent)].into()), "{body}");
    }
    // Nobody is known to whom they could be charged, and there is nothing to seal.
    assert_eq!(house.server.stats(), []);
    assert_eq!(house.frames().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_no_larger_than_one_event_needs() {
    let house = shop(config()).await;
    let bytes_max = 4 * config().event_bytes_max;
    let too_large = format!("larger than {bytes_max} bytes");
    let bomb = |bytes: usize| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&vec![b' '; bytes]).and_then(|()| gzip.finish()).unwrap()
    };
    let packed = [HEADERS.as_slice(), &[("Content-Encoding", "gzip")]].concat();
    let plain = vec![b' '; bytes_max + 1];
    for (headers, body) in [(&packed[..], bomb(bytes_max + 1)), (&HEADERS[..], plain)] {
        let answer = house.send("POST", "/api/event", headers, body).await;
        assert_eq!((answer.status, answer.error().as_str()), (413, "too_large"), "{answer:?}");
        assert!(answer.body.contains(&too_large), "{answer:?}");
    }
    let answer = house.send("POST", "/api/event", &packed, bomb(bytes_max)).await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "malformed"), "{answer:?}");
    // Where many events come in one body, it may be as large as it is configured.
    let answer = house.send("POST", "/v1/events?site=shop.example", &packed, bomb(bytes_max + 1));
    assert_eq!(answer.await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_that_declares_less_or_asks_for_consent_keeps_less() {
    let house = House::open(config()).await;
    // Its family `web` has neither a name nor a time of engagement: they are dropped as what nobody declared.
    let body = r#"{"n":"pageview","u":"http://shop.example/a","d":"shop.example","e":5}"#;
    assert_eq!(post(&house, body).await.status, 202);
    // And it asks for consent, which these trackers have no word for.
    assert_eq!(house.lines("web", &["url", "country"]).await, [" | "]);
    let web = house.server.families().into_iter().find(|web| web.accepted == 1).unwrap();
    assert_eq!((web.family.as_deref(), web.undeclared), (Some("web"), 2));
}
