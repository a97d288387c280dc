//! One operator a stored field: raw column in, stored column out, never a row that fails.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, Int64Array, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{ArrowPrimitiveType, Float64Type, Int64Type, UInt16Type};
use regex::Regex;
use schemas::model::{Field, Kind, Source, Transform, Truncate, Utm};

use super::path::Paths;
use super::url::{Cut, Parts};
use super::{domain, language, number, utm, version};
use crate::error::Error;
use crate::geo::country_code;
use crate::layout::FromConnection;
use crate::pseudonym::FieldKeys;

/// What is made of one raw column.
pub(crate) enum Operator {
    /// A text that the whole of the pattern fits.
    Pattern(Regex),
    /// The declared word of an index.
    Words(Vec<String>),
    /// A whole number within its range, rounded down to a multiple of `width`.
    Integer {
        min: i64,
        max: i64,
        width: i64,
    },
    /// A finite number within its range, rounded down to a multiple of `width` if there is one.
    Float {
        min: f64,
        max: f64,
        width: Option<f64>,
    },
    Boolean,
    /// A point in time, rounded down to so many milliseconds.
    Time {
        grain_ms: i64,
    },
    /// The first so many numbers of a version.
    Version {
        parts: usize,
    },
    Domain,
    Path(Paths),
    Utm {
        utm: Utm,
        pattern: Regex,
    },
    /// A country's code that came in the event.
    Country,
    /// A language tag that came in the event.
    Language,
    /// What gate 1 itself has made of the connection.
    Resolved,
    /// A pseudonym of a text.
    TextPseudonym,
    /// A pseudonym of a whole number.
    IntegerPseudonym,
}

/// What an operator works on: one raw column, and what belongs to its rows.
pub(crate) struct Input<'a> {
    pub(crate) raw: &'a ArrayRef,
    /// The column's URLs, cut once for all operators that take parts of them; empty for other operators.
    pub(crate) cuts: &'a [Option<Cut<'a>>],
    /// The rows whose purposes allow the field; none if all do.
    pub(crate) allowed: Option<&'a BooleanBuffer>,
    /// For each row the key of its epoch.
    pub(crate) keys: FieldKeys<'a>,
}

impl Operator {
    /// The operator of a field whose value is `kind`, as its source declares it.
    ///
    /// # Errors
    ///
    /// [`Error::Field`] if there is none: better no start than a column of nulls.
    pub(crate) fn of(family: &str, field: &Field, kind: &Kind) -> Result<Self, Error> {
        let refuse =
            |what| Err(Error::Field { family: family.to_owned(), field: field.name.clone(), what });
        if !matches!(field.source, Source::Body | Source::Field(_)) {
            return match FromConnection::of(&field.transform) {
                Some(_) => Ok(Self::Resolved),
                None => refuse("this transform cannot be made of a connection"),
            };
        }
        let text = matches!(kind, Kind::String { .. } | Kind::Url { .. } | Kind::Version);
        match (&field.transform, kind) {
            (Transform::Keep, Kind::String { pattern: Some(pattern), .. }) => {
                Ok(Self::Pattern(pattern.regex.clone()))
            }
            (Transform::Keep, Kind::Enum { values, .. }) => Ok(Self::Words(values.clone())),
            (Transform::Keep, Kind::Boolean) => Ok(Self::Boolean),
            (Transform::Keep, Kind::Version) => Ok(Self::Version { parts: version::PARTS_MAX }),
            (Transform::Keep, Kind::Timestamp) => Ok(Self::Time { grain_ms: 1 }),
            (Transform::Keep, Kind::Integer { min, max }) => Ok(Self::integer(*min, *max, 1, 1)),
            (Transform::Keep, Kind::Duration { unit_ms, min, max }) => {
                Ok(Self::integer(*min, *max, *unit_ms, 1))
            }
            (Transform::Keep, Kind::Float { min, max }) => {
                Ok(Self::Float { min: *min, max: *max, width: None })
            }
            (Transform::Bucket(width), Kind::Integer { min, max }) => {
                Ok(Self::integer(*min, *max, 1, number::whole_width(*width)))
            }
            (Transform::Bucket(width), Kind::Duration { unit_ms, min, max }) => {
                Ok(Self::integer(*min, *max, *unit_ms, number::whole_width(*width)))
            }
            (Transform::Bucket(width), Kind::Float { min, max }) => {
                Ok(Self::Float { min: *min, max: *max, width: Some(*width) })
            }
            (Transform::Truncate(Truncate::Major), Kind::Version) => Ok(Self::Version { parts: 1 }),
            (Transform::Truncate(Truncate::MajorMinor), Kind::Version) => {
                Ok(Self::Version { parts: 2 })
            }
            (Transform::Truncate(Truncate::Time(grain_ms)), Kind::Timestamp) => {
                Ok(Self::Time { grain_ms: (*grain_ms).max(1) })
            }
            (Transform::Domain, _) if text => Ok(Self::Domain),
            (Transform::Path(routes), _) if text => Ok(Self::Path(Paths::new(routes))),
            (Transform::Utm(utm), _) if text => {
                let Kind::String { pattern: Some(pattern), .. } = &field.kind else {
                    return refuse("a campaign parameter needs a pattern");
                };
                Ok(Self::Utm { utm: *utm, pattern: pattern.regex.clone() })
            }
            (Transform::Country, _) if text => Ok(Self::Country),
            (Transform::Language, _) if text => Ok(Self::Language),
            (Transform::Pseudonym, Kind::Integer { .. }) => Ok(Self::IntegerPseudonym),
            (Transform::Pseudonym, _) if text => Ok(Self::TextPseudonym),
            (_, _) => refuse("this transform cannot be made of a value of this type"),
        }
    }

    /// Whole numbers within a range that is declared in units of `unit`.
    fn integer(min: i64, max: i64, unit: i64, width: i64) -> Self {
        Self::Integer { min: min.saturating_mul(unit), max: max.saturating_mul(unit), width }
    }

    /// Whether this operator takes parts of URLs.
    pub(crate) fn cuts(&self) -> bool {
        matches!(self, Self::Domain | Self::Path(_) | Self::Utm { .. })
    }

    /// Whether this operator needs keys.
    pub(crate) fn is_pseudonym(&self) -> bool {
        matches!(self, Self::TextPseudonym | Self::IntegerPseudonym)
    }

    /// Makes the stored column: a null for each null, for each value that is not allowed, and for each that does not
    /// have the form it should.
    pub(crate) fn apply(&self, input: &Input<'_>) -> ArrayRef {
        let (raw, allowed) = (input.raw, input.allowed);
        match self {
            Self::Pattern(pattern) => texts(raw, allowed, |text, out| {
                out.push_str(text);
                pattern.is_match(text)
            }),
            Self::Words(words) => words_of(raw, allowed, words),
            Self::Integer { min, max, width } => {
                let value = |value: i64| {
                    (*min..=*max).contains(&value).then(|| number::floor_integer(value, *width))
                };
                Arc::new(map::<Int64Type, _>(raw, allowed, value).collect::<Int64Array>())
            }
            Self::Float { min, max, width } => {
                let value = |value: f64| {
                    let value = (*min..=*max).contains(&value).then_some(value)?;
                    Some(width.map_or(value, |width| number::floor_float(value, width)))
                };
                Arc::new(map::<Float64Type, _>(raw, allowed, value).collect::<Float64Array>())
            }
            Self::Time { grain_ms } => {
                let micros = |ms: i64| number::floor_integer(ms, *grain_ms).checked_mul(1_000);
                let times = map::<Int64Type, _>(raw, allowed, micros);
                Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            Self::Boolean => {
                let truths = raw.as_boolean();
                let truth = |row| stands(truths, allowed, row).then(|| truths.value(row));
                Arc::new((0..truths.len()).map(truth).collect::<BooleanArray>())
            }
            Self::Version { parts } => {
                texts(raw, allowed, |text, out| version::write(text, *parts, out))
            }
            Self::Domain => cut(input, |parts, out| domain::write(parts.host, out)),
            Self::Path(paths) => cut(input, |parts, out| {
                paths.write(parts.path, out);
                true
            }),
            Self::Utm { utm, pattern } => {
                cut(input, |parts, out| utm::write(*utm, pattern, parts.query, out))
            }
            Self::Country => texts(raw, allowed, |text, out| {
                country_code(text).inspect(|code| out.push_str(code.as_str())).is_some()
            }),
            Self::Language => texts(raw, allowed, |text, out| {
                language::primary(text).inspect(|code| out.push_str(code.as_str())).is_some()
            }),
            Self::Resolved => texts(raw, allowed, |text, out| {
                out.push_str(text);
                true
            }),
            Self::TextPseudonym => pseudonyms(raw, allowed, input.keys),
            Self::IntegerPseudonym => {
                let numbers = raw.as_primitive::<Int64Type>();
                let mut out = BinaryBuilder::with_capacity(numbers.len(), 16 * numbers.len());
                let mut scratch = Vec::new();
                for row in 0..numbers.len() {
                    let hash = stands(numbers, allowed, row)
                        .then(|| input.keys.at(row).integer(numbers.value(row), &mut scratch));
                    out.append_option(hash);
                }
                Arc::new(out.finish())
            }
        }
    }
}

/// Pseudonyms of texts, as the contributor's column has them too.
pub(crate) fn pseudonyms(
    raw: &ArrayRef,
    allowed: Option<&BooleanBuffer>,
    keys: FieldKeys<'_>,
) -> ArrayRef {
    let texts = raw.as_string::<i32>();
    let mut out = BinaryBuilder::with_capacity(texts.len(), 16 * texts.len());
    let mut scratch = Vec::new();
    for row in 0..texts.len() {
        let hash = stands(texts, allowed, row)
            .then(|| keys.at(row).text(texts.value(row), &mut scratch))
            .flatten();
        out.append_option(hash);
    }
    Arc::new(out.finish())
}

/// Whether a row has a value that may be used.
pub(crate) fn stands(array: &dyn Array, allowed: Option<&BooleanBuffer>, row: usize) -> bool {
    array.is_valid(row) && allowed.is_none_or(|allowed| allowed.value(row))
}

/// A text column; `write` puts a value into the empty text it is given, and says whether it counts.
fn texts(
    raw: &ArrayRef,
    allowed: Option<&BooleanBuffer>,
    mut write: impl FnMut(&str, &mut String) -> bool,
) -> ArrayRef {
    let texts: &StringArray = raw.as_string();
    let mut out = StringBuilder::with_capacity(texts.len(), 16 * texts.len());
    let mut value = String::new();
    for row in 0..texts.len() {
        value.clear();
        if stands(texts, allowed, row) && write(texts.value(row), &mut value) {
            out.append_value(&value);
        } else {
            out.append_null();
        }
    }
    Arc::new(out.finish())
}

fn words_of(raw: &ArrayRef, allowed: Option<&BooleanBuffer>, words: &[String]) -> ArrayRef {
    let indices = raw.as_primitive::<UInt16Type>();
    let mut out = StringBuilder::with_capacity(indices.len(), 8 * indices.len());
    for row in 0..indices.len() {
        let word = stands(indices, allowed, row)
            .then(|| words.get(usize::from(indices.value(row))))
            .flatten();
        out.append_option(word);
    }
    Arc::new(out.finish())
}

/// The values of a number column through `value`.
fn map<'a, T: ArrowPrimitiveType, V: 'a>(
    raw: &'a ArrayRef,
    allowed: Option<&'a BooleanBuffer>,
    value: impl Fn(T::Native) -> Option<V> + 'a,
) -> impl Iterator<Item = Option<V>> + 'a {
    let numbers = raw.as_primitive::<T>();
    (0..numbers.len())
        .map(move |row| stands(numbers, allowed, row).then(|| value(numbers.value(row))).flatten())
}

/// A text column made of parts of URLs.
fn cut(input: &Input<'_>, mut write: impl FnMut(Parts<'_>, &mut String) -> bool) -> ArrayRef {
    let mut out = StringBuilder::with_capacity(input.cuts.len(), 16 * input.cuts.len());
    let mut value = String::new();
    for (row, cut) in input.cuts.iter().enumerate() {
        let allowed = input.allowed.is_none_or(|allowed| allowed.value(row));
        if let Some(cut) = cut.as_ref().filter(|_| allowed)
            && write(cut.parts(), &mut value)
        {
            out.append_value(&value);
        } else {
            out.append_null();
        }
    }
    Arc::new(out.finish())
}

/// Cuts every URL of a text column.
pub(crate) fn cuts(raw: &ArrayRef) -> Vec<Option<Cut<'_>>> {
    raw.as_string::<i32>().iter().map(|text| text.and_then(Cut::of)).collect()
}
