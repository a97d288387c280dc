//! Recognises files in texts by their first bytes: raw, as `data:` URLs, and in base64; and long runs of base64 as such,
//! whatever is in them.

use data_encoding::{Encoding, Specification};
use schemas::model::Content;
use std::sync::LazyLock;

/// Shorter texts hold no file.
const BYTES_MIN: usize = 12;
/// Letters of base64 that hold the first 132 bytes: a DICOM file says so behind 128 bytes of preamble.
const HEAD_LETTERS: usize = 176;
/// Base64 of fewer letters is taken for a word: `/9j/` alone is a path.
const BASE64_LETTERS_MIN: usize = 24;
/// A run of base64 of fewer letters may be an id, a hash or a word: 48 bytes are no file yet.
const RUN_LETTERS_MIN: usize = 64;

/// Base64 as found in the wild: both alphabets, padding where it likes.
static LENIENT: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    specification.translate.from.push_str("-_");
    specification.translate.to.push_str("+/");
    specification.ignore.push_str("\r\n ");
    specification.check_trailing_bits = false;
    specification.encoding().expect("the alphabet has 64 letters")
});

/// Whether `text` is, or holds in base64, content of one of the `refused` kinds.
pub(super) fn is_refused(text: &str, refused: &[Content]) -> bool {
    if text.len() < BYTES_MIN {
        return false;
    }
    let text = text.trim_start();
    if let Some(kind) = data_url(text) {
        return refused.contains(&kind);
    }
    let base64 = text
        .get(..5)
        .filter(|start| start.eq_ignore_ascii_case("data:"))
        .and_then(|_| text.split_once(',').map(|(_, content)| content));
    let found = raw(text).or_else(|| encoded(base64.unwrap_or(text)));
    found.is_some_and(|kind| refused.contains(&kind))
        || (refused.contains(&Content::Base64) && holds_run(kept(text)))
}

/// What of a text may be kept: of a URL what stands before query and fragment, where advertisers put long ids of clicks.
fn kept(text: &str) -> &str {
    let is_url =
        text.starts_with('/') || text.starts_with("http://") || text.starts_with("https://");
    let end = text.find(['?', '#']).filter(|_| is_url);
    &text[..end.unwrap_or(text.len())]
}

/// Whether somewhere in `text` there is a run of base64 that is long enough to hold a file.
fn holds_run(text: &str) -> bool {
    if text.len() < RUN_LETTERS_MIN {
        return false;
    }
    let runs = text.as_bytes().split(|byte| !is_letter(*byte));
    runs.filter(|run| run.len() >= RUN_LETTERS_MIN).any(|run| {
        let slashes = run.iter().filter(|byte| **byte == b'/').count();
        // Of random bytes one letter in 64 is a slash; in paths it is one in ten, and hyphens stand beside it.
        let is_path = slashes * 16 > run.len()
            || (slashes > 0 && run.iter().any(|byte| matches!(byte, b'-' | b'_')));
        if is_path { run.split(|byte| *byte == b'/').any(is_run) } else { is_run(run) }
    })
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// Whether letters are mixed as base64 mixes them: words, numbers, hexadecimal and names of either case are not.
fn is_run(run: &[u8]) -> bool {
    let share = |of: fn(&u8) -> bool| run.iter().filter(|byte| of(byte)).count();
    let (upper, lower) = (share(u8::is_ascii_uppercase), share(u8::is_ascii_lowercase));
    let digits = share(u8::is_ascii_digit);
    run.len() >= RUN_LETTERS_MIN
        && upper * 100 >= run.len() * 15
        && lower * 100 >= run.len() * 15
        && digits * 100 >= run.len() * 3
}

/// The kind that the media type of a `data:` URL names.
fn data_url(text: &str) -> Option<Content> {
    let head = text.get(..24.min(text.len())).unwrap_or(text);
    let head = head.to_ascii_lowercase();
    let media = head.strip_prefix("data:")?;
    if media.starts_with("image/") {
        Some(Content::Image)
    } else if media.starts_with("application/dicom") {
        Some(Content::Dicom)
    } else {
        None
    }
}

/// A file whose bytes were sent as letters: U+0000 to U+00FF stand for one byte each.
fn raw(text: &str) -> Option<Content> {
    let mut head = [0; 132];
    let mut length = 0;
    for (place, letter) in head.iter_mut().zip(text.chars()) {
        *place = u8::try_from(u32::from(letter)).ok()?;
        length += 1;
    }
    magic(&head[..length])
}

fn encoded(text: &str) -> Option<Content> {
    let letters = text.as_bytes();
    let head = &letters[..letters.len().min(HEAD_LETTERS)];
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=\r\n ".contains(byte);
    if letters.len() < BASE64_LETTERS_MIN || !head.iter().all(is_letter) {
        return None;
    }
    let head: Vec<u8> = head.iter().copied().filter(|byte| !b"=\r\n ".contains(byte)).collect();
    let whole = &head[..head.len() / 4 * 4];
    LENIENT.decode(whole).ok().and_then(|bytes| magic(&bytes))
}

/// The kind of file that begins with these bytes.
fn magic(head: &[u8]) -> Option<Content> {
    let at = |offset: usize, bytes: &[u8]| head.get(offset..offset + bytes.len()) == Some(bytes);
    let is_jpeg = at(0, b"\xff\xd8\xff") && head.get(3).is_some_and(|&marker| marker >= 0xc0);
    let is_bitmap = at(0, b"BM") && at(6, &[0; 4]);
    let is_image = is_jpeg
        || is_bitmap
        || at(0, b"\x89PNG\r\n\x1a\n")
        || at(0, b"GIF87a")
        || at(0, b"GIF89a")
        || (at(0, b"RIFF") && at(8, b"WEBP"))
        || at(0, b"II*\0")
        || at(0, b"MM\0*");
    if is_image {
        Some(Content::Image)
    } else if at(128, b"DICM") {
        Some(Content::Dicom)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::{BASE64, BASE64URL_NOPAD};

    use super::*;

    const ALL: &[Content] = &[Content::Image, Content::Dicom];

    fn files() -> Vec<(&'static str, Vec<u8>)> {
        let rest = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let with = |head: &[u8]| [head, rest].concat();
        let mut dicom = vec![0; 128];
        dicom.extend_from_slice(b"DICM");
        vec![
            ("png", with(b"\x89PNG\r\n\x1a\n")),
            ("jpeg", with(b"\xff\xd8\xff\xe0\0\x10JFIF")),
            ("gif", with(b"GIF89a")),
            ("webp", with(b"RIFF\x10\0\0\0WEBPVP8 ")),
            ("tiff", with(b"II*\0\x08\0\0\0")),
            ("bmp", with(b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0")),
            ("dicom", with(&dicom)),
        ]
    }

    #[test]
    fn files_are_recognised_raw_and_in_both_base64_alphabets() {
        for (name, file) in files() {
            let raw: String = file.iter().map(|&byte| char::from(byte)).collect();
            assert!(is_refused(&raw, ALL), "{name} raw");
            assert!(is_refused(&BASE64.encode(&file), ALL), "{name} in base64");
            assert!(is_refused(&BASE64URL_NOPAD.encode(&file), ALL), "{name} in URL-safe base64");
            let url = format!("data:application/octet-stream;base64,{}", BASE64.encode(&file));
            assert!(is_refused(&url, ALL), "{name} in a data URL without its type");
        }
    }

    #[test]
    fn media_types_of_data_urls_are_enough() {
        assert!(is_refused("data:image/svg+xml,<svg/>", ALL));
        assert!(is_refused("DATA:application/dicom;base64,", ALL));
        assert!(!is_refused("data:image/svg+xml,<svg/>", &[Content::Dicom]));
    }

    #[test]
    fn only_refused_kinds_are_refused() {
        for (name, file) in files() {
            let expected = if name == "dicom" { Content::Dicom } else { Content::Image };
            let other: Vec<Content> =
                ALL.iter().copied().filter(|&kind| kind != expected).collect();
            assert!(!is_refused(&BASE64.encode(&file), &other), "{name}");
        }
    }

    const RUN: &[Content] = &[Content::Base64];

    #[test]
    fn long_runs_of_base64_are_recognised_wherever_they_stand() {
        for length in [48, 49, 50, 75, 300, 3_000] {
            for seed in 0..50_u64 {
                let bytes: Vec<u8> = without_pattern(seed, length);
                for text in [BASE64.encode(&bytes), BASE64URL_NOPAD.encode(&bytes)] {
                    assert!(is_refused(&text, RUN), "{text}");
                    assert!(is_refused(&format!("data:application/zip;base64,{text}"), RUN));
                    assert!(is_refused(
                        &format!("https://shop.example/files/{}", BASE64URL_NOPAD.encode(&bytes)),
                        RUN
                    ));
                    assert!(!is_refused(&text, &[]), "only if it is asked for");
                }
                let lines = BASE64.encode(&bytes);
                let lines: Vec<String> = lines
                    .as_bytes()
                    .chunks(76)
                    .map(|line| String::from_utf8_lossy(line).into())
                    .collect();
                assert!(is_refused(&lines.join("\r\n"), RUN));
            }
        }
        let text = "Patient: Jane Doe, born 1971-03-05, lower left molar, ".repeat(2);
        assert!(is_refused(&BASE64.encode(text.as_bytes()), RUN));
    }

    /// Bytes without a pattern.
    fn without_pattern(seed: u64, length: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(next).collect()
    }

    #[test]
    fn words_paths_and_hashes_are_no_runs() {
        for text in [
            "https://www.example.com/blog/2024/05/how-we-measure-what-people-do-with-our-scanner/comments/page/2",
            "/Files/Downloads/Reports/2024/FinalVersionOfTheReport/Chapter1/AppendixB/Figures/Overview12",
            "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a089f86d081884c7d659a2feaa0c55ad015",
            "ThisIsAVeryLongNameInCamelCaseThatSomebodyGaveToAnEventWithoutThinkingOfWhoReadsIt",
            "this_is_a_very_long_name_in_snake_case_that_somebody_gave_to_an_event_without_thinking_2024",
            "01234567890123456789012345678901234567890123456789012345678901234567890123456789",
            "https://shop.example/spring?gclid=Cj0KCQjwxuCnBhDLARIsAB-cq1ouJZlVKAVPMsXnYrgQVF2t1Q2AoUHjTVtbrQTYHGLCBF4",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0",
            "3F2504E0-4F89-11D3-9A0C-0305E82C3301/3F2504E0-4F89-11D3-9A0C-0305E82C3301/3f2504e0",
        ] {
            assert!(!is_refused(text, RUN), "{text}");
        }
    }

    #[test]
    fn ordinary_texts_are_not_files() {
        for text in [
            "",
            "/9j/",
            "/9j/annual-report",
            "BMW of the year 2024",
            "GIF89 is a format",
            "https://example.com/iVBORw0KGgo",
            "MM\u{e4}nner und Frauen",
            "X1-2031-000417",
            "d9428888-122b-11e1-b85c-61cd3cbb3210",
        ] {
            assert!(!is_refused(text, ALL), "{text}");
        }
    }
}
