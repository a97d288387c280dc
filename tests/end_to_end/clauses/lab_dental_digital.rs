//! Lab dental digital: a platform where physicians and patients meet.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use schemas::model::{Receives, Role};
use serde_json::{Value, json};

use super::run::{Browser, MANY, Run, Scene, noon};
use super::tables::Row;
use crate::support::age::Identity;

/// Days since the history: closed two days after its day.
const OLD: i64 = 5;

fn run() -> &'static Run {
    static RUN: OnceLock<Run> = OnceLock::new();
    RUN.get_or_init(|| {
        let mut scene = Scene::of("lab-dental-digital");
        history(&mut scene);
        scene.start();
        purposes(&mut scene);
        places(&mut scene);
        records(&mut scene);
        closing(&mut scene);
        withdrawing(&mut scene);
        rights(&mut scene);
        let devices = scene.statistic("active_devices_by_day", &[]);
        scene.keep("devices", devices.into());
        scene.end()
    })
}

fn use_of(mac: &str, area: &str, error: &str, consent: &Value) -> Value {
    json!({
        "type": "platform_use", "id": format!("{mac}-{area}-{error}"), "mac_address": mac, "protocol": "https", "area": area,
        "active": 437, "space": 18_250, "error": error, "consent": consent,
    })
}

fn both() -> Value {
    json!({ "experience": true, "security": true })
}

fn history(scene: &mut Scene) {
    let events: Vec<Value> = (0..MANY)
        .map(|number| {
            let mut event =
                use_of(&format!("a4:5e:60:00:00:{number:02x}"), "viewer", "E001", &both());
            event["time"] = json!(noon(OLD).to_string());
            event["end_user"] = Browser::number(number).end_user();
            event
        })
        .collect();
    scene.import(&events);
}

fn purposes(scene: &mut Scene) {
    for (number, (error, consent)) in [
        ("E100", both()),
        ("E101", json!({ "experience": false })),
        ("E102", json!({})),
        ("E103", json!({ "experience": true, "security": false })),
        ("E104", json!({ "experience": false, "security": false })),
    ]
    .into_iter()
    .enumerate()
    {
        let who = Browser::number(100 + number);
        scene.hide_connection(&who);
        let mac = scene.hide("MAC address", &format!("a4:5e:60:c2:91:{number:02x}"));
        // What is counted by area alone has no code that tells it from others.
        let area = ["records", "team", "messages", "library", "profile"][number];
        let event = use_of(&mac, area, error, &consent);
        assert_eq!(scene.browse(&who, &event).status, 202);
    }
}

fn places(scene: &mut Scene) {
    let who = Browser::number(110);
    for (error, geolocation) in [("E110", Some(true)), ("E111", Some(false)), ("E112", None)] {
        let mut event = use_of("a4:5e:60:c2:92:00", "search", error, &both());
        event["latitude"] = json!(scene.secret("latitude"));
        event["coordinates"] = json!([55.676_098_1, 12.568_337_2]);
        scene.hide("coordinates", "55.6760981");
        if let Some(geolocation) = geolocation {
            event["geolocation"] = json!(geolocation);
        }
        assert_eq!(scene.browse(&who, &event).status, 202);
    }
}

fn records(scene: &mut Scene) {
    let mut event = use_of("a4:5e:60:c2:93:00", "records", "E120", &both());
    for name in [
        "patient_name",
        "medical_record",
        "diagnosis",
        "xray",
        "photo",
        "first_name",
        "email",
        "passport",
    ] {
        event[name] = json!(scene.secret(name));
    }
    assert_eq!(scene.browse(&Browser::number(120), &event).status, 202);
}

/// An account that is closed, with a time to restore that was chosen, and for good.
fn closing(scene: &mut Scene) {
    let who = Browser::number(130);
    let mac = scene.hide("MAC address", "a4:5e:60:c2:94:00");
    assert_eq!(scene.browse(&who, &use_of(&mac, "records", "E130", &both())).status, 202);
    let arguments = ["erase", "--family", "platform_use", "--restore-within", "30days"];
    let receipt = scene.request(&arguments, &mac);
    scene.keep("hidden", receipt);
    let told = scene.access("platform_use", &mac);
    scene.keep("seen meanwhile", told["rows"].clone());
    let receipt = scene.request(&["restore", "--family", "platform_use"], &mac);
    scene.keep("restored", receipt);
    let receipt = scene.request(&["erase", "--family", "platform_use"], &mac);
    scene.keep("erased", receipt);
    assert_eq!(scene.browse(&who, &use_of(&mac, "records", "E131", &both())).status, 202);
}

fn withdrawing(scene: &mut Scene) {
    let who = Browser::number(131);
    let mac = scene.hide("MAC address", "a4:5e:60:c2:95:00");
    assert_eq!(scene.browse(&who, &use_of(&mac, "records", "E140", &both())).status, 202);
    let receipt = scene.request(&["withdraw", "--family", "platform_use"], &mac);
    scene.keep("withdrawn", receipt);
    assert_eq!(scene.browse(&who, &use_of(&mac, "records", "E141", &both())).status, 202);
}

/// The receipt of somebody who withdraws when the key of what was stored is gone.
fn withdrawn_too_late() -> Value {
    let mut scene = Scene::of("lab-dental-digital");
    let mac = "a4:5e:60:c2:97:00";
    scene.start_ahead("0minutes");
    let event = use_of(mac, "records", "E160", &both());
    assert_eq!(scene.browse(&Browser::number(133), &event).status, 202);
    scene.start_ahead("80days");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let receipt = scene.request(&["withdraw", "--family", "platform_use"], mac);
        if !receipt["gone"].is_null() || Instant::now() > deadline {
            return receipt;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn rights(scene: &mut Scene) {
    let who = Browser::number(132);
    let mac = scene.hide("MAC address", "a4:5e:60:c2:96:00");
    assert_eq!(scene.browse(&who, &use_of(&mac, "records", "E150", &both())).status, 202);
    let told = scene.access("platform_use", &mac);
    scene.keep("told", told["rows"][0]["error"].clone());
    let identity = Identity::generate();
    let key = identity.recipient();
    let receipt = scene.request(&["portability", "--family", "platform_use", "--to", &key], &mac);
    let file = scene.export(&receipt, &identity);
    scene.keep("taken along", json!(String::from_utf8(file).unwrap()));
    let mut right = use_of(&mac, "records", "E150", &both());
    right["error"] = json!("E151");
    scene.rectify("platform_use", &mac, &right);
    let told = scene.access("platform_use", &mac);
    scene.keep("corrected", told["rows"][0]["error"].clone());
    scene.request(&["object", "--family", "platform_use", "--purpose", "security"], &mac);
    let told = scene.access("platform_use", &mac);
    scene.keep("objected", told["rows"][0].clone());
    scene.request(&["erase", "--family", "platform_use"], &mac);
    let requests = scene.requests();
    scene.keep("requests", requests.into());
}

#[test]
fn ld_5_a_closed_account_is_hidden_at_once_and_gone() {
    let run = run();
    let hidden = run.kept("hidden");
    assert!(hidden["rows_set_apart"] == 1 && hidden["until"].is_string(), "{hidden}");
    assert_eq!(run.kept("seen meanwhile"), &json!([]));
    assert_eq!(run.kept("restored")["rows_brought_back"], 1);
    assert_eq!(run.kept("erased")["rows_removed"], 1);
    for error in ["E130", "E131"] {
        assert!(run.having("platform_use", "error", error).is_empty(), "{error}");
    }
    run.assert_nothing_found();
}

#[test]
fn ld_7_a_withdrawal_erases_what_rested_on_consent_and_says_what_is_lost() {
    let run = run();
    for error in ["E140", "E141"] {
        let row = run.one("platform_use", "error", error);
        assert_eq!(given(row), ["contributor", "browser", "country", "error"], "{error}");
    }
    let receipt = run.kept("withdrawn");
    assert_eq!(
        (&receipt["rows_narrowed"], &receipt["purposes"]),
        (&json!(1), &json!(["experience"]))
    );
    let late = withdrawn_too_late();
    assert!(late["gone"]["epochs"].as_u64().unwrap_or(0) >= 1, "{late}");
    assert!(late["said"].to_string().contains("nothing can be said"), "{late}");
    run.assert_nothing_found();
}

#[test]
fn ld_8_each_right_is_a_request_or_a_sentence() {
    let run = run();
    assert_eq!((run.kept("told"), run.kept("corrected")), (&json!("E150"), &json!("E151")));
    let taken = run.kept("taken along").as_str().unwrap();
    assert!(taken.contains("E150") && taken.lines().count() == 1, "{taken}");
    let objected = run.kept("objected");
    assert!(objected["error"].is_null() && objected["area"] == "records", "{objected}");
    assert!(run.having("platform_use", "error", "E151").is_empty());
    run.assert_requests("requests", &["access", "portability", "rectify", "object", "erase"], 30);
    let notice = run.notice();
    for word in
        ["No decision about anybody", "dpo@labdentaldigital.com", "National Supervisory Authority"]
    {
        assert!(notice.contains(word), "{word}: {notice}");
    }
}

#[test]
fn ld_1_online_identifiers_become_pseudonyms_countries_lists_and_steps() {
    let run = run();
    let row = run.one("platform_use", "error", "E100");
    let expected = json!({
        "browser": "Firefox 141", "os": "Linux", "protocol": "https", "country": "DK", "area": "records", "active": 420_000, "space": 18_000,
    });
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(&row[column], value, "{column}");
    }
    assert_eq!(row["contributor"].as_str().unwrap().len(), 32, "a pseudonym of 16 bytes");
    assert_eq!(run.columns("platform_use").len(), expected.as_object().unwrap().len() + 1);
    run.assert_nothing_found();
    run.assert_versions("platform_use");
}

/// Columns of a row that are there.
fn given(row: &Row) -> Vec<&str> {
    let all = ["contributor", "browser", "country", "area", "active", "space", "error"];
    all.into_iter().filter(|column| row.contains_key(*column)).collect()
}

#[test]
fn ld_3_a_country_at_most_and_none_where_location_is_off() {
    let run = run();
    let country = |error: &str| run.one("platform_use", "error", error).get("country");
    assert_eq!(country("E110"), Some(&json!("DK")));
    assert_eq!(country("E111"), None, "the one that is made of the address, too");
    assert_eq!(country("E112"), Some(&json!("DK")), "nothing is said");
    assert!(run.one("platform_use", "error", "E111").contains_key("browser"));
    assert_eq!(run.count("location_off"), 1, "{:?}", run.books);
    run.assert_nothing_found();
}

#[test]
fn ld_4_medical_records_are_refused() {
    let run = run();
    assert_eq!(run.having("platform_use", "error", "E120").len(), 1);
    run.assert_nothing_found();
    run.assert_refused(
        "platform_use.toml",
        &["health", "scan", "name", "date of birth", "file name"],
    );
    let said = run.check_with(
        "platform_use.toml",
        "medical_record = { type = [\"a\"], is = \"usage\", about = \"a\" }",
    );
    assert!(said.contains("refused by the policy"), "{said}");
}

#[test]
fn ld_6_who_finds_insights_gets_nothing_before_it_can_be_published() {
    let run = run();
    let outside: Vec<_> =
        run.package.recipients.iter().filter(|one| one.role != Role::Processor).collect();
    assert!(outside.len() >= 2);
    assert!(outside.iter().all(|one| one.receives == Receives::Nothing));
    // Statistics are for staff, and every answer says so.
    let devices = run.kept("devices").as_array().unwrap();
    assert!(devices.iter().any(|row| row["devices"] == 25), "{devices:?}");
    let notice = run.notice();
    assert!(notice.contains("FullStory") && notice.contains("Baremetrics"), "{notice}");
}

#[test]
fn ld_2_one_field_serves_two_purposes_and_refusing_one_keeps_the_other() {
    let run = run();
    let of = |error: &str| given(run.one("platform_use", "error", error));
    assert_eq!(
        of("E100"),
        ["contributor", "browser", "country", "area", "active", "space", "error"]
    );
    // Refused, or never granted: what security needs is there, and nothing else.
    assert_eq!(of("E101"), ["contributor", "browser", "country", "error"]);
    assert_eq!(of("E102"), ["contributor", "browser", "country", "error"]);
    let objected = run.one("platform_use", "area", "library");
    assert_eq!(given(objected), ["contributor", "browser", "country", "area", "active", "space"]);
    let nothing = run.rows("platform_use").iter().filter(|row| given(row).is_empty()).count();
    assert_eq!(nothing, 1, "who refuses both is counted");
    let notice = run.notice();
    assert!(notice.contains("keep the platform working and secure"), "{notice}");
    assert!(run.package.purposes.iter().all(|purpose| !purpose.name.contains("profil")));
}
