//! A topic that somebody else writes, as one more stream of partitions for the worker.
//!
//! Records come in pieces of some megabytes. A piece is to the tables what a frame of our log is: its rows carry its first
//! position, and a table that holds that passes over the whole of it. So after a crash between two tables no piece may
//! reach across the position of either ([`Source::read`]'s `until`); then every record counts once in each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anonymizer::{RawBatch, Resolver};
use anyhow::{Context, bail};
use ingest::{RecordFormat, RecordReader};
use schemas::{Millis, Note, Package, Tally};
use transport::LogError;
use transport::kafka::{Chunk, KafkaConfig, Marks, Membership, Record, TopicReader};

use crate::config::{KafkaSource, Properties, Start};

/// Number of the first partition of the first topic; each has room for [`PARTITIONS_MAX`].
const FIRST: u16 = 1024;
/// Most partitions of a topic.
const PARTITIONS_MAX: u16 = 256;
/// Bytes of records that are decoded together: some thousands of records, so that gate 1 works on long columns.
const PIECE_BYTES: usize = 4 << 20;
/// How often it is asked whether a topic is still the one that was read.
const SEEN_EVERY: Duration = Duration::from_secs(60);
/// Brokers forget what nobody commits for days.
const SET_EVERY: Duration = Duration::from_secs(3600);
/// Properties that suit many small records; the configured ones go before them.
const DEFAULTS: [(&str, &str); 2] =
    [("queued.min.messages", "20000"), ("queued.max.messages.kbytes", "16384")];

/// A topic that is read.
pub struct Source {
    name: String,
    topic: String,
    group: String,
    client: KafkaConfig,
    start: Start,
    first: u16,
    partitions: u16,
    reader: TopicReader,
    format: Arc<RecordFormat>,
    decoder: Mutex<RecordReader>,
    marks: Marks,
    /// Partitions that are read, and when their marks were seen and set.
    begun: Mutex<BTreeMap<u16, Marked>>,
}

/// The mark of a partition.
#[derive(Clone, Copy)]
struct Marked {
    seen: Instant,
    set: Instant,
}

/// What some records of a partition became.
pub struct Piece {
    /// Where to read on.
    pub next: u64,
    /// By family; last, what has none.
    pub parts: Vec<Part>,
    /// Positions that were not there any more.
    pub lost: u64,
}

/// What records of one family became.
pub struct Part {
    /// Index of the family; none for records that name none.
    pub family: Option<usize>,
    /// Those that were accepted, if any.
    pub batch: Option<RawBatch>,
    /// What was refused, and noted.
    pub tally: Tally,
    /// How many records these were.
    pub received: u64,
}

/// What clients of a source are made of; `common` are properties for every client.
///
/// # Errors
///
/// If a property cannot be read.
pub(crate) fn client(config: &KafkaSource, common: &Properties) -> anyhow::Result<KafkaConfig> {
    let mut properties = Properties::default();
    DEFAULTS.iter().for_each(|(name, value)| properties.set(name, *value));
    let properties = config.properties.over(&common.over(&properties));
    Ok(KafkaConfig {
        prefix: config.group.clone(),
        properties: properties.read()?,
        partitions: 1,
        replication: 1,
        buffer_bytes: 1 << 20,
        frame_bytes_max: 1 << 20,
        raw_retention_max_ms: 0,
    })
}

impl Source {
    /// Connects to a topic whose partitions rows carry from [`first`] on; `common` are properties for every client.
    ///
    /// # Errors
    ///
    /// If the form of records does not fit the package, the topic is not there, or has too many partitions.
    pub async fn open(
        config: &KafkaSource,
        common: &Properties,
        package: &Arc<Package>,
        resolver: &Arc<Resolver>,
        slot: u16,
    ) -> anyhow::Result<Self> {
        let name = config.name.clone();
        let told = || format!("[[sources.kafka]] {name}");
        let format = RecordFormat::new(Arc::clone(package), &config.record, &name);
        let format = Arc::new(format.with_context(told)?);
        let client = client(config, common).with_context(told)?;
        let reader = TopicReader::new(&client, &config.group, &config.topic, &BTreeMap::new());
        let reader = reader.with_context(told)?;
        let partitions = reader.partitions().await.with_context(told)?;
        if partitions > PARTITIONS_MAX {
            bail!("{}: a topic may have {PARTITIONS_MAX} partitions, not {partitions}", told());
        }
        let marks = Marks::new(&client, &format!("{}.mark", config.group), &config.topic);
        let marks = marks.with_context(told)?;
        let decoder = Mutex::new(RecordReader::new(Arc::clone(&format), Arc::clone(resolver)));
        let (topic, group) = (config.topic.clone(), config.group.clone());
        let (first, begun) = (first(slot)?, Mutex::default());
        let start = config.start;
        Ok(Self {
            name,
            topic,
            group,
            client,
            start,
            first,
            partitions,
            reader,
            format,
            decoder,
            marks,
            begun,
        })
    }

    /// As tables know it.
    #[must_use]
    pub fn stream(&self) -> sink::Stream {
        let id = format!("source/{}", self.name);
        sink::Stream { id, first: self.first, partitions: self.partitions }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Joins the group in which workers share its partitions.
    ///
    /// # Errors
    ///
    /// If the properties cannot be used.
    pub fn join(&self) -> anyhow::Result<Membership> {
        let joined = Membership::join(&self.client, &self.group, &[&self.topic], &BTreeMap::new());
        joined.with_context(|| format!("[[sources.kafka]] {}", self.name))
    }

    /// The position behind the last record of a partition, by its number in rows.
    ///
    /// # Errors
    ///
    /// Whatever brokers report.
    pub async fn end(&self, partition: u16) -> Result<u64, LogError> {
        self.reader.end(self.own(partition)).await
    }

    /// Tells the group how far partitions are committed, while it has no members.
    pub fn note_committed(&self, next: &[(u16, u64)]) {
        let own = next.iter().filter_map(|(partition, next)| {
            let own = partition.checked_sub(self.first)?;
            (own < self.partitions).then_some((own, *next))
        });
        self.reader.note_committed(&own.collect::<Vec<_>>());
    }

    /// Another process reads this partition from now on.
    pub fn release(&self, partition: u16) {
        self.reader.release(self.own(partition));
        self.begun().remove(&self.own(partition));
    }

    /// Returns when there may be more to read; for one reader.
    pub async fn appended(&self) {
        self.reader.appended().await;
    }

    /// Takes records of a partition from `from` on, and none at `until` or later; `now` is when.
    ///
    /// # Errors
    ///
    /// Whatever brokers report; if a key cannot be made.
    pub async fn read(
        &self,
        partition: u16,
        from: u64,
        until: Option<u64>,
        now: Millis,
    ) -> anyhow::Result<Piece> {
        let own = self.own(partition);
        if let Some(begin) = self.check(own, from).await? {
            return Ok(Piece { next: begin, parts: Vec::new(), lost: 0 });
        }
        match self.reader.read(own, from, PIECE_BYTES).await {
            Ok(chunk) => self.piece(chunk, until, now),
            Err(LogError::Lost { from: first, to, .. }) if first == from && to > from => {
                let (source, lost) = (&self.name, to - from);
                tracing::error!(
                    source,
                    partition = own,
                    from,
                    to,
                    "records that were not read yet are gone: the topic keeps them too short a time"
                );
                Ok(Piece { next: to, parts: Vec::new(), lost })
            }
            Err(error) => Err(error).with_context(|| format!("[[sources.kafka]] {}", self.name)),
        }
    }

    fn piece(&self, chunk: Chunk, until: Option<u64>, now: Millis) -> anyhow::Result<Piece> {
        let Chunk { records, next } = cut(chunk, until);
        let mut decoder = self.decoder.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = decode(&mut decoder, &records, now);
        if parts.is_err() {
            // What it had taken before it failed is of no use.
            drop((decoder.take(), decoder.take_tally()));
        }
        Ok(Piece { next, parts: parts?, lost: 0 })
    }

    /// Kafka's number of a partition.
    fn own(&self, partition: u16) -> u16 {
        partition.saturating_sub(self.first)
    }

    /// Makes sure, once and then now and then, that the partition is the one that was read before; of one that never was,
    /// gives where it begins if that is not its first position.
    async fn check(&self, own: u16, from: u64) -> anyhow::Result<Option<u64>> {
        let now = Instant::now();
        let known = self.begun().get(&own).copied();
        if known.is_some_and(|known| now.duration_since(known.seen) < SEEN_EVERY) {
            return Ok(None);
        }
        if known.is_none() && from == 0 {
            let first = match self.start {
                Start::Earliest => self.reader.low(own).await?,
                Start::Latest => self.reader.end(own).await?,
            };
            // Before anything is committed: who has read something without a mark reads another topic.
            self.marks.set(own, first).await?;
            tracing::info!(source = self.name, partition = own, position = first, "begins");
            self.begun().insert(own, Marked { seen: now, set: now });
            return Ok(Some(first).filter(|first| *first > 0));
        }
        if !self.marks.is_set(own).await? {
            return Err(self.is_another(own).into());
        }
        let set = known.map(|known| known.set);
        let set = match set.filter(|set| now.duration_since(*set) < SET_EVERY) {
            Some(set) => set,
            None => {
                self.marks.set(own, from).await?;
                now
            }
        };
        self.begun().insert(own, Marked { seen: now, set });
        Ok(None)
    }

    fn is_another(&self, own: u16) -> LogError {
        let group = &self.group;
        LogError::Topic {
            topic: self.topic.clone(),
            problem: format!(
                "partition {own} does not have the mark of group {group}.mark: it was deleted and made again, or nobody \
                 read it for so long that Kafka forgot"
            ),
            remedy: format!(
                "for a new topic give this [[sources.kafka]] another name; for the same one set any offset of group \
                 {group}.mark, for instance with kafka-consumer-groups.sh --reset-offsets"
            ),
        }
    }

    fn begun(&self) -> std::sync::MutexGuard<'_, BTreeMap<u16, Marked>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The form of its records.
    #[must_use]
    pub fn format(&self) -> &RecordFormat {
        &self.format
    }

    /// The first records of the topic, at most `count` of them: partition by partition, from the oldest of each.
    ///
    /// # Errors
    ///
    /// Whatever brokers report.
    pub async fn first_records(&self, count: usize) -> anyhow::Result<Vec<(u16, Record)>> {
        let mut found = Vec::new();
        for partition in 0..self.partitions {
            let mut from = self.reader.low(partition).await?;
            let end = self.reader.end(partition).await?;
            while from < end && found.len() < count {
                let Chunk { records, next } =
                    self.reader.read(partition, from, PIECE_BYTES).await?;
                let room = count - found.len();
                found.extend(records.into_iter().take(room).map(|record| (partition, record)));
                if next == from {
                    break;
                }
                from = next;
            }
        }
        Ok(found)
    }
}

/// What of a chunk lies before `until`.
fn cut(mut chunk: Chunk, until: Option<u64>) -> Chunk {
    if let Some(until) = until.filter(|until| *until < chunk.next) {
        chunk.records.retain(|record| record.position < until);
        chunk.next = until;
    }
    chunk
}

/// Number of the first partition of the source with this slot.
///
/// # Errors
///
/// If all numbers are taken.
pub fn first(slot: u16) -> anyhow::Result<u16> {
    let first = PARTITIONS_MAX.checked_mul(slot).and_then(|offset| FIRST.checked_add(offset));
    let last = first.and_then(|first| first.checked_add(PARTITIONS_MAX));
    let first = first.filter(|_| last.is_some_and(|last| last < sink::IMPORT));
    first.context("no number is left for another [[sources.kafka]]")
}

/// Decodes records, by family.
fn decode(
    decoder: &mut RecordReader,
    records: &[Record],
    now: Millis,
) -> anyhow::Result<Vec<Part>> {
    let given = records.iter().map(|record| ingest::Record {
        value: record.payload.as_deref(),
        timestamp: record.timestamp_ms.map(Millis),
    });
    decoder.push(given, now)?;
    let mut parts: BTreeMap<usize, Part> = BTreeMap::new();
    let mut last = None;
    for batch in decoder.take() {
        let (family, received) = (batch.family(), batch.rows() as u64);
        let tally = Tally::default();
        let part = Part { family: Some(family), batch: Some(batch), tally, received };
        parts.insert(family, part);
    }
    for (family, tally) in decoder.take_tally() {
        let refused = tally.refused_total();
        let none = || Part { family, batch: None, tally: Tally::default(), received: 0 };
        let part = match family {
            Some(index) => parts.entry(index).or_insert_with(none),
            None => last.insert(none()),
        };
        part.tally = tally;
        part.received += refused;
    }
    Ok(parts.into_values().chain(last).collect())
}

/// What is counted of positions that were not there any more.
#[must_use]
pub fn lost(count: u64) -> Tally {
    let mut tally = Tally::default();
    tally.note(Note::LostFrames, count);
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(positions: &[u64], next: u64) -> Chunk {
        let record = |position: &u64| Record {
            position: *position,
            timestamp_ms: None,
            key: None,
            payload: None,
        };
        Chunk { records: positions.iter().map(record).collect(), next }
    }

    #[test]
    fn no_piece_reaches_across_the_position_of_a_table() {
        let left = |until: Option<u64>| {
            let Chunk { records, next } = cut(chunk(&[3, 4, 7, 8], 12), until);
            (records.iter().map(|record| record.position).collect::<Vec<_>>(), next)
        };
        assert_eq!(left(None), (vec![3, 4, 7, 8], 12));
        assert_eq!(left(Some(12)), (vec![3, 4, 7, 8], 12));
        assert_eq!(left(Some(7)), (vec![3, 4], 7));
        assert_eq!(left(Some(6)), (vec![3, 4], 6), "a gap may be the end");
        assert_eq!(left(Some(20)), (vec![3, 4, 7, 8], 12));
    }

    #[test]
    fn every_source_has_numbers_of_its_own() {
        assert_eq!((first(0).unwrap(), first(1).unwrap()), (1024, 1280));
        let last = (0..u16::MAX).take_while(|slot| first(*slot).is_ok()).last().unwrap();
        assert!(first(last).unwrap().checked_add(PARTITIONS_MAX).is_some());
        assert!(first(last + 1).is_err() && first(u16::MAX).is_err());
    }
}
