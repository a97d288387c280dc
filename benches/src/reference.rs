//! The straight line: what the same work costs a program that promises nothing.
//!
//! NDJSON in memory, typed parse, URL to templated path, user agent to browser (the same libraries and
//! data as gate 1), address to country, two keyed hashes, Arrow, one Parquet file. One thread, no check
//! of a rule, no consent, no log, no seal, no duplicates, no commit; what cannot be parsed is passed over.

mod columns;
mod event;
mod lookup;

use std::fs::File;
use std::io;
use std::path::Path;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use columns::Columns;
use event::Event;
use lookup::Lookup;

/// Rows of a batch: larger ones are slower, for their memory comes fresh from the kernel each time.
const BATCH_ROWS: usize = 8_192;

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Done {
    /// Lines read.
    pub lines: u64,
    /// Rows written.
    pub rows: u64,
    /// Bytes of the file written.
    pub bytes: u64,
}

/// Reads `input`, an NDJSON file, and writes `output`, a Parquet file.
///
/// # Errors
///
/// If a file cannot be read or written.
pub fn run(input: &Path, output: &Path) -> io::Result<Done> {
    let content = std::fs::read(input)?;
    let mut lookup = Lookup::new().map_err(io::Error::other)?;
    let mut columns = Columns::new(BATCH_ROWS);
    let file = File::create(output)?;
    let mut writer = ArrowWriter::try_new(file, columns.schema(), Some(properties()?))?;
    let mut done = Done::default();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', &content) {
        done.lines += 1;
        let event = sonic_rs::from_slice::<Event<'_>>(&content[start..end]);
        start = end + 1;
        let Ok(event) = event else { continue };
        if columns.append(&event, &mut lookup) {
            done.rows += 1;
        }
        if columns.rows() == BATCH_ROWS {
            writer.write(&columns.finish().map_err(io::Error::other)?)?;
        }
    }
    if columns.rows() > 0 {
        writer.write(&columns.finish().map_err(io::Error::other)?)?;
    }
    writer.finish()?;
    done.bytes = writer.bytes_written() as u64;
    Ok(done)
}

/// As the tables are written: zstd(1), no statistics, hashes without the attempt of a dictionary.
fn properties() -> io::Result<WriterProperties> {
    let level = ZstdLevel::try_new(1).map_err(io::Error::other)?;
    Ok(WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_column_dictionary_enabled("contributor".into(), false)
        .set_column_dictionary_enabled("key".into(), false)
        .set_column_dictionary_enabled("time".into(), false)
        .set_column_encoding("time".into(), Encoding::DELTA_BINARY_PACKED)
        .build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events;

    #[test]
    fn every_good_line_becomes_a_row() {
        let folder = tempfile::tempdir().unwrap();
        let (input, output) = (folder.path().join("in.ndjson"), folder.path().join("out.parquet"));
        let lines = events::page_views(9_000) + &events::uses(1_000) + "{\"type\":\"web\n";
        let lines = lines.replace("\"name\"", "\"time\":\"2026-01-31T12:00:00Z\",\"name\"");
        let lines = lines.replace("\"product\"", "\"time\":\"2026-01-31T12:00:00Z\",\"product\"");
        std::fs::write(&input, lines).unwrap();
        let done = run(&input, &output).unwrap();
        assert_eq!((done.lines, done.rows), (10_001, 10_000));
        assert_eq!(done.bytes, output.metadata().unwrap().len());
    }
}
