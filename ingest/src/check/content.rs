//! Recognises files in texts by their first bytes: raw, as `data:` URLs, and in base64.

use data_encoding::{Encoding, Specification};
use schemas::model::Content;
use std::sync::LazyLock;

/// Shorter texts hold no file.
const BYTES_MIN: usize = 12;
/// Letters of base64 that hold the first 132 bytes: a DICOM file says so behind 128 bytes of preamble.
const HEAD_LETTERS: usize = 176;
/// Base64 of fewer letters is taken for a word: `/9j/` alone is a path.
const BASE64_LETTERS_MIN: usize = 24;

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
