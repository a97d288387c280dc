//! Whether all texts of one pattern are texts of another, as far as their parts tell.
//!
//! Parts are compared in order: `[a-z]{1,8}` is within `[a-z0-9]{1,16}`. That never says yes wrongly, for what fits part
//! by part fits as a whole; where it says no both ways, the two cannot be compared.

use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Repetition};

use super::{NARROWER, NEITHER, Order, WIDER};

/// The new pattern against the old.
pub(super) fn compare(old: &str, new: &str) -> Order {
    let (old, new) = (regex_syntax::parse(old).ok()?, regex_syntax::parse(new).ok()?);
    match (is_within(&old, &new), is_within(&new, &old)) {
        (true, true) => NEITHER,
        (true, false) => WIDER,
        (false, true) => NARROWER,
        (false, false) => None,
    }
}

fn is_within(inner: &Hir, outer: &Hir) -> bool {
    if inner == outer {
        return true;
    }
    if let HirKind::Alternation(choices) = inner.kind() {
        return choices.iter().all(|choice| is_within(choice, outer));
    }
    if let HirKind::Alternation(choices) = outer.kind() {
        return choices.iter().any(|choice| is_within(inner, choice));
    }
    let (Some(inner), Some(outer)) = (parts(inner), parts(outer)) else { return false };
    fits(&inner, &outer)
}

/// Something so many times.
struct Part {
    what: What,
    min: u32,
    max: Option<u32>,
}

enum What {
    Letters(ClassUnicode),
    Other(Hir),
}

/// A pattern as parts that follow each other; none if it looks around or has bytes.
fn parts(hir: &Hir) -> Option<Vec<Part>> {
    let once = |what| Some(vec![Part { what, min: 1, max: Some(1) }]);
    match hir.kind() {
        HirKind::Empty => Some(Vec::new()),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            let one = |letter| ClassUnicode::new([ClassUnicodeRange::new(letter, letter)]);
            let part = |letter| Part { what: What::Letters(one(letter)), min: 1, max: Some(1) };
            Some(text.chars().map(part).collect())
        }
        HirKind::Class(Class::Unicode(class)) => once(What::Letters(class.clone())),
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) => None,
        HirKind::Repetition(Repetition { min, max, greedy: _, sub }) => {
            let mut inner = parts(sub)?;
            let what = match (inner.pop(), inner.is_empty()) {
                (Some(Part { what: What::Letters(class), min: 1, max: Some(1) }), true) => {
                    What::Letters(class)
                }
                _ => What::Other(sub.as_ref().clone()),
            };
            Some(vec![Part { what, min: *min, max: *max }])
        }
        HirKind::Capture(capture) => parts(&capture.sub),
        HirKind::Concat(all) => {
            let mut found = Vec::new();
            for part in all {
                found.extend(parts(part)?);
            }
            Some(found)
        }
        HirKind::Alternation(_) => once(What::Other(hir.clone())),
    }
}

/// More parts than that are not compared.
const PARTS_MAX: usize = 512;

/// Whether the parts fit in order: into each part of the outer pattern a run of the inner, or nothing if it may be absent.
fn fits(inner: &[Part], outer: &[Part]) -> bool {
    if inner.len().max(outer.len()) > PARTS_MAX {
        return false;
    }
    let mut reached = vec![false; inner.len() + 1];
    reached[0] = true;
    for other in outer {
        let mut next = vec![false; inner.len() + 1];
        for (start, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
            next[start] |= other.min == 0;
            let (mut min, mut max) = (0_u32, Some(0_u32));
            for (index, part) in inner.iter().enumerate().skip(start) {
                if !is_like(&part.what, &other.what) {
                    break;
                }
                min = min.saturating_add(part.min);
                max = max.zip(part.max).and_then(|(sum, more)| sum.checked_add(more));
                let few = other.max.is_none_or(|most| max.is_some_and(|max| max <= most));
                next[index + 1] |= few && min >= other.min;
            }
        }
        reached = next;
    }
    reached[inner.len()]
}

/// Whether each of the one is one of the other.
fn is_like(inner: &What, outer: &What) -> bool {
    match (inner, outer) {
        (What::Letters(inner), What::Letters(outer)) => {
            let mut rest = inner.clone();
            rest.difference(outer);
            rest.ranges().is_empty()
        }
        (What::Other(inner), What::Other(outer)) => is_within(inner, outer),
        (What::Other(inner), What::Letters(outer)) => {
            is_within(inner, &Hir::class(Class::Unicode(outer.clone())))
        }
        (What::Letters(inner), What::Other(outer)) => {
            is_within(&Hir::class(Class::Unicode(inner.clone())), outer)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_compared_part_by_part() {
        for (narrow, wide) in [
            ("[a-z]{1,8}", "[a-z0-9]{1,16}"),
            ("E[0-9]{3}", "[A-Z][0-9]{1,5}"),
            ("a|b", "a|b|c"),
            ("a|b", "[a-d]"),
            ("abc", "[a-z]{1}[a-z]b?c"),
            ("[a-z]{2}", "[a-z]{2}(?:-[A-Z]{2})?"),
            ("(?:ab){1,2}", "(?:ab){0,3}"),
            ("v[0-9]", "v[0-9]+"),
            ("one|two", "[a-z]{1,6}"),
            ("[a-c]{2}[0-9]?", "[a-z0-9]{2,3}"),
        ] {
            assert_eq!(compare(narrow, wide), WIDER, "{narrow} {wide}");
            assert_eq!(compare(wide, narrow), NARROWER, "{narrow} {wide}");
            assert_eq!(compare(narrow, narrow), NEITHER);
        }
    }

    #[test]
    fn what_does_not_fit_part_by_part_is_not_judged() {
        for (one, other) in
            [("[a-z]{1,8}", "[0-9]{1,16}"), ("[a-m]{2}", "[a-z]"), ("ab|cd", "ab|ce")]
        {
            assert_eq!(compare(one, other), None, "{one} {other}");
        }
    }

    proptest! {
        /// Never a yes where a text tells otherwise.
        #[test]
        fn a_text_of_the_inner_is_one_of_the_outer(
            one in pattern_source(), other in pattern_source(), text in "[a-d0-2]{0,5}"
        ) {
            let matches = |source: &str| {
                regex::Regex::new(&format!("^(?:{source})$")).expect("generated").is_match(&text)
            };
            if compare(&one, &other) == WIDER {
                prop_assert!(!matches(&one) || matches(&other), "{one} {other}");
            }
        }
    }

    fn pattern_source() -> impl Strategy<Value = String> {
        let part = prop::sample::select(vec![
            "a",
            "b?",
            "[a-c]",
            "[a-d]{0,2}",
            "[0-2]+",
            "[0-1]",
            "(?:ab)?",
            "(?:a|0)",
            "[a-d0-2]*",
        ]);
        prop::collection::vec(part, 1..4).prop_map(|parts| parts.concat())
    }
}
