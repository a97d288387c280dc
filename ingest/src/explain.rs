//! `quorate try`: what would become of one event, and why. Nothing is stored, and no builder is touched.

use std::fmt;
use std::sync::Arc;

use anonymizer::{
    Connection, Fate, Gate, PurposeFate, RawEvent, Resolved, Resolver, Signals, Statement,
};
use schemas::access::SourceKind;
use schemas::{Millis, Package};

use crate::collect::{is_over, resolve};
use crate::decode::{Decoded, Limits, decode};
use crate::error::Error;
use crate::plan::{Plan, Word};
use crate::rows::{
    Change, Received, Refusal, Rows, Sending, assemble, clock_in_words, decided_by, hear, people,
};

/// Who is taken for the sender.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Name of the source, or public id of the site.
    pub source: String,
    /// What kind of source it is.
    pub kind: SourceKind,
    /// What its browser says.
    pub signals: Signals,
}

/// What would become of an event.
#[derive(Debug)]
pub struct Explained {
    /// Accepted or refused, in words.
    pub outcome: Outcome,
    /// What would become of each declared field, and why; none if the event is refused.
    pub fates: Vec<Fate>,
    /// Which purposes would stand, and what took the others; none if the event is refused.
    pub purposes: Vec<PurposeFate>,
    /// Names that nobody declared and that say that they hold something the package refuses, with its category.
    pub refused: Vec<(String, &'static str)>,
    /// Other names that nobody declared. Whoever tries an event has it before them; elsewhere they are only counted.
    pub undeclared: Vec<String>,
    /// Values that would be kept as another one.
    pub changed: Vec<Change>,
}

/// Accepted or refused; `Display` is a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It would be accepted.
    Accepted {
        /// Its family.
        family: String,
        /// What would stand as its time.
        time: Millis,
        /// Where that time comes from.
        clock: &'static str,
    },
    /// It would be accepted and not stored: rows of its time are over.
    Expired {
        /// Its family.
        family: String,
        /// When it was received.
        received: Millis,
    },
    /// It would be refused.
    Refused(Refusal),
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { family, time, clock } => {
                write!(out, "accepted as {family}, at {time} by {clock}")
            }
            Self::Expired { family, received } => write!(
                out,
                "expired: {family}, received at {received}; expected a time whose rows still live: \
                 `quorate import` takes history"
            ),
            Self::Refused(Refusal { reason, field, expected, .. }) => {
                let reason = reason.name().replace('_', " ");
                match field {
                    Some(field) => write!(out, "refused: {field}: {reason}; expected {expected}"),
                    None => write!(out, "refused: {reason}; expected {expected}"),
                }
            }
        }
    }
}

/// Puts one event through decoding, checks and gate 1.
///
/// # Errors
///
/// [`Error::Body`] if the body is not exactly one event, [`Error::Gate`] if a key is missing.
pub fn explain(
    package: &Arc<Package>,
    resolver: &Resolver,
    gate: &Gate,
    sender: &Sender,
    connection: Connection,
    body: &[u8],
    now: Millis,
) -> Result<Explained, Error> {
    // A server's own connection says nothing about its users.
    let sent_over = match sender.kind {
        SourceKind::Server => resolve(resolver, None, &sender.source, now),
        SourceKind::Device | SourceKind::Site => resolver.resolve(connection, &sender.source, now),
    }?;
    let plan = Plan::new(Arc::clone(package));
    let limits = Limits { events_max: 1, event_bytes_max: body.len() };
    let decoded = decode(&plan, body, limits)?;
    let persons = people(&decoded)
        .map(|person| resolve(resolver, person, &sender.source, now))
        .collect::<Result<Vec<_>, _>>()?;
    let sending = Sending {
        kind: sender.kind,
        permitted: None,
        received: Received::At(now),
        signals: sender.signals,
    };
    let trial = Trial { gate, sent_over, persons, package, now, seen: None };
    let undeclared = undeclared(&plan, &decoded, body);
    trial.judge(&plan, &decoded, &sending, undeclared)
}

/// Where an accepted event goes to have its fate told.
pub(crate) struct Trial<'t> {
    pub(crate) gate: &'t Gate,
    /// What is known of whoever sent it.
    pub(crate) sent_over: Resolved,
    /// What is known of those for whom it speaks, in order.
    pub(crate) persons: Vec<Resolved>,
    pub(crate) package: &'t Package,
    pub(crate) now: Millis,
    pub(crate) seen: Option<Seen>,
}

/// An event that would be accepted.
pub(crate) struct Seen {
    outcome: Outcome,
    fates: Result<Vec<Fate>, anonymizer::Error>,
    /// The time against which grants are held; none where nothing would be stored.
    decided_by: Option<Millis>,
}

/// A name that nobody declared, and the refused category of which it says to be.
pub(crate) type Undeclared = (String, Option<&'static str>);

impl Trial<'_> {
    /// Checks the one event of `decoded` and tells what would become of it; `undeclared` are names that nobody declared.
    pub(crate) fn judge(
        mut self,
        plan: &Plan,
        decoded: &Decoded<'_>,
        sending: &Sending<'_>,
        undeclared: Vec<Undeclared>,
    ) -> Result<Explained, Error> {
        let report = assemble(plan, decoded, sending, &mut self);
        let (outcome, fates, time) = match (self.seen, report.refused.into_iter().next()) {
            (Some(Seen { outcome, fates, decided_by }), _) => (outcome, fates?, decided_by),
            (None, Some(refusal)) => (Outcome::Refused(refusal), Vec::new(), None),
            (None, None) => return Err(crate::BodyError::NoEvent.into()),
        };
        let purposes = time.map(|time| purposes(plan, decoded, sending, time)).unwrap_or_default();
        let (mut others, mut refused) = (Vec::new(), Vec::new());
        for (name, category) in undeclared {
            match category {
                Some(category) => refused.push((name, category)),
                None => others.push(name),
            }
        }
        let undeclared = others;
        Ok(Explained { outcome, fates, purposes, refused, undeclared, changed: report.changed })
    }
}

impl Rows for Trial<'_> {
    fn row(&mut self, family: usize, event: &RawEvent<'_>, person: Option<usize>) {
        let resolved = person.and_then(|index| self.persons.get(index)).unwrap_or(&self.sent_over);
        let declared = &self.package.families[family];
        let (name, received) = (declared.name.clone(), event.received);
        if is_over(declared, received, self.now) {
            let outcome = Outcome::Expired { family: name, received };
            self.seen = Some(Seen { outcome, fates: Ok(Vec::new()), decided_by: None });
            return;
        }
        let clock = clock_in_words(event.clock);
        let outcome = Outcome::Accepted { family: name, time: event.time, clock };
        let fates = self.gate.explain(family, event, resolved);
        let decided_by = Some(decided_by(event.clock, event.said, event.time));
        self.seen = Some(Seen { outcome, fates, decided_by });
    }
}

/// What became of each purpose for the one event of `decoded`, and which signal or word decided that.
fn purposes(
    plan: &Plan,
    decoded: &Decoded<'_>,
    sending: &Sending<'_>,
    time: Millis,
) -> Vec<PurposeFate> {
    let mut statement = Statement::default();
    let Some(event) = decoded.cells.events.first() else { return Vec::new() };
    let entries = &decoded.cells.entries[event.entries.clone()];
    match hear(&mut statement, decoded, entries, sending) {
        Ok(()) => statement.explain(plan.package(), time),
        Err(_) => Vec::new(),
    }
}

/// Names at the top of the event that its family does not declare.
fn undeclared(plan: &Plan, decoded: &Decoded<'_>, body: &[u8]) -> Vec<Undeclared> {
    let Ok(serde_json::Value::Object(event)) = serde_json::from_slice(body) else {
        return Vec::new();
    };
    let envelope =
        event.get("events").and_then(|events| events.get(0)).and_then(|event| event.as_object());
    let shared = event.get("common").and_then(|common| common.as_object());
    let parts = match envelope {
        Some(inner) => vec![Some(inner), shared],
        None => vec![Some(&event)],
    };
    let named = decoded.family_name();
    let family = named.and_then(|name| plan.family(name)).map(|family| plan.of(family));
    let is_known = |name: &str| match plan.word(name) {
        Some(Word::Reserved(_)) => true,
        Some(Word::Declared(word)) => family.is_none_or(|(_, lookups)| {
            lookups.slots.get(usize::from(word)).is_some_and(Option::is_some)
        }),
        Some(Word::Refused(_)) | None => false,
    };
    let names = parts.into_iter().flatten().flat_map(|part| part.keys());
    let names = names.filter(|name| !is_known(name));
    names.map(|name| (name.clone(), category(plan, name))).collect()
}

/// The refused category of which an undeclared name says to be.
pub(crate) fn category(plan: &Plan, name: &str) -> Option<&'static str> {
    let refused = plan.word(name).is_none().then(|| plan.refused(name)).flatten()?;
    let Word::Refused(index) = refused else { return None };
    Some(plan.category(index))
}
