//! Delta tables in a folder each: opening, making, appending.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::Expr;
use deltalake::DeltaTable;
use deltalake::DeltaTableError;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitConflictError, CommitProperties, TransactionError};
use deltalake::kernel::{StructType, Transaction};
use deltalake::operations::write::{SchemaMode, WriteBuilder};
use deltalake::protocol::SaveMode;
use url::Url;

use crate::Error;

/// The table in the folder `name` of `root`; none where no one has made it.
///
/// # Errors
///
/// [`Error::Store`], or [`Error::Folder`] for a path that cannot be made absolute.
pub async fn open(root: &Path, name: &str) -> Result<Option<DeltaTable>, Error> {
    let folder = root.join(name);
    if !folder.join("_delta_log").is_dir() {
        return Ok(None);
    }
    let table = DeltaTable::try_from_url(address(&folder)?).await.map_err(Error::store(name))?;
    // A log folder without a first version is a table that somebody is making.
    Ok(table.version().is_some().then_some(table))
}

/// Number of the last commit to the table in the folder `name` of `root`, by the names in its log; none where there is no
/// commit.
pub(crate) fn last_commit(root: &Path, name: &str) -> Result<Option<u64>, Error> {
    let log = root.join(name).join("_delta_log");
    let entries = match std::fs::read_dir(&log) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(|source| failed(&log, source))?,
    };
    let mut last = None;
    for entry in entries {
        let file = entry.map_err(|source| failed(&log, source))?.file_name();
        let number = file.to_str().and_then(|name| name.strip_suffix(".json"));
        last = last.max(number.and_then(|number| number.parse().ok()));
    }
    Ok(last)
}

/// The rows of an open table, for a plan.
///
/// # Errors
///
/// [`Error::Store`].
pub async fn rows(table: &DeltaTable, name: &str) -> Result<Arc<dyn TableProvider>, Error> {
    table.table_provider().await.map_err(|error| Error::store(name)(error.into()))
}

/// The same as [`open`], made with `schema` where there is none.
pub(crate) async fn open_or_create(
    root: &Path,
    name: &str,
    schema: &Schema,
) -> Result<DeltaTable, Error> {
    if let Some(table) = open(root, name).await? {
        return Ok(table);
    }
    let folder = root.join(name);
    std::fs::create_dir_all(&folder).map_err(|source| failed(&folder, source))?;
    let store = Error::store(name);
    let columns: StructType =
        schema.try_into_kernel().map_err(|error: arrow::error::ArrowError| store(error.into()))?;
    DeltaTable::try_from_url(address(&folder)?)
        .await
        .map_err(&store)?
        .create()
        .with_table_name(name)
        .with_columns(columns.fields().cloned())
        .with_save_mode(SaveMode::ErrorIfExists)
        .await
        .map_err(&store)
}

/// Appends `batch` in one commit, which takes the next number of the transaction `releaser`: of two processes that
/// read the same number, the second is refused. Columns that the table lacks are added to it, nullable.
///
/// # Errors
///
/// [`Error::Fenced`], or [`Error::Store`].
pub(crate) async fn append(
    table: &DeltaTable,
    name: &str,
    batch: RecordBatch,
) -> Result<DeltaTable, Error> {
    let write = table.clone().write([batch.clone()]).with_save_mode(SaveMode::Append);
    commit(table, name, &batch, write).await
}

/// Puts `batch`, whose rows are all among them, in place of the rows of which `gone` holds; otherwise as [`append`].
///
/// # Errors
///
/// [`Error::Fenced`], or [`Error::Store`].
pub(crate) async fn replace(
    table: &DeltaTable,
    name: &str,
    batch: RecordBatch,
    gone: Expr,
) -> Result<DeltaTable, Error> {
    let write = table.clone().write([batch.clone()]).with_save_mode(SaveMode::Overwrite);
    commit(table, name, &batch, write.with_replace_where(gone)).await
}

async fn commit(
    table: &DeltaTable,
    name: &str,
    batch: &RecordBatch,
    mut write: WriteBuilder,
) -> Result<DeltaTable, Error> {
    const RELEASER: &str = "releaser";
    let store = Error::store(name);
    let snapshot = table.snapshot().map_err(&store)?;
    let last = snapshot.transaction_version(table.log_store().as_ref(), RELEASER).await;
    let next = last.map_err(&store)?.unwrap_or(0) + 1;
    let known: SchemaRef = snapshot.snapshot().arrow_schema();
    let grows = batch.schema().fields().iter().any(|column| known.index_of(column.name()).is_err());
    let commit =
        CommitProperties::default().with_application_transaction(Transaction::new(RELEASER, next));
    write = write.with_commit_properties(commit);
    if grows {
        write = write.with_schema_mode(SchemaMode::Merge);
    }
    write.await.map_err(|error| {
        let lost = matches!(
            &error,
            DeltaTableError::Transaction {
                source: TransactionError::CommitConflict(
                    CommitConflictError::ConcurrentTransaction
                ),
            }
        );
        if lost { Error::Fenced { table: name.to_owned() } } else { store(error) }
    })
}

fn address(folder: &Path) -> Result<Url, Error> {
    let absolute = std::path::absolute(folder).map_err(|source| failed(folder, source))?;
    Ok(Url::from_directory_path(absolute).expect("an absolute path has a URL"))
}

fn failed(folder: &Path, source: std::io::Error) -> Error {
    Error::Folder { folder: folder.display().to_string(), source }
}
