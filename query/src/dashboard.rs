//! The page: the files of crate [`web`] at the root of the query port, and what every answer of the port says to browsers.
//!
//! The files hold nothing of a store, so they are served without a token; the page asks its reader for one and sends
//! it with each question. What it may do is written in [`POLICY`].

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::get;

/// Scripts, styles, images and connections of this service alone; no inline script, no text made into markup, and no page
/// around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// What browsers are told with every answer, unless it says otherwise itself.
const ALWAYS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// `GET` of each file, and of `/`, which is the first of them.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let routes = Router::new().route("/", get(async |request: HeaderMap| page(0, &request)));
    web::DASHBOARD.iter().enumerate().fold(routes, |routes, (index, file)| {
        routes.route(
            &format!("/{}", file.path),
            get(async move |request: HeaderMap| page(index, &request)),
        )
    })
}

fn page(index: usize, request: &HeaderMap) -> Response {
    let mut response = web::DASHBOARD[index].answer(request);
    // The names have no hash in them: each time a browser asks whether the file is still the same, and is told so in short.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Adds what browsers are told with every answer.
pub(crate) async fn protect(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
