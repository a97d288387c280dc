//! How a frame lies in its keyspace.

use anonymizer::Sealed;

use crate::{LogError, Partition, Position};

const CHECKSUM_BYTES: usize = 16;

/// Partition and position, big-endian: the order of keys is that of positions.
pub(super) fn key(partition: Partition, position: u64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&partition.0.to_be_bytes());
    key[2..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The frame behind its checksum.
pub(super) fn encode(partition: Partition, position: u64, frame: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(CHECKSUM_BYTES + frame.len());
    value.extend_from_slice(&checksum(partition, position, frame));
    value.extend_from_slice(frame);
    value
}

/// The position in a key.
pub(super) fn position(key: &[u8]) -> Result<u64, LogError> {
    let position = key.get(2..).and_then(|position| <[u8; 8]>::try_from(position).ok());
    position.map(u64::from_be_bytes).ok_or(LogError::Damaged("positions"))
}

/// The frame in a value, if it is the one that was appended at that position.
pub(super) fn decode(
    partition: Partition,
    position: u64,
    value: &[u8],
) -> Result<(Position, Sealed), LogError> {
    let corrupt = LogError::Corrupt { partition: partition.0, position };
    match value.split_first_chunk::<CHECKSUM_BYTES>() {
        Some((stored, frame)) if *stored == checksum(partition, position, frame) => {
            let sealed = Sealed::parse(frame.to_vec()).map_err(|_| corrupt)?;
            Ok((Position(position), sealed))
        }
        _ => Err(corrupt),
    }
}

/// A hash over a frame and its place. The seal would find a changed frame too, but only where its key is;
/// it would not find one that was moved, which would be counted twice or in place of another.
fn checksum(partition: Partition, position: u64, frame: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&key(partition, position));
    hasher.update(frame);
    let mut sum = [0; CHECKSUM_BYTES];
    hasher.finalize_xof().fill(&mut sum);
    sum
}
