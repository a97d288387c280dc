//! A package with every transform in it, and what tests need to send events through the gate.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use regex::Regex;
use schemas::model::{
    Basis, Category, Contributor, ContributorSource, Field, Flags, Honoured, Kind, Pattern,
    Purpose, Refused, RouteSegment, Routes, Source, Stated, Transform, Truncate, Utm,
};
use schemas::time::{DAY_MS, HOUR_MS};
use schemas::{Clock, Digest, Family, Millis, Package, PurposeSet};
use tempfile::TempDir;

use crate::{
    Agents, ClockSource, Connection, Gate, Geo, KeyRing, Origin, RawEvent, Resolved, Resolver,
    Value,
};

/// Purposes of the fixture: bit 0 is based on consent, bit 1 on legitimate interest, bit 2 on a contract.
pub(crate) const CONSENT: PurposeSet = PurposeSet(1);
pub(crate) const INTEREST: PurposeSet = PurposeSet(2);
pub(crate) const ALL: PurposeSet = PurposeSet(7);

/// Index of the family whose contributors are a field.
pub(crate) const DEVICES: usize = 0;
/// Index of the family that counts visits.
pub(crate) const WEB: usize = 1;

/// A Monday at noon, within the epochs of both families.
pub(crate) const NOW: Millis = Millis(1_795_435_200_000);

/// Declared fields of `devices`, by index.
pub(crate) mod devices {
    pub(crate) const SERIAL: usize = 0;
    pub(crate) const PRODUCT: usize = 1;
    pub(crate) const VERSION: usize = 2;
    pub(crate) const DURATION: usize = 3;
    pub(crate) const ERROR: usize = 4;
    pub(crate) const ACCOUNT: usize = 5;
    pub(crate) const RATIO: usize = 6;
    pub(crate) const OK: usize = 7;
    pub(crate) const BUILT: usize = 8;
    pub(crate) const SCANS: usize = 9;
    pub(crate) const OLD: usize = 10;
    pub(crate) const FIELDS: usize = 11;
}

/// Declared fields of `web`, by index.
pub(crate) mod web {
    pub(crate) const URL: usize = 0;
    pub(crate) const PAGE: usize = 1;
    pub(crate) const HOSTNAME: usize = 2;
    pub(crate) const REFERRER: usize = 3;
    pub(crate) const COUNTRY: usize = 5;
    pub(crate) const TAG: usize = 10;
    pub(crate) const FIELDS: usize = 11;
}

pub(crate) fn text(bytes_max: u32) -> Kind {
    Kind::String { bytes_max, pattern: None }
}

pub(crate) fn pattern(source: &str) -> Kind {
    let regex = Regex::new(&format!("^(?:{source})$")).unwrap();
    Kind::String { bytes_max: 64, pattern: Some(Pattern { source: source.into(), regex }) }
}

pub(crate) fn words(values: &[&str], otherwise: Option<u16>) -> Kind {
    Kind::Enum { values: values.iter().map(|word| (*word).to_owned()).collect(), otherwise }
}

pub(crate) fn field(name: &str, source: Source, kind: Kind, transform: Transform) -> Field {
    Field {
        name: name.into(),
        about: String::new(),
        category: Category::Usage,
        source,
        kind,
        transform,
        purposes: INTEREST,
        required: false,
        expires: None,
    }
}

fn device_fields() -> Vec<Field> {
    use Source::Body;
    let duration = Kind::Duration { unit_ms: 1, min: 0, max: 3_600_000 };
    let mut old = field("old", Body, Kind::Boolean, Transform::Keep);
    old.expires = Some(Millis(NOW.0 - DAY_MS));
    vec![
        field("serial", Body, text(64), Transform::Pseudonym),
        field("product", Body, words(&["x1", "kathea", "other"], Some(2)), Transform::Keep),
        field("version", Body, Kind::Version, Transform::Truncate(Truncate::MajorMinor)),
        field("duration", Body, duration, Transform::Bucket(100.0)),
        field("error", Body, pattern("E[0-9]{3,5}"), Transform::Keep),
        Field { purposes: CONSENT, ..field("account", Body, text(64), Transform::Pseudonym) },
        field("ratio", Body, Kind::Float { min: 0.0, max: 1.0 }, Transform::Bucket(0.25)),
        field("ok", Body, Kind::Boolean, Transform::Keep),
        field("built", Body, Kind::Timestamp, Transform::Truncate(Truncate::Time(DAY_MS))),
        field("scans", Body, Kind::Integer { min: 0, max: 1_000 }, Transform::Keep),
        old,
    ]
}

fn web_fields() -> Vec<Field> {
    let url = Kind::Url { bytes_max: 2_048 };
    let route =
        vec![RouteSegment::Literal("blog".into()), RouteSegment::Parameter("article".into())];
    let path = Transform::Path(Routes { templates: vec![route] });
    let from_url = Source::Field(web::URL);
    let campaign = pattern("[A-Za-z0-9_-]{1,30}");
    let agent = Source::UserAgent;
    vec![
        field("url", Source::Body, url.clone(), Transform::Drop),
        field("page", from_url, url.clone(), path),
        field("hostname", from_url, url.clone(), Transform::Domain),
        field("referrer", Source::Body, url, Transform::Domain),
        field("campaign", from_url, campaign, Transform::Utm(Utm::Campaign)),
        field("country", Source::Address, text(2), Transform::Country),
        field("browser", agent, text(64), Transform::Browser),
        field("os", agent, text(64), Transform::Os),
        field("class", agent, text(64), Transform::DeviceClass),
        field("language", Source::AcceptLanguage, text(64), Transform::Language),
        Field {
            purposes: CONSENT,
            ..field("tag", Source::Body, words(&["a", "b"], None), Transform::Keep)
        },
    ]
}

fn family(name: &str, source: ContributorSource, epoch_days: u32, fields: Vec<Field>) -> Family {
    Family {
        name: name.into(),
        about: None,
        contributor: Contributor { source, called: "units".into() },
        epoch_days,
        grain_ms: HOUR_MS,
        late_ms: 7 * DAY_MS,
        dedupe_window_ms: 2 * DAY_MS,
        purposes: INTEREST,
        flags: Flags::default(),
        kept_source: Stated::Assumed,
        fields,
    }
}

fn purpose(name: &str, basis: Basis) -> Purpose {
    Purpose {
        name: name.into(),
        basis,
        source: Stated::Assumed,
        keep_days: None,
        keep_source: Stated::Assumed,
        consent_versions: Vec::new(),
        consent_days: None,
        tcf: Vec::new(),
        google: None,
        dpv: None,
        notice: String::new(),
    }
}

/// The package, open to changes.
pub(crate) fn package() -> Package {
    Package {
        controller: "Example ApS".into(),
        version: "1".into(),
        digest: Digest([7; 32]),
        residency: None,
        contact: None,
        authority: None,
        fleet: vec![],
        answer_within_days: 30,
        answer_source: Stated::Assumed,
        signals: Honoured::default(),
        purposes: vec![
            purpose("agreed", Basis::Consent),
            purpose("improve", Basis::LegitimateInterest),
            purpose("service", Basis::Contract),
        ],
        recipients: vec![],
        legal_hold: None,
        refused: Refused::default(),
        families: vec![
            family("devices", ContributorSource::Field(devices::SERIAL), 28, device_fields()),
            family("web", ContributorSource::Visit, 1, web_fields()),
        ],
        statistics: vec![],
    }
}

/// A gate on a ring of its own, in a folder that goes away with it.
pub(crate) struct Bench {
    pub(crate) package: Arc<Package>,
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) gate: Gate,
    pub(crate) folder: TempDir,
    resolver: OnceLock<Resolver>,
}

impl Bench {
    pub(crate) fn new(package: Package) -> Self {
        let folder = TempDir::new().unwrap();
        let time = Arc::new(AtomicI64::new(NOW.0));
        let ring = Arc::new(ring(&folder, &time));
        let package = Arc::new(package);
        let archive = folder.path().join("archive");
        let gate = Gate::new(Arc::clone(&package), Arc::clone(&ring), archive).unwrap();
        Self { package, ring, gate, folder, resolver: OnceLock::new() }
    }

    /// Another gate on the same ring and archive.
    pub(crate) fn gate_of(&self, package: Package) -> Gate {
        let archive = self.folder.path().join("archive");
        Gate::new(Arc::new(package), Arc::clone(&self.ring), archive).unwrap()
    }

    pub(crate) fn resolver(&self) -> &Resolver {
        self.resolver.get_or_init(|| {
            let (package, ring) = (Arc::clone(&self.package), Arc::clone(&self.ring));
            Resolver::new(package, ring, Geo::shipped().unwrap(), agents())
        })
    }

    /// What is left of a connection that says nothing.
    pub(crate) fn nobody(&self) -> Resolved {
        let nothing =
            Connection { address: None, user_agent: String::new(), accept_language: String::new() };
        self.resolver().resolve(nothing, "", NOW).unwrap()
    }
}

fn ring(folder: &TempDir, time: &Arc<AtomicI64>) -> KeyRing {
    let at = |name: &str| folder.path().join(name);
    KeyRing::create(&at("ring"), &at("kek"), &at("ledger.jsonl"), &clock(time)).unwrap()
}

pub(crate) fn clock(time: &Arc<AtomicI64>) -> Clock {
    let time = Arc::clone(time);
    Arc::new(move || Millis(time.load(Ordering::Relaxed)))
}

/// A few patterns of uap-core's form: its own take a moment to compile.
pub(crate) fn agents() -> Agents {
    let patterns = concat!(
        "user_agent_parsers:\n",
        "  - regex: '(Firefox|Chrome)/(\\d+)'\n",
        "  - regex: '(\\w+)Browser/(\\d+)'\n",
        "os_parsers:\n",
        "  - regex: '(Windows|Android)'\n",
        "device_parsers:\n",
        "  - regex: '(?i)bot'\n    device_replacement: 'Spider'\n",
    );
    Agents::of(patterns, "test").unwrap()
}

/// An event of that many fields that says nothing.
pub(crate) fn event<'a>(values: &'a [Value<'a>]) -> RawEvent<'a> {
    RawEvent {
        values,
        time: NOW,
        clock: ClockSource::Device,
        said: None,
        received: NOW,
        session: None,
        id: None,
        boot: None,
        seq: None,
        granted: ALL,
        location_off: false,
    }
}

pub(crate) fn origin() -> Origin {
    Origin { partition: 3, position: 9, import: false }
}

pub(crate) fn address(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}
