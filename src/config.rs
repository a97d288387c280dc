//! The one configuration file, read once and checked whole before a socket opens.
//!
//! Every key has a default, so an empty file is a working configuration; an unknown key is an error.
//! Relative paths are relative to the file. `quorate init` writes a commented copy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use schemas::time::HOUR_MS;
use serde::Deserialize;
use storage::Root;

use crate::harden::LockMemory;

mod kafka;
mod place;
mod roles;

pub use kafka::{KafkaConfig, KafkaSource, SourcesConfig, Start};
pub use place::{Location, Properties, RootConfig, StorageConfig};
pub use roles::Roles;

/// Most partitions of the embedded log, and of a topic.
const PARTITIONS_MAX: [u16; 2] = [64, 1_024];

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the policy package; without it the package `schemas/default` that the binary carries.
    pub policy: Option<PathBuf>,
    /// Folder of everything that is written and not put elsewhere by `storage`: log, tables, index. One process at a time.
    pub data: PathBuf,
    /// Where events come from: who may post them, and topics of others.
    pub sources: SourcesConfig,
    /// Registry of who may read (`quorate reader`); holds hashes of tokens only.
    pub readers: PathBuf,
    /// Where this machine is, by your word, for a package that promises a residency: a country (`DE`) or `EEA`.
    pub region: Option<String>,
    /// Who posts events, and how much of it is taken.
    pub ingest: ingest::IngestConfig,
    /// Who reads statistics.
    pub query: QueryConfig,
    /// Health, metrics, status.
    pub operator: OperatorConfig,
    /// Where keys are.
    pub keyring: KeyringConfig,
    /// Address to country, user agent to browser.
    pub resolve: ResolveConfig,
    /// The log between the door and the tables.
    pub log: LogConfig,
    /// The tables.
    pub sink: SinkConfig,
    /// The log in Kafka; without it the embedded one.
    pub kafka: Option<KafkaConfig>,
    /// Tables that several machines share.
    pub storage: StorageConfig,
}

/// The port at which statistics are read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueryConfig {
    /// Address and port of the page and of what it asks.
    pub listen: SocketAddr,
    /// Certificate and key; without them the port is reachable from this machine alone.
    pub tls: Option<ingest::Tls>,
    /// Write `"tokens and statistics travel unencrypted"` to listen beyond this machine without TLS, for instance behind
    /// a proxy that ends TLS, on a network of its own.
    pub plain_text_off_loopback: Option<PlainText>,
}

/// That somebody knows what reading without TLS means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum PlainText {
    /// The sentence to write.
    #[serde(rename = "tokens and statistics travel unencrypted")]
    TokensAndStatisticsTravelUnencrypted,
}

/// The operator's port: no token is asked, so it must not be reachable from outside.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperatorConfig {
    /// Address and port of `/healthz`, `/readyz`, `/metrics` and `/status`; loopback only.
    pub listen: SocketAddr,
}

/// Where keys are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyringConfig {
    /// The sealed keys, without versions or backups: a copy of them undoes every destruction. A folder, or a prefix of an
    /// object store that all nodes share.
    pub dir: Location,
    /// Settings of that store, as `storage.events.options`.
    pub options: Properties,
    /// Where it is, as `storage.events.region`.
    pub region: Option<String>,
    /// File of the key-encryption key. On another device than `dir` a stolen disk opens nothing.
    pub key_encryption_key: PathBuf,
    /// Whether to start where the system does not lock the memory of keys.
    pub lock_memory: LockMemory,
    /// Whether to start with keys on a file system that keeps what is overwritten.
    pub accept_snapshots: bool,
}

/// Address to country, user agent to browser.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResolveConfig {
    /// MMDB file with `country.iso_code` (GeoLite2, GeoIP2) or `country_code`; without it the shipped
    /// one. Looked at again every minute, and reloaded when it changed.
    pub geo_database: Option<PathBuf>,
    /// `regexes.yaml` of uap-core; without it the shipped one.
    pub user_agents: Option<PathBuf>,
}

/// The log between the door and the tables.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Partitions, 1 to 64, in Kafka 1 to 1024; fixed for the life of a log.
    pub partitions: u16,
    /// Sealed frames and their keys are removed after this many hours, once committed. More allows a
    /// longer replay, and keeps raw events (encrypted) longer.
    pub raw_retention_hours: u32,
    /// They are removed after this many hours even if not committed.
    pub raw_retention_max_hours: u32,
    /// Bytes that stay free on the disk for what was acknowledged: with less, events are answered 503. 0 switches
    /// it off.
    pub free_space_min: u64,
}

/// The tables.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SinkConfig {
    /// Seconds between commits; more gives fewer, larger files and later statistics.
    pub commit_every_s: u64,
    /// Bytes of rows after which a commit is made early.
    pub commit_bytes: u64,
    /// Rows of a Parquet row group; more compresses better and needs more memory.
    pub row_group_rows: usize,
    /// Seconds between rounds of release, compaction and removal.
    pub maintain_every_s: u64,
}

impl KeyringConfig {
    /// The folder of keys.
    ///
    /// # Errors
    ///
    /// If they are in an object store.
    pub fn folder(&self) -> anyhow::Result<&Path> {
        self.dir.folder().context("keyring.dir must be a folder of this machine for this")
    }
}

impl LogConfig {
    /// How long frames and their keys live once committed, and how long at most, in milliseconds.
    #[must_use]
    pub fn raw_retention_ms(&self) -> (i64, i64) {
        let ms = |hours: u32| i64::from(hours) * HOUR_MS;
        (ms(self.raw_retention_hours), ms(self.raw_retention_max_hours))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: None,
            data: "data".into(),
            sources: SourcesConfig::default(),
            readers: "readers.toml".into(),
            region: None,
            ingest: ingest::IngestConfig::default(),
            query: QueryConfig::default(),
            operator: OperatorConfig::default(),
            keyring: KeyringConfig::default(),
            resolve: ResolveConfig::default(),
            log: LogConfig::default(),
            sink: SinkConfig::default(),
            kafka: None,
            storage: StorageConfig::default(),
        }
    }
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            tls: None,
            plain_text_off_loopback: None,
        }
    }
}

impl Default for OperatorConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

impl Default for KeyringConfig {
    fn default() -> Self {
        Self {
            dir: "keyring".into(),
            options: Properties::default(),
            region: None,
            key_encryption_key: "key-encryption.key".into(),
            lock_memory: LockMemory::default(),
            accept_snapshots: false,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            partitions: 2,
            raw_retention_hours: 72,
            raw_retention_max_hours: 96,
            free_space_min: 256 << 20,
        }
    }
}

impl Default for SinkConfig {
    fn default() -> Self {
        Self {
            commit_every_s: 10,
            commit_bytes: 64 << 20,
            row_group_rows: 128 << 10,
            maintain_every_s: 60,
        }
    }
}

impl Config {
    /// Reads and checks the file; without one, the defaults with paths in the current folder.
    ///
    /// # Errors
    ///
    /// What is wrong, where, and what would be right.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let default = Path::new("quorate.toml");
        let Some(file) = file.or_else(|| default.exists().then_some(default)) else {
            let config = Self::default();
            config.check()?;
            return Ok(config);
        };
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read the configuration {}", file.display()))?;
        let config: Self = toml::from_str(&text)
            .with_context(|| format!("the configuration {} is not valid", file.display()))?;
        let config = config.relative_to(file.parent().unwrap_or(Path::new(".")));
        config.check()?;
        Ok(config)
    }

    /// The same configuration with every relative path under `folder`.
    #[must_use]
    pub fn relative_to(mut self, folder: &Path) -> Self {
        let place = |path: &mut PathBuf| *path = folder.join(&*path);
        place(&mut self.data);
        place(&mut self.readers);
        place(&mut self.keyring.key_encryption_key);
        self.policy.iter_mut().for_each(place);
        self.resolve.geo_database.iter_mut().for_each(place);
        self.resolve.user_agents.iter_mut().for_each(place);
        for tls in self.ingest.tls.iter_mut().chain(&mut self.query.tls) {
            place(&mut tls.certificate);
            place(&mut tls.key);
        }
        self.sources.relative_to(folder);
        self.keyring.dir.relative_to(folder);
        self.keyring.options.relative_to(folder);
        for root in self.storage.events.iter_mut().chain(&mut self.storage.statistics) {
            root.relative_to(folder);
        }
        if let Some(kafka) = &mut self.kafka {
            kafka.properties.relative_to(folder);
        }
        self
    }

    /// Checks what types cannot.
    ///
    /// # Errors
    ///
    /// The first rule that does not hold, with the key's name and what to write.
    pub fn check(&self) -> anyhow::Result<()> {
        let operator = self.operator.listen;
        if !operator.ip().is_loopback() {
            let port = operator.port();
            bail!("operator.listen must be a loopback address, such as 127.0.0.1:{port}");
        }
        let QueryConfig { listen, tls, plain_text_off_loopback } = &self.query;
        if !listen.ip().is_loopback() && tls.is_none() && plain_text_off_loopback.is_none() {
            bail!(
                "query.listen is not a loopback address and there is no TLS: set query.tls, or write \
                 query.plain_text_off_loopback = \"tokens and statistics travel unencrypted\""
            );
        }
        let log = &self.log;
        let partitions_max = PARTITIONS_MAX[usize::from(self.kafka.is_some())];
        if !(1..=partitions_max).contains(&log.partitions) {
            bail!("log.partitions must be between 1 and {partitions_max}");
        }
        if log.raw_retention_hours == 0 || log.raw_retention_hours > log.raw_retention_max_hours {
            bail!(
                "log.raw_retention_hours must be at least 1 and at most log.raw_retention_max_hours"
            );
        }
        if self.sink.commit_every_s == 0 || self.sink.maintain_every_s == 0 {
            bail!("sink.commit_every_s and sink.maintain_every_s must be at least 1");
        }
        if self.sink.commit_bytes < 1 << 20 || self.sink.row_group_rows < 1024 {
            bail!(
                "sink.commit_bytes must be at least 1048576 and sink.row_group_rows at least 1024"
            );
        }
        self.check_places()?;
        if let Some(kafka) = &self.kafka {
            kafka.check()?;
        }
        self.sources.check(&self.kafka_properties())?;
        self.ingest.check().context("[ingest] is not valid")
    }

    /// Keys lie apart from what they open, and what is at a URL can be reached.
    fn check_places(&self) -> anyhow::Result<()> {
        let StorageConfig { events, statistics } = &self.storage;
        let roots = [("storage.events.url", events), ("storage.statistics.url", statistics)];
        let roots = roots.into_iter().filter_map(|(key, root)| Some((key, &root.as_ref()?.url)));
        let data = Location::Folder(self.data.clone());
        let keys = &self.keyring.dir;
        for (key, place) in roots.clone().chain([("data", &data)]) {
            if keys.lies_in(place) {
                bail!(
                    "keyring.dir must not lie inside {key}: whoever copies the data must not copy the keys"
                );
            }
        }
        for (key, place) in roots.chain([("keyring.dir", keys)]) {
            if matches!(place, Location::Url(_)) && !cfg!(feature = "s3") {
                bail!("{key} is a URL, but this binary was built without the feature `s3`");
            }
        }
        Ok(())
    }

    /// Checks what a process of these roles needs beyond [`Config::check`].
    ///
    /// # Errors
    ///
    /// What is missing, and what to write.
    pub fn check_roles(&self, roles: Roles) -> anyhow::Result<()> {
        if roles.is_all() {
            return Ok(());
        }
        let Roles { ingest, worker, query } = roles;
        if self.kafka.is_none() && ingest {
            bail!(
                "--roles {roles} needs [kafka]: without it events are in a log of this process alone; write [kafka] with its properties, or run all three roles"
            );
        }
        if self.kafka.is_none() && worker && self.sources.kafka.is_empty() {
            bail!(
                "--roles {roles} needs [kafka] or a [[sources.kafka]]: there is nothing else that a worker of its own could read"
            );
        }
        let missing = |role: &str, table: &str| {
            anyhow::anyhow!(
                "--roles {roles} needs [{table}] with a `url` that all nodes reach: {role} shares it with others"
            )
        };
        if (worker || ingest) && self.storage.events.is_none() {
            return Err(missing(if worker { "worker" } else { "ingest" }, "storage.events"));
        }
        if (worker || query) && self.storage.statistics.is_none() {
            return Err(missing(if worker { "worker" } else { "query" }, "storage.statistics"));
        }
        Ok(())
    }

    /// librdkafka's settings for every client; none without `[kafka]`.
    pub(crate) fn kafka_properties(&self) -> Properties {
        self.kafka.as_ref().map(|kafka| kafka.properties.clone()).unwrap_or_default()
    }

    /// Whether other processes may work on the same tables and keys.
    #[must_use]
    pub fn is_shared(&self, roles: Roles) -> bool {
        self.kafka.is_some() || !roles.is_all()
    }

    /// Whether the log is the embedded one: workers without it and without Kafka read topics of others alone.
    #[must_use]
    pub fn has_embedded_log(&self, roles: Roles) -> bool {
        self.kafka.is_none() && roles.is_all()
    }

    /// Folder of the embedded log.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.data.join("log")
    }

    /// What the clocks said when they last agreed.
    #[must_use]
    pub fn clock_file(&self) -> PathBuf {
        self.data.join("clock.json")
    }

    /// Folder of the deduplication index.
    #[must_use]
    pub fn index_dir(&self) -> PathBuf {
        self.data.join("index")
    }

    /// Folder of data files on their way to the tables; emptied at start.
    #[must_use]
    pub fn staging_dir(&self) -> PathBuf {
        self.data.join("staging")
    }

    /// Folder of files that do not outlive the process; emptied at start.
    #[must_use]
    pub fn spill_dir(&self) -> PathBuf {
        self.data.join("spill")
    }

    /// Folder of raw schemas of earlier policies.
    #[must_use]
    pub fn archive_dir(&self) -> PathBuf {
        self.tables_dir().join("policies")
    }

    /// Root of `events/` and `ledger/`, if it is a folder.
    #[must_use]
    pub fn tables_dir(&self) -> &Path {
        let root = self.storage.events.as_ref();
        root.and_then(|root| root.url.folder()).unwrap_or(&self.data)
    }

    /// Root of the other ledgers: outcomes, keys, requests.
    #[must_use]
    pub fn ledger_dir(&self) -> PathBuf {
        self.tables_dir().join("ledger")
    }

    /// Where rows, ledgers, suppression list and archived policies are.
    ///
    /// # Errors
    ///
    /// If its URL or an option cannot be used.
    pub fn events_root(&self) -> anyhow::Result<Root> {
        root(self.storage.events.as_ref(), &self.data, "storage.events")
    }

    /// Where keys are.
    ///
    /// # Errors
    ///
    /// As [`Config::events_root`].
    pub fn keys_root(&self) -> anyhow::Result<Root> {
        let KeyringConfig { dir, options, .. } = &self.keyring;
        let options = options.read().context("keyring.options cannot be used")?;
        Root::parse(&dir.to_string(), &options).context("keyring.dir cannot be used")
    }

    /// Where statistics and the ledger of releases are.
    ///
    /// # Errors
    ///
    /// As [`Config::events_root`].
    pub fn statistics_root(&self) -> anyhow::Result<Root> {
        root(self.storage.statistics.as_ref(), &self.data, "storage.statistics")
    }

    /// The tables of statistics and the ledger of releases.
    ///
    /// # Errors
    ///
    /// As [`Config::events_root`].
    pub fn released(&self) -> anyhow::Result<(Root, Root)> {
        let root = self.statistics_root()?;
        Ok((root.join("statistics"), root.join("ledger")))
    }

    /// Who must not come in any more.
    #[must_use]
    pub fn suppression_list(&self) -> PathBuf {
        self.tables_dir().join("suppression").join("list.json")
    }

    /// Ledger of erasures and objections.
    #[must_use]
    pub fn request_ledger(&self) -> PathBuf {
        self.ledger_dir().join("requests.jsonl")
    }

    /// What opens the operator's port to who may read the data folder; another one at each start.
    #[must_use]
    pub fn operator_token(&self) -> PathBuf {
        self.data.join("operator.token")
    }

    /// Ledger of keys created and destroyed.
    #[must_use]
    pub fn key_ledger(&self) -> PathBuf {
        self.ledger_dir().join("keys.jsonl")
    }
}

/// A configured root, or the data folder.
fn root(configured: Option<&RootConfig>, data: &Path, key: &str) -> anyhow::Result<Root> {
    let Some(RootConfig { url, options, .. }) = configured else { return Ok(Root::folder(data)) };
    let options = options.read().with_context(|| format!("{key}.options cannot be used"))?;
    Root::parse(&url.to_string(), &options).with_context(|| format!("{key} cannot be used"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<()> {
        let config: Config = toml::from_str(text)?;
        config.check()
    }

    const KAFKA: &str = "[kafka.properties]\n\"bootstrap.servers\" = \"a:9092\"\n";

    fn source(name: &str, more: &str) -> String {
        format!(
            "[[sources.kafka]]\nname = \"{name}\"\ntopic = \"t\"\ngroup = \"g\"\n{more}\n\
             [sources.kafka.properties]\n\"bootstrap.servers\" = \"a:9092\"\n"
        )
    }

    #[test]
    fn sources_are_a_file_or_a_table_with_topics() {
        let sources = |text: &str| toml::from_str::<Config>(text).unwrap().sources;
        assert_eq!(sources("sources = \"who.toml\"").registry, Path::new("who.toml"));
        assert_eq!(sources("").registry, Path::new("sources.toml"));
        let table =
            sources(&format!("[sources]\nregistry = \"x\"\n{}", source("a", "family = \"web\"")));
        assert_eq!((table.registry.as_path(), table.kafka.len()), (Path::new("x"), 1));
        read(&format!("{KAFKA}[log]\npartitions = 1024")).unwrap();
        read(&source("orders", "family_field = \"type\"")).unwrap();
    }

    #[test]
    fn a_role_alone_needs_what_it_shares_with_others() {
        let check = |text: &str, roles: &str| {
            let config: Config = toml::from_str(text).unwrap();
            config.check().unwrap();
            config.check_roles(roles.parse().unwrap()).map_err(|error| format!("{error:#}"))
        };
        let events = "[storage.events]\nurl = \"/srv/e\"\n";
        let statistics = "[storage.statistics]\nurl = \"/srv/s\"\n";
        let both = format!("{events}{statistics}");
        check("", "ingest,worker,query").unwrap();
        check(statistics, "query").unwrap();
        check(&format!("{KAFKA}{events}"), "ingest").unwrap();
        check(&format!("{KAFKA}{both}"), "worker").unwrap();
        let topic = source("a", "family = \"web\"");
        check(&format!("{topic}{both}"), "worker").unwrap();
        for (text, roles, missing) in [
            (both.as_str(), "ingest", "[kafka]"),
            (&both, "ingest,worker", "[kafka]"),
            (&both, "worker", "[[sources.kafka]]"),
            (KAFKA, "ingest", "[storage.events]"),
            (&format!("{KAFKA}{events}"), "worker", "[storage.statistics]"),
            (events, "query", "[storage.statistics]"),
        ] {
            let error = check(text, roles).expect_err(roles);
            assert!(error.contains(missing), "{roles}: {error}");
        }
    }

    #[test]
    fn an_empty_file_is_a_working_configuration() {
        read("").unwrap();
    }

    #[test]
    fn readers_on_other_machines_need_tls_or_a_typed_sentence() {
        let open = "[query]\nlisten = \"0.0.0.0:8081\"\n";
        let error = format!("{:#}", read(open).unwrap_err());
        assert!(error.contains("tokens and statistics travel unencrypted"), "{error}");
        for word in ["true", "\"yes\"", "\"events and keys travel unencrypted\""] {
            assert!(read(&format!("{open}plain_text_off_loopback = {word}")).is_err(), "{word}");
        }
        let sentence = "\"tokens and statistics travel unencrypted\"";
        read(&format!("{open}plain_text_off_loopback = {sentence}")).unwrap();
        let tls = "tls = { certificate = \"a\", key = \"b\" }";
        read(&format!("{open}{tls}")).unwrap();
        let config: Config = toml::from_str(&format!("{open}{tls}")).unwrap();
        let tls = config.relative_to(Path::new("/etc/quorate")).query.tls.unwrap();
        assert_eq!(tls.certificate, Path::new("/etc/quorate/a"));
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_key_that_is_wrong() {
        for (text, key) in [
            ("dta = \"x\"", "dta"),
            ("[operator]\nlisten = \"0.0.0.0:9090\"", "operator.listen"),
            ("[query]\nlisten = \"0.0.0.0:8081\"", "query.listen"),
            ("[log]\npartitions = 0", "log.partitions"),
            ("[log]\nraw_retention_hours = 200", "log.raw_retention_hours"),
            ("[sink]\ncommit_every_s = 0", "sink.commit_every_s"),
            ("[sink]\ncommit_bytes = 1", "sink.commit_bytes"),
            ("[keyring]\ndir = \"data/keys\"", "keyring.dir"),
            ("[keyring]\nlock_memory = \"perhaps\"", "lock_memory"),
            ("[ingest]\nlisten = \"0.0.0.0:8080\"", "[ingest]"),
            ("[log]\npartitions = 65", "between 1 and 64"),
            ("[kafka]", "bootstrap.servers"),
            ("[kafka]\nprefix = \"a b\"", "kafka.prefix"),
            ("[kafka]\nreplicas = 3", "replicas"),
            ("[storage.events]\nurl = \"keyring\"", "keyring.dir"),
            (
                "[storage.events]\nurl = \"s3://b/e\"\n[keyring]\ndir = \"s3://b/e/k\"",
                "storage.events.url",
            ),
            ("[storage.rows]\nurl = \"x\"", "rows"),
            ("[[sources.kafka]]\nname = \"a\"", "topic"),
            (&source("a b", "family = \"web\""), "name of each"),
            (&source("a", ""), "family_field"),
            (
                &[source("a", "family = \"web\""), source("a", "family = \"web\"")].concat(),
                "two [[sources.kafka]]",
            ),
            (
                "[[sources.kafka]]\nname = \"a\"\ntopic = \"t\"\ngroup = \"g\"\nfamily = \"web\"",
                "bootstrap.servers",
            ),
        ] {
            let error = format!("{:#}", read(text).expect_err(text));
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
