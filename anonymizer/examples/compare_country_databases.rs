//! Measures two country databases against each other and against networks whose country is not in doubt.
//!
//! ```sh
//! cargo run --example compare_country_databases -- FIRST.mmdb SECOND.mmdb
//! ```
//!
//! Prints coverage, agreement and sanity checks as they stand in `data/geo/README.md`. Addresses are drawn with
//! a fixed seed, so that the same files give the same numbers.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use maxminddb::{PathElement, Reader, WithinOptions};

/// Addresses drawn for each comparison.
const SAMPLES: u32 = 1_000_000;

/// Universities and research networks: assigned for decades, announced from where their name says.
const KNOWN: &[(&str, &str)] = &[
    ("130.225.0.1", "DK"),
    ("192.38.10.1", "DK"),
    ("130.235.52.1", "SE"),
    ("129.240.8.1", "NO"),
    ("128.214.9.1", "FI"),
    ("129.187.5.1", "DE"),
    ("139.18.1.1", "DE"),
    ("131.111.8.1", "GB"),
    ("129.67.1.1", "GB"),
    ("129.132.1.1", "CH"),
    ("130.37.129.1", "NL"),
    ("193.0.6.139", "NL"),
    ("129.175.15.1", "FR"),
    ("131.175.12.1", "IT"),
    ("147.83.2.1", "ES"),
    ("157.193.40.1", "BE"),
    ("131.130.1.1", "AT"),
    ("147.32.1.1", "CZ"),
    ("149.156.1.1", "PL"),
    ("161.53.2.1", "HR"),
    ("147.91.1.1", "RS"),
    ("147.52.1.1", "GR"),
    ("144.122.199.1", "TR"),
    ("132.66.16.1", "IL"),
    ("128.32.206.1", "US"),
    ("18.9.22.1", "US"),
    ("8.8.8.8", "US"),
    ("128.100.96.1", "CA"),
    ("132.248.10.1", "MX"),
    ("143.107.253.1", "BR"),
    ("133.11.0.1", "JP"),
    ("166.111.4.1", "CN"),
    ("143.248.1.1", "KR"),
    ("140.112.8.1", "TW"),
    ("137.132.1.1", "SG"),
    ("130.102.132.1", "AU"),
    ("130.216.1.1", "NZ"),
    ("146.141.1.1", "ZA"),
    ("2001:878::1", "DK"),
    ("2001:6b0::1", "SE"),
    ("2001:700::1", "NO"),
    ("2001:708::1", "FI"),
    ("2001:638::1", "DE"),
    ("2001:630::1", "GB"),
    ("2001:620::1", "CH"),
    ("2001:610::1", "NL"),
    ("2001:660::1", "FR"),
    ("2001:720::1", "ES"),
    ("2001:760::1", "IT"),
    ("2001:718::1", "CZ"),
    ("2001:200::1", "JP"),
    ("2001:da8::1", "CN"),
    ("2001:388::1", "AU"),
    ("2607:f140::1", "US"),
];

/// Addresses of no place.
const SPECIAL: &[&str] = &[
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.1.1",
    "172.16.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "240.0.0.1",
    "::1",
    "2001:db8::1",
    "fc00::1",
    "fe80::1",
];

struct Database {
    name: String,
    reader: Reader<Vec<u8>>,
}

impl Database {
    fn open(path: &str) -> Result<Self, Box<dyn Error>> {
        let name = path.rsplit('/').next().unwrap_or(path).to_owned();
        Ok(Self { name, reader: Reader::open_readfile(path)? })
    }

    fn country(&self, address: IpAddr) -> Option<&str> {
        let path = [PathElement::Key("country_code")];
        self.reader.lookup(address).ok()?.decode_path(&path).ok()?
    }
}

/// SplitMix64: enough for a sample.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// An address that could be a visitor's: not private, not reserved, not multicast.
fn visitor(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && (64..128).contains(&second);
    let special = address.is_private() || address.is_loopback() || address.is_link_local();
    !(first == 0 || first >= 224 || shared || special)
}

/// How two databases answer for the same addresses.
#[derive(Default)]
struct Comparison {
    asked: u32,
    both: u32,
    equal: u32,
    first_only: u32,
    second_only: u32,
    differing: BTreeMap<(String, String), u32>,
}

impl Comparison {
    fn ask(&mut self, first: &Database, second: &Database, address: IpAddr) {
        self.asked += 1;
        match (first.country(address), second.country(address)) {
            (Some(one), Some(other)) => {
                self.both += 1;
                if one == other {
                    self.equal += 1;
                } else {
                    *self.differing.entry((one.into(), other.into())).or_default() += 1;
                }
            }
            (Some(_), None) => self.first_only += 1,
            (None, Some(_)) => self.second_only += 1,
            (None, None) => {}
        }
    }

    fn print(&self, what: &str) {
        let share = |count: u32, of: u32| 100.0 * f64::from(count) / f64::from(of.max(1));
        println!("{what}: {} addresses", self.asked);
        println!("  first has a country  {:5.1} %", share(self.both + self.first_only, self.asked));
        println!(
            "  second has a country {:5.1} %",
            share(self.both + self.second_only, self.asked)
        );
        println!("  equal where both do  {:5.1} %", share(self.equal, self.both));
        let mut differing: Vec<_> = self.differing.iter().collect();
        differing.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        for ((one, other), count) in differing.into_iter().take(6) {
            println!("  {one} / {other}: {:.2} %", share(*count, self.both));
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(first), Some(second)) = (arguments.next(), arguments.next()) else {
        return Err("two database files are needed".into());
    };
    let (first, second) = (Database::open(&first)?, Database::open(&second)?);
    for database in [&first, &second] {
        println!("{}: built at {} s", database.name, database.reader.metadata().build_epoch);
        sanity(database)?;
        codes(database)?;
    }

    let mut draw = Draw(2);
    let mut random = Comparison::default();
    while random.asked < SAMPLES {
        let address = Ipv4Addr::from_bits(u32::try_from(draw.next() >> 32)?);
        if visitor(address) {
            random.ask(&first, &second, address.into());
        }
    }
    random.print("IPv4, at random");

    for database in [&first, &second] {
        let mut networks = Comparison::default();
        for network in database.reader.networks(WithinOptions::default())? {
            let network = network?.network()?;
            if let IpAddr::V6(address) = network.network()
                && address.segments()[0] >= 0x2000
            {
                let host = Ipv6Addr::from_bits(address.to_bits() | 1);
                networks.ask(&first, &second, host.into());
            }
        }
        networks.print(&format!("IPv6, one address a network of {}", database.name));
    }
    Ok(())
}

/// Compares with the networks whose country is known.
fn sanity(database: &Database) -> Result<(), Box<dyn Error>> {
    let mut right = 0;
    for (address, country) in KNOWN {
        let found = database.country(address.parse()?);
        if found == Some(*country) {
            right += 1;
        } else {
            println!("  {address}: {} instead of {country}", found.unwrap_or("none"));
        }
    }
    for address in SPECIAL {
        if let Some(found) = database.country(address.parse()?) {
            println!("  {address}: {found} instead of none");
        }
    }
    println!("  {right} of {} known networks right", KNOWN.len());
    Ok(())
}

/// Counts codes that are no two upper-case letters, or stand for no country.
fn codes(database: &Database) -> Result<(), Box<dyn Error>> {
    let mut codes: BTreeMap<String, u32> = BTreeMap::new();
    for network in database.reader.networks(WithinOptions::default())? {
        let code: Option<&str> = network?.decode_path(&[PathElement::Key("country_code")])?;
        *codes.entry(code.unwrap_or("none").to_owned()).or_default() += 1;
    }
    let plain = |code: &str| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    let odd: Vec<_> = codes
        .iter()
        .filter(|(code, _)| !plain(code) || ["AP", "EU", "XX", "ZZ"].contains(&code.as_str()))
        .collect();
    println!("  {} codes; no country: {odd:?}", codes.len());
    Ok(())
}
