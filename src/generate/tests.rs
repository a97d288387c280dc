use std::collections::{BTreeMap, HashMap, HashSet};

use anonymizer::{Connection, Gate, KeyRing, Signals};
use schemas::access::SourceKind;
use schemas::time::{DAY_MS, HOUR_MS};
use schemas::{Clock, Reason};

use super::post::{Doors, Post, Posts};
use super::*;
use crate::config::Config;
use crate::store::{default_package, resolver};

fn package() -> Package {
    Package::from_files(default_package()).unwrap()
}

fn noon() -> Millis {
    Millis::parse("2026-05-20T12:00:00Z").unwrap()
}

fn habits() -> Arc<Habits> {
    Arc::new(Habits::load(None, &package()).unwrap())
}

fn history(events: u64) -> Profile {
    Profile::history(7, events, noon().plus(-30 * DAY_MS), noon()).with(&habits())
}

fn lines(package: &Package, profile: Profile) -> Vec<String> {
    Generator::new(package, profile).map(|event| event.line()).collect()
}

#[test]
fn the_same_seed_gives_the_same_events_and_another_one_others() {
    let package = package();
    let first = lines(&package, history(500));
    assert_eq!(first, lines(&package, history(500)));
    let other = Profile { seed: 8, ..history(500) };
    assert_ne!(first, lines(&package, other));
}

#[test]
fn counts_are_those_of_the_events() {
    let package = package();
    let mut generator = Generator::new(&package, history(20_000));
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    let mut seen = HashSet::new();
    for event in generator.by_ref() {
        let fate = match event.expected {
            Expected::Stored => "stored",
            Expected::Duplicate => "duplicate",
            Expected::Refused(reason) => reason.name(),
        };
        *counted.entry(fate).or_default() += 1;
        let is_new = seen.insert(event.line());
        match event.expected {
            Expected::Stored => assert!(is_new, "a stored event is sent once"),
            Expected::Duplicate => assert!(!is_new, "a duplicate is a copy of an earlier event"),
            Expected::Refused(_) => {}
        }
    }
    let total = &generator.sent().total;
    assert_eq!(total.received, 20_000);
    assert_eq!(total.received, total.stored + total.duplicate + total.refused_total());
    assert_eq!(counted["stored"], total.stored);
    assert_eq!(counted["duplicate"], total.duplicate);
    for (reason, count) in &total.refused {
        assert_eq!(counted[reason.name()], *count);
    }
    let by_family: u64 = generator.sent().families.values().map(|counts| counts.received).sum();
    let nameless = [Reason::Malformed, Reason::UnknownType].map(|reason| total.refused[&reason]);
    assert_eq!(by_family + nameless.iter().sum::<u64>(), total.received);
}

#[test]
fn every_defect_that_the_default_package_leaves_room_for_is_sent() {
    let package = package();
    let mut generator = Generator::new(&package, history(20_000));
    generator.by_ref().for_each(drop);
    let refused: Vec<Reason> = generator.sent().total.refused.keys().copied().collect();
    let wanted = [
        Reason::Malformed,
        Reason::UnknownType,
        Reason::MissingField,
        Reason::WrongType,
        Reason::OutOfRange,
        Reason::TooLong,
        Reason::WrongForm,
        Reason::RefusedContent,
    ];
    assert_eq!(refused, wanted);
}

#[test]
fn well_behaved_senders_send_nothing_to_refuse() {
    let package = package();
    let profile = Profile { unruly: profile::Unruly::none(), ..history(3_000) };
    let mut generator = Generator::new(&package, profile);
    generator.by_ref().for_each(drop);
    assert_eq!(generator.sent().total.stored, 3_000);
    assert_eq!(generator.personal().count(Planted::Stray), 0);
}

#[test]
fn everything_personal_in_an_event_is_remembered() {
    let package = package();
    let mut generator = Generator::new(&package, history(5_000));
    let mut told = HashSet::new();
    for event in generator.by_ref() {
        let Content::Object(object) = &event.content else { continue };
        told.insert(event.sender.address.to_string());
        if event.expected == Expected::Stored
            && let Some(serial) = object.get("serial_number")
        {
            told.insert(serial.as_str().unwrap().to_owned());
        }
        let text = event.line();
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "@.".contains(c)));
        told.extend(words.filter(|word| word.contains('@')).map(str::to_owned));
    }
    let remembered: HashSet<&str> = generator.personal().iter().map(|(_, value)| value).collect();
    assert!(told.iter().all(|value| remembered.contains(value.as_str())));
    assert!(remembered.iter().all(|value| value.len() >= 12), "short values are found by chance");
}

#[test]
fn a_few_favourites_and_a_long_tail() {
    let package = package();
    let mut pages: HashMap<String, u64> = HashMap::new();
    let mut countries: HashMap<&str, u64> = HashMap::new();
    for event in Generator::new(&package, history(20_000)) {
        let Content::Object(object) = &event.content else { continue };
        if let Some(url) = object.get("url").and_then(Value::as_str) {
            *pages.entry(url.to_owned()).or_default() += 1;
        }
        *countries.entry(event.sender.country).or_default() += 1;
    }
    let total: u64 = pages.values().sum();
    let most = pages.values().max().copied().unwrap();
    assert!(most * 20 > total && pages.len() > 100, "{most} of {total}, {} pages", pages.len());
    assert!(countries["DE"] > 5 * countries["JP"], "{countries:?}");
}

fn live_posts(doors: Doors) -> (Vec<Post>, Sent) {
    let package = package();
    let mut profile = Profile::live(7, 4_000, noon().plus(-HOUR_MS), noon()).with(&habits());
    profile.unruly.wrong_door = if doors.device { 0.02 } else { 0.0 };
    let mut generator = Generator::new(&package, profile);
    let posts = Posts::new(&mut generator, doors, Arc::new(noon)).collect();
    (posts, generator.sent().clone())
}

#[test]
fn every_live_event_is_in_one_body() {
    let (posts, sent) = live_posts(Doors { site: true, device: true });
    assert_eq!(posts.iter().map(|post| post.events).sum::<u64>(), sent.total.received);
    for channel in [Channel::Site, Channel::Device, Channel::Server] {
        assert!(posts.iter().any(|post| post.channel == channel), "{channel:?}");
    }
    let sizes: HashSet<u64> = posts.iter().map(|post| post.events).collect();
    assert!(sizes.contains(&1) && sizes.iter().any(|size| *size > 50), "{sizes:?}");
    assert!(posts.iter().any(|post| post.body.contains("\"sent_uptime_ms\"")));
    assert!(posts.iter().any(|post| post.headers.contains(&("Sec-GPC", "1".to_owned()))));
    assert!(sent.total.refused.contains_key(&Reason::NotPermitted));
}

#[test]
fn without_other_doors_a_server_posts_everything() {
    let (posts, sent) = live_posts(Doors { site: false, device: false });
    assert!(posts.iter().all(|post| post.channel == Channel::Server));
    assert_eq!(posts.iter().map(|post| post.events).sum::<u64>(), sent.total.received);
    assert!(!sent.total.refused.contains_key(&Reason::NotPermitted), "a server may send all");
}

#[test]
fn history_and_live_events_of_one_seed_have_no_event_in_common() {
    let package = package();
    // An event is known by its id, or by its device's boot and sequence number.
    let keys = |profile: Profile, name: &str| -> HashSet<String> {
        Generator::new(&package, profile)
            .filter_map(|event| match event.content {
                Content::Object(object) => object.get(name).map(Value::to_string),
                Content::Broken(_) => None,
            })
            .collect()
    };
    for name in ["id", "boot"] {
        let old = keys(history(10_000), name);
        let new = keys(Profile::live(7, 2_000, noon().plus(-HOUR_MS), noon()), name);
        assert!(!new.is_empty() && old.is_disjoint(&new), "{name}");
    }
}

/// A country database of any year must agree with the generator, or the demo shows nonsense.
#[test]
fn the_shipped_country_database_finds_senders_where_they_are() {
    let package = Arc::new(package());
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str| place.path().join(name);
    let clock: Clock = Arc::new(noon);
    let ring = KeyRing::create(&file("keyring"), &file("kek"), &file("ledger"), &clock).unwrap();
    let ring = Arc::new(ring);
    let resolver = resolver(&Config::default(), &package, &ring).unwrap();
    let gate = Gate::new(Arc::clone(&package), ring, file("policies")).unwrap();
    let sender = ingest::Sender {
        source: "device".to_owned(),
        kind: SourceKind::Device,
        signals: Signals { gpc: false, dnt: false },
    };
    let found = |address: std::net::IpAddr| {
        let connection = Connection {
            address: Some(address),
            user_agent: String::new(),
            accept_language: String::new(),
        };
        let event = br#"{"type": "device_usage"}"#;
        let explained =
            ingest::explain(&package, &resolver, &gate, &sender, connection, event, noon());
        let fates = explained.unwrap().fates;
        fates.into_iter().find(|fate| fate.field == "country").and_then(|fate| fate.kept)
    };
    let senders: HashMap<_, _> = Generator::new(&package, history(6_000))
        .map(|event| (event.sender.address, event.sender.country))
        .collect();
    let right = senders
        .iter()
        .filter(|(address, country)| found(**address).as_deref() == Some(**country))
        .count();
    assert!(senders.len() > 500);
    assert!(right * 100 > senders.len() * 98, "{right} of {}", senders.len());
}
