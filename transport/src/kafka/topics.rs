//! The log's topics: made, and checked before frames are trusted to them.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::client::{ANSWER_MAX, Told, blocking, storage};
use super::{ConfigError, KafkaConfig};
use crate::LogError;

/// A segment is the least that brokers take from the disk: frames at the end of their life wait for theirs.
const SEGMENT_MS: i64 = 3_600_000;
/// Beyond the life of frames, so that brokers never remove what was not removed here.
const RETENTION_SLACK_MS: i64 = 24 * 3_600_000;
/// How long brokers may take to tell each other of a new topic.
const APPEARS_MAX: Duration = Duration::from_secs(30);
const APPEARS_LOOK: Duration = Duration::from_millis(50);
/// A clock that ran ahead must not make brokers refuse frames that are acknowledged otherwise.
const ANY_TIME: &str = "9223372036854775807";

/// Something about a topic that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The topic.
    pub topic: String,
    /// Whether the log opens all the same.
    pub is_warning: bool,
    /// What is wrong.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_warning { "warning" } else { "error" };
        write!(out, "{kind}: topic {}: {}; {}", self.topic, self.problem, self.remedy)
    }
}

/// What a topic looks like.
struct Seen {
    topic: String,
    partitions: usize,
    /// The fewest replicas that a partition has.
    replicas: usize,
    /// None where we may not ask.
    settings: Option<BTreeMap<String, String>>,
}

/// Makes the log's topics, those that are not there yet, as frames need them.
///
/// # Errors
///
/// [`LogError::Storage`] with what brokers say.
pub async fn create(config: &KafkaConfig) -> Result<(), LogError> {
    let admin = admin(config)?;
    let retention = (config.raw_retention_max_ms + RETENTION_SLACK_MS).to_string();
    let bytes = config.message_bytes_max().max(1 << 20).to_string();
    let segment = SEGMENT_MS.to_string();
    let insync = if config.replication >= 3 { "2" } else { "1" };
    let names = [config.topic(), config.replaced_topic()];
    let topics: Vec<NewTopic<'_>> = names
        .iter()
        .map(|name| {
            let replicas = TopicReplication::Fixed(i32::from(config.replication));
            NewTopic::new(name, i32::from(config.partitions), replicas)
                .set("cleanup.policy", "delete")
                .set("retention.ms", &retention)
                .set("retention.bytes", "-1")
                .set("segment.ms", &segment)
                .set("max.message.bytes", &bytes)
                .set("message.timestamp.type", "CreateTime")
                .set("message.timestamp.after.max.ms", ANY_TIME)
                .set("message.timestamp.before.max.ms", ANY_TIME)
                .set("min.insync.replicas", insync)
                .set("unclean.leader.election.enable", "false")
        })
        .collect();
    let results = admin.create_topics(&topics, &options()).await.map_err(storage)?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(storage(KafkaError::Global(code))),
        }
    }
    for name in &names {
        appears(config, name).await?;
    }
    Ok(())
}

/// Waits until brokers tell of a topic that was just made.
async fn appears(config: &KafkaConfig, topic: &str) -> Result<(), LogError> {
    let deadline = Instant::now() + APPEARS_MAX;
    while look(config, topic).await?.is_none() {
        if Instant::now() >= deadline {
            return Err(storage(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic)));
        }
        tokio::time::sleep(APPEARS_LOOK).await;
    }
    Ok(())
}

/// What is not as it should be, of both topics.
///
/// # Errors
///
/// [`LogError::Storage`] if brokers do not answer.
pub async fn check(config: &KafkaConfig) -> Result<Vec<Finding>, LogError> {
    let mut findings = Vec::new();
    for topic in [config.topic(), config.replaced_topic()] {
        match look(config, &topic).await? {
            Some(seen) => findings.extend(judge(config, &seen)),
            None => findings.push(Finding {
                topic,
                is_warning: false,
                problem: "it is not there".to_owned(),
                remedy: "make it with `quorate kafka topics create`".to_owned(),
            }),
        }
    }
    Ok(findings)
}

async fn look(config: &KafkaConfig, topic: &str) -> Result<Option<Seen>, LogError> {
    let admin = admin(config)?;
    let name = topic.to_owned();
    let (admin, shape) = blocking(move || {
        let metadata = admin.inner().fetch_metadata(Some(&name), ANSWER_MAX).map_err(storage)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == name);
        let partitions = found
            .filter(|topic| topic.error().is_none() && !topic.partitions().is_empty())
            .map(|topic| topic.partitions());
        let shape = partitions.map(|partitions| {
            let replicas = partitions.iter().map(|partition| partition.replicas().len()).min();
            (partitions.len(), replicas.unwrap_or(0))
        });
        Ok((admin, shape))
    })
    .await?;
    let Some((partitions, replicas)) = shape else { return Ok(None) };
    let asked = [ResourceSpecifier::Topic(topic)];
    let described = admin.describe_configs(&asked, &options()).await.map_err(storage)?;
    let settings = described.into_iter().next().and_then(Result::ok).map(|resource| {
        let entries = resource.entries.into_iter();
        entries.filter_map(|entry| Some((entry.name, entry.value?))).collect()
    });
    Ok(Some(Seen { topic: topic.to_owned(), partitions, replicas, settings }))
}

/// Holds a topic against what frames need.
fn judge(config: &KafkaConfig, seen: &Seen) -> Vec<Finding> {
    let mut judge = Judge { topic: &seen.topic, findings: Vec::new() };
    let partitions = usize::from(config.partitions);
    if seen.partitions != partitions {
        judge.add(
            false,
            format!("it has {} partitions, log.partitions is {partitions}", seen.partitions),
            "the number is fixed for the life of a log: set log.partitions to it".to_owned(),
        );
    }
    let Some(settings) = &seen.settings else {
        judge.add(
            true,
            "its settings cannot be read".to_owned(),
            "allow DescribeConfigs, so that they are checked".to_owned(),
        );
        return judge.findings;
    };
    let text = |name: &str| settings.get(name).map(String::as_str);
    let number = |name: &str| text(name).and_then(|value| value.parse::<i64>().ok());
    judge.setting(false, "cleanup.policy", "delete", text("cleanup.policy") == Some("delete"));
    judge.setting(
        false,
        "message.timestamp.type",
        "CreateTime",
        text("message.timestamp.type") == Some("CreateTime"),
    );
    let bytes = i64::try_from(config.message_bytes_max()).unwrap_or(i64::MAX);
    let takes = number("max.message.bytes").is_some_and(|value| value >= bytes);
    judge.setting(false, "max.message.bytes", &bytes.to_string(), takes);
    let retention = config.raw_retention_max_ms;
    let keeps = number("retention.ms").is_some_and(|value| value < 0 || value > retention);
    let wanted = (retention + RETENTION_SLACK_MS).to_string();
    judge.setting(false, "retention.ms", &wanted, keeps);
    let all = number("retention.bytes").is_some_and(|value| value < 0);
    judge.setting(true, "retention.bytes", "-1", all);
    // Brokers that do not know a setting have no such limit.
    let ahead = number("message.timestamp.after.max.ms").is_none_or(|value| value == i64::MAX);
    judge.setting(true, "message.timestamp.after.max.ms", ANY_TIME, ahead);
    let behind = number("message.timestamp.before.max.ms").is_none_or(|value| value > retention);
    judge.setting(true, "message.timestamp.before.max.ms", ANY_TIME, behind);
    let insync = seen.replicas < 3 || number("min.insync.replicas").is_some_and(|value| value >= 2);
    judge.setting(true, "min.insync.replicas", "2", insync);
    let clean = text("unclean.leader.election.enable") != Some("true");
    judge.setting(true, "unclean.leader.election.enable", "false", clean);
    judge.findings
}

struct Judge<'a> {
    topic: &'a str,
    findings: Vec<Finding>,
}

impl Judge<'_> {
    fn add(&mut self, is_warning: bool, problem: String, remedy: String) {
        let topic = self.topic.to_owned();
        self.findings.push(Finding { topic, is_warning, problem, remedy });
    }

    /// A setting that has to have, or to reach, a value.
    fn setting(&mut self, is_warning: bool, name: &str, wanted: &str, is_good: bool) {
        if !is_good {
            let topic = self.topic;
            self.add(
                is_warning,
                format!("{name} is not {wanted}, or loses to it"),
                format!(
                    "set it: kafka-configs.sh --alter --entity-type topics --entity-name {topic} \
                     --add-config {name}={wanted}"
                ),
            );
        }
    }
}

pub(super) fn admin(config: &KafkaConfig) -> Result<AdminClient<Told>, LogError> {
    let client = config.producer().map_err(|error| LogError::Storage(Box::new(error)))?;
    client
        .create_with_context(Told)
        .map_err(ConfigError::of)
        .map_err(|error| LogError::Storage(Box::new(error)))
}

pub(super) fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_MAX)).operation_timeout(Some(ANSWER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> KafkaConfig {
        KafkaConfig {
            prefix: "quorate".to_owned(),
            properties: BTreeMap::new(),
            partitions: 4,
            replication: 3,
            buffer_bytes: 1 << 20,
            frame_bytes_max: 512 << 10,
            raw_retention_max_ms: 96 * 3_600_000,
        }
    }

    fn good() -> BTreeMap<String, String> {
        let settings = [
            ("cleanup.policy", "delete"),
            ("message.timestamp.type", "CreateTime"),
            ("max.message.bytes", "1048576"),
            ("retention.ms", "432000000"),
            ("retention.bytes", "-1"),
            ("message.timestamp.after.max.ms", ANY_TIME),
            ("message.timestamp.before.max.ms", ANY_TIME),
            ("min.insync.replicas", "2"),
            ("unclean.leader.election.enable", "false"),
        ];
        settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn seen(settings: BTreeMap<String, String>) -> Seen {
        let topic = "quorate.raw".to_owned();
        Seen { topic, partitions: 4, replicas: 3, settings: Some(settings) }
    }

    #[test]
    fn each_setting_that_loses_frames_is_found_and_named_with_its_remedy() {
        assert_eq!(judge(&config(), &seen(good())), []);
        for (name, value, is_warning) in [
            ("cleanup.policy", "compact", false),
            ("message.timestamp.type", "LogAppendTime", false),
            ("max.message.bytes", "1000", false),
            ("retention.ms", "86400000", false),
            ("retention.bytes", "1000000", true),
            ("message.timestamp.after.max.ms", "3600000", true),
            ("message.timestamp.before.max.ms", "3600000", true),
            ("min.insync.replicas", "1", true),
            ("unclean.leader.election.enable", "true", true),
        ] {
            let mut settings = good();
            settings.insert(name.to_owned(), value.to_owned());
            let findings = judge(&config(), &seen(settings));
            assert_eq!(findings.len(), 1, "{name}: {findings:?}");
            assert_eq!(findings[0].is_warning, is_warning, "{name}");
            assert!(findings[0].remedy.contains(&format!("{name}=")), "{}", findings[0]);
        }
        let mut other = seen(good());
        other.partitions = 3;
        let findings = judge(&config(), &other);
        assert!(matches!(&findings[..], [found] if !found.is_warning), "{findings:?}");
        other.settings = None;
        assert!(judge(&config(), &other).iter().any(|found| found.is_warning));
    }
}
