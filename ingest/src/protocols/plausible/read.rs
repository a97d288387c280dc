//! The JSON of one event: its names, short and long, and what is declared of `p` and `$`.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Part;
use crate::decode::parse::{
    CellSeed, NESTING_MAX, NameSeed, Skip, State, Trouble, expecting, otherwise, skip_seq, whole,
};
use crate::decode::{Cell, Cells, Entry};
use crate::plan::{Plan, Reserved, Word};

/// What an event says, as far as anything is made of it.
#[derive(Default)]
pub(super) struct Told<'a> {
    pub(super) name: Option<Cell<'a>>,
    pub(super) url: Option<Cell<'a>>,
    pub(super) referrer: Option<Cell<'a>>,
    pub(super) site: Option<Cell<'a>>,
    pub(super) engaged: Option<Cell<'a>>,
    pub(super) depth: Option<Cell<'a>>,
    /// Whether the page is told from others by its fragment.
    pub(super) is_hashed: bool,
    /// Of `p` and `$`.
    pub(super) parts: Parts<'a>,
    /// Names of neither kind.
    pub(super) undeclared: u32,
}

/// What is declared of the names in an object.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) entries: Vec<Entry<'a>>,
    /// Where a link leads.
    pub(super) link: Option<Cell<'a>>,
    pub(super) undeclared: u32,
}

impl Parts<'_> {
    /// Counts names that say that they hold something refused.
    fn refuse(&mut self, refused: Option<Word>, names: u32) {
        let Some(word) = refused else { return };
        let names = i64::from(names);
        match self.entries.iter_mut().find(|entry| entry.word == word) {
            Some(Entry { cell: Cell::Integer(count), .. }) => *count += names,
            Some(_) | None => self.entries.push(Entry { word, cell: Cell::Integer(names) }),
        }
    }
}

/// A name of an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Event,
    Url,
    Site,
    Referrer,
    Engaged,
    Depth,
    Hash,
    Props,
    Revenue,
    /// What was decided, as in the native protocol: the trackers say nothing of it, other senders may.
    Consent,
    /// Signals, likewise.
    Signals,
    /// Of the protocol, and nothing is made of it: version, window width, whether it was interactive.
    Unused,
    Undeclared,
}

impl Name {
    fn of(name: &str) -> Self {
        match name {
            "n" | "name" => Self::Event,
            "u" | "url" => Self::Url,
            "d" | "domain" => Self::Site,
            "r" | "referrer" => Self::Referrer,
            "e" => Self::Engaged,
            "sd" => Self::Depth,
            "h" => Self::Hash,
            "p" | "props" => Self::Props,
            "$" | "revenue" => Self::Revenue,
            "consent" => Self::Consent,
            "signals" => Self::Signals,
            "i" | "v" | "w" | "interactive" => Self::Unused,
            _ => Self::Undeclared,
        }
    }
}

/// One event; nothing if it is no object.
pub(super) struct EventSeed<'s, 'p, 'a>(pub(super) &'s mut State<'p, 'a>);

impl<'a> DeserializeSeed<'a> for EventSeed<'_, '_, 'a> {
    type Value = Option<Told<'a>>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for EventSeed<'_, '_, 'a> {
    type Value = Option<Told<'a>>;

    expecting!();

    otherwise!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) => |self| None);

    fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<Self::Value, A::Error> {
        skip_seq(self.0, seq, NESTING_MAX)?;
        Ok(None)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (state, mut told) = (self.0, Told::default());
        // Short and long names are of the same thing: each may stand once.
        let mut seen = Vec::new();
        let plan = state.plan;
        let name = |name: &str| {
            let found = Name::of(name);
            let refused = (found == Name::Undeclared).then(|| plan.refused(name)).flatten();
            (found, refused)
        };
        while let Some((name, refused)) = map.next_key_seed(NameSeed(name))? {
            if !matches!(name, Name::Unused | Name::Undeclared) {
                if seen.contains(&name) {
                    return Err(state.stop(Trouble::Repeats));
                }
                seen.push(name);
            }
            match name {
                Name::Event => told.name = value(&mut map, state)?,
                Name::Url => told.url = value(&mut map, state)?,
                Name::Site => told.site = value(&mut map, state)?,
                Name::Referrer => told.referrer = value(&mut map, state)?,
                Name::Engaged => told.engaged = value(&mut map, state)?,
                Name::Depth => told.depth = value(&mut map, state)?,
                Name::Hash => {
                    let said = value(&mut map, state)?;
                    told.is_hashed = matches!(said, Some(Cell::Boolean(true) | Cell::Integer(1)));
                }
                Name::Props | Name::Revenue => {
                    let of_props = name == Name::Props;
                    let lookup = if of_props { Part::of_props } else { Part::of_revenue };
                    let parts = &mut told.parts;
                    map.next_value_seed(PartsSeed { state: &mut *state, parts, lookup })?;
                }
                Name::Consent | Name::Signals => {
                    let is_consent = name == Name::Consent;
                    let word = if is_consent { Reserved::Consent } else { Reserved::Signals };
                    let word = Word::Reserved(word);
                    let cell = map.next_value_seed(CellSeed::of(state, word))?;
                    told.parts.entries.push(Entry { word, cell });
                }
                Name::Unused | Name::Undeclared => {
                    told.undeclared += u32::from(name == Name::Undeclared);
                    told.parts.refuse(refused, 1);
                    map.next_value_seed(Skip { state: &mut *state, depth: NESTING_MAX })?;
                }
            }
        }
        Ok(Some(told))
    }
}

/// A value that is no object.
fn value<'a, A: MapAccess<'a>>(
    map: &mut A,
    state: &mut State<'_, 'a>,
) -> Result<Option<Cell<'a>>, A::Error> {
    map.next_value_seed(CellSeed::plain(state)).map(Some)
}

type Lookup = fn(&Plan, &str) -> Part;

/// The values of an object, or of a text that holds one. Anything else is one thing that nobody declared, and costs
/// nothing but itself.
struct PartsSeed<'s, 't, 'p, 'a> {
    state: &'s mut State<'p, 'a>,
    parts: &'t mut Parts<'a>,
    lookup: Lookup,
}

impl<'a> DeserializeSeed<'a> for PartsSeed<'_, '_, '_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for PartsSeed<'_, '_, '_, 'a> {
    type Value = ();

    expecting!();

    otherwise!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64) => |self| self.parts.undeclared += 1);

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    /// The older tracker sends its properties as a text that holds JSON.
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let mut inner = State { cells: Cells::default(), trouble: None, ..*self.state };
        let mut parts = Parts::default();
        let seed = ObjectSeed { state: &mut inner, parts: &mut parts, lookup: self.lookup };
        if !whole(text, seed).unwrap_or(false) {
            self.parts.undeclared += 1;
            return Ok(());
        }
        let cells = &mut self.state.cells;
        for entry in parts.entries {
            match entry.refused() {
                Some((_, names)) => self.parts.refuse(Some(entry.word), names),
                None => {
                    let cell = moved(cells, &inner.cells, entry.cell);
                    self.parts.entries.push(Entry { word: entry.word, cell });
                }
            }
        }
        if let Some(link) = parts.link {
            self.parts.link = Some(moved(&mut self.state.cells, &inner.cells, link));
        }
        self.parts.undeclared += parts.undeclared;
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<(), A::Error> {
        self.parts.undeclared += 1;
        skip_seq(self.state, seq, NESTING_MAX)
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        let Self { state, parts, lookup } = self;
        ObjectSeed { state, parts, lookup }.visit_map(map).map(drop)
    }
}

/// A value of one state in another, which outlives what was read.
fn moved<'a>(into: &mut Cells<'a>, from: &Cells<'_>, cell: Cell<'_>) -> Cell<'a> {
    match cell {
        Cell::Text(text) => into.copy(text),
        Cell::Copied { start, length } => {
            let start = start as usize;
            into.copy(from.copied.get(start..start + length as usize).unwrap_or_default())
        }
        Cell::Boolean(truth) => Cell::Boolean(truth),
        Cell::Integer(number) => Cell::Integer(number),
        Cell::Float(number) => Cell::Float(number),
        Cell::Null => Cell::Null,
        // Values here are plain: an object is none of these.
        Cell::Nested | Cell::Said(_) | Cell::EndUser(_) => Cell::Nested,
    }
}

/// The values of an object; false if it is none.
struct ObjectSeed<'s, 't, 'p, 'a> {
    state: &'s mut State<'p, 'a>,
    parts: &'t mut Parts<'a>,
    lookup: Lookup,
}

impl<'a> DeserializeSeed<'a> for ObjectSeed<'_, '_, '_, 'a> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        // Asked for a map, the parser skips what is none, and recurses without a bound.
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for ObjectSeed<'_, '_, '_, 'a> {
    type Value = bool;

    expecting!();

    otherwise!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) => |self| false);

    fn visit_unit<E: serde::de::Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<bool, A::Error> {
        skip_seq(self.state, seq, NESTING_MAX)?;
        Ok(false)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<bool, A::Error> {
        let Self { state, parts, lookup } = self;
        let plan = state.plan;
        while let Some(part) = map.next_key_seed(NameSeed(|name: &str| lookup(plan, name)))? {
            match part {
                // What a hostile event repeats is not kept: memory is bounded by what is declared.
                Part::Field(_) if parts.entries.len() > plan.words() => {
                    return Err(state.stop(Trouble::Repeats));
                }
                Part::Field(word) => {
                    let cell = map.next_value_seed(CellSeed::plain(state))?;
                    parts.entries.push(Entry { word, cell });
                }
                Part::Link => parts.link = Some(map.next_value_seed(CellSeed::plain(state))?),
                Part::Undeclared(refused) => {
                    parts.undeclared += 1;
                    parts.refuse(refused, 1);
                    map.next_value_seed(Skip { state: &mut *state, depth: NESTING_MAX })?;
                }
            }
        }
        Ok(true)
    }
}
