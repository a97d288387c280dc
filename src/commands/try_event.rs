//! `quorate try`: the fate of every field of one event, and why. Stores nothing.

use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anonymizer::{Connection, Gate, KeyRing, Signals};
use anyhow::Context;
use ingest::{Explained, Sender};
use schemas::access::SourceKind;

use crate::commands::{print, table};
use crate::config::Config;
use crate::store::{package, resolver, system_clock};

/// Largest event, in bytes.
const EVENT_BYTES_MAX: u64 = 1 << 20;

/// Options of `try`.
#[derive(clap::Args)]
pub struct Args {
    /// File with one event as JSON; without it, standard input.
    file: Option<PathBuf>,
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
pub fn run(args: &Args, config: &Config) -> anyhow::Result<()> {
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
    let clock = system_clock();
    let package = package(config.policy.as_deref())?;
    // Keys of its own, gone with the folder: trying an event out must not touch the keys of what is stored.
    let place = tempfile::tempdir().context("cannot make a temporary folder")?;
    let ring = Arc::new(KeyRing::create(
        &place.path().join("keyring"),
        &place.path().join("key-encryption.key"),
        &place.path().join("keys.jsonl"),
        &clock,
    )?);
    let resolver = resolver(config, &package, &ring)?;
    let gate = Gate::new(Arc::clone(&package), ring, place.path().join("policies"))?;
    Ok(ingest::explain(&package, &resolver, &gate, sender, connection, body, clock())?)
}

/// The outcome, then the fates as a table: field, what is kept, why.
#[must_use]
pub fn render(explained: &Explained) -> String {
    let mut rows = vec![["field", "kept", "why"].map(str::to_owned).to_vec()];
    for fate in &explained.fates {
        let kept = fate.kept.clone().unwrap_or_else(|| "-".to_owned());
        rows.push(vec![fate.field.clone(), kept, fate.why.clone()]);
    }
    let mut text = format!("{}\n\n", explained.outcome);
    if rows.len() > 1 {
        text.push_str(&table(&rows));
    }
    if !explained.undeclared.is_empty() {
        let names = explained.undeclared.join(", ");
        text.push_str(&format!("\ndropped, because nobody declared them: {names}\n"));
    }
    text
}
