//! Rows taken out of a table that is otherwise left as it is, or changed in it: files that hold some are written again, and
//! one commit of our own puts the new ones in place of the old. It names files, and neither a predicate nor a value.
//!
//! # Crashes
//! The commit is the moment at which rows are gone for every reader. It carries a number ([`REWRITE`]), by which the ledger
//! knows whether it has the commit's counts. What is left to do behind it ([`Sink::wipe`], deleting the old files) is
//! found and done when the sink is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch, new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Date32Type, Int32Type, SchemaRef};
use schemas::{Millis, columns};

use crate::dedupe::catch_up::keys;
use crate::dedupe::{Key, Place, Reflected};
use crate::error::SinkError;
use crate::files::{self, DataFile, Label, OpenFile, Order, Shape};
use crate::maintain::ROW_GROUP_ROWS;
use crate::manifest::Manifest;
use crate::sink::{Sink, rewrite_application};
use crate::table::{Change, Stored, Table};

/// The application under which a table numbers its rewritings.
pub(crate) const REWRITE: &str = "rewrite";

/// What is written in place of what, and not committed yet.
#[derive(Default)]
pub(crate) struct Rewrite {
    pub(crate) remove: Vec<Stored>,
    pub(crate) add: Vec<DataFile>,
    /// Rows left out or changed, by partition of the log.
    pub(crate) counted: BTreeMap<u16, u64>,
    /// The event keys of the rows left out.
    pub(crate) keys: Vec<(Key, Place)>,
    /// The event keys of rows that come in.
    pub(crate) new_keys: Vec<(Key, Place)>,
}

impl Rewrite {
    pub(crate) fn rows(&self) -> u64 {
        self.counted.values().sum()
    }
}

/// Says which rows are to be left out.
pub(crate) trait Pick {
    /// The columns that are read to tell.
    fn columns(&self) -> &[&str];
    /// Whether each row is to go; none if the columns are not what they should be.
    fn pick(&self, rows: &RecordBatch) -> Option<BooleanArray>;
}

/// Says which rows are to be changed, and how. The same rows changed again stay as they are.
pub(crate) trait Edit {
    /// The columns that are read to tell whether a file may hold any.
    fn columns(&self) -> &[&str];
    /// Whether any of these rows may change; none if the columns are not what they should be.
    fn may_change(&self, rows: &RecordBatch) -> Option<bool>;
    /// All columns of the rows as they are to be.
    fn edit(&self, rows: &RecordBatch) -> Option<Edited>;
}

/// Rows, some of them changed.
pub(crate) struct Edited {
    pub(crate) rows: RecordBatch,
    pub(crate) changed: BooleanArray,
}

/// Writes each file of `table` that holds a row picked by `pick` again without such rows. The others stay in their order;
/// the order, the day and the key epoch of the file too.
pub(crate) fn without(table: &Table, pick: &dyn Pick) -> Result<Rewrite, SinkError> {
    // As many columns as the table ever had: the package may know fewer.
    let shape = Shape::new(table.name(), table.staging(), &*table.schema()?, ROW_GROUP_ROWS);
    let mut rewrite = Rewrite::default();
    for file in table.files() {
        if holds(table, &file, pick)? {
            copy(table, &shape, &file, pick, &mut rewrite)?;
            rewrite.remove.push(file);
        }
    }
    Ok(rewrite)
}

fn picked(table: &Table, pick: &dyn Pick, rows: &RecordBatch) -> Result<BooleanArray, SinkError> {
    pick.pick(rows).ok_or_else(|| SinkError::damaged(table.name(), "a row"))
}

fn holds(table: &Table, file: &Stored, pick: &dyn Pick) -> Result<bool, SinkError> {
    for rows in table.read(&file.path, Some(pick.columns()))? {
        let rows = rows.map_err(SinkError::arrow(table.name()))?;
        if picked(table, pick, &rows)?.true_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn copy(
    table: &Table,
    shape: &Shape,
    file: &Stored,
    pick: &dyn Pick,
    rewrite: &mut Rewrite,
) -> Result<(), SinkError> {
    let damaged = |what| SinkError::damaged(table.name(), what);
    let bucket = file.day_number().and_then(|day| u32::try_from(day).ok());
    let bucket = bucket.ok_or_else(|| damaged("a file's day"))?;
    let Rewrite { counted, keys: dropped_keys, .. } = rewrite;
    let files = write_again(table, shape, file, &mut |rows| {
        let gone = picked(table, pick, &rows)?;
        let split = |chosen: &BooleanArray| {
            filter_record_batch(&rows, chosen).map_err(SinkError::arrow(table.name()))
        };
        let dropped = split(&gone)?;
        count(table, &dropped, counted)?;
        dropped_keys.extend(keys(&dropped, bucket).ok_or_else(|| damaged("a row"))?);
        split(&gone.iter().map(|gone| Some(gone != Some(true))).collect())
    })?;
    rewrite.add.extend(files);
    Ok(())
}

/// Counts rows by their partition.
pub(crate) fn count(
    table: &Table,
    rows: &RecordBatch,
    counted: &mut BTreeMap<u16, u64>,
) -> Result<(), SinkError> {
    let damaged = || SinkError::damaged(table.name(), "a row");
    for partition in numbers(rows, columns::PARTITION).ok_or_else(damaged)? {
        let partition = u16::try_from(partition).map_err(|_| damaged())?;
        *counted.entry(partition).or_default() += 1;
    }
    Ok(())
}

/// Writes the rows of a file again as `change` gives them, in their order; the order, the day and the key epoch of the file
/// stay.
fn write_again(
    table: &Table,
    shape: &Shape,
    file: &Stored,
    change: &mut dyn FnMut(RecordBatch) -> Result<RecordBatch, SinkError>,
) -> Result<Vec<DataFile>, SinkError> {
    let day = file.day_number().ok_or_else(|| SinkError::damaged(table.name(), "a file's day"))?;
    let mut open = BTreeMap::<i32, OpenFile>::new();
    // What another program wrote is in whatever order.
    let order = file.label.map_or(Order::Fresh, |label| label.order);
    for rows in table.read(&file.path, None)? {
        let rows = rows.map_err(SinkError::arrow(table.name()))?;
        let rows = files::align(table.name(), &rows, &shape.schema)?;
        write_by_epoch(shape, day, order, &change(rows)?, &mut open)?;
    }
    open.into_values().map(OpenFile::close).collect()
}

/// Writes rows of one day, each into the open file of its key epoch.
fn write_by_epoch(
    shape: &Shape,
    day: i32,
    order: Order,
    rows: &RecordBatch,
    open: &mut BTreeMap<i32, OpenFile>,
) -> Result<(), SinkError> {
    let damaged = || SinkError::damaged(&shape.table, "the epoch of a row");
    let epochs = numbers(rows, columns::EPOCH).ok_or_else(damaged)?;
    let mut distinct = epochs.clone();
    distinct.sort_unstable();
    distinct.dedup();
    for epoch in distinct {
        let own = epochs.iter().map(|&other| Some(other == epoch)).collect::<BooleanArray>();
        let own = filter_record_batch(rows, &own).map_err(SinkError::arrow(&shape.table))?;
        let file = match open.entry(epoch) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(OpenFile::create(shape, Some(day), Label { order, epoch })?)
            }
        };
        file.write(&own)?;
    }
    Ok(())
}

/// Writes rows, with a column of days, into new files of `table`: one for each day and key epoch.
pub(crate) fn fresh(table: &Table, batches: &[RecordBatch]) -> Result<Vec<DataFile>, SinkError> {
    let shape = Shape::new(table.name(), table.staging(), &*table.schema()?, ROW_GROUP_ROWS);
    let mut open = BTreeMap::<i32, BTreeMap<i32, OpenFile>>::new();
    for rows in batches {
        let days = rows.column_by_name(columns::DAY);
        let days = days.and_then(|days| days.as_primitive_opt::<Date32Type>());
        let days = days.ok_or_else(|| SinkError::damaged(table.name(), "the day of a row"))?;
        let distinct = days.values().iter().copied().collect::<BTreeSet<_>>();
        let inside = files::align(table.name(), rows, &shape.schema)?;
        for day in distinct {
            let own = days.values().iter().map(|&other| Some(other == day));
            let own = filter_record_batch(&inside, &own.collect::<BooleanArray>())
                .map_err(SinkError::arrow(table.name()))?;
            write_by_epoch(&shape, day, Order::Fresh, &own, open.entry(day).or_default())?;
        }
    }
    open.into_values().flat_map(BTreeMap::into_values).map(OpenFile::close).collect()
}

/// Writes each file of `table` again in which a row changes; `edit` gives what is to be done with a file, none to leave it
/// as it is.
pub(crate) fn edited<E: Edit>(
    table: &Table,
    edit: impl Fn(&Stored) -> Option<E>,
) -> Result<Rewrite, SinkError> {
    let shape = Shape::new(table.name(), table.staging(), &*table.schema()?, ROW_GROUP_ROWS);
    let damaged = || SinkError::damaged(table.name(), "a row");
    let mut rewrite = Rewrite::default();
    for file in table.files() {
        let Some(edit) = edit(&file) else { continue };
        if !changes(table, &shape, &file, &edit)? {
            continue;
        }
        let counted = &mut rewrite.counted;
        let files = write_again(table, &shape, &file, &mut |rows| {
            let Edited { rows, changed } = edit.edit(&rows).ok_or_else(damaged)?;
            let changed =
                filter_record_batch(&rows, &changed).map_err(SinkError::arrow(table.name()))?;
            count(table, &changed, counted)?;
            Ok(rows)
        })?;
        rewrite.add.extend(files);
        rewrite.remove.push(file);
    }
    Ok(rewrite)
}

/// Whether an edit changes anything in a file: told by few columns, where they tell that it does not.
fn changes(
    table: &Table,
    shape: &Shape,
    file: &Stored,
    edit: &impl Edit,
) -> Result<bool, SinkError> {
    let damaged = || SinkError::damaged(table.name(), "a row");
    let mut may_change = false;
    for rows in table.read(&file.path, Some(edit.columns()))? {
        let rows = rows.map_err(SinkError::arrow(table.name()))?;
        if edit.may_change(&rows).ok_or_else(damaged)? {
            may_change = true;
            break;
        }
    }
    if !may_change {
        return Ok(false);
    }
    for rows in table.read(&file.path, None)? {
        let rows = rows.map_err(SinkError::arrow(table.name()))?;
        let rows = files::align(table.name(), &rows, &shape.schema)?;
        if edit.edit(&rows).ok_or_else(damaged)?.changed.true_count() > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads every row picked by `pick` of days that are `wanted`, at most so many, in all columns of the table.
pub(crate) fn select(
    table: &Table,
    pick: &dyn Pick,
    wanted: impl Fn(i32) -> bool,
    rows_max: u64,
) -> Result<Vec<RecordBatch>, SinkError> {
    let schema = table.schema()?;
    let (mut selected, mut count) = (Vec::new(), 0);
    for file in table.files() {
        let day =
            file.day_number().ok_or_else(|| SinkError::damaged(table.name(), "a file's day"))?;
        if !wanted(day) || !holds(table, &file, pick)? {
            continue;
        }
        for rows in table.read(&file.path, None)? {
            let rows = rows.map_err(SinkError::arrow(table.name()))?;
            let chosen = picked(table, pick, &rows)?;
            count += chosen.true_count() as u64;
            if count > rows_max {
                return Err(SinkError::TooMany { rows_max });
            }
            if chosen.true_count() > 0 {
                let rows =
                    filter_record_batch(&rows, &chosen).map_err(SinkError::arrow(table.name()))?;
                selected.push(with_day(table, &rows, &schema, day)?);
            }
        }
    }
    Ok(selected)
}

/// Rows of a file in the columns of the table: the day stands in the file's path alone.
fn with_day(
    table: &Table,
    rows: &RecordBatch,
    schema: &SchemaRef,
    day: i32,
) -> Result<RecordBatch, SinkError> {
    let days: ArrayRef = Arc::new(Date32Array::from_value(day, rows.num_rows()));
    let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
        _ if field.name() == columns::DAY => Arc::clone(&days),
        Some(column) => Arc::clone(column),
        None => new_null_array(field.data_type(), rows.num_rows()),
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect())
        .map_err(SinkError::arrow(table.name()))
}

/// A column of whole numbers without nulls.
pub(crate) fn numbers(rows: &RecordBatch, column: &str) -> Option<Vec<i32>> {
    let column = rows.column_by_name(column)?.as_primitive_opt::<Int32Type>()?;
    (column.null_count() == 0).then(|| column.values().to_vec())
}

impl Sink {
    /// Commits a rewriting with the positions that it moves, in the table and in the ledger, and tells the dedupe index and the ledger.
    pub(crate) async fn commit_rewrite(
        &mut self,
        family: usize,
        rewrite: &Rewrite,
        manifest: Manifest,
        positions: Vec<(String, u64)>,
        now: Millis,
    ) -> Result<(), SinkError> {
        self.commit_rewritten(family, rewrite, &manifest, positions.clone(), now).await?;
        let own = &self.families[family];
        let number = own.table.position(REWRITE).await?.unwrap_or(0);
        let mut recorded = positions;
        recorded.push((rewrite_application(own), number));
        tracing::trace!(target: "quorate::moment", "rewrite ledger");
        if self.share.is_sole() {
            recorded.extend(self.versions());
            self.ledger.append(&[manifest], recorded).await?;
            self.versions_recorded();
        } else {
            recorded.extend(self.ledger_positions(&[]));
            self.ledger.append(&[manifest], recorded).await?;
        }
        Ok(())
    }

    /// The part of [`Sink::commit_rewrite`] that concerns the table.
    pub(crate) async fn commit_rewritten(
        &mut self,
        family: usize,
        rewrite: &Rewrite,
        manifest: &Manifest,
        mut positions: Vec<(String, u64)>,
        now: Millis,
    ) -> Result<(), SinkError> {
        let time = now.truncate(self.package.families[family].grain_ms.max(1));
        let table = &self.families[family].table;
        let number = table.position(REWRITE).await?.unwrap_or(0) + 1;
        positions.push((REWRITE.to_owned(), number));
        tracing::trace!(target: "quorate::moment", "rewrite table");
        let change = Change {
            add: &rewrite.add,
            remove: &rewrite.remove,
            positions,
            manifest: Some(manifest),
            rearranged: false,
            time,
        };
        let change = self.maintaining(family, change);
        self.families[family].table.commit(change).await?;
        tracing::trace!(target: "quorate::moment", "rewrite index");
        self.index.forget(family, &rewrite.keys)?;
        self.index.remember(family, &rewrite.new_keys, now)?;
        let table = &self.families[family].table;
        let reflected = Reflected { table: table.id(), version: table.version() };
        self.index.reflect(family, &reflected)
    }

    /// Makes a table's log forget files that were removed, and deletes them. Where others write too the log is left to
    /// [`Sink::maintain`]: they may be about to ask for its entries.
    ///
    /// The entry that removes them is the last one, which a checkpoint leaves: so there has to be one more.
    pub(crate) async fn wipe(
        &mut self,
        family: usize,
        now: Option<Millis>,
    ) -> Result<(), SinkError> {
        if self.share.is_sole() && self.families[family].table.tells_removed()? {
            tracing::trace!(target: "quorate::moment", "rewrite wipe");
            // Before the log is cleaned: the ledger could not ask it for manifests any more.
            if self.versions_moved() {
                self.ledger.append(&[], self.versions()).await?;
                self.versions_recorded();
            }
            let table = &mut self.families[family].table;
            let number = table.position(REWRITE).await?.unwrap_or(0);
            let positions = vec![(REWRITE.to_owned(), number)];
            table.commit(Change { positions, ..Change::default() }).await?;
            let reflected = Reflected { table: table.id(), version: table.version() };
            table.checkpoint(table.version(), None).await?;
            self.index.reflect(family, &reflected)?;
        }
        // What was never named is old enough at no time that is not known.
        self.sweep(family, now.unwrap_or(Millis(0))).await?;
        Ok(())
    }
}
