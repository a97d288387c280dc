//! Frames that took the place of others: a topic beside the log's, and an index of it in memory.
//!
//! A topic cannot be changed, so a frame that was sealed again without a contributor goes into `<prefix>.replaced`, to the
//! same partition, under the key `<partition>/<position>`; the last one of a key counts. The old bytes stay where they
//! are, under a key that is destroyed once all of its frames are here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anonymizer::Sealed;

use super::TopicReader;
use crate::LogError;

/// Bytes of frames that are read at once while the index is made.
const READ_BYTES_MAX: usize = 4 << 20;

/// The topic of replaced frames.
pub(super) struct Replaced {
    reader: TopicReader,
    index: Mutex<BTreeMap<u16, Index>>,
}

/// What is known of one partition.
#[derive(Default)]
struct Index {
    /// Where frames lie in the topic, by the position in whose place they are.
    at: BTreeMap<u64, u64>,
    /// Where the index goes on.
    next: u64,
    refreshed: Option<Instant>,
}

/// The key of the frame in the place of that at `position`.
pub(super) fn key(partition: u16, position: u64) -> String {
    format!("{partition}/{position}")
}

/// The position that a key of `partition` names.
fn position(key: &[u8], partition: u16) -> Option<u64> {
    let (of, position) = std::str::from_utf8(key).ok()?.split_once('/')?;
    (of.parse() == Ok(partition)).then_some(())?;
    position.parse().ok()
}

impl Replaced {
    pub(super) fn new(reader: TopicReader) -> Self {
        Self { reader, index: Mutex::new(BTreeMap::new()) }
    }

    pub(super) fn reader(&self) -> &TopicReader {
        &self.reader
    }

    /// Brings the index of `partition` up to date, unless that was done within `age_max`.
    pub(super) async fn refresh(&self, partition: u16, age_max: Duration) -> Result<(), LogError> {
        let began = Instant::now();
        let mut next = {
            let mut index = self.lock();
            let index = index.entry(partition).or_default();
            if index.refreshed.is_some_and(|at| began.duration_since(at) < age_max) {
                return Ok(());
            }
            index.next
        };
        let end = self.reader.end(partition).await?;
        while next < end {
            let read = self.reader.read(partition, next, READ_BYTES_MAX).await;
            let chunk = match read {
                Ok(chunk) => chunk,
                // Removed with their hour.
                Err(LogError::Lost { to, .. }) => {
                    next = to;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut index = self.lock();
            let index = index.entry(partition).or_default();
            for record in &chunk.records {
                if let Some(of) = record.key.as_deref().and_then(|key| position(key, partition)) {
                    index.enter(of, record.position);
                }
            }
            next = chunk.next.max(next);
            index.next = index.next.max(next);
        }
        let mut index = self.lock();
        index.entry(partition).or_default().refreshed = Some(began);
        Ok(())
    }

    /// Notes a frame that was put in the place of another just now.
    pub(super) fn enter(&self, partition: u16, position: u64, at: u64) {
        self.lock().entry(partition).or_default().enter(position, at);
    }

    /// The frame that is in the place of that at `position`, as far as the index knows.
    pub(super) async fn get(
        &self,
        partition: u16,
        position: u64,
    ) -> Result<Option<Sealed>, LogError> {
        let at = self.lock().get(&partition).and_then(|index| index.at.get(&position).copied());
        let Some(at) = at else { return Ok(None) };
        self.reader.note_end(partition, at + 1);
        let chunk = match self.reader.read(partition, at, 0).await {
            Ok(chunk) => chunk,
            Err(LogError::Lost { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let record = chunk.records.into_iter().next().filter(|record| record.position == at);
        let damaged = || LogError::Corrupt { partition, position };
        let bytes = record.and_then(|record| record.payload).ok_or_else(damaged)?;
        Sealed::parse(bytes).map(Some).map_err(|_| damaged())
    }

    /// Forgets what was in the place of frames that are gone.
    pub(super) fn forget_before(&self, partition: u16, position: u64) {
        if let Some(index) = self.lock().get_mut(&partition) {
            index.at = index.at.split_off(&position);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u16, Index>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn enter(&mut self, position: u64, at: u64) {
        let known = self.at.entry(position).or_default();
        *known = (*known).max(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_partition_and_position_and_no_other() {
        assert_eq!(position(key(3, 17).as_bytes(), 3), Some(17));
        assert_eq!(position(key(3, 17).as_bytes(), 4), None);
        for odd in ["", "3", "3/", "/17", "3/17/1", "x/y", "3/-1"] {
            assert_eq!(position(odd.as_bytes(), 3), None, "{odd}");
        }
    }
}
