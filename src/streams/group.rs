//! A worker's place in a consumer group of Kafka.

use std::collections::BTreeSet;

use futures::FutureExt;
use futures::future::BoxFuture;
use transport::kafka::Membership;

use super::{Member, Share};

/// A member for one topic, whose partitions rows carry from `first` on.
pub(crate) struct Group {
    membership: Membership,
    topic: String,
    first: u16,
}

impl Group {
    pub(crate) fn new(membership: Membership, topic: String, first: u16) -> Self {
        Self { membership, topic, first }
    }
}

impl Member for Group {
    fn share(&self) -> Share {
        let assigned = self.membership.assigned();
        let numbers = |owned: &BTreeSet<(String, u16)>| {
            let own = owned.iter().filter(|(topic, _)| *topic == self.topic);
            own.map(|(_, partition)| self.first.saturating_add(*partition)).collect()
        };
        Share { owned: numbers(&assigned.owned), revoking: numbers(&assigned.revoking) }
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        self.membership.changed().map(drop).boxed()
    }

    fn release(&self) {
        self.membership.release();
    }

    fn note_committed(&self, next: &[(u16, u64)]) {
        let next = next.iter().filter_map(|(partition, next)| {
            Some((self.topic.as_str(), partition.checked_sub(self.first)?, *next))
        });
        self.membership.note_committed(&next.collect::<Vec<_>>());
    }
}
