//! `quorate generate`: made-up events to standard output, or posted to a running service.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use schemas::time::{DAY_MS, HOUR_MS};

use super::client::{Client, Keys, Posted};
use super::post::Posts;
use super::{Generator, Habits, Profile, Sent};
use crate::commands::print;
use crate::store::{package, system_clock};

/// Options of `generate`.
#[derive(clap::Args)]
pub struct Args {
    /// The same seed, span and package give the same events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many events, retries and hostile ones included.
    #[arg(long, default_value_t = 10_000)]
    events: u64,
    /// Over how many days; with `--live` it is always the last hour.
    #[arg(long, default_value_t = 30)]
    days: u32,
    /// Last moment, as 2026-01-31T12:00:00Z; without it, now.
    #[arg(long, value_name = "TIME", conflicts_with = "live")]
    until: Option<String>,
    /// Folder of the policy package; without it, the default one.
    #[arg(long, value_name = "DIR")]
    policy: Option<PathBuf>,
    /// Writes what was sent and what must become of it, as JSON.
    #[arg(long, value_name = "FILE")]
    summary: Option<PathBuf>,
    /// Posts to this service, such as http://127.0.0.1:8080, instead of writing to standard output.
    #[arg(long, value_name = "URL")]
    live: Option<String>,
    /// Key of a server source: posts what has no door of its own.
    #[arg(long, value_name = "KEY", requires = "live")]
    server_key: Option<String>,
    /// Key of a device source.
    #[arg(long, value_name = "KEY", requires = "live")]
    device_key: Option<String>,
    /// Public id of a site source.
    #[arg(long, value_name = "NAME", requires = "live")]
    site: Option<String>,
    /// Origin that the site's pages may post from.
    #[arg(long, default_value = "https://www.example.com")]
    origin: String,
}

/// Writes or posts events.
///
/// # Errors
///
/// If the package is not valid, standard output cannot be written, or the service does not take a body.
pub fn run(args: Args) -> anyhow::Result<()> {
    let package = package(args.policy.as_deref())?;
    let habits = Arc::new(Habits::load(args.policy.as_deref(), &package)?);
    let to = match &args.until {
        Some(text) => schemas::Millis::parse(text)
            .with_context(|| format!("--until {text} is no time: write 2026-01-31T12:00:00Z"))?,
        None => system_clock()(),
    };
    let sent = if let Some(url) = &args.live {
        let keys = Keys {
            server: args.server_key,
            device: args.device_key,
            site: args.site.map(|site| (site, args.origin)),
        };
        let client = Client::new(url, keys)?;
        let profile = Profile::live(args.seed, args.events, to.plus(-HOUR_MS), to).with(&habits);
        let mut generator = Generator::new(&package, profile);
        let posted = post(&mut generator, &client)?;
        print(&format!("{posted}\n"))?;
        generator.sent().clone()
    } else {
        let from = to.plus(-i64::from(args.days.max(1)) * DAY_MS);
        let profile = Profile::history(args.seed, args.events, from, to).with(&habits);
        let mut generator = Generator::new(&package, profile);
        write(&mut generator)?;
        generator.sent().clone()
    };
    args.summary.map_or(Ok(()), |file| write_summary(&file, &sent))
}

fn write(generator: &mut Generator<'_>) -> anyhow::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout().lock());
    for event in generator {
        if let Err(error) = writeln!(out, "{}", event.line()) {
            return closed(error);
        }
    }
    out.flush().or_else(closed)
}

/// A closed pipe ends the command quietly, as `head` expects.
fn closed(error: std::io::Error) -> anyhow::Result<()> {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Ok(());
    }
    Err(anyhow::Error::new(error).context("cannot write events"))
}

fn post(generator: &mut Generator<'_>, client: &Client) -> anyhow::Result<Posted> {
    let mut posted = Posted::default();
    for post in Posts::new(generator, client.doors(), system_clock()) {
        posted.add(client.send(&post)?);
    }
    Ok(posted)
}

fn write_summary(file: &Path, sent: &Sent) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(sent)? + "\n";
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
