//! Whose pages may read an answer, in the words of browsers.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use crate::auth::{Denied, Registry};
use crate::respond::Problem;

/// How long browsers may remember an answer to a preflight, in seconds.
const PREFLIGHT_AGE: &str = "600";

/// Who may read the answers of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Pages of the site's origins, also such that send cookies along.
    Sites,
    /// Every page: for clients that are told of nothing but by an answer they can read, errors included. Nothing in one
    /// is more than anybody hears who asks without a browser.
    Anyone,
    /// No page has a use for them.
    Nobody,
}

/// Who may read one answer.
pub(crate) enum Cors {
    /// Pages of this origin.
    Origin(HeaderValue),
    /// Not pages of the origin that asks.
    Refused,
    /// Every page.
    Anyone,
    /// Nobody asked.
    Unasked,
}

impl Readers {
    /// Who may read the answer to a page of `origin` that asks for `site`, as far as its head tells.
    pub(crate) fn of(self, registry: &Registry, origin: Option<&str>, site: Option<&str>) -> Cors {
        match (self, origin) {
            (Self::Anyone, _) => Cors::Anyone,
            (Self::Sites, Some(origin)) => {
                let allowed = Some(origin).filter(|origin| registry.may_read(origin, site));
                let allowed = allowed.and_then(|origin| HeaderValue::from_str(origin).ok());
                allowed.map_or(Cors::Refused, Cors::Origin)
            }
            (Self::Sites, None) | (Self::Nobody, _) => Cors::Unasked,
        }
    }
}

impl Cors {
    /// What a browser hears that asks before it sends.
    pub(crate) fn preflight(&self) -> Result<Response<Body>, Problem> {
        match self {
            Self::Refused => return Err(Problem::Denied(Denied::Origin)),
            Self::Unasked => return Err(Problem::Method),
            Self::Origin(_) | Self::Anyone => {}
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-encoding, content-type"),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Ok(response)
    }

    /// Says it in an answer.
    pub(crate) fn mark(self, headers: &mut HeaderMap) {
        match self {
            Self::Anyone => {
                let anyone = HeaderValue::from_static("*");
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anyone);
            }
            Self::Origin(origin) => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                let yes = HeaderValue::from_static("true");
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
            }
            Self::Refused | Self::Unasked => {
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
                return;
            }
        }
        let exposed = HeaderValue::from_static("Retry-After");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}
