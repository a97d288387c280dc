//! Events as products would send them, for any policy package: seeded, so that a run can be repeated.
//!
//! Pages, versions, countries and devices have a few favourites and a long tail; days and weeks have their rhythm;
//! people come in sittings. Some events are sent twice, some clocks are wrong, some visitors say no, and some senders
//! send what they must not. What became of each is counted here as it is made, in [`Sent`], without asking the
//! pipeline: that is what the pipeline is checked against.

pub mod client;
pub mod command;
pub mod habits;
pub mod places;
pub mod post;
pub mod profile;
pub mod sent;

mod agents;
mod hostile;
mod pattern;
mod people;
mod rhythm;
mod session;
mod values;

use std::collections::VecDeque;
use std::sync::Arc;

use rand_chacha::ChaCha8Rng;
use schemas::{Millis, Package};
use serde_json::{Map, Value};

pub use command::{Args, run};
pub use habits::Habits;
pub use people::{Channel, DeviceClock, Sender};
pub use profile::{Mode, Profile};
pub use sent::{Expected, Personal, Planted, Sent};

use rhythm::Rhythm;
use session::Sessions;

/// One event, and who sends it.
#[derive(Clone, Debug)]
pub struct Generated {
    /// What the event says.
    pub content: Content,
    /// Whose event it is, and by which door it comes.
    pub sender: Arc<Sender>,
    /// When it happened, by a right clock.
    pub at: Millis,
    /// Events of one number were made in one sitting, and may travel in one body.
    pub session: u64,
    /// What must become of it.
    pub expected: Expected,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A JSON object: declared fields, `type`, `id`, `boot`, `seq`, `consent`.
    Object(Map<String, Value>),
    /// Text that is no JSON: a transfer that broke off.
    Broken(String),
}

impl Generated {
    /// The event as a line of NDJSON, as `quorate import` reads it and as a server posts it for others: with its
    /// time and with whom it is about.
    #[must_use]
    pub fn line(&self) -> String {
        let object = match &self.content {
            Content::Broken(text) => return text.clone(),
            Content::Object(object) => object,
        };
        let mut object = object.clone();
        object.insert("time".to_owned(), Value::String(self.at.to_string()));
        self.sender.speak_for(&mut object);
        Value::Object(object).to_string()
    }
}

/// Makes events, in order of time within the hour; ends after [`Profile::events`].
pub struct Generator<'a> {
    sessions: Sessions<'a>,
    rhythm: Rhythm,
    ready: VecDeque<Generated>,
    random: ChaCha8Rng,
    sent: Sent,
    personal: Personal,
}

impl<'a> Generator<'a> {
    /// A generator for the families of `package`; the same profile gives the same events.
    #[must_use]
    pub fn new(package: &'a Package, profile: Profile) -> Self {
        let run = profile.from.0.unsigned_abs();
        let random = people::own(profile.seed, people::Whose::Run, run, 0);
        let rhythm = Rhythm::new(profile.from, profile.to, profile.events);
        let sessions = Sessions::new(package, profile);
        Self {
            sessions,
            rhythm,
            ready: VecDeque::new(),
            random,
            sent: Sent::default(),
            personal: Personal::default(),
        }
    }

    /// The seed that all comes from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.sessions.seed()
    }

    /// What has been made so far, and what must become of it.
    #[must_use]
    pub fn sent(&self) -> &Sent {
        &self.sent
    }

    /// Every address, identifier and planted text that was in an event so far: none of it may be stored.
    #[must_use]
    pub fn personal(&self) -> &Personal {
        &self.personal
    }
}

impl Iterator for Generator<'_> {
    type Item = Generated;

    fn next(&mut self) -> Option<Generated> {
        while self.ready.is_empty() {
            let slot = self.rhythm.next()?;
            self.ready = self.sessions.fill(&slot, &mut self.random, &mut self.personal).into();
        }
        let event = self.ready.pop_front()?;
        self.sent.count(self.sessions.family_name(event.sender.family), event.expected);
        Some(event)
    }
}

#[cfg(test)]
mod tests;
