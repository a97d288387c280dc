//! Revisions on real tables: what a replay changes after its period was released.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail")]

mod support;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use disclosure::{Disclosure, Release, releases};
use schemas::time::{DAY_MS, Millis};
use support::{DEVICES, Row, Store, at, package, statistic};

/// All of the days that the tests are about.
fn received() -> Range<Millis> {
    at("2024-05-15")..at("2024-05-16")
}

fn devices(day: &str, devices: Range<u64>, version: &'static str) -> Vec<Row> {
    let device =
        |device| Row { version: Some(version), ..Row::new(&format!("{day}T10:00:00Z"), device) };
    devices.map(device).collect()
}

/// Two released days with four devices each, of three and more.
async fn released() -> (Store, Disclosure) {
    let store = Store::new(package(DEVICES, 3, 1));
    store.add(&devices("2024-05-15", 0..4, "3.8")).await;
    store.add(&devices("2024-05-20", 0..4, "3.8")).await;
    let disclosure = store.disclosure();
    let now = at("2024-05-22");
    assert_eq!(disclosure.release_closed(now, &|_| now).await.unwrap().len(), 2);
    (store, disclosure)
}

/// Day, grouping, devices and whether it was revised, of every row.
async fn rows(store: &Store) -> Vec<(Millis, String, i64, bool)> {
    let all = statistic(store, "active_devices").await;
    let column = |name| all.column_by_name(name).unwrap();
    let starts = column("period_start").as_primitive::<TimestampMicrosecondType>();
    let groupings = arrow::compute::cast(column("grouping"), &arrow::datatypes::DataType::Utf8);
    let groupings = groupings.unwrap();
    let devices = column("devices").as_primitive::<Int64Type>();
    let revised = column("revised_at");
    let row = |row| {
        let grouping = groupings.as_string::<i32>().value(row).to_owned();
        (Millis(starts.value(row) / 1000), grouping, devices.value(row), revised.is_valid(row))
    };
    let mut rows: Vec<_> = (0..all.num_rows()).map(row).collect();
    rows.sort();
    rows
}

async fn ledger(store: &Store) -> Vec<Release> {
    releases(&store.root("ledger"), None).await.unwrap()
}

#[tokio::test]
async fn a_changed_period_is_computed_again_and_marked_and_no_other() {
    let (store, disclosure) = released().await;
    let (first, second) = (at("2024-05-15"), at("2024-05-20"));
    store.add(&devices("2024-05-15", 10..12, "3.8")).await;
    store.add(&devices("2024-05-20", 10..12, "3.8")).await;
    let now = at("2024-05-23");
    let revised = disclosure.revise(received(), now).await.unwrap();
    assert_eq!(revised.iter().map(|line| line.period_start).collect::<Vec<_>>(), [first]);
    let all = |day, devices, revised| {
        [("", devices), ("version", devices)]
            .map(|(grouping, devices)| (day, grouping.to_owned(), devices, revised))
    };
    let expected = [all(first, 6, true), all(second, 4, false)].concat();
    assert_eq!(rows(&store).await, expected, "the 20th was not received in that time");
    let lines = ledger(&store).await;
    assert_eq!(lines.iter().map(|line| line.revised_at).collect::<Vec<_>>(), [Some(now), None]);
    assert_eq!(lines[0].released_at, lines[1].released_at, "when it was released stays");

    let again = disclosure.revise(received(), now.plus(1000)).await.unwrap();
    assert!(again.is_empty(), "nothing is different any more");
    assert_eq!(rows(&store).await, expected);
    assert_eq!(ledger(&store).await, lines);
    assert!(disclosure.release_closed(now, &|_| now).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_falls_below_the_threshold_goes_and_what_reaches_it_comes() {
    let store = Store::new(package(DEVICES, 5, 1));
    store.add(&devices("2024-05-15", 0..6, "3.8")).await;
    store.add(&devices("2024-05-15", 20..22, "3.9")).await;
    let (disclosure, now) = (store.disclosure(), at("2024-05-17"));
    disclosure.release_closed(now, &|_| now).await.unwrap();
    assert_eq!(ledger(&store).await[0].hidden, ["version"]);

    store.add(&devices("2024-05-15", 30..34, "3.9")).await;
    let revised = disclosure.revise(received(), now).await.unwrap();
    assert_eq!((revised.len(), revised[0].groups, revised[0].hidden), (1, 3, false));

    let folder = store.root("events").join("device_usage");
    let url = url::Url::from_directory_path(folder).unwrap();
    let table = deltalake::DeltaTable::try_from_url(url).await.unwrap();
    table.delete().with_predicate("version = '3.8'").await.unwrap();
    let revised = disclosure.revise(received(), now.plus(1000)).await.unwrap();
    assert_eq!((revised.len(), revised[0].groups), (1, 2));
    let left = rows(&store).await;
    assert!(left.iter().all(|(_, _, devices, revised)| *devices == 6 && *revised), "{left:?}");
}

#[tokio::test]
async fn a_period_of_which_rows_have_died_since_keeps_its_numbers() {
    let (store, disclosure) = released().await;
    store.add(&devices("2024-05-15", 10..12, "3.8")).await;
    let before = rows(&store).await;
    // The epoch of 28 days that holds the period, and a grace of two days, are over.
    let later = at("2024-05-15").plus(31 * DAY_MS);
    assert!(disclosure.revise(received(), later).await.unwrap().is_empty());
    assert_eq!(rows(&store).await, before);
}

#[tokio::test]
async fn a_period_of_which_values_have_died_since_keeps_its_numbers() {
    let mut package = Arc::unwrap_or_clone(package(DEVICES, 3, 1));
    package.purposes[0].keep_days = Some(5);
    let store = Store::new(Arc::new(package));
    store.add(&devices("2024-05-15", 0..4, "3.8")).await;
    let (disclosure, now) = (store.disclosure(), at("2024-05-17"));
    disclosure.release_closed(now, &|_| now).await.unwrap();
    store.add(&devices("2024-05-15", 10..12, "3.8")).await;
    let before = rows(&store).await;
    // Five days after the day's end: whatever rested on the purpose is not in the rows any more.
    let later = at("2024-05-21");
    assert!(disclosure.revise(received(), later).await.unwrap().is_empty());
    assert_eq!(rows(&store).await, before);
    assert_eq!(disclosure.revise(received(), later.plus(-1)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_line_that_a_crash_left_out_is_made_good() {
    let (store, disclosure) = released().await;
    let saved = store.root("saved");
    copy(&store.root("ledger"), &saved);
    store.add(&devices("2024-05-15", 10..12, "3.8")).await;
    let now = at("2024-05-23");
    disclosure.revise(received(), now).await.unwrap();
    let lines = ledger(&store).await;
    std::fs::remove_dir_all(store.root("ledger")).unwrap();
    std::fs::rename(&saved, store.root("ledger")).unwrap();
    assert_eq!(ledger(&store).await[0].revised_at, None);

    disclosure.revise(received(), now.plus(1000)).await.unwrap();
    let made = &ledger(&store).await[0];
    assert_eq!((made.revised_at, &made.digest), (lines[0].revised_at, &lines[0].digest));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}
