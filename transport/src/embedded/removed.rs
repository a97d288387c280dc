//! Which positions of a partition were removed: whatever else is missing is lost.

use std::ops::Range;

use fjall::Keyspace;

use super::storage;
use crate::LogError;

/// Ranges of positions, ascending and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed(Vec<Range<u64>>);

impl Removed {
    /// Reads what `meta` holds of a partition; none if nothing was ever written down.
    pub(super) fn load(meta: &Keyspace, partition: u16) -> Result<Option<Self>, LogError> {
        let Some(value) = meta.get(key(partition)).map_err(storage)? else { return Ok(None) };
        let (pairs, rest) = value.as_chunks::<16>();
        if !rest.is_empty() {
            return Err(LogError::Damaged("removals"));
        }
        let number =
            |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let ranges = pairs.iter().map(|pair| number(&pair[..8])..number(&pair[8..])).collect();
        Ok(Some(Self(ranges)))
    }

    /// Key and value under which [`Removed::load`] finds it.
    pub(super) fn entry(&self, partition: u16) -> (Vec<u8>, Vec<u8>) {
        let numbers = self.0.iter().flat_map(|range| [range.start, range.end]);
        (key(partition), numbers.flat_map(u64::to_be_bytes).collect())
    }

    /// Adds a range; what meets becomes one.
    pub(super) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.0.push(range);
        self.0.sort_unstable_by_key(|range| range.start);
        self.0.dedup_by(|next, last| {
            let meets = next.start <= last.end;
            if meets {
                last.end = last.end.max(next.end);
            }
            meets
        });
    }

    /// The first position at `from` or later that was not removed.
    pub(super) fn skip(&self, from: u64) -> u64 {
        self.0.iter().find(|range| range.contains(&from)).map_or(from, |range| range.end)
    }
}

fn key(partition: u16) -> Vec<u8> {
    [b"removed".as_slice(), &partition.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_meet_are_one_and_are_skipped() {
        let mut removed = Removed::default();
        for range in [5..9, 0..3, 20..30, 3..5, 9..9] {
            removed.add(range);
        }
        assert_eq!(removed, Removed(vec![0..9, 20..30]));
        for (from, first) in [(0, 9), (8, 9), (9, 9), (19, 19), (20, 30), (29, 30), (30, 30)] {
            assert_eq!(removed.skip(from), first);
        }
    }
}
