use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use arrow::array::AsArray;
use schemas::Tally;
use schemas::time::DAY_MS;

use super::*;
use crate::fixture::{
    Bench, DEVICES, NOW, WEB, address, agents, devices, event, origin, package, web,
};
use crate::{
    AnonymizedBatch, Connection, Gate, Geo, Identifier, KeyState, Origin, RawBatch, RawBuilder,
    RawEvent, Resolved, Resolver, Sealed, Value,
};

pub(super) const SERIAL: &str = "X1-2031-000417";
pub(super) const OTHER: &str = "X1-2031-000418";
pub(super) const ADDRESS: &str = "130.225.0.1";
pub(super) const AGENT: &str = "Mozilla/5.0 (Windows NT 10.0) Firefox/145.0";
const SITE: &str = "example.com";

/// A gate and a resolver with a list in a folder of their own.
pub(super) struct Door {
    pub(super) bench: Bench,
    pub(super) list: Arc<SuppressionList>,
    pub(super) gate: Gate,
    resolver: Resolver,
}

impl Door {
    pub(super) fn new() -> Self {
        let bench = Bench::new(package());
        let list = open(&bench).unwrap();
        let gate = bench.gate_of(package()).with_suppression(Arc::clone(&list));
        let (package, ring) = (Arc::clone(&bench.package), Arc::clone(&bench.ring));
        let resolver = Resolver::new(package, ring, Geo::shipped().unwrap(), agents());
        let resolver = resolver.with_suppression(Arc::clone(&list));
        Self { bench, list, gate, resolver }
    }

    /// What the list says of the device that tests enter.
    pub(super) fn listed(&self) -> Listed {
        let family = self.list.of_family("devices").unwrap();
        let subject = self.gate.subject("devices", &serial(SERIAL)).unwrap();
        family.identifier(subject.canonical()).unwrap().of(&self.bench.package)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.bench.folder.path().join("suppression").join("list.json")
    }

    pub(super) fn enter(&self, family: &str, identifier: &Identifier) -> Suppressed {
        let subject = self.gate.subject(family, identifier).unwrap();
        let request = format!("request {}", self.list.entries().len());
        let wanted = Wanted::whole(&request, RequestKind::Erase);
        self.list.enter(&wanted, &subject, NOW, || self.gate.pseudonyms(&subject)).unwrap()
    }

    /// One event of each of these devices.
    fn devices(&self, serials: &[Option<&str>]) -> RawBatch {
        let mut builder = RawBuilder::new(&self.bench.package, DEVICES);
        for (seq, serial) in (0..).zip(serials) {
            let mut values = vec![Value::Null; devices::FIELDS];
            values[devices::SERIAL] = serial.map_or(Value::Null, Value::Text);
            let event = RawEvent { boot: Some(1), seq: Some(seq), ..event(&values) };
            builder.append(&event, &self.bench.nobody());
        }
        builder.finish()
    }

    pub(super) fn visit(&self, ip: &str, agent: &str, received: Millis) -> Resolved {
        let connection = Connection {
            address: address(ip),
            user_agent: agent.to_owned(),
            accept_language: String::new(),
        };
        self.resolver.resolve(connection, SITE, received).unwrap()
    }

    /// One page view over each of these connections.
    fn views(&self, visits: &[Resolved], received: Millis) -> RawBatch {
        let mut builder = RawBuilder::new(&self.bench.package, WEB);
        let values = vec![Value::Null; web::FIELDS];
        for resolved in visits {
            let event = RawEvent { time: received, received, ..event(&values) };
            builder.append(&event, resolved);
        }
        builder.finish()
    }

    pub(super) fn rows(&self, raw: RawBatch) -> AnonymizedBatch {
        self.gate.anonymize(raw, &origin(), NOW).unwrap()
    }

    pub(super) fn opened(&self, frame: Sealed) -> AnonymizedBatch {
        let frame = Sealed::parse(frame.into_bytes()).unwrap();
        self.rows(self.gate.open(frame).unwrap())
    }
}

pub(super) fn open(bench: &Bench) -> Result<Arc<SuppressionList>, Error> {
    let path = bench.folder.path().join("suppression").join("list.json");
    SuppressionList::open(path, Arc::clone(&bench.ring), "Example ApS").map(Arc::new)
}

pub(super) fn serial(text: &str) -> Identifier {
    Identifier::text(text.to_owned())
}

pub(super) fn visitor(ip: &str, agent: &str) -> Identifier {
    let address: IpAddr = ip.parse().unwrap();
    Identifier::visit(SITE.to_owned(), address, agent.to_owned())
}

fn numbers(batch: &AnonymizedBatch) -> Vec<i32> {
    let rows = batch.rows().column_by_name("_row").unwrap();
    rows.as_primitive::<arrow::datatypes::Int32Type>().values().to_vec()
}

fn contributors(batch: &AnonymizedBatch) -> BTreeSet<Vec<u8>> {
    let column = batch.rows().column_by_name("contributor").unwrap();
    column.as_binary::<i32>().iter().flatten().map(<[u8]>::to_vec).collect()
}

#[test]
fn a_suppressed_device_does_not_come_in() {
    let door = Door::new();
    door.enter("devices", &serial(SERIAL));
    let raw = door.devices(&[Some(OTHER), Some(SERIAL), None, Some(SERIAL)]);
    let frame = door.gate.seal(raw, Tally::default()).unwrap();
    assert_eq!((frame.header().rows, frame.header().tally.suppressed), (2, 2));
    assert_eq!(numbers(&door.opened(frame)), [0, 1]);

    let raw = door.devices(&[Some(SERIAL)]);
    let frame = door.gate.seal(raw, Tally::default()).unwrap();
    assert_eq!((frame.header().rows, frame.header().tally.suppressed), (0, 1));
    let header = door.gate.authenticate(frame).unwrap();
    assert_eq!(header.tally.ended(), 1, "a frame without rows says what became of its events");
}

#[test]
fn other_spellings_of_an_identifier_do_not_help() {
    let door = Door::new();
    door.enter("devices", &serial("00:1B:44:11:3A:B7"));
    for spelling in ["00-1b-44-11-3a-b7", " 001b.4411.3ab7 ", "001B44113AB7"] {
        let batch = door.rows(door.devices(&[Some(spelling)]));
        assert_eq!((batch.rows().num_rows(), batch.tally().suppressed), (0, 1), "{spelling}");
    }
}

#[test]
fn what_was_sealed_before_stays_out_and_other_rows_keep_their_numbers() {
    let door = Door::new();
    let raw = door.devices(&[Some(SERIAL), Some(OTHER), Some(SERIAL), None]);
    let frame = door.gate.seal(raw, Tally::default()).unwrap();
    assert_eq!(frame.header().rows, 4);
    door.enter("devices", &serial(SERIAL));
    let batch = door.opened(frame);
    assert_eq!(numbers(&batch), [1, 3]);
    assert_eq!((batch.tally().suppressed, batch.expired()), (2, 0));
    assert_eq!(contributors(&batch).len(), 1);
}

#[test]
fn an_import_of_a_suppressed_contributor_stays_out() {
    let door = Door::new();
    door.enter("devices", &serial(SERIAL));
    door.enter("web", &visitor(ADDRESS, AGENT));
    let long_ago = NOW.plus(-40 * DAY_MS);
    let visits = [door.visit(ADDRESS, AGENT, long_ago), door.visit(ADDRESS, "other", long_ago)];
    let import = Origin { import: true, ..origin() };
    for (raw, kept) in
        [(door.devices(&[Some(SERIAL), Some(OTHER)]), 1), (door.views(&visits, long_ago), 1)]
    {
        let batch = door.gate.anonymize(raw, &import, NOW).unwrap();
        assert_eq!((batch.rows().num_rows(), batch.tally().suppressed), (kept, 1));
    }
}

#[test]
fn a_suppressed_visitor_stays_out_in_this_epoch_and_the_next() {
    let door = Door::new();
    let before = [door.visit(ADDRESS, AGENT, NOW), door.visit("130.225.0.2", AGENT, NOW)];
    let early = door.gate.seal(door.views(&before, NOW), Tally::default()).unwrap();
    assert_eq!(early.header().rows, 2);
    door.enter("web", &visitor(ADDRESS, AGENT));

    let batch = door.opened(early);
    assert_eq!(numbers(&batch), [1], "a frame from before is known by the pseudonym");
    assert_eq!(batch.tally().suppressed, 1);

    for received in [NOW, NOW.plus(DAY_MS), NOW.plus(5 * DAY_MS)] {
        let visits = [door.visit(ADDRESS, AGENT, received), door.visit(ADDRESS, "x", received)];
        let frame = door.gate.seal(door.views(&visits, received), Tally::default()).unwrap();
        assert_eq!((frame.header().rows, frame.header().tally.suppressed), (1, 1));
    }
}

#[test]
fn one_family_says_nothing_about_another() {
    let mut two = package();
    let mut other = two.families[DEVICES].clone();
    other.name = "others".to_owned();
    two.families.push(other);
    let bench = Bench::new(two);
    let list = open(&bench).unwrap();
    let archive = bench.folder.path().join("archive");
    let gate = Gate::new(Arc::clone(&bench.package), Arc::clone(&bench.ring), archive).unwrap();
    let gate = gate.with_suppression(Arc::clone(&list));
    let subject = gate.subject("devices", &serial(SERIAL)).unwrap();
    let wanted = Wanted::whole("1", RequestKind::Object);
    list.enter(&wanted, &subject, NOW, || gate.pseudonyms(&subject)).unwrap();
    for (family, kept) in [(DEVICES, 0), (2, 1)] {
        let mut builder = RawBuilder::new(&bench.package, family);
        let mut values = vec![Value::Null; devices::FIELDS];
        values[devices::SERIAL] = Value::Text(SERIAL);
        builder.append(&event(&values), &bench.nobody());
        let batch = gate.anonymize(builder.finish(), &origin(), NOW).unwrap();
        assert_eq!(batch.rows().num_rows(), kept);
    }
}

#[test]
fn an_identifier_that_tells_nobody_apart_is_refused() {
    let door = Door::new();
    let refused =
        |family: &str, identifier: &Identifier| match door.gate.subject(family, identifier) {
            Ok(_) => panic!("accepted"),
            Err(error) => error,
        };
    for text in ["", " \t", "someone@example.com"] {
        assert!(matches!(refused("devices", &serial(text)), Error::Identifier(_)));
    }
    assert!(matches!(refused("web", &serial(SERIAL)), Error::Identifier(_)));
    assert!(matches!(refused("devices", &visitor(ADDRESS, AGENT)), Error::Identifier(_)));
    assert!(matches!(refused("nobody", &serial(SERIAL)), Error::UnknownFamily(_)));
}

#[test]
fn the_list_knows_the_pseudonyms_that_rows_have() {
    let door = Door::new();
    let batch = door.rows(door.devices(&[Some(SERIAL), Some(OTHER)]));
    let visits = [door.visit(ADDRESS, AGENT, NOW)];
    let views = door.rows(door.views(&visits, NOW));
    assert_eq!((contributors(&batch).len(), contributors(&views).len()), (2, 1));
    let entry = door.enter("devices", &serial(SERIAL));
    assert_eq!(entry.epochs(), 1);
    let known = |family: &str, batch: &AnonymizedBatch| {
        let all = contributors(batch);
        all.iter().filter_map(|one| door.list.request_of(family, one)).collect::<Vec<_>>()
    };
    assert_eq!(known("devices", &batch), std::slice::from_ref(&entry.request));
    assert_eq!(known("web", &views), [""; 0]);
    let visit = door.enter("web", &visitor(ADDRESS, AGENT));
    assert_eq!(known("web", &views), [visit.request]);

    let subject = door.gate.subject("devices", &serial(SERIAL)).unwrap();
    let pseudonyms = door.gate.pseudonyms(&subject).unwrap();
    let own: BTreeSet<_> = pseudonyms.iter().map(|(_, pseudonym)| pseudonym.to_vec()).collect();
    assert!(own.is_subset(&contributors(&batch)) && own.len() == 1);
}

#[test]
fn the_file_names_nobody_and_survives() {
    let door = Door::new();
    let batch = door.rows(door.devices(&[Some(SERIAL)]));
    let entry = door.enter("devices", &serial(SERIAL));
    let text = fs::read_to_string(door.path()).unwrap();
    let pseudonym = hexadecimal(contributors(&batch).first().unwrap());
    assert!(!text.contains(SERIAL) && !text.contains(&pseudonym));

    let again = open(&door.bench).unwrap();
    assert_eq!(again.entries(), std::slice::from_ref(&entry));
    assert_eq!(again.pending().len(), 1);
    again.settle(std::slice::from_ref(&entry.request)).unwrap();
    let again = open(&door.bench).unwrap();
    assert!(again.pending().is_empty() && !again.is_empty());
    let gate = door.bench.gate_of(package()).with_suppression(again);
    let batch = gate.anonymize(door.devices(&[Some(SERIAL)]), &origin(), NOW).unwrap();
    assert_eq!(batch.tally().suppressed, 1, "who is erased stays out");
}

#[test]
fn a_list_with_a_flipped_bit_or_without_its_key_is_refused() {
    let door = Door::new();
    door.enter("devices", &serial(SERIAL));
    let text = fs::read(door.path()).unwrap();
    let hash = text.windows(11).position(|window| window == b"identifier\"").unwrap() + 14;
    let mut flipped = text.clone();
    flipped[hash] = if flipped[hash] == b'0' { b'1' } else { b'0' };
    fs::write(door.path(), flipped).unwrap();
    assert!(matches!(open(&door.bench), Err(Error::Suppression(_))));
    fs::write(door.path(), &text[..text.len() / 2]).unwrap();
    assert!(matches!(open(&door.bench), Err(Error::Suppression(_))));

    fs::write(door.path(), &text).unwrap();
    door.bench.ring.destroy(&KeyName::Suppression, "test").unwrap();
    assert!(matches!(open(&door.bench), Err(Error::Destroyed(_))));
}

#[test]
fn an_entry_whose_pseudonyms_cannot_be_made_is_none() {
    let door = Door::new();
    let subject = door.gate.subject("devices", &serial(SERIAL)).unwrap();
    let fails = || Err(Error::Crypto("test"));
    assert!(
        door.list.enter(&Wanted::whole("1", RequestKind::Erase), &subject, NOW, fails).is_err()
    );
    assert!(door.list.is_empty() && !door.path().exists());
}

/// Rows are made while somebody is entered: whichever comes first, no row is stored that the list does not know.
#[test]
fn nobody_is_removed_before_their_pseudonyms_are_known() {
    let door = Door::new();
    let subject = door.gate.subject("devices", &serial(SERIAL)).unwrap();
    let pseudonyms = || {
        assert!(door.list.pending().is_empty(), "a round now would find no row, and call it done");
        door.gate.pseudonyms(&subject)
    };
    door.list
        .enter(&Wanted::whole("request", RequestKind::Erase), &subject, NOW, pseudonyms)
        .unwrap();
    assert_eq!(door.list.pending().len(), 1);
}

#[test]
fn who_is_entered_while_rows_are_made_is_kept_out_or_known() {
    let door = Door::new();
    for round in 0..40 {
        let serial = format!("X1-2031-{round:06}");
        // An epoch without a key yet: it is made with the row.
        let received = NOW.plus(28 * DAY_MS * round);
        let mut builder = RawBuilder::new(&door.bench.package, DEVICES);
        let mut values = vec![Value::Null; devices::FIELDS];
        values[devices::SERIAL] = Value::Text(&serial);
        builder
            .append(&RawEvent { received, time: received, ..event(&values) }, &door.bench.nobody());
        let raw = builder.finish();
        let start = std::sync::Barrier::new(2);
        let batch = std::thread::scope(|scope| {
            let rows = scope.spawn(|| {
                start.wait();
                door.gate.anonymize(raw, &origin(), received).unwrap()
            });
            start.wait();
            door.enter("devices", &Identifier::text(serial.clone()));
            rows.join().unwrap()
        });
        for contributor in contributors(&batch) {
            assert!(door.list.request_of("devices", &contributor).is_some(), "round {round}");
        }
    }
}

#[test]
fn commitments_differ_and_are_reproducible_with_their_nonce_alone() {
    let door = Door::new();
    let subject = |text| door.gate.subject("devices", &serial(text)).unwrap();
    let (one, two) = (subject(SERIAL).commit().unwrap(), subject(SERIAL).commit().unwrap());
    assert_ne!(one.commitment, two.commitment);
    assert!(subject(" X1-2031-000417").verify(&one.nonce, &one.commitment));
    assert!(!subject(OTHER).verify(&one.nonce, &one.commitment));
    assert!(!subject(SERIAL).verify(&two.nonce, &one.commitment));
    assert!(!subject(SERIAL).verify("no nonce", &one.commitment));
}

#[test]
fn frames_are_sealed_again_without_the_contributor() {
    let door = Door::new();
    let raw = door.devices(&[Some(SERIAL), Some(OTHER), Some(SERIAL)]);
    let frame = door.gate.seal(raw, Tally::default()).unwrap();
    let (bytes, in_flight) = frame.into_parts();
    let again = || Sealed::parse(bytes.clone()).unwrap();
    let subject = door.gate.subject("devices", &serial(SERIAL)).unwrap();
    door.enter("devices", &serial(SERIAL));
    assert!(door.gate.holds_suppressed(again()).unwrap());
    assert!(door.gate.holds_subject(again(), &subject).unwrap());
    assert!(door.gate.reseal(again()).unwrap().is_none(), "under the newest key already");

    let hour = NOW.hour();
    door.gate.supersede(hour).unwrap();
    assert!(!door.gate.is_settled(hour), "a frame is on its way into the log");
    assert!(matches!(door.gate.destroy_superseded(hour), Err(Error::InFlight(_))));
    drop(in_flight);
    assert!(door.gate.is_settled(hour));
    assert_eq!(door.gate.superseded().unwrap(), [NOW.hour()]);

    let (sealed, blanked) = door.gate.reseal(again()).unwrap().expect("an older key");
    assert_eq!((blanked, sealed.header().rows, sealed.header().generation), (2, 3, 1));
    let sealed = sealed.into_bytes();
    let sealed = || Sealed::parse(sealed.clone()).unwrap();
    let gone = door.gate.destroy_superseded(NOW.hour()).unwrap();
    assert_eq!(gone.len(), 1);
    assert!(door.gate.superseded().unwrap().is_empty());
    assert!(matches!(door.gate.open(again()), Err(Error::Destroyed(_))), "the old bytes are noise");

    assert!(!door.gate.holds_suppressed(sealed()).unwrap());
    assert!(!door.gate.holds_subject(sealed(), &subject).unwrap());
    let batch = door.opened(sealed());
    assert_eq!(numbers(&batch), [1]);
    assert_eq!(batch.tally().suppressed, 2, "blank rows are counted as they were received");

    // A process that knows no list still does not take blank rows for events.
    let raw = door.bench.gate.open(sealed()).unwrap();
    let key = KeyName::Seal { hour: NOW.hour(), generation: 1 };
    let key = door.bench.ring.get_or_create(&key).unwrap();
    let (_, body) = sealed().open(&key).unwrap();
    assert!(!body.windows(SERIAL.len()).any(|window| window == SERIAL.as_bytes()));
    assert!(body.windows(OTHER.len()).any(|window| window == OTHER.as_bytes()));
    let batch = door.bench.gate.anonymize(raw, &origin(), NOW).unwrap();
    assert_eq!((batch.rows().num_rows(), batch.tally().suppressed), (1, 2));
}

#[test]
fn frames_of_visits_and_of_other_families_are_sealed_again_too() {
    let door = Door::new();
    let visits = [door.visit(ADDRESS, AGENT, NOW), door.visit("130.225.0.2", AGENT, NOW)];
    let views = door.gate.seal(door.views(&visits, NOW), Tally::default()).unwrap();
    let others = door.gate.seal(door.devices(&[Some(OTHER)]), Tally::default()).unwrap();
    let counts = door.gate.seal_tally(None, Tally::default(), NOW).unwrap();
    door.enter("web", &visitor(ADDRESS, AGENT));
    assert!(door.gate.holds_suppressed(Sealed::parse(views.as_bytes().to_vec()).unwrap()).unwrap());
    door.gate.supersede(NOW.hour()).unwrap();
    let resealed = [views, others, counts].map(|frame| {
        let frame = Sealed::parse(frame.into_bytes()).unwrap();
        door.gate.reseal(frame).unwrap().expect("an older key")
    });
    assert!(door.gate.is_settled(NOW.hour()));
    door.gate.destroy_superseded(NOW.hour()).unwrap();
    let [(views, one), (others, none), (counts, zero)] = resealed;
    assert_eq!((one, none, zero), (1, 0, 0));
    assert_eq!(numbers(&door.opened(views)), [1]);
    assert_eq!(numbers(&door.opened(others)), [0]);
    assert!(door.gate.authenticate(counts).is_ok());
}

#[test]
fn a_frame_of_an_earlier_policy_is_sealed_again_in_its_own_columns() {
    let door = Door::new();
    let raw = door.devices(&[Some(SERIAL), Some(OTHER)]);
    let frame = door.gate.seal(raw, Tally::default()).unwrap().into_bytes();
    let mut changed = package();
    changed.digest = schemas::Digest([9; 32]);
    changed.families[DEVICES].fields.remove(devices::OLD);
    let gate = door.bench.gate_of(changed).with_suppression(Arc::clone(&door.list));
    door.enter("devices", &serial(SERIAL));
    gate.supersede(NOW.hour()).unwrap();
    let (sealed, blanked) = gate.reseal(Sealed::parse(frame).unwrap()).unwrap().unwrap();
    assert_eq!((blanked, sealed.header().policy), (1, door.bench.package.digest));
    let batch = gate.anonymize(gate.open(sealed).unwrap(), &origin(), NOW).unwrap();
    assert_eq!((numbers(&batch), batch.tally().suppressed), (vec![1], 1));
}

#[test]
fn the_newest_key_of_an_hour_is_found_after_a_restart() {
    let door = Door::new();
    door.gate.seal_tally(None, Tally::default(), NOW).unwrap();
    door.gate.supersede(NOW.hour()).unwrap();
    let restarted = door.bench.gate_of(package());
    let frame = restarted.seal_tally(None, Tally::default(), NOW).unwrap();
    assert_eq!(frame.header().generation, 1);
    assert_eq!(restarted.superseded().unwrap(), [NOW.hour()]);
    assert_eq!(restarted.destroy_superseded(NOW.hour()).unwrap().len(), 1);
    let frame = door.bench.gate_of(package()).seal_tally(None, Tally::default(), NOW).unwrap();
    assert_eq!(frame.header().generation, 1, "a destroyed key does not count back");
    let living = door.bench.ring.list().unwrap();
    let living = living.iter().filter(|entry| entry.state == KeyState::Alive);
    assert_eq!(living.filter(|entry| matches!(entry.name, KeyName::Seal { .. })).count(), 1);
}
