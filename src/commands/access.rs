//! `quorate source` and `quorate reader`: who may write, and who may read. A secret is printed once, and kept as a hash.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use clap::{Subcommand, ValueEnum};
use schemas::Millis;
use schemas::access::{KeyRecord, Readers, SourceKind, Sources};

use crate::commands::{print, table};
use crate::config::Config;
use crate::store::{package, system_clock};

/// Commands about sources.
#[derive(Subcommand)]
pub enum SourceCommand {
    /// Adds a source, or one more key to it, and prints the key: it cannot be shown again.
    Add {
        /// Name of the source; of a site: its public id, such as its host name.
        name: String,
        /// What kind of sender it is.
        #[arg(long, value_enum, default_value = "device")]
        kind: Kind,
        /// Families it may send; without any: all.
        #[arg(long = "family")]
        families: Vec<String>,
        /// Origins from which pages of a site may post, such as `https://www.example.org`.
        #[arg(long = "origin")]
        origins: Vec<String>,
    },
    /// Sources and their keys, without secrets.
    List,
    /// Revokes a source, or one of its keys; a running service follows within seconds.
    Revoke {
        /// Name of the source.
        name: String,
        /// Only the key with this id (see `list`).
        #[arg(long)]
        key: Option<String>,
    },
}

/// Kinds of sender.
#[derive(Clone, Copy, ValueEnum)]
pub enum Kind {
    /// Firmware or desktop software: a secret key, its own address.
    Device,
    /// A server that posts for others: a secret key, and `end_user` is believed.
    Server,
    /// Pages in browsers: a public id and a list of origins.
    Site,
}

/// Commands about readers.
#[derive(Subcommand)]
pub enum ReaderCommand {
    /// Adds a reader and prints the token: it cannot be shown again.
    Add {
        /// Name of the reader.
        name: String,
    },
    /// Readers, without secrets.
    List,
    /// Revokes a reader; a running service follows within seconds.
    Revoke {
        /// Name of the reader.
        name: String,
    },
}

/// Random bits of a new secret.
///
/// # Errors
///
/// If the system has none to give.
pub fn entropy() -> anyhow::Result<[u8; 20]> {
    let mut bits = [0; 20];
    SystemRandom::new()
        .fill(&mut bits)
        .map_err(|_| anyhow::anyhow!("the system gave no random bits"))?;
    Ok(bits)
}

/// Runs a command about sources.
///
/// # Errors
///
/// If the registry cannot be read or written, or does not allow it.
pub fn source(command: SourceCommand, config: &Config) -> anyhow::Result<()> {
    let mut sources = Sources::load(&config.sources.registry)?;
    let now = system_clock()();
    match command {
        SourceCommand::Add { name, kind, families, origins } => {
            let package = package(config.policy.as_deref())?;
            if let Some(unknown) = families.iter().find(|name| package.family(name).is_none()) {
                let known: Vec<&str> = package.families.iter().map(|f| f.name.as_str()).collect();
                anyhow::bail!("no family is called {unknown}: choose from {}", known.join(", "));
            }
            let kind = match kind {
                Kind::Device => SourceKind::Device,
                Kind::Server => SourceKind::Server,
                Kind::Site => SourceKind::Site,
            };
            let secret = sources.add(&name, kind, families, origins, now, entropy()?)?;
            sources.save(&config.sources.registry)?;
            if kind == SourceKind::Site {
                return print(&format!("post to /v1/events?site={name}\n"));
            }
            print(&format!("{}\n", secret.reveal()))
        }
        SourceCommand::List => print(&list_sources(&sources)),
        SourceCommand::Revoke { name, key } => {
            sources.revoke(&name, key.as_deref(), now)?;
            sources.save(&config.sources.registry)?;
            let which = key.map(|id| format!(" key {id}")).unwrap_or_default();
            print(&format!("revoked {name}{which}\n"))
        }
    }
}

/// Runs a command about readers.
///
/// # Errors
///
/// If the registry cannot be read or written, or does not allow it.
pub fn reader(command: ReaderCommand, config: &Config) -> anyhow::Result<()> {
    let mut readers = Readers::load(&config.readers)?;
    let now = system_clock()();
    match command {
        ReaderCommand::Add { name } => {
            let token = readers.add(&name, now, entropy()?)?;
            readers.save(&config.readers)?;
            print(&format!("{}\n", token.reveal()))
        }
        ReaderCommand::List => print(&list_readers(&readers)),
        ReaderCommand::Revoke { name } => {
            readers.revoke(&name, None, now)?;
            readers.save(&config.readers)?;
            print(&format!("revoked {name}\n"))
        }
    }
}

fn list_sources(sources: &Sources) -> String {
    let heading = ["source", "kind", "families", "key", "created", "revoked"].map(str::to_owned);
    let mut rows = vec![heading.to_vec()];
    for source in sources.iter() {
        let families =
            if source.families.is_empty() { "all".to_owned() } else { source.families.join(",") };
        let front = [source.name.clone(), source.kind.name().to_owned(), families];
        if source.keys.is_empty() {
            let back = [String::new(), source.created.to_string(), since(source.revoked)];
            rows.push([front.as_slice(), &back].concat());
        }
        for key in &source.keys {
            rows.push([front.as_slice(), &key_cells(key)].concat());
        }
    }
    table(&rows)
}

fn list_readers(readers: &Readers) -> String {
    let mut rows = vec![["reader", "token", "created", "revoked"].map(str::to_owned).to_vec()];
    for reader in readers.iter() {
        for key in &reader.keys {
            rows.push([[reader.name.clone()].as_slice(), &key_cells(key)].concat());
        }
    }
    table(&rows)
}

/// Id, when it was made, since when it is worthless.
fn key_cells(key: &KeyRecord) -> [String; 3] {
    [key.id.clone(), key.created.to_string(), since(key.revoked)]
}

fn since(time: Option<Millis>) -> String {
    time.map_or_else(String::new, |time| time.to_string())
}
