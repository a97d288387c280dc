//! Why a statistic was not released.

use datafusion::error::DataFusionError;
use deltalake::DeltaTableError;

/// Why a statistic was not released. Nothing here quotes a row: not even an engine's message, which may.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The package declares what gate 2 does not compute; correct the package.
    #[error("statistic {statistic}: {what}")]
    Declaration {
        /// Its name.
        statistic: String,
        /// What is wrong, in declared names.
        what: String,
    },
    /// Another process released the same statistic meanwhile; what it wrote stands. Nothing to do.
    #[error("{table}: another process is releasing, and was first")]
    Fenced {
        /// The table that it wrote to.
        table: String,
    },
    /// The computation needs more memory than it may use; allow it more, or a folder to spill to.
    #[error("statistic {statistic}: more than {memory_bytes} bytes of memory are needed to {step}")]
    Memory {
        /// Its name.
        statistic: String,
        /// What was being done.
        step: &'static str,
        /// What it may use.
        memory_bytes: usize,
    },
    /// The engine failed on rows; trying again may help.
    #[error("statistic {statistic}: could not {step}: {kind}")]
    Engine {
        /// Its name.
        statistic: String,
        /// What was being done.
        step: &'static str,
        /// The kind of failure, without the engine's words.
        kind: &'static str,
    },
    /// A table could not be read or written; trying again may help.
    #[error("cannot use the table {table}")]
    Store {
        /// The table.
        table: String,
        /// What the store said: paths, versions and columns, no rows.
        source: Box<DeltaTableError>,
    },
    /// A data file of events is not as it was written: what it is part of is not released.
    #[error("the data file {} is not as it was written: put it back from a copy", path.display())]
    Changed {
        /// The file.
        path: std::path::PathBuf,
    },
    /// A folder could not be made or named.
    #[error("cannot use the folder {folder}")]
    Folder {
        /// The folder.
        folder: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A table of ours holds something that this build did not write.
    #[error("table {table}: column {column} is not as this build writes it")]
    Column {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

impl Error {
    pub(crate) fn store(table: &str) -> impl Fn(DeltaTableError) -> Self + '_ {
        move |source| Self::Store { table: table.to_owned(), source: Box::new(source) }
    }
}

/// What was being done, for which statistic, with how much memory: makes an [`Error`] of an engine's failure.
#[derive(Clone, Copy)]
pub(crate) struct Doing<'a> {
    pub(crate) statistic: &'a str,
    pub(crate) step: &'static str,
    pub(crate) memory_bytes: usize,
}

impl Doing<'_> {
    /// Drops the message, which may quote values, and keeps the kind.
    pub(crate) fn failed(self, error: &DataFusionError) -> Error {
        let Self { statistic, step, memory_bytes } = self;
        let statistic = statistic.to_owned();
        match kind(error) {
            "too little memory" => Error::Memory { statistic, step, memory_bytes },
            kind => Error::Engine { statistic, step, kind },
        }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the engine adds kinds; all others are its own faults"
)]
fn kind(error: &DataFusionError) -> &'static str {
    match error {
        DataFusionError::ResourcesExhausted(_) => "too little memory",
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => "the store did not answer",
        DataFusionError::ParquetError(_) => "a file is not readable",
        DataFusionError::ArrowError(..) => "a column is not of its type",
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => kind(inner),
        DataFusionError::Shared(inner) => kind(inner),
        _ => "the plan is not executable",
    }
}
