//! Versions: numbers joined by dots, without the words that may follow them.

/// Parts of a version that may be kept.
pub(crate) const PARTS_MAX: usize = 4;
/// Digits of a part: dates pass (`20261121`), serial numbers do not.
const DIGITS_MAX: usize = 8;

/// Writes the first `parts` numbers of a version to `out`, which is cleared first; false if it is no version.
///
/// Fewer numbers than asked for stay as they are; leading zeros stay. A pre-release or build word (`-rc1`,
/// `+20261121`, ` beta`) is dropped.
pub(crate) fn write(text: &str, parts: usize, out: &mut String) -> bool {
    out.clear();
    let text = text.trim();
    let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
    let numbers = text.split(['-', '+', ' ']).next().unwrap_or(text);
    for (index, part) in numbers.split('.').enumerate() {
        let number = (1..=DIGITS_MAX).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit());
        if !number || index >= PARTS_MAX {
            out.clear();
            return false;
        }
        if index < parts {
            if index > 0 {
                out.push('.');
            }
            out.push_str(part);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str, parts: usize) -> Option<String> {
        let mut out = String::new();
        write(text, parts, &mut out).then_some(out)
    }

    #[test]
    fn numbers_are_cut_and_words_dropped() {
        assert_eq!(of("3.8.1", 2).as_deref(), Some("3.8"));
        assert_eq!(of("3.8.1", 1).as_deref(), Some("3"));
        assert_eq!(of("3.8.1", 4).as_deref(), Some("3.8.1"));
        assert_eq!(of("3", 2).as_deref(), Some("3"));
        assert_eq!(of("v3.8.1-rc.jens+build7", 4).as_deref(), Some("3.8.1"));
        assert_eq!(of("3.8 by jens@example.com", 2).as_deref(), Some("3.8"));
        for text in ["", "x", "3.", "3..1", "3.8.1.0.5", "3,8", "310123456789012.1", "3.x", "-1"] {
            assert_eq!(of(text, 2), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_but_short_numbers_comes_out(text in "[0-9a-z.+ -]{0,40}", parts in 1_usize..=4) {
            if let Some(version) = of(&text, parts) {
                prop_assert!(version.split('.').count() <= parts);
                prop_assert!(version.split('.').all(|part| part.len() <= DIGITS_MAX));
                prop_assert!(version.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()));
            }
        }

        #[test]
        fn any_text_is_survived(text in ".{0,60}") {
            of(&text, 2);
        }
    }
}
