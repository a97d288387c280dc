//! Brings the index to the version of its table.

use std::collections::{BTreeSet, HashSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use schemas::columns;
use schemas::{Millis, Package};

use super::{BATCH_KEYS, Index, Key, Place, Reflected};
use crate::error::SinkError;
use crate::table::{Stored, Table};

/// All that a key of the index is made of, but for the day, which is the partition.
const COLUMNS: [&str; 5] =
    [columns::EVENT_KEY, columns::CLOCK, columns::PARTITION, columns::POSITION, columns::ROW];

/// How often the maintainer may replace files that are about to be read.
const ATTEMPTS_MAX: usize = 20;

/// How keys came into the index, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CaughtUp {
    /// Nothing was missing.
    Current,
    /// Only files added since.
    Added,
    /// From every file, because of partitions that were somebody else's.
    Gained,
    /// From every file of the table, from nothing.
    Rebuilt,
}

/// Partitions whose keys are not in the index.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gained {
    None,
    Some,
    All,
}

impl Index {
    /// Takes in what the index lacks of `table`, which others may maintain meanwhile: `own` are the names under which it
    /// is written to here.
    ///
    /// Of a table that is shared these are the keys of own partitions alone: a duplicate is one within its partition.
    /// Of a partition that was somebody else's until now, the keys of the whole table are read.
    pub(crate) async fn catch_up(
        &mut self,
        package: &Package,
        family: usize,
        table: &mut Table,
        own: &[(String, u64)],
    ) -> Result<CaughtUp, SinkError> {
        let mut attempts = 1;
        loop {
            match self.take_in_all(package, family, table).await {
                // Perhaps the maintainer put another file in its place.
                Err(SinkError::Io { doing, path, source })
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    let before = table.version();
                    table.advance(own).await?;
                    attempts += 1;
                    if table.version() == before || attempts > ATTEMPTS_MAX {
                        return Err(SinkError::Io { doing, path, source });
                    }
                }
                done => return done,
            }
        }
    }

    async fn take_in_all(
        &mut self,
        package: &Package,
        family: usize,
        table: &Table,
    ) -> Result<CaughtUp, SinkError> {
        let goal = Reflected { table: table.id(), version: table.version() };
        let known = self.reflected(family)?;
        let gained = match &known {
            Some((_, known)) => self.gained(known.as_ref()),
            None => Gained::All,
        };
        let known = known.map(|(known, _)| known);
        if known.as_ref() == Some(&goal) && gained == Gained::None {
            self.reflect(family, &goal)?;
            return Ok(CaughtUp::Current);
        }
        let behind =
            known.filter(|known| known.table == goal.table && known.version <= goal.version);
        let added = match behind {
            Some(known) if gained != Gained::All => table.added(known.version).await?,
            Some(_) | None => None,
        };
        let (how, files) = match added {
            Some(added) if gained == Gained::None => (CaughtUp::Added, added),
            Some(_) => (CaughtUp::Gained, table.files()),
            None => {
                self.clear(family)?;
                (CaughtUp::Rebuilt, table.files())
            }
        };
        let late_ms = package.families[family].late_ms;
        for file in &files {
            self.take_in(family, table, file, late_ms)?;
        }
        self.reflect(family, &goal)?;
        tracing::info!(table = %table.name(), files = files.len(), ?how, "dedupe index caught up");
        Ok(how)
    }

    /// Whether there are partitions whose keys were not kept until now.
    fn gained(&self, known: Option<&BTreeSet<u16>>) -> Gained {
        match (known, &self.own) {
            (None, _) => Gained::None,
            (Some(_), None) => Gained::All,
            (Some(known), Some(own)) if own.is_subset(known) => Gained::None,
            (Some(_), Some(_)) => Gained::Some,
        }
    }

    fn take_in(
        &mut self,
        family: usize,
        table: &Table,
        file: &Stored,
        late_ms: i64,
    ) -> Result<(), SinkError> {
        let damaged = || SinkError::damaged(table.name(), "the day of a file");
        let day = file.day_number().and_then(|day| u32::try_from(day).ok()).ok_or_else(damaged)?;
        // A row without a day of its own came in at most this much after its day. Later than true is safe: the key
        // is only kept longer.
        let committed = Millis::of_day(i32::try_from(day).unwrap_or(i32::MAX)).plus(late_ms);
        for rows in table.read(&file.path, Some(&COLUMNS))? {
            let rows = rows.map_err(SinkError::arrow(table.name()))?;
            let mut keys =
                keys(&rows, day).ok_or_else(|| SinkError::damaged(table.name(), "a row"))?;
            if let Some(own) = &self.own {
                keys.retain(|(_, place)| own.contains(&place.partition));
            }
            for keys in keys.chunks(BATCH_KEYS) {
                self.insert(family, keys, committed)?;
            }
        }
        Ok(())
    }
}

/// Which of these keys rows of the table have, whatever the index still knows.
pub(crate) fn held(table: &Table, wanted: &HashSet<Key>) -> Result<HashSet<Key>, SinkError> {
    let mut held = HashSet::new();
    if wanted.is_empty() {
        return Ok(held);
    }
    for file in table.files() {
        let day = file.day_number().and_then(|day| u32::try_from(day).ok());
        let day = day.ok_or_else(|| SinkError::damaged(table.name(), "the day of a file"))?;
        for rows in table.read(&file.path, Some(&COLUMNS))? {
            let rows = rows.map_err(SinkError::arrow(table.name()))?;
            let keys = keys(&rows, day).ok_or_else(|| SinkError::damaged(table.name(), "a row"))?;
            held.extend(keys.iter().map(|(key, _)| *key).filter(|key| wanted.contains(key)));
        }
    }
    Ok(held)
}

/// The event keys of rows of one day.
pub(crate) fn keys(rows: &RecordBatch, day: u32) -> Option<Vec<(Key, Place)>> {
    let hashes = rows.column_by_name(columns::EVENT_KEY)?.as_binary_opt::<i32>()?;
    let clocks = rows.column_by_name(columns::CLOCK)?.as_string_opt::<i32>()?;
    let partitions = rows.column_by_name(columns::PARTITION)?.as_primitive_opt::<Int32Type>()?;
    let positions = rows.column_by_name(columns::POSITION)?.as_primitive_opt::<Int64Type>()?;
    let numbers = rows.column_by_name(columns::ROW)?.as_primitive_opt::<Int32Type>()?;
    let with_key = (0..rows.num_rows()).filter(|&row| hashes.is_valid(row));
    with_key
        .map(|row| {
            let bucket = if clocks.value(row) == "device" { day } else { 0 };
            let hash = hashes.value(row).try_into().ok()?;
            let place = Place {
                partition: u16::try_from(partitions.value(row)).ok()?,
                position: u64::try_from(positions.value(row)).ok()?,
                row: u32::try_from(numbers.value(row)).ok()?,
            };
            Some((Key { bucket, hash }, place))
        })
        .collect()
}
