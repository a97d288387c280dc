//! Which partitions are this process's own, by the vote of a consumer group.
//!
//! The member fetches nothing: whoever owns a partition reads it by position ([`super::TopicReader`]), because positions
//! are kept with the tables. Partitions are given up late: the member waits with its answer until what was read of
//! them is committed, or [`RELEASE_MAX`] has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use tokio::sync::watch;

use super::client::{complain, log};
use super::{ConfigError, KafkaConfig};
use crate::LogError;

/// How long a group waits for this member to commit what it is about to give up.
pub const RELEASE_MAX: Duration = Duration::from_secs(5);
/// Between two looks at what the group has to say.
const POLL_EVERY: Duration = Duration::from_millis(100);

/// A partition of a topic.
type Owned = (String, u16);

/// What a member knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// Counts assignments, so that two that name the same partitions can be told apart.
    pub generation: u64,
    /// Partitions that are this member's own, by topic and number.
    pub owned: BTreeSet<Owned>,
    /// Those of them that the group wants back: commit, then [`Membership::release`].
    pub revoking: BTreeSet<Owned>,
}

/// Membership in a consumer group.
pub struct Membership {
    consumer: Arc<BaseConsumer<Context>>,
    known: watch::Receiver<Assignment>,
    released: Arc<Released>,
    stopped: Arc<AtomicBool>,
    poller: Option<JoinHandle<()>>,
}

/// Whether what is revoked was let go.
#[derive(Default)]
struct Released {
    done: Mutex<bool>,
    changed: Condvar,
    /// Whether the member leaves: nothing of it waits to be committed any more.
    leaving: AtomicBool,
}

struct Context {
    known: watch::Sender<Assignment>,
    released: Arc<Released>,
}

impl Membership {
    /// Joins `group` for all partitions of `topics`. `over` are properties over those of `config`; among them
    /// `session.timeout.ms`, after which a member that is silent loses its partitions.
    ///
    /// # Errors
    ///
    /// If the properties cannot be used.
    pub fn join(
        config: &KafkaConfig,
        group: &str,
        topics: &[&str],
        over: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let mut client = config.consumer(group, over)?;
        // Nothing is consumed by the member, so that nothing can be passed over by it.
        client.set("auto.offset.reset", "latest").set("enable.partition.eof", "false");
        if client.get("partition.assignment.strategy").is_none() {
            client.set("partition.assignment.strategy", "cooperative-sticky");
        }
        let (sender, known) = watch::channel(Assignment::default());
        let released = Arc::new(Released::default());
        let context = Context { known: sender, released: Arc::clone(&released) };
        let consumer: BaseConsumer<Context> =
            client.create_with_context(context).map_err(ConfigError::of)?;
        consumer.subscribe(topics).map_err(ConfigError::of)?;
        let consumer = Arc::new(consumer);
        let stopped = Arc::new(AtomicBool::new(false));
        let (polled, stop) = (Arc::clone(&consumer), Arc::clone(&stopped));
        let poller = std::thread::Builder::new()
            .name("kafka-member".to_owned())
            .spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    if let Some(Err(error)) = polled.poll(POLL_EVERY) {
                        complain(&error, "the group");
                    }
                }
            })
            .map_err(|error| ConfigError::Client(error.to_string()))?;
        Ok(Self { consumer, known, released, stopped, poller: Some(poller) })
    }

    /// What this member owns now.
    #[must_use]
    pub fn assigned(&self) -> Assignment {
        self.known.borrow().clone()
    }

    /// Returns when what this member owns, or is to give up, has changed since the last call returned.
    pub async fn changed(&mut self) -> Assignment {
        // The sender lives as long as the consumer.
        drop(self.known.changed().await);
        self.known.borrow_and_update().clone()
    }

    /// Lets go of all that is being revoked: it was committed, or is void.
    pub fn release(&self) {
        *self.released.done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.released.changed.notify_all();
    }

    /// Tells the group how far partitions are committed, for tools that show lag: topic, partition, next position.
    /// Nothing depends on it, so a failure is logged by librdkafka and otherwise ignored.
    pub fn note_committed(&self, next: &[(&str, u16, u64)]) {
        let mut list = TopicPartitionList::new();
        for (topic, partition, position) in next {
            let Ok(offset) = i64::try_from(*position) else { continue };
            let offset = Offset::Offset(offset);
            if list.add_partition_offset(topic, i32::from(*partition), offset).is_err() {
                return;
            }
        }
        if list.count() > 0
            && let Err(error) = self.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!("positions were not told to the group: {error}");
        }
    }

    /// Leaves the group at once, without waiting for its session to end; off the async threads.
    ///
    /// # Errors
    ///
    /// If the thread that speaks with the group panicked.
    pub async fn leave(mut self) -> Result<(), LogError> {
        super::client::blocking(move || {
            self.stop();
            Ok(())
        })
        .await
    }

    fn stop(&mut self) {
        self.released.leaving.store(true, Ordering::Release);
        self.stopped.store(true, Ordering::Release);
        self.release();
        if let Some(poller) = self.poller.take()
            && poller.join().is_err()
        {
            tracing::error!("the member of a Kafka group panicked");
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop();
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        complain(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            let revoking = owned(list);
            let leaving = self.released.leaving.load(Ordering::Acquire);
            if !consumer.assignment_lost() && !revoking.is_empty() && !leaving {
                self.wait_for_release(&revoking);
            }
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                if let Err(error) = consumer.pause(list) {
                    tracing::warn!("partitions cannot be paused: {error}");
                }
                let added = owned(list);
                self.known.send_modify(|known| {
                    known.generation += 1;
                    known.owned.extend(added);
                });
            }
            Rebalance::Revoke(list) => {
                let gone = owned(list);
                self.known.send_modify(|known| {
                    known.generation += 1;
                    known.owned.retain(|one| !gone.contains(one));
                    known.revoking.clear();
                });
            }
            Rebalance::Error(error) => complain(error, "the group could not agree"),
        }
    }
}

impl Context {
    fn wait_for_release(&self, revoking: &BTreeSet<Owned>) {
        let mut done = self.released.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done = false;
        self.known.send_modify(|known| {
            known.generation += 1;
            known.revoking.clone_from(revoking);
        });
        let waited = self.released.changed.wait_timeout_while(done, RELEASE_MAX, |done| !*done);
        let (done, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !*done {
            tracing::warn!("partitions were given up before they were committed");
        }
    }
}

fn owned(list: &TopicPartitionList) -> BTreeSet<Owned> {
    let elements = list.elements();
    let owned = elements.iter().filter_map(|element| {
        Some((element.topic().to_owned(), u16::try_from(element.partition()).ok()?))
    });
    owned.collect()
}
