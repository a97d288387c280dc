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
    /// Content of a kind that the package refuses (an image, a DICOM file, a run of base64).
    RefusedContent,
    /// It says that it comes from a child: the family's flag for that is true.
    UnderAge,
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
    /// Fields nulled because all of their purposes fell; also by purpose, a field under each of its own.
    Nulled,
    /// Events without a contributor, because consent or objection forbids one.
    WithoutContributor,
    /// Events that came with `Sec-GPC: 1`, in the head of their request or in themselves, where it counts as an objection.
    SignalGpc,
    /// Events that came with `DNT: 1`, likewise.
    SignalDnt,
    /// Events that came with `Sec-GPC: 1` where the package says that it is ignored.
    IgnoredGpc,
    /// Events that came with `DNT: 1` where the package says that it is ignored.
    IgnoredDnt,
    /// Events that came with a TC string that was read, where a purpose depends on one.
    SignalTcf,
    /// Events that came with a state of Google's consent mode on which a purpose depends.
    SignalGoogle,
    /// Events that say themselves what was decided about a purpose.
    StatedConsent,
    /// Events with a TC string that cannot be read, where a purpose depends on one: taken for a refusal.
    TcfUnreadable,
    /// Grants that do not count: of another version of the text than the package names, or of none.
    GrantOtherVersion,
    /// Grants that do not count: too old, later than the event, or of no time where the package asks for one.
    GrantOutOfTime,
    /// Undeclared fields whose name says that they hold what the package refuses; by category.
    RefusedName,
    /// Fields nulled because the event says that location is off.
    LocationOff,
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
        RefusedContent = "refused_content", UnderAge = "under_age", Unreadable = "unreadable",
    }
    Note {
        Undeclared = "undeclared", ClockUnknown = "clock_unknown", Otherwise = "otherwise", Nulled = "nulled",
        WithoutContributor = "without_contributor", SignalGpc = "signal_gpc", SignalDnt = "signal_dnt",
        IgnoredGpc = "ignored_gpc", IgnoredDnt = "ignored_dnt", SignalTcf = "signal_tcf",
        SignalGoogle = "signal_google", StatedConsent = "stated_consent", TcfUnreadable = "tcf_unreadable",
        GrantOtherVersion = "grant_other_version", GrantOutOfTime = "grant_out_of_time",
        RefusedName = "refused_name", LocationOff = "location_off",
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
    /// Of some notes, how much of them belongs to which declared word: [`Note::Nulled`] by purpose,
    /// [`Note::RefusedName`] by category.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub named: Named,
}

/// Counts of notes by declared word: names of purposes, words of categories; never what an event says.
pub type Named = BTreeMap<Note, BTreeMap<String, u64>>;

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

    /// Adds `count` of a note to the part of it that belongs to a declared word; its total is noted apart.
    pub fn name(&mut self, note: Note, word: &str, count: u64) {
        if count == 0 {
            return;
        }
        let words = self.named.entry(note).or_default();
        match words.get_mut(word) {
            Some(known) => *known += count,
            None => drop(words.insert(word.to_owned(), count)),
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
        for (&note, words) in &other.named {
            words.iter().for_each(|(word, count)| self.name(note, word, *count));
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
        let Self { refused, suppressed, notes, named } = self;
        refused.is_empty() && *suppressed == 0 && notes.is_empty() && named.is_empty()
    }
}
