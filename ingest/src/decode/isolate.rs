//! The slow way through a document that the parser stopped in: element by element, so that one bad event costs
//! itself and not its batch.
//!
//! JSON allows numbers that no machine holds (`1e999`) and escapes that are no text (`\ud800`). A device that sends
//! one of them in its oldest event would otherwise never get rid of any.

use crate::decode::parse::{CellSeed, Document, State, Top, TopName, Trouble, whole};
use crate::decode::{BodyError, Decoded, Entry, Fault, Limits, finish, new_state};
use crate::plan::Plan;

/// Deepest nesting that the parser may skip, which it does by recursion.
const SKIPPED_NESTING_MAX: usize = 128;

/// Reads `text` again, each event by itself; nothing if that cannot help.
pub(crate) fn read<'a>(
    plan: &Plan,
    text: &'a str,
    limits: Limits,
    trouble: Option<Trouble>,
) -> Option<Result<Decoded<'a>, BodyError>> {
    match trouble {
        Some(Trouble::TooMany | Trouble::Twice(_) | Trouble::Repeats) => return None,
        Some(Trouble::TooDeep) | None => {}
    }
    if !is_shallow(text) {
        return None;
    }
    let mut state = new_state(plan, limits);
    let document = if text.trim_ascii_start().starts_with('[') {
        events(&mut state, text)?;
        Document::Events
    } else {
        Document::Object(top(&mut state, text)?)
    };
    // Where every event is well, the trouble lies elsewhere, and the whole body is refused for it.
    let has_fault = state.cells.events.iter().any(|event| event.fault == Some(Fault::NotAnObject));
    has_fault.then(|| finish(state, document))
}

fn events<'a>(state: &mut State<'_, 'a>, text: &'a str) -> Option<()> {
    let mut end = 0;
    for element in sonic_rs::to_array_iter(text) {
        let element = borrowed(element.ok()?.as_raw_cow())?;
        end = end_of(element, text);
        if state.cells.events.len() == state.events_max {
            return None;
        }
        state.event(element);
    }
    // The iterators do not look beyond the end of what they walk through.
    (text.get(end..)?.trim_ascii() == "]").then_some(())
}

fn top<'a>(state: &mut State<'_, 'a>, text: &'a str) -> Option<Top<'a>> {
    let mut top = Top::default();
    let mut end = 0;
    for pair in sonic_rs::to_object_iter(text) {
        let (name, value) = pair.ok()?;
        let value = borrowed(value.as_raw_cow())?;
        end = end_of(value, text);
        match TopName::of(state.plan, &name) {
            TopName::Events if top.is_envelope => return None,
            TopName::Events => {
                top.is_envelope = true;
                events(state, value)?;
            }
            TopName::Common if top.common.is_some() => return None,
            TopName::Common => {
                state.event(value);
                top.common = state.cells.events.pop();
            }
            TopName::Site => top.site = Some(whole(value, CellSeed::plain(state)).ok()?),
            TopName::Word(_) if top.entries.len() > state.plan.words() => return None,
            TopName::Word(word) => {
                let cell = whole(value, CellSeed::of(state, word)).ok()?;
                top.entries.push(Entry { word, cell });
            }
            TopName::Undeclared(refused) => top.undeclared(refused),
        }
    }
    let is_whole = text.get(end..)?.trim_ascii() == "}";
    // One event alone has no batch to be isolated from.
    (top.is_envelope && is_whole).then_some(top)
}

/// Where `part`, a slice of `text`, ends in it.
fn end_of(part: &str, text: &str) -> usize {
    part.as_ptr().addr() + part.len() - text.as_ptr().addr()
}

fn borrowed(text: std::borrow::Cow<'_, str>) -> Option<&str> {
    match text {
        std::borrow::Cow::Borrowed(text) => Some(text),
        std::borrow::Cow::Owned(_) => None,
    }
}

/// Whether no place of `text` is nested deeper than the parser may recurse.
fn is_shallow(text: &str) -> bool {
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > SKIPPED_NESTING_MAX {
            return false;
        }
    }
    true
}
