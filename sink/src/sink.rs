//! The sink itself: takes rows and counts between commits, and commits them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anonymizer::{AnonymizedBatch, Origin};
use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use schemas::time::HOUR_MS;
use schemas::{Millis, Package, Tally, columns};

use crate::apart::Runs;
use crate::dedupe::{Index, PENDING_BYTES, Place, Reflected};
use crate::error::SinkError;
use crate::files::{self, DataFile, Shape};
use crate::ledger::Ledger;
use crate::life::{self, Life};
use crate::manifest::{Counts, Manifest, ManifestContext, OutcomeRow};
use crate::outlive::Outlived;
use crate::own::{Own, Share, Stream};
use crate::rewrite::REWRITE;
use crate::shared::maintenance;
use crate::table::{Change, Home, Table};
use crate::writer::Writers;
use crate::{IMPORT, SinkConfig};

/// Writes its own partitions of some streams into the tables below one root. One at a time for each folder of an index,
/// which is locked while it is open.
pub struct Sink {
    pub(crate) package: Arc<Package>,
    config: SinkConfig,
    pub(crate) share: Share,
    /// Positions that the ledger does not have yet, by which it will know the streams again: one for each.
    pub(crate) marks: BTreeMap<u16, (String, u64)>,
    pub(crate) families: Vec<FamilyTable>,
    /// Tables of families that the package no longer has: their rows still have an end.
    pub(crate) former: Vec<(Table, Life)>,
    pub(crate) ledger: Ledger,
    /// Next position of each partition, by the ledger.
    pub(crate) next: BTreeMap<u16, u64>,
    pub(crate) writers: Writers,
    pub(crate) index: Index,
    /// What was counted since the last commit, by family and partition.
    counts: BTreeMap<Option<usize>, BTreeMap<u16, Counts>>,
    rows: u64,
    /// What purposes at their end were taken from already.
    pub(crate) outlived: Outlived,
    failed: bool,
}

/// One family's table.
pub(crate) struct FamilyTable {
    pub(crate) table: Table,
    pub(crate) life: Life,
    /// Next position of each own partition, by the table: below it, rows are there already.
    pub(crate) next: BTreeMap<u16, u64>,
    /// Version up to which the ledger has the table's manifests, whatever partition they are of.
    pub(crate) recorded: Option<u64>,
    /// Rows that are kept apart.
    pub(crate) apart: Runs,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Rows that the next commit stores.
    pub stored: u64,
    /// Rows whose event is stored already.
    pub duplicate: u64,
}

/// What waits for a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Rows.
    pub rows: u64,
    /// Bytes of their files and of their keys in memory, about.
    pub bytes: u64,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Rows stored.
    pub rows: u64,
    /// Files added to the tables of events.
    pub files: u64,
    /// New versions of these, by family.
    pub versions: Vec<(String, u64)>,
}

impl Sink {
    /// Opens the tables, creates what is missing and adds new columns; completes the ledger and the dedupe
    /// index after a crash, and sweeps away files that no commit named.
    ///
    /// `streams` are all that are written to these tables, our log first; `own` is the part of them that this sink
    /// writes. Unless it is the sole writer, it takes its partitions over: whatever another sink that had one of them
    /// still commits is refused from here on, and what it committed is counted. A sink that loses or gains partitions is
    /// closed and opened again.
    ///
    /// # Errors
    ///
    /// [`SinkError::AnotherLog`], [`SinkError::AnotherStream`], [`SinkError::NotOwn`] for a partition that no stream has,
    /// [`SinkError::Column`], and what storage and tables report.
    pub async fn open(
        config: SinkConfig,
        package: Arc<Package>,
        streams: &[Stream],
        own: &Own,
    ) -> Result<Self, SinkError> {
        let share = Share::new(streams, own)?;
        std::fs::create_dir_all(&config.index).map_err(SinkError::io("create", &config.index))?;
        // First, because it is locked: from here on no other sink works with it.
        // What was imported is looked up too: it may come through the log once more.
        let kept = || share.own().iter().copied().chain([IMPORT]).collect();
        let own = (!share.is_sole() && !share.own().contains(&IMPORT)).then(kept);
        let index = Index::open(&config.index, &package, own)?;
        files::empty_staging(&config.staging)?;
        let log_id = share.log().map(|log| log.id.clone()).unwrap_or_default();
        let home = Home { root: &config.root, staging: &config.staging };
        let mut ledger = Ledger::open(home, &log_id).await?;
        let mut families = Vec::with_capacity(package.families.len());
        let mut shapes = Vec::with_capacity(package.families.len());
        for family in &package.families {
            let schema = family.stored_schema();
            let name = format!("events/{}", family.name);
            let life = Life::of(family);
            let settings = life.settings();
            let mut table = Table::open(home, &name, &schema, &settings.pairs()).await?;
            life.check(&mut table).await?;
            if share.is_sole() {
                table.sweep(None).await?;
            } else {
                table.share();
            }
            shapes.push(Shape::new(&name, table.staging(), &schema, config.row_group_rows));
            let (next, apart) = (BTreeMap::new(), Runs::default());
            families.push(FamilyTable { table, life, next, recorded: None, apart });
        }
        let former = match share.is_maintainer() {
            true => life::former(home, &package).await?,
            false => Vec::new(),
        };
        if share.is_sole() {
            ledger.table().sweep(None).await?;
        } else {
            ledger.share();
        }
        let mut sink = Self {
            package,
            config,
            share,
            marks: BTreeMap::new(),
            families,
            former,
            ledger,
            next: BTreeMap::new(),
            writers: Writers::new(shapes),
            index,
            counts: BTreeMap::new(),
            rows: 0,
            outlived: Outlived::new(),
            failed: false,
        };
        tracing::trace!(target: "quorate::moment", "start books");
        sink.know_streams().await?;
        sink.settle().await?;
        tracing::trace!(target: "quorate::moment", "start index");
        for family in 0..sink.families.len() {
            let maintainer = sink.share.is_maintainer();
            if maintainer && sink.families[family].table.position(REWRITE).await?.is_some() {
                sink.wipe(family, None).await?;
            }
        }
        for family in 0..sink.families.len() {
            let own = sink.table_positions(family);
            let table = &mut sink.families[family].table;
            sink.index.catch_up(&sink.package, family, table, &own).await?;
        }
        Ok(sink)
    }

    /// Closes the sink; what was written since the last commit is void. Unlike a drop it cannot panic, whatever the disk
    /// did.
    pub fn close(self) {
        if storage::close(self).is_err() {
            tracing::error!("closing the dedupe index panicked");
        }
    }

    /// The position of a partition from which on frames have to be read (again); for [`IMPORT`] the first that
    /// no import has used. Zero for a partition that no stream has; of one that is not this sink's own, as it was when
    /// the sink was opened or asked for its [`Sink::progress`].
    #[must_use]
    pub fn next(&self, partition: u16) -> u64 {
        self.next.get(&partition).copied().unwrap_or(0)
    }

    /// [`Sink::next`] for a partition of a log that ends at `end`.
    ///
    /// # Errors
    ///
    /// [`SinkError::BeyondLog`] if the tables hold more than the log: going on would pass over events.
    pub fn resume(&self, partition: u16, end: u64) -> Result<u64, SinkError> {
        let known = self.families.iter().filter_map(|family| family.next.get(&partition));
        let position = known.copied().fold(self.next(partition), u64::max);
        if position > end {
            return Err(SinkError::BeyondLog { partition, position, end });
        }
        Ok(self.next(partition))
    }

    /// Positions of tables that are ahead of [`Sink::next`]: a table passes over a frame that begins below its position, so
    /// one that is made of several records must not reach across any of these.
    #[must_use]
    pub fn boundaries(&self, partition: u16) -> BTreeSet<u64> {
        let next = self.next(partition);
        let tables = self.families.iter().filter_map(|family| family.next.get(&partition));
        tables.copied().filter(|&position| position > next).collect()
    }

    /// The next positions of all partitions of all streams, read afresh; [`Sink::outcomes`] takes in what others
    /// counted.
    ///
    /// # Errors
    ///
    /// [`SinkError::Fenced`] if another sink took over one of this one's partitions; what storage and tables report. The
    /// sink has to be opened again then.
    pub async fn progress(&mut self) -> Result<BTreeMap<u16, u64>, SinkError> {
        self.usable()?;
        if !self.share.is_sole() {
            self.set_failed(true);
            let own = self.ledger_positions(&[]);
            self.ledger.advance(&own).await?;
            self.know_others().await?;
            self.set_failed(false);
        }
        Ok(self.share.all().map(|partition| (partition, self.next(partition))).collect())
    }

    /// Takes the rows of one frame, duplicates aside; what gate 1 noted and found expired or suppressed
    /// is counted with them.
    ///
    /// A frame that the family's table holds already is passed over, and counts nothing.
    ///
    /// # Errors
    ///
    /// After one, the sink has to be opened again: what was written since the last commit is void.
    pub fn write(&mut self, batch: AnonymizedBatch, origin: &Origin) -> Result<Written, SinkError> {
        self.usable()?;
        self.share.owns(origin.partition)?;
        let family = batch.family();
        if family >= self.families.len() {
            return Err(SinkError::NoFamily(family));
        }
        if self.holds(Some(family), origin) {
            return Ok(Written::default());
        }
        let written = self.write_rows(&batch, origin);
        self.failed |= written.is_err();
        let written = written?;
        self.count_written(&batch, origin, written);
        Ok(written)
    }

    /// Counts what became of the rows of a frame.
    pub(crate) fn count_written(
        &mut self,
        batch: &AnonymizedBatch,
        origin: &Origin,
        written: Written,
    ) {
        let counts = self.counts_at(Some(batch.family()), origin);
        counts.stored += written.stored;
        counts.duplicate += written.duplicate;
        counts.expired += batch.expired();
        counts.tally.add(batch.tally());
        self.rows += written.stored;
    }

    fn write_rows(
        &mut self,
        batch: &AnonymizedBatch,
        origin: &Origin,
    ) -> Result<Written, SinkError> {
        let family = batch.family();
        let rows = batch.rows();
        let damaged = || SinkError::damaged(self.families[family].table.name(), "a batch");
        let numbers = rows.column_by_name(columns::ROW);
        let numbers =
            numbers.and_then(|row| row.as_primitive_opt::<Int32Type>()).ok_or_else(damaged)?;
        if numbers.len() != batch.keys().len() {
            return Err(damaged());
        }
        let mut duplicates = Vec::new();
        for (index, key) in batch.keys().iter().enumerate() {
            let Some(key) = key else { continue };
            let row = u32::try_from(numbers.value(index)).unwrap_or(u32::MAX);
            let place = Place { partition: origin.partition, position: origin.position, row };
            if self.index.is_duplicate(family, key, place)? {
                duplicates.push(index);
            }
        }
        let total = rows.num_rows();
        if duplicates.is_empty() {
            if total > 0 {
                self.writers.push(family, rows, None)?;
            }
        } else {
            let mut next = duplicates.iter().copied().peekable();
            let kept = (0..total).filter(|row| next.next_if_eq(row).is_none()).collect::<Vec<_>>();
            if !kept.is_empty() {
                self.writers.push(family, rows, Some(&kept))?;
            }
        }
        let duplicate = duplicates.len() as u64;
        Ok(Written { stored: total as u64 - duplicate, duplicate })
    }

    /// Counts what the clear header of a frame says: `received` events in all, of which those in `tally` were
    /// refused or suppressed; and `expired` of them if their sealing key was destroyed before they could be opened.
    ///
    /// Call it for every frame, once; the rows of the frame are counted by [`Sink::write`].
    pub fn count(
        &mut self,
        family: Option<usize>,
        origin: &Origin,
        tally: &Tally,
        received: u64,
        expired: u64,
    ) {
        let family = family.filter(|&family| family < self.families.len());
        if !self.holds(family, origin) {
            let counts = self.counts_at(family, origin);
            counts.received += received;
            counts.expired += expired;
            counts.tally.add(tally);
        }
    }

    /// Whether everything about the frame is committed for that family.
    pub(crate) fn holds(&self, family: Option<usize>, origin: &Origin) -> bool {
        let next = family.map_or(&self.next, |family| &self.families[family].next);
        next.get(&origin.partition).is_some_and(|&next| origin.position < next)
    }

    fn counts_at(&mut self, family: Option<usize>, origin: &Origin) -> &mut Counts {
        let partitions = self.counts.entry(family).or_default();
        let counts = partitions.entry(origin.partition).or_default();
        counts.at(origin.position);
        counts
    }

    /// What waits for a commit.
    #[must_use]
    pub fn pending(&self) -> Pending {
        let keys = self.index.pending() * PENDING_BYTES;
        Pending { rows: self.rows, bytes: self.writers.bytes() + keys }
    }

    /// Whether enough waits that a commit is due before its time.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pending().bytes >= self.config.commit_bytes
    }

    /// Whether anything was written or counted since the last commit.
    pub(crate) fn is_waiting(&self) -> bool {
        self.rows > 0 || !self.counts.is_empty()
    }

    /// Partitions of the streams.
    pub(crate) fn partitions(&self) -> Vec<u16> {
        self.share.all().collect()
    }

    /// Where the tables are.
    pub(crate) fn home(&self) -> Home<'_> {
        Home { root: &self.config.root, staging: &self.config.staging }
    }

    pub(crate) fn set_failed(&mut self, failed: bool) {
        self.failed = failed;
    }

    /// Whether an earlier call failed half-way, so that the sink has to be opened again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    pub(crate) fn usable(&self) -> Result<(), SinkError> {
        if self.failed { Err(SinkError::Failed) } else { Ok(()) }
    }

    /// Whether this sink may change what others wrote.
    pub(crate) fn maintains(&self) -> Result<(), SinkError> {
        match self.share.is_maintainer() {
            true => Ok(()),
            false => Err(SinkError::NotMaintainer),
        }
    }

    /// Makes everything durable that was written and counted. `next` names, for each partition that was read, the
    /// position behind the last frame of it that came in.
    ///
    /// Families without new rows are not committed to; their counts go into the ledger alone.
    ///
    /// # Errors
    ///
    /// [`SinkError::Fenced`] if another writer was here; [`SinkError::Backwards`]; what storage and tables
    /// report. The sink has to be opened again then, and finds out how far the commit came.
    pub async fn commit(
        &mut self,
        next: &[(u16, u64)],
        now: Millis,
        context: ManifestContext,
    ) -> Result<Committed, SinkError> {
        self.usable()?;
        let counted = self.counts.values().flat_map(BTreeMap::keys);
        let named = next.iter().map(|(partition, _)| partition);
        counted.chain(named).try_for_each(|&partition| self.share.owns(partition))?;
        self.check_forward(next)?;
        // Until the end: an error or a caller that went away half-way leaves the tables apart.
        self.failed = true;
        let committed = self.commit_all(next, now, context).await?;
        self.failed = false;
        Ok(committed)
    }

    async fn commit_all(
        &mut self,
        next: &[(u16, u64)],
        now: Millis,
        context: ManifestContext,
    ) -> Result<Committed, SinkError> {
        let moved = next.iter().any(|&(partition, next)| self.next(partition) != next);
        if !moved && self.counts.is_empty() {
            return Ok(Committed::default());
        }
        tracing::trace!(target: "quorate::moment", "worker files");
        let (committed, manifests) = self.commit_rows(next, now, context).await?;
        let mut positions = self.ledger_positions(next);
        positions.extend(self.mark(next).await?);
        if self.share.is_sole() {
            positions.extend(self.versions());
        }
        tracing::trace!(target: "quorate::moment", "worker ledger");
        self.ledger.append(&manifests, positions).await?;
        if self.share.is_sole() {
            self.versions_recorded();
        }
        self.next.extend(next.iter().copied());
        self.rows = 0;
        Ok(committed)
    }

    /// Commits the rows of every family that has some, and gives what the ledger has to say about all of them.
    pub(crate) async fn commit_rows(
        &mut self,
        next: &[(u16, u64)],
        now: Millis,
        context: ManifestContext,
    ) -> Result<(Committed, Vec<Manifest>), SinkError> {
        let files = self.writers.finish()?;
        let mut counts = std::mem::take(&mut self.counts);
        let mut committed = Committed::default();
        let mut manifests = Vec::new();
        for (family, files) in files.into_iter().enumerate() {
            let partitions = counts.remove(&Some(family)).unwrap_or_default();
            if partitions.is_empty() && files.is_empty() {
                continue;
            }
            let hour = now.truncate(HOUR_MS);
            let mut manifest =
                Manifest::new(&self.package, Some(family), Some(context), hour, partitions);
            manifest.epochs = files.iter().map(|file| file.epoch).collect();
            if !files.is_empty() {
                self.commit_family(family, &files, next, &manifest, now).await?;
                committed.rows += files.iter().map(|file| file.rows).sum::<u64>();
                committed.files += files.len() as u64;
                let version = self.families[family].table.version();
                committed.versions.push((self.package.families[family].name.clone(), version));
            }
            manifests.push(manifest);
        }
        if let Some(partitions) = counts.remove(&None) {
            let hour = now.truncate(HOUR_MS);
            let manifest = Manifest::new(&self.package, None, Some(context), hour, partitions);
            manifests.push(manifest);
        }
        Ok((committed, manifests))
    }

    async fn commit_family(
        &mut self,
        family: usize,
        files: &[DataFile],
        next: &[(u16, u64)],
        manifest: &Manifest,
        now: Millis,
    ) -> Result<(), SinkError> {
        // After a crash the table may be ahead of what is read again; it never goes back.
        let own = &mut self.families[family].next;
        for &(partition, next) in next {
            let own = own.entry(partition).or_default();
            *own = next.max(*own);
        }
        let named = next.iter().map(|&(partition, _)| (partition, own[&partition]));
        let named = named.collect::<Vec<_>>();
        let positions = match self.share.is_sole() {
            true => self.positions(&named),
            false => self.table_positions(family),
        };
        let table = &mut self.families[family].table;
        tracing::trace!(target: "quorate::moment", "worker table");
        table
            .commit(Change {
                add: files,
                positions,
                manifest: Some(manifest),
                time: now.truncate(self.package.families[family].grain_ms.max(1)),
                ..Change::default()
            })
            .await?;
        let reflected = Reflected { table: table.id(), version: table.version() };
        tracing::trace!(target: "quorate::moment", "worker index");
        self.index.commit(family, &reflected, now)
    }

    fn positions(&self, next: &[(u16, u64)]) -> Vec<(String, u64)> {
        let named = next.iter();
        named.filter_map(|&(of, next)| Some((self.share.application(of)?, next))).collect()
    }

    /// What a commit to a family's table names, for others to be refused: every own partition, and the maintainer.
    pub(crate) fn table_positions(&self, family: usize) -> Vec<(String, u64)> {
        self.guards(&self.families[family].next)
    }

    /// What a commit to the ledger names, with the positions that `moved`.
    pub(crate) fn ledger_positions(&self, moved: &[(u16, u64)]) -> Vec<(String, u64)> {
        if self.share.is_sole() {
            return self.positions(moved);
        }
        let mut next = self.next.clone();
        next.extend(moved.iter().copied());
        self.guards(&next)
    }

    fn guards(&self, next: &BTreeMap<u16, u64>) -> Vec<(String, u64)> {
        let maintainer = self.share.is_maintainer().then(maintenance);
        if self.share.is_sole() {
            return maintainer.into_iter().collect();
        }
        let own = self.share.applications().into_iter();
        let own = own.map(|(of, name)| (name, next.get(&of).copied().unwrap_or(0)));
        own.chain(maintainer).collect()
    }

    /// The version of each family's table, as the ledger keeps it: it has the manifests up to there.
    pub(crate) fn versions(&self) -> Vec<(String, u64)> {
        let versions = self.families.iter().map(|family| Some(family.table.version()));
        self.recorded_at(&versions.collect::<Vec<_>>())
    }

    /// Versions of the families' tables, as the ledger keeps them.
    pub(crate) fn recorded_at(&self, versions: &[Option<u64>]) -> Vec<(String, u64)> {
        let named = self.families.iter().zip(versions);
        named
            .filter_map(|(family, version)| {
                Some((table_application(family.table.name()), (*version)?))
            })
            .collect()
    }

    /// Whether the ledger lacks a version of a family's table.
    pub(crate) fn versions_moved(&self) -> bool {
        self.families.iter().any(|family| family.recorded != Some(family.table.version()))
    }

    /// Notes that the ledger has [`Sink::versions`].
    pub(crate) fn versions_recorded(&mut self) {
        for family in &mut self.families {
            family.recorded = Some(family.table.version());
        }
    }

    /// Delta checks that nobody else moved a position, but not that it only moves forward.
    fn check_forward(&self, next: &[(u16, u64)]) -> Result<(), SinkError> {
        match next.iter().find(|&&(partition, next)| next < self.next(partition)) {
            None => Ok(()),
            Some(&(partition, given)) => Err(SinkError::Backwards {
                table: self.ledger.table().name().to_string(),
                partition,
                stored: self.next(partition),
                given,
            }),
        }
    }

    /// What became of every event so far, by the ledger: what others counted since is in it after [`Sink::progress`].
    #[must_use]
    pub fn outcomes(&self) -> Vec<OutcomeRow> {
        self.ledger.outcomes()
    }
}

/// Under this name the ledger keeps the number of the last rewriting of a table that it knows of.
pub(crate) fn rewrite_application(family: &FamilyTable) -> String {
    format!("{}/{REWRITE}", family.table.name())
}

/// Under a table's name the ledger keeps the version up to which it has the table's manifests.
pub(crate) fn table_application(table: &str) -> String {
    table.to_owned()
}
