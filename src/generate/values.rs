//! A believable value for any declared field.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Zipf};
use schemas::Millis;
use schemas::model::{Category, Field, Kind, RouteSegment, Routes, Transform};
use schemas::time::HOUR_MS;
use serde_json::{Value, json};

use super::{hostile, pattern};

/// How long a value stays the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// For one sender, always.
    Sender,
    /// For one sitting.
    Session,
    /// For one event.
    Event,
}

/// How long values of `field` stay the same.
pub(super) fn holds(field: &Field) -> Holds {
    if field.name.contains("session") {
        return Holds::Session;
    }
    let named = ["product", "model", "app", "edition", "plan", "platform", "screen"]
        .iter()
        .any(|word| field.name.contains(word));
    let mine =
        matches!(field.category, Category::Device | Category::Identifier | Category::Language)
            || matches!(field.kind, Kind::Version)
            || matches!(field.transform, Transform::Pseudonym);
    if mine || named { Holds::Sender } else { Holds::Event }
}

/// How often an optional field is given at all, 0 to 1.
pub(super) fn presence(field: &Field) -> f64 {
    if field.required || is_target(field) || holds(field) != Holds::Event {
        return 1.0;
    }
    let rare = ["error", "fail", "crash"].iter().any(|word| field.name.contains(word));
    if rare {
        0.06
    } else if is_referrer(field) {
        0.55
    } else {
        0.95
    }
}

/// A value for `field` of an event at `at`; `None` where no accepted value could be thought of.
///
/// `random` is the sender's own where the value [`holds`] for one sender.
pub(super) fn draw(
    field: &Field,
    routes: &[&Routes],
    at: Millis,
    random: &mut ChaCha8Rng,
) -> Option<Value> {
    match &field.kind {
        Kind::String { bytes_max, pattern: Some(pattern) } => {
            let fits =
                |text: &str| text.len() <= *bytes_max as usize && pattern.regex.is_match(text);
            let word = WORDS.iter().find(|(part, _)| field.name.contains(part));
            let usual = word.map(|(_, words)| words[favourite(words.len(), random)]);
            match usual.filter(|text| fits(text)) {
                Some(text) => Some(json!(text)),
                None => pattern::sample(&pattern.source, fits, random).map(Value::String),
            }
        }
        Kind::String { bytes_max, pattern: None } => {
            Some(Value::String(fit(text(field, random), *bytes_max)))
        }
        Kind::Enum { values, otherwise } => listed(values, *otherwise, random),
        Kind::Integer { min, max } | Kind::Duration { min, max, .. } => {
            Some(json!(whole(*min, *max, random)))
        }
        Kind::Float { min, max } => {
            let value = number(*min, *max, random);
            Some(json!(((value * 100.0).round() / 100.0).clamp(*min, *max)))
        }
        Kind::Boolean => Some(json!(random.random_bool(0.35))),
        Kind::Timestamp => Some(json!(at.plus(-random.random_range(0..HOUR_MS)).to_string())),
        Kind::Version => Some(json!(version(at, random))),
        Kind::Url { bytes_max } => {
            let url = if is_referrer(field) {
                REFERRERS[favourite(REFERRERS.len(), random)].to_owned()
            } else if is_target(field) {
                TARGETS[favourite(TARGETS.len(), random)].to_owned()
            } else {
                url(routes, random)
            };
            Some(json!(fit(url, *bytes_max)))
        }
    }
}

fn is_referrer(field: &Field) -> bool {
    field.name.contains("refer")
}

/// Whither a link leads that leaves the site.
fn is_target(field: &Field) -> bool {
    field.name.contains("target") && matches!(field.kind, Kind::Url { .. })
}

/// Cuts a text to the longest that is accepted; all texts made here are ASCII.
fn fit(mut text: String, bytes_max: u32) -> String {
    text.truncate(bytes_max as usize);
    text
}

/// An index below `count`, the first ones far more often.
pub(super) fn favourite(count: usize, random: &mut ChaCha8Rng) -> usize {
    #[expect(clippy::cast_precision_loss, reason = "lists here are short")]
    let law = Zipf::new(count.max(1) as f64, 1.05).expect("at least one, and a positive exponent");
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 1 to count"
    )]
    let rank = law.sample(random) as usize;
    rank.clamp(1, count.max(1)) - 1
}

/// A declared word, or a new one where new ones are counted: products change before their packages do.
fn listed(values: &[String], otherwise: Option<u16>, random: &mut ChaCha8Rng) -> Option<Value> {
    let is_otherwise = |index: usize| otherwise.is_some_and(|other| index == usize::from(other));
    let declared: Vec<&String> = values
        .iter()
        .enumerate()
        .filter(|(index, _)| !is_otherwise(*index))
        .map(|(_, value)| value)
        .collect();
    let is_new = otherwise.is_some() && (declared.is_empty() || random.random_bool(0.03));
    if is_new {
        return Some(json!("brand_new"));
    }
    (!declared.is_empty()).then(|| json!(declared[favourite(declared.len(), random)]))
}

/// Mostly small, with a long tail, within the range.
fn number(min: f64, max: f64, random: &mut ChaCha8Rng) -> f64 {
    let span = max - min;
    if span <= 1_000.0 {
        // A short scale (percent, stars) is used all along, the middle most.
        return min + span * f64::midpoint(random.random::<f64>(), random.random::<f64>());
    }
    let law = LogNormal::new(-5.2, 0.8).expect("a finite, positive deviation");
    (min + span * law.sample(random)).min(max)
}

fn whole(min: i64, max: i64, random: &mut ChaCha8Rng) -> i64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "rounding does not matter; the value is held within the range"
    )]
    let value = number(min as f64, max as f64, random) as i64;
    value.clamp(min, max)
}

/// Text of a field without pattern: an identifier, or something long that must not be kept.
fn text(field: &Field, random: &mut ChaCha8Rng) -> String {
    if field.name.contains("mac_address") {
        return hostile::mac(random);
    }
    if field.name.contains("serial") {
        let letters = ["QX", "KT", "VR", "LM"][random.random_range(0..4)];
        let year = random.random_range(2019..=2026);
        return format!("{letters}-{year}-{:08}", random.random_range(0..100_000_000_u32));
    }
    if matches!(field.transform, Transform::Path(_) | Transform::Domain | Transform::Utm(_)) {
        return url(&[], random);
    }
    uuid(random)
}

/// A random (version 4) UUID.
pub(super) fn uuid(random: &mut ChaCha8Rng) -> String {
    uuid::Builder::from_random_bytes(random.random()).into_uuid().to_string()
}

/// Releases come every twelve days; most devices follow soon, some never.
fn version(at: Millis, random: &mut ChaCha8Rng) -> String {
    /// 2024-01-01.
    const FIRST_DAY: i32 = 19_723;
    const DAYS: i32 = 12;
    let behind = i32::try_from(favourite(14, random)).unwrap_or(0);
    let release = ((at.day() - FIRST_DAY) / DAYS - behind).max(10);
    format!("{}.{}.{}", release / 10, release % 10, random.random_range(0..3))
}

/// A page of the site: a declared route now and then.
fn url(routes: &[&Routes], random: &mut ChaCha8Rng) -> String {
    let templates: Vec<&Vec<RouteSegment>> =
        routes.iter().flat_map(|routes| &routes.templates).collect();
    let path = if !templates.is_empty() && random.random_bool(0.35) {
        fill(templates[favourite(templates.len(), random)], random)
    } else {
        PAGES[favourite(PAGES.len(), random)].to_owned()
    };
    page(&path, random)
}

/// The address of a page, a campaign's now and then.
pub(super) fn page(path: &str, random: &mut ChaCha8Rng) -> String {
    let query = match random.random_range(0..10) {
        0 => {
            let (source, medium) = SOURCES[favourite(SOURCES.len(), random)];
            let campaign = CAMPAIGNS[favourite(CAMPAIGNS.len(), random)];
            format!("?utm_source={source}&utm_medium={medium}&utm_campaign={campaign}")
        }
        1 => format!("?page={}", random.random_range(2..9)),
        _ => String::new(),
    };
    format!("https://www.example.com{path}{query}")
}

/// A declared route with something in its variable parts.
fn fill(template: &[RouteSegment], random: &mut ChaCha8Rng) -> String {
    template.iter().fold(String::new(), |path, segment| match segment {
        RouteSegment::Literal(word) => format!("{path}/{word}"),
        RouteSegment::Parameter(name) if name.contains("id") => {
            format!("{path}/{}", random.random_range(1_000..99_999))
        }
        RouteSegment::Parameter(_) => format!("{path}/{}", SLUGS[favourite(SLUGS.len(), random)]),
    })
}

const EVENTS: &[&str] =
    &["signup", "download", "newsletter", "add_to_cart", "checkout", "video_play", "share"];

/// Words for text fields with a pattern, by a part of the field's name.
const WORDS: &[(&str, &[&str])] = &[
    ("event", EVENTS),
    ("name", EVENTS),
    ("action", &["open", "save", "export", "print", "undo", "share"]),
    ("feature", &["search", "export", "filters", "share", "offline", "dark_mode", "print"]),
    ("error", &["E042", "E101", "E117", "E203", "E310", "E404"]),
    ("campaign", CAMPAIGNS),
    ("product", &["scanner", "viewer", "studio"]),
];

const SOURCES: &[(&str, &str)] =
    &[("newsletter", "email"), ("google", "cpc"), ("linkedin", "social")];

const CAMPAIGNS: &[&str] = &["spring", "launch", "webinar", "autumn", "partners"];

/// Words for variable parts of routes.
const SLUGS: &[&str] = &[
    "counting-without-watching",
    "getting-started",
    "scanner",
    "install",
    "small-groups",
    "viewer",
    "statistics",
    "one-binary",
    "clocks",
    "policy",
    "studio",
    "retention",
    "year-in-review",
];

const REFERRERS: &[&str] = &[
    "https://www.google.com/",
    "https://duckduckgo.com/",
    "https://www.bing.com/",
    "https://news.ycombinator.com/item?id=3918211",
    "https://www.linkedin.com/feed/",
    "https://github.com/",
    "https://www.reddit.com/r/selfhosted/",
    "https://lobste.rs/",
    "https://en.wikipedia.org/wiki/Quorum",
    "https://www.ecosia.org/search?q=usage+statistics",
];

/// Sites that pages link to; a tracker sends no more than that of them.
const TARGETS: &[&str] = &[
    "https://github.com",
    "https://docs.example.org",
    "https://en.wikipedia.org",
    "https://www.linkedin.com",
    "https://www.youtube.com",
];

const PAGES: &[&str] = &[
    "/",
    "/pricing",
    "/docs",
    "/blog",
    "/features",
    "/docs/install",
    "/download",
    "/about",
    "/docs/events",
    "/contact",
    "/blog/counting-without-watching",
    "/docs/statistics",
    "/changelog",
    "/docs/policy",
    "/blog/small-groups",
    "/careers",
    "/docs/import",
    "/support",
    "/docs/keys",
    "/blog/one-binary",
    "/legal/privacy",
    "/docs/consent",
    "/partners",
    "/press",
    "/blog/clocks",
    "/docs/retention",
    "/status",
    "/docs/queries",
    "/security",
];
