//! The database of a log while it is open: opened first, and again after a failed write.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use uuid::Uuid;

use super::ends::Acknowledged;
use super::hours::Hours;
use super::{storage, unusable};
use crate::{LogError, LogId};

/// Frames are read back once, soon after they were written and mostly from memory: a cache earns nothing.
const CACHE_BYTES: u64 = 4 << 20;
/// Bounds the journals, which hold every frame a second time until its keyspace is flushed.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;

/// A database that is open.
pub(super) struct Opened {
    pub(super) database: Database,
    pub(super) meta: Keyspace,
    pub(super) hours: Hours,
    pub(super) id: LogId,
    /// Position of the next frame of each partition.
    pub(super) ends: Vec<u64>,
}

impl Opened {
    /// Opens the database in `dir`, made if there is none; `acknowledged` is what was told to senders.
    ///
    /// # Errors
    ///
    /// [`LogError::Lost`] if it holds less than that, [`LogError::Unreadable`] if it is damaged, and what
    /// [`super::EmbeddedLog::open`] says.
    pub(super) fn open(
        dir: &Path,
        partitions: u16,
        acknowledged: Option<&Acknowledged>,
    ) -> Result<Self, LogError> {
        let damaged = storage::damaged_manifest(dir).map_err(unusable)?;
        if let Some(path) = damaged {
            let source = "it is not as it was written".into();
            return Err(LogError::Unreadable { path, source });
        }
        let id = acknowledged.map(|known| known.id);
        let load = AssertUnwindSafe(|| Self::load(dir, partitions, id));
        let opened = match catch_unwind(load) {
            Ok(opened) => opened.map_err(|error| named(dir, error))?,
            // A library that panics over its files has found them damaged.
            Err(_) => {
                let source = "its files make no sense".into();
                return Err(LogError::Unreadable { path: dir.to_owned(), source });
            }
        };
        let known = acknowledged.map_or(&[][..], |known| &known.ends);
        for (partition, (&from, &to)) in (0..).zip(opened.ends.iter().zip(known)) {
            if from < to {
                return Err(LogError::Lost { partition, from, to });
            }
        }
        Ok(opened)
    }

    fn load(dir: &Path, partitions: u16, known: Option<LogId>) -> Result<Self, LogError> {
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            // Frames are encrypted: nothing is left to compress.
            .journal_compression(CompressionType::None)
            .manual_journal_persist(true)
            .worker_threads(1)
            .open()
            .map_err(storage)?;
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default).map_err(storage)?;
        let id = identify(&database, &meta, partitions, known)?;
        let ends = (0..partitions)
            .map(|partition| next_position(&meta, partition))
            .collect::<Result<Vec<_>, _>>()?;
        let hours = Hours::load(&database, &meta, partitions)?;
        Ok(Self { database, meta, hours, id, ends })
    }

    /// Whether the database still takes writes: a flush in the background may have failed.
    pub(super) fn is_usable(&self) -> bool {
        self.database.persist(PersistMode::Buffer).is_ok()
    }
}

/// Says where the damage is.
fn named(dir: &Path, error: LogError) -> LogError {
    let LogError::Storage(source) = error else { return error };
    match source.downcast_ref::<fjall::Error>().is_some_and(storage::is_damage) {
        true => LogError::Unreadable { path: dir.to_owned(), source },
        false => LogError::Storage(source),
    }
}

/// Reads who the log is, or decides it: `known` if a file beside the database knows.
fn identify(
    database: &Database,
    meta: &Keyspace,
    partitions: u16,
    known: Option<LogId>,
) -> Result<LogId, LogError> {
    if let Some(id) = meta.get("id").map_err(storage)? {
        let id = Uuid::from_slice(&id).map_err(|_| LogError::Damaged("id"))?;
        let found = meta.get("partitions").map_err(storage)?;
        let found = found
            .and_then(|found| <[u8; 2]>::try_from(&*found).ok())
            .ok_or(LogError::Damaged("partitions"))?;
        let found = u16::from_be_bytes(found);
        if found != partitions {
            return Err(LogError::PartitionCount { found, asked: partitions });
        }
        if known.is_some_and(|known| known.0 != id) {
            return Err(LogError::Damaged("id"));
        }
        return Ok(LogId(id));
    }
    let id = known.map_or_else(Uuid::new_v4, |known| known.0);
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(meta, "id", &id.as_bytes()[..]);
    batch.insert(meta, "partitions", &partitions.to_be_bytes()[..]);
    batch.commit().map_err(storage)?;
    Ok(LogId(id))
}

/// The key of a partition's next position.
pub(super) fn next_key(partition: u16) -> Vec<u8> {
    [b"next".as_slice(), &partition.to_be_bytes()].concat()
}

fn next_position(meta: &Keyspace, partition: u16) -> Result<u64, LogError> {
    match meta.get(next_key(partition)).map_err(storage)? {
        None => Ok(0),
        Some(next) => {
            let next = <[u8; 8]>::try_from(&*next).map_err(|_| LogError::Damaged("positions"))?;
            Ok(u64::from_be_bytes(next))
        }
    }
}
