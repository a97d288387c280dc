//! What is on disk while the process is dead: rows by number, releases, keys.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::Millis;
use serde_json::Value;
use storage::Root;

const FAMILIES: [&str; 2] = ["device_usage", "web"];

/// Reads tables, and remembers files: none ever changes.
#[derive(Default)]
pub(super) struct Tables {
    known: HashMap<String, Vec<u64>>,
}

impl Tables {
    /// Number and day of every row below this root.
    pub(super) async fn rows(&mut self, root: &Root) -> Vec<(u64, Millis)> {
        let mut all = Vec::new();
        let mut living = HashMap::new();
        for family in FAMILIES {
            for name in files(root, family).await {
                let rows = self.known.remove(&name).unwrap_or_else(|| read(root, &name));
                let day = day(&name).expect("files lie in folders of days");
                all.extend(rows.iter().map(|&number| (number, day)));
                living.insert(name, rows);
            }
        }
        self.known = living;
        all
    }
}

/// The day of a data file, in the name of its folder.
fn day(name: &str) -> Option<Millis> {
    let folder = name.rsplit('/').nth(1)?;
    Millis::parse(&format!("{}T00:00:00Z", folder.split_once('=')?.1))
}

/// Names of the files that the newest version of a table has; none before it is made.
async fn files(root: &Root, family: &str) -> Vec<String> {
    let events = root.join("events");
    let table = disclosure::table::open(events, family).await.expect("the table opens");
    let Some(table) = table else { return Vec::new() };
    let log = table.log_store();
    let snapshot = table.snapshot().expect("a version of it");
    let mut views = snapshot.snapshot().file_views(log.as_ref(), None);
    let mut files = Vec::new();
    while let Some(file) = views.try_next().await.expect("a list of files") {
        files.push(format!("events/{family}/{}", file.path()));
    }
    files
}

/// Data files that no commit names: what a crash left behind is gone after the next start.
pub(super) async fn strays(data: &Path) -> Vec<PathBuf> {
    let root = Root::folder(data);
    let mut strays = Vec::new();
    for family in FAMILIES {
        let named = files(&root, family).await;
        let named: Vec<PathBuf> = named.iter().map(|name| data.join(name)).collect();
        let days = std::fs::read_dir(data.join("events").join(family)).expect("the table's folder");
        for day in days.flatten().map(|day| day.path()).filter(|day| !day.ends_with("_delta_log")) {
            let files = std::fs::read_dir(day).into_iter().flatten().flatten();
            strays.extend(files.map(|file| file.path()).filter(|path| !named.contains(path)));
        }
    }
    strays
}

fn read(root: &Root, name: &str) -> Vec<u64> {
    let file = Bytes::from(root.read(name).expect("a file that a commit names"));
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).expect("a whole file");
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["number"]);
    let batches = builder.with_projection(mask).build().expect("a reader");
    let mut numbers = Vec::new();
    for batch in batches {
        let batch = batch.expect("rows");
        let column = batch.column(0).as_primitive::<Int64Type>();
        numbers.extend(column.iter().map(|number| {
            u64::try_from(number.expect("declared as required")).expect("not negative")
        }));
    }
    numbers
}

/// What was released.
#[derive(Default)]
pub(super) struct Releases {
    pub(super) count: usize,
    /// Uses in all, by day, as far as they are shown.
    pub(super) uses: BTreeMap<Millis, u64>,
}

/// Checks that each period was released once and is as its line in the ledger says.
pub(super) async fn releases(data: &Path) -> Result<Releases, String> {
    let lines = disclosure::releases(&data.join("ledger"), None).await.expect("the ledger opens");
    let mut tables = BTreeMap::<&str, Vec<RecordBatch>>::new();
    let mut seen = BTreeSet::new();
    let mut releases = Releases { count: lines.len(), ..Releases::default() };
    for line in &lines {
        let (name, start) = (line.statistic.as_str(), line.period.start);
        if !seen.insert((name, start)) {
            return Err(format!("{name} of {start} was released twice"));
        }
        if !tables.contains_key(name) {
            tables.insert(name, rows(data, name).await);
        }
        let rows: Vec<RecordBatch> =
            tables[name].iter().map(|rows| of_period(rows, start.0)).collect();
        let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
        let rows: Vec<RecordBatch> = rows.into_iter().filter(|rows| rows.num_rows() > 0).collect();
        let digest = disclosure::ledger::digest(&rows).expect("columns with text forms");
        if line.groups != count as u64 || line.digest != digest {
            return Err(format!(
                "{name} of {start} is not what its line says: {count} rows, {line:?}"
            ));
        }
        if name == "usage" {
            releases.uses.extend(rows.iter().find_map(uses).map(|uses| (start, uses)));
        }
    }
    for (name, batches) in &tables {
        let starts =
            batches.iter().flat_map(|batch| starts(batch).iter().flatten().collect::<Vec<_>>());
        if let Some(micros) =
            starts.into_iter().find(|micros| !seen.contains(&(*name, Millis(micros / 1000))))
        {
            return Err(format!("{name} has rows of {micros} µs, and the ledger no line"));
        }
    }
    Ok(releases)
}

async fn rows(data: &Path, name: &str) -> Vec<RecordBatch> {
    let table = disclosure::table::open(&data.join("statistics"), name).await.expect("it opens");
    let table = table.expect("a released statistic has a table");
    let rows = disclosure::table::rows(&table, name).await.expect("its rows");
    SessionContext::new().read_table(rows).expect("a plan").collect().await.expect("rows")
}

/// Events of all groups together, if that is shown.
fn uses(rows: &RecordBatch) -> Option<u64> {
    let groupings = rows.column_by_name("grouping")?.as_string_opt::<i32>()?;
    let hidden = rows.column_by_name("hidden")?.as_boolean_opt()?;
    let row =
        (0..rows.num_rows()).find(|&row| groupings.value(row).is_empty() && !hidden.value(row))?;
    u64::try_from(rows.column_by_name("events")?.as_primitive_opt::<Int64Type>()?.value(row)).ok()
}

fn starts(rows: &RecordBatch) -> &arrow::array::TimestampMicrosecondArray {
    let starts = rows.column_by_name("period_start").expect("every statistic has it");
    starts.as_primitive::<TimestampMicrosecondType>()
}

fn of_period(rows: &RecordBatch, start_ms: i64) -> RecordBatch {
    let wanted: BooleanArray =
        starts(rows).iter().map(|start| Some(start == Some(start_ms * 1000))).collect();
    filter_record_batch(rows, &wanted).expect("a flag for each row")
}

/// Keys made and destroyed by the ledger, and files of living ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) made: usize,
    pub(super) destroyed: usize,
    pub(super) files: usize,
}

/// Counts keys.
pub(super) fn keys(home: &Path) -> Keys {
    let ledger = std::fs::read_to_string(home.join("data/ledger/keys.jsonl")).unwrap_or_default();
    let mut keys = Keys::default();
    for line in ledger.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        match line["action"].as_str() {
            Some("created") => keys.made += 1,
            Some("destroyed") => keys.destroyed += 1,
            _ => {}
        }
    }
    let entries = std::fs::read_dir(home.join("keyring/keys")).map(Iterator::flatten);
    let names = entries.into_iter().flatten().map(|entry| entry.path());
    keys.files = names.filter(|path| path.extension().is_some_and(|kind| kind == "key")).count();
    keys
}
