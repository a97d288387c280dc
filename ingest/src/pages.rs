//! What the port of events gives to pages and their visitors: the tracker's script, and the notice of what is
//! collected. Neither needs a token, and neither says anything that the policy package does not.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use axum::routing::get;
use bytes::Bytes;
use schemas::notice::{Notice, content_security_policy};
use schemas::{Package, gpc};

use crate::door;

const CORP: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Routes to them, and the answer to whoever asks for anything else.
pub(crate) fn routes(package: &Package) -> Router {
    let notice = Bytes::from(Notice::of(package).html());
    let routes = Router::new().route("/quorate.js", get(script)).route("/privacy", get(privacy));
    let routes = match gpc::support(package) {
        Some(support) => {
            let support = Bytes::from(support);
            routes.route(gpc::PATH, get(move || std::future::ready(well_known(support.clone()))))
        }
        None => routes,
    };
    routes.fallback(door::elsewhere).with_state(notice)
}

/// The tracker, for pages of any origin: also such that ask for it with CORS, to hold it against a hash.
async fn script(headers: HeaderMap) -> Response<Body> {
    let mut response = web::SCRIPT.answer(&headers);
    set(
        response.headers_mut(),
        [
            (header::CACHE_CONTROL, "public, max-age=3600"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (CORP, "cross-origin"),
        ],
    );
    response
}

/// That Global Privacy Control is heeded, for browsers and their extensions.
fn well_known(support: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(support));
    set(
        response.headers_mut(),
        [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "public, max-age=300"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        ],
    );
    response
}

/// The notice as a page that runs nothing, loads nothing and sets nothing.
async fn privacy(State(notice): State<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::from(notice));
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(content_security_policy()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    set(
        headers,
        [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CACHE_CONTROL, "public, max-age=300"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
        ],
    );
    response
}

fn set<const N: usize>(headers: &mut HeaderMap, values: [(HeaderName, &'static str); N]) {
    for (name, value) in values {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
