//! What readers may know of the running service: counts of the door and of the two ledgers, by family.
//!
//! Nothing here reads a ledger whole for a question: outcomes are the sums that the worker's tables keep in memory, and
//! keys are counted again only when the ledger has another line.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use anonymizer::{KeyEntry, KeyName, KeyRing};
use ingest::{FamilyStatus, Server};
use query::{FamilyCounts, Keys, Live, Outcomes, Running};
use schemas::time::DAY_MS;
use schemas::{Clock, Millis, Outcome};
use sink::{Counted, OutcomeRow};

use crate::operator;
use crate::pipeline::Progress;

/// Asked by `query` for each answer about the service.
pub struct Told {
    /// When the service started.
    pub since: Millis,
    /// Base address at which events are posted; empty where nobody knows.
    pub ingest: String,
    /// The door, if this process has it.
    pub server: Option<Arc<Server>>,
    /// The worker's books, if this process has them.
    pub progress: Option<Arc<Progress>>,
    /// The keys, if this process has them.
    pub ring: Option<KeyCounts>,
}

/// Keys of a ring by use and family as they were when the day began, counted when its ledger or the day changes.
pub struct KeyCounts {
    ring: Arc<KeyRing>,
    clock: Clock,
    /// The day for which lines of the ledger are counted, how many lines, and the counts.
    counted: Mutex<(Millis, usize, Vec<Keys>)>,
}

impl Running for Told {
    fn live(&self) -> Live {
        let families = self.server.iter().flat_map(|server| server.families()).map(counts);
        let families = families.collect();
        Live { since: self.since, ingest: self.ingest.clone(), families }
    }

    fn keys(&self) -> Result<Vec<Keys>, Box<dyn Error + Send + Sync>> {
        match &self.ring {
            Some(ring) => Ok(ring.get()?),
            None => Ok(Vec::new()),
        }
    }

    fn outcomes(&self) -> Vec<Outcomes> {
        by_family(self.progress.iter().flat_map(|progress| progress.outcomes()).collect())
    }

    fn elsewhere(&self) -> Vec<&'static str> {
        let missing = [
            ("live", self.server.is_none()),
            ("keys", self.ring.is_none()),
            ("outcomes", self.progress.is_none()),
        ];
        missing.into_iter().filter(|(_, missing)| *missing).map(|(part, _)| part).collect()
    }
}

impl KeyCounts {
    /// Counts of this ring; nothing is read before they are asked for.
    #[must_use]
    pub fn of(ring: Arc<KeyRing>, clock: Clock) -> Self {
        Self { ring, clock, counted: Mutex::new((Millis(0), 0, Vec::new())) }
    }

    fn get(&self) -> Result<Vec<Keys>, anonymizer::Error> {
        let today = (self.clock)().truncate(DAY_MS);
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = if counted.0 == today { counted.1 } else { 0 };
        if let Some((lines, entries)) = self.ring.list_since(seen)? {
            *counted = (today, lines, by_use(entries, today));
        }
        Ok(counted.2.clone())
    }
}

fn counts(status: FamilyStatus) -> FamilyCounts {
    let FamilyStatus { family, last, accepted, recent, refused, undeclared, notes, named } = status;
    FamilyCounts { family, last, accepted, recent, refused, undeclared, notes, named }
}

/// Counts keys as they were at `until`.
fn by_use(entries: Vec<KeyEntry>, until: Millis) -> Vec<Keys> {
    let mut uses: BTreeMap<(&'static str, Option<String>), Keys> = BTreeMap::new();
    for KeyEntry { name, created, destroyed, .. } in entries {
        if created >= until {
            continue;
        }
        let destroyed = destroyed.filter(|time| *time < until);
        let (purpose, family) = match name {
            KeyName::Seal { .. } => ("seal", None),
            KeyName::Pseudonym { family, .. } => ("pseudonym", Some(family)),
            KeyName::Dedupe { family, .. } => ("dedupe", Some(family)),
            KeyName::Suppression => ("suppression", None),
            KeyName::Apart { .. } => ("apart", None),
        };
        let keys = uses.entry((purpose, family.clone())).or_insert(Keys {
            purpose,
            family,
            alive: 0,
            destroyed: 0,
            oldest_alive: None,
            last_destroyed: None,
        });
        if destroyed.is_some() {
            keys.destroyed += 1;
            keys.last_destroyed = keys.last_destroyed.max(destroyed);
        } else {
            keys.alive += 1;
            let oldest = keys.oldest_alive.map_or(created, |oldest| oldest.min(created));
            keys.oldest_alive = Some(oldest);
        }
    }
    uses.into_values().collect()
}

/// Outcomes by family, all partitions together; those of no family first.
fn by_family(rows: Vec<OutcomeRow>) -> Vec<Outcomes> {
    let nothing = |family| Outcomes { family, ..Outcomes::default() };
    operator::by_family(rows, nothing, |of, counted, count| {
        let sum = match counted {
            Counted::Received => &mut of.received,
            Counted::Outcome(
                Outcome::Stored | Outcome::Duplicate | Outcome::Expired | Outcome::Suppressed,
            ) => &mut of.taken,
            // The ledger counts refusals by reason alone.
            Counted::Outcome(Outcome::Refused) => return,
            Counted::Refused(reason) => of.refused.entry(reason).or_default(),
            Counted::Note(note) => of.notes.entry(note).or_default(),
            Counted::Named(note, word) => {
                of.named.entry(note).or_default().entry(word).or_default()
            }
        };
        *sum += count;
    })
}

#[cfg(test)]
mod tests {
    use anonymizer::KeyState;
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
        let mut entries = vec![
            key(seal(1), 10, Some(70)),
            key(seal(2), 20, Some(60)),
            key(seal(3), 40, None),
            key(seal(4), 30, None),
            key(of("web"), 5, None),
            key(of("device_usage"), 6, Some(7)),
            // Today's are not told, neither that one was made nor that one is gone.
            key(seal(5), 100, None),
            key(seal(6), 101, Some(102)),
        ];
        let counted = by_use(entries.clone(), Millis(100));
        entries[2].destroyed = Some(Millis(150));
        assert_eq!(by_use(entries, Millis(100)), counted);
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
            row(Some("web"), 1, Counted::Named(Note::Nulled, "website".to_owned()), 3),
            row(Some("web"), 0, Counted::Named(Note::Nulled, "website".to_owned()), 2),
            row(None, 0, Counted::Received, 2),
            row(None, 0, Counted::Refused(Reason::Malformed), 2),
        ]);
        let web = Outcomes {
            family: Some("web".to_owned()),
            received: 10,
            taken: 9,
            refused: [(Reason::TooLong, 1)].into(),
            notes: [(Note::Undeclared, 4)].into(),
            named: [(Note::Nulled, [("website".to_owned(), 5)].into())].into(),
        };
        let none = Outcomes {
            received: 2,
            refused: [(Reason::Malformed, 2)].into(),
            ..Outcomes::default()
        };
        assert_eq!(counted, [none, web]);
    }
}
