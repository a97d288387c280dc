//! Lots over a folder: what is there after each step, and after a crash in it.

use std::path::Path;

use anonymizer::{Folder, KeyName};
use arrow::array::{ArrayRef, BinaryArray};
use schemas::Clock;

use super::*;

const PSEUDONYM: [u8; 16] = [0xab; 16];

fn rows() -> Vec<RecordBatch> {
    let own = BinaryArray::from_opt_vec(vec![Some(&PSEUDONYM[..]), None]);
    vec![RecordBatch::try_from_iter([("contributor", Arc::new(own) as ArrayRef)]).unwrap()]
}

fn open(dir: &Path) -> Apart {
    let clock: Clock = Arc::new(|| Millis(0));
    let (ring, kek, ledger) = (dir.join("ring"), dir.join("kek"), dir.join("keys.jsonl"));
    let ring = KeyRing::create(&ring, &kek, &ledger, &clock).unwrap();
    Apart::open(Arc::new(Folder::new(dir.join("events"))), Arc::new(ring)).unwrap()
}

fn lot(id: &str) -> Lot {
    Lot {
        id: id.to_owned(),
        kind: Kind::Hold,
        family: "web".to_owned(),
        rows: 2,
        reason: "claim".to_owned(),
        since: Millis(0).to_string(),
        end: Some(Millis(1_000).to_string()),
        state: State::Writing,
    }
}

fn files(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir.join("events/apart")) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_lot_says_nothing_of_people_and_goes_with_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let apart = open(dir.path());
    let kept = apart.add(lot("a"), &rows()).unwrap();
    assert_eq!(kept.state, State::Taking);
    apart.set("a", State::Kept).unwrap();
    drop(apart);
    let apart = open(dir.path());
    assert_eq!(apart.list(), [Lot { state: State::Kept, ..kept.clone() }]);
    assert_eq!((apart.holds(), apart.take("a").unwrap()), (1, rows()));
    assert!(!kept.is_over(Millis(999)) && kept.is_over(Millis(1_000)));
    assert!(!Lot { end: None, ..kept }.is_over(Millis(i64::MAX)));
    for name in files(dir.path()) {
        let bytes = std::fs::read(dir.path().join("events/apart").join(&name)).unwrap();
        assert!(!bytes.windows(16).any(|part| part == PSEUDONYM), "{name}");
    }
    let sealed = std::fs::read(dir.path().join("events/apart/a")).unwrap();
    apart.destroy("a", "test").unwrap();
    assert_eq!(
        (files(dir.path()), apart.list(), apart.has_key("a").unwrap()),
        (vec![], vec![], false)
    );
    // Whoever has a copy of the file has nothing.
    std::fs::write(dir.path().join("events/apart/a"), sealed).unwrap();
    let refused = format!("{:#}", apart.take("a").unwrap_err());
    assert!(refused.contains("destroyed"), "{refused}");
    let key = apart.ring.list().unwrap().pop().unwrap();
    assert_eq!((key.name, key.state), (KeyName::Apart { id: "a".into() }, KeyState::Destroyed));
}

#[test]
fn a_crash_at_any_step_leaves_a_lot_or_nothing() {
    // Cut off while it was being written: before its key, before its rows, before it was said that they are there.
    for step in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let apart = open(dir.path());
        apart.write(&lot("a")).unwrap();
        if step > 0 {
            let sealed = apart::seal(&apart.ring, "a", &rows()).unwrap();
            if step > 1 {
                apart.shelf.replace(&sealed_file("a"), &sealed).unwrap();
            }
        }
        drop(apart);
        let apart = open(dir.path());
        assert_eq!(apart.give_up().unwrap().len(), 1, "{step}");
        assert_eq!((files(dir.path()), apart.has_key("a").unwrap()), (vec![], false), "{step}");
    }
    // While it was being destroyed: after its key, after its rows.
    for step in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let apart = open(dir.path());
        apart.add(lot("a"), &rows()).unwrap();
        apart.set("a", State::Ending).unwrap();
        if step > 0 {
            apart.ring.destroy(&apart::key_of("a"), "test").unwrap();
        }
        if step > 1 {
            apart.shelf.wipe(&sealed_file("a")).unwrap();
        }
        drop(apart);
        let apart = open(dir.path());
        apart.give_up().unwrap();
        assert_eq!((files(dir.path()), apart.has_key("a").unwrap()), (vec![], false), "{step}");
    }
    // A lot that is whole is not given up.
    let dir = tempfile::tempdir().unwrap();
    let apart = open(dir.path());
    apart.add(lot("a"), &rows()).unwrap();
    assert!(apart.give_up().unwrap().is_empty());
    assert_eq!(apart.take("a").unwrap(), rows());
}
