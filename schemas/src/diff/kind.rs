//! What values are accepted: types, ranges, lists and patterns.

use std::cmp::Ordering;

use super::{NARROWER, NEITHER, Order, WIDER, pattern, range};
use crate::model::{Kind, Pattern};

const MORE: &str = "values are taken that were refused";
const OTHER: &str = "values of another type are taken";

/// Differences of two kinds, each with its order, its words, and why it is wider.
pub(super) fn compare(old: &Kind, new: &Kind) -> Vec<(Order, String, &'static str)> {
    let one = |order: Order, why| match order {
        Some(Ordering::Equal) => Vec::new(),
        order => vec![(order, format!("takes {}, took {}", new.expected(), old.expected()), why)],
    };
    match (old, new) {
        (
            Kind::String { bytes_max, pattern },
            Kind::String { bytes_max: new_max, pattern: new_pattern },
        ) => text((*bytes_max, pattern.as_ref()), (*new_max, new_pattern.as_ref())),
        (
            Kind::Enum { values, otherwise },
            Kind::Enum { values: new_values, otherwise: new_otherwise },
        ) => list((values, *otherwise), (new_values, *new_otherwise)),
        (Kind::Integer { min, max }, Kind::Integer { min: low, max: high }) => {
            one(range((*min, *max), (*low, *high)), MORE)
        }
        (Kind::Float { min, max }, Kind::Float { min: low, max: high }) => {
            one(range((*min, *max), (*low, *high)), MORE)
        }
        (Kind::Integer { min, max }, Kind::Float { min: low, max: high }) => one(
            finer(range((real(*min), real(*max)), (*low, *high)), WIDER),
            "values are taken finer",
        ),
        (Kind::Float { min, max }, Kind::Integer { min: low, max: high }) => {
            one(finer(range((*min, *max), (real(*low), real(*high))), NARROWER), MORE)
        }
        (
            Kind::Duration { unit_ms, min, max },
            Kind::Duration { unit_ms: new_unit, min: low, max: high },
        ) => {
            let bounds = range((min * unit_ms, max * unit_ms), (low * new_unit, high * new_unit));
            let unit = unit_ms.partial_cmp(new_unit);
            one(finer(bounds, unit), "longer, shorter or finer times are taken")
        }
        (Kind::Url { bytes_max }, Kind::Url { bytes_max: longer }) => {
            one(longer.partial_cmp(bytes_max), MORE)
        }
        (Kind::String { bytes_max, pattern: Some(form) }, Kind::Enum { values, .. })
            if fit(values, *bytes_max, form) =>
        {
            one(NARROWER, "")
        }
        (Kind::Enum { values, .. }, Kind::String { bytes_max, pattern: Some(form) })
            if fit(values, *bytes_max, form) =>
        {
            one(WIDER, MORE)
        }
        (Kind::Boolean, Kind::Boolean)
        | (Kind::Timestamp, Kind::Timestamp)
        | (Kind::Version, Kind::Version) => Vec::new(),
        _ => one(None, OTHER),
    }
}

/// Two judgements of one value: the wider wins, and what cannot be compared most of all.
fn finer(one: Order, other: Order) -> Order {
    match (one, other) {
        (None, _) | (_, None) => None,
        (Some(Ordering::Greater), _) | (_, Some(Ordering::Greater)) => WIDER,
        (Some(Ordering::Less), _) | (_, Some(Ordering::Less)) => NARROWER,
        (Some(Ordering::Equal), Some(Ordering::Equal)) => NEITHER,
    }
}

#[expect(clippy::cast_precision_loss, reason = "ranges are within 2^53")]
fn real(number: i64) -> f64 {
    number as f64
}

fn fit(values: &[String], bytes_max: u32, form: &Pattern) -> bool {
    values.iter().all(|value| value.len() <= bytes_max as usize && form.regex.is_match(value))
}

fn text(
    (bytes_max, form): (u32, Option<&Pattern>),
    (new_max, new_form): (u32, Option<&Pattern>),
) -> Vec<(Order, String, &'static str)> {
    let mut found = Vec::new();
    if bytes_max != new_max {
        let says = format!("takes text of at most {new_max} bytes, took {bytes_max}");
        found.push((new_max.partial_cmp(&bytes_max), says, MORE));
    }
    let change = match (form, new_form) {
        (None, None) => None,
        (None, Some(new)) => Some((NARROWER, format!("takes the form {} alone", new.source))),
        (Some(old), None) => Some((WIDER, format!("takes any form, took {} alone", old.source))),
        (Some(old), Some(new)) if old.source == new.source => None,
        (Some(old), Some(new)) => {
            let order = pattern::compare(&old.source, &new.source);
            Some((order, format!("takes the form {}, took {}", new.source, old.source)))
        }
    };
    found.extend(change.map(|(order, says)| (order, says, MORE)));
    found
}

/// The word that stands for all others is a value like the others; that there is one takes more.
fn list(
    (old, otherwise): (&[String], Option<u16>),
    (new, new_otherwise): (&[String], Option<u16>),
) -> Vec<(Order, String, &'static str)> {
    let mut found = Vec::new();
    let why = "one more thing is told from the others";
    for value in new.iter().filter(|value| !old.contains(value)) {
        found.push((WIDER, format!("tells `{value}`"), why));
    }
    for value in old.iter().filter(|value| !new.contains(value)) {
        found.push((NARROWER, format!("no longer tells `{value}`"), ""));
    }
    let word = |values: &[String], index: Option<u16>| {
        index.and_then(|index| values.get(usize::from(index)).cloned())
    };
    match (word(old, otherwise), word(new, new_otherwise)) {
        (None, None) => {}
        (None, Some(other)) => {
            found.push((WIDER, format!("counts any other value as `{other}`"), MORE));
        }
        (Some(_), None) => found.push((NARROWER, "refuses any other value".to_owned(), "")),
        (Some(was), Some(is)) if was == is => {}
        (Some(was), Some(is)) => {
            let says = format!("counts any other value as `{is}`, was `{was}`");
            found.push((NEITHER, says, ""));
        }
    }
    found
}
