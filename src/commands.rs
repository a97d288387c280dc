//! One file a command: reads arguments, calls the stages, prints.

pub mod access;
pub mod audit;
pub mod hold;
pub mod import;
pub mod init;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod keyring;
pub mod notice;
pub mod policy;
pub mod query;
pub mod release;
pub mod replay;
pub mod run;
pub mod sql;
pub mod status;
pub mod subject;
pub mod try_event;
pub mod version;

use std::io::Write;

/// Prints to standard output; a closed pipe ends the command quietly, as `head` expects.
///
/// # Errors
///
/// If standard output cannot be written for another reason.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Aligns rows of cells to columns, the first row being the heading.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_blanks() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["name", "kind"]), row(["scanner-fleet", ""])]);
        assert_eq!(text, "name           kind\nscanner-fleet\n");
    }
}
