//! Kafka as the log, and topics of others as sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use ingest::RecordConfig;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::Properties;

/// Where the list of brokers stands among the properties.
const BROKERS: &str = "bootstrap.servers";
/// Sources that one installation may have: their partitions are numbered from 1024 on, 256 each.
const SOURCES_MAX: usize = 248;
/// Longest record that may be asked for, in bytes.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// The log in Kafka.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaConfig {
    /// Topics are `<prefix>.raw` and `<prefix>.replaced`, groups begin with it too.
    pub prefix: String,
    /// Copies of each partition that `quorate kafka topics create` asks for.
    pub replication: i16,
    /// Bytes of frames that wait for brokers; what comes beyond it is answered 503. More takes memory, and bridges a
    /// longer outage only as far as `ingest.durable_timeout_s` lets requests wait.
    pub buffer_bytes: u64,
    /// librdkafka's settings, for every client.
    pub properties: Properties,
    /// Where the brokers are, by your word, for a package that promises a residency: a country (`DE`) or `EEA`.
    pub region: Option<String>,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        Self {
            prefix: "quorate".to_owned(),
            replication: 3,
            buffer_bytes: 64 << 20,
            properties: Properties::default(),
            region: None,
        }
    }
}

impl KafkaConfig {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if !cfg!(feature = "kafka") {
            bail!("[kafka] is set, but this binary was built without the feature `kafka`");
        }
        if !is_topic(&self.prefix) {
            bail!("kafka.prefix takes 1 to 200 letters, digits, `.`, `_` and `-`");
        }
        if self.replication < 1 {
            bail!("kafka.replication must be at least 1");
        }
        if self.buffer_bytes < 1 << 20 {
            bail!("kafka.buffer_bytes must be at least 1048576");
        }
        if !self.properties.has(BROKERS) {
            bail!("[kafka.properties] must name brokers, as in \"{BROKERS}\" = \"a:9092,b:9092\"");
        }
        Ok(())
    }
}

/// A topic of somebody else, read into the tables.
#[derive(Clone, Debug, Deserialize)]
pub struct KafkaSource {
    /// Letters, digits and `-`; the tables remember positions by it, for ever.
    pub name: String,
    /// The topic.
    pub topic: String,
    /// The consumer group by which workers share its partitions, and in which lag can be watched.
    pub group: String,
    /// Where a partition begins that was never read.
    #[serde(default)]
    pub start: Start,
    /// How a record becomes an event; its keys stand in this table.
    #[serde(flatten)]
    pub record: RecordConfig,
    /// librdkafka's settings over those of `[kafka.properties]`.
    #[serde(default)]
    pub properties: Properties,
    /// Keys that mean nothing, to be refused.
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

/// Where a partition begins that was never read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At the oldest record that is there.
    #[default]
    Earliest,
    /// At the end: what is there already is left alone.
    Latest,
}

impl KafkaSource {
    fn check(&self, common: &Properties) -> anyhow::Result<()> {
        if !cfg!(feature = "kafka") {
            bail!("this binary was built without the feature `kafka`");
        }
        if !is_topic(&self.topic) || self.group.is_empty() {
            bail!(
                "`topic` takes 1 to 200 letters, digits, `.`, `_` and `-`, and `group` must not be empty"
            );
        }
        if let Some(key) = self.unknown.keys().next() {
            bail!("`{key}` is no key of it");
        }
        if !(1..=RECORD_BYTES_MAX).contains(&self.record.record_bytes_max) {
            bail!("`record_bytes_max` must be between 1 and {RECORD_BYTES_MAX}");
        }
        if self.record.family.is_some() == self.record.family_field.is_some() {
            bail!(
                "write either `family`, or `family_field` if records name their family themselves"
            );
        }
        if !self.properties.over(common).has(BROKERS) {
            bail!(
                "[sources.kafka.properties] or [kafka.properties] must name brokers: \"{BROKERS}\" = \"a:9092\""
            );
        }
        Ok(())
    }
}

/// Where events come from: who may post them, and topics of others. `sources = "FILE"` is short for its `registry`.
#[derive(Clone, Debug)]
pub struct SourcesConfig {
    /// Registry of who may write (`quorate source`); holds hashes of keys only.
    pub registry: PathBuf,
    /// Topics of others.
    pub kafka: Vec<KafkaSource>,
}

impl Default for SourcesConfig {
    fn default() -> Self {
        Self { registry: "sources.toml".into(), kafka: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    registry: Option<PathBuf>,
    #[serde(default)]
    kafka: Vec<KafkaSource>,
}

impl<'de> Deserialize<'de> for SourcesConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct FileOrTable;
        impl<'de> Visitor<'de> for FileOrTable {
            type Value = SourcesConfig;

            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("the registry's file, or a table with `registry` and `kafka`")
            }

            fn visit_str<E>(self, registry: &str) -> Result<SourcesConfig, E> {
                Ok(SourcesConfig { registry: registry.into(), kafka: Vec::new() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SourcesConfig, A::Error> {
                let Table { registry, kafka } =
                    Table::deserialize(MapAccessDeserializer::new(map))?;
                let registry = registry.unwrap_or(SourcesConfig::default().registry);
                Ok(SourcesConfig { registry, kafka })
            }
        }
        from.deserialize_any(FileOrTable)
    }
}

impl SourcesConfig {
    pub(super) fn relative_to(&mut self, folder: &Path) {
        self.registry = folder.join(&self.registry);
        for source in &mut self.kafka {
            source.properties.relative_to(folder);
        }
    }

    pub(super) fn check(&self, common: &Properties) -> anyhow::Result<()> {
        if self.kafka.len() > SOURCES_MAX {
            bail!("at most {SOURCES_MAX} tables [[sources.kafka]] are possible");
        }
        let mut names = BTreeSet::new();
        for source in &self.kafka {
            let name = &source.name;
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
                bail!("the name of each [[sources.kafka]] takes 1 to 64 letters, digits and `-`");
            }
            if !names.insert(name) {
                bail!("there are two [[sources.kafka]] named {name}");
            }
            source
                .check(common)
                .with_context(|| format!("[[sources.kafka]] {name} is not valid"))?;
        }
        Ok(())
    }
}

/// Kafka takes 249 characters; the endings of ours fit behind 200.
fn is_topic(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (1..=200).contains(&name.len()) && name.chars().all(plain) && name != "." && name != ".."
}
