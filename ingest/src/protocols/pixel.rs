//! `GET /v1/pixel.gif?site=ID[&url=URL][&name=NAME][&consent=PURPOSE]`: one event of the family `web` by an image, for
//! pages without scripts and for e-mails.
//!
//! Whatever happens, the answer is the image; its status tells what became of the event. A query is a place that others
//! log: it takes two fields and no more, and what was consented to: `consent` as often as there are purposes,
//! `consent_version` and `consent_at` for all of them, and `gdpr_consent`, which ad servers fill in. `gdpr` is passed
//! over: whether the law applies is for the policy to say.

use anonymizer::{Decided, Decision, Statement};
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use url::form_urlencoded;

use super::{Page, Protocol, Readers, declared};
use crate::check::timestamp;
use crate::decode::{BodyError, Cell, Decoded, Limits, Shared, new_state};
use crate::plan::{Plan, Reserved, Word};
use crate::respond::{Problem, is_refused};

/// The event's name where the query gives none.
const NAME: &str = "pageview";
/// One transparent pixel.
const GIF: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// `GET /v1/pixel.gif`.
pub(crate) static PIXEL: Protocol = Protocol {
    from_head: Some(from_head),
    is_single: true,
    readers: Readers::Nobody,
    decode,
    receipt: |report| {
        image(if is_refused(report) { StatusCode::BAD_REQUEST } else { StatusCode::OK }, None)
    },
    problem: |problem| image(problem.status(), Some(problem)),
};

/// Query and `Referer`, a line each.
fn from_head(parts: &Parts) -> Bytes {
    let query = parts.uri.query().unwrap_or_default();
    let referer = parts.headers.get(header::REFERER).and_then(|value| value.to_str().ok());
    [query, referer.unwrap_or_default()].join("\n").into()
}

/// Reads what [`from_head`] took.
pub(crate) fn decode<'a>(
    plan: &Plan,
    told: &'a [u8],
    limits: Limits,
) -> Result<Decoded<'a>, BodyError> {
    let mut lines = told.splitn(2, |&byte| byte == b'\n');
    let query = lines.next().unwrap_or_default();
    let referer = lines.next().and_then(|line| std::str::from_utf8(line).ok());
    let mut state = new_state(plan, limits);
    let mut page = Page::new(&mut state);
    let (mut name, mut url, mut version, mut at) = (None, None, None, None);
    let (mut purposes, mut said) = (Vec::new(), Statement::default());
    for (key, value) in form_urlencoded::parse(query) {
        let own = match &*key {
            "name" => &mut name,
            "url" => &mut url,
            "consent_version" => &mut version,
            "consent_at" => &mut at,
            "site" | "gdpr" => continue,
            "consent" => {
                let purpose = plan.purpose(&value).filter(|purpose| !purposes.contains(purpose));
                purposes.extend(purpose);
                continue;
            }
            "gdpr_consent" => {
                said.tcf(plan.package(), &value);
                continue;
            }
            _ => {
                page.undeclared(&key);
                continue;
            }
        };
        if own.is_some() {
            return Err(BodyError::Repeats);
        }
        *own = Some(page.state.cells.copy(&value));
    }
    let referer = referer.filter(|referer| !referer.is_empty()).map(Cell::Text);
    for (field, told, otherwise) in [("name", name, Some(Cell::Text(NAME))), ("url", url, referer)]
    {
        match (told, otherwise) {
            (Some(told), _) => page.field(field, told),
            (None, Some(otherwise)) if declared(plan, field).is_some() => {
                page.field(field, otherwise);
            }
            (None, _) => {}
        }
    }
    let cells = &mut page.state.cells;
    let at = at.map(|at| timestamp(cells, at).map_or(Decided::Unreadable, Decided::At));
    let version = version.and_then(|version| cells.text(version));
    let at = at.unwrap_or(Decided::Unsaid);
    for purpose in purposes {
        let decision = Decision { granted: true, version, at };
        said.decision(plan.package(), usize::from(purpose), &decision);
    }
    if said != Statement::default() {
        let said = cells.said(said);
        page.push(Word::Reserved(Reserved::Consent), said);
    }
    Ok(page.finish(Shared::default()))
}

fn image(status: StatusCode, problem: Option<&Problem>) -> Response<Body> {
    let mut response = Response::new(Body::from(GIF));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "image/gif"),
        (header::CACHE_CONTROL, "no-store"),
        (CORP, "cross-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(seconds) = problem.and_then(Problem::retry_after_s) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}
