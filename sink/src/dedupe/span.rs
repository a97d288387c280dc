//! Keyspaces that each hold the keys of a span of days.

use std::collections::{BTreeMap, HashSet};

use fjall::{Database, Keyspace, UserValue};
use schemas::Millis;
use schemas::time::DAY_MS;

use super::options;
use crate::error::SinkError;

/// The day of a point in time, from 1970; 0 before that.
pub(super) fn day(time: Millis) -> u32 {
    u32::try_from(time.day()).unwrap_or(0)
}

/// A length of time in days, rounded up, at least one.
pub(super) fn days(length_ms: i64) -> u32 {
    u32::try_from(length_ms.max(1).div_euclid(DAY_MS) + i64::from(length_ms % DAY_MS > 0))
        .unwrap_or(u32::MAX)
        .max(1)
}

/// The number of the span of `length` days that holds `day`.
pub(super) fn of_day(day: u32, length: u32) -> u32 {
    day / length
}

/// The last day of a span.
pub(super) fn last_day(span: u32, length: u32) -> u32 {
    span.saturating_mul(length).saturating_add(length - 1)
}

/// The keyspaces of one kind, by number of their span.
pub(super) struct Spans {
    prefix: String,
    length: u32,
    spans: BTreeMap<u32, Keyspace>,
}

impl Spans {
    /// Finds the keyspaces whose names begin with `prefix`, for spans of `length` days.
    pub(super) fn load(database: &Database, prefix: &str, length: u32) -> Result<Self, SinkError> {
        let prefix = format!("{prefix}{length}/");
        let mut spans = BTreeMap::new();
        for name in database.list_keyspace_names() {
            if let Some(span) = span_of(&prefix, &name) {
                spans.insert(span, database.keyspace(&name, options)?);
            }
        }
        Ok(Self { prefix, length, spans })
    }

    /// Whether a keyspace of that name is one of these.
    pub(super) fn owns(&self, name: &str) -> bool {
        span_of(&self.prefix, name).is_some_and(|span| self.spans.contains_key(&span))
    }

    /// Days in a span.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    pub(super) fn get_or_create(
        &mut self,
        database: &Database,
        span: u32,
    ) -> Result<&Keyspace, SinkError> {
        use std::collections::btree_map::Entry;
        Ok(match self.spans.entry(span) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                entry.insert(database.keyspace(&format!("{}{span}", self.prefix), options)?)
            }
        })
    }

    /// Looks in one span.
    pub(super) fn find_in(&self, span: u32, key: &[u8]) -> Result<Option<UserValue>, SinkError> {
        match self.spans.get(&span) {
            Some(keyspace) => Ok(keyspace.get(key)?),
            None => Ok(None),
        }
    }

    /// Looks in every span, the newest first.
    pub(super) fn find(&self, key: &[u8]) -> Result<Option<UserValue>, SinkError> {
        for keyspace in self.spans.values().rev() {
            if let Some(found) = keyspace.get(key)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The keyspace of one span, or of all.
    pub(super) fn holding(&self, span: u32, all: bool) -> impl Iterator<Item = &Keyspace> {
        let chosen = self.spans.iter().filter(move |(own, _)| all || **own == span);
        chosen.map(|(_, keyspace)| keyspace)
    }

    /// The buckets of all keys, found by jumping from each to the next.
    pub(super) fn buckets(&self) -> Result<HashSet<u32>, SinkError> {
        let mut buckets = HashSet::new();
        for keyspace in self.spans.values() {
            let mut from = Some(0_u32);
            while let Some(bucket) = from {
                let Some(next) = keyspace.range(bucket.to_be_bytes()..).next() else { break };
                let key = next.key()?;
                let Some((bucket, _)) = key.split_first_chunk() else { break };
                let bucket = u32::from_be_bytes(*bucket);
                buckets.insert(bucket);
                from = bucket.checked_add(1);
            }
        }
        Ok(buckets)
    }

    /// What lies under every key.
    #[cfg(test)]
    pub(super) fn values(&self) -> impl Iterator<Item = UserValue> {
        let entries = self.spans.values().flat_map(Keyspace::iter);
        entries.map(|entry| entry.value().expect("a readable index"))
    }

    /// Removes the spans that `keep` does not want, and counts them.
    pub(super) fn retain(
        &mut self,
        database: &Database,
        keep: impl Fn(u32) -> bool,
    ) -> Result<u64, SinkError> {
        let gone = self.spans.keys().copied().filter(|&span| !keep(span)).collect::<Vec<_>>();
        for span in &gone {
            if let Some(keyspace) = self.spans.remove(span) {
                database.delete_keyspace(keyspace)?;
            }
        }
        Ok(gone.len() as u64)
    }
}

fn span_of(prefix: &str, name: &str) -> Option<u32> {
    name.strip_prefix(prefix)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_fall_into_spans() {
        assert_eq!(days(2 * DAY_MS), 2);
        assert_eq!(days(2 * DAY_MS + 1), 3);
        assert_eq!((days(0), days(-1), days(i64::MAX)), (1, 1, u32::MAX));
        assert_eq!(day(Millis(-1)), 0);
        for (day, length) in [(0, 1), (20_779, 7), (20_780, 28)] {
            let span = of_day(day, length);
            assert!(last_day(span, length) >= day && last_day(span, length) < day + length);
        }
    }
}
