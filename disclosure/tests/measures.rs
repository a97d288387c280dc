//! Each measure against a plain computation over the same rows, written from the documentation of measures.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type};
use disclosure::threshold::{Cell, Contributor, Crowd, visible};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use schemas::model::Package;
use schemas::time::HOUR_MS;
use support::{Row, Store, at, package, pseudonym, statistic};

const EVERYTHING: &str = r#"
[statistics.scans]
from = "device_usage"
measures = [
    "devices", "events", "unattributed_events", { sum = "duration" }, { mean = "duration" },
    { share = { error = "present" } }, { share = { product = ["x1"] } },
    { quantiles = "duration", at = [0.5, 0.9] },
]
every = "day"
by = [[], ["product"], ["product", "version"], ["country"]]
clamp = { events = 3, sums = { duration = 5_000 } }
"#;

type Key = Vec<Option<&'static str>>;

const GROUPINGS: [&[usize]; 4] = [&[], &[0], &[0, 1], &[2]];
const NAMES: [&str; 3] = ["product", "version", "country"];

fn dimension(row: &Row, dimension: usize) -> Option<&'static str> {
    [row.product, row.version, row.country][dimension]
}

fn contributor(row: &Row) -> Option<Contributor> {
    let bytes = pseudonym(row.contributor?, row.epoch);
    let hash = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    Some(Contributor { epoch: row.epoch, hash })
}

fn certain(who: &BTreeSet<Contributor>) -> u64 {
    let mut epochs: BTreeMap<i32, u64> = BTreeMap::new();
    who.iter().for_each(|who| *epochs.entry(who.epoch).or_default() += 1);
    epochs.into_values().max().unwrap_or(0)
}

/// What the documentation says of one group, exactly.
struct Expected {
    key: Key,
    who: BTreeSet<Contributor>,
    who_has_duration: BTreeSet<Contributor>,
    unattributed: u64,
    events: f64,
    sum: f64,
    with_duration: f64,
    errors: f64,
    x1: f64,
    histogram: BTreeMap<i64, f64>,
}

fn expect(rows: &[&Row], key: Key) -> Expected {
    let mut of: BTreeMap<Contributor, Vec<&Row>> = BTreeMap::new();
    let mut unattributed = 0;
    for row in rows {
        match contributor(row) {
            Some(who) => of.entry(who).or_default().push(row),
            None => unattributed += 1,
        }
    }
    let mut all = Expected {
        key,
        who: of.keys().copied().collect(),
        who_has_duration: BTreeSet::new(),
        unattributed,
        events: 0.0,
        sum: 0.0,
        with_duration: 0.0,
        errors: 0.0,
        x1: 0.0,
        histogram: BTreeMap::new(),
    };
    for (who, rows) in of {
        let weight = (3.0 / rows.len() as f64).min(1.0);
        let sum: i64 = rows.iter().filter_map(|row| row.duration).sum();
        let weight_duration = weight.min(if sum > 0 { 5_000.0 / sum as f64 } else { 1.0 });
        for row in rows {
            all.events += weight;
            all.errors += if row.error.is_some() { weight } else { 0.0 };
            all.x1 += if row.product == Some("x1") { weight } else { 0.0 };
            if let Some(duration) = row.duration {
                all.who_has_duration.insert(who);
                all.sum += weight_duration * duration as f64;
                all.with_duration += weight_duration;
                *all.histogram.entry(duration / 100).or_default() += weight_duration;
            }
        }
    }
    all
}

fn quantile(histogram: &BTreeMap<i64, f64>, rank: f64) -> f64 {
    let wanted = histogram.values().sum::<f64>() * rank;
    let mut below = 0.0;
    for (bucket, weight) in histogram {
        if below + weight >= wanted {
            return (*bucket as f64 + (wanted - below) / weight) * 100.0;
        }
        below += weight;
    }
    panic!("ranks are under 1");
}

/// Expected groups of every grouping, and what of each is visible: the group, its durations, its unattributed.
fn expected(rows: &[Row], k: u64) -> Vec<(usize, Expected, [bool; 3])> {
    let mut groups = Vec::new();
    for (grouping, dimensions) in GROUPINGS.into_iter().enumerate() {
        let mut parts: BTreeMap<Key, Vec<&Row>> = BTreeMap::new();
        for row in rows {
            let key = dimensions.iter().map(|&d| dimension(row, d)).collect();
            parts.entry(key).or_default().push(row);
        }
        groups.extend(parts.into_iter().map(|(key, rows)| (grouping, expect(&rows, key))));
    }
    let groupings: Vec<Vec<usize>> =
        GROUPINGS.iter().map(|dimensions| dimensions.to_vec()).collect();
    let decide = |part: &dyn Fn(&Expected) -> Option<&BTreeSet<Contributor>>, before: &[bool]| {
        let places: Vec<usize> =
            (0..groups.len()).filter(|&place| part(&groups[place].1).is_some()).collect();
        let cells: Vec<Cell> = places
            .iter()
            .map(|&place| {
                let (grouping, group) = &groups[place];
                let who = part(group).unwrap();
                Cell {
                    grouping: *grouping,
                    key: group.key.iter().map(|value| value.map(str::to_owned)).collect(),
                    crowd: Crowd::of(who.iter().copied(), k),
                    size: certain(who),
                    eligible: before[place],
                }
            })
            .collect();
        let mut decided = vec![false; groups.len()];
        let is = visible(&groupings, &cells, k);
        places.into_iter().zip(is).for_each(|(place, is)| decided[place] = is);
        decided
    };
    fn some(who: &BTreeSet<Contributor>) -> Option<&BTreeSet<Contributor>> {
        (!who.is_empty()).then_some(who)
    }
    let shown = decide(&|group| some(&group.who), &vec![true; groups.len()]);
    let durations = decide(&|group| some(&group.who_has_duration), &shown);
    let without = decide(&|group| (group.unattributed > 0).then_some(&group.who), &shown);
    groups
        .into_iter()
        .enumerate()
        .map(|(place, (grouping, group))| {
            let zero = shown[place] && group.unattributed == 0;
            (grouping, group, [shown[place], durations[place], without[place] || zero])
        })
        .collect()
}

fn text(rows: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let column =
        arrow::compute::cast(rows.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8);
    let column = column.unwrap();
    column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned())
}

fn close(found: Option<f64>, expected: Option<f64>, within: f64) -> bool {
    match (found, expected) {
        (None, None) => true,
        (Some(found), Some(expected)) => {
            (found - expected).abs() <= within + 0.006 * expected.abs()
        }
        _ => false,
    }
}

fn compare(rows: &RecordBatch, events: &[Row], k: u64, rounding: u64) -> Result<(), TestCaseError> {
    let expected = expected(events, k);
    let mut found: BTreeMap<(String, Vec<Option<String>>), usize> = BTreeMap::new();
    for row in 0..rows.num_rows() {
        let key = NAMES.iter().map(|name| text(rows, name, row)).collect();
        let twice = found.insert((text(rows, "grouping", row).unwrap(), key), row);
        prop_assert!(twice.is_none(), "a group twice");
    }
    let shown = expected.iter().filter(|(_, _, [group, ..])| *group).count();
    prop_assert_eq!(found.len(), shown);
    for (grouping, group, [is_shown, durations, unattributed]) in &expected {
        let dimensions = GROUPINGS[*grouping];
        let names: Vec<&str> = dimensions.iter().map(|&d| NAMES[d]).collect();
        let key = (0..3).map(|d| {
            let place = dimensions.iter().position(|&other| other == d)?;
            group.key[place].map(str::to_owned)
        });
        let place = found.get(&(names.join(", "), key.collect()));
        prop_assert_eq!(place.is_some(), *is_shown);
        let Some(&row) = place else { continue };
        let float = |name: &str| {
            let column = rows.column_by_name(name).unwrap().as_primitive::<Float64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        let count = |name: &str| {
            let column = rows.column_by_name(name).unwrap().as_primitive::<Int64Type>();
            column.is_valid(row).then(|| column.value(row) as f64)
        };
        let rounded = |exact: f64| Some((exact / rounding as f64).round() * rounding as f64);
        prop_assert_eq!(count("devices"), rounded(group.who.len() as f64));
        prop_assert_eq!(count("events"), rounded(group.events.round()));
        prop_assert_eq!(
            count("unattributed_events"),
            rounded(group.unattributed as f64).filter(|_| *unattributed)
        );
        let of_durations = |value: f64| Some(value).filter(|_| *durations);
        prop_assert!(close(float("sum_duration"), of_durations(group.sum), 0.0));
        let mean = of_durations(group.sum / group.with_duration);
        prop_assert!(close(float("mean_duration"), mean, 0.0));
        let share = |hits: f64| Some(hits / group.events);
        prop_assert!(close(float("share_error_present"), share(group.errors), 0.005));
        prop_assert!(close(float("share_product_x1"), share(group.x1), 0.005));
        if *durations {
            for (name, rank) in [("p50_duration", 0.5), ("p90_duration", 0.9)] {
                let exact = quantile(&group.histogram, rank);
                // An unlucky last bit may put a rank on the other side of a bucket's bound: then both are it.
                prop_assert!(
                    close(float(name), Some(exact), 1.0),
                    "{name} {:?} {exact}",
                    float(name)
                );
            }
        } else {
            prop_assert_eq!(float("p50_duration"), None);
        }
        let hidden = rows.column_by_name("hidden").unwrap().as_boolean().value(row);
        let any_hidden = expected.iter().filter(|(other, ..)| other == grouping).any(
            |(_, group, [shown, durations, unattributed])| {
                !shown
                    || (!group.who_has_duration.is_empty() && !durations)
                    || (group.unattributed > 0 && !unattributed)
            },
        );
        prop_assert_eq!(hidden, any_hidden);
    }
    Ok(())
}

fn any_row() -> impl Strategy<Value = Row> {
    let some = |values: &'static [Option<&'static str>]| proptest::sample::select(values);
    (
        0_i64..24,
        proptest::option::weighted(0.9, 0_u64..14),
        proptest::bool::weighted(0.1),
        some(&[Some("x1"), Some("x1"), Some("kathea"), None]),
        some(&[Some("3.8"), Some("3.8"), Some("3.9"), None]),
        some(&[Some("DK"), Some("DK"), Some("DE"), Some("IT"), None]),
        proptest::option::weighted(0.6, 0_i64..40),
        proptest::bool::weighted(0.2),
    )
        .prop_map(|(hour, contributor, late, product, version, country, duration, error)| {
            Row {
                time: at("2024-05-15").plus(hour * HOUR_MS),
                contributor,
                epoch: 700 + i32::from(late),
                product,
                version,
                country,
                duration: duration.map(|duration| duration * 100),
                error: error.then_some("E042"),
                purposes: None,
            }
        })
}

async fn release(package: &std::sync::Arc<Package>, rows: &[Row]) -> RecordBatch {
    let store = Store::new(std::sync::Arc::clone(package));
    // Two commits, so that groups and contributors are spread over files.
    let (one, other) = rows.split_at(rows.len() / 2);
    store.add(one).await;
    store.add(other).await;
    let now = at("2024-06-30");
    store.disclosure().release_closed(now, &|_| now).await.unwrap();
    statistic(&store, "scans").await
}

#[test]
fn every_measure_is_what_its_documentation_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(Config { cases: 24, max_shrink_iters: 30, ..Config::default() });
    let rows = proptest::collection::vec(any_row(), 2..120);
    let case = (rows, 2_u64..6, proptest::sample::select(vec![1_u64, 5]));
    runner
        .run(&case, |(rows, k, rounding)| {
            let package = package(EVERYTHING, k, rounding);
            let found = runtime.block_on(release(&package, &rows));
            compare(&found, &rows, k, rounding)
        })
        .unwrap();
}

/// A group of many in which one device alone sends durations: its mean would be that device's.
#[tokio::test]
async fn a_number_that_few_contributors_have_is_hidden_in_a_group_of_many() {
    let mut rows = Vec::new();
    for device in 0..20 {
        let mut row = Row::new("2024-05-15T10:00:00Z", device);
        row.duration = (device == 7).then_some(1234);
        rows.push(row);
    }
    let found = release(&package(EVERYTHING, 10, 5), &rows).await;
    assert_eq!(found.num_rows(), 4);
    for column in ["sum_duration", "mean_duration", "p50_duration"] {
        assert_eq!(found.column_by_name(column).unwrap().null_count(), 4, "{column}");
    }
    assert_eq!(found.column_by_name("share_error_present").unwrap().null_count(), 0);
}

/// A version that nobody but events without contributor has: their number would follow from the product's and the
/// other versions'.
#[tokio::test]
async fn events_without_contributor_do_not_give_a_hidden_group_away() {
    let mut rows = Vec::new();
    for (version, devices, unattributed) in [("3.7", 20, 3), ("3.8", 30, 0), ("4.0", 0, 2)] {
        for device in 0..devices + unattributed {
            let mut row = Row::new("2024-05-15T10:00:00Z", device + 100 * rows.len() as u64);
            row.version = Some(version);
            row.contributor = row.contributor.filter(|_| device < devices);
            rows.push(row);
        }
    }
    let found = release(&package(EVERYTHING, 10, 1), &rows).await;
    let mut shown = BTreeMap::new();
    let unattributed = found.column_by_name("unattributed_events").unwrap();
    let hidden = found.column_by_name("hidden").unwrap().as_boolean();
    for row in 0..found.num_rows() {
        let count = unattributed.as_primitive::<Int64Type>();
        let count = count.is_valid(row).then(|| count.value(row));
        let place = (text(&found, "grouping", row).unwrap(), text(&found, "version", row));
        shown.insert(place, (count, hidden.value(row)));
    }
    let of = |grouping: &str, version: Option<&str>| {
        shown.get(&(grouping.to_owned(), version.map(str::to_owned))).copied()
    };
    assert_eq!(of("product", None), Some((Some(5), false)));
    assert_eq!(of("product, version", Some("3.7")), Some((None, true)), "it would give 4.0 away");
    assert_eq!(of("product, version", Some("3.8")), Some((Some(0), true)));
    assert_eq!(of("product, version", Some("4.0")), None);
}
