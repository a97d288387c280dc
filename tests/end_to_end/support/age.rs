//! Opens files of the age format, as the requester of an export does; for tests alone.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;
use data_encoding::BASE64_NOPAD;

const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// A key that was made for tests, with another implementation.
pub(crate) const KNOWN: &str =
    "AGE-SECRET-KEY-1QQF7RRT3U5FQMHX550JQ2EPD38LX2XUGUQ8XJHXT2RFHGL8LUPEQ2NZNCG";

/// A secret key.
pub(crate) struct Identity(PrivateKey);

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

impl Identity {
    /// A new one.
    pub(crate) fn generate() -> Self {
        Self(PrivateKey::generate(&X25519).expect("the system gives random bytes"))
    }

    /// Of a text that begins with `AGE-SECRET-KEY-1`; its checksum is not looked at.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let data = text.strip_prefix("AGE-SECRET-KEY-1")?.to_ascii_lowercase();
        let values = data.bytes().map(|byte| LETTERS.iter().position(|letter| *letter == byte));
        let values: Vec<usize> = values.collect::<Option<_>>()?;
        let bytes = regrouped(&values[..values.len() - 6], 5, 8, false);
        PrivateKey::from_private_key(&X25519, &bytes).ok().map(Self)
    }

    /// The public key, as requests name it.
    pub(crate) fn recipient(&self) -> String {
        let key = self.0.compute_public_key().expect("every key has a public one");
        let bytes: Vec<usize> = key.as_ref().iter().map(|byte| usize::from(*byte)).collect();
        let mut values: Vec<usize> =
            regrouped(&bytes, 8, 5, true).into_iter().map(usize::from).collect();
        let prefix = [3, 3, 3, 0, 1, 7, 5];
        let rest = remainder(prefix.iter().chain(&values).chain(&[0; 6])) ^ 1;
        values.extend((0..6).map(|index| rest >> (5 * (5 - index)) & 31));
        let letters = values.iter().map(|value| char::from(LETTERS[*value]));
        format!("age1{}", letters.collect::<String>())
    }

    /// What a file holds; none if it is for somebody else or not as it was written.
    pub(crate) fn open(&self, file: &[u8]) -> Option<Vec<u8>> {
        let end = file.windows(4).position(|four| four == b"--- ")?;
        let header = std::str::from_utf8(&file[..end + 3]).ok()?;
        let mut lines = header.lines().skip(1);
        let share = decoded(lines.next()?.strip_prefix("-> X25519 ")?)?;
        let mut wrapped = decoded(lines.next()?)?;
        let own = self.0.compute_public_key().ok()?;
        let salt = [share.as_slice(), own.as_ref()].concat();
        let wrap = agree(&self.0, UnparsedPublicKey::new(&X25519, &share), (), |shared| {
            Ok(derive(&salt, shared, b"age-encryption.org/v1/X25519"))
        });
        let key = chacha(&wrap.ok()?)?;
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let file_key = key.open_in_place(nonce, Aad::empty(), &mut wrapped).ok()?.to_vec();
        let rest = &file[end + 4..];
        let line = rest.iter().position(|byte| *byte == b'\n')?;
        let proof = decoded(std::str::from_utf8(&rest[..line]).ok()?)?;
        let proving = hmac::Key::new(hmac::HMAC_SHA256, &derive(&[], &file_key, b"header"));
        hmac::verify(&proving, header.as_bytes(), &proof).ok()?;
        let (nonce, body) = rest[line + 1..].split_at_checked(16)?;
        let key = chacha(&derive(nonce, &file_key, b"payload"))?;
        let mut text = Vec::new();
        let chunks = body.len().div_ceil((64 << 10) + 16);
        for (number, chunk) in body.chunks((64 << 10) + 16).enumerate() {
            let mut nonce = [0; 12];
            nonce[3..11].copy_from_slice(&(number as u64).to_be_bytes());
            nonce[11] = u8::from(number + 1 == chunks);
            let nonce = Nonce::assume_unique_for_key(nonce);
            let mut chunk = chunk.to_vec();
            text.extend_from_slice(key.open_in_place(nonce, Aad::empty(), &mut chunk).ok()?);
        }
        Some(text)
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64_NOPAD.decode(text.as_bytes()).ok()
}

fn chacha(key: &[u8; 32]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?))
}

fn derive(salt: &[u8], secret: &[u8], what: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret);
    let info = [what];
    let expanded = extracted.expand(&info, Length).expect("32 bytes are not too many");
    expanded.fill(&mut key).expect("the length is that of the key");
    key
}

fn regrouped(values: &[usize], from: u32, to: u32, pads: bool) -> Vec<u8> {
    let (mut held, mut bits, mut out) = (0_usize, 0, Vec::new());
    for value in values {
        held = held << from | value;
        bits += from;
        while bits >= to {
            bits -= to;
            out.push(u8::try_from(held >> bits & ((1 << to) - 1)).expect("at most eight bits"));
            held &= (1 << bits) - 1;
        }
    }
    if pads && bits > 0 {
        out.push(u8::try_from(held << (to - bits)).expect("at most eight bits"));
    }
    out
}

fn remainder<'a>(values: impl Iterator<Item = &'a usize>) -> usize {
    const PARTS: [usize; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |rest, value| {
        let next = (rest & 0x01ff_ffff) << 5 ^ value;
        let out = rest >> 25;
        (0..5).filter(|bit| out >> bit & 1 == 1).fold(next, |next, bit| next ^ PARTS[bit])
    })
}
