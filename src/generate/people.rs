//! Who sends: visitors and devices, each with an address, a browser and an opinion that stay theirs.

use std::net::IpAddr;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use schemas::model::{Basis, Purpose};
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};
use schemas::{Millis, Package};
use serde_json::{Map, Value, json};

use super::habits::Habit;
use super::profile::{Mode, Profile};
use super::{agents, places};

/// By which door an event comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// From a visitor's browser, under a site's public id.
    Site,
    /// From a device, under the key of its kind.
    Device,
    /// From a server, under its key, about others.
    Server,
}

/// What a sender's clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceClock {
    /// The time, give or take seconds.
    Right,
    /// The time plus this many milliseconds; when sending, too.
    Off(i64),
    /// Only how long ago the device was switched on.
    Uptime,
}

/// Somebody who sends events.
#[derive(Clone, Debug)]
pub struct Sender {
    /// Index of the family whose contributor this is.
    pub family: usize,
    /// By which door their events come.
    pub channel: Channel,
    /// Where from.
    pub address: IpAddr,
    /// ISO 3166-1 alpha-2 code of the country that the address lies in.
    pub country: &'static str,
    /// `User-Agent`.
    pub user_agent: String,
    /// `Accept-Language`.
    pub language: &'static str,
    /// Whether requests carry `Sec-GPC: 1`.
    pub gpc: bool,
    /// Whether requests carry `DNT: 1`.
    pub dnt: bool,
    /// What the sender's clock shows.
    pub clock: DeviceClock,
    /// What is stated about purposes, in events that state something.
    pub consent: Option<Value>,
    /// Whether it is somebody's browser, and not a device.
    pub browses: bool,
    /// Which of the family's contributors this is.
    pub(super) number: u64,
}

impl Sender {
    /// Adds what another one who posts or imports an event says about whose it is.
    pub(super) fn speak_for(&self, event: &mut Map<String, Value>) {
        let person = json!({
            "address": self.address.to_string(),
            "user_agent": self.user_agent,
            "language": self.language,
        });
        event.insert("end_user".to_owned(), person);
        if self.gpc || self.dnt {
            event.insert("signals".to_owned(), json!({ "gpc": self.gpc, "dnt": self.dnt }));
        }
    }

    /// Whether events are told apart by boot and sequence number, and not by an id.
    pub(super) fn counts_boots(&self) -> bool {
        self.channel == Channel::Device
            && (self.clock == DeviceClock::Uptime || self.number.is_multiple_of(2))
    }
}

/// The contributors of one family.
pub(super) struct People {
    family: usize,
    browses: bool,
    habit: Habit,
    popularity: Zipf<f64>,
}

impl People {
    /// `share` is the part of all events that this family sends, 0 to 1.
    pub(super) fn new(package: &Package, family: usize, profile: &Profile, share: f64) -> Self {
        let declared = &package.families[family];
        let (habit, browses) = (profile.habits.of(declared), profile.habits.browses(declared));
        #[expect(clippy::cast_precision_loss, reason = "a rough number of people")]
        let (events, fleet) = (
            profile.events as f64 * share,
            package.fleet.iter().map(|(_, devices)| *devices).sum::<u64>() as f64,
        );
        // A visitor comes about once and sends a handful; a device sends dozens.
        let (size, skew) = if let Some(size) = habit.contributors {
            (f64::from(size).min(1e7), 0.5)
        } else if browses {
            ((events / 5.0).clamp(40.0, 1e7), 0.4)
        } else if fleet > 0.0 {
            (fleet.min(1e7), 0.5)
        } else {
            ((events / 30.0).clamp(300.0, 1e6), 0.5)
        };
        let popularity =
            Zipf::new(size, skew).expect("both are finite, size is above 1, skew above 0");
        Self { family, browses, habit, popularity }
    }

    /// One of them, the favourites more often.
    pub(super) fn draw(
        &self,
        package: &Package,
        profile: &Profile,
        random: &mut ChaCha8Rng,
    ) -> Sender {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number from 1 to the size, at most 1e7"
        )]
        let number = self.popularity.sample(random) as u64;
        self.sender(number, package, profile)
    }

    fn sender(&self, number: u64, package: &Package, profile: &Profile) -> Sender {
        let mut own = own(profile.seed, Whose::Sender(self.family), number, 0);
        let unruly = &profile.unruly;
        let live = profile.mode == Mode::Live;
        let place = places::place(&mut own);
        let (usual, user_agent) = if self.browses {
            (Channel::Site, agents::browser(&mut own))
        } else {
            (Channel::Device, agents::library(&mut own))
        };
        let address = place.address(&mut own);
        let channel = if own.random_bool(0.25) { Channel::Server } else { usual };
        let consent = consent(package, self.family, profile, &self.habit, &mut own);
        // Browsers have such signals, devices have none.
        let signals = (own.random_bool(unruly.gpc), own.random_bool(unruly.dnt));
        let (gpc, dnt) = if self.browses { signals } else { (false, false) };
        let clock = match channel {
            Channel::Device if live && own.random_bool(unruly.clockless) => DeviceClock::Uptime,
            Channel::Device | Channel::Site if live && own.random_bool(unruly.skewed) => {
                DeviceClock::Off(offset(&mut own))
            }
            Channel::Device | Channel::Site | Channel::Server => DeviceClock::Right,
        };
        Sender {
            family: self.family,
            channel,
            address,
            country: place.country,
            user_agent,
            language: place.language,
            gpc,
            dnt,
            clock,
            consent,
            browses: self.browses,
            number,
        }
    }
}

/// Whom randomness belongs to.
#[derive(Clone, Copy)]
pub(super) enum Whose {
    /// A run: its number is when it begins, so that two spans of one seed hold different events.
    Run,
    /// A sender of a family: the same each time they come, in every run of one seed.
    Sender(usize),
    /// A sitting of a family.
    Session(usize),
}

/// Randomness that belongs to one run, sender or sitting.
pub(super) fn own(seed: u64, whose: Whose, number: u64, stream: u64) -> ChaCha8Rng {
    let (role, family) = match whose {
        Whose::Run => (0, 0),
        Whose::Sender(family) => (1, family as u64),
        Whose::Session(family) => (2, family as u64),
    };
    let mut bytes = [0; 32];
    let words = [seed, role, family, number];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let mut own = ChaCha8Rng::from_seed(bytes);
    own.set_stream(stream);
    own
}

/// A few minutes, a time zone, or a dead battery.
fn offset(random: &mut ChaCha8Rng) -> i64 {
    match random.random_range(0..4) {
        0 => random.random_range(-20 * MINUTE_MS..20 * MINUTE_MS),
        1 | 2 => random.random_range(-12..=12) * HOUR_MS + random.random_range(0..90 * SECOND_MS),
        _ => -(random.random_range(1_000..20_000) * HOUR_MS),
    }
}

/// What a sender states: a grant where one is needed, sometimes nothing, sometimes a refusal.
fn consent(
    package: &Package,
    family: usize,
    profile: &Profile,
    habit: &Habit,
    random: &mut ChaCha8Rng,
) -> Option<Value> {
    // Where senders are as one would wish them, no package's habits make them otherwise.
    let share = |usual: f64, own: Option<f64>| if usual > 0.0 { own.unwrap_or(usual) } else { 0.0 };
    let silent = random.random_bool(share(profile.unruly.silent, habit.silent));
    let refusing = random.random_bool(share(profile.unruly.refusing, habit.refused));
    let family = &package.families[family];
    let asked = (0..package.purposes.len()).filter(|&index| {
        family.purposes.has(index) || family.fields.iter().any(|field| field.purposes.has(index))
    });
    let mut stated = Map::new();
    for index in asked {
        let purpose = &package.purposes[index];
        let needs_grant = purpose.basis == Basis::Consent;
        if refusing || (needs_grant && !silent) {
            stated.insert(purpose.name.clone(), word(purpose, !refusing));
        }
    }
    (!stated.is_empty()).then_some(Value::Object(stated))
}

/// Yes or no; with the version that it is said to, where the purpose asks for one.
fn word(purpose: &Purpose, granted: bool) -> Value {
    match purpose.consent_versions.last() {
        Some(version) => json!({ "granted": granted, "version": version }),
        None => Value::Bool(granted),
    }
}

/// What is stated, as an event of that moment says it: what knows a version knows a time, too, a day before.
pub(super) fn dated(consent: &Value, at: Millis) -> Value {
    let mut consent = consent.clone();
    let words = consent.as_object_mut().into_iter().flat_map(|words| words.values_mut());
    for word in words.filter_map(Value::as_object_mut) {
        word.insert("at".to_owned(), json!(at.plus(-DAY_MS).to_string()));
    }
    consent
}
