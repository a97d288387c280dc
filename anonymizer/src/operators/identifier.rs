//! Tells words from what may identify: the second net behind declared routes, enums and patterns.
//!
//! A part of a path passes if it reads like words. What passes still can be a name: `/users/peter` is two words,
//! and no rule can know better. Routes are for that: `/users/:name`.

use std::borrow::Cow;

/// What a part of a path or host is instead of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identifier {
    /// A UUID, or hexadecimal digits.
    Id,
    /// An e-mail address or a handle.
    Email,
    /// Letters and digits mixed, or letters without the look of words.
    Token,
    /// Digits.
    Number,
    /// Anything else that is not plain words.
    Other,
}

impl Identifier {
    /// What stands for it.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Self::Id => ":id",
            Self::Email => ":email",
            Self::Token => ":token",
            Self::Number => ":number",
            Self::Other => ":other",
        }
    }
}

/// Longest part that passes, in bytes.
pub(crate) const PART_BYTES_MAX: usize = 64;
/// Longest word, in letters: base64 of ten bytes has sixteen.
const WORD_BYTES_MAX: usize = 15;
/// Longest mix of letters and digits: `v2`, `x1`, `mp4`, `4k`.
const MIXED_BYTES_MAX: usize = 4;
/// Digits of a part of words: `covid-19`, `top-10`.
const DIGITS_MAX: usize = 2;
/// Consonants in a row that a word may have.
const CONSONANTS_MAX: usize = 5;
/// How often percent-encoding is undone before giving up.
const ENCODINGS_MAX: usize = 3;

/// Whether a part is small letters between separators, and reads like words: most parts are, and none of the
/// finer rules of [`classify`] is needed to let them pass.
pub(crate) fn plain_words(part: &str) -> bool {
    let (mut length, mut run, mut vowels, mut letters) = (0_usize, 0_usize, 0_usize, 0_usize);
    for byte in part.bytes() {
        match byte {
            b'a' | b'e' | b'i' | b'o' | b'u' | b'y' => {
                vowels += 1;
                run = 0;
                length += 1;
                letters += 1;
            }
            b'a'..=b'z' => {
                run += 1;
                length += 1;
                letters += 1;
            }
            b'-' | b'_' | b'.' => {
                if length > 5 && vowels == 0 {
                    return false;
                }
                (length, run, vowels) = (0, 0, 0);
            }
            _ => return false,
        }
        if run > CONSONANTS_MAX || length > WORD_BYTES_MAX {
            return false;
        }
    }
    letters > 0 && part.len() <= PART_BYTES_MAX && !(length > 5 && vowels == 0)
}

/// None if `part` reads like words; it is to be [`decoded`] first.
pub(crate) fn classify(part: &str) -> Option<Identifier> {
    if part.contains('@') {
        return Some(Identifier::Email);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if part.starts_with('~') {
        return Some(Identifier::Id);
    }
    if !part.bytes().all(|byte| plain(byte) || matches!(byte, b'+' | b',' | b' ')) {
        return Some(Identifier::Other);
    }
    let digits = part.bytes().filter(u8::is_ascii_digit).count();
    let letters = part.bytes().filter(u8::is_ascii_alphabetic).count();
    if letters == 0 {
        return Some(if digits == 0 { Identifier::Other } else { Identifier::Number });
    }
    if !part.bytes().all(plain) {
        return Some(Identifier::Other);
    }
    if looks_hexadecimal(part) {
        return Some(Identifier::Id);
    }
    if part.len() > PART_BYTES_MAX
        || digits > DIGITS_MAX
        || part.split(['-', '_', '.']).any(odd_word)
    {
        return Some(Identifier::Token);
    }
    None
}

/// Whether a part holds a UUID, or eight and more hexadecimal digits with a decimal one among them.
pub(crate) fn looks_hexadecimal(part: &str) -> bool {
    let hexadecimal = |word: &str| {
        word.len() >= 8
            && word.bytes().all(|byte| byte.is_ascii_hexdigit())
            && word.bytes().any(|byte| byte.is_ascii_digit())
            && word.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    let uuid = || {
        let lengths = part.split('-').map(str::len);
        lengths.eq([8, 4, 4, 4, 12])
            && part.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
    };
    uuid() || part.split(['-', '_', '.']).any(hexadecimal)
}

/// Whether what stands between two separators is no word.
fn odd_word(word: &str) -> bool {
    let digits = word.bytes().any(|byte| byte.is_ascii_digit());
    if digits {
        return word.len() > MIXED_BYTES_MAX;
    }
    word.len() > WORD_BYTES_MAX || odd_case(word) || unspeakable(word)
}

/// Whether upper and lower case change otherwise than in `word`, `Word`, `WORD`, `myAccount` and `MyAccount`.
fn odd_case(word: &str) -> bool {
    if word.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return false;
    }
    let bytes = word.as_bytes();
    let inner = bytes.iter().skip(1).filter(|byte| byte.is_ascii_uppercase()).count();
    let single = |at: usize| {
        // A hump: small letters on both sides, so that initials in a row do not pass.
        bytes[at - 1].is_ascii_lowercase() && bytes.get(at + 1).is_some_and(u8::is_ascii_lowercase)
    };
    let humps = (1..bytes.len()).filter(|at| bytes[*at].is_ascii_uppercase());
    inner > 1 || !humps.into_iter().all(single)
}

/// Whether a longer word has no vowel, or more consonants in a row than any language.
fn unspeakable(word: &str) -> bool {
    let vowel =
        |byte: u8| matches!(byte.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
    let mut run = 0;
    let mut longest = 0;
    let mut vowels = 0;
    for byte in word.bytes() {
        if vowel(byte) {
            vowels += 1;
            run = 0;
        } else {
            run += 1;
            longest = longest.max(run);
        }
    }
    longest > CONSONANTS_MAX || (word.len() > 5 && vowels == 0)
}

/// A part with its percent-encoding undone, however often it was done; or what it is if that does not give plain
/// text: bytes above ASCII, control characters, a `%` that is left.
pub(crate) fn decoded(part: &str) -> Result<Cow<'_, str>, Identifier> {
    let plain = part.bytes().fold(true, |plain, byte| {
        plain & (b' '..0x7f).contains(&byte) & (byte != b'%') & (byte != b'@')
    });
    if plain {
        return Ok(Cow::Borrowed(part));
    }
    let mut text = Cow::Borrowed(part);
    for _ in 0..ENCODINGS_MAX {
        if !text.contains('%') {
            break;
        }
        let once = percent_decoded(text.as_bytes());
        // An encoded address is one, whatever stands around it.
        text = Cow::Owned(String::from_utf8(once).map_err(|_| Identifier::Other)?);
    }
    if text.contains('@') {
        return Err(Identifier::Email);
    }
    if text.contains('%') || !text.is_ascii() || text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Identifier::Other);
    }
    Ok(text)
}

/// Undoes percent-encoding once; a `%` without two hexadecimal digits stays.
pub(crate) fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
                at += 3;
            }
            (byte, _, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
