//! Compaction: the small files of a day become one, its rows in random order.
//!
//! Rows of one commit lie together in a file, and the commit's time is in the table's log: that would tell their
//! time more finely than the family's grain does. So once the grain in which a file was committed is over, its
//! rows are mixed with others of the same day and key epoch, and the log is cleaned
//! ([`crate::table::Table::checkpoint`]).

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::Int32Type;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use schemas::{Millis, columns};

use crate::error::SinkError;
use crate::files::{self, CHUNK_ROWS, DataFile, Label, OpenFile, Order, Shape};
use crate::table::{Stored, Table};

/// Rows that are in memory at once: some 50 MB of a family with a dozen columns. More go in several passes, into several
/// files, each row into any of them.
const PASS_ROWS: u64 = 256 * 1024;
/// A mixed file with this many rows is left alone.
const FULL_ROWS: u64 = PASS_ROWS;
/// A mixed file is mixed again with newer ones while it has at most this many times their rows, so that each row is
/// rewritten a few times at most, and a day ends with few files.
const GROWTH: u64 = 4;

/// Files to be rewritten together: of one day, and of one key epoch unless another program wrote them.
pub(crate) fn groups(files: Vec<Stored>, grain_ms: i64, now: Millis) -> Vec<Vec<Stored>> {
    let mut days = BTreeMap::<_, Vec<Stored>>::new();
    for file in files {
        days.entry((file.day.clone(), file.label.map(|label| label.epoch))).or_default().push(file);
    }
    days.into_values().filter_map(|files| group(files, grain_ms, now)).collect()
}

fn group(files: Vec<Stored>, grain_ms: i64, now: Millis) -> Option<Vec<Stored>> {
    let is_mixed = |file: &Stored| file.label.is_some_and(|label| label.order == Order::Mixed);
    let (mut mixed, mut chosen): (Vec<_>, Vec<_>) = files.into_iter().partition(is_mixed);
    // A foreign file's time is when it was rewritten, by whatever clock.
    chosen.retain(|file| file.label.is_none() || file.committed.plus(grain_ms) <= now);
    if chosen.is_empty() {
        return None;
    }
    let mut rows = chosen.iter().map(|file| file.rows).sum::<u64>();
    mixed.sort_by_key(|file| file.rows);
    for file in mixed {
        if file.rows >= FULL_ROWS || file.rows > rows.saturating_mul(GROWTH) {
            break;
        }
        rows += file.rows;
        chosen.push(file);
    }
    Some(chosen)
}

/// Writes the rows of `files`, all of `day`, into new files in random order.
pub(crate) fn rewrite(
    table: &Table,
    shape: &Shape,
    day: i32,
    files: &[Stored],
) -> Result<Vec<DataFile>, SinkError> {
    let rows = files.iter().map(|file| file.rows).sum::<u64>();
    let passes = rows.div_ceil(PASS_ROWS).max(1);
    let seed = seed()?;
    let mut written = Vec::new();
    for pass in 0..passes {
        // The same in every pass, so that each row is of exactly one of them.
        let mut lot = ChaCha8Rng::from_seed(seed);
        let mut batches = Vec::new();
        for file in files {
            for batch in table.read(&file.path, None)? {
                let batch = batch.map_err(SinkError::arrow(table.name()))?;
                let batch = files::align(table.name(), &batch, &shape.schema)?;
                let drawn = (0..batch.num_rows())
                    .map(|_| passes == 1 || lot.random_range(0..passes) == pass);
                let drawn = drawn.collect::<BooleanArray>();
                batches.push(
                    filter_record_batch(&batch, &drawn).map_err(SinkError::arrow(table.name()))?,
                );
            }
        }
        let mut order = ChaCha8Rng::from_seed(self::seed()?);
        for (epoch, mut rows) in by_epoch(table, &batches)? {
            rows.shuffle(&mut order);
            written.push(write(shape, day, epoch, &batches, &rows)?);
        }
    }
    Ok(written)
}

fn write(
    shape: &Shape,
    day: i32,
    epoch: i32,
    batches: &[RecordBatch],
    rows: &[(usize, usize)],
) -> Result<DataFile, SinkError> {
    let batches = batches.iter().collect::<Vec<_>>();
    let mut file = OpenFile::create(shape, Some(day), Label { order: Order::Mixed, epoch })?;
    for chunk in rows.chunks(CHUNK_ROWS) {
        let chunk =
            interleave_record_batch(&batches, chunk).map_err(SinkError::arrow(&shape.table))?;
        file.write(&chunk)?;
    }
    file.close()
}

/// Batch and row of every row, by key epoch.
fn by_epoch(
    table: &Table,
    batches: &[RecordBatch],
) -> Result<BTreeMap<i32, Vec<(usize, usize)>>, SinkError> {
    let mut epochs = BTreeMap::<i32, Vec<(usize, usize)>>::new();
    for (index, batch) in batches.iter().enumerate() {
        let column = batch.column_by_name(columns::EPOCH);
        let column = column.and_then(|epoch| epoch.as_primitive_opt::<Int32Type>());
        let column = column.filter(|epoch| epoch.null_count() == 0);
        let column =
            column.ok_or_else(|| SinkError::damaged(table.name(), "the epoch of a row"))?;
        for (row, &epoch) in column.values().iter().enumerate() {
            epochs.entry(epoch).or_default().push((index, row));
        }
    }
    Ok(epochs)
}

fn seed() -> Result<[u8; 32], SinkError> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).map_err(|_| SinkError::Random)?;
    Ok(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(order: Order, rows: u64, committed: i64) -> Stored {
        Stored {
            path: format!("{rows}"),
            day: Some("2026-01-01".to_owned()),
            rows,
            committed: Millis(committed),
            label: Some(Label { order, epoch: 1 }),
        }
    }

    fn rows(group: Option<Vec<Stored>>) -> Option<Vec<u64>> {
        group.map(|files| files.iter().map(|file| file.rows).collect())
    }

    #[test]
    fn a_file_is_mixed_once_its_grain_is_over() {
        let files = || vec![file(Order::Fresh, 10, 0), file(Order::Fresh, 20, 100)];
        assert_eq!(rows(group(files(), 100, Millis(99))), None);
        assert_eq!(rows(group(files(), 100, Millis(100))), Some(vec![10]));
        assert_eq!(rows(group(files(), 100, Millis(200))), Some(vec![10, 20]));
    }

    #[test]
    fn mixed_files_join_while_they_are_not_much_larger() {
        let mixed = |rows| file(Order::Mixed, rows, 0);
        let chosen = |mut files: Vec<Stored>| {
            files.push(file(Order::Fresh, 10, 0));
            rows(group(files, 1, Millis(1)))
        };
        assert_eq!(chosen(vec![mixed(200), mixed(40)]), Some(vec![10, 40, 200]));
        assert_eq!(chosen(vec![mixed(201), mixed(40)]), Some(vec![10, 40]));
        assert_eq!(chosen(vec![mixed(41)]), Some(vec![10]));
        assert_eq!(rows(group(vec![mixed(1), mixed(2)], 1, Millis(1))), None, "nothing is fresh");
    }

    #[test]
    fn full_files_are_left_alone() {
        let files = vec![file(Order::Fresh, FULL_ROWS, 0), file(Order::Mixed, FULL_ROWS, 0)];
        assert_eq!(rows(group(files, 1, Millis(1))), Some(vec![FULL_ROWS]));
    }

    #[test]
    fn days_and_epochs_stay_apart() {
        let mut other_epoch = file(Order::Fresh, 2, 0);
        other_epoch.label = Some(Label { order: Order::Fresh, epoch: 2 });
        let mut other_day = file(Order::Fresh, 3, 0);
        other_day.day = Some("2026-01-02".to_owned());
        let mut foreign = file(Order::Fresh, 4, 0);
        foreign.label = None;
        let files = vec![file(Order::Fresh, 1, 0), other_epoch, other_day, foreign];
        let mut sizes = groups(files, 1, Millis(1)).iter().map(Vec::len).collect::<Vec<_>>();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 1, 1]);
    }
}
