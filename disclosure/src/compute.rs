//! Periods of one statistic: from event rows to the rows of its table.
//!
//! Planning costs more than the rows of a small period, so several are read and counted by one plan; what may be shown
//! is decided for each by itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, new_null_array,
};
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::TryStreamExt;
use schemas::columns::timestamp;
use schemas::model::{Measure, Package};
use schemas::time::Millis;

use crate::error::Doing;
use crate::groups::{Group, NumberTotals, add_histogram, groups};
use crate::histogram::quantile;
use crate::period::Period;
use crate::plan::{place_of, rows};
use crate::statistic::{
    EVERY, GROUPING, HIDDEN, MECHANISM, MIN_CONTRIBUTORS, PERIOD_END, PERIOD_START, POLICY_VERSION,
    RELEASED_AT, REVISED_AT, ROUNDING, Spec, dimensions, grouping_text,
};
use crate::suppression::{Decision, Shown, decide};
use crate::{Error, rounding, table};

/// Rows that are held in memory for all groupings: some tens of MiB at most.
pub(crate) const HELD_ROWS_MAX: usize = 100_000;

/// What became of one period.
pub(crate) struct Outcome {
    /// Rows of the statistic's table, in order of groupings and keys.
    pub(crate) rows: RecordBatch,
    /// Groupings of which something is hidden, as they are written.
    pub(crate) hidden: Vec<String>,
    /// Whether the period has no event at all.
    pub(crate) empty: bool,
}

/// Rows of the output, before they are columns.
struct Row<'a> {
    grouping: usize,
    group: &'a Group,
    shown: &'a Shown,
    hidden: bool,
}

/// Computes all groupings of some periods (in order of time, each of the same length), decides what may be shown, rounds
/// it; gives one outcome a period.
pub(crate) async fn compute(
    context: &SessionContext,
    events: Arc<dyn TableProvider>,
    package: &Package,
    spec: &Spec<'_>,
    periods: &[Period],
    now: Millis,
    memory_bytes: usize,
) -> Result<Vec<Outcome>, Error> {
    let Some(&first) = periods.first() else { return Ok(Vec::new()) };
    let doing = |step| Doing { statistic: &spec.statistic.name, step, memory_bytes };
    let rows = rows(context, events, spec, periods)
        .map_err(|error| doing("plan a period").failed(&error))?;
    let rows = hold(context, rows).await.map_err(|error| doing("read a period").failed(&error))?;
    let by = &spec.statistic.by;
    // By period, then by grouping.
    let mut measured: BTreeMap<i64, Vec<Vec<Group>>> = periods
        .iter()
        .map(|&period| (place_of(period, first), vec![Vec::new(); by.len()]))
        .collect();
    for (index, grouping) in by.iter().enumerate() {
        let found = groups(context, &rows, spec, grouping).await;
        for group in found.map_err(|error| doing("count groups").failed(&error))? {
            let groupings = measured.get_mut(&group.period);
            groupings.expect("rows of other periods are filtered out")[index].push(group);
        }
    }
    let decisions: Vec<Vec<Decision>> =
        measured.values().map(|groupings| decide(spec, groupings)).collect();
    for (place, grouping) in by.iter().enumerate() {
        for number in (0..spec.numbers.len()).filter(|&number| spec.numbers[number].quantiles) {
            let shown = measured.values_mut().zip(&decisions).flat_map(|(groupings, decisions)| {
                let groups = groupings[place].iter_mut().zip(&decisions[place].shown);
                groups.filter(|(_, shown)| shown.numbers[number]).map(|(group, _)| group)
            });
            add_histogram(&rows, spec, grouping, number, shown.collect())
                .await
                .map_err(|error| doing("make histograms").failed(&error))?;
        }
    }
    let outcome =
        |((&period, measured), decisions): ((&Period, &Vec<Vec<Group>>), &Vec<Decision>)| {
            let hidden = by.iter().zip(decisions).filter(|(_, decision)| decision.hidden);
            Outcome {
                rows: table_rows(package, spec, period, now, &visible_rows(measured, decisions)),
                hidden: hidden.map(|(grouping, _)| grouping_text(spec.family, grouping)).collect(),
                empty: measured.iter().all(Vec::is_empty),
            }
        };
    Ok(periods.iter().zip(measured.values()).zip(&decisions).map(outcome).collect())
}

/// Reads the rows once, and holds them for all groupings if they are few; many are read for each.
async fn hold(context: &SessionContext, rows: DataFrame) -> Result<DataFrame, DataFusionError> {
    let schema = Arc::clone(rows.schema().inner());
    let mut stream = rows.clone().execute_stream().await?;
    let (mut batches, mut held) = (Vec::new(), 0);
    while let Some(batch) = stream.try_next().await? {
        held += batch.num_rows();
        if held > HELD_ROWS_MAX {
            return Ok(rows);
        }
        batches.push(batch);
    }
    context.read_table(Arc::new(MemTable::try_new(schema, vec![batches])?))
}

fn visible_rows<'a>(measured: &'a [Vec<Group>], decisions: &'a [Decision]) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    for (grouping, (groups, decision)) in measured.iter().zip(decisions).enumerate() {
        for (group, shown) in groups.iter().zip(&decision.shown) {
            if shown.group {
                rows.push(Row { grouping, group, shown, hidden: decision.hidden });
            }
        }
    }
    rows
}

fn table_rows(
    package: &Package,
    spec: &Spec<'_>,
    period: Period,
    now: Millis,
    rows: &[Row<'_>],
) -> RecordBatch {
    let count = rows.len();
    let time = |time| table::times(time, count);
    let text = |text: &str| Arc::new(StringArray::from(vec![text; count])) as ArrayRef;
    let number = |number: u64| {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        Arc::new(Int64Array::from(vec![number; count])) as ArrayRef
    };
    let by = &spec.statistic.by;
    let groupings: Vec<String> =
        by.iter().map(|grouping| grouping_text(spec.family, grouping)).collect();
    let mut columns: BTreeMap<String, ArrayRef> = BTreeMap::from([
        (PERIOD_START.to_owned(), time(period.start)),
        (PERIOD_END.to_owned(), time(period.end)),
        (EVERY.to_owned(), text(spec.statistic.every.name())),
        (MECHANISM.to_owned(), text("threshold")),
        (MIN_CONTRIBUTORS.to_owned(), number(spec.min_contributors)),
        (ROUNDING.to_owned(), number(spec.rounding)),
        (POLICY_VERSION.to_owned(), text(&package.version)),
        (RELEASED_AT.to_owned(), time(now)),
        (REVISED_AT.to_owned(), new_null_array(&timestamp(), count)),
    ]);
    let names: StringArray =
        rows.iter().map(|row| Some(groupings[row.grouping].as_str())).collect();
    columns.insert(GROUPING.to_owned(), Arc::new(names));
    let hidden: Vec<bool> = rows.iter().map(|row| row.hidden).collect();
    columns.insert(HIDDEN.to_owned(), Arc::new(BooleanArray::from(hidden)));
    for field in dimensions(spec.statistic) {
        let value = |row: &Row<'_>| {
            let place = by[row.grouping].iter().position(|&other| other == field)?;
            row.group.key[place].clone()
        };
        let name = spec.family.fields[field].name.clone();
        columns.insert(name, Arc::new(rows.iter().map(value).collect::<StringArray>()));
    }
    let mut share = 0;
    for measure in &spec.statistic.measures {
        let arrays = measure_columns(spec, measure, share, rows);
        share += usize::from(matches!(measure, Measure::Share { .. }));
        columns.extend(measure.columns().into_iter().zip(arrays));
    }
    let ordered = spec
        .schema
        .fields()
        .iter()
        .map(|column| columns.remove(column.name()).expect("one array for each declared column"))
        .collect();
    RecordBatch::try_new(Arc::clone(&spec.schema), ordered)
        .expect("arrays were made for this schema, one value a row")
}

/// The columns of one measure, rounded; `share` is its number among the shares.
fn measure_columns(
    spec: &Spec<'_>,
    measure: &Measure,
    share: usize,
    rows: &[Row<'_>],
) -> Vec<ArrayRef> {
    let counts = |count: &dyn Fn(&Row<'_>) -> Option<u64>| {
        let rounded = |row| count(row).map(|count| rounding::count(count, spec.rounding));
        vec![Arc::new(rows.iter().map(rounded).collect::<Int64Array>()) as ArrayRef]
    };
    let numbers = |field: usize, value: &dyn Fn(&NumberTotals) -> Option<f64>| {
        let index = spec.numbers.iter().position(|number| number.field.field == field);
        let index = index.expect("every measured number is in the list");
        let shown = |row: &Row<'_>| {
            let number = &row.group.numbers[index];
            let value = value(number).filter(|_| row.shown.numbers[index])?;
            Some(rounding::figures(value))
        };
        Arc::new(rows.iter().map(shown).collect::<Float64Array>()) as ArrayRef
    };
    match measure {
        Measure::Contributors { .. } => counts(&|row| Some(row.group.heads.all)),
        Measure::Events => counts(&|row| Some(row.group.events)),
        Measure::UnattributedEvents => {
            counts(&|row| row.shown.unattributed.then_some(row.group.unattributed))
        }
        Measure::Sum(field) => vec![numbers(field.field, &|number| Some(number.sum))],
        Measure::Mean(field) => {
            vec![numbers(field.field, &|number| {
                (number.events > 0.0).then(|| number.sum / number.events)
            })]
        }
        Measure::Share { .. } => {
            let value = |row: &Row<'_>| {
                let events = rounding::count(row.group.events, spec.rounding);
                rounding::share(row.group.hits[share] / row.group.events as f64, events)
            };
            let values: Float64Array = rows.iter().map(|row| Some(value(row))).collect();
            vec![Arc::new(values)]
        }
        Measure::Quantiles { field, at } => at
            .iter()
            .map(|&rank| {
                numbers(field.field, &|number| {
                    quantile(&number.histogram, field.bucket, rank, field.min, field.max)
                })
            })
            .collect(),
    }
}
