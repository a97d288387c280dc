//! Clients under the same clock as the service: batches of new events, copies, batches whose fate is unknown again later
//! as firmware sends them, and among them what has to be refused.

use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemas::Millis;
use serde_json::{Value, json};

use super::oracle::{Batch, Book, Event, Family, Fate};
use crate::support::place::{ORIGIN, Place, SITE};

/// Connections that post at once.
const CLIENTS: u64 = 3;
/// Most of one body.
const BATCH_MAX: usize = 120;
/// An answer takes longer than this only if something is stuck.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Who posts a batch, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Device,
    Server,
    Site,
}

/// How a batch tells when its events happened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Times {
    Silent,
    Clock,
    ClockAndSent,
    Uptime,
}

/// An event that is refused, for one reason each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bad {
    NoType,
    NoNumber,
    OutOfRange,
}

impl Bad {
    pub(super) const ALL: [Self; 3] = [Self::NoType, Self::NoNumber, Self::OutOfRange];

    fn event(self) -> Value {
        match self {
            Self::NoType => json!({ "type": "unheard_of", "number": 1 }),
            Self::NoNumber => json!({ "type": "web", "name": "x" }),
            Self::OutOfRange => json!({ "type": "web", "number": -5 }),
        }
    }
}

/// Posts to a service that is `ahead_ms` ahead, drawing from `seed`, until it dies or `most` events are sent and everything
/// unknown was sent again.
pub(super) fn run(
    place: &Place,
    to: SocketAddr,
    book: &Mutex<Book>,
    (ahead_ms, seed, most): (i64, u64, u64),
) {
    let sent = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (random, sent) = (ChaCha8Rng::seed_from_u64(seed ^ client), &sent);
            let client = Client { place, to, book, ahead_ms, random, connection: None };
            scope.spawn(move || client.post_until_dead(sent, most));
        }
    });
}

/// Sends everything again whose fate is unknown, and that can still be recognised. Every batch has an answer then.
pub(super) fn send_again(place: &Place, to: SocketAddr, book: &Mutex<Book>, ahead_ms: i64) {
    let random = ChaCha8Rng::seed_from_u64(0);
    let mut client = Client { place, to, book, ahead_ms, random, connection: None };
    while let Some(batch) = client.unknown() {
        assert!(client.send(batch), "a running service answers");
    }
}

struct Client<'t> {
    place: &'t Place,
    to: SocketAddr,
    book: &'t Mutex<Book>,
    ahead_ms: i64,
    random: ChaCha8Rng,
    connection: Option<BufReader<TcpStream>>,
}

impl Client<'_> {
    fn post_until_dead(mut self, sent: &AtomicU64, most: u64) {
        loop {
            let choice = self.random.random_range(0..10);
            let again = match choice {
                0..=2 => self.unknown(),
                3 => self.copy(),
                _ => None,
            };
            let batch = match again {
                Some(batch) => batch,
                None if sent.load(Ordering::Relaxed) < most => self.fresh(sent),
                None => match self.unknown() {
                    Some(batch) => batch,
                    None => return,
                },
            };
            if !self.send(batch) {
                return;
            }
        }
    }

    fn now(&self) -> i64 {
        (quorate::store::system_clock())().plus(self.ahead_ms).0
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("no client panics with the book open")
    }

    fn unknown(&self) -> Option<Batch> {
        let now = self.now();
        self.book().unknown(now)
    }

    /// A batch that was acknowledged, once more.
    fn copy(&mut self) -> Option<Batch> {
        let now = self.now();
        let lot = self.random.random();
        self.book().acknowledged(lot, now)
    }

    fn fresh(&mut self, sent: &AtomicU64) -> Batch {
        let random = &mut self.random;
        let sender = [Sender::Device, Sender::Server, Sender::Site][random.random_range(0..3)];
        let times = [Times::Silent, Times::Clock, Times::ClockAndSent, Times::Uptime]
            [random.random_range(0..4)];
        let count = if random.random_bool(0.2) { 1 } else { random.random_range(1..=BATCH_MAX) };
        let bad = if random.random_bool(0.3) { random.random_range(1..4) } else { 0 };
        let bad = (0..bad).map(|_| Bad::ALL[random.random_range(0..3)]).collect();
        sent.fetch_add(count as u64, Ordering::Relaxed);
        let now = self.now();
        let mut book = self.book();
        let numbers = (0..count).map(|_| book.enter(sender, now)).collect();
        Batch { sender, times, numbers, bad, first_ms: now }
    }

    /// Sends a batch and books its fate; false if nobody answers any more.
    fn send(&mut self, batch: Batch) -> bool {
        let body = self.body(&batch).to_string();
        self.book().sending(&batch);
        let answer = self.exchange(batch.sender, body.as_bytes());
        let fate = match &answer {
            Ok((202 | 400, answer)) => {
                let answer: Value = serde_json::from_slice(answer).expect("answers are JSON");
                let (accepted, refused) = (&answer["accepted"], &answer["refused_total"]);
                let said = (accepted.as_u64(), refused.as_u64());
                let right = (Some(batch.numbers.len() as u64), Some(batch.bad.len() as u64));
                assert_eq!(said, right, "accepted and refused");
                Fate::Acknowledged
            }
            Ok((503, _)) | Err(_) => Fate::Unknown,
            Ok((status, answer)) => {
                panic!("an answer {status}: {}", String::from_utf8_lossy(answer))
            }
        };
        self.book().sent(batch, fate);
        answer.is_ok()
    }

    fn exchange(&mut self, sender: Sender, body: &[u8]) -> Result<(u16, Vec<u8>), Error> {
        let answer = self.try_exchange(sender, body);
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    fn try_exchange(&mut self, sender: Sender, body: &[u8]) -> Result<(u16, Vec<u8>), Error> {
        let (target, identity) = match sender {
            Sender::Device => ("/v1/events".to_owned(), bearer(&self.place.device_key)),
            Sender::Server => ("/v1/events".to_owned(), bearer(&self.place.server_key)),
            Sender::Site => (format!("/v1/events?site={SITE}"), format!("Origin: {ORIGIN}\r\n")),
        };
        let visitor = self.random.random_range(1..200);
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: {}\r\n{identity}X-Forwarded-For: 198.51.100.{visitor}\r\n\
             User-Agent: Firefox/150\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.to,
            body.len()
        );
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let stream = TcpStream::connect(self.to)?;
                stream.set_read_timeout(Some(ANSWER_WITHIN))?;
                stream.set_nodelay(true)?;
                self.connection.insert(BufReader::new(stream))
            }
        };
        connection.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        let asked = Instant::now();
        let answer = read(connection);
        assert!(asked.elapsed() < ANSWER_WITHIN, "no answer within {ANSWER_WITHIN:?}");
        answer
    }

    fn body(&self, batch: &Batch) -> Value {
        let now = self.now();
        let book = self.book();
        let events = batch.numbers.iter().map(|&number| event(number, book.event(number), batch));
        let mut events: Vec<Value> = events.collect();
        for (index, bad) in batch.bad.iter().enumerate() {
            events.insert((index * 7).min(events.len()), bad.event());
        }
        if batch.sender == Sender::Server {
            return Value::Array(events);
        }
        match batch.times {
            Times::Silent | Times::Clock => json!({ "events": events }),
            Times::ClockAndSent => json!({ "sent": Millis(now).to_string(), "events": events }),
            Times::Uptime => {
                json!({ "sent_uptime_ms": UPTIME_MS + now - batch.first_ms, "events": events })
            }
        }
    }
}

/// How long a device had been running when it made a batch.
const UPTIME_MS: i64 = 3_600_000;

/// The same event whenever it is sent, but for what its batch says.
fn event(number: u64, booked: &Event, batch: &Batch) -> Value {
    let spread = i64::try_from(number * 7_919 % 1_800_000).expect("below half an hour");
    let mut event = match booked.family {
        Family::Web => json!({ "type": "web", "id": format!("w{number}"), "number": number,
            "url": format!("https://shop.example/about/{}", if number.is_multiple_of(2) { "us" } else { "you" }) }),
        Family::Device => json!({ "type": "device_usage", "number": number,
            "serial_number": format!("S-{}", number % 40), "product": format!("x{}", number % 2), "version": format!("3.{}.1", number % 9) }),
    };
    let fields = event.as_object_mut().expect("an object");
    if booked.family == Family::Device {
        // Devices that name their events, and devices that count them.
        if number.is_multiple_of(3) {
            fields.insert("id".to_owned(), json!(format!("d{number}")));
        } else {
            fields.insert("boot".to_owned(), json!(1 + number / 1_000));
            fields.insert("seq".to_owned(), json!(number % 1_000));
        }
    }
    let times = match (batch.times, batch.sender) {
        (Times::ClockAndSent | Times::Uptime, Sender::Server) => Times::Clock,
        (times, _) => times,
    };
    match times {
        Times::Silent => {}
        Times::Clock | Times::ClockAndSent => {
            let time = Millis(booked.first_ms - spread).to_string();
            fields.insert("time".to_owned(), json!(time));
        }
        Times::Uptime => {
            fields.insert("uptime_ms".to_owned(), json!(UPTIME_MS - spread));
        }
    }
    event
}

fn bearer(key: &str) -> String {
    format!("Authorization: Bearer {key}\r\n")
}

/// Status and body of one answer on a connection that stays open.
fn read(connection: &mut BufReader<TcpStream>) -> Result<(u16, Vec<u8>), Error> {
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let status = line.get(9..12).and_then(|digits| digits.parse().ok());
    let status = status.ok_or(ErrorKind::UnexpectedEof)?;
    let mut length = 0;
    loop {
        line.clear();
        if connection.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| Error::from(ErrorKind::InvalidData))?;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((status, body))
}
