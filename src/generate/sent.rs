//! What was sent, counted as it was made: the other side of the pipeline's own books.

use std::collections::{BTreeMap, BTreeSet};

use schemas::Reason;
use serde::Serialize;

/// What must become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A row of it is stored.
    Stored,
    /// It repeats an event that came before.
    Duplicate,
    /// It breaks this rule.
    Refused(Reason),
}

/// Counts of events by what must become of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All of them.
    pub received: u64,
    /// Those that must be rows.
    pub stored: u64,
    /// Those that repeat an earlier one.
    pub duplicate: u64,
    /// Those that break a rule, by rule.
    pub refused: BTreeMap<Reason, u64>,
}

impl Counts {
    /// Refused events, all reasons together.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    fn count(&mut self, expected: Expected) {
        self.received += 1;
        match expected {
            Expected::Stored => self.stored += 1,
            Expected::Duplicate => self.duplicate += 1,
            Expected::Refused(reason) => *self.refused.entry(reason).or_default() += 1,
        }
    }

    fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.stored += other.stored;
        self.duplicate += other.duplicate;
        for (&reason, &count) in &other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
    }
}

/// Everything that was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// All families together, and what had none.
    pub total: Counts,
    /// By family. Events of no family (unknown type, no JSON) are in the total only.
    pub families: BTreeMap<String, Counts>,
}

impl Sent {
    /// Counts one event under its sender's family.
    pub(super) fn count(&mut self, family: &str, expected: Expected) {
        self.total.count(expected);
        let nameless = [Reason::Malformed, Reason::UnknownType].map(Expected::Refused);
        if !nameless.contains(&expected) {
            self.families.entry(family.to_owned()).or_default().count(expected);
        }
    }

    /// Adds what another generator sent.
    pub fn add(&mut self, other: &Self) {
        self.total.add(&other.total);
        for (family, counts) in &other.families {
            self.families.entry(family.clone()).or_default().add(counts);
        }
    }
}

/// What a text that must not be kept is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Planted {
    /// The network address of a sender.
    Address,
    /// A serial number, visitor id or other value that a family turns into a pseudonym.
    Identifier,
    /// An e-mail address, token or name somewhere it does not belong.
    Stray,
}

/// Every value sent that must be found nowhere afterwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Personal {
    values: BTreeSet<(Planted, String)>,
}

impl Personal {
    /// Remembers one value.
    pub fn plant(&mut self, planted: Planted, value: &str) {
        self.values.insert((planted, value.to_owned()));
    }

    /// Adds what another generator sent.
    pub fn extend(&mut self, other: &Self) {
        self.values.extend(other.values.iter().cloned());
    }

    /// All values with what they are, each once.
    pub fn iter(&self) -> impl Iterator<Item = (Planted, &str)> {
        self.values.iter().map(|(planted, value)| (*planted, value.as_str()))
    }

    /// How many different values of one kind there are.
    #[must_use]
    pub fn count(&self, planted: Planted) -> usize {
        self.values.iter().filter(|(kind, _)| *kind == planted).count()
    }
}
