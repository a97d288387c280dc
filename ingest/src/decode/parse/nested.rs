//! Reserved names that hold an object: `consent`, `signals`, `end_user`.

use anonymizer::{Decided, Decision, Signals, Statement};
use schemas::model::GoogleConsent;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{CellSeed, NESTING_MAX, NameSeed, Skip, State, skip_seq};
use crate::check::timestamp;
use crate::decode::cells::{Cell, Person};

/// `{"improve": true, "website": {"granted": false, "version": "2", "at": "2026-11-01T10:00:00Z"}}`; `Nested` if a
/// value is neither.
pub(super) fn consent<'a, A: MapAccess<'a>>(
    state: &mut State<'_, 'a>,
    mut map: A,
) -> Result<Cell<'a>, A::Error> {
    let (mut said, mut is_wrong) = (Statement::default(), false);
    let plan = state.plan;
    while let Some(purpose) = map.next_key_seed(NameSeed(|name: &str| plan.purpose(name)))? {
        let Some(purpose) = purpose else {
            map.next_value_seed(Skip { state: &mut *state, depth: NESTING_MAX })?;
            continue;
        };
        match map.next_value_seed(GrantSeed(&mut *state))? {
            Grant::Silent => {}
            Grant::Said { granted, version, at } => {
                let version = version.and_then(|version| state.cells.text(version));
                let decision = Decision { granted, version, at };
                said.decision(plan.package(), usize::from(purpose), &decision);
            }
            Grant::Wrong => is_wrong = true,
        }
    }
    Ok(if is_wrong { Cell::Nested } else { state.cells.said(said) })
}

/// `{"gpc": true, "dnt": false, "tcf": "CP…", "google": {"analytics_storage": "granted"}}`; `Nested` if a value is of
/// another form.
pub(super) fn signals<'a, A: MapAccess<'a>>(
    state: &mut State<'_, 'a>,
    mut map: A,
) -> Result<Cell<'a>, A::Error> {
    let (mut said, mut is_wrong) = (Statement::default(), false);
    let known = |name: &str| match name {
        "gpc" => Some(Signal::Gpc),
        "dnt" => Some(Signal::Dnt),
        "tcf" => Some(Signal::Tcf),
        "google" => Some(Signal::Google),
        _ => None,
    };
    while let Some(name) = map.next_key_seed(NameSeed(known))? {
        let part = match name {
            Some(Signal::Tcf) => Part::Tcf,
            Some(Signal::Google) => Part::Google,
            Some(Signal::Gpc | Signal::Dnt) | None => {
                let value = map.next_value_seed(CellSeed::plain(state))?;
                match (name, value) {
                    (None, _) | (_, Cell::Null | Cell::Boolean(false)) => {}
                    (Some(signal), Cell::Boolean(true)) => said.signals(Signals {
                        gpc: signal == Signal::Gpc,
                        dnt: signal == Signal::Dnt,
                    }),
                    (Some(_), _) => is_wrong = true,
                }
                continue;
            }
        };
        let seed = PartSeed { state: &mut *state, said: &mut said, part };
        is_wrong |= !map.next_value_seed(seed)?;
    }
    Ok(if is_wrong { Cell::Nested } else { state.cells.said(said) })
}

/// A name in `signals`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signal {
    Gpc,
    Dnt,
    Tcf,
    Google,
}

/// A part of `signals` that is more than true or false.
enum Part {
    /// A TC string, of which nothing is copied.
    Tcf,
    /// States of Google's consent mode, by type.
    Google,
}

/// Reads a part into `said`; false if it has another form.
struct PartSeed<'s, 't, 'p, 'a> {
    state: &'s mut State<'p, 'a>,
    said: &'t mut Statement,
    part: Part,
}

impl<'a> DeserializeSeed<'a> for PartSeed<'_, '_, '_, 'a> {
    type Value = bool;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for PartSeed<'_, '_, '_, 'a> {
    type Value = bool;

    expecting!();

    otherwise!(visit_bool(bool), visit_i64(i64), visit_u64(u64), visit_f64(f64) => |self| false);

    fn visit_unit<E: serde::de::Error>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<bool, E> {
        let is_tcf = matches!(self.part, Part::Tcf);
        if is_tcf {
            self.said.tcf(self.state.plan.package(), text);
        }
        Ok(is_tcf)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<bool, A::Error> {
        skip_seq(self.state, seq, NESTING_MAX)?;
        Ok(false)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<bool, A::Error> {
        let Self { state, said, part } = self;
        let plan = state.plan;
        let mut is_right = matches!(part, Part::Google);
        let kind = |name: &str| {
            let kinds = GoogleConsent::WORDS.iter();
            kinds.copied().find(|(word, _)| *word == name).map(|(_, kind)| kind)
        };
        while let Some(kind) = map.next_key_seed(NameSeed(kind))? {
            let value = map.next_value_seed(CellSeed::plain(state))?;
            match (kind, state.cells.text(value)) {
                (None, _) => {}
                (Some(kind), Some("granted")) => said.google(plan.package(), kind, true),
                (Some(kind), Some("denied")) => said.google(plan.package(), kind, false),
                (Some(_), _) => is_right &= matches!(value, Cell::Null),
            }
        }
        Ok(is_right)
    }
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
enum Grant<'a> {
    Silent,
    Said { granted: bool, version: Option<Cell<'a>>, at: Decided },
    Wrong,
}

impl Grant<'_> {
    /// A bare `true` or `false`.
    fn bare(granted: bool) -> Self {
        Self::Said { granted, version: None, at: Decided::Unsaid }
    }
}

/// A name in what is said about one purpose.
enum Detail {
    Granted,
    Version,
    At,
    Unknown,
}

struct GrantSeed<'s, 'p, 'a>(&'s mut State<'p, 'a>);

impl<'a> DeserializeSeed<'a> for GrantSeed<'_, '_, 'a> {
    type Value = Grant<'a>;

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<Grant<'a>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for GrantSeed<'_, '_, 'a> {
    type Value = Grant<'a>;

    expecting!();

    otherwise!(visit_i64(i64), visit_u64(u64), visit_f64(f64), visit_str(&str) => |self| Grant::Wrong);

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Grant<'a>, E> {
        Ok(Grant::bare(value))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Grant<'a>, E> {
        Ok(Grant::Silent)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, seq: A) -> Result<Grant<'a>, A::Error> {
        skip_seq(self.0, seq, NESTING_MAX)?;
        Ok(Grant::Wrong)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Grant<'a>, A::Error> {
        let (mut granted, mut version, mut at) = (None, None, None);
        let mut repeats = false;
        let detail = |name: &str| match name {
            "granted" => Detail::Granted,
            "version" => Detail::Version,
            "at" => Detail::At,
            _ => Detail::Unknown,
        };
        while let Some(detail) = map.next_key_seed(NameSeed(detail))? {
            let value = map.next_value_seed(CellSeed::plain(&mut *self.0))?;
            match (detail, value) {
                (Detail::Granted, Cell::Boolean(value)) => {
                    // Said twice, a refusal stands.
                    granted = Some(value && granted != Some(false));
                }
                (Detail::Version, value) => repeats |= version.replace(value).is_some(),
                (Detail::At, value) => repeats |= at.replace(value).is_some(),
                (Detail::Granted | Detail::Unknown, _) => {}
            }
        }
        let at = match at {
            // Of two versions or times nobody knows which is meant.
            _ if repeats => Decided::Unreadable,
            None | Some(Cell::Null) => Decided::Unsaid,
            Some(at) => timestamp(&self.0.cells, at).map_or(Decided::Unreadable, Decided::At),
        };
        Ok(granted.map_or(Grant::Wrong, |granted| Grant::Said { granted, version, at }))
    }
}
