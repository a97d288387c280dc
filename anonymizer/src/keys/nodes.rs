//! Tests with many nodes on one ring: on folders, and on a shelf in memory that fails as a seed says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Barrier;
use std::sync::atomic::AtomicI64;
use std::thread;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::fixture::{NOW, clock};
use crate::shared::{SETTLE_AFTER_MS, STALE_AFTER_MS};
use crate::shelf::memory::{Memory, Store, Turns};

/// A ring on shelves in memory, and what every node has of its own.
struct Cluster {
    ring: Store,
    ledger: Store,
    place: TempDir,
    steady: Arc<AtomicI64>,
}

impl Cluster {
    fn new() -> Self {
        let (ring, ledger) = (Store::default(), Store::default());
        let place = TempDir::new().unwrap();
        let cluster = Self { ring, ledger, place, steady: Arc::new(AtomicI64::new(7)) };
        assert!(KeyRing::make_key_encryption_key(&cluster.kek()).unwrap());
        cluster.node().unwrap();
        cluster
    }

    fn kek(&self) -> PathBuf {
        self.place.path().join("kek")
    }

    fn shelves(&self, ring: &Memory) -> Shelves {
        let ledger = Arc::new(ring.with(&self.ledger));
        Shelves { ring: Arc::new(ring.clone()), ledger, ledger_name: "keys.jsonl".to_owned() }
    }

    fn node(&self) -> Result<KeyRing, Error> {
        self.node_on(&self.ring.handle())
    }

    fn node_on(&self, shelf: &Memory) -> Result<KeyRing, Error> {
        self.node_with(shelf, &self.kek())
    }

    fn node_with(&self, shelf: &Memory, kek: &Path) -> Result<KeyRing, Error> {
        let time = clock(&Arc::new(AtomicI64::new(NOW.0)));
        let sharing = Sharing::Shared { steady: clock(&self.steady) };
        KeyRing::create_on(&self.shelves(shelf), kek, &time, sharing)
    }

    fn pass(&self, ms: i64) {
        self.steady.fetch_add(ms, Ordering::Relaxed);
    }

    #[track_caller]
    fn is_sound(&self) {
        self.node().unwrap();
        let verified = KeyRing::verify_on(&self.shelves(&self.ring.handle()), &self.kek()).unwrap();
        assert_eq!(verified.findings, []);
    }

    fn rotate(&self, wait: &mut dyn FnMut(i64)) -> Result<(), Error> {
        KeyRing::rotate_on(&self.ring.handle(), &self.kek(), wait)
    }
}

fn seal(hour: u32) -> KeyName {
    KeyName::Seal { hour, generation: 0 }
}

fn bytes(key: &Key) -> Vec<u8> {
    key.bytes().to_vec()
}

/// Eight nodes ask for the same keys at once, in different orders, and get the same.
fn all_get_the_same(node: &(dyn Fn() -> KeyRing + Sync)) {
    const NODES: u32 = 8;
    const HOURS: u32 = 12;
    let start = Barrier::new(NODES.try_into().unwrap());
    let found: Vec<BTreeMap<u32, Vec<u8>>> = thread::scope(|scope| {
        let start = &start;
        let ask = move |index: u32| {
            let ring = node();
            start.wait();
            let hours = (0..HOURS).map(|hour| (hour + index) % HOURS);
            hours.map(|hour| (hour, bytes(&ring.get_or_create(&seal(hour)).unwrap()))).collect()
        };
        let threads: Vec<_> = (0..NODES).map(|index| scope.spawn(move || ask(index))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(found[0].len(), usize::try_from(HOURS).unwrap());
    assert!(found.iter().all(|keys| *keys == found[0]));
}

#[test]
fn nodes_that_ask_at_once_get_the_same_key() {
    let cluster = Cluster::new();
    all_get_the_same(&|| cluster.node().unwrap());
    cluster.is_sound();

    let place = TempDir::new().unwrap();
    let [ring, kek, ledger] = ["ring", "kek", "keys.jsonl"].map(|name| place.path().join(name));
    let time = clock(&Arc::new(AtomicI64::new(NOW.0)));
    KeyRing::make_key_encryption_key(&kek).unwrap();
    all_get_the_same(&|| KeyRing::create(&ring, &kek, &ledger, &time).unwrap());
    let verified = KeyRing::verify(&ring, &kek, &ledger).unwrap();
    assert_eq!((verified.findings, verified.alive), (Vec::new(), 12));
}

/// A node stops at every half call while it makes a key; the next one makes it, or finds it, and it is one.
#[test]
fn a_node_that_crashes_while_it_makes_a_key_leaves_one_or_none() {
    for after in 0.. {
        let cluster = Cluster::new();
        let shelf = cluster.ring.handle();
        let crashing = cluster.node_on(&shelf).unwrap();
        shelf.crash_in(after);
        let made = crashing.get_or_create(&seal(1));
        let (one, other) = (cluster.node().unwrap(), cluster.node().unwrap());
        let key = bytes(&one.get_or_create(&seal(1)).unwrap());
        assert_eq!(bytes(&other.get_or_create(&seal(1)).unwrap()), key, "after {after}");
        cluster.is_sound();
        if let Ok(made) = made {
            assert_eq!(bytes(&made), key);
            assert!(after > 8, "{after} half calls");
            break;
        }
    }
}

/// A node stops at every half call while it destroys a key: it is there or gone for everybody, and not half.
#[test]
fn a_node_that_crashes_while_it_destroys_a_key_leaves_nothing_of_it_or_all() {
    for after in 0.. {
        let cluster = Cluster::new();
        let shelf = cluster.ring.handle();
        let crashing = cluster.node_on(&shelf).unwrap();
        let other = cluster.node().unwrap();
        let key = bytes(&other.get_or_create(&seal(1)).unwrap());
        shelf.crash_in(after);
        let destroyed = crashing.destroy(&seal(1), "test");
        other.refresh().unwrap();
        // Whoever comes next finishes what was begun.
        let next = cluster.node().unwrap();
        let lies = cluster.ring.files().contains_key(&file::key_file(&seal(1)));
        match next.get_or_create(&seal(1)) {
            Ok(found) => {
                assert!(lies && destroyed.is_err(), "after {after}");
                assert_eq!(bytes(&found), key);
            }
            Err(Error::Destroyed(_)) => {
                assert!(!lies, "after {after}");
                assert!(other.existing(&seal(1)).is_none());
                assert!(matches!(other.get_or_create(&seal(1)), Err(Error::Destroyed(_))));
            }
            Err(error) => panic!("after {after}: {error}"),
        }
        cluster.is_sound();
        if destroyed.is_ok() {
            assert!(after > 8, "{after} half calls");
            break;
        }
    }
}

/// What a slow node puts into the place of a destroyed key is nobody's key.
#[test]
fn a_file_that_comes_after_the_destruction_is_not_used() {
    let cluster = Cluster::new();
    let (one, slow) = (cluster.node().unwrap(), cluster.node().unwrap());
    one.get_or_create(&seal(1)).unwrap();
    one.destroy(&seal(1), "test").unwrap();
    // It had looked before the key was ever made, and its file arrives now.
    let late = KeyFile::random(NOW).unwrap();
    cluster.ring.put(&file::key_file(&seal(1)), &late.sealed(&seal(1), &slow.kek).unwrap());
    for ring in [&one, &slow, &cluster.node().unwrap()] {
        assert!(ring.existing(&seal(1)).is_none());
        assert!(matches!(ring.get_or_create(&seal(1)), Err(Error::Destroyed(_))));
    }
    assert!(!cluster.ring.files().contains_key(&file::key_file(&seal(1))));
    // The same while a node still believes that the key lives, because it has not looked.
    let unaware = cluster.node().unwrap();
    one.get_or_create(&seal(2)).unwrap();
    unaware.refresh().unwrap();
    one.destroy(&seal(2), "test").unwrap();
    cluster.ring.put(&file::key_file(&seal(2)), &late.sealed(&seal(2), &slow.kek).unwrap());
    assert!(unaware.existing(&seal(2)).is_none());
    assert!(matches!(unaware.get_or_create(&seal(2)), Err(Error::Destroyed(_))));
    cluster.is_sound();
}

#[test]
fn a_key_that_another_node_destroyed_is_forgotten_at_the_next_look() {
    let cluster = Cluster::new();
    let (one, other) = (cluster.node().unwrap(), cluster.node().unwrap());
    one.get_or_create(&seal(1)).unwrap();
    other.get_or_create(&seal(1)).unwrap();
    other.get_or_create(&seal(2)).unwrap();
    one.destroy(&seal(1), "test").unwrap();
    let version = other.version();
    assert!(other.keys().contains_key(&seal(1)), "it has not looked");
    other.refresh().unwrap();
    assert!(!other.keys().contains_key(&seal(1)) && other.keys().contains_key(&seal(2)));
    assert_ne!(other.version(), version, "what was derived of it goes too");
    let version = other.version();
    other.refresh().unwrap();
    assert_eq!(other.version(), version, "nothing was destroyed since");
}

#[test]
fn a_node_that_is_cut_off_uses_no_key_and_has_none_in_memory() {
    let cluster = Cluster::new();
    let shelf = cluster.ring.handle();
    let (cut, other) = (cluster.node_on(&shelf).unwrap(), cluster.node().unwrap());
    for hour in 1..=2 {
        cut.get_or_create(&seal(hour)).unwrap();
    }
    shelf.cut(true);
    cluster.pass(STALE_AFTER_MS - 1);
    assert!(cut.refresh().is_err());
    assert!(cut.get_or_create(&seal(1)).is_ok() && cut.is_fresh(STALE_AFTER_MS));
    assert!(!cut.is_fresh(STALE_AFTER_MS - 1));
    cluster.pass(1);
    assert!(matches!(cut.get_or_create(&seal(1)), Err(Error::Stale(_))));
    assert!(matches!(cut.get(&seal(1)), Err(Error::Stale(_))));
    assert!(cut.existing(&seal(1)).is_none() && !cut.is_fresh(STALE_AFTER_MS));
    assert!(cut.refresh().is_err());
    assert!(cut.keys().is_empty());

    other.refresh().unwrap();
    other.destroy(&seal(1), "test").unwrap();
    shelf.cut(false);
    assert!(matches!(cut.get_or_create(&seal(2)), Err(Error::Stale(_))), "it has not looked");
    cut.refresh().unwrap();
    cut.get_or_create(&seal(2)).unwrap();
    assert!(matches!(cut.get_or_create(&seal(1)), Err(Error::Destroyed(_))));
}

#[test]
fn the_key_encryption_key_is_not_rotated_while_a_node_is_at_work() {
    let cluster = Cluster::new();
    let at_work = cluster.node().unwrap();
    let key = bytes(&at_work.get_or_create(&seal(1)).unwrap());
    let kek = std::fs::read(cluster.kek()).unwrap();
    let mut waited = 0;
    let rotated = cluster.rotate(&mut |ms| {
        waited += ms;
        at_work.refresh().unwrap();
        assert!(matches!(cluster.node(), Err(Error::Rotating(_))), "nobody joins meanwhile");
    });
    assert!(matches!(rotated, Err(Error::Busy(_))), "{:?}", rotated.err());
    assert_eq!(waited, SETTLE_AFTER_MS);
    assert_eq!(std::fs::read(cluster.kek()).unwrap(), kek);
    assert_eq!(bytes(&cluster.node().unwrap().get_or_create(&seal(1)).unwrap()), key);
    drop(at_work);
    let mut waited = 0;
    cluster.rotate(&mut |ms| waited += ms).unwrap();
    assert_eq!(waited, 0, "whoever has left needs no waiting");
    cluster.is_sound();
}

#[test]
fn a_node_that_was_cut_off_during_a_rotation_stops_for_good() {
    let cluster = Cluster::new();
    let shelf = cluster.ring.handle();
    let cut = cluster.node_on(&shelf).unwrap();
    let key = bytes(&cut.get_or_create(&seal(1)).unwrap());
    let own_kek = cluster.place.path().join("of the other node");
    std::fs::copy(cluster.kek(), &own_kek).unwrap();
    shelf.cut(true);
    let mut waited = 0;
    cluster.rotate(&mut |ms| waited += ms).unwrap();
    assert_eq!(waited, SETTLE_AFTER_MS, "it may have been at work");

    shelf.cut(false);
    assert!(matches!(cut.refresh(), Err(Error::Rotated(_))));
    assert!(matches!(cut.get_or_create(&seal(1)), Err(Error::Rotated(_))));
    assert!(matches!(cut.get_or_create(&seal(2)), Err(Error::Rotated(_))));
    assert!(cut.keys().is_empty() && !cut.is_fresh(i64::MAX));
    let node = |kek: &Path| cluster.node_with(&cluster.ring.handle(), kek);
    assert!(matches!(node(&own_kek), Err(Error::WrongKek { .. })));
    std::fs::copy(cluster.kek(), &own_kek).unwrap();
    assert_eq!(bytes(&node(&own_kek).unwrap().get_or_create(&seal(1)).unwrap()), key);
    cluster.is_sound();
}

/// Stopped at every half call, a rotation keeps other nodes out until it is ended where it was begun.
#[test]
fn a_rotation_that_stops_anywhere_is_ended_by_the_next() {
    for after in 0.. {
        let cluster = Cluster::new();
        let key = bytes(&cluster.node().unwrap().get_or_create(&seal(1)).unwrap());
        let own_kek = cluster.place.path().join("of another node");
        std::fs::copy(cluster.kek(), &own_kek).unwrap();
        let stopped =
            KeyRing::rotate_on(&cluster.ring.crashing(after), &cluster.kek(), &mut |_| ());
        match cluster.node_with(&cluster.ring.handle(), &own_kek) {
            // It had not begun, or is done and the other node's key is an old one.
            Ok(other) => assert_eq!(bytes(&other.get_or_create(&seal(1)).unwrap()), key),
            Err(error) => assert!(
                matches!(error, Error::Rotating(_) | Error::WrongKek { .. }),
                "after {after}: {error}"
            ),
        }
        cluster.rotate(&mut |_| ()).unwrap_or_else(|error| panic!("after {after}: {error}"));
        assert!(!rotate::unfinished(&cluster.kek()));
        std::fs::copy(cluster.kek(), &own_kek).unwrap();
        let other = cluster.node_with(&cluster.ring.handle(), &own_kek).unwrap();
        assert_eq!(bytes(&other.get_or_create(&seal(1)).unwrap()), key, "after {after}");
        cluster.is_sound();
        if stopped.is_ok() {
            assert!(after > 12, "{after} half calls");
            break;
        }
    }
}

#[derive(Clone, Debug)]
enum Deed {
    Ask(u32),
    Destroy(u32),
    Look,
    Restart,
    Reconcile,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        5 => (0..3_u32).prop_map(Deed::Ask),
        2 => (0..3_u32).prop_map(Deed::Destroy),
        2 => Just(Deed::Look),
        1 => Just(Deed::Restart),
        1 => Just(Deed::Reconcile),
    ]
}

/// What all threads saw.
#[derive(Default)]
struct Seen {
    keys: BTreeMap<u32, BTreeSet<Vec<u8>>>,
    destroyed: BTreeSet<u32>,
}

/// One node does what it is told, and dies with its first unexpected answer.
fn act(cluster: &Cluster, shelf: &Memory, deeds: &[Deed], seen: &Mutex<Seen>) {
    let restart = || (0..50).find_map(|_| cluster.node_on(shelf).ok());
    let Some(mut ring) = restart() else { return };
    // Destroyed before this node last looked.
    let mut known = BTreeSet::new();
    for deed in deeds {
        match deed {
            Deed::Ask(hour) => {
                let asked = ring.get_or_create(&seal(*hour));
                match asked {
                    Ok(key) => {
                        assert!(!known.contains(hour), "key {hour} is back");
                        seen.lock().unwrap().keys.entry(*hour).or_default().insert(bytes(&key));
                    }
                    Err(Error::Destroyed(_) | Error::Io { .. } | Error::Contended(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            Deed::Destroy(hour) => match ring.destroy(&seal(*hour), "test") {
                Ok(()) => _ = seen.lock().unwrap().destroyed.insert(*hour),
                Err(Error::NoKey(_) | Error::Io { .. } | Error::Contended(_)) => {}
                Err(error) => panic!("{error}"),
            },
            Deed::Look => {
                let destroyed = seen.lock().unwrap().destroyed.clone();
                if ring.refresh().is_ok() {
                    known = destroyed;
                }
            }
            Deed::Restart => {
                let destroyed = seen.lock().unwrap().destroyed.clone();
                let Some(again) = restart() else { return };
                ring = again;
                known = destroyed;
            }
            Deed::Reconcile => drop(ring.reconcile()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Three nodes make, use and destroy three keys at once; calls come in any order, fail, or happen without an answer.
    #[test]
    fn a_key_is_one_and_once_destroyed_never_back(
        seed in any::<u64>(),
        deeds in prop::collection::vec(prop::collection::vec(deed(), 1..8), 3),
    ) {
        let cluster = Cluster::new();
        let turns = Turns::new(deeds.len(), seed);
        let seen = Mutex::new(Seen::default());
        thread::scope(|scope| {
            for (index, deeds) in deeds.iter().enumerate() {
                let (cluster, turns, seen) = (&cluster, &turns, &seen);
                scope.spawn(move || {
                    let faults = seed.rotate_left(u32::try_from(index).unwrap()) | 1;
                    let shelf = cluster.ring.in_turn(faults, turns, index);
                    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        act(cluster, &shelf, deeds, seen);
                    }));
                    turns.leave(index);
                    if let Err(panic) = done {
                        std::panic::resume_unwind(panic);
                    }
                });
            }
        });
        let Seen { keys, destroyed } = seen.into_inner().unwrap();
        for (hour, found) in &keys {
            prop_assert_eq!(found.len(), 1, "key {} is not one", hour);
            for key in found {
                prop_assert!(!cluster.ring.ever_held(key) && !cluster.ledger.ever_held(key));
            }
        }
        cluster.is_sound();
        let node = cluster.node().unwrap();
        for hour in destroyed {
            prop_assert!(matches!(node.get_or_create(&seal(hour)), Err(Error::Destroyed(_))));
            prop_assert!(!cluster.ring.files().contains_key(&file::key_file(&seal(hour))));
        }
    }
}
