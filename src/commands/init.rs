//! `quorate init`: a folder to start from.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use schemas::access::{Readers, SourceKind, Sources};

use crate::commands::access::entropy;
use crate::commands::print;
use crate::store::{default_package, system_clock};

/// The configuration with every key at its default, and what each means.
pub const CONFIGURATION: &str = include_str!("quorate.toml");

/// Options of `init`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder to make.
    name: PathBuf,
}

/// Makes the folder, and prints the two secrets and the next commands.
///
/// # Errors
///
/// If the folder is there already, or cannot be written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let folder = &args.name;
    if folder.exists() {
        bail!("{} exists: choose another name, or remove it first", folder.display());
    }
    let policy = folder.join("policy");
    std::fs::create_dir_all(&policy)
        .with_context(|| format!("cannot make {}", policy.display()))?;
    for (name, text) in default_package() {
        write(&policy.join(name), &text)?;
    }
    write(&policy.join(schemas::GENERATE_FILE), schemas::DEFAULT_GENERATE)?;
    write(&folder.join("quorate.toml"), CONFIGURATION)?;

    let now = system_clock()();
    let mut sources = Sources::default();
    let (all, any) = (Vec::new(), Vec::new());
    let key = sources.add("first-device", SourceKind::Device, all, any, now, entropy()?)?;
    sources.save(&folder.join("sources.toml"))?;
    let mut readers = Readers::default();
    let token = readers.add("first-reader", now, entropy()?)?;
    readers.save(&folder.join("readers.toml"))?;
    print(&next_steps(folder, key.reveal(), token.reveal()))
}

fn next_steps(folder: &Path, key: &str, token: &str) -> String {
    let folder = folder.display();
    format!(
        "\
{folder}/policy/        what is collected, why, for how long, and what may leave: edit it first
{folder}/quorate.toml   every setting, at its default

Shown once, kept only as hashes:
  key of the source first-device    {key}
  token of the reader first-reader  {token}

Next:
  quorate --config {folder}/quorate.toml policy check
  quorate --config {folder}/quorate.toml run
  curl http://127.0.0.1:8080/v1/events -H 'Authorization: Bearer {key}' \\
       -d '{{\"type\":\"device_usage\",\"id\":\"1\",\"serial_number\":\"X1-000417\",\"product\":\"x1\",\"version\":\"3.8.1\"}}'
  quorate --config {folder}/quorate.toml status
  open http://127.0.0.1:8081/ in a browser, and sign in with the token of first-reader
"
    )
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// A changed default must be changed in the written file, too.
    #[test]
    fn the_written_configuration_states_the_defaults() {
        let mut written: Config = toml::from_str(super::CONFIGURATION).unwrap();
        assert_eq!(written.policy.take(), Some("policy".into()));
        assert_eq!(format!("{written:?}"), format!("{:?}", Config::default()));
    }

    /// Every field that the configuration's `Debug` form names stands in the file, if only in a comment.
    #[test]
    fn the_written_configuration_has_every_key() {
        let debug = format!("{:?}", Config::default());
        for word in debug.split(|c: char| !(c.is_ascii_lowercase() || c == '_')) {
            let is_key = debug.contains(&format!("{word}: "));
            assert!(!is_key || super::CONFIGURATION.contains(word), "{word} is missing");
        }
    }
}
