//! The log in Kafka, and the groups by which workers share its partitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use anonymizer::Resolver;
use anyhow::Context;
use schemas::Package;
use transport::Log;
use transport::kafka::{KafkaConfig, KafkaLog, Membership};

use crate::config::Config;
use crate::pipeline::watch::Others;
use crate::source::Source;
use crate::store::shared;
use crate::streams::group::Group;
use crate::streams::{Feed, Member, Records};

/// What clients of Kafka are made of.
///
/// # Errors
///
/// If there is no `[kafka]`, or a property cannot be read.
pub(crate) fn client(config: &Config) -> anyhow::Result<KafkaConfig> {
    let kafka = config.kafka.as_ref().context("there is no [kafka] in the configuration")?;
    Ok(KafkaConfig {
        prefix: kafka.prefix.clone(),
        properties: kafka.properties.read().context("[kafka.properties] cannot be used")?,
        partitions: config.log.partitions,
        replication: kafka.replication,
        buffer_bytes: kafka.buffer_bytes,
        frame_bytes_max: config.ingest.frame_bytes_max,
        raw_retention_max_ms: config.log.raw_retention_ms().1,
    })
}

/// Opens the log.
pub(super) async fn open(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    // Its id is beside the keys, without which nobody reads it.
    let log = KafkaLog::open(&client(config)?, shared::keys(config)?).await;
    Ok(Arc::new(log.context("the log in Kafka cannot be opened")?))
}

/// Refuses while a worker is in the group: a command that works alone would take its partitions away.
pub(super) async fn nobody_works(config: &Config) -> anyhow::Result<()> {
    let client = client(config)?;
    let group = client.group();
    let members = transport::kafka::members(&client, &group).await?;
    let name = config.kafka.as_ref().map_or("", |kafka| kafka.prefix.as_str());
    anyhow::ensure!(
        members == 0,
        "{members} workers of {name} are running: stop all of them first (one that was killed counts until its \
         session.timeout.ms has passed)"
    );
    Ok(())
}

/// Asks the group how far its members said that they are, for a node that does not commit everything itself.
pub(super) fn others(config: &Config) -> Option<Others> {
    // It opened the log already, so that all of it is there.
    let client = client(config).ok()?;
    Some(Box::new(move || {
        let client = client.clone();
        Box::pin(async move {
            let (group, topic) = (client.group(), client.topic());
            let none = BTreeMap::new();
            let partitions = client.partitions;
            let said = transport::kafka::committed(&client, &group, &topic, partitions, &none);
            said.await.context("what workers committed is not known")
        })
    }))
}

/// The topics of others that are configured.
pub(super) async fn sources(
    config: &Config,
    package: &Arc<Package>,
    resolver: &Arc<Resolver>,
) -> anyhow::Result<Vec<Feed>> {
    let common = config.kafka_properties();
    let mut feeds = Vec::new();
    for source in &config.sources.kafka {
        let slot = sink::slot(&config.events_root()?, &config.staging_dir(), &source.name).await?;
        let source = Source::open(source, &common, package, resolver, slot).await?;
        feeds.push(Feed::topic(Arc::new(source)));
    }
    feeds.sort_by_key(|feed| feed.stream.first);
    Ok(feeds)
}

/// Joins the groups of workers, one for each stream that has partitions.
pub(super) fn members(config: &Config, feeds: &[Feed]) -> anyhow::Result<Vec<Box<dyn Member>>> {
    let mut members: Vec<Box<dyn Member>> = Vec::new();
    for feed in feeds.iter().filter(|feed| feed.stream.partitions > 0) {
        let (membership, topic) = match &feed.from {
            Records::Log(_) => {
                let client = client(config)?;
                let (group, topic) = (client.group(), client.topic());
                (Membership::join(&client, &group, &[&topic], &BTreeMap::new())?, topic)
            }
            Records::Topic(source) => (source.join()?, source.topic().to_owned()),
        };
        members.push(Box::new(Group::new(membership, topic, &feed.stream)));
    }
    Ok(members)
}
