//! Purposes whose time is over: rows go on without them, and without what they alone carried.
//!
//! A purpose with a period (`keep`) stands for the events of a day until that many days after the day's end. Then it falls
//! away from their rows as if it had never been granted ([`crate::narrow`]): a value with several purposes lives as long as
//! the longest of those that stand, and a row whose purposes are all over is an event without a contributor, as one of a
//! person who granted nothing. The row itself stays until its epoch is over, so that events are counted as they were.
//!
//! What is done shows in the rows themselves, which do not name the purpose any more; which files have been looked at is
//! remembered while the sink is open.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::Date32Type;
use schemas::time::{DAY_MS, HOUR_MS};
use schemas::{Family, Millis, Note, Package, PurposeSet, columns};

use crate::beside;
use crate::error::SinkError;
use crate::maintain::Maintained;
use crate::narrow::Loss;
use crate::rewrite::{self, Edit, Rewrite};
use crate::sink::Sink;
use crate::table::{Stored, Table};

/// Which purposes are known to be gone from each file, by its path: file names are used once.
pub(crate) type Outlived = HashMap<String, PurposeSet>;

/// The purposes of a family that are over for events of that day.
pub(crate) fn over(package: &Package, family: &Family, day: i32, now: Millis) -> PurposeSet {
    let end = Millis::of_day(day).plus(DAY_MS);
    let is_over = |index: usize| {
        let keep_days = package.purposes[index].keep_days;
        keep_days.is_some_and(|days| end.plus(i64::from(days) * DAY_MS) <= now)
    };
    let own = family.all_purposes();
    let over = (0..package.purposes.len()).filter(|&index| own.has(index) && is_over(index));
    over.fold(PurposeSet::default(), PurposeSet::with)
}

/// Rows, with a column of days, without what is over for them.
pub(crate) fn without_over(
    table: &str,
    package: &Package,
    family: &Family,
    rows: &RecordBatch,
    now: Millis,
) -> Result<RecordBatch, SinkError> {
    let damaged = || SinkError::damaged(table, "a batch");
    let days = rows.column_by_name(columns::DAY);
    let days = days.and_then(|days| days.as_primitive_opt::<Date32Type>()).ok_or_else(damaged)?;
    let distinct = days.values().iter().copied().collect::<HashSet<_>>();
    let mut edited = rows.clone();
    for day in distinct {
        let gone = over(package, family, day, now);
        if gone != PurposeSet::default() {
            let own = days.values().iter().map(|&other| Some(other == day));
            let own = own.collect::<BooleanArray>();
            let loss = Loss { only: Some(&own), ..Loss::of_all(package, family, gone) };
            edited = loss.edit(&edited).ok_or_else(damaged)?.rows;
        }
    }
    Ok(edited)
}

/// Writes the files of a table again that hold rows with a purpose which is over.
fn outlived(
    table: &Table,
    package: &Package,
    family: &Family,
    known: &Outlived,
    now: Millis,
) -> Result<Rewrite, SinkError> {
    rewrite::edited(table, |file| {
        let gone = over(package, family, file.day_number()?, now);
        let done = known.get(&file.path).copied().unwrap_or_default();
        let is_new = gone.0 & !done.0 != 0;
        is_new.then(|| Loss::of_all(package, family, gone))
    })
}

/// Remembers that all files of the table are without what is over now.
fn remember(
    known: &mut Outlived,
    package: &Package,
    family: &Family,
    files: &[Stored],
    now: Millis,
) {
    for file in files {
        let gone = file.day_number().map(|day| over(package, family, day, now));
        if let Some(gone) = gone.filter(|gone| *gone != PurposeSet::default()) {
            known.insert(file.path.clone(), gone);
        }
    }
}

impl Sink {
    /// Takes what is over from every row of every family, and of tables in folders of [`crate::keep_beside`].
    pub(crate) async fn outlive(
        &mut self,
        now: Millis,
        done: &mut Maintained,
    ) -> Result<(), SinkError> {
        let package = Arc::clone(&self.package);
        if package.purposes.iter().all(|purpose| purpose.keep_days.is_none()) {
            return Ok(());
        }
        for (index, family) in package.families.iter().enumerate() {
            let table = &self.families[index].table;
            let rewrite = outlived(table, &package, family, &self.outlived, now)?;
            if !rewrite.remove.is_empty() {
                tracing::trace!(target: "quorate::moment", "worker outlive");
                done.outlived_rows += rewrite.rows();
                let manifest = self.noting(Note::Outlived, index, &rewrite.counted, now);
                self.commit_rewrite(index, &rewrite, manifest, Vec::new(), now).await?;
            }
        }
        let mut known = Outlived::new();
        for (own, family) in self.families.iter().zip(&package.families) {
            remember(&mut known, &package, family, &own.table.files(), now);
        }
        for (mut table, _) in beside::tables(self.home()).await? {
            let name = table.name().trim_start_matches("events/").to_owned();
            let Some((_, family)) = package.family(&name) else { continue };
            let rewrite = outlived(&table, &package, family, &self.outlived, now)?;
            done.outlived_rows += rewrite.rows();
            beside::replace(&mut table, &rewrite, now.truncate(HOUR_MS)).await?;
            remember(&mut known, &package, family, &table.files(), now);
        }
        self.outlived = known;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
