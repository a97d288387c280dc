//! Keys alive and destroyed by commitment, held against ledger, ring and clock.

use std::collections::BTreeSet;

use anonymizer::{KeyEntry, KeyName, KeyRing, KeyState, Shelves};
use schemas::time::HOUR_MS;
use schemas::{Millis, Package};
use storage::Root;

use super::finding::{Code, Finding};
use super::report::KeyAtRest;
use crate::config::Config;
use crate::store::shared;

/// Time for a running service to destroy what is due.
const SLACK_MS: i64 = HOUR_MS;

/// The file that makes a folder a key ring.
const MARKER: &str = "ring.json";

/// What the ledger of keys says.
#[derive(Default)]
pub(super) struct Keys {
    entries: Vec<KeyEntry>,
}

impl Keys {
    /// Reads ledger and ring, and tells what is not as the ledger says or lives too long.
    pub(super) fn look(
        config: &Config,
        package: &Package,
        now: Millis,
        findings: &mut Vec<Finding>,
    ) -> anyhow::Result<Self> {
        let shelves = shared::shelves(config)?;
        let ledger = shelves.ledger.place(&shelves.ledger_name).display().to_string();
        let written = shelves.ledger.read_from(&shelves.ledger_name, 0)?;
        if written.is_empty() && shelves.ring.read(MARKER)?.is_none() {
            // Nothing was ever sealed here.
            return Ok(Self::default());
        }
        let keys = match KeyRing::list_on(&shelves) {
            Ok(entries) => Self { entries },
            Err(_) => {
                let what = "a line of the ledger of keys cannot be read";
                findings.push(Finding::new(Code::KeyLedger, what, ledger.clone()));
                Self::default()
            }
        };
        verify(&shelves, config, &ledger, findings);
        let (_, raw_retention_max_ms) = config.log.raw_retention_ms();
        for KeyEntry { name, created, state, .. } in &keys.entries {
            let due = name.is_over(package, *created, now.plus(-SLACK_MS), raw_retention_max_ms);
            if let Some(why) = due.filter(|_| *state == KeyState::Alive) {
                let what = format!("the key lives, and its time is over: {why}");
                findings.push(Finding::new(Code::KeyPastEnd, what, name.to_string()));
            }
        }
        let list = config.events_root()?;
        keys.unused(&list, findings)?;
        if list.exists("suppression/list.json")? && !keys.has(&KeyName::Suppression) {
            let what = "the suppression list is there, and its key is not";
            findings.push(Finding::new(Code::SuppressionWithoutKey, what, list_place(&list)));
        }
        Ok(keys)
    }

    /// Keys of rows kept apart that are there no more.
    fn unused(&self, root: &Root, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
        for key in self.entries.iter().filter(|key| key.state == KeyState::Alive) {
            if let KeyName::Apart { id } = &key.name
                && !root.exists(&format!("apart/{id}.json"))?
            {
                let what = "the key lives, and the rows kept apart under it are gone";
                findings.push(Finding::new(Code::KeyPastEnd, what, key.name.to_string()));
            }
        }
        Ok(())
    }

    fn has(&self, name: &KeyName) -> bool {
        self.entries.iter().any(|key| key.name == *name && key.state == KeyState::Alive)
    }

    /// Names of the keys that the ledger tells to be destroyed.
    pub(super) fn destroyed(&self) -> BTreeSet<KeyName> {
        let destroyed = self.entries.iter().filter(|key| key.state == KeyState::Destroyed);
        destroyed.map(|key| key.name.clone()).collect()
    }

    /// How many live, and since when the oldest and the newest.
    pub(super) fn alive(&self) -> (u64, Option<Millis>, Option<Millis>) {
        let alive = || self.entries.iter().filter(|key| key.state == KeyState::Alive);
        let created = || alive().map(|key| key.created);
        (alive().count() as u64, created().min(), created().max())
    }

    /// Every key there ever was.
    pub(super) fn told(&self) -> Vec<KeyAtRest> {
        let told = self.entries.iter().map(|key| KeyAtRest {
            key: key.name.to_string(),
            state: match key.state {
                KeyState::Alive => "alive",
                KeyState::Destroyed => "destroyed",
            },
            created: key.created.to_string(),
            destroyed: key.destroyed.map(|time| time.to_string()),
            commitment: key.commitment.clone(),
        });
        told.collect()
    }
}

fn list_place(root: &Root) -> String {
    root.join("suppression/list.json").to_string()
}

/// What `quorate keyring verify` finds.
fn verify(shelves: &Shelves, config: &Config, ledger: &str, findings: &mut Vec<Finding>) {
    match KeyRing::verify_on(shelves, &config.keyring.key_encryption_key) {
        Ok(verified) => {
            for found in verified.findings {
                let code = if found.place.starts_with(ledger) {
                    Code::KeyLedger
                } else if found.what.starts_with("the key is destroyed by the ledger") {
                    Code::KeyNotDestroyed
                } else {
                    Code::KeyRing
                };
                findings.push(Finding::new(code, found.what, found.place));
            }
        }
        Err(error) => {
            let place = config.keyring.dir.to_string();
            findings.push(Finding::new(Code::KeyRing, error.to_string(), place));
        }
    }
}
