//! A Delta table as the sink uses it: created with no column statistics, changed only by commits of its own making.

use std::collections::{HashMap, HashSet};
use std::io::Seek;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType as Arrow, Field, Schema, SchemaRef, TimeUnit};
use deltalake::kernel::transaction::{
    CommitBuilder, CommitConflictError, CommitProperties, TransactionError,
};
use deltalake::kernel::{Action, Add, DataType, PrimitiveType, StructField, Transaction};
use deltalake::logstore::object_store::prefix::PrefixStore;
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaTableBuilder, DeltaTableError};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use schemas::columns;
use schemas::time::Millis;
use serde_json::Value;
use storage::Root;

use crate::error::SinkError;
use crate::files::{self, DataFile, Label, day_text};
use crate::manifest::Manifest;
use crate::shared::{Checkpoint, Positions};

/// Under this name a manifest lies in `commitInfo`.
const MANIFEST: &str = "quorate";
/// Log files older than any that could be made: all that a checkpoint replaces may go at once.
const ANY_AGE: i64 = 253_402_300_799_000;

/// How often a commit is tried again that others were quicker with.
const ATTEMPTS: usize = 20;

/// Settings that keep the table small, private and widely readable (reader 1, writer 2).
///
/// No column is indexed, by us or by another program that writes to the table; files and log entries that are
/// replaced may go at once, since only this service reads.
const SETTINGS: [(&str, &str); 5] = [
    ("delta.dataSkippingNumIndexedCols", "0"),
    ("delta.logRetentionDuration", "interval 0 days"),
    ("delta.deletedFileRetentionDuration", "interval 0 days"),
    ("delta.enableExpiredLogCleanup", "false"),
    ("delta.checkpointInterval", "100"),
];

/// Where tables are, and files on their way.
#[derive(Clone, Copy)]
pub(crate) struct Home<'a> {
    pub(crate) root: &'a Root,
    pub(crate) staging: &'a Path,
}

/// One table, at the version that this process last saw or made.
pub(crate) struct Table {
    name: Arc<str>,
    root: Root,
    staging: PathBuf,
    log: LogStoreRef,
    state: DeltaTableState,
    /// Whether other processes may commit at the same time.
    shared: bool,
}

/// A data file of the table's version.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) path: String,
    pub(crate) day: Option<String>,
    pub(crate) rows: u64,
    pub(crate) committed: Millis,
    /// None if another program wrote the file.
    pub(crate) label: Option<Label>,
}

impl Stored {
    /// The day of its rows, counted from 1970; none if the path or another program says no day.
    pub(crate) fn day_number(&self) -> Option<i32> {
        Some(Millis::parse(&format!("{}T00:00:00Z", self.day.as_deref()?))?.day())
    }
}

/// What a commit changes.
#[derive(Default)]
pub(crate) struct Change<'a> {
    pub(crate) add: &'a [DataFile],
    pub(crate) remove: &'a [Stored],
    /// Application and next position.
    pub(crate) positions: Vec<(String, u64)>,
    pub(crate) manifest: Option<&'a Manifest>,
    /// Whether rows are only arranged anew, none added or removed.
    pub(crate) rearranged: bool,
    /// The commit's time: truncated by the caller to what may be known.
    pub(crate) time: Millis,
}

impl Table {
    /// Opens the table below the root, or creates it there with the columns of `schema`. Columns that the table lacks
    /// are added. Several processes may do so at once.
    pub(crate) async fn open(
        home: Home<'_>,
        name: &str,
        schema: &Schema,
        settings: &[(&str, &str)],
    ) -> Result<Self, SinkError> {
        let mut table = match Self::existing(home, name).await? {
            Some(table) => table,
            None => match Self::create(home, name, schema, settings).await {
                Ok(table) => table,
                // Somebody else was quicker.
                Err(error) => Self::existing(home, name).await?.ok_or(error)?,
            },
        };
        for _ in 0..ATTEMPTS {
            match table.widen(schema).await {
                // Somebody else changed the table; perhaps it has the columns by now.
                Err(SinkError::Table { source, .. }) if is_conflict(&source) => {
                    table.state = table.newest().await?;
                }
                widened => return widened.map(|()| table),
            }
        }
        Err(SinkError::Busy { table: name.to_owned() })
    }

    /// Opens the table if there is one.
    pub(crate) async fn existing(home: Home<'_>, name: &str) -> Result<Option<Self>, SinkError> {
        let root = home.root.join(name);
        if root.as_folder().is_some_and(|dir| !dir.join("_delta_log").exists()) {
            return Ok(None);
        }
        let log = log_store(&root, name)?;
        if !log.is_delta_table_location().await.map_err(SinkError::table(name))? {
            return Ok(None);
        }
        let state =
            DeltaTableState::try_new(log.as_ref(), None).await.map_err(SinkError::table(name))?;
        let (name, staging) = (name.into(), home.staging.to_owned());
        Ok(Some(Self { name, root, staging, log, state, shared: false }))
    }

    async fn create(
        home: Home<'_>,
        name: &str,
        schema: &Schema,
        settings: &[(&str, &str)],
    ) -> Result<Self, SinkError> {
        let root = home.root.join(name);
        if let Some(dir) = root.as_folder() {
            std::fs::create_dir_all(dir).map_err(SinkError::io("create", dir))?;
        }
        let log = log_store(&root, name)?;
        let partition = schema.column_with_name(columns::DAY).map(|_| columns::DAY);
        let settings = SETTINGS.iter().chain(settings);
        let created = deltalake::operations::create::CreateBuilder::new()
            .with_log_store(Arc::clone(&log))
            .with_columns(delta_fields(name, schema)?)
            .with_partition_columns(partition)
            .with_configuration(settings.map(|(key, value)| (*key, Some(*value))))
            .with_raise_if_key_not_exists(false)
            .with_save_mode(SaveMode::ErrorIfExists)
            .await
            .map_err(SinkError::table(name))?;
        let state = created.snapshot().map_err(SinkError::table(name))?.clone();
        let (name, staging) = (name.into(), home.staging.to_owned());
        let table = Self { name, root, staging, log, state, shared: false };
        table.sync()?;
        Ok(table)
    }

    /// Adds the columns of `schema` that the table does not have; none is ever changed or removed.
    async fn widen(&mut self, schema: &Schema) -> Result<(), SinkError> {
        let known = self.schema()?;
        let mut missing = Vec::new();
        for field in schema.fields() {
            match known.field_with_name(field.name()) {
                Ok(found) if found.data_type() == field.data_type() => {}
                Ok(found) => {
                    return Err(SinkError::Column {
                        table: self.name.to_string(),
                        column: field.name().clone(),
                        found: found.data_type().to_string(),
                        declared: field.data_type().to_string(),
                    });
                }
                Err(_) => missing.push(field.as_ref().clone().with_nullable(true)),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let fields = delta_fields(&self.name, &Schema::new(missing))?;
        let table = deltalake::DeltaTable::new(Arc::clone(&self.log))
            .add_columns()
            .with_fields(fields)
            .with_commit_properties(properties())
            .await
            .map_err(SinkError::table(&self.name))?;
        self.state = table.snapshot().map_err(SinkError::table(&self.name))?.clone();
        self.sync()
    }

    /// From now on others may commit at the same time: what they do is no reason to refuse a commit, unless they named
    /// an application that the commit names.
    pub(crate) fn share(&mut self) {
        self.shared = true;
    }

    /// The newest version there is.
    pub(crate) async fn newest(&self) -> Result<DeltaTableState, SinkError> {
        let mut state = self.state.clone();
        state.update(self.log.as_ref(), None).await.map_err(SinkError::table(&self.name))?;
        Ok(state)
    }

    /// Goes on from that version. What others committed up to it is no conflict from here on.
    pub(crate) fn go_to(&mut self, version: DeltaTableState) {
        self.state = version;
    }

    /// Below the root: `events/web`.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where its files are written before they are published.
    pub(crate) fn staging(&self) -> &Path {
        &self.staging
    }

    /// A file of it, for errors.
    fn place(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("{}/{path}", self.root))
    }

    /// Opens a data file; `columns` limits what is read, all without it. A file that changed since it was written is
    /// refused.
    pub(crate) fn read(
        &self,
        path: &str,
        columns: Option<&[&str]>,
    ) -> Result<ParquetRecordBatchReader, SinkError> {
        let failed = || SinkError::io("read", self.place(path));
        let mut file = self.root.open(path, &self.staging).map_err(failed())?;
        if !storage::is_whole_file(path, &mut file).map_err(failed())? {
            return Err(SinkError::Changed { path: self.place(path) });
        }
        file.rewind().map_err(failed())?;
        files::read(&self.name, file, columns)
    }

    pub(crate) fn version(&self) -> u64 {
        self.state.version()
    }

    /// Tells this table from one that was deleted and made again.
    pub(crate) fn id(&self) -> String {
        self.state.metadata().id().to_owned()
    }

    /// A setting that was given when the table was created.
    pub(crate) fn setting(&self, key: &str) -> Option<&str> {
        self.state.metadata().configuration().get(key).map(String::as_str)
    }

    /// Changes settings.
    pub(crate) async fn set(&mut self, settings: &[(&str, &str)]) -> Result<(), SinkError> {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let settings = settings.collect::<HashMap<_, _>>();
        let mut attempts = 0;
        let table = loop {
            let done = deltalake::DeltaTable::new(Arc::clone(&self.log))
                .set_tbl_properties()
                .with_properties(settings.clone())
                .with_raise_if_not_exists(false)
                .with_commit_properties(properties())
                .await;
            attempts += 1;
            match done {
                Err(error) if is_conflict(&error) && attempts < ATTEMPTS => {}
                done => break done.map_err(SinkError::table(&self.name))?,
            }
        };
        self.state = table.snapshot().map_err(SinkError::table(&self.name))?.clone();
        self.sync()
    }

    /// Every column the table ever had, in its order.
    pub(crate) fn schema(&self) -> Result<SchemaRef, SinkError> {
        let schema = self.state.schema();
        let fields = schema.fields().map(|field| {
            let kind = arrow_type(field.data_type());
            let kind = kind.ok_or_else(|| SinkError::damaged(&self.name, "the schema"))?;
            Ok(Field::new(field.name(), kind, field.is_nullable()))
        });
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>, SinkError>>()?)))
    }

    /// Next position of an application, none if it never committed here. It may be asked right after the log was replaced by
    /// a checkpoint, of which this version does not know.
    pub(crate) async fn position(&self, application: &str) -> Result<Option<u64>, SinkError> {
        let mut known = Positions::default();
        known.read(self, &[application.to_owned()]).await?;
        Ok(known.get(application))
    }

    /// [`Table::position`] as the table format finds it: by the log as it was when this version was read.
    pub(crate) async fn logged_position(
        &self,
        application: &str,
    ) -> Result<Option<u64>, SinkError> {
        let version = self
            .state
            .transaction_version(self.log.as_ref(), application)
            .await
            .map_err(SinkError::table(&self.name))?;
        version
            .map(u64::try_from)
            .transpose()
            .map_err(|_| SinkError::damaged(&self.name, "a position"))
    }

    /// The files of this version.
    pub(crate) fn files(&self) -> Vec<Stored> {
        let files = self.state.log_data();
        let files = files.iter().map(|file| Stored {
            label: Label::parse(&file.path()),
            path: file.path().into_owned(),
            day: file.partition_values_map().remove(columns::DAY).flatten(),
            rows: file.num_records().unwrap_or(0) as u64,
            committed: Millis(file.modification_time()),
        });
        files.collect()
    }

    /// Commits a change as the next version.
    ///
    /// A writer that holds the same position and committed since refuses this one: [`SinkError::Fenced`]. Of a shared
    /// table any other commit of others is let pass: nobody but the maintainer, who is shut out by a position too, removes
    /// what this one removes.
    pub(crate) async fn commit(&mut self, change: Change<'_>) -> Result<(), SinkError> {
        self.publish(change.add)?;
        for _ in 0..ATTEMPTS {
            match self.try_commit(&change).await? {
                Ok(()) => return self.sync(),
                Err(error) if self.shared && is_conflict(&error) && !is_moved(&error) => {
                    self.advance(&change.positions).await?;
                }
                Err(error) => return Err(self.refused(error)),
            }
        }
        Err(SinkError::Busy { table: self.name.to_string() })
    }

    async fn try_commit(
        &mut self,
        change: &Change<'_>,
    ) -> Result<Result<(), DeltaTableError>, SinkError> {
        let operation = match (change.rearranged, change.remove.is_empty()) {
            (true, _) => DeltaOperation::Optimize { predicate: None, target_size: 0 },
            (false, false) => DeltaOperation::Delete { predicate: None },
            (false, true) => DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: None,
                predicate: None,
            },
        };
        let mut actions = self.removals(change.remove, !change.rearranged);
        for file in change.add {
            actions.push(Action::Add(add(file, change.time, !change.rearranged)));
        }
        let mut transactions = Vec::with_capacity(change.positions.len());
        for (application, next) in &change.positions {
            let next =
                i64::try_from(*next).map_err(|_| SinkError::damaged(&self.name, "a position"))?;
            transactions.push(Transaction::new(application.clone(), next));
        }
        let mut properties = properties().with_application_transactions(transactions);
        if let Some(manifest) = change.manifest {
            properties = properties.with_metadata([(MANIFEST.to_owned(), manifest.to_json())]);
        }
        let done = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(&self.state), Arc::clone(&self.log), operation)
            .await;
        Ok(done.map(|done| self.state = done.snapshot()))
    }

    /// Brings new files to where the commit will name them.
    pub(crate) fn publish(&self, files: &[DataFile]) -> Result<(), SinkError> {
        let named = files.iter().map(|file| (file.staged.as_path(), file.path.as_str()));
        let named = named.collect::<Vec<_>>();
        self.root.publish_all(&named).map_err(SinkError::io("write", self.place("")))?;
        let folders =
            named.iter().map(|(_, path)| path.rsplit_once('/').map_or("", |(day, _)| day));
        for folder in folders.chain([""]).collect::<HashSet<_>>() {
            self.root.sync_folder(folder).map_err(SinkError::io("write", self.place(folder)))?;
        }
        Ok(())
    }

    fn removals(&self, remove: &[Stored], data_change: bool) -> Vec<Action> {
        let paths = remove.iter().map(|file| file.path.as_str()).collect::<HashSet<_>>();
        let files = self.state.log_data();
        let gone = files.iter().filter(|file| paths.contains(file.path().as_ref()));
        gone.map(|file| Action::Remove(file.remove_action(data_change))).collect()
    }

    fn refused(&self, error: DeltaTableError) -> SinkError {
        // Without the entries that others wrote meanwhile nobody can tell whether they conflict.
        let cleaned = self.shared && matches!(error, DeltaTableError::InvalidVersion(_));
        match cleaned || is_conflict(&error) {
            true => SinkError::Fenced { table: self.name.to_string() },
            false => SinkError::table(&self.name)(error),
        }
    }

    /// Makes the newest log entry durable: the store that wrote it did not.
    fn sync(&self) -> Result<(), SinkError> {
        let entry = format!("_delta_log/{:020}.json", self.version());
        self.root.sync_file(&entry).map_err(SinkError::io("write", self.place(&entry)))
    }

    /// The log entry of a version, a value a line; none if it was cleaned away.
    pub(crate) async fn entry(&self, version: u64) -> Result<Option<Vec<Value>>, SinkError> {
        let bytes =
            self.log.read_commit_entry(version).await.map_err(SinkError::table(&self.name))?;
        let Some(bytes) = bytes else { return Ok(None) };
        // What the parser would quote stays here.
        let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>();
        let lines = lines.collect::<Result<Vec<_>, _>>();
        lines.map(Some).map_err(|_| SinkError::damaged(&self.name, "a log entry"))
    }

    /// The version of the newest checkpoint, and all positions in it; none if there is no such checkpoint, or it is not as
    /// this crate writes them.
    pub(crate) fn checkpointed(&self) -> Result<Option<Checkpoint>, SinkError> {
        let hint = "_delta_log/_last_checkpoint";
        if !self.root.exists(hint).map_err(SinkError::io("read", self.place(hint)))? {
            return Ok(None);
        }
        let found = self.root.read(hint).map_err(SinkError::io("read", self.place(hint)))?;
        let found = serde_json::from_slice::<Value>(&found).ok();
        let Some(version) = found.and_then(|found| found.get("version")?.as_u64()) else {
            return Ok(None);
        };
        let name = format!("_delta_log/{version:020}.checkpoint.parquet");
        if !self.root.exists(&name).map_err(SinkError::io("read", self.place(&name)))? {
            return Ok(None);
        }
        let file = self.root.open(&name, &self.staging);
        let file = file.map_err(SinkError::io("read", self.place(&name)))?;
        let positions = files::transactions(&self.name, file)?;
        Ok(positions.map(|positions| Checkpoint { version, positions }))
    }

    /// The manifest in a log entry.
    pub(crate) fn manifest(&self, entry: &[Value]) -> Result<Option<Manifest>, SinkError> {
        let manifest = entry.iter().find_map(|line| line.get("commitInfo")?.get(MANIFEST));
        let Some(manifest) = manifest else { return Ok(None) };
        let manifest = Manifest::from_json(manifest);
        manifest.map(Some).ok_or_else(|| SinkError::damaged(&self.name, "a manifest"))
    }

    /// Paths of the files whose rows came in with the versions after `after`, as far as they are still in the table;
    /// none if a log entry or a file of them is gone, so that the answer would not be whole.
    pub(crate) async fn added(&self, after: u64) -> Result<Option<Vec<Stored>>, SinkError> {
        let mut files = self
            .files()
            .into_iter()
            .map(|file| (file.path.clone(), file))
            .collect::<HashMap<_, _>>();
        let mut added = Vec::new();
        for version in after + 1..=self.version() {
            let Some(entry) = self.entry(version).await? else { return Ok(None) };
            for add in entry.iter().filter_map(|line| line.get("add")) {
                if add.get("dataChange").and_then(Value::as_bool) == Some(false) {
                    continue;
                }
                let path = add.get("path").and_then(Value::as_str).unwrap_or_default();
                match files.remove(path) {
                    Some(file) => added.push(file),
                    None => return Ok(None),
                }
            }
        }
        Ok(Some(added))
    }

    /// Number of log entries since the last checkpoint.
    pub(crate) fn entries(&self) -> Result<usize, SinkError> {
        Ok(self.log_entries()?.len())
    }

    /// Names of the log entries since the last checkpoint.
    fn log_entries(&self) -> Result<Vec<String>, SinkError> {
        let files = self.root.files("_delta_log");
        let files = files.map_err(SinkError::io("read", self.place("_delta_log")))?;
        let names = files.into_iter().map(|file| file.name);
        Ok(names.filter(|name| name.ends_with(".json")).collect())
    }

    /// Whether the log entries that are left tell of files that were removed.
    pub(crate) fn tells_removed(&self) -> Result<bool, SinkError> {
        for entry in self.log_entries()? {
            let bytes =
                self.root.read(&entry).map_err(SinkError::io("read", self.place(&entry)))?;
            let removes = |line: &[u8]| line.starts_with(b"{\"remove\"");
            if bytes.split(|&byte| byte == b'\n').any(removes) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Replaces the log by a checkpoint of this version, so that it no longer names files of the past or tells when
    /// each commit was made.
    ///
    /// Up to `version`, and as far as entries are older than `young`, if there is such a time.
    pub(crate) async fn checkpoint(
        &self,
        version: u64,
        young: Option<Millis>,
    ) -> Result<(), SinkError> {
        let mut table = deltalake::DeltaTable::new(Arc::clone(&self.log));
        table.load_version(version).await.map_err(SinkError::table(&self.name))?;
        deltalake::checkpoints::create_checkpoint(&table, None)
            .await
            .map_err(SinkError::table(&self.name))?;
        deltalake::checkpoints::cleanup_expired_logs_for(
            version,
            self.log.as_ref(),
            young.map_or(ANY_AGE, |young| young.0),
            None,
        )
        .await
        .map_err(SinkError::table(&self.name))?;
        Ok(())
    }

    /// Deletes every data file that this version does not name, and counts them: what commits removed, and what a crash
    /// left behind. With `since`, files that came up later and were never named stay: another writer may be about to.
    pub(crate) async fn sweep(&self, since: Option<Millis>) -> Result<u64, SinkError> {
        let kept = self.files().into_iter().map(|file| file.path).collect::<HashSet<_>>();
        let removed = match since {
            Some(_) => self.removed().await?,
            None => HashSet::new(),
        };
        let mut swept = 0;
        for found in self.root.files("").map_err(SinkError::io("read", self.place("")))? {
            let name = found.name;
            // What begins so is Delta's.
            let other = name.split('/').any(|part| part.starts_with('_'));
            let old = since.is_none_or(|since| found.modified_ms < since.0);
            let goes = !kept.contains(&name) && (old || removed.contains(&name));
            if !other && name.ends_with(".parquet") && goes {
                match self.root.delete(&name) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    deleted => {
                        deleted.map_err(SinkError::io("remove", self.place(&name)))?;
                        swept += 1;
                    }
                }
            }
        }
        if since.is_none() {
            self.root.remove_empty_folders("");
        }
        Ok(swept)
    }

    /// The files that the log's entries say are gone.
    async fn removed(&self) -> Result<HashSet<String>, SinkError> {
        let mut removed = HashSet::new();
        let mut version = Some(self.version());
        while let Some(at) = version {
            let Some(entry) = self.entry(at).await? else { break };
            let gone = entry.iter().filter_map(|line| line.get("remove")?.get("path")?.as_str());
            removed.extend(gone.map(str::to_owned));
            version = at.checked_sub(1);
        }
        Ok(removed)
    }
}

/// Whether others committed something that stands in the way.
fn is_conflict(error: &DeltaTableError) -> bool {
    if let DeltaTableError::Transaction { source: TransactionError::CommitConflict(conflict) } =
        error
    {
        return !matches!(conflict, CommitConflictError::CorruptedState { .. });
    }
    let overtaken = matches!(
        error,
        DeltaTableError::Transaction {
            source: TransactionError::MaxCommitAttempts(_)
                | TransactionError::VersionAlreadyExists(_)
        }
    );
    overtaken || matches!(error, DeltaTableError::VersionAlreadyExists(_))
}

/// Whether others moved a position that the commit moves.
fn is_moved(error: &DeltaTableError) -> bool {
    matches!(
        error,
        DeltaTableError::Transaction {
            source: TransactionError::CommitConflict(CommitConflictError::ConcurrentTransaction)
        }
    )
}

/// Commits leave old log entries to [`Table::checkpoint`], which knows that they are no longer needed.
fn properties() -> CommitProperties {
    CommitProperties::default().with_cleanup_expired_logs(Some(false))
}

fn add(file: &DataFile, time: Millis, data_change: bool) -> Add {
    let day = file.day.map(|day| (columns::DAY.to_owned(), Some(day_text(day))));
    Add {
        path: file.path.clone(),
        partition_values: day.into_iter().collect(),
        size: i64::try_from(file.bytes).unwrap_or(i64::MAX),
        modification_time: time.0,
        data_change,
        stats: Some(format!("{{\"numRecords\":{}}}", file.rows)),
        tags: None,
        deletion_vector: None,
        base_row_id: None,
        default_row_commit_version: None,
        clustering_provider: None,
    }
}

/// The log of the table at `root`. Of two writers of one entry an object store refuses the second by itself
/// (`If-None-Match`), as a file system does: no further lock is needed.
fn log_store(root: &Root, name: &str) -> Result<LogStoreRef, SinkError> {
    let failed = || SinkError::io("find", root.to_string());
    let url = root.url().map_err(failed())?;
    if root.as_folder().is_some() {
        let builder = DeltaTableBuilder::from_url(url).map_err(SinkError::table(name))?;
        return builder.build_storage().map_err(SinkError::table(name));
    }
    let own = PrefixStore::new(root.store(), root.prefix().map_err(failed())?);
    Ok(default_logstore(Arc::new(own), root.store(), &url, &StorageConfig::default()))
}

fn delta_fields(table: &str, schema: &Schema) -> Result<Vec<StructField>, SinkError> {
    let fields = schema.fields().iter().map(|field| {
        let kind = delta_type(field.data_type());
        let kind = kind.ok_or_else(|| SinkError::damaged(table, "the declared schema"))?;
        Ok(StructField::new(field.name(), DataType::Primitive(kind), field.is_nullable()))
    });
    fields.collect()
}

/// The types at rest, and no others.
const TYPES: [(PrimitiveType, Arrow); 7] = [
    (PrimitiveType::String, Arrow::Utf8),
    (PrimitiveType::Long, Arrow::Int64),
    (PrimitiveType::Integer, Arrow::Int32),
    (PrimitiveType::Double, Arrow::Float64),
    (PrimitiveType::Boolean, Arrow::Boolean),
    (PrimitiveType::Binary, Arrow::Binary),
    (PrimitiveType::Date, Arrow::Date32),
];

fn delta_type(kind: &Arrow) -> Option<PrimitiveType> {
    if matches!(kind, Arrow::Timestamp(TimeUnit::Microsecond, Some(_))) {
        return Some(PrimitiveType::Timestamp);
    }
    TYPES.iter().find(|(_, arrow)| arrow == kind).map(|(delta, _)| delta.clone())
}

fn arrow_type(kind: &DataType) -> Option<Arrow> {
    let DataType::Primitive(kind) = kind else { return None };
    if *kind == PrimitiveType::Timestamp {
        return Some(columns::timestamp());
    }
    TYPES.iter().find(|(delta, _)| delta == kind).map(|(_, arrow)| arrow.clone())
}
