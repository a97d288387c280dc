//! What a person takes along: the fields that were supplied, without what was derived of the connection, as NDJSON or Parquet.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field as Column, Schema};
use parquet::arrow::ArrowWriter;
use schemas::model::Source;
use schemas::{Family, columns};

use super::wish::Format;

/// The rows in that form.
pub(super) fn file(
    family: &Family,
    rows: &[RecordBatch],
    format: Format,
) -> anyhow::Result<Vec<u8>> {
    let schema = Arc::new(Schema::new(supplied(family)));
    let rows =
        rows.iter().map(|rows| aligned(rows, &schema)).collect::<anyhow::Result<Vec<_>>>()?;
    match format {
        Format::Ndjson => ndjson(&rows),
        Format::Parquet => {
            let mut writer = ArrowWriter::try_new(Vec::new(), schema, None)?;
            for rows in &rows {
                writer.write(rows)?;
            }
            writer.into_inner().context("a file cannot be finished")
        }
    }
}

/// A JSON object a row.
pub(super) fn ndjson(rows: &[RecordBatch]) -> anyhow::Result<Vec<u8>> {
    let mut json = arrow::json::LineDelimitedWriter::new(Vec::new());
    for rows in rows {
        json.write(rows)?;
    }
    json.finish()?;
    Ok(json.into_inner())
}

/// The columns that are handed over: the time, and each stored field that the sender gave or that was made of one. A
/// pseudonym is none: it is nothing that anybody supplied.
fn supplied(family: &Family) -> Vec<Column> {
    let is_supplied = |source: Source| match source {
        Source::Body => true,
        Source::Field(of) => family.fields[of].source == Source::Body,
        Source::Address | Source::UserAgent | Source::AcceptLanguage => false,
    };
    let mut given = vec![Column::new(columns::TIME, columns::timestamp(), true)];
    for (_, field, stored) in family.stored_fields() {
        if is_supplied(field.source) && stored != DataType::Binary {
            given.push(Column::new(&field.name, stored, true));
        }
    }
    given
}

/// The rows with these columns; nothing where a file of before has none, or another type.
fn aligned(rows: &RecordBatch, schema: &Arc<Schema>) -> anyhow::Result<RecordBatch> {
    let column = |wanted: &Arc<Column>| -> ArrayRef {
        let found = rows.column_by_name(wanted.name());
        let found = found.filter(|found| found.data_type() == wanted.data_type());
        found.map_or_else(|| new_null_array(wanted.data_type(), rows.num_rows()), Arc::clone)
    };
    let given = schema.fields().iter().map(column).collect();
    RecordBatch::try_new(Arc::clone(schema), given).context("rows cannot be handed over")
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Int32Array, StringArray};
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use schemas::Package;

    use super::*;

    fn family() -> Family {
        let package = Package::from_files(crate::store::default_package()).unwrap();
        package.family("web").unwrap().1.clone()
    }

    /// One row with a text in every text column, and a pseudonym.
    fn row(family: &Family) -> RecordBatch {
        let stored = family.stored_schema();
        let columns = stored.fields().iter().map(|column| -> ArrayRef {
            let kind = column.data_type();
            if *kind == DataType::Utf8 {
                Arc::new(StringArray::from(vec![format!("of {}", column.name())]))
            } else if *kind == DataType::Binary {
                Arc::new(BinaryArray::from(vec![&[7_u8; 16][..]]))
            } else if *kind == DataType::Int32 {
                Arc::new(Int32Array::from(vec![7]))
            } else {
                arrow::array::new_null_array(kind, 1)
            }
        });
        let nullable = stored
            .fields()
            .iter()
            .map(|column| Column::new(column.name(), column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        RecordBatch::try_new(schema, columns.collect()).unwrap()
    }

    #[test]
    fn what_was_supplied_is_handed_over_in_both_forms_and_nothing_else() {
        let family = family();
        let rows = [row(&family)];
        let text = String::from_utf8(file(&family, &rows, Format::Ndjson).unwrap()).unwrap();
        assert!(text.contains("of path") || text.contains("of page"), "{text}");
        for field in &family.fields {
            let connection = matches!(
                field.source,
                Source::Address | Source::UserAgent | Source::AcceptLanguage
            );
            assert!(!connection || !text.contains(&format!("\"{}\"", field.name)), "{text}");
        }
        assert!(!text.contains("contributor") && !text.contains("\"_"), "{text}");

        let parquet = file(&family, &rows, Format::Parquet).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(parquet)).unwrap();
        let read = reader.build().unwrap().collect::<Result<Vec<_>, _>>().unwrap();
        assert_eq!(ndjson(&read).unwrap(), text.as_bytes());
        assert_eq!(read[0].schema().fields().len(), supplied(&family).len());
    }

    #[test]
    fn no_rows_are_a_file_too_and_older_rows_have_what_they_have() {
        let family = family();
        assert_eq!(file(&family, &[], Format::Ndjson).unwrap(), b"");
        let parquet = bytes::Bytes::from(file(&family, &[], Format::Parquet).unwrap());
        assert!(ParquetRecordBatchReaderBuilder::try_new(parquet).is_ok());
        let whole = row(&family);
        let older = whole.project(&[0, 1, 2, 3]).unwrap();
        let both = file(&family, &[whole, older], Format::Parquet).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(both)).unwrap();
        let rows: usize = reader.build().unwrap().map(|rows| rows.unwrap().num_rows()).sum();
        assert_eq!(rows, 2);
    }
}
