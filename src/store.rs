//! Everything that one process owns while it works on a data folder: package, keys, log, tables.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anonymizer::{Agents, Gate, Geo, KeyRing, Resolver, SuppressionList};
use anyhow::{Context, bail};
use disclosure::Disclosure;
use schemas::{Clock, Millis, Package};
use sink::Sink;
use transport::embedded::EmbeddedLog;
use transport::{Log, LogError, Partition};

use crate::clock::{Clocks, GuardedClock};
use crate::config::Config;
use crate::harden;
use crate::subject::Requests;

/// Memory for computing statistics, in bytes; what needs more goes to files.
const RELEASE_BYTES: usize = 256 << 20;

/// The system's clock: the only place in the project that asks it.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(now)
}

#[expect(clippy::disallowed_methods, reason = "the binary is where the clock is read")]
fn now() -> Millis {
    Millis(chrono::Utc::now().timestamp_millis())
}

/// Files of the package that the binary carries, by name.
#[must_use]
pub fn default_package() -> Vec<(String, String)> {
    schemas::DEFAULT_FILES
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

/// Loads the configured package, or the default one.
///
/// # Errors
///
/// Every diagnostic of the package, a line each.
pub fn package(folder: Option<&Path>) -> anyhow::Result<Arc<Package>> {
    let loaded = match folder {
        Some(folder) => Package::load(folder),
        None => Package::from_files(default_package()),
    };
    loaded.map(Arc::new).map_err(|diagnostics| {
        let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the policy package is not valid:\n{}", lines.join("\n"))
    })
}

/// Opens the key ring; makes one where data has never been.
///
/// # Errors
///
/// If the ring is missing beside existing data, or its key-encryption key is wrong: never another key instead. If keys
/// would lie where they cannot be destroyed.
pub fn key_ring(config: &Config, clock: &Clock) -> anyhow::Result<Arc<KeyRing>> {
    harden::check(&config.keyring)?;
    let (dir, key) = (config.keyring.folder()?, config.keyring.key_encryption_key.as_path());
    let ledger = config.key_ledger();
    let began = [dir, key, &ledger, &config.log_dir()].into_iter().any(|path| path.exists());
    let ring = if began {
        KeyRing::open(dir, key, &ledger, clock)
    } else {
        KeyRing::create(dir, key, &ledger, clock)
    };
    Ok(Arc::new(ring.context("the key ring cannot be opened")?))
}

/// Address and user agent tables, as configured.
///
/// # Errors
///
/// If a configured file cannot be read or has an unknown layout.
pub fn resolver(
    config: &Config,
    package: &Arc<Package>,
    ring: &Arc<KeyRing>,
) -> anyhow::Result<Resolver> {
    let geo = match &config.resolve.geo_database {
        Some(file) => Geo::open(file).context("resolve.geo_database cannot be used")?,
        None => Geo::shipped()?,
    };
    let agents = match &config.resolve.user_agents {
        Some(file) => Agents::open(file).context("resolve.user_agents cannot be used")?,
        None => Agents::shipped()?,
    };
    Ok(Resolver::new(Arc::clone(package), Arc::clone(ring), geo, agents))
}

/// A data folder, locked and open.
pub struct Store {
    /// The configuration it was opened with.
    pub config: Config,
    /// Tells the time, as [`GuardedClock::check`] does.
    pub clock: Clock,
    /// Tells whether to trust it.
    pub time: Arc<GuardedClock>,
    /// The policy package in force.
    pub package: Arc<Package>,
    /// The key ring.
    pub ring: Arc<KeyRing>,
    /// Connection to country, browser, visit.
    pub resolver: Arc<Resolver>,
    /// Gate 1.
    pub gate: Arc<Gate>,
    /// Who asked to be erased or left out.
    pub requests: Arc<Requests>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The tables; see [`Store::tables`].
    sink: Option<Sink>,
    /// Gate 2.
    pub disclosure: Arc<Disclosure>,
    _lock: DataLock,
}

impl Store {
    /// Locks the data folder and opens all that is in it.
    ///
    /// # Errors
    ///
    /// If another process has it, or any part cannot be opened.
    pub async fn open(config: Config, clocks: Clocks) -> anyhow::Result<Self> {
        let lock = DataLock::take(&config.data)?;
        let time = GuardedClock::open(clocks.rehearsed(&config.data)?, config.clock_file())?;
        let guarded = Arc::clone(&time);
        let clock: Clock = Arc::new(move || guarded.check().now);
        let package = package(config.policy.as_deref())?;
        tracing::trace!(target: "quorate::moment", "start keys");
        let ring = key_ring(&config, &clock)?;
        let list = config.suppression_list();
        let list = SuppressionList::open(list, Arc::clone(&ring), &package.controller)?;
        let list = Arc::new(list);
        let resolver = resolver(&config, &package, &ring)?.with_suppression(Arc::clone(&list));
        let gate = Gate::new(Arc::clone(&package), Arc::clone(&ring), config.archive_dir())?;
        let gate = Arc::new(gate.with_suppression(Arc::clone(&list)));
        let requests = Requests::open(
            &config,
            Arc::clone(&package),
            Arc::clone(&gate),
            list,
            Arc::clone(&clock),
        )?;
        tracing::trace!(target: "quorate::moment", "start log");
        let log = open_log(&config)?;
        let log: Arc<dyn Log> = Arc::new(log);
        tracing::trace!(target: "quorate::moment", "start tables");
        let sink = Some(open_sink(&config, &package, log.as_ref()).await?);
        let disclosure = Disclosure::new(
            Arc::clone(&package),
            config.tables_dir().join("events"),
            config.statistics_dir(),
            config.ledger_dir(),
        )
        .with_memory(RELEASE_BYTES, Some(fresh_spill(&config.spill_dir())?));
        let (resolver, requests) = (Arc::new(resolver), Arc::new(requests));
        let disclosure = Arc::new(disclosure);
        Ok(Self {
            config,
            clock,
            time,
            package,
            ring,
            resolver,
            gate,
            requests,
            log,
            sink,
            disclosure,
            _lock: lock,
        })
    }

    /// The tables.
    ///
    /// # Errors
    ///
    /// If they were closed after a failure and not opened again since.
    pub fn tables(&mut self) -> anyhow::Result<&mut Sink> {
        self.sink.as_mut().context("the tables are closed after a failure")
    }

    /// Accepts that a log which was damaged has lost acknowledged frames, so that it opens again; the worker counts each
    /// in the ledger when it comes to where they were. Gives a line for each part that is gone.
    ///
    /// # Errors
    ///
    /// If another process works on the data folder, or more is damaged than can be put aside.
    pub fn accept_lost_frames(config: &Config) -> anyhow::Result<Vec<String>> {
        let _lock = DataLock::take(&config.data)?;
        let losses = EmbeddedLog::accept_loss(&config.log_dir(), config.log.partitions)?;
        let lines = losses.into_iter().map(|loss| {
            let (partition, positions) = (loss.partition.0, loss.positions);
            format!(
                "partition {partition}: frames {} to {} are gone",
                positions.start,
                positions.end - 1
            )
        });
        Ok(lines.collect())
    }

    /// Closes the tables, which makes void what was not committed, and opens them again: how a failed round ends.
    ///
    /// # Errors
    ///
    /// If they cannot be opened; they stay closed then, and another call tries again. `rebuild` deletes the dedupe index
    /// in between, which is made again from the tables.
    pub async fn reopen_tables(&mut self, rebuild: bool) -> anyhow::Result<()> {
        if let Some(sink) = self.sink.take() {
            sink.close();
        }
        if rebuild {
            tracing::warn!("the dedupe index is damaged and is built anew");
            let index = self.config.index_dir();
            std::fs::remove_dir_all(&index)
                .with_context(|| format!("cannot remove {}", index.display()))?;
        }
        self.sink = Some(open_sink(&self.config, &self.package, self.log.as_ref()).await?);
        Ok(())
    }
}

/// Opens the log; a damaged one is refused with what can be done.
fn open_log(config: &Config) -> anyhow::Result<EmbeddedLog> {
    EmbeddedLog::open(&config.log_dir(), config.log.partitions).map_err(|error| {
        let lost = matches!(error, LogError::Lost { .. } | LogError::Unreadable { .. });
        let error = anyhow::Error::new(error);
        match lost {
            true => error.context(
                "the log is damaged: put back what is missing, or give up what is gone with \
                 `quorate run --accept-lost-frames`, which counts it in the ledger",
            ),
            false => error,
        }
    })
}

/// Opens the tables, and checks that they were filled from this log and no further than it goes.
async fn open_sink(config: &Config, package: &Arc<Package>, log: &dyn Log) -> anyhow::Result<Sink> {
    let sink_config = sink::SinkConfig {
        root: config.tables_dir().into(),
        index: config.index_dir(),
        staging: config.staging_dir(),
        commit_bytes: config.sink.commit_bytes,
        row_group_rows: config.sink.row_group_rows,
    };
    let id = log.id().to_string();
    let streams = [sink::Stream::log(id, log.partitions())];
    let own = sink::Own::sole(&streams);
    let sink = Sink::open(sink_config, Arc::clone(package), &streams, &own).await?;
    for partition in 0..log.partitions() {
        sink.resume(partition, log.end(Partition(partition)).await?.0)?;
    }
    Ok(sink)
}

/// An empty folder for files that do not outlive the process: they hold pseudonyms.
fn fresh_spill(folder: &Path) -> anyhow::Result<PathBuf> {
    let made = match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(folder),
    };
    made.with_context(|| format!("cannot empty {}", folder.display()))?;
    Ok(folder.to_owned())
}

/// Whether a process has this data folder open.
#[must_use]
pub fn is_in_use(data: &Path) -> bool {
    data.join("LOCK").exists() && DataLock::take(data).is_err()
}

/// Holds a data folder for one process, and lets go when dropped.
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    pub(crate) fn take(data: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(data)
            .with_context(|| format!("cannot make the data folder {}", data.display()))?;
        let path = data.join("LOCK");
        let file =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        if file.try_lock().is_err() {
            bail!(
                "another quorate process works on {}: stop it first, or use another data folder",
                data.display()
            );
        }
        Ok(Self { _file: file })
    }
}
