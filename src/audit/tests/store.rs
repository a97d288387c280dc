//! The store of a demo, made once, and copies of it to plant things in.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use schemas::{Millis, Package};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::demo;
use crate::store::{default_package, package, system_clock};

static CLEAN: OnceCell<TempDir> = OnceCell::const_new();

/// A copy of the clean store.
pub(super) struct Copied {
    pub(super) folder: TempDir,
    pub(super) config: Config,
    pub(super) now: Millis,
}

async fn clean() -> TempDir {
    let folder = TempDir::new().unwrap();
    let policy = folder.path().join("policy");
    fs::create_dir(&policy).unwrap();
    for (name, text) in default_package() {
        fs::write(policy.join(name), text).unwrap();
    }
    demo::fill(folder.path().join("store"), policy, 3_000).await.unwrap();
    folder
}

impl Copied {
    pub(super) async fn of_clean() -> Self {
        let clean = CLEAN.get_or_init(clean).await;
        let folder = TempDir::new().unwrap();
        copy(clean.path(), folder.path());
        let mut config = Config::load(Some(&folder.path().join("store/quorate.toml"))).unwrap();
        config.policy = Some(folder.path().join("policy"));
        Self { folder, config, now: system_clock()() }
    }

    pub(super) fn package(&self) -> Arc<Package> {
        package(self.config.policy.as_deref()).unwrap()
    }

    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.config.data.join(name)
    }

    /// Writes a file of the data folder, and the folders it is in.
    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.data(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Changes a text file.
    pub(super) fn edit(path: &Path, change: impl FnOnce(String) -> String) {
        fs::write(path, change(fs::read_to_string(path).unwrap())).unwrap();
    }

    /// Changes a file of the policy package.
    pub(super) fn policy(&self, file: &str, change: impl FnOnce(String) -> String) {
        Self::edit(&self.folder.path().join("policy").join(file), change);
    }

    pub(super) fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The largest data file of a table, below it.
    pub(super) fn file(&self, table: &str) -> String {
        let root = self.data(table);
        let mut files = Vec::new();
        for entry in fs::read_dir(&root).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("day=") {
                let inner = fs::read_dir(entry.path()).unwrap().map(Result::unwrap);
                let inner = inner.map(|file| (file.metadata().unwrap().len(), file.file_name()));
                files.extend(
                    inner.map(|(size, file)| (size, format!("{name}/{}", file.to_str().unwrap()))),
                );
            } else if name.ends_with(".parquet") {
                files.push((entry.metadata().unwrap().len(), name));
            }
        }
        files.into_iter().max().unwrap().1
    }

    /// Puts a changed data file in the place of one, as a commit of the table.
    pub(super) fn rewrite(&self, table: &str, change: &dyn Fn(RecordBatch) -> RecordBatch) {
        self.rewrite_with(table, EnabledStatistics::None, change);
    }

    pub(super) fn rewrite_with(
        &self,
        table: &str,
        statistics: EnabledStatistics,
        change: &dyn Fn(RecordBatch) -> RecordBatch,
    ) {
        let file = self.file(table);
        let path = self.data(table).join(&file);
        let content = bytes::Bytes::from(fs::read(&path).unwrap());
        let reader = ParquetRecordBatchReaderBuilder::try_new(content).unwrap().build().unwrap();
        let batches: Vec<_> = reader.map(|batch| change(batch.unwrap())).collect();
        let properties = WriterProperties::builder().set_statistics_enabled(statistics).build();
        let schema = batches[0].schema();
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties)).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        let bytes = writer.into_inner().unwrap();
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        self.replace(table, &file, &bytes, rows);
    }

    /// Commits `bytes` as a data file in the place of `file`.
    pub(super) fn replace(&self, table: &str, file: &str, bytes: &[u8], rows: usize) {
        let root = self.data(table);
        let (stem, _) = file.split_once("_x").unwrap_or((file.trim_end_matches(".parquet"), ""));
        let mut checked = storage::Checked::new(Vec::new());
        std::io::Write::write_all(&mut checked, bytes).unwrap();
        let (_, name) = checked.finish(&format!("{stem}9.parquet"));
        fs::write(root.join(&name), bytes).unwrap();
        fs::remove_file(root.join(file)).unwrap();
        self.exchange(table, file, &name, rows);
    }

    /// Moves the rows of a file to another day, without a change of the file.
    pub(super) fn move_to_day(&self, table: &str, day: &str) {
        let (file, root) = (self.file(table), self.data(table));
        let name = format!("day={day}/{}", file.split_once('/').unwrap().1);
        fs::create_dir_all(root.join(&name).parent().unwrap()).unwrap();
        fs::rename(root.join(&file), root.join(&name)).unwrap();
        self.exchange(table, &file, &name, 1);
    }

    fn exchange(&self, table: &str, file: &str, name: &str, rows: usize) {
        let partition = |name: &str| {
            let day = name.strip_prefix("day=").and_then(|name| name.split('/').next());
            day.map_or(json!({}), |day| json!({ "day": day }))
        };
        let size = fs::metadata(self.data(table).join(name)).unwrap().len();
        let stats = json!({ "numRecords": rows }).to_string();
        let now = self.now.0;
        self.commit(
            table,
            &[
                json!({ "remove": { "path": file, "dataChange": true, "deletionTimestamp": now,
                    "partitionValues": partition(file) } }),
                json!({ "add": { "path": name, "partitionValues": partition(name), "size": size,
                    "modificationTime": now, "dataChange": true, "stats": stats } }),
            ],
        );
    }

    /// Appends an entry to a table's log.
    pub(super) fn commit(&self, table: &str, actions: &[serde_json::Value]) {
        let log = self.data(table).join("_delta_log");
        let number = |entry: fs::DirEntry| {
            entry.file_name().to_str().unwrap().strip_suffix(".json")?.parse::<u64>().ok()
        };
        let last = fs::read_dir(&log).unwrap().filter_map(|entry| number(entry.unwrap())).max();
        let lines: Vec<String> = actions.iter().map(ToString::to_string).collect();
        let entry = log.join(format!("{:020}.json", last.unwrap() + 1));
        fs::write(entry, lines.join("\n") + "\n").unwrap();
    }
}

/// The same rows with another column.
pub(super) fn with(batch: &RecordBatch, column: &str, array: ArrayRef) -> RecordBatch {
    let index = batch.schema().index_of(column).unwrap();
    let mut columns = batch.columns().to_vec();
    columns[index] = array;
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
            fs::set_permissions(&target, entry.metadata().unwrap().permissions()).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
