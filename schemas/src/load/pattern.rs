//! Patterns of kept texts: they must compile, and must leave no room for an identifier.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

use super::table::Item;
use crate::model::Pattern;

const EXAMPLE: &str = "`pattern = \"E[0-9]{3,5}\"`";
const NARROWER: &str = "a narrower pattern: a fixed prefix, fewer letters (`[a-z]{1,16}`), or a list of values as `type`";
const SOURCE_BYTES_MAX: usize = 512;
/// Of the compiled program; a pattern of ordinary size needs a few KiB.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// More parts than a form that people can read has.
const PARTS_MAX: usize = 256;

/// What no kept text may be able to hold. Looked for in the whole pattern and in each part of it, so that
/// `E.*` is no way around.
const PROBES: [(&str, &str); 16] = [
    ("an e-mail address", "ada@example.com"),
    ("an e-mail address", "a@b.co"),
    ("an e-mail address", "ADA@EXAMPLE.COM"),
    ("an e-mail address", "Ada.Lovelace+x1@mail.example.com"),
    ("an IPv4 address", "192.0.2.146"),
    ("an IPv4 address", "1.1.1.1"),
    ("an IPv6 address", "2001:db8::1"),
    ("an IPv6 address", "2001:0DB8:0000:0000:0000:0000:0000:0001"),
    ("a MAC address", "00:1b:44:11:3a:b7"),
    ("a MAC address", "00:1B:44:11:3A:B7"),
    ("a UUID", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
    ("a UUID", "F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"),
    ("a UUID", "f81d4fae7dec11d0a76500a0c91e6bf6"),
    ("a UUID", "F81D4FAE7DEC11D0A76500A0C91E6BF6"),
    ("a UUID", "23794016-5512-4330-8765-410928374651"),
    ("a telephone number", "+4520123456"),
];

/// Compiles `pattern` of a text of at most `bytes_max` bytes.
pub(super) fn read(item: &Item<'_>, bytes_max: u32) -> Option<Pattern> {
    let source = item.text(EXAMPLE)?;
    if source.len() > SOURCE_BYTES_MAX {
        item.wrong(format!("the pattern is longer than {SOURCE_BYTES_MAX} bytes"), EXAMPLE);
        return None;
    }
    // By itself first: `a)|(b` would compile between our own brackets, and break the anchors.
    let parsed = match regex_syntax::parse(source) {
        Ok(parsed) => parsed,
        Err(error) => {
            item.wrong(format!("the pattern does not compile: {}", reason(&error)), EXAMPLE);
            return None;
        }
    };
    let Some(regex) = anchored(source) else {
        item.wrong("the pattern does not compile: it is too large", EXAMPLE);
        return None;
    };
    let Some(parts) = parts(&parsed) else {
        item.wrong("the pattern has too many parts to be judged", NARROWER);
        return None;
    };
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    if let Some(what) = admitted(&regex, &parts, bytes_max) {
        item.wrong(format!("the pattern lets {what} through"), NARROWER);
        return None;
    }
    Some(Pattern { source: source.to_owned(), regex })
}

fn anchored(source: &str) -> Option<Regex> {
    RegexBuilder::new(&format!("^(?:{source})$")).size_limit(COMPILED_BYTES_MAX).build().ok()
}

/// The parser's reason on one line, without its drawing of the pattern.
fn reason(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => error.kind().to_string(),
        regex_syntax::Error::Translate(error) => error.kind().to_string(),
        _ => "unknown reason".to_owned(),
    }
}

/// The first kind of identifier that fits into the pattern or one of its parts.
fn admitted(whole: &Regex, parts: &[Hir], bytes_max: usize) -> Option<&'static str> {
    let fitting = |regex: &Regex| {
        PROBES.iter().find(|(_, probe)| probe.len() <= bytes_max && regex.is_match(probe))
    };
    let shortest = PROBES.iter().map(|(_, probe)| probe.len()).min().unwrap_or(0);
    let in_whole = fitting(whole);
    let found = in_whole.or_else(|| {
        parts
            .iter()
            .filter(|part| part.properties().maximum_len().is_none_or(|most| most >= shortest))
            .filter_map(|part| anchored(&part.to_string()))
            .find_map(|regex| fitting(&regex))
    });
    found.map(|(what, _)| *what)
}

/// Every part that repeats, and both ends of every sequence; none if there are too many.
fn parts(whole: &Hir) -> Option<Vec<Hir>> {
    let mut found = Vec::new();
    let mut open = vec![whole.clone()];
    while let Some(part) = open.pop() {
        if found.len() + open.len() > PARTS_MAX {
            return None;
        }
        match part.kind() {
            HirKind::Capture(capture) => open.push((*capture.sub).clone()),
            HirKind::Repetition(repetition) => open.push((*repetition.sub).clone()),
            HirKind::Alternation(parts) => open.extend(parts.iter().cloned()),
            HirKind::Concat(parts) => {
                open.extend(parts.iter().cloned());
                for at in 1..parts.len() {
                    found.push(Hir::concat(parts[..at].to_vec()));
                    found.push(Hir::concat(parts[at..].to_vec()));
                }
            }
            HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => continue,
        }
        found.push(part);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(source: &str, bytes_max: usize) -> Option<&'static str> {
        let parts = parts(&regex_syntax::parse(source).unwrap()).unwrap();
        admitted(&anchored(source).unwrap(), &parts, bytes_max)
    }

    #[test]
    fn narrow_patterns_pass() {
        for source in
            ["E[0-9]{3,5}", "[a-z][a-z0-9_-]{0,30}", "[a-z]{1,16}( [a-z]{1,16})?", "v[0-9]{1,3}"]
        {
            assert_eq!(judged(source, 64), None, "{source}");
        }
    }

    #[test]
    fn room_for_an_identifier_is_found_behind_any_disguise() {
        for source in [
            ".*",
            ".+",
            "E.*",
            "(?s:.)*x?",
            "[^ ]{3,}",
            "[a-z0-9-]{1,40}",
            "[0-9a-f]{32}",
            "[0-9.]+",
            "id=[0-9A-F-]*;",
            "(a|b.*)",
            r"\d{1,3}(\.\d{1,3}){3}",
            r"mail:[a-z]+@[a-z]+\.[a-z]+",
            r"\S+",
        ] {
            assert!(judged(source, 64).is_some(), "{source}");
        }
    }

    #[test]
    fn a_short_text_has_no_room_for_a_long_identifier() {
        assert_eq!(judged("[0-9a-f]*", 16), None);
        assert_eq!(judged("[0-9a-f]*", 32), Some("a UUID"));
        assert_eq!(judged(".*", 6), Some("an e-mail address"));
    }
}
