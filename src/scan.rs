//! Looks for sent values in everything that came out: files raw and decoded, answers, logs, metrics.
//!
//! A value is looked for in the forms in which it could have slipped through: as text in any case,
//! percent-encoded, escaped, in hexadecimal, in base64 at each alignment, as its octets where it is an
//! address or a UUID, and as an unsalted hash, which whoever tries all addresses reads as well.
//! A [`Finding`] names the place, the kind of value and the form, never the value.

mod forms;
mod index;

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context;
use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

pub use forms::{Form, Hash};
use index::Index;

/// Shortest value that can be looked for, in bytes: `1.2.3.4`. Anything shorter is found by chance.
pub const NEEDLE_BYTES_MIN: usize = index::WINDOW;

/// Rows of a table decoded at once.
const BATCH_ROWS: usize = 8_192;

/// Findings kept in a report; more are only counted.
const FINDINGS_MAX: usize = 1_000;

/// The values to look for, in all forms. Memory: about 1 KiB a value; time: one pass over the bytes,
/// however many values there are.
pub struct Scanner {
    kinds: Vec<&'static str>,
    folded: Index,
    exact: Index,
}

/// One place where a value was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// File (with column, if it was found in decoded values) or other output.
    pub place: String,
    /// What kind of value it is, as given to [`Scanner::new`].
    pub kind: &'static str,
    /// In which form it stood there.
    pub form: Form,
    /// Where it ends, in bytes from the beginning of what was searched.
    pub end: usize,
}

/// `serial as base64 in events/web/part-1.parquet, column path, before byte 17`
impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} as {} in {}, before byte {}", self.kind, self.form, self.place, self.end)
    }
}

/// What was searched, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Files read.
    pub files: u64,
    /// Bytes searched, raw and decoded.
    pub bytes: u64,
    /// Values of table columns decoded and searched.
    pub values: u64,
    /// Occurrences, those beyond the kept ones included.
    pub found: u64,
    /// The first occurrences.
    pub findings: Vec<Finding>,
}

impl Scanner {
    /// Prepares to look for `needles`: pairs of a kind (`address`, `serial`) and a value.
    ///
    /// # Errors
    ///
    /// A value shorter than [`NEEDLE_BYTES_MIN`].
    pub fn new(needles: impl IntoIterator<Item = (&'static str, String)>) -> anyhow::Result<Self> {
        Self::with_hashes(needles, [])
    }

    /// As above, and to look for `hashes`: as they are, in hexadecimal and in base64.
    ///
    /// # Errors
    ///
    /// A value or a hash shorter than [`NEEDLE_BYTES_MIN`].
    pub fn with_hashes(
        needles: impl IntoIterator<Item = (&'static str, String)>,
        hashes: impl IntoIterator<Item = (&'static str, Vec<u8>)>,
    ) -> anyhow::Result<Self> {
        let mut kinds = Vec::new();
        let (mut folded, mut exact) = (index::Builder::folded(), index::Builder::exact());
        for (kind, value) in needles {
            anyhow::ensure!(
                value.len() >= NEEDLE_BYTES_MIN,
                "a {kind} of {} bytes is too short to look for, {NEEDLE_BYTES_MIN} are needed",
                value.len()
            );
            let needle = u32::try_from(kinds.len()).context("too many values to look for")?;
            kinds.push(kind);
            forms::of(&value, &mut |form, bytes| {
                if form.is_case_sensitive() { &mut exact } else { &mut folded }
                    .add(bytes, needle, form);
            });
        }
        for (kind, hash) in hashes {
            anyhow::ensure!(hash.len() >= NEEDLE_BYTES_MIN, "a {kind} is too short to look for");
            let needle = u32::try_from(kinds.len()).context("too many values to look for")?;
            kinds.push(kind);
            forms::of_hash(&hash, &mut |form, bytes| {
                if form.is_case_sensitive() { &mut exact } else { &mut folded }
                    .add(bytes, needle, form);
            });
        }
        Ok(Self { kinds, folded: folded.build(), exact: exact.build() })
    }

    /// How many values are looked for.
    #[must_use]
    pub fn needles(&self) -> usize {
        self.kinds.len()
    }

    /// Searches `bytes`, which came out at `place`.
    pub fn bytes(&self, place: &str, bytes: &[u8], report: &mut Report) {
        report.bytes += bytes.len() as u64;
        for index in [&self.folded, &self.exact] {
            index.search(bytes, &mut |needle, form, end| {
                report.found += 1;
                if report.findings.len() < FINDINGS_MAX {
                    let kind = self.kinds[needle as usize];
                    report.findings.push(Finding { place: place.to_owned(), kind, form, end });
                }
            });
        }
    }

    /// Searches a file as it is, its name, and, where it is Parquet, every value in it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or begins as Parquet and is not.
    pub fn file(&self, path: &Path, report: &mut Report) -> anyhow::Result<()> {
        let place = path.display().to_string();
        let content = std::fs::read(path).with_context(|| format!("cannot read {place}"))?;
        report.files += 1;
        self.bytes(&format!("the name of {place}"), path.as_os_str().as_encoded_bytes(), report);
        self.bytes(&place, &content, report);
        if content.starts_with(b"PAR1") {
            self.parquet(&place, content, report)
                .with_context(|| format!("cannot decode {place}"))?;
        }
        Ok(())
    }

    /// Searches every file below `root`. A file that is removed meanwhile is not at rest any more, and
    /// is passed over; links are not followed.
    ///
    /// # Errors
    ///
    /// A folder or file cannot be read.
    pub fn folder(&self, root: &Path, report: &mut Report) -> anyhow::Result<()> {
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::NotFound && folder != root => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot list {}", folder.display()));
                }
            };
            for entry in entries {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    match self.file(&entry.path(), report) {
                        Err(error) if is_gone(&error) => {}
                        result => result?,
                    }
                }
            }
        }
        Ok(())
    }

    fn parquet(&self, place: &str, content: Vec<u8>, report: &mut Report) -> anyhow::Result<()> {
        decoded(content, &mut |column, values, count| {
            report.values += count;
            self.bytes(&format!("{place}, column {column}"), values, report);
        })
    }
}

/// Decodes a Parquet file: for each batch of rows the name of each column, its values, a line each, and how many.
///
/// # Errors
///
/// If it is none.
pub(crate) fn decoded(
    content: Vec<u8>,
    each: &mut dyn FnMut(&str, &[u8], u64),
) -> anyhow::Result<()> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(content))?;
    let reader = reader.with_batch_size(BATCH_ROWS).build()?;
    let mut values = Vec::new();
    for batch in reader {
        let batch = batch?;
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            values.clear();
            let count = write_values(column.as_ref(), &mut values)?;
            each(field.name(), &values, count);
        }
    }
    Ok(())
}

fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == ErrorKind::NotFound)
}

/// Writes every value of `array` on a line of its own, so that neighbours do not make up a value that
/// nobody sent; returns how many there were.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other type is searched as people read it, those still to come included"
)]
fn write_values(array: &dyn Array, out: &mut Vec<u8>) -> anyhow::Result<u64> {
    let mut line = |bytes: &[u8]| {
        out.extend_from_slice(bytes);
        out.push(b'\n');
    };
    match array.data_type() {
        DataType::Utf8 => {
            array.as_string::<i32>().iter().flatten().for_each(|v| line(v.as_bytes()));
        }
        DataType::LargeUtf8 => {
            array.as_string::<i64>().iter().flatten().for_each(|v| line(v.as_bytes()));
        }
        DataType::Utf8View => {
            array.as_string_view().iter().flatten().for_each(|v| line(v.as_bytes()));
        }
        DataType::Binary => array.as_binary::<i32>().iter().flatten().for_each(line),
        DataType::LargeBinary => array.as_binary::<i64>().iter().flatten().for_each(line),
        DataType::BinaryView => array.as_binary_view().iter().flatten().for_each(line),
        DataType::FixedSizeBinary(_) => {
            array.as_fixed_size_binary().iter().flatten().for_each(line);
        }
        DataType::Dictionary(_, _) => return write_values(array.as_any_dictionary().values(), out),
        DataType::List(_) => return write_values(array.as_list::<i32>().values(), out),
        DataType::LargeList(_) => return write_values(array.as_list::<i64>().values(), out),
        DataType::Map(_, _) => return write_values(array.as_map().entries(), out),
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            return columns.iter().map(|column| write_values(column.as_ref(), out)).sum();
        }
        _ => {
            let options = FormatOptions::default();
            let format = ArrayFormatter::try_new(array, &options)?;
            (0..array.len()).for_each(|row| line(format.value(row).to_string().as_bytes()));
        }
    }
    Ok(array.len() as u64)
}

#[cfg(test)]
mod tests;
