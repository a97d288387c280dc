//! Texts that match a declared pattern.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Longest stretch of a repetition without an upper end.
const REPEAT_MAX: u32 = 6;

/// A text of the form `source` that is `accepted`, if a few tries find one.
pub(super) fn sample(
    source: &str,
    accepted: impl Fn(&str) -> bool,
    random: &mut ChaCha8Rng,
) -> Option<String> {
    let tree = regex_syntax::parse(source).ok()?;
    (0..8)
        .map(|_| {
            let mut text = String::new();
            write(&tree, random, &mut text);
            text
        })
        .find(|text| accepted(text))
}

fn write(tree: &Hir, random: &mut ChaCha8Rng, text: &mut String) {
    match tree.kind() {
        // Anchors and word boundaries take no room; whether they hold is checked on the whole text.
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => text.extend(letter(class, random)),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(u32::MAX).min(repetition.min.max(1) + REPEAT_MAX);
            for _ in 0..random.random_range(repetition.min..=most.max(repetition.min)) {
                write(&repetition.sub, random, text);
            }
        }
        HirKind::Capture(capture) => write(&capture.sub, random, text),
        HirKind::Concat(parts) => parts.iter().for_each(|part| write(part, random, text)),
        HirKind::Alternation(choices) => {
            if let Some(choice) = choices.get(random.random_range(0..choices.len().max(1))) {
                write(choice, random, text);
            }
        }
    }
}

/// A character of the class: a small letter or digit where it has some, since that is what people send.
fn letter(class: &Class, random: &mut ChaCha8Rng) -> Option<char> {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => {
            class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
        Class::Bytes(class) => {
            class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
    };
    let usual: Vec<char> = ('a'..='z')
        .chain('0'..='9')
        .filter(|&letter| ranges.iter().any(|&(from, to)| (from..=to).contains(&u32::from(letter))))
        .collect();
    if !usual.is_empty() {
        return Some(usual[random.random_range(0..usual.len())]);
    }
    let (from, to) = *ranges.get(random.random_range(0..ranges.len().max(1)))?;
    char::from_u32(random.random_range(from..=to))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn samples_have_the_form() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut sample = |source| sample(source, |_| true, &mut random).unwrap();
        let code = sample("E[0-9]{3,5}");
        assert!((4..=6).contains(&code.len()) && code.starts_with('E'), "{code}");
        assert!(code[1..].bytes().all(|byte| byte.is_ascii_digit()), "{code}");
        let plan = sample("(?:free|pro)-[0-9]+");
        assert!(plan.starts_with("free-") || plan.starts_with("pro-"), "{plan}");
        let capitals = sample("^[A-ZÄÖÜ]{2}$");
        assert!(capitals.chars().all(char::is_uppercase) && capitals.chars().count() == 2);
    }

    #[test]
    fn nothing_is_given_where_nothing_is_accepted() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(sample("[a-z]{20}", |text| text.len() <= 10, &mut random), None);
        assert_eq!(sample("[a-z", |_| true, &mut random), None);
    }
}
