//! Configuration of Kafka clients: librdkafka's own names, except where correctness leaves no choice.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

/// Bytes beyond what a frame is sent out at: the event that was one too many, the header, padding, and what the protocol
/// puts around.
const OVERHEAD_BYTES: usize = 256 * 1024;
/// How long an append waits for brokers, unless configured otherwise: then it has failed, for certain.
const MESSAGE_TIMEOUT_MS: &str = "30000";

/// What every client is told, whatever is configured: property, value, and why.
const FORCED: [(&str, &str, &str); 8] = [
    ("acks", "all", "what is acknowledged has to outlive a broker"),
    ("enable.idempotence", "true", "a frame that is sent again must not be there twice"),
    ("enable.auto.commit", "false", "positions are kept with the tables"),
    ("enable.auto.offset.store", "false", "positions are kept with the tables"),
    ("auto.offset.reset", "error", "what is missing is named, not passed over"),
    ("isolation.level", "read_committed", "what may yet be aborted was not sent"),
    ("check.crcs", "true", "a changed bit is named, not passed over"),
    ("enable.partition.eof", "true", "a reader has to know where the end is"),
];

/// Properties that have other names, or belong to another setting: property, and what decides it.
const OWNED: [(&str, &str); 8] = [
    ("request.required.acks", "acks is always `all`"),
    ("enable.gapless.guarantee", "an append that failed is told as such, and others go on"),
    ("transactional.id", "frames are appended one by one"),
    ("group.id", "groups are named by `prefix`, or by the source's `group`"),
    ("queue.buffering.max.kbytes", "it is `buffer_bytes`"),
    ("log.queue", "log lines have their own way out"),
    ("debug", "what librdkafka prints then cannot be audited"),
    ("allow.auto.create.topics", "topics are made by `quorate kafka topics create`"),
];

/// What is chosen unless configured otherwise: bounds on memory, and waits that suit frames.
const DEFAULTS: [(&str, &str); 10] = [
    ("message.timeout.ms", MESSAGE_TIMEOUT_MS),
    ("linger.ms", "1"),
    ("compression.type", "none"),
    ("queued.min.messages", "256"),
    ("queued.max.messages.kbytes", "2048"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.max.bytes", "16777216"),
    ("fetch.wait.max.ms", "100"),
    ("reconnect.backoff.max.ms", "2000"),
    ("log.connection.close", "false"),
];

/// How to reach Kafka, and the topics of the log. Without `Debug`: properties may hold secrets.
#[derive(Clone)]
pub struct KafkaConfig {
    /// Topics are `<prefix>.raw` and `<prefix>.replaced`, groups `<prefix>.worker` and `<prefix>.log`.
    pub prefix: String,
    /// librdkafka's properties, for every client.
    pub properties: BTreeMap<String, String>,
    /// Partitions of the log, fixed for its life.
    pub partitions: u16,
    /// Replicas of each, for topics that are made here.
    pub replication: i16,
    /// Bytes of frames that may wait for brokers; beyond it appends fail and may be tried again.
    pub buffer_bytes: u64,
    /// Bytes at which ingest sends a frame out (`ingest.frame_bytes_max`).
    pub frame_bytes_max: usize,
    /// For how long frames may live at most, in milliseconds: topics keep them longer.
    pub raw_retention_max_ms: i64,
}

/// Why a configuration cannot be used. Names properties, never their values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A property contradicts what the log promises.
    #[error("property {property} cannot be set: {why}")]
    Contradicts {
        /// Its name.
        property: String,
        /// What is promised.
        why: String,
    },
    /// librdkafka does not take a property.
    #[error("property {property} is not taken: unknown, or not one of its values")]
    Property {
        /// Its name.
        property: String,
    },
    /// librdkafka does not take the whole.
    #[error("a Kafka client cannot be made of these properties: {0}")]
    Client(String),
}

impl KafkaConfig {
    /// The topic of frames.
    #[must_use]
    pub fn topic(&self) -> String {
        format!("{}.raw", self.prefix)
    }

    /// The topic of frames that took the place of others.
    #[must_use]
    pub fn replaced_topic(&self) -> String {
        format!("{}.replaced", self.prefix)
    }

    /// The group of workers.
    #[must_use]
    pub fn group(&self) -> String {
        format!("{}.worker", self.prefix)
    }

    /// The group that nobody joins, whose offsets hold the log's id as long as the topic lives.
    #[must_use]
    pub fn anchor_group(&self) -> String {
        format!("{}.log", self.prefix)
    }

    /// The file, beside the key ring, that tells the log's id.
    #[must_use]
    pub fn identity_file(&self) -> String {
        format!("{}.log-id", self.prefix)
    }

    /// The largest message that brokers and client have to take.
    #[must_use]
    pub fn message_bytes_max(&self) -> usize {
        self.frame_bytes_max + OVERHEAD_BYTES
    }

    /// Checks all that can be checked without a broker.
    ///
    /// # Errors
    ///
    /// The first property that contradicts or that librdkafka does not take.
    pub fn check(&self) -> Result<(), ConfigError> {
        let config = self.producer()?;
        config.create_native_config().map(drop).map_err(ConfigError::of)
    }

    /// A configuration for consumers of `group`, with these properties over the common ones.
    pub(crate) fn consumer(
        &self,
        group: &str,
        over: &BTreeMap<String, String>,
    ) -> Result<ClientConfig, ConfigError> {
        let mut properties = self.properties.clone();
        properties.extend(over.iter().map(|(name, value)| (name.clone(), value.clone())));
        let mut config = client(&properties, &self.prefix)?;
        config.set("group.id", group);
        for name in ["queue.buffering.max.kbytes", "message.timeout.ms", "linger.ms"] {
            config.remove(name);
        }
        Ok(config)
    }

    /// A configuration for producers.
    pub(crate) fn producer(&self) -> Result<ClientConfig, ConfigError> {
        let mut config = client(&self.properties, &self.prefix)?;
        let kbytes = (self.buffer_bytes / 1024).clamp(1, 2_147_483_647);
        config.set("queue.buffering.max.kbytes", kbytes.to_string());
        let bytes = self.message_bytes_max();
        match self.properties.get("message.max.bytes").map(|set| set.parse::<usize>()) {
            Some(Ok(set)) if set >= bytes => {}
            Some(_) => {
                return Err(ConfigError::Contradicts {
                    property: "message.max.bytes".to_owned(),
                    why: format!("frames with what is around them are up to {bytes} bytes"),
                });
            }
            None => drop(config.set("message.max.bytes", bytes.max(1_000_000).to_string())),
        }
        Ok(config)
    }
}

/// `properties` with what is forced and what is chosen; for producers and consumers both.
fn client(
    properties: &BTreeMap<String, String>,
    client_id: &str,
) -> Result<ClientConfig, ConfigError> {
    let mut config = ClientConfig::new();
    config.set_log_level(rdkafka::config::RDKafkaLogLevel::Warning);
    config.set("client.id", client_id);
    for (name, value) in DEFAULTS {
        config.set(name, value);
    }
    for (name, value) in properties {
        if let Some((_, why)) = OWNED.iter().find(|(owned, _)| owned == name) {
            return Err(contradicts(name, why));
        }
        let forced = FORCED.iter().find(|(forced, ..)| forced == name);
        if let Some((_, needed, why)) = forced
            && !means(value, needed)
        {
            return Err(contradicts(name, why));
        }
        config.set(name, value);
    }
    for (name, value, _) in FORCED {
        config.set(name, value);
    }
    config.set("allow.auto.create.topics", "false");
    Ok(config)
}

/// Whether two values of a property are one: `-1` is `all`.
fn means(value: &str, needed: &str) -> bool {
    value.eq_ignore_ascii_case(needed) || (needed == "all" && value == "-1")
}

fn contradicts(property: &str, why: &str) -> ConfigError {
    ConfigError::Contradicts { property: property.to_owned(), why: why.to_owned() }
}

impl ConfigError {
    /// What librdkafka says, without the value that it says too.
    pub(crate) fn of(error: KafkaError) -> Self {
        if let KafkaError::ClientConfig(_, _, property, _) = error {
            return Self::Property { property };
        }
        Self::Client(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(properties: &[(&str, &str)]) -> KafkaConfig {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        KafkaConfig {
            prefix: "quorate".to_owned(),
            properties: properties.iter().map(owned).collect(),
            partitions: 2,
            replication: 1,
            buffer_bytes: 1 << 20,
            frame_bytes_max: 512 << 10,
            raw_retention_max_ms: 96 * 3_600_000,
        }
    }

    #[test]
    fn what_contradicts_is_refused_with_the_reason() {
        for (name, value) in [
            ("acks", "1"),
            ("request.required.acks", "1"),
            ("enable.idempotence", "false"),
            ("enable.auto.commit", "true"),
            ("auto.offset.reset", "latest"),
            ("isolation.level", "read_uncommitted"),
            ("group.id", "mine"),
            ("debug", "msg"),
            ("message.max.bytes", "1000"),
        ] {
            let error = config(&[(name, value)]).check().expect_err(name);
            assert!(
                matches!(&error, ConfigError::Contradicts { property, .. } if property == name)
            );
        }
        for (name, value) in [("acks", "-1"), ("acks", "all"), ("linger.ms", "20")] {
            config(&[(name, value)]).check().expect(name);
        }
    }

    #[test]
    fn no_value_is_in_an_error() {
        let secret = "not-to-be-shown";
        for name in ["sasl.mechanisms.of.nobody", "security.protocol", "sasl.username.x"] {
            let error = config(&[(name, secret)]).check().expect_err(name);
            assert!(!format!("{error} {error:?}").contains(secret), "{error}");
        }
    }
}
