//! The two primitives everything here rests on: AES-256-GCM and the system's generator.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use crate::error::Error;
use crate::vault::Secret;

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of an authentication tag.
pub(crate) const TAG_BYTES: usize = 16;

/// Bytes from the system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Crypto("give random bytes"))?;
    Ok(bytes)
}

fn cipher(key: &Secret) -> Result<LessSafeKey, Error> {
    let unbound = UnboundKey::new(&AES_256_GCM, key.expose().as_slice());
    Ok(LessSafeKey::new(unbound.map_err(|_| Error::Crypto("set up a key"))?))
}

/// Encrypts what `buffer` holds from `start` on, and appends the tag. `aad` is everything before that in
/// `buffer`. A nonce must never be used twice under one key: callers draw it from [`random`].
pub(crate) fn seal_tail(
    key: &Secret,
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    buffer: &mut Vec<u8>,
    start: usize,
) -> Result<(), Error> {
    let tag = cipher(key)?
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(aad),
            &mut buffer[start..],
        )
        .map_err(|_| Error::Crypto("seal"))?;
    buffer.extend_from_slice(tag.as_ref());
    Ok(())
}

/// Decrypts in place; the plain text is the returned part of `sealed`. None if a bit is not as it was sealed.
pub(crate) fn open_in_place<'a>(
    key: &Secret,
    nonce: [u8; NONCE_BYTES],
    aad: &[u8],
    sealed: &'a mut [u8],
) -> Option<&'a mut [u8]> {
    let nonce = Nonce::assume_unique_for_key(nonce);
    cipher(key).ok()?.open_in_place(nonce, Aad::from(aad), sealed).ok()
}

/// Appends `part` with its length before it, so that no two lists of parts give the same bytes.
pub(crate) fn length_prefixed(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u64).to_le_bytes());
    out.extend_from_slice(part);
}
