//! `quorate try`: the fate of every field of one event, or of the first records of a topic, and why. Stores nothing.

#[cfg(feature = "kafka")]
use std::collections::BTreeMap;
use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anonymizer::{Connection, Gate, KeyRing, Resolver, Signals};
use anyhow::Context;
#[cfg(feature = "kafka")]
use ingest::Outcome;
use ingest::{Explained, Sender};
use schemas::access::SourceKind;
use schemas::{Millis, Package};

use crate::commands::{print, table};
use crate::config::Config;
#[cfg(feature = "kafka")]
use crate::source::Source;
use crate::store::{package, resolver, system_clock};

/// Largest event, in bytes.
const EVENT_BYTES_MAX: u64 = 1 << 20;

/// Options of `try`.
#[derive(clap::Args)]
pub struct Args {
    /// File with one event as JSON; without it, standard input.
    file: Option<PathBuf>,
    /// Takes the first records of this [[sources.kafka]] instead, from the oldest on. Its group is not touched.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["file", "address", "user_agent", "language", "gpc", "dnt", "server"])]
    source: Option<String>,
    /// How many records.
    #[arg(long, value_name = "COUNT", default_value_t = 10, requires = "source", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    records: u32,
    /// The address it comes from.
    #[arg(long)]
    address: Option<IpAddr>,
    /// Its `User-Agent`.
    #[arg(long, default_value = "")]
    user_agent: String,
    /// Its `Accept-Language`.
    #[arg(long, default_value = "")]
    language: String,
    /// Treats it as posted with `Sec-GPC: 1`.
    #[arg(long)]
    gpc: bool,
    /// Treats it as posted with `DNT: 1`.
    #[arg(long)]
    dnt: bool,
    /// Treats it as posted under a server key, so that `end_user` is believed.
    #[arg(long)]
    server: bool,
}

/// Prints the fate of every field.
///
/// # Errors
///
/// If the file cannot be read, or the package is not valid.
pub async fn run(args: &Args, config: &Config) -> anyhow::Result<()> {
    if let Some(name) = &args.source {
        return topic(name, args.records as usize, config).await;
    }
    let mut body = Vec::new();
    match &args.file {
        Some(file) => std::fs::File::open(file)
            .and_then(|file| file.take(EVENT_BYTES_MAX).read_to_end(&mut body))
            .with_context(|| format!("cannot read {}", file.display()))?,
        None => std::io::stdin().take(EVENT_BYTES_MAX).read_to_end(&mut body)?,
    };
    let connection = Connection {
        address: args.address,
        user_agent: args.user_agent.clone(),
        accept_language: args.language.clone(),
    };
    let sender = Sender {
        source: "try".to_owned(),
        kind: if args.server { SourceKind::Server } else { SourceKind::Device },
        signals: Signals { gpc: args.gpc, dnt: args.dnt },
    };
    print(&render(&explain(config, &body, connection, &sender)?))
}

/// Puts one event through the same engine as the service, under keys that exist only for this call.
///
/// # Errors
///
/// If the package is not valid, the body is no event, or no place for the short-lived keys can be made.
pub fn explain(
    config: &Config,
    body: &[u8],
    connection: Connection,
    sender: &Sender,
) -> anyhow::Result<Explained> {
    let trial = Trial::new(config)?;
    let Trial { package, resolver, gate, now, .. } = &trial;
    Ok(ingest::explain(package, resolver, gate, sender, connection, body, *now)?)
}

/// The engine of the service under keys of its own, gone with their folder: trying an event out must not touch the keys
/// of what is stored.
struct Trial {
    package: Arc<Package>,
    resolver: Arc<Resolver>,
    gate: Gate,
    now: Millis,
    _place: tempfile::TempDir,
}

impl Trial {
    fn new(config: &Config) -> anyhow::Result<Self> {
        let clock = system_clock();
        let package = package(config.policy.as_deref())?;
        let place = tempfile::tempdir().context("cannot make a temporary folder")?;
        let ring = Arc::new(KeyRing::create(
            &place.path().join("keyring"),
            &place.path().join("key-encryption.key"),
            &place.path().join("keys.jsonl"),
            &clock,
        )?);
        let resolver = Arc::new(resolver(config, &package, &ring)?);
        let gate = Gate::new(Arc::clone(&package), ring, place.path().join("policies"))?;
        Ok(Self { package, resolver, gate, now: clock(), _place: place })
    }
}

/// Prints the fates of the first records of a topic, then how many had which.
#[cfg(feature = "kafka")]
async fn topic(name: &str, count: usize, config: &Config) -> anyhow::Result<()> {
    let source = config.sources.kafka.iter().find(|source| source.name == name);
    let source = source.with_context(|| format!("no [[sources.kafka]] is named {name}"))?;
    let common = config.kafka_properties();
    let trial = Trial::new(config)?;
    // The slot numbers rows, of which there will be none.
    let source = Source::open(source, &common, &trial.package, &trial.resolver, 0).await?;
    let records = source.first_records(count).await?;
    if records.is_empty() {
        return print(&format!("topic {} is empty\n", source.topic()));
    }
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    for (partition, record) in records {
        let given = ingest::Record {
            value: record.payload.as_deref(),
            timestamp: record.timestamp_ms.map(Millis),
        };
        let Trial { resolver, gate, now, .. } = &trial;
        let explained = source.format().explain(resolver, gate, given, *now)?;
        let position = record.position;
        print(&format!("partition {partition}, offset {position}: {}\n", render(&explained)))?;
        let outcome = match &explained.outcome {
            Outcome::Accepted { family, .. } => format!("accepted as {family}"),
            Outcome::Expired { family, .. } => format!("expired: {family}"),
            Outcome::Refused(refusal) => match &refusal.field {
                Some(field) => format!("refused: {field}: {}", refusal.reason.name()),
                None => format!("refused: {}", refusal.reason.name()),
            },
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    let lines = outcomes.iter().map(|(outcome, count)| vec![count.to_string(), outcome.clone()]);
    print(&table(&lines.collect::<Vec<_>>()))
}

#[cfg(not(feature = "kafka"))]
async fn topic(_: &str, _: usize, _: &Config) -> anyhow::Result<()> {
    anyhow::bail!("this binary was built without the feature `kafka`")
}

/// The outcome, then two tables: which purposes stand and what took the others; of each field what is kept, and why.
#[must_use]
pub fn render(explained: &Explained) -> String {
    let mut rows = vec![["field", "kept", "why"].map(str::to_owned).to_vec()];
    for fate in &explained.fates {
        let kept = fate.kept.clone().unwrap_or_else(|| "-".to_owned());
        rows.push(vec![fate.field.clone(), kept, fate.why.clone()]);
    }
    let mut text = format!("{}\n\n", explained.outcome);
    let mut purposes = vec![["purpose", "stands", "why"].map(str::to_owned).to_vec()];
    for fate in &explained.purposes {
        let stands = if fate.stands { "yes" } else { "no" }.to_owned();
        purposes.push(vec![fate.purpose.clone(), stands, fate.why.clone()]);
    }
    if purposes.len() > 1 {
        text.push_str(&table(&purposes));
        text.push('\n');
    }
    if rows.len() > 1 {
        text.push_str(&table(&rows));
    }
    for (name, category) in &explained.refused {
        text.push_str(&format!(
            "\ndropped, because its name says that it holds what is refused ({category}): {name}\n"
        ));
    }
    if !explained.undeclared.is_empty() {
        let names = explained.undeclared.join(", ");
        text.push_str(&format!("\ndropped, because nobody declared them: {names}\n"));
    }
    text
}
