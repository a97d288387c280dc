//! A document as Markdown (CommonMark, with tables).

use std::fmt::Write;

use super::document::{Block, Document, Piece, Table, Text};
use crate::words;

/// The whole text.
pub(super) fn render(document: &Document) -> String {
    let mut page =
        format!("# {}\n\n{}\n\n## In short\n\n", escape(&document.title), escape(&document.kind));
    list(&mut page, &document.summary);
    for section in &document.sections {
        line(&mut page, format_args!("## {}\n", escape(section.title)));
        for block in &section.blocks {
            match block {
                Block::Heading(text) => line(&mut page, format_args!("### {}\n", inline(text))),
                Block::Paragraph(text) => line(&mut page, format_args!("{}\n", inline(text))),
                Block::List(lines) => list(&mut page, lines),
                Block::Table(table) => write_table(&mut page, table),
            }
        }
    }
    line(&mut page, format_args!("---\n\n{}", inline(&document.colophon)));
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("writing to a string never fails");
}

fn list(page: &mut String, lines: &[Text]) {
    for text in lines {
        line(page, format_args!("- {}", inline(text)));
    }
    page.push('\n');
}

fn write_table(page: &mut String, table: &Table) {
    line(page, format_args!("{}:\n", escape(&table.caption)));
    line(page, format_args!("| {} |", table.heads.join(" | ")));
    line(page, format_args!("|{}", " --- |".repeat(table.heads.len())));
    for row in &table.rows {
        let cells: Vec<String> = row.iter().map(inline).collect();
        line(page, format_args!("| {} |", cells.join(" | ")));
    }
    page.push('\n');
}

fn inline(text: &Text) -> String {
    let pieces = text.0.iter().map(|piece| match piece {
        Piece::Plain(text) => escape(text),
        Piece::Strong(text) => format!("**{}**", escape(text)),
        Piece::Code(text) => code(text),
    });
    pieces.collect()
}

/// As code where it is of plain signs, as names are; else as text, for a table knows no way to hold both ` and |.
fn code(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-:. ".contains(letter);
    if text.chars().all(plain) { format!("`{text}`") } else { escape(text) }
}

/// Nothing of a text is taken for markup, for a cell's or a line's end, or for HTML.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' | '$' => {
                out.push('\\');
                out.push(letter);
            }
            _ => out.push(words::visible(letter)),
        }
    }
    out
}
