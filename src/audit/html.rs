//! A report as one page: no script, nothing that it loads, in the style of the notice.

use std::fmt::Write as _;

use schemas::notice::{STYLE, escape};

use super::page::{Page, Section};

pub(super) fn render(page: &Page) -> String {
    let title = escape(&page.title);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Audit: {title}</title>\n<style>{STYLE}main {{ max-width: 90rem; }}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<p class=\"kind\">Audit</p>\n<h1>{title}</h1>\n</header>\n\
         <section class=\"short\" aria-labelledby=\"short\">\n<h2 id=\"short\">In short</h2>\n<ul>\n"
    );
    for text in &page.summary {
        line(&mut html, format_args!("<li>{}</li>", escape(text)));
    }
    html.push_str("</ul>\n</section>\n<nav aria-label=\"Sections\">\n<ol>\n");
    for Section { id, title, .. } in &page.sections {
        line(&mut html, format_args!("<li><a href=\"#{id}\">{}</a></li>", escape(title)));
    }
    html.push_str("</ol>\n</nav>\n");
    page.sections.iter().for_each(|section| write_section(&mut html, section));
    line(&mut html, format_args!("<footer><p>{}</p></footer>", escape(&page.colophon)));
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn line(html: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(html, "{text}").expect("writing to a string never fails");
}

fn write_section(html: &mut String, section: &Section) {
    let Section { id, title, text, heads, rows, nothing } = section;
    line(
        html,
        format_args!("<section aria-labelledby=\"{id}\">\n<h2 id=\"{id}\">{}</h2>", escape(title)),
    );
    for text in text {
        line(html, format_args!("<p>{}</p>", escape(text)));
    }
    if rows.is_empty() {
        line(html, format_args!("<p>{}</p>", escape(nothing)));
    } else {
        html.push_str("<table role=\"table\">\n<thead role=\"rowgroup\"><tr role=\"row\">");
        for head in heads {
            let head = escape(head);
            html.push_str(&format!("<th scope=\"col\" role=\"columnheader\">{head}</th>"));
        }
        html.push_str("</tr></thead>\n<tbody role=\"rowgroup\">\n");
        rows.iter().for_each(|row| write_row(html, heads, row));
        html.push_str("</tbody>\n</table>\n");
    }
    html.push_str("</section>\n");
}

fn write_row(html: &mut String, heads: &[&str], row: &[String]) {
    html.push_str("<tr role=\"row\">");
    for (index, (head, cell)) in heads.iter().zip(row).enumerate() {
        let (head, cell) = (escape(head), escape(cell));
        html.push_str(&match index {
            0 => format!("<th scope=\"row\" role=\"rowheader\">{cell}</th>"),
            _ => format!("<td role=\"cell\" data-head=\"{head}\">{cell}</td>"),
        });
    }
    html.push_str("</tr>\n");
}
