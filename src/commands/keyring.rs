//! `quorate keyring`: what keys there are and were, by commitment; never a key.

use anonymizer::{KeyRing, KeyState};
use clap::Subcommand;

use crate::commands::{print, table};
use crate::config::Config;
use crate::store::system_clock;

/// Commands about keys.
#[derive(Subcommand)]
pub enum KeyringCommand {
    /// Keys alive and destroyed, with their commitments.
    List,
}

/// Runs a command about keys.
///
/// # Errors
///
/// If there is no key ring, or it cannot be opened.
pub fn run(command: KeyringCommand, config: &Config) -> anyhow::Result<()> {
    let KeyringCommand::List = command;
    let (dir, key) = (&config.keyring.dir, &config.keyring.key_encryption_key);
    let ring = KeyRing::open(dir, key, &config.key_ledger(), &system_clock())?;
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
