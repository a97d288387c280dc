//! Which days have events, and how many, from an events table's list of files.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use deltalake::DeltaTable;
use deltalake::kernel::LogicalFileView;
use futures::TryStreamExt;
use schemas::columns::DAY;
use schemas::time::Millis;
use storage::Root;

use crate::Error;
use crate::period::Period;

/// Days that have files.
#[derive(Default)]
pub(crate) struct Days(BTreeMap<i32, Files>);

/// The files of one day.
#[derive(Clone, Copy, Default)]
struct Files {
    /// Changes when they do.
    fingerprint: u64,
    rows: usize,
}

impl Days {
    /// Those of a table.
    ///
    /// # Errors
    ///
    /// [`Error::Store`], or [`Error::Column`] for a file of no day.
    pub(crate) async fn of(events: &DeltaTable, name: &str) -> Result<Self, Error> {
        let store = Error::store(name);
        let snapshot = events.snapshot().map_err(&store)?;
        let log = events.log_store();
        let mut views = snapshot.snapshot().file_views(log.as_ref(), None);
        let mut days = Self::default();
        while let Some(file) = views.try_next().await.map_err(&store)? {
            let wrong = || Error::Column { table: name.to_owned(), column: DAY.to_owned() };
            let mut hasher = DefaultHasher::new();
            file.path().hash(&mut hasher);
            let files = days.0.entry(day_of(&file).ok_or_else(wrong)?).or_default();
            // Added, so that the order of files plays no part.
            files.fingerprint = files.fingerprint.wrapping_add(hasher.finish());
            // One that does not say how many rows it has may have any number.
            files.rows = files.rows.saturating_add(file.num_records().unwrap_or(usize::MAX));
        }
        Ok(days)
    }

    /// All of them, since 1970, in order.
    pub(crate) fn all(&self) -> impl Iterator<Item = i32> {
        self.0.keys().copied()
    }

    /// What changes when the files of a period do.
    pub(crate) fn files_of(&self, period: Period) -> u64 {
        let files = period.days().filter_map(|day| self.0.get(&day));
        files.fold(0, |all, files| all.wrapping_add(files.fingerprint))
    }

    /// Parts `periods` (in order of time) so that those of each part have at most `rows_max` rows together, or are one, and no
    /// day lies between them: nothing is read but files of their days, which are those that were checked.
    pub(crate) fn together<'a>(&self, periods: &'a [Period], rows_max: usize) -> Vec<&'a [Period]> {
        let mut parts = Vec::new();
        let (mut begin, mut rows, mut counted) = (0, 0_usize, None);
        for (index, period) in periods.iter().enumerate() {
            // Hours of one day have their files in common.
            let new = period.days().filter(|day| counted.is_none_or(|counted| *day > counted));
            let own = period.days().fold(0, |rows, day| self.rows_of(day).saturating_add(rows));
            let more = new.fold(0, |rows, day| self.rows_of(day).saturating_add(rows));
            rows = rows.saturating_add(more);
            let is_apart = counted.is_some_and(|counted| period.start.day() > counted + 1);
            if (rows > rows_max || is_apart) && index > begin {
                parts.push(&periods[begin..index]);
                (begin, rows) = (index, own);
            }
            counted = period.days().last();
        }
        if begin < periods.len() {
            parts.push(&periods[begin..]);
        }
        parts
    }

    fn rows_of(&self, day: i32) -> usize {
        self.0.get(&day).map_or(0, |files| files.rows)
    }
}

/// Checks that the files of these days are as they were written.
///
/// # Errors
///
/// [`Error::Changed`], or [`Error::Store`].
pub(crate) async fn whole(
    events: &DeltaTable,
    root: &Root,
    name: &str,
    days: &BTreeSet<i32>,
) -> Result<(), Error> {
    let store = Error::store(name);
    let snapshot = events.snapshot().map_err(&store)?;
    let log = events.log_store();
    let mut files = snapshot.snapshot().file_views(log.as_ref(), None);
    while let Some(file) = files.try_next().await.map_err(&store)? {
        let path: &str = &file.path();
        let needed = day_of(&file).is_none_or(|day| days.contains(&day));
        // One that cannot be read at all is found when its rows are.
        if needed && root.is_whole(path).await.is_ok_and(|whole| !whole) {
            return Err(Error::Changed { path: format!("{root}/{path}").into() });
        }
    }
    Ok(())
}

/// The day whose rows a file has, since 1970.
fn day_of(file: &LogicalFileView) -> Option<i32> {
    let text = file.partition_values_map().remove(DAY).flatten()?;
    Millis::parse(&format!("{text}T00:00:00Z")).map(Millis::day)
}

#[cfg(test)]
mod tests {
    use schemas::time::{DAY_MS, HOUR_MS};

    use super::*;

    fn days(rows: &[usize]) -> Days {
        let files = rows.iter().map(|&rows| Files { fingerprint: 1, rows });
        Days((0..).zip(files).collect())
    }

    fn periods(length_ms: i64, count: i64) -> Vec<Period> {
        let starts = (0..count).map(|index| Millis(index * length_ms));
        starts.map(|start| Period { start, end: start.plus(length_ms) }).collect()
    }

    fn lengths(parts: &[&[Period]]) -> Vec<usize> {
        parts.iter().map(|part| part.len()).collect()
    }

    #[test]
    fn periods_are_taken_together_while_their_rows_are_few() {
        let all = periods(DAY_MS, 6);
        let days = days(&[40, 40, 40, 500, 10, 10]);
        assert_eq!(lengths(&days.together(&all, 100)), [2, 1, 1, 2]);
        assert_eq!(lengths(&days.together(&all, 10_000)), [6]);
        assert!(days.together(&[], 100).is_empty());
    }

    #[test]
    fn hours_of_a_day_count_its_rows_once() {
        let all = periods(HOUR_MS, 48);
        assert_eq!(lengths(&days(&[60, 60]).together(&all, 120)), [48]);
        assert_eq!(lengths(&days(&[60, 60]).together(&all, 100)), [24, 24]);
        assert_eq!(lengths(&days(&[600]).together(&all[..3], 100)), [1, 1, 1]);
    }

    #[test]
    fn days_between_are_not_read() {
        let all = periods(DAY_MS, 9);
        let due = [&all[0..2], &all[3..4], &all[8..9]].concat();
        assert_eq!(lengths(&days(&[1; 9]).together(&due, 100)), [2, 1, 1]);
    }

    #[test]
    fn files_that_do_not_say_how_many_rows_they_have_are_taken_alone() {
        let all = periods(DAY_MS, 3);
        assert_eq!(lengths(&days(&[5, usize::MAX, 5]).together(&all, 100)), [1, 1, 1]);
    }
}
