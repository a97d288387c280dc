use std::path::Path;

use super::*;
use crate::{conformance, frames};

pub(super) const HOUR: u32 = 500_000;

pub(super) fn open(dir: &Path) -> EmbeddedLog {
    EmbeddedLog::open(dir, 2).expect("open")
}

#[tokio::test]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = frames::Sealer::new(dir.path());
    conformance::check(async |name| open(&dir.path().join(name)), |hour| sealer.frame(hour)).await;
}

#[tokio::test]
async fn another_partition_count_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let refused = EmbeddedLog::open(dir.path(), 3).err().unwrap();
    assert!(matches!(refused, LogError::PartitionCount { found: 2, asked: 3 }), "{refused}");
    assert!(!refused.is_retryable());
    assert!(EmbeddedLog::open(dir.path(), 0).is_err());
}

/// Changes the stored frame at `position` behind the log's back.
fn tamper(dir: &Path, position: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let database = fjall::Database::builder(dir).open().unwrap();
    let meta = database.keyspace("meta", fjall::KeyspaceCreateOptions::default).unwrap();
    let hours = hours::Hours::load(&database, &meta, 2).unwrap();
    let (frames, _) = hours.holding(Partition(0), position).keyspaces.remove(0);
    let key = frame::key(Partition(0), position);
    let mut value = frames.get(key).unwrap().unwrap().to_vec();
    change(&mut value);
    frames.insert(&key[..], value).unwrap();
}

#[tokio::test]
async fn a_damaged_frame_is_named_and_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = frames::Sealer::new(dir.path());
    let path = dir.path().join("log");
    let log = open(&path);
    for _ in 0..3 {
        log.append(Partition(0), sealer.frame(HOUR)).await.unwrap();
    }
    drop(log);

    // The last byte belongs to the seal, which this crate cannot check: the checksum finds it.
    tamper(&path, 1, |value| *value.last_mut().unwrap() ^= 1);
    let log = open(&path);
    assert_eq!(log.read(Partition(0), Position(2), usize::MAX).await.unwrap().len(), 1);
    assert_eq!(log.read(Partition(0), Position(0), usize::MAX).await.unwrap().len(), 1);
    let refused = log.read(Partition(0), Position(1), usize::MAX).await.err().unwrap();
    assert!(matches!(refused, LogError::Corrupt { partition: 0, position: 1 }), "{refused}");
    drop(log);

    tamper(&path, 1, |value| *value.last_mut().unwrap() ^= 1);
    tamper(&path, 2, |value| value.truncate(value.len() / 2));
    let log = open(&path);
    assert_eq!(log.read(Partition(0), Position(0), 0).await.unwrap().len(), 1);
    let refused = log.read(Partition(0), Position(2), usize::MAX).await.err().unwrap();
    assert!(matches!(refused, LogError::Corrupt { partition: 0, position: 2 }), "{refused}");
}

#[tokio::test]
async fn a_frame_that_was_moved_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = frames::Sealer::new(dir.path());
    let path = dir.path().join("log");
    let log = open(&path);
    for _ in 0..2 {
        log.append(Partition(0), sealer.frame(HOUR)).await.unwrap();
    }
    drop(log);
    let mut first = Vec::new();
    tamper(&path, 0, |value| first.clone_from(value));
    tamper(&path, 1, |value| *value = first);
    let refused = open(&path).read(Partition(0), Position(1), usize::MAX).await.err().unwrap();
    assert!(matches!(refused, LogError::Corrupt { partition: 0, position: 1 }), "{refused}");
}

/// A removal is written down before it is done; a crash between the two leaves its frames there.
#[tokio::test]
async fn frames_that_were_written_down_as_removed_are_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = frames::Sealer::new(dir.path());
    let path = dir.path().join("log");
    let log = open(&path);
    for hour in [HOUR, HOUR, HOUR, HOUR + 2, HOUR + 2] {
        log.append(Partition(0), sealer.frame(hour)).await.unwrap();
    }
    drop(log);
    {
        let database = fjall::Database::builder(&path).open().unwrap();
        let meta = database.keyspace("meta", fjall::KeyspaceCreateOptions::default).unwrap();
        let mut removed = removed::Removed::load(&meta, 0).unwrap().unwrap();
        removed.add(0..3);
        let (key, value) = removed.entry(0);
        meta.insert(key, value).unwrap();
    }
    let log = open(&path);
    for (from, first) in [(0, 3), (1, 3), (2, 3), (3, 3), (4, 4)] {
        let read = log.read(Partition(0), Position(from), usize::MAX).await.unwrap();
        assert_eq!(read[0].0, Position(first), "from {from}");
        assert_eq!(read.len() as u64, 5 - first);
    }
    assert_eq!(log.remove_through(HOUR).await.unwrap(), 3, "they go when their hour goes");
    assert_eq!(log.read(Partition(0), Position(0), usize::MAX).await.unwrap().len(), 2);
}

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert!(EmbeddedLog::open(dir.path(), 2).is_err());
    drop(log);
    drop(open(dir.path()));
}
