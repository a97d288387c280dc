//! What was acknowledged, beside the database: a small file that tells a journal that was cut from one that is whole.
//!
//! fjall reads its journal up to the first place that makes no sense, and takes that for the trace of a crash. After
//! a crash that is right; where a bit has changed it drops what comes after, which was acknowledged. This file
//! says how far the frames must go. It is written after each batch and before anybody is told, over its older half, and
//! not synced: after a loss of power it may say less than it could, never more than is true.
//!
//! ```text
//! acknowledged = two slots of 4096 bytes, the newest that is whole counts:
//!   "QEND" ‖ 1 ‖ number u64 ‖ log id (16) ‖ partitions u16 ‖ next position u64 of each ‖ BLAKE3 of all that (16)
//! ```
//! Numbers are big-endian.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use uuid::Uuid;

use crate::LogId;

const NAME: &str = "acknowledged";
const MAGIC: &[u8; 5] = b"QEND\x01";
const SLOT_BYTES: usize = 4096;
const CHECKSUM_BYTES: usize = 16;

/// How far each partition was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Acknowledged {
    pub(super) id: LogId,
    pub(super) ends: Vec<u64>,
}

/// The file, open for writing.
pub(super) struct EndsFile {
    file: File,
    number: u64,
    failed: bool,
}

impl EndsFile {
    /// Opens the file in `dir`, made if there is none, and reads what it says; none if it says nothing.
    ///
    /// A file of which no half is whole says nothing either, and is reported.
    pub(super) fn open(dir: &Path) -> io::Result<(Self, Option<Acknowledged>)> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(NAME);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let newest = bytes.chunks(SLOT_BYTES).filter_map(decode).max_by_key(|(number, _)| *number);
        if newest.is_none() && !bytes.is_empty() {
            tracing::warn!(path = %path.display(), "the record of what was acknowledged is damaged and begun anew");
        }
        let (number, known) = newest.map_or((0, None), |(number, known)| (number, Some(known)));
        Ok((Self { file, number, failed: false }, known))
    }

    /// Writes down how far each partition is acknowledged. A failure is reported once and forgiven: the frames are
    /// durable, and an older record is true too.
    pub(super) fn write(&mut self, id: LogId, ends: &[u64]) {
        self.number += 1;
        let slot = SLOT_BYTES as u64 * (self.number % 2);
        let bytes = encode(self.number, id, ends);
        let written =
            self.file.seek(SeekFrom::Start(slot)).and_then(|_| self.file.write_all(&bytes));
        if let Err(error) = &written
            && !self.failed
        {
            tracing::warn!(%error, "the record of what was acknowledged cannot be written");
        }
        self.failed = written.is_err();
    }
}

fn encode(number: u64, id: LogId, ends: &[u64]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.extend_from_slice(id.0.as_bytes());
    let partitions = u16::try_from(ends.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&partitions.to_be_bytes());
    bytes.extend(ends.iter().flat_map(|end| end.to_be_bytes()));
    bytes.extend_from_slice(&checksum(&bytes));
    bytes.resize(SLOT_BYTES.max(bytes.len()), 0);
    bytes
}

fn decode(slot: &[u8]) -> Option<(u64, Acknowledged)> {
    let rest = slot.strip_prefix(MAGIC)?;
    let (number, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk::<16>()?;
    let (partitions, rest) = rest.split_first_chunk()?;
    let (ends, rest) = rest.split_at_checked(8 * usize::from(u16::from_be_bytes(*partitions)))?;
    let length = slot.len() - rest.len();
    if rest.get(..CHECKSUM_BYTES)? != checksum(&slot[..length]) {
        return None;
    }
    let ends = ends.as_chunks().0.iter().map(|end| u64::from_be_bytes(*end)).collect();
    let id = LogId(Uuid::from_bytes(*id));
    Some((u64::from_be_bytes(*number), Acknowledged { id, ends }))
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut sum);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_whole_half_counts() {
        let dir = tempfile::tempdir().unwrap();
        let id = LogId(Uuid::new_v4());
        let (mut file, known) = EndsFile::open(dir.path()).unwrap();
        assert_eq!(known, None);
        for end in 1..=3 {
            file.write(id, &[end, 7]);
        }
        let read = || EndsFile::open(dir.path()).unwrap().1.map(|known| known.ends);
        assert_eq!(read(), Some(vec![3, 7]));
        // The third lies in the second half: with any bit of it changed, the second one counts.
        let whole = std::fs::read(dir.path().join(NAME)).unwrap();
        for bit in 0..8 * 63 {
            let mut bytes = whole.clone();
            bytes[SLOT_BYTES + bit / 8] ^= 1 << (bit % 8);
            std::fs::write(dir.path().join(NAME), bytes).unwrap();
            assert_eq!(read(), Some(vec![2, 7]), "bit {bit}");
        }
        std::fs::write(dir.path().join(NAME), [1; 5000]).unwrap();
        assert_eq!(read(), None);
    }
}
