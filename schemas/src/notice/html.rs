//! A document as one page of HTML.

use std::fmt::Write;

use super::document::{Block, Document, Piece, Table, Text};
use crate::words;

/// The style of the page, inline, and of other pages beside it.
pub const STYLE: &str = include_str!("style.css");

/// What a Content-Security-Policy has to allow for the page's style, as a source of `style-src`; see
/// [`content_security_policy`].
pub const STYLE_HASH: &str = "'sha256-KPn5t5qpt1TkL2C7MtmhW7qovBYdLciVoxqc6Sg+4Fc='";

/// The Content-Security-Policy that whoever serves the page sends with it: its style, and nothing else.
#[must_use]
pub fn content_security_policy() -> String {
    format!(
        "default-src 'none'; style-src {STYLE_HASH}; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// The page.
pub(super) fn render(document: &Document) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{kind}: {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<header>\n<p class=\"kind\">{kind}</p>\n\
         <h1>{title}</h1>\n</header>\n",
        kind = escape(&document.kind),
        title = escape(&document.title),
    );
    page += "<section class=\"short\" aria-labelledby=\"short\">\n<h2 id=\"short\">In short</h2>\n";
    list(&mut page, &document.summary);
    page += "</section>\n<nav aria-label=\"Sections\">\n<ol>\n";
    for section in &document.sections {
        line(
            &mut page,
            format_args!("<li><a href=\"#{}\">{}</a></li>", section.id, escape(section.title)),
        );
    }
    page += "</ol>\n</nav>\n";
    for section in &document.sections {
        let id = section.id;
        line(
            &mut page,
            format_args!(
                "<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{}</h2>",
                escape(section.title)
            ),
        );
        section.blocks.iter().for_each(|block| write_block(&mut page, block));
        page += "</section>\n";
    }
    line(&mut page, format_args!("<footer><p>{}</p></footer>", inline(&document.colophon)));
    page += "</main>\n</body>\n</html>\n";
    page
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("writing to a string never fails");
}

fn write_block(page: &mut String, block: &Block) {
    match block {
        Block::Heading(text) => line(page, format_args!("<h3>{}</h3>", inline(text))),
        Block::Paragraph(text) => line(page, format_args!("<p>{}</p>", inline(text))),
        Block::List(lines) => list(page, lines),
        Block::Table(table) => write_table(page, table),
    }
}

fn list(page: &mut String, lines: &[Text]) {
    page.push_str("<ul>\n");
    for text in lines {
        line(page, format_args!("<li>{}</li>", inline(text)));
    }
    page.push_str("</ul>\n");
}

/// The roles say again what the elements are, since narrow screens show rows as blocks and browsers then forget it.
fn write_table(page: &mut String, table: &Table) {
    line(
        page,
        format_args!("<table role=\"table\">\n<caption>{}</caption>", escape(&table.caption)),
    );
    page.push_str("<thead role=\"rowgroup\"><tr role=\"row\">");
    for head in &table.heads {
        page.push_str("<th scope=\"col\" role=\"columnheader\">");
        page.push_str(&escape(head));
        page.push_str("</th>");
    }
    page.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
    for row in &table.rows {
        page.push_str("<tr role=\"row\">");
        for (index, (head, cell)) in table.heads.iter().zip(row).enumerate() {
            let (head, cell) = (escape(head), inline(cell));
            page.push_str(&if index == 0 {
                format!("<th scope=\"row\" role=\"rowheader\">{cell}</th>")
            } else {
                format!("<td role=\"cell\" data-head=\"{head}\">{cell}</td>")
            });
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n");
}

fn inline(text: &Text) -> String {
    let pieces = text.0.iter().map(|piece| match piece {
        Piece::Plain(text) => escape(text),
        Piece::Strong(text) => format!("<strong>{}</strong>", escape(text)),
        Piece::Code(text) => format!("<code>{}</code>", escape(text)),
    });
    pieces.collect()
}

/// For text and for attributes in double quotes. Characters that steer a terminal or turn the direction of text go.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(words::visible(letter)),
        }
    }
    out
}
