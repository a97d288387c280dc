//! What a reader can expect to see: a rough answer, before anything is deployed.
//!
//! Threshold statistics show a group only from k contributors on. How contributors spread over groups is not
//! known beforehand, so it is assumed (see [`ASSUMPTIONS`]) and said so wherever the numbers are shown.

use std::fmt::Write;

use crate::model::{Field, Kind, Mechanism, Package, Statistic, Transform};
use crate::words;

/// What every number here rests on; to be printed with them.
pub const ASSUMPTIONS: &str = "\
Assumed, not known: every contributor is active in every period, and is in one group of each grouping; the
n-th largest value of a field has 1/n of the contributors of the largest (Zipf), independently of other fields;
lists have the values they declare, other fields a guessed number of them (country 60, version 12, page 200, ..).
Fewer active contributors show fewer groups, and so does hiding what would give a small group away.";

/// One grouping of one statistic.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Name of the statistic.
    pub statistic: String,
    /// The grouping in words: `all`, `product and country`.
    pub grouping: String,
    /// Contributors of one period.
    pub contributors: u64,
    /// Fewest contributors of a visible group.
    pub min_contributors: u64,
    /// How many groups there are.
    pub groups: f64,
    /// How many of them are expected to be visible.
    pub visible: u64,
    /// Share of contributors that are in visible groups, 0 to 1.
    pub covered: f64,
}

/// A forecast for every grouping of every statistic, in order of the package. `contributors` stands for those of
/// every family; without it the package's fleet is taken. None if there is neither.
#[must_use]
pub fn forecast(package: &Package, contributors: Option<u64>) -> Option<Vec<Forecast>> {
    let fleet: u64 = package.fleet.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count));
    let contributors = contributors.or((fleet > 0).then_some(fleet))?;
    let mut forecasts = Vec::new();
    for statistic in &package.statistics {
        for by in &statistic.by {
            forecasts.push(forecast_grouping(package, statistic, by, contributors));
        }
    }
    Some(forecasts)
}

/// The forecast as a table, under its assumptions.
#[must_use]
pub fn table(forecasts: &[Forecast]) -> String {
    let mut text = format!("{ASSUMPTIONS}\n\n");
    let rows: Vec<[String; 5]> = forecasts.iter().map(row).collect();
    let heading =
        ["statistic", "by", "visible groups", "contributors in them", "k"].map(str::to_owned);
    let width = |column: usize| {
        rows.iter().chain([&heading]).map(|row| row[column].chars().count()).max().unwrap_or(0)
    };
    let widths = [0, 1, 2, 3, 4].map(width);
    for row in [&heading].into_iter().chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(text, "{}", line.trim_end()).expect("writing to a string never fails");
    }
    text
}

fn row(forecast: &Forecast) -> [String; 5] {
    [
        forecast.statistic.clone(),
        forecast.grouping.clone(),
        format!("{} of {:.0}", forecast.visible, forecast.groups),
        format!("{:.0} % of {}", forecast.covered * 100.0, forecast.contributors),
        forecast.min_contributors.to_string(),
    ]
}

fn forecast_grouping(
    package: &Package,
    statistic: &Statistic,
    by: &[usize],
    contributors: u64,
) -> Forecast {
    let family = &package.families[statistic.family];
    let Mechanism::Threshold { min_contributors, .. } = statistic.mechanism;
    #[expect(clippy::cast_precision_loss, reason = "a forecast is not exact to 2^53")]
    let least = min_contributors as f64 / contributors.max(1) as f64;
    let mut shares = vec![1.0];
    let mut groups = 1.0;
    for index in by {
        let values = split(package, &family.fields[*index]);
        #[expect(clippy::cast_precision_loss, reason = "at most 65,535 values")]
        let count = values.len() as f64;
        groups *= count;
        // A group that is too small is no larger with one more field: it need not be looked at again.
        let wider = shares.iter().flat_map(|share| values.iter().map(move |value| share * value));
        shares = wider.filter(|share| *share >= least).collect();
    }
    shares.retain(|share| *share >= least);
    Forecast {
        statistic: statistic.name.clone(),
        grouping: words::grouping(family, by),
        contributors,
        min_contributors,
        groups,
        visible: shares.len() as u64,
        covered: shares.iter().sum(),
    }
}

/// Shares of contributors by value of a field, which sum to one: of the fleet where it names the values.
fn split(package: &Package, field: &Field) -> Vec<f64> {
    if let Kind::Enum { values, .. } = &field.kind {
        let of_fleet = |value: &String| {
            package.fleet.iter().find(|(name, _)| name == value).map_or(0, |(_, count)| *count)
        };
        let known = package.fleet.iter().filter(|(name, _)| values.contains(name)).count();
        if known > 0 && known == package.fleet.len() {
            #[expect(clippy::cast_precision_loss, reason = "a forecast is not exact to 2^53")]
            return normal(values.iter().map(|value| of_fleet(value) as f64).collect());
        }
    }
    normal((1..=count_values(field)).map(|rank| 1.0 / f64::from(rank)).collect())
}

fn normal(weights: Vec<f64>) -> Vec<f64> {
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Declared or guessed number of values.
fn count_values(field: &Field) -> u32 {
    let of_range = |min: i64, max: i64| {
        #[expect(clippy::cast_precision_loss, reason = "ranges are within 2^53")]
        let range = (max - min) as f64;
        let width = if let Transform::Bucket(width) = field.transform { width } else { 1.0 };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded")]
        let count = (range / width).clamp(0.0, 1000.0) as u32;
        count + 1
    };
    match (&field.transform, &field.kind) {
        (Transform::Country, _) => 60,
        (Transform::Language, _) => 25,
        (Transform::Browser, _) => 40,
        (Transform::Os, _) => 8,
        (Transform::Path(_), _) => 200,
        (Transform::Domain, _) => 100,
        (_, Kind::Enum { values, .. }) => u32::try_from(values.len()).unwrap_or(u32::MAX),
        (_, Kind::Boolean) => 2,
        (_, Kind::Version) => 12,
        (_, Kind::Integer { min, max }) => of_range(*min, *max),
        (_, Kind::Duration { min, max, unit_ms }) => of_range(min * unit_ms, max * unit_ms),
        (_, Kind::String { .. } | Kind::Float { .. } | Kind::Timestamp | Kind::Url { .. }) => 20,
    }
}
