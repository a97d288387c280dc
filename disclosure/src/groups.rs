//! Plans executed, and their rows folded into one record a group.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{
    Array, AsArray, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::TryStreamExt;
use schemas::columns::{CONTRIBUTOR, EPOCH};

use crate::histogram::Histogram;
use crate::plan::{
    self, ATTRIBUTED, BUCKET, CONTRIBUTORS, EVENTS, PERIOD, WEIGHT, dimension, numbered,
};
use crate::statistic::Spec;
use crate::threshold::{Contributor, Crowd};

pub(crate) type Key = Vec<Option<String>>;

/// A group among those of several periods: [`PERIOD`] and key.
type Place = (i64, Key);

/// Distinct contributors of a group.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heads {
    /// Pseudonyms of all epochs: what is shown.
    pub(crate) all: u64,
    /// Those of the epoch with most of them: what is distinct for certain, and decides.
    pub(crate) certain: u64,
}

impl Heads {
    /// Adds the contributors of one more epoch.
    fn add(&mut self, epoch: u64) {
        self.all += epoch;
        self.certain = self.certain.max(epoch);
    }
}

/// What was measured of a number field in a group; exact.
#[derive(Clone, Debug)]
pub(crate) struct NumberTotals {
    /// Contributors with at least one value.
    pub(crate) heads: Heads,
    pub(crate) crowd: Crowd,
    pub(crate) sum: f64,
    pub(crate) events: f64,
    /// Filled for groups that are shown, where quantiles are wanted.
    pub(crate) histogram: Histogram,
}

/// What was measured in a group; exact, so it goes no further than this crate.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// [`PERIOD`].
    pub(crate) period: i64,
    pub(crate) key: Key,
    pub(crate) heads: Heads,
    pub(crate) crowd: Crowd,
    /// Events of contributors, clamped.
    pub(crate) events: u64,
    /// Events without contributor.
    pub(crate) unattributed: u64,
    pub(crate) numbers: Vec<NumberTotals>,
    /// Weighted events for which each share's condition holds.
    pub(crate) hits: Vec<f64>,
}

impl Group {
    fn new((period, key): Place, spec: &Spec<'_>) -> Self {
        let number = NumberTotals {
            heads: Heads::default(),
            crowd: Crowd::Enough,
            sum: 0.0,
            events: 0.0,
            histogram: Histogram::new(),
        };
        Self {
            period,
            key,
            heads: Heads::default(),
            crowd: Crowd::Enough,
            events: 0,
            unattributed: 0,
            numbers: vec![number; spec.numbers.len()],
            hits: vec![0.0; spec.shares.len()],
        }
    }

    fn place(&self) -> Place {
        (self.period, self.key.clone())
    }
}

/// The groups of one grouping, in order of period and key, with the members of those that are few.
///
/// Memory: that of the engine's aggregation (which spills), one record a group, and 16 bytes for each contributor
/// of a group of fewer than k.
pub(crate) async fn groups(
    context: &SessionContext,
    rows: &DataFrame,
    spec: &Spec<'_>,
    grouping: &[usize],
) -> Result<Vec<Group>> {
    let mut groups = totals(plan::totals(rows.clone(), spec, grouping)?, spec, grouping).await?;
    let k = spec.min_contributors;
    let few = |group: &Group| {
        let numbers = group.numbers.iter().map(|number| number.heads.certain);
        numbers.chain([group.heads.certain]).any(|contributors| contributors < k)
    };
    let wanted: Vec<&Group> = groups.iter().filter(|group| few(group)).collect();
    if !wanted.is_empty() {
        let periods = wanted.iter().map(|group| Some(group.period)).collect();
        let column =
            |place: usize| wanted.iter().map(|group| group.key[place].as_deref()).collect();
        let columns: Vec<StringArray> = (0..grouping.len()).map(column).collect();
        let members = plan::members(context, rows.clone(), spec, grouping, periods, columns)?;
        add_members(members, spec, grouping, &mut groups).await?;
    }
    Ok(groups)
}

async fn totals(plan: DataFrame, spec: &Spec<'_>, grouping: &[usize]) -> Result<Vec<Group>> {
    let mut groups: BTreeMap<Place, Group> = BTreeMap::new();
    let mut stream = plan.execute_stream().await?;
    while let Some(batch) = stream.try_next().await? {
        let batch = Columns(&batch);
        let keys = batch.places(grouping)?;
        let attributed = batch.boolean(ATTRIBUTED)?;
        let (contributors, events) = (batch.integer(CONTRIBUTORS)?, batch.integer(EVENTS)?);
        let mut numbers = Vec::new();
        for index in 0..spec.numbers.len() {
            numbers.push((
                batch.integer(&numbered("p", index))?,
                batch.float(&numbered("s", index))?,
                batch.float(&numbered("c", index))?,
            ));
        }
        let hits = (0..spec.shares.len())
            .map(|index| batch.float(&numbered("h", index)))
            .collect::<Result<Vec<_>>>()?;
        for (row, place) in keys.into_iter().enumerate() {
            let group =
                groups.entry(place).or_insert_with_key(|place| Group::new(place.clone(), spec));
            let events = count(&events, row);
            if !attributed.value(row) {
                group.unattributed += events;
                continue;
            }
            group.heads.add(count(&contributors, row));
            group.events += events;
            for (total, (heads, sum, events)) in group.numbers.iter_mut().zip(&numbers) {
                total.heads.add(count(heads, row));
                total.sum += value(sum, row);
                total.events += value(events, row);
            }
            for (total, hits) in group.hits.iter_mut().zip(&hits) {
                *total += value(hits, row);
            }
        }
    }
    Ok(groups.into_values().collect())
}

/// Reads who the contributors of small groups are, and counts them against k.
async fn add_members(
    plan: DataFrame,
    spec: &Spec<'_>,
    grouping: &[usize],
    groups: &mut [Group],
) -> Result<()> {
    let k = spec.min_contributors;
    let places: HashMap<Place, usize> =
        groups.iter().enumerate().map(|(index, group)| (group.place(), index)).collect();
    // Of each group the whole's contributors, then those of each number, where they are few.
    let wanted = |heads: Heads| (heads.certain < k).then(Vec::new);
    let mut members: Vec<Vec<Option<Vec<Contributor>>>> = groups
        .iter()
        .map(|group| {
            let numbers = group.numbers.iter().map(|number| number.heads);
            std::iter::once(group.heads).chain(numbers).map(wanted).collect()
        })
        .collect();
    let mut stream = plan.execute_stream().await?;
    while let Some(batch) = stream.try_next().await? {
        let batch = Columns(&batch);
        let keys = batch.places(grouping)?;
        let (epochs, pseudonyms) = (batch.epochs()?, batch.pseudonyms()?);
        let values = (0..spec.numbers.len())
            .map(|index| batch.integer(&numbered("c", index)))
            .collect::<Result<Vec<_>>>()?;
        for (row, key) in keys.iter().enumerate() {
            let Some(&place) = places.get(key) else { continue };
            let hash = pseudonyms.value(row).first_chunk().copied().map_or(0, u64::from_le_bytes);
            let contributor = Contributor { epoch: epochs.value(row), hash };
            let has = values.iter().map(|values| count(values, row) > 0);
            for (list, has) in members[place].iter_mut().zip(std::iter::once(true).chain(has)) {
                if let Some(list) = list.as_mut().filter(|_| has) {
                    list.push(contributor);
                }
            }
        }
    }
    for (group, lists) in groups.iter_mut().zip(members) {
        let numbers = group.numbers.iter_mut().map(|number| &mut number.crowd);
        for (crowd, list) in std::iter::once(&mut group.crowd).chain(numbers).zip(lists) {
            // What the exact count found to be few stays few, whatever the hashes say.
            *crowd = list.map_or(Crowd::Enough, |list| Crowd::Few(list.into_iter().collect()));
        }
    }
    Ok(())
}

/// Fills the histograms of number `index` in `groups`, some of those of the grouping.
pub(crate) async fn add_histogram(
    rows: &DataFrame,
    spec: &Spec<'_>,
    grouping: &[usize],
    index: usize,
    groups: Vec<&mut Group>,
) -> Result<()> {
    if groups.is_empty() {
        return Ok(());
    }
    let mut groups: HashMap<Place, &mut Group> =
        groups.into_iter().map(|group| (group.place(), group)).collect();
    let plan = plan::histogram(rows.clone(), spec, grouping, index)?;
    let mut stream = plan.execute_stream().await?;
    while let Some(batch) = stream.try_next().await? {
        let batch = Columns(&batch);
        let (buckets, weights) = (batch.integer(BUCKET)?, batch.float(WEIGHT)?);
        for (row, place) in batch.places(grouping)?.into_iter().enumerate() {
            if let Some(group) = groups.get_mut(&place) {
                let histogram = &mut group.numbers[index].histogram;
                *histogram.entry(buckets.value(row)).or_default() += value(&weights, row);
            }
        }
    }
    Ok(())
}

/// Columns of a batch by name and type.
struct Columns<'a>(&'a RecordBatch);

impl Columns<'_> {
    fn typed(&self, name: &str, kind: &DataType) -> Result<arrow::array::ArrayRef> {
        let column = self
            .0
            .column_by_name(name)
            .ok_or_else(|| DataFusionError::Internal("a planned column is missing".to_owned()))?;
        Ok(cast(column, kind)?)
    }

    fn places(&self, grouping: &[usize]) -> Result<Vec<Place>> {
        let periods = self.integer(PERIOD)?;
        let columns = grouping
            .iter()
            .map(|&field| self.typed(&dimension(field), &DataType::Utf8))
            .collect::<Result<Vec<_>>>()?;
        let text = |column: &arrow::array::ArrayRef, row: usize| {
            column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned())
        };
        Ok((0..self.0.num_rows())
            .map(|row| {
                let key = columns.iter().map(|column| text(column, row)).collect();
                (periods.value(row), key)
            })
            .collect())
    }

    fn integer(&self, name: &str) -> Result<Int64Array> {
        Ok(self.typed(name, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    }

    fn float(&self, name: &str) -> Result<Float64Array> {
        Ok(self.typed(name, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
    }

    fn boolean(&self, name: &str) -> Result<BooleanArray> {
        Ok(self.typed(name, &DataType::Boolean)?.as_boolean().clone())
    }

    fn epochs(&self) -> Result<Int32Array> {
        Ok(self.typed(EPOCH, &DataType::Int32)?.as_primitive::<Int32Type>().clone())
    }

    fn pseudonyms(&self) -> Result<BinaryArray> {
        Ok(self.typed(CONTRIBUTOR, &DataType::Binary)?.as_binary::<i32>().clone())
    }
}

fn count(column: &Int64Array, row: usize) -> u64 {
    if column.is_null(row) { 0 } else { u64::try_from(column.value(row)).unwrap_or(0) }
}

/// Sums over no value are null.
fn value(column: &Float64Array, row: usize) -> f64 {
    if column.is_null(row) { 0.0 } else { column.value(row) }
}
