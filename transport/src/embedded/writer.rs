//! The one thread that appends, and that opens the database again when it has failed.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anonymizer::InFlight;
use fjall::{Keyspace, PersistMode};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::ends::EndsFile;
use super::opened::{Opened, next_key};
use super::{Shared, frame, storage};
use crate::{LogError, Partition, Position};

/// Frames that wait go into one batch until it has this many bytes.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// How often callers are told, between two attempts to open the database, that there is none.
const TICK: Duration = Duration::from_millis(20);
/// Ticks before the second attempt; each further one waits twice as long, up to the most.
const TICKS_MIN: u32 = 5;
const TICKS_MAX: u32 = 50;

/// A frame on its way into the log, and whom to tell.
pub(super) struct Append {
    pub(super) partition: Partition,
    pub(super) hour: u32,
    pub(super) bytes: Vec<u8>,
    /// Held until readers can find the frame, or nobody ever will.
    pub(super) in_flight: InFlight,
    pub(super) reply: oneshot::Sender<Result<Position, LogError>>,
}

/// A frame that has a place.
struct Placed {
    partition: Partition,
    position: u64,
    frames: Keyspace,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Append>,
    record: EndsFile,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        queue: mpsc::Receiver<Append>,
        record: EndsFile,
    ) -> Self {
        Self { shared, queue, record }
    }

    /// Writes until every sender is gone. After a failed write, what the storage holds is uncertain: its callers are
    /// told, and the database is opened again before anything else is read or written.
    pub(super) fn run(mut self) {
        while let Some(first) = self.queue.blocking_recv() {
            let mut bytes = first.bytes.len();
            let mut group = vec![first];
            while bytes < GROUP_BYTES_MAX
                && let Ok(next) = self.queue.try_recv()
            {
                bytes += next.bytes.len();
                group.push(next);
            }
            if !self.shared.is_usable() && !self.reopen() {
                return refuse(group);
            }
            if let Err(in_flight) = self.append(group) {
                if !self.reopen() {
                    return;
                }
                // Only now is it known whether readers find the frames after all.
                drop(in_flight);
            }
        }
    }

    /// Makes `group` durable as a whole, then tells every caller. If that failed, the frames may be there all the same,
    /// and are in flight until the database is open again.
    fn append(&mut self, group: Vec<Append>) -> Result<(), Vec<InFlight>> {
        let shared = Arc::clone(&self.shared);
        let guard = shared.opened();
        let Some(opened) = &*guard else {
            refuse(group);
            return Err(Vec::new());
        };
        let _writing = shared.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The storage panics where another of its threads did.
        let written = catch_unwind(AssertUnwindSafe(|| write(&shared, opened, &group)));
        let placed = match written.unwrap_or(Err(LogError::Stopped)) {
            Ok(placed) => placed,
            Err(error) => {
                return Err(fail(group, error));
            }
        };
        tracing::trace!(target: "quorate::moment", "log tell");
        for Placed { partition, position, frames } in &placed {
            opened.hours.note(frames, *partition, *position);
            shared.ends[usize::from(partition.0)].store(position + 1, Ordering::Release);
        }
        self.record.write(shared.id, &shared.known_ends());
        for (Placed { position, .. }, Append { reply, .. }) in placed.into_iter().zip(group) {
            // A caller that is gone has lost its answer, not its frame.
            let _gone = reply.send(Ok(Position(position)));
        }
        shared.appended.notify_one();
        tracing::trace!(target: "quorate::moment", "log wait");
        Ok(())
    }

    /// Opens the database again, as often as it takes; who appends meanwhile is refused. False if the log is closed.
    fn reopen(&mut self) -> bool {
        let mut ticks = TICKS_MIN;
        loop {
            match self.shared.reopen() {
                Ok(()) => {
                    tracing::info!("the log is open again");
                    return true;
                }
                Err(error) => {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    let source = source.unwrap_or_default();
                    tracing::error!(%source, "the log cannot be opened again yet: {error}");
                }
            }
            for _ in 0..ticks {
                loop {
                    match self.queue.try_recv() {
                        Ok(append) => refuse(vec![append]),
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => return false,
                    }
                }
                std::thread::sleep(TICK);
            }
            ticks = (2 * ticks).min(TICKS_MAX);
        }
    }
}

/// Makes `group` durable as a whole, and says where it lies.
fn write(shared: &Shared, opened: &Opened, group: &[Append]) -> Result<Vec<Placed>, LogError> {
    let mut placed = Vec::with_capacity(group.len());
    let mut batch = opened.database.batch().durability(Some(PersistMode::SyncData));
    // Only what is durable counts: a batch that failed has taken no position.
    let mut touched = BTreeMap::new();
    for append in group {
        let frames = opened.hours.for_hour(&opened.database, append.hour)?;
        let partition = append.partition;
        let end = || shared.ends[usize::from(partition.0)].load(Ordering::Acquire);
        let next = touched.entry(partition.0).or_insert_with(end);
        let position = *next;
        *next += 1;
        let value = frame::encode(partition, position, &append.bytes);
        batch.insert(&frames, &frame::key(partition, position)[..], value);
        placed.push(Placed { partition, position, frames });
    }
    for (partition, next) in touched {
        batch.insert(&opened.meta, next_key(partition), &next.to_be_bytes()[..]);
    }
    tracing::trace!(target: "quorate::moment", "log append");
    batch.commit().map_err(storage)?;
    Ok(placed)
}

/// Tells the callers of a group that the storage failed: the cause to one of them, that it happened to the rest.
fn fail(group: Vec<Append>, error: LogError) -> Vec<InFlight> {
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    tracing::error!(%source, frames = group.len(), "appending failed: {error}");
    let mut cause = Some(error);
    let tell = |Append { reply, in_flight, .. }| {
        let _gone = reply.send(Err(cause.take().unwrap_or(LogError::Stopped)));
        in_flight
    };
    group.into_iter().map(tell).collect()
}

fn refuse(group: Vec<Append>) {
    for Append { reply, .. } in group {
        let _gone = reply.send(Err(LogError::Stopped));
    }
}
