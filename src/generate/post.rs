//! Generated events as bodies for `POST /v1/events`: beacons of browsers, envelopes of devices, batches of servers.

use std::collections::HashMap;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use schemas::time::{MINUTE_MS, SECOND_MS};
use schemas::{Clock, Millis};
use serde_json::{Map, Value, json};

use super::people::{self, Channel, DeviceClock, Whose};
use super::{Content, Generated, Generator};

/// Events that are looked at together to be put into bodies.
const WINDOW: usize = 4_000;
/// Most events in one body of a server.
const SERVER_BODY_MAX: usize = 250;
/// Most events in one body of a browser or device.
const OWN_BODY_MAX: usize = 20;

/// Which doors are open; events for a closed one go through the server's.
#[derive(Clone, Copy, Debug)]
pub struct Doors {
    /// Browsers may post for a site.
    pub site: bool,
    /// Devices have a key.
    pub device: bool,
}

/// One body to be posted.
#[derive(Clone, Debug)]
pub struct Post {
    /// Under which key or id.
    pub channel: Channel,
    /// Address, browser and signals, as a trusted proxy hands them on.
    pub headers: Vec<(&'static str, String)>,
    /// What is posted.
    pub body: String,
    /// Events in it.
    pub events: u64,
}

/// Turns a generator's events into bodies.
pub struct Posts<'g, 'p> {
    generator: &'g mut Generator<'p>,
    doors: Doors,
    random: ChaCha8Rng,
    ready: std::vec::IntoIter<Post>,
    clock: Clock,
}

impl<'g, 'p> Posts<'g, 'p> {
    /// Bodies for the events that `generator` still has; `clock` tells when each is sent.
    pub fn new(generator: &'g mut Generator<'p>, doors: Doors, clock: Clock) -> Self {
        let random = people::own(generator.seed(), Whose::Run, 1, 1);
        Self { generator, doors, random, ready: Vec::new().into_iter(), clock }
    }

    fn window(&mut self) -> Vec<Post> {
        let mut bodies = Bodies::default();
        for event in self.generator.by_ref().take(WINDOW) {
            let channel = event.sender.channel;
            let is_open = match channel {
                Channel::Site => self.doors.site,
                Channel::Device => self.doors.device,
                Channel::Server => true,
            };
            let channel = if is_open { channel } else { Channel::Server };
            bodies.add(channel, event, &mut self.random);
        }
        let sent = (self.clock)();
        let bodies = bodies.list.iter();
        bodies.map(|(channel, events)| post(*channel, events, sent, &mut self.random)).collect()
    }
}

impl Iterator for Posts<'_, '_> {
    type Item = Post;

    fn next(&mut self) -> Option<Post> {
        if let Some(post) = self.ready.next() {
            return Some(post);
        }
        self.ready = self.window().into_iter();
        self.ready.next()
    }
}

/// Events put together: one body a sitting, and one after the other of a server's.
#[derive(Default)]
struct Bodies {
    list: Vec<(Channel, Vec<Generated>)>,
    sittings: HashMap<(u64, Channel), usize>,
    /// The server's open body, and how many events it shall have.
    server: Option<(usize, usize)>,
}

impl Bodies {
    fn add(&mut self, channel: Channel, event: Generated, random: &mut ChaCha8Rng) {
        let sitting = (event.session, channel);
        let open = match (channel, self.server) {
            (Channel::Server, Some((body, size))) if self.list[body].1.len() < size => Some(body),
            (Channel::Server, _) => None,
            (Channel::Site | Channel::Device, _) => self
                .sittings
                .get(&sitting)
                .copied()
                .filter(|&body| self.list[body].1.len() < OWN_BODY_MAX),
        };
        let body = open.unwrap_or_else(|| {
            self.list.push((channel, Vec::new()));
            let body = self.list.len() - 1;
            if channel == Channel::Server {
                self.server = Some((body, random.random_range(1..=SERVER_BODY_MAX)));
            } else {
                self.sittings.insert(sitting, body);
            }
            body
        });
        self.list[body].1.push(event);
    }
}

/// One body of at least one event; all of one sender, unless a server posts them.
fn post(channel: Channel, events: &[Generated], sent: Millis, random: &mut ChaCha8Rng) -> Post {
    let (kind, body) = match channel {
        // A single line that broke off would be a body that is no JSON at all, and no event.
        Channel::Server if events.len() > 1 && random.random_bool(0.5) => {
            let lines: Vec<String> = events.iter().map(Generated::line).collect();
            ("application/x-ndjson", lines.join("\n") + "\n")
        }
        Channel::Server => {
            let events = events.iter().map(|event| object(event, |object| about(object, event)));
            ("application/json", Value::Array(events.collect()).to_string())
        }
        Channel::Site => {
            // `sendBeacon` can only say text/plain; `fetch` says what it is.
            let kind = if random.random_bool(0.7) { "text/plain" } else { "application/json" };
            (kind, envelope(events, sent, random).to_string())
        }
        Channel::Device => ("application/json", envelope(events, sent, random).to_string()),
    };
    let mut headers = vec![("Content-Type", kind.to_owned())];
    if channel != Channel::Server {
        let sender = &events[0].sender;
        headers.push(("X-Forwarded-For", sender.address.to_string()));
        headers.push(("User-Agent", sender.user_agent.clone()));
        headers.push(("Accept-Language", sender.language.to_owned()));
        headers.extend(sender.gpc.then(|| ("Sec-GPC", "1".to_owned())));
        headers.extend(sender.dnt.then(|| ("DNT", "1".to_owned())));
    }
    Post { channel, headers, body, events: events.len() as u64 }
}

/// The event as an element of an array; one that broke off is a text there.
fn object(event: &Generated, finish: impl FnOnce(&mut Map<String, Value>)) -> Value {
    match &event.content {
        Content::Broken(text) => Value::String(text.clone()),
        Content::Object(object) => {
            let mut object = object.clone();
            finish(&mut object);
            Value::Object(object)
        }
    }
}

/// What a server says of an event: when, and about whom.
fn about(object: &mut Map<String, Value>, event: &Generated) {
    object.insert("time".to_owned(), json!(event.at.to_string()));
    event.sender.speak_for(object);
}

/// Events of one sitting, with what they share said once, by the sender's own clock.
fn envelope(events: &[Generated], sent: Millis, random: &mut ChaCha8Rng) -> Value {
    let clock = events[0].sender.clock;
    let first = events.iter().map(|event| event.at.0).min().unwrap_or(sent.0);
    // Switched on some time before the first event.
    let switched_on = first - random.random_range(10 * SECOND_MS..90 * MINUTE_MS);
    let (word, when): (_, &dyn Fn(Millis) -> Value) = match clock {
        DeviceClock::Right => (("time", "sent"), &|at| json!(at.to_string())),
        DeviceClock::Off(by) => (("time", "sent"), &move |at| json!(at.plus(by).0)),
        DeviceClock::Uptime => {
            (("uptime_ms", "sent_uptime_ms"), &move |at| json!(at.0 - switched_on))
        }
    };
    let list = events.iter().map(|event| {
        object(event, |object| {
            object.insert(word.0.to_owned(), when(event.at));
        })
    });
    let (mut common, list) = factor(list.collect());
    let mut envelope = Map::new();
    envelope.insert(word.1.to_owned(), when(sent));
    envelope.extend(common.remove_entry("boot"));
    if !common.is_empty() {
        envelope.insert("common".to_owned(), Value::Object(common));
    }
    envelope.insert("events".to_owned(), Value::Array(list));
    Value::Object(envelope)
}

/// Takes out what all events say alike.
fn factor(mut list: Vec<Value>) -> (Map<String, Value>, Vec<Value>) {
    let Some((Value::Object(first), others)) = list.split_first() else {
        return (Map::new(), list);
    };
    // Only what every event has: one that lacks a value by mistake must not get it from the others.
    let shared: Map<String, Value> = first
        .iter()
        .filter(|(name, value)| others.iter().all(|other| other.get(name) == Some(value)))
        .filter(|(name, _)| !["id", "seq", "time", "uptime_ms"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for event in list.iter_mut().filter_map(Value::as_object_mut) {
        event.retain(|name, _| !shared.contains_key(name));
    }
    (shared, list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_said_once_and_nothing_is_lent() {
        let list = vec![
            json!({"type": "a", "boot": 1, "seq": 1, "x": 1}),
            json!({"type": "a", "boot": 1, "seq": 2}),
            json!({"type": "a", "boot": 1, "seq": 3, "x": 1}),
        ];
        let (common, list) = factor(list);
        assert_eq!(Value::Object(common), json!({"type": "a", "boot": 1}));
        assert_eq!(list, [json!({"seq": 1, "x": 1}), json!({"seq": 2}), json!({"seq": 3, "x": 1})]);
    }

    #[test]
    fn a_broken_event_shares_nothing() {
        let (common, list) = factor(vec![json!({"type": "a"}), json!("{\"type")]);
        assert!(common.is_empty());
        assert_eq!(list.len(), 2);
    }
}
