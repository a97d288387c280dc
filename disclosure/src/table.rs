//! Delta tables, each below a root: opening, making, appending.

use std::io::ErrorKind;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use deltalake::DeltaTable;
use deltalake::DeltaTableBuilder;
use deltalake::DeltaTableError;
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::transaction::{CommitConflictError, CommitProperties, TransactionError};
use deltalake::kernel::{StructType, Transaction};
use deltalake::logstore::object_store::prefix::PrefixStore;
use deltalake::logstore::{LogStoreRef, StorageConfig, default_logstore};
use deltalake::operations::write::{SchemaMode, WriteBuilder};
use deltalake::protocol::SaveMode;
use schemas::columns::timestamp;
use schemas::time::Millis;
use storage::Root;

use crate::Error;

/// Name of a table's log below the table.
const LOG: &str = "_delta_log";

/// The table called `name` below `root`; none where no one has made it.
///
/// # Errors
///
/// [`Error::Store`], or [`Error::Folder`] for a path that cannot be made absolute.
pub async fn open(root: impl Into<Root>, name: &str) -> Result<Option<DeltaTable>, Error> {
    let root = root.into().join(name);
    if root.as_folder().is_some_and(|folder| !folder.join(LOG).is_dir()) {
        return Ok(None);
    }
    let mut table = DeltaTable::new(log_store(&root, name)?);
    // A log folder without a first version is a table that somebody is making.
    if !table.log_store().is_delta_table_location().await.map_err(Error::store(name))? {
        return Ok(None);
    }
    table.load().await.map_err(Error::store(name))?;
    Ok(Some(table))
}

/// The log of the table at `root`: of two writers of one entry its store refuses the second.
fn log_store(root: &Root, name: &str) -> Result<LogStoreRef, Error> {
    let failed = |source| failed(root, source);
    let url = root.url().map_err(failed)?;
    if root.as_folder().is_some() {
        let builder = DeltaTableBuilder::from_url(url).map_err(Error::store(name))?;
        return builder.build_storage().map_err(Error::store(name));
    }
    let own = PrefixStore::new(root.store(), root.prefix().map_err(failed)?);
    Ok(default_logstore(Arc::new(own), root.store(), &url, &StorageConfig::default()))
}

/// Number of the last commit to the table called `name` below `root`, by the names in its log; none where there is no commit.
/// `known` is one that there was, if any: an object store is asked for those behind it alone.
pub(crate) async fn last_commit(
    root: &Root,
    name: &str,
    known: Option<u64>,
) -> Result<Option<u64>, Error> {
    let log = root.join(name).join(LOG);
    let number = |name: &str| name.strip_suffix(".json").and_then(|number| number.parse().ok());
    if let Some(folder) = log.as_folder() {
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            entries => entries.map_err(|source| failed(&log, source))?,
        };
        let mut last = None;
        for entry in entries {
            let file = entry.map_err(|source| failed(&log, source))?.file_name();
            last = last.max(file.to_str().and_then(number));
        }
        return Ok(last);
    }
    if let Some(known) = known {
        // The known one comes along, unless it was cleaned away or the table was made anew.
        let before = format!("{:020}.json", known.saturating_sub(1));
        let behind = log.list_behind("", &before).await.map_err(|source| failed(&log, source))?;
        let behind = behind.iter().filter_map(|found| number(&found.name)).collect::<Vec<_>>();
        if behind.contains(&known) {
            return Ok(behind.into_iter().max());
        }
    }
    let all = log.list("").await.map_err(|source| failed(&log, source))?;
    Ok(all.iter().filter_map(|found| number(&found.name)).max())
}

/// A time as the value of a column.
#[must_use]
pub fn micros(time: Millis) -> Expr {
    let value =
        ScalarValue::TimestampMicrosecond(Some(time.0.saturating_mul(1000)), Some("UTC".into()));
    debug_assert_eq!(value.data_type(), timestamp());
    lit(value)
}

/// The same time as a column of `rows` rows.
pub(crate) fn times(time: Millis, rows: usize) -> ArrayRef {
    let micros = vec![time.0.saturating_mul(1000); rows];
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
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
    root: &Root,
    name: &str,
    schema: &Schema,
) -> Result<DeltaTable, Error> {
    if let Some(table) = open(root, name).await? {
        return Ok(table);
    }
    let root = root.join(name);
    if let Some(folder) = root.as_folder() {
        std::fs::create_dir_all(folder).map_err(|source| failed(&root, source))?;
    }
    let store = Error::store(name);
    let columns: StructType =
        schema.try_into_kernel().map_err(|error: arrow::error::ArrowError| store(error.into()))?;
    DeltaTable::new(log_store(&root, name)?)
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

fn failed(root: &Root, source: std::io::Error) -> Error {
    Error::Folder { folder: root.to_string(), source }
}
