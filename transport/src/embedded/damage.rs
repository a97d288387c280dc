//! What becomes of a log whose files were changed behind its back: all is there, or it is said what is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::tests::{HOUR, open};
use super::*;
use crate::frames;

const FRAMES: u64 = 300;
const LATER: u64 = 20;

/// A closed log with frames in tables and blob files, and later ones in the journal alone.
async fn made(dir: &Path) -> Vec<Vec<u8>> {
    let sealer = frames::Sealer::new(&dir.join("keys"));
    let path = dir.join("log");
    let mut frames = Vec::new();
    let mut append = async |count| {
        let log = open(&path);
        for _ in 0..count {
            let frame = sealer.frame(HOUR);
            frames.push(frame.as_bytes().to_vec());
            log.append(Partition(0), frame).await.unwrap();
        }
    };
    append(FRAMES).await;
    flush(&path);
    append(LATER).await;
    // Opened once more, so that the journal is as long as its content.
    drop(open(&path));
    frames
}

/// Moves what the journal holds into tables.
fn flush(dir: &Path) {
    let database = fjall::Database::builder(dir).open().unwrap();
    for name in database.list_keyspace_names() {
        let keyspace = database.keyspace(&name, fjall::KeyspaceCreateOptions::default).unwrap();
        keyspace.rotate_memtable_and_wait().unwrap();
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.metadata().unwrap().len() > 0 => found.push(path),
            false => {}
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// Reads everything, passing over what is named as gone; fails over anything else.
async fn read_all(log: &EmbeddedLog, frames: &[Vec<u8>]) -> Result<BTreeSet<u64>, LogError> {
    let partition = Partition(0);
    let end = log.end(partition).await?;
    let (mut from, mut gone) = (Position(0), BTreeSet::new());
    while from < end {
        match log.read(partition, from, 4096).await {
            Ok(read) => {
                assert!(!read.is_empty(), "nothing at {from:?}, and nothing said");
                for (position, frame) in read {
                    assert_eq!(position, from, "passed over in silence");
                    assert_eq!(frame.as_bytes(), frames[usize::try_from(position.0).unwrap()]);
                    from = position.next();
                }
            }
            Err(LogError::Corrupt { position, .. }) => {
                assert_eq!(position, from.0);
                gone.insert(position);
                from = from.next();
            }
            Err(LogError::Lost { from: first, to, .. }) => {
                assert_eq!(first, from.0);
                gone.extend(first..to);
                from = Position(to);
            }
            Err(error) => return Err(error),
        }
    }
    assert_eq!(from.0, frames.len() as u64, "the log ends before what was acknowledged");
    Ok(gone)
}

/// A small generator, so that a failure can be repeated.
fn numbers(mut state: u64) -> impl Iterator<Item = u64> {
    std::iter::repeat_with(move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    })
}

/// Changes the copied log's file, and says what became of it.
async fn outcome(
    made: &Path,
    name: &Path,
    frames: &[Vec<u8>],
    change: impl FnOnce(&mut Vec<u8>),
) -> &'static str {
    let dir = tempfile::tempdir().unwrap();
    copy(made, dir.path());
    let path = dir.path().join(name);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let log = match EmbeddedLog::open(dir.path(), 2) {
        Ok(log) => log,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return "refused";
        }
    };
    match read_all(&log, frames).await {
        Ok(gone) if gone.is_empty() => "intact",
        Ok(_) => "named",
        Err(_) => "refused",
    }
}

#[tokio::test]
async fn a_changed_bit_in_any_file_is_found_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let frames = made(dir.path()).await;
    let log = dir.path().join("log");
    let mut seen = BTreeSet::new();
    for path in files(&log) {
        let name = path.strip_prefix(&log).unwrap();
        let length = path.metadata().unwrap().len();
        let journal = path.extension().is_some_and(|extension| extension == "jnl");
        for (try_, at) in numbers(7).take(if journal { 60 } else { 10 }).enumerate() {
            let (byte, bit) = (usize::try_from(at % length).unwrap(), try_ % 8);
            let became = outcome(&log, name, &frames, |bytes| bytes[byte] ^= 1 << bit).await;
            seen.insert((journal, became));
        }
    }
    // That nothing is passed over in silence is seen while reading.
    assert!(seen.contains(&(true, "refused")), "{seen:?}");
    assert!(seen.contains(&(false, "named")), "{seen:?}");
}

#[tokio::test]
async fn a_file_cut_anywhere_is_found_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let frames = made(dir.path()).await;
    let log = dir.path().join("log");
    for path in files(&log) {
        let name = path.strip_prefix(&log).unwrap();
        let length = path.metadata().unwrap().len();
        for at in numbers(8).take(4) {
            let length = usize::try_from(at % length).unwrap();
            outcome(&log, name, &frames, |bytes| bytes.truncate(length)).await;
        }
    }
}

#[tokio::test]
async fn a_loss_is_accepted_once_and_each_frame_of_it_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let frames = made(dir.path()).await;
    let path = dir.path().join("log");
    let journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    let journal = files(&path).into_iter().find(journal).unwrap();
    let whole = fs::read(&journal).unwrap();
    // Without the end of the journal, frames are missing that were acknowledged.
    fs::write(&journal, &whole[..whole.len() * 79 / 80]).unwrap();
    let refused = EmbeddedLog::open(&path, 2).err().unwrap();
    let LogError::Lost { partition: 0, from, to } = refused else { panic!("{refused}") };
    assert!(FRAMES < from && from < to && to == FRAMES + LATER, "{refused}");
    assert!(!refused.is_retryable());

    let losses = EmbeddedLog::accept_loss(&path, 2).unwrap();
    assert_eq!(losses, [Loss { partition: Partition(0), positions: from..to }]);
    let log = open(&path);
    let gone = read_all(&log, &frames).await.unwrap();
    assert_eq!(gone, (from..to).collect());
    // What comes now does not take the place of what is gone.
    let sealer = frames::Sealer::new(&dir.path().join("more"));
    let position = log.append(Partition(0), sealer.frame(HOUR)).await.unwrap();
    assert_eq!(position, Position(to));
    drop(log);
    assert_eq!(EmbeddedLog::accept_loss(&path, 2).unwrap(), []);
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_is_put_aside_when_its_loss_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let frames = made(dir.path()).await;
    let path = dir.path().join("log");
    let id = open(&path).id();
    let journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "jnl");
    let journal = files(&path).into_iter().find(journal).unwrap();
    let mut bytes = fs::read(&journal).unwrap();
    // The last bytes are a batch's checksum and the mark behind it.
    let within = bytes.len() - 8;
    bytes[within] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let refused = EmbeddedLog::open(&path, 2).err().unwrap();
    assert!(
        matches!(&refused, LogError::Unreadable { path: named, .. } if *named == path),
        "{refused}"
    );

    let losses = EmbeddedLog::accept_loss(&path, 2).unwrap();
    assert_eq!(losses, [Loss { partition: Partition(0), positions: FRAMES..FRAMES + LATER }]);
    assert!(journal.with_extension("damaged").exists());
    let log = open(&path);
    assert_eq!(log.id(), id, "another log");
    assert_eq!(read_all(&log, &frames).await.unwrap(), (FRAMES..FRAMES + LATER).collect());
}
