//! Pages: beacons, public site ids, origins, preflights.

use crate::support::{DANISH, House, config};

const PAGE: &str = r#"{"type":"web","url":"/a","consent":{"website":true}}"#;
const SHOP: &str = "https://shop.example";

#[tokio::test(flavor = "multi_thread")]
async fn a_beacon_as_plain_text_is_accepted() {
    let house = House::open(config()).await;
    let headers = [("Origin", SHOP), ("Content-Type", "text/plain;charset=UTF-8")];
    let answer = house.send("POST", "/v1/events?site=shop", &headers, PAGE).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    assert_eq!(answer.header("vary"), Some("Origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_site_may_stand_in_the_body() {
    let house = House::open(config()).await;
    let headers = [("Origin", SHOP), ("Content-Type", "text/plain")];
    for body in [
        format!(r#"{{"site":"shop","events":[{PAGE}]}}"#),
        PAGE.replacen('{', r#"{"site":"shop","#, 1),
    ] {
        let answer = house.send("POST", "/v1/events", &headers, body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
    }
    let nobody = house.send("POST", "/v1/events", &headers, format!("[{PAGE}]")).await;
    assert_eq!((nobody.status, nobody.error().as_str()), (401, "unauthorized"));
    let other = format!(r#"{{"site":"other","events":[{PAGE}]}}"#);
    assert_eq!(house.send("POST", "/v1/events", &headers, other).await.status, 401);
    let broken = house.send("POST", "/v1/events", &headers, "{").await;
    assert_eq!((broken.status, broken.error().as_str()), (400, "malformed"));
    let rows: u32 = house.frames().await.iter().map(|(_, rows, _)| rows).sum();
    assert_eq!(rows, 2, "nobody's refusals are not counted as anybody's");
    assert!(house.frames().await.iter().all(|(_, _, tally)| tally.refused_total() == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_id_works_from_its_origins_alone() {
    let house = House::open(config()).await;
    let path = "/v1/events?site=shop";
    for headers in [vec![("Origin", "https://evil.example")], vec![("Origin", "null")], vec![]] {
        let answer = house.send("POST", path, &headers, PAGE).await;
        assert_eq!((answer.status, answer.error().as_str()), (403, "origin_not_allowed"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    // The site may send web events and nothing else.
    let answer = house.send("POST", path, &[("Origin", SHOP)], crate::support::event(1)).await;
    assert_eq!((answer.status, answer.error().as_str()), (400, "all_refused"));
    assert_eq!(answer.json()["refused"][0]["reason"], "not_permitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_can_be_read_by_the_page_too() {
    let house = House::open(config()).await;
    for (path, headers, body, status) in [
        ("/v1/events?site=shop", vec![("Origin", SHOP)], "{", 400),
        ("/v1/events?site=gone", vec![("Origin", SHOP)], PAGE, 401),
        ("/v1/events?site=shop", vec![("Origin", SHOP), ("Content-Encoding", "br")], PAGE, 415),
    ] {
        let answer = house.send("POST", path, &headers, body).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preflights_are_answered_for_known_origins() {
    let house = House::open(config()).await;
    for path in ["/v1/events", "/v1/events?site=shop"] {
        let headers = [("Origin", SHOP), ("Access-Control-Request-Method", "POST")];
        let answer = house.send("OPTIONS", path, &headers, "").await;
        assert_eq!(answer.status, 204);
        assert_eq!(answer.header("access-control-allow-origin"), Some(SHOP));
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        let allowed = answer.header("access-control-allow-headers").unwrap();
        assert!(allowed.contains("content-encoding") && allowed.contains("content-type"));
        let headers = [("Origin", "https://evil.example")];
        let answer = house.send("OPTIONS", path, &headers, "").await;
        assert_eq!(answer.status, 403);
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_of_the_browser_are_respected_and_counted() {
    let house = House::open(config()).await;
    let proxied = house.send(
        "POST",
        "/v1/events?site=shop",
        &[("Origin", SHOP), ("Sec-GPC", "1"), ("DNT", "1")],
        PAGE,
    );
    assert_eq!(proxied.await.status, 202);
    let tally = house.frames().await.remove(0).2;
    assert_eq!(tally.notes[&schemas::Note::SignalGpc], 1);
    assert_eq!(tally.notes[&schemas::Note::SignalDnt], 1);
    assert_eq!(house.texts("web", "url").await, [""], "the page is not kept against the signal");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_limited_under_public_ids() {
    let config = ingest::IngestConfig { address_requests_per_s: 1, trusted_proxies: 1, ..config() };
    let house = House::open(config).await;
    let path = "/v1/events?site=shop";
    let headers = [("Origin", SHOP), ("X-Forwarded-For", DANISH)];
    for _ in 0..10 {
        assert_eq!(house.send("POST", path, &headers, PAGE).await.status, 202);
    }
    assert_eq!(house.send("POST", path, &headers, PAGE).await.status, 429);
    let headers = [("Origin", SHOP), ("X-Forwarded-For", crate::support::GERMAN)];
    assert_eq!(house.send("POST", path, &headers, PAGE).await.status, 202);
}
