//! Files that only the requester can open: the age format, version 1, to one X25519 recipient, written and never read.
//!
//! The format is a header, in which a fresh file key is wrapped for the recipient, and the text in chunks under a key that
//! is derived of it; see age-encryption.org/v1. Of its parts none is our own: X25519, HKDF, HMAC and ChaCha20-Poly1305 are
//! those of the library that seals frames. The crate of that name would do the same, but brings 55 others, among them
//! two of the primitives a second time, and changes how half of the present ones are built.

use std::fmt;

use anyhow::Context;
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{
    EphemeralPrivateKey, PublicKey, UnparsedPublicKey, X25519, agree_ephemeral,
};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SystemRandom, fill};
use data_encoding::BASE64_NOPAD;

/// Letters of a recipient, each five bits.
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// What the checksum of a recipient is divided by, for each bit that falls out.
const BECH32_GENERATOR: [u32; 5] =
    [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
/// Text in one chunk, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
const KEY_BYTES: usize = 32;
const FILE_KEY_BYTES: usize = 16;

/// Whom a file is for: `age1…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient([u8; KEY_BYTES]);

/// A key is whose it is: it is not shown.
impl fmt::Debug for Recipient {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Recipient")
    }
}

impl Recipient {
    /// Reads `age1…`.
    ///
    /// # Errors
    ///
    /// If it is not one; it is not quoted.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let key = bech32("age", text.trim()).and_then(|bytes| bytes.try_into().ok());
        key.map(Self).context("not a public key of age, which begins with `age1`")
    }

    /// The file that opens to `text` for this recipient alone.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes, or the key is none that anything can be encrypted to.
    pub fn seal(&self, text: &[u8]) -> anyhow::Result<Vec<u8>> {
        self.sealed(text).context("an export cannot be encrypted to this key")
    }

    fn sealed(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut file_key = [0; FILE_KEY_BYTES];
        fill(&mut file_key).ok()?;
        let mut out = self.header(&file_key)?;
        let mut nonce = [0; FILE_KEY_BYTES];
        fill(&mut nonce).ok()?;
        out.extend_from_slice(&nonce);
        let key = chacha(&derive(&nonce, &file_key, b"payload")?)?;
        let mut chunks = text.chunks(CHUNK_BYTES).peekable();
        let mut counter: u64 = 0;
        loop {
            // An empty text has one chunk too.
            let mut chunk = chunks.next().unwrap_or_default().to_vec();
            let is_last = chunks.peek().is_none();
            let mut nonce = [0; NONCE_LEN];
            nonce[3..11].copy_from_slice(&counter.to_be_bytes());
            nonce[11] = u8::from(is_last);
            let nonce = Nonce::assume_unique_for_key(nonce);
            key.seal_in_place_append_tag(nonce, Aad::empty(), &mut chunk).ok()?;
            out.extend_from_slice(&chunk);
            if is_last {
                return Some(out);
            }
            counter += 1;
        }
    }

    /// The wrapped file key, and its proof that the header is whole.
    fn header(&self, file_key: &[u8; FILE_KEY_BYTES]) -> Option<Vec<u8>> {
        let own = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).ok()?;
        let share: PublicKey = own.compute_public_key().ok()?;
        let salt = [share.as_ref(), &self.0].concat();
        let recipient = UnparsedPublicKey::new(&X25519, &self.0);
        let wrap = agree_ephemeral(own, recipient, (), |shared| {
            derive(&salt, shared, b"age-encryption.org/v1/X25519").ok_or(())
        });
        let mut wrapped = file_key.to_vec();
        // The key is used once.
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        chacha(&wrap.ok()?)?.seal_in_place_append_tag(nonce, Aad::empty(), &mut wrapped).ok()?;
        let (share, wrapped) = (BASE64_NOPAD.encode(share.as_ref()), BASE64_NOPAD.encode(&wrapped));
        let header = format!("age-encryption.org/v1\n-> X25519 {share}\n{wrapped}\n---");
        let proof = hmac::Key::new(hmac::HMAC_SHA256, &derive(&[], file_key, b"header")?);
        let proof = hmac::sign(&proof, header.as_bytes());
        Some(format!("{header} {}\n", BASE64_NOPAD.encode(proof.as_ref())).into_bytes())
    }
}

fn chacha(key: &[u8; KEY_BYTES]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?))
}

/// As many bytes as a key has.
struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

fn derive(salt: &[u8], secret: &[u8], what: &[u8]) -> Option<[u8; KEY_BYTES]> {
    let mut key = [0; KEY_BYTES];
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret);
    extracted.expand(&[what], Length).ok()?.fill(&mut key).ok()?;
    Some(key)
}

/// The bytes of a text with this prefix, if its checksum is right (BIP 173).
fn bech32(prefix: &str, text: &str) -> Option<Vec<u8>> {
    let (found, data) = text.rsplit_once('1')?;
    if found != prefix {
        return None;
    }
    let letter = |letter: u8| BECH32.iter().position(|known| *known == letter);
    let values: Option<Vec<u32>> =
        data.bytes().map(|byte| u32::try_from(letter(byte)?).ok()).collect();
    let values = values?;
    let high = prefix.bytes().map(|byte| u32::from(byte >> 5));
    let low = prefix.bytes().map(|byte| u32::from(byte & 31));
    let all = high.chain([0]).chain(low).chain(values.iter().copied());
    let rest = all.fold(1, |rest: u32, value| {
        let next = (rest & 0x01ff_ffff) << 5 ^ value;
        let out = rest >> 25;
        let generator = BECH32_GENERATOR.iter().enumerate();
        generator.filter(|(bit, _)| out >> bit & 1 == 1).fold(next, |next, (_, part)| next ^ part)
    });
    let body = values.len().checked_sub(6).filter(|_| rest == 1)?;
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for value in &values[..body] {
        held = (held << 5 | value) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    // What is left over is padding.
    (bits < 5 && held & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
#[path = "../../tests/end_to_end/support/age.rs"]
pub(crate) mod reader;

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with another implementation, to that key.
    const FOREIGN: &str = include_str!("age/foreign.age.b64");
    const IDENTITY: &str = reader::KNOWN;
    const RECIPIENT: &str = "age10wqdrk7qlscyrhzngc4q7k69f4wuml83hse807scasdrsyl6954q8tpfjh";

    #[test]
    fn what_another_implementation_wrote_is_read_by_the_reader_of_the_tests() {
        let text: String = FOREIGN.split_whitespace().collect();
        let file = data_encoding::BASE64.decode(text.as_bytes()).unwrap();
        let identity = reader::Identity::parse(IDENTITY).unwrap();
        assert_eq!(identity.recipient(), RECIPIENT);
        assert_eq!(identity.open(&file).unwrap(), b"written elsewhere\n");
    }

    #[test]
    fn every_length_opens_for_its_recipient_and_for_nobody_else() {
        let identity = reader::Identity::parse(IDENTITY).unwrap();
        let recipient = Recipient::parse(RECIPIENT).unwrap();
        for length in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES] {
            let text = vec![b'x'; length];
            let mut file = recipient.seal(&text).unwrap();
            assert_eq!(identity.open(&file).unwrap(), text, "{length}");
            assert!(reader::Identity::generate().open(&file).is_none());
            let last = file.len() - 1;
            file[last] ^= 1;
            assert!(identity.open(&file).is_none());
        }
        let (one, two) = (recipient.seal(b"same").unwrap(), recipient.seal(b"same").unwrap());
        assert_ne!(one, two);
    }

    #[test]
    fn a_key_with_a_wrong_letter_is_refused_and_not_quoted() {
        let wrong = RECIPIENT.replace('q', "p");
        let shorter = &RECIPIENT[..RECIPIENT.len() - 1];
        for text in ["", "age1", "hello", IDENTITY, shorter, &wrong, &RECIPIENT.to_uppercase()] {
            if text == RECIPIENT {
                continue;
            }
            let error = Recipient::parse(text).unwrap_err().to_string();
            assert!(text.len() < 5 || !error.contains(text), "{error}");
        }
        // The point of order one: whatever is encrypted to it, anybody can read.
        assert!(Recipient([0; KEY_BYTES]).seal(b"text").is_err());
    }
}
