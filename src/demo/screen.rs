//! The one screen: what came in and what became of it, one event, one statistic, one search, what to do next.

use std::fmt::Write;
use std::net::SocketAddr;

use super::bars::{Bars, Chart};
use super::books::Books;
use super::example::Example;
use super::place::Place;
use super::search::Searched;
use crate::generate::Sent;
use crate::generate::sent::Counts;
use crate::service::Service;

/// Columns of the screen.
const WIDTH: usize = 100;
/// Most bars in a chart.
const BARS_MAX: usize = 7;
/// Most lines of the example.
const LINES_MAX: usize = 11;

/// Everything that is shown.
pub(super) struct Screen<'a> {
    pub(super) seconds: u64,
    pub(super) sent: &'a Sent,
    pub(super) books: &'a Books,
    pub(super) example: &'a Example,
    pub(super) bars: Option<&'a Bars>,
    pub(super) searched: &'a Searched,
    pub(super) place: &'a Place,
}

impl Screen<'_> {
    /// The text, with headings in bold on a terminal.
    pub(super) fn render(&self, is_terminal: bool) -> String {
        let is_bold = is_terminal && std::env::var_os("NO_COLOR").is_none();
        let mut page = Page { text: String::new(), is_bold };
        self.books(&mut page);
        self.example(&mut page);
        if let Some(bars) = self.bars {
            statistic(&mut page, bars);
        }
        self.search(&mut page);
        self.next(&mut page);
        page.text
    }

    fn books(&self, page: &mut Page) {
        let Counts { received, stored, duplicate, refused } = &self.books.total;
        page.heading(&format!("Every event is accounted for (all of it in {} s)", self.seconds));
        page.line(&format!(
            "received {} = stored {} + duplicate {} + refused {}",
            grouped(*received),
            grouped(*stored),
            grouped(*duplicate),
            grouped(self.books.total.refused_total())
        ));
        let reasons: Vec<String> = refused
            .iter()
            .map(|(reason, count)| {
                format!("{} {}", reason.name().replace('_', " "), grouped(*count))
            })
            .collect();
        page.wrapped("refused: ", &reasons);
        page.line(&match self.books.difference(self.sent) {
            None => "The senders, who count by themselves, come to the same numbers.".to_owned(),
            Some(difference) => format!("THIS IS NOT WHAT WAS SENT: {difference}"),
        });
    }

    fn example(&self, page: &mut Page) {
        let Example { family, lines } = self.example;
        page.heading(&format!("One event ({family}), as it was sent and as it is kept"));
        for line in lines.iter().take(LINES_MAX) {
            let sent = line.sent.as_deref().unwrap_or("");
            let kept = line.kept.as_deref().unwrap_or("-");
            page.line(&format!("{}{}{}", cell(&line.field, 15), cell(sent, 50), cut(kept, 32)));
        }
        let more = lines.len().saturating_sub(LINES_MAX);
        if more > 0 {
            page.line(&format!("and {more} more; `quorate try` shows all of them, and why"));
        }
    }

    fn search(&self, page: &mut Page) {
        let Searched { addresses, identifiers, strays, report } = self.searched;
        page.heading("Every file was searched for everything personal that was sent");
        page.line(&format!(
            "{} addresses, {} serials and ids, {} e-mails and tokens; {} files, {} MB:",
            grouped(*addresses as u64),
            grouped(*identifiers as u64),
            grouped(*strays as u64),
            grouped(report.files),
            report.bytes / 1_000_000
        ));
        page.line(&format!(
            "{} found, as text, percent-encoded, hexadecimal, base64, or unsalted hash",
            grouped(report.found)
        ));
        for finding in report.findings.iter().take(3) {
            page.line(&format!("FOUND: {finding}"));
        }
    }

    fn next(&self, page: &mut Page) {
        page.heading("Next");
        match self.place.kept() {
            Some(file) => {
                page.line(&format!("quorate --config {} run", file.display()));
                let token = &self.place.token;
                page.line(&format!("  serves all this as a page in your browser; sign in with {token}"));
            }
            None => page.line(
                "quorate demo --data DIR       the same, and every file stays to be looked at, also as a page",
            ),
        }
        page.line("quorate init my-product       a policy, a configuration and keys to start from");
        page.line(
            "quorate import events.ndjson  your history: one JSON event a line, with its time",
        );
        if let (Some(file), Some(bars)) = (self.place.kept(), self.bars) {
            let by = bars.charts.last().map(|chart| chart.by.replace(", ", ","));
            page.line(&format!(
                "quorate --config {} query {} --by {}",
                file.display(),
                bars.statistic,
                by.unwrap_or_default()
            ));
        }
    }
}

/// What a spectator can do while the service is up.
pub(super) fn up(place: &Place, service: &Service) -> String {
    let at = |address: Option<SocketAddr>| address.map_or_else(String::new, |at| at.to_string());
    let (query, ingest) = (at(service.query), at(service.ingest));
    format!(
        "\nThe service is up until Ctrl-C. Open the page in a browser, and sign in with the token:\n  \
         page        http://{}/           token {}\n  statistics  http://{}/v1/query   the same token\n  \
         events      http://{}/v1/events  key {}\n  operator    http://{}/status\n",
        query,
        place.token,
        query,
        ingest,
        place.keys.server.as_deref().unwrap_or("-"),
        service.operator
    )
}

fn statistic(page: &mut Page, bars: &Bars) {
    let Bars { title, called, min_contributors, period, .. } = bars;
    let Some(period) = period else {
        page.heading(title);
        page.line("no period has closed yet");
        return;
    };
    page.heading(&format!(
        "{title}, from {period} on; groups of fewer than {min_contributors} {called} are hidden"
    ));
    let width = (WIDTH - 4) / bars.charts.len().max(1);
    let columns: Vec<Vec<String>> =
        bars.charts.iter().map(|chart| draw(chart, width - 2)).collect();
    let height = columns.iter().map(Vec::len).max().unwrap_or(0);
    for row in 0..height {
        let cells = columns.iter().map(|column| {
            let text = column.get(row).map_or("", String::as_str);
            cell(text, width)
        });
        page.line(&cells.collect::<String>());
    }
}

/// One chart as lines of at most `width` characters.
fn draw(chart: &Chart, width: usize) -> Vec<String> {
    let shown = &chart.bars[..chart.bars.len().min(BARS_MAX)];
    let label = shown.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0).min(16) + 1;
    let most = shown.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let room = width.saturating_sub(label + 10) as u64;
    let mut lines = vec![format!("by {}", chart.by)];
    for (name, count) in shown {
        let length = usize::try_from((count * room).div_ceil(most)).unwrap_or(0);
        lines.push(format!("{}{} {}", cell(name, label), "█".repeat(length), grouped(*count)));
    }
    let more = chart.bars.len() - shown.len();
    lines.push(match (more, chart.hidden) {
        (0, false) => "none is hidden".to_owned(),
        (0, true) => "others are hidden".to_owned(),
        (more, false) => format!("{more} more, none is hidden"),
        (more, true) => format!("{more} more, others are hidden"),
    });
    lines
}

/// `60123` as `60,123`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// At most `width` characters, the last one an ellipsis where something is missing.
fn cut(text: &str, width: usize) -> String {
    // What a sender wrote must not steer a terminal.
    let mut clean = text.chars().map(|c| if c.is_control() { '·' } else { c });
    let mut cut: String = clean.by_ref().take(width).collect();
    if clean.next().is_some() {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// Exactly `width` characters, at least the last of them blank.
fn cell(text: &str, width: usize) -> String {
    let room = width.saturating_sub(1);
    format!("{:<width$}", cut(text, room))
}

/// A text that grows by headings and lines.
struct Page {
    text: String,
    is_bold: bool,
}

impl Page {
    fn heading(&mut self, text: &str) {
        let (on, off) = if self.is_bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
        self.write(&format!("\n{on}{text}{off}"));
    }

    fn line(&mut self, text: &str) {
        self.write(format!("  {text}").trim_end());
    }

    fn write(&mut self, line: &str) {
        writeln!(self.text, "{line}").expect("writing to a String cannot fail");
    }

    /// Items after a word, as many on a line as fit.
    fn wrapped(&mut self, word: &str, items: &[String]) {
        let mut line = word.to_owned();
        for (index, item) in items.iter().enumerate() {
            let end = if index + 1 == items.len() { "" } else { ", " };
            if line.chars().count() + item.len() + 4 > WIDTH {
                self.line(&line);
                line = " ".repeat(word.len());
            }
            line = line + item + end;
        }
        self.line(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn cells_have_their_width_and_cannot_steer_a_terminal() {
        assert_eq!(cell("abc", 6), "abc   ");
        assert_eq!(cell("abcdefgh", 6), "abcd… ");
        assert_eq!(cut("a\x1b[2Jb", 10), "a·[2Jb");
    }

    #[test]
    fn bars_fit_and_say_what_is_hidden() {
        let bars = (0..9).map(|number| (format!("3.{number}"), 900 - number * 100)).collect();
        let chart = Chart { by: "version".to_owned(), bars, hidden: true };
        let lines = draw(&chart, 46);
        assert!(lines.iter().all(|line| line.chars().count() <= 46), "{lines:#?}");
        assert_eq!(lines.len(), 2 + BARS_MAX);
        assert_eq!(lines[lines.len() - 1], "2 more, others are hidden");
    }

    #[test]
    fn long_lists_are_wrapped() {
        let mut page = Page { text: String::new(), is_bold: false };
        let items: Vec<String> = (0..30).map(|number| format!("reason {number}")).collect();
        page.wrapped("refused: ", &items);
        assert!(page.text.lines().count() > 1);
        assert!(page.text.lines().all(|line| line.chars().count() <= WIDTH));
    }
}
