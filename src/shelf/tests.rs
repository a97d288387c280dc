//! Against moto's S3 API, with folders beside it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use anonymizer::shared::{SETTLE_AFTER_MS, STALE_AFTER_MS};
use anonymizer::shelf::conformance;
use anonymizer::{KeyName, KeyRing, KeyState, Sharing, Shelves};
use cluster::{Proxy, S3};
use schemas::{Clock, Millis};

use super::*;

const NOW: Millis = Millis(1_795_435_200_000);

fn shelf(url: &str, options: &BTreeMap<String, String>) -> Arc<dyn Shelf> {
    Arc::new(Objects::open(Root::parse(url, options).unwrap()).unwrap())
}

fn seal(hour: u32) -> KeyName {
    KeyName::Seal { hour, generation: 0 }
}

/// A ring in a bucket, its ledger in another, and a steady clock that tests set.
struct Ring {
    url: String,
    ledger: String,
    place: tempfile::TempDir,
    steady: Arc<AtomicI64>,
}

impl Ring {
    fn new(name: &str) -> Self {
        let s3 = S3::shared();
        let place = tempfile::tempdir().unwrap();
        KeyRing::make_key_encryption_key(&place.path().join("kek")).unwrap();
        let url = format!("{}/ring", s3.bucket(&format!("{name}-keys")));
        let ledger = s3.bucket(&format!("{name}-ledger"));
        Self { url, ledger, place, steady: Arc::new(AtomicI64::new(1)) }
    }

    fn shelves(&self, options: &BTreeMap<String, String>) -> Shelves {
        let (ring, ledger) = (shelf(&self.url, options), shelf(&self.ledger, options));
        Shelves { ring, ledger, ledger_name: "keys.jsonl".to_owned() }
    }

    fn kek(&self) -> PathBuf {
        self.place.path().join("kek")
    }

    fn node(&self, options: &BTreeMap<String, String>) -> Result<KeyRing, Error> {
        let time: Clock = Arc::new(|| NOW);
        let steady = Arc::clone(&self.steady);
        let steady: Clock = Arc::new(move || Millis(steady.load(Ordering::Relaxed)));
        KeyRing::create_on(&self.shelves(options), &self.kek(), &time, Sharing::Shared { steady })
    }
}

#[test]
fn an_object_store_is_a_shelf() {
    let s3 = S3::shared();
    let url = format!("{}/below/a/prefix", s3.bucket("conformance"));
    let options = s3.options();
    conformance::all(&|| Box::new(Objects::open(Root::parse(&url, &options).unwrap()).unwrap()));
}

#[test]
fn a_bucket_with_versions_is_refused_before_and_after_it_is_used() {
    let s3 = S3::shared();
    let url = s3.versioned_bucket("versions");
    let root = Root::parse(&url, &s3.options()).unwrap();
    let refused = format!("{:#}", Objects::open(root).err().unwrap());
    assert!(refused.contains("version"), "{refused}");

    // Versions that somebody switches on later are met when a key is to be destroyed.
    let url = s3.bucket("versions-later");
    let shelf = shelf(&url, &s3.options());
    shelf.create("key", b"secret").unwrap();
    assert_eq!(s3.versioned_bucket("versions-later"), url);
    assert!(matches!(shelf.wipe("key"), Err(Error::Versions(_))));
}

/// Six nodes make the same keys at once in a bucket: one of each, no byte of one in any object, and what one node
/// destroys is gone for all.
#[test]
fn nodes_share_a_ring_in_a_bucket() {
    const NODES: u32 = 6;
    const HOURS: u32 = 4;
    let ring = Ring::new("shared");
    let options = S3::shared().options();
    let nodes: Vec<KeyRing> = (0..NODES).map(|_| ring.node(&options).unwrap()).collect();
    thread::scope(|scope| {
        for (index, node) in (0..).zip(&nodes) {
            scope.spawn(move || {
                for hour in 0..HOURS {
                    node.get_or_create(&seal((hour + index) % HOURS)).unwrap();
                }
            });
        }
    });
    // A key's commitment is in the ledger once, and every node opens what is committed to.
    let verified = KeyRing::verify_on(&ring.shelves(&options), &ring.kek()).unwrap();
    assert_eq!((verified.findings, verified.alive), (Vec::new(), 4));

    let destroyed: Vec<bool> = thread::scope(|scope| {
        let destroy = |node| scope.spawn(move || KeyRing::destroy(node, &seal(1), "test").is_ok());
        let threads: Vec<_> = nodes[..2].iter().map(destroy).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(destroyed.contains(&true));
    for node in &nodes {
        node.refresh().unwrap();
        assert!(matches!(node.get_or_create(&seal(1)), Err(Error::Destroyed(_))));
        assert!(node.existing(&seal(2)).is_some());
    }
    let entries = nodes[5].list().unwrap();
    let gone = entries.iter().filter(|entry| entry.state == KeyState::Destroyed);
    assert_eq!((entries.len(), gone.count()), (4, 1));
    drop(nodes);
    let shelf = shelf(&ring.url, &options);
    assert!(shelf.list("nodes").unwrap().is_empty(), "who leaves takes its sign along");
    let verified = KeyRing::verify_on(&ring.shelves(&options), &ring.kek()).unwrap();
    assert_eq!((verified.findings, verified.alive), (Vec::new(), 3));
    // The key-encryption key is on no node's shelf.
    let kek = std::fs::read_to_string(ring.kek()).unwrap();
    let kek = data_encoding::HEXLOWER.decode(kek.trim_end().as_bytes()).unwrap();
    for name in shelf.list("").unwrap().into_iter().chain(shelf.list("keys").unwrap()) {
        let bytes = shelf.read(&name).unwrap().unwrap();
        assert!(!bytes.windows(kek.len()).any(|part| part == kek), "{name}");
    }
}

#[test]
fn a_node_that_loses_the_bucket_stops_and_goes_on_when_it_is_back() {
    let ring = Ring::new("lost");
    let s3 = S3::shared();
    let proxy = Proxy::start(s3.address());
    let mut options = S3::options_at(proxy.address());
    options.insert("aws_timeout".to_owned(), "1 second".to_owned());
    let (cut, other) = (ring.node(&options).unwrap(), ring.node(&s3.options()).unwrap());
    for hour in 1..=2 {
        cut.get_or_create(&seal(hour)).unwrap();
    }
    proxy.shut();
    ring.steady.fetch_add(STALE_AFTER_MS, Ordering::Relaxed);
    assert!(cut.refresh().is_err());
    assert!(matches!(cut.get_or_create(&seal(1)), Err(Error::Stale(_))));
    other.refresh().unwrap();
    other.destroy(&seal(1), "test").unwrap();
    proxy.open();
    cut.refresh().unwrap();
    assert!(matches!(cut.get_or_create(&seal(1)), Err(Error::Destroyed(_))));
    cut.get_or_create(&seal(2)).unwrap();
}

#[test]
fn the_key_encryption_key_of_a_ring_in_a_bucket_rotates_when_nobody_is_at_work() {
    let ring = Ring::new("rotated");
    let options = S3::shared().options();
    let node = ring.node(&options).unwrap();
    node.get_or_create(&seal(1)).unwrap();
    let rotate = |wait: &mut dyn FnMut(i64)| {
        KeyRing::rotate_on(shelf(&ring.url, &options).as_ref(), &ring.kek(), wait)
    };
    assert!(matches!(rotate(&mut |_| node.refresh().unwrap()), Err(Error::Busy(_))));
    let mut waited = 0;
    rotate(&mut |ms| waited += ms).unwrap();
    assert_eq!(waited, SETTLE_AFTER_MS, "a node that was silent may be cut off");
    assert!(matches!(node.refresh(), Err(Error::Rotated(_))));
    assert!(ring.node(&options).unwrap().existing(&seal(1)).is_some());
}
