//! Tables as they are at rest: the files that a Delta log names, decoded, and what is beside them.

use std::collections::BTreeMap;
use std::io::Seek;
use std::path::Path;

use anyhow::Context;
use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use schemas::columns;
use storage::Root;

use super::finding::{Code, Finding};

/// Rows decoded at once.
const BATCH_ROWS: usize = 8_192;

/// A table, at the version that was read.
pub(super) struct Table {
    /// Below its root: `events/web`.
    pub(super) name: String,
    root: Root,
    /// The files that this version names.
    pub(super) files: Vec<File>,
    /// Names of its columns.
    pub(super) columns: Vec<String>,
    /// Settings that were given when it was made.
    pub(super) settings: BTreeMap<String, String>,
}

/// A data file.
pub(super) struct File {
    /// Below the table.
    pub(super) path: String,
    /// Its partition, if the table has any: `2026-11-22`.
    pub(super) day: Option<String>,
    /// Rows, by the log.
    pub(super) rows: u64,
}

/// What a file is when it is opened.
pub(super) struct Opened {
    /// Whether its content is the one that its name tells of.
    pub(super) whole: bool,
    /// Whether Parquet's own statistics tell of values.
    pub(super) statistics: bool,
}

impl Table {
    /// Reads the newest version of a table below `root`; none if there is none.
    pub(super) async fn open(
        root: &Root,
        folder: &str,
        name: &str,
    ) -> anyhow::Result<Option<Self>> {
        let below = root.join(folder);
        let full = format!("{folder}/{name}");
        let opened = disclosure::table::open(&below, name).await;
        let Some(table) = opened.with_context(|| format!("{full} cannot be read"))? else {
            return Ok(None);
        };
        let state = table.snapshot()?;
        let files = state.log_data();
        let files = files.iter().map(|file| File {
            day: file.partition_values_map().remove(columns::DAY).flatten(),
            rows: file.num_records().unwrap_or(0) as u64,
            path: file.path().into_owned(),
        });
        let files = files.collect();
        let columns = state.schema().fields().map(|field| field.name().clone()).collect();
        let settings = state.metadata().configuration();
        let settings = settings.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Some(Self { name: full, root: below.join(name), files, columns, settings }))
    }

    /// The oldest and the newest day of its rows.
    pub(super) fn days(&self) -> Option<(&str, &str)> {
        let days = || self.files.iter().filter_map(|file| file.day.as_deref());
        Some((days().min()?, days().max()?))
    }

    /// Gives every batch of rows of a file to `each`. The partition is no column of it.
    pub(super) fn read(
        &self,
        file: &File,
        staging: &Path,
        each: &mut dyn FnMut(&RecordBatch) -> anyhow::Result<()>,
    ) -> anyhow::Result<Opened> {
        let mut content = self.root.open(&file.path, staging)?;
        let whole = storage::is_whole_file(&file.path, &mut content)?;
        content.rewind()?;
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(content, options)?;
        let groups = reader.metadata().row_groups().iter();
        let statistics =
            groups.flat_map(|group| group.columns()).any(|column| column.statistics().is_some());
        for batch in reader.with_batch_size(BATCH_ROWS).build()? {
            each(&batch?)?;
        }
        Ok(Opened { whole, statistics })
    }

    /// Names of its files, below the root that it is below.
    pub(super) fn named(&self) -> impl Iterator<Item = String> {
        self.files.iter().map(|file| self.place(file))
    }

    /// The place of a file, for findings.
    pub(super) fn place(&self, file: &File) -> String {
        format!("{}/{}", self.name, file.path)
    }

    /// Reads all files, tells of those that changed or are gone, and hands on what is in them.
    pub(super) fn each_file(
        &self,
        staging: &Path,
        findings: &mut Vec<Finding>,
        each: &mut dyn FnMut(&File, &RecordBatch) -> anyhow::Result<()>,
    ) {
        for file in &self.files {
            let place = self.place(file);
            match self.read(file, staging, &mut |batch| each(file, batch)) {
                Ok(opened) => self.judge(&opened, place, findings),
                Err(error) if is_gone(&error) => {
                    let what = "a file that the table's log names is gone";
                    findings.push(Finding::new(Code::Changed, what, place));
                }
                Err(error) => {
                    // The reader's own words may quote what it read.
                    tracing::debug!("{place}: {error:#}");
                    let whole = storage::wait({
                        let (root, path) = (self.root.clone(), file.path.clone());
                        async move { root.is_whole(&path).await }
                    });
                    let whole = whole.is_ok_and(|whole| whole.is_ok_and(|whole| whole));
                    let (code, what) = match whole {
                        true => (Code::Unreadable, "the file cannot be decoded"),
                        false => (Code::Changed, "the file changed since it was written"),
                    };
                    findings.push(Finding::new(code, what, place));
                }
            }
        }
    }

    fn judge(&self, opened: &Opened, place: String, findings: &mut Vec<Finding>) {
        if !opened.whole {
            let what = "the file changed since it was written";
            findings.push(Finding::new(Code::Changed, what, place));
        } else if opened.statistics && self.name.starts_with("events/") {
            let what = "Parquet's column statistics hold values of single rows";
            findings.push(Finding::new(Code::ColumnStatistics, what, place));
        }
    }
}

/// Whether a file is not there any more.
pub(super) fn is_gone(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}
