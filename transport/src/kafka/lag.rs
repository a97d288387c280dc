//! How far groups say that they are.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::KafkaConfig;
use super::client::{ANSWER_MAX, Told, blocking, storage};
use crate::LogError;

/// The positions that `group` has committed for partitions of `topic`: those that [`super::Membership::note_committed`]
/// told. Partitions for which it never did are not there. `over` are properties over those of `config`.
///
/// # Errors
///
/// [`LogError::Storage`].
pub async fn committed(
    config: &KafkaConfig,
    group: &str,
    topic: &str,
    partitions: u16,
    over: &BTreeMap<String, String>,
) -> Result<BTreeMap<u16, u64>, LogError> {
    let client = config.consumer(group, over);
    let client = client.map_err(|error| LogError::Storage(Box::new(error)))?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition(topic, i32::from(partition));
    }
    blocking(move || {
        let consumer: BaseConsumer<Told> = client.create_with_context(Told).map_err(storage)?;
        let list = consumer.committed_offsets(list, ANSWER_MAX).map_err(storage)?;
        let elements = list.elements();
        let known = elements.iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => {
                Some((u16::try_from(element.partition()).ok()?, u64::try_from(offset).ok()?))
            }
            Offset::Beginning
            | Offset::End
            | Offset::Stored
            | Offset::Invalid
            | Offset::OffsetTail(_) => None,
        });
        Ok(known.collect())
    })
    .await
}
