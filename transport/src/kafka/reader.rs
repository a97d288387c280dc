//! Reads partitions of a topic by position, without a group's help.
//!
//! Every partition that was read once is fetched ahead of its reader into a queue of its own, within
//! `queued.max.messages.kbytes`; a partition that nobody reads costs nothing after [`TopicReader::release`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::Notify;

use super::client::{ANSWER_MAX, Told, blocking, storage};
use super::{ConfigError, KafkaConfig};
use crate::LogError;

/// How long a read waits for what it knows to be there.
const FETCH_MAX: Duration = Duration::from_secs(15);
/// How long a reader that was told of an end waits for what came behind it, before it asks again.
const END_LOOK: Duration = Duration::from_millis(300);
/// Between two looks at whether fetching has begun.
const START_LOOK: Duration = Duration::from_millis(5);
/// Brokers that do not give what they have.
const TIMED_OUT: KafkaError = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
/// Between two looks at librdkafka's own queue, where log lines and errors of no partition lie.
const SERVE_EVERY: Duration = Duration::from_millis(200);

/// One record as it lies in a topic.
///
/// It has no `Debug`: a topic of others holds raw events.
pub struct Record {
    /// Its offset.
    pub position: u64,
    /// Its timestamp in milliseconds since 1970, if it has one.
    pub timestamp_ms: Option<i64>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; none is a deletion mark.
    pub payload: Option<Vec<u8>>,
}

/// What a read gave.
pub struct Chunk {
    /// Records in order. Positions ascend, with gaps where a transaction was aborted or the topic compacted.
    pub records: Vec<Record>,
    /// Where to read on: behind the last record, or further where nothing but marks of transactions follows. With
    /// no records it is where the partition ends for now, and never before `from`.
    pub next: u64,
}

/// Reader of some partitions of one topic.
pub struct TopicReader {
    shared: Arc<Shared>,
    /// Serves librdkafka's callbacks until dropped.
    server: Option<JoinHandle<()>>,
}

struct Shared {
    consumer: Arc<BaseConsumer<Told>>,
    topic: String,
    partitions: Mutex<BTreeMap<u16, Arc<Partition>>>,
    appended: Arc<Notify>,
    stopped: AtomicBool,
}

/// A partition that is being read.
struct Partition {
    /// As far as is known, where it ends.
    end: AtomicU64,
    reading: Mutex<Reading>,
}

/// How far reading is.
#[derive(Default)]
struct Reading {
    /// None before it was placed, and after an error that ended fetching.
    queue: Option<PartitionQueue<Told>>,
    /// The position that the queue gives next, or one after it.
    next: u64,
    /// A record that was taken from the queue and did not fit.
    kept: Option<Record>,
    /// The known end when reading was last placed: what the queue says of an end is not older.
    placed_end: u64,
}

/// What came out of a queue.
enum Polled {
    Record(Record),
    /// All that there is was given.
    End,
    /// The position is not there: removed, or not yet written.
    OutOfRange,
    /// A batch of records is not what was written.
    Damaged,
    Nothing,
}

impl TopicReader {
    /// A reader of `topic`; `group` is named to brokers and never joined. `over` are properties over those of `config`.
    ///
    /// Nothing is asked of a broker yet.
    ///
    /// # Errors
    ///
    /// If the properties cannot be used.
    pub fn new(
        config: &KafkaConfig,
        group: &str,
        topic: &str,
        over: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let client = config.consumer(group, over)?;
        let consumer: BaseConsumer<Told> =
            client.create_with_context(Told).map_err(ConfigError::of)?;
        let shared = Arc::new(Shared {
            consumer: Arc::new(consumer),
            topic: topic.to_owned(),
            partitions: Mutex::new(BTreeMap::new()),
            appended: Arc::new(Notify::new()),
            stopped: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let server = std::thread::Builder::new()
            .name("kafka-reader".to_owned())
            .spawn(move || serving.serve())
            .map_err(|error| ConfigError::Client(error.to_string()))?;
        Ok(Self { shared, server: Some(server) })
    }

    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.shared.topic
    }

    /// How many partitions the topic has now.
    ///
    /// # Errors
    ///
    /// [`LogError::Topic`] if there is no such topic; [`LogError::Storage`].
    pub async fn partitions(&self) -> Result<u16, LogError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.count()).await
    }

    /// Records of `partition` at `from` and later: as many as fit into `bytes_max` bytes of keys and values, but at
    /// least one if there is any.
    ///
    /// What this reader was told of is there: by [`TopicReader::end`] and [`TopicReader::appended`], or
    /// [`TopicReader::note_end`]. What others append later is found too, once it was fetched.
    ///
    /// # Errors
    ///
    /// [`LogError::Lost`] if records from `from` on are not there any more: whose they were decides what that means.
    /// [`LogError::Corrupt`] if the record at `from` is damaged; [`LogError::Storage`] if brokers do not answer.
    pub async fn read(
        &self,
        partition: u16,
        from: u64,
        bytes_max: usize,
    ) -> Result<Chunk, LogError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.read(partition, from, bytes_max)).await
    }

    /// The oldest position of `partition` that is still there, or its end.
    ///
    /// # Errors
    ///
    /// [`LogError::NoPartition`], [`LogError::Storage`].
    pub async fn low(&self, partition: u16) -> Result<u64, LogError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || Ok(shared.watermarks(partition)?.0)).await
    }

    /// The position behind the last record of `partition` that may be read.
    ///
    /// # Errors
    ///
    /// [`LogError::NoPartition`], [`LogError::Storage`].
    pub async fn end(&self, partition: u16) -> Result<u64, LogError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let (_, end) = shared.watermarks(partition)?;
            shared.note_end(partition, end);
            Ok(end)
        })
        .await
    }

    /// The oldest position of `partition` that is still there, and the one behind its last record.
    pub(super) async fn both_ends(&self, partition: u16) -> Result<(u64, u64), LogError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.watermarks(partition)).await
    }

    /// The first position of each partition whose record is of `time_ms` (milliseconds since 1970) or later, and the
    /// end where there is none.
    ///
    /// # Errors
    ///
    /// [`LogError::Storage`].
    pub async fn at_time(
        &self,
        partitions: &BTreeSet<u16>,
        time_ms: i64,
    ) -> Result<BTreeMap<u16, u64>, LogError> {
        let shared = Arc::clone(&self.shared);
        let partitions = partitions.clone();
        blocking(move || shared.at_time(&partitions, time_ms)).await
    }

    /// Tells the reader that `partition` goes on to `end` at least, and wakes who waits.
    pub fn note_end(&self, partition: u16, end: u64) {
        self.shared.note_end(partition, end);
        self.shared.appended.notify_one();
    }

    /// Returns when something came to a partition that was read before, since the last call returned. For one reader.
    pub async fn appended(&self) {
        self.shared.appended.notified().await;
    }

    /// Tells the group that this reader is named after how far partitions are read, for tools that show lag; a group with
    /// members is not told. Nothing depends on it, so a failure is logged by librdkafka and otherwise ignored.
    pub fn note_committed(&self, next: &[(u16, u64)]) {
        let mut list = TopicPartitionList::new();
        for (partition, position) in next {
            let Ok(offset) = i64::try_from(*position) else { continue };
            let (topic, partition) = (&self.shared.topic, i32::from(*partition));
            if list.add_partition_offset(topic, partition, Offset::Offset(offset)).is_err() {
                return;
            }
        }
        if list.count() > 0
            && let Err(error) = self.shared.consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!("positions were not told to the group: {error}");
        }
    }

    /// Fetches no more of `partition`, and forgets what was fetched ahead.
    pub fn release(&self, partition: u16) {
        let reading = self.shared.lock().remove(&partition);
        if let Some(reading) = reading {
            let placed = lock(&reading.reading).queue.take().is_some();
            if placed && let Err(error) = self.shared.let_go(partition) {
                tracing::warn!(partition, "a partition cannot be let go: {error}");
            }
        }
    }
}

impl Drop for TopicReader {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        // Queues hold the consumer: without this it would be closed on another thread, some time.
        self.shared.lock().clear();
        if let Some(server) = self.server.take()
            && server.join().is_err()
        {
            tracing::error!("a Kafka reader panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u16, Arc<Partition>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records come through queues of their own; here are errors and log lines alone.
    fn serve(&self) {
        while !self.stopped.load(Ordering::Acquire) {
            if let Some(Err(error)) = self.consumer.poll(SERVE_EVERY) {
                tracing::debug!("Kafka: {error}");
            }
        }
    }

    fn count(&self) -> Result<u16, LogError> {
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), ANSWER_MAX);
        let metadata = metadata.map_err(storage)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let partitions =
            found.filter(|topic| topic.error().is_none()).map(|t| t.partitions().len());
        partitions
            .and_then(|count| u16::try_from(count).ok())
            .filter(|count| *count > 0)
            .ok_or_else(|| LogError::Topic {
                topic: self.topic.clone(),
                problem: "it is not there".to_owned(),
                remedy: "make it, or name another".to_owned(),
            })
    }

    fn watermarks(&self, partition: u16) -> Result<(u64, u64), LogError> {
        let asked = i32::from(partition);
        match self.consumer.fetch_watermarks(&self.topic, asked, ANSWER_MAX) {
            Ok((low, high)) => Ok((position(low), position(high))),
            Err(error)
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition) =>
            {
                let partitions = self.count()?;
                match partition < partitions {
                    true => Err(storage(error)),
                    false => Err(LogError::NoPartition { asked: partition, partitions }),
                }
            }
            Err(error) => Err(storage(error)),
        }
    }

    fn note_end(&self, partition: u16, end: u64) {
        if let Some(partition) = self.lock().get(&partition) {
            partition.end.fetch_max(end, Ordering::AcqRel);
        }
    }

    fn at_time(
        &self,
        partitions: &BTreeSet<u16>,
        time_ms: i64,
    ) -> Result<BTreeMap<u16, u64>, LogError> {
        let mut ends = BTreeMap::new();
        let mut times = TopicPartitionList::new();
        for partition in partitions {
            // Before the question, so that what comes meanwhile is not taken for older.
            ends.insert(*partition, self.watermarks(*partition)?.1);
            times
                .add_partition_offset(
                    &self.topic,
                    i32::from(*partition),
                    Offset::Offset(time_ms.max(0)),
                )
                .map_err(storage)?;
        }
        if ends.is_empty() {
            return Ok(ends);
        }
        let found = self.consumer.offsets_for_times(times, ANSWER_MAX).map_err(storage)?;
        for element in found.elements() {
            element.error().map_err(storage)?;
            let partition = u16::try_from(element.partition()).expect("asked for by a u16");
            if let Offset::Offset(offset) = element.offset() {
                ends.insert(partition, position(offset));
            }
        }
        Ok(ends)
    }

    fn read(&self, number: u16, from: u64, bytes_max: usize) -> Result<Chunk, LogError> {
        if i64::try_from(from).is_err() {
            return Ok(Chunk { records: Vec::new(), next: from });
        }
        let partition = self.partition(number)?;
        let mut reading = lock(&partition.reading);
        if reading.next != from || reading.queue.is_none() {
            self.place(number, &partition, &mut reading, from)?;
        }
        self.gather(number, &partition, &mut reading, bytes_max)
    }

    /// The state of a partition; of a new one the end is asked for.
    fn partition(&self, number: u16) -> Result<Arc<Partition>, LogError> {
        if let Some(partition) = self.lock().get(&number) {
            return Ok(Arc::clone(partition));
        }
        let (_, end) = self.watermarks(number)?;
        let new = || Arc::new(Partition { end: AtomicU64::new(end), reading: Mutex::default() });
        Ok(Arc::clone(self.lock().entry(number).or_insert_with(new)))
    }

    /// Sets reading to `from`, whatever it was doing: nothing older comes out of the queue afterwards.
    fn place(
        &self,
        number: u16,
        partition: &Partition,
        reading: &mut Reading,
        from: u64,
    ) -> Result<(), LogError> {
        reading.kept = None;
        reading.placed_end = partition.end.load(Ordering::Acquire);
        reading.next = from;
        let offset = Offset::Offset(i64::try_from(from).expect("checked by read"));
        if reading.queue.is_some() {
            return self.seek(number, offset);
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, i32::from(number), offset).map_err(storage)?;
        self.consumer.incremental_assign(&list).map_err(storage)?;
        self.seek(number, offset)?;
        let queue = self.consumer.split_partition_queue(&self.topic, i32::from(number));
        let mut queue = queue.ok_or(LogError::Stopped)?;
        let appended = Arc::clone(&self.appended);
        queue.set_nonempty_callback(move || appended.notify_one());
        reading.queue = Some(queue);
        // What came before the queue was split off went to nobody.
        self.seek(number, offset)
    }

    /// Outdates all that was fetched and fetches from `offset` on; waits for a partition that is just being started.
    fn seek(&self, partition: u16, offset: Offset) -> Result<(), LogError> {
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            match self.consumer.seek(&self.topic, i32::from(partition), offset, ANSWER_MAX) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(storage(error)),
                Err(_) => std::thread::sleep(START_LOOK),
            }
        }
    }

    /// Takes records from the queue until there are no more or `bytes_max` is full.
    fn gather(
        &self,
        number: u16,
        partition: &Partition,
        reading: &mut Reading,
        bytes_max: usize,
    ) -> Result<Chunk, LogError> {
        let deadline = Instant::now() + FETCH_MAX;
        let mut records = Vec::new();
        let mut room = bytes_max;
        // Told of an end that may be older than the one that is known.
        let mut ended = false;
        loop {
            let end = partition.end.load(Ordering::Acquire);
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = match (reading.next < end, ended) {
                (false, _) => Duration::ZERO,
                (true, false) => left,
                (true, true) => left.min(END_LOOK),
            };
            let polled = match reading.kept.take() {
                Some(record) => Polled::Record(record),
                None => reading.poll(wait)?,
            };
            match polled {
                Polled::Record(record) if record.position < reading.next => {}
                Polled::Record(record) => {
                    let bytes = record.bytes();
                    if bytes > room && !records.is_empty() {
                        reading.kept = Some(record);
                        break;
                    }
                    room = room.saturating_sub(bytes);
                    reading.next = record.position + 1;
                    records.push(record);
                }
                Polled::End if reading.next >= end => {}
                Polled::End if reading.placed_end >= end => reading.next = end,
                Polled::End => ended = true,
                Polled::Nothing if reading.next >= end || !records.is_empty() => break,
                Polled::Nothing if ended && !left.is_zero() => {
                    let next = reading.next;
                    self.place(number, partition, reading, next)?;
                }
                Polled::Nothing => return Err(storage(TIMED_OUT)),
                Polled::OutOfRange | Polled::Damaged => {
                    // It is told again to who comes back for it.
                    reading.queue = None;
                    self.let_go(number)?;
                    if !records.is_empty() {
                        break;
                    }
                    if matches!(polled, Polled::Damaged) {
                        return Err(LogError::Corrupt {
                            partition: number,
                            position: reading.next,
                        });
                    }
                    return self.out_of_range(number, reading.next);
                }
            }
        }
        Ok(Chunk { records, next: reading.next })
    }

    fn let_go(&self, partition: u16) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, i32::from(partition));
        self.consumer.incremental_unassign(&list).map_err(storage)
    }

    /// Tells what is missing, if it is: a position behind the end is just not written yet.
    fn out_of_range(&self, partition: u16, next: u64) -> Result<Chunk, LogError> {
        let (low, _) = self.watermarks(partition)?;
        match next < low {
            true => Err(LogError::Lost { partition, from: next, to: low }),
            false => Ok(Chunk { records: Vec::new(), next }),
        }
    }
}

impl Reading {
    fn poll(&self, timeout: Duration) -> Result<Polled, LogError> {
        let queue = self.queue.as_ref().ok_or(LogError::Stopped)?;
        let Some(polled) = queue.poll(timeout) else { return Ok(Polled::Nothing) };
        let error = match polled {
            Ok(message) => return Ok(Polled::Record(Record::of(&message))),
            Err(KafkaError::PartitionEOF(_)) => return Ok(Polled::End),
            Err(error) => error,
        };
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::NoOffset,
            ) => Ok(Polled::OutOfRange),
            Some(RDKafkaErrorCode::BadMessage | RDKafkaErrorCode::InvalidMessage) => {
                Ok(Polled::Damaged)
            }
            _ => Err(storage(error)),
        }
    }
}

impl Record {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        Self {
            position: position(message.offset()),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
        }
    }

    /// Bytes of key and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.payload)
    }
}

/// Offsets of records are never negative.
fn position(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

fn lock(reading: &Mutex<Reading>) -> std::sync::MutexGuard<'_, Reading> {
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}
