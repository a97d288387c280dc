//! Bytes to events: one JSON object, an array, lines of objects, or an envelope.
//!
//! Input: a decompressed body. Output: [`Decoded`], which [`crate::rows`] checks and turns into rows, or a
//! [`BodyError`]. The form is told by shape and not by `Content-Type`, which clients set wrongly. One bad event never
//! fails its batch: a line that is no JSON, or an element with a number or text that JSON allows and we cannot hold,
//! is refused by itself. Deliberately not here: what a value may be, and time.

mod cells;
mod isolate;
pub(crate) mod parse;
#[cfg(test)]
mod tests;

use crate::plan::{Plan, Reserved, Word};

pub(crate) use cells::{Cell, Cells, Entry, EventCells, Fault, Person, RefusedNames};
use parse::{Document, DocumentSeed, Fail, NESTING_MAX, State, Top, Trouble, whole};

/// How much of one body is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most events of one body.
    pub events_max: usize,
    /// Longest line of NDJSON, and most bytes of text in an event of an array, in bytes.
    pub event_bytes_max: usize,
}

/// Why nothing of a body was taken. Says where, and never what stood there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// No byte but white space.
    #[error("the body is empty")]
    Empty,
    /// Not text.
    #[error("the body is not UTF-8: see line {line}, column {column}")]
    NotUtf8 {
        /// One-based.
        line: usize,
        /// One-based, in bytes.
        column: usize,
    },
    /// Not JSON.
    #[error("the body is not JSON: see line {line}, column {column}")]
    Syntax {
        /// One-based.
        line: usize,
        /// One-based, in bytes.
        column: usize,
    },
    /// Cut off.
    #[error("the body ends before its JSON does: see line {line}, column {column}")]
    Truncated {
        /// One-based.
        line: usize,
        /// One-based, in bytes.
        column: usize,
    },
    /// Nested too deep.
    #[error("the body is nested deeper than {max} levels: see line {line}, column {column}")]
    TooDeep {
        /// Most levels.
        max: u8,
        /// One-based.
        line: usize,
        /// One-based, in bytes.
        column: usize,
    },
    /// JSON, but no event.
    #[error("the body is neither a JSON object nor an array of them")]
    NoEvent,
    /// More than [`Limits::events_max`].
    #[error("the body has more than {max} events")]
    TooManyEvents {
        /// Most events.
        max: usize,
    },
    /// A shared name stands twice.
    #[error("the envelope has `{name}` twice")]
    Twice {
        /// A reserved or declared name.
        name: String,
    },
    /// An object has more names than there are.
    #[error("the body has a name more than once in one object")]
    Repeats,
    /// A name of the envelope has a value of another form.
    #[error("`{name}` of the envelope must be {expected}")]
    Envelope {
        /// A reserved name.
        name: &'static str,
        /// What is accepted.
        expected: &'static str,
    },
}

/// A body taken apart, not yet judged.
pub struct Decoded<'a> {
    pub(crate) cells: Cells<'a>,
    pub(crate) shared: Shared<'a>,
}

/// What all events of a body share.
#[derive(Default)]
pub(crate) struct Shared<'a> {
    /// `common`, and what else stood at the top of an envelope.
    pub(crate) entries: Vec<Entry<'a>>,
    /// Names there that no family declares.
    pub(crate) undeclared: u32,
    /// Those of them that say that they hold something refused.
    pub(crate) refused: RefusedNames,
    /// The site that the body says it comes from.
    pub(crate) site: Option<Cell<'a>>,
    /// The device's start count when it sent this.
    pub(crate) boot: Option<u64>,
    /// Running number of the first event; the others count on from it.
    pub(crate) seq: Option<u64>,
}

impl Decoded<'_> {
    /// The public site id that the body names, if it does.
    #[must_use]
    pub fn site(&self) -> Option<&str> {
        self.shared.site.and_then(|cell| self.cells.text(cell))
    }

    /// The `type` of the first event, if it is a text.
    pub(crate) fn family_name(&self) -> Option<&str> {
        let first = self.cells.events.first()?;
        let own = &self.cells.entries[first.entries.clone()];
        let is_type = |entry: &&Entry<'_>| entry.word == Word::Reserved(Reserved::Type);
        let entry = own.iter().chain(&self.shared.entries).find(is_type)?;
        self.cells.text(entry.cell)
    }

    /// Events in the body, good or bad.
    #[must_use]
    pub fn events(&self) -> usize {
        self.cells.events.len()
    }
}

/// Takes a body apart.
///
/// # Errors
///
/// [`BodyError`] if nothing of it can be taken; a single bad event is no reason for that.
pub fn decode<'a>(plan: &Plan, body: &'a [u8], limits: Limits) -> Result<Decoded<'a>, BodyError> {
    let body = marked(body)?;
    if are_lines(body) {
        return lines(plan, body, limits);
    }
    let text = utf8(body)?;
    let mut state = new_state(plan, limits);
    match whole(text, DocumentSeed(&mut state)) {
        Ok(document) => finish(state, document),
        Err(fail) => {
            let trouble = state.trouble;
            if let Some(isolated) = isolate::read(plan, text, limits, trouble) {
                return isolated;
            }
            if trouble.is_none() && could_be_lines(body) {
                return lines(plan, body, limits);
            }
            Err(error(trouble, fail, limits))
        }
    }
}

/// A body without the mark that some put before UTF-8.
fn marked(body: &[u8]) -> Result<&[u8], BodyError> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.trim_ascii().is_empty() { Err(BodyError::Empty) } else { Ok(body) }
}

fn utf8(body: &[u8]) -> Result<&str, BodyError> {
    std::str::from_utf8(body).map_err(|error| {
        let (line, column) = position(body, error.valid_up_to());
        BodyError::NotUtf8 { line, column }
    })
}

/// Reads the one JSON text of a body with `read`, into a new state.
///
/// For protocols that have no batches: whatever is wrong is wrong with the whole body.
pub(crate) fn one<'p, 'a, T>(
    plan: &'p Plan,
    body: &'a [u8],
    limits: Limits,
    read: impl FnOnce(&mut State<'p, 'a>, &'a str) -> Result<T, Fail>,
) -> Result<(State<'p, 'a>, T), BodyError> {
    let text = utf8(marked(body)?)?;
    let mut state = new_state(plan, limits);
    match read(&mut state, text) {
        Ok(value) => Ok((state, value)),
        Err(fail) => Err(error(state.trouble, fail, limits)),
    }
}

pub(crate) fn new_state<'a>(plan: &Plan, limits: Limits) -> State<'_, 'a> {
    let Limits { events_max, event_bytes_max } = limits;
    State { plan, cells: Cells::default(), trouble: None, events_max, event_bytes_max }
}

/// Whether the body is lines of objects. Exact for whole JSON: there, nothing begins directly behind the end of a
/// value, and an object follows on an opening, a colon or a comma alone.
fn are_lines(body: &[u8]) -> bool {
    first_lines(body).is_some_and(|[first, second]| {
        let goes_on = matches!(first.last(), Some(b'[' | b':' | b','));
        let is_object = first.starts_with(b"{") && first.ends_with(b"}");
        let ends = matches!(second.first(), Some(b',' | b']' | b'}'));
        !first.starts_with(b"[") && ((second.starts_with(b"{") && !goes_on) || (is_object && !ends))
    })
}

/// Whether a body that is no whole JSON may be lines of which the first broke off.
fn could_be_lines(body: &[u8]) -> bool {
    first_lines(body).is_some_and(|[first, second]| {
        !first.starts_with(b"[") && second.starts_with(b"{") && second.ends_with(b"}")
    })
}

/// The first two lines that are not empty.
fn first_lines(body: &[u8]) -> Option<[&[u8]; 2]> {
    let mut lines = body.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let mut next = || lines.by_ref().find(|line| !line.is_empty());
    Some([next()?, next()?])
}

fn lines<'a>(plan: &Plan, body: &'a [u8], limits: Limits) -> Result<Decoded<'a>, BodyError> {
    let mut state = new_state(plan, limits);
    let mut start = 0;
    while start < body.len() {
        let end = memchr::memchr(b'\n', &body[start..]).map_or(body.len(), |length| start + length);
        let line = body[start..end].trim_ascii();
        start = end + 1;
        if line.is_empty() {
            continue;
        }
        if state.cells.events.len() == limits.events_max {
            return Err(BodyError::TooManyEvents { max: limits.events_max });
        }
        match std::str::from_utf8(line) {
            _ if line.len() > limits.event_bytes_max => {
                let none = state.none(Fault::TooLong);
                state.cells.events.push(none);
            }
            Ok(line) => state.event(line),
            Err(_) => {
                let none = state.none(Fault::NotAnObject);
                state.cells.events.push(none);
            }
        }
    }
    Ok(Decoded { cells: state.cells, shared: Shared::default() })
}

/// Turns what was read of a whole document into events and what they share.
fn finish<'a>(mut state: State<'_, 'a>, document: Document<'a>) -> Result<Decoded<'a>, BodyError> {
    let shared = match document {
        Document::Neither => return Err(BodyError::NoEvent),
        Document::Events => Shared::default(),
        Document::Object(top) if top.is_envelope => envelope(state.plan, &state.cells, top)?,
        Document::Object(top) => single(&mut state, top),
    };
    Ok(Decoded { cells: state.cells, shared })
}

/// One object that is an event itself; `common` means nothing there.
fn single<'a>(state: &mut State<'_, 'a>, top: Top<'a>) -> Shared<'a> {
    let start = state.cells.entries.len();
    state.cells.entries.extend(top.entries);
    top.refused.each().for_each(|(category, names)| state.cells.refuse(start, category, names));
    let undeclared = top.undeclared + u32::from(top.common.is_some());
    let event = state.taken(start, undeclared);
    state.cells.events.push(event);
    Shared { site: top.site, ..Shared::default() }
}

fn envelope<'a>(plan: &Plan, cells: &Cells<'a>, top: Top<'a>) -> Result<Shared<'a>, BodyError> {
    let Top { undeclared, refused, site, .. } = top;
    let mut shared = Shared { undeclared, refused, site, ..Shared::default() };
    let mut entries = Vec::new();
    if let Some(common) = top.common {
        if common.fault.is_some() {
            return Err(BodyError::Envelope { name: "common", expected: "an object" });
        }
        shared.undeclared += common.undeclared;
        entries.extend_from_slice(&cells.entries[common.entries]);
    }
    entries.extend(top.entries);
    for entry in entries {
        if let Some((category, names)) = entry.refused() {
            shared.refused.add(category, names);
            continue;
        }
        if shared.entries.iter().any(|earlier| earlier.word == entry.word) {
            return Err(BodyError::Twice { name: plan.name(entry.word).to_owned() });
        }
        match entry.word {
            // One id or number for all events would make all but the first of them duplicates.
            Word::Reserved(Reserved::Id | Reserved::Received) => shared.undeclared += 1,
            Word::Reserved(Reserved::Seq) => shared.seq = count(entry.cell, "seq")?,
            Word::Reserved(Reserved::Boot) => {
                shared.boot = count(entry.cell, "boot")?;
                shared.entries.push(entry);
            }
            Word::Reserved(_) | Word::Declared(_) | Word::Refused(_) => shared.entries.push(entry),
        }
    }
    Ok(shared)
}

/// A count in an envelope, or null.
fn count(cell: Cell<'_>, name: &'static str) -> Result<Option<u64>, BodyError> {
    if matches!(cell, Cell::Null) {
        return Ok(None);
    }
    let number = cell.integer().and_then(|number| u64::try_from(number).ok());
    number.map(Some).ok_or(BodyError::Envelope { name, expected: "a whole number from 0 on" })
}

fn error(trouble: Option<Trouble>, fail: Fail, limits: Limits) -> BodyError {
    let Fail { ended, line, column } = fail;
    match trouble {
        Some(Trouble::TooMany) => BodyError::TooManyEvents { max: limits.events_max },
        Some(Trouble::TooDeep) => BodyError::TooDeep { max: NESTING_MAX, line, column },
        Some(Trouble::Repeats) => BodyError::Repeats,
        Some(Trouble::Twice(name)) => BodyError::Twice { name: name.to_owned() },
        None if ended => BodyError::Truncated { line, column },
        None => BodyError::Syntax { line, column },
    }
}

/// Line and column of a byte, both one-based.
fn position(body: &[u8], index: usize) -> (usize, usize) {
    let before = &body[..index.min(body.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    (memchr::memchr_iter(b'\n', before).count() + 1, before.len() - line_start + 1)
}
