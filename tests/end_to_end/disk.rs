//! The real binary on a disk that fails: full, read-only or broken at seeded calls, and well again after a moment.
//!
//! A small library that is loaded before the C library ([`FAULTS`]) lets calls fail while a control file exists. Every
//! event bears a number of its own, and clients send again what was not acknowledged, as the answer asks them to: in the
//! end each number has to be in the tables exactly once.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use datafusion::prelude::SessionContext;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::support::place::{Place, Service};
use crate::support::{search, succeed};

/// Compiled by the test: C, because the library stands between the binary and the system.
const FAULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/end_to_end/faults/full.c");
/// Lives of the process, each so many hours of its clock after the one before: new keys and periods that close, frames
/// and keys that go, but no rows yet.
const LIVES: u64 = 10;
const LIFE_HOURS: u64 = 4;
/// How long a service may take to answer 202 again once the disk is well.
const RECOVERY: Duration = Duration::from_secs(20);
/// Events of one body.
const BATCH: u64 = 20;
/// What fails: parts of paths below the service's folder, and how.
const WHAT: [(&str, &str); 12] = [
    ("ENOSPC", "all"),
    ("ENOSPC", "/log/"),
    ("ENOSPC", "/log/keyspaces"),
    ("ENOSPC", "/events/"),
    ("ENOSPC", "_delta_log"),
    ("ENOSPC", "/ledger/"),
    ("ENOSPC", "keyring"),
    ("ENOSPC", "/index"),
    ("ENOSPC", "/statistics"),
    ("EROFS", "all"),
    ("EIO", "sync"),
    ("EIO", "all"),
];

/// A disk that can be told to fail.
struct Disk {
    library: PathBuf,
    root: PathBuf,
    control: PathBuf,
}

impl Disk {
    fn under(place: &Place) -> Self {
        let library = place.root().join("faults.so");
        let compile = ["-shared", "-fPIC", "-O1", "-o"];
        succeed(
            Command::new("cc").args(compile).arg(&library).arg(FAULTS).args(["-ldl", "-lpthread"]),
        );
        Self { library, root: place.home(), control: place.root().join("control") }
    }

    fn environment(&self) -> [(&'static str, &Path); 3] {
        [
            ("LD_PRELOAD", &self.library),
            ("QUORATE_FAULT_ROOT", &self.root),
            ("QUORATE_FAULT_CONTROL", &self.control),
        ]
    }

    /// From now on, `after` calls that concern `what` still work.
    fn fail(&self, error: &str, after: u64, what: &str) {
        // Put there whole: the library reads it as soon as it is there.
        let text = self.control.with_extension("new");
        std::fs::write(&text, format!("{error} {after} {what}\n")).unwrap();
        std::fs::rename(text, &self.control).unwrap();
    }

    fn heal(&self) {
        std::fs::remove_file(&self.control).unwrap();
    }
}

fn body(from: u64) -> String {
    let events = (from..from + BATCH).map(|number| {
        json!({ "type": "device_usage", "id": number.to_string(), "feature": format!("e{number}"),
            "serial_number": format!("QX-{}", number % 50), "product": "x1", "version": "3.8.1" })
    });
    Value::Array(events.collect()).to_string()
}

/// Sends new events one body after the other, each until it is acknowledged.
struct Load<'t> {
    service: &'t Service,
    key: &'t str,
    next: &'t AtomicU64,
    refused: &'t AtomicU64,
    acknowledged: &'t AtomicU64,
}

impl Load<'_> {
    fn run(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let from = self.next.fetch_add(BATCH, Ordering::Relaxed);
            let begun = Instant::now();
            loop {
                match self.service.post(self.key, &body(from)).status {
                    202 => break,
                    503 => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
                    status => panic!("an answer {status}"),
                }
                assert!(
                    begun.elapsed() < RECOVERY + Duration::from_secs(5),
                    "events {from} are refused for ever"
                );
                std::thread::sleep(Duration::from_millis(20));
            }
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Waits until something is acknowledged that was not when this was called.
#[track_caller]
fn wait_for_more(acknowledged: &AtomicU64, why: &str) {
    let (before, begun) = (acknowledged.load(Ordering::Relaxed), Instant::now());
    while acknowledged.load(Ordering::Relaxed) < before + 3 {
        assert!(begun.elapsed() < RECOVERY, "no event is taken {RECOVERY:?} after {why}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The numbers of all stored events.
fn stored(data: &Path) -> Vec<u64> {
    let numbers = async {
        let root = data.join("events");
        let table = disclosure::table::open(&root, "device_usage").await.unwrap().unwrap();
        let rows = disclosure::table::rows(&table, "device_usage").await.unwrap();
        let rows = SessionContext::new().read_table(rows).unwrap();
        let batches = rows.select_columns(&["feature"]).unwrap().collect().await.unwrap();
        let mut numbers = Vec::new();
        for batch in batches {
            let column =
                arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
            let texts = column.as_string::<i32>().iter().flatten();
            numbers.extend(texts.map(|text| text[1..].parse::<u64>().unwrap()));
        }
        numbers.sort_unstable();
        numbers
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.unwrap().block_on(numbers)
}

#[track_caller]
fn assert_each_once(place: &Place, sent: u64) {
    let stored = stored(&place.data());
    let missing: Vec<u64> =
        (0..sent).filter(|number| stored.binary_search(number).is_err()).collect();
    let twice: Vec<u64> =
        stored.windows(2).filter(|two| two[0] == two[1]).map(|two| two[0]).collect();
    assert!(missing.is_empty() && twice.is_empty(), "missing {missing:?}, twice {twice:?}");
    let books = search::outcomes(&place.data());
    assert_eq!(books["stored"], sent, "{books:?}");
    let duplicate = books.get("duplicate").copied().unwrap_or(0);
    assert_eq!(books["received"], sent + duplicate, "{books:?}");
    assert!(!books.contains_key("lost_frames"), "{books:?}");
}

#[test]
fn a_disk_that_fails_at_any_call_for_a_moment_loses_nothing_and_the_service_recovers() {
    let place = Place::new();
    place.configure("sink", "maintain_every_s", 1);
    place.configure("log", "raw_retention_hours", 6);
    let disk = Disk::under(&place);
    let (next, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut turn = 0;
    for life in 0..LIVES {
        let ahead = format!("{}hours", life * LIFE_HOURS);
        let service = place.start_with(&["run", "--ahead", &ahead], &disk.environment());
        let (stop, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
        let load = Load {
            service: &service,
            key: &place.server_key,
            next: &next,
            refused: &refused,
            acknowledged: &acknowledged,
        };
        std::thread::scope(|scope| {
            // The first window of a life meets its first event, which needs new keys and keyspaces.
            for window in 0..3 {
                let (error, what) = WHAT[turn % WHAT.len()];
                turn += 1;
                let after = random.random_range(0..if window == 0 { 12 } else { 40 });
                disk.fail(error, after, what);
                if window == 0 {
                    scope.spawn(|| load.run(&stop));
                }
                std::thread::sleep(Duration::from_millis(random.random_range(300..1500)));
                disk.heal();
                wait_for_more(
                    &acknowledged,
                    &format!("life {life}: {error} after {after} calls on {what}"),
                );
            }
            stop.store(true, Ordering::Relaxed);
        });
        service.stop();
    }
    assert!(refused.load(Ordering::Relaxed) > 0, "no call ever failed");
    assert_each_once(&place, next.load(Ordering::Relaxed));
}

#[test]
fn what_a_disk_does_not_take_is_not_acknowledged() {
    let place = Place::new();
    let disk = Disk::under(&place);
    let service = place.start_with(&["run"], &disk.environment());
    assert_eq!(service.post(&place.server_key, &body(0)).status, 202);
    for (round, (error, what)) in
        (1..).zip([("EIO", "sync"), ("EROFS", "all"), ("ENOSPC", "/log/")])
    {
        disk.fail(error, 0, what);
        let answer = service.post(&place.server_key, &body(round * BATCH));
        assert_eq!(answer.status, 503, "{error}: {}", answer.body());
        assert_eq!(answer.json()["retry"], true);
        disk.heal();
        let begun = Instant::now();
        while service.post(&place.server_key, &body(round * BATCH)).status != 202 {
            assert!(begun.elapsed() < RECOVERY, "no recovery from {error}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    service.stop();
    assert_each_once(&place, 4 * BATCH);
}

#[test]
fn little_room_suspends_the_door_and_not_the_worker() {
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.post(&place.server_key, &body(0)).status, 202);
    // Killed, so that there is something left to commit.
    drop(service);
    place.configure("log", "free_space_min", i64::MAX);
    let service = place.start();
    let begun = Instant::now();
    while service.post(&place.server_key, &body(BATCH)).status == 202 {
        assert!(begun.elapsed() < RECOVERY, "the door stays open");
    }
    let status = service.operator("/status").json();
    assert_eq!(status["suspended"], json!(["space"]));
    assert!(status["free_bytes"].as_u64().unwrap() > 0);
    assert_eq!(service.operator("/readyz").status, 503);
    let metrics = service.operator("/metrics").body();
    assert!(metrics.contains("quorate_suspended{reason=\"space\"} 1"), "{metrics}");
    while service.operator("/status").json()["committed"].is_null() {
        assert!(begun.elapsed() < RECOVERY, "the worker does not commit");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(place.print(&["status"]).contains("that are acknowledged: space"));
    service.stop();
    place.configure("log", "free_space_min", 0);
    let service = place.start();
    assert_eq!(service.post(&place.server_key, &body(BATCH)).status, 202);
    service.stop();
    assert_each_once(&place, 2 * BATCH);
}

/// The only file below `folder` whose name ends so.
fn only(folder: &Path, ending: &str) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files = files.filter(|path| path.to_string_lossy().ends_with(ending));
    let file = files.next().unwrap();
    assert_eq!(files.next(), None);
    file
}

#[test]
fn a_log_without_acknowledged_frames_is_refused_until_the_loss_is_accepted() {
    let place = Place::new();
    place.configure("sink", "commit_every_s", 3600);
    let service = place.start();
    for batch in 0..3 {
        assert_eq!(service.post(&place.server_key, &body(batch * BATCH)).status, 202);
    }
    drop(service);
    // The end of the last frame goes, as if a bit before it had changed.
    let journal = only(&place.data().join("log"), ".jnl");
    let bytes = std::fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    std::fs::write(&journal, &bytes[..end - 40]).unwrap();

    let refused = place.command(&["run"]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    for part in ["were acknowledged and are gone", "of partition ", "--accept-lost-frames"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    place.configure("sink", "commit_every_s", 1);
    let service = place.start_with(&["run", "--accept-lost-frames"], &[]);
    assert_eq!(service.post(&place.server_key, &body(3 * BATCH)).status, 202);
    let told = std::fs::read_to_string(place.outputs().join("stderr.txt")).unwrap();
    let parts = told.lines().filter(|line| line.ends_with(" are gone")).count() as u64;
    let begun = Instant::now();
    // One frame of each partition that has lost any: the last of it.
    while service.operator("/status").json()["lost_frames"].as_u64() < Some(parts) {
        assert!(begun.elapsed() < RECOVERY, "the loss is not told");
        std::thread::sleep(Duration::from_millis(50));
    }
    service.stop();
    let books = search::outcomes(&place.data());
    assert!(books["lost_frames"] > 0 && books["stored"] < 4 * BATCH, "{books:?}");
    // Nothing is hidden: what is left is there, and the rest is told.
    let stored = stored(&place.data());
    assert!(stored.contains(&(3 * BATCH)) && stored.len() as u64 == books["stored"]);
    place.start().stop();
}

#[test]
fn a_damaged_dedupe_index_is_built_anew_and_still_finds_copies() {
    let place = Place::new();
    let service = place.start();
    assert_eq!(service.post(&place.server_key, &body(0)).status, 202);
    service.stop();
    let journal = only(&place.data().join("index"), ".jnl");
    let mut bytes = std::fs::read(&journal).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    // The checksum of the last batch, before the mark behind it.
    bytes[end - 6] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let service = place.start();
    assert_eq!(service.post(&place.server_key, &body(0)).status, 202);
    service.stop();
    let said = std::fs::read_to_string(place.outputs().join("stderr.txt")).unwrap();
    assert!(said.contains("the dedupe index cannot be read and is built anew"), "{said}");
    assert_each_once(&place, BATCH);
}
