//! The log itself: a partition of the topic for each of its partitions, positions are offsets.
//!
//! Records hold a frame each, without a key, and with the start of the frame's hour for a timestamp: nothing finer is
//! at rest. Frames are removed from the front, up to the first of a later hour; what the front loses otherwise was lost,
//! and is named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anonymizer::{Sealed, Shelf};
use async_trait::async_trait;
use rdkafka::admin::AdminClient;
use rdkafka::{Offset, TopicPartitionList};

use super::client::{Told, blocking, storage};
use super::identity::{Adopt, Anchor};
use super::producer::{Outgoing, Producer, hour_ms};
use super::reader::{Record, TopicReader};
use super::replaced::{Replaced, key};
use super::{ConfigError, KafkaConfig, topics};
use crate::{Log, LogError, LogId, Partition, Position};

/// How old the last look at whose topic it is may be when a reader asks for an end.
const VERIFY_READING: Duration = Duration::from_secs(1);
/// Likewise when something is appended.
const VERIFY_APPENDING: Duration = Duration::from_secs(5);
/// How old the index of replaced frames may be while reading goes on: who needs more asks for it.
const REPLACED_AGE_MAX: Duration = Duration::from_secs(5);

/// The log in Kafka, for any number of processes at once.
pub struct KafkaLog {
    topic: String,
    replaced_topic: String,
    partitions: u16,
    producer: Producer,
    reader: TopicReader,
    replaced: Replaced,
    anchor: Arc<Anchor>,
    verifying: tokio::sync::Mutex<()>,
    admin: AdminClient<Told>,
    /// By partition, the position behind the last that is known to be durable.
    ends: Vec<AtomicU64>,
    /// Frames and bytes that went through this process, for an estimate.
    seen: [AtomicU64; 2],
}

impl KafkaLog {
    /// Opens the log in the topics of `config`; `shelf`, which all nodes share, remembers its id.
    ///
    /// # Errors
    ///
    /// [`LogError::PartitionCount`]; [`LogError::Topic`] if a topic is not there, not the one it was, or not set up as
    /// frames need it; [`LogError::Storage`] if brokers do not answer or the configuration cannot be used.
    pub async fn open(config: &KafkaConfig, shelf: Arc<dyn Shelf>) -> Result<Self, LogError> {
        config.check().map_err(unusable)?;
        for finding in topics::check(config).await? {
            if !finding.is_warning {
                let topics::Finding { topic, problem, remedy, .. } = finding;
                return Err(LogError::Topic { topic, problem, remedy });
            }
            tracing::warn!("{finding}");
        }
        let over = BTreeMap::new();
        let reader = TopicReader::new(config, &config.group(), &config.topic(), &over);
        let reader = reader.map_err(unusable)?;
        let replaced = TopicReader::new(config, &config.group(), &config.replaced_topic(), &over);
        let ends = both_ends(&reader, config.partitions).await?;
        let known = ends.iter().map(|(_, end)| AtomicU64::new(*end)).collect();
        let asked = config.clone();
        let anchor =
            blocking(move || Anchor::open(&asked, shelf.as_ref(), &ends).map(Arc::new)).await?;
        Ok(Self {
            topic: config.topic(),
            replaced_topic: config.replaced_topic(),
            partitions: config.partitions,
            producer: Producer::new(config.producer().map_err(unusable)?).map_err(unusable)?,
            reader,
            replaced: Replaced::new(replaced.map_err(unusable)?),
            anchor,
            verifying: tokio::sync::Mutex::new(()),
            admin: topics::admin(config)?,
            ends: known,
            seen: [AtomicU64::new(0), AtomicU64::new(0)],
        })
    }

    /// Makes the topic this log's, though it does not carry its id.
    ///
    /// # Errors
    ///
    /// [`LogError::Topic`] if there is no such topic, or no id to give it; [`LogError::Storage`].
    pub async fn adopt(
        config: &KafkaConfig,
        shelf: Arc<dyn Shelf>,
        how: Adopt,
    ) -> Result<LogId, LogError> {
        let reader = TopicReader::new(config, &config.group(), &config.topic(), &BTreeMap::new());
        let reader = reader.map_err(unusable)?;
        let found = reader.partitions().await?;
        if found != config.partitions {
            return Err(LogError::PartitionCount { found, asked: config.partitions });
        }
        let ends = both_ends(&reader, config.partitions).await?;
        let config = config.clone();
        blocking(move || Anchor::adopt(&config, shelf.as_ref(), &ends, how)).await
    }

    /// The first position of each partition whose frame was sealed in the hour of `time_ms` or later, and the end where
    /// there is none.
    ///
    /// # Errors
    ///
    /// [`LogError::Storage`].
    pub async fn at_time(&self, time_ms: i64) -> Result<BTreeMap<u16, u64>, LogError> {
        let hour = time_ms.div_euclid(3_600_000) * 3_600_000;
        self.reader.at_time(&(0..self.partitions).collect(), hour).await
    }

    fn check(&self, partition: Partition) -> Result<&AtomicU64, LogError> {
        let none = LogError::NoPartition { asked: partition.0, partitions: self.partitions };
        self.ends.get(usize::from(partition.0)).ok_or(none)
    }

    /// Makes sure that the topic is the one it was, by a look that is not older than `age_max`; one looks for all.
    async fn verify(&self, age_max: Duration) -> Result<(), LogError> {
        if self.anchor.is_fresh(age_max) {
            return Ok(());
        }
        let _looking = self.verifying.lock().await;
        if !age_max.is_zero() && self.anchor.is_fresh(age_max) {
            return Ok(());
        }
        let anchor = Arc::clone(&self.anchor);
        blocking(move || anchor.verify()).await
    }

    /// Frames of a read, up to the first that is missing or damaged; that one is the error if it is the very first.
    async fn frames(
        &self,
        partition: u16,
        from: u64,
        records: Vec<Record>,
    ) -> Result<Vec<(Position, Sealed)>, LogError> {
        let mut frames = Vec::with_capacity(records.len());
        let mut expected = from;
        for record in records {
            let position = record.position;
            let frame = match position == expected {
                true => self.frame(partition, record).await,
                false => Err(LogError::Lost { partition, from: expected, to: position }),
            };
            match frame {
                Ok(frame) => frames.push((Position(position), frame)),
                Err(error) if frames.is_empty() => return Err(error),
                Err(_) => break,
            }
            expected = position + 1;
        }
        Ok(frames)
    }

    async fn frame(&self, partition: u16, record: Record) -> Result<Sealed, LogError> {
        let position = record.position;
        let bytes = record.bytes();
        self.saw(bytes);
        if let Some(frame) = self.replaced.get(partition, position).await? {
            return Ok(frame);
        }
        let damaged = || LogError::Corrupt { partition, position };
        Sealed::parse(record.payload.ok_or_else(damaged)?).map_err(|_| damaged())
    }

    fn saw(&self, bytes: usize) {
        self.seen[0].fetch_add(1, Ordering::Relaxed);
        self.seen[1].fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    /// Where the oldest frame of a partition is that was not removed; an error if others are missing.
    async fn first(&self, partition: u16, from: u64, low: u64) -> Result<u64, LogError> {
        let mut removed = self.anchor.removed(partition);
        if removed < low {
            // Another node may have removed them just now.
            self.verify(Duration::ZERO).await?;
            removed = self.anchor.removed(partition);
        }
        let from = from.max(removed);
        match from < low {
            true => Err(LogError::Lost { partition, from, to: low }),
            false => Ok(from),
        }
    }

    /// Removes records of a topic before these positions.
    async fn delete(&self, topic: &str, before: &BTreeMap<u16, u64>) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        for (partition, position) in before {
            let offset = Offset::Offset(i64::try_from(*position).unwrap_or(i64::MAX));
            list.add_partition_offset(topic, i32::from(*partition), offset).map_err(storage)?;
        }
        if list.count() == 0 {
            return Ok(());
        }
        let removed = self.admin.delete_records(&list, &topics::options()).await;
        for element in removed.map_err(storage)?.elements() {
            element.error().map_err(storage)?;
        }
        Ok(())
    }
}

/// Lowest positions and ends of all partitions of a reader's topic.
async fn both_ends(reader: &TopicReader, partitions: u16) -> Result<Vec<(u64, u64)>, LogError> {
    let mut ends = Vec::new();
    for partition in 0..partitions {
        ends.push(reader.both_ends(partition).await?);
    }
    Ok(ends)
}

fn unusable(error: ConfigError) -> LogError {
    LogError::Storage(Box::new(error))
}

#[async_trait]
impl Log for KafkaLog {
    fn id(&self) -> LogId {
        self.anchor.id()
    }

    fn partitions(&self) -> u16 {
        self.partitions
    }

    async fn append(&self, partition: Partition, frame: Sealed) -> Result<Position, LogError> {
        let end = self.check(partition)?;
        let hour = frame.header().hour;
        let (frame, in_flight) = frame.into_parts();
        self.saw(frame.len());
        let outgoing = Outgoing {
            topic: &self.topic,
            partition: partition.0,
            key: None,
            hour,
            frame,
            in_flight,
        };
        let position = self.producer.send(outgoing).await?;
        // Not before: while brokers are away, frames wait in the buffer.
        match self.verify(VERIFY_APPENDING).await {
            Err(error) if !error.is_retryable() => return Err(error),
            _ => {}
        }
        end.fetch_max(position + 1, Ordering::AcqRel);
        self.reader.note_end(partition.0, position + 1);
        Ok(Position(position))
    }

    async fn read(
        &self,
        partition: Partition,
        from: Position,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Sealed)>, LogError> {
        self.check(partition)?;
        let Partition(partition) = partition;
        self.replaced.refresh(partition, REPLACED_AGE_MAX).await?;
        let mut from = from.0.max(self.anchor.removed(partition));
        let chunk = match self.reader.read(partition, from, bytes_max).await {
            Err(LogError::Lost { to, .. }) => {
                from = self.first(partition, from, to).await?;
                self.reader.read(partition, from, bytes_max).await?
            }
            read => read?,
        };
        if chunk.records.is_empty() && chunk.next > from {
            // Offsets that hold no frame: somebody else wrote to the topic.
            return Err(LogError::Lost { partition, from, to: chunk.next });
        }
        self.frames(partition, from, chunk.records).await
    }

    async fn replace(
        &self,
        partition: Partition,
        frames: Vec<(Position, Sealed)>,
    ) -> Result<u64, LogError> {
        self.check(partition)?;
        let Partition(number) = partition;
        let (low, end) = self.reader.both_ends(number).await?;
        let low = low.max(self.anchor.removed(number));
        let mut sending = Vec::new();
        for (Position(position), frame) in frames {
            if position < low || position >= end {
                continue;
            }
            let hour = frame.header().hour;
            let (frame, in_flight) = frame.into_parts();
            let key = key(number, position);
            sending.push(async move {
                let outgoing = Outgoing {
                    topic: &self.replaced_topic,
                    partition: number,
                    key: Some(&key),
                    hour,
                    frame,
                    in_flight,
                };
                Ok::<_, LogError>((position, self.producer.send(outgoing).await?))
            });
        }
        let mut replaced = 0;
        for sent in sending {
            let (position, at) = sent.await?;
            self.replaced.enter(number, position, at);
            replaced += 1;
        }
        Ok(replaced)
    }

    async fn replaced(
        &self,
        partition: Partition,
        position: Position,
    ) -> Result<Option<Sealed>, LogError> {
        self.check(partition)?;
        self.replaced.refresh(partition.0, Duration::ZERO).await?;
        self.replaced.get(partition.0, position.0).await
    }

    async fn end(&self, partition: Partition) -> Result<Position, LogError> {
        let known = self.check(partition)?;
        self.verify(VERIFY_READING).await?;
        let end = self.reader.end(partition.0).await?;
        if end < known.fetch_max(end, Ordering::AcqRel) {
            return Err(LogError::Topic {
                topic: self.topic.clone(),
                problem: format!(
                    "partition {} ends before what was acknowledged in it",
                    partition.0
                ),
                remedy: "an unclean election lost frames, or the topic is another: start again to \
                         hear which"
                    .to_owned(),
            });
        }
        Ok(Position(end))
    }

    fn release(&self, partition: Partition) {
        self.reader.release(partition.0);
        self.replaced.reader().release(partition.0);
    }

    async fn appended(&self) {
        self.reader.appended().await;
    }

    async fn remove_through(&self, hour: u32) -> Result<u64, LogError> {
        let partitions: BTreeSet<u16> = (0..self.partitions).collect();
        let later = hour_ms(hour) + hour_ms(1);
        let first = self.reader.at_time(&partitions, later).await?;
        let mut before = BTreeMap::new();
        let mut removed = 0;
        for (partition, position) in first {
            let low = self.reader.low(partition).await?;
            if position > low {
                removed += position - low;
                before.insert(partition, position);
            }
        }
        let (anchor, up_to) = (Arc::clone(&self.anchor), before.clone());
        blocking(move || anchor.note_removed(&up_to)).await?;
        self.delete(&self.topic, &before).await?;
        let mut beside = self.replaced.reader().at_time(&partitions, later).await?;
        for partition in partitions {
            let low = self.replaced.reader().low(partition).await?;
            if beside.get(&partition).is_some_and(|position| *position <= low) {
                beside.remove(&partition);
            }
            if let Some(position) = before.get(&partition) {
                self.replaced.forget_before(partition, *position);
            }
        }
        self.delete(&self.replaced_topic, &beside).await?;
        Ok(removed)
    }

    async fn bytes(&self) -> u64 {
        let [frames, bytes] = &self.seen;
        let (frames, bytes) = (frames.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed));
        let mut left = 0;
        for partition in 0..self.partitions {
            if let Ok((low, end)) = self.reader.both_ends(partition).await {
                left += end - low;
            }
        }
        left.saturating_mul(bytes.checked_div(frames).unwrap_or(0))
    }
}
