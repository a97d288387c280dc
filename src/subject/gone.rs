//! Epochs whose key is gone: nothing that is stored of them can be told apart any more, and the answer says so.

use std::collections::BTreeMap;

use anonymizer::{KeyEntry, KeyName, KeyState};
use schemas::time::epoch_start;
use schemas::{Family, Millis};
use serde::{Deserialize, Serialize};

/// One epoch of a family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its first moment, RFC 3339.
    pub from: String,
    /// The moment it ended, or ends.
    pub to: String,
    /// When its key was destroyed; none while it is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_destroyed: Option<String>,
    /// The key's commitment in the ledger of keys, which proves that it is this key.
    pub commitment: String,
    /// Rows of the contributor that are stored; none where nobody can tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}

/// All epochs whose key is gone, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// How many there are.
    pub epochs: usize,
    /// Before this moment, RFC 3339, nobody can be told from anybody else.
    pub before: String,
    /// When the last of their keys was destroyed.
    pub last_destroyed: String,
    /// That key's commitment in the ledger of keys.
    pub commitment: String,
    /// Why nothing can be said of them.
    pub why: String,
}

/// The epochs of a family, by what the ledger of keys says, and how many rows are stored in each that lives.
pub(super) fn epochs(family: &Family, keys: &[KeyEntry], rows: &BTreeMap<i32, u64>) -> Vec<Epoch> {
    let mut epochs: Vec<(i32, Epoch)> = Vec::new();
    for key in keys {
        let KeyName::Pseudonym { family: named, epoch } = &key.name else { continue };
        if *named != family.name {
            continue;
        }
        let start = |epoch: i32| epoch_start(epoch, family.epoch_days);
        let is_alive = key.state == KeyState::Alive;
        let told = Epoch {
            from: start(*epoch).to_string(),
            to: start(epoch.saturating_add(1)).to_string(),
            key_destroyed: key.destroyed.filter(|_| !is_alive).map(|at| at.to_string()),
            commitment: key.commitment.clone(),
            rows: is_alive.then(|| rows.get(epoch).copied().unwrap_or(0)),
        };
        epochs.push((*epoch, told));
    }
    epochs.sort_by_key(|(epoch, _)| *epoch);
    epochs.into_iter().map(|(_, epoch)| epoch).collect()
}

/// What those say whose key is gone; none if every key is alive.
pub(super) fn gone(family: &Family, keys: &[KeyEntry]) -> Option<Gone> {
    let epochs = epochs(family, keys, &BTreeMap::new());
    let gone: Vec<&Epoch> = epochs.iter().filter(|epoch| epoch.rows.is_none()).collect();
    let destroyed = |epoch: &Epoch| epoch.key_destroyed.as_deref().and_then(Millis::parse);
    let last = gone.iter().max_by_key(|epoch| destroyed(epoch))?;
    let end = gone.last()?;
    Some(Gone {
        epochs: gone.len(),
        before: end.to.clone(),
        last_destroyed: last.key_destroyed.clone().unwrap_or_default(),
        commitment: last.commitment.clone(),
        why: WHY.to_owned(),
    })
}

/// Why nothing can be said.
pub(super) const WHY: &str = "the key under which contributors of these epochs had a pseudonym is destroyed, as the policy \
    promises; the rows went with it, and what statistics hold of them can be traced to nobody";

#[cfg(test)]
mod tests {
    use schemas::Package;
    use schemas::time::DAY_MS;

    use super::*;

    const NOW: Millis = Millis(1_795_435_200_000);

    fn key(family: &str, epoch: i32, destroyed: Option<Millis>) -> KeyEntry {
        KeyEntry {
            name: KeyName::Pseudonym { family: family.to_owned(), epoch },
            created: NOW,
            destroyed,
            state: if destroyed.is_some() { KeyState::Destroyed } else { KeyState::Alive },
            commitment: format!("{family} {epoch}"),
        }
    }

    #[test]
    fn epochs_without_a_key_say_when_it_was_destroyed_and_others_how_many_rows() {
        let package = Package::from_files(crate::store::default_package()).unwrap();
        let (_, family) = package.family("web").unwrap();
        let today = schemas::time::epoch_of(NOW, family.epoch_days);
        let keys = [
            key("web", today, None),
            key("web", today - 3, Some(NOW.plus(-DAY_MS))),
            key("device_usage", 7, Some(NOW)),
            key("web", today - 4, Some(NOW.plus(-2 * DAY_MS))),
        ];
        let told = epochs(family, &keys, &BTreeMap::from([(today, 5)]));
        assert_eq!(told.iter().map(|epoch| epoch.rows).collect::<Vec<_>>(), [None, None, Some(5)]);
        let gone = gone(family, &keys).unwrap();
        assert_eq!((gone.epochs, &gone.commitment), (2, &format!("web {}", today - 3)));
        assert_eq!(gone.last_destroyed, NOW.plus(-DAY_MS).to_string());
        assert_eq!(gone.before, told[1].to);
        assert_eq!(super::gone(family, &keys[..1]), None);
    }
}
