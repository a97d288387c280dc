//! A body from the wire to plain bytes: bounded in size before and after decompression, in time, and in memory.

use std::io::Read;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use futures::StreamExt;

use crate::budget::Reservation;
use crate::respond::Problem;

/// How much is decompressed between two looks at the limits.
const STEP_BYTES: usize = 64 << 10;
/// Largest window of a zstd frame, as a power of two: 8 MiB, what the format asks every decoder for.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body was compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

/// Reads `Content-Encoding`.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Encoding, Problem> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(header::CONTENT_ENCODING) {
            Err(Problem::UnsupportedEncoding)
        } else {
            Ok(Encoding::Identity)
        };
    };
    let value = value.to_str().unwrap_or_default().trim().to_ascii_lowercase();
    match value.as_str() {
        "" | "identity" => Ok(Encoding::Identity),
        "gzip" | "x-gzip" => Ok(Encoding::Gzip),
        "deflate" => Ok(Encoding::Deflate),
        "zstd" => Ok(Encoding::Zstd),
        _ => Err(Problem::UnsupportedEncoding),
    }
}

/// Reads a body of at most `bytes_max` bytes, within `within`.
pub(crate) async fn read(
    body: Body,
    headers: &HeaderMap,
    bytes_max: usize,
    within: Duration,
    held: &mut Reservation,
) -> Result<Bytes, Problem> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let declared = declared.and_then(|value| value.parse::<u64>().ok());
    if declared.is_some_and(|length| length > bytes_max as u64) {
        return Err(Problem::TooLarge { bytes_max });
    }
    tokio::time::timeout(within, collect(body, bytes_max, held))
        .await
        .unwrap_or(Err(Problem::Timeout))
}

async fn collect(body: Body, bytes_max: usize, held: &mut Reservation) -> Result<Bytes, Problem> {
    let mut chunks = body.into_data_stream();
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        // The transfer broke off; most likely nobody is there to read the answer.
        let chunk = chunk.map_err(|_| Problem::Timeout)?;
        if first.len() + rest.len() + chunk.len() > bytes_max {
            return Err(Problem::TooLarge { bytes_max });
        }
        held.grow(chunk.len()).map_err(|_| Problem::Busy)?;
        if first.is_empty() {
            first = chunk;
        } else {
            rest.extend_from_slice(&chunk);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

/// Undoes `encoding`, to at most `bytes_max` bytes, however much they would become.
pub(crate) fn decompress(
    encoding: Encoding,
    body: Bytes,
    bytes_max: usize,
    held: &mut Reservation,
) -> Result<Bytes, Problem> {
    match encoding {
        Encoding::Identity => Ok(body),
        Encoding::Gzip => bounded(MultiGzDecoder::new(&*body), bytes_max, held),
        // "deflate" means zlib-wrapped; some senders leave the wrapping off.
        Encoding::Deflate if is_zlib(&body) => bounded(ZlibDecoder::new(&*body), bytes_max, held),
        Encoding::Deflate => bounded(DeflateDecoder::new(&*body), bytes_max, held),
        Encoding::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(&*body).map_err(|_| Problem::Corrupt)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| Problem::Corrupt)?;
            bounded(decoder, bytes_max, held)
        }
    }
}

fn bounded(
    mut decoder: impl Read,
    bytes_max: usize,
    held: &mut Reservation,
) -> Result<Bytes, Problem> {
    let mut whole = Vec::new();
    loop {
        let filled = whole.len();
        let step = STEP_BYTES.max(filled).min(bytes_max + 1 - filled);
        held.grow(step).map_err(|_| Problem::Busy)?;
        whole.resize(filled + step, 0);
        let mut at = filled;
        while at < whole.len() {
            match decoder.read(&mut whole[at..]) {
                Ok(0) => {
                    whole.truncate(at);
                    return Ok(whole.into());
                }
                Ok(read) => at += read,
                Err(_) => return Err(Problem::Corrupt),
            }
        }
        if whole.len() > bytes_max {
            return Err(Problem::TooLarge { bytes_max });
        }
    }
}

/// Whether a zlib header stands at the beginning (RFC 1950).
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)) % 31 == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;
    use crate::budget::{Budget, Holder};

    fn pack(encoding: Encoding, plain: &[u8]) -> Bytes {
        let level = Compression::best();
        let packed = match encoding {
            Encoding::Identity => plain.to_vec(),
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), level);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(plain).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Zstd => zstd::encode_all(plain, 19).unwrap(),
        };
        packed.into()
    }

    const ALL: [Encoding; 4] =
        [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

    #[test]
    fn all_encodings_are_undone() {
        let plain = b"{\"type\":\"device_usage\"}".repeat(10_000);
        let budget = Budget::new(2 << 20);
        for encoding in ALL {
            let packed = pack(encoding, &plain);
            let mut held = budget.reserve(Holder::any());
            let undone = decompress(encoding, packed, 1 << 20, &mut held).unwrap();
            assert_eq!(undone, plain, "{encoding:?}");
        }
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::best());
        raw.write_all(&plain).unwrap();
        let raw = raw.finish().unwrap().into();
        let undone =
            decompress(Encoding::Deflate, raw, 1 << 20, &mut budget.reserve(Holder::any()))
                .unwrap();
        assert_eq!(undone, plain);
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let plain = vec![b' '; 64 << 20];
        let budget = Budget::new(2 << 20);
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let packed = pack(encoding, &plain);
            assert!(packed.len() < 100 << 10, "{encoding:?}");
            let mut held = budget.reserve(Holder::any());
            let result = decompress(encoding, packed, 256 << 10, &mut held);
            assert_eq!(result, Err(Problem::TooLarge { bytes_max: 256 << 10 }), "{encoding:?}");
            assert!(budget.used() <= (256 << 10) + 1, "{encoding:?}");
        }
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn exactly_the_limit_is_taken() {
        let plain = vec![b' '; 100_000];
        let budget = Budget::new(2 << 20);
        let packed = pack(Encoding::Gzip, &plain);
        let take = |max| {
            decompress(Encoding::Gzip, packed.clone(), max, &mut budget.reserve(Holder::any()))
        };
        assert_eq!(take(100_000).unwrap().len(), 100_000);
        assert_eq!(take(99_999), Err(Problem::TooLarge { bytes_max: 99_999 }));
    }

    #[test]
    fn damaged_bodies_are_corrupt() {
        let budget = Budget::new(2 << 20);
        for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
            let mut packed = pack(encoding, &b"{\"type\":\"device_usage\"}".repeat(100)).to_vec();
            packed.truncate(packed.len() / 2);
            let result =
                decompress(encoding, packed.into(), 1 << 20, &mut budget.reserve(Holder::any()));
            assert_eq!(result, Err(Problem::Corrupt), "{encoding:?}");
        }
    }

    #[test]
    fn encodings_are_known_or_refused() {
        let of = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
            }
            encoding(&headers)
        };
        assert_eq!(of(&[]), Ok(Encoding::Identity));
        assert_eq!(of(&["GZIP"]), Ok(Encoding::Gzip));
        assert_eq!(of(&["deflate"]), Ok(Encoding::Deflate));
        assert_eq!(of(&["zstd"]), Ok(Encoding::Zstd));
        assert_eq!(of(&["br"]), Err(Problem::UnsupportedEncoding));
        assert_eq!(of(&["gzip, gzip"]), Err(Problem::UnsupportedEncoding));
        assert_eq!(of(&["gzip", "gzip"]), Err(Problem::UnsupportedEncoding));
    }
}
