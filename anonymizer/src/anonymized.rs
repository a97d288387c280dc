//! Rows that may be stored: what gate 1 gives, and the only thing the sink takes.

use arrow::array::RecordBatch;
use schemas::Tally;

use crate::pseudonym::Hash;

/// By which a second copy of an event is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EventKey {
    /// Where to look: the day of the event if the device's own clock tells it, else 0. A retry has the same.
    pub bucket: u32,
    /// The keyed hash, as in the column `_key`.
    pub hash: Hash,
    /// The same event under the key before, as its first copy may have been; only where `bucket` is 0.
    pub alternate: Option<Hash>,
    /// Day and key under which its first copy is if that came in time: a copy that comes later than the family takes
    /// events has the time of receipt, and 0 as bucket, but still says when it happened.
    pub in_time: Option<(u32, Hash)>,
}

/// Rows of one family as its events table holds them, and what was counted on the way.
///
/// Only [`crate::Gate::anonymize`] makes one: no constructor, no `Default`, no `From`. The rows are
/// pseudonymised, hence still personal data, so there is no `Debug` either:
///
/// ```compile_fail,E0277
/// fn show(batch: anonymizer::AnonymizedBatch) {
///     println!("{batch:?}");
/// }
/// ```
///
/// ```compile_fail,E0451
/// fn forge(rows: arrow::array::RecordBatch) -> anonymizer::AnonymizedBatch {
///     anonymizer::AnonymizedBatch { family: 0, rows, keys: vec![], tally: Default::default(), expired: 0 }
/// }
/// ```
pub struct AnonymizedBatch {
    pub(crate) family: usize,
    pub(crate) rows: RecordBatch,
    pub(crate) keys: Vec<Option<EventKey>>,
    pub(crate) tally: Tally,
    pub(crate) expired: u64,
}

impl AnonymizedBatch {
    /// Index of the family in the package.
    #[must_use]
    pub fn family(&self) -> usize {
        self.family
    }

    /// The rows, in the columns of `Family::stored_schema`.
    #[must_use]
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// One event key a row; none where the event has neither id nor count.
    #[must_use]
    pub fn keys(&self) -> &[Option<EventKey>] {
        &self.keys
    }

    /// Notes: fields nulled, events without contributor, event times that could not be believed; and the events that
    /// are not among the rows, because their contributor is suppressed.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Events that are not among the rows, because the key of their epoch is at its end.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// The rows alone.
    #[must_use]
    pub fn into_rows(self) -> RecordBatch {
        self.rows
    }
}
