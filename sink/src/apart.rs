//! Rows that leave a table to be kept apart, and come back.
//!
//! No step is the only place of a row. Who takes rows out first reads them ([`Sink::chosen`]), writes them down elsewhere,
//! and then takes just these out ([`Sink::set_apart`]); who puts them back does so ([`Sink::put_back`]) before what was
//! written down goes. Rows are known by their place in the log, so that each step may be repeated: what is gone is not
//! taken twice, what is there is not added twice.
//!
//! While rows are apart ([`Sink::know_apart`], which has to be said anew whenever a sink is opened) a second copy of their
//! event is a duplicate still, and a replay of their frame does not bring them back.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Date32Type, Int32Type};
use schemas::{Millis, Note, columns};

use crate::beside;
use crate::dedupe::catch_up::{held, keys};
use crate::dedupe::{Key, Place};
use crate::erase::Contributors;
use crate::error::SinkError;
use crate::replay::{Places, places};
use crate::rewrite::{self, Rewrite};
use crate::sink::Sink;

/// Which rows of a family.
pub enum Which<'a> {
    /// Those of some contributors.
    Contributors(&'a HashSet<[u8; 16]>),
    /// Those of events of these days, counted from 1970.
    Days(RangeInclusive<i32>),
}

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutBack {
    /// Rows that are in the table again.
    pub rows: u64,
    /// Rows that were there already, or whose event came in again.
    pub known: u64,
    /// Rows whose epoch is over: they stay out.
    pub ended: u64,
}

/// Places of rows, as runs: rows of a frame follow each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(BTreeMap<(u16, u64), Vec<RangeInclusive<u32>>>);

impl Runs {
    fn insert(&mut self, place: Place) {
        let runs = self.0.entry((place.partition, place.position)).or_default();
        if runs.iter().any(|run| run.contains(&place.row)) {
            return;
        }
        match runs.iter_mut().find(|run| run.end().checked_add(1) == Some(place.row)) {
            Some(run) => *run = *run.start()..=place.row,
            None => runs.push(place.row..=place.row),
        }
    }

    fn remove(&mut self, place: Place) {
        let Some(runs) = self.0.get_mut(&(place.partition, place.position)) else { return };
        let Some(at) = runs.iter().position(|run| run.contains(&place.row)) else { return };
        let (start, end) = runs.swap_remove(at).into_inner();
        if let Some(before) = place.row.checked_sub(1).filter(|before| *before >= start) {
            runs.push(start..=before);
        }
        if let Some(after) = place.row.checked_add(1).filter(|after| *after <= end) {
            runs.push(after..=end);
        }
    }

    /// Whether a row of that place is apart.
    pub(crate) fn contains(&self, place: Place) -> bool {
        let runs = self.0.get(&(place.partition, place.position));
        runs.is_some_and(|runs| runs.iter().any(|run| run.contains(&place.row)))
    }
}

impl Sink {
    /// Reads these rows, in all columns of the table. Nothing is changed.
    ///
    /// # Errors
    ///
    /// [`SinkError::NoFamily`], [`SinkError::TooMany`] for more than `rows_max`, and what storage and tables report.
    pub fn chosen(
        &self,
        family: usize,
        which: &Which<'_>,
        rows_max: u64,
    ) -> Result<Vec<RecordBatch>, SinkError> {
        let table = &self.families.get(family).ok_or(SinkError::NoFamily(family))?.table;
        match which {
            Which::Contributors(contributors) => {
                rewrite::select(table, &Contributors(contributors), |_| true, rows_max)
            }
            Which::Days(days) => {
                rewrite::select(table, &Everything, |day| days.contains(&day), rows_max)
            }
        }
    }

    /// Takes just these rows, as [`Sink::chosen`] gave them, out of their table, and out of the tables of that name in
    /// folders of [`crate::keep_beside`], where they do not come back; the ledger counts the table's own as
    /// [`Note::SetApart`]. They count as known to be apart from here on.
    ///
    /// # Errors
    ///
    /// As [`Sink::erase`].
    pub async fn set_apart(
        &mut self,
        family: usize,
        rows: &[RecordBatch],
        now: Millis,
    ) -> Result<u64, SinkError> {
        self.may_rewrite(family)?;
        let places = self.places_of(family, rows)?.into_iter().collect::<HashSet<_>>();
        self.set_failed(true);
        self.catch_up().await?;
        let mut rewrite = rewrite::without(&self.families[family].table, &Places(&places))?;
        // A second copy is one still.
        rewrite.keys.clear();
        if !rewrite.remove.is_empty() {
            let manifest = self.noting(Note::SetApart, family, &rewrite.counted, now);
            self.commit_rewrite(family, &rewrite, manifest, Vec::new(), now).await?;
        }
        let name = self.families[family].table.name().to_string();
        let time = now.truncate(self.package.families[family].grain_ms.max(1));
        let out_of = |table: &_| rewrite::without(table, &Places(&places));
        beside::change(self.home(), &name, time, out_of).await?;
        self.wipe(family, Some(now)).await?;
        self.set_failed(false);
        self.know_apart(family, rows, now)?;
        Ok(rewrite.rows())
    }

    /// Says that these rows are apart: copies of their events are duplicates, and no replay adds them. For each sink that is
    /// opened while they are, before it writes.
    ///
    /// # Errors
    ///
    /// [`SinkError::NoFamily`], and what storage reports.
    pub fn know_apart(
        &mut self,
        family: usize,
        rows: &[RecordBatch],
        now: Millis,
    ) -> Result<(), SinkError> {
        for place in self.places_of(family, rows)? {
            self.families[family].apart.insert(place);
        }
        let keys = self.keys_of(family, rows)?;
        self.index.remember(family, &keys, now)
    }

    /// Says that these rows are apart no more, and nowhere.
    ///
    /// # Errors
    ///
    /// As [`Sink::know_apart`].
    pub fn forget_apart(&mut self, family: usize, rows: &[RecordBatch]) -> Result<(), SinkError> {
        for place in self.places_of(family, rows)? {
            self.families[family].apart.remove(place);
        }
        let keys = self.keys_of(family, rows)?;
        self.index.forget(family, &keys)
    }

    /// Puts rows that were set apart back into their table, but for those that are there, those whose event came in again,
    /// and those whose epoch is over. The ledger counts them as [`Note::PutBack`].
    ///
    /// # Errors
    ///
    /// As [`Sink::erase`]; [`SinkError::Damaged`] for rows with other columns than the table's.
    pub async fn put_back(
        &mut self,
        family: usize,
        rows: &[RecordBatch],
        now: Millis,
    ) -> Result<PutBack, SinkError> {
        self.may_rewrite(family)?;
        self.set_failed(true);
        self.catch_up().await?;
        let mut back = PutBack::default();
        let there = self.there(family, rows)?;
        let mut known = held(
            &self.families[family].table,
            &self.keys_of(family, rows)?.into_iter().map(|(key, _)| key).collect(),
        )?;
        let mut rewrite = Rewrite::default();
        let (mut comes, mut ended_keys) = (Vec::new(), Vec::new());
        for rows in rows {
            let places = self.places_of(family, std::slice::from_ref(rows))?;
            let mut keyed: BTreeMap<(u64, u32, u16), Key> = BTreeMap::new();
            for (key, place) in self.keys_of(family, std::slice::from_ref(rows))? {
                keyed.insert((place.position, place.row, place.partition), key);
            }
            let epochs = rows.column_by_name(columns::EPOCH);
            let epochs = epochs.and_then(|epochs| epochs.as_primitive_opt::<Int32Type>());
            let epochs = epochs.ok_or_else(|| self.damaged(family))?;
            let mut chosen = Vec::with_capacity(places.len());
            for (row, place) in places.into_iter().enumerate() {
                let key = keyed.get(&(place.position, place.row, place.partition)).copied();
                let ended = self.families[family].life.end(epochs.value(row)) < now;
                let copy = there.contains(&place) || key.is_some_and(|key| known.contains(&key));
                chosen.push(!ended && !copy);
                if ended {
                    back.ended += 1;
                    ended_keys.extend(key.map(|key| (key, place)));
                } else if copy {
                    back.known += 1;
                } else {
                    back.rows += 1;
                    known.extend(key);
                    rewrite.new_keys.extend(key.map(|key| (key, place)));
                }
            }
            let chosen = filter_record_batch(rows, &BooleanArray::from(chosen));
            comes.push(chosen.map_err(SinkError::arrow(self.families[family].table.name()))?);
        }
        let table = &self.families[family].table;
        if back.rows > 0 {
            rewrite.add = rewrite::fresh(table, &comes)?;
            for rows in &comes {
                rewrite::count(table, rows, &mut rewrite.counted)?;
            }
            let manifest = self.noting(Note::PutBack, family, &rewrite.counted, now);
            self.commit_rewrite(family, &rewrite, manifest, Vec::new(), now).await?;
        }
        self.index.forget(family, &ended_keys)?;
        for place in self.places_of(family, rows)? {
            self.families[family].apart.remove(place);
        }
        self.set_failed(false);
        Ok(back)
    }

    /// Those of these rows that are in the table.
    fn there(&self, family: usize, rows: &[RecordBatch]) -> Result<HashSet<Place>, SinkError> {
        let table = &self.families[family].table;
        let wanted = self.places_of(family, rows)?.into_iter().collect::<HashSet<_>>();
        let mut there = HashSet::new();
        let columns = [columns::PARTITION, columns::POSITION, columns::ROW];
        for file in table.files() {
            for rows in table.read(&file.path, Some(&columns))? {
                let rows = rows.map_err(SinkError::arrow(table.name()))?;
                let places = places(&rows).ok_or_else(|| self.damaged(family))?;
                there.extend(places.into_iter().filter(|place| wanted.contains(place)));
            }
        }
        Ok(there)
    }

    fn places_of(&self, family: usize, rows: &[RecordBatch]) -> Result<Vec<Place>, SinkError> {
        if family >= self.families.len() {
            return Err(SinkError::NoFamily(family));
        }
        let found = rows.iter().map(|rows| places(rows).ok_or_else(|| self.damaged(family)));
        Ok(found.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// The event keys of rows with a column of days.
    fn keys_of(&self, family: usize, rows: &[RecordBatch]) -> Result<Vec<(Key, Place)>, SinkError> {
        let mut all = Vec::new();
        for rows in rows {
            let days = rows.column_by_name(columns::DAY);
            let days = days.and_then(|days| days.as_primitive_opt::<Date32Type>());
            let days = days.ok_or_else(|| self.damaged(family))?;
            let distinct = days.values().iter().copied().collect::<HashSet<_>>();
            for day in distinct {
                let own = days.values().iter().map(|&other| Some(other == day));
                let own = filter_record_batch(rows, &own.collect::<BooleanArray>())
                    .map_err(SinkError::arrow(self.families[family].table.name()))?;
                let bucket = u32::try_from(day).map_err(|_| self.damaged(family))?;
                all.extend(keys(&own, bucket).ok_or_else(|| self.damaged(family))?);
            }
        }
        Ok(all)
    }

    fn damaged(&self, family: usize) -> SinkError {
        SinkError::damaged(self.families[family].table.name(), "a row that was apart")
    }
}

/// Picks every row.
struct Everything;

impl rewrite::Pick for Everything {
    fn columns(&self) -> &[&str] {
        &[columns::ROW]
    }

    fn pick(&self, rows: &RecordBatch) -> Option<BooleanArray> {
        Some(BooleanArray::from(vec![true; rows.num_rows()]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_hold_what_was_put_in_and_not_taken_out() {
        let place = |row| Place { partition: 1, position: 7, row };
        let mut runs = Runs::default();
        [3, 4, 5, 9, 4, 10].into_iter().for_each(|row| runs.insert(place(row)));
        runs.remove(place(4));
        runs.remove(place(9));
        runs.remove(place(77));
        let found = (0..20).filter(|&row| runs.contains(place(row))).collect::<Vec<_>>();
        assert_eq!(found, [3, 5, 10]);
        assert!(!runs.contains(Place { partition: 2, ..place(3) }));
    }
}
