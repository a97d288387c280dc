//! What a reader may ask of a statistic, in a form that a page can be drawn from.

use schemas::model::{Family, Kind, Measure, Mechanism, Package, Statistic};
use serde::Serialize;

use crate::request::names;

/// What a reader may ask of a statistic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// For `from`.
    pub name: String,
    /// Heading for people.
    pub title: String,
    /// The family that it is made of.
    pub family: String,
    /// What contributors are called: `devices`.
    pub contributors: String,
    /// For `measures`.
    pub measures: Vec<String>,
    /// What each of `measures` is.
    pub columns: Vec<Column>,
    /// For `by`.
    pub groupings: Vec<Vec<String>>,
    /// Length of its periods.
    pub every: &'static str,
    /// The same, in milliseconds.
    pub period_ms: i64,
    /// What protects it: `threshold`.
    pub mechanism: &'static str,
    /// Fewest contributors of a shown group.
    pub min_contributors: u64,
    /// Counts are multiples of this.
    pub rounding: u64,
    /// End of the last released period, RFC 3339; null before the first.
    pub complete_until: Option<String>,
    /// When the next period closes, RFC 3339; set by whoever has a clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closes_at: Option<String>,
}

/// A column of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its name in answers: `p95_duration`.
    pub name: String,
    /// `contributors`, `events`, `unattributed_events`, `sum`, `mean`, `share` or `quantile`.
    pub measure: &'static str,
    /// The field that it is computed of; null for contributors and events.
    pub field: Option<String>,
    /// `ms` for spans of time, `share` for shares (0 to 1); null for plain numbers.
    pub unit: Option<&'static str>,
    /// What the field is, in the package's words.
    pub about: Option<String>,
}

impl Description {
    /// All that the package says of it; nothing is released yet.
    pub(crate) fn of(package: &Package, statistic: &Statistic) -> Self {
        let family = &package.families[statistic.family];
        let Mechanism::Threshold { min_contributors, rounding } = statistic.mechanism;
        let columns: Vec<Column> =
            statistic.measures.iter().flat_map(|measure| columns(measure, family)).collect();
        Self {
            name: statistic.name.clone(),
            title: statistic.title.clone(),
            family: family.name.clone(),
            contributors: family.contributor.called.clone(),
            measures: columns.iter().map(|column| column.name.clone()).collect(),
            columns,
            groupings: statistic.by.iter().map(|grouping| names(family, grouping)).collect(),
            every: statistic.every.name(),
            period_ms: statistic.every.length_ms(family.epoch_days),
            mechanism: "threshold",
            min_contributors,
            rounding,
            complete_until: None,
            closes_at: None,
        }
    }
}

fn columns(measure: &Measure, family: &Family) -> Vec<Column> {
    let (kind, field) = match measure {
        Measure::Contributors { .. } => ("contributors", None),
        Measure::Events => ("events", None),
        Measure::UnattributedEvents => ("unattributed_events", None),
        Measure::Sum(number) => ("sum", Some(number.field)),
        Measure::Mean(number) => ("mean", Some(number.field)),
        Measure::Share { field, .. } => ("share", Some(*field)),
        Measure::Quantiles { field, .. } => ("quantile", Some(field.field)),
    };
    let field = field.map(|index| &family.fields[index]);
    let is_span = field.is_some_and(|field| matches!(field.kind, Kind::Duration { .. }));
    let unit = match measure {
        Measure::Share { .. } => Some("share"),
        Measure::Sum(_) | Measure::Mean(_) | Measure::Quantiles { .. } => is_span.then_some("ms"),
        Measure::Contributors { .. } | Measure::Events | Measure::UnattributedEvents => None,
    };
    let column = |name| Column {
        name,
        measure: kind,
        field: field.map(|field| field.name.clone()),
        unit,
        about: field.map(|field| field.about.clone()).filter(|about| !about.is_empty()),
    };
    measure.columns().into_iter().map(column).collect()
}
