//! An answer: rows, and what has to be known to read them.

use arrow::array::RecordBatch;
use schemas::time::Millis;
use serde::Serialize;

/// In every answer, whatever its format.
pub(crate) const NOTE: &str = "staff-only, not anonymous: comparing groups can narrow down";

/// What protects an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Privacy {
    /// `threshold`.
    pub mechanism: &'static str,
    /// Fewest contributors of a shown group.
    pub min_contributors: u64,
    /// Counts are multiples of this.
    pub rounding: u64,
    /// Whether, in the periods asked for, anything is hidden: a group, or a measure of one.
    pub hidden_groups: bool,
    /// How to take it.
    pub note: &'static str,
}

/// Rows of released statistics.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `period_start` and `period_end`, the dimensions of the grouping (missing values as [`crate::NONE`]), the
    /// measures asked for; in order of period and dimensions. For SQL, whatever was selected.
    pub rows: RecordBatch,
    /// Names of the dimensions among the columns.
    pub by: Vec<String>,
    /// What contributors are called: `devices`.
    pub contributors: String,
    /// End of the last period that was released; none before the first.
    pub complete_until: Option<Millis>,
    /// What protects it.
    pub privacy: Privacy,
    /// Beginnings of the periods asked for in which something of the grouping is hidden, in order, also of those
    /// without a row; none for SQL, whose answers have no grouping.
    pub hidden_in: Option<Vec<Millis>>,
    /// Beginnings of the periods asked for that were computed again after they had been released, in order; none for SQL,
    /// whose rows say it (`revised_at`).
    pub revised_in: Option<Vec<Millis>>,
}
