//! Cephio: analyses in the browser.

use std::sync::OnceLock;

use schemas::time::DAY_MS;
use serde_json::{Value, json};

use super::run::{Browser, MANY, Run, Scene, ago, folder, noon};
use crate::support::age::Identity;
use crate::support::place::Place;

/// Days since the history: closed, and its rows still there.
const OLD: i64 = 2;
/// Visitors of history who rejected cookies.
const REJECTED: usize = 20;

/// First bytes of a PNG file.
const PNG: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB";

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let mut scene = Scene::of("cephio");
        history(&mut scene);
        scene.start();
        pages(&mut scene);
        versions(&mut scene);
        analyses(&mut scene);
        images(&mut scene);
        rights(&mut scene);
        let views = scene.statistic("consent", &[]);
        scene.keep("views", views.into());
        scene.end()
    })
}

/// A grant under the policy in force.
fn granted() -> Value {
    said(&json!("2020-04-08"))
}

/// A grant to a version of the policy, or to none.
fn said(version: &Value) -> Value {
    json!({ "website": { "granted": true, "version": version, "at": ago(30 * DAY_MS) } })
}

fn view(visitor: &str, page: &str, consent: &Value) -> Value {
    json!({
        "type": "web", "id": format!("{visitor}-{page}"), "name": "pageview", "visitor": visitor,
        "url": format!("https://shop.example/{page}"), "consent": consent,
    })
}

fn history(scene: &mut Scene) {
    let mut events = Vec::new();
    for number in 0..MANY + REJECTED {
        let consent = if number < MANY { granted() } else { json!({ "website": false }) };
        let mut event = view(&format!("visitor-h-{number:08}"), "pricing", &consent);
        event["time"] = json!(noon(OLD).to_string());
        event["end_user"] = Browser::number(number).end_user();
        events.push(event);
        let analysis = json!({
            "type": "analysis_completed", "id": format!("a-{number}"), "version": "2.4.1", "duration": 240_000, "landmarks": 30,
            "time": noon(OLD).to_string(), "end_user": Browser::number(number).end_user(),
        });
        events.push(analysis);
    }
    scene.import(&events);
}

fn pages(scene: &mut Scene) {
    let (accepting, rejecting, silent) =
        (Browser::number(100), Browser::number(101), Browser::number(102));
    for who in [&accepting, &rejecting, &silent] {
        scene.hide_connection(who);
    }
    let cookie = scene.secret("cookie");
    let mut event = view(&cookie, "accepted", &granted());
    event["referrer"] = json!(format!("https://a.example/{}", scene.secret("referrer")));
    event["language"] = json!("pl");
    assert_eq!(scene.browse(&accepting, &event).status, 202);
    let again = view(&cookie, "accepted/again", &granted());
    assert_eq!(scene.browse(&accepting, &again).status, 202);
    let cookie = scene.secret("rejected cookie");
    let event = view(&cookie, "rejected", &json!({ "website": false }));
    assert_eq!(scene.browse(&rejecting, &event).status, 202);
    let cookie = scene.secret("unasked cookie");
    let mut event = view(&cookie, "unasked", &json!({}));
    event.as_object_mut().unwrap().remove("consent");
    assert_eq!(scene.browse(&silent, &event).status, 202);
}

/// Grants to what was published before, to nothing in particular, and too long ago.
fn versions(scene: &mut Scene) {
    let who = Browser::number(105);
    let mut old = granted();
    old["website"]["at"] = json!(ago(400 * DAY_MS));
    let consents =
        [said(&json!("2018-05-25")), said(&Value::Null), json!({ "website": true }), old];
    for (number, consent) in consents.iter().enumerate() {
        let event =
            view(&scene.secret("cookie of another version"), &format!("version-{number}"), consent);
        assert_eq!(scene.browse(&who, &event).status, 202);
    }
}

/// How many of them there are.
const OTHER_VERSIONS: usize = 4;

fn analyses(scene: &mut Scene) {
    let user = Browser::number(103);
    scene.hide_connection(&user);
    let (patient, result) = (scene.secret("patient"), scene.secret("result"));
    let event = json!({
        "type": "analysis_completed", "id": "ce-4", "version": "2.5.7", "duration": 185_400, "landmarks": 33, "rating": 4,
        "patient": { "name": patient, "age": 12 }, "sna": 82.1, "diagnosis": result, "skeletal_class": result,
    });
    assert_eq!(scene.browse(&user, &event).status, 202);
}

fn images(scene: &mut Scene) {
    let user = Browser::number(104);
    let mut refused = Vec::new();
    for content in [PNG, &PNG[22..], "data:application/dicom;base64,AAAAAAAAAAAA"] {
        let event = view(content, "image", &granted());
        let answer = scene.browse(&user, &event).json();
        refused.push(answer["refused"][0]["reason"].clone());
    }
    scene.keep("images", refused.into());
    let mut event = view("visitor-with-images", "named", &granted());
    for name in ["xray", "dicom", "image", "PatientName", "photo", "patient_birth_date", "geotag"] {
        event[name] = json!(scene.secret("content"));
    }
    assert_eq!(scene.browse(&user, &event).status, 202);
}

/// Requests of each kind, an opt-out by the browser, and what the same people send afterwards.
fn rights(scene: &mut Scene) {
    let who = Browser::number(120);
    let opted_out = Browser::number(121).with("Sec-GPC", "1");
    let event = view(&scene.secret("cookie of who opts out"), "gpc", &granted());
    assert_eq!(scene.browse(&opted_out, &event).status, 202);
    let cookie = |scene: &mut Scene, page: &str| {
        let cookie = scene.secret("cookie of who asks");
        assert_eq!(scene.browse(&who, &view(&cookie, page, &granted())).status, 202);
        cookie
    };
    let asking = cookie(scene, "asking");
    let told = scene.access("web", &asking);
    scene.keep("told", json!([told["rows"][0]["page"], told["rows"].as_array().unwrap().len()]));
    let identity = Identity::generate();
    let key = identity.recipient();
    for (name, format) in [("json", "ndjson"), ("parquet", "parquet")] {
        let arguments = ["portability", "--family", "web", "--to", &key, "--format", format];
        let receipt = scene.request(&arguments, &asking);
        let file = scene.export(&receipt, &identity);
        scene.keep(name, json!([file.len(), String::from_utf8_lossy(&file[..4])]));
    }
    let mut right = view(&asking, "asking", &granted());
    right["url"] = json!("https://shop.example/corrected");
    scene.rectify("web", &asking, &right);
    for kind in ["erase", "restrict", "object", "withdraw"] {
        let asking = cookie(scene, kind);
        scene.request(&[kind, "--family", "web"], &asking);
        let again = view(&asking, &format!("{kind}-again"), &granted());
        assert_eq!(scene.browse(&who, &again).status, 202);
    }
    let requests = scene.requests();
    scene.keep("requests", requests.into());
}

/// Rows without contributor that come of it: of who opted out, and of who withdrew, before and after.
const OPTED_OUT: usize = 3;

#[test]
fn ce_6_a_request_of_each_kind_and_the_signal_opts_out() {
    let run = run();
    assert_eq!(run.kept("told"), &json!(["/asking", 1]));
    assert_eq!(run.kept("parquet")[1], "PAR1");
    assert!(run.kept("json")[1].as_str().unwrap().starts_with('{'));
    assert!(run.having("web", "page", "/asking").is_empty());
    assert_eq!(run.having("web", "page", "/corrected").len(), 1);
    for kind in ["erase", "restrict", "object", "withdraw"] {
        for page in [format!("/{kind}"), format!("/{kind}-again")] {
            assert!(run.having("web", "page", page.clone()).is_empty(), "{page}");
        }
    }
    assert!(run.having("web", "page", "/gpc").is_empty());
    assert_eq!(run.count("signal_gpc"), 1, "{:?}", run.books);
    let kinds = ["access", "portability", "rectify", "erase", "restrict", "object", "withdraw"];
    // Within a month, which is before the 45 days of California.
    run.assert_requests("requests", &kinds, 30);
    run.assert_nothing_found();
}

/// A service that would keep rows where the policy promises that they are not does not start.
#[test]
fn ce_5_rows_stay_in_the_eea_and_marketing_is_no_purpose() {
    let run = run();
    assert_eq!(run.package.residency.as_deref(), Some("EEA"));
    for (region, city) in [("eu-west-2", "London"), ("eu-central-2", "Zurich")] {
        let place = Place::with_policy(&folder("cephio"));
        let options = format!(
            "url = 's3://rows/here'\noptions = {{ aws_region = '{region}', aws_access_key_id = 'a', aws_secret_access_key = 'b' }}"
        );
        let events: toml::Table = options.parse().unwrap();
        place.configure("storage", "events", events);
        let output = place.command(&["run"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("EEA"), "{city}: {said}");
    }
    // A folder tells nothing of where it is: that is the operator's word, and is shown as such.
    let audit = run.place.command(&["audit"]).output().unwrap();
    let said = String::from_utf8_lossy(&audit.stdout);
    assert!(said.contains("the operator's assertion"), "{said}");
    assert!(run.package.purposes.iter().all(|purpose| !purpose.name.contains("market")));
}

#[test]
fn ce_1_these_dimensions_exactly_and_no_time_finer_than_the_hour() {
    let run = run();
    assert_eq!(run.columns("web"), ["page", "country", "device_class", "os", "browser"]);
    let row = run.one("web", "page", "/accepted");
    for (column, value) in [
        ("country", "DK"),
        ("device_class", "desktop"),
        ("os", "Linux"),
        ("browser", "Firefox 141"),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    for family in ["web", "analysis_completed"] {
        for row in run.rows(family) {
            let time = row["time"].as_str().unwrap();
            assert!(time.contains(":00:00"), "{time}");
        }
    }
    run.assert_nothing_found();
}

#[test]
fn ce_2_who_rejects_cookies_is_counted_without_contributor() {
    let run = run();
    let contributor = |page: &str| run.one("web", "page", page)["contributor"].clone();
    assert_eq!(contributor("/accepted"), contributor("/accepted/again"), "a visitor is one");
    // Of who rejected, and of who was not asked, there is a row and nothing in it.
    let nobody: Vec<_> =
        run.rows("web").iter().filter(|row| !row.contains_key("contributor")).collect();
    assert_eq!(nobody.len(), REJECTED + 2 + OTHER_VERSIONS + OPTED_OUT);
    let columns = run.columns("web");
    assert!(nobody.iter().all(|row| columns.iter().all(|column| !row.contains_key(column))));
    let views = run.kept("views").as_array().unwrap();
    let day = &noon(OLD).to_string()[..10];
    let of_day =
        views.iter().find(|row| row["period_start"].as_str().unwrap().starts_with(day)).unwrap();
    assert_eq!((&of_day["visitors"], &of_day["unattributed_events"]), (&json!(25), &json!(20)));
    run.assert_nothing_found();
}

#[test]
fn ce_3_images_are_refused_by_name_and_by_content() {
    let run = run();
    assert_eq!(
        run.kept("images"),
        &json!(["refused_content", "refused_content", "refused_content"])
    );
    assert_eq!(run.count("refused_content"), 3, "{:?}", run.books);
    assert_eq!(run.having("web", "page", "/image").len(), 0);
    assert_eq!(run.having("web", "page", "/named").len(), 1);
    run.assert_nothing_found();
    run.assert_refused("web.toml", &["scan", "health", "name", "date of birth"]);
    for name in ["xray", "dicom_file", "patient_name"] {
        let said = run.check_with(
            "web.toml",
            &format!("{name} = {{ type = [\"a\"], is = \"usage\", about = \"a\" }}"),
        );
        assert!(said.contains("refused by the policy"), "{said}");
    }
}

#[test]
fn ce_4_a_finished_analysis_tells_of_the_program_and_not_of_the_patient() {
    let run = run();
    assert_eq!(run.columns("analysis_completed"), ["version", "duration", "landmarks", "rating"]);
    let row = run.one("analysis_completed", "version", "2.5");
    for (column, value) in [("duration", 185_000), ("landmarks", 30), ("rating", 4)] {
        assert_eq!(row[column], value, "{column}");
    }
    run.assert_nothing_found();
}

#[test]
fn ce_7_rows_name_the_version_and_consent_belongs_to_one() {
    let run = run();
    for family in ["web", "analysis_completed"] {
        run.assert_versions(family);
    }
    assert_eq!(run.package.version, "2020-04-08");
    for number in 0..OTHER_VERSIONS {
        let page = format!("/version-{number}");
        assert!(run.having("web", "page", page.clone()).is_empty(), "{page}");
    }
    assert_eq!(
        (run.count("grant_other_version"), run.count("grant_out_of_time")),
        (3, 1),
        "{:?}",
        run.books
    );
    run.assert_nothing_found();
}
