//! Frames read again: what they give now takes the place of what their positions gave before.
//!
//! Rows carry the place of their event in the log, so that old and new ones find each other. [`Sink::compare`] says what
//! would change, [`Sink::replace`] changes it, [`Sink::write_compared`] writes the rows into other tables instead.
//!
//! # What stays as it was
//! What every event ended as, in the ledger: differences are noted beside it ([`Note::ReplayedAdded`] and its like), so that
//! the sums still explain the tables. An event whose row is there keeps one. An event of a frame of which other rows
//! are there, and that has none itself, was a duplicate, or is gone for another reason, and gets none. A frame that gave
//! nothing at all (it could not be opened then) is taken as if it came now: its duplicates are looked for in
//! the table too, since the index may have forgotten them.
//!
//! # Progress
//! Each commit carries the position behind the frames that it covers, under `replay/<id>/<partition>`. A replay that was
//! killed goes on there; frames that are compared again show no difference. Only the replay that committed last can go on:
//! what another one did since may have undone the beginning.

mod compare;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use anonymizer::{AnonymizedBatch, Origin};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::Int64Type;
use schemas::time::HOUR_MS;
use schemas::{Millis, Note, Package, columns};

pub(crate) use self::compare::Compared;
use self::compare::Fate;
pub use self::compare::{Comparison, Difference, FieldDifference};
use crate::dedupe::{Key, Place};
use crate::error::SinkError;
use crate::manifest::{Counts, Manifest, ManifestContext};
use crate::outlive::without_over;
use crate::rewrite::{self, Pick, REWRITE, Rewrite, numbers};
use crate::sink::{Sink, Written};

/// What gate 1 makes of a frame now.
pub struct Frame {
    /// Where the frame is in the log.
    pub(crate) origin: Origin,
    /// What gate 1 gave.
    pub(crate) batch: AnonymizedBatch,
    /// Its rows, without purposes whose time is over: those of the table are without them too, or will be.
    pub(crate) rows: RecordBatch,
}

impl Frame {
    /// A frame as `package` takes it in at `now`.
    ///
    /// # Errors
    ///
    /// [`SinkError::NoFamily`], [`SinkError::Damaged`].
    pub fn new(
        origin: Origin,
        batch: AnonymizedBatch,
        package: &Package,
        now: Millis,
    ) -> Result<Self, SinkError> {
        let number = batch.family();
        let family = package.families.get(number).ok_or(SinkError::NoFamily(number))?;
        let rows = without_over(&family.name, package, family, batch.rows(), now)?;
        Ok(Self { origin, batch, rows })
    }

    /// The place of each row; none if the batch is not what it should be.
    fn places(&self) -> Option<Vec<Place>> {
        places(self.batch.rows()).filter(|places| places.len() == self.batch.keys().len())
    }
}

/// The place of each row.
pub(crate) fn places(rows: &RecordBatch) -> Option<Vec<Place>> {
    let numbers = numbers(rows, columns::ROW)?;
    let places = positions(rows)?.into_iter().zip(numbers).map(|((partition, position), row)| {
        Some(Place { partition, position, row: u32::try_from(row).ok()? })
    });
    places.collect()
}

/// Partition and position of each row.
fn positions(rows: &RecordBatch) -> Option<Vec<(u16, u64)>> {
    let partitions = numbers(rows, columns::PARTITION)?;
    let positions = rows.column_by_name(columns::POSITION)?.as_primitive_opt::<Int64Type>()?;
    let positions = (positions.null_count() == 0).then(|| positions.values())?;
    let both = partitions.into_iter().zip(positions.iter());
    both.map(|(partition, position)| {
        Some((u16::try_from(partition).ok()?, u64::try_from(*position).ok()?))
    })
    .collect()
}

/// Picks the rows of some frames.
struct Positions<'a>(&'a HashSet<(u16, u64)>);

impl Pick for Positions<'_> {
    fn columns(&self) -> &[&str] {
        &[columns::PARTITION, columns::POSITION]
    }

    fn pick(&self, rows: &RecordBatch) -> Option<BooleanArray> {
        Some(positions(rows)?.iter().map(|position| Some(self.0.contains(position))).collect())
    }
}

/// Picks single rows.
pub(crate) struct Places<'a>(pub(crate) &'a HashSet<Place>);

impl Pick for Places<'_> {
    fn columns(&self) -> &[&str] {
        &[columns::PARTITION, columns::POSITION, columns::ROW]
    }

    fn pick(&self, rows: &RecordBatch) -> Option<BooleanArray> {
        Some(places(rows)?.iter().map(|place| Some(self.0.contains(place))).collect())
    }
}

impl Sink {
    /// The position at which the replay of that id goes on in a partition; zero if it has not changed anything there.
    ///
    /// # Errors
    ///
    /// [`SinkError::Table`].
    pub async fn replayed(&self, id: &str, partition: u16) -> Result<u64, SinkError> {
        if self.ledger.position(LAST).await? != Some(number(id)) {
            return Ok(0);
        }
        Ok(self.ledger.position(&application(id, partition)).await?.unwrap_or(0))
    }

    /// The positions that a commit of a replay moves. One that did not commit last begins anew, everywhere.
    async fn moved(
        &self,
        id: &str,
        partition: u16,
        next: u64,
    ) -> Result<Vec<(String, u64)>, SinkError> {
        let mut moved = vec![(application(id, partition), next)];
        if self.ledger.position(LAST).await? != Some(number(id)) {
            let others = self.partitions().into_iter().filter(|other| *other != partition);
            moved.extend(others.map(|other| (application(id, other), 0)));
            moved.push((LAST.to_owned(), number(id)));
        }
        Ok(moved)
    }

    /// Puts the rows that `frames` give now in place of those that they gave before, in a commit for each family in
    /// which anything differs. `next` is the position behind the last of them, all of one partition. Where nothing differs
    /// nothing is committed.
    ///
    /// Nobody may read the tables meanwhile: files go at once.
    ///
    /// # Errors
    ///
    /// [`SinkError::Uncommitted`] if anything waits for a commit; [`SinkError::NotMaintainer`]; [`SinkError::Fenced`], and
    /// what storage and tables report: then the sink has to be opened again, and the replay called again with the same id.
    pub async fn replace(
        &mut self,
        id: &str,
        (partition, next): (u16, u64),
        frames: &[Frame],
        comparison: &Comparison,
        now: Millis,
        context: ManifestContext,
    ) -> Result<(), SinkError> {
        self.usable()?;
        if self.is_waiting() {
            return Err(SinkError::Uncommitted);
        }
        self.maintains()?;
        self.set_failed(true);
        for (&family, compared) in &comparison.families {
            if compared.difference.is_none() {
                continue;
            }
            let rewrite = self.rewritten(family, compared, frames, comparison)?;
            let manifest = self.replacement(family, partition, compared, &rewrite, now, context);
            let positions = self.moved(id, partition, next).await?;
            self.commit_rewrite(family, &rewrite, manifest, positions, now).await?;
            self.sweep(family, now).await?;
        }
        self.set_failed(false);
        Ok(())
    }

    /// Writes what is to come into a table, and what it comes in place of.
    pub(crate) fn rewritten(
        &mut self,
        family: usize,
        compared: &Compared,
        frames: &[Frame],
        comparison: &Comparison,
    ) -> Result<Rewrite, SinkError> {
        let table = &self.families[family].table;
        let damaged = || SinkError::damaged(table.name(), "a batch");
        let mut rewrite = rewrite::without(table, &Places(&compared.gone))?;
        for (frame, fates) in frames.iter().zip(&comparison.fates) {
            if frame.batch.family() != family {
                continue;
            }
            let places = frame.places().ok_or_else(damaged)?;
            let comes = |row: &usize| [Fate::Changed, Fate::Added].contains(&fates[*row]);
            let rows = (0..fates.len()).filter(comes).collect::<Vec<_>>();
            let keyed = rows.iter().filter_map(|&row| {
                Some((Key::own(frame.batch.keys()[row].as_ref()?), places[row]))
            });
            rewrite.new_keys.extend(keyed);
            if !rows.is_empty() {
                self.writers.push(family, &frame.rows, Some(&rows))?;
            }
        }
        let files = self.writers.finish()?.into_iter().nth(family).unwrap_or_default();
        rewrite.add.extend(files);
        Ok(rewrite)
    }

    /// What a chunk of a replay says about itself.
    pub(crate) fn replacement(
        &self,
        family: usize,
        partition: u16,
        compared: &Compared,
        rewrite: &Rewrite,
        now: Millis,
        context: ManifestContext,
    ) -> Manifest {
        let Difference { changed, added, removed, .. } = compared.difference;
        let mut counts = Counts::default();
        counts.tally.note(Note::ReplayedChanged, changed);
        counts.tally.note(Note::ReplayedAdded, added);
        counts.tally.note(Note::ReplayedRemoved, removed);
        let (hour, counts) = (now.truncate(HOUR_MS), BTreeMap::from([(partition, counts)]));
        let mut manifest = Manifest::new(&self.package, Some(family), Some(context), hour, counts);
        manifest.epochs = rewrite.add.iter().map(|file| file.epoch).collect::<BTreeSet<_>>();
        manifest
    }

    /// Ends a replay: how far it came is forgotten, so that the same id begins anew, and the logs of the tables forget
    /// the files that it replaced.
    ///
    /// # Errors
    ///
    /// As [`Sink::replace`].
    pub async fn finish_replay(&mut self, id: &str) -> Result<(), SinkError> {
        self.usable()?;
        self.maintains()?;
        self.set_failed(true);
        if self.ledger.position(LAST).await? == Some(number(id)) {
            let mut positions = self.ledger_positions(&[]);
            positions.push((LAST.to_owned(), 0));
            self.ledger.append(&[], positions).await?;
        }
        for family in 0..self.families.len() {
            if self.families[family].table.position(REWRITE).await?.is_some() {
                self.wipe(family, None).await?;
            }
        }
        self.set_failed(false);
        Ok(())
    }

    /// Takes the rows that `frames` give now into this sink's tables, where `comparison` is with the tables of another: what
    /// was a duplicate there stays one here.
    ///
    /// # Errors
    ///
    /// As [`Sink::write`].
    pub fn write_compared(
        &mut self,
        frames: &[Frame],
        comparison: &Comparison,
    ) -> Result<Written, SinkError> {
        self.usable()?;
        let mut all = Written::default();
        for (frame, fates) in frames.iter().zip(&comparison.fates) {
            let family = frame.batch.family();
            if self.holds(Some(family), &frame.origin) {
                continue;
            }
            let rows = (0..fates.len()).filter(|&row| fates[row] != Fate::Absent);
            let rows = rows.collect::<Vec<_>>();
            if !rows.is_empty() {
                self.set_failed(true);
                self.writers.push(family, &frame.rows, Some(&rows))?;
                self.set_failed(false);
            }
            let stored = rows.len() as u64;
            let written = Written { stored, duplicate: fates.len() as u64 - stored };
            self.count_written(&frame.batch, &frame.origin, written);
            all.stored += written.stored;
            all.duplicate += written.duplicate;
        }
        Ok(all)
    }
}

/// The application under which the ledger keeps the number of the replay that committed last, zero once it is done.
const LAST: &str = "replay";

/// Tells replays apart. A build that counts otherwise begins anew, which only takes longer.
fn number(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    // Positions are signed, and zero means none.
    (hasher.finish() >> 1).max(1)
}

/// The name under which tables and ledger keep how far a replay came.
fn application(id: &str, partition: u16) -> String {
    format!("replay/{id}/{partition}")
}
