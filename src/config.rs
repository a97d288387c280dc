//! The one configuration file, read once and checked whole before a socket opens.
//!
//! Every key has a default, so an empty file is a working configuration; an unknown key is an error.
//! Relative paths are relative to the file. `quorate init` writes a commented copy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use schemas::time::HOUR_MS;
use serde::Deserialize;

use crate::harden::LockMemory;

/// Everything that can be configured.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the policy package; without it the package `schemas/default` that the binary carries.
    pub policy: Option<PathBuf>,
    /// Folder of everything that is written: log, tables, index. One process at a time.
    pub data: PathBuf,
    /// Registry of who may write (`quorate source`); holds hashes of keys only.
    pub sources: PathBuf,
    /// Registry of who may read (`quorate reader`); holds hashes of tokens only.
    pub readers: PathBuf,
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
    /// Folder of the sealed keys, without versions or backups: a copy of it undoes every destruction.
    pub dir: PathBuf,
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
    /// Partitions, 1 to 64; fixed for the life of a data folder.
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
            sources: "sources.toml".into(),
            readers: "readers.toml".into(),
            ingest: ingest::IngestConfig::default(),
            query: QueryConfig::default(),
            operator: OperatorConfig::default(),
            keyring: KeyringConfig::default(),
            resolve: ResolveConfig::default(),
            log: LogConfig::default(),
            sink: SinkConfig::default(),
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
        place(&mut self.sources);
        place(&mut self.readers);
        place(&mut self.keyring.dir);
        place(&mut self.keyring.key_encryption_key);
        self.policy.iter_mut().for_each(place);
        self.resolve.geo_database.iter_mut().for_each(place);
        self.resolve.user_agents.iter_mut().for_each(place);
        for tls in self.ingest.tls.iter_mut().chain(&mut self.query.tls) {
            place(&mut tls.certificate);
            place(&mut tls.key);
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
        if !(1..=64).contains(&log.partitions) {
            bail!("log.partitions must be between 1 and 64");
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
        if self.keyring.dir.starts_with(&self.data) {
            bail!(
                "keyring.dir must not lie inside data: whoever copies the data must not copy the keys"
            );
        }
        self.ingest.check().context("[ingest] is not valid")
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

    /// Folder of files that do not outlive the process; emptied at start.
    #[must_use]
    pub fn spill_dir(&self) -> PathBuf {
        self.data.join("spill")
    }

    /// Folder of raw schemas of earlier policies.
    #[must_use]
    pub fn archive_dir(&self) -> PathBuf {
        self.data.join("policies")
    }

    /// Root of `events/` and `ledger/`.
    #[must_use]
    pub fn tables_dir(&self) -> &Path {
        &self.data
    }

    /// Root of the statistics tables.
    #[must_use]
    pub fn statistics_dir(&self) -> PathBuf {
        self.data.join("statistics")
    }

    /// Root of the ledgers: outcomes, releases, keys.
    #[must_use]
    pub fn ledger_dir(&self) -> PathBuf {
        self.data.join("ledger")
    }

    /// Who must not come in any more.
    #[must_use]
    pub fn suppression_list(&self) -> PathBuf {
        self.data.join("suppression").join("list.json")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<()> {
        let config: Config = toml::from_str(text)?;
        config.check()
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
        ] {
            let error = format!("{:#}", read(text).expect_err(text));
            assert!(error.contains(key), "{text}: {error}");
        }
    }
}
