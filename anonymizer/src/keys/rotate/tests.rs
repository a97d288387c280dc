use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use schemas::Millis;
use tempfile::TempDir;

use super::super::{KeyRing, KeyState};
use super::*;
use crate::fixture::{NOW, clock};
use crate::shelf::Folder;

fn now() -> schemas::Clock {
    clock(&Arc::new(AtomicI64::new(NOW.0)))
}

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn create(&self) -> KeyRing {
        let [ring, kek, ledger] = ["ring", "kek", "ledger"].map(|name| self.at(name));
        KeyRing::create(&ring, &kek, &ledger, &now()).unwrap()
    }

    fn open(&self) -> Result<KeyRing, Error> {
        let [ring, kek, ledger] = ["ring", "kek", "ledger"].map(|name| self.at(name));
        KeyRing::open(&ring, &kek, &ledger, &now())
    }

    fn rotate(&self, step: Step<'_>) -> Result<(), Error> {
        let ring = Folder::new(self.at("ring"));
        rotate(&ring, &self.at("kek"), &mut |_| (), step)
    }

    /// Names of all files, and whether `bytes` stand in one of them.
    fn holds(&self, bytes: &[u8]) -> bool {
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if fs::read(&path).unwrap().windows(bytes.len()).any(|part| part == bytes) {
                    return true;
                }
            }
        }
        false
    }
}

fn names() -> Vec<KeyName> {
    vec![
        KeyName::of_path(Path::new("seal.7.key")).unwrap(),
        KeyName::Pseudonym { family: "web".into(), epoch: 3 },
        KeyName::Dedupe { family: "web".into(), generation: 4 },
    ]
}

fn keys(ring: &KeyRing) -> BTreeMap<KeyName, Vec<u8>> {
    let bytes = |name: KeyName| {
        let key = ring.existing(&name).unwrap_or_else(|| panic!("{name} is lost"));
        (name, key.bytes().to_vec())
    };
    names().into_iter().map(bytes).collect()
}

fn filled(place: &Place) -> BTreeMap<KeyName, Vec<u8>> {
    let ring = place.create();
    for name in names() {
        ring.get_or_create(&name).unwrap();
    }
    keys(&ring)
}

#[test]
fn keys_stay_and_the_old_key_encryption_key_opens_nothing() {
    let place = Place::new();
    let before = filled(&place);
    let old = fs::read(place.at("kek")).unwrap();
    let sealed: Vec<Vec<u8>> = names()
        .iter()
        .map(|name| place.at("ring/keys").join(format!("{}.key", name.file_stem())))
        .map(|path| fs::read(path).unwrap()[37..].to_vec())
        .collect();
    assert!(place.holds(&old) && sealed.iter().all(|sealed| place.holds(sealed)));
    // Other names of the same files, as a snapshot of names would be: overwritten with them.
    fs::hard_link(place.at("kek"), place.at("kept kek")).unwrap();
    fs::hard_link(place.at("ring/keys/seal.7.key"), place.at("kept key")).unwrap();
    place.rotate(&mut || Ok(())).unwrap();

    assert_eq!(keys(&place.open().unwrap()), before);
    assert!(!place.holds(&old), "overwritten, not only unlinked");
    assert!(!sealed.iter().any(|sealed| place.holds(sealed)));
    assert!(!unfinished(&place.at("kek")));
    fs::write(place.at("kek"), &old).unwrap();
    assert!(matches!(place.open(), Err(Error::WrongKek { .. })));
    let old = file::read_kek(&place.at("kek")).unwrap();
    for name in names() {
        let path = place.at("ring/keys").join(format!("{}.key", name.file_stem()));
        let bytes = fs::read(path).unwrap();
        assert!(matches!(KeyFile::open(bytes, &name, &old), Err(Error::DamagedKey(_))));
    }
}

/// Killed between every two changes of files, the next to open the ring finishes.
#[test]
fn a_rotation_that_stops_anywhere_is_finished_by_the_next_open() {
    let mut stops = 0;
    loop {
        let place = Place::new();
        let before = filled(&place);
        let old = fs::read(place.at("kek")).unwrap();
        let mut left = stops;
        let stopped = place.rotate(&mut || {
            left -= 1;
            if left < 0 { Err(Error::Crypto("go on")) } else { Ok(()) }
        });
        let ring = place.open().unwrap_or_else(|error| panic!("after step {stops}: {error}"));
        assert_eq!(keys(&ring), before, "after step {stops}");
        assert!(ring.list().unwrap().iter().all(|key| key.state == KeyState::Alive));
        assert!(!unfinished(&place.at("kek")), "after step {stops}");
        // Before the second step there is no other key yet.
        assert_eq!(place.holds(&old), stops < 1, "after step {stops}");
        if stopped.is_ok() {
            break;
        }
        drop(ring);
        // And one that stops while it is finished.
        place.rotate(&mut || Ok(())).unwrap();
        assert_eq!(keys(&place.open().unwrap()), before);
        stops += 1;
    }
    assert!(stops > 8, "{stops} steps");
}

#[test]
fn a_ring_in_use_is_not_rotated() {
    let place = Place::new();
    filled(&place);
    let (one, other) = (place.open().unwrap(), place.open().unwrap());
    assert!(matches!(place.rotate(&mut || Ok(())), Err(Error::Busy(_))));
    drop(one);
    assert!(matches!(place.rotate(&mut || Ok(())), Err(Error::Busy(_))));
    drop(other);
    place.rotate(&mut || Ok(())).unwrap();
}

#[test]
fn an_unfinished_rotation_waits_for_whoever_uses_the_ring() {
    let place = Place::new();
    filled(&place);
    let ring = place.open().unwrap();
    file::write_kek(&next_path(&place.at("kek"))).unwrap();
    assert!(matches!(place.open(), Err(Error::Busy(_))));
    drop(ring);
    place.open().unwrap();
}

#[test]
fn a_ring_with_another_key_encryption_key_is_not_rotated() {
    let (place, other) = (Place::new(), Place::new());
    let before = filled(&place);
    filled(&other);
    let own = fs::read(place.at("kek")).unwrap();
    fs::copy(other.at("kek"), place.at("kek")).unwrap();
    assert!(matches!(place.rotate(&mut || Ok(())), Err(Error::WrongKek { .. })));
    fs::write(place.at("kek"), own).unwrap();
    assert_eq!(keys(&place.open().unwrap()), before);
}

#[test]
fn creation_times_survive() {
    let place = Place::new();
    filled(&place);
    place.rotate(&mut || Ok(())).unwrap();
    let kek = file::read_kek(&place.at("kek")).unwrap();
    for name in names() {
        let path = place.at("ring/keys").join(format!("{}.key", name.file_stem()));
        let created: Millis = KeyFile::open(fs::read(path).unwrap(), &name, &kek).unwrap().created;
        assert_eq!(created, NOW);
    }
}
