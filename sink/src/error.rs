//! Why rows were not stored. Errors name tables, columns, sizes and positions; never a value of a row.

use std::path::PathBuf;

use deltalake::DeltaTableError;

/// Why the sink did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// A Delta table could not be read or written.
    #[error("table {table} could not be read or written")]
    Table {
        /// The table, below the root.
        table: String,
        /// What the table format reported.
        source: Box<DeltaTableError>,
    },
    /// Another writer committed to the table since this one opened it. This one has to open it again.
    #[error(
        "table {table} has another writer of the same partitions, or another maintainer: open the sink again, with \
         the partitions that are still its own"
    )]
    Fenced {
        /// The table, below the root.
        table: String,
    },
    /// Others committed to the table so often that this writer never had its turn. It may be opened again.
    #[error(
        "table {table} was busy at every attempt: fewer writers or longer between commits would help"
    )]
    Busy {
        /// The table, below the root.
        table: String,
    },
    /// The partition is not among those that the sink was opened with.
    #[error("partition {partition} is not this writer's")]
    NotOwn {
        /// The partition.
        partition: u16,
    },
    /// Tables are looked after by one of their writers, and this one was not opened for it.
    #[error(
        "this writer does not maintain the tables: ask the one that owns the lowest partition of the log"
    )]
    NotMaintainer,
    /// The partitions of a source hold positions of another topic, or of one that was deleted and made again.
    #[error(
        "partitions from {first} on hold positions of another stream than {given}: its records would be taken for \
         those; give the source a new name"
    )]
    AnotherStream {
        /// Number of the first partition.
        first: u16,
        /// The stream that was opened.
        given: String,
    },
    /// A commit would move a table back behind what it already holds.
    #[error("table {table} is at position {stored} of partition {partition}, not at {given}")]
    Backwards {
        /// The table, below the root.
        table: String,
        /// The partition.
        partition: u16,
        /// Next position according to the table.
        stored: u64,
        /// Next position as given.
        given: u64,
    },
    /// The tables were filled from another log, and hold positions of it.
    #[error("the tables hold positions of log {known}, not of log {given}")]
    AnotherLog {
        /// The log that the tables know.
        known: String,
        /// The log that was opened.
        given: String,
    },
    /// The tables hold more of a partition than the log has: the log was cut, restored, or made anew.
    #[error("the tables hold partition {partition} up to {position}, the log ends at {end}")]
    BeyondLog {
        /// The partition.
        partition: u16,
        /// Next position according to the tables.
        position: u64,
        /// End of the log.
        end: u64,
    },
    /// A column exists with another type. Columns can be added; their types are for life.
    #[error("column {column} of table {table} is {found}, the policy now declares {declared}")]
    Column {
        /// The table, below the root.
        table: String,
        /// The column.
        column: String,
        /// Type in the table.
        found: String,
        /// Type in the package.
        declared: String,
    },
    /// The family's key epochs had another length when its rows were stored: their ends could not be told.
    #[error(
        "table {table} holds rows by epochs of {found} days, the policy now declares {declared}"
    )]
    Epoch {
        /// The table, below the root.
        table: String,
        /// Days in the table.
        found: u32,
        /// Days in the package.
        declared: u32,
    },
    /// A commit's counts are needed to complete the ledger, and its log entry is gone.
    #[error(
        "version {version} of table {table} is not in its log, so its outcomes cannot be counted"
    )]
    ManifestLost {
        /// The table, below the root.
        table: String,
        /// The version.
        version: u64,
    },
    /// Something that the sink wrote is not as it was written.
    #[error("{what} of table {table} is damaged")]
    Damaged {
        /// The table, below the root.
        table: String,
        /// What cannot be read.
        what: &'static str,
    },
    /// A data file is not as it was written: a bit changed, or a part is gone.
    #[error("the data file {path} is not as it was written: put it back from a copy")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Tables beside those of an object store would be out of reach of who maintains those, on whatever machine.
    #[error("tables beside others need those in a folder; these are in an object store")]
    Elsewhere,
    /// A data file could not be encoded or decoded.
    #[error("a data file of table {table} could not be read or written")]
    Parquet {
        /// The table, below the root.
        table: String,
        /// What the format reported.
        source: parquet::errors::ParquetError,
    },
    /// Columns did not fit together.
    #[error("rows of table {table} could not be arranged")]
    Arrow {
        /// The table, below the root.
        table: String,
        /// What the column library reported.
        source: arrow::error::ArrowError,
    },
    /// A file or folder could not be used.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was tried, in the infinitive.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The dedupe index could not be used; deleting its folder makes the sink build it anew.
    #[error("the dedupe index could not be used")]
    Index(#[source] Box<fjall::Error>),
    /// The system has no random numbers to give.
    #[error("the system gives no random numbers")]
    Random,
    /// The package has no such family.
    #[error("the package has no family number {0}")]
    NoFamily(usize),
    /// More rows were chosen than may be read at once.
    #[error("there are more than {rows_max} such rows")]
    TooMany {
        /// How many may be.
        rows_max: u64,
    },
    /// Rows wait for a commit: commit them first, so that the table holds all there is.
    #[error("rows wait for a commit, so stored ones cannot be rewritten")]
    Uncommitted,
    /// An earlier call failed half-way; what was written since the last commit is void. Open the sink again.
    #[error("an earlier write failed: open the sink again")]
    Failed,
}

impl SinkError {
    /// For `map_err` of operations on a Delta table.
    pub(crate) fn table(table: &str) -> impl FnOnce(DeltaTableError) -> Self {
        move |source| Self::Table { table: table.to_owned(), source: Box::new(source) }
    }

    /// For `map_err` of the file format.
    pub(crate) fn parquet(table: &str) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        move |source| Self::Parquet { table: table.to_owned(), source }
    }

    /// For `map_err` of column operations.
    pub(crate) fn arrow(table: &str) -> impl FnOnce(arrow::error::ArrowError) -> Self {
        move |source| Self::Arrow { table: table.to_owned(), source }
    }

    /// For `map_err` of file operations.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, path: path.into(), source }
    }

    /// Whether the dedupe index is damaged: without its folder, the sink builds it anew.
    #[must_use]
    pub fn is_damaged_index(&self) -> bool {
        matches!(self, Self::Index(error) if storage::is_damage(error))
    }

    pub(crate) fn damaged(table: &str, what: &'static str) -> Self {
        Self::Damaged { table: table.to_owned(), what }
    }
}

impl From<fjall::Error> for SinkError {
    fn from(source: fjall::Error) -> Self {
        Self::Index(Box::new(source))
    }
}
