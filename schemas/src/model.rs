//! The compiled policy package: plain data, indices instead of names, checked before anybody sees it.

use std::fmt;

use regex::Regex;

use crate::time::Millis;

mod policy;

pub(crate) use policy::kept_days;
pub use policy::{
    Basis, Category, Content, GoogleConsent, Honoured, LegalHold, Purpose, PurposeSet, Receives,
    Recipient, Refused, Role, Stated,
};

/// Fingerprint of a package: BLAKE3 over its file names and contents, in order of name, each with its length
/// before it (64 bits, little-endian).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

/// Lower-case hexadecimal.
impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// One policy package, whole and checked. [`Package::load`] is the only way to one.
#[derive(Clone, Debug)]
pub struct Package {
    /// Who collects: the legal name of the controller.
    pub controller: String,
    /// The version of the published policy that this package keeps; in every manifest.
    pub version: String,
    /// What identifies exactly these rules.
    pub digest: Digest,
    /// Where data must stay, if declared: `EEA`, or an ISO 3166-1 alpha-2 code.
    pub residency: Option<String>,
    /// Where people send requests: an e-mail address or a URL.
    pub contact: Option<String>,
    /// The supervisory authority that takes complaints.
    pub authority: Option<String>,
    /// Contributors expected per product or site, by which statistics are judged beforehand.
    pub fleet: Vec<(String, u64)>,
    /// Days within which a request of a data subject is answered; 30 if not declared.
    pub answer_within_days: u32,
    /// Whether the published text says so.
    pub answer_source: Stated,
    /// Which signals of browsers count as objections.
    pub signals: Honoured,
    /// Why anything is collected; a [`PurposeSet`] holds indices into this list. At most 32.
    pub purposes: Vec<Purpose>,
    /// Who is given anything, in order of the file.
    pub recipients: Vec<Recipient>,
    /// What legal holds are allowed; none without it.
    pub legal_hold: Option<LegalHold>,
    /// What is never taken.
    pub refused: Refused,
    /// Kinds of event, in order of name.
    pub families: Vec<Family>,
    /// What may leave, in order of name.
    pub statistics: Vec<Statistic>,
}

impl Package {
    /// The family of that name, with its index.
    #[must_use]
    pub fn family(&self, name: &str) -> Option<(usize, &Family)> {
        self.families.iter().enumerate().find(|(_, family)| family.name == name)
    }

    /// The statistic of that name.
    #[must_use]
    pub fn statistic(&self, name: &str) -> Option<&Statistic> {
        self.statistics.iter().find(|statistic| statistic.name == name)
    }

    /// The purpose of that name, with its index.
    #[must_use]
    pub fn purpose(&self, name: &str) -> Option<(usize, &Purpose)> {
        self.purposes.iter().enumerate().find(|(_, purpose)| purpose.name == name)
    }

    /// For how many days after the day of its event a value that rests on these purposes is kept at most; none if it lives
    /// as long as its row.
    #[must_use]
    pub fn kept_days(&self, purposes: PurposeSet) -> Option<u32> {
        kept_days(&self.purposes, purposes)
    }
}

/// A kind of event with one declared schema.
#[derive(Clone, Debug)]
pub struct Family {
    /// The value of `type` in an event, and the name of the table.
    pub name: String,
    /// What one event is, for people: one phrase, if declared.
    pub about: Option<String>,
    /// What a contributor is.
    pub contributor: Contributor,
    /// Length of a key epoch in days: a pseudonym means nothing beyond it.
    pub epoch_days: u32,
    /// Event times are truncated to this many milliseconds.
    pub grain_ms: i64,
    /// How long after its time an event still counts, in milliseconds.
    pub late_ms: i64,
    /// How long a second copy is recognised, in milliseconds.
    pub dedupe_window_ms: i64,
    /// Purposes of every field that does not say otherwise, and of the event itself.
    pub purposes: PurposeSet,
    /// Fields that decide about the whole event, or about its place.
    pub flags: Flags,
    /// Whether the published text says how long rows live.
    pub kept_source: Stated,
    /// Declared fields, in order of the file.
    pub fields: Vec<Field>,
}

impl Family {
    /// The field of that name, with its index.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<(usize, &Field)> {
        self.fields.iter().enumerate().find(|(_, field)| field.name == name)
    }

    /// How long a row of this family may live beyond the end of its epoch, in milliseconds.
    #[must_use]
    pub fn grace_ms(&self) -> i64 {
        48 * crate::time::HOUR_MS
    }
}

/// Boolean fields that are read at the door and never stored, by index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Where it is true, the event comes from a child, and is refused.
    pub age: Option<usize>,
    /// Where it is false, location is off: every field that is about location is null, whatever it is made of.
    pub location: Option<usize>,
}

/// Whom a family counts.
#[derive(Clone, Debug)]
pub struct Contributor {
    /// How one is told from another.
    pub source: ContributorSource,
    /// The plural that measures and answers use: `devices`, `visitors`.
    pub called: String,
}

/// How a contributor is told from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContributorSource {
    /// By the field of this index, whose transform is `pseudonym`.
    Field(usize),
    /// Without any cookie or id: (site, address, user agent) under the epoch's key, while it lives.
    Visit,
}

/// One declared field: what comes in, what becomes of it.
#[derive(Clone, Debug)]
pub struct Field {
    /// Name in the event and in the table.
    pub name: String,
    /// What it is for people: one phrase.
    pub about: String,
    /// What it is about.
    pub category: Category,
    /// Where its value comes from.
    pub source: Source,
    /// What values are accepted.
    pub kind: Kind,
    /// What is made of an accepted value.
    pub transform: Transform,
    /// Kept only while one of these stands.
    pub purposes: PurposeSet,
    /// Whether an event without it is refused.
    pub required: bool,
    /// From this moment on the field is dropped as if undeclared.
    pub expires: Option<Millis>,
}

/// Where a field's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The event itself, under the field's name.
    Body,
    /// The event's field of this index (a URL): for `domain`, `path` and `utm` of it.
    Field(usize),
    /// The peer's address: for `country`.
    Address,
    /// The `User-Agent` header: for `browser`, `os`, `device_class`.
    UserAgent,
    /// The `Accept-Language` header: for `language`.
    AcceptLanguage,
}

/// Accepted values.
#[derive(Clone, Debug)]
pub enum Kind {
    /// UTF-8 text of at most `bytes_max` bytes; kept only where `pattern` (anchored) matches.
    String {
        /// Longest accepted text, in bytes.
        bytes_max: u32,
        /// The form that the whole text must have, if declared.
        pattern: Option<Pattern>,
    },
    /// One of `values`; anything else becomes `values[otherwise]`, or is refused.
    Enum {
        /// Declared values, with that of `otherwise` at the end.
        values: Vec<String>,
        /// Index of the value that stands for all others.
        otherwise: Option<u16>,
    },
    /// Whole number, inclusive range.
    Integer {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// Finite number, inclusive range.
    Float {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// `true` or `false`.
    Boolean,
    /// Span of time as a whole number of `unit_ms` milliseconds in the event; milliseconds at rest.
    Duration {
        /// Milliseconds in one unit as sent: 1 for `ms`, 1000 for `s`.
        unit_ms: i64,
        /// Shortest, in units as sent.
        min: i64,
        /// Longest, in units as sent.
        max: i64,
    },
    /// RFC 3339 text, or milliseconds since 1970 as a number.
    Timestamp,
    /// Numbers joined by dots, at most four, with an optional pre-release or build word that is dropped.
    Version,
    /// Absolute or path-only URL of at most `bytes_max` bytes.
    Url {
        /// Longest accepted text, in bytes.
        bytes_max: u32,
    },
}

/// A compiled, anchored pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As written in the package.
    pub source: String,
    /// `^(?:source)$`.
    pub regex: Regex,
}

/// What is made of an accepted value.
#[derive(Clone, Debug)]
pub enum Transform {
    /// Kept as it is.
    Keep,
    /// Address to ISO 3166-1 alpha-2 code.
    Country,
    /// Keyed BLAKE3, 128 bits, under the epoch's key.
    Pseudonym,
    /// First parts of a version, or a timestamp down to a unit.
    Truncate(Truncate),
    /// Rounded down to a multiple of this width (milliseconds for durations).
    Bucket(f64),
    /// Host name of a URL, without a leading `www.`.
    Domain,
    /// Path of a URL, templated.
    Path(Routes),
    /// A campaign parameter of a URL, kept only where the field's pattern matches.
    Utm(Utm),
    /// Browser family and major version.
    Browser,
    /// Operating system family.
    Os,
    /// `desktop`, `mobile`, `tablet`, `bot` or `other`.
    DeviceClass,
    /// Primary language subtag.
    Language,
    /// Validated, used by gate 1 where needed, never stored.
    Drop,
}

/// What `truncate` leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncate {
    /// `3` of `3.8.1`.
    Major,
    /// `3.8` of `3.8.1`.
    MajorMinor,
    /// A point in time, rounded down to this many milliseconds.
    Time(i64),
}

/// Declared route templates of a `path` transform: `/scans/:id/report`.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Templates in order of the package; the first that fits wins.
    pub templates: Vec<Vec<RouteSegment>>,
}

/// A segment of a route template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteSegment {
    /// Must be equal.
    Literal(String),
    /// `:name`: anything; the template's own word is kept.
    Parameter(String),
}

/// Campaign parameter of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Utm {
    /// `utm_source`.
    Source,
    /// `utm_medium`.
    Medium,
    /// `utm_campaign`.
    Campaign,
}

/// A declared statistic: the only thing a reader can ever see.
#[derive(Clone, Debug)]
pub struct Statistic {
    /// Name in queries, and of its table.
    pub name: String,
    /// Heading for people.
    pub title: String,
    /// Index of the family it is computed from.
    pub family: usize,
    /// What it is computed for: events for which none of these stood are left out. None: all events count.
    pub purposes: Option<PurposeSet>,
    /// What is measured, in order of the package; column names are [`Measure::columns`].
    pub measures: Vec<Measure>,
    /// Length of its periods.
    pub every: Every,
    /// Groupings, each computed by itself: lists of field indices, ascending within the package's order.
    pub by: Vec<Vec<usize>>,
    /// How much of one contributor counts in one period.
    pub clamp: Clamp,
    /// What protects the answer.
    pub mechanism: Mechanism,
}

/// What is measured in each group.
#[derive(Clone, Debug)]
pub enum Measure {
    /// Distinct contributors; named after the family's `called`.
    Contributors {
        /// Column name.
        called: String,
    },
    /// Events of contributors.
    Events,
    /// Events without a contributor (no consent, or an objection), in groups that have enough contributors.
    UnattributedEvents,
    /// Sum of a number field.
    Sum(NumberField),
    /// Mean of a number field over events that have it.
    Mean(NumberField),
    /// Share of events for which a condition on a field holds, 0 to 1.
    Share {
        /// Index of the field.
        field: usize,
        /// Its name.
        name: String,
        /// What must hold.
        condition: Condition,
    },
    /// Quantiles of a number field, from a histogram of its buckets.
    Quantiles {
        /// The field.
        field: NumberField,
        /// Ranks, each strictly between 0 and 1.
        at: Vec<f64>,
    },
}

impl Measure {
    /// Names of the columns this measure gives, in order.
    #[must_use]
    pub fn columns(&self) -> Vec<String> {
        match self {
            Self::Contributors { called } => vec![called.clone()],
            Self::Events => vec!["events".to_owned()],
            Self::UnattributedEvents => vec!["unattributed_events".to_owned()],
            Self::Sum(field) => vec![format!("sum_{}", field.name)],
            Self::Mean(field) => vec![format!("mean_{}", field.name)],
            Self::Share { name, condition: Condition::Present, .. } => {
                vec![format!("share_{name}_present")]
            }
            Self::Share { name, condition: Condition::Absent, .. } => {
                vec![format!("share_{name}_absent")]
            }
            Self::Share { name, condition: Condition::Is(values), .. } => {
                vec![format!("share_{name}_{}", values.join("_or_"))]
            }
            Self::Quantiles { field, at } => at
                .iter()
                .map(|rank| format!("p{}_{}", (rank * 100.0).round(), field.name))
                .collect(),
        }
    }
}

impl Measure {
    /// Index of the field that is measured, if one is.
    #[must_use]
    pub fn field(&self) -> Option<usize> {
        match self {
            Self::Contributors { .. } | Self::Events | Self::UnattributedEvents => None,
            Self::Sum(field) | Self::Mean(field) | Self::Quantiles { field, .. } => {
                Some(field.field)
            }
            Self::Share { field, .. } => Some(*field),
        }
    }
}

/// A number field of a measure, with the bounds its declared range gives.
#[derive(Clone, Debug)]
pub struct NumberField {
    /// Index of the field in its family.
    pub field: usize,
    /// Its name.
    pub name: String,
    /// Smallest value at rest, in the unit at rest (milliseconds for durations).
    pub min: f64,
    /// Largest value at rest.
    pub max: f64,
    /// Width of a histogram bucket for quantiles, in the unit at rest.
    pub bucket: f64,
}

/// A condition of `share`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The field has a value.
    Present,
    /// It has none.
    Absent,
    /// It is one of these.
    Is(Vec<String>),
}

/// Length of a statistic's periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// One hour; only for families with a grain of at most that.
    Hour,
    /// A calendar day, UTC.
    Day,
    /// Monday to Sunday, UTC; only within epochs of whole weeks.
    Week,
    /// The family's key epoch.
    Epoch,
}

impl Every {
    /// The word in packages, queries and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Epoch => "epoch",
        }
    }

    /// The beginning of the period that holds `time`, for a family with epochs of `epoch_days` days.
    #[must_use]
    pub fn start(self, time: Millis, epoch_days: u32) -> Millis {
        use crate::time::{DAY_MS, HOUR_MS, epoch_of, epoch_start};
        match self {
            Self::Hour => time.truncate(HOUR_MS),
            Self::Day => time.truncate(DAY_MS),
            Self::Week => epoch_start(epoch_of(time, 7), 7),
            Self::Epoch => epoch_start(epoch_of(time, epoch_days), epoch_days),
        }
    }

    /// Length in milliseconds.
    #[must_use]
    pub fn length_ms(self, epoch_days: u32) -> i64 {
        use crate::time::{DAY_MS, HOUR_MS};
        match self {
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
            Self::Week => 7 * DAY_MS,
            Self::Epoch => i64::from(epoch_days) * DAY_MS,
        }
    }
}

/// How much of one contributor counts in one period of one grouping cell.
#[derive(Clone, Debug, Default)]
pub struct Clamp {
    /// Most events.
    pub events: Option<u64>,
    /// Largest absolute sum of a number field, by field index.
    pub sums: Vec<(usize, f64)>,
}

/// What protects an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mechanism {
    /// Disclosure control for staff: k contributors, rounding, clamping, complementary suppression.
    Threshold {
        /// Fewest distinct contributors of a visible group.
        min_contributors: u64,
        /// Counts are rounded to a multiple of this.
        rounding: u64,
    },
}
