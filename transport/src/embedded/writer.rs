//! The one thread that appends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anonymizer::InFlight;
use fjall::{Keyspace, PersistMode};
use tokio::sync::{mpsc, oneshot};

use super::{Shared, frame, next_key, storage};
use crate::{LogError, Partition, Position};

/// Frames that wait go into one batch until it has this many bytes.
const GROUP_BYTES_MAX: usize = 8 << 20;

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
    _in_flight: InFlight,
    reply: oneshot::Sender<Result<Position, LogError>>,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    queue: mpsc::Receiver<Append>,
    /// Next position of each partition. Ahead of what is durable only while a batch is on its way.
    next: Vec<u64>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, queue: mpsc::Receiver<Append>) -> Self {
        let next = shared.ends.iter().map(|end| end.load(Ordering::Acquire)).collect();
        Self { shared, queue, next }
    }

    /// Writes until every sender is gone, or until a write fails: what the storage holds is uncertain then, and
    /// only opening the log again finds out.
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
            if self.write(group).is_err() {
                return;
            }
        }
    }

    /// Makes `group` durable as a whole, then tells every caller.
    fn write(&mut self, group: Vec<Append>) -> Result<(), ()> {
        let shared = Arc::clone(&self.shared);
        let _writing = shared.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut placed = Vec::with_capacity(group.len());
        let mut batch = shared.database.batch().durability(Some(PersistMode::SyncData));
        let mut touched = BTreeMap::new();
        for append in group {
            let frames = match shared.hours.for_hour(&shared.database, append.hour) {
                Ok(frames) => frames,
                Err(error) => return fail(placed, append.reply, error),
            };
            let partition = append.partition;
            let next = &mut self.next[usize::from(partition.0)];
            let position = *next;
            *next += 1;
            touched.insert(partition.0, *next);
            let value = frame::encode(partition, position, &append.bytes);
            batch.insert(&frames, &frame::key(partition, position)[..], value);
            let Append { in_flight, reply, .. } = append;
            placed.push(Placed { partition, position, frames, _in_flight: in_flight, reply });
        }
        for (partition, next) in touched {
            batch.insert(&shared.meta, next_key(partition), &next.to_be_bytes()[..]);
        }
        tracing::trace!(target: "quorate::moment", "log append");
        if let Err(error) = batch.commit() {
            let last = placed.pop().expect("a group has at least one frame");
            return fail(placed, last.reply, storage(error));
        }
        tracing::trace!(target: "quorate::moment", "log tell");
        for Placed { partition, position, frames, reply, _in_flight } in placed {
            shared.hours.note(&frames, partition, position);
            shared.ends[usize::from(partition.0)].store(position + 1, Ordering::Release);
            // A caller that is gone has lost its answer, not its frame.
            let _gone = reply.send(Ok(Position(position)));
        }
        shared.appended.notify_one();
        tracing::trace!(target: "quorate::moment", "log wait");
        Ok(())
    }
}

/// Tells the callers of a group that the storage failed: the cause to one of them, that it happened to the rest.
fn fail(
    placed: Vec<Placed>,
    reply: oneshot::Sender<Result<Position, LogError>>,
    error: LogError,
) -> Result<(), ()> {
    tracing::error!(%error, frames = placed.len() + 1, "appending failed");
    let _gone = reply.send(Err(error));
    for Placed { reply, .. } in placed {
        let _gone = reply.send(Err(LogError::Stopped));
    }
    Err(())
}
