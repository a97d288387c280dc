//! One record's JSON, in one pass and without a tree: what the format names, wherever it stands.

use anonymizer::{Decided, Decision, Statement};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::format::{Found, RecordFormat, Target};
use crate::decode::parse::{
    CellSeed, Fail, NESTING_MAX, NameSeed, Skip, State, expecting, otherwise, skip_seq, whole,
};
use crate::decode::{Cell, Entry, EventCells, Fault, Person};
use crate::plan::{Reserved, Word};

/// What a record says beside its fields.
#[derive(Default)]
struct Said<'a> {
    person: [Option<Cell<'a>>; 3],
    /// What stands where single purposes are.
    consent: Statement,
    /// Whether a purpose has a value that is neither `true`, `false` nor null.
    unclear: bool,
    undeclared: u32,
    /// Whether a name stands more often than it can.
    repeats: bool,
}

/// Reads `text` as one event into `state`.
pub(super) fn read<'a>(
    format: &'a RecordFormat,
    state: &mut State<'_, 'a>,
    text: &'a str,
) -> Result<EventCells, Fail> {
    let start = state.cells.entries.len();
    let mut said = Said::default();
    let seed = ObjectSeed { format, object: 0, start, state: &mut *state, said: &mut said };
    if !whole(text, seed)? {
        return Ok(state.none(Fault::NotAnObject));
    }
    if said.repeats {
        state.cells.entries.truncate(start);
        return Ok(state.none(Fault::Repeats));
    }
    Ok(said.finish(format, state, start))
}

impl<'a> Said<'a> {
    /// Adds what stands for more than itself.
    fn finish(
        self,
        format: &'a RecordFormat,
        state: &mut State<'_, 'a>,
        start: usize,
    ) -> EventCells {
        let push = |state: &mut State<'_, 'a>, word, cell| {
            state.cells.entries.push(Entry { word: Word::Reserved(word), cell });
        };
        if let Some(family) = &format.family {
            push(state, Reserved::Type, Cell::Text(family));
        } else {
            for index in start..state.cells.entries.len() {
                let Entry { word, cell } = state.cells.entries[index];
                let is_type = word == Word::Reserved(Reserved::Type);
                let said = if is_type { state.cells.text(cell) } else { None };
                if let Some(meant) = said.and_then(|said| format.families.get(said)) {
                    state.cells.entries[index].cell = Cell::Text(meant);
                }
            }
        }
        if self.unclear {
            push(state, Reserved::Consent, Cell::Nested);
        } else if self.consent != Statement::default() {
            let is_consent = |entry: &&Entry<'_>| entry.word == Word::Reserved(Reserved::Consent);
            let known = state.cells.entries[start..].iter().find(is_consent);
            // Beside an object of purposes a TC string may stand, and both count.
            match known.map(|entry| entry.cell) {
                Some(Cell::Said(said)) => state.cells.said[said as usize].add(&self.consent),
                _ => {
                    let said = state.cells.said(self.consent);
                    push(state, Reserved::Consent, said);
                }
            }
        }
        if self.person.iter().any(Option::is_some) {
            let [address, user_agent, language] =
                self.person.map(|cell| cell.unwrap_or(Cell::Null));
            let person = state.cells.person(Person { address, user_agent, language });
            push(state, Reserved::EndUser, person);
        }
        let entries = start..state.cells.entries.len();
        EventCells { entries, undeclared: self.undeclared, fault: None }
    }

    fn take(&mut self, state: &mut State<'_, 'a>, target: Target, cell: Cell<'a>) {
        let place = match target {
            Target::Word(word) => {
                state.cells.entries.push(Entry { word, cell });
                return;
            }
            Target::Purpose(purpose) => {
                if let Cell::Boolean(granted) = cell {
                    let decision = Decision { granted, version: None, at: Decided::Unsaid };
                    let package = state.plan.package();
                    self.consent.decision(package, usize::from(purpose), &decision);
                } else {
                    self.unclear |= !matches!(cell, Cell::Null);
                }
                return;
            }
            Target::Tcf => {
                match state.cells.text(cell) {
                    Some(text) => self.consent.tcf(state.plan.package(), text),
                    None => self.unclear |= !matches!(cell, Cell::Null),
                }
                return;
            }
            Target::Address => 0,
            Target::UserAgent => 1,
            Target::Language => 2,
        };
        self.repeats |= self.person[place].replace(cell).is_some();
    }
}

/// An object; false if it is none.
struct ObjectSeed<'s, 'p, 'a> {
    format: &'a RecordFormat,
    /// Which of the format's objects.
    object: usize,
    /// The record's first entry.
    start: usize,
    state: &'s mut State<'p, 'a>,
    said: &'s mut Said<'a>,
}

impl<'a> DeserializeSeed<'a> for ObjectSeed<'_, '_, 'a> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        // Asked for a map, the parser skips what is none, and recurses without a bound.
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ObjectSeed<'_, '_, 'a> {
    type Value = bool;

    expecting!();

    otherwise!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) => |self| false);

    /// An object that is null has nothing in it.
    fn visit_unit<E: serde::de::Error>(self) -> Result<bool, E> {
        Ok(self.object != 0)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<bool, A::Error> {
        skip_seq(self.state, seq, NESTING_MAX)?;
        Ok(false)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<bool, A::Error> {
        let Self { format, object, start, state, said } = self;
        let find = |name: &str| match format.find(object, name) {
            Some(found) => (Some(found), None),
            None => (None, format.plan.refused(name)),
        };
        while let Some((found, refused)) = map.next_key_seed(NameSeed(find))? {
            // What a hostile record repeats is not kept: memory is bounded by what is named.
            said.repeats |= state.cells.entries.len() - start > format.places();
            match found.filter(|_| !said.repeats) {
                None => {
                    said.undeclared += 1;
                    if let Some(Word::Refused(category)) = refused {
                        state.cells.refuse(start, category, 1);
                    }
                    map.next_value_seed(Skip { state: &mut *state, depth: NESTING_MAX })?;
                }
                Some(Found::Inside(object)) => {
                    let (state, said) = (&mut *state, &mut *said);
                    let inner = ObjectSeed { format, object, start, state, said };
                    if !map.next_value_seed(inner)? {
                        said.undeclared += 1;
                    }
                }
                Some(Found::Here(targets)) => {
                    let cell = match targets {
                        [Target::Word(word)] => map.next_value_seed(CellSeed::of(state, *word))?,
                        _ => map.next_value_seed(CellSeed::plain(state))?,
                    };
                    for target in targets {
                        said.take(state, *target, cell);
                    }
                }
            }
        }
        Ok(true)
    }
}
