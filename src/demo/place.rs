//! The folder of a demo: configuration, sources and a reader as somebody would set them up, and all data.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use schemas::Package;
use schemas::access::{Readers, SourceKind, Sources};
use tempfile::TempDir;

use crate::commands::access::entropy;
use crate::config::Config;
use crate::generate::Habits;
use crate::generate::client::Keys;
use crate::store::{package, system_clock};

/// Public id of the demo's site.
pub(super) const SITE: &str = "www.example.com";
/// Where its pages come from.
const ORIGIN: &str = "https://www.example.com";
/// The configuration file.
const FILE: &str = "quorate.toml";

/// Ports are free ones; addresses of made-up senders come as from a proxy.
const CONFIGURATION: &str = r#"# Written by `quorate demo`.
data    = "data"
sources = "sources.toml"
readers = "readers.toml"

[ingest]
listen          = "127.0.0.1:0"
trusted_proxies = 1

[query]
listen = "127.0.0.1:0"

[operator]
listen = "127.0.0.1:0"

[keyring]
dir                = "keyring"
key_encryption_key = "key-encryption.key"
"#;

/// A demo's folder, and the keys to it.
pub(super) struct Place {
    folder: PathBuf,
    temporary: Option<TempDir>,
    /// The configuration, as `--config` would load it.
    pub(super) config: Config,
    /// What the package's events look like.
    pub(super) habits: Arc<Habits>,
    /// Keys of the sources.
    pub(super) keys: Keys,
    /// Token of the reader.
    pub(super) token: String,
}

impl Place {
    /// Makes the folder: a new one, or a temporary one.
    ///
    /// # Errors
    ///
    /// If `data` holds something already, or cannot be written.
    pub(super) fn make(data: Option<PathBuf>, policy: Option<PathBuf>) -> anyhow::Result<Self> {
        let (folder, temporary) = match data {
            Some(folder) => (folder, None),
            None => {
                let temporary = tempfile::Builder::new().prefix("quorate-demo-").tempdir();
                let temporary = temporary.context("cannot make a temporary folder")?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        if std::fs::read_dir(&folder)?.next().is_some() {
            bail!("{} is not empty: give a folder that is not there yet", folder.display());
        }
        let config = configure(&folder, policy)?;
        let package = package(config.policy.as_deref())?;
        let habits = Arc::new(Habits::load(config.policy.as_deref(), &package)?);
        let keys = sources(&config, &package, &habits)?;
        let mut readers = Readers::default();
        let token = readers.add("demo-reader", system_clock()(), entropy()?)?;
        readers.save(&config.readers)?;
        let token = token.reveal().to_owned();
        Ok(Self { folder, temporary, config, habits, keys, token })
    }

    /// Everything that the demo writes is in here.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration file, if it outlives the demo.
    pub(super) fn kept(&self) -> Option<PathBuf> {
        self.temporary.is_none().then(|| self.folder.join(FILE))
    }
}

fn configure(folder: &Path, policy: Option<PathBuf>) -> anyhow::Result<Config> {
    let file = folder.join(FILE);
    let mut text = CONFIGURATION.to_owned();
    if let Some(policy) = policy {
        let policy = std::path::absolute(&policy)?.display().to_string();
        text = format!("policy = {}\n{text}", toml::Value::String(policy));
    }
    std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    Config::load(Some(&file))
}

/// A server that may send all, a kind of device that may send what devices send, and a site.
fn sources(config: &Config, package: &Package, habits: &Habits) -> anyhow::Result<Keys> {
    let now = system_clock()();
    let (visits, devices): (Vec<_>, Vec<_>) =
        package.families.iter().partition(|family| habits.browses(family));
    let names = |families: Vec<&schemas::Family>| -> Vec<String> {
        families.into_iter().map(|family| family.name.clone()).collect()
    };
    let mut sources = Sources::default();
    let server =
        sources.add("demo-server", SourceKind::Server, Vec::new(), Vec::new(), now, entropy()?)?;
    let mut keys = Keys { server: Some(server.reveal().to_owned()), ..Keys::default() };
    if !devices.is_empty() {
        let (kind, families) = (SourceKind::Device, names(devices));
        let key = sources.add("demo-devices", kind, families, Vec::new(), now, entropy()?)?;
        keys.device = Some(key.reveal().to_owned());
    }
    if !visits.is_empty() {
        let (kind, families) = (SourceKind::Site, names(visits));
        // A site has no secret: its id is in every page.
        drop(sources.add(SITE, kind, families, vec![ORIGIN.to_owned()], now, entropy()?)?);
        keys.site = Some((SITE.to_owned(), ORIGIN.to_owned()));
    }
    sources.save(&config.sources.registry)?;
    Ok(keys)
}
