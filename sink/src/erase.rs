//! Rows of contributors who want to be gone.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use schemas::time::HOUR_MS;
use schemas::{Millis, Note, columns};

use crate::beside;
use crate::error::SinkError;
use crate::manifest::{Counts, Manifest};
use crate::rewrite::{self, Pick};
use crate::sink::Sink;

/// What an erasure did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Rows removed.
    pub rows: u64,
    /// Files that were written again without them, or are gone.
    pub files: u64,
}

/// Picks the rows of some contributors.
pub(crate) struct Contributors<'a>(pub(crate) &'a HashSet<[u8; 16]>);

impl Pick for Contributors<'_> {
    fn columns(&self) -> &[&str] {
        &[columns::CONTRIBUTOR]
    }

    fn pick(&self, rows: &RecordBatch) -> Option<BooleanArray> {
        let own = rows.column_by_name(columns::CONTRIBUTOR)?.as_binary_opt::<i32>()?;
        Some(own.iter().map(|own| Some(own.is_some_and(|own| self.0.contains(own)))).collect())
    }
}

impl Sink {
    /// Removes every stored row of these contributors from a family's table: from its files, which are deleted, and
    /// their names from its log; and from the tables of that name in folders of [`crate::keep_beside`]. Event keys of the
    /// rows leave the dedupe index. The ledger counts the table's own as [`Note::Erased`], by partition; their outcomes
    /// stand.
    ///
    /// It reads the contributors of the whole table, and writes the files again that hold some. Nobody may read the
    /// table meanwhile: files go at once. After an error or a crash it may be asked again, of a sink that was opened
    /// anew; rows that are gone are not counted twice.
    ///
    /// # Errors
    ///
    /// [`SinkError::Uncommitted`] if anything waits for a commit; [`SinkError::NoFamily`]; [`SinkError::NotMaintainer`];
    /// [`SinkError::Fenced`], and what
    /// storage and tables report: then the sink has to be opened again.
    pub async fn erase(
        &mut self,
        family: usize,
        contributors: &HashSet<[u8; 16]>,
        now: Millis,
    ) -> Result<Erased, SinkError> {
        self.may_rewrite(family)?;
        self.set_failed(true);
        self.catch_up().await?;
        let mut erased = Erased::default();
        let rewrite = rewrite::without(&self.families[family].table, &Contributors(contributors))?;
        if !rewrite.remove.is_empty() {
            erased = Erased { rows: rewrite.rows(), files: rewrite.remove.len() as u64 };
            let manifest = self.noting(Note::Erased, family, &rewrite.counted, now);
            self.commit_rewrite(family, &rewrite, manifest, Vec::new(), now).await?;
        }
        let name = self.families[family].table.name().to_string();
        let time = now.truncate(self.package.families[family].grain_ms.max(1));
        let elsewhere = beside::change(self.home(), &name, time, |table| {
            rewrite::without(table, &Contributors(contributors))
        })
        .await?;
        erased.rows += elsewhere.rows;
        erased.files += elsewhere.files;
        // Even if there was nothing to do: an earlier attempt may have ended here.
        self.wipe(family, Some(now)).await?;
        self.set_failed(false);
        Ok(erased)
    }

    /// Whether stored rows of a family may be rewritten now.
    pub(crate) fn may_rewrite(&self, family: usize) -> Result<(), SinkError> {
        self.usable()?;
        if family >= self.families.len() {
            return Err(SinkError::NoFamily(family));
        }
        if self.is_waiting() {
            return Err(SinkError::Uncommitted);
        }
        self.maintains()
    }

    /// What a change of stored rows says about itself: how many, by partition.
    pub(crate) fn noting(
        &self,
        note: Note,
        family: usize,
        rows: &BTreeMap<u16, u64>,
        now: Millis,
    ) -> Manifest {
        let counts = rows.iter().map(|(&partition, &rows)| {
            let mut counts = Counts::default();
            counts.tally.note(note, rows);
            (partition, counts)
        });
        let hour = now.truncate(HOUR_MS);
        Manifest::new(&self.package, Some(family), None, hour, counts.collect())
    }
}
