//! A report for a terminal.

use super::page::{Page, Section};
use crate::commands::table;

pub(super) fn render(page: &Page) -> String {
    let mut text = format!("{}\n", page.title);
    for line in &page.summary {
        text.push_str(line);
        text.push('\n');
    }
    for section in &page.sections {
        text.push_str(&format!("\n{}\n", section.title.to_uppercase()));
        for line in &section.text {
            text.push_str(line);
            text.push('\n');
        }
        match section.rows.is_empty() {
            true => text.push_str(&format!("{}\n", section.nothing)),
            false if section.id == "findings" => findings(section, &mut text),
            false => {
                let heads = section.heads.iter().map(|head| (*head).to_owned()).collect();
                let rows: Vec<_> = std::iter::once(heads).chain(section.rows.clone()).collect();
                text.push_str(&table(&rows));
            }
        }
    }
    text.push_str(&format!("\n{}\n", page.colophon));
    visible(&text)
}

/// A paragraph each: they are read, not compared.
fn findings(section: &Section, text: &mut String) {
    for row in &section.rows {
        let mut cells = section.heads.iter().zip(row);
        if let Some((_, code)) = cells.next() {
            text.push_str(code);
            text.push('\n');
        }
        for (head, cell) in cells {
            text.push_str(&format!("  {head}: {cell}\n"));
        }
    }
}

/// Without characters that steer a terminal.
fn visible(text: &str) -> String {
    let plain = |letter: char| if letter.is_control() && letter != '\n' { ' ' } else { letter };
    text.chars().map(plain).collect()
}
