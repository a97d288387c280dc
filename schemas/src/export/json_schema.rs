//! JSON Schema (draft 2020-12) for those who send: one schema a family, one of any event, one of a batch.
//!
//! What a schema accepts the door accepts, but for content that is recognised by its bytes and for limits of the
//! service. The other way round it is narrower where JSON Schema cannot say what the door says: bytes of a text that is
//! not of ASCII alone, leap seconds, names that stand beside `events` instead of in `common`.

use serde_json::{Map, Value, json};

use super::ecma;
use super::lines::generated;
use super::longest::TIMESTAMP_MAX;
use crate::model::{Basis, ContributorSource, Family, Field, Kind, Package, Transform};
use crate::words;

/// Whole numbers are the same in every JSON library up to here.
const WHOLE_MAX: u64 = 1 << 53;

/// The schemas of a package as one document.
#[must_use]
pub fn json_schema(package: &Package) -> String {
    let mut definitions = Map::new();
    for (name, schema) in shared(package) {
        definitions.insert(name.to_owned(), schema);
    }
    for family in &package.families {
        definitions.insert(values_name(family), values(package, family));
        definitions.insert(family.name.clone(), event(family));
    }
    definitions.insert("Event".to_owned(), json!({ "anyOf": references(package) }));
    definitions.insert("Batch".to_owned(), batch(package));
    let document = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:quorate:{}", package.digest),
        "$comment": generated("json-schema", package),
        "title": format!("What {} takes under policy version {}", package.controller, package.version),
        "description": "One event, a list of events, or a batch. Names that are not declared are dropped and counted; \
                        text that is an image or another refused file is refused.",
        "anyOf": [
            // An object with `events` is a batch, whatever else it has.
            { "$ref": "#/$defs/Event", "properties": { "events": false } },
            { "type": "array", "items": { "$ref": "#/$defs/Event" } },
            { "$ref": "#/$defs/Batch" },
        ],
        "$defs": definitions,
    });
    format!("{document:#}\n")
}

fn references(package: &Package) -> Vec<Value> {
    let reference = |family: &Family| json!({ "$ref": format!("#/$defs/{}", family.name) });
    package.families.iter().map(reference).collect()
}

/// No family has a point in its name.
fn values_name(family: &Family) -> String {
    format!("{}.values", family.name)
}

/// Everything that an event of the family may say, none of which has to be there.
fn values(package: &Package, family: &Family) -> Value {
    let mut properties = envelope();
    let fields = family.body_fields().map(|(index, field)| {
        (field.name.clone(), property(field, family.flags.age == Some(index)))
    });
    properties.insert("type".to_owned(), json!({ "const": family.name }));
    properties.extend(fields);
    if asked(package).next().is_none() {
        properties.remove("consent");
    }
    json!({ "type": "object", "properties": properties })
}

/// An event that is whole by itself.
fn event(family: &Family) -> Value {
    let told = match family.contributor.source {
        ContributorSource::Field(index) => family.fields[index].name.clone(),
        ContributorSource::Visit => "the visit".to_owned(),
    };
    let about = family.about.as_deref().map(|about| format!("{}. ", words::sentence(about)));
    let called = &family.contributor.called;
    let description =
        format!("{}Contributors are {called}, told by {told}.", about.unwrap_or_default());
    let mut required = vec!["type"];
    required.extend(
        family
            .body_fields()
            .filter(|(_, field)| field.required)
            .map(|(_, field)| field.name.as_str()),
    );
    json!({
        "title": family.name,
        "description": visible(&description),
        "$ref": format!("#/$defs/{}", values_name(family)),
        "required": required,
    })
}

/// Purposes that somebody can agree or object to.
fn asked(package: &Package) -> impl Iterator<Item = &str> {
    let asked = package.purposes.iter().filter(|purpose| match purpose.basis {
        Basis::Consent | Basis::LegitimateInterest | Basis::PublicInterest => true,
        Basis::Contract | Basis::LegalObligation | Basis::VitalInterests => false,
    });
    asked.map(|purpose| purpose.name.as_str())
}

/// What stands beside the fields of any event.
fn envelope() -> Map<String, Value> {
    let reference = |name: &str, description: &str| json!({ "$ref": format!("#/$defs/{name}"), "description": description });
    let names = [
        ("id", reference("Id", "unique to the event: a second copy with it is counted once")),
        ("time", reference("Moment", "when it happened, by the sender's clock")),
        ("sent", reference("Moment", "when it is sent, by the clock that gave `time`")),
        (
            "session_start",
            reference("Moment", "when its session began, by the clock that gave `time`"),
        ),
        ("boot", reference("Count", "how often the device had started")),
        ("seq", reference("Count", "running number since the device was made, or since `boot`")),
        (
            "uptime_ms",
            reference("Count", "when it happened, in milliseconds since the device started"),
        ),
        (
            "sent_uptime_ms",
            reference("Count", "when it is sent, in milliseconds since the device started"),
        ),
        ("consent", reference("Consent", "what was agreed to and what refused, by purpose")),
        (
            "signals",
            reference("Signals", "what a browser or a consent platform says for all sites"),
        ),
        ("end_user", reference("EndUser", "for whom a server speaks; under a server's key alone")),
    ];
    names.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
}

/// Schemas of the envelope's names.
fn shared(package: &Package) -> Vec<(&'static str, Value)> {
    let granted = json!({
        "type": "object",
        "properties": {
            "granted": { "type": "boolean" },
            "version": { "type": ["string", "null"], "description": "the version of the text that was agreed to" },
            "at": {
                "description": "when, RFC 3339",
                "anyOf": [{ "type": "string", "pattern": ecma::timestamp() }, { "type": "null" }],
            },
        },
        "required": ["granted"],
    });
    let grant = json!({ "anyOf": [{ "type": ["boolean", "null"] }, granted] });
    let purposes: Map<String, Value> =
        asked(package).map(|name| (name.to_owned(), json!({ "$ref": "#/$defs/Grant" }))).collect();
    let google: Map<String, Value> = crate::model::GoogleConsent::WORDS
        .iter()
        .map(|(word, _)| ((*word).to_owned(), json!({ "enum": ["granted", "denied"] })))
        .collect();
    let text_or_null = json!({ "type": ["string", "null"] });
    vec![
        ("Grant", grant),
        ("Consent", json!({ "type": ["object", "null"], "properties": purposes })),
        (
            "Signals",
            json!({
                "type": ["object", "null"],
                "properties": {
                    "gpc": { "type": ["boolean", "null"] },
                    "dnt": { "type": ["boolean", "null"] },
                    "tcf": text_or_null,
                    "google": { "type": ["object", "null"], "properties": google },
                },
            }),
        ),
        (
            "EndUser",
            json!({
                "type": ["object", "null"],
                "properties": {
                    "address": {
                        "description": "IPv4 or IPv6, without port",
                        "anyOf": [{ "type": "string", "pattern": ecma::address() }, { "type": "null" }],
                    },
                    "user_agent": text_or_null,
                    "language": text_or_null,
                },
            }),
        ),
        ("Id", json!({ "anyOf": [nothing(), with(at_most(128), "minLength", json!(1))] })),
        ("Count", json!({ "type": ["integer", "null"], "minimum": 0, "maximum": WHOLE_MAX })),
        (
            "Moment",
            json!({
                "anyOf": [
                    { "type": "string", "pattern": ecma::timestamp() },
                    // What is no time of ours is a wrong clock, and no reason to refuse.
                    { "type": ["integer", "null"] },
                ],
            }),
        ),
    ]
}

fn nothing() -> Value {
    json!({ "type": "null" })
}

fn with(mut schema: Value, key: &str, value: Value) -> Value {
    schema[key] = value;
    schema
}

/// At most so many bytes: counted in letters, of which one may take four unless all are of ASCII.
fn at_most(bytes: u32) -> Value {
    json!({
        "type": "string",
        "maxLength": bytes,
        "anyOf": [{ "pattern": ecma::ascii() }, { "maxLength": bytes / 4 }],
    })
}

fn property(field: &Field, is_age: bool) -> Value {
    let mut schema = if is_age {
        // What says yes is refused, so a sender need not send it.
        json!({ "const": false })
    } else {
        accepted(field)
    };
    if !field.required {
        schema = optional(schema);
    }
    let until = field.expires.map(|end| format!("; dropped from {} on", &end.to_string()[..10]));
    let description = format!("{}{}", field.about, until.unwrap_or_default());
    with(schema, "description", json!(visible(&description)))
}

/// The schema, or null.
fn optional(mut schema: Value) -> Value {
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
        return schema;
    }
    if schema.get("anyOf").is_none()
        && let Some(Value::String(only)) = schema.get("type").cloned()
    {
        schema["type"] = json!([only, "null"]);
        return schema;
    }
    json!({ "anyOf": [schema, nothing()] })
}

fn visible(text: &str) -> String {
    text.chars().map(words::visible).collect()
}

/// What the door accepts, but for null.
fn accepted(field: &Field) -> Value {
    match &field.kind {
        Kind::String { bytes_max, pattern } => {
            let mut schema = at_most(*bytes_max);
            // An empty identifier is none.
            let empty_is_none = matches!(field.transform, Transform::Pseudonym);
            if let Some(pattern) = pattern {
                let form = ecma::anchored(&pattern.source, empty_is_none && !field.required);
                schema = with(schema, "pattern", json!(form));
            }
            let is_needed = field.required && empty_is_none;
            if is_needed { with(schema, "minLength", json!(1)) } else { schema }
        }
        Kind::Url { bytes_max } => {
            with(at_most(*bytes_max), "pattern", json!(ecma::url(field.required)))
        }
        Kind::Enum { values, otherwise: None } => json!({ "enum": values }),
        Kind::Enum { values, otherwise: Some(_) } => {
            json!({ "type": "string", "examples": values })
        }
        Kind::Integer { min, max } | Kind::Duration { unit_ms: _, min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        Kind::Float { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Timestamp => json!({
            "anyOf": [
                { "type": "string", "pattern": ecma::timestamp() },
                { "type": "integer", "minimum": 0, "maximum": TIMESTAMP_MAX },
            ],
        }),
        Kind::Version => json!({ "type": "string", "pattern": ecma::version() }),
    }
}

/// Events that share what `common` says: whole events, or those of one family that `common` completes.
fn batch(package: &Package) -> Value {
    let mut shared = envelope();
    // One id or one number of a start for all would make copies of them.
    for own in ["id", "seq", "boot"] {
        shared.remove(own);
    }
    let names: Vec<&String> = shared.keys().collect();
    let mut ways = vec![json!({
        "properties": {
            "common": { "type": "object", "properties": shared.clone(), "propertyNames": { "enum": names } },
            "events": { "items": { "$ref": "#/$defs/Event" } },
        },
    })];
    ways.extend(package.families.iter().map(completed));
    // Said in both places it would be said twice, and no event is taken.
    let twice = |name: &String| {
        let of_common = json!({ "common": { "required": [name] } });
        json!({ "not": { "required": [name, "common"], "properties": of_common } })
    };
    let once: Vec<Value> = shared.keys().map(twice).collect();
    let mut properties = shared.clone();
    let fields =
        package.families.iter().flat_map(Family::body_fields).map(|(_, field)| &field.name);
    // The door takes these here too; one place is enough to say them.
    properties.extend(fields.map(|name| (name.clone(), json!(false))));
    for (name, schema) in [
        ("type", json!(false)),
        ("events", json!({ "type": "array" })),
        ("site", json!({ "type": "string", "description": "public id of a site" })),
        (
            "boot",
            json!({ "$ref": "#/$defs/Count", "description": "how often the device had started when it sends this" }),
        ),
        (
            "seq",
            json!({ "$ref": "#/$defs/Count", "description": "running number of the first event; the others count on" }),
        ),
    ] {
        properties.insert(name.to_owned(), schema);
    }
    json!({
        "title": "Batch",
        "description": "events, and in `common` what they share; what an event says itself wins",
        "type": "object",
        "properties": properties,
        "required": ["events"],
        "allOf": once,
        "anyOf": ways,
    })
}

/// Events of one family whose type, and maybe more, is in `common`.
fn completed(family: &Family) -> Value {
    let reference = json!({ "$ref": format!("#/$defs/{}", values_name(family)) });
    let required = family.body_fields().filter(|(_, field)| field.required);
    let somewhere: Vec<Value> = required
        .map(|(_, field)| {
            let has = json!({ "required": [field.name] });
            json!({
                "anyOf": [
                    { "properties": { "common": has } },
                    { "properties": { "events": { "items": has } } },
                ],
            })
        })
        .collect();
    let common = json!({
        "$ref": format!("#/$defs/{}", values_name(family)),
        "required": ["type"],
        // Of the whole batch these stand beside `events`.
        "properties": { "id": false, "seq": false, "boot": false },
    });
    let mut way = json!({
        "properties": { "common": common, "events": { "items": reference } },
        "required": ["common"],
    });
    if !somewhere.is_empty() {
        way["allOf"] = json!(somewhere);
    }
    way
}
