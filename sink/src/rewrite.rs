//! Rows taken out of a table that is otherwise left as it is: files that hold some are written again without them, and
//! one commit of our own puts the new ones in place of the old. It names files, and neither a predicate nor a value.
//!
//! # Crashes
//! The commit is the moment at which rows are gone for every reader. It carries a number ([`REWRITE`]), by which the ledger
//! knows whether it has the commit's counts. What is left to do behind it ([`Sink::wipe`], deleting the old files) is
//! found and done when the sink is opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, RecordBatch, new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, SchemaRef};
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
    /// Rows left out, by partition of the log.
    pub(crate) dropped: BTreeMap<u16, u64>,
    /// The event keys of the rows left out.
    pub(crate) keys: Vec<(Key, Place)>,
    /// The event keys of rows that come in.
    pub(crate) new_keys: Vec<(Key, Place)>,
}

impl Rewrite {
    pub(crate) fn rows(&self) -> u64 {
        self.dropped.values().sum()
    }
}

/// Says which rows are to be left out.
pub(crate) trait Pick {
    /// The columns that are read to tell.
    fn columns(&self) -> &[&str];
    /// Whether each row is to go; none if the columns are not what they should be.
    fn pick(&self, rows: &RecordBatch) -> Option<BooleanArray>;
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
    let day = file.day_number().ok_or_else(|| damaged("a file's day"))?;
    let bucket = u32::try_from(day).map_err(|_| damaged("a file's day"))?;
    let mut open = BTreeMap::<i32, OpenFile>::new();
    for rows in table.read(&file.path, None)? {
        let rows = rows.map_err(SinkError::arrow(table.name()))?;
        let rows = files::align(table.name(), &rows, &shape.schema)?;
        let gone = picked(table, pick, &rows)?;
        let split = |chosen: &BooleanArray| {
            filter_record_batch(&rows, chosen).map_err(SinkError::arrow(table.name()))
        };
        let dropped = split(&gone)?;
        let partitions = numbers(&dropped, columns::PARTITION).ok_or_else(|| damaged("a row"))?;
        for partition in partitions {
            let partition = u16::try_from(partition).map_err(|_| damaged("a row"))?;
            *rewrite.dropped.entry(partition).or_default() += 1;
        }
        rewrite.keys.extend(keys(&dropped, bucket).ok_or_else(|| damaged("a row"))?);
        let kept = split(&gone.iter().map(|gone| Some(gone != Some(true))).collect())?;
        let epochs = numbers(&kept, columns::EPOCH).ok_or_else(|| damaged("the epoch of a row"))?;
        let mut distinct = epochs.clone();
        distinct.sort_unstable();
        distinct.dedup();
        for epoch in distinct {
            let own = epochs.iter().map(|&other| Some(other == epoch)).collect::<BooleanArray>();
            let own = filter_record_batch(&kept, &own).map_err(SinkError::arrow(table.name()))?;
            let file = match open.entry(epoch) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    // What another program wrote is in whatever order.
                    let order = file.label.map_or(Order::Fresh, |label| label.order);
                    entry.insert(OpenFile::create(shape, Some(day), Label { order, epoch })?)
                }
            };
            file.write(&own)?;
        }
    }
    for (_, file) in open {
        rewrite.add.push(file.close()?);
    }
    Ok(())
}

/// Reads every row picked by `pick`, in all columns of the table.
pub(crate) fn select(table: &Table, pick: &dyn Pick) -> Result<Vec<RecordBatch>, SinkError> {
    let schema = table.schema()?;
    let mut selected = Vec::new();
    for file in table.files() {
        if !holds(table, &file, pick)? {
            continue;
        }
        let day =
            file.day_number().ok_or_else(|| SinkError::damaged(table.name(), "a file's day"))?;
        for rows in table.read(&file.path, None)? {
            let rows = rows.map_err(SinkError::arrow(table.name()))?;
            let chosen = picked(table, pick, &rows)?;
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
