//! One declared field.

use super::table::{Item, Table};
use super::transform;
use super::types;
use super::words::{NAME_FORM, is_name, list, nearest};
use crate::columns;
use crate::model::{
    Category, Field, Kind, Purpose, PurposeSet, Refused, Routes, Source, Transform,
};
use crate::time::Millis;

/// What a field of the family is read against.
pub(super) struct Surroundings<'a> {
    /// Declared purposes; none where `policy.toml` could not be read.
    pub(super) purposes: Option<&'a [Purpose]>,
    pub(super) refused: &'a Refused,
    /// Purposes of fields that do not say otherwise.
    pub(super) family_purposes: PurposeSet,
    pub(super) routes: Routes,
    pub(super) grain_ms: i64,
    /// Names of all fields, in order.
    pub(super) names: Vec<&'a str>,
}

/// Names of an event's own parts and of the envelope around it.
const ENVELOPE: [&str; 16] = [
    "type",
    "id",
    "boot",
    "seq",
    "uptime_ms",
    "sent",
    "sent_uptime_ms",
    "session_start",
    "consent",
    "end_user",
    "received",
    "signals",
    "common",
    "events",
    "unattributed_events",
    "site",
];

/// Every key of a field: known even where a mistake keeps us from reading it.
const KEYS: [&str; 12] = [
    "type",
    "from",
    "is",
    "transform",
    "about",
    "pattern",
    "range",
    "otherwise",
    "purposes",
    "required",
    "expires",
    "routes",
];
const SOURCES: [&str; 3] = ["address", "user_agent", "accept_language"];
const FIELD: &str = "`name = { type = .., is = .., transform = .., about = .. }`";
const CATEGORY: &str =
    "`is = \"usage\"`, or `identifier`, `location`, `device`, `language`, `experiment` or `age`";
const ABOUT: &str = "`about = \"..\"`, one phrase that says what it is";

/// Gives a field in any case, so that indices stay; the flag says whether it is as written.
pub(super) fn read(item: &Item<'_>, around: &Surroundings<'_>) -> (Field, bool) {
    let mut field = Field {
        name: item.key.to_owned(),
        about: String::new(),
        category: Category::Identifier,
        source: Source::Body,
        kind: Kind::Boolean,
        transform: Transform::Drop,
        purposes: around.family_purposes,
        required: false,
        expires: None,
    };
    check_name(item);
    let Some(table) = item.table(FIELD) else { return (field, false) };
    table.know(&KEYS);
    let sound = read_value(item, &table, around, &mut field).is_some();
    let what = format!("field `{}`", item.key);
    let about = table.need("about", &what, ABOUT);
    field.about = about.and_then(|item| item.text(ABOUT)).unwrap_or_default().to_owned();
    read_category(&table, &what, around, &mut field, sound);
    if let Some(purposes) = table.get("purposes") {
        field.purposes = read_purposes(&purposes, around.purposes);
    }
    if let Some(required) = table.get("required") {
        field.required = required.boolean().unwrap_or_default();
        if field.required && field.source != Source::Body {
            required
                .wrong("a field that no event carries cannot be required", "the field without it");
        }
    }
    field.expires = table.get("expires").and_then(|item| read_expires(&item));
    table.finish();
    (field, sound)
}

/// Whether events, events tables or statistics have a part of that name.
pub(super) fn is_reserved(name: &str) -> bool {
    [columns::ALL, columns::OF_STATISTICS, &ENVELOPE].iter().any(|names| names.contains(&name))
}

fn check_name(item: &Item<'_>) {
    let name = item.key;
    if is_reserved(name) {
        item.file.wrong(
            &item.key_span,
            format!("`{name}` is reserved: events or tables have a part of that name"),
            "another name",
        );
    } else if !is_name(name) {
        item.file.wrong(&item.key_span, format!("`{name}` cannot name a field"), NAME_FORM);
    }
}

/// Source, kind and transform, which only make sense together.
fn read_value(
    item: &Item<'_>,
    table: &Table<'_>,
    around: &Surroundings<'_>,
    field: &mut Field,
) -> Option<()> {
    let from = table.get("from");
    let of_type = table.get("type");
    let written = table.get("transform");
    let own_routes = table.get("routes");
    let routes = own_routes.as_ref().map_or(around.routes.clone(), transform::read_routes);
    let kind = match (&from, &of_type) {
        (Some(from), _) => {
            field.source = read_source(from, around)?;
            None
        }
        (None, Some(of_type)) => Some(types::read(table, of_type)?),
        (None, None) => {
            item.file.wrong(
                &item.key_span,
                format!("field `{}` has neither `type` nor `from`", item.key),
                "`type = \"string(64)\"` for a part of the event, `from = \"address\"` for one of the connection",
            );
            return None;
        }
    };
    field.transform = match &written {
        Some(written) => transform::read(written, kind.as_ref(), &routes)?,
        None => Transform::Keep,
    };
    if let (Some(own), false) = (&own_routes, matches!(field.transform, Transform::Path(_))) {
        own.file.wrong(&own.key_span, "`routes` belongs to `path`", "the field without it");
    }
    field.kind = match kind {
        Some(kind) => kind,
        None => derived_kind(table, of_type.as_ref(), written.as_ref(), item, &field.transform)?,
    };
    let at = written.unwrap_or_else(|| item.clone());
    transform::check(&at, field.source, &field.kind, &field.transform, around.grain_ms);
    Some(())
}

fn read_source(from: &Item<'_>, around: &Surroundings<'_>) -> Option<Source> {
    let text = from.text(&list(&SOURCES))?;
    match text {
        "address" => return Some(Source::Address),
        "user_agent" => return Some(Source::UserAgent),
        "accept_language" => return Some(Source::AcceptLanguage),
        _ => {}
    }
    let found = around.names.iter().position(|name| *name == text);
    if found.is_none() {
        let known: Vec<&str> = SOURCES.into_iter().chain(around.names.iter().copied()).collect();
        let near = nearest(text, &known);
        let instead = if near.contains(", ") {
            format!("{}, or the name of a field of type `url`", list(&SOURCES))
        } else {
            near
        };
        from.wrong(format!("`{text}` is neither a field nor a part of the connection"), instead);
    }
    found.map(Source::Field)
}

/// What a field found elsewhere can be; only a campaign parameter has a form of its own to declare.
fn derived_kind(
    table: &Table<'_>,
    of_type: Option<&Item<'_>>,
    written: Option<&Item<'_>>,
    item: &Item<'_>,
    transform: &Transform,
) -> Option<Kind> {
    let text = |bytes_max| Kind::String { bytes_max, pattern: None };
    let kind = match transform {
        Transform::Utm(_) => return campaign_kind(table, of_type, item),
        Transform::Country => text(2),
        Transform::Language => text(8),
        Transform::Browser | Transform::Os => text(64),
        Transform::Domain => text(255),
        Transform::Path(_) => text(512),
        Transform::DeviceClass => {
            let values = ["desktop", "mobile", "tablet", "bot", "other"];
            Kind::Enum { values: values.map(str::to_owned).to_vec(), otherwise: Some(4) }
        }
        Transform::Keep
        | Transform::Drop
        | Transform::Pseudonym
        | Transform::Truncate(_)
        | Transform::Bucket(_) => text(64),
    };
    if written.is_none() {
        item.file.wrong(
            &item.key_span,
            format!("field `{}` does not say what is made of its source", item.key),
            "`transform = \"country\"`, or another that fits",
        );
        return None;
    }
    let superfluous = [table.get("range"), table.get("pattern"), table.get("otherwise")];
    for own in superfluous.iter().flatten().chain(of_type) {
        let message = format!("`{}` is given by the source of this field", own.key);
        own.file.wrong(&own.key_span, message, "the field without it");
    }
    Some(kind)
}

fn campaign_kind(table: &Table<'_>, of_type: Option<&Item<'_>>, item: &Item<'_>) -> Option<Kind> {
    let instead = "`type = \"string(32)\", pattern = \"[a-z][a-z0-9_-]{0,30}\"`, what a campaign may be called";
    let kind = match of_type {
        Some(of_type) => Some(types::read(table, of_type)?),
        None => None,
    };
    if let Some(Kind::String { pattern: Some(_), .. }) = kind {
        return kind;
    }
    item.file.wrong(
        &item.key_span,
        format!("campaign field `{}` has no pattern of what is kept", item.key),
        instead,
    );
    None
}

fn read_category(
    table: &Table<'_>,
    what: &str,
    around: &Surroundings<'_>,
    field: &mut Field,
    sound: bool,
) {
    let words = Category::WORDS.map(|(word, _)| word);
    let Some(item) = table.need("is", what, CATEGORY) else { return };
    let Some(index) = item.word(&words) else { return };
    field.category = Category::WORDS[index].1;
    if around.refused.categories.contains(&field.category) {
        item.wrong(
            format!("`{}` is refused by the policy, so {what} cannot be declared", words[index]),
            "the file without the field; what is sent all the same is dropped and counted",
        );
        return;
    }
    let named = Category::of_name(&field.name);
    if let Some(named) = named.filter(|named| around.refused.categories.contains(named)) {
        table.file.wrong(
            &table.span,
            format!("by its name {what} is `{}`, which is refused by the policy", named.name()),
            "the file without the field, or another name if it is something else",
        );
        return;
    }
    let usable = matches!(
        field.category,
        Category::Usage
            | Category::Location
            | Category::Device
            | Category::Language
            | Category::Experiment
    );
    let hidden = matches!(field.transform, Transform::Pseudonym | Transform::Drop);
    if field.category == Category::Age && sound && !matches!(field.transform, Transform::Drop) {
        item.wrong(format!("{what} is about age, and is not dropped"), "`transform = \"drop\"`");
        return;
    }
    let variant = matches!(field.kind, Kind::Enum { .. } | Kind::String { pattern: Some(_), .. });
    if field.category == Category::Experiment && sound && !variant {
        item.wrong(
            format!("{what} is an experiment without a list of its versions"),
            "`type = [\"a\", \"b\"]`, or a `pattern`",
        );
    }
    if !usable && !hidden && sound {
        item.wrong(
            format!("{what} is `{}`, and is neither made a pseudonym nor dropped", words[index]),
            "`transform = \"pseudonym\"` or `transform = \"drop\"`",
        );
    }
}

/// A list of declared purposes.
pub(super) fn read_purposes(item: &Item<'_>, purposes: Option<&[Purpose]>) -> PurposeSet {
    let example = "`purposes = [\"..\"]`, names from `[purposes]` of the policy";
    let items = item.array(example).unwrap_or_default();
    if items.is_empty() && item.as_array().is_some() {
        item.wrong("nothing is collected without a purpose", example);
    }
    let Some(purposes) = purposes else { return PurposeSet::default() };
    let known: Vec<&str> = purposes.iter().map(|purpose| purpose.name.as_str()).collect();
    let mut set = PurposeSet::default();
    for item in items {
        let Some(text) = item.text(example) else { continue };
        match known.iter().position(|name| *name == text) {
            Some(index) => set = set.with(index),
            None => item.wrong(format!("unknown purpose `{text}`"), nearest(text, &known)),
        }
    }
    set
}

/// The first moment of the day, UTC, from which a field is dropped.
fn read_expires(item: &Item<'_>) -> Option<Millis> {
    let form = "`expires = \"2030-12-31\"`, the day from which it is dropped, or `\"never\"`";
    let text = item.as_day().unwrap_or_default();
    if text == "never" {
        return None;
    }
    let time = Millis::parse(&format!("{text}T00:00:00Z")).filter(|_| text.len() == 10);
    if time.is_none() {
        item.wrong("`expires` is not a day", form);
    }
    time
}

/// Reports fields that are made of a field which is no URL in the event.
pub(super) fn check_source(item: &Item<'_>, field: &Field, drafts: &[(Field, bool)]) {
    let Source::Field(index) = field.source else { return };
    let (origin, sound) = &drafts[index];
    let url = matches!(origin.kind, Kind::Url { .. }) && origin.source == Source::Body;
    if url || !sound {
        return;
    }
    let at = item.as_table().and_then(|table| table.get("from")).unwrap_or_else(|| item.clone());
    at.wrong(
        format!("`{}` is not a URL of the event", origin.name),
        "the name of a field with `type = \"url\"`",
    );
}
