//! Tests of entries that take purposes, and of their end: whatever is sealed before, between and after.

use arrow::array::Array;
use proptest::prelude::*;
use schemas::{Note, Tally};

use super::tests::{ADDRESS, AGENT, Door, OTHER, SERIAL, serial, visitor};
use super::*;
use crate::fixture::{DEVICES, NOW, devices, event, origin, package, web};
use crate::{AnonymizedBatch, Identifier, RawBatch, RawBuilder, RawEvent, Sealed, Value};

/// Of fields that rest on `agreed` alone, and on `improve` alone.
const AGREED: &str = "account";
const IMPROVED: &str = "scans";

fn names(purposes: &[&str]) -> Vec<String> {
    purposes.iter().map(|name| (*name).to_owned()).collect()
}

impl Door {
    fn take(&self, request: &str, family: &str, identifier: &Identifier, purposes: &[&str]) {
        let subject = self.gate.subject(family, identifier).unwrap();
        let purposes = names(purposes);
        let kind = RequestKind::Withdraw;
        let wanted = Wanted { request, kind, purposes: &purposes, until: None };
        self.list.enter(&wanted, &subject, NOW, || self.gate.pseudonyms(&subject)).unwrap();
    }

    fn give_back(&self, request: &str, family: &str, identifier: &Identifier) -> Vec<Suppressed> {
        let subject = self.gate.subject(family, identifier).unwrap();
        self.list.lift(request, &subject, |entry| entry.kind != RequestKind::Erase).unwrap()
    }

    /// An event of each device with every field in it.
    fn full(&self, serials: &[&str], has_id: bool) -> RawBatch {
        let mut builder = RawBuilder::new(&self.bench.package, DEVICES);
        for (seq, serial) in (0..).zip(serials) {
            let mut values = vec![Value::Null; devices::FIELDS];
            values[devices::SERIAL] = Value::Text(serial);
            values[devices::ACCOUNT] = Value::Text("account of somebody");
            values[devices::SCANS] = Value::Integer(7);
            let id = has_id.then_some("one");
            let event = RawEvent { id, boot: Some(1), seq: Some(seq), ..event(&values) };
            builder.append(&event, &self.bench.nobody());
        }
        builder.finish()
    }
}

/// Rows in which `field` has a value.
fn filled(batch: &AnonymizedBatch, field: &str) -> Vec<usize> {
    let column = batch.rows().column_by_name(field).unwrap();
    (0..column.len()).filter(|row| column.is_valid(*row)).collect()
}

fn told(batch: &AnonymizedBatch) -> [Vec<usize>; 3] {
    [filled(batch, "contributor"), filled(batch, AGREED), filled(batch, IMPROVED)]
}

#[test]
fn what_rests_on_a_purpose_that_was_taken_does_not_come_in() {
    let door = Door::new();
    let before = door.gate.seal(door.full(&[SERIAL, OTHER], true), Tally::default()).unwrap();
    door.take("a", "devices", &serial(SERIAL), &["agreed"]);
    let frame = door.gate.seal(door.full(&[SERIAL, OTHER], true), Tally::default()).unwrap();
    assert_eq!((frame.header().rows, frame.header().tally.suppressed), (2, 0));
    let counted = frame.header().tally.clone();
    let now = door.rows(door.full(&[SERIAL, OTHER], true));
    let (before, sealed) = (door.opened(before), door.opened(frame));
    for batch in [&before, &sealed, &now] {
        assert_eq!(told(batch), [vec![0, 1], vec![1], vec![0, 1]]);
    }
    for tally in [before.tally(), &counted, now.tally()] {
        assert!(tally.notes.get(&Note::Nulled).is_some_and(|count| *count > 0), "{tally:?}");
    }
    assert!(sealed.tally().notes.is_empty(), "counted once, where it was left out");

    door.take("b", "devices", &serial(SERIAL), &["improve"]);
    let batch = door.rows(door.full(&[SERIAL, OTHER], true));
    assert_eq!(told(&batch), [vec![1], vec![1], vec![1]], "the pseudonym rests on it too");
    let raw = door.full(&[SERIAL], true);
    let left = door.gate.narrowed(DEVICES, raw.columns, Some(&[door.listed()])).0;
    let text = format!("{left:?}");
    assert!(!text.contains(SERIAL) && !text.contains("account of"), "it is not even sealed");
}

/// The device's own count is the sole key of an event without id; nothing of it is stored.
#[test]
fn a_second_copy_is_known_even_if_its_contributor_took_everything() {
    let door = Door::new();
    door.take("a", "devices", &serial(SERIAL), &["agreed", "improve", "service"]);
    let key = |batch: AnonymizedBatch| {
        assert_eq!(told(&batch), [vec![], vec![], vec![]] as [Vec<usize>; 3]);
        batch.keys()[0].as_ref().map(|key| key.hash)
    };
    let frame = door.gate.seal(door.full(&[SERIAL], false), Tally::default()).unwrap();
    let (sealed, direct) = (key(door.opened(frame)), key(door.rows(door.full(&[SERIAL], false))));
    assert!(sealed.is_some() && sealed == direct);
}

#[test]
fn a_visitor_who_took_a_purpose_is_counted_without_it() {
    let door = Door::new();
    let view = |door: &Door| {
        let mut values = vec![Value::Null; web::FIELDS];
        values[web::TAG] = Value::Index(0);
        let mut builder = RawBuilder::new(&door.bench.package, crate::fixture::WEB);
        for agent in [AGENT, "another"] {
            builder.append(&event(&values), &door.visit(ADDRESS, agent, NOW));
        }
        builder.finish()
    };
    let early = door.gate.seal(view(&door), Tally::default()).unwrap();
    door.take("a", "web", &visitor(ADDRESS, AGENT), &["agreed"]);
    for batch in [door.opened(early), door.rows(view(&door))] {
        assert_eq!(filled(&batch, "tag"), [1]);
        assert_eq!(filled(&batch, "contributor"), [0, 1]);
    }
    door.take("b", "web", &visitor(ADDRESS, AGENT), &["improve"]);
    assert_eq!(filled(&door.rows(view(&door)), "contributor"), [1]);
    door.give_back("c", "web", &visitor(ADDRESS, AGENT));
    assert_eq!(filled(&door.rows(view(&door)), "tag"), [0, 1]);
}

/// Under the key of another day the list knows no pseudonym of the visitor: what comes over the connection tells.
#[test]
fn a_visitor_who_took_a_purpose_is_known_in_epochs_to_come() {
    let door = Door::new();
    door.take("a", "web", &visitor(ADDRESS, AGENT), &["agreed"]);
    let later = NOW.plus(5 * schemas::time::DAY_MS);
    let mut values = vec![Value::Null; web::FIELDS];
    values[web::TAG] = Value::Index(0);
    let mut builder = RawBuilder::new(&door.bench.package, crate::fixture::WEB);
    for agent in [AGENT, "another"] {
        let event = RawEvent { time: later, received: later, ..event(&values) };
        builder.append(&event, &door.visit(ADDRESS, agent, later));
    }
    let batch = door.gate.anonymize(builder.finish(), &origin(), later).unwrap();
    assert_eq!(filled(&batch, "tag"), [1]);
    assert_eq!(filled(&batch, "contributor"), [0, 1]);
}

#[test]
fn frames_are_sealed_again_without_what_was_taken() {
    let door = Door::new();
    let seal = || door.gate.seal(door.full(&[SERIAL, OTHER], true), Tally::default()).unwrap();
    let (one, two) = (seal().into_bytes(), seal().into_bytes());
    let parse = |bytes: &[u8]| Sealed::parse(bytes.to_vec()).unwrap();
    assert!(!door.gate.holds_suppressed(parse(&one)).unwrap());
    door.take("a", "devices", &serial(SERIAL), &["agreed"]);
    assert!(door.gate.holds_suppressed(parse(&one)).unwrap());
    door.gate.supersede(NOW.hour()).unwrap();
    let (again, blanked) = door.gate.reseal(parse(&one)).unwrap().unwrap();
    assert_eq!(blanked, 0);
    assert!(!door.gate.holds_suppressed(parse(&again.into_bytes())).unwrap());

    // By a policy that numbers its purposes otherwise.
    let mut later = package();
    later.digest = schemas::Digest([8; 32]);
    later.purposes.swap(0, 1);
    for family in &mut later.families {
        let swap = |set: &mut schemas::PurposeSet| {
            set.0 = set.0 & !3 | (set.0 & 1) << 1 | (set.0 & 2) >> 1
        };
        swap(&mut family.purposes);
        family.fields.iter_mut().for_each(|field| swap(&mut field.purposes));
    }
    let gate = door.bench.gate_of(later).with_suppression(Arc::clone(&door.list));
    assert!(gate.holds_suppressed(parse(&two)).unwrap());
    let (again, _) = gate.reseal(parse(&two)).unwrap().unwrap();
    let again = again.into_bytes();
    assert!(!gate.holds_suppressed(parse(&again)).unwrap());
    let batch = gate.anonymize(gate.open(parse(&again)).unwrap(), &origin(), NOW).unwrap();
    assert_eq!(told(&batch), [vec![0, 1], vec![1], vec![0, 1]]);
}

#[test]
fn who_is_let_in_again_comes_in_and_the_list_remembers() {
    let door = Door::new();
    door.enter("devices", &serial(OTHER));
    let subject = door.gate.subject("devices", &serial(SERIAL)).unwrap();
    let wanted = Wanted::whole("b", RequestKind::Restrict);
    door.list.enter(&wanted, &subject, NOW, || door.gate.pseudonyms(&subject)).unwrap();
    door.list.settle(&names(&["b"])).unwrap();
    assert_eq!(door.rows(door.full(&[SERIAL, OTHER], true)).rows().num_rows(), 0);

    let older = std::fs::read(door.path()).unwrap();
    let lifted = door.give_back("c", "devices", &serial(SERIAL));
    assert!(lifted.len() == 1 && lifted[0].pending, "what is set apart is to be brought back");
    assert!(door.give_back("d", "devices", &serial(SERIAL)).is_empty(), "and only once");
    assert!(door.give_back("e", "devices", &serial(OTHER)).is_empty(), "who is erased stays out");
    let batch = door.rows(door.full(&[SERIAL, OTHER], true));
    assert_eq!((batch.rows().num_rows(), batch.tally().suppressed), (1, 1));
    let again = super::tests::open(&door.bench).unwrap();
    assert_eq!(again.entries(), door.list.entries());
    assert_eq!(again.of_subject(&subject).unwrap().len(), 1);
    // A list of before is stricter, and read as such.
    std::fs::write(door.path(), older).unwrap();
    let again = super::tests::open(&door.bench).unwrap();
    assert!(again.entries().iter().all(Suppressed::stands));
}

/// As lists were written before entries could name purposes.
#[test]
fn an_entry_without_purposes_is_written_as_it_always_was() {
    let door = Door::new();
    let entry = door.enter("devices", &serial(SERIAL));
    let text = serde_json::to_value(&entry).unwrap();
    let mut keys: Vec<&str> = text.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let old = ["family", "identifier", "kind", "pending", "pseudonyms", "request", "since"];
    assert_eq!(keys, old);
}

/// A step of one person's history.
#[derive(Clone, Copy, Debug)]
enum Step {
    Take(usize),
    Whole,
    GiveBack,
    Seal,
    Open(usize),
    Reseal(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_usize).prop_map(Step::Take),
        Just(Step::Whole),
        Just(Step::GiveBack),
        Just(Step::Seal),
        (0..8_usize).prop_map(Step::Open),
        (0..8_usize).prop_map(Step::Reseal),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was sealed when, a row is made by what stands when it is made, and never has more than was sealed. A frame
    /// that lost the contributor's own value, with the purposes that carry it, is nobody's: what is asked later leaves it.
    #[test]
    fn rows_are_by_what_stands_when_they_are_made(steps in proptest::collection::vec(step(), 1..24)) {
        const PURPOSES: [&str; 3] = ["agreed", "improve", "service"];
        let door = Door::new();
        // What stands: purposes taken, and whether nothing may come in; for each frame what it lost for good.
        let (mut taken, mut whole) = ([false; 3], false);
        let mut frames: Vec<(Vec<u8>, [bool; 3], bool)> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            let request = format!("{number}");
            match step {
                Step::Take(purpose) => {
                    door.take(&request, "devices", &serial(SERIAL), &[PURPOSES[purpose]]);
                    taken[purpose] = true;
                }
                Step::Whole => {
                    let subject = door.gate.subject("devices", &serial(SERIAL)).unwrap();
                    let wanted = Wanted::whole(&request, RequestKind::Object);
                    door.list.enter(&wanted, &subject, NOW, || door.gate.pseudonyms(&subject)).unwrap();
                    whole = true;
                }
                Step::GiveBack => {
                    door.give_back(&request, "devices", &serial(SERIAL));
                    (taken, whole) = ([false; 3], false);
                }
                Step::Seal => {
                    let raw = door.full(&[SERIAL, OTHER], true);
                    let frame = door.gate.seal(raw, Tally::default()).unwrap();
                    frames.push((frame.into_bytes().to_vec(), taken, whole));
                }
                Step::Open(_) | Step::Reseal(_) if frames.is_empty() => {}
                Step::Reseal(index) => {
                    let index = index % frames.len();
                    let (bytes, lost, gone) = &mut frames[index];
                    let is_linked = !lost[1];
                    door.gate.supersede(NOW.hour()).unwrap();
                    let frame = Sealed::parse(bytes.clone()).unwrap();
                    if let Some((again, _)) = door.gate.reseal(frame).unwrap() {
                        *bytes = again.into_bytes().to_vec();
                        (0..3).for_each(|purpose| lost[purpose] |= is_linked && taken[purpose]);
                        *gone |= is_linked && whole;
                    }
                }
                Step::Open(index) => {
                    let (bytes, lost, gone) = &frames[index % frames.len()];
                    let batch = door.opened(Sealed::parse(bytes.clone()).unwrap());
                    let is_linked = !lost[1];
                    let is_gone = *gone || (is_linked && whole);
                    let lacks = |purpose: usize| lost[purpose] || (is_linked && taken[purpose]);
                    let other = batch.rows().num_rows() - 1;
                    prop_assert_eq!(other, usize::from(!is_gone));
                    prop_assert_eq!(filled(&batch, AGREED).len(), 1 + usize::from(!is_gone && !lacks(0)));
                    prop_assert_eq!(filled(&batch, IMPROVED).len(), 1 + usize::from(!is_gone && !lacks(1)));
                }
            }
        }
    }
}
