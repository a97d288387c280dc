//! Which partition an event goes to: the same for every copy of it, so that a copy is looked for where the first is.

use std::sync::atomic::{AtomicU16, Ordering};

use anonymizer::{RawEvent, Value};
use schemas::Family;
use schemas::model::ContributorSource;
use transport::LogId;

/// Chooses partitions of one log.
pub(crate) struct Partitioner {
    /// Of the log's random id: two logs do not put one event in the same place.
    key: [u8; 32],
    partitions: u16,
    next: AtomicU16,
}

impl Partitioner {
    /// For the log of that id.
    pub(crate) fn new(log: LogId, partitions: u16) -> Self {
        let key = blake3::derive_key("quorate v1 partition of an event key", log.0.as_bytes());
        Self { key, partitions: partitions.max(1), next: AtomicU16::new(0) }
    }

    /// How many there are.
    pub(crate) fn partitions(&self) -> u16 {
        self.partitions
    }

    /// A partition for what has no key: each in turn.
    pub(crate) fn next(&self) -> u16 {
        self.next.fetch_add(1, Ordering::Relaxed) % self.partitions
    }

    /// The partition of an event with a key: its id, or else its contributor, boot and number.
    pub(crate) fn of(&self, family: &Family, event: &RawEvent<'_>) -> Option<u16> {
        if self.partitions == 1 {
            return Some(0);
        }
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        part(&mut hasher, family.name.as_bytes());
        if let Some(id) = event.id {
            part(&mut hasher, id.as_bytes());
        } else {
            let (Some(boot), Some(seq)) = (event.boot, event.seq) else { return None };
            let ContributorSource::Field(field) = family.contributor.source else { return None };
            match event.values.get(field)? {
                Value::Null => return None,
                Value::Text(text) => part(&mut hasher, text.as_bytes()),
                Value::Integer(number) => part(&mut hasher, &number.to_le_bytes()),
                Value::Float(number) => part(&mut hasher, &number.to_le_bytes()),
                Value::Boolean(truth) => part(&mut hasher, &[u8::from(*truth)]),
                Value::Index(index) => part(&mut hasher, &index.to_le_bytes()),
            }
            part(&mut hasher, &boot.to_le_bytes());
            part(&mut hasher, &seq.to_le_bytes());
        }
        let hash = hasher.finalize();
        let [first, second, third, fourth, ..] = hash.as_bytes();
        let drawn = u32::from_le_bytes([*first, *second, *third, *fourth]);
        u16::try_from(drawn % u32::from(self.partitions)).ok()
    }
}

/// Adds a part with its length before it, so that different parts never make the same whole.
fn part(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

#[cfg(test)]
mod tests {
    use anonymizer::ClockSource;
    use schemas::{Millis, PurposeSet};

    use super::*;
    use crate::testing::package;

    fn event<'a>(values: &'a [Value<'a>], id: Option<&'a str>, seq: Option<u64>) -> RawEvent<'a> {
        RawEvent {
            values,
            time: Millis(0),
            clock: ClockSource::Received,
            said: None,
            session: None,
            received: Millis(0),
            id,
            boot: Some(1),
            seq,
            granted: PurposeSet::default(),
            location_off: false,
        }
    }

    fn log(number: u128) -> LogId {
        LogId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn copies_of_an_event_meet_and_others_spread() {
        let package = package();
        let (_, family) = package.family("device_usage").unwrap();
        let partitioner = Partitioner::new(log(1), 8);
        let mut used = std::collections::BTreeSet::new();
        for seq in 0..100 {
            let values = vec![Value::Text("X1-2031-000417"); family.fields.len()];
            let first = partitioner.of(family, &event(&values, None, Some(seq)));
            assert_eq!(first, partitioner.of(family, &event(&values, None, Some(seq))));
            used.insert(first.expect("the event has a key"));
        }
        assert_eq!(used.len(), 8);
    }

    #[test]
    fn without_a_key_each_partition_has_its_turn() {
        let package = package();
        let (_, family) = package.family("device_usage").unwrap();
        let partitioner = Partitioner::new(log(1), 3);
        let values = vec![Value::Null; family.fields.len()];
        assert_eq!(partitioner.of(family, &event(&values, None, None)), None);
        assert_eq!(partitioner.of(family, &event(&values, None, Some(1))), None);
        let turns: Vec<u16> = (0..6).map(|_| partitioner.next()).collect();
        assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn another_log_puts_events_elsewhere() {
        let package = package();
        let (_, family) = package.family("device_usage").unwrap();
        let place = |log: LogId| {
            let partitioner = Partitioner::new(log, 64);
            let ids: Vec<String> = (0..20).map(|id| format!("id-{id}")).collect();
            let places = ids.iter().map(|id| partitioner.of(family, &event(&[], Some(id), None)));
            places.collect::<Vec<_>>()
        };
        assert_ne!(place(log(1)), place(log(2)));
    }
}
