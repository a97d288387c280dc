//! Type strings of fields: `"string(64)"`, `["x1", "kathea"]`, `"ms"`, `"version"`, and what goes with them.

use super::pattern;
use super::table::{Item, Table};
use super::words::{list, nearest, span_text};
use crate::model::Kind;
use crate::time::SECOND_MS;

const TYPES: [&str; 9] =
    ["string", "url", "version", "integer", "float", "ms", "s", "boolean", "timestamp"];
/// What people write who know other languages.
const ALIASES: [(&str, &str); 12] = [
    ("text", "string"),
    ("str", "string"),
    ("enum", "[\"one\", \"other\"]"),
    ("int", "integer"),
    ("long", "integer"),
    ("number", "integer"),
    ("double", "float"),
    ("bool", "boolean"),
    ("duration", "ms"),
    ("seconds", "s"),
    ("datetime", "timestamp"),
    ("time", "timestamp"),
];
const STRING_BYTES: u32 = 64;
const URL_BYTES: u32 = 2048;
const TEXT_BYTES_MAX: u32 = 8192;
const ENUM_VALUES_MAX: usize = 65_535;
const ENUM_BYTES_MAX: usize = 64;
/// Whole numbers up to here are the same in every JSON library and in a float.
const INTEGER_MAX: i64 = 1 << 53;
const RANGE: &str = "`range = [0, 100]`, the smallest and the largest value that make sense";

/// Reads `type` of a field, and those of `range`, `pattern` and `otherwise` that belong to it.
pub(super) fn read(field: &Table<'_>, item: &Item<'_>) -> Option<Kind> {
    let (range, pattern, otherwise) =
        (field.get("range"), field.get("pattern"), field.get("otherwise"));
    let (kind, own) = if item.as_array().is_some() {
        (read_enum(item, otherwise.as_ref()), "otherwise")
    } else {
        let text = item.text("`\"string(64)\"`, `\"integer\"`, .. or a list of values")?;
        let (word, bytes) = split(item, text)?;
        match word {
            "string" => (read_string(item, bytes, pattern.as_ref()), "pattern"),
            "url" => (Some(Kind::Url { bytes_max: bytes.unwrap_or(URL_BYTES) }), ""),
            "version" => (Some(Kind::Version), ""),
            "boolean" => (Some(Kind::Boolean), ""),
            "timestamp" => (Some(Kind::Timestamp), ""),
            "float" => (read_float(item, range.as_ref()), "range"),
            word => (read_whole(item, word, range.as_ref()), "range"),
        }
    };
    for other in [range, pattern, otherwise].into_iter().flatten() {
        if other.key != own {
            let message = format!("`{}` does not belong to this type", other.key);
            other.file.wrong(&other.key_span, message, belongs(other.key));
        }
    }
    kind
}

fn belongs(key: &str) -> &'static str {
    match key {
        "range" => "the field without it, or a number type",
        "pattern" => "the field without it, or `type = \"string(64)\"`",
        _ => "the field without it, or a list of values as `type`",
    }
}

/// A type word, and the number in brackets behind it.
fn split<'a>(item: &Item<'a>, text: &'a str) -> Option<(&'static str, Option<u32>)> {
    let (word, bytes) = match text.split_once('(') {
        Some((word, rest)) => (word, Some(rest)),
        None => (text, None),
    };
    let Some(known) = TYPES.into_iter().find(|known| *known == word) else {
        let instead = ALIASES.iter().find(|(alias, _)| *alias == word).map_or_else(
            || format!("{}, or a list of values", nearest(word, &TYPES)),
            |(_, known)| format!("`{known}`"),
        );
        item.wrong(format!("unknown type `{text}`"), instead);
        return None;
    };
    let Some(bytes) = bytes else { return Some((known, None)) };
    let limit = bytes.strip_suffix(')').and_then(|digits| digits.parse::<u32>().ok());
    if !["string", "url"].contains(&known) {
        item.wrong(format!("`{known}` takes no length"), format!("`{known}`"));
    } else if limit.is_none_or(|limit| limit == 0 || limit > TEXT_BYTES_MAX) {
        item.wrong(
            format!("`{text}` has no length from 1 to {TEXT_BYTES_MAX} bytes"),
            format!("`{known}({STRING_BYTES})`"),
        );
    } else {
        return Some((known, limit));
    }
    None
}

fn read_string(item: &Item<'_>, bytes: Option<u32>, pattern: Option<&Item<'_>>) -> Option<Kind> {
    let bytes_max = bytes.unwrap_or(STRING_BYTES);
    if bytes.is_none() {
        item.wrong("`string` has no length", format!("`string({STRING_BYTES})`, the most bytes"));
    }
    let pattern = match pattern {
        Some(pattern) => Some(pattern::read(pattern, bytes_max)?),
        None => None,
    };
    Some(Kind::String { bytes_max, pattern })
}

fn read_enum(item: &Item<'_>, otherwise: Option<&Item<'_>>) -> Option<Kind> {
    let example = "`[\"one\", \"other\"]`, texts of at most 64 bytes";
    let items = item.array(example)?;
    if items.is_empty() {
        item.wrong("the list of values is empty", example);
    }
    let mut values: Vec<String> = Vec::with_capacity(items.len() + 1);
    let mut seen = std::collections::HashSet::new();
    for value in items.iter().take(ENUM_VALUES_MAX) {
        let Some(text) = read_value(value, example) else { continue };
        if !seen.insert(text) {
            value.wrong(format!("`{text}` is declared twice"), "each value once");
        }
        values.push(text.to_owned());
    }
    let mut place = None;
    if let Some(text) = otherwise.and_then(|item| read_value(item, "`otherwise = \"other\"`")) {
        let index = values.iter().position(|value| value == text).unwrap_or_else(|| {
            values.push(text.to_owned());
            values.len() - 1
        });
        place = u16::try_from(index).ok();
    }
    if items.len().max(values.len()) > ENUM_VALUES_MAX {
        item.wrong(
            format!("more than {ENUM_VALUES_MAX} values ({})", items.len().max(values.len())),
            "fewer values, and `otherwise` for the rest",
        );
    }
    Some(Kind::Enum { values, otherwise: place })
}

fn read_value<'a>(item: &Item<'a>, example: &str) -> Option<&'a str> {
    let text = item.text(example)?;
    if text.len() > ENUM_BYTES_MAX || text.chars().any(char::is_control) {
        item.wrong(format!("a value is no plain text of at most {ENUM_BYTES_MAX} bytes"), example);
        return None;
    }
    Some(text)
}

/// The two ends of `range`; its absence is a mistake, because a number without bounds has no clamp.
fn ends<'a>(item: &Item<'a>, range: Option<&Item<'a>>) -> Option<(Item<'a>, [Item<'a>; 2])> {
    let Some(range) = range else {
        item.wrong("a number has no `range`", RANGE);
        return None;
    };
    let found = range.array(RANGE)?.try_into();
    if found.is_err() {
        range.wrong("`range` is not a pair", RANGE);
    }
    Some((range.clone(), found.ok()?))
}

fn read_float(item: &Item<'_>, range: Option<&Item<'_>>) -> Option<Kind> {
    let (range, [min, max]) = ends(item, range)?;
    let (min, max) = (min.number(RANGE)?, max.number(RANGE)?);
    if min >= max {
        range.wrong("the range is empty", RANGE);
        return None;
    }
    Some(Kind::Float { min, max })
}

fn read_whole(item: &Item<'_>, word: &str, range: Option<&Item<'_>>) -> Option<Kind> {
    let (range, [min, max]) = ends(item, range)?;
    let (min, max) = (min.integer(RANGE)?, max.integer(RANGE)?);
    if min >= max {
        range.wrong("the range is empty", RANGE);
        return None;
    }
    let unit_ms = match word {
        "ms" => 1,
        "s" => SECOND_MS,
        _ => {
            if min < -INTEGER_MAX || max > INTEGER_MAX {
                range.wrong("the range is wider than a JSON number is exact (2^53)", RANGE);
                return None;
            }
            return Some(Kind::Integer { min, max });
        }
    };
    // A year: what lasts longer is a point in time, not a duration.
    let longest = 366 * crate::time::DAY_MS / unit_ms;
    if min < 0 || max > longest {
        let span = span_text(366 * crate::time::DAY_MS);
        let message = format!("a duration is from 0 to {longest} {word} ({span})");
        range.wrong(message, format!("`range = [0, 3_600_000]`, in {word}"));
        return None;
    }
    Some(Kind::Duration { unit_ms, min, max })
}

/// What a kind is called in diagnostics.
pub(super) fn name(kind: &Kind) -> String {
    match kind {
        Kind::String { bytes_max, .. } => format!("string({bytes_max})"),
        Kind::Enum { values, .. } if values.len() <= 4 => format!("one of {}", list(values)),
        Kind::Enum { values, .. } => format!("list of {} values", values.len()),
        Kind::Integer { .. } => "integer".to_owned(),
        Kind::Float { .. } => "float".to_owned(),
        Kind::Boolean => "boolean".to_owned(),
        Kind::Duration { unit_ms: 1, .. } => "ms".to_owned(),
        Kind::Duration { .. } => "s".to_owned(),
        Kind::Timestamp => "timestamp".to_owned(),
        Kind::Version => "version".to_owned(),
        Kind::Url { .. } => "url".to_owned(),
    }
}
