//! A package in plain words: what `quorate policy check` prints when nothing is wrong.

use std::fmt::Write;

use crate::load::words::span_text;
use crate::model::{
    Family, Field, Honoured, Measure, Mechanism, Package, Purpose, Source, Stated, Statistic,
};
use crate::words;

impl Package {
    /// Purposes, families with their fields and retention, and statistics, as lines of text.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut lines = vec![
            format!("{}, policy of {}, digest {}", self.controller, self.version, self.digest),
            format!(
                "Requests are answered within {} days ({}).",
                self.answer_within_days,
                stated(self.answer_source)
            ),
        ];
        if let Some(contact) = &self.contact {
            lines.push(format!("Requests go to {contact}."));
        }
        if let Some(authority) = &self.authority {
            lines.push(format!("Complaints go to {authority}."));
        }
        if let Some(residency) = &self.residency {
            lines.push(format!("Data stays in {residency}."));
        }
        lines.push(match words::refused(self).as_slice() {
            [] => "Never taken: nothing is refused.".to_owned(),
            refused => format!("Never taken: {}.", refused.join(", ")),
        });
        lines.push("\nPurposes".to_owned());
        let widest = width(self.purposes.iter().map(|purpose| &purpose.name));
        for purpose in &self.purposes {
            lines.push(format!("  {:widest$}  {}", purpose.name, describe_purpose(purpose)));
        }
        self.describe_recipients(&mut lines);
        for family in &self.families {
            lines.push(String::new());
            self.describe_family(family, &mut lines);
        }
        lines.push("\nStatistics".to_owned());
        let widest = width(self.statistics.iter().map(|statistic| &statistic.name));
        for statistic in &self.statistics {
            lines.push(format!(
                "  {:widest$}  {}",
                statistic.name,
                self.describe_statistic(statistic)
            ));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    /// Who is given anything, what signals do, and what may be kept for longer.
    fn describe_recipients(&self, lines: &mut Vec<String>) {
        lines.push("\nRecipients".to_owned());
        if self.recipients.is_empty() {
            lines.push("  Nobody.".to_owned());
        }
        let widest = width(self.recipients.iter().map(|recipient| &recipient.key));
        for recipient in &self.recipients {
            let place = recipient.country.as_deref().unwrap_or("country not said");
            let mut line = format!(
                "  {:widest$}  {} ({}, {place}) receives {}; {}",
                recipient.key,
                recipient.name,
                recipient.role.name(),
                recipient.receives.name(),
                stated(recipient.source),
            );
            if let Some(safeguard) = &recipient.safeguard {
                write!(line, "; {safeguard}").expect("writing to a string never fails");
            }
            lines.push(line);
        }
        let Honoured { gpc, dnt } = self.signals;
        let verb = |honoured| if honoured { "an objection" } else { "ignored" };
        lines.push(format!("\nSec-GPC is {}, DNT is {}.", verb(gpc), verb(dnt)));
        lines.push(match &self.legal_hold {
            None => "No legal hold can be made.".to_owned(),
            Some(hold) => format!(
                "A legal hold lasts at most {} days, for {}.",
                hold.days_max,
                hold.reasons.join(", ")
            ),
        });
    }

    fn describe_family(&self, family: &Family, lines: &mut Vec<String>) {
        let (called, told) = (&family.contributor.called, words::told(family));
        lines.push(format!("Family {}: counts {called}, {told}", family.name));
        if let Some(about) = &family.about {
            lines.push(format!("  {}.", words::sentence(about)));
        }
        lines.push(format!(
            "  A pseudonym means nothing beyond {}; a row is gone {} after it came at the latest ({}).",
            span_text(words::epoch_ms(family)),
            span_text(words::gone_after_ms(family)),
            stated(family.kept_source)
        ));
        let flag = |index: Option<usize>| index.map(|index| family.fields[index].name.as_str());
        if let Some(name) = flag(family.flags.age) {
            lines.push(format!("  Refused where {name} is true."));
        }
        if let Some(name) = flag(family.flags.location) {
            lines.push(format!("  Without any place where {name} is false."));
        }
        lines.push(format!(
            "  Times are kept to {}; an event counts up to {} late; a second copy is known for {}.",
            span_text(family.grain_ms),
            span_text(family.late_ms),
            span_text(family.dedupe_window_ms)
        ));
        lines.push(format!("  For: {}.", words::purposes(self, family.purposes).join(", ")));
        let name_width = width(family.fields.iter().map(|field| &field.name));
        let fates: Vec<String> = family.fields.iter().map(|field| fate(family, field)).collect();
        let fate_width = width(&fates);
        for (field, fate) in family.fields.iter().zip(&fates) {
            let mut line =
                format!("  {:name_width$}  {fate:fate_width$}  {}", field.name, field.about);
            if field.purposes != family.purposes {
                let purposes = words::purposes(self, field.purposes).join(", ");
                write!(line, "; for {purposes}").expect("writing to a string never fails");
            }
            if let Some(days) = self.kept_days(field.purposes) {
                write!(line, "; for {days} days").expect("writing to a string never fails");
            }
            if let Some(expires) = field.expires {
                let day = expires.to_string();
                write!(line, "; until {}", &day[..10]).expect("writing to a string never fails");
            }
            lines.push(line);
        }
    }

    fn describe_statistic(&self, statistic: &Statistic) -> String {
        let family = &self.families[statistic.family];
        let by: Vec<String> =
            statistic.by.iter().map(|grouping| words::grouping(family, grouping)).collect();
        let Mechanism::Threshold { min_contributors, rounding } = statistic.mechanism;
        let of = statistic
            .purposes
            .map(|set| format!(" for {}", words::purposes(self, set).join(" or ")));
        format!(
            "{}; {} of {}{} every {}; by {}; only groups of {min_contributors} {} or more, counts rounded to {rounding}; staff only, not anonymous",
            statistic.title,
            statistic.measures.iter().flat_map(Measure::columns).collect::<Vec<_>>().join(", "),
            family.name,
            of.unwrap_or_default(),
            statistic.every.name(),
            by.join(", "),
            family.contributor.called,
        )
    }
}

fn stated(source: Stated) -> &'static str {
    match source {
        Stated::Text => "from the text",
        Stated::Assumed => "assumed",
    }
}

/// Basis, what visitors are told, how long, and what counts as consent.
fn describe_purpose(purpose: &Purpose) -> String {
    let Purpose {
        name: _,
        basis,
        source,
        keep_days,
        keep_source,
        consent_versions,
        consent_days,
        tcf,
        google,
        dpv: _,
        notice,
    } = purpose;
    let mut parts = vec![format!("{} ({}): {notice}", basis.name(), stated(*source))];
    if let Some(days) = keep_days {
        parts.push(format!("kept {days} days ({})", stated(*keep_source)));
    }
    if !consent_versions.is_empty() {
        parts.push(format!("consent to {} alone", consent_versions.join(" or ")));
    }
    if let Some(days) = consent_days {
        parts.push(format!("consent holds {days} days"));
    }
    if !tcf.is_empty() {
        let numbers: Vec<String> = tcf.iter().map(u8::to_string).collect();
        parts.push(format!("TCF {}", numbers.join(", ")));
    }
    parts.extend(google.map(|kind| kind.name().to_owned()));
    parts.join("; ")
}

fn width<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(|text| text.chars().count()).max().unwrap_or(0)
}

/// What becomes of a field, and what it is made of where the event does not carry it.
fn fate(family: &Family, field: &Field) -> String {
    let kept = words::kept(family, field).unwrap_or_else(|| "used, not stored".to_owned());
    match field.source {
        Source::Body => kept,
        Source::Field(_) | Source::Address | Source::UserAgent | Source::AcceptLanguage => {
            format!("{kept} (of {})", words::source(family, field))
        }
    }
}
