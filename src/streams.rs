//! What a worker reads: our log, and topics of others, as streams of numbered partitions; and which of these are its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::{BoxFuture, pending, select_all};
use sink::{Own, Stream};
use transport::{Log, LogError, Partition};

#[cfg(feature = "kafka")]
use crate::source::Source;

#[cfg(feature = "kafka")]
pub(crate) mod group;
mod none;

pub(crate) use none::NoLog;

/// A stream, and how to get at its records. Partitions are numbered as rows carry them.
#[derive(Clone)]
pub struct Feed {
    /// As tables know it.
    pub stream: Stream,
    /// Where its records are.
    pub from: Records,
}

/// Where the records of a stream are.
#[derive(Clone)]
pub enum Records {
    /// Sealed frames in our log.
    Log(Arc<dyn Log>),
    /// JSON in a topic of others.
    #[cfg(feature = "kafka")]
    Topic(Arc<Source>),
}

impl Feed {
    /// Our log.
    #[must_use]
    pub fn log(log: Arc<dyn Log>) -> Self {
        let stream = Stream::log(log.id().to_string(), log.partitions());
        Self { stream, from: Records::Log(log) }
    }

    /// A topic of others.
    #[cfg(feature = "kafka")]
    #[must_use]
    pub fn topic(source: Arc<Source>) -> Self {
        Self { stream: source.stream(), from: Records::Topic(source) }
    }

    /// Whether somebody else writes it, so that it can be away or another one while all of ours is well.
    #[must_use]
    pub fn is_of_others(&self) -> bool {
        !matches!(self.from, Records::Log(_))
    }

    /// Its partitions.
    pub fn partitions(&self) -> impl Iterator<Item = u16> + use<> {
        self.stream.numbers()
    }

    /// The position behind the last record of a partition, which is one of [`Feed::partitions`].
    ///
    /// # Errors
    ///
    /// Whatever the log or the brokers report.
    pub async fn end(&self, partition: u16) -> Result<u64, LogError> {
        let own = Partition(partition - self.stream.first);
        match &self.from {
            Records::Log(log) => Ok(log.end(own).await?.0),
            #[cfg(feature = "kafka")]
            Records::Topic(source) => source.end(partition).await,
        }
    }

    /// Another process reads this partition from now on.
    pub fn release(&self, partition: u16) {
        match &self.from {
            Records::Log(log) => log.release(Partition(partition - self.stream.first)),
            #[cfg(feature = "kafka")]
            Records::Topic(source) => source.release(partition),
        }
    }

    /// Tells the brokers of a topic of others how far it is committed; nothing depends on it.
    fn note_committed(&self, next: &[(u16, u64)]) {
        match &self.from {
            Records::Log(_) => {}
            #[cfg(feature = "kafka")]
            Records::Topic(source) => source.note_committed(next),
        }
    }

    /// Returns when there may be more to read; for one reader, as [`Log::appended`].
    pub async fn appended(&self) {
        match &self.from {
            Records::Log(log) => log.appended().await,
            #[cfg(feature = "kafka")]
            Records::Topic(source) => source.appended().await,
        }
    }
}

/// What a group of workers says of one stream's partitions, by their numbers in rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Those that are this process's.
    pub owned: BTreeSet<u16>,
    /// Those of them that are wanted back.
    pub revoking: BTreeSet<u16>,
}

/// A place in a group whose members share the partitions of a stream.
pub trait Member: Send + Sync {
    /// What is this process's now.
    fn share(&self) -> Share;

    /// Returns when that has changed since the last call returned.
    fn changed(&mut self) -> BoxFuture<'_, ()>;

    /// Lets go of what is wanted back: it was committed, or is void.
    fn release(&self);

    /// Tells others how far partitions are committed, of those that are this stream's; nothing depends on it.
    fn note_committed(&self, next: &[(u16, u64)]);
}

/// All streams of a worker.
#[derive(Default)]
pub struct Streams {
    feeds: Vec<Feed>,
    /// One for each stream with partitions, if they are shared with others; none if nothing is.
    members: Vec<Box<dyn Member>>,
}

impl Streams {
    /// Streams that nobody shares.
    #[must_use]
    pub fn whole(feeds: Vec<Feed>) -> Self {
        Self { feeds, members: Vec::new() }
    }

    /// Streams whose partitions members of groups share.
    #[must_use]
    pub fn shared(feeds: Vec<Feed>, members: Vec<Box<dyn Member>>) -> Self {
        Self { feeds, members }
    }

    /// The streams, in the order of their partitions.
    #[must_use]
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// As tables know them.
    #[must_use]
    pub fn streams(&self) -> Vec<Stream> {
        self.feeds.iter().map(|feed| feed.stream.clone()).collect()
    }

    /// The stream that has this partition.
    #[must_use]
    pub fn of(&self, partition: u16) -> Option<&Feed> {
        self.feeds.iter().rfind(|feed| feed.stream.index(partition).is_some())
    }

    /// Whether the groups decide what is this process's.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        !self.members.is_empty()
    }

    /// What the groups give this process. Who has the lowest partition looks after the tables.
    #[must_use]
    pub fn own(&self) -> Own {
        let shares = self.members.iter().map(|member| member.share());
        let own: BTreeSet<u16> = shares.flat_map(|share| &share.owned - &share.revoking).collect();
        let first = self.feeds.iter().flat_map(Feed::partitions).next();
        let maintainer = first.is_some_and(|first| own.contains(&first));
        Own::shared(own, maintainer)
    }

    /// Returns when [`Streams::own`] may have changed, or something is wanted back.
    pub async fn changed(&mut self) {
        if self.members.is_empty() {
            return pending().await;
        }
        drop(select_all(self.members.iter_mut().map(|member| member.changed())).await);
    }

    /// Lets go of all that is wanted back.
    pub fn release(&self) {
        self.members.iter().for_each(|member| member.release());
    }

    /// Tells the groups how far partitions are committed.
    pub fn note_committed(&self, next: &[(u16, u64)]) {
        self.members.iter().for_each(|member| member.note_committed(next));
        if self.members.is_empty() {
            // Nobody shares a topic of others: its group has no members, and lag is watched in it all the same.
            self.feeds.iter().for_each(|feed| feed.note_committed(next));
        }
    }
}

/// Returns when one of these streams may have more to read.
pub(crate) async fn appended(feeds: &[Feed]) {
    if feeds.is_empty() {
        return pending().await;
    }
    drop(select_all(feeds.iter().map(|feed| feed.appended().boxed())).await);
}
