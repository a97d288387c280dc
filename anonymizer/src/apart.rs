//! Rows that are kept apart, sealed: each lot under a key of its own, which nothing else is under and which goes with it.
//!
//! ```text
//! lot = "QAPT" ‖ 1 ‖ nonce (12) ‖ AES-256-GCM(Arrow IPC stream of the rows) ‖ tag (16)
//! ```
//! The magic and the lot's id are authenticated with the rows: one lot cannot be put in the place of another. The rows are
//! those of a table, pseudonymised by this crate, and hence personal data: sealed they outlive the key that their pseudonyms
//! were made with, and nobody can tell from then on whose they are.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_ipc::{CompressionType, MetadataVersion};

use crate::crypto::{NONCE_BYTES, TAG_BYTES, open_in_place, random, seal_tail};
use crate::error::Error;
use crate::keys::{KeyName, KeyRing};

const MAGIC: &[u8; 5] = b"QAPT\x01";
/// What Arrow aligns its buffers to.
const ALIGNMENT: usize = 64;

/// The key of a lot.
#[must_use]
pub fn key_of(id: &str) -> KeyName {
    KeyName::Apart { id: id.to_owned() }
}

/// Seals rows of one table under the key of the lot `id`, which is made for it.
///
/// # Errors
///
/// [`Error::Destroyed`] if the lot is gone already; as [`KeyRing::get_or_create`]; [`Error::Crypto`].
pub fn seal(ring: &KeyRing, id: &str, rows: &[RecordBatch]) -> Result<Vec<u8>, Error> {
    let failed = || Error::Frame("rows cannot be written");
    let key = ring.get_or_create(&key_of(id))?;
    let nonce = random()?;
    let mut sealed = MAGIC.to_vec();
    sealed.extend_from_slice(&nonce);
    if let Some(first) = rows.first() {
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
            .and_then(|options| options.try_with_compression(Some(CompressionType::LZ4_FRAME)))
            .map_err(|_| failed())?;
        let mut writer = StreamWriter::try_new_with_options(&mut sealed, &first.schema(), options)
            .map_err(|_| failed())?;
        rows.iter().try_for_each(|rows| writer.write(rows)).map_err(|_| failed())?;
        writer.finish().map_err(|_| failed())?;
    }
    seal_tail(key.secret(), nonce, &authenticated(id), &mut sealed, MAGIC.len() + NONCE_BYTES)?;
    Ok(sealed)
}

/// Opens what [`seal`] made.
///
/// # Errors
///
/// [`Error::Destroyed`] if the lot's key is, [`Error::NoKey`] if there never was one; [`Error::Frame`] if it is not as it was
/// sealed, or another lot's.
pub fn open(ring: &KeyRing, id: &str, mut sealed: Vec<u8>) -> Result<Vec<RecordBatch>, Error> {
    let key = ring.get(&key_of(id))?;
    let damaged = || Error::Frame("changed, cut short, or under another key");
    if sealed.len() < MAGIC.len() + NONCE_BYTES + TAG_BYTES || !sealed.starts_with(MAGIC) {
        return Err(damaged());
    }
    let (nonce, body) = sealed[MAGIC.len()..].split_at_mut(NONCE_BYTES);
    let nonce = <[u8; NONCE_BYTES]>::try_from(&*nonce).map_err(|_| damaged())?;
    let body = open_in_place(key.secret(), nonce, &authenticated(id), body).ok_or_else(damaged)?;
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let reader = StreamReader::try_new(Cursor::new(&*body), None).map_err(|_| damaged())?;
    reader.map(|rows| rows.map_err(|_| damaged())).collect()
}

fn authenticated(id: &str) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(id.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, Int32Array};
    use schemas::{Clock, Millis};

    use super::*;

    fn rows() -> Vec<RecordBatch> {
        let bytes = BinaryArray::from_opt_vec(vec![Some(&[0xab; 16][..]), None]);
        let columns = [
            ("contributor", Arc::new(bytes) as ArrayRef),
            ("count", Arc::new(Int32Array::from(vec![7, 8])) as ArrayRef),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        vec![rows.clone(), rows.slice(1, 1)]
    }

    fn ring(dir: &std::path::Path) -> KeyRing {
        let clock: Clock = Arc::new(|| Millis(0));
        KeyRing::create(&dir.join("ring"), &dir.join("kek"), &dir.join("keys"), &clock).unwrap()
    }

    #[test]
    fn a_lot_opens_as_itself_alone_until_its_key_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let ring = ring(dir.path());
        let sealed = seal(&ring, "one", &rows()).unwrap();
        assert!(!sealed.windows(16).any(|part| part == [0xab; 16]), "nothing of it can be read");
        assert_eq!(open(&ring, "one", sealed.clone()).unwrap(), rows());
        seal(&ring, "two", &[]).unwrap();
        assert!(matches!(open(&ring, "two", sealed.clone()), Err(Error::Frame(_))));
        assert!(matches!(open(&ring, "three", sealed.clone()), Err(Error::NoKey(_))));
        for at in [0, MAGIC.len(), sealed.len() / 2, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(matches!(open(&ring, "one", changed), Err(Error::Frame(_))), "{at}");
        }
        assert!(matches!(open(&ring, "one", sealed[..9].to_vec()), Err(Error::Frame(_))));
        ring.destroy(&key_of("one"), "test").unwrap();
        assert!(matches!(open(&ring, "one", sealed), Err(Error::Destroyed(_))));
        assert!(matches!(seal(&ring, "one", &rows()), Err(Error::Destroyed(_))), "no second life");
    }
}
