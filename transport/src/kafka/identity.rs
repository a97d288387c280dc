//! Whose topic it is: the log's id in a file that all nodes share, and an anchor in the topic's own life.
//!
//! The anchor is an offset that is committed for each partition by a group that nobody joins, with the id as its
//! metadata. Kafka forgets the offsets of a topic that is deleted, so a topic that was made again under the same name
//! has none, however far it has grown. The offset itself says up to where frames were removed here: what is
//! missing beyond it was lost.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anonymizer::Shelf;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset, TopicPartitionList};
use uuid::Uuid;

use super::KafkaConfig;
use super::client::{ANSWER_MAX, Told, storage};
use crate::{LogError, LogId};

/// Brokers forget offsets that nobody commits for days; they are committed again after this.
const RENEW_EVERY: Duration = Duration::from_secs(3600);

/// Between two questions to a coordinator that is not ready.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What the shared file says: the id, and whether the topic is known to carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    id: LogId,
    anchored: bool,
}

impl Known {
    fn read(shelf: &dyn Shelf, file: &str) -> Result<Option<Self>, LogError> {
        let Some(bytes) = shelf.read(file).map_err(kept)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).ok();
        let (id, state) = text
            .and_then(|text| text.trim_end().split_once(' '))
            .ok_or(LogError::Damaged("its own id"))?;
        let id = Uuid::from_str(id).map_err(|_| LogError::Damaged("its own id"))?;
        let anchored = match state {
            "anchored" => true,
            "new" => false,
            _ => return Err(LogError::Damaged("its own id")),
        };
        Ok(Some(Self { id: LogId(id), anchored }))
    }

    fn text(self) -> String {
        format!("{} {}\n", self.id, if self.anchored { "anchored" } else { "new" })
    }
}

/// What to do with a topic that does not carry the log's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// It is the topic it always was, and only the anchor is gone: stored positions go on to hold.
    Same,
    /// It is another topic: a new log, from its beginning. What the old one held and was not committed is lost.
    New,
}

/// The anchor of one topic.
pub(super) struct Anchor {
    consumer: BaseConsumer<Told>,
    topic: String,
    partitions: u16,
    id: LogId,
    state: Mutex<State>,
}

struct State {
    /// Up to where frames were removed, by partition.
    removed: Vec<u64>,
    verified: Instant,
    renewed: Instant,
}

impl Anchor {
    /// Finds the id of the log, or makes one for a topic that was never written to.
    ///
    /// `ends` are low and high ends of the topic's partitions.
    pub(super) fn open(
        config: &KafkaConfig,
        shelf: &dyn Shelf,
        ends: &[(u64, u64)],
    ) -> Result<Self, LogError> {
        let consumer = consumer(config)?;
        let topic = config.topic();
        let partitions = config.partitions;
        let found = committed(&consumer, &topic, partitions)?;
        let known = match Known::read(shelf, &config.identity_file())? {
            Some(known) => known,
            None => {
                if !found.is_empty() || ends.iter().any(|(_, end)| *end > 0) {
                    return Err(refused(
                        &topic,
                        "it holds frames of a log whose id is not beside the key ring",
                    ));
                }
                let known = Known { id: LogId(Uuid::new_v4()), anchored: false };
                match shelf
                    .create(&config.identity_file(), known.text().as_bytes())
                    .map_err(kept)?
                {
                    true => known,
                    false => Known::read(shelf, &config.identity_file())?
                        .ok_or(LogError::Damaged("its own id"))?,
                }
            }
        };
        let now = Instant::now();
        let state =
            State { removed: vec![0; usize::from(partitions)], verified: now, renewed: now };
        let anchor = Self { consumer, topic, partitions, id: known.id, state: Mutex::new(state) };
        if known.anchored || !found.is_empty() {
            anchor.accept(&found)?;
        } else if ends.iter().any(|(_, end)| *end > 0) {
            return Err(refused(&anchor.topic, "it holds frames of another log"));
        } else {
            anchor.commit(&anchor.removed_all())?;
        }
        if !known.anchored {
            let anchored = Known { anchored: true, ..known };
            shelf.replace(&config.identity_file(), anchored.text().as_bytes()).map_err(kept)?;
        }
        Ok(anchor)
    }

    /// Writes an anchor into a topic that has none, as the operator says.
    pub(super) fn adopt(
        config: &KafkaConfig,
        shelf: &dyn Shelf,
        ends: &[(u64, u64)],
        how: Adopt,
    ) -> Result<LogId, LogError> {
        let id = match (how, Known::read(shelf, &config.identity_file())?) {
            (Adopt::Same, Some(known)) => known.id,
            (Adopt::Same, None) => {
                return Err(LogError::Topic {
                    topic: config.topic(),
                    problem: "the log's id is not beside the key ring".to_owned(),
                    remedy: "put it back, or adopt the topic as a new log".to_owned(),
                });
            }
            (Adopt::New, _) => LogId(Uuid::new_v4()),
        };
        let consumer = consumer(config)?;
        let lows: Vec<u64> = ends.iter().map(|(low, _)| *low).collect();
        commit(&consumer, &config.topic(), id, &lows)?;
        let known = Known { id, anchored: true };
        shelf.replace(&config.identity_file(), known.text().as_bytes()).map_err(kept)?;
        Ok(id)
    }

    pub(super) fn id(&self) -> LogId {
        self.id
    }

    /// Up to where frames of `partition` were removed, as far as is known.
    pub(super) fn removed(&self, partition: u16) -> u64 {
        self.lock().removed.get(usize::from(partition)).copied().unwrap_or(0)
    }

    /// Whether the last look at whose topic it is was within `age_max`.
    pub(super) fn is_fresh(&self, age_max: Duration) -> bool {
        self.lock().verified.elapsed() <= age_max
    }

    /// Makes sure that the topic is still the one it was.
    pub(super) fn verify(&self) -> Result<(), LogError> {
        let found = committed(&self.consumer, &self.topic, self.partitions)?;
        self.accept(&found)
    }

    /// Notes that frames are removed up to these positions: before they are, so that nobody takes them for lost.
    pub(super) fn note_removed(&self, up_to: &BTreeMap<u16, u64>) -> Result<(), LogError> {
        // What another node removed is not taken back.
        self.verify()?;
        let mut removed = self.removed_all();
        let before = removed.clone();
        for (partition, position) in up_to {
            let known = &mut removed[usize::from(*partition)];
            *known = (*known).max(*position);
        }
        if removed == before && self.lock().renewed.elapsed() < RENEW_EVERY {
            return Ok(());
        }
        self.commit(&removed)
    }

    fn commit(&self, removed: &[u64]) -> Result<(), LogError> {
        commit(&self.consumer, &self.topic, self.id, removed)?;
        let mut state = self.lock();
        removed.clone_into(&mut state.removed);
        state.renewed = Instant::now();
        state.verified = state.renewed;
        Ok(())
    }

    /// Takes what was found for this log's anchor.
    fn accept(&self, found: &BTreeMap<u16, (u64, String)>) -> Result<(), LogError> {
        let id = self.id.to_string();
        for partition in 0..self.partitions {
            match found.get(&partition) {
                Some((_, other)) if *other == id => {}
                Some(_) => return Err(refused(&self.topic, "it is the topic of another log")),
                None => {
                    return Err(refused(
                        &self.topic,
                        "it is not the topic that the log was kept in: it was deleted and made \
                         again, or nobody worked on it for so long that Kafka forgot",
                    ));
                }
            }
        }
        let mut state = self.lock();
        for (partition, (removed, _)) in found {
            if let Some(known) = state.removed.get_mut(usize::from(*partition)) {
                *known = (*known).max(*removed);
            }
        }
        state.verified = Instant::now();
        Ok(())
    }

    fn removed_all(&self) -> Vec<u64> {
        self.lock().removed.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A shelf that cannot be used now.
fn kept(error: anonymizer::Error) -> LogError {
    LogError::Storage(Box::new(error))
}

fn refused(topic: &str, problem: &str) -> LogError {
    LogError::Topic {
        topic: topic.to_owned(),
        problem: problem.to_owned(),
        remedy: "put back what belongs there, or say what it is with `quorate kafka topics adopt`"
            .to_owned(),
    }
}

fn consumer(config: &KafkaConfig) -> Result<BaseConsumer<Told>, LogError> {
    let client = config.consumer(&config.anchor_group(), &BTreeMap::new());
    let client = client.map_err(|error| LogError::Storage(Box::new(error)))?;
    client.create_with_context(Told).map_err(storage)
}

/// Offsets and metadata that the anchor's group has for the topic, by partition; nothing for those it has none for.
pub(super) fn committed(
    consumer: &BaseConsumer<Told>,
    topic: &str,
    partitions: u16,
) -> Result<BTreeMap<u16, (u64, String)>, LogError> {
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition(topic, i32::from(partition));
    }
    let list = patient(|| consumer.committed_offsets(list.clone(), ANSWER_MAX))?;
    let mut found = BTreeMap::new();
    for element in list.elements() {
        element.error().map_err(storage)?;
        if let (Offset::Offset(offset), Ok(partition)) =
            (element.offset(), u16::try_from(element.partition()))
        {
            let offset = u64::try_from(offset).unwrap_or(0);
            found.insert(partition, (offset, element.metadata().to_owned()));
        }
    }
    Ok(found)
}

fn commit(
    consumer: &BaseConsumer<Told>,
    topic: &str,
    id: LogId,
    removed: &[u64],
) -> Result<(), LogError> {
    let mut list = TopicPartitionList::new();
    for (partition, removed) in (0..).zip(removed) {
        let mut element = list.add_partition(topic, partition);
        let offset = i64::try_from(*removed).unwrap_or(i64::MAX);
        element.set_offset(Offset::Offset(offset)).map_err(storage)?;
        element.set_metadata(id.to_string());
    }
    patient(|| consumer.commit(&list, CommitMode::Sync))
}

/// Asks again while the group's coordinator is elsewhere, or not there yet.
pub(super) fn patient<T>(ask: impl Fn() -> KafkaResult<T>) -> Result<T, LogError> {
    let deadline = Instant::now() + ANSWER_MAX;
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) if Instant::now() >= deadline => return Err(storage(error)),
            Err(_) => std::thread::sleep(ASK_AGAIN),
        }
    }
}
