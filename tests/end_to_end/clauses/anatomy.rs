//! 3D4Medical: anatomy applications and their web sites.

use std::sync::OnceLock;

use schemas::model::{Receives, Role};
use serde_json::{Value, json};

use super::run::{Browser, MANY, Run, Scene, folder, noon};
use crate::support::place::Place;

/// Days since the history of pages.
const OLD: i64 = 2;
/// Days since the history of applications: two epochs, so that one of them is over and closed.
const OLDER: i64 = 56;

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let mut scene = Scene::of("3d4medical");
        history(&mut scene);
        scene.start();
        uses(&mut scene);
        pages(&mut scene);
        children(&mut scene);
        rights(&mut scene);
        for (name, statistic, by) in [
            ("users", "users", &[][..]),
            ("countries", "users", &["country"]),
            ("languages", "users", &["language"]),
            ("activities", "activities", &["part"]),
            ("variants", "page_variants", &["variant"]),
            ("pages", "pages", &["page"]),
            ("visitor_days", "pages", &[]),
            ("errors", "errors", &["error"]),
        ] {
            let rows = scene.statistic(statistic, by);
            scene.keep(name, rows.into());
        }
        scene.end()
    })
}

fn history(scene: &mut Scene) {
    let mut events = Vec::new();
    for number in 0..2 * MANY {
        let variant = if number % 2 == 0 { "a" } else { "b" };
        for (days, event) in [
            (
                OLDER,
                json!({ "type": "app_usage", "installation": format!("installation-h-{number:06}"), "app": "complete_anatomy", "version": "9.2.1",
                "part": "quiz", "variant": variant, "duration": 300, "error": "E101" }),
            ),
            (
                OLD,
                json!({ "type": "web", "name": if number % 4 == 0 { "error" } else { "pageview" }, "url": "https://shop.example/pricing",
                "variant": variant, "consent": { "performance": true } }),
            ),
        ] {
            let mut event = event;
            event["time"] = json!(noon(days).to_string());
            event["id"] = json!(format!("h-{}", events.len()));
            event["end_user"] = Browser::number(number).end_user();
            events.push(event);
        }
    }
    scene.import(&events);
}

fn use_of(installation: &str, error: &str) -> Value {
    json!({ "type": "app_usage", "id": error, "installation": installation, "app": "heart", "version": "2.1.0", "part": "atlas", "variant": "b", "duration": 61, "error": error })
}

fn view(page: &str) -> Value {
    json!({ "type": "web", "id": page, "name": "pageview", "url": format!("https://shop.example/{page}"), "variant": "a", "consent": { "performance": true } })
}

fn uses(scene: &mut Scene) {
    let who = Browser::number(100);
    scene.hide_connection(&who);
    let installation = scene.secret("installation");
    let mut event = use_of(&installation, "E700");
    for name in ["user_id", "email", "profession", "age", "gender", "health_record"] {
        event[name] = json!(scene.secret("account"));
    }
    assert_eq!(scene.report(&who, &event).status, 202);
}

fn pages(scene: &mut Scene) {
    let who = Browser::number(101);
    scene.hide_connection(&who);
    assert_eq!(scene.browse(&who, &view("granted")).status, 202);
    let mut refused = view("refused");
    refused["consent"]["performance"] = json!(false);
    assert_eq!(scene.browse(&who, &refused).status, 202);
    for (page, name) in [("dnt", "DNT"), ("gpc", "Sec-GPC")] {
        let who = Browser::number(102).with(name, "1");
        assert_eq!(scene.browse(&who, &view(page)).status, 202);
        let objecting = Browser::number(103).with(name, "1");
        let event =
            use_of("installation-that-objects", if page == "dnt" { "E701" } else { "E702" });
        assert_eq!(scene.report(&objecting, &event).status, 202);
    }
}

/// Children who say so, and one who is found out later.
fn children(scene: &mut Scene) {
    let child = Browser::number(110);
    scene.hide_connection(&child);
    let mut event = use_of(&scene.secret("installation of a child"), "E710");
    event["under_13"] = json!(true);
    let answer = scene.report(&child, &event);
    scene.keep("app child", answer.json()["refused"][0]["reason"].clone());
    let mut page = view("children");
    page["under_13"] = json!(true);
    let answer = scene.browse(&child, &page);
    scene.keep("web child", answer.json()["refused"][0]["reason"].clone());
    let later = scene.secret("installation of somebody");
    assert_eq!(scene.report(&child, &use_of(&later, "E711")).status, 202);
    let erased = scene.subject(&["erase", "--family", "app_usage"], &later);
    assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    assert_eq!(scene.report(&child, &use_of(&later, "E712")).status, 202);
}

fn rights(scene: &mut Scene) {
    let who = Browser::number(120);
    for (kind, before, after) in [("object", "E720", "E721"), ("restrict", "E722", "E723")] {
        let installation = scene.secret("installation of who asks");
        assert_eq!(scene.report(&who, &use_of(&installation, before)).status, 202);
        let arguments = [kind, "--family", "app_usage", "--purpose", "analytics"];
        let receipt = scene.request(&arguments, &installation);
        scene.keep(kind, receipt);
        assert_eq!(scene.report(&who, &use_of(&installation, after)).status, 202);
        let told = scene.access("app_usage", &installation);
        scene.keep("recipients", told["policy"]["recipients"].clone());
    }
    let requests = scene.requests();
    scene.keep("requests", requests.into());
}

#[test]
fn tm_6_requests_are_due_within_thirty_days() {
    run().assert_requests("requests", &["erase", "object", "restrict", "access"], 30);
    let notice = run().notice();
    assert!(notice.contains("30 days"), "{notice}");
}

/// Who asks what was given to whom gets the answer that the package makes true: for marketing nothing, to nobody.
#[test]
fn tm_7_nobody_got_anything_for_marketing() {
    let recipients = run().kept("recipients").as_array().unwrap();
    let is_marketing = |one: &&Value| one["name"].as_str().unwrap().contains("marketing");
    assert_eq!(recipients.iter().find(is_marketing).unwrap()["receives"], "nothing");
    for recipient in recipients.iter().filter(|one| one["role"] != "processor") {
        assert_eq!(recipient["receives"], "nothing", "{recipient}");
    }
    assert!(run().package.purposes.iter().all(|purpose| !purpose.name.contains("market")));
    // What left the service: files for who asked about themselves, encrypted for them.
    let ledger = run().kept("requests").as_array().unwrap();
    let exported = ledger.iter().filter(|one| one["export"].is_string());
    let kinds: Vec<&Value> = exported.map(|one| &one["kind"]).collect();
    assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == "access"), "{kinds:?}");
    let exports = run().place.data().join("exports");
    for file in std::fs::read_dir(exports).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        assert!(content.starts_with(b"age-encryption.org/v1"));
    }
}

#[test]
fn tm_8_objection_and_restriction_act_by_purpose() {
    let run = run();
    let objected = run.kept("object");
    assert_eq!(
        (&objected["rows_narrowed"], &objected["purposes"]),
        (&json!(1), &json!(["analytics"]))
    );
    assert_eq!(run.kept("restrict")["rows_set_apart"], 1);
    for error in ["E720", "E721", "E722", "E723"] {
        assert!(run.having("app_usage", "error", error).is_empty(), "{error}");
    }
    assert_eq!(run.having("app_usage", "error", "E700").len(), 1, "nobody else's is gone");
}

#[test]
fn tm_5_health_is_refused_and_rows_stay_in_the_declared_country() {
    let run = run();
    run.assert_refused("app_usage.toml", &["health", "scan", "date of birth"]);
    for name in ["health_record", "diagnosis", "patient"] {
        let said = run.check_with(
            "app_usage.toml",
            &format!("{name} = {{ type = [\"a\"], is = \"usage\", about = \"a\" }}"),
        );
        assert!(said.contains("refused by the policy"), "{said}");
    }
    assert_eq!(run.package.residency.as_deref(), Some("US"));
    // For a subscriber elsewhere another country is declared; a store outside what is declared is refused.
    let place = Place::with_policy(&folder("3d4medical"));
    place.set_region("IE");
    let output = place.command(&["run"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("US"), "{said}");
}

#[test]
fn tm_4_children_are_refused_whole_and_erased_when_found_out() {
    let run = run();
    assert_eq!(
        (run.kept("app child"), run.kept("web child")),
        (&json!("under_age"), &json!("under_age"))
    );
    assert_eq!(run.count("under_age"), 2, "{:?}", run.books);
    for error in ["E710", "E711", "E712"] {
        assert!(run.having("app_usage", "error", error).is_empty(), "{error}");
    }
    assert!(run.having("web", "page", "/children").is_empty());
    run.assert_nothing_found();
}

#[test]
fn tm_1_analytics_identify_nobody_and_tell_of_unique_users_and_activities() {
    let run = run();
    let row = run.one("app_usage", "error", "E700");
    assert_eq!(
        (&row["app"], &row["part"], &row["language"]),
        (&json!("heart"), &json!("atlas"), &json!("da"))
    );
    run.assert_nothing_found();
    for (name, column, value) in [
        ("countries", "country", "DK"),
        ("languages", "language", "da"),
        ("activities", "part", "quiz"),
    ] {
        let rows = run.kept(name).as_array().unwrap();
        assert!(
            rows.iter().any(|row| row[column] == value && row["users"] == 50),
            "{name}: {rows:?}"
        );
    }
    // Somebody who comes on two days counts twice, and the word says so.
    let days = run.kept("visitor_days").as_array().unwrap();
    assert!(days.iter().any(|row| row["visitor_days"] == 50), "{days:?}");
    let users = run.kept("users").as_array().unwrap();
    assert!(users.iter().any(|row| row["users"] == 50), "{users:?}");
    // No other breakdown of people is declared.
    for family in &run.package.families {
        let people = family.fields.iter().filter(|field| {
            use schemas::model::{Category, Transform};
            matches!(field.category, Category::Location | Category::Language)
                && !matches!(field.transform, Transform::Drop)
        });
        let names: Vec<&str> = people.map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["country", "language"], "{}", family.name);
    }
    let outside = run.package.recipients.iter().filter(|one| one.role != Role::Processor);
    assert!(outside.clone().count() >= 2);
    assert!(outside.clone().all(|one| one.receives == Receives::Nothing));
}

#[test]
fn tm_2_analytics_need_consent_and_tell_of_pages_variants_and_errors() {
    let run = run();
    let row = run.one("web", "page", "/granted");
    assert!(row.contains_key("contributor") && row["variant"] == "a", "{row:?}");
    assert!(run.having("web", "page", "/refused").is_empty());
    let nobody = run.rows("web").iter().filter(|row| !row.contains_key("contributor"));
    assert_eq!(nobody.count(), 3, "who refused, and two who said so by a signal");
    let pages = run.kept("pages").as_array().unwrap();
    assert!(
        pages.iter().any(|row| row["page"] == "/pricing" && row["visitor_days"] == 50),
        "{pages:?}"
    );
    let variants = run.kept("variants").as_array().unwrap();
    for (variant, share) in [("a", 0.5), ("b", 0.0)] {
        let row = variants.iter().find(|row| row["variant"] == variant).unwrap();
        let found = row["share_name_error"].as_f64().unwrap();
        assert!((found - share).abs() < 0.11, "{row}");
    }
    let errors = run.kept("errors").as_array().unwrap();
    assert!(errors.iter().any(|row| row["error"] == "E101" && row["users"] == 50), "{errors:?}");
}

#[test]
fn tm_3_do_not_track_and_global_privacy_control_are_honoured() {
    let run = run();
    for page in ["/dnt", "/gpc"] {
        assert!(run.having("web", "page", page).is_empty(), "{page}");
    }
    for error in ["E701", "E702"] {
        assert!(run.having("app_usage", "error", error).is_empty(), "{error}");
    }
    assert_eq!((run.count("signal_dnt"), run.count("signal_gpc")), (2, 2), "{:?}", run.books);
    let objecting = run.rows("app_usage").iter().filter(|row| !row.contains_key("contributor"));
    let in_writing = ["objected, before", "objected, after", "restricted, after"];
    assert_eq!(objecting.count(), 2 + in_writing.len());
}
