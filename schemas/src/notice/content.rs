//! The sections of a notice, in words for visitors.

use super::document::{Block, Document, Section, Table, Text, term};
use super::signals::{self, ends};
use super::{FamilyNotice, FieldNotice, Notice, StatisticNotice};
use super::{promises, rights};
use crate::load::words::span_text;
use crate::model::Basis;
use crate::words::{and, sentence};

/// The whole notice.
pub(super) fn document(notice: &Notice) -> Document {
    Document {
        kind: "Privacy notice".to_owned(),
        title: format!("How {} counts use", notice.controller),
        summary: summary(notice),
        sections: vec![
            section("who", "Who collects", vec![Block::List(who(notice))]),
            section("why", "Why, and on what basis", why(notice)),
            section("consent", "Consent", promises::consent(notice)),
            section("what", "What is collected", what(notice)),
            section("never", "What is never taken", never(notice)),
            section("how-long", "For how long", how_long(notice)),
            section("who-receives", "Who receives it", promises::recipients(notice)),
            section("signals", "Signals of your browser", of_browsers(notice)),
            section("leaves", "What may be read of it", leaves(notice)),
            section("rights", "Your rights", rights::of(notice)),
            section("not-promised", "What is not promised", not_promised(notice)),
        ],
        colophon: Text::from("Made by Quorate from the rules that it enforces, fingerprint ")
            .code(notice.digest.as_str())
            .plain("."),
    }
}

fn section(id: &'static str, title: &'static str, blocks: Vec<Block>) -> Section {
    Section { id, title, blocks }
}

pub(super) fn paragraph(text: impl Into<Text>) -> Block {
    Block::Paragraph(text.into())
}

fn summary(notice: &Notice) -> Vec<Text> {
    let mut lines = Vec::new();
    let counted = and(&counted(notice));
    lines.push(match notice.statistics.iter().map(|one| one.min_contributors).min() {
        Some(least) => format!(
            "What {counted} do is counted, not followed: what can be read are statistics of groups of at least {least}, \
             and rounded counts of all events together; never what a single one says."
        ),
        None => format!("Events of {counted} are collected. No statistic of them is declared, so nobody can read any."),
    });
    lines.push(addresses(notice));
    for family in notice.families.iter().filter(|family| family.told_by.is_none()) {
        lines.push(format!(
            "{} are told apart for {}, without a cookie and without any id.",
            sentence(&family.called),
            span_text(family.epoch_ms)
        ));
    }
    if let Some(longest) = notice.families.iter().map(|family| family.gone_after_ms).max() {
        let longest = span_text(longest);
        lines.push(format!(
            "Single events are deleted after {longest} at the latest, with every key that could tell whose they were."
        ));
    }
    lines.extend(by_signal(notice));
    lines.push(promises::receivers(notice));
    lines.push(format!(
        "Whoever asks {} about their data gets an answer within {}.",
        notice.controller,
        days(notice.answer_within_days)
    ));
    lines.into_iter().map(Text::from).collect()
}

/// What contributors are called, each once.
fn counted(notice: &Notice) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for family in &notice.families {
        let called = readable(&family.called);
        if !words.contains(&called) {
            words.push(called);
        }
    }
    words
}

/// Plurals are written with underscores where they name columns.
pub(super) fn readable(name: &str) -> String {
    name.replace('_', " ")
}

pub(super) fn days(count: u32) -> String {
    format!("{count} day{}", if count == 1 { "" } else { "s" })
}

fn addresses(notice: &Notice) -> String {
    let visits = notice.families.iter().any(|family| family.told_by.is_none());
    let country =
        notice.families.iter().flat_map(|family| &family.fields).any(|one| one.source == "address");
    let used = match (country, visits) {
        (true, true) => "to look up the country and to make a pseudonym of the visit",
        (true, false) => "to look up the country",
        (false, true) => "to make a pseudonym of the visit",
        (false, false) => {
            return "Network addresses are not recorded, encrypted or not.".to_owned();
        }
    };
    format!(
        "Your network address is used in memory, {used}; it is written nowhere, encrypted or not."
    )
}

/// What the signals of browsers do, those that are honoured before those that are not.
fn by_signal(notice: &Notice) -> Vec<String> {
    let titled = |wanted: bool| -> Vec<&str> {
        let titles = ["Global Privacy Control", "Do Not Track"].into_iter().zip(&notice.signals);
        titles.filter(|(_, one)| one.honoured == wanted).map(|(title, _)| title).collect()
    };
    let names = |ended: bool| -> Vec<&str> {
        let found = notice.purposes.iter().filter(|purpose| ends(purpose.basis) == ended);
        found.map(|purpose| purpose.name.as_str()).collect()
    };
    let (heeded, ignored) = (titled(true), titled(false));
    let verb = |list: &[&str]| if list.len() == 1 { "is" } else { "are" };
    let mut lines = Vec::new();
    if !heeded.is_empty() {
        let (titles, are) = (and(&heeded), verb(&heeded));
        let (ended, standing) = (names(true), names(false));
        lines.push(match (ended.is_empty(), standing.is_empty()) {
            (false, true) => format!("{titles} {are} honoured."),
            (false, false) => format!(
                "{titles} {are} honoured, but for the purpose{} {}: what rests on {} {} not end.",
                if standing.len() == 1 { "" } else { "s" },
                and(&standing),
                and(&signals::standing(notice.purposes.iter().map(|one| one.basis))),
                if heeded.len() == 1 { "it does" } else { "they do" }
            ),
            (true, _) => format!(
                "{titles} change{} nothing here: nothing rests on consent, or on an interest that you could object to.",
                if heeded.len() == 1 { "s" } else { "" }
            ),
        });
    }
    if !ignored.is_empty() {
        lines.push(format!("{} {} not heeded.", and(&ignored), verb(&ignored)));
    }
    lines
}

fn who(notice: &Notice) -> Vec<Text> {
    let mut lines = vec![
        term("Responsible", notice.controller.as_str()),
        term("Privacy policy", format!("version {}", notice.version)),
    ];
    if let Some(residency) = &notice.residency {
        lines.push(term("Data stays in", residency.as_str()));
    }
    if let Some(contact) = &notice.contact {
        lines.push(term("Requests go to", contact.as_str()));
    }
    let within = days(notice.answer_within_days);
    let stated = promises::stated(notice.answer_source);
    lines.push(term("Requests are answered within", format!("{within} ({stated})")));
    if let Some(authority) = &notice.authority {
        lines.push(term("Complaints go to", authority.as_str()));
    }
    lines
}

fn why(notice: &Notice) -> Vec<Block> {
    let rows = notice.purposes.iter().map(|purpose| {
        vec![
            Text::from(sentence(&purpose.notice)).plain(" ").code(purpose.name.as_str()),
            Text::from(sentence(purpose.basis.name()))
                .plain(format!(", GDPR {}", article(purpose.basis))),
            promises::stated(&purpose.source).into(),
            until(purpose.basis, notice.signals.iter().any(|one| one.honoured)).into(),
            promises::kept(purpose).into(),
        ]
    });
    vec![
        paragraph(
            "Nothing is collected without a purpose, and no value is kept without one that stands for that event.",
        ),
        Block::Table(Table {
            caption: "Purposes and their legal bases".to_owned(),
            heads: vec![
                "Purpose",
                "Basis",
                "Where it is stated",
                "How long it stands",
                "Values for it alone are kept",
            ],
            rows: rows.collect(),
        }),
    ]
}

fn article(basis: Basis) -> &'static str {
    match basis {
        Basis::Consent => "art. 6(1)(a)",
        Basis::Contract => "art. 6(1)(b)",
        Basis::LegalObligation => "art. 6(1)(c)",
        Basis::VitalInterests => "art. 6(1)(d)",
        Basis::PublicInterest => "art. 6(1)(e)",
        Basis::LegitimateInterest => "art. 6(1)(f)",
    }
}

/// `heeded`: whether any signal of browsers is.
fn until(basis: Basis, heeded: bool) -> &'static str {
    match (basis, heeded) {
        (Basis::Consent, true) => {
            "only with your consent, until you withdraw it; a signal of your browser ends it too"
        }
        (Basis::Consent, false) => "only with your consent, until you withdraw it",
        (Basis::LegitimateInterest | Basis::PublicInterest, true) => {
            "until you object; a signal of your browser is an objection"
        }
        (Basis::LegitimateInterest | Basis::PublicInterest, false) => "until you object",
        (Basis::Contract, _) => "as long as the contract needs it; no signal ends it",
        (Basis::LegalObligation, _) => "as long as the law demands it; no signal ends it",
        (Basis::VitalInterests, _) => "as long as lives depend on it; no signal ends it",
    }
}

fn what(notice: &Notice) -> Vec<Block> {
    notice.families.iter().flat_map(family).collect()
}

fn family(family: &FamilyNotice) -> Vec<Block> {
    let FamilyNotice { name, about, called, told, told_by, fields, .. } = family;
    let heading = match about {
        Some(about) => Text::from(sentence(about)).plain(" ").code(name.as_str()),
        None => Text::from("Events of the kind ").code(name.as_str()),
    };
    let called = sentence(&readable(called));
    let pseudonym = match told_by {
        Some(field) => Text::from(format!("{called} are told apart by "))
            .code(field.as_str())
            .plain(", of which only a pseudonym is kept."),
        None => Text::from(format!(
            "{called} are {told}: of the three a pseudonym is made, under a key of the day that is destroyed together with \
             its events."
        )),
    };
    let ends = fields.iter().any(|field| field.expires.is_some());
    let mut heads = vec!["What", "Comes from", "Kept", "Kind", "For"];
    if ends {
        heads.push("Until");
    }
    let rows = fields.iter().map(|field| row(field, ends)).collect();
    let mut blocks = vec![Block::Heading(heading), paragraph(pseudonym)];
    blocks.extend(promises::flags(family));
    if fields.is_empty() {
        blocks.push(paragraph("Nothing but that it happened, and when."));
    } else {
        let caption = "What is taken of such an event".to_owned();
        blocks.push(Block::Table(Table { caption, heads, rows }));
    }
    blocks
}

fn row(field: &FieldNotice, ends: bool) -> Vec<Text> {
    let mut cells = vec![
        Text::from(sentence(&field.about)).plain(" ").code(field.name.as_str()),
        origin(&field.source),
        field.kept.as_deref().unwrap_or("nothing").into(),
        field.category.into(),
        field.purposes.join(", ").into(),
    ];
    if ends {
        let day = field.expires.as_deref().and_then(|end| end.get(..10));
        cells.push(day.unwrap_or("no end declared").into());
    }
    cells
}

fn origin(source: &str) -> Text {
    match source {
        "event" => "what is sent".into(),
        "address" => "network address, in memory".into(),
        "user agent" => "name of your browser, as it sends it".into(),
        "accepted languages" => "languages, as your browser sends them".into(),
        field => Text::default().code(field),
    }
}

fn never(notice: &Notice) -> Vec<Block> {
    let mut lines = Vec::new();
    if !notice.refused.is_empty() {
        lines.push(Text::from(format!(
            "Refused by rule, and dropped or turned away where it is sent: {}.",
            and(&notice.refused)
        )));
    }
    lines.push("Anything that is not in the tables above: it is dropped as it arrives, and only the number of such values is kept.".into());
    lines.push("Text as somebody typed it: what is kept is one of the declared words, has a declared form, or is reduced as the tables say.".into());
    lines.push("Network addresses, encrypted or not.".into());
    vec![Block::List(lines)]
}

fn how_long(notice: &Notice) -> Vec<Block> {
    let rows = notice.families.iter().map(|family| {
        let spans = [
            family.epoch_ms,
            family.gone_after_ms,
            family.grain_ms,
            family.late_ms,
            family.dedupe_ms,
        ];
        let mut cells = vec![Text::default().code(family.name.as_str())];
        cells.extend(spans.map(|ms| Text::from(span_text(ms))));
        cells.push(promises::stated(family.kept_source).into());
        cells
    });
    let mut blocks = vec![
        Block::Table(Table {
            caption: "How long events are kept".to_owned(),
            heads: vec![
                "Events",
                "A pseudonym holds for",
                "Deleted at the latest after",
                "Times are rounded to",
                "Counts, if late by up to",
                "Second copies are known for",
                "Where it is stated",
            ],
            rows: rows.collect(),
        }),
        paragraph(
            "Nobody can be followed for longer than a pseudonym holds: after that another key makes another one (a session that is under way keeps its own to its end). Events and \
             the keys of their pseudonyms are destroyed together. Where a sender numbers its events, a keyed hash of the \
             number is a mark by which a second copy is known; it tells nobody apart. Statistics that were computed stay.",
        ),
    ];
    blocks.extend(promises::shorter(notice));
    blocks.extend(promises::hold(notice));
    blocks
}

fn of_browsers(notice: &Notice) -> Vec<Block> {
    let lines = notice.signals.iter().map(|signal| term(signal.name, signal.means.as_str()));
    let rows = notice.families.iter().map(|family| {
        let effect = &family.under_signal;
        let names =
            |names: &[String]| if names.is_empty() { "–".to_owned() } else { names.join(", ") };
        vec![
            Text::default().code(family.name.as_str()),
            names(&effect.ends).into(),
            names(&effect.stands).into(),
            effect.means.as_str().into(),
        ]
    });
    if !notice.signals.iter().any(|one| one.honoured) {
        return vec![
            paragraph("What your browser says for all sites is counted, and not heeded."),
            Block::List(lines.collect()),
        ];
    }
    vec![
        paragraph(
            "What your browser says for all sites counts here too, for each event that it comes with.",
        ),
        Block::List(lines.collect()),
        Block::Table(Table {
            caption: "What a signal that is honoured does to each kind of event".to_owned(),
            heads: vec!["Events", "Purposes that end", "Purposes that stand", "What is left"],
            rows: rows.collect(),
        }),
    ]
}

fn leaves(notice: &Notice) -> Vec<Block> {
    if notice.statistics.is_empty() {
        return vec![paragraph(
            "No statistic is declared, and nobody reads events: rounded counts of all together are all that can be read.",
        )];
    }
    let rows = notice.statistics.iter().map(statistic);
    vec![
        paragraph(
            "Nobody reads events. Each of these statistics is computed once, when its period is over. Beside them can only be \
             read, rounded, how many events of each kind came in all together and how many were refused and why, and whether \
             there was one at all.",
        ),
        Block::Table(Table {
            caption: "Statistics".to_owned(),
            heads: vec!["Statistic", "Every", "Measured", "By", "Groups from", "Counts rounded to"],
            rows: rows.collect(),
        }),
        paragraph(
            "Smaller groups are hidden, and so are groups from which a small one could be worked out. What one of many can \
             add to a number is bounded where the rules say so.",
        ),
    ]
}

fn statistic(one: &StatisticNotice) -> Vec<Text> {
    vec![
        Text::from(one.title.as_str()).plain(" ").code(one.name.as_str()),
        one.period.as_str().into(),
        one.measured.join(", ").into(),
        one.groups.join("; ").into(),
        format!("{} {}", one.min_contributors, readable(&one.called)).into(),
        one.rounding.to_string().into(),
    ]
}

fn not_promised(notice: &Notice) -> Vec<Block> {
    let mut lines = vec![Text::from(
        "Events are pseudonymised, not anonymous. While the key of a pseudonym lives, whoever holds both the keys and the \
         events could test whether somebody they know of is among them. That is why both are destroyed together.",
    )];
    if notice.families.iter().any(|family| family.told_by.is_none()) {
        lines.push(
            "For visits without any id that means: who holds the key of the day could try all network addresses.".into(),
        );
    }
    if !notice.statistics.is_empty() {
        lines.push(Text::from(format!(
            "The statistics are for the staff of {}. Thresholds and rounding limit what they tell of single persons; they \
             are no proof of anonymity: who compares groups and periods, and knows more from elsewhere, can narrow down.",
            notice.controller
        )));
    }
    lines.push(
        "Nobody is protected from whoever controls the running machine, or its memory.".into(),
    );
    vec![Block::List(lines)]
}
