//! Legal holds: rows that are kept apart from everything, longer than their keys live, and not longer than they may.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anonymizer::{Gate, Identifier, KeyName, KeyRing, KeyState, apart};
use arrow::array::AsArray;
use quorate::apart::Lot;
use quorate::config::Config;
use quorate::scan::Scanner;
use quorate::store;
use schemas::time::DAY_MS;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::support::place::{ORIGIN, Place, SITE, Service};
use crate::support::{http, search};

const AGENT: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const HOLD: &str =
    "\n[legal_hold]\nat_most = \"90 days\"\nreasons = [\"claim\"]\nnotice = \"Claims.\"\n";

/// A place whose package allows holds for claims.
fn place() -> Place {
    let place = Place::new();
    let file = place.home().join("policy/policy.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + HOLD).unwrap();
    place
}

fn address(visitor: usize) -> String {
    format!("198.51.100.{visitor}")
}

fn views(service: &Service, visitors: std::ops::Range<usize>) {
    for visitor in visitors {
        let headers = [
            ("Origin", ORIGIN),
            ("Content-Type", "application/json"),
            ("X-Forwarded-For", &*address(visitor)),
            ("User-Agent", AGENT),
        ];
        let url = format!("{ORIGIN}/docs/a");
        let id = format!("view-{visitor}");
        let event =
            json!({ "type": "web", "id": id, "site": SITE, "name": "pageview", "url": url });
        let body = event.to_string();
        let posted = http::send(service.events, "POST", "/v1/events", &headers, body.as_bytes());
        assert_eq!(posted.status, 202, "{}", posted.body());
    }
}

/// A day so many days from now.
fn day(from_now: i64) -> String {
    let day = store::system_clock()().plus(from_now * DAY_MS).to_string();
    day.split('T').next().unwrap().to_owned()
}

fn add(place: &Place, more: &[&str]) -> Lot {
    let (from, to, until) = (day(-1), day(1), day(60));
    let days = ["--from", &from, "--to", &to];
    let base = ["hold", "add", "--family", "web", "--reason", "claim", "--until", &until];
    let days = if more.is_empty() { &days[..] } else { more };
    let printed = place.print(&[&base[..], days].concat());
    serde_json::from_str(&printed).unwrap_or_else(|_| panic!("{printed}"))
}

/// A command with an identifier on standard input.
fn about(place: &Place, arguments: &[&str], visitor: usize) -> Output {
    let mut command = place.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let who = json!({ "site": SITE, "address": address(visitor), "user_agent": AGENT });
    writeln!(child.stdin.take().unwrap(), "{who}").unwrap();
    child.wait_with_output().unwrap()
}

/// Visitors of the day, as released.
fn visitors(place: &Place) -> Vec<String> {
    let asked = r#"SELECT visitors FROM visitors WHERE "grouping" = ''"#;
    let output = place.command(&["sql", asked]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = printed.lines().map(|line| line.trim().trim_matches('|').trim().to_owned());
    words.filter(|word| word.parse::<u64>().is_ok()).collect()
}

#[track_caller]
fn wait(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !done() {
        assert!(Instant::now() < deadline, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn sealed(place: &Place, id: &str) -> PathBuf {
    place.data().join("apart").join(id)
}

fn key_ledger(place: &Place) -> Vec<Value> {
    let text = fs::read_to_string(place.data().join("ledger/keys.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn is_destroyed(place: &Place, begins: &str) -> bool {
    key_ledger(place).iter().any(|line| {
        line["action"] == "destroyed" && line["key"].as_str().unwrap().starts_with(begins)
    })
}

fn holds_ledger(place: &Place) -> Vec<String> {
    let text = fs::read_to_string(place.data().join("ledger/holds.jsonl")).unwrap();
    let state = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["state"].as_str().unwrap().to_owned()
    };
    text.lines().map(state).collect()
}

fn ring(place: &Place) -> KeyRing {
    let config = Config::load(Some(&place.home().join("quorate.toml"))).unwrap();
    let (dir, key) = (config.keyring.folder().unwrap(), &config.keyring.key_encryption_key);
    KeyRing::open(dir, key, &config.key_ledger(), &store::system_clock()).unwrap()
}

/// The pseudonyms that these visitors have now; keys have to be alive for it.
fn pseudonyms(place: &Place, visitors: std::ops::Range<usize>) -> Vec<Vec<u8>> {
    let config = Config::load(Some(&place.home().join("quorate.toml"))).unwrap();
    let package = store::package(config.policy.as_deref()).unwrap();
    let gate = Gate::new(package, Arc::new(ring(place)), config.archive_dir()).unwrap();
    let own = visitors.flat_map(|visitor| {
        let address = address(visitor).parse().unwrap();
        let identifier = Identifier::visit(SITE.to_owned(), address, AGENT.to_owned());
        let subject = gate.subject("web", &identifier).unwrap();
        let pseudonyms = gate.pseudonyms(&subject).unwrap();
        pseudonyms.iter().map(|(_, own)| own.to_vec()).collect::<Vec<_>>()
    });
    own.collect()
}

fn found(root: &Path, pseudonyms: &[Vec<u8>]) -> u64 {
    let hashes = pseudonyms.iter().map(|hash| ("pseudonym", hash.clone()));
    let none: [(&str, String); 0] = [];
    search::everything(root, &Scanner::with_hashes(none, hashes).unwrap()).found
}

/// Held, hidden from what is released, out of reach when the keys of the day are gone, and destroyed in the end.
#[test]
fn held_rows_are_apart_until_the_end_of_the_hold_and_no_longer() {
    let place = place();
    let service = place.start_with(&["run", "--ahead", "0minutes"], &[]);
    views(&service, 0..20);
    let lot = add(&place, &[]);
    assert_eq!((lot.rows, lot.family.as_str(), lot.reason.as_str()), (20, "web", "claim"));
    let list = place.print(&["hold", "list"]);
    assert!(list.contains(&lot.id) && list.contains("claim"), "{list}");
    assert!(place.print(&["status"]).contains("legal holds: 1"));
    // Sent again they are copies still; others come in as ever.
    views(&service, 0..20);
    views(&service, 100..115);
    for (reason, until) in [("curiosity", day(60)), ("claim", day(120))] {
        let arguments = ["--family", "web", "--from", "2026-01-01", "--to", "2026-01-02"];
        let more = ["--reason", reason, "--until", &until];
        let refused = place.command(&[&["hold", "add"], &arguments[..], &more].concat());
        let refused = { refused }.output().unwrap();
        assert!(!refused.status.success(), "{reason} {until}");
    }
    let unasked = http::send(service.operator, "POST", "/hold", &[], b"\"list\"");
    assert_eq!(unasked.status, 401);
    service.stop();
    let own = pseudonyms(&place, 0..20);
    let outcomes = search::outcomes(&place.data());
    assert_eq!((outcomes["set_apart"], outcomes["duplicate"]), (20, 20), "{outcomes:?}");

    // Replayed, they stay where they are.
    place.print(&["replay", "--from", &day(-1), "--to", &day(1)]);
    let outcomes = search::outcomes(&place.data());
    assert!(!outcomes.contains_key("replayed_added"), "{outcomes:?}");

    let service = place.start_with(&["run", "--ahead", "30hours"], &[]);
    wait("a release", || !visitors(&place).is_empty());
    service.stop();
    assert_eq!(visitors(&place), ["15"], "without the rows that are held");

    // The epoch of a day, and its grace.
    let service = place.start_with(&["run", "--ahead", "6days"], &[]);
    wait("the end of the epoch", || is_destroyed(&place, "pseudonym/web/"));
    service.stop();
    assert!(!is_destroyed(&place, "apart/"));
    assert_eq!(found(&place.data(), &own), 0, "no file says whose rows are held");
    let bytes = fs::read(sealed(&place, &lot.id)).unwrap();
    {
        let ring = ring(&place);
        let rows = apart::open(&ring, &lot.id, bytes.clone()).unwrap();
        let held = rows.iter().flat_map(|rows| {
            let own = rows.column_by_name("contributor").unwrap().as_binary::<i32>().clone();
            own.iter().flatten().map(<[u8]>::to_vec).collect::<Vec<_>>()
        });
        let held = held.collect::<BTreeSet<_>>();
        assert_eq!(held, own.into_iter().collect::<BTreeSet<_>>(), "they are what was held");
    }

    let service = place.start_with(&["run", "--ahead", "62days"], &[]);
    wait("the end of the hold", || is_destroyed(&place, &format!("apart/{}", lot.id)));
    wait("the last line", || holds_ledger(&place).last().is_some_and(|state| state == "over"));
    service.stop();
    assert_eq!(holds_ledger(&place), ["asked", "held", "over"]);
    assert_eq!(fs::read_dir(place.data().join("apart")).unwrap().count(), 0);
    assert_eq!(place.print(&["hold", "list"]), "no holds");
    // Whoever kept a copy of the file has nothing.
    let ring = ring(&place);
    assert!(apart::open(&ring, &lot.id, bytes).is_err());
    let keys = ring.list().unwrap();
    let own = KeyName::Apart { id: lot.id };
    assert!(keys.iter().any(|key| key.name == own && key.state == KeyState::Destroyed));
}

/// Released before its end: rows go back while their epoch lives, but for those of who was erased meanwhile.
#[test]
fn a_hold_that_is_released_gives_back_what_may_be_there() {
    let place = place();
    let service = place.start_with(&["run", "--ahead", "0minutes"], &[]);
    views(&service, 0..20);
    let lot = add(&place, &[]);
    let erased = about(&place, &["subject", "erase", "--family", "web"], 3);
    assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    let receipt: Value = serde_json::from_slice(&erased.stdout).unwrap();
    assert_eq!(
        (&receipt["rows_removed"], &receipt["rows_held"]),
        (&json!(0), &json!(1)),
        "{receipt}"
    );
    let ended: Value = serde_json::from_str(&place.print(&["hold", "release", &lot.id])).unwrap();
    assert_eq!(ended, json!({ "put_back": 19, "destroyed": 1 }));
    assert!(!place.command(&["hold", "release", &lot.id]).output().unwrap().status.success());

    // Of one of them alone, and without a service.
    service.stop();
    let until = day(60);
    let base = ["hold", "add", "--family", "web", "--reason", "claim", "--until", &until];
    let one = about(&place, &[&base[..], &["--contributor"]].concat(), 7);
    assert!(one.status.success(), "{}", String::from_utf8_lossy(&one.stderr));
    let one: Lot = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!(one.rows, 1);
    let nobody = about(&place, &[&base[..], &["--contributor"]].concat(), 77);
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("no such rows"));

    let service = place.start_with(&["run", "--ahead", "30hours"], &[]);
    wait("a release", || !visitors(&place).is_empty());
    service.stop();
    assert_eq!(visitors(&place), ["20"], "18, rounded to five");
    let states = ["asked", "held", "released", "asked", "held"];
    assert_eq!(holds_ledger(&place), states);
}
