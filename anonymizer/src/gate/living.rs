//! Which rows of a batch may still be stored: those of epochs and windows whose keys are alive.

use std::collections::HashMap;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, UInt8Type};
use schemas::time::epoch_of;
use schemas::{Family, Millis};

use super::{Gate, Origin, numbers};
use crate::error::Error;
use crate::keys::{KeyName, epoch_end, window_days};
use crate::layout;
use crate::raw::{ClockSource, epochs_back};

impl Gate {
    /// Finds the rows whose keys are alive and who are welcome, and their epochs and generations.
    pub(super) fn living(
        &self,
        family: usize,
        columns: &RecordBatch,
        unwelcome: Option<&BooleanBuffer>,
        origin: &Origin,
        now: Millis,
    ) -> Result<Living, Error> {
        let declared = self.family(family);
        let received = numbers(columns, layout::RECEIVED);
        let times = numbers(columns, layout::TIME);
        let clocks = columns.column(layout::CLOCK).as_primitive::<UInt8Type>().values();
        let said = columns.column(layout::SAID).as_primitive::<Int64Type>();
        let days = window_days(declared);
        let generation_of = |day: i32| {
            let generation = i64::from(day).div_euclid(days);
            i32::try_from(generation).expect("a day number divided by days")
        };
        let mut epochs = Memo::default();
        let mut sessions = Memo::default();
        let mut generations = Memo::default();
        let mut living = Living::with_capacity(columns.num_rows());
        for row in 0..columns.num_rows() {
            if unwelcome.is_some_and(|unwelcome| unwelcome.value(row)) {
                continue;
            }
            let mut epoch = epoch_of(Millis(received[row]), declared.epoch_days);
            let earlier = epoch.saturating_sub(epochs_back(clocks[row]));
            if earlier != epoch && sessions.get(earlier, || self.goes_on(declared, earlier, now))? {
                epoch = earlier;
            }
            let by_device = ClockSource::of_code(clocks[row]) == ClockSource::Device;
            let day = Millis(if by_device { times[row] } else { received[row] }).day();
            let generation = generation_of(day);
            let epoch_lives = epochs.get(epoch, || {
                let over = epoch_end(declared, epoch).plus(declared.grace_ms()) < now;
                let name = KeyName::Pseudonym { family: declared.name.clone(), epoch };
                Ok((origin.import || !over) && self.lives(&name)?)
            })?;
            let lives = epoch_lives
                && generations.get(generation, || {
                    let family = declared.name.clone();
                    self.lives(&KeyName::Dedupe { family, generation })
                })?;
            if lives {
                living.rows.push(i32::try_from(row).expect("a frame has fewer rows"));
                living.epochs.push(epoch);
                living.generations.push(generation);
                living.buckets.push(if by_device { u32::try_from(day).unwrap_or(0) } else { 0 });
                let window = received[row].saturating_sub(declared.dedupe_window_ms)..received[row];
                let in_time = (!by_device && said.is_valid(row))
                    .then(|| said.value(row))
                    .filter(|said| window.contains(said))
                    .map(|said| Millis(said).day());
                living.in_time.push(in_time.map(|day| (day, generation_of(day))));
            }
        }
        Ok(living)
    }

    /// Whether a session that began in `epoch` keeps its pseudonym: while the key lives, and no longer than its rows.
    fn goes_on(&self, family: &Family, epoch: i32, now: Millis) -> Result<bool, Error> {
        let name = KeyName::Pseudonym { family: family.name.clone(), epoch };
        let in_time = epoch_end(family, epoch).plus(family.grace_ms()) >= now;
        Ok(in_time && self.ring.alive(&name)?.is_some())
    }

    fn lives(&self, name: &KeyName) -> Result<bool, Error> {
        match self.ring.get_or_create(name) {
            Ok(_) => Ok(true),
            Err(Error::Destroyed(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }
}

/// The rows whose keys are alive, by their number in the frame, and what was found out about them.
pub(super) struct Living {
    pub(super) rows: Vec<i32>,
    pub(super) epochs: Vec<i32>,
    pub(super) generations: Vec<i32>,
    pub(super) buckets: Vec<u32>,
    /// For a row whose own time does not stand: the day that it says, if a copy of it may be there, and that day's
    /// generation.
    pub(super) in_time: Vec<Option<(i32, i32)>>,
}

impl Living {
    fn with_capacity(rows: usize) -> Self {
        Self {
            rows: Vec::with_capacity(rows),
            epochs: Vec::with_capacity(rows),
            generations: Vec::with_capacity(rows),
            buckets: Vec::with_capacity(rows),
            in_time: Vec::with_capacity(rows),
        }
    }

    /// The living rows of `columns`.
    pub(super) fn columns(&self, columns: RecordBatch) -> RecordBatch {
        if self.rows.len() == columns.num_rows() {
            return columns;
        }
        let mut keep = vec![false; columns.num_rows()];
        for row in &self.rows {
            keep[usize::try_from(*row).expect("a row number")] = true;
        }
        filter_record_batch(&columns, &BooleanArray::from(keep)).expect("one flag a row")
    }
}

/// Remembers what was found for a key, and first of all for the last one: the rows of a batch share an epoch, but
/// for a few.
pub(super) struct Memo<K, V> {
    last: Option<(K, V)>,
    known: HashMap<K, V>,
}

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self { last: None, known: HashMap::new() }
    }
}

impl<K: Copy + Eq + std::hash::Hash, V: Clone> Memo<K, V> {
    pub(super) fn get(
        &mut self,
        key: K,
        find: impl FnOnce() -> Result<V, Error>,
    ) -> Result<V, Error> {
        if let Some((last, value)) = &self.last
            && *last == key
        {
            return Ok(value.clone());
        }
        let value = match self.known.get(&key) {
            Some(value) => value.clone(),
            None => find()?,
        };
        self.known.insert(key, value.clone());
        self.last = Some((key, value.clone()));
        Ok(value)
    }
}
