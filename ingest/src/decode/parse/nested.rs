//! Reserved names that hold an object: `consent`, `signals`, `end_user`.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{CellSeed, NESTING_MAX, NameSeed, Skip, State, skip_seq};
use crate::decode::cells::{Cell, Person};

/// `{"improve": true, "website": {"granted": false, "version": "2"}}`; `Nested` if a value is neither.
pub(super) fn consent<'a, A: MapAccess<'a>>(
    state: &mut State<'_, 'a>,
    mut map: A,
) -> Result<Cell<'a>, A::Error> {
    let (mut granted, mut refused, mut is_wrong) = (0_u32, 0_u32, false);
    let plan = state.plan;
    while let Some(purpose) = map.next_key_seed(NameSeed(|name: &str| plan.purpose(name)))? {
        let Some(purpose) = purpose else {
            map.next_value_seed(Skip { state: &mut *state, depth: NESTING_MAX })?;
            continue;
        };
        match map.next_value_seed(GrantSeed(&mut *state))? {
            Grant::Silent => {}
            Grant::Said(true) => granted |= 1 << purpose,
            Grant::Said(false) => refused |= 1 << purpose,
            Grant::Wrong => is_wrong = true,
        }
    }
    Ok(if is_wrong { Cell::Nested } else { Cell::Consent { granted, refused } })
}

/// `{"gpc": true, "dnt": false}`; `Nested` if a value is not a boolean.
pub(super) fn signals<'a, A: MapAccess<'a>>(
    state: &mut State<'_, 'a>,
    mut map: A,
) -> Result<Cell<'a>, A::Error> {
    let (mut gpc, mut dnt, mut is_wrong) = (false, false, false);
    let known = |name: &str| match name {
        "gpc" => Some(true),
        "dnt" => Some(false),
        _ => None,
    };
    while let Some(name) = map.next_key_seed(NameSeed(known))? {
        let value = map.next_value_seed(CellSeed::plain(state))?;
        match (name, value) {
            (Some(true), Cell::Boolean(value)) => gpc |= value,
            (Some(false), Cell::Boolean(value)) => dnt |= value,
            (None, _) | (_, Cell::Null) => {}
            (Some(_), _) => is_wrong = true,
        }
    }
    Ok(if is_wrong { Cell::Nested } else { Cell::Signals { gpc, dnt } })
}

/// `{"address": "192.0.2.7", "user_agent": "…", "language": "da"}`.
pub(super) fn end_user<'a, A: MapAccess<'a>>(
    state: &mut State<'_, 'a>,
    mut map: A,
) -> Result<Cell<'a>, A::Error> {
    let mut person = Person { address: Cell::Null, user_agent: Cell::Null, language: Cell::Null };
    let known = |name: &str| match name {
        "address" => Some(0),
        "user_agent" => Some(1),
        "language" => Some(2),
        _ => None,
    };
    while let Some(name) = map.next_key_seed(NameSeed(known))? {
        let value = map.next_value_seed(CellSeed::plain(state))?;
        match name {
            Some(0) => person.address = value,
            Some(1) => person.user_agent = value,
            Some(_) => person.language = value,
            None => {}
        }
    }
    Ok(state.cells.person(person))
}

/// What was said about one purpose.
enum Grant {
    Silent,
    Said(bool),
    Wrong,
}

struct GrantSeed<'s, 'p, 'a>(&'s mut State<'p, 'a>);

impl<'a> DeserializeSeed<'a> for GrantSeed<'_, '_, 'a> {
    type Value = Grant;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Grant, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for GrantSeed<'_, '_, 'a> {
    type Value = Grant;

    expecting!();

    otherwise!(visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) => |self| Grant::Wrong);

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Grant, E> {
        Ok(Grant::Said(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Grant, E> {
        Ok(Grant::Silent)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<Grant, A::Error> {
        skip_seq(self.0, seq, NESTING_MAX)?;
        Ok(Grant::Wrong)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Grant, A::Error> {
        let mut grant = Grant::Wrong;
        while let Some(name) = map.next_key_seed(NameSeed(|name: &str| name == "granted"))? {
            let value = map.next_value_seed(CellSeed::plain(&mut *self.0))?;
            if let (true, Cell::Boolean(value)) = (name, value) {
                // Said twice, a refusal stands.
                grant = Grant::Said(value && !matches!(grant, Grant::Said(false)));
            }
        }
        Ok(grant)
    }
}
