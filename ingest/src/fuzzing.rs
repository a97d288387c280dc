//! What fuzz targets reach, and nobody else: decoders of this crate without a public name. Each gives answers, no value
//! of an event.

use std::io::Write;
use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::body::{self, Encoding};
use crate::budget::{Budget, Holder};
use crate::config::ForwardedBy;
use crate::decode::{BodyError, Decoded, Limits};
use crate::plan::Plan;
use crate::{address, auth, door, protocols};

const ENCODINGS: [Encoding; 4] =
    [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

fn chosen(choice: u8) -> Encoding {
    ENCODINGS[usize::from(choice) % ENCODINGS.len()]
}

/// Undoes an encoding; nothing if the body is damaged, or would be larger than `bytes_max`.
///
/// # Panics
///
/// If it takes more than that out of the budget, or does not give it back.
#[must_use]
pub fn decompress(choice: u8, body: &[u8], bytes_max: usize) -> Option<Bytes> {
    let encoding = chosen(choice);
    if encoding == Encoding::Identity && body.len() > bytes_max {
        return None;
    }
    // Of which one holder may take three quarters.
    let budget = Budget::new((bytes_max + 1) * 4 / 3 + 1);
    let plain = {
        let mut held = budget.reserve(Holder::Network(None));
        body::decompress(encoding, Bytes::copy_from_slice(body), bytes_max, &mut held)
    };
    assert_eq!(budget.used(), 0, "bytes are not given back");
    assert_ne!(plain, Err(crate::respond::Problem::Busy), "more is set aside than can be used");
    plain.ok()
}

/// Packs a body as [`decompress`] unpacks it.
///
/// # Panics
///
/// If memory cannot be written to.
#[must_use]
pub fn compress(choice: u8, plain: &[u8]) -> Vec<u8> {
    let packed = match chosen(choice) {
        Encoding::Identity => Ok(plain.to_vec()),
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).and_then(|()| encoder.finish())
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(plain).and_then(|()| encoder.finish())
        }
        Encoding::Zstd => zstd::encode_all(plain, 1),
    };
    packed.expect("memory can be written to")
}

/// Parts of a request's head, as a client sends them.
#[derive(Debug)]
pub struct Head<'h> {
    /// Behind the `?`.
    pub query: &'h [u8],
    /// The value of `Authorization`.
    pub authorization: &'h [u8],
    /// The value of `Content-Encoding`.
    pub encoding: &'h [u8],
    /// Values of `X-Forwarded-For` and of `Forwarded`, as many headers each.
    pub forwarded: &'h [&'h [u8]],
}

/// Reads all of a head, and gives the sender's address by either forwarding header; nothing if HTTP allows no such head.
#[must_use]
pub fn head(peer: IpAddr, head: &Head<'_>, trusted_proxies: u8) -> Option<[Option<IpAddr>; 2]> {
    let mut headers = HeaderMap::new();
    for value in head.forwarded {
        let value = HeaderValue::from_bytes(value).ok()?;
        headers.append(HeaderName::from_static("x-forwarded-for"), value.clone());
        headers.append(header::FORWARDED, value);
    }
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_bytes(head.encoding).ok()?);
    // Kinds of encodings and keys are words of their own; that reading them ends is all there is to see.
    let _encoding = body::encoding(&headers);
    let _key = auth::presented(head.authorization);
    let target = [b"/v1/events?", head.query].concat();
    let uri: axum::http::Uri = target.as_slice().try_into().ok()?;
    let _site = door::site_of(&uri);
    let by = [ForwardedBy::XForwardedFor, ForwardedBy::Forwarded];
    Some(by.map(|by| address::sender(peer, &headers, trusted_proxies, by)))
}

/// Takes a body of Plausible's trackers apart.
///
/// # Errors
///
/// [`BodyError`] if it is no event.
pub fn plausible<'a>(
    plan: &Plan,
    body: &'a [u8],
    limits: Limits,
) -> Result<Decoded<'a>, BodyError> {
    protocols::plausible::decode(plan, body, limits)
}

/// Takes the query of a pixel apart, and its `Referer` behind the first line break.
///
/// # Errors
///
/// [`BodyError`] if it is no event.
pub fn pixel<'a>(plan: &Plan, told: &'a [u8], limits: Limits) -> Result<Decoded<'a>, BodyError> {
    protocols::pixel::decode(plan, told, limits)
}
