//! What stands for an event, whichever way it is said; flags; refused names.

use anonymizer::Signals;
use anonymizer::fuzzing::tc_string;
use schemas::time::DAY_MS;
use schemas::{Millis, Note, Package, PurposeSet};

use super::tests::{NOW, Row, post_with, sending};
use super::*;
use crate::testing::consent;

fn web(rest: &str) -> String {
    format!(r#"{{"type":"web","name":"pageview","time":{}{rest}}}"#, NOW.0)
}

fn post(body: &str) -> (Vec<Row>, Report) {
    post_with(consent(), body, &sending(SourceKind::Site))
}

fn set(package: &Package, names: &[&str]) -> u32 {
    let purposes = names.iter().filter_map(|name| package.purpose(name));
    purposes.fold(PurposeSet::default(), |set, (index, _)| set.with(index)).0
}

/// Names of the purposes that stand for the one event of `body`, and its notes.
fn stands(body: &str) -> (u32, Vec<(&'static str, u64)>) {
    let (rows, report) = post(body);
    assert_eq!(rows.len(), 1, "{body}: {:?}", report.refused);
    let notes = report.tallies.iter().flat_map(|tally| &tally.notes);
    (rows[0].granted, notes.map(|(note, count)| (note.name(), *count)).collect())
}

fn check(rest: &str, names: &[&str], notes: &[(&'static str, u64)]) {
    let (granted, mut found) = stands(&web(rest));
    found.sort_unstable();
    let mut notes = notes.to_vec();
    notes.sort_unstable();
    assert_eq!((granted, found), (set(&consent(), names), notes), "{rest}");
}

#[test]
fn decisions_carry_version_and_time() {
    let day = Millis(NOW.0 - DAY_MS).to_string();
    let old = NOW.0 - 31 * DAY_MS;
    let said = |more: &str| format!(r#","consent":{{"website":{{"granted":true{more}}}}}"#);
    let stated = ("stated_consent", 1);
    let (other, late) = (("grant_other_version", 1), ("grant_out_of_time", 1));
    let improve: &[&str] = &["improve"];
    check(&said(&format!(r#","version":"2","at":"{day}""#)), &["improve", "website"], &[stated]);
    check(&said(&format!(r#","at":{},"version":"2""#, NOW.0)), &["improve", "website"], &[stated]);
    for (more, why) in [
        (format!(r#","version":"1","at":"{day}""#), other),
        (format!(r#","at":"{day}""#), other),
        (format!(r#","version":2,"at":"{day}""#), other),
        (r#","version":"2""#.to_owned(), late),
        (r#","version":"2","at":"yesterday""#.to_owned(), late),
        (r#","version":"2","at":true"#.to_owned(), late),
        (format!(r#","version":"2","at":{old}"#), late),
        (format!(r#","version":"2","at":{}"#, NOW.0 + 1), late),
        (format!(r#","version":"2","at":"{day}","at":{}"#, NOW.0), late),
        (format!(r#","version":"2","version":"2","at":{}"#, NOW.0), late),
    ] {
        check(&said(&more), improve, &[stated, why]);
    }
    check(r#","consent":{"website":true}"#, improve, &[stated, other]);
    check(r#","consent":{"website":false,"improve":false}"#, &[], &[stated]);
    let refused = format!(
        r#","consent":{{"website":{{"granted":false,"granted":true,"version":"2","at":"{day}"}}}}"#
    );
    check(&refused, improve, &[stated]);
}

/// The clock of a page is wrong by hours; its decisions are by the same clock as its events.
#[test]
fn times_of_decisions_are_held_against_the_clock_that_gave_them() {
    let ahead = NOW.0 + 3 * 3_600_000;
    let event = |at: i64| {
        format!(
            r#"{{"type":"web","name":"pageview","time":{ahead},"sent":{ahead},"consent":{{"website":{{"granted":true,"version":"2","at":{at}}}}}}}"#
        )
    };
    let website = set(&consent(), &["website"]);
    assert_eq!(stands(&event(ahead - 1)).0 & website, website);
    assert_eq!(stands(&event(ahead + 1)).0 & website, 0);
}

#[test]
fn consent_managers_are_heard() {
    let tcf = |purposes: &[u8]| {
        let text = tc_string(purposes, Millis(NOW.0 - DAY_MS), true);
        format!(r#","signals":{{"tcf":"{text}"}}"#)
    };
    check(&tcf(&[1, 8, 10]), &["improve", "pages"], &[("signal_tcf", 1)]);
    check(&tcf(&[1, 8]), &["pages"], &[("signal_tcf", 1)]);
    check(&tcf(&[1, 10]), &["improve"], &[("signal_tcf", 1)]);
    check(r#","signals":{"tcf":"CANARY"}"#, &[], &[("tcf_unreadable", 1)]);
    check(r#","signals":{"tcf":null}"#, &["improve"], &[]);
    let google =
        |state: &str| format!(r#","signals":{{"google":{{"analytics_storage":{state}}}}}"#);
    check(&google(r#""granted""#), &["improve", "pages"], &[("signal_google", 1)]);
    check(&google(r#""denied""#), &["improve"], &[("signal_google", 1)]);
    check(&google("null"), &["improve"], &[]);
    check(r#","signals":{"google":{"ad_storage":"denied","new":17}}"#, &["improve"], &[]);
    for wrong in [
        google("true"),
        google(r#""maybe""#),
        r#","signals":{"google":"granted"}"#.to_owned(),
        r#","signals":{"google":[]}"#.to_owned(),
        r#","signals":{"tcf":17}"#.to_owned(),
        r#","signals":{"tcf":{"x":["CANARY"]}}"#.to_owned(),
        r#","signals":{"gpc":"1"}"#.to_owned(),
    ] {
        let (_, report) = post(&web(&wrong));
        assert_eq!(report.refused[0].field.as_deref(), Some("signals"), "{wrong}");
        assert!(!format!("{report:?}").contains("CANARY"));
    }
}

#[test]
fn forms_may_be_mixed_and_the_strictest_wins() {
    let text = tc_string(&[1, 8, 10], NOW, false);
    let mixed = |google: &str, own: bool| {
        format!(
            r#","signals":{{"tcf":"{text}","google":{{"analytics_storage":"{google}"}}}},"consent":{{"pages":{own}}}"#
        )
    };
    let heard = [("signal_google", 1), ("signal_tcf", 1), ("stated_consent", 1)];
    check(&mixed("granted", true), &["improve", "pages"], &heard);
    check(&mixed("denied", true), &["improve"], &heard);
    check(&mixed("granted", false), &["improve"], &heard);
    let shared = |common: &str| {
        let event = web(r#","consent":{"pages":true}"#);
        format!(r#"{{"common":{{"type":"web","signals":{common}}},"events":[{event}]}}"#)
    };
    let (improve, both) = (set(&consent(), &["improve"]), set(&consent(), &["improve", "pages"]));
    assert_eq!(stands(&shared("null")).0, both);
    assert_eq!(stands(&shared(r#"{"google":{"analytics_storage":"denied"}}"#)).0, improve);
}

#[test]
fn signals_are_honoured_or_ignored_as_the_package_says_and_counted_by_kind() {
    check(r#","signals":{"gpc":true}"#, &[], &[("signal_gpc", 1)]);
    check(r#","signals":{"dnt":true}"#, &["improve"], &[("ignored_dnt", 1)]);
    let heads = Sending { signals: Signals { gpc: true, dnt: true }, ..sending(SourceKind::Site) };
    let (rows, report) = post_with(consent(), &web(r#","consent":{"pages":true}"#), &heads);
    assert_eq!(rows[0].granted, 0);
    let (family, _) = consent().family("web").map(|(index, _)| (index, ())).unwrap();
    let notes = &report.tallies[family].notes;
    assert_eq!((notes[&Note::SignalGpc], notes[&Note::IgnoredDnt]), (1, 1));
}

/// Of a thousand events each has what it came with, whatever the one before it had.
#[test]
fn events_of_one_body_do_not_share_their_consent() {
    let at =
        |at: i64| format!(r#","consent":{{"website":{{"granted":true,"version":"2","at":{at}}}}}"#);
    let parts = [
        (String::new(), &["improve"][..]),
        (at(NOW.0), &["improve", "website"]),
        (at(NOW.0 + 1), &["improve"]),
        (r#","consent":{"pages":true}"#.to_owned(), &["improve", "pages"]),
        (r#","signals":{"gpc":true}"#.to_owned(), &[]),
    ];
    let events = (0..200).map(|index| web(&parts[index * 7 % parts.len()].0));
    let (rows, _) = post(&format!("[{}]", events.collect::<Vec<_>>().join(",")));
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row.granted, set(&consent(), parts[index * 7 % parts.len()].1), "{index}");
    }
    // The same grant, and events before and after it.
    let moment = |time: i64| {
        let grant = at(NOW.0 - 1_000);
        format!(r#"{{"type":"web","name":"pageview","time":{time}{grant}}}"#)
    };
    let (rows, _) = post(&format!("[{},{}]", moment(NOW.0 - 2_000), moment(NOW.0)));
    let website = set(&consent(), &["website"]);
    assert_eq!((rows[0].granted & website, rows[1].granted & website), (0, website));
}

#[test]
fn the_event_of_a_child_is_refused_whole() {
    let (rows, report) =
        post(&format!("[{},{}]", web(r#","under_13":true,"region":"north""#), web("")));
    assert_eq!(rows.len(), 1);
    let Refusal { index, reason, field, retry, .. } = &report.refused[0];
    assert_eq!((*index, *reason, field.as_deref()), (0, Reason::UnderAge, Some("under_13")));
    assert!(!retry, "sending it again does not help");
    for (flag, accepted) in [("true", 0), ("false", 1), ("null", 1)] {
        assert_eq!(post(&web(&format!(r#","under_13":{flag}"#))).0.len(), accepted, "{flag}");
    }
    let shared = format!(r#"{{"common":{{"under_13":true}},"events":[{},{}]}}"#, web(""), web(""));
    assert_eq!(post(&shared).1.refused_total, 2);
}

#[test]
fn a_location_that_is_off_is_told_to_the_gate() {
    for (flag, off) in [("false", true), ("true", false), ("null", false)] {
        let (rows, _) = post(&web(&format!(r#","geolocation":{flag},"region":"north""#)));
        assert_eq!(rows[0].location_off, off, "{flag}");
    }
    assert!(!post(&web("")).0[0].location_off);
}

#[test]
fn names_that_say_what_they_hold_are_dropped_and_counted_by_category() {
    let names = r#","patient_name":"CANARY","PatientName":["CANARY"],"email":{"x":"CANARY"},"dicom":"CANARY","password":"CANARY","plain":1"#;
    let of = |body: &str| {
        let (_, report) = post(body);
        let all = format!("{report:?}");
        assert!(!all.contains("CANARY") && !all.contains("atient"), "{all}");
        let mut words: Vec<(String, u64)> = Vec::new();
        for tally in &report.tallies {
            words.extend(tally.named.get(&Note::RefusedName).cloned().unwrap_or_default());
        }
        let noted = report.tallies.iter().filter_map(|tally| tally.notes.get(&Note::RefusedName));
        (report.undeclared, noted.sum::<u64>(), words)
    };
    let by = |words: &[(&str, u64)]| -> Vec<(String, u64)> {
        words.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect()
    };
    // The package does not refuse credentials: that name is merely undeclared.
    assert_eq!(of(&web(names)), (6, 4, by(&[("e-mail", 1), ("name", 2), ("scan", 1)])));
    assert_eq!(of(&web(r#","plain":1"#)), (1, 0, by(&[])));
    let broken = web(&format!(r#"{names},"region":"CANARY""#));
    assert_eq!(of(&broken).1, 4, "of a refused event too");
    let enveloped = format!(
        r#"{{"email":"CANARY","common":{{"email":"CANARY","patient_name":1}},"events":[{},{}]}}"#,
        web(""),
        web(r#","e-mail":7"#)
    );
    assert_eq!(of(&enveloped), (4, 4, by(&[("e-mail", 3), ("name", 1)])));
    let many: Vec<String> = (0..500).map(|number| format!(r#","email_{number}":1"#)).collect();
    let (rows, report) = post(&web(&many.concat()));
    assert_eq!((rows.len(), report.undeclared), (1, 500), "however many, the event is taken");
    let isolated =
        format!(r#"{{"email":"CANARY","events":[{},{{"type":"web","region":1e999}}]}}"#, web(""));
    assert_eq!(of(&isolated).1, 1);
}

#[test]
fn runs_of_base64_are_refused() {
    let run = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODk";
    for field in ["name", "url", "region"] {
        let value = if field == "url" { format!("/{run}") } else { run.to_owned() };
        let body = format!(r#"{{"type":"web","{field}":"{value}"}}"#);
        let (rows, report) = post(&body);
        assert!(rows.is_empty(), "{field}");
        assert_eq!(report.refused[0].reason, Reason::RefusedContent, "{field}");
    }
}
