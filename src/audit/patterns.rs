//! Values that look like a person's: addresses, e-mails, MAC addresses, UUIDs, tokens, telephone numbers.
//!
//! Forms are strict rather than wide: a finding that is none costs the trust in all others.

use std::net::Ipv6Addr;

use super::finding::Code;

/// Digits of a run that is longer than a year, a price or a version.
const LONG_DIGITS: usize = 9;
/// Shortest hexadecimal word, and shortest other word, that can be a token.
const TOKEN_HEX: usize = 32;
const TOKEN_MIXED: usize = 20;
const TOKEN_ONE_CASE: usize = 24;
/// Changes between letters and digits in a random word, with both cases and with one.
const CHANGES_MIXED: usize = 4;
const CHANGES_ONE_CASE: usize = 6;

/// What is looked for in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// UUIDs, random words, telephone numbers, long runs of digits: where none are declared.
    pub(super) opaque: bool,
    /// Four numbers with dots between: not in fields of versions.
    pub(super) dotted: bool,
}

impl Rules {
    /// All of them.
    pub(super) const ALL: Self = Self { opaque: true, dotted: true };
    /// For texts that hold hashes and ids of our own.
    pub(super) const STRICT: Self = Self { opaque: false, dotted: true };
    /// For versions.
    pub(super) const VERSIONS: Self = Self { opaque: true, dotted: false };
}

/// The kinds of value that stand in `text`, each once.
pub(super) fn kinds(text: &str, rules: Rules) -> Vec<Code> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut check = |code, is_there: bool| {
        if is_there {
            found.push(code);
        }
    };
    let has = |byte: u8| bytes.contains(&byte);
    check(Code::Email, (has(b'@') || has(b'%')) && email(text));
    check(Code::Ipv4, rules.dotted && has(b'.') && words(bytes, is_dotted).any(ipv4));
    check(Code::Ipv6, has(b':') && words(bytes, is_colon_hex).any(ipv6));
    let separated = has(b':') || has(b'-') || has(b'.');
    check(Code::Mac, separated && words(bytes, is_mac_byte).any(mac));
    if rules.opaque {
        check(Code::Uuid, has(b'-') && words(bytes, is_word).any(uuid));
        let called = has(b'+') && telephone(bytes);
        check(Code::Telephone, called);
        check(Code::LongNumber, !called && words(bytes, is_word).any(long_number));
    }
    let random = rules.opaque && words(bytes, is_word).any(random);
    check(Code::Token, random || words(bytes, is_dotted).any(is_web_token));
    found
}

/// Texts of at least `least` printable ASCII letters in what is no text.
pub(super) fn printable(bytes: &[u8], least: usize) -> impl Iterator<Item = &str> {
    let runs = bytes.split(|byte| !(0x20..0x7f).contains(byte));
    runs.filter(move |run| run.len() >= least).filter_map(|run| std::str::from_utf8(run).ok())
}

/// The longest parts of which `belongs` takes every byte.
fn words(bytes: &[u8], belongs: fn(&u8) -> bool) -> impl Iterator<Item = &[u8]> {
    bytes.split(move |byte| !belongs(byte)).filter(|word| word.len() > 5)
}

fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_' || *byte >= 0x80
}

fn is_dotted(byte: &u8) -> bool {
    is_word(byte) || *byte == b'.'
}

fn is_colon_hex(byte: &u8) -> bool {
    is_word(byte) || *byte == b':'
}

fn is_mac_byte(byte: &u8) -> bool {
    is_word(byte) || *byte == b':' || *byte == b'.'
}

/// `local@host.tld`, the sign percent-encoded or not.
fn email(text: &str) -> bool {
    let is_local =
        |letter: char| letter.is_alphanumeric() || ".!#$&'*+/=?^_`{|}~-".contains(letter);
    let is_host = |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '-';
    ["@", "%40"].iter().any(|sign| {
        text.match_indices(sign).any(|(at, _)| {
            let local = text[..at].chars().next_back().is_some_and(is_local);
            let rest = &text[at + sign.len()..];
            let end = rest.find(|letter| !is_host(letter)).unwrap_or(rest.len());
            let host = rest[..end].trim_end_matches(['.', '-']);
            let Some((name, top)) = host.rsplit_once('.') else { return false };
            let top = top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
            local && top && name.split('.').all(|label| !label.is_empty())
        })
    })
}

/// Four numbers to 255; what else is in the word makes it a name.
fn ipv4(word: &[u8]) -> bool {
    let word = word.strip_suffix(b".").unwrap_or(word);
    let parts: Vec<&[u8]> = word.split(|byte| *byte == b'.').collect();
    let octet = |part: &&[u8]| {
        let number = std::str::from_utf8(part).ok().and_then(|part| part.parse::<u8>().ok());
        number.is_some() && part[0] != b'+' && (part.len() == 1 || part[0] != b'0')
    };
    parts.len() == 4 && parts.iter().all(octet)
}

/// Eight groups, or fewer around `::` with at least one of three digits.
fn ipv6(word: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(word) else { return false };
    let text = if text.ends_with("::") { text } else { text.trim_end_matches(':') };
    let groups: Vec<&str> = text.split(':').filter(|group| !group.is_empty()).collect();
    let long = groups.iter().any(|group| group.len() >= 3);
    groups.len() >= 2 && (groups.len() == 8 || long) && text.parse::<Ipv6Addr>().is_ok()
}

/// Six pairs of digits with `:` or `-` between, or three groups of four with dots.
fn mac(word: &[u8]) -> bool {
    let groups = |sign: u8, count: usize, length: usize| {
        let groups: Vec<&[u8]> = word.split(|byte| *byte == sign).collect();
        let hex = |group: &&[u8]| group.len() == length && group.iter().all(u8::is_ascii_hexdigit);
        groups.len() == count && groups.iter().all(hex)
    };
    let any = |is: fn(&u8) -> bool| word.iter().any(is);
    let both = any(u8::is_ascii_digit) && any(u8::is_ascii_alphabetic);
    groups(b':', 6, 2) || groups(b'-', 6, 2) && both || groups(b'.', 3, 4) && both
}

fn uuid(word: &[u8]) -> bool {
    word.len() == 36
        && std::str::from_utf8(word).is_ok_and(|text| uuid::Uuid::try_parse(text).is_ok())
}

/// `+`, then eight to fifteen digits with blanks, hyphens or brackets between.
fn telephone(bytes: &[u8]) -> bool {
    let signs = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'+');
    signs.map(|(at, _)| at).any(|at| {
        let alone = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        let rest = &bytes[at + 1..];
        let end = rest.iter().position(|byte| !(byte.is_ascii_digit() || b" -().".contains(byte)));
        let end = end.unwrap_or(rest.len());
        let digits = rest[..end].iter().filter(|byte| byte.is_ascii_digit()).count();
        let begins = rest.first().is_some_and(|byte| byte.is_ascii_digit() && *byte != b'0');
        alone && begins && (8..=15).contains(&digits)
    })
}

fn long_number(word: &[u8]) -> bool {
    word.len() >= LONG_DIGITS && word.iter().all(u8::is_ascii_digit)
}

/// Whether a word looks as if nobody had chosen its letters.
fn random(word: &[u8]) -> bool {
    let count = |is: fn(&u8) -> bool| word.iter().filter(|byte| is(byte)).count();
    let (digits, lower, upper) =
        (count(u8::is_ascii_digit), count(u8::is_ascii_lowercase), count(u8::is_ascii_uppercase));
    let length = digits + lower + upper;
    if digits == 0 || lower + upper == 0 || length < TOKEN_MIXED {
        return false;
    }
    let plain: Vec<u8> = word.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
    let changes =
        plain.windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit());
    let changes = changes.count();
    let hex = length >= TOKEN_HEX && word.len() == length && word.iter().all(u8::is_ascii_hexdigit);
    let mixed = lower > 0 && upper > 0 && changes >= CHANGES_MIXED;
    hex || mixed || (length >= TOKEN_ONE_CASE && changes >= CHANGES_ONE_CASE && !uuid(word))
}

/// Three parts of base64, the first of which begins a JSON object.
fn is_web_token(word: &[u8]) -> bool {
    let parts: Vec<&[u8]> = word.split(|byte| *byte == b'.').collect();
    parts.len() == 3 && parts[0].starts_with(b"eyJ") && parts[0].len() > 12 && parts[1].len() > 12
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_person_is_found_once_for_each_kind() {
        for (text, code) in [
            ("jo@example.com", Code::Email),
            ("/users/jo.doe%40example.co.uk/edit", Code::Email),
            ("198.51.100.7", Code::Ipv4),
            ("from 198.51.100.7:8080.", Code::Ipv4),
            ("2001:db8::7", Code::Ipv6),
            ("[2001:db8:1:2:3:4:5:6]:443", Code::Ipv6),
            ("fe80::1", Code::Ipv6),
            ("00:1b:44:11:3a:b7", Code::Mac),
            ("00-1B-44-11-3A-B7", Code::Mac),
            ("001b.4411.3ab7", Code::Mac),
            ("0b8f5a1e-6a0f-4c1e-9a51-1f2e3d4c5b6a", Code::Uuid),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc", Code::Token),
            ("9f86d081884c7d659a2feaa0c55ad015", Code::Token),
            ("kZ3x9Qw7Lm2Pa8Rt5Yv1", Code::Token),
            ("abq3k5tz7wxy2cde4fgh6jkm", Code::Token),
            ("+45 33 12 34 56", Code::Telephone),
            ("tel:+4533123456", Code::Telephone),
            ("0045331234", Code::LongNumber),
        ] {
            assert_eq!(kinds(text, Rules::ALL), [code], "{text}");
        }
    }

    #[test]
    fn what_a_clean_store_holds_is_not_found() {
        for text in [
            "",
            "/",
            "/products/:product",
            "/blog/2026/11/22",
            "example.com",
            "google.co.uk",
            "pageview",
            "Chrome 142",
            "iOS",
            "E1234",
            "x1",
            "SpringSale2026-NewCustomers",
            "2026-11-22T15:15:22.118Z",
            "15:15:22",
            "interval 0 days",
            "3.8.1",
            "v1.2.3.4-rc",
            "1.2.3.4.5",
            "300.1.1.1",
            "laser-scanner-2000-pro-x",
            "/@handle",
            "a@b",
            "user@host",
            "std::fmt::Display",
            "::1",
            "a::b",
            "newsletter_2026_11_22_autumn_4_you",
            "+1",
            "c++11 2026",
            "delta-rs:1.1.3",
            "10-11-12-13-14-15",
            "12345678",
            "google.com/maps/@55",
            "ad:cafe",
        ] {
            assert_eq!(kinds(text, Rules::ALL), [], "{text}");
        }
        let hash = "4d8bf8e982f7584bc485581e30a9cec1a251ed6069ac0d67b870b2ec893780c1";
        assert_eq!(kinds(hash, Rules::STRICT), []);
        assert_eq!(kinds("3.8.1.2", Rules::VERSIONS), []);
        assert_eq!(kinds("jo@example.com", Rules::STRICT), [Code::Email]);
    }

    #[test]
    fn texts_are_found_in_what_is_none() {
        let bytes = b"\0\x01jo@example.com is here\xff\xfeshort\0";
        assert_eq!(printable(bytes, 16).collect::<Vec<_>>(), ["jo@example.com is here"]);
    }
}
