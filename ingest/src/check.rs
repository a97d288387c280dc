//! One JSON value against one declared kind: a value that may go on, or the rule it broke.

use anonymizer::Value;
use schemas::model::{Content, Field, Kind, Transform};
use schemas::time::DAY_MS;
use schemas::{Millis, Reason};

use crate::decode::{Cell, Cells};
use crate::plan::Listed;

mod content;

/// Latest accepted timestamp: the end of the year 9999.
const TIMESTAMP_MAX: i64 = 2_932_897 * DAY_MS - 1;

/// What became of a value.
pub(crate) enum Checked<'v> {
    /// Accepted, or null.
    Value(Value<'v>),
    /// Not a declared value; this one stands for it.
    Otherwise(u16),
    /// Refused.
    Refused(Reason),
}

/// Checks `cell` against `field`; `listed` are the values of an enum with their indices.
pub(crate) fn check<'v>(
    field: &Field,
    listed: Option<&Listed>,
    refused: &[Content],
    cells: &'v Cells<'v>,
    cell: Cell<'v>,
) -> Checked<'v> {
    if matches!(cell, Cell::Null) {
        return Checked::Value(Value::Null);
    }
    let result = match &field.kind {
        Kind::Enum { otherwise, .. } => {
            return member(listed, *otherwise, refused, cells.text(cell));
        }
        Kind::String { bytes_max, pattern } => {
            text(cells, cell, refused, *bytes_max).and_then(|text| {
                if text.is_empty() && matches!(field.transform, Transform::Pseudonym) {
                    // An empty identifier is none: all who send it would be one contributor.
                    return Ok(Value::Null);
                }
                match pattern {
                    Some(pattern) if !pattern.regex.is_match(text) => Err(Reason::WrongForm),
                    Some(_) | None => Ok(Value::Text(text)),
                }
            })
        }
        Kind::Url { bytes_max } => text(cells, cell, refused, *bytes_max).and_then(|text| {
            // What a page says that no other page led to: `document.referrer` is empty then.
            if text.is_empty() {
                return Ok(Value::Null);
            }
            if is_url(text) { Ok(Value::Text(text)) } else { Err(Reason::WrongForm) }
        }),
        Kind::Version => cells.text(cell).ok_or(Reason::WrongType).and_then(|text| {
            let otherwise = || {
                let is_refused = content::is_refused(text, refused);
                if is_refused { Reason::RefusedContent } else { Reason::WrongForm }
            };
            version(text).map(Value::Text).ok_or_else(otherwise)
        }),
        Kind::Integer { min, max } => integer(cell, *min, *max).map(Value::Integer),
        Kind::Duration { unit_ms, min, max } => {
            integer(cell, *min, *max).map(|units| Value::Integer(units.saturating_mul(*unit_ms)))
        }
        Kind::Float { min, max } => float(cell, *min, *max),
        Kind::Boolean => {
            if let Cell::Boolean(truth) = cell {
                Ok(Value::Boolean(truth))
            } else {
                Err(Reason::WrongType)
            }
        }
        Kind::Timestamp => match timestamp(cells, cell) {
            Ok(time) => Ok(Value::Integer(time.0)),
            Err(reason) => Err(reason),
        },
    };
    result.map_or_else(Checked::Refused, Checked::Value)
}

fn member<'v>(
    listed: Option<&Listed>,
    otherwise: Option<u16>,
    refused: &[Content],
    text: Option<&str>,
) -> Checked<'v> {
    let Some(text) = text else {
        return Checked::Refused(Reason::WrongType);
    };
    match (listed.and_then(|listed| listed.get(text)), otherwise) {
        (Some(&index), _) => Checked::Value(Value::Index(index)),
        (None, _) if content::is_refused(text, refused) => Checked::Refused(Reason::RefusedContent),
        (None, Some(otherwise)) => Checked::Otherwise(otherwise),
        (None, None) => Checked::Refused(Reason::NotListed),
    }
}

fn text<'v>(
    cells: &'v Cells<'v>,
    cell: Cell<'v>,
    refused: &[Content],
    bytes_max: u32,
) -> Result<&'v str, Reason> {
    let text = cells.text(cell).ok_or(Reason::WrongType)?;
    if !refused.is_empty() && content::is_refused(text, refused) {
        return Err(Reason::RefusedContent);
    }
    if text.len() > bytes_max as usize {
        return Err(Reason::TooLong);
    }
    Ok(text)
}

fn integer(cell: Cell<'_>, min: i64, max: i64) -> Result<i64, Reason> {
    match cell.integer() {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        Some(_) => Err(Reason::OutOfRange),
        None if cell.is_whole() => Err(Reason::OutOfRange),
        None => Err(Reason::WrongType),
    }
}

fn float<'v>(cell: Cell<'_>, min: f64, max: f64) -> Result<Value<'v>, Reason> {
    let number = cell.float().ok_or(Reason::WrongType)?;
    if (min..=max).contains(&number) { Ok(Value::Float(number)) } else { Err(Reason::OutOfRange) }
}

/// RFC 3339 text, or milliseconds since 1970 as a number.
pub(crate) fn timestamp(cells: &Cells<'_>, cell: Cell<'_>) -> Result<Millis, Reason> {
    let time = match cells.text(cell) {
        Some(text) => Millis::parse(text).ok_or(Reason::WrongForm)?,
        None => Millis(integer(cell, i64::MIN, i64::MAX)?),
    };
    if (0..=TIMESTAMP_MAX).contains(&time.0) { Ok(time) } else { Err(Reason::OutOfRange) }
}

/// The numbers of a version, without the pre-release or build word behind them.
fn version(text: &str) -> Option<&str> {
    const NUMBERS_MAX: usize = 4;
    const DIGITS_MAX: usize = 9;
    const WORD_MAX: usize = 64;
    let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let (numbers, word) = text.split_at(end.unwrap_or(text.len()));
    let is_number = |part: &str| (1..=DIGITS_MAX).contains(&part.len());
    let is_word = |word: &str| {
        (2..=WORD_MAX).contains(&word.len())
            && word.starts_with(['-', '+'])
            && word
                .bytes()
                .skip(1)
                .all(|byte| byte.is_ascii_alphanumeric() || b".-+".contains(&byte))
    };
    let is_version = numbers.split('.').count() <= NUMBERS_MAX
        && numbers.split('.').all(is_number)
        && (word.is_empty() || is_word(word));
    is_version.then_some(numbers)
}

/// Whether a text is an absolute URL or the path of one, as far as its first letters tell.
fn is_url(text: &str) -> bool {
    if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return false;
    }
    if text.starts_with('/') {
        return !text.starts_with("//");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return false;
    };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && !rest.starts_with(['/', '?', '#'])
}

#[cfg(test)]
mod tests;
