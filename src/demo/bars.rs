//! A statistic as bars: how many contributors, by version and by country, in the last closed period.

use std::sync::Arc;

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use disclosure::statistic::{GROUPING, HIDDEN, PERIOD_START, grouping_text};
use query::Statistics;
use schemas::Package;
use schemas::model::{Family, Kind, Measure, Mechanism, Statistic, Transform};

use super::place::Place;

/// What is shown of one statistic.
pub(super) struct Bars {
    /// Its name.
    pub(super) statistic: String,
    /// Its heading.
    pub(super) title: String,
    /// Whom it counts: `devices`.
    pub(super) called: String,
    /// Groups with fewer are hidden.
    pub(super) min_contributors: u64,
    /// First day of the period, if one has closed.
    pub(super) period: Option<String>,
    /// One for each grouping.
    pub(super) charts: Vec<Chart>,
}

/// One grouping.
pub(super) struct Chart {
    /// Names of its dimensions.
    pub(super) by: String,
    /// Groups and their counts, largest first.
    pub(super) bars: Vec<(String, u64)>,
    /// Whether there are groups that are not shown.
    pub(super) hidden: bool,
}

/// Reads the statistic that shows most: by version and by country, if the package declares such.
///
/// # Errors
///
/// If a statistics table cannot be read.
pub(super) async fn read(place: &Place, package: &Arc<Package>) -> anyhow::Result<Option<Bars>> {
    let Some((statistic, groupings)) = choose(package) else { return Ok(None) };
    let family = &package.families[statistic.family];
    let Mechanism::Threshold { min_contributors, .. } = statistic.mechanism;
    let (tables, ledger) = place.config.released()?;
    let statistics = Statistics::new(Arc::clone(package), tables, ledger);
    let mut bars = Bars {
        statistic: statistic.name.clone(),
        title: statistic.title.clone(),
        called: family.contributor.called.clone(),
        min_contributors,
        period: None,
        charts: Vec::new(),
    };
    for grouping in groupings {
        let sql = statement(statistic, family, grouping);
        let answer = statistics.sql(&sql).await.context("a statistics table cannot be read")?;
        let by = grouping_text(family, grouping);
        let mut chart = Chart { by, bars: Vec::new(), hidden: false };
        bars.period = read_rows(&answer.rows, &mut chart)?.or(bars.period);
        bars.charts.push(chart);
    }
    Ok(Some(bars))
}

/// Groups of the last period that shows any, largest first: period, label, count, hidden.
fn statement(statistic: &Statistic, family: &Family, grouping: &[usize]) -> String {
    let (name, by) = (&statistic.name, grouping_text(family, grouping));
    let called = &family.contributor.called;
    let label = grouping
        .iter()
        .map(|&field| {
            let name = &family.fields[field].name;
            format!("coalesce(CAST(\"{name}\" AS VARCHAR), 'unknown')")
        })
        .collect::<Vec<_>>()
        .join(" || ' ' || ");
    format!(
        "SELECT CAST(CAST({PERIOD_START} AS DATE) AS VARCHAR) AS period, {label} AS label, \
         \"{called}\" AS contributors, {HIDDEN} AS is_hidden FROM \"{name}\" \
         WHERE {GROUPING} = '{by}' AND \"{called}\" IS NOT NULL \
         AND {PERIOD_START} = (SELECT max({PERIOD_START}) FROM \"{name}\" \
         WHERE {GROUPING} = '{by}' AND \"{called}\" IS NOT NULL) \
         ORDER BY contributors DESC, label"
    )
}

/// Adds the groups to the chart, and gives their period.
fn read_rows(batch: &RecordBatch, chart: &mut Chart) -> anyhow::Result<Option<String>> {
    let options = FormatOptions::default();
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<_, _>>()?;
    let [period, label, count, hidden] = columns.as_slice() else { return Ok(None) };
    for row in 0..batch.num_rows() {
        let count = count.value(row).to_string();
        let count = count.parse().context("a count is not a whole number")?;
        chart.bars.push((label.value(row).to_string(), count));
        chart.hidden |= hidden.value(row).to_string() == "true";
    }
    Ok((batch.num_rows() > 0).then(|| period.value(0).to_string()))
}

/// The statistic that counts contributors by most of version and country, and its groupings for that.
fn choose(package: &Package) -> Option<(&Statistic, Vec<&Vec<usize>>)> {
    let counting = package.statistics.iter().filter(|statistic| {
        statistic.measures.iter().any(|measure| matches!(measure, Measure::Contributors { .. }))
    });
    let rated = counting.map(|statistic| {
        let family = &package.families[statistic.family];
        let version = |field: usize| matches!(family.fields[field].kind, Kind::Version);
        let country = |field: usize| matches!(family.fields[field].transform, Transform::Country);
        let by = |is: &dyn Fn(usize) -> bool| {
            let holding = statistic.by.iter().filter(|by| by.iter().any(|&field| is(field)));
            holding.min_by_key(|by| by.len())
        };
        let mut groupings: Vec<&Vec<usize>> =
            [by(&version), by(&country)].into_iter().flatten().collect();
        groupings.dedup();
        let wanted = groupings.len();
        if wanted == 0 {
            groupings.extend(statistic.by.iter().filter(|by| !by.is_empty()).take(2));
        }
        ((wanted, groupings.len()), statistic, groupings)
    });
    // The first of equals, in order of name.
    let best = rated.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
    (!best.2.is_empty()).then_some((best.1, best.2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::default_package;

    #[test]
    fn the_default_package_shows_devices_by_version_and_country() {
        let package = Package::from_files(default_package()).unwrap();
        let (statistic, groupings) = choose(&package).unwrap();
        assert_eq!(statistic.name, "active_devices");
        let family = &package.families[statistic.family];
        let by: Vec<String> =
            groupings.iter().map(|grouping| grouping_text(family, grouping)).collect();
        assert_eq!(by, ["version", "country"]);
    }
}
