//! Data files: what they are called, how they are encoded, and how one is written and read.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Int64Type, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use schemas::columns;
use schemas::time::Millis;
use storage::Checked;
use uuid::Uuid;

use crate::error::SinkError;

/// Rows of one call to the encoder: few enough to stay in the processor's cache.
pub(crate) const CHUNK_ROWS: usize = 8192;

/// How rows came into their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they arrived.
    Fresh,
    /// Random.
    Mixed,
}

/// What a file's name says. Names are `<order>_e<epoch>_<uuid>_x<checksum>.parquet`, so that neither statistics nor a look inside
/// are needed to know when every row of a file has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) order: Order,
    pub(crate) epoch: i32,
}

impl Label {
    /// A new name.
    fn name(self) -> String {
        let order = match self.order {
            Order::Fresh => "fresh",
            Order::Mixed => "mixed",
        };
        format!("{order}_e{}_{}.parquet", self.epoch, Uuid::new_v4().simple())
    }

    /// Reads a path; none if it is not one of ours (another program rewrote the table).
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        let (order, rest) = name.split_once("_e")?;
        let order = match order {
            "fresh" => Order::Fresh,
            "mixed" => Order::Mixed,
            _ => return None,
        };
        Some(Self { order, epoch: rest.split_once('_')?.0.parse().ok()? })
    }
}

/// A finished file that no commit has named yet.
#[derive(Clone, Debug)]
pub(crate) struct DataFile {
    /// Below the table's root, with `/`; once it is published.
    pub(crate) path: String,
    /// Where it is until then.
    pub(crate) staged: PathBuf,
    /// The partition, if the table has any.
    pub(crate) day: Option<i32>,
    pub(crate) epoch: i32,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// What the files of one table have in common.
#[derive(Clone)]
pub(crate) struct Shape {
    /// The table, for errors.
    pub(crate) table: Arc<str>,
    /// Where files are written.
    staging: PathBuf,
    /// Columns inside the files: all but the partition column.
    pub(crate) schema: SchemaRef,
    properties: WriterProperties,
}

impl Shape {
    pub(crate) fn new(table: &str, staging: &Path, schema: &Schema, row_group_rows: usize) -> Self {
        let inside = schema.fields().iter().filter(|field| field.name() != columns::DAY).cloned();
        let schema = Arc::new(Schema::new(inside.collect::<Vec<_>>()));
        let properties = properties(&schema, row_group_rows);
        Self { table: table.into(), staging: staging.to_owned(), schema, properties }
    }
}

/// Encodings by what columns hold. Statistics are nowhere: minimum and maximum of a column are values of single rows,
/// and would outlive them in the table's log.
fn properties(schema: &Schema, row_group_rows: usize) -> WriterProperties {
    let zstd = ZstdLevel::try_new(1).expect("level 1 exists");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_max_row_group_row_count(Some(row_group_rows));
    for field in schema.fields() {
        let column = || ColumnPath::from(field.name().as_str());
        let ordinal = [columns::POSITION, columns::ROW].contains(&field.name().as_str());
        if *field.data_type() == DataType::Binary {
            // Hashes: no two alike within reach of a dictionary, or too few to pay for it.
            properties = properties.set_column_dictionary_enabled(column(), false);
        } else if ordinal {
            properties = properties
                .set_column_dictionary_enabled(column(), false)
                .set_column_encoding(column(), Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties.build()
}

/// A file being written, in the staging folder: a commit publishes it, and it is void otherwise.
pub(crate) struct OpenFile {
    table: Arc<str>,
    path: String,
    day: Option<i32>,
    epoch: i32,
    rows: u64,
    staged: PathBuf,
    writer: ArrowWriter<Checked<File>>,
}

impl OpenFile {
    pub(crate) fn create(shape: &Shape, day: Option<i32>, label: Label) -> Result<Self, SinkError> {
        let name = label.name();
        let staged = shape.staging.join(&name);
        let path = match day {
            Some(day) => format!("{}={}/{name}", columns::DAY, day_text(day)),
            None => name,
        };
        let file = File::create_new(&staged).map_err(SinkError::io("create", &staged))?;
        let options = ArrowWriterOptions::new()
            .with_properties(shape.properties.clone())
            .with_skip_arrow_metadata(true);
        let (file, schema) = (Checked::new(file), Arc::clone(&shape.schema));
        let writer = ArrowWriter::try_new_with_options(file, schema, options)
            .map_err(SinkError::parquet(&shape.table))?;
        let table = Arc::clone(&shape.table);
        Ok(Self { table, path, day, epoch: label.epoch, rows: 0, staged, writer })
    }

    /// Appends rows in the shape's columns.
    pub(crate) fn write(&mut self, rows: &RecordBatch) -> Result<(), SinkError> {
        self.writer.write(rows).map_err(SinkError::parquet(&self.table))?;
        self.rows += rows.num_rows() as u64;
        Ok(())
    }

    /// Encodes what is buffered into a row group of its own.
    pub(crate) fn flush(&mut self) -> Result<(), SinkError> {
        self.writer.flush().map_err(SinkError::parquet(&self.table))
    }

    /// Bytes that the encoder holds in memory.
    pub(crate) fn memory(&self) -> usize {
        self.writer.memory_size()
    }

    /// Bytes written, or about to be.
    pub(crate) fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// Finishes the file, makes its content durable and puts a checksum into the name it will have.
    pub(crate) fn close(self) -> Result<DataFile, SinkError> {
        let Self { table, path, day, epoch, rows, staged, writer } = self;
        let checked = writer.into_inner().map_err(SinkError::parquet(&table))?;
        let (file, path) = checked.finish(&path);
        file.sync_all().map_err(SinkError::io("write", &path))?;
        let bytes = file.metadata().map_err(SinkError::io("read", &path))?.len();
        Ok(DataFile { path, staged, day, epoch, rows, bytes })
    }
}

/// Reads a data file; `columns` limits what is read, all without it.
pub(crate) fn read(
    table: &str,
    file: File,
    columns: Option<&[&str]>,
) -> Result<ParquetRecordBatchReader, SinkError> {
    // Another program may have noted Arrow types of its own; the file's types are those of the table.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .map_err(SinkError::parquet(table))?;
    let mask = match columns {
        Some(columns) => ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied()),
        None => ProjectionMask::all(),
    };
    builder
        .with_projection(mask)
        .with_batch_size(CHUNK_ROWS)
        .build()
        .map_err(SinkError::parquet(table))
}

/// Application and version of each transaction in a checkpoint; none if it is not written as they are known.
pub(crate) fn transactions(
    table: &str,
    checkpoint: File,
) -> Result<Option<Vec<(String, u64)>>, SinkError> {
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(checkpoint).map_err(SinkError::parquet(table))?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
    let reader = builder.with_projection(mask).build().map_err(SinkError::parquet(table))?;
    let mut found = Vec::new();
    for rows in reader {
        let rows = rows.map_err(SinkError::arrow(table))?;
        let moved = rows.column_by_name("txn").and_then(|moved| moved.as_struct_opt());
        let Some(moved) = moved else { return Ok(None) };
        let names = moved.column_by_name("appId").and_then(|names| names.as_string_opt::<i32>());
        let versions = moved.column_by_name("version");
        let versions = versions.and_then(|versions| versions.as_primitive_opt::<Int64Type>());
        let (Some(names), Some(versions)) = (names, versions) else { return Ok(None) };
        for (row, name) in names.iter().enumerate() {
            let Some(name) = name.filter(|_| moved.is_valid(row)) else { continue };
            let Ok(version) = u64::try_from(versions.value(row)) else { return Ok(None) };
            found.push((name.to_owned(), version));
        }
    }
    Ok(Some(found))
}

/// The batch with exactly the columns of `schema`: those it lacks are null, because the file is older than they are.
pub(crate) fn align(
    table: &str,
    rows: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch, SinkError> {
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match rows.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => new_null_array(field.data_type(), rows.num_rows()),
        }
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).map_err(SinkError::arrow(table))
}

/// Makes the staging folder, and deletes what a crash left there.
pub(crate) fn empty_staging(staging: &Path) -> Result<(), SinkError> {
    std::fs::create_dir_all(staging).map_err(SinkError::io("create", staging))?;
    for entry in std::fs::read_dir(staging).map_err(SinkError::io("read", staging))? {
        let path = entry.map_err(SinkError::io("read", staging))?.path();
        if path.extension().is_some_and(|kind| kind == "parquet") {
            std::fs::remove_file(&path).map_err(SinkError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// `2026-11-22` for a day counted from 1970.
pub(crate) fn day_text(day: i32) -> String {
    let text = Millis::of_day(day).to_string();
    text.split('T').next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_order_and_epoch() {
        for label in
            [Label { order: Order::Fresh, epoch: 731 }, Label { order: Order::Mixed, epoch: -2 }]
        {
            let path = format!("day=2026-11-22/{}", label.name());
            assert_eq!(Label::parse(&path), Some(label));
        }
        for foreign in ["part-00001-6f1e.c000.zstd.parquet", "old_e7_x.parquet", "mixed_eX_x"] {
            assert_eq!(Label::parse(foreign), None);
        }
        assert_eq!(day_text(20_779), "2026-11-22");
        assert_eq!(day_text(-1), "1969-12-31");
    }
}
