//! What the tables need from time to time: rows whose end has come removed, the others arranged, and the traces of both
//! wiped.

use schemas::time::{DAY_MS, HOUR_MS, Millis};

use crate::dedupe::Reflected;
use crate::error::SinkError;
use crate::files::Shape;
use crate::life::Life;
use crate::sink::Sink;
use crate::table::{Change, Stored, Table};
use crate::{arrange, beside};

/// A table's log is replaced by a checkpoint when it has this many entries, or when a file was removed.
const ENTRIES_MAX: usize = 64;
pub(crate) const ROW_GROUP_ROWS: usize = 128 * 1024;

/// What maintenance did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintained {
    /// Files whose rows went into others.
    pub compacted_files: u64,
    /// Rows removed at the end of their life.
    pub removed_rows: u64,
    /// Rows that lost a purpose at the end of its time.
    pub outlived_rows: u64,
    /// Files deleted from storage.
    pub deleted_files: u64,
    /// Parts of the dedupe index that went.
    pub expired_keys: u64,
}

impl Sink {
    /// Takes purposes whose time is over from rows, removes rows whose key epoch and grace are over, mixes the rows of files whose grain is over,
    /// deletes files that no table names any more, cleans the tables' logs, and forgets old event keys.
    ///
    /// What was written and not committed yet is left as it is. Nobody may read the tables of events meanwhile:
    /// files go at once. An import of history is computed from before this is called, since most of it has
    /// reached its end.
    ///
    /// Where others write too, a sink that is not the maintainer forgets its old event keys, and no more. The maintainer
    /// keeps the entries of logs that others may be about to ask for: those of an hour, and those whose counts the
    /// ledger lacks; and files that no commit named for a day, since another may be about to name them.
    ///
    /// # Errors
    ///
    /// [`SinkError::Fenced`], and what storage and tables report. The sink has to be opened again then.
    pub async fn maintain(&mut self, now: Millis) -> Result<Maintained, SinkError> {
        self.usable()?;
        self.set_failed(true);
        let done = self.maintain_all(now).await?;
        self.set_failed(false);
        Ok(done)
    }

    async fn maintain_all(&mut self, now: Millis) -> Result<Maintained, SinkError> {
        let mut done = Maintained::default();
        if !self.share.is_maintainer() {
            done.expired_keys = self.index.expire(now)?;
            return Ok(done);
        }
        self.catch_up().await?;
        let mut touched = Vec::new();
        let before = self.families.iter().map(|family| family.table.version());
        let before = before.collect::<Vec<_>>();
        self.outlive(now, &mut done).await?;
        for (family, before) in before.into_iter().enumerate() {
            self.remove_ended(family, now, &mut done).await?;
            self.arrange(family, now, &mut done).await?;
            touched.push(self.families[family].table.version() != before);
        }
        // Before any log is cleaned: the ledger could not ask it for manifests any more.
        let versions = self.note_settled().await?;
        let moved = (0..).zip(&versions).any(|(family, version): (usize, _)| {
            version.is_some() && self.families[family].recorded != *version
        });
        let mut positions = Vec::new();
        if moved {
            positions = self.recorded_at(&versions);
            positions.extend(self.ledger_positions(&[]));
        }
        tracing::trace!(target: "quorate::moment", "worker outcomes");
        let fences = self.ledger_positions(&[]);
        let merged = self.ledger.compact(positions, fences, now).await?;
        let young = (!self.share.is_sole()).then(|| now.plus(-HOUR_MS));
        for (family, (touched, version)) in touched.into_iter().zip(versions).enumerate() {
            self.families[family].recorded = version;
            let table = &self.families[family].table;
            clean(table, touched, version, young).await?;
            tracing::trace!(target: "quorate::moment", "worker sweep");
            done.deleted_files += self.sweep(family, now).await?;
        }
        let ledger = self.ledger.table();
        clean(ledger, merged > 0, Some(ledger.version()), young).await?;
        ledger.sweep(self.kept_since(now)).await?;
        for (table, life) in &mut self.former {
            end(table, *life, now, &mut done).await?;
        }
        for (mut table, life) in beside::tables(self.home()).await? {
            end(&mut table, life, now, &mut done).await?;
        }
        tracing::trace!(target: "quorate::moment", "worker forget");
        done.expired_keys = self.index.expire(now)?;
        Ok(done)
    }

    /// Removes the files whose rows are all past their end: a file holds one key epoch.
    async fn remove_ended(
        &mut self,
        family: usize,
        now: Millis,
        done: &mut Maintained,
    ) -> Result<(), SinkError> {
        let own = &self.families[family];
        let ended = ended(&own.table, own.life, now);
        if ended.is_empty() {
            return Ok(());
        }
        done.removed_rows += rows(&ended);
        tracing::trace!(target: "quorate::moment", "worker remove");
        let time = now.truncate(self.package.families[family].grain_ms.max(1));
        self.change(family, Change { remove: &ended, time, ..Change::default() }).await
    }

    /// Mixes what may be mixed. Files of another program are taken apart by key epoch here, so that the next
    /// maintenance can remove them.
    async fn arrange(
        &mut self,
        family: usize,
        now: Millis,
        done: &mut Maintained,
    ) -> Result<(), SinkError> {
        let grain_ms = self.package.families[family].grain_ms.max(1);
        let files = self.families[family].table.files();
        for group in arrange::groups(files, grain_ms, now) {
            let table = &self.families[family].table;
            // As many columns as the table ever had: the package may know fewer.
            let shape =
                Shape::new(table.name(), table.staging(), &*table.schema()?, ROW_GROUP_ROWS);
            let day = group.first().and_then(Stored::day_number);
            let day = day.ok_or_else(|| SinkError::damaged(table.name(), "a file's day"))?;
            tracing::trace!(target: "quorate::moment", "worker mix");
            let add = arrange::rewrite(table, &shape, day, &group)?;
            done.compacted_files += group.len() as u64;
            let time = now.truncate(grain_ms);
            let (add, remove) = (add.as_slice(), group.as_slice());
            tracing::trace!(target: "quorate::moment", "worker swap");
            self.change(
                family,
                Change { add, remove, rearranged: true, time, ..Change::default() },
            )
            .await?;
        }
        Ok(())
    }

    /// Takes in what others did to the tables.
    pub(crate) async fn catch_up(&mut self) -> Result<(), SinkError> {
        if self.share.is_sole() {
            return Ok(());
        }
        for family in 0..self.families.len() {
            let own = self.table_positions(family);
            self.families[family].table.advance(&own).await?;
        }
        let own = self.ledger_positions(&[]);
        self.ledger.advance(&own).await
    }

    /// The version of each family's table up to which its log may be cleaned, as far as there is one.
    async fn note_settled(&mut self) -> Result<Vec<Option<u64>>, SinkError> {
        let mut versions = Vec::with_capacity(self.families.len());
        for family in 0..self.families.len() {
            versions.push(match self.share.is_sole() {
                true => Some(self.families[family].table.version()),
                false => self.settled(family).await?,
            });
        }
        Ok(versions)
    }

    /// Files that came up later than this may be about to be named by another writer; none if there is no other.
    pub(crate) fn kept_since(&self, now: Millis) -> Option<Millis> {
        (!self.share.is_sole()).then(|| now.plus(-DAY_MS))
    }

    /// Deletes the files of a family that nobody needs.
    pub(crate) async fn sweep(&mut self, family: usize, now: Millis) -> Result<u64, SinkError> {
        let (own, since) = (self.table_positions(family), self.kept_since(now));
        let table = &mut self.families[family].table;
        if since.is_some() {
            table.advance(&own).await?;
        }
        table.sweep(since).await
    }

    /// Commits a change that brings no new keys.
    async fn change(&mut self, family: usize, change: Change<'_>) -> Result<(), SinkError> {
        let change = self.maintaining(family, change);
        let table = &mut self.families[family].table;
        table.commit(change).await?;
        let reflected = Reflected { table: table.id(), version: table.version() };
        self.index.reflect(family, &reflected)
    }
}

/// Removes what has ended from a table that nothing is written to.
async fn end(
    table: &mut Table,
    life: Life,
    now: Millis,
    done: &mut Maintained,
) -> Result<(), SinkError> {
    let ended = ended(table, life, now);
    done.removed_rows += rows(&ended);
    if !ended.is_empty() {
        let time = now.truncate(HOUR_MS);
        table.commit(Change { remove: &ended, time, ..Change::default() }).await?;
        clean(table, true, Some(table.version()), None).await?;
    }
    done.deleted_files += table.sweep(None).await?;
    Ok(())
}

fn ended(table: &Table, life: Life, now: Millis) -> Vec<Stored> {
    let mut files = table.files();
    files.retain(|file| file.label.is_some_and(|label| life.end(label.epoch) < now));
    files
}

fn rows(files: &[Stored]) -> u64 {
    files.iter().map(|file| file.rows).sum()
}

/// Replaces a table's log up to a version if it tells of files that are gone, or is long; entries that came up after
/// `young` stay.
async fn clean(
    table: &Table,
    touched: bool,
    version: Option<u64>,
    young: Option<Millis>,
) -> Result<(), SinkError> {
    if let Some(version) = version
        && (touched || table.entries()? >= ENTRIES_MAX)
    {
        tracing::trace!(target: "quorate::moment", "worker checkpoint");
        table.checkpoint(version, young).await?;
    }
    Ok(())
}
