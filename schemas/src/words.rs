//! What a package declares, in plain words: shared by `quorate policy check`, the notice and the exports.

use crate::load::words::span_text;
use crate::model::{
    Condition, ContributorSource, Every, Family, Field, Kind, Measure, Package, PurposeSet, Source,
    Transform, Truncate, Utm,
};
use crate::time::DAY_MS;

/// How contributors are told from each other: `told apart by serial_number`.
pub(crate) fn told(family: &Family) -> String {
    match &family.contributor.source {
        ContributorSource::Field(index) => format!("told apart by {}", family.fields[*index].name),
        ContributorSource::Visit => {
            "told apart by site, address and browser, without any id".to_owned()
        }
    }
}

/// Length of the family's epoch, in milliseconds.
pub(crate) fn epoch_ms(family: &Family) -> i64 {
    i64::from(family.epoch_days) * DAY_MS
}

/// How long after it came a row is gone at the latest, in milliseconds.
pub(crate) fn gone_after_ms(family: &Family) -> i64 {
    epoch_ms(family) + family.grace_ms()
}

/// What is left of an accepted value; none where nothing is.
pub(crate) fn kept(family: &Family, field: &Field) -> Option<String> {
    let words = match &field.transform {
        Transform::Drop => return None,
        Transform::Keep => return Some(kept_as_sent(&field.kind)),
        Transform::Pseudonym => {
            return Some(format!("pseudonym for one epoch of {}", span_text(epoch_ms(family))));
        }
        Transform::Truncate(Truncate::Time(ms)) => {
            return Some(format!("rounded down to {}", span_text(*ms)));
        }
        Transform::Bucket(width) => return Some(bucket(&field.kind, *width)),
        Transform::Truncate(Truncate::Major) => "major version",
        Transform::Truncate(Truncate::MajorMinor) => "major and minor version",
        Transform::Country => "country",
        Transform::Domain => "host name",
        Transform::Path(_) => "path, without query and identifiers",
        Transform::Utm(Utm::Source) => "campaign source",
        Transform::Utm(Utm::Medium) => "campaign medium",
        Transform::Utm(Utm::Campaign) => "campaign name",
        Transform::Browser => "browser and major version",
        Transform::Os => "operating system",
        Transform::DeviceClass => "class of device",
        Transform::Language => "language",
    };
    Some(words.to_owned())
}

fn kept_as_sent(kind: &Kind) -> String {
    match kind {
        Kind::Enum { values, otherwise: Some(other) } => {
            let words = values.len().saturating_sub(1);
            let other = values.get(usize::from(*other)).map_or("other", String::as_str);
            format!("one of {words} declared words, or {other}")
        }
        Kind::Enum { values, otherwise: None } => format!("one of {} declared words", values.len()),
        Kind::String { .. } => "as sent, if it has the declared form".to_owned(),
        Kind::Integer { .. }
        | Kind::Float { .. }
        | Kind::Boolean
        | Kind::Duration { .. }
        | Kind::Timestamp
        | Kind::Version
        | Kind::Url { .. } => "as sent".to_owned(),
    }
}

/// Durations have their width in milliseconds at rest.
fn bucket(kind: &Kind, width: f64) -> String {
    if !matches!(kind, Kind::Duration { .. }) {
        return format!("rounded down to a multiple of {width}");
    }
    let spans = [(60_000.0, "minute"), (1_000.0, "second")];
    match spans.into_iter().find(|(unit, _)| width >= *unit && width % unit == 0.0) {
        Some((unit, name)) => {
            let count = width / unit;
            format!("rounded down to {count} {name}{}", if count == 1.0 { "" } else { "s" })
        }
        None => format!("rounded down to {width} ms"),
    }
}

/// Where a value comes from: `event`, `address`, `user agent`, `accepted languages`, or the name of another field.
pub(crate) fn source(family: &Family, field: &Field) -> String {
    match field.source {
        Source::Body => "event".to_owned(),
        Source::Field(index) => family.fields[index].name.clone(),
        Source::Address => "address".to_owned(),
        Source::UserAgent => "user agent".to_owned(),
        Source::AcceptLanguage => "accepted languages".to_owned(),
    }
}

/// What is never taken; empty if nothing is refused.
pub(crate) fn refused(package: &Package) -> Vec<&'static str> {
    let categories = package.refused.categories.iter().map(|category| category.name());
    categories.chain(package.refused.content.iter().map(|content| content.name())).collect()
}

/// Names of the purposes of a set, in order of the package.
pub(crate) fn purposes(package: &Package, set: PurposeSet) -> Vec<String> {
    let named = package.purposes.iter().enumerate().filter(|(index, _)| set.has(*index));
    named.map(|(_, purpose)| purpose.name.clone()).collect()
}

/// `all`, or the names of a grouping's fields.
pub(crate) fn grouping(family: &Family, grouping: &[usize]) -> String {
    if grouping.is_empty() {
        return "all".to_owned();
    }
    let names: Vec<&str> =
        grouping.iter().map(|index| family.fields[*index].name.as_str()).collect();
    names.join(" and ")
}

/// What a measure says of a group: `mean of duration`.
pub(crate) fn measure(measure: &Measure, called: &str) -> String {
    match measure {
        Measure::Contributors { called } => called.clone(),
        Measure::Events => "events".to_owned(),
        Measure::UnattributedEvents => format!("events outside the count of {called}"),
        Measure::Sum(field) => format!("sum of {}", field.name),
        Measure::Mean(field) => format!("mean of {}", field.name),
        Measure::Share { name, condition: Condition::Present, .. } => format!("share with {name}"),
        Measure::Share { name, condition: Condition::Absent, .. } => {
            format!("share without {name}")
        }
        Measure::Share { name, condition: Condition::Is(values), .. } => {
            format!("share where {name} is {}", values.join(" or "))
        }
        Measure::Quantiles { field, at } => {
            let ranks: Vec<String> =
                at.iter().map(|rank| format!("{}%", (rank * 1000.0).round() / 10.0)).collect();
            let ranks: Vec<&str> = ranks.iter().map(String::as_str).collect();
            format!("{} quantiles of {}", and(&ranks), field.name)
        }
    }
}

/// The length of a period: `day`, `epoch of 28 days`.
pub(crate) fn every(every: Every, family: &Family) -> String {
    match every {
        Every::Hour | Every::Day | Every::Week => every.name().to_owned(),
        Every::Epoch => format!("epoch of {}", span_text(epoch_ms(family))),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn and<T: AsRef<str>>(words: &[T]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.split_last() {
        None => "nothing".to_owned(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// With a capital letter at the beginning.
pub(crate) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A blank instead of what ends a line, steers a terminal, or turns the direction of text around it.
pub(crate) fn visible(letter: char) -> char {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if letter.is_control() || turns { ' ' } else { letter }
}
