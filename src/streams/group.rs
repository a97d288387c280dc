//! A worker's place in a consumer group of Kafka.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use sink::Stream;
use transport::kafka::Membership;

use super::{Member, Share};

/// A member for the topic of one stream.
pub(crate) struct Group {
    membership: Membership,
    topic: String,
    stream: Stream,
    /// Whether partitions were given that came after the stream was opened.
    told: AtomicBool,
}

impl Group {
    pub(crate) fn new(membership: Membership, topic: String, stream: &Stream) -> Self {
        Self { membership, topic, stream: stream.clone(), told: AtomicBool::new(false) }
    }

    /// The numbers of those partitions that the stream had when it was opened.
    fn numbers(&self, partitions: &BTreeSet<(String, u16)>) -> BTreeSet<u16> {
        let own = partitions.iter().filter(|(topic, _)| *topic == self.topic);
        let (known, new): (Vec<u16>, Vec<u16>) = own
            .map(|(_, partition)| *partition)
            .partition(|partition| *partition < self.stream.partitions);
        if !new.is_empty() && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                topic = self.topic,
                partitions = self.stream.partitions,
                "the topic has more partitions by now: they are read once all workers were started again"
            );
        }
        known.into_iter().map(|partition| self.stream.first + partition).collect()
    }
}

impl Member for Group {
    fn share(&self) -> Share {
        let assigned = self.membership.assigned();
        Share { owned: self.numbers(&assigned.owned), revoking: self.numbers(&assigned.revoking) }
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        self.membership.changed().map(drop).boxed()
    }

    fn release(&self) {
        self.membership.release();
    }

    fn note_committed(&self, next: &[(u16, u64)]) {
        let next = next.iter().filter_map(|(partition, next)| {
            Some((self.topic.as_str(), self.stream.index(*partition)?, *next))
        });
        self.membership.note_committed(&next.collect::<Vec<_>>());
    }
}
