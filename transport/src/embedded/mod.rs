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
//!            removed, partition u16      u64 pairs, ranges of positions whose frames were removed
//! <n>-<hour> partition u16, position u64 checksum (16 bytes), frame
//! ```
//! Numbers are big-endian. `n` counts keyspaces, so that their order is that of appending whatever the clock did.
//!
//! A write that fails leaves the database of no use: the writer closes it, makes its journal durable once more, and opens
//! it again, with less and less haste until it works. Callers hear meanwhile that they may try again, and positions
//! go on where what is durable ends.
//!
//! Positions of a partition have no gaps but for what was removed. A frame that is missing otherwise, or that
//! cannot be read, is named ([`LogError::Lost`], [`LogError::Corrupt`]) and never passed over; so is a journal
//! that ends before what was acknowledged (`ends.rs`).

mod ends;
mod frame;
mod hours;
mod opened;
mod removed;
mod writer;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::thread::JoinHandle;

use anonymizer::Sealed;
use async_trait::async_trait;
use fjall::PersistMode;
use tokio::sync::{Notify, mpsc, oneshot};

use self::ends::{Acknowledged, EndsFile};
use self::opened::{Opened, next_key};
use self::writer::{Append, Writer};
use crate::{Log, LogError, LogId, Partition, Position};

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
    dir: PathBuf,
    id: LogId,
    /// None while it has to be opened again. Who reads or writes holds the lock meanwhile, so that nothing of a
    /// database is left when it is closed.
    opened: RwLock<Option<Opened>>,
    /// Held while keyspaces are written to or removed, so that no frame lands in one that goes.
    writing: Mutex<()>,
    /// Next position of each partition, as far as it is durable.
    ends: Vec<AtomicU64>,
    appended: Notify,
}

impl Shared {
    fn opened(&self) -> RwLockReadGuard<'_, Option<Opened>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_usable(&self) -> bool {
        self.opened().as_ref().is_some_and(Opened::is_usable)
    }

    fn known_ends(&self) -> Vec<u64> {
        self.ends.iter().map(|end| end.load(Ordering::Acquire)).collect()
    }

    /// Closes the database and opens it again. What is durable by then is read, whoever was told of it.
    fn reopen(&self) -> Result<(), LogError> {
        let mut opened = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let old = opened.take();
        storage::close(old).map_err(storage)?;
        storage::settle(&self.dir).map_err(unusable)?;
        let partitions = u16::try_from(self.ends.len()).expect("made from a u16");
        let known = Acknowledged { id: self.id, ends: self.known_ends() };
        let new = Opened::open(&self.dir, partitions, Some(&known))?;
        for (end, durable) in self.ends.iter().zip(&new.ends) {
            end.store(*durable, Ordering::Release);
        }
        *opened = Some(new);
        drop(opened);
        self.appended.notify_one();
        Ok(())
    }
}

/// Frames of a partition that were acknowledged and are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The partition.
    pub partition: Partition,
    /// Their positions.
    pub positions: Range<u64>,
}

impl EmbeddedLog {
    /// Opens the log in folder `dir`, or makes one there with `partitions` partitions and a random id.
    ///
    /// # Errors
    ///
    /// [`LogError::PartitionCount`] if it was made with another number; [`LogError::Storage`] if another process
    /// has it open or the folder cannot be used; [`LogError::Damaged`], [`LogError::Unreadable`] and
    /// [`LogError::Lost`] if it is not as it was left: see [`EmbeddedLog::accept_loss`].
    pub fn open(dir: &Path, partitions: u16) -> Result<Self, LogError> {
        if partitions == 0 {
            return Err(LogError::NoPartition { asked: 0, partitions });
        }
        let (mut record, known) = EndsFile::open(dir).map_err(unusable)?;
        let opened = Opened::open(dir, partitions, known.as_ref())?;
        record.write(opened.id, &opened.ends);

        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            id: opened.id,
            ends: opened.ends.iter().copied().map(AtomicU64::new).collect(),
            opened: RwLock::new(Some(opened)),
            writing: Mutex::new(()),
            appended: Notify::new(),
        });
        let (appends, queue) = mpsc::channel(APPENDS_MAX);
        let writer = Writer::new(Arc::clone(&shared), queue, record);
        let writer = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(unusable)?;
        Ok(Self { shared, appends: Some(appends), writer: Some(writer) })
    }

    /// Makes a closed log in `dir` usable without the frames that it lost, and tells which were acknowledged and are
    /// missing at its end. No position is given away again: readers hear of each that is missing.
    ///
    /// Journals that cannot be read are put aside as `<n>.damaged`; frames that lie in them alone are lost.
    ///
    /// # Errors
    ///
    /// As [`EmbeddedLog::open`], if more than its journals is damaged.
    pub fn accept_loss(dir: &Path, partitions: u16) -> Result<Vec<Loss>, LogError> {
        let (_, known) = EndsFile::open(dir).map_err(unusable)?;
        let id = known.as_ref().map(|known| Acknowledged { id: known.id, ends: Vec::new() });
        let opened = match Opened::open(dir, partitions, id.as_ref()) {
            Err(LogError::Unreadable { .. }) => {
                storage::put_aside(dir).map_err(unusable)?;
                Opened::open(dir, partitions, id.as_ref())?
            }
            opened => opened?,
        };
        let mut losses = Vec::new();
        let mut batch = opened.database.batch().durability(Some(PersistMode::SyncAll));
        for (partition, &end) in (0..).zip(&opened.ends) {
            let end = end.max(opened.hours.end(Partition(partition)));
            let told = known.as_ref().and_then(|known| known.ends.get(usize::from(partition)));
            let told = told.copied().unwrap_or(0).max(end);
            batch.insert(&opened.meta, next_key(partition), &told.to_be_bytes()[..]);
            if end < told {
                losses.push(Loss { partition: Partition(partition), positions: end..told });
            }
        }
        batch.commit().map_err(storage)?;
        Ok(losses)
    }

    fn check(&self, partition: Partition) -> Result<&AtomicU64, LogError> {
        self.shared
            .ends
            .get(usize::from(partition.0))
            .ok_or(LogError::NoPartition { asked: partition.0, partitions: self.partitions() })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &Opened) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let shared = Arc::clone(&self.shared);
        let work = move || match &*shared.opened() {
            Some(opened) => work(&shared, opened),
            None => Err(LogError::Stopped),
        };
        match tokio::task::spawn_blocking(work).await {
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
        self.blocking(move |_, opened| read(opened, partition, from.0..end, bytes_max)).await
    }

    async fn replace(
        &self,
        partition: Partition,
        frames: Vec<(Position, Sealed)>,
    ) -> Result<u64, LogError> {
        let end = self.check(partition)?.load(Ordering::Acquire);
        self.blocking(move |shared, opened| {
            let _writing = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let mut batch = opened.database.batch().durability(Some(PersistMode::SyncAll));
            let mut replaced = 0;
            for (position, sealed) in frames {
                let Position(position) = position;
                let key = frame::key(partition, position);
                let Some(keyspace) = opened.hours.at(partition, position) else { continue };
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
        self.blocking(move |shared, opened| {
            let _writing = shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
            opened.hours.remove_through(&opened.database, &opened.meta, hour)
        })
        .await
    }

    async fn bytes(&self) -> u64 {
        let bytes = |opened: &Opened| opened.database.disk_space().map_err(storage);
        self.blocking(move |_, opened| bytes(opened)).await.unwrap_or(0)
    }

    async fn hours(&self) -> Vec<(u32, u64)> {
        self.blocking(move |_, opened| Ok(opened.hours.held())).await.unwrap_or_default()
    }
}

/// Frames at the positions of `range`, up to the first that is missing or damaged. If that is the very first, it is
/// the error.
fn read(
    opened: &Opened,
    partition: Partition,
    range: Range<u64>,
    bytes_max: usize,
) -> Result<Vec<(Position, Sealed)>, LogError> {
    let holding = opened.hours.holding(partition, range.start);
    let mut frames = Vec::new();
    let mut room = bytes_max;
    let mut expected = holding.removed.skip(range.start);
    let stopped = 'frames: {
        for (keyspace, first) in holding.keyspaces {
            // Behind what was removed: after a crash, a keyspace may be there that was written down as gone.
            let start = expected.max(first);
            if start >= range.end {
                break;
            }
            let keys = frame::key(partition, start)..frame::key(partition, range.end);
            for entry in keyspace.range(keys) {
                let found =
                    entry.into_inner().map_err(|error| unreadable(error, partition, expected));
                let found = found.and_then(|(key, value)| {
                    let position = frame::position(&key)?;
                    if position != expected {
                        return Err(lost(partition, expected..position));
                    }
                    frame::decode(partition, position, &value)
                });
                let (position, sealed) = match found {
                    Ok(found) => found,
                    Err(error) => break 'frames Some(error),
                };
                let size = sealed.as_bytes().len();
                if size > room && !frames.is_empty() {
                    return Ok(frames);
                }
                room = room.saturating_sub(size);
                frames.push((position, sealed));
                expected = holding.removed.skip(position.0 + 1);
            }
        }
        (expected < range.end).then(|| lost(partition, expected..range.end))
    };
    match stopped {
        Some(error) if frames.is_empty() => Err(error),
        _ => Ok(frames),
    }
}

fn lost(partition: Partition, positions: Range<u64>) -> LogError {
    LogError::Lost { partition: partition.0, from: positions.start, to: positions.end }
}

/// A frame that the storage does not give: damaged for good, or only this time.
fn unreadable(error: fjall::Error, partition: Partition, position: u64) -> LogError {
    match storage::is_damage(&error) {
        true => LogError::Corrupt { partition: partition.0, position },
        false => storage(error),
    }
}

fn storage(error: fjall::Error) -> LogError {
    LogError::Storage(Box::new(error))
}

fn unusable(error: std::io::Error) -> LogError {
    LogError::Storage(Box::new(error))
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
