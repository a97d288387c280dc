//! A statistic that says what it is for counts nobody who refused that.

#![allow(clippy::unwrap_used, reason = "a test's helpers may fail")]

mod support;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use support::{Row, Store, at, package, statistic};

const STATISTICS: &str = r#"
[statistics.for_all]
from = "device_usage"
measures = ["devices", "events", "unattributed_events"]
every = "day"

[statistics.for_improvement]
from = "device_usage"
purposes = ["improve"]
measures = ["devices", "events", "unattributed_events"]
every = "day"

[statistics.for_either]
from = "device_usage"
purposes = ["im_rove", "security"]
measures = ["devices", "events"]
every = "day"
"#;

#[tokio::test]
async fn only_events_for_whose_purpose_somebody_stood_are_counted() {
    let store = Store::new(package(STATISTICS, 1, 1));
    let stood = [
        Some("improve"),
        Some("improve,security"),
        Some("im_rove,security"),
        Some("security"),
        Some(""),
        None,
    ];
    let mut rows: Vec<Row> = (0..)
        .zip(stood)
        .map(|(who, purposes)| Row { purposes, ..Row::new("2024-05-17T10:00:00Z", who) })
        .collect();
    rows.push(Row { contributor: None, purposes: Some("security"), ..rows[0].clone() });
    rows.push(Row { contributor: None, ..rows[0].clone() });
    store.add(&rows).await;
    let disclosure = store.disclosure();
    let later = at("2024-05-25");
    disclosure.release_closed(later, &|_| later).await.unwrap();
    let total = |name: &'static str, column: &'static str| {
        let store = &store;
        async move {
            let rows = statistic(store, name).await;
            let numbers = rows.column_by_name(column).unwrap();
            numbers.as_primitive::<Int64Type>().values().iter().sum::<i64>()
        }
    };
    assert_eq!(total("for_all", "devices").await, 6);
    assert_eq!(total("for_all", "unattributed_events").await, 2);
    assert_eq!(total("for_improvement", "devices").await, 2);
    assert_eq!(total("for_improvement", "unattributed_events").await, 1);
    assert_eq!(total("for_either", "devices").await, 3, "an underscore is an underscore");
}
