//! What frames give now beside what the table holds of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::interleave;
use arrow::compute::kernels::cmp::distinct;
use schemas::columns;

use super::{Frame, Positions, places};
use crate::dedupe::catch_up::held;
use crate::dedupe::{Key, Place};
use crate::error::SinkError;
use crate::files;
use crate::rewrite::select;
use crate::sink::Sink;
use crate::table::Table;

/// What would change in a family's table, in rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Rows that come out as they are stored.
    pub unchanged: u64,
    /// Rows with another value in some column.
    pub changed: u64,
    /// Rows that there are only now.
    pub added: u64,
    /// Rows that there are no more.
    pub removed: u64,
    /// What becomes of the values of changed rows, by column; columns without a difference are missing.
    pub fields: BTreeMap<String, FieldDifference>,
}

/// What would change in one column, in rows that are there before and after.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldDifference {
    /// Values that go.
    pub nulled: u64,
    /// Values that come where there was none.
    pub filled: u64,
    /// Values that become others.
    pub changed: u64,
}

impl Difference {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.changed + self.added + self.removed == 0
    }

    /// Adds another one to this.
    pub fn add(&mut self, other: &Self) {
        let Self { unchanged, changed, added, removed, fields } = other;
        self.unchanged += unchanged;
        self.changed += changed;
        self.added += added;
        self.removed += removed;
        for (name, field) in fields {
            let FieldDifference { nulled, filled, changed } = field;
            let own = self.fields.entry(name.clone()).or_default();
            own.nulled += nulled;
            own.filled += filled;
            own.changed += changed;
        }
    }
}

/// What [`Sink::compare`] found, for the same frames.
pub struct Comparison {
    pub(crate) families: BTreeMap<usize, Compared>,
    /// For each frame, what becomes of each of its rows.
    pub(super) fates: Vec<Vec<Fate>>,
}

impl Comparison {
    /// The differences, by number of the family.
    pub fn differences(&self) -> impl Iterator<Item = (usize, &Difference)> {
        self.families.iter().map(|(family, compared)| (*family, &compared.difference))
    }
}

/// The comparison of one family.
#[derive(Default)]
pub(crate) struct Compared {
    pub(super) difference: Difference,
    /// Rows of the table that go, replaced or not.
    pub(super) gone: HashSet<Place>,
}

/// What becomes of a row that a frame gives now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in the table as it is.
    Same,
    /// Another is in its place.
    Changed,
    /// It is not in the table, and ought to be.
    Added,
    /// It is not in the table, and rightly so.
    Absent,
}

/// Rows of the table, and where each is.
struct Old {
    batches: Vec<RecordBatch>,
    places: HashMap<Place, (usize, usize)>,
}

impl Sink {
    /// Compares what `frames` give now with what the tables hold of them. Each frame may be given once.
    ///
    /// # Errors
    ///
    /// What storage and tables report; [`SinkError::NoFamily`].
    pub fn compare(&self, frames: &[Frame]) -> Result<Comparison, SinkError> {
        let absent = |frame: &Frame| vec![Fate::Absent; frame.batch.rows().num_rows()];
        let mut fates = frames.iter().map(absent).collect::<Vec<_>>();
        let mut families = BTreeMap::<usize, Vec<usize>>::new();
        for (index, frame) in frames.iter().enumerate() {
            families.entry(frame.batch.family()).or_default().push(index);
        }
        let compared = families.into_iter().map(|(family, indices)| {
            if family >= self.families.len() {
                return Err(SinkError::NoFamily(family));
            }
            Ok((family, self.compare_family(family, frames, &indices, &mut fates)?))
        });
        let families = compared.collect::<Result<_, SinkError>>()?;
        Ok(Comparison { families, fates })
    }

    fn compare_family(
        &self,
        family: usize,
        frames: &[Frame],
        indices: &[usize],
        fates: &mut [Vec<Fate>],
    ) -> Result<Compared, SinkError> {
        let table = &self.families[family].table;
        let position = |frame: &Frame| (frame.origin.partition, frame.origin.position);
        let positions = indices.iter().map(|&index| position(&frames[index])).collect();
        let mut old = stored(table, &positions)?;
        let had = old.places.keys().map(|place| (place.partition, place.position));
        let had = had.collect::<HashSet<_>>();
        let mut both = Both::default();
        let mut fresh = Vec::new();
        for (number, &index) in indices.iter().enumerate() {
            let frame = &frames[index];
            let places = frame.places();
            let places = places.ok_or_else(|| SinkError::damaged(table.name(), "a batch"))?;
            for (row, place) in places.into_iter().enumerate() {
                match old.places.remove(&place) {
                    Some(before) => both.push(before, (number, row), place),
                    // It is there when it comes back.
                    None if self.families[family].apart.contains(place) => {}
                    None if !had.contains(&position(frame)) => fresh.push((index, row, place)),
                    None => {}
                }
            }
        }
        let mut compared = Compared::default();
        both.compare(table, &old.batches, frames, indices, &mut compared, fates)?;
        self.admit(family, frames, &fresh, &mut compared, fates)?;
        // An event past its end gives no row any more: the one that is left goes with its epoch, by retention.
        let ended = indices.iter().map(|&index| &frames[index]);
        let ended = ended.filter(|frame| frame.batch.expired() > 0).map(position);
        let ended = ended.collect::<HashSet<_>>();
        let left = old.places.into_keys();
        let left = left.filter(|place| !ended.contains(&(place.partition, place.position)));
        compared.gone.extend(left.inspect(|_| compared.difference.removed += 1));
        Ok(compared)
    }

    /// Finds which rows of frames that gave nothing before are no duplicates.
    fn admit(
        &self,
        family: usize,
        frames: &[Frame],
        fresh: &[(usize, usize, Place)],
        compared: &mut Compared,
        fates: &mut [Vec<Fate>],
    ) -> Result<(), SinkError> {
        let key = |index: usize, row: usize| frames[index].batch.keys()[row].as_ref();
        let wanted = fresh.iter().filter_map(|&(index, row, _)| key(index, row)).flat_map(Key::all);
        let mut known = held(&self.families[family].table, &wanted.collect())?;
        for &(index, row, place) in fresh {
            if let Some(key) = key(index, row) {
                let copy = Key::all(key).any(|key| known.contains(&key));
                if copy || self.index.is_elsewhere(family, key, place)? {
                    continue;
                }
                known.insert(Key::own(key));
            }
            fates[index][row] = Fate::Added;
            compared.difference.added += 1;
        }
        Ok(())
    }
}

/// The rows that a table holds of some frames.
fn stored(table: &Table, positions: &HashSet<(u16, u64)>) -> Result<Old, SinkError> {
    let batches = select(table, &Positions(positions), |_| true, u64::MAX)?;
    let mut all = HashMap::new();
    for (index, batch) in batches.iter().enumerate() {
        let places = places(batch).ok_or_else(|| SinkError::damaged(table.name(), "a row"))?;
        all.extend(places.into_iter().enumerate().map(|(row, place)| (place, (index, row))));
    }
    Ok(Old { batches, places: all })
}

/// Rows that are there before and after: batch (of the table's, of the family's frames) and row of each, and its place.
#[derive(Default)]
struct Both {
    before: Vec<(usize, usize)>,
    after: Vec<(usize, usize)>,
    places: Vec<Place>,
}

impl Both {
    fn push(&mut self, before: (usize, usize), after: (usize, usize), place: Place) {
        self.before.push(before);
        self.after.push(after);
        self.places.push(place);
    }

    /// Compares column by column.
    fn compare(
        &self,
        table: &Table,
        old: &[RecordBatch],
        frames: &[Frame],
        indices: &[usize],
        compared: &mut Compared,
        fates: &mut [Vec<Fate>],
    ) -> Result<(), SinkError> {
        if self.places.is_empty() {
            return Ok(());
        }
        let schema = table.schema()?;
        let new =
            indices.iter().map(|&index| files::align(table.name(), &frames[index].rows, &schema));
        let new = new.collect::<Result<Vec<_>, _>>()?;
        let mut changed = vec![false; self.places.len()];
        let place = [columns::PARTITION, columns::POSITION, columns::ROW];
        for (column, field) in schema.fields().iter().enumerate() {
            if place.contains(&field.name().as_str()) {
                continue;
            }
            let take = |batches: &[RecordBatch], rows: &[(usize, usize)]| {
                let arrays = batches.iter().map(|batch| batch.column(column).as_ref());
                let arrays = arrays.collect::<Vec<&dyn Array>>();
                interleave(&arrays, rows).map_err(SinkError::arrow(table.name()))
            };
            let (before, after) = (take(old, &self.before)?, take(&new, &self.after)?);
            let found = differing(table, &before, &after, &mut changed)?;
            if found != FieldDifference::default() {
                compared.difference.fields.insert(field.name().clone(), found);
            }
        }
        for (number, &(frame, row)) in self.after.iter().enumerate() {
            let fate = &mut fates[indices[frame]][row];
            if changed[number] {
                *fate = Fate::Changed;
                compared.difference.changed += 1;
                compared.gone.insert(self.places[number]);
            } else {
                *fate = Fate::Same;
                compared.difference.unchanged += 1;
            }
        }
        Ok(())
    }
}

/// Counts the differences of one column, and marks the rows that have one.
fn differing(
    table: &Table,
    before: &ArrayRef,
    after: &ArrayRef,
    changed: &mut [bool],
) -> Result<FieldDifference, SinkError> {
    let differs = distinct(before, after).map_err(SinkError::arrow(table.name()))?;
    let mut found = FieldDifference::default();
    for (row, _) in differs.iter().enumerate().filter(|(_, differs)| *differs == Some(true)) {
        changed[row] = true;
        match (before.is_null(row), after.is_null(row)) {
            (false, true) => found.nulled += 1,
            (true, false) => found.filled += 1,
            _ => found.changed += 1,
        }
    }
    Ok(found)
}
