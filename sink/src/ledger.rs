//! `ledger/outcomes`: what became of every event, and the manifests that say under which rules. It is kept, it
//! commits last, and its positions alone say where to read on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{Array, ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, Schema, TimestampMicrosecondType};
use schemas::columns;
use schemas::time::{HOUR_MS, Millis};
use schemas::{Note, Outcome, Reason};
use storage::Root;

use crate::error::SinkError;
use crate::files::{self, DataFile, Label, OpenFile, Order, Shape};
use crate::manifest::{Counted, Manifest, OutcomeRow};
use crate::shared::Positions;
use crate::table::{Change, Home, Stored, Table};

/// Below the root.
pub(crate) const NAME: &str = "ledger/outcomes";
/// The log whose positions the tables hold.
const LOG: &str = "quorate.log";
/// A file with this many lines is never merged again.
const FULL_ROWS: u64 = 64 * 1024;
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Sums by family, partition and what is counted.
type Sums = BTreeMap<(Option<String>, u16, Counted), u64>;

/// The table and its sums.
pub(crate) struct Ledger {
    table: Table,
    shape: Shape,
    sums: Sums,
    /// The files whose lines are in the sums.
    summed: BTreeSet<String>,
    /// What it says about positions.
    said: Positions,
}

/// A line: what it counts in which hour, or a manifest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Line {
    Count { hour: i64, family: Option<String>, partition: u16, counted: Counted },
    Manifest { hour: i64, json: String },
}

/// The columns: `time` (the hour of the commit), `family`, `partition`, then one of `outcome` (with `reason` where it
/// is `refused`; `received` is the sum of all), `note` (with `reason` for the part of it that belongs to a declared word)
/// or `manifest` (JSON), and `count`.
fn schema() -> Schema {
    Schema::new(vec![
        Field::new("time", columns::timestamp(), false),
        Field::new("family", DataType::Utf8, true),
        Field::new("partition", DataType::Int32, true),
        Field::new("outcome", DataType::Utf8, true),
        Field::new("reason", DataType::Utf8, true),
        Field::new("note", DataType::Utf8, true),
        Field::new("count", DataType::Int64, false),
        Field::new("manifest", DataType::Utf8, true),
    ])
}

impl Ledger {
    /// Opens or creates it, for the log of that id.
    pub(crate) async fn open(home: Home<'_>, log_id: &str) -> Result<Self, SinkError> {
        let table = open_table(home, &[(LOG, log_id)]).await?;
        let shape = Shape::new(NAME, table.staging(), &schema(), ROW_GROUP_ROWS);
        let (sums, summed, said) = (Sums::new(), BTreeSet::new(), Positions::default());
        let mut ledger = Self { table, shape, sums, summed, said };
        ledger.sum()?;
        Ok(ledger)
    }

    /// From now on others append at the same time; see [`Table::share`].
    pub(crate) fn share(&mut self) {
        self.table.share();
    }

    /// Takes in what others appended; see [`Table::advance`].
    pub(crate) async fn advance(&mut self, own: &[(String, u64)]) -> Result<(), SinkError> {
        self.table.advance(own).await?;
        self.sum()
    }

    /// Takes in what others appended, whoever they were.
    pub(crate) async fn renew(&mut self) -> Result<(), SinkError> {
        let newest = self.table.newest().await?;
        self.table.go_to(newest);
        self.sum()
    }

    /// Brings the sums up to date.
    fn sum(&mut self) -> Result<(), SinkError> {
        let files = self.table.files();
        let there = files.iter().map(|file| file.path.clone()).collect::<BTreeSet<_>>();
        if !self.summed.is_subset(&there) {
            // Merged by the maintainer.
            self.sums.clear();
            self.summed.clear();
        }
        for file in files.iter().filter(|file| !self.summed.contains(&file.path)) {
            add(&mut self.sums, &self.table, file)?;
        }
        self.summed = there;
        Ok(())
    }

    /// The positions of these applications, as of the version that was last seen; zero where there is none.
    pub(crate) async fn positions(&mut self, wanted: &[String]) -> Result<&Positions, SinkError> {
        self.said.read(&self.table, wanted).await?;
        Ok(&self.said)
    }

    /// The log whose positions are recorded here.
    pub(crate) fn log(&self) -> &str {
        self.table.setting(LOG).unwrap_or_default()
    }

    /// Records another log in place of one that left no positions.
    pub(crate) async fn set_log(&mut self, log_id: &str) -> Result<(), SinkError> {
        self.table.set(&[(LOG, log_id)]).await
    }

    pub(crate) async fn position(&self, application: &str) -> Result<Option<u64>, SinkError> {
        self.table.position(application).await
    }

    /// Appends what `manifests` say, and the positions up to which everything is said.
    pub(crate) async fn append(
        &mut self,
        manifests: &[Manifest],
        positions: Vec<(String, u64)>,
    ) -> Result<(), SinkError> {
        let mut lines = Vec::new();
        let mut time = Millis(0);
        for manifest in manifests {
            let hour = Millis::parse(&manifest.hour);
            let hour = hour.ok_or_else(|| SinkError::damaged(NAME, "a manifest"))?;
            time = time.max(hour);
            for row in manifest.outcomes() {
                let OutcomeRow { family, partition, counted, count } = row;
                let line = Line::Count { hour: hour.0, family, partition, counted };
                lines.push((line, count));
            }
            lines.push((Line::Manifest { hour: hour.0, json: manifest.to_json().to_string() }, 0));
        }
        let file = match lines.is_empty() {
            true => None,
            false => Some(self.write(&lines, Order::Fresh)?),
        };
        let add = file.as_slice();
        self.table.commit(Change { add, positions, time, ..Change::default() }).await?;
        self.summed.extend(file.map(|file| file.path));
        for row in manifests.iter().flat_map(Manifest::outcomes) {
            *self.sums.entry((row.family, row.partition, row.counted)).or_default() += row.count;
        }
        Ok(())
    }

    fn write(&self, lines: &[(Line, u64)], order: Order) -> Result<DataFile, SinkError> {
        let mut file = OpenFile::create(&self.shape, None, Label { order, epoch: 0 })?;
        for chunk in lines.chunks(files::CHUNK_ROWS) {
            file.write(&batch(chunk)?)?;
        }
        file.close()
    }

    /// Merges the files of hours that are over: counts are summed by hour, manifests of one hour become one where
    /// they differ in counts alone. What the commits in between said about their time is gone then. Without such files
    /// it commits `positions` alone, if there are any; with them, `fences` too.
    pub(crate) async fn compact(
        &mut self,
        mut positions: Vec<(String, u64)>,
        fences: Vec<(String, u64)>,
        now: Millis,
    ) -> Result<u64, SinkError> {
        let over = |file: &Stored| file.committed.plus(HOUR_MS) <= now;
        let mut files = self.table.files();
        files.retain(|file| over(file) && file.rows < FULL_ROWS);
        let fresh = |file: &Stored| file.label.is_none_or(|label| label.order == Order::Fresh);
        if !files.iter().any(fresh) {
            files.clear();
        }
        if files.is_empty() && positions.is_empty() {
            return Ok(0);
        }
        if positions.is_empty() {
            positions = fences;
        }
        let mut counts = BTreeMap::<Line, u64>::new();
        let mut manifests = Vec::<(i64, Manifest)>::new();
        for file in &files {
            for (line, count) in lines(&self.table, file)? {
                match line {
                    Line::Manifest { hour, json } => {
                        let manifest = serde_json::from_str(&json).ok();
                        let manifest = manifest.as_ref().and_then(Manifest::from_json);
                        let manifest =
                            manifest.ok_or_else(|| SinkError::damaged(NAME, "a manifest"))?;
                        merge(&mut manifests, hour, manifest);
                    }
                    line @ Line::Count { .. } => *counts.entry(line).or_default() += count,
                }
            }
        }
        manifests.sort_by_key(|(hour, _)| *hour);
        let manifests = manifests.into_iter().map(|(hour, manifest)| {
            (Line::Manifest { hour, json: manifest.to_json().to_string() }, 0)
        });
        let lines = counts.into_iter().chain(manifests).collect::<Vec<_>>();
        let merged = match lines.is_empty() {
            true => None,
            false => Some(self.write(&lines, Order::Mixed)?),
        };
        self.table
            .commit(Change {
                add: merged.as_slice(),
                remove: &files,
                positions,
                rearranged: true,
                time: now.truncate(HOUR_MS),
                ..Change::default()
            })
            .await?;
        for file in &files {
            self.summed.remove(&file.path);
        }
        self.summed.extend(merged.map(|file| file.path));
        Ok(files.len() as u64)
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn outcomes(&self) -> Vec<OutcomeRow> {
        rows(&self.sums)
    }
}

/// Opens or creates the ledger's table.
pub(crate) async fn open_table(
    home: Home<'_>,
    settings: &[(&str, &str)],
) -> Result<Table, SinkError> {
    Table::open(home, NAME, &schema(), settings).await
}

/// The ledger below `root`, summed, without opening the sink; empty if there is none. Objects are read by way of files
/// without names in `staging`.
///
/// # Errors
///
/// [`SinkError::Table`], [`SinkError::Damaged`].
pub async fn outcomes(root: &Root, staging: &Path) -> Result<Vec<OutcomeRow>, SinkError> {
    match Table::existing(Home { root, staging }, NAME).await? {
        Some(table) => Ok(rows(&sums(&table)?)),
        None => Ok(Vec::new()),
    }
}

fn merge(manifests: &mut Vec<(i64, Manifest)>, hour: i64, manifest: Manifest) {
    for (_, known) in manifests.iter_mut().rev() {
        if known.merge(&manifest) {
            return;
        }
    }
    manifests.push((hour, manifest));
}

fn rows(sums: &Sums) -> Vec<OutcomeRow> {
    let rows = sums.iter().map(|((family, partition, counted), &count)| OutcomeRow {
        family: family.clone(),
        partition: *partition,
        counted: counted.clone(),
        count,
    });
    rows.collect()
}

fn sums(table: &Table) -> Result<Sums, SinkError> {
    let mut sums = Sums::new();
    for file in table.files() {
        add(&mut sums, table, &file)?;
    }
    Ok(sums)
}

fn add(sums: &mut Sums, table: &Table, file: &Stored) -> Result<(), SinkError> {
    for (line, count) in lines(table, file)? {
        if let Line::Count { family, partition, counted, .. } = line {
            *sums.entry((family, partition, counted)).or_default() += count;
        }
    }
    Ok(())
}

fn batch(lines: &[(Line, u64)]) -> Result<RecordBatch, SinkError> {
    let hour = |line: &Line| match line {
        Line::Count { hour, .. } | Line::Manifest { hour, .. } => hour * 1000,
    };
    let count = |line: &Line| match line {
        Line::Count { family, partition, counted, .. } => {
            Some((family.clone(), *partition, counted.clone()))
        }
        Line::Manifest { .. } => None,
    };
    let counts = lines.iter().map(|(line, _)| count(line)).collect::<Vec<_>>();
    let text = |name: &dyn for<'c> Fn(&'c Counted) -> Option<&'c str>| -> ArrayRef {
        let names = counts.iter().map(|line| name(&line.as_ref()?.2));
        Arc::new(names.collect::<StringArray>())
    };
    let manifests = lines.iter().map(|(line, _)| match line {
        Line::Manifest { json, .. } => Some(json.as_str()),
        Line::Count { .. } => None,
    });
    let time = lines.iter().map(|(line, _)| hour(line));
    let time = TimestampMicrosecondArray::from_iter_values(time).with_timezone("UTC");
    let families = counts.iter().map(|line| line.as_ref()?.0.clone());
    let partitions = counts.iter().map(|line| Some(i32::from(line.as_ref()?.1)));
    let numbers = lines.iter().map(|(_, count)| i64::try_from(*count).unwrap_or(i64::MAX));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(time),
        Arc::new(families.collect::<StringArray>()),
        Arc::new(partitions.collect::<Int32Array>()),
        text(&|counted| match counted {
            Counted::Received => Some("received"),
            Counted::Outcome(outcome) => Some(outcome.name()),
            Counted::Refused(_) => Some(Outcome::Refused.name()),
            Counted::Note(_) | Counted::Named(..) => None,
        }),
        text(&|counted| match counted {
            Counted::Refused(reason) => Some(reason.name()),
            Counted::Named(_, word) => Some(word),
            Counted::Received | Counted::Outcome(_) | Counted::Note(_) => None,
        }),
        text(&|counted| match counted {
            Counted::Note(note) | Counted::Named(note, _) => Some(note.name()),
            Counted::Received | Counted::Outcome(_) | Counted::Refused(_) => None,
        }),
        Arc::new(Int64Array::from_iter_values(numbers)),
        Arc::new(manifests.collect::<StringArray>()),
    ];
    RecordBatch::try_new(Arc::new(schema()), columns).map_err(SinkError::arrow(NAME))
}

fn lines(table: &Table, file: &Stored) -> Result<Vec<(Line, u64)>, SinkError> {
    let mut lines = Vec::new();
    for batch in table.read(&file.path, None)? {
        let batch = batch.map_err(SinkError::arrow(NAME))?;
        let batch = files::align(NAME, &batch, &Arc::new(schema()))?;
        for row in 0..batch.num_rows() {
            lines.push(line(&batch, row).ok_or_else(|| SinkError::damaged(NAME, "a line"))?);
        }
    }
    Ok(lines)
}

fn line(batch: &RecordBatch, row: usize) -> Option<(Line, u64)> {
    let text = |column: usize| -> Option<&str> {
        let column = batch.column(column).as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let hour = batch.column(0).as_primitive_opt::<TimestampMicrosecondType>()?.value(row) / 1000;
    let count = batch.column(6).as_primitive_opt::<Int64Type>()?.value(row);
    let count = u64::try_from(count).ok()?;
    if let Some(json) = text(7) {
        return Some((Line::Manifest { hour, json: json.to_owned() }, 0));
    }
    let partition = batch.column(2).as_primitive_opt::<Int32Type>()?.value(row);
    let counted = match (text(3), text(4), text(5)) {
        (None, None, Some(note)) => Counted::Note(named(Note::ALL, Note::name, note)?),
        (None, Some(word), Some(note)) => {
            Counted::Named(named(Note::ALL, Note::name, note)?, word.to_owned())
        }
        (Some(_), Some(reason), None) => {
            Counted::Refused(named(Reason::ALL, Reason::name, reason)?)
        }
        (Some("received"), None, None) => Counted::Received,
        (Some(outcome), None, None) => {
            Counted::Outcome(named(Outcome::ALL, Outcome::name, outcome)?)
        }
        _ => return None,
    };
    let family = text(1).map(str::to_owned);
    let partition = u16::try_from(partition).ok()?;
    Some((Line::Count { hour, family, partition, counted }, count))
}

fn named<T: Copy>(all: &[T], name: impl Fn(T) -> &'static str, text: &str) -> Option<T> {
    all.iter().copied().find(|&one| name(one) == text)
}
