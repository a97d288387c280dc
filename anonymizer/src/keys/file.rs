//! Files of the ring: the key-encryption key, the marker that proves it, and one sealed file a key.
//!
//! ```text
//! key file = "QKEY" ‖ 1 ‖ le64(created, ms) ‖ commitment nonce (16) ‖ nonce (12) ‖ AES-256-GCM(key) (32 + 16)
//!            authenticated with it: what stands before the nonce, and the key's name
//! ```

use std::fs;
use std::path::Path;

use schemas::Millis;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::name::KeyName;
use crate::crypto::{KEY_BYTES, NONCE_BYTES, TAG_BYTES, open_in_place, random, seal_tail};
use crate::error::Error;
use crate::shelf::write_new;
use crate::vault::Secret;

const MAGIC: &[u8; 5] = b"QKEY\x01";
const COMMITMENT_NONCE_BYTES: usize = 16;
/// Magic, creation time, commitment nonce.
const HEAD_BYTES: usize = MAGIC.len() + 8 + COMMITMENT_NONCE_BYTES;
const FILE_BYTES: usize = HEAD_BYTES + NONCE_BYTES + KEY_BYTES + TAG_BYTES;
/// Names what commitments are for; part of the format, never to be changed.
const COMMITMENT_CONTEXT: &str = "quorate 2026-11 v1 key commitment";
/// Authenticated with the marker's proof.
const PROOF_CONTEXT: &[u8] = b"quorate 2026-11 v1 key ring";

/// Name of the marker.
pub(super) const MARKER: &str = "ring.json";
/// Where the ring remembers up to which line the ledger went.
pub(super) const HEAD: &str = "ledger.head";
/// There while the key-encryption key is rotated: a marker under the new one.
pub(super) const ROTATING: &str = "rotating";
/// Folder of keys.
pub(super) const KEYS: &str = "keys";

/// Name of a key's file.
pub(super) fn key_file(name: &KeyName) -> String {
    format!("{KEYS}/{}.key", name.file_stem())
}

/// A key as it lies in its file.
pub(super) struct KeyFile {
    pub(super) created: Millis,
    pub(super) key: Secret,
    nonce: [u8; COMMITMENT_NONCE_BYTES],
}

impl KeyFile {
    pub(super) fn random(created: Millis) -> Result<Self, Error> {
        Ok(Self { created, key: Secret::new(&Zeroizing::new(random()?)), nonce: random()? })
    }

    /// Nonce and hash of the key, in hexadecimal: says which key it was, and nothing about it.
    pub(super) fn commitment(&self) -> String {
        let mut material = Zeroizing::new(Vec::with_capacity(COMMITMENT_NONCE_BYTES + KEY_BYTES));
        material.extend_from_slice(&self.nonce);
        material.extend_from_slice(self.key.expose().as_slice());
        let hash = blake3::derive_key(COMMITMENT_CONTEXT, &material);
        hexadecimal(&self.nonce) + &hexadecimal(&hash)
    }

    /// The bytes of its file.
    pub(super) fn sealed(&self, name: &KeyName, kek: &Secret) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(FILE_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.created.0.to_le_bytes());
        bytes.extend_from_slice(&self.nonce);
        let aad = authenticated(&bytes, name);
        let nonce = random()?;
        bytes.extend_from_slice(&nonce);
        bytes.extend_from_slice(self.key.expose().as_slice());
        seal_tail(kek, nonce, &aad, &mut bytes, HEAD_BYTES + NONCE_BYTES)?;
        Ok(bytes)
    }

    /// Reads what [`KeyFile::sealed`] gave.
    pub(super) fn open(mut bytes: Vec<u8>, name: &KeyName, kek: &Secret) -> Result<Self, Error> {
        let damaged = || Error::DamagedKey(name.to_string());
        if bytes.len() != FILE_BYTES || !bytes.starts_with(MAGIC) {
            return Err(damaged());
        }
        let (head, sealed) = bytes.split_at_mut(HEAD_BYTES);
        let (nonce, sealed) = sealed.split_at_mut(NONCE_BYTES);
        let nonce = (*nonce).try_into().expect("split at the length of a nonce");
        let aad = authenticated(head, name);
        let key = open_in_place(kek, nonce, &aad, sealed).ok_or_else(damaged)?;
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        secret.copy_from_slice(key);
        key.zeroize();
        let (created, nonce) = head[MAGIC.len()..].split_at(8);
        let created = i64::from_le_bytes(created.try_into().expect("eight bytes"));
        let nonce = nonce.try_into().expect("the rest of the head");
        Ok(Self { created: Millis(created), key: Secret::new(&secret), nonce })
    }
}

fn authenticated(head: &[u8], name: &KeyName) -> Vec<u8> {
    [head, name.to_string().as_bytes()].concat()
}

/// What makes a folder a key ring, and shows whether a key-encryption key belongs to it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    format: u32,
    /// Random, of this ring for ever: data remembers whose keys it needs. Empty for a ring of before there were ids.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    id: String,
    /// Nonce and tag of an empty message sealed under the key-encryption key, in hexadecimal.
    proof: String,
}

impl Marker {
    /// Reads what [`Marker::text`] gave.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Error> {
        let damaged = || Error::DamagedKey("ring.json".to_owned());
        let marker: Self = serde_json::from_slice(text).map_err(|_| damaged())?;
        if matches!(marker.format, 1 | 2) { Ok(marker) } else { Err(damaged()) }
    }

    /// A marker for a new ring under `kek`.
    pub(super) fn new(kek: &Secret) -> Result<Self, Error> {
        Self { format: 2, id: hexadecimal(&random::<16>()?), proof: String::new() }.under(kek)
    }

    /// The same ring under another key-encryption key.
    pub(super) fn under(self, kek: &Secret) -> Result<Self, Error> {
        let nonce = random()?;
        let mut proof = nonce.to_vec();
        seal_tail(kek, nonce, &self.authenticated(), &mut proof, NONCE_BYTES)?;
        Ok(Self { proof: hexadecimal(&proof), ..self })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    fn authenticated(&self) -> Vec<u8> {
        [PROOF_CONTEXT, self.id.as_bytes()].concat()
    }

    /// The content of its file.
    pub(super) fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a number and texts are JSON")
    }

    /// Refuses any key-encryption key but the one this ring was made with.
    pub(super) fn check(&self, kek: &Secret, kek_file: &Path) -> Result<(), Error> {
        let wrong =
            || Error::WrongKek { path: kek_file.to_owned(), why: "the ring was made with another" };
        let proof: [u8; NONCE_BYTES + TAG_BYTES] =
            from_hexadecimal(&self.proof).ok_or_else(wrong)?;
        let (nonce, tag) = proof.split_at(NONCE_BYTES);
        let nonce = nonce.try_into().expect("split at the length of a nonce");
        open_in_place(kek, nonce, &self.authenticated(), &mut tag.to_vec()).ok_or_else(wrong)?;
        Ok(())
    }
}

/// Makes a key-encryption key of the system's randomness, readable by its owner alone.
pub(super) fn write_kek(path: &Path) -> Result<(), Error> {
    let kek = Zeroizing::new(random::<KEY_BYTES>()?);
    let text = Zeroizing::new(hexadecimal(kek.as_slice()) + "\n");
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    write_new(path, text.as_bytes())?;
    Ok(())
}

/// Reads a key-encryption key: 64 hexadecimal digits in a file that only its owner can read.
pub(super) fn read_kek(path: &Path) -> Result<Secret, Error> {
    let wrong = |why| Error::WrongKek { path: path.to_owned(), why };
    let file = fs::metadata(path).map_err(Error::io("read", path))?;
    if others_may_read(&file) {
        return Err(wrong("others than its owner may read it (chmod 600)"));
    }
    let text = Zeroizing::new(fs::read(path).map_err(Error::io("read", path))?);
    let text = std::str::from_utf8(&text).map_err(|_| wrong("it is not text"))?;
    let key = from_hexadecimal(text.trim_end())
        .ok_or_else(|| wrong("it is not 64 hexadecimal digits"))?;
    Ok(Secret::new(&Zeroizing::new(key)))
}

#[cfg(unix)]
fn others_may_read(file: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn others_may_read(_: &fs::Metadata) -> bool {
    false
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    bytes.iter().flat_map(digits).map(char::from).collect()
}

pub(crate) fn from_hexadecimal<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit =
            |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        *byte = (digit(digits[0])? << 4) | digit(digits[1])?;
    }
    Some(bytes)
}
