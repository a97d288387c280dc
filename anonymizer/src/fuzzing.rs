//! What fuzz targets reach, and nobody else: decoders of this crate without a public name. None gives a value away.

use std::net::IpAddr;
use std::sync::Arc;

use schemas::Millis;

use crate::error::Error;
use crate::gate::Gate;
use crate::geo::Geo;
use crate::seal::Body;

/// Reads columns of a family as a frame holds them behind its seal, and gives the number of rows.
///
/// # Errors
///
/// [`Error::Frame`] if they do not fit.
///
/// # Panics
///
/// If the package has no such family.
pub fn columns(gate: &Gate, family: usize, body: Vec<u8>) -> Result<usize, Error> {
    let schema = Arc::clone(gate.raw_schema(family));
    Body::read(body, &schema).map(|(rows, _)| rows.num_rows())
}

/// Looks an address up, and tells whether its country is known.
pub fn country(geo: &Geo, address: IpAddr) -> bool {
    geo.country(address).is_some()
}

/// A TC string in which exactly these purposes are consented to, as of `updated`, with vendors as ranges or as bits: for
/// tests of whoever reads one.
#[must_use]
pub fn tc_string(purposes: &[u8], updated: Millis, ranges: bool) -> String {
    let mut bits = String::new();
    let mut put = |value: i64, width: usize| bits.push_str(&format!("{value:0width$b}"));
    let deciseconds = updated.0.div_euclid(100);
    put(2, 6);
    put(deciseconds, 36);
    put(deciseconds, 36);
    // CMP 21, its version 3, screen 1, English, vendors' list 150, policy 5.
    for (value, width) in [(21, 12), (3, 12), (1, 6), (4, 6), (13, 6), (150, 12), (5, 6)] {
        put(value, width);
    }
    put(0, 1 + 1 + 12);
    for purpose in 1..=24 {
        put(i64::from(purposes.contains(&purpose)), 1);
    }
    // Legitimate interests, purpose one, Denmark.
    for (value, width) in [(0, 24), (0, 1), (3, 6), (10, 6)] {
        put(value, width);
    }
    if ranges {
        // Vendors up to 900: 4, and 10 to 900.
        for (value, width) in
            [(900, 16), (1, 1), (2, 12), (0, 1), (4, 16), (1, 1), (10, 16), (900, 16)]
        {
            put(value, width);
        }
    } else {
        // Vendors up to 7: the third and the last.
        put(7, 16);
        put(0, 1);
        put(0b001_0001, 7);
    }
    put(0, 16 + 1);
    // One restriction, of purpose 2, by which vendors need consent: vendor 4.
    for (value, width) in [(1, 12), (2, 6), (1, 2), (1, 12), (0, 1), (4, 16)] {
        put(value, width);
    }
    let letters = bits.as_bytes().chunks(6).map(|sextet| {
        let value = (0..6).fold(0_usize, |value, place| {
            value << 1 | usize::from(sextet.get(place) == Some(&b'1'))
        });
        char::from(LETTERS[value])
    });
    letters.collect()
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
