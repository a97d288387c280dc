//! Copenhagen Imaging: scanner, program, web site and platforms.

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::run::{Browser, MANY, Run, Scene, noon};
use crate::support::http::Answer;

/// Days since the history whose rows are past their life.
const OLD: i64 = 6;
/// Days since the history of devices: theirs closes a week later.
const OLDER: i64 = 10;

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let mut scene = Scene::of("copenhagen-imaging");
        history(&mut scene);
        scene.start();
        devices(&mut scene);
        pages(&mut scene);
        platforms(&mut scene);
        rights(&mut scene);
        answers(&mut scene);
        scene.end()
    })
}

/// Enough devices, visitors and users for statistics, and three devices that do something of their own.
fn history(scene: &mut Scene) {
    let mut events = Vec::new();
    for number in 0..MANY {
        let who = Browser::number(number).end_user();
        let program = if number < 3 { "tmj" } else { "implant" };
        let serial = format!("X1-H-{number:06}");
        let used = |program: &str| json!({ "type": "device_usage", "serial_number": serial, "product": "x1", "version": "3.8.1", "program": program, "duration": 15_000 });
        for (at, event) in [
            (OLDER, used(program)),
            (OLDER, used("implant")),
            (OLDER, used("endo")),
            (OLDER, used("endo")),
            (
                OLD,
                json!({ "type": "web", "name": "pageview", "url": "https://shop.example/products/x1", "consent": { "website": true } }),
            ),
            (
                OLD,
                json!({ "type": "platform_usage", "platform": "portal", "feature": "devices", "time_in_use": 60 }),
            ),
        ] {
            let mut event = event;
            event["time"] = json!(noon(at).to_string());
            event["id"] = json!(format!("h-{}", events.len()));
            event["end_user"] = who.clone();
            events.push(event);
        }
    }
    scene.import(&events);
}

fn accepted(answer: &Answer, count: u64) {
    assert_eq!(
        (answer.status, &answer.json()["accepted"]),
        (202, &json!(count)),
        "{}",
        answer.body()
    );
}

fn devices(scene: &mut Scene) {
    let clinic = Browser::number(100);
    scene.hide_connection(&clinic);
    let serial = scene.hide("serial number", "X1-2031-00417-abcdef");
    let (patient, doctor) = (scene.secret("patient"), scene.secret("doctor"));
    let event = json!({
        "type": "device_usage", "id": "ci-1", "serial_number": serial, "product": "x1", "version": "3.8.1",
        "program": "endo", "duration": 14_234, "error": "E042",
        "patient_name": patient, "operator": { "name": doctor },
    });
    accepted(&scene.report(&clinic, &event), 1);
}

fn pages(scene: &mut Scene) {
    let visitor = Browser::number(101);
    scene.hide_connection(&visitor);
    let (query, cookie, referrer) =
        (scene.secret("query"), scene.secret("cookie"), scene.secret("referrer"));
    let visitor = visitor
        .with("Cookie", &format!("_ga={cookie}"))
        .with("Referer", &format!("https://a.example/{referrer}"));
    let event = json!({
        "type": "web", "id": "ci-2", "name": "pageview", "url": format!("https://shop.example/products/kathea?email={query}#{query}"),
        "consent": { "website": true },
        // What cookies of other makers carry.
        "_ga": cookie, "referrer": format!("https://a.example/{referrer}"), "screen": "1920x1080", "utm_source": "letter", "os": "Linux",
    });
    accepted(&scene.browse(&visitor, &event), 1);
    let silent = Browser::number(102);
    let event = json!({ "type": "web", "id": "ci-2-silent", "name": "pageview", "url": "https://shop.example/products/silent" });
    accepted(&scene.browse(&silent, &event), 1);
    let click =
        json!({ "type": "web", "id": "ci-3", "name": "click", "url": "https://shop.example/" });
    let answer = scene.browse(&silent, &click).json();
    scene.keep("click", answer);
}

fn platforms(scene: &mut Scene) {
    let user = Browser::number(103);
    scene.hide_connection(&user);
    let mut event = json!({ "type": "platform_usage", "id": "ci-4", "platform": "academy", "feature": "courses", "time_in_use": 95 });
    for field in [
        "account",
        "email",
        "phone",
        "password",
        "ticket",
        "support_request",
        "scan_data",
        "card_number",
        "invoice",
    ] {
        event[field] = json!(scene.secret(field));
    }
    accepted(&scene.browse(&user, &event), 1);
}

fn used(serial: &str, error: &str) -> Value {
    json!({ "type": "device_usage", "id": error, "serial_number": serial, "product": "kathea", "version": "4.0.0", "program": "export", "error": error })
}

/// Requests of each kind that the text names, and what the same people send afterwards.
fn rights(scene: &mut Scene) {
    let visitor = Browser::number(120);
    scene.hide_connection(&visitor);
    let view = |page: &str| json!({ "type": "web", "id": page, "name": "pageview", "url": format!("https://shop.example/{page}"), "consent": { "website": true } });
    accepted(&scene.browse(&visitor, &view("before")), 1);
    let told = scene.access("web", &visitor.identifier());
    scene.keep("before", told["rows"][0]["page"].clone());
    let withdrawn = scene.request(&["withdraw", "--family", "web"], &visitor.identifier());
    scene.keep("withdrawn", withdrawn);
    accepted(&scene.browse(&visitor, &view("after")), 1);

    let clinic = Browser::number(121);
    let [erased, restricted, corrected] =
        ["erased", "restricted", "corrected"].map(|kind| scene.secret(kind));
    for (serial, error) in [(&erased, "E503"), (&restricted, "E505"), (&corrected, "E507")] {
        accepted(&scene.report(&clinic, &used(serial, error)), 1);
    }
    let receipt = scene.request(&["erase", "--family", "device_usage"], &erased);
    scene.keep("erased", receipt);
    let receipt = scene.request(&["restrict", "--family", "device_usage"], &restricted);
    scene.keep("restricted", receipt);
    let mut right = used(&corrected, "E507");
    right["error"] = json!("E508");
    let receipt = scene.rectify("device_usage", &corrected, &right);
    scene.keep("rectified", receipt);
    for (serial, error) in [(&erased, "E504"), (&restricted, "E506")] {
        scene.report(&clinic, &used(serial, error));
    }
    let told = scene.access("device_usage", &corrected);
    scene.keep("told", told["rows"].clone());

    // Somebody who is in a statistic that was released before.
    let before = scene.statistic("scans", &["program"]);
    scene.request(&["erase", "--family", "device_usage"], "X1-H-000007");
    let after = scene.statistic("scans", &["program"]);
    scene.keep("statistics stay", json!(!before.is_empty() && before == after));
    let requests = scene.requests();
    scene.keep("requests", requests.into());
}

fn answers(scene: &mut Scene) {
    let old = |rows: Vec<Value>, days: i64| -> Vec<Value> {
        let day = noon(days).to_string()[..10].to_owned();
        rows.into_iter()
            .filter(|row| row["period_start"].as_str().is_some_and(|from| from.starts_with(&day)))
            .collect()
    };
    let visitors = scene.statistic("visitors", &["page"]);
    scene.keep("visitors", old(visitors, OLD).into());
    let users = scene.statistic("platform_features", &["feature"]);
    scene.keep("users", old(users, OLD).into());
    let scans = scene.statistic("scans", &["program"]);
    scene.keep("scans", old(scans, OLDER).into());
    for (name, statement) in
        [("rows", "select * from device_usage"), ("files", "select * from 'data/events/web'")]
    {
        let answer = scene.read("/v1/sql", &json!({ "sql": statement }));
        scene.keep(name, json!({ "status": answer.status, "body": answer.body() }));
    }
}

#[test]
fn ci_1_use_of_devices_is_recorded_with_category_purpose_and_basis() {
    let run = run();
    let row = run.one("device_usage", "error", "E042");
    for (column, value) in [
        ("product", json!("x1")),
        ("version", json!("3.8")),
        ("duration", json!(14_200)),
        ("program", json!("endo")),
        ("country", json!("DK")),
    ] {
        assert_eq!(row[column], value);
    }
    assert_eq!(row["contributor"].as_str().unwrap().len(), 32, "a pseudonym of 16 bytes");
    let checked = run.place.print(&["policy", "check"]);
    let is_field = |line: &str| line.contains("serial_number") && line.contains("pseudonym");
    assert!(checked.lines().any(is_field), "{checked}");
    assert!(checked.contains("legitimate interest"), "{checked}");
    assert!(run.notice().contains("see how the X1 and Kathea are used"));
    run.assert_nothing_found();
    run.assert_versions("device_usage");
}

#[test]
fn ci_2_who_browses_leaves_country_browser_and_page_and_rows_expire() {
    let run = run();
    let row = run.one("web", "page", "/products/:product");
    assert_eq!((&row["country"], &row["browser"]), (&json!("DK"), &json!("Firefox 141")));
    run.assert_nothing_found();
    // Rows of a day that is over die with its key; what was computed of them stays.
    assert!(
        run.rows("web")
            .iter()
            .all(|row| !row["time"].as_str().unwrap().starts_with(&noon(OLD).to_string()[..10]))
    );
    let visitors = run.kept("visitors").as_array().unwrap();
    assert_eq!((visitors.len(), &visitors[0]["visitors"]), (1, &json!(25)), "{visitors:?}");
}

#[test]
fn ci_3_cookies_bring_these_and_nothing_more() {
    let run = run();
    assert_eq!(run.columns("web"), ["page", "country", "browser"]);
    // `_ga`, `referrer`, `screen`, `utm_source` and `os` of the one visit, beside what others sent.
    assert!(run.count("undeclared") >= 5, "{:?}", run.books);
    assert_eq!(run.kept("click")["accepted"], 0);
    assert_eq!(run.count("not_listed"), 1, "what is no page view is refused: {:?}", run.books);
    run.assert_nothing_found();
}

#[test]
fn ci_4_use_of_platforms_is_recorded_without_accounts() {
    let run = run();
    let row = run.one("platform_usage", "platform", "academy");
    assert_eq!((&row["feature"], &row["time_in_use"]), (&json!("courses"), &json!(90_000)));
    assert_eq!(
        run.columns("platform_usage"),
        ["platform", "feature", "time_in_use", "country", "browser"]
    );
    run.assert_nothing_found();
    run.assert_refused(
        "platform_usage.toml",
        &[
            "name",
            "e-mail",
            "telephone number",
            "postal address",
            "credentials",
            "scan",
            "support request",
            "payment",
        ],
    );
    let users = run.kept("users").as_array().unwrap();
    assert_eq!((users.len(), &users[0]["users"]), (1, &json!(25)), "{users:?}");
}

#[test]
fn ci_5_everybody_may_see_correct_erase_restrict_and_withdraw() {
    let run = run();
    for page in ["/before", "/after"] {
        assert!(run.having("web", "page", page).is_empty(), "{page} rested on consent");
    }
    assert_eq!(run.kept("before"), "/before");
    let withdrawn = run.kept("withdrawn");
    assert_eq!(
        (&withdrawn["rows_narrowed"], &withdrawn["purposes"]),
        (&json!(1), &json!(["website"]))
    );
    assert_eq!(run.having("web", "page", "/products/:product").len(), 1, "nobody else's is gone");
    for error in ["E503", "E504", "E505", "E506", "E507"] {
        assert!(run.having("device_usage", "error", error).is_empty(), "{error}");
    }
    assert_eq!(run.kept("erased")["rows_removed"], 1);
    assert_eq!(run.kept("restricted")["rows_set_apart"], 1);
    assert_eq!(run.having("device_usage", "error", "E508").len(), 1);
    let told = run.kept("told").as_array().unwrap();
    assert!(told.len() == 1 && told[0]["error"] == "E508", "{told:?}");
    assert_eq!(run.kept("statistics stay"), true);
    run.assert_requests("requests", &["withdraw", "erase", "restrict", "rectify", "access"], 30);
    run.assert_nothing_found();
}

#[test]
fn ci_6_nothing_leaves_but_statistics_and_recipients_are_named() {
    let run = run();
    for name in ["rows", "files"] {
        let answer = run.kept(name);
        assert!(answer["status"].as_u64().unwrap() >= 400, "{answer}");
    }
    // Three devices used it, and nobody is told.
    let scans = run.kept("scans").as_array().unwrap();
    assert!(scans.iter().any(|row| row["devices"] == 25), "{scans:?}");
    assert!(
        !scans.iter().any(|row| row["program"] == "tmj" && !row["devices"].is_null()),
        "{scans:?}"
    );
    let outside =
        run.package.recipients.iter().filter(|one| one.role != schemas::model::Role::Processor);
    assert!(outside.clone().count() > 0);
    for recipient in outside {
        assert_eq!(recipient.receives, schemas::model::Receives::Nothing, "{}", recipient.key);
    }
    let notice = run.notice();
    for recipient in &run.package.recipients {
        assert!(notice.contains(&recipient.name), "{}: {notice}", recipient.key);
    }
}
