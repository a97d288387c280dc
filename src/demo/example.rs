//! One event, as it was sent beside as it is kept: through the same engine as `quorate try`.

use anonymizer::{Connection, Signals};
use anyhow::{Context, bail};
use ingest::{Outcome, Sender};
use schemas::access::SourceKind;
use schemas::model::{Field, Source, Transform};
use schemas::time::HOUR_MS;
use schemas::{Millis, Package};
use serde_json::{Map, Value, json};

use super::place::{Place, SITE};
use crate::commands::try_event::explain;
use crate::generate::{Content, Expected, Generated, Generator, Profile};

/// Events looked through for one that shows much.
const CANDIDATES: u64 = 4_000;

/// One line of the comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Name of the field.
    pub(super) field: String,
    /// What was sent; none for what only the pipeline adds.
    pub(super) sent: Option<String>,
    /// What is kept; none if nothing is.
    pub(super) kept: Option<String>,
}

impl Line {
    fn new(field: &str, sent: Option<String>, kept: Option<String>) -> Self {
        Self { field: field.to_owned(), sent, kept }
    }
}

/// One event before and after.
pub(super) struct Example {
    /// Its family.
    pub(super) family: String,
    /// Field by field.
    pub(super) lines: Vec<Line>,
}

/// Picks a telling event and asks the engine about it.
///
/// # Errors
///
/// If there is no acceptable event in what was generated, or the engine cannot be set up.
pub(super) fn make(
    place: &Place,
    package: &Package,
    seed: u64,
    now: Millis,
) -> anyhow::Result<Example> {
    let profile = Profile::live(seed, CANDIDATES, now.plus(-HOUR_MS), now).with(&place.habits);
    let event = Generator::new(package, profile)
        .filter(|event| event.expected == Expected::Stored)
        .max_by_key(|event| telling(package, event))
        .context("no event was generated")?;
    let Content::Object(mut object) = event.content else {
        bail!("an event that is to be stored is no JSON object");
    };
    object.insert("time".to_owned(), json!(event.at.to_string()));
    let family = &package.families[event.sender.family];
    let sender = Sender {
        source: SITE.to_owned(),
        kind: if event.sender.browses { SourceKind::Site } else { SourceKind::Device },
        signals: Signals { gpc: event.sender.gpc, dnt: event.sender.dnt },
    };
    let connection = Connection {
        address: Some(event.sender.address),
        user_agent: event.sender.user_agent.clone(),
        accept_language: event.sender.language.to_owned(),
    };
    let body = Value::Object(object.clone()).to_string();
    let explained = explain(&place.config, body.as_bytes(), connection, &sender)?;
    let Outcome::Accepted { time, .. } = explained.outcome else {
        bail!("the example was refused: {}", explained.outcome);
    };
    let kept_time = time.truncate(family.grain_ms).to_string();
    let mut lines = vec![
        Line::new("address", Some(event.sender.address.to_string()), None),
        Line::new("user agent", Some(event.sender.user_agent.clone()), None),
        Line::new("time", Some(event.at.to_string()), Some(kept_time)),
    ];
    for fate in explained.fates {
        let field = family.field(&fate.field).map(|(_, field)| field);
        let sent = object.remove(&fate.field).filter(|_| is_sent(field)).map(|value| text(&value));
        if sent.is_some() || fate.kept.is_some() {
            lines.push(Line { field: fate.field, sent, kept: fate.kept });
        }
    }
    lines.extend(undeclared(object));
    Ok(Example { family: family.name.clone(), lines })
}

/// Whether a field's value is in the event itself.
fn is_sent(field: Option<&Field>) -> bool {
    field.is_none_or(|field| field.source == Source::Body)
}

/// What is left of an event when its declared fields are taken out: what nobody declared.
fn undeclared(object: Map<String, Value>) -> impl Iterator<Item = Line> {
    const ENVELOPE: [&str; 7] = ["type", "id", "time", "boot", "seq", "consent", "signals"];
    object
        .into_iter()
        .filter(|(name, _)| !ENVELOPE.contains(&name.as_str()))
        .map(|(field, value)| Line { field, sent: Some(text(&value)), kept: None })
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// How much an event shows: many fields, and identifiers where they do not belong.
fn telling(package: &Package, event: &Generated) -> usize {
    let Content::Object(object) = &event.content else { return 0 };
    let family = &package.families[event.sender.family];
    let fields: Vec<&Field> =
        family.fields.iter().filter(|field| object.contains_key(&field.name)).collect();
    let mut texts = object.values().filter_map(Value::as_str);
    let has_stray = texts.any(|text| text.contains("email="));
    let has_pseudonym = fields.iter().any(|field| matches!(field.transform, Transform::Pseudonym));
    // Of one who objects hardly anything would be kept.
    let stands = event.sender.consent.as_ref().is_none_or(|consent| !is_refusal(consent))
        && !event.sender.gpc
        && !event.sender.dnt;
    40 * usize::from(stands)
        + 20 * usize::from(has_stray)
        + 5 * usize::from(has_pseudonym)
        + fields.len()
}

fn is_refusal(consent: &Value) -> bool {
    let no = |word: &Value| *word == false || word["granted"] == false;
    consent.as_object().is_some_and(|stated| stated.values().any(no))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::default_package;

    #[test]
    fn of_a_leaking_url_a_part_is_kept_and_no_address_at_all() {
        let place = Place::make(None, None).unwrap();
        let package = Package::from_files(default_package()).unwrap();
        let example = make(&place, &package, 1, crate::store::system_clock()()).unwrap();
        let line = |name: &str| example.lines.iter().find(|line| line.field == name).unwrap();
        assert_eq!(example.family, "web");
        assert_eq!(line("address").kept, None);
        // The address of a person stands in the page's URL, in the one that linked to it, or in that of a link.
        let leaks =
            |line: &&Line| line.sent.as_ref().is_some_and(|sent| sent.contains("@mail.example"));
        let leaking = example.lines.iter().find(leaks).expect("such an event is chosen");
        assert!(
            ["url", "referrer", "target"].contains(&leaking.field.as_str()),
            "{}",
            leaking.field
        );
        let kept = example.lines.iter().filter_map(|line| line.kept.as_ref());
        assert!(kept.clone().count() > 5);
        assert!(!kept.clone().any(|kept| kept.contains('@')));
    }
}
