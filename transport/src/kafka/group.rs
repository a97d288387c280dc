//! Who is in a group.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::KafkaConfig;
use super::client::{ANSWER_MAX, Told, blocking, storage};
use crate::LogError;

/// How many members `group` has; one that was killed counts until its session has ended.
///
/// # Errors
///
/// [`LogError::Storage`].
pub async fn members(config: &KafkaConfig, group: &str) -> Result<usize, LogError> {
    let client = config.consumer(group, &BTreeMap::new());
    let client = client.map_err(|error| LogError::Storage(Box::new(error)))?;
    let group = group.to_owned();
    blocking(move || {
        let consumer: BaseConsumer<Told> = client.create_with_context(Told).map_err(storage)?;
        let list = consumer.fetch_group_list(Some(&group), ANSWER_MAX).map_err(storage)?;
        Ok(list.groups().iter().map(|group| group.members().len()).sum())
    })
    .await
}
