//! What became of an event: every received one ends in exactly one counted [`Outcome`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The end of an event. `received = stored + duplicate + refused + expired + suppressed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A row of it is in the events table.
    Stored,
    /// An earlier position holds its key within the family's dedupe window.
    Duplicate,
    /// It broke a declared rule; see [`Reason`].
    Refused,
    /// Its sealing key was destroyed before it was committed.
    Expired,
    /// Its contributor was erased or objects.
    Suppressed,
}

/// Why an event was refused. Names a rule, never a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A record of a topic without a value: a deletion mark.
    Empty,
    /// Not JSON, or not a JSON object.
    Malformed,
    /// No `type`, or one that no family of the package has.
    UnknownType,
    /// This key may not send this family.
    NotPermitted,
    /// A required field is missing or null.
    MissingField,
    /// A value of another JSON type than declared.
    WrongType,
    /// A number, duration or time outside its declared range.
    OutOfRange,
    /// A text longer than declared, or an event larger than configured.
    TooLong,
    /// A text that is not one of the declared values, in a field without `otherwise`.
    NotListed,
    /// A text that does not match the declared pattern or form (version, URL, timestamp).
    WrongForm,
    /// Content of a kind that the package refuses (an image, a DICOM file).
    RefusedContent,
    /// A frame that this build or package cannot read.
    Unreadable,
}

/// What happened on the way to a stored row: counted, and no outcome of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// Fields dropped because nobody declared them.
    Undeclared,
    /// Events whose own time could not be believed: received time stands instead.
    ClockUnknown,
    /// Texts counted under a field's `otherwise`.
    Otherwise,
    /// Fields nulled because all of their purposes fell.
    Nulled,
    /// Events without a contributor, because consent or objection forbids one.
    WithoutContributor,
    /// Requests that carried `Sec-GPC: 1`, counted in events.
    SignalGpc,
    /// Requests that carried `DNT: 1`, counted in events.
    SignalDnt,
    /// Acknowledged frames of the log that could not be read; how many events were in them, nobody knows.
    LostFrames,
    /// Stored rows removed because their contributor was erased.
    Erased,
    /// Stored rows removed because their frame, replayed, no longer gives them.
    ReplayedRemoved,
    /// Rows added because their frame, replayed, gives them now.
    ReplayedAdded,
    /// Stored rows that another took the place of when their frame was replayed.
    ReplayedChanged,
    /// Stored rows that lost a purpose, because their contributor withdrew it, and what it alone carried.
    Narrowed,
    /// Stored rows that lost a purpose at the end of its time, and what it alone carried.
    Outlived,
    /// Stored rows that were taken out of their table to be kept apart.
    SetApart,
    /// Rows that were kept apart and are in their table again.
    PutBack,
}

macro_rules! names {
    ($($type:ident { $($variant:ident = $name:literal),* $(,)? })*) => {$(
        impl $type {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name in answers, metrics and ledgers.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    )*};
}

names! {
    Outcome { Stored = "stored", Duplicate = "duplicate", Refused = "refused", Expired = "expired", Suppressed = "suppressed" }
    Reason {
        Empty = "empty", Malformed = "malformed", UnknownType = "unknown_type", NotPermitted = "not_permitted",
        MissingField = "missing_field", WrongType = "wrong_type", OutOfRange = "out_of_range",
        TooLong = "too_long", NotListed = "not_listed", WrongForm = "wrong_form",
        RefusedContent = "refused_content", Unreadable = "unreadable",
    }
    Note {
        Undeclared = "undeclared", ClockUnknown = "clock_unknown", Otherwise = "otherwise", Nulled = "nulled",
        WithoutContributor = "without_contributor", SignalGpc = "signal_gpc", SignalDnt = "signal_dnt",
        LostFrames = "lost_frames",
        Erased = "erased", ReplayedRemoved = "replayed_removed", ReplayedAdded = "replayed_added",
        ReplayedChanged = "replayed_changed",
        Narrowed = "narrowed", Outlived = "outlived", SetApart = "set_apart", PutBack = "put_back",
    }
}

/// Counts that travel with rows: what was refused or suppressed beside them, and what was noted about them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Events refused, by reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<Reason, u64>,
    /// Events of contributors who are erased or object; their rows went no further.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub suppressed: u64,
    /// Notes, in the unit that each names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<Note, u64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Tally {
    /// Counts one refused event.
    pub fn refuse(&mut self, reason: Reason) {
        *self.refused.entry(reason).or_default() += 1;
    }

    /// Adds `count` to a note; zero leaves no trace.
    pub fn note(&mut self, note: Note, count: u64) {
        if count > 0 {
            *self.notes.entry(note).or_default() += count;
        }
    }

    /// Adds another tally to this one.
    pub fn add(&mut self, other: &Self) {
        for (&reason, &count) in &other.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        self.suppressed += other.suppressed;
        for (&note, &count) in &other.notes {
            *self.notes.entry(note).or_default() += count;
        }
    }

    /// Events refused, all reasons together.
    #[must_use]
    pub fn refused_total(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Events that ended beside the rows: refused or suppressed.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.refused_total() + self.suppressed
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.refused.is_empty() && self.suppressed == 0 && self.notes.is_empty()
    }
}
