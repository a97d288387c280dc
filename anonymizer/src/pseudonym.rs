//! Pseudonyms and event keys: keyed BLAKE3, 128 bits, under random keys that die.
//!
//! ```text
//! K_epoch   = 32 bytes of the system's generator, one per (family, epoch), never derived
//! K_field   = derive_key("quorate 2026-11 v1 identifier pseudonym",
//!                        K_epoch ‖ lp(controller) ‖ lp(family) ‖ lp(field) ‖ le64(epoch))
//! pseudonym = keyed_hash(K_field, lp(tag) ‖ canonical(value))[..16]
//! ```
//!
//! `lp` puts a length before each part. Equal values in another field, family, controller or epoch give
//! unrelated pseudonyms; whoever holds K_epoch can try out all serials or addresses, so what protects is that
//! the key is secret and then destroyed.

use std::net::IpAddr;
use std::sync::Arc;

use zeroize::{Zeroize, Zeroizing};

use crate::crypto::length_prefixed;
use crate::keys::Key;
use crate::vault::Secret;

/// Names what a derived key is for; part of the format, never to be changed.
const IDENTIFIER_CONTEXT: &str = "quorate 2026-11 v1 identifier pseudonym";
/// As above, for the suppression list.
const SUPPRESSED_CONTEXT: &str = "quorate 2026-11 v1 suppressed contributor";
/// As above, for keys of events.
const EVENT_CONTEXT: &str = "quorate 2026-11 v1 event key";

/// Bytes of a pseudonym and of an event key.
pub(crate) const HASH_BYTES: usize = 16;
/// A pseudonym, or the hash of an event key.
pub(crate) type Hash = [u8; HASH_BYTES];

/// An identifier in the one form that is hashed: equal things look equal, different things never do.
pub(crate) struct Canonical<'a> {
    tag: &'static str,
    /// Lower-case hexadecimal of MAC addresses and UUIDs; empty for what is hashed as it stands.
    folded: [u8; 32],
    folded_length: usize,
    text: &'a str,
}

impl<'a> Canonical<'a> {
    /// The canonical form of a text, or none if it must not be hashed at all: nothing but white space, or an
    /// e-mail address.
    ///
    /// White space around it goes. Twelve hexadecimal digits, with or without `:`, `-` or `.` between them, are
    /// a MAC address, thirty-two a UUID: both lose separators, braces and case. All else keeps its case.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || text.contains('@') {
            return None;
        }
        let mut folded = [0; 32];
        let folded_length = fold_hexadecimal(text, &mut folded);
        let (tag, folded_length) = match folded_length {
            12 => ("mac", 12),
            32 => ("uuid", 32),
            _ => ("text", 0),
        };
        Some(Self { tag, folded, folded_length, text })
    }

    /// Writes what is hashed of it: tag and text, each after its length.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        length_prefixed(out, self.tag.as_bytes());
        out.extend_from_slice(self.bytes());
    }

    fn bytes(&self) -> &[u8] {
        if self.folded_length == 0 {
            self.text.as_bytes()
        } else {
            &self.folded[..self.folded_length]
        }
    }
}

/// Writes the hexadecimal digits of `text` in lower case and counts them; 0 if there is anything else in it
/// than digits and the separators of MAC addresses and UUIDs, or more digits than fit.
fn fold_hexadecimal(text: &str, out: &mut [u8; 32]) -> usize {
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    let mut length = 0;
    for byte in inner.bytes() {
        match byte {
            b':' | b'-' | b'.' => {}
            _ if byte.is_ascii_hexdigit() && length < out.len() => {
                out[length] = byte.to_ascii_lowercase();
                length += 1;
            }
            _ => return 0,
        }
    }
    length
}

/// Writes what is hashed of a visit: whoever comes to `site` from `address` with `user_agent`.
pub(crate) fn write_visit(out: &mut Vec<u8>, site: &str, address: IpAddr, user_agent: &str) {
    length_prefixed(out, b"visit");
    length_prefixed(out, site.as_bytes());
    match address.to_canonical() {
        IpAddr::V4(address) => length_prefixed(out, &address.octets()),
        IpAddr::V6(address) => length_prefixed(out, &address.octets()),
    }
    length_prefixed(out, user_agent.as_bytes());
}

/// The key of one field in one epoch. Neither `Debug` nor `Clone`.
pub(crate) struct FieldKey(Secret);

impl FieldKey {
    /// Derives the key of `field` from its epoch's. The visit pseudonym's field is the empty name.
    pub(crate) fn of(key: &Key, controller: &str, family: &str, field: &str, epoch: i32) -> Self {
        Self(derive(IDENTIFIER_CONTEXT, key, &[controller, family, field], i64::from(epoch)))
    }

    /// The pseudonym of a text, or none if it has no canonical form. `scratch` is room to work in.
    pub(crate) fn text(&self, text: &str, scratch: &mut Vec<u8>) -> Option<Hash> {
        let canonical = Canonical::of(text)?;
        scratch.clear();
        canonical.write(scratch);
        Some(keyed(&self.0, scratch))
    }

    /// The pseudonym of what [`Canonical::write`] or [`write_visit`] wrote.
    pub(crate) fn canonical(&self, written: &[u8]) -> Hash {
        keyed(&self.0, written)
    }

    /// The pseudonym of a number.
    pub(crate) fn integer(&self, number: i64, scratch: &mut Vec<u8>) -> Hash {
        scratch.clear();
        length_prefixed(scratch, b"integer");
        scratch.extend_from_slice(&number.to_le_bytes());
        keyed(&self.0, scratch)
    }

    /// The pseudonym of a visit: whoever comes to `site` from `address` with `user_agent`.
    pub(crate) fn visit(&self, site: &str, address: IpAddr, user_agent: &str) -> Hash {
        let mut scratch = Zeroizing::new(Vec::with_capacity(64 + site.len() + user_agent.len()));
        write_visit(&mut scratch, site, address, user_agent);
        keyed(&self.0, &scratch)
    }
}

/// The keys of a batch: for each field that needs them one an epoch, and for each row which epoch it is of.
pub(crate) struct RowKeys {
    fields: Vec<(usize, Vec<Arc<FieldKey>>)>,
    /// For each row an index into the keys of a field.
    slots: Vec<usize>,
}

impl RowKeys {
    /// `fields` has one key for each distinct epoch, which `slots` points to.
    pub(crate) fn new(fields: Vec<(usize, Vec<Arc<FieldKey>>)>, slots: Vec<usize>) -> Self {
        Self { fields, slots }
    }

    /// The keys of one field; of none, for a field that was not asked for.
    pub(crate) fn of(&self, field: usize) -> FieldKeys<'_> {
        let found = self.fields.iter().find(|(index, _)| *index == field);
        FieldKeys { keys: found.map_or(&[], |(_, keys)| keys), slots: &self.slots }
    }
}

/// For each row of a batch the key of one field.
#[derive(Clone, Copy)]
pub(crate) struct FieldKeys<'a> {
    keys: &'a [Arc<FieldKey>],
    slots: &'a [usize],
}

impl FieldKeys<'_> {
    pub(crate) fn at(&self, row: usize) -> &FieldKey {
        &self.keys[self.slots[row]]
    }
}

/// The key under which the suppression list knows the contributors of one family, over all epochs.
pub(crate) struct SuppressionKey(Secret);

impl SuppressionKey {
    /// Derives it from the list's key.
    pub(crate) fn of(key: &Key, controller: &str, family: &str) -> Self {
        Self(derive(SUPPRESSED_CONTEXT, key, &[controller, family], 0))
    }

    /// The hash of what [`Canonical::write`] or [`write_visit`] wrote.
    pub(crate) fn identifier(&self, written: &[u8]) -> Hash {
        keyed(&self.0, written)
    }

    /// The hash of a pseudonym. It meets no identifier's: those begin with the length of a tag.
    pub(crate) fn pseudonym(&self, pseudonym: &[u8], scratch: &mut Vec<u8>) -> Hash {
        scratch.clear();
        length_prefixed(scratch, b"pseudonym");
        scratch.extend_from_slice(pseudonym);
        keyed(&self.0, scratch)
    }
}

/// The key under which second copies of one family's events are known, for one generation of windows.
pub(crate) struct EventsKey(Secret);

impl EventsKey {
    /// Derives it from the generation's key.
    pub(crate) fn of(key: &Key, controller: &str, family: &str, generation: i32) -> Self {
        Self(derive(EVENT_CONTEXT, key, &[controller, family], i64::from(generation)))
    }

    /// The hash of an event with an id of its own.
    pub(crate) fn id(&self, id: &str, scratch: &mut Vec<u8>) -> Hash {
        scratch.clear();
        length_prefixed(scratch, b"id");
        scratch.extend_from_slice(id.as_bytes());
        keyed(&self.0, scratch)
    }

    /// The hash of an event that is known by its device's count; none if the contributor has no canonical form.
    pub(crate) fn count(
        &self,
        contributor: &str,
        boot: u64,
        seq: u64,
        scratch: &mut Vec<u8>,
    ) -> Option<Hash> {
        let canonical = Canonical::of(contributor)?;
        scratch.clear();
        length_prefixed(scratch, b"count");
        length_prefixed(scratch, canonical.tag.as_bytes());
        length_prefixed(scratch, canonical.bytes());
        scratch.extend_from_slice(&boot.to_le_bytes());
        scratch.extend_from_slice(&seq.to_le_bytes());
        Some(keyed(&self.0, scratch))
    }
}

fn derive(context: &'static str, key: &Key, names: &[&str], number: i64) -> Secret {
    let mut material = Zeroizing::new(Vec::with_capacity(192));
    material.extend_from_slice(key.bytes().as_slice());
    for name in names {
        length_prefixed(&mut material, name.as_bytes());
    }
    material.extend_from_slice(&number.to_le_bytes());
    Secret::new(&Zeroizing::new(blake3::derive_key(context, &material)))
}

fn keyed(key: &Secret, input: &[u8]) -> Hash {
    let mut hash = blake3::keyed_hash(&key.expose(), input);
    let mut out = [0; HASH_BYTES];
    out.copy_from_slice(&hash.as_bytes()[..HASH_BYTES]);
    hash.zeroize();
    out
}

#[cfg(test)]
mod tests;
