use std::fs;
use std::sync::atomic::{AtomicI64, Ordering};

use schemas::time::{DAY_MS, HOUR_MS, epoch_of};
use tempfile::TempDir;

use super::*;
use crate::fixture::{DEVICES, NOW, WEB, clock, package};

/// A folder with room for a ring, its key-encryption key, and its ledger.
struct Place {
    folder: TempDir,
    time: Arc<AtomicI64>,
}

impl Place {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), time: Arc::new(AtomicI64::new(NOW.0)) }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn create(&self) -> Result<KeyRing, Error> {
        KeyRing::create(&self.at("ring"), &self.at("kek"), &self.at("ledger"), &clock(&self.time))
    }

    fn open(&self) -> Result<KeyRing, Error> {
        KeyRing::open(&self.at("ring"), &self.at("kek"), &self.at("ledger"), &clock(&self.time))
    }

    fn ledger(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.at("ledger")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Whether `bytes` stand in any file of the folder, plain or in hexadecimal.
    fn holds(&self, bytes: &[u8]) -> bool {
        let hexadecimal = file::hexadecimal(bytes);
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let content = fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&content).to_lowercase();
                if content.windows(bytes.len()).any(|part| part == bytes)
                    || text.contains(&hexadecimal)
                {
                    return true;
                }
            }
        }
        false
    }
}

fn seal(hour: u32) -> KeyName {
    KeyName::Seal { hour, generation: 0 }
}

fn epoch(family: &str, epoch: i32) -> KeyName {
    KeyName::Pseudonym { family: family.into(), epoch }
}

#[test]
fn a_key_is_made_once_and_found_again() {
    let place = Place::new();
    let ring = place.create().unwrap();
    assert!(ring.existing(&seal(1)).is_none());
    let key = ring.get_or_create(&seal(1)).unwrap();
    assert_eq!(ring.get_or_create(&seal(1)).unwrap().bytes(), key.bytes());
    assert_ne!(ring.get_or_create(&seal(2)).unwrap().bytes(), key.bytes());
    let again = place.open().unwrap();
    assert_eq!(again.existing(&seal(1)).unwrap().bytes(), key.bytes());
    assert_eq!(place.create().unwrap().existing(&seal(1)).unwrap().bytes(), key.bytes());
}

#[test]
fn two_processes_share_a_ring() {
    let place = Place::new();
    let (one, other) = (place.create().unwrap(), place.open().unwrap());
    let key = one.get_or_create(&seal(1)).unwrap();
    assert_eq!(other.get_or_create(&seal(1)).unwrap().bytes(), key.bytes());
    other.destroy(&seal(1), "test").unwrap();
    // The first has a copy in memory until it next makes a key.
    let version = one.version();
    one.get_or_create(&seal(2)).unwrap();
    assert!(one.existing(&seal(1)).is_none());
    assert_ne!(one.version(), version);
    assert!(matches!(one.get_or_create(&seal(1)), Err(Error::Destroyed(_))));
}

#[test]
fn what_is_missing_is_not_made_up() {
    let place = Place::new();
    assert!(matches!(place.open(), Err(Error::NoRing(_))));
    place.create().unwrap();
    fs::remove_file(place.at("kek")).unwrap();
    assert!(matches!(place.open(), Err(Error::NoKek(_))));
    assert!(matches!(place.create(), Err(Error::NoKek(_))));
    assert!(!place.at("kek").exists());
}

#[test]
fn another_key_encryption_key_is_refused() {
    let (place, other) = (Place::new(), Place::new());
    place.create().unwrap();
    other.create().unwrap();
    fs::copy(other.at("kek"), place.at("kek")).unwrap();
    assert!(matches!(place.open(), Err(Error::WrongKek { .. })));
    assert!(matches!(place.create(), Err(Error::WrongKek { .. })));
    for wrong in ["", "short\n", "zz", &"g".repeat(64), &"00".repeat(33)] {
        fs::write(place.at("kek"), wrong).unwrap();
        assert!(matches!(place.open(), Err(Error::WrongKek { .. })), "{wrong}");
    }
}

#[cfg(unix)]
#[test]
fn secrets_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let ring = place.create().unwrap();
    ring.get_or_create(&seal(1)).unwrap();
    for path in [place.at("kek"), ring.path(&seal(1))] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    fs::set_permissions(place.at("kek"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(place.open(), Err(Error::WrongKek { .. })));
}

#[test]
fn a_key_in_the_wrong_file_is_found_out() {
    let place = Place::new();
    let ring = place.create().unwrap();
    ring.get_or_create(&seal(1)).unwrap();
    fs::copy(ring.path(&seal(1)), ring.path(&seal(2))).unwrap();
    assert!(matches!(place.open(), Err(Error::DamagedKey(_))));
    fs::remove_file(ring.path(&seal(2))).unwrap();
    let mut bytes = fs::read(ring.path(&seal(1))).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(ring.path(&seal(1)), bytes).unwrap();
    let ring = place.open().unwrap();
    assert!(matches!(ring.get_or_create(&seal(1)), Err(Error::DamagedKey(_))));
}

#[test]
fn nothing_is_left_of_a_destroyed_key() {
    let place = Place::new();
    let ring = place.create().unwrap();
    let key = ring.get_or_create(&seal(1)).unwrap();
    let file = fs::read(ring.path(&seal(1))).unwrap();
    let sealed = file[file.len() - 48..].to_vec();
    assert!(place.holds(&sealed), "the search works");
    assert!(!place.holds(key.bytes().as_slice()), "in clear it never was there");
    // A second name of the file, as a crash while making the key leaves one, is overwritten with it.
    fs::hard_link(ring.path(&seal(1)), place.at("left over")).unwrap();
    ring.destroy(&seal(1), "test").unwrap();
    assert!(!place.holds(&sealed));
    assert!(!ring.path(&seal(1)).exists());
    assert!(ring.existing(&seal(1)).is_none());
    assert!(matches!(ring.get_or_create(&seal(1)), Err(Error::Destroyed(_))));
    assert!(matches!(ring.destroy(&seal(1), "test"), Err(Error::NoKey(_))));
    let again = place.open().unwrap();
    assert!(matches!(again.get_or_create(&seal(1)), Err(Error::Destroyed(_))));
}

#[test]
fn the_ledger_tells_of_births_and_deaths() {
    let place = Place::new();
    let ring = place.create().unwrap();
    let key = ring.get_or_create(&epoch("web", 7)).unwrap();
    place.time.fetch_add(HOUR_MS, Ordering::Relaxed);
    ring.destroy(&epoch("web", 7), "epoch and grace are over").unwrap();
    let lines = place.ledger();
    assert_eq!(lines.len(), 3, "the first names the ring");
    assert_eq!(lines[1]["action"], "created");
    assert_eq!(lines[1]["key"], "pseudonym/web/7");
    assert_eq!(lines[1]["at"], NOW.to_string());
    assert_eq!(lines[2]["action"], "destroyed");
    assert_eq!(lines[2]["why"], "epoch and grace are over");
    assert_eq!(lines[2]["commitment"], lines[1]["commitment"]);
    assert!(!lines[1].to_string().contains(&file::hexadecimal(key.bytes().as_slice())));

    let entries = ring.list().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].state, entries[0].created), (KeyState::Destroyed, NOW));
    assert_eq!(entries[0].destroyed, Some(NOW.plus(HOUR_MS)));
}

#[test]
fn a_ledger_without_a_new_line_is_not_listed_again() {
    let place = Place::new();
    let ring = place.create().unwrap();
    ring.get_or_create(&seal(1)).unwrap();
    let (lines, entries) = ring.list_since(0).unwrap().unwrap();
    assert_eq!((entries.len(), entries[0].destroyed), (1, None));
    assert!(ring.list_since(lines).unwrap().is_none());
    // What another process does is seen, too.
    place.open().unwrap().get_or_create(&seal(2)).unwrap();
    let (more, entries) = ring.list_since(lines).unwrap().unwrap();
    assert_eq!((more, entries.len()), (lines + 1, 2));
}

#[test]
fn a_crash_between_file_and_ledger_is_made_good() {
    let place = Place::new();
    let ring = place.create().unwrap();
    ring.get_or_create(&seal(1)).unwrap();
    ring.get_or_create(&seal(2)).unwrap();
    // Killed after the file of the second key, within its line.
    let text = fs::read_to_string(place.at("ledger")).unwrap();
    let torn = &text[..text.len() - 20];
    fs::write(place.at("ledger"), torn).unwrap();
    place.open().unwrap();
    let ring = place.open().unwrap();
    assert_eq!(ring.list().unwrap().len(), 2);
    // Killed after the line of a destruction, before the file went.
    let key = fs::read(ring.path(&seal(2))).unwrap();
    ring.destroy(&seal(2), "test").unwrap();
    fs::write(ring.path(&seal(2)), key).unwrap();
    let ring = place.open().unwrap();
    assert!(!ring.path(&seal(2)).exists());
    assert_eq!(ring.list().unwrap().iter().filter(|key| key.state == KeyState::Alive).count(), 1);
}

#[test]
fn a_ledger_that_cannot_be_read_refuses_to_start() {
    let place = Place::new();
    place.create().unwrap();
    fs::write(place.at("ledger"), "{\"at\":\"yesterday\"}\n").unwrap();
    assert!(matches!(place.open(), Err(Error::Ledger { line: 1, .. })));
}

const RETENTION_MS: i64 = 72 * HOUR_MS;
const RETENTION_MAX_MS: i64 = 96 * HOUR_MS;

fn retire(ring: &KeyRing, now: Millis, through: Option<u32>) -> Vec<KeyName> {
    ring.retire(&package(), now, through, RETENTION_MS, RETENTION_MAX_MS).unwrap()
}

#[test]
fn a_sealing_key_waits_for_its_frames_but_not_for_ever() {
    let place = Place::new();
    let ring = place.create().unwrap();
    let hour = NOW.hour();
    let end = Millis((i64::from(hour) + 1) * HOUR_MS);
    ring.get_or_create(&seal(hour)).unwrap();
    assert_eq!(retire(&ring, end.plus(RETENTION_MS - 1), Some(hour)), []);
    assert_eq!(retire(&ring, end.plus(RETENTION_MS), Some(hour - 1)), []);
    assert_eq!(retire(&ring, end.plus(RETENTION_MS), None), []);
    assert_eq!(retire(&ring, end.plus(RETENTION_MAX_MS - 1), None), []);
    assert!(ring.existing(&seal(hour)).is_some());
    assert_eq!(retire(&ring, end.plus(RETENTION_MS), Some(hour)), [seal(hour)]);
    assert!(ring.existing(&seal(hour)).is_none());

    ring.get_or_create(&seal(hour + 1)).unwrap();
    assert_eq!(retire(&ring, end.plus(HOUR_MS + RETENTION_MAX_MS), None), [seal(hour + 1)]);
}

#[test]
fn a_pseudonym_key_dies_with_its_epoch_and_grace() {
    let place = Place::new();
    let ring = place.create().unwrap();
    let package = package();
    for family in [DEVICES, WEB] {
        let family = &package.families[family];
        let current = epoch_of(NOW, family.epoch_days);
        let name = epoch(&family.name, current);
        ring.get_or_create(&name).unwrap();
        let over = epoch_end(family, current).plus(family.grace_ms());
        assert_eq!(retire(&ring, over, None), []);
        assert_eq!(retire(&ring, over.plus(1), None), [name]);
    }
}

#[test]
fn a_key_for_imported_history_lives_for_the_grace() {
    let place = Place::new();
    let ring = place.create().unwrap();
    let old = epoch("web", epoch_of(NOW, 1) - 30);
    ring.get_or_create(&old).unwrap();
    assert_eq!(retire(&ring, NOW.plus(48 * HOUR_MS), None), []);
    assert_eq!(retire(&ring, NOW.plus(48 * HOUR_MS + 1), None), [old]);
}

#[test]
fn an_event_key_outlives_every_retry() {
    let place = Place::new();
    let ring = place.create().unwrap();
    let package = package();
    let family = &package.families[DEVICES];
    let generation = i32::try_from(i64::from(NOW.day()) / window_days(family)).unwrap();
    let name = KeyName::Dedupe { family: family.name.clone(), generation };
    ring.get_or_create(&name).unwrap();
    let end = Millis((i64::from(generation) + 2) * 2 * DAY_MS);
    let over = end.plus(family.late_ms + RETENTION_MAX_MS + family.grace_ms());
    assert_eq!(retire(&ring, over, None), []);
    assert_eq!(retire(&ring, over.plus(1), None), [name]);
}

#[test]
fn keys_of_families_that_left_go_too() {
    let place = Place::new();
    let ring = place.create().unwrap();
    ring.get_or_create(&epoch("gone", 1)).unwrap();
    assert_eq!(retire(&ring, NOW.plus(29 * DAY_MS), None), []);
    assert_eq!(retire(&ring, NOW.plus(31 * DAY_MS), None), [epoch("gone", 1)]);
}
