//! Keys, suppression list and archive of one process or of many: where they lie, and how they are kept up to date.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anonymizer::shared::REFRESH_EVERY_MS;
use anonymizer::{Folder, Gate, KeyRing, Sharing, Shelf, Shelves, SuppressionList};
use anyhow::Context;
use schemas::{Clock, Package};
use storage::Root;

use crate::clock;
use crate::config::{Config, Roles};
use crate::harden;

/// The shelf in a root.
fn shelf(root: &Root) -> anyhow::Result<Arc<dyn Shelf>> {
    let folder = root.as_folder().context("keys in an object store cannot be used yet")?;
    Ok(Arc::new(Folder::new(folder.to_owned())))
}

/// The shelf of keys, and of the id of a log in Kafka.
///
/// # Errors
///
/// If it cannot be reached.
pub(crate) fn keys(config: &Config) -> anyhow::Result<Arc<dyn Shelf>> {
    shelf(&config.keys_root()?)
}

/// Whether other processes change what this one uses.
pub(crate) fn sharing(config: &Config, roles: Roles) -> Sharing {
    match config.is_shared(roles) {
        true => Sharing::Shared { steady: clock::steady() },
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
    roles: Roles,
    clock: &Clock,
) -> anyhow::Result<Arc<KeyRing>> {
    harden::check(&config.keyring)?;
    let key: &Path = &config.keyring.key_encryption_key;
    let (ring, ledger) = (keys(config)?, shelf(&config.events_root()?.join("ledger"))?);
    let ledger_name = "keys.jsonl".to_owned();
    let mut began = ledger.read(&ledger_name)?.is_some() || config.log_dir().exists();
    let sharing = sharing(config, roles);
    match &sharing {
        Sharing::Sole => began |= key.exists() || config.keyring.folder()?.exists(),
        // Of many nodes each has a copy before it starts; who begins may make it.
        Sharing::Shared { .. } if !began => drop(KeyRing::make_key_encryption_key(key)?),
        Sharing::Shared { .. } => {}
    }
    let shelves = Shelves { ring, ledger, ledger_name };
    let ring = match began {
        true => KeyRing::open_on(&shelves, key, clock, sharing),
        false => KeyRing::create_on(&shelves, key, clock, sharing),
    };
    Ok(Arc::new(ring.context("the key ring cannot be opened")?))
}

/// Opens the suppression list.
pub(super) fn suppression_list(
    config: &Config,
    roles: Roles,
    ring: &Arc<KeyRing>,
    package: &Package,
) -> anyhow::Result<Arc<SuppressionList>> {
    let shelf = shelf(&config.events_root()?.join("suppression"))?;
    let sharing = sharing(config, roles);
    let ring = Arc::clone(ring);
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
    let archive = shelf(&config.events_root()?.join("policies"))?;
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
    let ledger = shelf(&config.events_root()?.join("ledger"))?;
    anyhow::ensure!(ledger.read("keys.jsonl")?.is_some(), "there is no key ring yet");
    let ring = key_ring(config, Roles::ALL, clock)?;
    let list = suppression_list(config, Roles::ALL, &ring, package)?;
    gate(config, package, &ring, &list)
}

/// Reads what other nodes did, every few seconds until it is dropped: on a thread, which no commit holds up.
pub(super) struct Refresher {
    _stop: Sender<()>,
}

impl Refresher {
    pub(super) fn of(gate: Arc<Gate>) -> anyhow::Result<Self> {
        let (stop, stopped) = channel::<()>();
        let every = Duration::from_millis(REFRESH_EVERY_MS.unsigned_abs());
        let refresh = move || {
            let mut failing = false;
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let read = gate.refresh();
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
