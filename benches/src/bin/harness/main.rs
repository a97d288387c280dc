//! The shipped binary beside the straight line, on the same events, alternately.
//!
//! For each pair and path: the reference, then the binary; each a process of its own, measured from its start to its
//! end, start-up included on every side. What counts is the ratio of CPU time of a pipeline to that of the reference just
//! before it: other work on the machine slows both. A replay is compared with an import instead.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod pipeline;
mod table;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use benches::process::{Used, Watched, bytes_below};
use benches::reference;

use pipeline::Pipeline;
use table::Series;

const USAGE: &str = "\
usage: harness [--events N] [--pairs N] [--seed N] [--days N] [--kafka BROKERS] [--only PATH] [--binary FILE]

  --events N    events, 1000000 by default
  --pairs N     pairs of each kind, 5 by default
  --seed N      seed of the generator, 1 by default
  --days N      days that the events are spread over, 1 by default
  --kafka LIST  also through Kafka: brokers as HOST:PORT,… of a cluster to throw away
  --only PATH   only one of import, http, replay, kafka
  --binary FILE the binary to measure; by default `quorate` beside this program
";

/// Most CPU time of an import, in that of the reference.
const IMPORT_GOAL: f64 = 2.5;
/// The same, over HTTP.
const HTTP_GOAL: f64 = 3.0;
/// The same, over HTTP and through Kafka.
const KAFKA_GOAL: f64 = 3.0;
/// Most CPU time of a replay, in that of an import.
const REPLAY_GOAL: f64 = 1.0;
/// Most resident memory, in MiB, whatever the number of events.
const RSS_GOAL_MIB: f64 = 512.0;

struct Options {
    events: u64,
    pairs: usize,
    seed: u64,
    days: u32,
    only: Option<String>,
    kafka: Option<String>,
    binary: PathBuf,
}

impl Options {
    fn has(&self, path: &str) -> bool {
        let asked = self.only.as_deref().is_none_or(|only| only == path);
        asked && (path != "kafka" || self.kafka.is_some())
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        // In a process of its own, so that its memory and time are its own.
        ["reference", input, output] => {
            reference::run(Path::new(input), Path::new(output)).map(|done| {
                println!("{} {} {}", done.lines, done.rows, done.bytes);
                true
            })
        }
        _ => match options(&words) {
            Some(options) => measure(&options),
            None => Err(io::Error::other(USAGE)),
        },
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options(words: &[&str]) -> Option<Options> {
    let own = std::env::current_exe().ok()?;
    let mut options = Options {
        events: 1_000_000,
        pairs: 5,
        seed: 1,
        days: 1,
        only: None,
        kafka: None,
        binary: own.with_file_name("quorate"),
    };
    for pair in words.chunks(2) {
        let [name, value] = pair else { return None };
        match *name {
            "--events" => options.events = value.parse().ok()?,
            "--pairs" => options.pairs = value.parse().ok().filter(|pairs| *pairs > 0)?,
            "--seed" => options.seed = value.parse().ok()?,
            "--days" => options.days = value.parse().ok()?,
            "--binary" => options.binary = value.into(),
            "--kafka" => options.kafka = Some((*value).to_owned()),
            "--only" => options.only = Some((*value).to_owned()),
            _ => return None,
        }
    }
    ["import", "http", "replay", "kafka"].iter().any(|path| options.has(path)).then_some(options)
}

/// Runs all pairs and prints them; whether every goal is met.
fn measure(options: &Options) -> io::Result<bool> {
    let place = tempfile::Builder::new().prefix("quorate-bench-").tempdir()?;
    let input = place.path().join("events.ndjson");
    generate(options, &input)?;
    let bytes = input.metadata()?.len();
    println!("{} events, {bytes} bytes, seed {}\n", options.events, options.seed);
    println!("{}", table::HEADING);

    let pipeline = Pipeline::new(&options.binary, place.path());
    let mut import = Series::new("import", IMPORT_GOAL, options.events);
    let mut http = Series::new("http", HTTP_GOAL, options.events);
    let mut kafka = Series::new("kafka", KAFKA_GOAL, options.events);
    let mut replay = Series::new("replay", REPLAY_GOAL, options.events).against("an import");
    for pair in 1..=options.pairs {
        if options.has("import") {
            let straight = straight(place.path(), &input)?;
            import.add(pair, straight, pipeline.import(&input)?);
        }
        if options.has("http") {
            let straight = straight(place.path(), &input)?;
            http.add(pair, straight, pipeline.http(&input)?);
        }
        if let Some(brokers) = options.kafka.as_deref().filter(|_| options.has("kafka")) {
            let straight = straight(place.path(), &input)?;
            kafka.add(pair, straight, pipeline.kafka(&input, brokers)?);
        }
        if options.has("replay") {
            let imported = pipeline.import(&input)?;
            replay.add(pair, imported, pipeline.replay(&input)?);
        }
    }
    println!();
    let mut met = true;
    for series in [import, http, kafka, replay].iter().filter(|series| series.pairs() > 0) {
        met &= series.summary(RSS_GOAL_MIB);
    }
    Ok(met)
}

fn generate(options: &Options, output: &Path) -> io::Result<()> {
    let mut command = Command::new(&options.binary);
    command.args(["generate", "--events", &options.events.to_string()]);
    command.args(["--seed", &options.seed.to_string(), "--days", &options.days.to_string()]);
    let status = command.stdout(std::fs::File::create(output)?).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("events could not be generated")) }
}

/// The reference, and the bytes of its file.
fn straight(place: &Path, input: &Path) -> io::Result<(Used, u64)> {
    let output = place.join("straight");
    std::fs::create_dir_all(&output)?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("reference").arg(input).arg(output.join("rows.parquet")).stdout(Stdio::null());
    let used = Watched::start(&mut command)?.finish()?;
    let bytes = bytes_below(&output)?;
    std::fs::remove_dir_all(&output)?;
    Ok((used, bytes))
}
