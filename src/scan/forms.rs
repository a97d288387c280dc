//! The forms in which a value could have come out.

use std::fmt;
use std::fmt::Write as _;
use std::net::IpAddr;

use aws_lc_rs::digest;
use data_encoding::{BASE64, BASE64URL, HEXLOWER};
use md5::{Digest as _, Md5};

/// Bytes of a hash that are looked for: one cut to 128 bits is found as well.
const HASH_BYTES: usize = 16;

/// A form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// As it is, upper and lower case alike.
    Text,
    /// `%C3%A9`, with all octets encoded or only those that must be.
    PercentEncoded,
    /// `\u00e9`, `\"`: as JSON has it.
    Escaped,
    /// The octets that an address or a UUID stands for.
    Octets,
    /// Two digits an octet.
    Hex,
    /// RFC 4648, both alphabets, at any of the three alignments.
    Base64,
    /// The hash, raw.
    Hash(Hash),
    /// The hash, in hexadecimal.
    HashHex(Hash),
}

/// An unsalted hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// BLAKE3, without a key.
    Blake3,
}

impl Hash {
    /// Every hash that is looked for.
    pub const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Blake3];

    /// The hash of `bytes`, at least 16 bytes of it.
    #[must_use]
    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::digest(bytes).to_vec(),
            Self::Sha1 => {
                digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref().to_vec()
            }
            Self::Sha256 => digest::digest(&digest::SHA256, bytes).as_ref().to_vec(),
            Self::Blake3 => blake3::hash(bytes).as_bytes().to_vec(),
        }
    }
}

impl Form {
    /// Whether upper and lower case make a difference in this form.
    #[must_use]
    pub fn is_case_sensitive(self) -> bool {
        matches!(self, Self::Octets | Self::Base64 | Self::Hash(_))
    }
}

/// What a person reads: `base64`, `Sha256 in hex`.
impl fmt::Display for Form {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => out.write_str("text"),
            Self::PercentEncoded => out.write_str("percent-encoded text"),
            Self::Escaped => out.write_str("escaped text"),
            Self::Octets => out.write_str("octets"),
            Self::Hex => out.write_str("hex"),
            Self::Base64 => out.write_str("base64"),
            Self::Hash(hash) => write!(out, "{hash:?}"),
            Self::HashHex(hash) => write!(out, "{hash:?} in hex"),
        }
    }
}

/// Hands every form of `value` to `add`. Forms without case come in any case; the same bytes can come
/// more than once.
pub(super) fn of(value: &str, add: &mut dyn FnMut(Form, &[u8])) {
    let mut spellings = vec![value.to_owned(), value.to_lowercase(), value.to_uppercase()];
    spellings.dedup();
    for spelling in &spellings {
        add(Form::Text, spelling.as_bytes());
        percent_encoded(spelling, add);
        escaped(spelling, add);
        encoded(spelling.as_bytes(), add);
    }
    if let Some(octets) = octets(value) {
        add(Form::Octets, &octets);
        encoded(&octets, add);
    }
}

/// Hands the forms of a hash to `add`: there is no text to spell, and no hash of it that anybody would keep.
pub(super) fn of_hash(hash: &[u8], add: &mut dyn FnMut(Form, &[u8])) {
    add(Form::Octets, hash);
    add(Form::Hex, HEXLOWER.encode(hash).as_bytes());
    base64(hash, add);
}

fn encoded(bytes: &[u8], add: &mut dyn FnMut(Form, &[u8])) {
    add(Form::Hex, HEXLOWER.encode(bytes).as_bytes());
    base64(bytes, add);
    for hash in Hash::ALL {
        let digest = hash.of(bytes);
        add(Form::Hash(hash), &digest[..HASH_BYTES]);
        add(Form::HashHex(hash), HEXLOWER.encode(&digest[..HASH_BYTES]).as_bytes());
    }
}

/// The characters that `bytes` alone decide, wherever they stand in what was encoded.
fn base64(bytes: &[u8], add: &mut dyn FnMut(Form, &[u8])) {
    for before in 0..3 {
        let shifted = [&[0; 2][..before], bytes].concat();
        let (start, end) = ((before * 8).div_ceil(6), shifted.len() * 8 / 6);
        for alphabet in [BASE64, BASE64URL] {
            add(Form::Base64, &alphabet.encode(&shifted).as_bytes()[start..end]);
        }
    }
}

fn percent_encoded(value: &str, add: &mut dyn FnMut(Form, &[u8])) {
    let encode = |keep: &dyn Fn(u8) -> bool| {
        value.bytes().fold(String::new(), |mut text, byte| {
            if keep(byte) {
                text.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(text, "%{byte:02x}");
            }
            text
        })
    };
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let texts = [
        encode(&unreserved),
        encode(&unreserved).replace("%20", "+"),
        encode(&|byte| unreserved(byte) || b"/:@!$&'()*,;=+".contains(&byte)),
        encode(&|_| false),
    ];
    for text in texts.iter().filter(|text| *text != value) {
        add(Form::PercentEncoded, text.as_bytes());
    }
}

fn escaped(value: &str, add: &mut dyn FnMut(Form, &[u8])) {
    let quoted = serde_json::Value::from(value).to_string();
    let minimal = &quoted[1..quoted.len() - 1];
    let ascii = minimal.chars().fold(String::new(), |mut text, character| {
        if character.is_ascii() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
        text
    });
    for text in [minimal, &ascii] {
        if text != value {
            add(Form::Escaped, text.as_bytes());
        }
    }
}

/// The sixteen octets of a UUID or an IPv6 address. The four of an IPv4 address stand everywhere.
fn octets(value: &str) -> Option<Vec<u8>> {
    if let Ok(uuid) = uuid::Uuid::try_parse(value) {
        return Some(uuid.into_bytes().to_vec());
    }
    match value.parse() {
        Ok(IpAddr::V6(address)) => Some(address.octets().to_vec()),
        Ok(IpAddr::V4(_)) | Err(_) => None,
    }
}
