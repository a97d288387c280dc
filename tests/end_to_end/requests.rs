//! Requests of every kind, with the real binary: what is told, handed over, corrected, erased, restricted, left out and restored; by
//! whom is in no file.

use std::net::SocketAddr;
use std::process::Output;
use std::sync::Mutex;
use std::time::Duration;

use quorate::subject::{Entry, Receipt, Stage};
use serde_json::{Value, json};

use crate::erasure::{Load, Stored, chrono_now, receipt, serial, subject_with};
use crate::support::age::{Identity, KNOWN};
use crate::support::http::{self, Answer};
use crate::support::place::{Place, Service};

/// A purpose that needs consent, on which `feature` rests alone.
const CONSENTED: &str = "website";
const FAMILY: &str = "device_usage";

/// A place whose policy has consent in it.
fn place() -> Place {
    let place = Place::new();
    let policy = place.home().join("policy");
    let change = |file: &str, from: &str, to: &str| {
        let path = policy.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replacen(from, to, 1)).unwrap();
    };
    change("policy.toml", "basis  = \"legitimate interest\"", "basis  = \"consent\"");
    change(
        "device_usage.toml",
        "feature       = { type = \"string(24)\",",
        "feature       = { purposes = [\"website\"], type = \"string(24)\",",
    );
    place
}

fn event(device: usize, id: &str, product: &str) -> Value {
    json!({
        "type": FAMILY, "id": id, "serial_number": serial(device), "product": product,
        "version": "3.8.1", "feature": "scan", "consent": { CONSENTED: true },
    })
}

fn post(service: &Service, key: &str, events: &[Value]) {
    assert_eq!(service.post(key, &Value::from(events.to_vec()).to_string()).status, 202);
}

fn token(place: &Place) -> String {
    std::fs::read_to_string(place.data().join("operator.token")).unwrap()
}

fn ask(place: &Place, operator: SocketAddr, body: &Value) -> Answer {
    let authorization = format!("Bearer {}", token(place));
    let headers = [("Authorization", &*authorization)];
    http::send(operator, "POST", "/subject", &headers, body.to_string().as_bytes())
}

/// A request over HTTP.
#[track_caller]
fn request(place: &Place, operator: SocketAddr, kind: &str, device: usize, more: Value) -> Receipt {
    let mut body = json!({ "kind": kind, "family": FAMILY, "identifier": serial(device) });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = ask(place, operator, &body);
    assert_eq!(answer.status, 200, "{}", answer.body());
    serde_json::from_value(answer.json()).expect("a receipt")
}

fn get(place: &Place, operator: SocketAddr, path: &str) -> Answer {
    let authorization = format!("Bearer {}", token(place));
    http::send(operator, "GET", path, &[("Authorization", &*authorization)], b"")
}

/// What a device is told about itself.
fn access(place: &Place, operator: SocketAddr, device: usize) -> Value {
    let identity = Identity::generate();
    let receipt = request(place, operator, "access", device, json!({ "to": identity.recipient() }));
    let answer = get(place, operator, &format!("/subject/exports/{}", receipt.request));
    assert_eq!(answer.status, 200);
    serde_json::from_slice(&identity.open(body(&answer)).expect("it is for this key")).unwrap()
}

/// The body as it is.
fn body(answer: &Answer) -> &[u8] {
    let end = answer.bytes.windows(4).position(|four| four == b"\r\n\r\n");
    &answer.bytes[end.expect("an answer has a head") + 4..]
}

fn count(told: &Value, list: &str) -> usize {
    told[list].as_array().unwrap_or_else(|| panic!("{list} in {told}")).len()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_person_may_ask_for_everything_and_nothing_tells_who_asked() {
    let place = place();
    let service = place.start();
    let operator = service.operator;
    // A retry says the same time.
    let now = chrono_now();
    let event = |device: usize, id: &str, product: &str| {
        let mut event = event(device, id, product);
        event["time"] = json!(now);
        event
    };
    let uses = (0..3).map(|n| event(0, &format!("a{n}"), "x1"));
    post(&service, &place.device_key, &uses.collect::<Vec<_>>());
    post(&service, &place.device_key, &[event(1, "b", "x1")]);

    // To see: what, why, how long, who gets it; encrypted, for whoever holds the token and the key.
    let told = access(&place, operator, 0);
    assert_eq!((count(&told, "rows"), count(&told, "rows_set_apart")), (3, 0));
    assert_eq!(
        (&told["rows"][0]["product"], &told["rows"][0]["feature"]),
        (&json!("x1"), &json!("scan"))
    );
    assert!(told["policy"]["families"][0]["fields"].as_array().unwrap().len() > 5, "{told}");
    assert!(told["rights"].as_array().unwrap().len() > 5 && count(&told, "epochs") == 1, "{told}");
    assert!(!told.to_string().contains(&serial(0)), "what is stored does not name anybody");
    for path in ["/subject/requests", "/subject/requests/x", "/subject/exports/x"] {
        assert_eq!(http::send(operator, "GET", path, &[], b"").status, 401);
    }
    assert_eq!(get(&place, operator, "/subject/exports/x").status, 404);

    // To take along: in two forms, by the command.
    let identity = Identity::parse(KNOWN).unwrap();
    let key = identity.recipient();
    let open = |receipt: &Receipt| {
        let export = receipt.export.as_ref().unwrap();
        let file = std::fs::read(place.data().join("exports").join(&export.name)).unwrap();
        assert_eq!(file.len() as u64, export.bytes);
        identity.open(&file).unwrap()
    };
    let taken = receipt(&subject_with(&place, &["portability", "--to", &key], FAMILY, &serial(0)));
    let text = String::from_utf8(open(&taken)).unwrap();
    assert_eq!((text.lines().count(), taken.removed.rows_exported), (3, 3));
    assert!(text.contains("\"feature\":\"scan\"") && !text.contains("country"), "{text}");
    let arguments = ["portability", "--to", &key, "--format", "parquet"];
    let taken = receipt(&subject_with(&place, &arguments, FAMILY, &serial(0)));
    assert!(open(&taken).starts_with(b"PAR1"));
    let refused =
        subject_with(&place, &["portability", "--to", "age1nonsense"], FAMILY, &serial(0));
    assert!(!refused.status.success() && !said(&refused).contains("age1nonsense"));

    // To withdraw consent: `feature` goes, from what is stored and what comes.
    let withdrawn = request(&place, operator, "withdraw", 0, json!({}));
    assert_eq!(
        (withdrawn.removed.rows_narrowed, &*withdrawn.purposes),
        (3, &[CONSENTED.to_owned()][..])
    );
    post(&service, &place.device_key, &[event(0, "a3", "x1"), event(1, "b1", "x1")]);
    let told = access(&place, operator, 0);
    let rows = told["rows"].as_array().unwrap();
    assert!(rows.len() == 4 && rows.iter().all(|row| row["feature"].is_null()), "{told}");
    assert_eq!(access(&place, operator, 1)["rows"][1]["feature"], "scan", "of nobody else");
    assert_eq!(told["in_force"][0]["kind"], "withdraw");
    let again = request(&place, operator, "withdraw", 0, json!({}));
    assert_eq!(again.removed.rows_narrowed, 0);
    assert!(again.said[0].starts_with("nothing was found"), "{again:?}");

    // To restrict, for whatever purpose: hidden and kept.
    let restricted = request(&place, operator, "restrict", 0, json!({ "purposes": ["improve"] }));
    assert_eq!(restricted.removed.rows_set_apart, 4);
    let told = access(&place, operator, 0);
    assert_eq!((count(&told, "rows"), count(&told, "rows_set_apart")), (0, 4));
    let restored = request(&place, operator, "restore", 0, json!({}));
    assert_eq!((restored.removed.rows_brought_back, restored.removed.requests_ended), (4, 3));
    let told = access(&place, operator, 0);
    assert_eq!(
        (count(&told, "rows"), count(&told, "rows_set_apart"), count(&told, "in_force")),
        (4, 0, 0)
    );
    post(&service, &place.device_key, &[event(0, "a4", "x1")]);
    let rows = access(&place, operator, 0);
    assert_eq!(
        rows["rows"].as_array().unwrap().iter().filter(|row| row["feature"] == "scan").count(),
        1
    );

    // To correct: by the same person's events alone, under the same ids.
    let corrected = |device: usize, id: &str| event(device, id, "kathea").to_string();
    let foreign = json!({ "kind": "rectify", "family": FAMILY, "identifier": serial(0),
        "events": format!("{}\n{}", corrected(0, "a0"), corrected(1, "a1")) });
    let answer = ask(&place, operator, &foreign);
    assert_eq!(answer.status, 400);
    assert!(
        answer.body().contains("line 2") && !answer.body().contains(&serial(1)),
        "{}",
        answer.body()
    );
    let events = format!("{}\n{}\n", corrected(0, "a0"), corrected(0, "a1"));
    let rectified = request(&place, operator, "rectify", 0, json!({ "events": events }));
    assert_eq!((rectified.removed.rows_removed, rectified.removed.events_stored), (5, 2));
    post(&service, &place.device_key, &[event(0, "a1", "x1"), event(0, "a9", "x1")]);
    let told = access(&place, operator, 0);
    let mut products: Vec<&str> =
        told["rows"].as_array().unwrap().iter().filter_map(|row| row["product"].as_str()).collect();
    products.sort_unstable();
    assert_eq!(products, ["kathea", "kathea", "x1"], "a1 is known, a9 is let in");

    // To be erased, with a window in which it can be undone.
    let hidden = request(&place, operator, "erase", 0, json!({ "restore_within_days": 30 }));
    assert!(hidden.until.is_some() && hidden.removed.rows_set_apart == 3, "{hidden:?}");
    assert_eq!(count(&access(&place, operator, 0), "rows"), 0);
    let back = request(&place, operator, "restore", 0, json!({}));
    assert_eq!(back.removed.rows_brought_back, 3);
    let hidden = request(&place, operator, "erase", 0, json!({ "restore_within_days": 30 }));
    assert_eq!(hidden.removed.rows_set_apart, 3);
    let erased = request(&place, operator, "erase", 0, json!({}));
    assert_eq!(erased.removed.rows_removed, 3, "where they were set apart");
    let twice = request(&place, operator, "object", 0, json!({}));
    assert_eq!(twice.removed.rows_removed, 0);

    // Whoever nobody knows is answered alike.
    for kind in ["withdraw", "restrict", "object", "restore", "erase"] {
        let receipt = request(&place, operator, kind, 77, json!({}));
        assert!(
            receipt.said[0].starts_with("nothing was found") || receipt.removed.requests_ended > 0
        );
    }
    assert_eq!(count(&access(&place, operator, 78), "rows"), 0);

    let entries: Vec<Entry> =
        serde_json::from_value(get(&place, operator, "/subject/requests").json()).unwrap();
    assert!(entries.len() > 20 && entries.iter().all(|entry| !entry.overdue));
    let state = |receipt: &Receipt| {
        let path = format!("/subject/requests/{}", receipt.request);
        let entry: Entry = serde_json::from_value(get(&place, operator, &path).json()).unwrap();
        (entry.state, entry.ended_by.is_some())
    };
    assert_eq!((state(&restricted), state(&hidden)), ((Stage::Done, true), (Stage::Hidden, false)));
    let ledger = get(&place, operator, "/subject/requests").body().to_owned();
    assert!(ledger.contains(&withdrawn.commitment) && !ledger.contains(&withdrawn.nonce));
    assert_eq!(service.operator("/status").json()["requests_overdue"], 0);
    service.stop();

    let stored = Stored::open(&place);
    stored.assert_nothing_of(&[stored.device(0), stored.device(77)]);
    assert_eq!(stored.of(&stored.rows(FAMILY), &stored.device(1)), 2, "and nobody else is gone");
}

/// Every kind at once, of many people, while events come in.
#[test]
fn requests_of_every_kind_under_load_leave_the_books_in_order() {
    let place = place();
    let service = place.start();
    for chunk in (0..40).collect::<Vec<usize>>().chunks(10) {
        let events = chunk
            .iter()
            .flat_map(|device| (0..3).map(move |n| event(*device, &format!("{device}-{n}"), "x1")));
        post(&service, &place.device_key, &events.collect::<Vec<_>>());
    }
    let load = Load::begin(&place, &service);
    let identity = Identity::generate();
    let key = identity.recipient();
    let queue = Mutex::new((0..40).collect::<Vec<usize>>());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let Some(device) = queue.lock().unwrap().pop() else { break };
                    let ask =
                        |kind: &str, more| request(&place, service.operator, kind, device, more);
                    let found = match device % 8 {
                        0 => ask("access", json!({ "to": key })).removed.rows_exported,
                        1 => ask("portability", json!({ "to": key })).removed.rows_exported,
                        2 => ask("erase", json!({})).removed.rows_removed,
                        3 => ask("restrict", json!({})).removed.rows_set_apart,
                        4 => ask("withdraw", json!({})).removed.rows_narrowed,
                        5 => ask("object", json!({})).removed.rows_removed,
                        6 => {
                            ask("object", json!({ "purposes": ["improve"] })).removed.rows_narrowed
                        }
                        _ => {
                            ask("restrict", json!({}));
                            ask("restore", json!({})).removed.rows_brought_back
                        }
                    };
                    assert!(found >= 3, "device {device}: {found}");
                }
            });
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    drop(load.end());
    service.stop();

    let stored = Stored::open(&place);
    let rows = stored.rows(FAMILY);
    for device in 0..40 {
        let own = stored.of(&rows, &stored.device(device));
        let stays = !matches!(device % 8, 2 | 3 | 5 | 6);
        assert_eq!(own >= 3, stays, "device {device} has {own} rows");
    }
    let gone = (0..40).filter(|device| matches!(device % 8, 2 | 5));
    stored.assert_nothing_of(&gone.map(|device| stored.device(device)).collect::<Vec<_>>());
    let books = crate::support::search::outcomes(&place.data());
    let of = |name: &str| books.get(name).copied().unwrap_or(0);
    let ends = ["stored", "duplicate", "expired", "suppressed"].map(of).iter().sum::<u64>();
    assert_eq!(of("received"), ends, "{books:?}");
    let all = rows.values().sum::<u64>() + of("erased") + of("set_apart");
    assert_eq!(of("stored") + of("put_back"), all, "{books:?}");
}

/// What time brings: an export is deleted, a window ends, a key goes and the answer says so.
#[test]
fn what_was_asked_for_holds_across_epochs_and_after_the_key_is_gone() {
    let place = place();
    let service = place.start_with(&["run", "--ahead", "0minutes"], &[]);
    let uses = [event(0, "a", "x1"), event(1, "b", "x1"), event(2, "c", "x1"), event(3, "d", "x1")];
    post(&service, &place.device_key, &uses);
    let operator = service.operator;
    let identity = Identity::generate();
    let key = json!({ "to": identity.recipient() });
    let export = request(&place, operator, "access", 0, key).export.unwrap();
    request(&place, operator, "erase", 1, json!({ "restore_within_days": 3 }));
    request(&place, operator, "restrict", 2, json!({}));
    request(&place, operator, "withdraw", 3, json!({}));
    assert!(place.data().join("exports").join(&export.name).exists());
    service.stop();

    // Ten days on: the export and the window are over, the epoch of 28 days perhaps is not.
    let service = place.start_with(&["run", "--ahead", "10days"], &[]);
    wait_until(|| !place.data().join("exports").join(&export.name).exists());
    let state = |service: &Service, kind: &str| {
        let entries = get(&place, service.operator, "/subject/requests").json();
        let entries: Vec<Entry> = serde_json::from_value(entries).unwrap();
        entries.into_iter().find(|entry| entry.kind.name() == kind).unwrap()
    };
    wait_until(|| state(&service, "erase").state == Stage::Done);
    assert_eq!(state(&service, "erase").done.rows_removed, 1);
    assert_eq!(state(&service, "access").export, None);
    service.stop();

    // Eighty on: the key is gone, and with it the rows; what was asked to be kept out still is.
    let service = place.start_with(&["run", "--ahead", "80days"], &[]);
    post(
        &service,
        &place.device_key,
        &[event(1, "b2", "x1"), event(2, "c2", "x1"), event(3, "d2", "x1")],
    );
    let operator = service.operator;
    wait_until(|| access(&place, operator, 0)["before_that"].is_string());
    let told = access(&place, operator, 0);
    let gone = &told["epochs"][0];
    assert!(gone["key_destroyed"].is_string() && gone["rows"].is_null(), "{told}");
    assert!(gone["commitment"].as_str().unwrap().len() > 20, "{told}");
    let asked = request(&place, operator, "erase", 0, json!({}));
    assert!(asked.gone.is_some() && asked.removed.rows_removed == 0, "{asked:?}");
    assert!(asked.said.iter().any(|said| said.contains("by commitment")), "{asked:?}");
    for kept_out in [1, 2] {
        assert_eq!(count(&access(&place, operator, kept_out), "rows"), 0, "device {kept_out}");
    }
    let told = access(&place, operator, 3);
    assert!(count(&told, "rows") == 1 && told["rows"][0]["feature"].is_null(), "{told}");
    let restored = request(&place, operator, "restore", 2, json!({}));
    assert_eq!((restored.removed.rows_brought_back, restored.removed.requests_ended), (0, 1));
    post(&service, &place.device_key, &[event(2, "c3", "x1")]);
    assert_eq!(count(&access(&place, operator, 2), "rows"), 1, "let in again");
    service.stop();
}

/// Killed at each step of a correction and of a restriction: the next start goes on without being asked, and nothing is lost or
/// twice there.
#[test]
fn what_was_cut_off_is_finished_by_the_next_start() {
    let cuts = [
        ("rectify", "erase rows"),
        ("rectify", "erase done"),
        ("rectify", "correct in"),
        ("rectify", "correct import"),
        ("rectify", "correct stored"),
        ("restrict", "apart rows"),
        ("restrict", "apart Taking"),
        ("restrict", "apart Kept"),
        ("restrict", "erase done"),
    ];
    let place = place();
    let mut service = place.start();
    let now = chrono_now();
    for (device, (kind, moment)) in cuts.iter().enumerate() {
        let uses = (0..3).map(|n| event(device, &format!("{device}-{n}"), "x1"));
        post(&service, &place.device_key, &uses.collect::<Vec<_>>());
        let corrected = (0..2).map(|n| {
            let mut event = event(device, &format!("{device}-{n}"), "kathea");
            event["time"] = json!(now);
            event.to_string()
        });
        let mut body = json!({ "kind": kind, "family": FAMILY, "identifier": serial(device) });
        if *kind == "rectify" {
            body["events"] = json!(corrected.collect::<Vec<_>>().join("\n"));
        }
        let passed = || {
            let log = std::fs::read_to_string(place.outputs().join("stderr.txt"));
            log.unwrap_or_default().matches(&format!("quorate::moment: {moment}")).count()
        };
        let before = passed();
        let (authorization, operator) = (format!("Bearer {}", token(&place)), service.operator);
        let asked = std::thread::spawn(move || {
            // The process is killed meanwhile.
            std::panic::catch_unwind(|| {
                let headers = [("Authorization", &*authorization)];
                http::send(operator, "POST", "/subject", &headers, body.to_string().as_bytes())
            })
        });
        wait_until(|| passed() > before);
        drop(service);
        drop(asked.join());
        service = place.start();
        // One that was cut off behind its last line says so twice.
        wait_until(|| {
            let entries = get(&place, service.operator, "/subject/requests").json();
            let entries: Vec<Entry> = serde_json::from_value(entries).unwrap();
            entries.len() > device && entries.iter().all(|entry| entry.state == Stage::Done)
        });
    }
    for (device, (kind, moment)) in cuts.iter().enumerate() {
        if *kind == "restrict" {
            let told = access(&place, service.operator, device);
            assert_eq!((count(&told, "rows"), count(&told, "rows_set_apart")), (0, 3), "{moment}");
            let restored = request(&place, service.operator, "restore", device, json!({}));
            assert_eq!(restored.removed.rows_brought_back, 3, "{moment}");
        }
        let told = access(&place, service.operator, device);
        let rows = told["rows"].as_array().unwrap();
        let (expected, product) = if *kind == "rectify" { (2, "kathea") } else { (3, "x1") };
        assert_eq!(rows.len(), expected, "{kind} at {moment}: {told}");
        assert!(rows.iter().all(|row| row["product"] == product), "{kind} at {moment}: {told}");
    }
    service.stop();
}

#[track_caller]
fn wait_until(is_so: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "it does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}
