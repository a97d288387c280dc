//! The tables are plain Delta tables: Python's deltalake and DuckDB read them, with the right counts.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::place::Place;
use crate::support::{printed, quorate, succeed};

/// What the Python program prints of a table.
fn read(folder: &Path) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/python/bin/python");
    assert!(
        python.is_file(),
        "no Python with deltalake and DuckDB: run `cargo xtask python` first"
    );
    let mut command = Command::new(python);
    command.arg(root.join("tests/end_to_end/read_tables.py")).arg(folder);
    serde_json::from_str(&printed(&mut command)).expect("the program prints JSON")
}

#[test]
fn python_reads_events_and_statistics_with_the_right_counts() {
    let place = Place::new();
    let (history, summary) = (place.outputs().join("history"), place.outputs().join("sent.json"));
    // Within the current key epoch of every family, or rows would be gone with their keys.
    let mut generate = quorate();
    generate.args(["generate", "--events", "30000", "--seed", "9", "--days", "1"]);
    std::fs::write(&history, succeed(generate.arg("--summary").arg(&summary)).stdout).unwrap();
    place.print(&["import", history.to_str().unwrap()]);

    let sent: Value = serde_json::from_str(&std::fs::read_to_string(summary).unwrap()).unwrap();
    let tables = read(&place.data());
    for (family, counts) in sent["families"].as_object().unwrap() {
        let table = &tables[format!("events/{family}")];
        assert_eq!(table["deltalake"], counts["stored"], "{family}: {table}");
        assert_eq!(table["duckdb"], counts["stored"], "{family}: {table}");
        assert_eq!(table["reader_version"], 1, "{family}: {table}");
        assert_eq!(table["statistics_of_columns"], false, "{family}: {table}");
        let columns = table["columns"].as_array().unwrap();
        for column in ["day", "time", "contributor", "epoch"] {
            assert!(columns.iter().any(|name| name == column), "{family}: {table}");
        }
    }

    let statistics: Vec<&String> =
        tables.as_object().unwrap().keys().filter(|name| name.starts_with("statistics/")).collect();
    assert!(!statistics.is_empty(), "a closed hour gives a statistic: {tables}");
    for name in statistics {
        let table = name.trim_start_matches("statistics/");
        let answer = place.print(&["sql", &format!("select count(*) as rows from {table}")]);
        let rows: u64 =
            answer.split(['|', '\n']).find_map(|cell| cell.trim().parse().ok()).unwrap();
        assert_eq!(tables[name]["deltalake"].as_u64(), Some(rows), "{name}");
        assert_eq!(tables[name]["duckdb"].as_u64(), Some(rows), "{name}");
    }
    let visible: u64 = tables["statistics/visitors_by_hour"]["deltalake"].as_u64().unwrap_or(0);
    assert!(visible > 0, "thirty thousand events of a day fill some hours: {tables}");
}
