//! Keys, suppression list and archive of one process or of many: where they lie, and how they are kept up to date.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anonymizer::shared::REFRESH_EVERY_MS;
use anonymizer::{Gate, KeyRing, Resolver, Sharing, Shelf, Shelves, SuppressionList};
use anyhow::Context;
use schemas::{Clock, Package};

use crate::apart::Apart;
use crate::config::{Config, Roles};
use crate::harden;
use crate::hold::{self, HoldLedger};
use crate::shelf;
use crate::subject::{Means, Requests};

/// The shelf of keys, and of the id of a log in Kafka.
///
/// # Errors
///
/// If it cannot be reached.
pub(crate) fn keys(config: &Config) -> anyhow::Result<Arc<dyn Shelf>> {
    shelf::of(&config.keys_root()?)
}

/// Where keys lie, and their ledger.
///
/// # Errors
///
/// If either cannot be reached.
pub(crate) fn shelves(config: &Config) -> anyhow::Result<Shelves> {
    let (ring, ledger) = (keys(config)?, shelf::of(&config.events_root()?.join("ledger"))?);
    Ok(Shelves { ring, ledger, ledger_name: "keys.jsonl".to_owned() })
}

/// Whether other processes change what this one uses.
pub(super) fn sharing(config: &Config, roles: Roles, steady: Clock) -> Sharing {
    match config.is_shared(roles) {
        true => Sharing::Shared { steady },
        false => Sharing::Sole,
    }
}

/// Opens the key ring; makes it where data has never been.
///
/// # Errors
///
/// If the ring is missing beside existing data, or its key-encryption key is wrong: never another key instead. If keys
/// would lie where they cannot be destroyed.
pub(super) fn key_ring(
    config: &Config,
    sharing: &Sharing,
    clock: &Clock,
) -> anyhow::Result<Arc<KeyRing>> {
    harden::check(&config.keyring)?;
    let key: &Path = &config.keyring.key_encryption_key;
    let shelves = shelves(config)?;
    let written = shelves.ledger.read_from(&shelves.ledger_name, 0)?;
    let mut began = !written.is_empty() || config.log_dir().exists();
    match sharing {
        Sharing::Sole => {
            began |= key.exists() || config.keyring.dir.folder().is_some_and(Path::exists)
        }
        // Of many nodes each has a copy before it starts; who begins may make it.
        Sharing::Shared { .. } if !began => drop(KeyRing::make_key_encryption_key(key)?),
        Sharing::Shared { .. } => {}
    }
    let ring = match began {
        true => KeyRing::open_on(&shelves, key, clock, sharing.clone()),
        false => KeyRing::create_on(&shelves, key, clock, sharing.clone()),
    };
    Ok(Arc::new(ring.context("the key ring cannot be opened")?))
}

/// Opens the suppression list.
pub(super) fn suppression_list(
    config: &Config,
    sharing: &Sharing,
    ring: &Arc<KeyRing>,
    package: &Package,
) -> anyhow::Result<Arc<SuppressionList>> {
    let shelf = shelf::of(&config.events_root()?.join("suppression"))?;
    let (ring, sharing) = (Arc::clone(ring), sharing.clone());
    let list = SuppressionList::on(shelf, "list.json", ring, &package.controller, sharing)?;
    Ok(Arc::new(list))
}

/// Opens gate 1 with its archive of policies.
pub(super) fn gate(
    config: &Config,
    package: &Arc<Package>,
    ring: &Arc<KeyRing>,
    list: &Arc<SuppressionList>,
) -> anyhow::Result<Arc<Gate>> {
    let archive = shelf::of(&config.events_root()?.join("policies"))?;
    let gate = Gate::on(Arc::clone(package), Arc::clone(ring), archive)?;
    Ok(Arc::new(gate.with_suppression(Arc::clone(list))))
}

/// Gate 1 for who only looks into frames: no key is made for it.
///
/// # Errors
///
/// If there is no key ring yet, or it cannot be opened.
#[cfg(feature = "kafka")]
pub(crate) fn gate_to_look(
    config: &Config,
    package: &Arc<Package>,
    clock: &Clock,
) -> anyhow::Result<Arc<Gate>> {
    let shelves = shelves(config)?;
    let written = shelves.ledger.read_from(&shelves.ledger_name, 0)?;
    anyhow::ensure!(!written.is_empty(), "there is no key ring yet");
    // Nothing is taken in by what it sees, so that it does not have to be fresh.
    let ring = key_ring(config, &Sharing::Sole, clock)?;
    let list = suppression_list(config, &Sharing::Sole, &ring, package)?;
    gate(config, package, &ring, &list)
}

/// Opens the ledger of requests.
pub(super) fn requests(
    config: &Config,
    sharing: Sharing,
    means: Means,
) -> anyhow::Result<Requests> {
    Requests::on(shelf::of(&config.events_root()?)?, sharing, means)
}

/// Opens what is kept apart.
pub(super) fn apart(config: &Config, ring: &Arc<KeyRing>) -> anyhow::Result<Arc<Apart>> {
    Ok(Arc::new(Apart::open(shelf::of(&config.events_root()?)?, Arc::clone(ring))?))
}

/// Opens the ledger of holds.
pub(super) fn holds(config: &Config) -> anyhow::Result<Arc<HoldLedger>> {
    Ok(Arc::new(hold::ledger(shelf::of(&config.events_root()?)?)))
}

/// Reads what other nodes did, every few seconds until it is dropped: on a thread, which no commit holds up.
pub(super) struct Refresher {
    _stop: Sender<()>,
}

impl Refresher {
    pub(super) fn of(gate: Arc<Gate>, resolver: Arc<Resolver>) -> anyhow::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let every = Duration::from_millis(REFRESH_EVERY_MS.unsigned_abs());
        let refresh = move || {
            let mut failing = false;
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let read = gate.refresh();
                resolver.forget();
                match &read {
                    Ok(()) if failing => tracing::info!("keys and suppression list are read again"),
                    Ok(()) => {}
                    Err(error) => tracing::warn!(
                        "keys or suppression list cannot be read, and are not used for long without: {error}"
                    ),
                }
                failing = read.is_err();
            }
        };
        std::thread::Builder::new().name("refresh".to_owned()).spawn(refresh)?;
        Ok(Self { _stop: stop })
    }
}
