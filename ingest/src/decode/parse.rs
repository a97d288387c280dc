//! JSON into [`Cells`], in one pass and without a tree: visitors that keep what a package declares.
//!
//! The parser's own errors quote their input and must not leave this file; see [`Fail`].

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::decode::cells::{Cell, Cells, Entry, EventCells, Fault, RefusedNames};
use crate::plan::{Plan, Reserved, Word};

/// Visits of everything but what a visitor is after, with one answer for all.
macro_rules! otherwise {
    ($($visit:ident($value:ty)),* => |$self:ident| $answer:expr) => {$(
        fn $visit<E: serde::de::Error>($self, _: $value) -> Result<Self::Value, E> {
            Ok($answer)
        }
    )*};
}

/// Text for serde's own messages; never shown, since [`Fail`] drops them.
macro_rules! expecting {
    () => {
        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("JSON")
        }
    };
}

pub(crate) use {expecting, otherwise};

mod nested;

/// Deepest nesting that is read; below it nothing is declared, so it is only passed over.
pub(crate) const NESTING_MAX: u8 = 32;

/// Why a text was not read to its end, if not for its syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nested deeper than [`NESTING_MAX`].
    TooDeep,
    /// More events than configured.
    TooMany,
    /// This name stands twice in an envelope.
    Twice(&'static str),
    /// More known names at the top than there are: one of them stands twice.
    Repeats,
}

/// Where and why parsing stopped. Made from the parser's error, without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fail {
    /// Whether the text ended too early.
    pub(crate) ended: bool,
    /// One-based.
    pub(crate) line: usize,
    /// One-based, in bytes.
    pub(crate) column: usize,
}

impl From<sonic_rs::Error> for Fail {
    fn from(error: sonic_rs::Error) -> Self {
        Self { ended: error.is_eof(), line: error.line(), column: error.column() }
    }
}

/// A body under way.
pub(crate) struct State<'p, 'a> {
    pub(crate) plan: &'p Plan,
    pub(crate) cells: Cells<'a>,
    pub(crate) trouble: Option<Trouble>,
    pub(crate) events_max: usize,
    pub(crate) event_bytes_max: usize,
}

/// A whole document, by its shape.
pub(crate) enum Document<'a> {
    /// An array of events.
    Events,
    /// One object: an event, or an envelope if it had `events`.
    Object(Top<'a>),
    /// Neither object nor array.
    Neither,
}

/// What stood at the top of an object.
#[derive(Default)]
pub(crate) struct Top<'a> {
    pub(crate) entries: Vec<Entry<'a>>,
    pub(crate) undeclared: u32,
    /// Those of them that say that they hold something refused.
    pub(crate) refused: RefusedNames,
    pub(crate) common: Option<EventCells>,
    pub(crate) site: Option<Cell<'a>>,
    pub(crate) is_envelope: bool,
}

impl Top<'_> {
    /// Counts a name that nobody declared.
    pub(crate) fn undeclared(&mut self, refused: Option<u8>) {
        self.undeclared += 1;
        refused.into_iter().for_each(|category| self.refused.add(category, 1));
    }
}

/// Reads one JSON text with `seed`, to its end.
pub(crate) fn whole<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: S) -> Result<S::Value, Fail> {
    let mut parser = sonic_rs::Deserializer::from_str(text);
    let value = seed.deserialize(&mut parser)?;
    parser.end()?;
    Ok(value)
}

impl<'a> State<'_, 'a> {
    /// Ends the parse, for this reason.
    pub(crate) fn stop<E: serde::de::Error>(&mut self, trouble: Trouble) -> E {
        self.trouble.get_or_insert(trouble);
        E::custom("stopped")
    }

    /// Reads `text` as one event; what cannot be read is one too, with a fault.
    pub(crate) fn event(&mut self, text: &'a str) {
        self.event_by(|state| whole(text, EventSeed(state)));
    }

    /// Takes one event that `read` reads.
    pub(crate) fn event_by(&mut self, read: impl FnOnce(&mut Self) -> Result<EventCells, Fail>) {
        let (entries, copied) = (self.cells.entries.len(), self.cells.copied.len());
        let (people, said) = (self.cells.people.len(), self.cells.said.len());
        let event = read(self).unwrap_or_else(|_| {
            self.cells.entries.truncate(entries);
            self.cells.copied.truncate(copied);
            self.cells.people.truncate(people);
            self.cells.said.truncate(said);
            self.trouble = None;
            self.none(Fault::NotAnObject)
        });
        self.cells.events.push(event);
    }

    /// What stands in the entries from `start` on as one event, unless its texts are too long.
    pub(crate) fn taken(&self, start: usize, undeclared: u32) -> EventCells {
        let entries = start..self.cells.entries.len();
        let texts =
            self.cells.entries[start..].iter().filter_map(|entry| self.cells.text(entry.cell));
        let is_long = texts.map(str::len).sum::<usize>() > self.event_bytes_max;
        EventCells { entries, undeclared, fault: is_long.then_some(Fault::TooLong) }
    }

    /// Something that is no event.
    pub(crate) fn none(&self, fault: Fault) -> EventCells {
        let end = self.cells.entries.len();
        EventCells { entries: end..end, undeclared: 0, fault: Some(fault) }
    }
}

/// An object of known names.
pub(crate) struct EventSeed<'s, 'p, 'a>(pub(crate) &'s mut State<'p, 'a>);

impl<'a> DeserializeSeed<'a> for EventSeed<'_, '_, 'a> {
    type Value = EventCells;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<EventCells, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for EventSeed<'_, '_, 'a> {
    type Value = EventCells;

    expecting!();

    otherwise!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str)
        => |self| self.0.none(Fault::NotAnObject));

    fn visit_unit<E: serde::de::Error>(self) -> Result<EventCells, E> {
        Ok(self.0.none(Fault::NotAnObject))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<EventCells, A::Error> {
        skip_seq(self.0, seq, NESTING_MAX)?;
        Ok(self.0.none(Fault::NotAnObject))
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<EventCells, A::Error> {
        let state = self.0;
        let plan = state.plan;
        let start = state.cells.entries.len();
        let (mut undeclared, mut text_bytes, mut repeats) = (0, 0, false);
        let meaning = |name: &str| plan.word(name).or_else(|| plan.refused(name));
        while let Some(word) = map.next_key_seed(NameSeed(meaning))? {
            // What a hostile event repeats is not kept: memory is bounded by what is declared.
            repeats |= state.cells.entries.len() - start > plan.words();
            let word = match word.filter(|_| !repeats) {
                Some(word @ (Word::Reserved(_) | Word::Declared(_))) => word,
                none @ (Some(Word::Refused(_)) | None) => {
                    undeclared += 1;
                    if let Some(Word::Refused(category)) = none {
                        state.cells.refuse(start, category, 1);
                    }
                    map.next_value_seed(Skip { state: &mut *state, depth: NESTING_MAX })?;
                    continue;
                }
            };
            let cell = map.next_value_seed(CellSeed::of(state, word))?;
            text_bytes += state.cells.text(cell).map_or(0, str::len);
            state.cells.entries.push(Entry { word, cell });
        }
        if repeats {
            state.cells.entries.truncate(start);
            return Ok(state.none(Fault::Repeats));
        }
        if text_bytes > state.event_bytes_max {
            state.cells.entries.truncate(start);
            return Ok(state.none(Fault::TooLong));
        }
        Ok(EventCells { entries: start..state.cells.entries.len(), undeclared, fault: None })
    }
}

/// A value under a known name.
pub(crate) struct CellSeed<'s, 'p, 'a> {
    state: &'s mut State<'p, 'a>,
    /// The reserved name whose object is read, if it is one that may hold an object.
    object: Option<Reserved>,
}

impl<'s, 'p, 'a> CellSeed<'s, 'p, 'a> {
    /// Reads the value of `word`.
    pub(crate) fn of(state: &'s mut State<'p, 'a>, word: Word) -> Self {
        let object = match word {
            Word::Reserved(word @ (Reserved::Consent | Reserved::Signals | Reserved::EndUser)) => {
                Some(word)
            }
            Word::Reserved(_) | Word::Declared(_) | Word::Refused(_) => None,
        };
        Self { state, object }
    }

    /// Reads a value that may not be an object.
    pub(crate) fn plain(state: &'s mut State<'p, 'a>) -> Self {
        Self { state, object: None }
    }
}

impl<'a> DeserializeSeed<'a> for CellSeed<'_, '_, 'a> {
    type Value = Cell<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Cell<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for CellSeed<'_, '_, 'a> {
    type Value = Cell<'a>;

    expecting!();

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Cell<'a>, E> {
        Ok(Cell::Boolean(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Cell<'a>, E> {
        Ok(Cell::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Cell<'a>, E> {
        #[expect(clippy::cast_precision_loss, reason = "beyond every declared whole number")]
        Ok(i64::try_from(value).map_or(Cell::Float(value as f64), Cell::Integer))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Cell<'a>, E> {
        Ok(Cell::Float(value))
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, value: &'a str) -> Result<Cell<'a>, E> {
        Ok(Cell::Text(value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Cell<'a>, E> {
        Ok(self.state.cells.copy(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Cell<'a>, E> {
        Ok(Cell::Null)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<Cell<'a>, A::Error> {
        skip_seq(self.state, seq, NESTING_MAX)?;
        Ok(Cell::Nested)
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<Cell<'a>, A::Error> {
        match self.object {
            Some(Reserved::Consent) => nested::consent(self.state, map),
            Some(Reserved::Signals) => nested::signals(self.state, map),
            Some(Reserved::EndUser) => nested::end_user(self.state, map),
            Some(_) | None => {
                skip_map(self.state, map, NESTING_MAX)?;
                Ok(Cell::Nested)
            }
        }
    }
}

/// A name, looked up by a function.
pub(crate) struct NameSeed<F>(pub(crate) F);

impl<'a, T, F: FnOnce(&str) -> T> DeserializeSeed<'a> for NameSeed<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for NameSeed<F> {
    type Value = T;

    expecting!();

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<T, E> {
        Ok((self.0)(name))
    }
}

/// Passes over a value that nobody declared, to a bounded depth.
///
/// The parser's own way of skipping recurses without a bound, and a body is hostile.
pub(crate) struct Skip<'s, 'p, 'a> {
    pub(crate) state: &'s mut State<'p, 'a>,
    pub(crate) depth: u8,
}

impl<'a> DeserializeSeed<'a> for Skip<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Skip<'_, '_, 'a> {
    type Value = ();

    expecting!();

    otherwise!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) => |self| ());

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<(), A::Error> {
        skip_seq(self.state, seq, self.depth)
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        skip_map(self.state, map, self.depth)
    }
}

pub(crate) fn skip_seq<'a, A: SeqAccess<'a>>(
    state: &mut State<'_, 'a>,
    mut seq: A,
    depth: u8,
) -> Result<(), A::Error> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(state.stop(Trouble::TooDeep));
    };
    while seq.next_element_seed(Skip { state: &mut *state, depth })?.is_some() {}
    Ok(())
}

pub(crate) fn skip_map<'a, A: MapAccess<'a>>(
    state: &mut State<'_, 'a>,
    mut map: A,
    depth: u8,
) -> Result<(), A::Error> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(state.stop(Trouble::TooDeep));
    };
    while map.next_key_seed(NameSeed(|_: &str| ()))?.is_some() {
        map.next_value_seed(Skip { state: &mut *state, depth })?;
    }
    Ok(())
}

/// A whole document: an array of events, an envelope, or one event.
pub(crate) struct DocumentSeed<'s, 'p, 'a>(pub(crate) &'s mut State<'p, 'a>);

impl<'a> DeserializeSeed<'a> for DocumentSeed<'_, '_, 'a> {
    type Value = Document<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Document<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for DocumentSeed<'_, '_, 'a> {
    type Value = Document<'a>;

    expecting!();

    otherwise!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str)
        => |self| Document::Neither);

    fn visit_unit<E: serde::de::Error>(self) -> Result<Document<'a>, E> {
        Ok(Document::Neither)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<Document<'a>, A::Error> {
        EventsSeed(self.0).visit_seq(seq)?;
        Ok(Document::Events)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Document<'a>, A::Error> {
        let (state, mut top) = (self.0, Top::default());
        let plan = state.plan;
        while let Some(name) = map.next_key_seed(NameSeed(|name: &str| TopName::of(plan, name)))? {
            match name {
                TopName::Events if top.is_envelope => {
                    return Err(state.stop(Trouble::Twice("events")));
                }
                TopName::Events => {
                    top.is_envelope = true;
                    map.next_value_seed(EventsSeed(&mut *state))?;
                }
                TopName::Common if top.common.is_some() => {
                    return Err(state.stop(Trouble::Twice("common")));
                }
                TopName::Common => top.common = Some(map.next_value_seed(EventSeed(&mut *state))?),
                TopName::Site if top.site.is_some() => {
                    return Err(state.stop(Trouble::Twice("site")));
                }
                TopName::Site => top.site = Some(map.next_value_seed(CellSeed::plain(state))?),
                TopName::Word(_) if top.entries.len() > plan.words() => {
                    return Err(state.stop(Trouble::Repeats));
                }
                TopName::Word(word) => {
                    let cell = map.next_value_seed(CellSeed::of(state, word))?;
                    top.entries.push(Entry { word, cell });
                }
                TopName::Undeclared(refused) => {
                    top.undeclared(refused);
                    map.next_value_seed(Skip { state: &mut *state, depth: NESTING_MAX })?;
                }
            }
        }
        Ok(Document::Object(top))
    }
}

/// A name at the top of an object.
pub(crate) enum TopName {
    Events,
    Common,
    Site,
    Word(Word),
    /// With the refused category of which it says to be, if it does.
    Undeclared(Option<u8>),
}

impl TopName {
    pub(crate) fn of(plan: &Plan, name: &str) -> Self {
        match name {
            "events" => Self::Events,
            "common" => Self::Common,
            "site" => Self::Site,
            name => match plan.word(name).or_else(|| plan.refused(name)) {
                Some(Word::Refused(category)) => Self::Undeclared(Some(category)),
                Some(word @ (Word::Reserved(_) | Word::Declared(_))) => Self::Word(word),
                None => Self::Undeclared(None),
            },
        }
    }
}

/// A list of events; anything else is one thing that is no event.
pub(crate) struct EventsSeed<'s, 'p, 'a>(pub(crate) &'s mut State<'p, 'a>);

impl<'a> DeserializeSeed<'a> for EventsSeed<'_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl EventsSeed<'_, '_, '_> {
    fn not_a_list(self) {
        let none = self.0.none(Fault::NotAnObject);
        self.0.cells.events.push(none);
    }
}

impl<'a> Visitor<'a> for EventsSeed<'_, '_, 'a> {
    type Value = ();

    expecting!();

    otherwise!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str)
        => |self| self.not_a_list());

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.not_a_list();
        Ok(())
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        skip_map(&mut *self.0, map, NESTING_MAX)?;
        self.not_a_list();
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<(), A::Error> {
        let state = self.0;
        while let Some(event) = seq.next_element_seed(EventSeed(&mut *state))? {
            if state.cells.events.len() == state.events_max {
                return Err(state.stop(Trouble::TooMany));
            }
            state.cells.events.push(event);
        }
        Ok(())
    }
}
