//! What the port gives to pages and their visitors.

use crate::support::{config, shop};

#[tokio::test(flavor = "multi_thread")]
async fn the_tracker_is_there_for_pages_of_any_origin() {
    let house = shop(config()).await;
    let headers = [("Origin", "https://any.example")];
    let answer = house.send("GET", "/quorate.js", &headers, "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("cross-origin-resource-policy"), Some("cross-origin"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
    assert!(answer.body.contains("/v1/events?site="));
    let tag = answer.header("etag").unwrap();
    let again = house.send("GET", "/quorate.js", &[("If-None-Match", tag)], "").await;
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(again.header("cache-control"), Some("public, max-age=3600"));
    let head = house.send("HEAD", "/quorate.js", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(house.send("POST", "/quorate.js", &[], "x").await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_notice_runs_nothing_and_sets_nothing() {
    let house = shop(config()).await;
    let answer = house.send("GET", "/privacy", &[("Cookie", "a=b")], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("set-cookie"), None);
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    let expected = schemas::notice::Notice::of(&house.gates.package).html();
    assert_eq!(answer.body, expected);
    let head = house.send("HEAD", "/privacy", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    // Neither is an event of anybody.
    assert!(house.server.stats().is_empty());
    let elsewhere = house.send("GET", "/privacy/x", &[], "").await;
    assert_eq!((elsewhere.status, elsewhere.error().as_str()), (404, "not_found"));
}
