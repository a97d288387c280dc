//! Where senders are: networks of large access providers, by country.
//!
//! Each prefix is a long-standing allocation of one provider in one country, so that a country database of any year
//! agrees with it. A test asks the shipped database.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A country with networks in it.
pub struct Place {
    /// ISO 3166-1 alpha-2.
    pub country: &'static str,
    /// How many of a thousand senders are there.
    weight: u32,
    /// `Accept-Language` of most browsers there.
    pub language: &'static str,
    /// Networks: first address and prefix length.
    v4: &'static [([u8; 4], u32)],
    /// Networks: first two groups and prefix length (at most 32).
    v6: &'static [([u16; 2], u32)],
}

macro_rules! places {
    ($($country:literal $weight:literal $language:literal $v4:expr, $v6:expr;)*) => {
        &[$(Place { country: $country, weight: $weight, language: $language, v4: &$v4, v6: &$v6 }),*]
    };
}

/// Where senders are, most frequent first; the last ones are small on purpose, so that some groups stay hidden.
pub const PLACES: &[Place] = places! {
    "DE" 240 "de-DE,de;q=0.9,en;q=0.7" [([79, 192, 0, 0], 10), ([84, 128, 0, 0], 10), ([93, 192, 0, 0], 10)], [([0x2003, 0xc0], 26)];
    "US" 180 "en-US,en;q=0.9" [([73, 0, 0, 0], 8), ([76, 96, 0, 0], 11)], [([0x2601, 0], 20)];
    "GB" 110 "en-GB,en;q=0.9" [([86, 128, 0, 0], 10), ([90, 192, 0, 0], 11)], [([0x2a00, 0x23c0], 26)];
    "FR" 90 "fr-FR,fr;q=0.9" [([86, 192, 0, 0], 11)], [([0x2a01, 0xcb08], 29)];
    "DK" 60 "da-DK,da;q=0.9,en;q=0.7" [([87, 48, 0, 0], 13), ([80, 160, 0, 0], 13), ([188, 176, 0, 0], 13)], [([0x2a05, 0xf6c0], 29)];
    "IT" 55 "it-IT,it;q=0.9" [([79, 0, 0, 0], 11), ([95, 224, 0, 0], 11)], [([0x2a01, 0x2000], 20)];
    "ES" 50 "es-ES,es;q=0.9" [([83, 32, 0, 0], 11), ([88, 0, 0, 0], 11)], [([0x2a02, 0x9000], 23)];
    "NL" 40 "nl-NL,nl;q=0.9,en;q=0.8" [([86, 80, 0, 0], 12), ([77, 160, 0, 0], 12)], [([0x2001, 0x1c00], 23)];
    "PL" 35 "pl-PL,pl;q=0.9" [([83, 0, 0, 0], 11), ([79, 184, 0, 0], 13)], [];
    "JP" 30 "ja-JP,ja;q=0.9" [([60, 64, 0, 0], 10)], [([0x2400, 0x2000], 20)];
    "SE" 25 "sv-SE,sv;q=0.9,en;q=0.8" [([90, 224, 0, 0], 12), ([78, 64, 0, 0], 12)], [];
    "CA" 20 "en-CA,en;q=0.9,fr;q=0.5" [([99, 224, 0, 0], 11), ([70, 24, 0, 0], 13)], [([0x2607, 0xfea8], 32)];
    "IN" 18 "en-IN,en;q=0.9,hi;q=0.6" [([117, 192, 0, 0], 10)], [([0x2409, 0x4000], 22)];
    "BR" 15 "pt-BR,pt;q=0.9" [([179, 80, 0, 0], 12)], [([0x2804, 0x0014], 32)];
    "AU" 12 "en-AU,en;q=0.9" [([101, 160, 0, 0], 11), ([58, 160, 0, 0], 12)], [([0x2001, 0x8000], 20)];
    "KR" 8 "ko-KR,ko;q=0.9" [([175, 192, 0, 0], 10)], [];
    "MX" 5 "es-MX,es;q=0.9" [([189, 128, 0, 0], 10)], [];
    "NZ" 3 "en-NZ,en;q=0.9" [([122, 56, 0, 0], 14)], [];
    "EE" 2 "et-EE,et;q=0.9" [([90, 190, 0, 0], 15)], [];
    "IS" 2 "is-IS,is;q=0.9" [([157, 157, 0, 0], 16)], [];
};

/// One in this many senders has an IPv6 address, where the country has networks for it here.
const V6_ONE_IN: u32 = 4;

/// A place, by how many senders are there.
pub(super) fn place(random: &mut ChaCha8Rng) -> &'static Place {
    let total: u32 = PLACES.iter().map(|place| place.weight).sum();
    let mut drawn = random.random_range(0..total);
    for place in PLACES {
        match drawn.checked_sub(place.weight) {
            Some(rest) => drawn = rest,
            None => return place,
        }
    }
    &PLACES[0]
}

impl Place {
    /// An address of somebody there.
    pub(super) fn address(&self, random: &mut ChaCha8Rng) -> IpAddr {
        if !self.v6.is_empty() && random.random_ratio(1, V6_ONE_IN) {
            let ([first, second], length) = self.v6[random.random_range(0..self.v6.len())];
            let network = (u128::from(first) << 112) | (u128::from(second) << 96);
            let host = random.random::<u128>() & (u128::MAX >> length);
            return IpAddr::V6(Ipv6Addr::from(network | host));
        }
        let (network, length) = self.v4[random.random_range(0..self.v4.len())];
        let host = random.random::<u32>() & (u32::MAX >> length);
        // Long numbers at the end: a short address such as 73.1.2.8 would be found by chance in a list of versions.
        let [first, second, third, fourth] =
            (u32::from(Ipv4Addr::from(network)) | host).to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(first, second, third | 128, 100 + fourth % 150))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn weights_are_a_thousand_and_networks_are_aligned() {
        assert_eq!(PLACES.iter().map(|place| place.weight).sum::<u32>(), 1000);
        for place in PLACES {
            for (network, length) in place.v4 {
                let network = u32::from(Ipv4Addr::from(*network));
                assert_eq!(network & (u32::MAX >> length), 0, "{} /{length}", place.country);
            }
            for ([first, second], length) in place.v6 {
                let network = (u32::from(*first) << 16) | u32::from(*second);
                let host = u32::MAX.checked_shr(*length).unwrap_or(0);
                assert_eq!(network & host, 0, "{} /{length}", place.country);
            }
        }
    }

    #[test]
    fn addresses_lie_in_their_networks() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for place in PLACES {
            for _ in 0..200 {
                let inside = match place.address(&mut random) {
                    IpAddr::V4(address) => place.v4.iter().any(|(network, length)| {
                        let other = u32::from(address) ^ u32::from(Ipv4Addr::from(*network));
                        other >> (32 - length) == 0
                    }),
                    IpAddr::V6(address) => place.v6.iter().any(|([first, second], length)| {
                        let network = (u32::from(*first) << 16) | u32::from(*second);
                        let other = (u128::from(address) >> 96) ^ u128::from(network);
                        other >> (32 - length) == 0
                    }),
                };
                assert!(inside, "{}", place.country);
            }
        }
    }
}
