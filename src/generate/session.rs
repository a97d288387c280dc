//! Sittings: one sender, a few events, minutes apart; some of them spoilt, some sent twice.

use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemas::model::{Family, Routes, Source, Transform};
use schemas::time::{HOUR_MS, MINUTE_MS, SECOND_MS};
use schemas::{Millis, Package, Reason};
use serde_json::{Map, Value, json};

use super::habits::Habit;
use super::hostile::{self, Defect};
use super::people::{self, Channel, People, Sender, Whose};
use super::profile::{Mode, Profile};
use super::rhythm::Slot;
use super::sent::{Expected, Personal, Planted};
use super::values::{self, Holds};
use super::{Content, Generated};

/// What is known of one family.
struct Kind {
    people: People,
    habit: Habit,
    defects: Vec<Vec<Defect>>,
    /// Longest pause between two events of a sitting, in milliseconds.
    pause_ms: i64,
    /// Mean events in a sitting.
    length: u32,
    /// Part of all sittings, 0 to 1.
    weight: f64,
}

/// Where an event stands in its sitting.
#[derive(Clone, Copy)]
struct Turn {
    at: Millis,
    seq: u64,
    is_first: bool,
}

/// Makes sittings.
pub(super) struct Sessions<'a> {
    package: &'a Package,
    profile: Profile,
    kinds: Vec<Kind>,
    /// Whether any family counts devices, whose keys may not send what browsers send.
    has_devices: bool,
    /// Number of the last sitting: also the boot count, so it begins where no earlier run has been.
    session: u64,
}

impl<'a> Sessions<'a> {
    pub(super) fn new(package: &'a Package, profile: Profile) -> Self {
        let of = |family: &Family| profile.habits.of(family);
        let total: f64 = package.families.iter().map(|family| of(family).weight(family)).sum();
        let kinds = (0..package.families.len())
            .map(|index| {
                let family = &package.families[index];
                let habit = of(family);
                let weight = habit.weight(family) / total;
                Kind {
                    people: People::new(package, index, &profile, weight),
                    defects: hostile::possible(package, index),
                    pause_ms: habit.pause_ms(family),
                    length: habit.length(family),
                    weight,
                    habit,
                }
            })
            .collect();
        let session = u64::try_from(profile.from.0 / SECOND_MS).unwrap_or(0);
        let has_devices = !package.families.iter().all(|family| profile.habits.browses(family));
        Self { package, profile, kinds, has_devices, session }
    }

    pub(super) fn seed(&self) -> u64 {
        self.profile.seed
    }

    pub(super) fn family_name(&self, family: usize) -> &'a str {
        &self.package.families[family].name
    }

    /// Exactly the slot's number of events, in the order in which they are sent.
    pub(super) fn fill(
        &mut self,
        slot: &Slot,
        random: &mut ChaCha8Rng,
        personal: &mut Personal,
    ) -> Vec<Generated> {
        let wanted = usize::try_from(slot.events).unwrap_or(usize::MAX);
        let mut sent: Vec<(Millis, Generated)> = Vec::with_capacity(wanted);
        while sent.len() < wanted && !self.kinds.is_empty() {
            self.sitting(slot, wanted, random, personal, &mut sent);
        }
        sent.sort_by_key(|(when, _)| *when);
        sent.into_iter().map(|(_, event)| event).collect()
    }

    fn sitting(
        &mut self,
        slot: &Slot,
        wanted: usize,
        random: &mut ChaCha8Rng,
        personal: &mut Personal,
        sent: &mut Vec<(Millis, Generated)>,
    ) {
        self.session += 1;
        let kind = self.kind(random);
        let sender = Arc::new(self.kinds[kind].people.draw(self.package, &self.profile, random));
        personal.plant(Planted::Address, &sender.address.to_string());
        let (length, pause_ms) = (self.kinds[kind].length, self.kinds[kind].pause_ms);
        let last = Millis(slot.to.0 - 1);
        let mut turn = Turn {
            at: Millis(random.random_range(slot.from.0..slot.to.0)),
            seq: random.random_range(1..5_000),
            is_first: true,
        };
        // Each event is the last one with the same chance: many sittings of one, few long ones.
        loop {
            let event = self.event(&sender, turn, random, personal);
            let is_repeated = event.expected == Expected::Stored
                && self.is_repeatable(&event)
                && random.random_bool(self.profile.unruly.retried);
            let copy =
                is_repeated.then(|| Generated { expected: Expected::Duplicate, ..event.clone() });
            sent.push((event.at, event));
            if let Some(copy) = copy.filter(|_| sent.len() < wanted) {
                let later = copy.at.plus(random.random_range(SECOND_MS..HOUR_MS));
                sent.push((later, copy));
            }
            if sent.len() >= wanted || random.random_ratio(1, length) {
                return;
            }
            let at = turn.at.plus(random.random_range(SECOND_MS..pause_ms)).min(last);
            turn = Turn { at, seq: turn.seq + 1, is_first: false };
        }
    }

    fn kind(&self, random: &mut ChaCha8Rng) -> usize {
        let mut drawn = random.random::<f64>();
        let last = self.kinds.len() - 1;
        let chosen = self.kinds[..last].iter().position(|kind| {
            drawn -= kind.weight;
            drawn < 0.0
        });
        chosen.unwrap_or(last)
    }

    /// Whether a second copy must be recognised: it has a key, and its day is beyond doubt however long it travels.
    fn is_repeatable(&self, event: &Generated) -> bool {
        let Content::Object(object) = &event.content else { return false };
        let has_key = object.contains_key("id") || object.contains_key("seq");
        let is_certain = event.at.plus(-MINUTE_MS).day() == event.at.plus(MINUTE_MS).day();
        has_key && (is_certain || self.profile.mode == Mode::History)
    }

    fn event(
        &self,
        sender: &Arc<Sender>,
        turn: Turn,
        random: &mut ChaCha8Rng,
        personal: &mut Personal,
    ) -> Generated {
        let family = &self.package.families[sender.family];
        let mut object = self.declared(family, sender, turn, random, personal);
        self.kinds[sender.family].habit.tidy(&mut object, turn.is_first);
        object.insert("type".to_owned(), json!(family.name));
        if sender.counts_boots() {
            object.insert("boot".to_owned(), json!(self.session));
            object.insert("seq".to_owned(), json!(turn.seq));
        } else if random.random_bool(0.95) {
            object.insert("id".to_owned(), json!(values::uuid(random)));
        }
        if let Some(consent) = &sender.consent {
            object.insert("consent".to_owned(), people::dated(consent, turn.at));
        }
        let mut sender = Arc::clone(sender);
        let is_at_wrong_door = self.profile.mode == Mode::Live
            && sender.channel == Channel::Site
            && self.has_devices
            && random.random_bool(self.profile.unruly.wrong_door);
        let (content, expected) = if is_at_wrong_door {
            Arc::make_mut(&mut sender).channel = Channel::Device;
            (Content::Object(object), Expected::Refused(Reason::NotPermitted))
        } else if random.random_bool(self.profile.unruly.hostile) {
            let ways = &self.kinds[sender.family].defects;
            let ways = &ways[random.random_range(0..ways.len())];
            let defect = ways[random.random_range(0..ways.len())];
            hostile::spoil(defect, object, &family.fields, random, personal)
        } else {
            (Content::Object(object), Expected::Stored)
        };
        Generated { content, sender, at: turn.at, session: self.session, expected }
    }

    /// Values of the declared fields that come in the event.
    fn declared(
        &self,
        family: &Family,
        sender: &Sender,
        turn: Turn,
        random: &mut ChaCha8Rng,
        personal: &mut Personal,
    ) -> Map<String, Value> {
        let mut object = Map::new();
        let (at, habit) = (turn.at, &self.kinds[sender.family].habit);
        for (index, field) in family.fields.iter().enumerate() {
            let is_asked = field.source == Source::Body && field.expires.is_none_or(|end| at < end);
            let presence = habit.presence(field).unwrap_or_else(|| values::presence(field));
            if !is_asked || !random.random_bool(presence) {
                continue;
            }
            let routes = routes(family, index);
            let whose = match values::holds(field) {
                Holds::Event => None,
                Holds::Sender => Some((Whose::Sender(sender.family), sender.number)),
                Holds::Session => Some((Whose::Session(sender.family), self.session)),
            };
            let draw = |random: &mut ChaCha8Rng| {
                let usual = habit.draw(field, turn.is_first, random);
                usual.or_else(|| values::draw(field, &routes, at, random))
            };
            let value = match whose {
                None => draw(random),
                Some((whose, number)) => {
                    draw(&mut people::own(self.profile.seed, whose, number, index as u64 + 1))
                }
            };
            let Some(value) = value else { continue };
            // What comes from a child is refused whole, and is none of the defects that are counted.
            let value = if family.flags.age == Some(index) { json!(false) } else { value };
            if let (Transform::Pseudonym, Some(text)) = (&field.transform, value.as_str()) {
                personal.plant(Planted::Identifier, text);
            }
            object.insert(field.name.clone(), value);
        }
        object
    }
}

/// Routes that a family declares for what is made of the URL in field `index`.
fn routes(family: &Family, index: usize) -> Vec<&Routes> {
    let made_of_it = family.fields.iter().filter(|field| field.source == Source::Field(index));
    made_of_it
        .filter_map(|field| {
            if let Transform::Path(routes) = &field.transform { Some(routes) } else { None }
        })
        .collect()
}
