//! Janus' oracle: every event is a bucket of its own, so that each total can be judged by itself. An acknowledged event
//! is in the tables once, one whose fate is unknown once or not at all, and none twice.

use std::collections::{BTreeMap, HashMap};

use schemas::time::{DAY_MS, HOUR_MS, epoch_of, epoch_start};
use schemas::{Millis, Note};

use super::load::{Bad, Sender};

/// Batches that were acknowledged, kept to be copied.
const COPIED_MAX: usize = 64;
/// What this test declares; see `policy/`.
const GRACE_MS: i64 = 48 * HOUR_MS;

/// The two families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Device,
    Web,
}

impl Family {
    fn epoch_days(self) -> u32 {
        match self {
            Self::Device => 7,
            Self::Web => 1,
        }
    }
}

/// An event that may be stored; its number is its place in the book.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) family: Family,
    /// When it was sent first, by the clock of its time, in milliseconds since 1970.
    pub(super) first_ms: i64,
    sent: u32,
    acknowledged: u32,
    /// Under which day it was seen in the tables, if it was.
    day: Option<Millis>,
}

/// A body, for as long as it may be sent again.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) sender: Sender,
    pub(super) times: super::load::Times,
    pub(super) numbers: Vec<u64>,
    pub(super) bad: Vec<Bad>,
    /// When it was made.
    pub(super) first_ms: i64,
}

impl Batch {
    /// Whether a copy would still be known for one: a margin below the shortest window of what is in it.
    fn is_known_at(&self, now: i64) -> bool {
        let window_ms = if self.sender == Sender::Device { 7 * DAY_MS } else { 2 * DAY_MS };
        now - self.first_ms < window_ms - 2 * HOUR_MS
    }
}

/// What a client knows of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Acknowledged,
    Unknown,
}

/// Everything that was sent.
#[derive(Default)]
pub(super) struct Book {
    events: Vec<Event>,
    unknown: Vec<Batch>,
    copied: Vec<Batch>,
    /// Events that have to be refused: acknowledged, and sent in all.
    refused: (u64, u64),
}

impl Book {
    /// A new event of that sender; gives its number.
    pub(super) fn enter(&mut self, sender: Sender, now: i64) -> u64 {
        let number = self.events.len() as u64;
        let family = match sender {
            Sender::Device => Family::Device,
            Sender::Site => Family::Web,
            Sender::Server if number.is_multiple_of(3) => Family::Web,
            Sender::Server => Family::Device,
        };
        self.events.push(Event { family, first_ms: now, sent: 0, acknowledged: 0, day: None });
        number
    }

    pub(super) fn event(&self, number: u64) -> &Event {
        &self.events[index(number)]
    }

    /// Notes that a batch goes out: from now on its events may be stored.
    pub(super) fn sending(&mut self, batch: &Batch) {
        for &number in &batch.numbers {
            self.events[index(number)].sent += 1;
        }
        self.refused.1 += batch.bad.len() as u64;
    }

    /// Notes what a client learned of a batch.
    pub(super) fn sent(&mut self, batch: Batch, fate: Fate) {
        if fate == Fate::Unknown {
            self.unknown.push(batch);
            return;
        }
        for &number in &batch.numbers {
            self.events[index(number)].acknowledged += 1;
        }
        self.refused.0 += batch.bad.len() as u64;
        if self.copied.len() == COPIED_MAX {
            self.copied.remove(0);
        }
        self.copied.push(batch);
    }

    /// Takes a batch whose fate is unknown, to send it again; those too old for it stay unknown for ever.
    pub(super) fn unknown(&mut self, now: i64) -> Option<Batch> {
        self.unknown.retain(|batch| batch.is_known_at(now));
        if self.unknown.is_empty() { None } else { Some(self.unknown.remove(0)) }
    }

    /// Takes a batch that was acknowledged.
    pub(super) fn acknowledged(&mut self, lot: u32, now: i64) -> Option<Batch> {
        self.copied.retain(|batch| batch.is_known_at(now));
        if self.copied.is_empty() {
            return None;
        }
        Some(self.copied.remove(index(u64::from(lot)) % self.copied.len()))
    }

    /// Compares with number and day of each row in the tables after a kill, when what was acknowledged may still be in
    /// the log alone.
    pub(super) fn compare(&mut self, rows: &[(u64, Millis)], now: i64) -> Result<(), String> {
        let mut found = HashMap::<u64, u32>::new();
        for &(number, day) in rows {
            *found.entry(number).or_default() += 1;
            if let Some(event) = self.events.get_mut(index(number)) {
                event.day = Some(day);
            }
        }
        for (&number, &count) in &found {
            let event = self.events.get(index(number)).filter(|event| event.sent > 0);
            match event {
                None => return Err(format!("event {number} is stored, and was never sent")),
                Some(event) if count > 1 => {
                    return Err(format!("event {number} is stored {count} times: {event:?}"));
                }
                Some(_) => {}
            }
        }
        for (number, event) in self.events.iter().enumerate() {
            let gone = event.day.is_some() && !found.contains_key(&(number as u64));
            if gone && now < ends(event).0 {
                return Err(format!("event {number} was stored, and is gone: {event:?}"));
            }
        }
        Ok(())
    }

    /// Compares with tables and ledger after everything was drained.
    pub(super) fn settle(&self, books: &BTreeMap<String, u64>) -> Result<(), String> {
        for (number, event) in self.events.iter().enumerate() {
            if event.acknowledged > 0 && event.day.is_none() {
                return Err(format!(
                    "event {number} was acknowledged, and is not stored: {event:?}"
                ));
            }
        }
        let booked = |name: &str| books.get(name).copied().unwrap_or(0);
        let sum = |count: &dyn Fn(&Event) -> u32| {
            self.events.iter().map(|event| u64::from(count(event))).sum::<u64>()
        };
        let stored = sum(&|event| u32::from(event.day.is_some()));
        let acknowledged = sum(&|event| event.acknowledged);
        let sent = sum(&|event| event.sent);
        let is_note = |name: &str| Note::ALL.iter().any(|note| note.name() == name);
        let reasons = ["unknown_type", "missing_field", "out_of_range", "not_permitted"];
        let refused = reasons.iter().map(|reason| booked(reason)).sum::<u64>();
        let received = booked("received");
        let ends = books.iter().filter(|(name, _)| *name != "received" && !is_note(name));
        let checks = [
            (
                "received = the sum of outcomes",
                received == ends.map(|(_, count)| count).sum::<u64>(),
            ),
            ("stored = rows", booked("stored") == stored),
            ("stored + duplicate: what was acknowledged, and at most what was sent", {
                (acknowledged..=sent).contains(&(booked("stored") + booked("duplicate")))
            }),
            ("refused: what was acknowledged, and at most what was sent", {
                (self.refused.0..=self.refused.1).contains(&refused)
            }),
            ("nothing else", received == booked("stored") + booked("duplicate") + refused),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            None => Ok(()),
            Some((rule, _)) => Err(format!(
                "{rule} does not hold: {books:?}; {stored} rows, {acknowledged} acknowledged, {sent} sent, refused {:?}",
                self.refused
            )),
        }
    }

    /// Compares what was released with the rows: a day is closed when nothing can come into it any more.
    pub(super) fn released(&self, uses: &BTreeMap<Millis, u64>) -> Result<(), String> {
        for (&day, &released) in uses {
            let is_of_it =
                |event: &&Event| event.family == Family::Device && event.day == Some(day);
            let rows = self.events.iter().filter(is_of_it).count() as u64;
            if rows != released {
                return Err(format!("{released} uses of {day} were released, of {rows} rows"));
            }
        }
        Ok(())
    }

    /// Events that were sent, and of these those that were acknowledged.
    pub(super) fn totals(&self) -> (usize, usize) {
        let acknowledged = self.events.iter().filter(|event| event.acknowledged > 0).count();
        (self.events.len(), acknowledged)
    }
}

/// From when on the rows of an event may be gone.
fn ends(event: &Event) -> Millis {
    let days = event.family.epoch_days();
    epoch_start(epoch_of(Millis(event.first_ms), days) + 1, days).plus(GRACE_MS)
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(fate: Fate) -> Book {
        let mut book = Book::default();
        let number = book.enter(Sender::Device, DAY_MS);
        let batch = Batch {
            sender: Sender::Device,
            times: super::super::load::Times::Silent,
            numbers: vec![number],
            bad: vec![Bad::NoType],
            first_ms: DAY_MS,
        };
        book.sending(&batch);
        book.sent(batch, fate);
        book
    }

    fn books(received: u64, stored: u64, duplicate: u64, refused: u64) -> BTreeMap<String, u64> {
        let names = ["received", "stored", "duplicate", "unknown_type"].map(str::to_owned);
        names.into_iter().zip([received, stored, duplicate, refused]).collect()
    }

    #[test]
    fn each_total_is_judged() {
        use Fate::{Acknowledged, Unknown};
        let judge = |fate, rows: &[u64], books: &BTreeMap<String, u64>| {
            let rows: Vec<(u64, Millis)> = rows.iter().map(|&row| (row, Millis(0))).collect();
            let mut book = book(fate);
            book.compare(&rows, DAY_MS).and_then(|()| book.settle(books)).is_ok()
        };
        assert!(judge(Acknowledged, &[0], &books(2, 1, 0, 1)));
        assert!(!judge(Acknowledged, &[], &books(1, 0, 0, 1)), "lost");
        assert!(!judge(Acknowledged, &[0, 0], &books(3, 2, 0, 1)), "twice");
        assert!(!judge(Acknowledged, &[0], &books(1, 1, 0, 0)), "a refusal was lost");
        assert!(!judge(Acknowledged, &[0], &books(1, 0, 0, 1)), "rows without books");
        assert!(
            !judge(Acknowledged, &[0], &books(3, 1, 0, 1)),
            "received and nothing became of it"
        );
        assert!(judge(Unknown, &[0], &books(2, 1, 0, 1)));
        assert!(judge(Unknown, &[], &books(0, 0, 0, 0)));
        assert!(!judge(Unknown, &[0, 0], &books(3, 2, 0, 1)), "twice");
        assert!(!judge(Unknown, &[0, 1], &books(2, 2, 0, 0)), "never sent");
    }

    #[test]
    fn rows_may_go_at_their_end_and_not_before() {
        let mut book = book(Fate::Acknowledged);
        book.compare(&[(0, Millis(DAY_MS))], DAY_MS).unwrap();
        book.released(&BTreeMap::from([(Millis(DAY_MS), 1)])).unwrap();
        assert!(book.released(&BTreeMap::from([(Millis(DAY_MS), 2)])).is_err());
        let end = ends(book.event(0)).0;
        assert!(book.compare(&[], end - 1).is_err());
        book.compare(&[], end).unwrap();
        book.settle(&books(2, 1, 0, 1)).unwrap();
    }
}
