//! Marks in the life of a topic of others: whether it still is the topic that was read.
//!
//! A mark is an offset that a group commits which nobody joins, as the log's own anchor is ([`super::identity`]): Kafka
//! forgets the offsets of a topic that is deleted, so one that was made again under the same name has none, however far it
//! has grown.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Told, blocking, storage};
use super::identity::{committed, patient};
use super::{ConfigError, KafkaConfig};
use crate::LogError;

/// What a mark says, for whoever lists the group's offsets.
const SAID: &str = "read by quorate: without this the topic counts as another one";

/// The marks in one topic.
pub struct Marks {
    consumer: Arc<BaseConsumer<Told>>,
    topic: String,
}

impl Marks {
    /// Marks of `topic` that `group` keeps. Nothing is asked of a broker yet.
    ///
    /// # Errors
    ///
    /// If the properties cannot be used.
    pub fn new(config: &KafkaConfig, group: &str, topic: &str) -> Result<Self, ConfigError> {
        let client = config.consumer(group, &BTreeMap::new())?;
        let consumer = client.create_with_context(Told).map_err(ConfigError::of)?;
        Ok(Self { consumer: Arc::new(consumer), topic: topic.to_owned() })
    }

    /// Marks a partition, before anything of it is stored; again, so that Kafka does not forget what nobody commits for
    /// days. `position` is for whoever looks.
    ///
    /// # Errors
    ///
    /// [`LogError::Storage`] if brokers do not answer.
    pub async fn set(&self, partition: u16, position: u64) -> Result<(), LogError> {
        let (consumer, topic) = (Arc::clone(&self.consumer), self.topic.clone());
        blocking(move || {
            let mut list = TopicPartitionList::new();
            let mut element = list.add_partition(&topic, i32::from(partition));
            let offset = i64::try_from(position).unwrap_or(i64::MAX);
            element.set_offset(Offset::Offset(offset)).map_err(storage)?;
            element.set_metadata(SAID);
            patient(|| consumer.commit(&list, CommitMode::Sync))
        })
        .await
    }

    /// Whether a partition has its mark.
    ///
    /// # Errors
    ///
    /// [`LogError::Storage`] if brokers do not answer.
    pub async fn is_set(&self, partition: u16) -> Result<bool, LogError> {
        let (consumer, topic) = (Arc::clone(&self.consumer), self.topic.clone());
        blocking(move || {
            let found = committed(&consumer, &topic, partition.saturating_add(1))?;
            Ok(found.contains_key(&partition))
        })
        .await
    }
}
