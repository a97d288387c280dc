//! Consent through every door, flags, and what is told of both.

use std::path::Path;
use std::sync::Arc;

use anonymizer::fuzzing::tc_string;
use anonymizer::{Connection, Signals};
use ingest::{Outcome, Record, RecordConfig, RecordFormat, RecordReader, Sender, explain};
use schemas::access::SourceKind;
use schemas::time::DAY_MS;
use schemas::{Millis, Note, Package, Reason};
use transport::Log;
use transport::embedded::EmbeddedLog;

use crate::support::{DANISH, Gates, House, NOW, TestClock, config};

/// The package in `tests/consent`.
fn package() -> Arc<Package> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/consent");
    Arc::new(Package::load(&folder).expect("the package is valid"))
}

async fn house(package: Package) -> House {
    let log = |folder: &Path| -> Arc<dyn Log> { Arc::new(EmbeddedLog::open(folder, 2).unwrap()) };
    House::open_for(Arc::new(package), config(), log).await
}

/// A string that consents to those purposes since yesterday.
fn tcf(purposes: &[u8]) -> String {
    tc_string(purposes, Millis(NOW.0 - DAY_MS), true)
}

const SITE: &str = "?site=shop.example";

#[tokio::test(flavor = "multi_thread")]
async fn every_door_hears_consent() {
    let house = house((*package()).clone()).await;
    let whole = tcf(&[1, 8, 10]);
    let page = "https://shop.example/whole";
    let day = Millis(NOW.0 - DAY_MS);
    // The pixel: a string, a purpose by name, and a string that was never filled in.
    for (query, page) in [
        (format!("gdpr=1&gdpr_consent={whole}"), "by-string"),
        ("consent=pages".to_owned(), "by-name"),
        (format!("consent=pages&gdpr_consent={}", tcf(&[10])), "refused"),
        ("consent=pages&gdpr_consent=$%7BGDPR_CONSENT_7%7D".to_owned(), "never-filled-in"),
        (format!("consent=pages&consent_at={}", NOW.0 + 1), "too-late"),
    ] {
        let target = format!("/v1/pixel.gif{SITE}&url=https://shop.example/{page}&{query}");
        assert_eq!(house.send("GET", &target, &[], "").await.status, 200, "{query}");
    }
    // What is posted as Plausible's trackers do.
    let event = format!(
        r#"{{"n":"pageview","d":"shop.example","u":"{page}","signals":{{"tcf":"{whole}"}},"consent":{{"pages":true}}}}"#
    );
    let headers = [("Content-Type", "text/plain"), ("Origin", "http://shop.example:39411")];
    assert_eq!(house.send("POST", "/api/event", &headers, event).await.status, 202);
    // The native one, with everything, and with a signal that the package ignores.
    let event = format!(
        r#"{{"type":"web","variant":"a","url":"/native","consent":{{"pages":true,"website":{{"granted":true,"version":"2","at":"{day}"}}}}}}"#
    );
    assert_eq!(house.post_with(&[("DNT", "1")], event).await.status, 202);
    let lines = house.lines("web", &["url", "variant"]).await;
    let kept: Vec<&str> = lines.iter().map(String::as_str).filter(|line| *line != " | ").collect();
    assert_eq!(kept, ["/by-name | ", "/by-string | ", "/native | a", "/whole | "]);
    let mut total = schemas::Tally::default();
    house.frames().await.iter().for_each(|(_, _, tally)| total.add(tally));
    for (note, count) in [
        (Note::SignalTcf, 3),
        (Note::TcfUnreadable, 1),
        (Note::StatedConsent, 6),
        (Note::GrantOutOfTime, 1),
        (Note::IgnoredDnt, 1),
        (Note::Nulled, 4),
    ] {
        assert_eq!(total.notes.get(&note), Some(&count), "{}", note.name());
    }
    // Three pages, and the name of the one event for which neither of its two purposes stood.
    let by_purpose = [("improve".to_owned(), 1), ("pages".to_owned(), 4)];
    assert_eq!(total.named[&Note::Nulled], by_purpose.into());
    let web = house.server.families().into_iter().find(|web| web.accepted > 0).unwrap();
    assert_eq!((web.notes, web.named), (total.notes, total.named), "the live panel tells the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_are_heeded_before_anything_is_written() {
    let house = house((*package()).clone()).await;
    let authorization = format!("Bearer {}", house.usher);
    let headers = [("Authorization", authorization.as_str())];
    let event = |rest: &str| {
        format!(r#"{{"type":"web","region":"north","end_user":{{"address":"{DANISH}"}}{rest}}}"#)
    };
    let (on, off) = (event(""), event(r#","geolocation":false"#));
    let child = event(r#","under_13":true"#);
    let answer = house.send("POST", "/v1/events", &headers, format!("[{on},{off},{child}]")).await;
    assert_eq!(answer.status, 202);
    let refused = &answer.json()["refused"][0];
    assert_eq!(
        (refused["reason"].as_str(), refused["retry"].as_bool()),
        (Some("under_age"), Some(false))
    );
    assert_eq!(house.lines("web", &["country", "region"]).await, [" | ", "DK | north"]);
    let mut total = schemas::Tally::default();
    house.frames().await.iter().for_each(|(_, _, tally)| total.add(tally));
    assert_eq!(total.notes[&Note::LocationOff], 2);
    assert_eq!(total.refused, [(Reason::UnderAge, 1)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_honours_global_privacy_control_says_so() {
    let mut package = (*package()).clone();
    let answer = house(package.clone()).await.send("GET", "/.well-known/gpc.json", &[], "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.json(), serde_json::json!({ "gpc": true, "lastUpdate": "2026-02-03" }));
    package.signals.gpc = false;
    let answer = house(package).await.send("GET", "/.well-known/gpc.json", &[], "").await;
    assert_eq!((answer.status, answer.error().as_str()), (404, "not_found"));
}

#[test]
fn records_of_topics_say_it_where_they_are_configured_to() {
    let folder = tempfile::tempdir().unwrap();
    let gates = Gates::new(package(), folder.path(), &TestClock::new().clock());
    let config: RecordConfig = toml::from_str(
        "family = \"web\"\nconsent_field = \"c\"\nsignals_field = \"s\"\ntcf_field = \"iab.tcf\"\n",
    )
    .unwrap();
    let format = RecordFormat::new(package(), &config, "topic").unwrap();
    let format = Arc::new(format);
    let mut reader = RecordReader::new(Arc::clone(&format), Arc::clone(&gates.resolver));
    let (whole, none) = (tcf(&[1, 8, 10]), tcf(&[]));
    for (record, notes) in [
        (format!(r#"{{"iab":{{"tcf":"{whole}"}}}}"#), vec![Note::SignalTcf]),
        (
            format!(r#"{{"iab":{{"tcf":"{none}"}},"c":{{"pages":true}},"url":"/a"}}"#),
            vec![Note::SignalTcf, Note::StatedConsent],
        ),
        (
            format!(r#"{{"s":{{"tcf":"{whole}","gpc":true}}}}"#),
            vec![Note::SignalGpc, Note::SignalTcf],
        ),
        (r#"{"iab.tcf":"nonsense"}"#.to_owned(), vec![Note::TcfUnreadable]),
        (r#"{"patient_name":"x"}"#.to_owned(), vec![Note::Undeclared, Note::RefusedName]),
    ] {
        let record = Record { value: Some(record.as_bytes()), timestamp: Some(NOW) };
        let report = reader.push([record], NOW).unwrap();
        assert_eq!(report.accepted_total(), 1, "{:?}", report.refused);
        let noted = report.tallies.iter().flat_map(|tally| tally.notes.keys().copied());
        let mut noted: Vec<Note> = noted.filter(|note| *note != Note::ClockUnknown).collect();
        let mut notes = notes;
        noted.sort_unstable();
        notes.sort_unstable();
        assert_eq!(noted, notes);
    }
    let batch = reader.take().remove(0);
    let left_out = batch.left_out(&package());
    assert_eq!(left_out.named[&Note::Nulled], [("pages".to_owned(), 1)].into());
}

/// Which signal took which purpose, what a flag took, and what a name says.
#[test]
fn trying_an_event_out_tells_what_took_what() {
    let folder = tempfile::tempdir().unwrap();
    let gates = Gates::new(package(), folder.path(), &TestClock::new().clock());
    let tried = |body: &str, signals: Signals| {
        let sender = Sender { source: "shop".to_owned(), kind: SourceKind::Device, signals };
        let connection = Connection {
            address: Some(DANISH.parse().unwrap()),
            user_agent: String::new(),
            accept_language: String::new(),
        };
        let Gates { package, resolver, gate } = &gates;
        explain(package, resolver, gate, &sender, connection, body.as_bytes(), NOW).unwrap()
    };
    let body = format!(
        r#"{{"type":"web","region":"north","geolocation":false,"patient_name":"x","plain":1,
            "consent":{{"website":{{"granted":true,"version":"1","at":{}}}}},
            "signals":{{"tcf":"nonsense","google":{{"analytics_storage":"denied"}}}}}}"#,
        NOW.0
    );
    let told = tried(&body, Signals { gpc: true, dnt: true });
    let purposes: Vec<String> = told
        .purposes
        .iter()
        .map(|fate| format!("{} {}: {}", fate.purpose, fate.stands, fate.why))
        .collect();
    let mut purposes = purposes;
    purposes.sort();
    assert_eq!(
        purposes,
        [
            "improve false: taken by Sec-GPC, refused: the TC string cannot be read",
            "pages false: taken by Sec-GPC, refused by Google's consent mode, refused: the TC string cannot be read",
            "website false: taken by Sec-GPC, granted for another version: expected 2",
        ]
    );
    assert_eq!(told.refused, [("patient_name".to_owned(), "name")]);
    assert_eq!(told.undeclared, ["plain"]);
    let told = tried(&body.replace("nonsense", &tcf(&[10])), Signals::default());
    let why = |field: &str| {
        told.fates.iter().find(|fate| fate.field == field).map(|fate| fate.why.as_str())
    };
    for field in ["country", "region"] {
        assert_eq!(why(field), Some("the event says that location is off"), "{field}");
    }
    let child = tried(r#"{"type":"web","under_13":true}"#, Signals::default());
    assert!(
        matches!(&child.outcome, Outcome::Refused(refusal) if refusal.reason == Reason::UnderAge)
    );
    assert!(child.purposes.is_empty() && child.fates.is_empty());
}
