//! What a commit says about itself: under which rules rows came in, and what became of every event on the way.

use std::collections::{BTreeMap, BTreeSet};

use schemas::time::Millis;
use schemas::{Note, Outcome, Package, Reason, Tally};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the caller of a commit knows and the sink does not.
#[derive(Clone, Copy, Debug)]
pub struct ManifestContext {
    /// When the country database in use was built.
    pub geo_build: Millis,
}

/// The privacy manifest of one commit to one family's table, or of the events that belong to no family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// The family; none for events that were refused before they had one.
    pub(crate) family: Option<String>,
    /// Version of the published policy.
    pub(crate) policy: String,
    /// Digest of the package that enforced it.
    pub(crate) digest: String,
    /// Build of the country database, RFC 3339; none where no row came in.
    pub(crate) geo_build: Option<String>,
    /// The hour of the commit, RFC 3339. No finer: positions lie in the rows, and would tell their times.
    pub(crate) hour: String,
    /// Key epochs of the rows.
    pub(crate) epochs: BTreeSet<i32>,
    /// Counts by partition of the log.
    pub(crate) partitions: BTreeMap<u16, Counts>,
}

/// What became of the events of one partition: `received = stored + duplicate + refused + expired +
/// suppressed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// First position that is counted here.
    pub(crate) first: u64,
    /// The position after the last.
    pub(crate) next: u64,
    pub(crate) received: u64,
    pub(crate) stored: u64,
    pub(crate) duplicate: u64,
    pub(crate) expired: u64,
    /// Refusals by reason, suppressed events, and notes.
    pub(crate) tally: Tally,
}

impl Counts {
    /// Widens the span of positions.
    pub(crate) fn at(&mut self, position: u64) {
        let fresh = self.first == self.next;
        self.first = if fresh { position } else { self.first.min(position) };
        self.next = self.next.max(position + 1);
    }

    fn add(&mut self, other: &Self) {
        let Self { first, next, received, stored, duplicate, expired, tally } = other;
        let fresh = self.first == self.next;
        self.first = if fresh { *first } else { self.first.min(*first) };
        self.next = self.next.max(*next);
        self.received += received;
        self.stored += stored;
        self.duplicate += duplicate;
        self.expired += expired;
        self.tally.add(tally);
    }

    fn each(&self, mut count: impl FnMut(Counted, u64)) {
        count(Counted::Received, self.received);
        count(Counted::Outcome(Outcome::Stored), self.stored);
        count(Counted::Outcome(Outcome::Duplicate), self.duplicate);
        count(Counted::Outcome(Outcome::Expired), self.expired);
        count(Counted::Outcome(Outcome::Suppressed), self.tally.suppressed);
        for (&reason, &number) in &self.tally.refused {
            count(Counted::Refused(reason), number);
        }
        for (&note, &number) in &self.tally.notes {
            count(Counted::Note(note), number);
        }
        for (&note, words) in &self.tally.named {
            for (word, &number) in words {
                count(Counted::Named(note, word.clone()), number);
            }
        }
    }
}

/// What a number in the ledger counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// Events received: the sum of all outcomes.
    Received,
    /// Events that ended so, but for refusals.
    Outcome(Outcome),
    /// Events refused for this reason.
    Refused(Reason),
    /// What was noted on the way; no outcome.
    Note(Note),
    /// What of that note belongs to this word of the package: [`schemas::Named`].
    Named(Note, String),
}

/// A line of the outcomes ledger, summed over commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutcomeRow {
    /// The family; none for events that were refused before they had one.
    pub family: Option<String>,
    /// Partition of the log; [`crate::IMPORT`] for imports.
    pub partition: u16,
    /// What is counted.
    pub counted: Counted,
    /// How often.
    pub count: u64,
}

impl Manifest {
    pub(crate) fn new(
        package: &Package,
        family: Option<usize>,
        context: Option<ManifestContext>,
        hour: Millis,
        partitions: BTreeMap<u16, Counts>,
    ) -> Self {
        Self {
            family: family.map(|family| package.families[family].name.clone()),
            policy: package.version.clone(),
            digest: package.digest.to_string(),
            geo_build: context.map(|context| context.geo_build.to_string()),
            hour: hour.to_string(),
            epochs: BTreeSet::new(),
            partitions,
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("names, numbers and texts")
    }

    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        Self::deserialize(value).ok()
    }

    /// The lines it adds to the ledger; none for what was not counted.
    pub(crate) fn outcomes(&self) -> Vec<OutcomeRow> {
        let mut rows = Vec::new();
        for (&partition, counts) in &self.partitions {
            counts.each(|counted, count| {
                if count > 0 {
                    let family = self.family.clone();
                    rows.push(OutcomeRow { family, partition, counted, count });
                }
            });
        }
        rows
    }

    /// Takes in another manifest, if the two differ in nothing but their counts.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        let Self { family, policy, digest, geo_build, hour, epochs, partitions } = other;
        let same = (&self.family, &self.policy, &self.digest, &self.geo_build, &self.hour)
            == (family, policy, digest, geo_build, hour);
        if same {
            self.epochs.extend(epochs);
            for (&partition, counts) in partitions {
                self.partitions.entry(partition).or_default().add(counts);
            }
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(hour: &str, stored: u64) -> Manifest {
        let mut counts = Counts { received: stored + 2, stored, duplicate: 1, ..Counts::default() };
        counts.at(stored);
        counts.tally.refuse(Reason::TooLong);
        Manifest {
            family: Some("web".to_owned()),
            policy: "1".to_owned(),
            digest: "00".to_owned(),
            geo_build: Some("2026-01-01T00:00:00.000Z".to_owned()),
            hour: hour.to_owned(),
            epochs: BTreeSet::from([i32::try_from(stored).unwrap()]),
            partitions: BTreeMap::from([(3, counts)]),
        }
    }

    #[test]
    fn a_manifest_survives_json() {
        let one = manifest("2026-01-01T01:00:00.000Z", 5);
        assert_eq!(Manifest::from_json(&one.to_json()), Some(one));
    }

    #[test]
    fn manifests_of_one_hour_merge_and_others_do_not() {
        let mut one = manifest("1", 5);
        assert!(one.merge(&manifest("1", 7)));
        assert!(!one.merge(&manifest("2", 7)));
        let counts = &one.partitions[&3];
        assert_eq!((counts.first, counts.next), (5, 8));
        assert_eq!((counts.received, counts.stored, counts.duplicate), (16, 12, 2));
        assert_eq!(counts.tally.refused_total(), 2);
        assert_eq!(one.epochs, BTreeSet::from([5, 7]));
    }
}
