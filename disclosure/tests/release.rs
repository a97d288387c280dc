//! Releases on real tables: what closes when, and that nothing is released twice.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail")]

mod support;

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use disclosure::{Error, releases};
use schemas::time::{DAY_MS, HOUR_MS, Millis};
use support::{DEVICES, Row, Store, at, package, statistic};

fn day(store_rows: &mut Vec<Row>, day: &str, devices: u64, version: &'static str) {
    for device in 0..devices {
        let mut row = Row::new(&format!("{day}T10:00:00Z"), device + 1000 * version.len() as u64);
        row.version = Some(version);
        store_rows.push(row);
    }
}

#[tokio::test]
async fn a_period_is_released_when_it_closes_and_never_again() {
    let store = Store::new(package(DEVICES, 3, 1));
    let mut rows = Vec::new();
    day(&mut rows, "2024-05-15", 4, "3.8");
    day(&mut rows, "2024-05-16", 5, "3.8");
    store.add(&rows).await;
    let disclosure = store.disclosure();

    let closes = at("2024-05-17"); // the 15th ends on the 16th, and `late` is a day
    let before = disclosure.release_closed(closes, &|_| closes.plus(-1)).await.unwrap();
    assert!(before.is_empty());
    let first = disclosure.release_closed(closes, &|_| closes).await.unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(
        (first[0].period_start, first[0].groups, first[0].hidden),
        (at("2024-05-15"), 2, false)
    );

    // A row that comes after the closing changes nothing, and the second day is released by itself.
    store.add(&[Row::new("2024-05-15T11:00:00Z", 999)]).await;
    let second = disclosure.release_closed(closes, &|_| closes.plus(DAY_MS)).await.unwrap();
    let starts: Vec<_> = second.iter().map(|release| release.period_start).collect();
    assert_eq!(starts, [at("2024-05-16")]);
    assert!(disclosure.release_closed(closes, &|_| closes.plus(DAY_MS)).await.unwrap().is_empty());
    assert!(
        store
            .disclosure()
            .release_closed(closes, &|_| closes.plus(DAY_MS))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(statistic(&store, "active_devices").await.num_rows(), 4);
}

#[tokio::test]
async fn history_imported_later_is_released_once() {
    let store = Store::new(package(DEVICES, 3, 1));
    let mut rows = Vec::new();
    day(&mut rows, "2024-05-16", 4, "3.8");
    store.add(&rows).await;
    let disclosure = store.disclosure();
    let now = at("2024-06-30");
    assert_eq!(disclosure.release_closed(now, &|_| now).await.unwrap().len(), 1);
    let mut history = Vec::new();
    day(&mut history, "2024-05-14", 6, "3.8");
    day(&mut history, "2024-05-16", 6, "3.9");
    store.add(&history).await;
    let late = disclosure.release_closed(now, &|_| now).await.unwrap();
    assert_eq!(late.len(), 1, "the 14th, and not the 16th again");
    assert_eq!(late[0].period_start, at("2024-05-14"));
}

#[tokio::test]
async fn hours_without_events_are_looked_at_once_and_stay_open_to_history() {
    let hourly = DEVICES.replace("\"day\"", "\"hour\"");
    let store = Store::new(package(&hourly, 1, 1));
    store.add(&[Row::new("2024-05-15T10:00:00Z", 1)]).await;
    let disclosure = store.disclosure();
    let now = at("2024-06-30");
    assert_eq!(disclosure.release_closed(now, &|_| now).await.unwrap().len(), 1);
    assert!(disclosure.release_closed(now, &|_| now).await.unwrap().is_empty());
    store.add(&[Row::new("2024-05-15T11:00:00Z", 1)]).await;
    let later = disclosure.release_closed(now, &|_| now).await.unwrap();
    assert_eq!(later.len(), 1);
    assert_eq!(later[0].period_start, at("2024-05-15T11:00:00Z"));
}

#[tokio::test]
async fn a_period_with_nothing_to_show_is_in_the_ledger_alone() {
    let store = Store::new(package(DEVICES, 10, 5));
    let mut rows = Vec::new();
    day(&mut rows, "2024-05-15", 4, "3.8");
    store.add(&rows).await;
    let now = at("2024-06-30");
    let released = store.disclosure().release_closed(now, &|_| now).await.unwrap();
    assert_eq!((released.len(), released[0].groups, released[0].hidden), (1, 0, true));
    assert_eq!(statistic(&store, "active_devices").await.num_rows(), 0);
    let ledger = releases(&store.root("ledger"), Some("active_devices")).await.unwrap();
    assert_eq!(ledger[0].hidden, ["", "version"]);
    assert!(store.disclosure().release_closed(now, &|_| now).await.unwrap().is_empty());
}

/// A crash between the two commits: rows are there, the ledger knows nothing of them.
#[tokio::test]
async fn rows_without_a_line_get_their_line_and_are_not_computed_again() {
    let store = Store::new(package(DEVICES, 3, 1));
    let mut rows = Vec::new();
    day(&mut rows, "2024-05-15", 4, "3.8");
    day(&mut rows, "2024-05-15", 2, "3.9x");
    store.add(&rows).await;
    let now = at("2024-06-30");
    store.disclosure().release_closed(now, &|_| now).await.unwrap();
    let before = releases(&store.root("ledger"), None).await.unwrap();
    std::fs::remove_dir_all(store.root("ledger")).unwrap();
    // Rows that come in the meantime would make another answer.
    let mut rows = Vec::new();
    day(&mut rows, "2024-05-15", 50, "3.9xy");
    store.add(&rows).await;
    let again = store.disclosure().release_closed(now.plus(HOUR_MS), &|_| now).await.unwrap();
    assert_eq!(again.len(), 1);
    assert_eq!(releases(&store.root("ledger"), None).await.unwrap(), before, "the digest included");
    assert_eq!(statistic(&store, "active_devices").await.num_rows() as u64, before[0].groups);
}

#[tokio::test]
async fn of_two_releasers_one_is_refused() {
    let store = Store::new(package(DEVICES, 3, 1));
    // The tables exist, so that the two meet at the commit.
    let mut rows = Vec::new();
    day(&mut rows, "2024-05-10", 4, "3.8");
    store.add(&rows).await;
    let now = at("2024-06-30");
    store.disclosure().release_closed(now, &|_| now).await.unwrap();
    let mut rows = Vec::new();
    for number in 11..29 {
        day(&mut rows, &format!("2024-05-{number}"), 4, "3.8");
    }
    store.add(&rows).await;
    let (one, other) = (store.disclosure(), store.disclosure());
    let complete = |_: &str| now;
    let results =
        tokio::join!(one.release_closed(now, &complete), other.release_closed(now, &complete));
    let fenced = |result: &Result<_, Error>| matches!(result, Err(Error::Fenced { .. }));
    let (first, second) = (fenced(&results.0), fenced(&results.1));
    assert!(first != second, "exactly one is refused: {results:?}");
    assert_eq!(statistic(&store, "active_devices").await.num_rows(), 19 * 2);
    assert_eq!(releases(&store.root("ledger"), None).await.unwrap().len(), 19);
}

#[tokio::test]
async fn a_measure_added_to_the_package_becomes_a_nullable_column() {
    let store = Store::new(package(DEVICES, 3, 1));
    let mut rows = Vec::new();
    day(&mut rows, "2024-05-15", 4, "3.8");
    store.add(&rows).await;
    let now = at("2024-06-30");
    store.disclosure().release_closed(now, &|_| now).await.unwrap();
    let wider = DEVICES
        .replace("\"events\"]", "{ share = { error = \"present\" } }]")
        .replace("[\"version\"]", "[\"country\"]");
    let wider = package(&wider, 3, 1);
    let mut rows = Vec::new();
    day(&mut rows, "2024-05-16", 4, "3.8");
    store.add(&rows).await;
    let released = store.disclosure_of(&wider).release_closed(now, &|_| now).await.unwrap();
    assert_eq!(released.len(), 1);
    let rows = statistic(&store, "active_devices").await;
    assert_eq!(
        rows.num_rows(),
        4,
        "{}",
        pretty_format_batches(std::slice::from_ref(&rows)).unwrap()
    );
    for (column, nulls) in
        [("version", 3), ("country", 3), ("events", 2), ("share_error_present", 2), ("devices", 0)]
    {
        assert_eq!(rows.column_by_name(column).unwrap().null_count(), nulls, "{column}");
    }
}

#[tokio::test]
async fn a_package_that_asks_for_pseudonyms_is_refused_here_too() {
    let mut asks = (*package(DEVICES, 3, 1)).clone();
    asks.statistics[0].by = vec![vec![0]];
    let store = Store::new(std::sync::Arc::new(asks));
    store.add(&[Row::new("2024-05-15T10:00:00Z", 1)]).await;
    let now = at("2024-06-30");
    let result = store.disclosure().release_closed(now, &|_| now).await;
    let words = result.expect_err("refused").to_string();
    assert_eq!(words, "statistic active_devices: `serial_number` is a pseudonym or is not stored");
}

#[tokio::test]
async fn without_memory_and_without_a_folder_to_spill_to_it_says_so() {
    let store = Store::new(package(DEVICES, 3, 1));
    let mut rows = Vec::new();
    day(&mut rows, "2024-05-15", 40_000, "3.8");
    store.add(&rows).await;
    let now = at("2024-06-30");
    let tight = store.disclosure().with_memory(4 << 20, None);
    let result = tight.release_closed(now, &|_| now).await;
    assert!(matches!(result, Err(Error::Memory { .. })), "{result:?}");
    let spilling = store.disclosure().with_memory(4 << 20, Some(store.root("spill")));
    assert_eq!(spilling.release_closed(now, &|_| now).await.unwrap().len(), 1);
}

#[tokio::test]
async fn closings_name_the_next_period_of_each_statistic() {
    let store = Store::new(package(DEVICES, 3, 1));
    let closings = store.disclosure().closings(at("2024-05-17T12:00:00Z"));
    assert_eq!(closings.len(), 1);
    assert_eq!(closings[0].period_start, at("2024-05-16"));
    assert_eq!(closings[0].closes_at, at("2024-05-18"));
    assert_eq!(Millis(0).day(), 0);
}

/// Gives the one data file of a table a name with its checksum, as the sink does.
fn check(table: &std::path::Path) -> std::path::PathBuf {
    let mut folders = vec![table.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    let data = files.iter().find(|path| path.extension().unwrap() == "parquet").unwrap();
    let name = data.file_name().unwrap().to_str().unwrap();
    let mut checked = storage::Checked::new(Vec::new());
    std::io::Write::write_all(&mut checked, &std::fs::read(data).unwrap()).unwrap();
    let (_, checked) = checked.finish(name);
    for log in files.iter().filter(|path| path.extension().unwrap() == "json") {
        let text = std::fs::read_to_string(log).unwrap();
        std::fs::write(log, text.replace(name, &checked)).unwrap();
    }
    let path = data.with_file_name(checked);
    std::fs::rename(data, &path).unwrap();
    path
}

#[tokio::test]
async fn a_changed_file_is_named_and_its_period_is_not_released() {
    let store = Store::new(package(DEVICES, 3, 1));
    let mut rows = Vec::new();
    day(&mut rows, "2024-05-15", 4, "3.8");
    store.add(&rows).await;
    let file = check(&store.root("events").join("device_usage"));
    let whole = std::fs::read(&file).unwrap();
    let closes = at("2024-05-17");
    for offset in (0..whole.len()).step_by(whole.len() / 11) {
        let mut changed = whole.clone();
        changed[offset] ^= 1 << (offset % 8);
        std::fs::write(&file, changed).unwrap();
        let refused = store.disclosure().release_closed(closes, &|_| closes).await;
        assert!(matches!(&refused, Err(Error::Changed { path }) if *path == file), "{refused:?}");
    }
    std::fs::write(&file, whole).unwrap();
    assert_eq!(store.disclosure().release_closed(closes, &|_| closes).await.unwrap().len(), 1);
}

const MANY: &str = r#"
[statistics.by_day]
from = "device_usage"
measures = ["devices", "events", "unattributed_events", { mean = "duration" }, { quantiles = "duration", at = [0.5] }, { share = { error = "present" } }]
every = "day"
by = [[], ["version"], ["country"], ["version", "country"]]
clamp = { events = 3 }

[statistics.by_hour]
from = "device_usage"
measures = ["devices", { sum = "duration" }]
every = "hour"
by = [[], ["version"]]
clamp = { events = 5, sums = { duration = 4000 } }

[statistics.by_week]
from = "device_usage"
measures = ["devices", { quantiles = "duration", at = [0.9] }]
every = "week"
by = [["country"]]
clamp = { events = 9 }
"#;

/// Days of May that have events.
const DAYS: [i64; 9] = [1, 2, 3, 6, 8, 9, 14, 20, 21];

/// Three weeks with gaps: groups small and large, devices of two epochs, events without device, length or country.
fn weeks() -> Vec<Row> {
    let mut state = 7_u64;
    let mut below = |bound: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let mut rows = Vec::new();
    for day in DAYS {
        for _ in 0..5 + 20 * below(3) {
            let time = format!("2024-05-{day:02}T{:02}:00:00Z", 8 + 3 * below(3));
            let mut row = Row::new(&time, below(24));
            row.epoch = 700 + i32::from(below(9) == 0);
            row.contributor = row.contributor.filter(|_| below(8) > 0);
            row.version = [Some("3.8"), Some("3.8"), Some("3.9"), Some("4.0"), None]
                [usize::try_from(below(5)).unwrap()];
            row.country =
                [Some("DK"), Some("DK"), Some("SE"), None][usize::try_from(below(4)).unwrap()];
            row.duration = (below(5) > 0).then(|| 100 * below(40) as i64);
            row.error = (below(6) == 0).then_some("E042");
            rows.push(row);
        }
    }
    rows
}

#[tokio::test]
async fn periods_computed_together_are_what_they_are_by_themselves() {
    let package = package(MANY, 4, 1);
    let (together, alone) = (Store::new(Arc::clone(&package)), Store::new(package));
    together.add(&weeks()).await;
    alone.add(&weeks()).await;
    let now = at("2024-06-30");
    let all = together.disclosure().release_closed(now, &|_| now).await.unwrap();
    let disclosure = alone.disclosure();
    let mut each = 0;
    // Behind each hour that has events, and the end of its day; `late` is a day.
    let steps = DAYS.iter().flat_map(|day| [10, 13, 24].map(|hour| (day + 1, hour)));
    let steps = steps.map(|(day, hour)| at("2024-05-01").plus((day - 1) * DAY_MS + hour * HOUR_MS));
    for complete in steps.chain([now]) {
        each += disclosure.release_closed(now, &|_| complete).await.unwrap().len();
    }
    assert_eq!(all.len(), each);
    assert!(all.iter().any(|release| release.hidden) && all.iter().any(|release| !release.hidden));
    for name in ["by_day", "by_hour", "by_week"] {
        let mut found = Vec::new();
        for store in [&together, &alone] {
            let rows = statistic(store, name).await;
            let text = pretty_format_batches(&[rows]).unwrap().to_string();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            found.push(lines);
            let ledger = releases(&store.root("ledger"), Some(name)).await.unwrap();
            let mut told: Vec<String> = ledger
                .iter()
                .map(|line| {
                    format!("{:?} {} {:?} {}", line.period, line.groups, line.hidden, line.digest)
                })
                .collect();
            told.sort();
            found.push(told);
        }
        assert!(found[0].len() > 5, "{name}");
        assert_eq!((&found[0], &found[1]), (&found[2], &found[3]), "{name}");
    }
}
