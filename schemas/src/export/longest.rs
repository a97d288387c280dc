//! How long an event can become as JSON, in bytes.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::model::{Kind, Pattern};

/// Four numbers of nine digits and a word of 64 letters: the longest that the service takes.
pub(super) const VERSION_BYTES: usize = 4 * 9 + 3 + 64;
/// `\u0001`: what one byte of a text becomes at worst.
const ESCAPED: usize = 6;
/// The last millisecond of the year 9999: the largest that the service takes.
pub(super) const TIMESTAMP_MAX: i64 = 253_402_300_799_999;
/// The client writes no larger float.
const FLOAT_MAX: f64 = 999_999_999_999_999.0;

/// A value of that kind, with its quotes.
pub(super) fn value(kind: &Kind) -> usize {
    match kind {
        Kind::String { bytes_max, pattern } => {
            let stays = pattern.as_ref().is_some_and(is_never_escaped);
            2 + *bytes_max as usize * if stays { 1 } else { ESCAPED }
        }
        // A URL has no blanks and no controls, but may have quotes and backslashes.
        Kind::Url { bytes_max } => 2 + *bytes_max as usize * ESCAPED,
        Kind::Version => 2 + VERSION_BYTES,
        Kind::Enum { values, .. } => values.iter().map(|value| text(value)).max().unwrap_or(0),
        Kind::Integer { min, max } | Kind::Duration { min, max, .. } => {
            min.to_string().len().max(max.to_string().len())
        }
        Kind::Float { min, max } => {
            let written = |bound: f64| format!("{:.6}", bound.clamp(-FLOAT_MAX, FLOAT_MAX)).len();
            written(*min).max(written(*max))
        }
        Kind::Boolean => 5,
        Kind::Timestamp => TIMESTAMP_MAX.to_string().len(),
    }
}

/// `"name":`
pub(super) fn name(name: &str) -> usize {
    text(name) + 1
}

/// A known text, with its quotes.
pub(super) fn text(text: &str) -> usize {
    let one = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..b' ' => ESCAPED,
        _ => 1,
    };
    2 + text.bytes().map(one).sum::<usize>()
}

/// Whether no text that matches has a sign that JSON escapes.
fn is_never_escaped(pattern: &Pattern) -> bool {
    regex_syntax::parse(&pattern.source).is_ok_and(|hir| passes(&hir))
}

fn passes(hir: &Hir) -> bool {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => literal.0.iter().copied().all(plain),
        HirKind::Class(Class::Unicode(class)) => class.ranges().iter().all(|range| {
            range.start() >= ' '
                && !['"', '\\'].iter().any(|sign| (range.start()..=range.end()).contains(sign))
        }),
        HirKind::Class(Class::Bytes(class)) => {
            class.ranges().iter().all(|range| (range.start()..=range.end()).all(plain))
        }
        HirKind::Repetition(repetition) => passes(&repetition.sub),
        HirKind::Capture(capture) => passes(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(passes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_tell_whether_a_text_can_grow() {
        let grows = |source: &str| !passes(&regex_syntax::parse(source).unwrap());
        assert!(!grows("[a-z][a-z0-9_-]{0,23}"));
        assert!(!grows("(?:E|W)[0-9]{3}é?"));
        assert!(grows("[ -~]{2}") && grows("a\\\\b") && grows("\"?") && grows(".") && grows("\\t"));
    }

    #[test]
    fn values_are_as_long_as_they_can_be() {
        assert_eq!(value(&Kind::Duration { unit_ms: 1, min: -5, max: 3_600_000 }), 7);
        assert_eq!(value(&Kind::Float { min: -1.5, max: 99.0 }), "-1.500000".len());
        let values = ["a\"".to_owned(), "abc".to_owned()];
        assert_eq!(value(&Kind::Enum { values: values.into(), otherwise: None }), 5);
        assert_eq!(name("type"), 7);
    }
}
