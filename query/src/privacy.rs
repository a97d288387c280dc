//! The page for visitors: what the policy package says, without a token, for the link on the page of readers.

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use schemas::notice::{Notice, content_security_policy};

/// The notice as a page that runs nothing and loads nothing; made once, for the package does not change.
pub(crate) struct Page {
    html: Bytes,
    policy: HeaderValue,
}

impl Page {
    pub(crate) fn of(notice: &Notice) -> Self {
        let policy = HeaderValue::try_from(content_security_policy())
            .expect("a hash in base64 is plain text");
        Self { html: Bytes::from(notice.html()), policy }
    }

    pub(crate) fn answer(&self) -> Response {
        let mut response = self.html.clone().into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        response
    }
}
