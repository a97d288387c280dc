//! `quorate import`: history from NDJSON or Parquet through gate 1 into the tables.
//!
//! Events carry their own received time (by default the event's `time`), so history falls into its own key epochs.
//! Rows whose epoch is over live just long enough to be counted: closed periods are released at the end of the
//! import, then what is past its life is removed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anonymizer::Origin;
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use ingest::Importer;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::Tally;
use sink::ManifestContext;

use crate::clock::Clocks;
use crate::commands::print;
use crate::config::Config;
use crate::pipeline::{Progress, Worker};
use crate::store::Store;

/// Rows that are anonymised together.
const BATCH_ROWS: usize = 8192;
/// Longest line that is kept whole, in bytes; the importer refuses a longer one.
const LINE_BYTES_MAX: usize = (1 << 20) + 1;

/// Options of `import`.
#[derive(clap::Args)]
pub struct Args {
    /// NDJSON or Parquet file, or `-` for NDJSON on standard input.
    file: PathBuf,
    /// Name of the site that visits belong to.
    #[arg(long, default_value = "import")]
    site: String,
    /// Another file of the same time follows: closes no period, and leaves that to the last import or the
    /// service. A period that is released once is not computed again for what comes later.
    #[arg(long)]
    more_follows: bool,
}

/// What an import did: `received = stored + duplicate + refused + expired + suppressed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Lines read.
    pub received: u64,
    /// Rows in the tables.
    pub stored: u64,
    /// Events that were there already.
    pub duplicate: u64,
    /// Lines that broke a rule.
    pub refused: u64,
    /// Events of an epoch whose key is already destroyed: their time is over.
    pub expired: u64,
    /// Events of contributors who are erased or object.
    pub suppressed: u64,
}

/// Imports a file, then releases and removes what is due.
///
/// # Errors
///
/// If the data folder is in use, the file cannot be read, or the tables cannot be written.
pub async fn run(args: Args, config: Config) -> anyhow::Result<()> {
    let mut store = Store::open(config, Clocks::system()).await?;
    let bar = progress_bar(&args.file);
    let began = Instant::now();
    let mut tick = |lines: u64, bytes: u64| {
        bar.set_position(bytes);
        bar.set_message(format!("{lines} events"));
    };
    let imported = if is_parquet(&args.file)? {
        import_parquet(&mut store, &args.file, &args.site, &mut tick).await?
    } else if args.file == Path::new("-") {
        let input = BufReader::with_capacity(1 << 20, std::io::stdin());
        import(&mut store, input, &args.site, &mut tick).await?
    } else {
        let input = BufReader::with_capacity(1 << 20, open(&args.file)?);
        import(&mut store, input, &args.site, &mut tick).await?
    };
    let seconds = began.elapsed().as_secs_f64();
    let released = if args.more_follows {
        0
    } else {
        bar.set_message("releasing closed periods");
        Worker::new(store, Arc::new(Progress::default()))?.maintain().await?
    };
    bar.finish_and_clear();
    print(&summary(imported, seconds, released))
}

fn summary(imported: Imported, seconds: f64, released: usize) -> String {
    let Imported { received, stored, duplicate, refused, expired, suppressed } = imported;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = received as f64 / seconds.max(0.001);
    format!(
        "received {received} = stored {stored} + duplicate {duplicate} + refused {refused} + expired {expired} + suppressed {suppressed}\n\
         {seconds:.1} s, {rate:.0} events/s; {released} closed periods released\n"
    )
}

fn open(file: &Path) -> anyhow::Result<File> {
    File::open(file).with_context(|| format!("cannot read {}", file.display()))
}

fn is_parquet(file: &Path) -> anyhow::Result<bool> {
    if file == Path::new("-") {
        return Ok(false);
    }
    let mut magic = Vec::new();
    open(file)?.take(4).read_to_end(&mut magic)?;
    Ok(magic == b"PAR1")
}

fn progress_bar(file: &Path) -> ProgressBar {
    let length = std::fs::metadata(file).map(|meta| meta.len()).ok();
    let bar = length.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let template = "{bar:40} {bytes}/{total_bytes} {msg} {bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Imports NDJSON: one event a line, each with its `time`.
///
/// `tick` is told lines and bytes read so far.
///
/// # Errors
///
/// If the input cannot be read or the tables cannot be written; a bad line is refused and counted.
pub async fn import(
    store: &mut Store,
    mut input: impl BufRead,
    site: &str,
    tick: &mut dyn FnMut(u64, u64),
) -> anyhow::Result<Imported> {
    let mut run = Run::new(store, site)?;
    let mut line = Vec::new();
    let mut bytes = 0;
    while read_line(&mut input, &mut line)? {
        bytes += line.len() as u64;
        run.line(&line).await?;
        if run.imported.received.is_multiple_of(BATCH_ROWS as u64) {
            tick(run.imported.received, bytes);
        }
    }
    tick(run.imported.received, bytes);
    run.finish().await
}

/// Reads one line with its end; a line over the limit is cut, so that it is refused and memory stays bounded.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> anyhow::Result<bool> {
    line.clear();
    let limit = LINE_BYTES_MAX as u64;
    let read =
        input.by_ref().take(limit).read_until(b'\n', line).context("cannot read the input")?;
    if read == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
        input.skip_until(b'\n').context("cannot read the input")?;
    }
    Ok(read > 0)
}

/// Imports Parquet: one event a row, columns named as fields.
async fn import_parquet(
    store: &mut Store,
    file: &Path,
    site: &str,
    tick: &mut dyn FnMut(u64, u64),
) -> anyhow::Result<Imported> {
    let not_parquet = || format!("{} is not a readable Parquet file", file.display());
    let rows = ParquetRecordBatchReaderBuilder::try_new(open(file)?)
        .with_context(not_parquet)?
        .with_batch_size(1024)
        .build()
        .with_context(not_parquet)?;
    let mut run = Run::new(store, site)?;
    let mut bytes = 0;
    for batch in rows {
        let mut json = arrow::json::LineDelimitedWriter::new(Vec::new());
        json.write(&batch.with_context(not_parquet)?)?;
        json.finish()?;
        for line in json.into_inner().split_inclusive(|&byte| byte == b'\n') {
            bytes += line.len() as u64;
            run.line(line).await?;
        }
        tick(run.imported.received, bytes);
    }
    run.finish().await
}

/// One import under way.
struct Run<'a> {
    store: &'a mut Store,
    importer: Importer,
    imported: Imported,
    position: u64,
}

impl<'a> Run<'a> {
    fn new(store: &'a mut Store, site: &str) -> anyhow::Result<Self> {
        let (package, resolver) = (Arc::clone(&store.package), Arc::clone(&store.resolver));
        let importer = Importer::new(package, resolver, site, (store.clock)());
        let position = store.tables()?.next(sink::IMPORT);
        Ok(Self { store, importer, imported: Imported::default(), position })
    }

    async fn line(&mut self, line: &[u8]) -> anyhow::Result<()> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        self.imported.received += 1;
        match self.importer.push_line(line) {
            Ok(()) => {}
            Err(ingest::Error::Refused { .. }) => self.imported.refused += 1,
            Err(error) => return Err(error.into()),
        }
        if self.importer.rows() >= BATCH_ROWS {
            self.flush()?;
            if self.store.tables()?.is_full() {
                self.commit().await?;
            }
        }
        Ok(())
    }

    /// Puts what has been decoded through gate 1 into open files.
    fn flush(&mut self) -> anyhow::Result<()> {
        let now = (self.store.clock)();
        for batch in self.importer.take() {
            let origin = self.origin();
            let (family, rows) = (batch.family(), batch.rows() as u64);
            let batch = self.store.gate.anonymize(batch, &origin, now)?;
            self.imported.expired += batch.expired();
            self.imported.suppressed += batch.tally().suppressed;
            let tables = self.store.tables()?;
            let written = tables.write(batch, &origin)?;
            tables.count(Some(family), &origin, &Tally::default(), rows, 0);
            self.imported.stored += written.stored;
            self.imported.duplicate += written.duplicate;
            self.position += 1;
        }
        for (family, tally) in self.importer.take_tally() {
            let origin = self.origin();
            self.store.tables()?.count(family, &origin, &tally, tally.refused_total(), 0);
            self.position += 1;
        }
        Ok(())
    }

    fn origin(&self) -> Origin {
        Origin { partition: sink::IMPORT, position: self.position, import: true }
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        let now = (self.store.clock)();
        let context = ManifestContext { geo_build: self.store.resolver.geo_build() };
        let next = [(sink::IMPORT, self.position)];
        self.store.tables()?.commit(&next, now, context).await?;
        Ok(())
    }

    async fn finish(mut self) -> anyhow::Result<Imported> {
        self.flush()?;
        self.commit().await?;
        Ok(self.imported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_over_the_limit_is_cut_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; LINE_BYTES_MAX + 10];
        text.extend_from_slice(b"\nnext\n");
        let (mut input, mut line) = (text.as_slice(), Vec::new());
        assert!(read_line(&mut input, &mut line).unwrap());
        assert_eq!(line.len(), LINE_BYTES_MAX);
        assert!(read_line(&mut input, &mut line).unwrap());
        assert_eq!(line, b"next\n");
        assert!(!read_line(&mut input, &mut line).unwrap());
    }
}
