//! The log of one machine, on fjall.
//!
//! Frames lie in one keyspace for each hour in which frames were sealed, so that an hour goes as a whole. One thread
//! writes: it takes all frames that wait, puts them and the next positions into one batch, and makes that batch
//! durable with one `fdatasync` before anything of it can be seen. `fdatasync` is enough, because the journal
//! is a preallocated file whose directory entry fjall has synced, and of a file's metadata `fdatasync` writes
//! whatever is needed to read its data back.
//!
//! ```text
//! keyspace   key                         value
//! meta       id                          16 bytes
//!            partitions                  u16
//!            next, partition u16         u64, the position of the next frame
//! <n>-<hour> partition u16, position u64 checksum (16 bytes), frame
//! ```
//! Numbers are big-endian. `n` counts keyspaces, so that their order is that of appending whatever the clock did.

mod frame;
mod hours;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anonymizer::Sealed;
use async_trait::async_trait;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use tokio::sync::{Notify, mpsc, oneshot};
use uuid::Uuid;

use self::hours::Hours;
use self::writer::{Append, Writer};
use crate::{Log, LogError, LogId, Partition, Position};

/// Frames are read back once, soon after they were written and mostly from memory: a cache earns nothing.
const CACHE_BYTES: u64 = 4 << 20;
/// Bounds the journals, which hold every frame a second time until its keyspace is flushed.
const JOURNAL_BYTES_MAX: u64 = 128 << 20;
/// Appends that may wait for the writer; a caller beyond them waits before its frame is taken.
const APPENDS_MAX: usize = 64;

/// A log in a folder of its own, for one process at a time.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    appends: Option<mpsc::Sender<Append>>,
    writer: Option<JoinHandle<()>>,
}

/// What the writer thread and readers have in common.
struct Shared {
    database: Database,
    id: LogId,
    meta: Keyspace,
    hours: Hours,
    /// Held while keyspaces are written to or removed, so that no frame lands in one that goes.
    writing: Mutex<()>,
    /// Next position of each partition, as far as it is durable.
    ends: Vec<AtomicU64>,
    appended: Notify,
}

impl EmbeddedLog {
    /// Opens the log in folder `dir`, or makes one there with `partitions` partitions and a random id.
    ///
    /// # Errors
    ///
    /// [`LogError::PartitionCount`] if it was made with another number; [`LogError::Storage`] if another process
    /// has it open or the folder cannot be used; [`LogError::Damaged`].
    pub fn open(dir: &Path, partitions: u16) -> Result<Self, LogError> {
        if partitions == 0 {
            return Err(LogError::NoPartition { asked: 0, partitions });
        }
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            // Frames are encrypted: nothing is left to compress.
            .journal_compression(fjall::CompressionType::None)
            .manual_journal_persist(true)
            .worker_threads(1)
            .open()
            .map_err(storage)?;
        let meta = database.keyspace("meta", KeyspaceCreateOptions::default).map_err(storage)?;
        let id = identify(&database, &meta, partitions)?;
        let ends = (0..partitions)
            .map(|partition| next_position(&meta, partition).map(AtomicU64::new))
            .collect::<Result<Vec<_>, _>>()?;
        let hours = Hours::load(&database, partitions)?;

        let shared = Arc::new(Shared {
            database,
            id,
            meta,
            hours,
            writing: Mutex::new(()),
            ends,
            appended: Notify::new(),
        });
        let (appends, queue) = mpsc::channel(APPENDS_MAX);
        let writer = Writer::new(Arc::clone(&shared), queue);
        let writer = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| LogError::Storage(Box::new(error)))?;
        Ok(Self { shared, appends: Some(appends), writer: Some(writer) })
    }

    fn check(&self, partition: Partition) -> Result<&AtomicU64, LogError> {
        self.shared
            .ends
            .get(usize::from(partition.0))
            .ok_or(LogError::NoPartition { asked: partition.0, partitions: self.partitions() })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(result) => result,
            Err(error) => Err(LogError::Storage(Box::new(error))),
        }
    }
}

/// Waits for what was taken: frames already queued are written before the log is closed.
impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        drop(self.appends.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the log's writer panicked");
        }
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    fn id(&self) -> LogId {
        self.shared.id
    }

    fn partitions(&self) -> u16 {
        u16::try_from(self.shared.ends.len()).expect("made from a u16")
    }

    async fn append(&self, partition: Partition, frame: Sealed) -> Result<Position, LogError> {
        self.check(partition)?;
        let (reply, answer) = oneshot::channel();
        let hour = frame.header().hour;
        let (bytes, in_flight) = frame.into_parts();
        let append = Append { partition, hour, bytes, in_flight, reply };
        let appends = self.appends.as_ref().expect("taken by drop alone");
        appends.send(append).await.map_err(|_| LogError::Stopped)?;
        answer.await.map_err(|_| LogError::Stopped)?
    }

    async fn read(
        &self,
        partition: Partition,
        from: Position,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Sealed)>, LogError> {
        // Before the keyspaces are looked at: a frame beyond this may not be durable yet.
        let end = self.check(partition)?.load(Ordering::Acquire);
        if from.0 >= end {
            return Ok(Vec::new());
        }
        self.blocking(move |shared| {
            let mut frames = Vec::new();
            let mut room = bytes_max;
            for keyspace in shared.hours.holding(partition, from.0) {
                let range =
                    frame::key(partition, from.0.max(keyspace.first))..frame::key(partition, end);
                for entry in keyspace.frames.range(range) {
                    let (key, value) = entry.into_inner().map_err(storage)?;
                    let (position, sealed) = frame::decode(partition, &key, &value)?;
                    let size = sealed.as_bytes().len();
                    if size > room && !frames.is_empty() {
                        return Ok(frames);
                    }
                    room = room.saturating_sub(size);
                    frames.push((position, sealed));
                }
            }
            Ok(frames)
        })
        .await
    }

    async fn replace(
        &self,
        partition: Partition,
        frames: Vec<(Position, Sealed)>,
    ) -> Result<u64, LogError> {
        let end = self.check(partition)?.load(Ordering::Acquire);
        self.blocking(move |shared| {
            let _writing = shared.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let mut batch = shared.database.batch().durability(Some(PersistMode::SyncAll));
            let mut replaced = 0;
            for (position, sealed) in frames {
                let Position(position) = position;
                let key = frame::key(partition, position);
                let Some(keyspace) = shared.hours.at(partition, position) else { continue };
                if position >= end || !keyspace.contains_key(key).map_err(storage)? {
                    continue;
                }
                let value = frame::encode(partition, position, sealed.as_bytes());
                batch.insert(&keyspace, &key[..], value);
                replaced += 1;
            }
            batch.commit().map_err(storage)?;
            Ok(replaced)
        })
        .await
    }

    async fn end(&self, partition: Partition) -> Result<Position, LogError> {
        Ok(Position(self.check(partition)?.load(Ordering::Acquire)))
    }

    async fn appended(&self) {
        self.shared.appended.notified().await;
    }

    async fn remove_through(&self, hour: u32) -> Result<u64, LogError> {
        self.blocking(move |shared| {
            let _writing = shared.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            shared.hours.remove_through(&shared.database, hour)
        })
        .await
    }

    async fn bytes(&self) -> u64 {
        self.blocking(|shared| shared.database.disk_space().map_err(storage)).await.unwrap_or(0)
    }
}

/// Reads who the log is, or decides it.
fn identify(database: &Database, meta: &Keyspace, partitions: u16) -> Result<LogId, LogError> {
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
        return Ok(LogId(id));
    }
    let id = Uuid::new_v4();
    let mut batch = database.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(meta, "id", &id.as_bytes()[..]);
    batch.insert(meta, "partitions", &partitions.to_be_bytes()[..]);
    batch.commit().map_err(storage)?;
    Ok(LogId(id))
}

fn next_key(partition: u16) -> Vec<u8> {
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

fn storage(error: fjall::Error) -> LogError {
    LogError::Storage(Box::new(error))
}

#[cfg(test)]
mod tests;
