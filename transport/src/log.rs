//! What a log is, whoever keeps it.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use anonymizer::Sealed;
use async_trait::async_trait;
use uuid::Uuid;

/// One of the parts of a log that are ordered in themselves, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub u16);

/// The place of a frame in its partition: ascending, not always without gaps, never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The position after this one: where to read on.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Tells one log from every other: random, made with it. A stored position means something only beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(pub Uuid);

/// Lower-case, with hyphens.
impl fmt::Display for LogId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// A durable, ordered record of frames, split into partitions.
///
/// What an implementation guarantees is written down as [`crate::conformance::check`].
#[async_trait]
pub trait Log: Send + Sync {
    /// The log's own id; the same whenever it is opened.
    fn id(&self) -> LogId;

    /// How many partitions it has: fixed when it was made, at least one.
    fn partitions(&self) -> u16;

    /// Returns once `frame` would survive a crash of this process and of the machine.
    ///
    /// What [`anonymizer::Sealed::into_parts`] gives beside the bytes is held until readers can find them.
    ///
    /// Positions of one partition ascend in the order in which appends return.
    ///
    /// # Errors
    ///
    /// [`LogError::is_retryable`] tells which failures are worth another attempt. A frame whose fate is unknown
    /// may be appended again: readers drop the copy by event key.
    async fn append(&self, partition: Partition, frame: Sealed) -> Result<Position, LogError>;

    /// Frames of `partition` at `from` and later, in order: as many as fit into `bytes_max` bytes, but at least
    /// one if there is any. Only frames that are durable; none is ever seen and then gone after a crash.
    ///
    /// Where the frame at `from` was removed, reading begins with the oldest that is left.
    ///
    /// # Errors
    ///
    /// [`LogError::Corrupt`] where the first frame is not what was appended, and [`LogError::Lost`] where it is missing:
    /// it is named, not passed over. Frames before such a one come first; who has them reads on at it.
    async fn read(
        &self,
        partition: Partition,
        from: Position,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Sealed)>, LogError>;

    /// Puts frames in the place of others, at the same positions of `partition`; returns once they would survive a crash,
    /// and counts them. Where no frame is any more, none is put. A reader finds the old frame or the new one.
    ///
    /// After a failure or a crash some may be in their place and others not: it is done again, and may be.
    ///
    /// What storage keeps of the old bytes is not wiped: whoever wants them gone destroys their key afterwards.
    ///
    /// # Errors
    ///
    /// [`LogError::NoPartition`], [`LogError::Storage`].
    async fn replace(
        &self,
        partition: Partition,
        frames: Vec<(Position, Sealed)>,
    ) -> Result<u64, LogError>;

    /// The frame that is in the place of the one that was appended at `position`, by the newest that can be known.
    ///
    /// For who read a frame whose key is destroyed: it may have been sealed again since it was read, or fetched to be read.
    /// Only if what this gives cannot be opened either did it expire. None if nothing took its place.
    ///
    /// # Errors
    ///
    /// As [`Log::read`].
    async fn replaced(
        &self,
        partition: Partition,
        position: Position,
    ) -> Result<Option<Sealed>, LogError> {
        let found = self.read(partition, position, 0).await?.into_iter().next();
        Ok(found.filter(|(at, _)| *at == position).map(|(_, frame)| frame))
    }

    /// The position that the next frame of `partition` has at least: reading from it gives nothing yet.
    ///
    /// # Errors
    ///
    /// [`LogError::NoPartition`].
    async fn end(&self, partition: Partition) -> Result<Position, LogError>;

    /// Another process reads `partition` from now on: nothing of it need be kept at hand here.
    fn release(&self, _: Partition) {}

    /// Returns when something was appended, to any partition, since the last call returned; at once if it was.
    /// For one reader: a second one that waits shares its wake-ups.
    async fn appended(&self);

    /// Removes every frame sealed in `hour` (hours since 1970) or before, and tells how many. Frames that share
    /// their storage with those of a later hour, or lie behind one, may stay until that hour goes.
    ///
    /// # Errors
    ///
    /// [`LogError::Storage`].
    async fn remove_through(&self, hour: u32) -> Result<u64, LogError>;

    /// Space that the log takes, in bytes; an estimate.
    async fn bytes(&self) -> u64;

    /// Hours (since 1970) in which frames that it holds were sealed at the latest, and how many, oldest first; none where
    /// somebody else keeps them.
    async fn hours(&self) -> Vec<(u32, u64)> {
        Vec::new()
    }
}

/// Why a log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is no such partition.
    #[error("no partition {asked}: the log has {partitions}, counted from 0")]
    NoPartition {
        /// The partition asked for.
        asked: u16,
        /// How many there are.
        partitions: u16,
    },
    /// The log was made with another number of partitions, and that is fixed: events are found again by it.
    #[error("the log has {found} partitions, not {asked}: the number is fixed for its life")]
    PartitionCount {
        /// What it was made with.
        found: u16,
        /// What was asked for.
        asked: u16,
    },
    /// A stored frame is not what was appended: torn, changed, or moved.
    #[error("the frame at position {position} of partition {partition} is damaged")]
    Corrupt {
        /// Its partition.
        partition: u16,
        /// Its position.
        position: u64,
    },
    /// Frames that were acknowledged are not there, and were not removed.
    #[error(
        "frames {from} to {} of partition {partition} were acknowledged and are gone", to - 1
    )]
    Lost {
        /// Their partition.
        partition: u16,
        /// The first position.
        from: u64,
        /// The position behind the last.
        to: u64,
    },
    /// The storage found its own files to be damaged, and opens no more.
    #[error("the log in {path} is damaged: {source}")]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What the storage said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A topic is not there, not the one that was known, or not set up as frames need it.
    #[error("topic {topic} cannot be used: {problem}; {remedy}")]
    Topic {
        /// Its name.
        topic: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// What the log keeps about itself cannot be read.
    #[error("the log's own record of {0} is damaged")]
    Damaged(&'static str),
    /// The storage refused. Whether a frame was kept is unknown, so that it may be appended again.
    #[error("the log's storage failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A write failed and the storage is being opened again, or the log is being closed.
    #[error("the log takes and gives no frames until its storage is open again")]
    Stopped,
}

impl LogError {
    /// Whether the same call may succeed later. What is not is a mistake
    /// of the caller or damage that needs a person.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Storage(_) | Self::Stopped => true,
            Self::NoPartition { .. }
            | Self::PartitionCount { .. }
            | Self::Corrupt { .. }
            | Self::Lost { .. }
            | Self::Unreadable { .. }
            | Self::Topic { .. }
            | Self::Damaged(_) => false,
        }
    }

    /// The partition and positions of frames that the log had and cannot give any more: reading can go on behind
    /// them. None for every other failure.
    #[must_use]
    pub fn gone(&self) -> Option<(u16, Range<u64>)> {
        match *self {
            Self::Corrupt { partition, position } => Some((partition, position..position + 1)),
            Self::Lost { partition, from, to } => Some((partition, from..to)),
            Self::NoPartition { .. }
            | Self::PartitionCount { .. }
            | Self::Unreadable { .. }
            | Self::Topic { .. }
            | Self::Damaged(_)
            | Self::Storage(_)
            | Self::Stopped => None,
        }
    }
}
