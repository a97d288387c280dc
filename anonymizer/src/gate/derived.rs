//! Keys derived from those of the ring: one a field and epoch, one a family's window.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::UInt64Type;

use super::Gate;
use super::living::{Living, Memo};
use crate::anonymized::EventKey;
use crate::error::Error;
use crate::keys::{Key, KeyName};
use crate::layout;
use crate::pseudonym::{EventsKey, FieldKey, RowKeys};

/// Keys derived from those of the ring; forgotten as soon as one of those is destroyed.
#[derive(Default)]
pub(super) struct DerivedKeys {
    ring_version: u64,
    /// By family, field, epoch.
    fields: HashMap<(usize, usize, i32), Arc<FieldKey>>,
    /// By family, generation.
    events: HashMap<(usize, i32), Arc<EventsKey>>,
}

/// Derived keys kept at once: an import goes through many epochs.
const DERIVED_KEYS_MAX: usize = 1_024;

impl Gate {
    /// The keys of each row's epoch, for the fields that need them.
    pub(super) fn row_keys(&self, family: usize, epochs: &[i32]) -> Result<RowKeys, Error> {
        let mut distinct: Vec<i32> = Vec::new();
        let mut known = Memo::default();
        let mut slots = Vec::with_capacity(epochs.len());
        for &epoch in epochs {
            slots.push(known.get(epoch, || {
                distinct.push(epoch);
                Ok(distinct.len() - 1)
            })?);
        }
        let mut fields = Vec::new();
        for field in self.plans[family].pseudonymous() {
            let keys = distinct.iter().map(|epoch| self.field_key(family, field, *epoch));
            fields.push((field, keys.collect::<Result<_, _>>()?));
        }
        Ok(RowKeys::new(fields, slots))
    }

    fn field_key(&self, family: usize, field: usize, epoch: i32) -> Result<Arc<FieldKey>, Error> {
        if let Some(key) = self.derived(|keys| keys.fields.get(&(family, field, epoch)).cloned()) {
            return Ok(key);
        }
        let declared = self.family(family);
        let version = self.ring.version();
        let name = KeyName::Pseudonym { family: declared.name.clone(), epoch };
        let root = self.ring.get_or_create(&name)?;
        let field_name = &declared.fields[field].name;
        let key = FieldKey::of(&root, &self.package.controller, &declared.name, field_name, epoch);
        let key = Arc::new(key);
        self.remember(version, |keys| {
            keys.fields.insert((family, field, epoch), Arc::clone(&key));
        });
        Ok(key)
    }

    fn events_key(&self, family: usize, generation: i32, root: &Key) -> Arc<EventsKey> {
        if let Some(key) = self.derived(|keys| keys.events.get(&(family, generation)).cloned()) {
            return key;
        }
        let version = self.ring.version();
        let declared = self.family(family);
        let key = EventsKey::of(root, &self.package.controller, &declared.name, generation);
        let key = Arc::new(key);
        self.remember(version, |keys| {
            keys.events.insert((family, generation), Arc::clone(&key));
        });
        key
    }

    fn derived<T>(&self, find: impl FnOnce(&DerivedKeys) -> Option<T>) -> Option<T> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.ring_version == self.ring.version() { find(&keys) } else { None }
    }

    /// Drops what was derived of keys that are forgotten.
    pub(super) fn forget_derived(&self) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.ring_version != self.ring.version() {
            *keys = DerivedKeys::default();
        }
    }

    fn remember(&self, version: u64, insert: impl FnOnce(&mut DerivedKeys)) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let full = keys.fields.len() + keys.events.len() >= DERIVED_KEYS_MAX;
        if keys.ring_version != version || full {
            *keys = DerivedKeys::default();
        }
        keys.ring_version = version;
        insert(&mut keys);
    }

    /// By what each row's second copy would be known.
    pub(super) fn event_keys(
        &self,
        family: usize,
        columns: &RecordBatch,
        living: &Living,
    ) -> Result<Vec<Option<EventKey>>, Error> {
        let declared = self.family(family);
        let ids: &StringArray = columns.column(layout::ID).as_string();
        let boots = columns.column(layout::BOOT).as_primitive::<UInt64Type>();
        let seqs = columns.column(layout::SEQ).as_primitive::<UInt64Type>();
        let contributor = self.plans[family].contributor.raw;
        let contributors = contributor.map(|raw| columns.column(raw).as_string::<i32>());
        let mut scratch = Vec::new();
        let mut hash = |key: &EventsKey, row: usize| {
            if ids.is_valid(row) {
                return Some(key.id(ids.value(row), &mut scratch));
            }
            let contributors = contributors.filter(|contributors| contributors.is_valid(row))?;
            let counted = boots.is_valid(row) && seqs.is_valid(row);
            let count = || {
                key.count(contributors.value(row), boots.value(row), seqs.value(row), &mut scratch)
            };
            counted.then(count).flatten()
        };
        let name = |generation| KeyName::Dedupe { family: declared.name.clone(), generation };
        let mut keys: Memo<i32, (Arc<EventsKey>, Option<Arc<EventsKey>>)> = Memo::default();
        let mut out = Vec::with_capacity(living.rows.len());
        for row in 0..living.rows.len() {
            let generation = living.generations[row];
            let (key, before) = keys.get(generation, || {
                let root = self.ring.get_or_create(&name(generation))?;
                let before = generation.saturating_sub(1);
                let root_before = self.ring.alive(&name(before))?;
                let before = root_before.map(|root| self.events_key(family, before, &root));
                Ok((self.events_key(family, generation, &root), before))
            })?;
            let bucket = living.buckets[row];
            let in_time = match living.in_time[row] {
                None => None,
                Some((day, generation)) => self.ring.alive(&name(generation))?.and_then(|root| {
                    let key = self.events_key(family, generation, &root);
                    Some((u32::try_from(day).ok()?, hash(&key, row)?))
                }),
            };
            out.push(hash(&key, row).map(|found| EventKey {
                bucket,
                hash: found,
                alternate: before.filter(|_| bucket == 0).and_then(|before| hash(&before, row)),
                in_time,
            }));
        }
        Ok(out)
    }
}
