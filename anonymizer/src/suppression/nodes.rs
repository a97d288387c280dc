//! Tests with many nodes on one list, and with gates that share list and ring.

use std::sync::atomic::{AtomicI64, Ordering};

use schemas::{Package, Tally};
use tempfile::TempDir;

use super::*;
use crate::fixture::{DEVICES, NOW, WEB, agents, clock, devices, event, origin, package};
use crate::shared::STALE_AFTER_MS;
use crate::shelf::memory::{Memory, Store};
use crate::{
    Connection, Gate, Geo, Identifier, KeyState, RawBatch, RawBuilder, RawEvent, Resolved,
    Resolver, Sealed, Shelves, Value,
};

const SERIAL: &str = "X1-2031-000417";
const LIST: &str = "list.json";

/// What nodes share, and a steady clock for all.
struct Shared {
    keys: Store,
    lists: Store,
    place: TempDir,
    steady: Arc<AtomicI64>,
    package: Arc<Package>,
}

/// One of them.
struct Node {
    shelf: Memory,
    ring: Arc<KeyRing>,
    list: Arc<SuppressionList>,
    gate: Gate,
    package: Arc<Package>,
}

impl Shared {
    fn new() -> Self {
        let (keys, lists) = (Store::default(), Store::default());
        let place = TempDir::new().unwrap();
        KeyRing::make_key_encryption_key(&place.path().join("kek")).unwrap();
        let steady = Arc::new(AtomicI64::new(1));
        Self { keys, lists, place, steady, package: Arc::new(package()) }
    }

    fn node(&self) -> Node {
        let shelf = self.keys.handle();
        let sharing = Sharing::Shared { steady: clock(&self.steady) };
        let ring: Arc<dyn Shelf> = Arc::new(shelf.clone());
        let lists: Arc<dyn Shelf> = Arc::new(shelf.with(&self.lists));
        let ledger_name = "keys.jsonl".to_owned();
        let shelves = Shelves { ring, ledger: Arc::clone(&lists), ledger_name };
        let time = clock(&Arc::new(AtomicI64::new(NOW.0)));
        let kek = self.place.path().join("kek");
        let ring = KeyRing::create_on(&shelves, &kek, &time, sharing.clone()).unwrap();
        let (ring, package) = (Arc::new(ring), Arc::clone(&self.package));
        let list =
            SuppressionList::on(Arc::clone(&lists), LIST, Arc::clone(&ring), "Example", sharing);
        let list = Arc::new(list.unwrap());
        let gate = Gate::on(Arc::clone(&package), Arc::clone(&ring), lists).unwrap();
        let gate = gate.with_suppression(Arc::clone(&list));
        Node { shelf, ring, list, gate, package }
    }

    fn pass(&self, ms: i64) {
        self.steady.fetch_add(ms, Ordering::Relaxed);
    }
}

impl Node {
    fn enter(&self, request: &str, family: &str, identifier: &Identifier) -> Suppressed {
        let subject = self.gate.subject(family, identifier).unwrap();
        let pseudonyms = || self.gate.pseudonyms_ahead(&subject, NOW);
        let wanted = Wanted::whole(request, RequestKind::Erase);
        self.list.enter(&wanted, &subject, NOW, pseudonyms).unwrap()
    }

    fn resolver(&self) -> Resolver {
        let (package, ring) = (Arc::clone(&self.package), Arc::clone(&self.ring));
        Resolver::new(package, ring, Geo::shipped().unwrap(), agents())
            .with_suppression(Arc::clone(&self.list))
    }

    fn visit(&self, received: Millis) -> Resolved {
        let connection = Connection {
            address: crate::fixture::address("130.225.0.1"),
            user_agent: "Firefox/145".to_owned(),
            accept_language: String::new(),
        };
        self.resolver().resolve(connection, "example.com", received).unwrap()
    }

    fn devices(&self, serials: &[&str]) -> RawBatch {
        let nobody =
            Connection { address: None, user_agent: String::new(), accept_language: String::new() };
        let nobody = self.resolver().resolve(nobody, "", NOW).unwrap();
        let mut builder = RawBuilder::new(&self.package, DEVICES);
        for (seq, serial) in (0..).zip(serials) {
            let mut values = vec![Value::Null; devices::FIELDS];
            values[devices::SERIAL] = Value::Text(serial);
            let event = RawEvent { boot: Some(1), seq: Some(seq), ..event(&values) };
            builder.append(&event, &nobody);
        }
        builder.finish()
    }

    fn seal(&self, serials: &[&str]) -> Result<Sealed, Error> {
        self.gate.seal(self.devices(serials), Tally::default())
    }

    fn suppressed(&self, serials: &[&str]) -> u64 {
        let rows = self.gate.anonymize(self.devices(serials), &origin(), NOW).unwrap();
        rows.tally().suppressed
    }
}

fn serial(text: &str) -> Identifier {
    Identifier::text(text.to_owned())
}

#[test]
fn whom_one_node_enters_every_node_keeps_out_once_it_has_looked() {
    let shared = Shared::new();
    let (one, other) = (shared.node(), shared.node());
    one.enter("a", "devices", &serial(SERIAL));
    assert_eq!(other.suppressed(&[SERIAL]), 0, "it has not looked");
    let version = other.gate.list_version();
    other.gate.refresh().unwrap();
    assert_ne!(other.gate.list_version(), version, "what was made before is not to be committed");
    assert_eq!(other.suppressed(&[SERIAL]), 1);
    let version = other.gate.list_version();
    one.list.settle(&["a".to_owned()]).unwrap();
    other.gate.refresh().unwrap();
    assert_eq!(other.gate.list_version(), version, "who is done stays out, and nobody else");
    assert!(other.list.pending().is_empty() && other.suppressed(&[SERIAL]) == 1);
}

/// Whatever two nodes enter and settle at once, nothing of it is lost.
#[test]
fn entries_of_many_nodes_all_stand() {
    const NODES: usize = 4;
    const EACH: usize = 5;
    let shared = Shared::new();
    let nodes: Vec<Node> = (0..NODES).map(|_| shared.node()).collect();
    std::thread::scope(|scope| {
        for (index, node) in nodes.iter().enumerate() {
            scope.spawn(move || {
                for time in 0..EACH {
                    let request = format!("{index} {time}");
                    node.enter(&request, "devices", &serial(&format!("X1-{index}-{time}")));
                    if time % 2 == 0 {
                        node.list.settle(&[request]).unwrap();
                    }
                }
            });
        }
    });
    let fresh = shared.node();
    assert_eq!(fresh.list.entries().len(), NODES * EACH);
    assert_eq!(fresh.list.pending().len(), NODES * (EACH / 2));
    for (index, node) in nodes.iter().enumerate() {
        node.gate.refresh().unwrap();
        let other = format!("X1-{}-1", (index + 1) % NODES);
        assert_eq!(node.suppressed(&[&other]), 1);
    }
}

#[test]
fn a_node_that_cannot_read_the_list_seals_nothing_and_makes_no_rows() {
    let shared = Shared::new();
    let node = shared.node();
    node.seal(&[SERIAL]).unwrap();
    let (raw, sealed) = (node.devices(&[SERIAL]), node.devices(&[SERIAL]));
    node.shelf.cut(true);
    shared.pass(STALE_AFTER_MS - 1);
    assert!(node.gate.refresh().is_err());
    node.gate.usable().unwrap();
    shared.pass(1);
    assert!(matches!(node.gate.usable(), Err(Error::Stale(_))));
    assert!(matches!(node.gate.seal(sealed, Tally::default()), Err(Error::Stale(_))));
    let tally = node.gate.seal_tally(None, Tally::default(), NOW);
    assert!(matches!(tally, Err(Error::Stale(_))));
    assert!(matches!(node.gate.anonymize(raw, &origin(), NOW), Err(Error::Stale(_))));
    // The ring alone is not enough.
    node.shelf.cut(false);
    node.ring.refresh().unwrap();
    assert!(matches!(node.gate.usable(), Err(Error::Stale("the suppression list"))));
    node.gate.refresh().unwrap();
    node.seal(&[SERIAL]).unwrap();
}

#[test]
fn a_list_that_is_gone_or_older_lets_nobody_back_in() {
    let shared = Shared::new();
    let node = shared.node();
    node.enter("a", "devices", &serial(SERIAL));
    let older = shared.lists.files()[LIST].clone();
    node.enter("b", "devices", &serial("X1-2031-000418"));
    shared.lists.put(LIST, &older);
    assert!(matches!(node.gate.refresh(), Err(Error::Suppression(_))));
    shared.lists.remove(LIST);
    assert!(matches!(node.gate.refresh(), Err(Error::Suppression(_))));
    let subject = node.gate.subject("devices", &serial("X1-2031-000419")).unwrap();
    let pseudonyms = || node.gate.pseudonyms(&subject);
    let entered =
        node.list.enter(&Wanted::whole("c", RequestKind::Erase), &subject, NOW, pseudonyms);
    assert!(matches!(entered, Err(Error::Suppression(_))), "it is not begun anew");
    assert_eq!(node.suppressed(&[SERIAL, "X1-2031-000418"]), 2);
    shared.pass(STALE_AFTER_MS);
    assert!(node.gate.usable().is_err(), "and soon nobody at all");
}

#[test]
fn removal_begins_when_every_node_knows() {
    let shared = Shared::new();
    let (one, maintainer) = (shared.node(), shared.node());
    one.enter("a", "devices", &serial(SERIAL));
    shared.pass(SETTLE_AFTER_MS);
    maintainer.gate.refresh().unwrap();
    assert!(maintainer.list.settled().is_empty(), "it counts from when it saw the entry itself");
    shared.pass(SETTLE_AFTER_MS - 1);
    maintainer.gate.refresh().unwrap();
    assert!(maintainer.list.settled().is_empty() && maintainer.list.pending().len() == 1);
    shared.pass(1);
    assert_eq!(maintainer.list.settled().len(), 1);
}

/// A visit's pseudonym says nothing of who it is: the keys under which one may still come in are made beforehand.
#[test]
fn a_visit_of_the_next_day_at_a_node_that_has_not_looked_is_known() {
    let shared = Shared::new();
    let (one, unaware, worker) = (shared.node(), shared.node(), shared.node());
    let address = "130.225.0.1".parse().unwrap();
    let visitor = Identifier::visit("example.com".into(), address, "Firefox/145".into());
    one.enter("a", "web", &visitor);
    let tomorrow = NOW.plus(schemas::time::DAY_MS);
    let resolved = unaware.visit(tomorrow);
    let values = vec![Value::Null; crate::fixture::web::FIELDS];
    let mut builder = RawBuilder::new(&unaware.package, WEB);
    let event = RawEvent { time: tomorrow, received: tomorrow, ..event(&values) };
    builder.append(&event, &resolved);
    let frame = unaware.gate.seal(builder.finish(), Tally::default()).unwrap();
    worker.gate.refresh().unwrap();
    let rows = worker.gate.anonymize(worker.gate.open(frame).unwrap(), &origin(), tomorrow);
    assert_eq!(rows.unwrap().tally().suppressed, 1);
}

/// Two nodes, one hour: what is sealed under the old key is sealed again or not acknowledged.
#[test]
fn the_old_key_of_an_hour_is_destroyed_when_no_node_can_acknowledge_a_frame_under_it() {
    let shared = Shared::new();
    let (door, maintainer) = (shared.node(), shared.node());
    let hour = NOW.hour();
    let early = door.seal(&[SERIAL]).unwrap();
    maintainer.gate.refresh().unwrap();
    maintainer.gate.supersede(hour).unwrap();
    // The door has not looked: it seals under the old key, and may say so.
    let late = door.seal(&[SERIAL]).unwrap();
    assert_eq!(late.header().generation, 0);
    assert!(door.gate.stands(hour, 0));
    shared.pass(SETTLE_AFTER_MS - 1);
    assert!(!door.gate.stands(hour, 0), "it has not looked for too long");
    assert!(matches!(door.seal(&[SERIAL]), Err(Error::Stale(_))));
    maintainer.gate.refresh().unwrap();
    assert!(!maintainer.gate.is_settled(hour));
    assert!(matches!(maintainer.gate.destroy_superseded(hour), Err(Error::InFlight(_))));
    door.gate.refresh().unwrap();
    assert!(!door.gate.stands(hour, 0), "a frame on its way until now comes too late");
    let new = door.seal(&[SERIAL]).unwrap();
    assert_eq!(new.header().generation, 1);
    assert!(door.gate.stands(hour, 1));

    shared.pass(1);
    for frame in [early, late] {
        let frame = Sealed::parse(frame.into_bytes()).unwrap();
        assert!(maintainer.gate.reseal(frame).unwrap().is_some());
    }
    assert_eq!(maintainer.gate.destroy_superseded(hour).unwrap().len(), 1);
    let living = shared.node().ring.list().unwrap();
    let living = living.iter().filter(|entry| entry.state == KeyState::Alive);
    assert_eq!(living.filter(|entry| matches!(entry.name, KeyName::Seal { .. })).count(), 1);
}

/// An import at another node makes a key of an old epoch after the pseudonyms were looked for, and before it can see the
/// entry.
#[test]
fn a_key_that_is_made_while_somebody_is_entered_is_found() {
    let shared = Shared::new();
    let (one, importer) = (shared.node(), shared.node());
    let subject = one.gate.subject("devices", &serial(SERIAL)).unwrap();
    let name = KeyName::Pseudonym { family: "devices".into(), epoch: 3 };
    let pseudonyms = || {
        let found = one.gate.pseudonyms(&subject);
        importer.ring.get_or_create(&name).unwrap();
        found
    };
    let entry =
        one.list.enter(&Wanted::whole("a", RequestKind::Erase), &subject, NOW, pseudonyms).unwrap();
    assert_eq!(entry.epochs(), 1);
    assert_eq!(shared.node().list.entries(), [entry]);
}
