//! How far the tables are behind the topics that workers read.
//!
//! Workers tell their groups what they have committed, after each commit; that is what is looked at here, so that it needs
//! no tables. What no worker has told of yet is counted from the oldest record on.

use std::collections::BTreeMap;
use std::time::Duration;

use anonymizer::Sealed;
use schemas::time::{HOUR_MS, SECOND_MS};
use schemas::{Clock, Millis};
use serde::Serialize;
use transport::LogError;
use transport::kafka::{KafkaConfig, Record, TopicReader, committed};

use crate::config::{Config, KafkaSource, Properties};
use crate::source;
use crate::store::kafka::client;
use crate::telemetry::as_gauge;

/// Frames of one partition whose headers are read; where more wait, their events are estimated from these.
const HEADERS_MAX: usize = 64;
/// Bytes that are read of one partition for them.
const HEADER_BYTES_MAX: usize = 4 << 20;
/// Between two looks of a running service.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// How far one partition is behind.
#[derive(Debug, Serialize)]
pub struct Lag {
    /// `log`, or the name of a source.
    pub stream: String,
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: u16,
    /// The position behind the last committed record; null if none was committed yet.
    pub committed: Option<u64>,
    /// The position behind the last record.
    pub end: u64,
    /// Records that are not committed: frames, in the log.
    pub records: u64,
    /// Events in them.
    pub events: u64,
    /// Whether `events` is more than was counted.
    pub estimated: bool,
    /// How long the oldest of them has waited. Frames tell no more than their hour, and count from its end.
    pub seconds: i64,
}

/// The topics that workers read.
pub struct Topics(Vec<Stream>);

/// A topic that workers read.
struct Stream {
    name: String,
    topic: String,
    group: String,
    client: KafkaConfig,
    /// Whether its records are our frames.
    is_log: bool,
    reader: TopicReader,
}

impl Topics {
    /// Connects to all topics that the configuration names.
    ///
    /// # Errors
    ///
    /// If it names none, or a property cannot be used.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let mut streams = Vec::new();
        let common = config.kafka_properties();
        if config.kafka.is_some() {
            let client = client(config)?;
            let (topic, group) = (client.topic(), client.group());
            streams.push(Stream::open("log".to_owned(), topic, group, client, true)?);
        }
        for source in &config.sources.kafka {
            streams.push(Stream::of_source(source, &common)?);
        }
        anyhow::ensure!(!streams.is_empty(), "neither [kafka] nor [[sources.kafka]] is configured");
        Ok(Self(streams))
    }

    /// How far all partitions are behind at `now`.
    ///
    /// # Errors
    ///
    /// If brokers do not answer.
    pub async fn behind(&self, now: Millis) -> Result<Vec<Lag>, LogError> {
        let mut lags = Vec::new();
        for stream in &self.0 {
            lags.extend(stream.behind(now).await?);
        }
        Ok(lags)
    }
}

/// Tells the metrics how far the tables are behind, for as long as the service runs.
pub async fn watch(topics: Topics, clock: Clock) {
    loop {
        match topics.behind(clock()).await {
            Ok(lags) => lags.iter().for_each(Lag::tell),
            Err(error) => tracing::warn!("how far workers are behind cannot be told: {error}"),
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Lag {
    fn tell(&self) {
        let labels = [("stream", self.stream.clone()), ("partition", self.partition.to_string())];
        metrics::gauge!("quorate_lag_records", &labels).set(as_gauge(self.records));
        metrics::gauge!("quorate_lag_events", &labels).set(as_gauge(self.events));
        metrics::gauge!("quorate_lag_seconds", &labels)
            .set(as_gauge(u64::try_from(self.seconds).unwrap_or(0)));
    }
}

impl Stream {
    fn open(
        name: String,
        topic: String,
        group: String,
        client: KafkaConfig,
        is_log: bool,
    ) -> anyhow::Result<Self> {
        let reader = TopicReader::new(&client, &group, &topic, &BTreeMap::new())?;
        Ok(Self { name, topic, group, client, is_log, reader })
    }

    fn of_source(source: &KafkaSource, common: &Properties) -> anyhow::Result<Self> {
        let client = source::client(source, common)?;
        let (topic, group) = (source.topic.clone(), source.group.clone());
        Self::open(source.name.clone(), topic, group, client, false)
    }

    async fn behind(&self, now: Millis) -> Result<Vec<Lag>, LogError> {
        let partitions = self.reader.partitions().await?;
        let none = BTreeMap::new();
        let known = committed(&self.client, &self.group, &self.topic, partitions, &none).await?;
        let mut lags = Vec::new();
        for partition in 0..partitions {
            let end = self.reader.end(partition).await?;
            let low = self.reader.low(partition).await?;
            let committed = known.get(&partition).copied();
            let from = committed.unwrap_or(low).max(low);
            let records = end.saturating_sub(from);
            let mut lag = Lag {
                stream: self.name.clone(),
                topic: self.topic.clone(),
                partition,
                committed,
                end,
                records,
                events: records,
                estimated: false,
                seconds: 0,
            };
            if records > 0 {
                self.look(from, now, &mut lag).await?;
                self.reader.release(partition);
            }
            lags.push(lag);
        }
        Ok(lags)
    }

    /// Looks at the oldest records that wait.
    async fn look(&self, from: u64, now: Millis, lag: &mut Lag) -> Result<(), LogError> {
        let bytes = if self.is_log { HEADER_BYTES_MAX } else { 0 };
        let chunk = match self.reader.read(lag.partition, from, bytes).await {
            // Removed since it was asked for.
            Err(LogError::Lost { to, .. }) => self.reader.read(lag.partition, to, bytes).await?,
            read => read?,
        };
        let Some(oldest) = chunk.records.first() else { return Ok(()) };
        let waits_since = oldest.timestamp_ms.map(|time| match self.is_log {
            true => time + HOUR_MS,
            false => time,
        });
        lag.seconds = waits_since.map_or(0, |since| (now.0 - since).max(0) / SECOND_MS);
        if self.is_log {
            let counted = rows(chunk.records.into_iter().take(HEADERS_MAX));
            (lag.events, lag.estimated) = scale(counted, lag.records);
        }
        Ok(())
    }
}

/// How many frames were looked at, and the rows that their headers tell of.
fn rows(records: impl Iterator<Item = Record>) -> (u64, u64) {
    let frames = records.filter_map(|record| Sealed::parse(record.payload?).ok());
    frames.fold((0, 0), |(count, rows), frame| (count + 1, rows + u64::from(frame.header().rows)))
}

/// Events in `records` frames, of which some were counted; and whether that is an estimate.
fn scale((frames, rows): (u64, u64), records: u64) -> (u64, bool) {
    let estimate = u128::from(rows) * u128::from(records) / u128::from(frames.max(1));
    match frames >= records {
        true => (rows, false),
        false => (u64::try_from(estimate).unwrap_or(u64::MAX), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_where_all_were_looked_at_and_scaled_where_not() {
        assert_eq!(scale((3, 30), 3), (30, false));
        assert_eq!(scale((64, 640), 6_400), (64_000, true));
        assert_eq!(scale((0, 0), 5), (0, true));
        assert_eq!(scale((0, 0), 0), (0, false));
    }
}
