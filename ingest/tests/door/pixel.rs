//! The image: pages without scripts, and e-mails.

use crate::support::{Answer, House, config, shop};
use ingest::IngestConfig;
use schemas::{Note, Reason};

const SHOP: &str = "http://shop.example:39411";
const COLUMNS: [&str; 4] = ["name", "page", "hostname", "utm_source"];

async fn get(house: &House, query: &str, headers: &[(&str, &str)]) -> Answer {
    let answer = house.send("GET", &format!("/v1/pixel.gif{query}"), headers, "").await;
    is_the_image(&answer);
    assert!(answer.body.starts_with("GIF89a") && answer.body.ends_with(';'), "{answer:?}");
    answer
}

fn is_the_image(answer: &Answer) {
    assert_eq!(answer.header("content-type"), Some("image/gif"), "{answer:?}");
    assert_eq!(answer.header("content-length"), Some("43"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("cross-origin-resource-policy"), Some("cross-origin"));
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("set-cookie"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_counts_a_page_by_its_query_or_by_who_asks() {
    let house = shop(config()).await;
    let page = format!("{SHOP}/cart?q=1");
    let referer = [("Referer", page.as_str())];
    for (query, headers) in [
        ("?site=shop.example", &referer[..]),
        (
            "?site=shop.example&url=https%3A%2F%2Fshop.example%2Fspring%3Futm_source%3Dmail&name=signup",
            &referer,
        ),
        ("?site=shop.example&url=https://shop.example/a&t=1763770000", &[]),
        ("?site=shop.example", &[]),
        ("?site=shop.example&name=new+thing&url=", &[]),
    ] {
        assert_eq!(get(&house, query, headers).await.status, 200, "{query}");
    }
    let expected = [
        "other |  |  | ",
        "pageview |  |  | ",
        "pageview | /a | shop.example | ",
        "pageview | /cart | shop.example | ",
        "signup | /spring | shop.example | mail",
    ];
    assert_eq!(house.lines("web", &COLUMNS).await, expected);
    let web = house.server.families().into_iter().find(|web| web.accepted == 5).unwrap();
    assert_eq!(web.undeclared, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_pages_and_other_sites_are_told_by_the_status() {
    let house = shop(config()).await;
    let site = "?site=shop.example";
    for (query, headers, status) in [
        ("", vec![], 401),
        ("?site=gone", vec![], 401),
        (site, vec![("Referer", "https://evil.example/x")], 403),
        (site, vec![("Referer", "nonsense")], 403),
        (site, vec![("Referer", "http://shop.ex\u{e4}mple/")], 403),
        (site, vec![("Origin", "https://evil.example"), ("Referer", SHOP)], 403),
        (site, vec![("Origin", SHOP), ("Referer", "https://evil.example")], 200),
        ("?site=shop.example&url=nonsense", vec![], 400),
        ("?site=shop.example&url=/a&url=/b", vec![], 400),
        ("?site=shop.example&name=%ff%00", vec![("Content-Encoding", "gzip")], 200),
    ] {
        assert_eq!(get(&house, query, &headers).await.status, status, "{query} {headers:?}");
    }
    let post = house.send("POST", "/v1/pixel.gif?site=shop.example", &[], "").await;
    is_the_image(&post);
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    let families = house.server.families();
    let web = families.iter().find(|web| web.accepted == 2).unwrap();
    assert_eq!(web.refused[&Reason::WrongForm], 1);
    assert_eq!(families.last().unwrap().refused[&Reason::Malformed], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_only_asked_after_counts_nothing() {
    let house = shop(config()).await;
    let answer = house.send("HEAD", "/v1/pixel.gif?site=shop.example", &[], "").await;
    is_the_image(&answer);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert!(house.server.stats().is_empty() && house.frames().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_limits_and_what_is_durable_are_those_of_every_page() {
    let house = shop(IngestConfig { address_requests_per_s: 1, ..config() }).await;
    let query = "?site=shop.example&url=https://shop.example/a";
    assert_eq!(get(&house, query, &[("Sec-GPC", "1")]).await.status, 200);
    assert_eq!(house.frames().await.remove(0).2.notes[&Note::SignalGpc], 1);
    assert_eq!(house.lines("web", &COLUMNS).await, [" |  |  | "]);
    for _ in 0..9 {
        assert_eq!(get(&house, query, &[]).await.status, 200);
    }
    let answer = get(&house, query, &[]).await;
    assert_eq!(answer.status, 429);
    assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    house.server.suspend(ingest::Suspension::Space, true);
    let answer = get(&house, query, &[]).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("60")));
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_may_stand_in_the_query() {
    // There the purpose `website` needs it.
    let house = House::open(config()).await;
    for query in ["url=/no", "url=/yes&consent=website", "url=/unknown&consent=fun"] {
        let query = format!("?site=shop&{query}");
        assert_eq!(get(&house, &query, &[]).await.status, 200);
    }
    let gpc = [("Sec-GPC", "1")];
    assert_eq!(get(&house, "?site=shop&url=/objects&consent=website", &gpc).await.status, 200);
    assert_eq!(house.texts("web", "url").await, ["", "", "", "/yes"]);
}
