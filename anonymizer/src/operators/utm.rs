//! Campaign parameters of a URL.

use std::borrow::Cow;

use regex::Regex;
use schemas::model::Utm;

use super::{identifier, url};

/// Longest campaign word, in bytes.
const VALUE_BYTES_MAX: usize = 128;
/// Digits in a row that a campaign word may have: `20261121` passes, a telephone number does not.
const DIGITS_MAX: usize = 8;
/// Longest word of a campaign: base64 of ten bytes has sixteen letters.
const WORD_BYTES_MAX: usize = 15;
/// Changes between letters and digits within a word: `2026spring2` has two.
const CHANGES_MAX: usize = 2;

/// Name of the parameter in a query.
fn name(utm: Utm) -> &'static str {
    match utm {
        Utm::Source => "utm_source",
        Utm::Medium => "utm_medium",
        Utm::Campaign => "utm_campaign",
    }
}

/// Writes the parameter's value to `out`, which is cleared first; false unless `pattern` fits the whole of it and
/// it does not look like an identifier. Of several the first counts.
pub(crate) fn write<'q>(utm: Utm, pattern: &Regex, query: &'q str, out: &mut String) -> bool {
    out.clear();
    let wanted = name(utm);
    let value = |pair: &'q str| pair.strip_prefix(wanted)?.strip_prefix('=');
    let Some(value) = url::split(query, b'&').find_map(value) else { return false };
    if value.len() > 3 * VALUE_BYTES_MAX {
        return false;
    }
    let text = if value.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        let spaced = value.replace('+', " ");
        let decoded = String::from_utf8(identifier::percent_decoded(spaced.as_bytes()));
        let Ok(decoded) = decoded else { return false };
        Cow::Owned(decoded)
    } else {
        Cow::Borrowed(value)
    };
    let passes = text.len() <= VALUE_BYTES_MAX && pattern.is_match(&text) && !identifies(&text);
    if passes {
        out.push_str(&text);
    }
    passes
}

/// The second net: what a generous pattern lets through and no campaign is called.
fn identifies(text: &str) -> bool {
    let mut digits = text.split(|char: char| !char.is_ascii_digit());
    let mut words = text.split(|char: char| !char.is_ascii_alphanumeric());
    !text.is_ascii()
        || text.contains('@')
        || digits.any(|run| run.len() > DIGITS_MAX)
        || identifier::looks_hexadecimal(text)
        || words.any(|word| word.len() > WORD_BYTES_MAX || changes(word) > CHANGES_MAX)
}

/// How often a word changes between letters and digits: once in `spring2026`.
fn changes(word: &str) -> usize {
    let digit = |byte: &u8| byte.is_ascii_digit();
    word.as_bytes().windows(2).filter(|pair| digit(&pair[0]) != digit(&pair[1])).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(query: &str) -> Option<String> {
        let generous = Regex::new("^(?:[ -~]{1,80})$").unwrap();
        let mut out = String::new();
        write(Utm::Campaign, &generous, query, &mut out).then_some(out)
    }

    #[test]
    fn campaigns_pass() {
        for (query, campaign) in [
            ("utm_campaign=spring2026", "spring2026"),
            ("a=b&utm_campaign=black-friday_20261127&c", "black-friday_20261127"),
            ("utm_campaign=Summer+Sale%21", "Summer Sale!"),
            ("utm_campaign=first&utm_campaign=second", "first"),
        ] {
            assert_eq!(of(query).as_deref(), Some(campaign), "{query}");
        }
    }

    #[test]
    fn what_is_no_campaign_does_not() {
        for query in [
            "",
            "utm_campaign",
            "utm_campaign=",
            "xutm_campaign=spring",
            "utm_campaign=jens%40example.com",
            "utm_campaign=4520123456",
            "utm_campaign=3fa85f64-5717-4562-b3fc-2c963f66afa6",
            "utm_campaign=IwAR0aB1cD2eF3",
            "utm_campaign=%C3%A5se",
            "utm_campaign=%FF",
            "utm_campaign=abcdefghijklmnop",
        ] {
            assert_eq!(of(query), None, "{query}");
        }
    }

    #[test]
    fn the_pattern_decides() {
        let pattern = Regex::new("^(?:[a-z]{1,10})$").unwrap();
        let mut out = String::new();
        assert!(write(Utm::Source, &pattern, "utm_source=news", &mut out));
        assert!(!write(Utm::Source, &pattern, "utm_source=News", &mut out));
        assert_eq!(out, "");
    }

    proptest! {
        #[test]
        fn any_query_is_survived(query in ".{0,120}") {
            of(&query);
        }
    }
}
