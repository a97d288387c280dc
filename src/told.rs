//! What readers may know of the running service: counts of the door and of the two ledgers, by family.
//!
//! Nothing here reads a ledger whole for a question: outcomes are the sums that the worker's tables keep in memory, and
//! keys are counted again only when the ledger has another line.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use anonymizer::{KeyEntry, KeyName, KeyRing, KeyState};
use ingest::{FamilyStatus, Server};
use query::{FamilyCounts, Keys, Live, Outcomes, Running};
use schemas::{Millis, Outcome};
use sink::{Counted, OutcomeRow};

use crate::pipeline::Progress;

/// Asked by `query` for each answer about the service.
pub struct Told {
    /// When the service started.
    pub since: Millis,
    /// Base address at which events are posted.
    pub ingest: String,
    /// The door.
    pub server: Arc<Server>,
    /// The worker's books.
    pub progress: Arc<Progress>,
    /// The keys.
    pub ring: KeyCounts,
}

/// Keys of a ring by use and family, counted when its ledger changes.
pub struct KeyCounts {
    ring: Arc<KeyRing>,
    /// Lines of the ledger that are counted, and the counts.
    counted: Mutex<(usize, Vec<Keys>)>,
}

impl Running for Told {
    fn live(&self) -> Live {
        let families = self.server.families().into_iter().map(counts).collect();
        Live { since: self.since, ingest: self.ingest.clone(), families }
    }

    fn keys(&self) -> Result<Vec<Keys>, Box<dyn Error + Send + Sync>> {
        Ok(self.ring.get()?)
    }

    fn outcomes(&self) -> Vec<Outcomes> {
        by_family(self.progress.outcomes())
    }
}

impl KeyCounts {
    /// Counts of this ring; nothing is read before they are asked for.
    #[must_use]
    pub fn of(ring: Arc<KeyRing>) -> Self {
        Self { ring, counted: Mutex::default() }
    }

    fn get(&self) -> Result<Vec<Keys>, anonymizer::Error> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((lines, entries)) = self.ring.list_since(counted.0)? {
            *counted = (lines, by_use(entries));
        }
        Ok(counted.1.clone())
    }
}

fn counts(status: FamilyStatus) -> FamilyCounts {
    let FamilyStatus { family, last, accepted, recent, refused, undeclared } = status;
    FamilyCounts { family, last, accepted, recent, refused, undeclared }
}

fn by_use(entries: Vec<KeyEntry>) -> Vec<Keys> {
    let mut uses: BTreeMap<(&'static str, Option<String>), Keys> = BTreeMap::new();
    for KeyEntry { name, created, destroyed, state, .. } in entries {
        let (purpose, family) = match name {
            KeyName::Seal { .. } => ("seal", None),
            KeyName::Pseudonym { family, .. } => ("pseudonym", Some(family)),
            KeyName::Dedupe { family, .. } => ("dedupe", Some(family)),
            KeyName::Suppression => ("suppression", None),
        };
        let keys = uses.entry((purpose, family.clone())).or_insert(Keys {
            purpose,
            family,
            alive: 0,
            destroyed: 0,
            oldest_alive: None,
            last_destroyed: None,
        });
        match state {
            KeyState::Alive => {
                keys.alive += 1;
                keys.oldest_alive =
                    Some(keys.oldest_alive.map_or(created, |oldest| oldest.min(created)));
            }
            KeyState::Destroyed => {
                keys.destroyed += 1;
                keys.last_destroyed = keys.last_destroyed.max(destroyed);
            }
        }
    }
    uses.into_values().collect()
}

/// Outcomes by family, all partitions together; those of no family first.
fn by_family(rows: Vec<OutcomeRow>) -> Vec<Outcomes> {
    let mut families: BTreeMap<Option<String>, Outcomes> = BTreeMap::new();
    for OutcomeRow { family, counted, count, partition: _ } in rows {
        let of = families
            .entry(family.clone())
            .or_insert_with(|| Outcomes { family, ..Outcomes::default() });
        let sum = match counted {
            Counted::Received => &mut of.received,
            Counted::Outcome(Outcome::Stored) => &mut of.stored,
            Counted::Outcome(Outcome::Duplicate) => &mut of.duplicate,
            Counted::Outcome(Outcome::Expired) => &mut of.expired,
            Counted::Outcome(Outcome::Suppressed) => &mut of.suppressed,
            // The ledger counts refusals by reason alone.
            Counted::Outcome(Outcome::Refused) => continue,
            Counted::Refused(reason) => of.refused.entry(reason).or_default(),
            Counted::Note(note) => of.notes.entry(note).or_default(),
        };
        *sum += count;
    }
    families.into_values().collect()
}

#[cfg(test)]
mod tests {
    use schemas::{Note, Reason};

    use super::*;

    #[test]
    fn keys_are_counted_by_use_and_family() {
        let key = |name, created, destroyed: Option<i64>| KeyEntry {
            name,
            created: Millis(created),
            destroyed: destroyed.map(Millis),
            state: if destroyed.is_some() { KeyState::Destroyed } else { KeyState::Alive },
            commitment: String::new(),
        };
        let seal = |hour| KeyName::Seal { hour, generation: 0 };
        let of = |family: &str| KeyName::Pseudonym { family: family.to_owned(), epoch: 1 };
        let counted = by_use(vec![
            key(seal(1), 10, Some(70)),
            key(seal(2), 20, Some(60)),
            key(seal(3), 40, None),
            key(seal(4), 30, None),
            key(of("web"), 5, None),
            key(of("device_usage"), 6, Some(7)),
        ]);
        let told: Vec<_> = counted
            .iter()
            .map(|keys| (keys.purpose, keys.family.as_deref(), keys.alive, keys.destroyed))
            .collect();
        assert_eq!(
            told,
            [
                ("pseudonym", Some("device_usage"), 0, 1),
                ("pseudonym", Some("web"), 1, 0),
                ("seal", None, 2, 2)
            ]
        );
        assert_eq!(counted[2].oldest_alive, Some(Millis(30)));
        assert_eq!(counted[2].last_destroyed, Some(Millis(70)));
        assert_eq!((counted[0].oldest_alive, counted[1].last_destroyed), (None, None));
    }

    #[test]
    fn outcomes_of_all_partitions_are_added() {
        let row = |family: Option<&str>, partition, counted, count| OutcomeRow {
            family: family.map(str::to_owned),
            partition,
            counted,
            count,
        };
        let counted = by_family(vec![
            row(Some("web"), 0, Counted::Received, 7),
            row(Some("web"), 1, Counted::Received, 3),
            row(Some("web"), 0, Counted::Outcome(Outcome::Stored), 8),
            row(Some("web"), 0, Counted::Outcome(Outcome::Suppressed), 1),
            row(Some("web"), 1, Counted::Refused(Reason::TooLong), 1),
            row(Some("web"), 1, Counted::Note(Note::Undeclared), 4),
            row(None, 0, Counted::Received, 2),
            row(None, 0, Counted::Refused(Reason::Malformed), 2),
        ]);
        let web = Outcomes {
            family: Some("web".to_owned()),
            received: 10,
            stored: 8,
            suppressed: 1,
            refused: [(Reason::TooLong, 1)].into(),
            notes: [(Note::Undeclared, 4)].into(),
            ..Outcomes::default()
        };
        let none = Outcomes {
            received: 2,
            refused: [(Reason::Malformed, 2)].into(),
            ..Outcomes::default()
        };
        assert_eq!(counted, [none, web]);
    }
}
