//! The primary language of an `Accept-Language` header or a language tag.

use super::{Code, url};

/// The primary subtag, lower case, of the language that is wanted most: `da` of `en;q=0.5, da-DK`. None if there
/// is none of two or three letters. Of equals the first counts, as browsers write them.
pub(crate) fn primary(header: &str) -> Option<Code> {
    let mut best: Option<(u32, Code)> = None;
    // Real headers have up to a dozen ranges; more are not read.
    for range in url::split(header, b',').take(16) {
        let mut parts = url::split(range, b';');
        let tag = parts.next().unwrap_or_default().trim();
        let subtag = url::before(url::before(tag, b'-'), b'_');
        let Some(code) = Code::of(subtag) else { continue };
        let weight = parts.find_map(|part| part.trim().strip_prefix("q=")).map_or(MOST, weight);
        if weight == MOST && best.is_none() {
            return Some(code.lower_case());
        }
        if weight > 0 && best.is_none_or(|(heaviest, _)| weight > heaviest) {
            best = Some((weight, code.lower_case()));
        }
    }
    best.map(|(_, code)| code)
}

/// The quality value 1, in thousandths.
const MOST: u32 = 1_000;

/// A quality value in thousandths, as the header's grammar has it: `0`, `1`, or up to three digits after the
/// point. What is none counts as least.
fn weight(text: &str) -> u32 {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" => MOST,
        "0" if digits => {
            let padded = fraction.bytes().chain([b'0'; 3]).take(3);
            padded.fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(header: &str) -> Option<String> {
        primary(header).map(|code| code.as_str().to_owned())
    }

    #[test]
    fn the_language_wanted_most_is_taken() {
        assert_eq!(of("da-DK,da;q=0.9,en-US;q=0.8"), Some("da".into()));
        assert_eq!(of("en;q=0.5, da-DK"), Some("da".into()));
        assert_eq!(of("en;q=0.5, FIL;q=0.7"), Some("fil".into()));
        assert_eq!(of("en;q=0.05, de;q=0.5, fr;q=0.499"), Some("de".into()));
        assert_eq!(of("en;q=high, de;q=0.002"), Some("de".into()));
        assert_eq!(of("zh_Hant_TW"), Some("zh".into()));
        assert_eq!(of("*"), None);
        assert_eq!(of("en;q=0"), None);
        assert_eq!(of(""), None);
        assert_eq!(of("i-klingon, jens@example.com, 12, d-"), None);
    }

    proptest! {
        #[test]
        fn nothing_but_two_or_three_letters_comes_out(header in ".{0,80}") {
            if let Some(code) = of(&header) {
                prop_assert!((2..=3).contains(&code.len()));
                prop_assert!(code.bytes().all(|byte| byte.is_ascii_lowercase()));
            }
        }
    }
}
