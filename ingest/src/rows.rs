//! Decoded events to rows: family, consent, values, time, each checked; a refusal costs one event.
//!
//! Input: a [`Decoded`] body and who sent it. Output: accepted events, handed to a [`Rows`] one by one, and a
//! [`Report`]. Messages quote declared names and rules alone. Nothing here can fail as a whole: all that can go wrong
//! for a body has gone wrong before.

use std::net::IpAddr;

use anonymizer::{ClockSource, RawEvent, Signals};
use schemas::access::SourceKind;
use schemas::{Millis, Reason, Tally};
use serde::Serialize;

use crate::decode::{Cell, Decoded};
use crate::plan::Plan;
use assembler::Assembler;

mod assembler;

pub(crate) use assembler::{decided_by, hear};

/// Longest accepted event id, in bytes.
const ID_BYTES_MAX: usize = 128;
/// Most refusals, and most changes, that one answer lists.
const LISTED_MAX: usize = 100;

/// Takes accepted events.
pub trait Rows {
    /// Takes one event of the family of that index. `person` is the place, among the `end_user`s of the
    /// body, of the one for whom a server speaks.
    fn row(&mut self, family: usize, event: &RawEvent<'_>, person: Option<usize>);
}

/// Who sent a body, and when.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'s> {
    /// What kind of source it is: servers alone may speak for end users.
    pub kind: SourceKind,
    /// Which families it may send, by index; all without a list.
    pub permitted: Option<&'s [bool]>,
    /// When it was received.
    pub received: Received,
    /// What the browser said for all sites.
    pub signals: Signals,
}

/// Where the received time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// From our clock.
    At(Millis),
    /// From the event, which an operator imports: its `received`, or else its `time`; nothing later than this.
    Told(Millis),
}

/// What became of the events of a body.
#[derive(Debug, Default)]
pub struct Report {
    /// Events handed on, by family index.
    pub accepted: Vec<u64>,
    /// What was refused and noted, by family index; last, of no family.
    pub tallies: Vec<Tally>,
    /// The first refusals.
    pub refused: Vec<Refusal>,
    /// All refusals.
    pub refused_total: u64,
    /// The first values that are kept as another one.
    pub changed: Vec<Change>,
    /// All such values.
    pub changed_total: u64,
    /// Fields dropped because nobody declared them.
    pub undeclared: u64,
}

impl Report {
    /// Events handed on, all families together.
    #[must_use]
    pub fn accepted_total(&self) -> u64 {
        self.accepted.iter().sum()
    }
}

/// An event that was refused. Holds declared names and rules, never a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Its place in the body, from 0.
    pub index: u64,
    /// The rule it broke.
    pub reason: Reason,
    /// The declared or reserved name of the field, if one is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is accepted.
    pub expected: String,
    /// Whether sending it again can help.
    pub retry: bool,
}

/// A value that is kept as another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The event's place in the body, from 0.
    pub index: u64,
    /// The declared or reserved name of the field.
    pub field: String,
    /// The declared word that stands for it, or whose time does.
    pub kept: String,
    /// What would have been kept as it is.
    pub expected: String,
}

/// An end user as the body names one: address, user agent, language.
pub(crate) struct EndUser<'d> {
    pub(crate) address: Option<IpAddr>,
    pub(crate) user_agent: &'d str,
    pub(crate) language: &'d str,
}

/// The end users that a body names, in order; none for one that is not well formed.
pub(crate) fn people<'d>(decoded: &'d Decoded<'_>) -> impl Iterator<Item = Option<EndUser<'d>>> {
    (0..decoded.cells.people.len()).map(|index| person(decoded, index).ok())
}

/// The end user of that place among those of a body.
pub(crate) fn person<'d>(decoded: &'d Decoded<'_>, index: usize) -> Result<EndUser<'d>, Refused> {
    let cells = &decoded.cells;
    let person = cells.people[index];
    let text = |cell| {
        let wrong = || {
            Refused::of(Reason::WrongType, "end_user", "address, user_agent and language as text")
        };
        if matches!(cell, Cell::Null) {
            Ok(None)
        } else {
            cells.text(cell).map(Some).ok_or_else(wrong)
        }
    };
    let address = match text(person.address)? {
        None => None,
        Some(address) => Some(address.parse::<IpAddr>().map_err(|_| {
            Refused::of(
                Reason::WrongForm,
                "end_user",
                "address as IPv4 or IPv6 address, without port",
            )
        })?),
    };
    Ok(EndUser {
        address,
        user_agent: text(person.user_agent)?.unwrap_or_default(),
        language: text(person.language)?.unwrap_or_default(),
    })
}

/// Checks every event of `decoded` and hands the good ones to `rows`.
pub fn assemble(
    plan: &Plan,
    decoded: &Decoded<'_>,
    sending: &Sending<'_>,
    rows: &mut impl Rows,
) -> Report {
    Assembler::new(plan, decoded, sending).run(rows)
}

/// Why one event is refused.
pub(crate) struct Refused {
    reason: Reason,
    field: Option<String>,
    expected: String,
}

impl Refused {
    fn of(reason: Reason, field: &str, expected: impl Into<String>) -> Self {
        Self { reason, field: Some(field.to_owned()), expected: expected.into() }
    }
}

/// What stands for a clock in words, for `quorate try`.
pub(crate) fn clock_in_words(clock: ClockSource) -> &'static str {
    match clock {
        ClockSource::Device => "the sender's clock",
        ClockSource::Uptime => "the time between happening and sending, measured back from receipt",
        ClockSource::Received => "the time of receipt",
    }
}

#[cfg(test)]
mod consent_tests;
#[cfg(test)]
mod tests;
