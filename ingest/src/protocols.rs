//! Ways in which clients speak. A protocol says what decodes and what answers; everything between, from who sends to
//! what is durable, is [`crate::door`]'s and the same for all.

mod cors;
pub(crate) mod pixel;
pub(crate) mod plausible;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Response, header};
use bytes::Bytes;

use crate::auth::Asking;
use crate::config::IngestConfig;
use crate::decode::parse::State;
use crate::decode::{BodyError, Cell, Decoded, Entry, Limits, Shared, decode};
use crate::plan::{Plan, Reserved, Word};
use crate::respond::{Problem, receipt};
use crate::rows::Report;

pub(crate) use cors::Readers;

/// Family of what pages send by protocols that know no families.
const FAMILY: &str = "web";

/// What browsers say of an origin that they do not name.
const OPAQUE: &str = "null";

/// Bytes of a body that is one event, by `event_bytes_max`: names, signs and escapes around its texts.
const SINGLE_BYTES: usize = 4;

/// One way to speak.
pub(crate) struct Protocol {
    /// What it takes out of a request's head, where the events stand there: then they come with GET, and no body is
    /// read.
    pub(crate) from_head: Option<fn(&Parts) -> Bytes>,
    /// Whether a body is one event, so that it needs no more room than that, before and after decompression.
    pub(crate) is_single: bool,
    /// Who may read answers.
    pub(crate) readers: Readers,
    pub(crate) decode: for<'a> fn(&Plan, &'a [u8], Limits) -> Result<Decoded<'a>, BodyError>,
    /// Answers what was understood.
    pub(crate) receipt: fn(&Report) -> Response<Body>,
    /// Answers what was not taken.
    pub(crate) problem: fn(&Problem) -> Response<Body>,
}

/// `POST /v1/events`.
pub(crate) static NATIVE: Protocol = Protocol {
    from_head: None,
    is_single: false,
    readers: Readers::Sites,
    decode,
    receipt,
    problem: Problem::response,
};

impl Protocol {
    /// The method that brings events.
    pub(crate) fn method(&self) -> Method {
        if self.from_head.is_some() { Method::GET } else { Method::POST }
    }

    /// Most bytes of a body, where `configured` are the most of any.
    pub(crate) fn bytes_max(&self, config: &IngestConfig, configured: usize) -> usize {
        let single = config.event_bytes_max.saturating_mul(SINGLE_BYTES);
        if self.is_single { configured.min(single) } else { configured }
    }

    /// The page that asks, as its browser says. An image has no `Origin`, but it may have a `Referer`.
    pub(crate) fn asking(&self, headers: &HeaderMap) -> Asking {
        let may_be_silent = self.from_head.is_some();
        let text = |value: &HeaderValue| value.to_str().unwrap_or(OPAQUE).to_owned();
        let origin = headers.get(header::ORIGIN).map(text);
        let referer = headers.get(header::REFERER).filter(|_| may_be_silent).map(text);
        let of = |url: String| origin_of(&url).unwrap_or(OPAQUE).to_owned();
        Asking { origin: origin.or_else(|| referer.map(of)), may_be_silent }
    }
}

/// Scheme and authority of an absolute URL, as browsers write an origin.
fn origin_of(url: &str) -> Option<&str> {
    let authority = url.find("://")? + "://".len();
    let end = url[authority..].find(['/', '?', '#']).map_or(url.len(), |end| authority + end);
    Some(&url[..end])
}

/// One event of the family [`FAMILY`], put together name by name.
struct Page<'s, 'p, 'a> {
    state: &'s mut State<'p, 'a>,
    start: usize,
    undeclared: u32,
}

impl<'s, 'p, 'a> Page<'s, 'p, 'a> {
    fn new(state: &'s mut State<'p, 'a>) -> Self {
        let start = state.cells.entries.len();
        let mut page = Self { state, start, undeclared: 0 };
        page.push(Word::Reserved(Reserved::Type), Cell::Text(FAMILY));
        page
    }

    /// Takes a value under a known name. More of them than there are names are not kept.
    fn push(&mut self, word: Word, cell: Cell<'a>) {
        self.state.cells.entries.push(Entry { word, cell });
    }

    /// Takes a value under the name of a field, if any family has that: else it is counted and gone.
    fn field(&mut self, name: &str, cell: Cell<'a>) {
        match declared(self.state.plan, name) {
            Some(word) => self.push(word, cell),
            None => self.undeclared(name),
        }
    }

    /// Counts a name that means nothing here.
    fn undeclared(&mut self, name: &str) {
        self.undeclared += 1;
        if let Some(Word::Refused(category)) = self.state.plan.refused(name) {
            self.state.cells.refuse(self.start, category, 1);
        }
    }

    fn finish(self, shared: Shared<'a>) -> Decoded<'a> {
        let Self { state, start, undeclared } = self;
        let event = state.taken(start, undeclared);
        state.cells.events.push(event);
        Decoded { cells: std::mem::take(&mut state.cells), shared }
    }
}

/// A field's name, if any family declares it. Reserved names are no fields: only the native protocol has them.
fn declared(plan: &Plan, name: &str) -> Option<Word> {
    plan.word(name).filter(|word| matches!(word, Word::Declared(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_cut_out_of_urls() {
        for (url, origin) in [
            ("https://shop.example/cart?x=1", Some("https://shop.example")),
            ("http://shop.example:39411/", Some("http://shop.example:39411")),
            ("https://shop.example", Some("https://shop.example")),
            ("https://shop.example?x=/", Some("https://shop.example")),
            ("about:blank", None),
            ("", None),
        ] {
            assert_eq!(origin_of(url), origin, "{url}");
        }
    }
}
