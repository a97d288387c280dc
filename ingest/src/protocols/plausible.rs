//! `POST /api/event`: what Plausible's trackers post, as an event of the family `web`.
//!
//! One JSON object with short names (`n`, `u`, `d`, `r`, `p`, `$`, `e`, `sd`, `h`; `i`, `v` and `w` say nothing that is
//! kept) or with the long ones of Plausible's events API. Its site is `d`; of a list the first, so that nobody counts
//! twice. It has neither id nor time: an event whose answer was lost is gone or, where somebody sends again, there twice.

mod page;
mod read;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

use super::{Page, Protocol, Readers, declared};
use crate::decode::parse::whole;
use crate::decode::{BodyError, Cell, Cells, Decoded, Limits, Shared, one};
use crate::plan::{Plan, Word};
use crate::respond::{is_refused, receipt};
use crate::rows::Report;
use read::{EventSeed, Told};

/// What the trackers call a click on a link to another site.
const OUTBOUND: &str = "Outbound Link: Click";
/// The field of our trackers for where such a link leads.
const TARGET: &str = "target";

/// `POST /api/event`.
pub(crate) static PLAUSIBLE: Protocol = Protocol {
    from_head: None,
    is_single: true,
    // The trackers hear of an error by an answer that they can read, and their text/plain has no preflight.
    readers: Readers::Anyone,
    decode,
    receipt: answer,
    problem: crate::respond::Problem::response,
};

/// `ok`, which is all that the trackers wait for; a refused event is told as in the native protocol.
fn answer(report: &Report) -> Response<Body> {
    if is_refused(report) {
        return receipt(report);
    }
    let mut response = Response::new(Body::from("ok"));
    *response.status_mut() = StatusCode::ACCEPTED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Reads one event.
pub(crate) fn decode<'a>(
    plan: &Plan,
    body: &'a [u8],
    limits: Limits,
) -> Result<Decoded<'a>, BodyError> {
    let (mut state, told) = one(plan, body, limits, |state, text| whole(text, EventSeed(state)))?;
    let Told { name, url, referrer, site, engaged, depth, is_hashed, mut parts, undeclared } =
        told.ok_or(BodyError::NoEvent)?;
    let is_outbound = name.is_some_and(|name| state.cells.text(name) == Some(OUTBOUND));
    if let Some(link) = parts.link {
        match declared(plan, TARGET).filter(|_| is_outbound) {
            Some(word) => parts.entries.push(crate::decode::Entry { word, cell: link }),
            None => parts.undeclared += 1,
        }
    }
    let shared = Shared { site: site.map(|site| first(&state.cells, site)), ..Shared::default() };
    let name = name.map(|cell| page::name(plan, &mut state.cells, cell));
    let url = url.map(|cell| if is_hashed { page::hashed(&mut state.cells, cell) } else { cell });
    let mut page = Page::new(&mut state);
    page.undeclared = undeclared + parts.undeclared;
    for (field, told) in [
        ("name", name),
        ("url", url),
        ("referrer", referrer),
        ("engaged", engaged.map(|cell| page::measured(plan, "engaged", cell))),
        ("scroll_depth", depth.map(|cell| page::measured(plan, "scroll_depth", cell))),
    ] {
        if let Some(told) = told {
            page.field(field, told);
        }
    }
    for entry in parts.entries {
        page.push(entry.word, entry.cell);
    }
    Ok(page.finish(shared))
}

/// The first of a list of sites.
fn first<'a>(cells: &Cells<'a>, site: Cell<'a>) -> Cell<'a> {
    let Some(text) = cells.text(site) else { return site };
    let length = text.find(',').unwrap_or(text.len());
    if let Cell::Text(text) = site {
        return Cell::Text(&text[..length]);
    }
    let length = u32::try_from(length).unwrap_or(0);
    if let Cell::Copied { start, .. } = site { Cell::Copied { start, length } } else { site }
}

/// What becomes of a name inside `p`.
enum Part {
    /// A field of some family, which the event's own names do not fill.
    Field(Word),
    /// Where a link leads.
    Link,
    /// With what it says that it holds, if that is refused.
    Undeclared(Option<Word>),
}

impl Part {
    /// A name in `p`. What the event says of itself, and names of the native protocol, cannot be said here.
    fn of_props(plan: &Plan, name: &str) -> Self {
        const OWN: [&str; 7] =
            ["name", "url", "referrer", "engaged", "scroll_depth", "revenue", "currency"];
        match declared(plan, name) {
            _ if name == "url" => Self::Link,
            Some(word) if !OWN.contains(&name) => Self::Field(word),
            Some(_) => Self::Undeclared(None),
            None => Self::Undeclared(plan.refused(name)),
        }
    }

    /// A name in `$`.
    fn of_revenue(plan: &Plan, name: &str) -> Self {
        let field = match name {
            "amount" => declared(plan, "revenue"),
            "currency" => declared(plan, "currency"),
            _ => None,
        };
        field.map_or_else(|| Self::Undeclared(plan.refused(name)), Self::Field)
    }
}

#[cfg(test)]
mod tests;
