//! Address to country, user agent to browser, URL to path: the libraries and data of gate 1, used plainly.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use maxminddb::{PathElement, Reader};
use ua_parser::{Extractor, Regexes};
use url::Url;

const COUNTRIES: &[u8] = include_bytes!("../../../anonymizer/data/geo/country.mmdb.zst");
const PATTERNS: &str = include_str!("../../../anonymizer/data/uap-core/regexes.yaml");
const COUNTRY: &[PathElement<'static>] = &[PathElement::Key("country_code")];
const DATABASE_BYTES_MAX: usize = 1 << 30;
const AGENTS_MAX: usize = 8_192;

/// What is known of a user agent.
#[derive(Default)]
pub(super) struct Agent {
    pub(super) browser: Option<String>,
    pub(super) os: Option<String>,
    pub(super) class: &'static str,
}

/// Tables in memory.
pub(super) struct Lookup {
    countries: Reader<Vec<u8>>,
    agents: Extractor<'static>,
    seen: HashMap<Box<str>, Rc<Agent>>,
}

impl Lookup {
    pub(super) fn new() -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let countries = zstd::bulk::decompress(COUNTRIES, DATABASE_BYTES_MAX)?;
        let patterns: Regexes<'static> = serde_yaml_ng::from_str(PATTERNS)?;
        Ok(Self {
            countries: Reader::from_source(countries)?,
            agents: Extractor::try_from(patterns)?,
            seen: HashMap::new(),
        })
    }

    pub(super) fn country(&self, address: &str) -> Option<&str> {
        let address: IpAddr = address.parse().ok()?;
        self.countries.lookup(address).ok()?.decode_path(COUNTRY).ok()?
    }

    pub(super) fn agent(&mut self, user_agent: &str) -> Rc<Agent> {
        if let Some(agent) = self.seen.get(user_agent) {
            return Rc::clone(agent);
        }
        let (browser, os, device) = self.agents.extract(user_agent);
        let browser = browser.map(|found| match found.major {
            Some(major) => format!("{} {major}", found.family),
            None => found.family.into_owned(),
        });
        let class = match device {
            Some(device) if device.device == "Spider" => "bot",
            _ if user_agent.contains("Mobile") => "mobile",
            _ => "desktop",
        };
        let agent = Rc::new(Agent { browser, os: os.map(|found| found.os.into_owned()), class });
        if self.seen.len() >= AGENTS_MAX {
            self.seen.clear();
        }
        self.seen.insert(user_agent.into(), Rc::clone(&agent));
        agent
    }
}

/// What is kept of a URL.
pub(super) struct Page {
    pub(super) host: String,
    pub(super) path: String,
    pub(super) campaign: [Option<String>; 3],
}

/// Takes a URL apart: host, path with placeholders, campaign.
pub(super) fn page(text: &str) -> Option<Page> {
    let url = Url::parse(text).ok()?;
    let host = url.host_str()?.trim_start_matches("www.").to_owned();
    let mut path = String::with_capacity(url.path().len());
    for segment in url.path_segments()? {
        path.push('/');
        path.push_str(if is_identifier(segment) { ":id" } else { segment });
    }
    let mut campaign = [None, None, None];
    for (name, value) in url.query_pairs() {
        match &*name {
            "utm_source" => campaign[0] = Some(value.into_owned()),
            "utm_medium" => campaign[1] = Some(value.into_owned()),
            "utm_campaign" => campaign[2] = Some(value.into_owned()),
            _ => {}
        }
    }
    Some(Page { host, path, campaign })
}

/// A number, a token, an address of a person: what does not name a page.
fn is_identifier(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    digits >= 4 || segment.len() > 40 || segment.contains('@') || segment.contains("%40")
}
