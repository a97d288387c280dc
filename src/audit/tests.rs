//! A clean store, and one violation at a time planted into a copy of it.

mod planted;
mod store;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::service::Service;
use crate::store::{Store, system_clock};
use planted::CASES;
use store::Copied;

async fn audit(store: &Copied) -> Report {
    look(&store.config, &store.package(), store.now).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_store_has_no_finding_and_everything_is_told() {
    let clean = Copied::of_clean().await;
    let private = std::fs::metadata(clean.data("")).unwrap().permissions().mode();
    assert_eq!(private & 0o077, 0, "a data folder is its owner's alone");
    let report = audit(&clean).await;
    assert_eq!(report.findings, [], "{}", report.text());
    assert_eq!(report.not_looked_at, Vec::<String>::new());
    let place = |name: &str| report.at_rest.iter().find(|place| place.place == name).unwrap();
    for name in
        ["raw log", "events/web", "events/device_usage", "statistics", "ledgers", "key ring"]
    {
        let place = place(name);
        assert!(place.count > 0 && place.oldest.is_some(), "{place:?}");
    }
    assert!(
        report.fields.iter().any(|field| field.field == "country" && field.purposes.len() == 1)
    );
    assert!(report.keys.iter().any(|key| key.state == "alive" && !key.commitment.is_empty()));
    let web = report.outcomes.iter().find(|of| of.family.as_deref() == Some("web")).unwrap();
    assert!(web.received > 0 && web.notes.contains_key("signal_dnt"), "{web:?}");
    let rare = report.rare.iter().find(|rare| rare.family == "web").unwrap();
    assert!(rare.combinations >= rare.rare && rare.rare >= rare.of_one && rare.of_one > 0);
    assert!(!rare.fields.contains(&"contributor".to_owned()));
    assert!(!report.releases.is_empty() && report.scanned.values > 1_000);
    let (text, html) = (report.text(), report.html());
    for part in ["What is at rest", "pseudonym/web/", "legitimate interest, assumed"] {
        assert!(text.to_lowercase().contains(&part.to_lowercase()), "{part}");
        assert!(html.contains(part), "{part}");
    }
    for loaded in ["<script", "src=", "@import", "url(", "javascript:"] {
        assert!(!html.contains(loaded), "{loaded}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_planted_violation_is_found_and_nothing_else() {
    let (mut planted, mut wrong) = (BTreeSet::new(), Vec::new());
    for case in CASES {
        let mut store = Copied::of_clean().await;
        tokio::task::block_in_place(|| (case.plant)(&mut store));
        let report = audit(&store).await;
        let found: BTreeSet<_> = report.findings.iter().map(|finding| finding.code).collect();
        let expected: BTreeSet<_> = case.codes.iter().map(|code| code.name()).collect();
        if found != expected {
            wrong.push(format!("{}: {:#?}", case.name, report.findings));
        }
        for told in [report.text(), report.html(), serde_json::to_string(&report).unwrap()] {
            for value in planted::VALUES {
                assert!(!told.contains(value), "{}: a value is told", case.name);
            }
        }
        planted.extend(case.codes.iter().copied());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !planted.contains(code)).collect();
    assert_eq!(missing, Vec::<&Code>::new(), "planted by no case");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_service_is_asked_for_the_hours_of_its_log() {
    let mut copy = Copied::of_clean().await;
    let store = Store::open(copy.config.clone(), crate::clock::Clocks::system()).await.unwrap();
    let service = Service::start(store).await.unwrap();
    copy.config.operator.listen = service.operator;
    let report = run(&copy.config, system_clock()()).await.unwrap();
    assert_eq!(report.findings, [], "{}", report.text());
    assert_eq!(report.not_looked_at, Vec::<String>::new());
    assert!(report.at_rest[0].count > 0, "{:?}", report.at_rest[0]);
    service.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_is_as_documented() {
    let report = audit(&Copied::of_clean().await).await;
    let json = serde_json::to_value(&report).unwrap();
    let page = include_str!("../../docs/audit.md");
    let documented = |name: &str| page.contains(&format!("`{name}`"));
    for (name, value) in json.as_object().unwrap() {
        assert!(documented(name), "{name}");
        let first = value.as_array().and_then(|list| list.first()).and_then(Value::as_object);
        for name in first.iter().flat_map(|members| members.keys()) {
            assert!(documented(name), "{name}");
        }
    }
    assert_eq!(json["format"], 1);
}
