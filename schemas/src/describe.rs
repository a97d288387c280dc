//! A package in plain words: what `quorate policy check` prints when nothing is wrong.

use std::fmt::Write;

use crate::load::words::span_text;
use crate::model::{
    Contributor, ContributorSource, Family, Field, Kind, Measure, Mechanism, Package, PurposeSet,
    Routes, Source, Statistic, Transform, Truncate, Utm,
};
use crate::time::DAY_MS;

impl Package {
    /// Purposes, families with their fields and retention, and statistics, as lines of text.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut lines = vec![
            format!("{}, policy of {}, digest {}", self.controller, self.version, self.digest),
            format!("Requests are answered within {} days.", self.answer_within_days),
        ];
        if let Some(residency) = &self.residency {
            lines.push(format!("Data stays in {residency}."));
        }
        lines.push(format!("Never taken: {}.", self.refused_words()));
        lines.push("\nPurposes".to_owned());
        let widest = width(self.purposes.iter().map(|purpose| &purpose.name));
        for purpose in &self.purposes {
            lines.push(format!(
                "  {:widest$}  {} ({}): {}",
                purpose.name,
                purpose.basis.name(),
                if purpose.source == "text" { "from the text" } else { "assumed" },
                purpose.notice
            ));
        }
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

    fn refused_words(&self) -> String {
        let categories = self.refused.categories.iter().map(|category| category.name());
        let words: Vec<&str> =
            categories.chain(self.refused.content.iter().map(|content| content.name())).collect();
        if words.is_empty() { "nothing is refused".to_owned() } else { words.join(", ") }
    }

    fn describe_family(&self, family: &Family, lines: &mut Vec<String>) {
        let Contributor { source, called } = &family.contributor;
        let told = match source {
            ContributorSource::Field(index) => {
                format!("told apart by {}", family.fields[*index].name)
            }
            ContributorSource::Visit => {
                "told apart by site, address and browser, without any id".to_owned()
            }
        };
        let epoch_ms = i64::from(family.epoch_days) * DAY_MS;
        lines.push(format!("Family {}: counts {called}, {told}", family.name));
        lines.push(format!(
            "  A pseudonym means nothing beyond {}; a row is gone {} after it came at the latest.",
            span_text(epoch_ms),
            span_text(epoch_ms + family.grace_ms())
        ));
        lines.push(format!(
            "  Times are kept to {}; an event counts up to {} late; a second copy is known for {}.",
            span_text(family.grain_ms),
            span_text(family.late_ms),
            span_text(family.dedupe_window_ms)
        ));
        lines.push(format!("  For: {}.", self.purpose_names(family.purposes)));
        let name_width = width(family.fields.iter().map(|field| &field.name));
        let fates: Vec<String> = family.fields.iter().map(|field| fate(family, field)).collect();
        let fate_width = width(&fates);
        for (field, fate) in family.fields.iter().zip(&fates) {
            let mut line =
                format!("  {:name_width$}  {fate:fate_width$}  {}", field.name, field.about);
            if field.purposes != family.purposes {
                let purposes = self.purpose_names(field.purposes);
                write!(line, "; for {purposes}").expect("writing to a string never fails");
            }
            if let Some(expires) = field.expires {
                let day = expires.to_string();
                write!(line, "; until {}", &day[..10]).expect("writing to a string never fails");
            }
            lines.push(line);
        }
    }

    fn purpose_names(&self, set: PurposeSet) -> String {
        let names = self.purposes.iter().enumerate().filter(|(index, _)| set.has(*index));
        names.map(|(_, purpose)| purpose.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn describe_statistic(&self, statistic: &Statistic) -> String {
        let family = &self.families[statistic.family];
        let by: Vec<String> =
            statistic.by.iter().map(|grouping| grouping_name(family, grouping)).collect();
        let Mechanism::Threshold { min_contributors, rounding } = statistic.mechanism;
        format!(
            "{}; {} of {} every {}; by {}; only groups of {min_contributors} {} or more, counts rounded to {rounding}; staff only, not anonymous",
            statistic.title,
            statistic.measures.iter().flat_map(Measure::columns).collect::<Vec<_>>().join(", "),
            family.name,
            statistic.every.name(),
            by.join(", "),
            family.contributor.called,
        )
    }
}

/// `all`, or the names of a grouping's fields.
pub(crate) fn grouping_name(family: &Family, grouping: &[usize]) -> String {
    if grouping.is_empty() {
        return "all".to_owned();
    }
    let names: Vec<&str> =
        grouping.iter().map(|index| family.fields[*index].name.as_str()).collect();
    names.join(" and ")
}

fn width<'a>(texts: impl IntoIterator<Item = &'a String>) -> usize {
    texts.into_iter().map(|text| text.chars().count()).max().unwrap_or(0)
}

/// What becomes of a field, in a few words.
fn fate(family: &Family, field: &Field) -> String {
    let from = match field.source {
        Source::Body => "",
        Source::Field(index) => &format!(" of {}", family.fields[index].name),
        Source::Address => " of the address",
        Source::UserAgent | Source::AcceptLanguage => " of the browser's headers",
    };
    let made = match &field.transform {
        Transform::Keep => "kept".to_owned(),
        Transform::Country => "country".to_owned(),
        Transform::Pseudonym => "pseudonym".to_owned(),
        Transform::Truncate(Truncate::Major) => "major version".to_owned(),
        Transform::Truncate(Truncate::MajorMinor) => "major and minor version".to_owned(),
        Transform::Truncate(Truncate::Time(ms)) => format!("rounded down to {}", span_text(*ms)),
        Transform::Bucket(width) if matches!(field.kind, Kind::Duration { .. }) => {
            format!("rounded down to {width} ms")
        }
        Transform::Bucket(width) => format!("rounded down to {width}"),
        Transform::Domain => "host name".to_owned(),
        Transform::Path(Routes { templates }) if templates.is_empty() => "path".to_owned(),
        Transform::Path(Routes { templates }) => format!("path, {} routes", templates.len()),
        Transform::Utm(Utm::Source) => "campaign source".to_owned(),
        Transform::Utm(Utm::Medium) => "campaign medium".to_owned(),
        Transform::Utm(Utm::Campaign) => "campaign name".to_owned(),
        Transform::Browser => "browser".to_owned(),
        Transform::Os => "system".to_owned(),
        Transform::DeviceClass => "device class".to_owned(),
        Transform::Language => "language".to_owned(),
        Transform::Drop => "used, not stored".to_owned(),
    };
    made + from
}
