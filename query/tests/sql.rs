//! SQL: what it may do, and what not.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail")]

mod fixture;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use fixture::support::at;
use fixture::{statistics, store};
use query::QueryError;

#[tokio::test]
async fn full_select_over_the_statistics() {
    let store = store().await;
    let statistics = statistics(&store);
    let text = "with a as (select period_start, product, devices from active_devices where grouping = 'product')
        select a.product, sum(a.devices) as devices, max(s.mean_duration) as mean
        from a join scans s on a.period_start = s.period_start and a.product = s.product
        group by a.product order by devices desc";
    let answer = statistics.sql(text).await.unwrap();
    let devices = answer.rows.column_by_name("devices").unwrap().as_primitive::<Int64Type>();
    assert_eq!(devices.values(), &[100, 25]);
    assert_eq!(answer.complete_until, Some(at("2024-05-17")));
    assert!(answer.privacy.hidden_groups);
    let tables = statistics.sql("show tables").await.unwrap();
    let names = arrow::compute::cast(
        tables.rows.column_by_name("table_name").unwrap(),
        &arrow::datatypes::DataType::Utf8,
    );
    let names = names.unwrap();
    let mut own: Vec<_> = names.as_string::<i32>().iter().flatten().collect();
    own.retain(|name| ["active_devices", "scans"].contains(name));
    assert_eq!(own.len(), 2);
    assert!(statistics.sql("describe scans").await.unwrap().rows.num_rows() > 5);
}

#[tokio::test]
async fn whatever_does_not_only_read_is_refused() {
    let store = store().await;
    let statistics = statistics(&store);
    let out = store.root("stolen").display().to_string();
    let refused = [
        format!("copy scans to '{out}' stored as csv"),
        format!("copy (select * from scans) to '{out}.parquet'"),
        format!("create external table t stored as parquet location '{out}'"),
        "create table t as select * from scans".to_owned(),
        "create view v as select * from scans".to_owned(),
        "create schema s".to_owned(),
        "drop table scans".to_owned(),
        "insert into scans select * from scans".to_owned(),
        "delete from scans".to_owned(),
        "update scans set events = 0".to_owned(),
        "set datafusion.execution.batch_size = 1".to_owned(),
        "prepare p as select 1".to_owned(),
        "begin".to_owned(),
        "explain select * from scans".to_owned(),
        "explain analyze select * from scans".to_owned(),
    ];
    for text in &refused {
        let error = statistics.sql(text).await.map(|answer| answer.rows).expect_err(text);
        let expected = matches!(error, QueryError::SqlRefused(_) | QueryError::Sql(_));
        assert!(expected && error.status() == 400, "{text}: {error:?}");
    }
    assert!(!store.root("stolen").exists());
    let scans = statistics.sql("select * from scans").await.unwrap();
    assert_eq!(scans.rows.num_rows(), 4, "and nothing happened");
}

#[tokio::test]
async fn nothing_but_the_statistics_can_be_read() {
    let store = store().await;
    let statistics = statistics(&store);
    let events = store.root("events").join("device_usage");
    let file = std::fs::read_dir(&events)
        .unwrap()
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("day="))
        .unwrap();
    let file = file.path().read_dir().unwrap().flatten().next().unwrap().path();
    let (events, file) = (events.display().to_string(), file.display().to_string());
    let unreachable = [
        "select * from device_usage".to_owned(),
        "select * from events.device_usage".to_owned(),
        "select * from releases".to_owned(),
        format!("select * from '{file}'"),
        format!("select * from '{events}'"),
        format!("select * from \"{file}\""),
        format!("select * from 'file://{file}'"),
        format!("select * from read_parquet('{file}')"),
        format!("select * from parquet_scan('{file}')"),
        format!("select * from delta_scan('{events}')"),
        "select * from read_csv('/etc/passwd')".to_owned(),
        "select pg_read_file('/etc/passwd')".to_owned(),
        "select * from scans; select * from scans".to_owned(),
    ];
    for text in &unreachable {
        let error = statistics.sql(text).await.map(|answer| answer.rows).expect_err(text);
        assert!(matches!(error, QueryError::Sql(_)), "{text}: {error:?}");
    }
}

#[tokio::test]
async fn an_endless_or_huge_query_is_given_up() {
    let store = store().await;
    let statistics = statistics(&store);
    let rows = "select a.value from generate_series(1, 3000) a, generate_series(1, 3000) b";
    let error = statistics.sql(rows).await.map(|answer| answer.rows).expect_err("too many");
    assert_eq!(
        error.to_string().split(';').next(),
        Some("the answer takes more than a million rows")
    );
    let long = "x".repeat(1000);
    let sort = format!(
        "select count(*) from (select distinct concat(value, '{long}') from generate_series(1, 400000))"
    );
    let error = statistics.sql(&sort).await.map(|answer| answer.rows).expect_err("too large");
    assert_eq!(error.code(), "too_much");
    let text = "select repeat('x', 2000000000)";
    let error = statistics.sql(text).await.map(|answer| answer.rows).expect_err("unbounded");
    assert_eq!(error.code(), "sql");
}

/// Runs SQL as the binary does: on a stack of [`query::STACK_BYTES`].
fn deep(text: String) -> Result<usize, QueryError> {
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = store().await;
            let statistics = statistics(&store);
            statistics.sql(&text).await.map(|answer| answer.rows.num_rows())
        })
    };
    let thread = std::thread::Builder::new().stack_size(query::STACK_BYTES);
    thread.spawn(run).unwrap().join().unwrap()
}

/// The planner works by recursion: without a limit each of these ends the whole process, by its stack.
#[test]
fn a_query_is_no_deeper_than_the_stack() {
    let chain = |link: &str, many| vec![link; many].join(" ");
    let texts = |many| {
        [
            format!("select devices {} from active_devices", chain("+ devices", many)),
            format!("select 1 from scans where true {}", chain("or events = 1", many)),
            format!("select 1 {}", chain("union select 1", many)),
            format!("select 1 {}", chain("::bigint", many)),
            format!("select 1 {}", chain("is null", many)),
            format!("select 1 {}", chain("isnull", many)),
            format!("select {}1{}", "(".repeat(many), ")".repeat(many)),
        ]
    };
    for text in texts(10_000) {
        assert_eq!(deep(text).map_err(|error| error.code()), Err("too_much"));
    }
    for text in texts(100) {
        let answered = deep(text).map_err(|error| error.code());
        assert!(matches!(answered, Ok(_) | Err("sql")), "{answered:?}");
    }
    // As deep as the limit lets it be: an answer, whatever it says.
    let _answered = deep(format!("select 1 {}", chain("is null", 498)));
    let _answered = deep(format!("select 1 {}", chain("isnull", 990)));
}

#[tokio::test]
async fn a_query_that_multiplies_is_given_up() {
    let store = store().await;
    let statistics = statistics(&store);
    let tables: Vec<String> =
        (1..13).map(|i| format!("t{i} as (select a.x from t{0} a, t{0} b)", i - 1)).collect();
    let text = format!("with t0 as (select 1 as x), {} select * from t12", tables.join(", "));
    let error = statistics.sql(&text).await.map(|answer| answer.rows).expect_err("2^12 tables");
    assert_eq!(error.code(), "too_much", "{error}");
}
