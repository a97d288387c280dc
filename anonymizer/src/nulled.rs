//! How many values were left out, and why: counts by declared word, never by value.

use schemas::{Note, Package, PurposeSet, Tally};

/// Values that were left out.
#[derive(Clone, Default)]
pub(crate) struct Nulled {
    /// Because all of their purposes fell.
    fallen: u64,
    /// The same by purpose: a value under each of its own.
    by_purpose: [u64; 32],
    /// Because the event says that location is off.
    location: u64,
}

impl Nulled {
    /// So many of which the purposes are not known.
    pub(crate) fn sum(fallen: u64) -> Self {
        Self { fallen, ..Self::default() }
    }

    /// Counts values of a field of these purposes, none of which stands.
    pub(crate) fn fallen(&mut self, purposes: PurposeSet, count: u64) {
        self.fallen += count;
        for (index, sum) in self.by_purpose.iter_mut().enumerate() {
            *sum += if purposes.has(index) { count } else { 0 };
        }
    }

    /// Counts values that are about location.
    pub(crate) fn location(&mut self, count: u64) {
        self.location += count;
    }

    /// Adds it to what is counted.
    pub(crate) fn note(&self, package: &Package, tally: &mut Tally) {
        tally.note(Note::Nulled, self.fallen);
        tally.note(Note::LocationOff, self.location);
        for (purpose, count) in package.purposes.iter().zip(self.by_purpose) {
            tally.name(Note::Nulled, &purpose.name, count);
        }
    }
}
