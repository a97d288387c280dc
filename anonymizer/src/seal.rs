//! Frames: rows of one family under the key of their hour, behind a header that all may read and none change.
//!
//! ```text
//! frame = "QFRM" ‖ 1 ‖ le32(header length) ‖ header (JSON) ‖ nonce (12) ‖ AES-256-GCM(body) ‖ tag (16)
//! body  = nothing, if there are no rows; else
//!         le64(fields nulled) ‖ le32(message length) ‖ padding to 64 ‖ message ‖ padding to 64 ‖ columns
//! ```
//!
//! Everything before the nonce is authenticated with the body. Message and columns are an Arrow IPC record
//! batch without its schema, which the policy digest names; columns are lz4-compressed above 16 KiB.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow_ipc::reader::read_record_batch;
use arrow_ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_ipc::{CompressionType, MetadataVersion, root_as_message};
use schemas::{Digest, Tally};
use serde::{Deserialize, Serialize};

use crate::crypto::{NONCE_BYTES, TAG_BYTES, open_in_place, random, seal_tail};
use crate::error::Error;
use crate::keys::Key;

const MAGIC: &[u8; 5] = b"QFRM\x01";
/// Magic and length of the header.
const LEAD_BYTES: usize = MAGIC.len() + 4;
/// No header is longer: a name, a digest, and one number a reason.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// Bodies of at least this many bytes are compressed.
const COMPRESS_FROM_BYTES: usize = 16 * 1024;
/// What Arrow aligns its buffers to.
const ALIGNMENT: usize = 64;

/// What is known of a frame without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The family of its rows; none for refusals of events whose family is not known.
    pub family: Option<String>,
    /// The policy it was sealed under.
    pub policy: Digest,
    /// The hour of received time whose key seals it, counted from 1970.
    pub hour: u32,
    /// Which of the hour's keys it is: the first, unless a contributor was erased from the hour since.
    pub generation: u32,
    /// How many rows are inside.
    pub rows: u32,
    /// What was refused and suppressed beside them.
    pub tally: Tally,
}

/// The header as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    family: Option<String>,
    policy: String,
    hour: u32,
    #[serde(default, skip_serializing_if = "is_first")]
    generation: u32,
    rows: u32,
    #[serde(default, skip_serializing_if = "Tally::is_empty")]
    tally: Tally,
}

fn is_first(generation: &u32) -> bool {
    *generation == 0
}

/// Held while a frame is on its way into the log: its key is not destroyed before all of these are gone.
#[derive(Default)]
pub struct InFlight {
    _held: Option<Arc<Generation>>,
}

impl InFlight {
    pub(crate) fn of(generation: Arc<Generation>) -> Self {
        Self { _held: Some(generation) }
    }
}

/// One key of an hour, as far as frames are being sealed under it.
pub(crate) struct Generation(pub(crate) u32);

/// A frame: the only form in which a raw event leaves memory.
pub struct Sealed {
    header: Header,
    /// Where the nonce begins.
    head_length: usize,
    bytes: Vec<u8>,
    in_flight: InFlight,
}

impl Sealed {
    /// What is known of it without its key.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The whole frame.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole frame.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The whole frame, and what a log has to hold until the frame is where readers find it, or has failed.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, InFlight) {
        (self.bytes, self.in_flight)
    }

    /// Marks a frame that was sealed just now and is in no log yet.
    pub(crate) fn on_its_way(mut self, in_flight: InFlight) -> Self {
        self.in_flight = in_flight;
        self
    }

    /// Takes bytes for a frame. What only the key can tell is told by [`crate::Gate::open`].
    ///
    /// # Errors
    ///
    /// [`Error::Frame`] if they are too short, or do not begin as frames do.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Error> {
        let Some(&[a, b, c, d]) = bytes.get(MAGIC.len()..LEAD_BYTES) else {
            return Err(Error::Frame("too short"));
        };
        if !bytes.starts_with(MAGIC) {
            return Err(Error::Frame("it begins otherwise, or is of a newer version"));
        }
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > HEADER_BYTES_MAX {
            return Err(Error::Frame("its header is too long"));
        }
        let head_length = LEAD_BYTES + length;
        if bytes.len() < head_length + NONCE_BYTES + TAG_BYTES {
            return Err(Error::Frame("too short"));
        }
        let header = Header::read(&bytes[LEAD_BYTES..head_length])?;
        Ok(Self { header, head_length, bytes, in_flight: InFlight::default() })
    }

    /// Seals `body`, which may be empty.
    pub(crate) fn seal(header: Header, body: &Body, key: &Key) -> Result<Self, Error> {
        Self::seal_with_nonce(header, body, key, random()?)
    }

    fn seal_with_nonce(
        header: Header,
        body: &Body,
        key: &Key,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<Self, Error> {
        let clear = header.write();
        let head_length = LEAD_BYTES + clear.len();
        let room = head_length + NONCE_BYTES + body.bytes_max() + TAG_BYTES;
        let mut bytes = Vec::with_capacity(room);
        bytes.extend_from_slice(MAGIC);
        let length = u32::try_from(clear.len()).expect("a header is a few hundred bytes");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&clear);
        let aad = bytes.clone();
        bytes.extend_from_slice(&nonce);
        body.write(&mut bytes);
        seal_tail(key.secret(), nonce, &aad, &mut bytes, head_length + NONCE_BYTES)?;
        Ok(Self { header, head_length, bytes, in_flight: InFlight::default() })
    }

    /// Opens the frame: its header, and the bytes of its body.
    pub(crate) fn open(self, key: &Key) -> Result<(Header, Vec<u8>), Error> {
        let Self { header, head_length, mut bytes, in_flight: _ } = self;
        let (aad, rest) = bytes.split_at_mut(head_length);
        let (nonce, sealed) = rest.split_at_mut(NONCE_BYTES);
        let nonce = (*nonce).try_into().expect("split at the length of a nonce");
        let genuine = open_in_place(key.secret(), nonce, aad, sealed);
        let body =
            genuine.ok_or(Error::Frame("changed, cut short, or under another key"))?.to_vec();
        Ok((header, body))
    }
}

impl Header {
    fn write(&self) -> Vec<u8> {
        let wire = Wire {
            family: self.family.clone(),
            policy: self.policy.to_string(),
            hour: self.hour,
            generation: self.generation,
            rows: self.rows,
            tally: self.tally.clone(),
        };
        serde_json::to_vec(&wire).expect("names and numbers are JSON")
    }

    fn read(bytes: &[u8]) -> Result<Self, Error> {
        // The parser's own words may quote what it read: they end here.
        let wire: Wire =
            serde_json::from_slice(bytes).map_err(|_| Error::Frame("its header cannot be read"))?;
        let policy = blake3::Hash::from_hex(wire.policy.as_bytes());
        let policy = policy.map_err(|_| Error::Frame("its header names no policy"))?;
        Ok(Self {
            family: wire.family,
            policy: Digest(*policy.as_bytes()),
            hour: wire.hour,
            generation: wire.generation,
            rows: wire.rows,
            tally: wire.tally,
        })
    }
}

/// What is to be sealed.
pub(crate) enum Body {
    /// No rows: the header says all.
    Empty,
    /// An IPC message with its columns.
    Rows { nulled: u64, message: Vec<u8>, columns: Vec<u8> },
    /// What another frame held.
    Again(Vec<u8>),
}

impl Body {
    /// Rows, in Arrow's IPC form. `nulled` is of frames of earlier builds; the header has it now.
    pub(crate) fn of(batch: &RecordBatch, nulled: u64) -> Result<Self, Error> {
        let large = batch.get_array_memory_size() >= COMPRESS_FROM_BYTES;
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)
            .and_then(|options| {
                options.try_with_compression(large.then_some(CompressionType::LZ4_FRAME))
            })
            .map_err(|_| Error::Frame("its columns cannot be written"))?;
        let mut tracker = DictionaryTracker::new(true);
        let mut context = IpcWriteContext::default();
        let (_, encoded) = IpcDataGenerator::default()
            .encode(batch, &mut tracker, &options, &mut context)
            .map_err(|_| Error::Frame("its columns cannot be written"))?;
        Ok(Self::Rows { nulled, message: encoded.ipc_message, columns: encoded.arrow_data })
    }

    fn bytes_max(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Rows { message, columns, .. } => 3 * ALIGNMENT + message.len() + columns.len(),
            Self::Again(bytes) => bytes.len(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (nulled, message, columns) = match self {
            Self::Empty => return,
            Self::Again(bytes) => return out.extend_from_slice(bytes),
            Self::Rows { nulled, message, columns } => (nulled, message, columns),
        };
        let start = out.len();
        let pad = |out: &mut Vec<u8>| {
            out.resize(start + (out.len() - start).next_multiple_of(ALIGNMENT), 0);
        };
        let length = u32::try_from(message.len()).expect("a message names a few dozen buffers");
        out.extend_from_slice(&nulled.to_le_bytes());
        out.extend_from_slice(&length.to_le_bytes());
        pad(out);
        out.extend_from_slice(message);
        pad(out);
        out.extend_from_slice(columns);
    }

    /// Reads rows of this schema, and how many fields were nulled.
    pub(crate) fn read(bytes: Vec<u8>, schema: &SchemaRef) -> Result<(RecordBatch, u64), Error> {
        let damaged = || Error::Frame("its columns do not fit its policy");
        let (nulled, length) = bytes.get(..12).ok_or_else(damaged)?.split_at(8);
        let nulled = u64::from_le_bytes(nulled.try_into().expect("eight bytes"));
        let length = u32::from_le_bytes(length.try_into().expect("four bytes"));
        let end = usize::try_from(length).ok().and_then(|length| length.checked_add(ALIGNMENT));
        let end = end.filter(|end| *end <= bytes.len()).ok_or_else(damaged)?;
        let columns_start = end.next_multiple_of(ALIGNMENT).min(bytes.len());
        let buffer = Buffer::from_vec(bytes);
        let message = root_as_message(&buffer[ALIGNMENT..end]).map_err(|_| damaged())?;
        let header = message.header_as_record_batch().ok_or_else(damaged)?;
        let columns = buffer.slice(columns_start);
        let rows = read_record_batch(
            &columns,
            header,
            SchemaRef::clone(schema),
            &HashMap::new(),
            None,
            &message.version(),
        );
        Ok((rows.map_err(|_| damaged())?, nulled))
    }
}

#[cfg(test)]
mod tests;
