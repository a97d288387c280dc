//! Patterns as ECMA-262 writes them, which JSON Schema does, and of forms that packages do not declare.

use std::fmt::Write;

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// A declared pattern, for the whole text, or for none if it may be empty. What only our own engine can say stands as it
/// was written.
pub(super) fn anchored(source: &str, or_empty: bool) -> String {
    let body = regex_syntax::parse(source).ok().and_then(|hir| {
        let mut out = String::new();
        write(&hir, &mut out).map(|()| out)
    });
    let empty = if or_empty { "|" } else { "" };
    format!("^(?:{}{empty})$", body.unwrap_or_else(|| source.to_owned()))
}

fn write(hir: &Hir, out: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            text.chars().for_each(|letter| escape(letter, out));
        }
        HirKind::Class(class) => write_class(class, out)?,
        HirKind::Look(Look::Start) => out.push('^'),
        HirKind::Look(Look::End) => out.push('$'),
        HirKind::Look(_) => return None,
        HirKind::Repetition(Repetition { min, max, greedy: _, sub }) => {
            group(sub, out)?;
            match (min, max) {
                (0, None) => out.push('*'),
                (1, None) => out.push('+'),
                (0, Some(1)) => out.push('?'),
                (min, None) => push(out, format_args!("{{{min},}}")),
                (min, Some(max)) if min == max => push(out, format_args!("{{{min}}}")),
                (min, Some(max)) => push(out, format_args!("{{{min},{max}}}")),
            }
        }
        HirKind::Capture(capture) => group(&capture.sub, out)?,
        HirKind::Concat(parts) => {
            for part in parts {
                if matches!(part.kind(), HirKind::Alternation(_)) {
                    group(part, out)?;
                } else {
                    write(part, out)?;
                }
            }
        }
        HirKind::Alternation(choices) => {
            for (index, choice) in choices.iter().enumerate() {
                if index > 0 {
                    out.push('|');
                }
                write(choice, out)?;
            }
        }
    }
    Some(())
}

/// In brackets, unless it is one letter or class.
fn group(hir: &Hir, out: &mut String) -> Option<()> {
    let is_one = match hir.kind() {
        HirKind::Class(_) => true,
        HirKind::Literal(literal) => {
            std::str::from_utf8(&literal.0).is_ok_and(|text| text.chars().count() == 1)
        }
        HirKind::Empty
        | HirKind::Look(_)
        | HirKind::Repetition(_)
        | HirKind::Capture(_)
        | HirKind::Concat(_)
        | HirKind::Alternation(_) => false,
    };
    if is_one {
        return write(hir, out);
    }
    out.push_str("(?:");
    write(hir, out)?;
    out.push(')');
    Some(())
}

fn write_class(class: &Class, out: &mut String) -> Option<()> {
    let ranges: Vec<(char, char)> = match class {
        Class::Unicode(class) => {
            class.ranges().iter().map(|range| (range.start(), range.end())).collect()
        }
        Class::Bytes(class) => {
            let ascii = class.ranges().iter().all(|range| range.end().is_ascii());
            if !ascii {
                return None;
            }
            class.ranges().iter().map(|range| (range.start().into(), range.end().into())).collect()
        }
    };
    out.push('[');
    for (start, end) in ranges {
        escape_in_class(start, out);
        if start != end {
            out.push('-');
            escape_in_class(end, out);
        }
    }
    out.push(']');
    Some(())
}

fn escape(letter: char, out: &mut String) {
    if "^$\\.*+?()[]{}|/".contains(letter) {
        out.push('\\');
    }
    plain(letter, out);
}

fn escape_in_class(letter: char, out: &mut String) {
    if "^$\\.*+?()[]{}|/-".contains(letter) {
        out.push('\\');
    }
    plain(letter, out);
}

/// Controls and what turns text around as numbers; beyond the first plane there is no number that all engines read.
fn plain(letter: char, out: &mut String) {
    let code = u32::from(letter);
    if code < 0x20 || (0x7f..=0xffff).contains(&code) {
        push(out, format_args!("\\u{code:04x}"));
    } else {
        out.push(letter);
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string never fails");
}

/// Nothing but ASCII.
pub(super) fn ascii() -> &'static str {
    "^[\\u0000-\\u007f]*$"
}

/// As the door reads versions.
pub(super) fn version() -> &'static str {
    "^[0-9]{1,9}(?:\\.[0-9]{1,9}){0,3}(?:[+\\-][0-9A-Za-z.+\\-]{1,63})?$"
}

/// An absolute URL or the path of one; empty where it may be absent.
pub(super) fn url(required: bool) -> String {
    const REST: &str = "[^\\u0000-\\u0020\\u007f]";
    const FIRST: &str = "[^\\u0000-\\u0020\\u007f/?#]";
    const SECOND: &str = "[^\\u0000-\\u0020\\u007f/]";
    let empty = if required { "" } else { "|" };
    format!("^(?:\\/(?:{SECOND}{REST}*)?|[A-Za-z][0-9A-Za-z+.\\-]*:\\/\\/{FIRST}{REST}*{empty})$")
}

/// RFC 3339 between the years 1971 and 9998, so that no offset leads out of what is accepted.
pub(super) fn timestamp() -> String {
    let year = "(?:197[1-9]|19[89][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])";
    let leap = "(?:19(?:7[26]|8[048]|9[26])|[2-9][0-9](?:0[48]|[2468][048]|[13579][26])|[2468][048]00|[3579][26]00)";
    let long = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])";
    let short = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)";
    let february = "02-(?:0[1-9]|1[0-9]|2[0-8])";
    let minutes = "(?:[01][0-9]|2[0-3]):[0-5][0-9]";
    format!(
        "^(?:{year}-(?:{long}|{short}|{february})|{leap}-02-29)T{minutes}:[0-5][0-9](?:\\.[0-9]{{1,9}})?(?:Z|[+\\-]{minutes})$"
    )
}

/// IPv4, or IPv6 in hexadecimal.
pub(super) fn address() -> String {
    let byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    let word = "[0-9A-Fa-f]{1,4}";
    let mut ways = vec![format!("(?:{byte}\\.){{3}}{byte}"), format!("(?:{word}:){{7}}{word}")];
    ways.push(format!("(?:{word}:){{1,7}}:"));
    for before in (1..=6).rev() {
        let behind = 7 - before;
        ways.push(format!("(?:{word}:){{1,{before}}}(?::{word}){{1,{behind}}}"));
    }
    ways.push(format!("::(?:{word}(?::{word}){{0,6}})?"));
    format!("^(?:{})$", ways.join("|"))
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn a_pattern_keeps_its_meaning() {
        for (source, texts) in [
            ("[a-z][a-z0-9_-]{0,23}", vec!["a", "a-b_9", "", "A", "9a"]),
            ("(?:E|W)[0-9]{3}", vec!["E123", "W12", "EW123"]),
            ("(?i)ab", vec!["AB", "aB", "ac"]),
            ("a\\.b/c", vec!["a.b/c", "aXb/c"]),
            ("[\\^\\]\\\\-]+", vec!["^", "]", "\\", "-", "a"]),
            ("é|[α-ω]", vec!["é", "β", "b"]),
            ("\\pL{2}", vec!["ab", "1b"]),
            ("x(a|bc)+y?", vec!["xabcy", "xy", "xbcbc"]),
        ] {
            let ours = Regex::new(&format!("^(?:{source})$")).unwrap();
            let theirs = Regex::new(&anchored(source, false)).unwrap();
            for text in texts {
                assert_eq!(ours.is_match(text), theirs.is_match(text), "{source} on {text:?}");
            }
        }
        assert_eq!(anchored("[a-z]{1,2}(?:-[A-Z])?", false), "^(?:[a-z]{1,2}(?:-[A-Z])?)$");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let form = Regex::new(&timestamp()).unwrap();
        for good in
            ["2024-02-29T00:00:00Z", "2000-02-29T23:59:59.999+05:30", "2026-11-30T01:02:03-00:00"]
        {
            assert!(form.is_match(good) && crate::Millis::parse(good).is_some(), "{good}");
        }
        for bad in [
            "2023-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2026-11-31T00:00:00Z",
            "2026-13-01T00:00:00Z",
        ] {
            assert!(!form.is_match(bad) && crate::Millis::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn addresses_are_those_of_the_library() {
        let form = Regex::new(&address()).unwrap();
        for text in [
            "192.0.2.7",
            "::",
            "::1",
            "2001:db8::1",
            "1:2:3:4:5:6:7:8",
            "1::8",
            "1:2:3:4:5:6:7::",
            "256.0.0.1",
            "1:2",
            "1::2::3",
            ":1",
            "1:2:3:4:5:6:7:8:9",
            "12345::",
            "01.2.3.4",
        ] {
            assert_eq!(form.is_match(text), text.parse::<std::net::IpAddr>().is_ok(), "{text}");
        }
    }
}
