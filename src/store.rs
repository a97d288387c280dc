//! Everything that one process owns while it works on a data folder: package, keys, log, tables.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anonymizer::{Agents, Gate, Geo, KeyRing, Resolver};
use anyhow::{Context, bail};
use disclosure::Disclosure;
use schemas::time::HOUR_MS;
use schemas::{Clock, Millis, Package};
use sink::{IMPORT, Own, Sink};
use transport::embedded::EmbeddedLog;
use transport::{Log, LogError};

use crate::apart::{Apart, Kind, State};
use crate::clock::{Clocks, GuardedClock};
use crate::config::{Config, Roles};
use crate::hold::HoldLedger;
use crate::pipeline::watch::Others;
use crate::residency;
use crate::streams::{Feed, NoLog, Streams};
use crate::subject::{Means, Requests};

#[cfg(feature = "kafka")]
pub(crate) mod kafka;
#[cfg(not(feature = "kafka"))]
#[path = "store/no_kafka.rs"]
mod kafka;
pub(crate) mod shared;

use shared::Refresher;

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

/// Opens the key ring of a process with all roles; makes it where data has never been.
///
/// # Errors
///
/// If the ring is missing beside existing data, or its key-encryption key is wrong: never another key instead. If keys
/// would lie where they cannot be destroyed.
pub fn key_ring(config: &Config, clock: &Clock) -> anyhow::Result<Arc<KeyRing>> {
    let sharing = shared::sharing(config, Roles::ALL, crate::clock::steady());
    shared::key_ring(config, &sharing, clock)
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

/// What a process of any role has: a data folder of its own, a clock, the package.
pub struct Node {
    /// The configuration it was opened with.
    pub config: Config,
    /// What it does.
    pub roles: Roles,
    /// Tells the time, as [`GuardedClock::check`] does.
    pub clock: Clock,
    /// Tells whether to trust it.
    pub time: Arc<GuardedClock>,
    /// The policy package in force.
    pub package: Arc<Package>,
    /// Time that nobody sets, for waiting by where nodes share keys.
    pub(crate) steady: Clock,
    lock: DataLock,
}

impl Node {
    /// Locks the data folder, which holds no tables and no log where these are elsewhere.
    ///
    /// # Errors
    ///
    /// If another process has it, the package is not valid, or the configuration does not do for these roles.
    pub fn open(config: Config, clocks: Clocks, roles: Roles) -> anyhow::Result<Self> {
        config.check_roles(roles)?;
        let lock = DataLock::take(&config.data)?;
        let time = GuardedClock::open(clocks.rehearsed(&config.data)?, config.clock_file())?;
        let guarded = Arc::clone(&time);
        let clock: Clock = Arc::new(move || guarded.check().now);
        let package = package(config.policy.as_deref())?;
        residency::check(&config, &package)?;
        let steady = crate::clock::steady();
        Ok(Self { config, roles, clock, time, package, steady, lock })
    }
}

/// All that whoever seals or opens events works with: keys, the log, gate 1, and for a worker the tables.
pub struct Store {
    /// The configuration it was opened with.
    pub config: Config,
    /// What the process does.
    pub roles: Roles,
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
    /// Rows that are kept apart from their tables.
    pub apart: Arc<Apart>,
    /// What became of legal holds.
    pub(crate) holds: Arc<HoldLedger>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// What a worker reads.
    pub streams: Streams,
    /// Which part of it is this worker's.
    own: Own,
    /// The tables; see [`Store::tables`].
    sink: Option<Sink>,
    /// Gate 2.
    pub disclosure: Arc<Disclosure>,
    /// Where others change keys and list too.
    _refresher: Option<Refresher>,
    _lock: DataLock,
}

impl Store {
    /// Locks the data folder and opens all that is in it or shared, for a command that works alone: while it does, no
    /// worker may run.
    ///
    /// # Errors
    ///
    /// If another process has it, or any part cannot be opened.
    pub async fn open(config: Config, clocks: Clocks) -> anyhow::Result<Self> {
        let node = Node::open(config, clocks, Roles::ALL)?;
        if node.config.kafka.is_some() {
            kafka::nobody_works(&node.config).await?;
        }
        let mut store = Self::parts(node).await?;
        let streams = store.streams.streams();
        let partitions = store.streams.feeds().iter().flat_map(Feed::partitions).chain([IMPORT]);
        store.own = match store.config.is_shared(store.roles) {
            true => Own::shared(partitions, true),
            false => Own::sole(&streams),
        };
        store.open_tables().await?;
        Ok(store)
    }

    /// What the node's roles need, for a service. Where several share the work, the tables are opened later, when a
    /// group has said what is this worker's: see [`Store::take_over`].
    ///
    /// # Errors
    ///
    /// If any part cannot be opened.
    pub async fn serving(node: Node) -> anyhow::Result<Self> {
        if !node.config.is_shared(node.roles) {
            let mut store = Self::parts(node).await?;
            store.own = Own::sole(&store.streams.streams());
            store.open_tables().await?;
            return Ok(store);
        }
        let mut store = Self::parts(node).await?;
        if store.roles.worker {
            let feeds = store.streams.feeds().to_vec();
            let members = kafka::members(&store.config, &feeds)?;
            store.streams = Streams::shared(feeds, members);
        }
        Ok(store)
    }

    /// Everything but the tables, with the log that is configured.
    async fn parts(node: Node) -> anyhow::Result<Self> {
        Self::over(node, None).await
    }

    /// Everything but the tables, over an open log if one is given.
    pub(crate) async fn over(node: Node, log: Option<Arc<dyn Log>>) -> anyhow::Result<Self> {
        let Node { config, roles, clock, time, package, steady, lock } = node;
        let sharing = shared::sharing(&config, roles, steady);
        tracing::trace!(target: "quorate::moment", "start keys");
        let ring = shared::key_ring(&config, &sharing, &clock)?;
        let list = shared::suppression_list(&config, &sharing, &ring, &package)?;
        let resolver = resolver(&config, &package, &ring)?.with_suppression(Arc::clone(&list));
        let resolver = Arc::new(resolver);
        let gate = shared::gate(&config, &package, &ring, &list)?;
        let refresher = match config.is_shared(roles) {
            true => Some(Refresher::of(Arc::clone(&gate), Arc::clone(&resolver))?),
            false => None,
        };
        let (apart, holds) = (shared::apart(&config, &ring)?, shared::holds(&config)?);
        let (keep_ms, most_ms) = config.log.raw_retention_ms();
        let means = Means {
            package: Arc::clone(&package),
            gate: Arc::clone(&gate),
            ring: Arc::clone(&ring),
            resolver: Arc::clone(&resolver),
            apart: Arc::clone(&apart),
            list,
            clock: Arc::clone(&clock),
            sealed_hours: (keep_ms / HOUR_MS, most_ms / HOUR_MS),
        };
        let requests = shared::requests(&config, sharing, means)?;
        tracing::trace!(target: "quorate::moment", "start log");
        let log = match log {
            Some(log) => log,
            None => open_log(&config, roles).await?,
        };
        let (events, released) = (config.events_root()?, config.statistics_root()?);
        if roles.worker {
            // What the tables rely on, before anything is written.
            events.probe().await.context("storage.events cannot hold tables")?;
            released.probe().await.context("storage.statistics cannot hold tables")?;
        }
        let disclosure = Disclosure::new(
            Arc::clone(&package),
            events.join("events"),
            released.join("statistics"),
            released.join("ledger"),
        )
        .with_memory(RELEASE_BYTES, Some(fresh_spill(&config.spill_dir())?));
        // A log without partitions too: it keeps the place of one that may come.
        let mut feeds = vec![Feed::log(Arc::clone(&log))];
        if roles.worker {
            feeds.extend(kafka::sources(&config, &package, &resolver).await?);
        }
        Ok(Self {
            config,
            roles,
            clock,
            time,
            package,
            ring,
            resolver,
            gate,
            requests: Arc::new(requests),
            apart,
            holds,
            log,
            streams: Streams::whole(feeds),
            own: Own::shared([], false),
            sink: None,
            disclosure: Arc::new(disclosure),
            _refresher: refresher,
            _lock: lock,
        })
    }

    /// How far everybody has committed the log, where this process is not alone with it.
    #[must_use]
    pub fn others(&self) -> Option<Others> {
        self.config.kafka.as_ref().and_then(|_| kafka::others(&self.config))
    }

    /// What of the streams is this worker's, as its tables were opened last.
    #[must_use]
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// Whether every partition of every stream is this worker's.
    #[must_use]
    pub fn owns_all(&self) -> bool {
        let mut all = self.streams.feeds().iter().flat_map(Feed::partitions);
        all.all(|partition| self.own.partitions.contains(&partition))
    }

    /// Opens the tables for what the groups give this worker now, and shuts out who wrote it before. What was written since
    /// the last commit is void. Without a partition the tables stay closed.
    ///
    /// # Errors
    ///
    /// As [`Store::reopen_tables`].
    pub async fn take_over(&mut self) -> anyhow::Result<()> {
        self.close_tables();
        let before = std::mem::replace(&mut self.own, self.streams.own());
        for partition in before.partitions.difference(&self.own.partitions) {
            if let Some(feed) = self.streams.of(*partition) {
                feed.release(*partition);
            }
        }
        // What is wanted back is ours no longer: from here on nothing is committed to it.
        self.streams.release();
        self.reopen_tables(false).await
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
        self.close_tables();
        if rebuild {
            tracing::warn!("the dedupe index is damaged and is built anew");
            let index = self.config.index_dir();
            std::fs::remove_dir_all(&index)
                .with_context(|| format!("cannot remove {}", index.display()))?;
        }
        self.open_tables().await
    }

    /// Closes the tables: what was not committed is void.
    pub(crate) fn close_tables(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.close();
        }
    }

    /// Opens the tables, and checks that they were filled from these streams and no further than they go.
    async fn open_tables(&mut self) -> anyhow::Result<()> {
        if self.own.partitions.is_empty() {
            return Ok(());
        }
        tracing::trace!(target: "quorate::moment", "start tables");
        let config = sink::SinkConfig {
            root: self.config.events_root()?,
            index: self.config.index_dir(),
            staging: self.config.staging_dir(),
            commit_bytes: self.config.sink.commit_bytes,
            row_group_rows: self.config.sink.row_group_rows,
        };
        let package = Arc::clone(&self.package);
        let mut sink = Sink::open(config, package, &self.streams.streams(), &self.own).await?;
        self.know_apart(&mut sink)?;
        for &partition in &self.own.partitions {
            let Some(feed) = self.streams.of(partition) else { continue };
            match feed.end(partition).await {
                // It is known by its marks too, once it can be reached.
                Err(_) if feed.is_of_others() => {}
                end => drop(sink.resume(partition, end?)?),
            }
        }
        self.sink = Some(sink);
        Ok(())
    }
}

impl Store {
    /// Tells the tables which rows are apart, so that they come in by no other way meanwhile.
    fn know_apart(&self, sink: &mut Sink) -> anyhow::Result<()> {
        self.apart.refresh()?;
        for lot in self.apart.list() {
            let is_here = matches!(lot.state, State::Taking | State::Kept | State::Returning);
            let is_row = lot.kind != Kind::Correction;
            let family = self.package.family(&lot.family).filter(|_| is_here && is_row);
            let Some((family, _)) = family else {
                continue;
            };
            if self.apart.has_key(&lot.id)? {
                sink.know_apart(family, &self.apart.take(&lot.id)?, (self.clock)())?;
            } else {
                tracing::error!(lot = lot.id, "rows are kept apart under a key that is gone");
            }
        }
        Ok(())
    }
}

/// Opens the log that the configuration names; none for a worker that reads topics of others alone.
async fn open_log(config: &Config, roles: Roles) -> anyhow::Result<Arc<dyn Log>> {
    match &config.kafka {
        Some(_) => kafka::open(config).await,
        None if config.has_embedded_log(roles) => Ok(Arc::new(embedded_log(config)?)),
        None => Ok(Arc::new(NoLog)),
    }
}

/// Opens the embedded log; a damaged one is refused with what can be done.
fn embedded_log(config: &Config) -> anyhow::Result<EmbeddedLog> {
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

/// Makes a folder that nobody but its owner can look into, if it is not there; its parents as usual.
fn make_private(folder: &Path) -> std::io::Result<()> {
    if let Some(parent) = folder.parent() {
        std::fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Holds a data folder for one process, and lets go when dropped.
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    pub(crate) fn take(data: &Path) -> anyhow::Result<Self> {
        make_private(data)
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
