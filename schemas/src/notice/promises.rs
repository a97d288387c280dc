//! What a package promises beyond what it collects: consent, periods, recipients, flags, legal holds.

use super::content::{days, paragraph};
use super::document::{Block, Table, Text};
use super::{FamilyNotice, Notice, Purpose, RecipientNotice};
use crate::model::Basis;
use crate::words::{and, sentence};

/// Whether the published text says it, or we do.
pub(super) fn stated(source: &str) -> &'static str {
    if source == "text" {
        "stated in the privacy policy"
    } else {
        "assumed: the privacy policy does not name it"
    }
}

/// How long values are kept that are for this purpose alone.
pub(super) fn kept(purpose: &Purpose) -> String {
    match purpose.keep_days {
        None => "as long as the event".to_owned(),
        Some(count) => {
            format!("{} after the day of the event; {}", days(count), stated(purpose.keep_source))
        }
    }
}

/// What counts as consent, and who can say it.
pub(super) fn consent(notice: &Notice) -> Vec<Block> {
    let needed = notice.purposes.iter().filter(|one| one.basis == Basis::Consent);
    let mut lines: Vec<Text> = needed.map(granted).collect();
    let mut blocks = Vec::new();
    if lines.is_empty() {
        blocks.push(paragraph("Nothing rests on consent, so none is asked for."));
    } else {
        blocks.push(paragraph(
            "Silence is no consent. It is given and refused for each purpose by itself, travels with each event, and counts \
             from then on. Where two say different things, the refusal counts.",
        ));
    }
    lines.extend(notice.purposes.iter().filter_map(platforms));
    if !lines.is_empty() {
        blocks.push(Block::List(lines));
    }
    blocks
}

fn granted(purpose: &Purpose) -> Text {
    let version = match purpose.consent_versions.as_slice() {
        [] => "whatever version of the text it was given to".to_owned(),
        [one] => format!("only if it was given to version {one} of the text"),
        some => format!("only if it was given to one of the versions {} of the text", and(some)),
    };
    let span = match purpose.consent_days {
        None => "until it is withdrawn".to_owned(),
        Some(count) => format!("for {}, if it is not withdrawn before", days(count)),
    };
    Text::default()
        .code(purpose.name.as_str())
        .plain(format!(": consent counts {version}, {span}."))
}

/// Consent platforms that speak for a purpose.
fn platforms(purpose: &Purpose) -> Option<Text> {
    let mut heard = Vec::new();
    if !purpose.tcf.is_empty() {
        let numbers: Vec<String> = purpose.tcf.iter().map(u8::to_string).collect();
        let plural = if numbers.len() == 1 { "" } else { "s" };
        heard.push(format!(
            "a TC string of IAB Europe's framework, by its purpose{plural} {}",
            and(&numbers)
        ));
    }
    if let Some(kind) = purpose.google {
        heard.push(format!("Google's consent mode, by its type {kind}"));
    }
    if heard.is_empty() {
        return None;
    }
    let power = match purpose.basis {
        Basis::Consent => "can give and refuse consent",
        Basis::LegitimateInterest | Basis::PublicInterest => "can object",
        Basis::Contract | Basis::LegalObligation | Basis::VitalInterests => "changes nothing",
    };
    let text = format!(
        ": {} {power}. What they say is read when an event comes and not stored.",
        and(&heard)
    );
    Some(Text::default().code(purpose.name.as_str()).plain(text))
}

/// What decides about a whole event, or about its place.
pub(super) fn flags(family: &FamilyNotice) -> Vec<Block> {
    let mut blocks = Vec::new();
    if let Some(flag) = &family.age_flag {
        let text = Text::from("Where ").code(flag.as_str()).plain(
            " says that it comes from a child, the whole event is refused: nothing of it is kept.",
        );
        blocks.push(paragraph(text));
    }
    if let Some(flag) = &family.location_flag {
        let text = Text::from("Where ").code(flag.as_str()).plain(
            " says that location is off, every place is left empty, also what the network address would tell.",
        );
        blocks.push(paragraph(text));
    }
    blocks
}

/// Values that go before their events do.
pub(super) fn shorter(notice: &Notice) -> Vec<Block> {
    let mut lines = Vec::new();
    for family in &notice.families {
        for field in family.fields.iter().filter(|field| field.kept.is_some()) {
            if let Some(count) = field.kept_days {
                let text =
                    format!(": emptied {} after the day of the event at the latest", days(count));
                let name = format!("{}.{}", family.name, field.name);
                lines.push(Text::default().code(name).plain(text));
            }
        }
    }
    if lines.is_empty() {
        return Vec::new();
    }
    vec![paragraph("Some values go before their events do:"), Block::List(lines)]
}

/// When rows may be kept apart for longer.
pub(super) fn hold(notice: &Notice) -> Vec<Block> {
    let Some(hold) = &notice.legal_hold else {
        return vec![paragraph(
            "No event is kept for longer than that, for nobody and for no reason.",
        )];
    };
    let text = format!(
        "{} Such events are kept for {} at most, for a reason of these: {}. They are kept apart from all others and are in no \
         statistic, and the keys of their pseudonyms are destroyed on time all the same.",
        sentence(hold.notice.trim_end()),
        days(hold.days_max),
        and(&hold.reasons)
    );
    vec![paragraph(text)]
}

/// Who receives anything, in one sentence.
pub(super) fn receivers(notice: &Notice) -> String {
    let given: Vec<&str> = notice
        .recipients
        .iter()
        .filter(|one| one.receives != "nothing")
        .map(|one| one.name.as_str())
        .collect();
    if given.is_empty() {
        return "Nobody else is given anything of it.".to_owned();
    }
    let abroad = notice.recipients.iter().any(|one| one.is_transfer);
    let abroad = if abroad { " Not all of them are in the European Economic Area." } else { "" };
    format!(
        "Something of it is given to {}: what, and to whom, is said below.{abroad}",
        and(&given)
    )
}

/// Recipients and transfers.
pub(super) fn recipients(notice: &Notice) -> Vec<Block> {
    if notice.recipients.is_empty() {
        let nobody =
            format!("Nobody but {}: nothing of it is given to anybody else.", notice.controller);
        return vec![paragraph(nobody)];
    }
    vec![
        Block::Table(Table {
            caption: "Recipients".to_owned(),
            heads: vec!["Recipient", "As", "Receives", "Where", "Safeguard", "Where it is stated"],
            rows: notice.recipients.iter().map(recipient).collect(),
        }),
        paragraph("Nothing of it is given to anybody else."),
    ]
}

fn recipient(one: &RecipientNotice) -> Vec<Text> {
    let country = match (&one.country, one.is_transfer) {
        (None, _) => "not said".to_owned(),
        (Some(country), false) => country.clone(),
        (Some(country), true) => format!("{country}, outside the European Economic Area"),
    };
    vec![
        Text::from(format!("{}: {}", one.name, one.about)),
        one.role.into(),
        match one.receives {
            "rows" => "pseudonymised events, and what is still encrypted".into(),
            "statistics" => "statistics for staff".into(),
            "publishable statistics" => "statistics that may be published".into(),
            other => other.into(),
        },
        country.into(),
        one.safeguard.as_deref().unwrap_or("–").into(),
        stated(one.source).into(),
    ]
}
