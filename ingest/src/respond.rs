//! What senders hear: every answer is JSON, and every error says what to do and whether to send again.
//!
//! No answer can hold a word of a request: messages are made of rules, sizes and declared names.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use crate::auth::Denied;
use crate::decode::BodyError;
use crate::rows::{Change, Refusal, Report};

/// Seconds after which to come again when too much is in flight.
const BUSY_S: u64 = 1;
/// Seconds after which to come again when events could not be made durable.
const NOT_DURABLE_S: u64 = 5;
/// Seconds after which to come again when the operator's side has stopped.
const SUSPENDED_S: u64 = 60;

/// Why a request is not answered 202.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Nothing of the body can be taken.
    Body(BodyError),
    /// It does not decompress.
    Corrupt,
    /// Nobody we know.
    Denied(Denied),
    /// No such path.
    NotFound,
    /// Not a way to post events.
    Method,
    /// The body did not come in time.
    Timeout,
    /// More bytes than configured.
    TooLarge {
        /// Most bytes.
        bytes_max: usize,
    },
    /// Compressed in a way we do not know.
    UnsupportedEncoding,
    /// Too often.
    TooMany {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// Too much in flight.
    Busy,
    /// The log did not take it, as far as anybody knows.
    NotDurable,
    /// Taking events now would lose them later.
    Suspended,
}

/// The body of an error.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'static str,
    message: &'a str,
    retry: bool,
}

/// What became of the events of a request that was understood.
#[derive(Serialize)]
struct Receipt<'r> {
    accepted: u64,
    refused: &'r [Refusal],
    refused_total: u64,
    changed: &'r [Change],
    changed_total: u64,
    undeclared: u64,
}

/// A receipt under an error: nothing was accepted.
#[derive(Serialize)]
struct RefusedBody<'r> {
    #[serde(flatten)]
    error: ErrorBody<'r>,
    #[serde(flatten)]
    receipt: Receipt<'r>,
}

impl Problem {
    /// The word in `error`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Body(BodyError::TooManyEvents { .. }) | Self::TooLarge { .. } => "too_large",
            Self::Body(_) | Self::Corrupt => "malformed",
            Self::Denied(Denied::Origin) => "origin_not_allowed",
            Self::Denied(Denied::NoKey | Denied::Unknown) => "unauthorized",
            Self::NotFound => "not_found",
            Self::Method => "method_not_allowed",
            Self::Timeout => "timeout",
            Self::UnsupportedEncoding => "unsupported_encoding",
            Self::TooMany { .. } => "too_many_requests",
            Self::Busy | Self::NotDurable | Self::Suspended => "unavailable",
        }
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Body(BodyError::TooManyEvents { .. }) | Self::TooLarge { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Body(_) | Self::Corrupt => StatusCode::BAD_REQUEST,
            Self::Denied(Denied::Origin) => StatusCode::FORBIDDEN,
            Self::Denied(Denied::NoKey | Denied::Unknown) => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Timeout => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::NotDurable | Self::Suspended => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether the same request can succeed later.
    fn retry(&self) -> bool {
        match self {
            Self::Denied(Denied::NoKey | Denied::Unknown)
            | Self::Timeout
            | Self::TooMany { .. }
            | Self::Busy
            | Self::NotDurable
            | Self::Suspended => true,
            Self::Body(_)
            | Self::Corrupt
            | Self::Denied(Denied::Origin)
            | Self::NotFound
            | Self::Method
            | Self::TooLarge { .. }
            | Self::UnsupportedEncoding => false,
        }
    }

    /// Seconds to wait before the next request, if that is known.
    pub(crate) fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::TooMany { retry_after_s } => Some(*retry_after_s),
            Self::Busy => Some(BUSY_S),
            Self::NotDurable => Some(NOT_DURABLE_S),
            Self::Suspended => Some(SUSPENDED_S),
            Self::Body(_)
            | Self::Corrupt
            | Self::Denied(_)
            | Self::NotFound
            | Self::Method
            | Self::Timeout
            | Self::TooLarge { .. }
            | Self::UnsupportedEncoding => None,
        }
    }

    /// What is wrong, and what to do.
    fn message(&self) -> String {
        match self {
            Self::Body(error @ BodyError::TooManyEvents { .. }) => {
                format!("{error}: send fewer events in each request")
            }
            Self::Body(error) => format!("{error}; nothing of it was taken: correct it before sending it again"),
            Self::Corrupt => {
                "the body does not decompress as its Content-Encoding says: correct it before sending it again".to_owned()
            }
            Self::Denied(Denied::NoKey) => {
                "send a device or server key as `Authorization: Bearer KEY`, or a public site id as `?site=ID` (of a \
                 Plausible tracker: `d`); keep the events and send them then"
                    .to_owned()
            }
            Self::Denied(Denied::Unknown) => {
                "the key or site id is unknown or revoked: keep the events, and send them again with a valid one".to_owned()
            }
            Self::Denied(Denied::Origin) => {
                "this origin may not post for this site: add it to the site's list of origins".to_owned()
            }
            Self::NotFound => "there is nothing here: post events to /v1/events".to_owned(),
            Self::Method => "use POST to send events".to_owned(),
            Self::Timeout => "the body did not arrive in time: send it again, faster or in parts".to_owned(),
            Self::TooLarge { bytes_max } => {
                format!("the body is larger than {bytes_max} bytes: send fewer events in each request")
            }
            Self::UnsupportedEncoding => {
                "use Content-Encoding gzip, deflate or zstd, or none".to_owned()
            }
            Self::TooMany { retry_after_s } => {
                format!("too many requests: wait {retry_after_s} s and put more events into each")
            }
            Self::Busy => "too much is in flight: send the same events again after Retry-After".to_owned(),
            Self::NotDurable => {
                "the events may not be stored: send the same events with the same ids again after Retry-After".to_owned()
            }
            Self::Suspended => {
                "events are not taken now, since they could not be kept: send them again after Retry-After".to_owned()
            }
        }
    }

    /// The whole answer.
    pub(crate) fn response(&self) -> Response<Body> {
        let message = self.message();
        let body = ErrorBody { error: self.name(), message: &message, retry: self.retry() };
        let mut response = json(self.status(), &body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Self::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            }
            Self::Denied(Denied::NoKey | Denied::Unknown) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // What is left of the body is not waited for.
            Self::Timeout | Self::TooLarge { .. } => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::Body(_)
            | Self::Corrupt
            | Self::Denied(Denied::Origin)
            | Self::NotFound
            | Self::UnsupportedEncoding
            | Self::TooMany { .. }
            | Self::Busy
            | Self::NotDurable
            | Self::Suspended => {}
        }
        response
    }
}

/// Whether no event of a request was taken, and there was one.
pub(crate) fn is_refused(report: &Report) -> bool {
    report.accepted_total() == 0 && report.refused_total > 0
}

/// The answer to a request that was understood: 202, or 400 if every event of it was refused.
pub(crate) fn receipt(report: &Report) -> Response<Body> {
    let receipt = Receipt {
        accepted: report.accepted_total(),
        refused: &report.refused,
        refused_total: report.refused_total,
        changed: &report.changed,
        changed_total: report.changed_total,
        undeclared: report.undeclared,
    };
    if !is_refused(report) {
        return json(StatusCode::ACCEPTED, &receipt);
    }
    let error = ErrorBody {
        error: "all_refused",
        message: "every event was refused: `refused` says why; correct them before sending them again",
        retry: false,
    };
    json(StatusCode::BAD_REQUEST, &RefusedBody { error, receipt })
}

fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(body).expect("numbers, texts and lists are always JSON");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    let cache = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    response
}

#[cfg(test)]
mod tests;
