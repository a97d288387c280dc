//! Requests and their answers, in process; text for terminals.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail")]

mod fixture;

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use fixture::support::{Row, at};
use fixture::{statistics, store};
use query::{Answer, QueryError, Request, Statistics, bars, table};

async fn ask(statistics: &Statistics, request: &str) -> Result<Answer, QueryError> {
    statistics.answer(&Request::parse(request.as_bytes())?).await
}

fn lines(answer: &Answer) -> Vec<String> {
    let text = pretty_format_batches(std::slice::from_ref(&answer.rows)).unwrap().to_string();
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join(" ");
    text.lines().filter(|line| line.starts_with('|')).map(cells).collect()
}

#[tokio::test]
async fn the_total_is_the_answer_to_a_bare_question() {
    let store = store().await;
    let answer = ask(&statistics(&store), r#"{"from": "active_devices"}"#).await.unwrap();
    assert_eq!(
        lines(&answer),
        [
            "period_start period_end devices events",
            "2024-05-15T00:00:00Z 2024-05-16T00:00:00Z 60 60",
            "2024-05-16T00:00:00Z 2024-05-17T00:00:00Z 65 65",
        ]
    );
    assert_eq!(answer.complete_until, Some(at("2024-05-17")));
    assert_eq!(answer.contributors, "devices");
    assert!(!answer.privacy.hidden_groups);
    assert_eq!((answer.privacy.min_contributors, answer.privacy.rounding), (10, 5));
    assert!(answer.privacy.note.contains("not anonymous"));
}

#[tokio::test]
async fn a_grouping_has_its_dimensions_and_says_what_is_hidden() {
    let store = store().await;
    let statistics = statistics(&store);
    let by = r#"{"from": "active_devices", "by": ["version", "product"], "measures": ["devices"]}"#;
    let answer = ask(&statistics, by).await.unwrap();
    assert_eq!(
        lines(&answer),
        [
            "period_start period_end product version devices",
            "2024-05-15T00:00:00Z 2024-05-16T00:00:00Z kathea (none) 10",
            "2024-05-15T00:00:00Z 2024-05-16T00:00:00Z x1 3.8 30",
            "2024-05-15T00:00:00Z 2024-05-16T00:00:00Z x1 3.9 20",
            "2024-05-16T00:00:00Z 2024-05-17T00:00:00Z x1 3.8 30",
            "2024-05-16T00:00:00Z 2024-05-17T00:00:00Z x1 3.9 20",
        ]
    );
    assert!(answer.privacy.hidden_groups);
    let first_day = by.replace('}', r#", "between": ["2024-05-15", "2024-05-16"]}"#);
    let answer = ask(&statistics, &first_day).await.unwrap();
    assert_eq!(answer.rows.num_rows(), 3);
    assert!(!answer.privacy.hidden_groups, "nothing is hidden in the day asked for");
}

#[tokio::test]
async fn an_answer_names_the_periods_in_which_something_is_hidden() {
    let store = store().await;
    let statistics = statistics(&store);
    let hidden_in = async |request: &str| {
        let answer = ask(&statistics, request).await.unwrap();
        assert_eq!(answer.privacy.hidden_groups, answer.hidden_in != Some(vec![]), "{request}");
        (answer.rows.num_rows(), answer.hidden_in.unwrap())
    };
    let second = vec![at("2024-05-16")];
    // One group is hidden, and others of the period are shown.
    let by = r#"{"from": "active_devices", "by": ["product", "version"]"#;
    assert_eq!(hidden_in(&format!("{by}}}")).await, (5, second.clone()));
    // Also where none of the rows that are left says so.
    let filtered = format!(r#"{by}, "where": {{"version": "4.0"}}}}"#);
    assert_eq!(hidden_in(&filtered).await, (0, second.clone()));
    // All groups are hidden, so that there is no row of the period at all.
    let spread = r#"{"from": "spread", "by": ["country"]"#;
    assert_eq!(hidden_in(&format!("{spread}}}")).await, (1, second.clone()));
    let day = |from, to| format!(r#"{spread}, "between": ["{from}", "{to}"]}}"#);
    assert_eq!(hidden_in(&day("2024-05-16", "2024-05-17")).await, (0, second));
    // What was not asked for, or is of another grouping, is not told.
    assert_eq!(hidden_in(&day("2024-05-15", "2024-05-16")).await, (1, vec![]));
    assert_eq!(hidden_in(r#"{"from": "active_devices", "by": ["product"]}"#).await, (4, vec![]));
    assert_eq!(hidden_in(r#"{"from": "never"}"#).await, (0, vec![]));
}

#[tokio::test]
async fn an_answer_names_the_periods_that_were_revised() {
    let store = store().await;
    let statistics = statistics(&store);
    let revised_in = async |request: &str| {
        let request = serde_json::from_str(request).unwrap();
        statistics.answer(&request).await.unwrap().revised_in.unwrap()
    };
    let all = r#"{"from": "active_devices"}"#;
    assert!(revised_in(all).await.is_empty());
    let more: Vec<Row> =
        (900..910).map(|device| Row::new("2024-05-15T11:00:00Z", device)).collect();
    store.add(&more).await;
    let (from, to) = (at("2024-05-15"), at("2024-05-16"));
    store.disclosure().revise(from..to, at("2024-05-18")).await.unwrap();
    assert_eq!(revised_in(all).await, [from]);
    let second = r#"{"from": "active_devices", "between": ["2024-05-16", "2024-05-17"]}"#;
    assert!(revised_in(second).await.is_empty(), "nothing of the 15th was asked for");
}

#[tokio::test]
async fn the_ledger_is_read_again_when_somebody_appends_to_it() {
    let store = store().await;
    let statistics = statistics(&store);
    let total = r#"{"from": "active_devices"}"#;
    assert_eq!(ask(&statistics, total).await.unwrap().complete_until, Some(at("2024-05-17")));
    // Without another commit its files are not looked into.
    let ledger = store.root("ledger").join("releases");
    let files = std::fs::read_dir(&ledger).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
    let away = |path: &std::path::PathBuf| path.with_extension("away");
    files.iter().for_each(|path| std::fs::rename(path, away(path)).unwrap());
    assert_eq!(ask(&statistics, total).await.unwrap().complete_until, Some(at("2024-05-17")));
    files.iter().for_each(|path| std::fs::rename(away(path), path).unwrap());
    let rows: Vec<_> = (0..20).map(|device| Row::new("2024-05-17T10:00:00Z", device)).collect();
    store.add(&rows).await;
    let now = at("2024-05-19T06:00:00Z");
    store.disclosure().release_closed(now, &|_| now).await.unwrap();
    let answer = ask(&statistics, total).await.unwrap();
    assert_eq!((answer.complete_until, answer.rows.num_rows()), (Some(at("2024-05-18")), 3));
}

/// A crash between the two commits of a release leaves rows without a line: what they say of hidden groups is told.
#[tokio::test]
async fn rows_without_a_line_in_the_ledger_say_what_is_hidden() {
    let store = store().await;
    let (tables, nowhere) = (store.root("statistics"), store.root("nowhere"));
    let statistics = Statistics::new(Arc::clone(&store.package), tables, nowhere);
    let by = r#"{"from": "active_devices", "by": ["product", "version"]}"#;
    let answer = ask(&statistics, by).await.unwrap();
    assert_eq!(answer.hidden_in, Some(vec![at("2024-05-16")]));
    assert!(answer.privacy.hidden_groups);
}

#[tokio::test]
async fn where_and_between_narrow() {
    let store = store().await;
    let statistics = statistics(&store);
    let count = async |request: &str| ask(&statistics, request).await.unwrap().rows.num_rows();
    let of = |rest: &str| {
        format!(r#"{{"from": "active_devices", "by": ["product", "version"], {rest}}}"#)
    };
    assert_eq!(count(&of(r#""where": {"version": "3.8"}"#)).await, 2);
    assert_eq!(count(&of(r#""where": {"version": ["3.8", "(none)"]}"#)).await, 3);
    assert_eq!(count(&of(r#""where": {"version": null}"#)).await, 1);
    assert_eq!(count(&of(r#""where": {"version": "3.8", "product": "kathea"}"#)).await, 0);
    assert_eq!(count(&of(r#""where": {"version": "'; drop table x"}"#)).await, 0);
    let from =
        r#""between": ["2024-05-15T00:00:01Z", "2024-05-17T00:00:00+02:00"], "every": "day""#;
    assert_eq!(count(&of(from)).await, 2);
}

#[tokio::test]
async fn before_the_first_release_an_answer_is_empty_and_says_so() {
    let store = store().await;
    let answer = ask(&statistics(&store), r#"{"from": "never"}"#).await.unwrap();
    assert_eq!((answer.rows.num_rows(), answer.complete_until), (0, None));
    assert_eq!(answer.by, ["country"], "without a total the first grouping");
    let names: Vec<_> =
        answer.rows.schema().fields().iter().map(|column| column.name().clone()).collect();
    assert_eq!(names, ["period_start", "period_end", "country", "devices"]);
    assert!(table(&answer).contains("nothing is released yet"));
    assert!(bars(&answer, "devices").unwrap().contains("no group is shown"));
}

#[tokio::test]
async fn errors_say_what_is_declared() {
    let store = store().await;
    let statistics = statistics(&store);
    let mut found = String::new();
    for request in include_str!("golden/errors.txt").lines().filter(|line| line.starts_with('{')) {
        let error = ask(&statistics, request).await.expect_err(request);
        let (status, code) = (error.status(), error.code());
        found.push_str(&format!("{request}\n  {status} {code}: {error}\n"));
    }
    assert_eq!(
        found,
        include_str!("golden/errors.txt"),
        "tests/golden/errors.txt would be:\n{found}"
    );
}

#[tokio::test]
async fn statistics_are_listed_with_what_may_be_asked() {
    let store = store().await;
    let list = statistics(&store).list().await.unwrap();
    let names: Vec<_> = list.iter().map(|description| description.name.as_str()).collect();
    assert_eq!(names, ["active_devices", "never", "scans", "spread"]);
    assert_eq!(list[0].groupings, [vec![], vec!["product"], vec!["product", "version"]]);
    assert_eq!(list[0].complete_until.as_deref(), Some("2024-05-17T00:00:00.000Z"));
    assert_eq!(list[2].measures, ["events", "mean_duration", "share_error_present"]);
    assert_eq!(list[1].complete_until, None);
    let of = |index: usize| (list[index].family.as_str(), list[index].contributors.as_str());
    assert_eq!(of(0), ("device_usage", "devices"));
    assert_eq!(
        (list[2].mechanism, list[2].min_contributors, list[2].rounding),
        ("threshold", 10, 5)
    );
    let columns = list[2].columns.iter();
    let columns: Vec<_> = columns
        .map(|column| (column.name.as_str(), column.measure, column.field.as_deref(), column.unit))
        .collect();
    assert_eq!(
        columns,
        [
            ("events", "events", None, None),
            ("mean_duration", "mean", Some("duration"), Some("ms")),
            ("share_error_present", "share", Some("error"), Some("share")),
        ]
    );
    assert_eq!(list[0].columns[0].measure, "contributors");
    assert_eq!(list[2].columns[0].about, None);
    assert!(list[2].columns[1].about.as_ref().is_some_and(|about| !about.is_empty()));
}

#[tokio::test]
async fn a_table_and_bars_for_terminals() {
    let store = store().await;
    let statistics = statistics(&store);
    let request =
        r#"{"from": "active_devices", "by": ["product", "version"], "measures": ["devices"]}"#;
    let answer = ask(&statistics, request).await.unwrap();
    assert_eq!(bars(&answer, "devices").unwrap(), include_str!("golden/bars.txt"));
    assert_eq!(table(&answer), include_str!("golden/table.txt"));
    assert_eq!(bars(&answer, "events"), None);
    let total = ask(&statistics, r#"{"from": "active_devices"}"#).await.unwrap();
    let text = bars(&total, "events").unwrap();
    assert!(text.starts_with("  2024-05-15  █"), "{text}");
    assert!(text.contains("nothing is hidden; groups under 10 devices would be"), "{text}");
}
