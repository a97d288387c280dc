//! `quorate keyring`: what keys there are and were, by commitment; never a key.

use std::time::Duration;

use anonymizer::{Finding, KeyName, KeyRing, KeyState, Sharing, Verified};
use anyhow::{Context, bail};
use clap::Subcommand;
use storage::Root;

use crate::clock::{self, Clocks};
use crate::commands::{print, table};
use crate::config::Config;
use crate::store::{shared, system_clock};

/// Time for a running service to finish what it does with one key.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Commands about keys.
#[derive(Subcommand)]
pub enum KeyringCommand {
    /// Keys alive and destroyed, with their commitments.
    List,
    /// Makes a new key-encryption key and seals every key again under it; every service on it must be stopped.
    Rotate,
    /// Holds every key against the ledger of births and deaths; ends with 1 if something is not as it says.
    Verify,
    /// Says that the clock of this machine is right, after it jumped: what is due dies again, and periods close.
    TrustClock,
}

/// Runs a command about keys.
///
/// # Errors
///
/// If there is no key ring, or it cannot be opened; if the data folder cannot be written.
pub fn run(command: KeyringCommand, config: &Config) -> anyhow::Result<()> {
    match command {
        KeyringCommand::List => list(config),
        KeyringCommand::Rotate => rotate(config),
        KeyringCommand::Verify => verify(config),
        KeyringCommand::TrustClock => trust_clock(config),
    }
}

fn rotate(config: &Config) -> anyhow::Result<()> {
    let shelf = shared::keys(config)?;
    let mut wait = |ms: i64| {
        tracing::info!(seconds = ms / 1_000, "waiting whether any node is at work");
        std::thread::sleep(Duration::from_millis(ms.unsigned_abs()));
    };
    KeyRing::rotate_on(shelf.as_ref(), &config.keyring.key_encryption_key, &mut wait)?;
    let key = config.keyring.key_encryption_key.display();
    let others = match config.kafka {
        Some(_) => "; every other node needs a copy of it before it starts",
        None => "",
    };
    print(&format!("every key is sealed under a new key-encryption key in {key}{others}\n"))
}

/// Looks again where something is found: a running service may have been between a file and its line.
fn verify(config: &Config) -> anyhow::Result<()> {
    let (shelves, root) = (shared::shelves(config)?, config.events_root()?);
    let look = || -> anyhow::Result<Verified> {
        let mut verified = KeyRing::verify_on(&shelves, &config.keyring.key_encryption_key)?;
        verified.findings.extend(left_over(&root, &verified.destroyed)?);
        Ok(verified)
    };
    let mut verified = look()?;
    if !verified.findings.is_empty() {
        std::thread::sleep(AGAIN_AFTER);
        verified = look()?;
    }
    let mut text = String::new();
    for finding in &verified.findings {
        text.push_str(&format!("{finding}\n"));
    }
    let Verified { lines, alive, destroyed, findings } = &verified;
    text.push_str(&format!(
        "{lines} lines, {alive} keys alive, {} destroyed; {} findings\n",
        destroyed.len(),
        findings.len()
    ));
    print(&text)?;
    if !findings.is_empty() {
        bail!("the key ring is not as its ledger says");
    }
    Ok(())
}

/// Files of rows whose pseudonyms are under a destroyed key: `events/<family>/…/<order>_e<epoch>_<id>.parquet`.
fn left_over(root: &Root, destroyed: &[KeyName]) -> anyhow::Result<Vec<Finding>> {
    let files = root.files("events").with_context(|| format!("cannot list {root}"))?;
    let under_destroyed = |name: &String| key_of(name).is_some_and(|key| destroyed.contains(&key));
    let names = files.into_iter().map(|file| file.name).filter(under_destroyed);
    let found = |name: String| {
        let place = root.join(&name).to_string();
        Finding { place, what: "it holds rows under a destroyed key" }
    };
    Ok(names.map(found).collect())
}

/// The key of a file's pseudonyms, by its name.
fn key_of(name: &str) -> Option<KeyName> {
    let (family, rest) = name.strip_prefix("events/")?.split_once('/')?;
    let file = rest.rsplit('/').next()?;
    let (_, label) = file.strip_suffix(".parquet")?.split_once("_e")?;
    let epoch = label.split_once('_')?.0.parse().ok()?;
    Some(KeyName::Pseudonym { family: family.to_owned(), epoch })
}

/// A running service looks at the file every few seconds while it does not trust the clock.
fn trust_clock(config: &Config) -> anyhow::Result<()> {
    let now = clock::trust(&Clocks::system(), &config.clock_file())?;
    print(&format!("it is {now}: a running service goes on by this clock within seconds\n"))
}

fn list(config: &Config) -> anyhow::Result<()> {
    let (shelves, key) = (shared::shelves(config)?, &config.keyring.key_encryption_key);
    let ring = KeyRing::open_on(&shelves, key, &system_clock(), Sharing::Sole)?;
    let mut rows = vec![["key", "state", "created", "commitment"].map(str::to_owned).to_vec()];
    for entry in ring.list()? {
        let state = match entry.state {
            KeyState::Alive => "alive",
            KeyState::Destroyed => "destroyed",
        };
        let cells = [entry.name.to_string(), state.to_owned(), entry.created.to_string()];
        rows.push([cells.as_slice(), &[entry.commitment]].concat());
    }
    print(&table(&rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_under_a_destroyed_key_are_found_by_the_name_of_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let day = folder.path().join("events/web/day=2026-11-20");
        std::fs::create_dir_all(&day).unwrap();
        for epoch in [20_776, 20_777, -3] {
            std::fs::write(day.join(format!("fresh_e{epoch}_0011.parquet")), "").unwrap();
        }
        std::fs::write(day.join("other.parquet"), "").unwrap();
        let key = |family: &str, epoch| KeyName::Pseudonym { family: family.to_owned(), epoch };
        let found =
            |destroyed: &[KeyName]| left_over(&Root::folder(folder.path()), destroyed).unwrap();
        assert_eq!(found(&[key("device_usage", 20_776), key("web", 7)]), []);
        let findings = found(&[key("web", 20_776), key("web", -3)]);
        assert_eq!(findings.len(), 2);
        assert!(findings.iter().all(|finding| !finding.place.contains("20777")));
        assert_eq!(
            left_over(&Root::folder(&folder.path().join("none")), &[key("web", 1)]).unwrap(),
            []
        );
    }
}
