//! What of a declared statistic has to be computed, and the columns of its table.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as Column, Schema, SchemaRef};
use schemas::columns::timestamp;
use schemas::model::{
    Condition, Family, Field, Measure, Mechanism, NumberField, Package, PurposeSet, Statistic,
};

use crate::Error;

/// Beginning of the period (`Timestamp`, microseconds, UTC).
pub const PERIOD_START: &str = "period_start";
/// End of the period, not included (`Timestamp`, microseconds, UTC).
pub const PERIOD_END: &str = "period_end";
/// Length of the period (`Utf8`): `hour`, `day`, `week`, `epoch`.
pub const EVERY: &str = "every";
/// Dimensions of the row's grouping, joined by `, ` (`Utf8`); empty for the total.
pub const GROUPING: &str = "grouping";
/// Whether anything of this grouping and period is hidden: a group, or a measure of one (`Boolean`).
pub const HIDDEN: &str = "hidden";
/// What protects the row (`Utf8`): `threshold`.
pub const MECHANISM: &str = "mechanism";
/// Fewest contributors of a shown group (`Int64`).
pub const MIN_CONTRIBUTORS: &str = "min_contributors";
/// Counts are multiples of this (`Int64`).
pub const ROUNDING: &str = "rounding";
/// Version of the policy package that it was computed by (`Utf8`).
pub const POLICY_VERSION: &str = "policy_version";
/// When its period was released (`Timestamp`, microseconds, UTC).
pub const RELEASED_AT: &str = "released_at";
/// When it was computed again because a replay had changed events of its period (`Timestamp`, microseconds, UTC); null if
/// it never was.
pub const REVISED_AT: &str = "revised_at";

/// The columns that every statistic's table has; no dimension or measure may have one of these names.
pub const FIXED: &[&str] = &[
    PERIOD_START,
    PERIOD_END,
    EVERY,
    GROUPING,
    HIDDEN,
    MECHANISM,
    MIN_CONTRIBUTORS,
    ROUNDING,
    POLICY_VERSION,
    RELEASED_AT,
    REVISED_AT,
];

/// The text of a grouping in [`GROUPING`].
#[must_use]
pub fn grouping_text(family: &Family, grouping: &[usize]) -> String {
    let names: Vec<&str> =
        grouping.iter().map(|&field| family.fields[field].name.as_str()).collect();
    names.join(", ")
}

/// The type of a measure's columns: `Int64` for counts, `Float64` for the others.
#[must_use]
pub fn measure_type(measure: &Measure) -> DataType {
    match measure {
        Measure::Contributors { .. } | Measure::Events | Measure::UnattributedEvents => {
            DataType::Int64
        }
        Measure::Sum(_) | Measure::Mean(_) | Measure::Share { .. } | Measure::Quantiles { .. } => {
            DataType::Float64
        }
    }
}

/// The columns of a statistic's table, in order; dimensions are those of all groupings, in order of the package.
#[must_use]
pub fn table_schema(statistic: &Statistic, family: &Family) -> SchemaRef {
    let mut columns = vec![
        Column::new(PERIOD_START, timestamp(), false),
        Column::new(PERIOD_END, timestamp(), false),
        Column::new(EVERY, DataType::Utf8, false),
        Column::new(GROUPING, DataType::Utf8, false),
    ];
    for field in dimensions(statistic) {
        columns.push(Column::new(&family.fields[field].name, DataType::Utf8, true));
    }
    for measure in &statistic.measures {
        let columns_of = measure
            .columns()
            .into_iter()
            .map(|name| Column::new(name, measure_type(measure), true));
        columns.extend(columns_of);
    }
    columns.extend([
        Column::new(HIDDEN, DataType::Boolean, false),
        Column::new(MECHANISM, DataType::Utf8, false),
        Column::new(MIN_CONTRIBUTORS, DataType::Int64, false),
        Column::new(ROUNDING, DataType::Int64, false),
        Column::new(POLICY_VERSION, DataType::Utf8, false),
        Column::new(RELEASED_AT, timestamp(), false),
        Column::new(REVISED_AT, timestamp(), true),
    ]);
    Arc::new(Schema::new(columns))
}

/// The fields that occur in some grouping, ascending.
#[must_use]
pub fn dimensions(statistic: &Statistic) -> BTreeSet<usize> {
    statistic.by.iter().flatten().copied().collect()
}

/// A number field that measures are computed of.
pub(crate) struct Number<'a> {
    pub(crate) field: &'a NumberField,
    /// Largest absolute sum of one contributor in one group.
    pub(crate) sum_max: Option<f64>,
    /// Whether a histogram is needed.
    pub(crate) quantiles: bool,
}

/// A share's field and what must hold of it.
pub(crate) struct Share<'a> {
    pub(crate) field: &'a Field,
    pub(crate) condition: &'a Condition,
}

/// A statistic taken apart into what its plans compute.
pub(crate) struct Spec<'a> {
    pub(crate) statistic: &'a Statistic,
    pub(crate) family: &'a Family,
    /// Names of the purposes that it is computed for; none: for all.
    pub(crate) purposes: Option<Vec<&'a str>>,
    /// Fields of sums, means and quantiles, each once.
    pub(crate) numbers: Vec<Number<'a>>,
    /// Shares, in order of the measures.
    pub(crate) shares: Vec<Share<'a>>,
    /// Whether events without contributor are counted.
    pub(crate) unattributed: bool,
    pub(crate) min_contributors: u64,
    pub(crate) rounding: u64,
    pub(crate) schema: SchemaRef,
}

impl<'a> Spec<'a> {
    /// # Errors
    ///
    /// [`Error::Declaration`] for what a package should not have let through: gate 2 does not rely on that.
    pub(crate) fn new(package: &'a Package, statistic: &'a Statistic) -> Result<Self, Error> {
        let family = &package.families[statistic.family];
        let Mechanism::Threshold { min_contributors, rounding } = statistic.mechanism;
        let named = |set: PurposeSet| -> Vec<&str> {
            let all = package.purposes.iter().enumerate();
            all.filter(|(index, _)| set.has(*index)).map(|(_, one)| one.name.as_str()).collect()
        };
        let mut spec = Self {
            statistic,
            family,
            purposes: statistic.purposes.map(named),
            numbers: Vec::new(),
            shares: Vec::new(),
            unattributed: false,
            min_contributors,
            rounding,
            schema: table_schema(statistic, family),
        };
        for measure in &statistic.measures {
            match measure {
                Measure::Contributors { .. } | Measure::Events => {}
                Measure::UnattributedEvents => spec.unattributed = true,
                Measure::Sum(field) | Measure::Mean(field) => spec.add_number(field, false),
                Measure::Quantiles { field, .. } => spec.add_number(field, true),
                Measure::Share { field, condition, .. } => {
                    spec.shares.push(Share { field: &family.fields[*field], condition });
                }
            }
        }
        spec.check()?;
        Ok(spec)
    }

    fn add_number(&mut self, field: &'a NumberField, quantiles: bool) {
        let clamps = &self.statistic.clamp.sums;
        let sum_max = clamps.iter().find(|(index, _)| *index == field.field).map(|(_, max)| *max);
        match self.numbers.iter_mut().find(|number| number.field.field == field.field) {
            Some(known) => known.quantiles |= quantiles,
            None => self.numbers.push(Number { field, sum_max, quantiles }),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let declaration =
            |what: String| Err(Error::Declaration { statistic: self.statistic.name.clone(), what });
        if self.min_contributors == 0 {
            return declaration("min_contributors is 0; write 1 or more".to_owned());
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = self.schema.fields().iter().find(|column| !names.insert(column.name()))
        {
            return declaration(format!("two columns are named `{}`", twice.name()));
        }
        let numbers = self.numbers.iter().map(|number| number.field.field);
        let shares = self.shares.iter().map(|share| self.index_of(share.field));
        for field in dimensions(self.statistic).into_iter().chain(numbers).chain(shares) {
            let stored = self.family.stored_fields().find(|(index, ..)| *index == field);
            let kind = stored.map(|(_, _, kind)| kind);
            if matches!(kind, None | Some(DataType::Binary)) {
                let name = &self.family.fields[field].name;
                return declaration(format!("`{name}` is a pseudonym or is not stored"));
            }
        }
        Ok(())
    }

    fn index_of(&self, field: &Field) -> usize {
        self.family.field(&field.name).map_or(usize::MAX, |(index, _)| index)
    }
}
