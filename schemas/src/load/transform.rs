//! Transforms: what a field becomes, and whether that fits where it comes from.

use super::table::{Item, Table};
use super::types;
use super::words::{list, nearest, span_ms, span_text};
use crate::model::{Kind, RouteSegment, Routes, Source, Transform, Truncate, Utm};
use crate::time::{DAY_MS, HOUR_MS};

const PLAIN: [&str; 10] = [
    "keep",
    "country",
    "pseudonym",
    "domain",
    "path",
    "browser",
    "os",
    "device_class",
    "language",
    "drop",
];
const FORMS: &str = "`\"keep\"`, `\"drop\"`, .. or one of `{ truncate = \"major.minor\" }`, `{ bucket = 100 }`, \
                     `{ utm = \"source\" }`";
const ROUTE: &str = "`routes = [\"/scans/:id/report\"]`";

/// Reads `transform`; `routes` are those of the family.
pub(super) fn read(item: &Item<'_>, kind: Option<&Kind>, routes: &Routes) -> Option<Transform> {
    if let Some(table) = item.as_table() {
        return read_table(item, &table, kind);
    }
    let text = item.text(FORMS)?;
    Some(match text {
        "keep" => Transform::Keep,
        "country" => Transform::Country,
        "pseudonym" => Transform::Pseudonym,
        "domain" => Transform::Domain,
        "path" => Transform::Path(routes.clone()),
        "browser" => Transform::Browser,
        "os" => Transform::Os,
        "device_class" => Transform::DeviceClass,
        "language" => Transform::Language,
        "drop" => Transform::Drop,
        "truncate" | "bucket" | "utm" => {
            item.wrong(format!("`{text}` needs to know how far"), FORMS);
            return None;
        }
        _ => {
            item.wrong(format!("unknown transform `{text}`"), nearest(text, &PLAIN));
            return None;
        }
    })
}

fn read_table(item: &Item<'_>, table: &Table<'_>, kind: Option<&Kind>) -> Option<Transform> {
    let (truncate, bucket, utm) = (table.get("truncate"), table.get("bucket"), table.get("utm"));
    table.finish();
    match (truncate, bucket, utm) {
        (Some(truncate), None, None) => read_truncate(&truncate).map(Transform::Truncate),
        (None, Some(bucket), None) => read_bucket(&bucket, kind).map(Transform::Bucket),
        (None, None, Some(utm)) => {
            let known = [Utm::Source, Utm::Medium, Utm::Campaign];
            Some(Transform::Utm(known[utm.word(&["source", "medium", "campaign"])?]))
        }
        _ => {
            item.wrong("a transform does exactly one thing", FORMS);
            None
        }
    }
}

fn read_truncate(item: &Item<'_>) -> Option<Truncate> {
    let form =
        "`\"major\"` or `\"major.minor\"` of a version, `\"1 hour\"` or `\"1 day\"` of a timestamp";
    let text = item.text(form)?;
    let time = || span_ms(text).filter(|ms| (1..=DAY_MS).contains(ms) && DAY_MS % ms == 0);
    let found = match text {
        "major" => Some(Truncate::Major),
        "major.minor" => Some(Truncate::MajorMinor),
        _ => time().map(Truncate::Time),
    };
    if found.is_none() {
        item.wrong(format!("cannot truncate to `{text}`"), form);
    }
    found
}

/// The width in the unit at rest.
fn read_bucket(item: &Item<'_>, kind: Option<&Kind>) -> Option<f64> {
    let form = "`{ bucket = 100 }`, in the unit of the field and smaller than its range";
    let width = item.number(form)?;
    #[expect(clippy::cast_precision_loss, reason = "ranges are within 2^53")]
    let (whole, range, unit) = match kind {
        Some(Kind::Integer { min, max }) => (true, (max - min) as f64, 1.0),
        Some(Kind::Duration { min, max, unit_ms }) => (true, (max - min) as f64, *unit_ms as f64),
        Some(Kind::Float { min, max }) => (false, max - min, 1.0),
        // Does not fit, which is said elsewhere.
        _ => return Some(1.0),
    };
    let wrong = if width <= 0.0 {
        "is not positive"
    } else if width > range {
        "is wider than the range"
    } else if whole && width.fract() != 0.0 {
        "is not whole, but the field is"
    } else {
        return Some(width * unit);
    };
    item.wrong(format!("the bucket {wrong}"), form);
    None
}

/// Reads `routes`, of a family or a field.
pub(super) fn read_routes(item: &Item<'_>) -> Routes {
    let items = item.array(ROUTE).unwrap_or_default();
    Routes { templates: items.iter().filter_map(read_route).collect() }
}

fn read_route(item: &Item<'_>) -> Option<Vec<RouteSegment>> {
    let text = item.text(ROUTE)?;
    let segments: Option<Vec<RouteSegment>> =
        text.strip_prefix('/').filter(|rest| !rest.is_empty()).and_then(|rest| {
            rest.strip_suffix('/').unwrap_or(rest).split('/').map(read_segment).collect()
        });
    if segments.is_none() && text != "/" {
        item.wrong(format!("`{text}` is no route: segments are plain words or `:name`"), ROUTE);
        return None;
    }
    Some(segments.unwrap_or_default())
}

fn read_segment(text: &str) -> Option<RouteSegment> {
    let plain = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    match text.strip_prefix(':') {
        Some(name) => plain(name).then(|| RouteSegment::Parameter(name.to_owned())),
        None => plain(text).then(|| RouteSegment::Literal(text.to_owned())),
    }
}

/// Reports a transform that cannot be made of this source and kind, or that keeps too much.
pub(super) fn check(
    item: &Item<'_>,
    source: Source,
    kind: &Kind,
    transform: &Transform,
    grain_ms: i64,
) {
    let word = name(transform);
    let fitting: &[&str] = match (source, kind) {
        (Source::Address, _) => &["country"],
        (Source::UserAgent, _) => &["browser", "os", "device_class"],
        (Source::AcceptLanguage, _) => &["language"],
        (Source::Field(_), _) => &["domain", "path", "utm"],
        (Source::Body, Kind::String { .. }) => &["keep", "pseudonym", "drop"],
        (Source::Body, Kind::Enum { .. } | Kind::Boolean) => &["keep", "drop"],
        (Source::Body, Kind::Integer { .. } | Kind::Float { .. } | Kind::Duration { .. }) => {
            &["keep", "bucket", "drop"]
        }
        (Source::Body, Kind::Timestamp) => &["truncate", "drop"],
        (Source::Body, Kind::Version) => &["keep", "truncate", "drop"],
        (Source::Body, Kind::Url { .. }) => &["domain", "path", "drop"],
    };
    if !fitting.contains(&word) {
        misfit(item, source, kind, word, fitting);
        return;
    }
    match (kind, transform) {
        (Kind::String { pattern: None, .. }, Transform::Keep) => item.wrong(
            "a string is kept without a pattern",
            "`pattern = \"..\"`, a list of values as `type`, or `transform = \"pseudonym\"` or `\"drop\"`",
        ),
        (Kind::String { pattern: Some(_), .. }, Transform::Pseudonym | Transform::Drop) => {}
        (Kind::Timestamp, Transform::Truncate(Truncate::Major | Truncate::MajorMinor)) => {
            item.wrong("a timestamp has no major part", "`{ truncate = \"1 hour\" }`");
        }
        (Kind::Version, Transform::Truncate(Truncate::Time(_))) => {
            item.wrong("a version has no hours", "`{ truncate = \"major.minor\" }`");
        }
        (Kind::Timestamp, Transform::Truncate(Truncate::Time(ms))) if *ms < grain_ms => item.wrong(
            "a timestamp is kept finer than the grain of its family",
            format!("`{{ truncate = \"{}\" }}` or longer", span_text(grain_ms.max(HOUR_MS))),
        ),
        _ => {}
    }
}

fn misfit(item: &Item<'_>, source: Source, kind: &Kind, word: &str, fitting: &[&str]) {
    let wanted = match word {
        "country" => Some("`from = \"address\"`"),
        "browser" | "os" | "device_class" => Some("`from = \"user_agent\"`"),
        "language" => Some("`from = \"accept_language\"`"),
        "utm" => Some("`from = \"url\"`, the name of a field of type `url`"),
        "domain" | "path" => Some("`type = \"url\"`, or `from` with the name of such a field"),
        _ => None,
    };
    let made_of = match source {
        Source::Body => format!("a field of type {}", types::name(kind)),
        Source::Field(_) => "another field".to_owned(),
        Source::Address => "the address".to_owned(),
        Source::UserAgent => "the user agent".to_owned(),
        Source::AcceptLanguage => "the accepted languages".to_owned(),
    };
    let instead = match wanted {
        Some(wanted) if source == Source::Body => wanted.to_owned(),
        _ => list(fitting),
    };
    item.wrong(format!("`{word}` cannot be made of {made_of}"), instead);
}

/// The word of a transform in packages and diagnostics.
pub(crate) fn name(transform: &Transform) -> &'static str {
    match transform {
        Transform::Keep => "keep",
        Transform::Country => "country",
        Transform::Pseudonym => "pseudonym",
        Transform::Truncate(_) => "truncate",
        Transform::Bucket(_) => "bucket",
        Transform::Domain => "domain",
        Transform::Path(_) => "path",
        Transform::Utm(_) => "utm",
        Transform::Browser => "browser",
        Transform::Os => "os",
        Transform::DeviceClass => "device_class",
        Transform::Language => "language",
        Transform::Drop => "drop",
    }
}
