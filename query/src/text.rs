//! Answers for a terminal: a table, and bars.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimestampMicrosecondType};
use arrow::util::pretty::pretty_format_batches;
use disclosure::statistic::{PERIOD_END, PERIOD_START};
use schemas::columns::timestamp;
use schemas::time::{DAY_MS, Millis};

use crate::Answer;

/// Columns of the longest bar.
const WIDTH: usize = 40;
/// Parts of a column, from one eighth to seven.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// The answer as a table with one line a row, and below it what it is complete to and what is hidden.
#[must_use]
pub fn table(answer: &Answer) -> String {
    let (mut names, mut columns): (Vec<String>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (column, values) in answer.rows.schema().fields().iter().zip(answer.rows.columns()) {
        match column.name().as_str() {
            // The start says it: periods of one statistic are of one length.
            PERIOD_END if answer.rows.column_by_name(PERIOD_START).is_some() => {}
            PERIOD_START if *values.data_type() == timestamp() => {
                names.push("from".to_owned());
                columns.push(Arc::new(
                    periods(&answer.rows).into_iter().map(Some).collect::<StringArray>(),
                ));
            }
            name => {
                names.push(name.to_owned());
                columns.push(Arc::clone(values));
            }
        }
    }
    let shown = RecordBatch::try_from_iter_with_nullable(
        names.into_iter().zip(columns).map(|(name, values)| (name, values, true)),
    );
    let mut text = match shown.and_then(|shown| Ok(pretty_format_batches(&[shown])?.to_string())) {
        Ok(text) => text,
        // A batch without a single column has no table.
        Err(_) => "(nothing)".to_owned(),
    };
    let _ = write!(text, "\n{}", foot(answer));
    text
}

/// The numbers of column `value` as bars, one a row: labelled by the dimensions, under a heading a period; without
/// dimensions labelled by the period. None if there is no such column of numbers.
#[must_use]
pub fn bars(answer: &Answer, value: &str) -> Option<String> {
    let values = cast(answer.rows.column_by_name(value)?, &DataType::Float64).ok()?;
    let values = values.as_primitive::<Float64Type>();
    let (periods, labels) = (periods(&answer.rows), labels(answer)?);
    let largest = values.iter().flatten().fold(0.0, f64::max);
    let indent = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (row, label) in labels.iter().enumerate() {
        if !answer.by.is_empty() && (row == 0 || periods[row] != periods[row - 1]) {
            let _ = writeln!(text, "{}", periods[row]);
        }
        let pad = " ".repeat(indent - label.chars().count());
        let _ = writeln!(text, "  {label}{pad}  {}", bar(values, row, largest));
    }
    if labels.is_empty() {
        text.push_str("  no group is shown\n");
    }
    text.push_str(&foot(answer));
    Some(text)
}

fn bar(values: &Float64Array, row: usize, largest: f64) -> String {
    if values.is_null(row) {
        return "hidden".to_owned();
    }
    let value = values.value(row);
    let part = if largest > 0.0 { (value / largest).clamp(0.0, 1.0) } else { 0.0 };
    let full = (0..WIDTH).filter(|column| (*column as f64 + 1.0) <= part * WIDTH as f64).count();
    let rest = (part * WIDTH as f64 - full as f64) * 8.0;
    let rest = EIGHTHS.iter().enumerate().take_while(|(eighth, _)| *eighth as f64 <= rest).last();
    let number = if value.fract() == 0.0 { format!("{value:.0}") } else { value.to_string() };
    format!("{}{} {number}", "█".repeat(full), rest.map_or("", |(_, part)| part))
}

/// The dimensions of each row, or its period where it has none.
fn labels(answer: &Answer) -> Option<Vec<String>> {
    if answer.by.is_empty() {
        return Some(periods(&answer.rows));
    }
    let columns = answer
        .by
        .iter()
        .map(|name| cast(answer.rows.column_by_name(name)?, &DataType::Utf8).ok())
        .collect::<Option<Vec<_>>>()?;
    let text = |row: usize| {
        let values: Vec<&str> =
            columns.iter().map(|column| column.as_string::<i32>().value(row)).collect();
        values.join(" · ")
    };
    Some((0..answer.rows.num_rows()).map(text).collect())
}

/// Beginnings of the rows' periods: dates where all begin at midnight.
fn periods(rows: &RecordBatch) -> Vec<String> {
    let Some(starts) = rows.column_by_name(PERIOD_START) else {
        return vec![String::new(); rows.num_rows()];
    };
    let starts: Vec<Millis> = match starts.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(micros) => micros.values().iter().map(|micros| Millis(micros / 1000)).collect(),
        None => return vec![String::new(); rows.num_rows()],
    };
    let days = starts.iter().all(|start| start.0 % DAY_MS == 0);
    starts.iter().map(|start| short(*start, days)).collect()
}

/// A date, or a date and a time to the minute.
fn short(time: Millis, date: bool) -> String {
    time.to_string().chars().take(if date { 10 } else { 16 }).collect()
}

fn foot(answer: &Answer) -> String {
    let Answer { contributors, privacy, complete_until, .. } = answer;
    let k = privacy.min_contributors;
    let hidden = if privacy.hidden_groups {
        format!("groups under {k} {contributors} are hidden, and what would give them away")
    } else {
        format!("nothing is hidden; groups under {k} {contributors} would be")
    };
    let until = match complete_until {
        Some(time) => format!("complete until {}", short(*time, time.0 % DAY_MS == 0)),
        None => "nothing is released yet".to_owned(),
    };
    format!("{hidden}\n{until}; {}\n", privacy.note)
}
