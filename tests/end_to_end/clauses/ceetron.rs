//! Ceetron: 3D computer-aided engineering, and a service for it.

use std::sync::OnceLock;

use schemas::model::{Receives, Role};
use serde_json::{Value, json};

use super::run::{Browser, MANY, Run, Scene, noon};
use crate::support::age::Identity;

/// Days since the history: closed, and its rows still there.
const OLD: i64 = 2;

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let mut scene = Scene::of("ceetron");
        history(&mut scene);
        scene.start();
        pages(&mut scene);
        beacons(&mut scene);
        service(&mut scene);
        hold(&mut scene);
        rights(&mut scene);
        let visitors = scene.statistic("visitors", &["country"]);
        scene.keep("visitors", visitors.into());
        scene.end()
    })
}

fn view(visitor: &str, page: &str) -> Value {
    json!({
        "type": "web", "id": format!("{visitor}-{page}"), "name": "pageview", "visitor": visitor,
        "url": format!("https://shop.example/{page}"), "consent": { "website": true },
    })
}

fn history(scene: &mut Scene) {
    let mut events = Vec::new();
    for number in 0..2 * MANY + 3 {
        let mut event = view(&format!("visitor-h-{number:08}"), "news");
        event["time"] = json!(noon(OLD).to_string());
        let mut who = Browser::number(number);
        if number >= 2 * MANY {
            // Three from Germany: too few to be shown.
            who.address = format!("79.246.128.{number}");
        } else if number >= MANY {
            who.address = format!("78.91.40.{number}");
        }
        event["end_user"] = who.end_user();
        events.push(event);
    }
    scene.import(&events);
}

fn pages(scene: &mut Scene) {
    let who = Browser::number(100);
    scene.hide_connection(&who);
    let cookie = scene.secret("cookie");
    assert_eq!(scene.browse(&who, &view(&cookie, "products/analyzer?session=1")).status, 202);
    let mut link = view(&cookie, "links");
    link["name"] = json!("outbound_link");
    link["target"] = json!(format!("https://docs.example/{}", scene.secret("path of a link")));
    assert_eq!(scene.browse(&who, &link).status, 202);
    let mut identify = view(&cookie, "identified");
    identify["name"] = json!("identify");
    for name in ["user_id", "email", "company", "traits"] {
        identify[name] = json!(scene.secret("identity"));
    }
    assert_eq!(scene.browse(&who, &identify).status, 202);
}

fn beacons(scene: &mut Scene) {
    let reader = Browser::number(101);
    scene.hide_connection(&reader);
    let recipient = scene.secret("recipient");
    let query = format!(
        "name=email&url=https%3A%2F%2Fshop.example%2Fletter%3Fto%3D{recipient}&visitor={recipient}&r={recipient}"
    );
    let answer = scene.look(&reader, &query);
    let image = answer.bytes.windows(6).any(|bytes| bytes == b"GIF89a");
    scene.keep("email", json!({ "status": answer.status, "image": image }));
    let answer = scene.look(&reader, "url=https%3A%2F%2Fshop.example%2Fbeacon&consent=website");
    scene.keep("page", json!({ "status": answer.status }));
}

fn service(scene: &mut Scene) {
    let user = Browser::number(102);
    scene.hide_connection(&user);
    let mut event = json!({
        "type": "cloud_usage", "id": "ct-8", "login": scene.secret("login"), "product": "cloud", "version": "4.1.2", "feature": "probe",
        "duration": 45_678, "error": "E230",
    });
    for name in ["file_name", "model_name", "project_name", "filename", "path", "tags"] {
        event[name] = json!(scene.secret("customer data"));
    }
    assert_eq!(scene.report(&user, &event).status, 202);
}

/// Whose rows a statute demands; what else they do meanwhile is not held.
fn hold(scene: &mut Scene) {
    let who = Browser::number(103);
    scene.hide_connection(&who);
    let cookie = scene.secret("cookie that is held");
    assert_eq!(scene.browse(&who, &view(&cookie, "held")).status, 202);
    let until = noon(-100).to_string()[..10].to_owned();
    let add = |reason: &str, until: &str| {
        ["add", "--family", "web", "--contributor", "--reason", reason, "--until", until]
            .map(str::to_owned)
    };
    for (reason, until) in
        [("curiosity", &until), ("statute", &noon(-1000).to_string()[..10].to_owned())]
    {
        let refused = scene.speak("hold", &add(reason, until), &cookie);
        assert!(!refused.status.success(), "{reason} until {until}");
    }
    let held = scene.speak("hold", &add("statute", &until), &cookie);
    assert!(held.status.success(), "{}", String::from_utf8_lossy(&held.stderr));
    assert_eq!(scene.browse(&who, &view(&cookie, "after-the-hold")).status, 202);
    scene.keep("held", json!(scene.place.print(&["hold", "list"])));
    scene.keep("until", json!(noon(-101).to_string()[..10]));
}

fn rights(scene: &mut Scene) {
    let who = Browser::number(104);
    let asking = scene.secret("cookie of who asks");
    assert_eq!(scene.browse(&who, &view(&asking, "asking")).status, 202);
    let told = scene.access("web", &asking);
    scene.keep("told", told["rows"][0]["page"].clone());
    let identity = Identity::generate();
    let key = identity.recipient();
    let receipt = scene.request(&["portability", "--family", "web", "--to", &key], &asking);
    let file = scene.export(&receipt, &identity);
    scene.keep("taken along", json!(String::from_utf8(file).unwrap()));
    let mut right = view(&asking, "asking");
    right["url"] = json!("https://shop.example/corrected");
    scene.rectify("web", &asking, &right);
    let told = scene.access("web", &asking);
    scene.keep("corrected", told["rows"][0]["page"].clone());
    for kind in ["restrict", "erase"] {
        let asking = scene.secret("cookie of who asks");
        assert_eq!(scene.browse(&who, &view(&asking, kind)).status, 202);
        scene.request(&[kind, "--family", "web"], &asking);
        let again = view(&asking, &format!("{kind}-again"));
        assert_eq!(scene.browse(&who, &again).status, 202);
    }
    let requests = scene.requests();
    scene.keep("requests", requests.into());
}

#[test]
fn ct_7_a_request_of_each_kind_and_who_takes_complaints() {
    let run = run();
    assert_eq!(
        (run.kept("told"), run.kept("corrected")),
        (&json!("/asking"), &json!("/corrected"))
    );
    assert!(run.kept("taken along").as_str().unwrap().lines().count() == 1);
    assert_eq!(run.having("web", "page", "/corrected").len(), 1);
    for page in ["/asking", "/restrict", "/restrict-again", "/erase", "/erase-again"] {
        assert!(run.having("web", "page", page).is_empty(), "{page}");
    }
    run.assert_requests("requests", &["access", "rectify", "erase", "restrict", "portability"], 30);
    let notice = run.notice();
    assert!(
        notice.contains("Datatilsynet, Norway") && notice.contains("info@ceetron.com"),
        "{notice}"
    );
    run.assert_nothing_found();
}

#[test]
fn ct_5_a_legal_hold_keeps_named_rows_apart_with_reason_and_end() {
    let run = run();
    assert!(
        run.having("web", "page", "/held").is_empty(),
        "it is in no table, and in no statistic"
    );
    assert_eq!(run.having("web", "page", "/after-the-hold").len(), 1);
    let list = run.kept("held").as_str().unwrap();
    let line = list.lines().find(|line| line.contains("statute")).expect(list);
    assert!(line.contains("web") && line.contains(" 1 "), "{line}");
    assert!(line.contains(run.kept("until").as_str().unwrap()), "{line}");
    assert_eq!(list.lines().filter(|line| line.contains("web")).count(), 1, "{list}");
    // Apart, and sealed: not in clear in any file.
    run.assert_nothing_found();
    assert!(run.package.purposes.iter().all(|purpose| !purpose.name.contains("market")));
}

#[test]
fn ct_9_recipients_and_transfers_are_in_the_notice_and_the_version_in_every_commit() {
    let run = run();
    let notice = run.notice();
    for word in ["Sub-contractors of Ceetron Cloud", "standard contractual clauses", "2019-09-13"] {
        assert!(notice.contains(word), "{word}: {notice}");
    }
    for family in ["web", "cloud_usage"] {
        run.assert_versions(family);
    }
}

#[test]
fn ct_1_browser_language_country_pages_and_links() {
    let run = run();
    assert_eq!(run.columns("web"), ["name", "page", "target", "browser", "language", "country"]);
    let row = run.one("web", "page", "/products/:product");
    let expected =
        [("name", "pageview"), ("browser", "Firefox 141"), ("language", "da"), ("country", "DK")];
    for (column, value) in expected {
        assert_eq!(row[column], value, "{column}");
    }
    let link = run.one("web", "page", "/links");
    assert_eq!((&link["name"], &link["target"]), (&json!("outbound_link"), &json!("docs.example")));
    run.assert_nothing_found();
}

#[test]
fn ct_2_identifiers_are_pseudonyms_and_identifying_adds_nothing() {
    let run = run();
    let contributor = |page: &str| run.one("web", "page", page)["contributor"].clone();
    assert_eq!(contributor("/products/:product"), contributor("/links"), "a visitor is one");
    let row = run.one("web", "page", "/identified");
    assert_eq!((&row["name"], &row["contributor"]), (&json!("other"), &contributor("/links")));
    let ordinary = run.one("web", "page", "/products/:product");
    assert!(row.keys().all(|column| ordinary.contains_key(column)), "{row:?}");
    assert!(run.place.print(&["policy", "check"]).contains("pseudonym"));
    run.assert_nothing_found();
}

#[test]
fn ct_3_beacons_in_emails_count_without_contributor_or_identifier() {
    let run = run();
    assert_eq!(run.kept("email"), &json!({ "status": 200, "image": true }));
    assert_eq!(run.kept("page")["status"], 200);
    let nobody = run.rows("web").iter().filter(|row| !row.contains_key("contributor"));
    let pages: Vec<Option<&Value>> = nobody.map(|row| row.get("page")).collect();
    // The beacon in a page was consented to; of the one in an e-mail only its being there is known.
    assert_eq!(pages.len(), 2, "{pages:?}");
    assert!(pages.contains(&None) && pages.contains(&Some(&json!("/beacon"))), "{pages:?}");
    run.assert_nothing_found();
}

#[test]
fn ct_4_addresses_become_countries() {
    let run = run();
    let day = &noon(OLD).to_string()[..10];
    let rows = run.kept("visitors").as_array().unwrap();
    let rows = rows.iter().filter(|row| row["period_start"].as_str().unwrap().starts_with(day));
    let shown: Vec<(&Value, &Value)> =
        rows.map(|row| (&row["country"], &row["visitors"])).collect();
    // Those of Germany are too few, and one of the others may be hidden so that they cannot be reckoned.
    let seen = |country: &str| shown.contains(&(&json!(country), &json!(25)));
    assert!(seen("DK") || seen("NO"), "{shown:?}");
    assert!(shown.iter().all(|(country, _)| **country != "DE"), "{shown:?}");
    run.assert_nothing_found();
}

#[test]
fn ct_6_who_analyses_gets_nothing_that_could_be_tied_to_anybody() {
    let run = run();
    let outside: Vec<_> =
        run.package.recipients.iter().filter(|one| one.role != Role::Processor).collect();
    assert!(outside.len() >= 2);
    assert!(outside.iter().all(|one| one.receives == Receives::Nothing));
    let said = run.notice();
    assert!(said.contains("Third parties that analyse use and volume"), "{said}");
}

#[test]
fn ct_8_use_of_the_service_is_recorded_and_names_of_files_and_models_are_not() {
    let run = run();
    let row = run.one("cloud_usage", "error", "E230");
    for (column, value) in [
        ("product", json!("cloud")),
        ("version", json!("4.1")),
        ("feature", json!("probe")),
        ("duration", json!(45_000)),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    run.assert_nothing_found();
    run.assert_refused("cloud_usage.toml", &["file name", "name", "e-mail"]);
    for name in ["file_name", "model_name"] {
        let said = run.check_with(
            "cloud_usage.toml",
            &format!("{name} = {{ type = [\"a\"], is = \"usage\", about = \"a\" }}"),
        );
        assert!(said.contains("refused by the policy"), "{said}");
    }
}
