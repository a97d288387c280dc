use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use tempfile::TempDir;

use super::super::KeyRing;
use super::*;
use crate::fixture::{NOW, clock};

struct Place(TempDir);

impl Place {
    /// Two keys that live, one that is destroyed.
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        let ring = place.ring();
        for hour in 1..=3 {
            ring.get_or_create(&KeyName::of_path(Path::new(&format!("seal.{hour}.key"))).unwrap())
                .unwrap();
        }
        ring.destroy(&KeyName::of_path(Path::new("seal.2.key")).unwrap(), "test").unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ring(&self) -> KeyRing {
        let time = clock(&Arc::new(AtomicI64::new(NOW.0)));
        KeyRing::create(&self.at("ring"), &self.at("kek"), &self.at("ledger"), &time).unwrap()
    }

    fn verify(&self) -> Verified {
        KeyRing::verify(&self.at("ring"), &self.at("kek"), &self.at("ledger")).unwrap()
    }

    /// The one finding, without the folder.
    #[track_caller]
    fn finding(&self) -> String {
        let verified = self.verify();
        let [finding] = &verified.findings[..] else { panic!("{:?}", verified.findings) };
        finding.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }

    fn ledger(&self) -> Vec<String> {
        fs::read_to_string(self.at("ledger")).unwrap().lines().map(str::to_owned).collect()
    }

    fn set_ledger(&self, lines: &[String]) {
        fs::write(self.at("ledger"), lines.join("\n") + "\n").unwrap();
    }
}

#[test]
fn what_is_as_it_should_be_is_counted() {
    let place = Place::new();
    let expected = Verified {
        lines: 5,
        alive: 2,
        destroyed: vec![KeyName::of_path(Path::new("seal.2.key")).unwrap()],
        findings: Vec::new(),
    };
    assert_eq!(place.verify(), expected);
    KeyRing::rotate(&place.at("ring"), &place.at("kek")).unwrap();
    assert_eq!(place.verify(), expected);
}

#[test]
fn a_key_that_came_back_is_found() {
    let place = Place::new();
    fs::copy(place.at("ring/keys/seal.1.key"), place.at("ring/keys/seal.2.key")).unwrap();
    let finding = place.finding();
    assert_eq!(finding, "ring/keys/seal.2.key: the key is destroyed by the ledger, and here it is");
}

#[test]
fn a_key_that_is_gone_is_found() {
    let place = Place::new();
    fs::remove_file(place.at("ring/keys/seal.3.key")).unwrap();
    assert!(place.finding().starts_with("ring/keys/seal.3.key: the key lives by the ledger"));
}

#[test]
fn every_flipped_bit_of_a_key_file_is_found_and_named() {
    let place = Place::new();
    let path = place.at("ring/keys/seal.3.key");
    let whole = fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, flipped).unwrap();
        let finding = place.finding();
        assert!(finding.starts_with("ring/keys/seal.3.key: it does not open"), "{bit}: {finding}");
    }
}

#[test]
fn another_key_of_the_same_name_is_found() {
    let place = Place::new();
    let path = place.at("ring/keys/seal.3.key");
    fs::remove_file(&path).unwrap();
    let kek = file::read_kek(&place.at("kek")).unwrap();
    let name = KeyName::of_path(&path).unwrap();
    fs::write(&path, KeyFile::random(NOW).unwrap().sealed(&name, &kek).unwrap()).unwrap();
    assert!(place.finding().contains("another commitment"), "{}", place.finding());
}

#[test]
fn what_is_no_key_is_found_and_what_a_crash_left_is_not() {
    let place = Place::new();
    fs::write(place.at("ring/keys/seal.3.key.0011.tmp"), b"torn").unwrap();
    assert_eq!(place.verify().findings, []);
    fs::write(place.at("ring/keys/copy of seal.3.key"), b"").unwrap();
    assert!(place.finding().contains("it is no key of the ring"));
}

#[test]
fn a_key_that_the_ledger_does_not_tell_of_is_found() {
    let place = Place::new();
    let path = place.at("ring/keys/seal.9.key");
    let kek = file::read_kek(&place.at("kek")).unwrap();
    let name = KeyName::of_path(&path).unwrap();
    fs::write(&path, KeyFile::random(NOW).unwrap().sealed(&name, &kek).unwrap()).unwrap();
    assert_eq!(place.finding(), "ring/keys/seal.9.key: the ledger does not tell of it");
}

#[test]
fn a_line_that_was_changed_left_out_or_moved_is_named() {
    let place = Place::new();
    let lines = place.ledger();
    for line in 0..lines.len() - 1 {
        let mut changed = lines.clone();
        changed[line] = changed[line].replacen("\"at\":\"20", "\"at\":\"19", 1);
        assert_ne!(changed, lines);
        place.set_ledger(&changed);
        let named = format!("ledger, line {}", line + 2);
        assert!(place.finding().starts_with(&named), "{}", place.finding());

        let mut shorter = lines.clone();
        shorter.remove(line);
        place.set_ledger(&shorter);
        let findings = place.verify().findings;
        let named = format!("ledger, line {}", line + 1);
        assert!(findings.iter().any(|finding| finding.place.ends_with(&named)), "{findings:?}");
    }
    let mut moved = lines.clone();
    moved.swap(1, 3);
    place.set_ledger(&moved);
    assert!(!place.verify().findings.is_empty());
}

#[test]
fn a_ledger_whose_end_was_cut_off_is_found() {
    let place = Place::new();
    let lines = place.ledger();
    place.set_ledger(&lines[..lines.len() - 1]);
    let findings: Vec<String> = place.verify().findings.iter().map(ToString::to_string).collect();
    assert!(findings.iter().any(|finding| finding.contains("not in it any more")), "{findings:?}");
    // The last line itself, changed.
    let mut changed = lines.clone();
    let last = changed.last_mut().unwrap();
    *last = last.replace("\"test\"", "\"other\"");
    place.set_ledger(&changed);
    assert!(place.finding().contains("ledger.head"), "{}", place.finding());
}

#[test]
fn a_line_torn_by_a_crash_is_part_of_the_chain() {
    let place = Place::new();
    let text = fs::read_to_string(place.at("ledger")).unwrap();
    fs::write(place.at("ledger"), text + "{\"at\":\"20").unwrap();
    drop(place.ring());
    let seal = KeyName::of_path(Path::new("seal.7.key")).unwrap();
    place.ring().get_or_create(&seal).unwrap();
    let verified = place.verify();
    assert_eq!((verified.findings, verified.alive), (Vec::new(), 3));
}

#[test]
fn the_ring_of_another_installation_is_refused_though_its_key_encryption_key_is_right() {
    let (place, other) = (Place::new(), TempDir::new().unwrap());
    let time = clock(&Arc::new(AtomicI64::new(NOW.0)));
    let at = |name: &str| other.path().join(name);
    fs::copy(place.at("kek"), at("kek")).unwrap();
    drop(KeyRing::create(&at("ring"), &at("kek"), &at("ledger"), &time).unwrap());
    let open = |ring: &Path, ledger: &Path| KeyRing::open(ring, &at("kek"), ledger, &time);
    assert!(open(&at("ring"), &at("ledger")).is_ok());
    assert!(matches!(open(&at("ring"), &place.at("ledger")), Err(Error::AnotherRing { .. })));
    assert!(matches!(open(&place.at("ring"), &at("ledger")), Err(Error::AnotherRing { .. })));
    assert!(open(&place.at("ring"), &place.at("ledger")).is_ok());
}

#[test]
fn a_ledger_from_before_the_chain_stays_readable() {
    let place = Place::new();
    let lines: Vec<String> = place
        .ledger()
        .iter()
        .skip(1)
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            line.as_object_mut().unwrap().remove("before");
            line.to_string()
        })
        .collect();
    place.set_ledger(&lines);
    drop(place.ring());
    let verified = place.verify();
    assert_eq!((verified.findings, verified.lines), (Vec::new(), 5), "the ring's line is the last");
    let mut changed = place.ledger();
    changed[3] = changed[3].replace("\"test\"", "\"other\"");
    place.set_ledger(&changed);
    assert!(!place.verify().findings.is_empty());
}
