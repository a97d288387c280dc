//! The keyspaces of a log: one for each hour, in order of appending.

use std::sync::{PoisonError, RwLock};

use fjall::config::CompressionPolicy;
use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode,
};

use super::opened::next_key;
use super::removed::Removed;
use super::{frame, storage};
use crate::{LogError, Partition};

/// Frames wait in memory for at most this many bytes of one keyspace before they are flushed.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// A frame this many hours behind the newest keyspace still goes there: it was sealed before the hour was full.
const BEHIND_MAX: u32 = 1;

/// The keyspaces that hold frames, oldest first.
pub(super) struct Hours {
    state: RwLock<State>,
    partitions: u16,
}

struct State {
    list: Vec<Hour>,
    /// What was in keyspaces that are gone, for each partition.
    removed: Vec<Removed>,
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

/// Where to read a partition from.
pub(super) struct Holding {
    /// Keyspaces with frames of it, in order, and the first position in each.
    pub(super) keyspaces: Vec<(Keyspace, u64)>,
    /// What is not there any more, and need not be.
    pub(super) removed: Removed,
}

impl Hours {
    /// Finds the keyspaces of `database`, and in `meta` what was removed.
    pub(super) fn load(
        database: &Database,
        meta: &Keyspace,
        partitions: u16,
    ) -> Result<Self, LogError> {
        let mut list = Vec::new();
        for name in database.list_keyspace_names() {
            let Some((number, hour)) = parse(&name) else { continue };
            let frames = database.keyspace(&name, options).map_err(storage)?;
            let spans = (0..partitions)
                .map(|partition| span(&frames, Partition(partition)))
                .collect::<Result<_, _>>()?;
            list.push(Hour { number, hour, frames, spans });
        }
        list.sort_by_key(|hour: &Hour| hour.number);
        let mut removed = Vec::with_capacity(usize::from(partitions));
        for partition in 0..partitions {
            removed.push(match Removed::load(meta, partition)? {
                Some(known) => known,
                None => begin_removals(database, meta, partition, &list)?,
            });
        }
        Ok(Self { state: RwLock::new(State { list, removed }), partitions })
    }

    /// The position behind the last frame of a partition, 0 without one.
    pub(super) fn end(&self, partition: Partition) -> u64 {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let ends = state.list.iter().map(|hour| hour.spans[usize::from(partition.0)].1);
        ends.max().unwrap_or(0)
    }

    /// Hours whose frames are there, and how many, oldest first.
    pub(super) fn held(&self) -> Vec<(u32, u64)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let frames = |hour: &Hour| hour.spans.iter().map(|(first, end)| end - first).sum();
        let held = state.list.iter().map(|hour| (hour.hour, frames(hour)));
        held.filter(|(_, frames)| *frames > 0).collect()
    }

    /// The keyspace for a frame sealed in `hour`.
    ///
    /// That is the newest one while the frame's hour is its own or the one before, else a new one: after a clock
    /// jumped ahead and back, frames do not stay behind the hour it jumped to.
    pub(super) fn for_hour(&self, database: &Database, hour: u32) -> Result<Keyspace, LogError> {
        let State { list, .. } = &mut *self.state.write().unwrap_or_else(PoisonError::into_inner);
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
        let State { list, .. } = &mut *self.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(hour) = list.iter_mut().rev().find(|hour| hour.frames == *frames) {
            let span = &mut hour.spans[usize::from(partition.0)];
            if span.0 == span.1 {
                span.0 = position;
            }
            span.1 = position + 1;
        }
    }

    /// Where frames of `partition` at `from` and later are, and which of them were removed.
    pub(super) fn holding(&self, partition: Partition, from: u64) -> Holding {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let index = usize::from(partition.0);
        let keyspaces = state.list.iter().filter_map(|hour| {
            let (first, end) = hour.spans[index];
            (first < end && from < end).then(|| (hour.frames.clone(), first))
        });
        Holding { keyspaces: keyspaces.collect(), removed: state.removed[index].clone() }
    }

    /// The keyspace that holds `position` of `partition`, if it is there.
    pub(super) fn at(&self, partition: Partition, position: u64) -> Option<Keyspace> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let holds = |hour: &&Hour| {
            let (first, end) = hour.spans[usize::from(partition.0)];
            (first..end).contains(&position)
        };
        state.list.iter().find(holds).map(|hour| hour.frames.clone())
    }

    /// Removes the keyspaces of `hour` and before, and counts their frames. The caller keeps writers out.
    ///
    /// What goes is written down first, durably: what is missing without that counts as lost.
    pub(super) fn remove_through(
        &self,
        database: &Database,
        meta: &Keyspace,
        hour: u32,
    ) -> Result<u64, LogError> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let State { list, removed } = &mut *state;
        let mut count = 0;
        while let Some(index) = list.iter().position(|old| old.hour <= hour) {
            let old = &list[index];
            let frames = old.frames.len().map_err(storage)?;
            let mut batch = database.batch().durability(Some(PersistMode::SyncData));
            for ((partition, removed), &(first, end)) in (0..).zip(&mut *removed).zip(&old.spans) {
                removed.add(first..end);
                let (key, value) = removed.entry(partition);
                batch.insert(meta, key, value);
            }
            batch.commit().map_err(storage)?;
            database.delete_keyspace(old.frames.clone()).map_err(storage)?;
            list.remove(index);
            count += u64::try_from(frames).unwrap_or(u64::MAX);
        }
        Ok(count)
    }
}

/// What a log that kept no record of removals has removed: all that it does not hold.
fn begin_removals(
    database: &Database,
    meta: &Keyspace,
    partition: u16,
    list: &[Hour],
) -> Result<Removed, LogError> {
    let mut removed = Removed::default();
    let mut end = 0;
    for hour in list {
        let (first, next) = hour.spans[usize::from(partition)];
        if first < next {
            removed.add(end..first.max(end));
            end = next;
        }
    }
    if let Some(next) = meta.get(next_key(partition)).map_err(storage)? {
        let next = <[u8; 8]>::try_from(&*next).map_err(|_| LogError::Damaged("positions"))?;
        removed.add(end..u64::from_be_bytes(next).max(end));
    }
    let mut batch = database.batch().durability(Some(PersistMode::SyncData));
    let (key, value) = removed.entry(partition);
    batch.insert(meta, key, value);
    batch.commit().map_err(storage)?;
    Ok(removed)
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
    let position =
        |entry: fjall::Guard| entry.key().map_err(storage).and_then(|key| frame::position(&key));
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
