//! Address to country, from a database that ships with the binary or a better one of the operator's.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use maxminddb::{PathElement, Reader, WithinOptions};
use schemas::Millis;

use crate::error::Error;
use crate::operators::Code;

/// The shipped database, zstd-compressed; where it is from is told beside it.
const SHIPPED: &[u8] = include_bytes!("../data/geo/country.mmdb.zst");
/// No database is larger when decompressed.
const DATABASE_BYTES_MAX: usize = 1 << 30;
/// Networks looked at to find out the layout.
const PROBED_NETWORKS: usize = 1_000;
/// GeoLite2, GeoIP2 and those made like them.
const NESTED: &[PathElement<'static>] =
    &[PathElement::Key("country"), PathElement::Key("iso_code")];
/// The free databases.
const FLAT: &[PathElement<'static>] = &[PathElement::Key("country_code")];

/// A country database in memory.
pub struct Geo {
    reader: Reader<Vec<u8>>,
    path: &'static [PathElement<'static>],
}

impl Geo {
    /// The database that ships with the binary.
    ///
    /// # Errors
    ///
    /// [`Error::Geo`], if this build was made with a file that is none.
    pub fn shipped() -> Result<Self, Error> {
        let unpacked = zstd::bulk::decompress(SHIPPED, DATABASE_BYTES_MAX);
        let refuse = |_| Error::Geo { name: "shipped".into(), what: "it cannot be unpacked" };
        Self::from_bytes(unpacked.map_err(refuse)?, "shipped")
    }

    /// A database file of the MaxMind format, read whole into memory.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; [`Error::Geo`] if it is of another format, or tells countries in no layout known here.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        Self::from_bytes(bytes, &path.display().to_string())
    }

    /// A database of the MaxMind format; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// [`Error::Geo`], as [`Geo::open`].
    pub fn from_bytes(bytes: Vec<u8>, name: &str) -> Result<Self, Error> {
        let refuse = |what| Error::Geo { name: name.to_owned(), what };
        let reader =
            Reader::from_source(bytes).map_err(|_| refuse("it is not a MaxMind database"))?;
        let path = probe(&reader).ok_or_else(|| {
            refuse("it has neither country.iso_code nor country_code: not a country database")
        })?;
        Ok(Self { reader, path })
    }

    /// The ISO 3166-1 alpha-2 code of the country an address is in; none if it is not known, or not a country, or
    /// the address is of no place: databases have been seen to know where 192.168.1.1 is.
    pub(crate) fn country(&self, address: IpAddr) -> Option<Code> {
        let address = address.to_canonical();
        if !is_public(address) {
            return None;
        }
        let found = self.reader.lookup(address).ok()?;
        country_code(found.decode_path(self.path).ok()??)
    }

    /// When the database was built.
    #[must_use]
    pub fn build(&self) -> Millis {
        let seconds = i64::try_from(self.reader.metadata().build_epoch).unwrap_or(0);
        Millis(seconds.saturating_mul(1_000))
    }
}

/// Whether an address is one of the public internet, by IANA's registries of special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, third, _] = address.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            let protocol = (first, second, third) == (192, 0, 0);
            let benchmark = first == 198 && second & 0xfe == 18;
            !(first == 0
                || first >= 224
                || shared
                || protocol
                || benchmark
                || address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_documentation())
        }
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            let documentation = (first, second) == (0x2001, 0xdb8) || first & 0xfff0 == 0x3ff0;
            // Global unicast is 2000::/3; the first /23 of 2001: is for protocols.
            first & 0xe000 == 0x2000 && !(first == 0x2001 && second < 0x200) && !documentation
        }
    }
}

/// Two upper-case letters, and not one of the codes that stand for no country.
pub(crate) fn country_code(code: &str) -> Option<Code> {
    let known = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    // AP, EU: regions of registries. ZZ, XX: unknown.
    let country = known && !matches!(code, "AP" | "EU" | "ZZ" | "XX");
    country.then(|| Code::of(code)).flatten()
}

/// Finds out how the database tells a country: with the wrong layout every lookup silently has none.
fn probe(reader: &Reader<Vec<u8>>) -> Option<&'static [PathElement<'static>]> {
    let networks = reader.networks(WithinOptions::default()).ok()?;
    for network in networks.take(PROBED_NETWORKS) {
        let network = network.ok()?;
        for path in [NESTED, FLAT] {
            let code = network.decode_path::<&str>(path);
            if let Ok(Some(code)) = code
                && country_code(code).is_some()
            {
                return Some(path);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;
