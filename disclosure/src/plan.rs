//! Plans over event rows: the only code that reads them to make an answer.
//!
//! Plans are built by calls, never from text, and every function in them is total: none fails on a value. First
//! each contributor's rows in a group become one row, with clamps; then those become one row a group and epoch.
//!
//! **Clamps.** Over `clamp.events` of a contributor's n events in a group, each counts as clamp/n of an event, in
//! counts, shares, means, sums and quantiles alike. Over `clamp.sums` of a field, its events weigh less still in
//! that field's sum, mean and quantiles, so that their sum is the clamp. So a contributor moves no measure further
//! than its clamp allows, and its own mean stays what it is. Events without contributor cannot be clamped.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field as Column, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::{NullEquality, ScalarValue};
use datafusion::error::Result;
use datafusion::functions::math::expr_fn::{abs, floor};
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, JoinType, LogicalPlanBuilder, Operator, binary_expr, cast, ident,
    is_not_null, is_null, lit, try_cast, when,
};
use datafusion::prelude::{DataFrame, SessionContext};
use schemas::columns::{CONTRIBUTOR, DAY, EPOCH, PURPOSES, TIME};
use schemas::model::Condition;

use crate::period::Period;
use crate::statistic::{Spec, dimensions};
use crate::table::micros;

/// Column of dimension `field` in a plan's output.
pub(crate) fn dimension(field: usize) -> String {
    format!("d{field}")
}

/// Columns of number or share `index` in a plan's output.
pub(crate) fn numbered(prefix: &str, index: usize) -> String {
    format!("{prefix}{index}")
}

/// Which of the periods that are computed together a row is of: how many periods after the first (`Int64`).
pub(crate) const PERIOD: &str = "period";
/// Whether the rows of a total have contributors (`Boolean`).
pub(crate) const ATTRIBUTED: &str = "attributed";
/// Number of contributors, or of rows without one where [`ATTRIBUTED`] is false (`Int64`).
pub(crate) const CONTRIBUTORS: &str = "contributors";
/// Number of events (`Int64`).
pub(crate) const EVENTS: &str = "events";
/// Bucket of a histogram (`Int64`) and its weight (`Float64`).
pub(crate) const BUCKET: &str = "bucket";
/// See [`BUCKET`].
pub(crate) const WEIGHT: &str = "weight";

/// The rows of `periods` (in order of time, all of one length), reduced to what the statistic needs: [`PERIOD`],
/// dimensions as text, numbers as `Float64`, shares as 0 or 1. A field that the table does not have yet is null in
/// every row.
pub(crate) fn rows(
    context: &SessionContext,
    events: Arc<dyn TableProvider>,
    spec: &Spec<'_>,
    periods: &[Period],
) -> Result<DataFrame> {
    let stored = events.schema();
    let field = |name: &str, kind: &DataType| match stored.column_with_name(name) {
        Some(_) => Ok(cast(ident(name), kind.clone())),
        None => ScalarValue::try_from(kind).map(lit),
    };
    let mut columns = vec![number_of(periods).alias(PERIOD), ident(CONTRIBUTOR), ident(EPOCH)];
    for index in dimensions(spec.statistic) {
        let name = &spec.family.fields[index].name;
        columns.push(field(name, &DataType::Utf8)?.alias(dimension(index)));
    }
    for (index, number) in spec.numbers.iter().enumerate() {
        let value = field(&number.field.name, &DataType::Float64)?;
        columns.push(value.alias(numbered("v", index)));
    }
    for (index, share) in spec.shares.iter().enumerate() {
        let value = field(&share.field.name, &DataType::Utf8)?;
        let holds = match share.condition {
            Condition::Present => is_not_null(value),
            Condition::Absent => is_null(value),
            Condition::Is(values) => value.in_list(values.iter().map(lit).collect(), false),
        };
        let one_or_zero = when(holds, lit(1_i64)).otherwise(lit(0_i64))?;
        columns.push(one_or_zero.alias(numbered("b", index)));
    }
    let stood = match &spec.purposes {
        Some(purposes) => one_of(&field(PURPOSES, &DataType::Utf8)?, purposes),
        None => lit(true),
    };
    let mut rows = context.read_table(events)?.filter(within(periods))?.filter(stood)?;
    if !spec.unattributed {
        rows = rows.filter(is_not_null(ident(CONTRIBUTOR)))?;
    }
    rows.select(columns)
}

/// Whether one of these names is in a list of names with commas between; of null nobody knows, so it does not count.
fn one_of(list: &Expr, names: &[&str]) -> Expr {
    let comma = || lit(",");
    let text = binary_expr(
        binary_expr(comma(), Operator::StringConcat, list.clone()),
        Operator::StringConcat,
        comma(),
    );
    // An underscore is any letter to LIKE, unless it is escaped.
    let named = |name: &&str| text.clone().like(lit(format!("%,{},%", name.replace('_', "\\_"))));
    names.iter().map(named).reduce(Expr::or).unwrap_or_else(|| lit(false))
}

fn within(periods: &[Period]) -> Expr {
    let day = |day: i32| lit(ScalarValue::Date32(Some(day)));
    let (Some(first), Some(last)) = (periods.first(), periods.last()) else { return lit(false) };
    let days = ident(DAY)
        .gt_eq(day(first.start.day()))
        .and(ident(DAY).lt_eq(day(last.end.plus(-1).day())));
    let time = ident(TIME).gt_eq(micros(first.start)).and(ident(TIME).lt(micros(last.end)));
    let numbers = periods.iter().map(|period| lit(place_of(*period, *first))).collect();
    days.and(time).and(number_of(periods).in_list(numbers, false))
}

/// [`PERIOD`] of a row at or after the beginning of the first period.
fn number_of(periods: &[Period]) -> Expr {
    let Some(first) = periods.first() else { return lit(0_i64) };
    let (start, length) = (first.start.0, length(*first));
    let since = cast(ident(TIME), DataType::Int64) - lit(start.saturating_mul(1000));
    since / lit(length.saturating_mul(1000))
}

/// [`PERIOD`] of the rows of `period`, where the periods begin with `first`.
pub(crate) fn place_of(period: Period, first: Period) -> i64 {
    (period.start.0 - first.start.0) / length(first)
}

fn length(period: Period) -> i64 {
    (period.end.0 - period.start.0).max(1)
}

/// One row a period, group and epoch, and whether it has contributors: [`ATTRIBUTED`], [`CONTRIBUTORS`], [`EVENTS`]; of
/// number `i` the contributors `p`i, weighted sum `s`i and weighted count `c`i; of share `j` the weighted hits `h`j.
pub(crate) fn totals(rows: DataFrame, spec: &Spec<'_>, grouping: &[usize]) -> Result<DataFrame> {
    let mut keys = keys(grouping);
    let mut weighted: Vec<Expr> = keys.clone();
    weighted.extend([is_not_null(ident(CONTRIBUTOR)).alias(ATTRIBUTED), clamped_events(spec)?]);
    let mut sums = vec![count(lit(1_i64)).alias(CONTRIBUTORS), sum(ident(EVENTS)).alias(EVENTS)];
    let weight = event_weight(spec)?;
    for (index, number) in spec.numbers.iter().enumerate() {
        let [c, s, p] = ["c", "s", "p"].map(|prefix| numbered(prefix, index));
        let weight = number_weight(weight.clone(), number.sum_max, ident(&s))?;
        weighted.extend([
            when(ident(&c).gt(lit(0_i64)), lit(1_i64)).otherwise(lit(0_i64))?.alias(&p),
            (weight.clone() * cast(ident(&c), DataType::Float64)).alias(&c),
            (weight * ident(&s)).alias(&s),
        ]);
        sums.extend([c, s, p].map(|name| sum(ident(&name)).alias(name)));
    }
    for index in 0..spec.shares.len() {
        let h = numbered("h", index);
        weighted.push((weight.clone() * cast(ident(&h), DataType::Float64)).alias(&h));
        sums.push(sum(ident(&h)).alias(h));
    }
    keys.push(ident(ATTRIBUTED));
    contributors(rows, spec, grouping)?.select(weighted)?.aggregate(keys, sums)
}

/// One row a group, epoch and contributor: number of events `n`; of number `i` how many events have it `c`i, and
/// their sum `s`i; of share `j` the hits `h`j. Rows without contributor are one row.
fn contributors(rows: DataFrame, spec: &Spec<'_>, grouping: &[usize]) -> Result<DataFrame> {
    let mut keys = keys(grouping);
    keys.push(ident(CONTRIBUTOR));
    let mut measured = vec![count(lit(1_i64)).alias("n")];
    for index in 0..spec.numbers.len() {
        let value = ident(numbered("v", index));
        measured.push(count(value.clone()).alias(numbered("c", index)));
        measured.push(sum(value).alias(numbered("s", index)));
    }
    for index in 0..spec.shares.len() {
        measured.push(sum(ident(numbered("b", index))).alias(numbered("h", index)));
    }
    rows.aggregate(keys, measured)
}

/// The contributors of some groups (a row each: its [`PERIOD`], and one entry a dimension): one row each with period,
/// dimensions, epoch, [`CONTRIBUTOR`], and of number `i` whether it has any, as `c`i.
pub(crate) fn members(
    context: &SessionContext,
    rows: DataFrame,
    spec: &Spec<'_>,
    grouping: &[usize],
    periods: Int64Array,
    groups: Vec<StringArray>,
) -> Result<DataFrame> {
    const WANTED: &str = "wanted_period";
    let wanted = |field: &usize| format!("w{field}");
    let mut columns = vec![Column::new(WANTED, DataType::Int64, false)];
    columns.extend(grouping.iter().map(|field| Column::new(wanted(field), DataType::Utf8, true)));
    let mut arrays = vec![Arc::new(periods) as ArrayRef];
    arrays.extend(groups.into_iter().map(|array| Arc::new(array) as ArrayRef));
    let batch = RecordBatch::try_new(Arc::new(Schema::new(columns)), arrays)?;
    let wanted_groups = context.read_batch(batch)?.into_unoptimized_plan();
    let mut on = (vec![PERIOD.to_owned()], vec![WANTED.to_owned()]);
    on.extend(grouping.iter().map(|field| (dimension(*field), wanted(field))));
    let (state, plan) = rows.filter(is_not_null(ident(CONTRIBUTOR)))?.into_parts();
    // Null is a group like any other, and must find itself.
    let joined = LogicalPlanBuilder::from(plan).join_detailed(
        wanted_groups,
        JoinType::LeftSemi,
        on,
        None,
        NullEquality::NullEqualsNull,
    )?;
    let rows = DataFrame::new(state, joined.build()?);
    contributors(rows, spec, grouping)
}

/// The histogram of number `index`: one row a period, group and [`BUCKET`], with its [`WEIGHT`].
pub(crate) fn histogram(
    rows: DataFrame,
    spec: &Spec<'_>,
    grouping: &[usize],
    index: usize,
) -> Result<DataFrame> {
    let number = &spec.numbers[index];
    let value = ident(numbered("v", index));
    let bucket = try_cast(floor(value.clone() / lit(number.field.bucket)), DataType::Int64);
    let mut per_bucket = keys(grouping);
    per_bucket.extend([ident(CONTRIBUTOR), bucket.alias(BUCKET)]);
    let rows = rows
        .filter(is_not_null(ident(CONTRIBUTOR)))?
        .aggregate(per_bucket, vec![count(lit(1_i64)).alias("m"), sum(value).alias("t")])?;
    // A contributor's weight comes from all of its events in the group, those without a value included.
    let mut own = keys(grouping);
    own.push(ident(CONTRIBUTOR));
    let all = |name: &str| {
        Expr::from(WindowFunction::new(sum_udaf(), vec![ident(name)]))
            .partition_by(own.clone())
            .build()
    };
    let rows = rows.window(vec![all("m")?.alias("n"), all("t")?.alias("s")])?;
    let weight = number_weight(event_weight(spec)?, number.sum_max, ident("s"))?;
    let mut per_group = group_keys(grouping);
    per_group.push(ident(BUCKET));
    let weighted = weight * cast(ident("m"), DataType::Float64);
    let mut columns = per_group.clone();
    columns.push(weighted.alias(WEIGHT));
    rows.filter(is_not_null(ident(BUCKET)))?
        .select(columns)?
        .aggregate(per_group, vec![sum(ident(WEIGHT)).alias(WEIGHT)])
}

/// Period and dimensions.
fn group_keys(grouping: &[usize]) -> Vec<Expr> {
    let dimensions = grouping.iter().map(|&field| ident(dimension(field)));
    std::iter::once(ident(PERIOD)).chain(dimensions).collect()
}

/// What groups go by, and the epoch: a pseudonym means nothing beyond its epoch, so nothing is counted across two.
fn keys(grouping: &[usize]) -> Vec<Expr> {
    let mut keys = group_keys(grouping);
    keys.push(ident(EPOCH));
    keys
}

/// `n`, at most the clamp, for a contributor; all of them where there is none.
fn clamped_events(spec: &Spec<'_>) -> Result<Expr> {
    let events = match spec.statistic.clamp.events {
        None => ident("n"),
        Some(most) => {
            let most = lit(i64::try_from(most).unwrap_or(i64::MAX));
            let over = ident("n").gt(most.clone()).and(is_not_null(ident(CONTRIBUTOR)));
            when(over, most).otherwise(ident("n"))?
        }
    };
    Ok(events.alias(EVENTS))
}

/// What one of a contributor's `n` events counts.
fn event_weight(spec: &Spec<'_>) -> Result<Expr> {
    let Some(most) = spec.statistic.clamp.events else { return Ok(lit(1.0)) };
    let (n, most) = (cast(ident("n"), DataType::Float64), lit(most as f64));
    when(n.clone().gt(most.clone()), most / n).otherwise(lit(1.0))
}

/// What one of a contributor's events counts for a field whose values add up to `sum`.
fn number_weight(weight: Expr, sum_max: Option<f64>, sum: Expr) -> Result<Expr> {
    let Some(most) = sum_max else { return Ok(weight) };
    let total = abs(sum);
    let over = (total.clone() * weight.clone()).gt(lit(most));
    when(over, lit(most) / total).otherwise(weight)
}
