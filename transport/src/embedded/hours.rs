//! The keyspaces of a log: one for each hour, in order of appending.

use std::sync::{PoisonError, RwLock};

use fjall::config::CompressionPolicy;
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions};

use super::{frame, storage};
use crate::{LogError, Partition};

/// Frames wait in memory for at most this many bytes of one keyspace before they are flushed.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// A frame this many hours behind the newest keyspace still goes there: it was sealed before the hour was full.
const BEHIND_MAX: u32 = 1;

/// The keyspaces that hold frames, oldest first.
pub(super) struct Hours {
    list: RwLock<Vec<Hour>>,
    partitions: u16,
}

/// One keyspace and what is known of it without looking inside.
struct Hour {
    /// Counts keyspaces over the log's life.
    number: u64,
    /// Latest hour in which a frame of it may be sealed.
    hour: u32,
    frames: Keyspace,
    /// First position and the one after the last, for each partition; equal where it has none.
    spans: Vec<(u64, u64)>,
}

/// A keyspace to read from.
pub(super) struct Holding {
    pub(super) frames: Keyspace,
    /// First position of the asked partition in it.
    pub(super) first: u64,
}

impl Hours {
    /// Finds the keyspaces of `database`.
    pub(super) fn load(database: &Database, partitions: u16) -> Result<Self, LogError> {
        let mut list = Vec::new();
        for name in database.list_keyspace_names() {
            let Some((number, hour)) = parse(&name) else { continue };
            let frames = database.keyspace(&name, options).map_err(storage)?;
            let spans = (0..partitions)
                .map(|partition| span(&frames, Partition(partition)))
                .collect::<Result<_, _>>()?;
            list.push(Hour { number, hour, frames, spans });
        }
        list.sort_by_key(|hour| hour.number);
        Ok(Self { list: RwLock::new(list), partitions })
    }

    /// The keyspace for a frame sealed in `hour`.
    ///
    /// That is the newest one while the frame's hour is its own or the one before, else a new one: after a clock
    /// jumped ahead and back, frames do not stay behind the hour it jumped to.
    pub(super) fn for_hour(&self, database: &Database, hour: u32) -> Result<Keyspace, LogError> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let newest = list.last();
        if let Some(newest) = newest
            && hour <= newest.hour
            && newest.hour - hour <= BEHIND_MAX
        {
            return Ok(newest.frames.clone());
        }
        let number = newest.map_or(0, |newest| newest.number + 1);
        let frames = database.keyspace(&name(number, hour), options).map_err(storage)?;
        let spans = vec![(0, 0); usize::from(self.partitions)];
        list.push(Hour { number, hour, frames: frames.clone(), spans });
        Ok(frames)
    }

    /// Records that `position` of `partition` is in `frames`, and durable.
    pub(super) fn note(&self, frames: &Keyspace, partition: Partition, position: u64) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(hour) = list.iter_mut().rev().find(|hour| hour.frames == *frames) {
            let span = &mut hour.spans[usize::from(partition.0)];
            if span.0 == span.1 {
                span.0 = position;
            }
            span.1 = position + 1;
        }
    }

    /// Keyspaces with frames of `partition` at `from` or later, in order.
    pub(super) fn holding(&self, partition: Partition, from: u64) -> Vec<Holding> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.iter()
            .filter_map(|hour| {
                let (first, end) = hour.spans[usize::from(partition.0)];
                (first < end && from < end).then(|| Holding { frames: hour.frames.clone(), first })
            })
            .collect()
    }

    /// The keyspace that holds `position` of `partition`, if it is there.
    pub(super) fn at(&self, partition: Partition, position: u64) -> Option<Keyspace> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        let holds = |hour: &&Hour| {
            let (first, end) = hour.spans[usize::from(partition.0)];
            (first..end).contains(&position)
        };
        list.iter().find(holds).map(|hour| hour.frames.clone())
    }

    /// Removes the keyspaces of `hour` and before, and counts their frames. The caller keeps writers out.
    pub(super) fn remove_through(&self, database: &Database, hour: u32) -> Result<u64, LogError> {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let mut removed = 0;
        while let Some(index) = list.iter().position(|old| old.hour <= hour) {
            let frames = list[index].frames.len().map_err(storage)?;
            database.delete_keyspace(list[index].frames.clone()).map_err(storage)?;
            list.remove(index);
            removed += u64::try_from(frames).unwrap_or(u64::MAX);
        }
        Ok(removed)
    }
}

/// Frames are written once and removed with their keyspace: kept out of the tree, so that compaction never moves
/// them, and uncompressed, because they are encrypted.
fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::None))
        .with_kv_separation(Some(KvSeparationOptions::default().compression(CompressionType::None)))
}

fn span(frames: &Keyspace, partition: Partition) -> Result<(u64, u64), LogError> {
    let mut entries = frames.prefix(partition.0.to_be_bytes());
    let position = |entry: fjall::Guard| -> Result<u64, LogError> {
        let key = entry.key().map_err(storage)?;
        let position = key.get(2..).and_then(|position| <[u8; 8]>::try_from(position).ok());
        position.map(u64::from_be_bytes).ok_or(LogError::Damaged("positions"))
    };
    let Some(first) = entries.next() else { return Ok((0, 0)) };
    let first = position(first)?;
    let last = entries.next_back().map_or(Ok(first), position)?;
    debug_assert!(frame::key(partition, first) <= frame::key(partition, last));
    Ok((first, last + 1))
}

fn name(number: u64, hour: u32) -> String {
    format!("{number}-{hour}")
}

fn parse(name: &str) -> Option<(u64, u32)> {
    let (number, hour) = name.split_once('-')?;
    Some((number.parse().ok()?, hour.parse().ok()?))
}
