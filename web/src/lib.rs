//! What browsers load from the binary: the tracker's script and the dashboard, as `web/embedded/` holds them.
//!
//! Input: the head of a request. Output: a file, plain or with brotli, or that it has not changed. `web/embedded/` is what
//! the TypeScript beside it builds, so that building the binary needs no Node; `npm run embed:check` fails where
//! the two differ. This crate deliberately knows no route, no token and no policy: whoever serves a file sets those.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// A file that the binary carries.
pub struct File {
    /// Below the folder it is served from: `assets/index.js`.
    pub path: &'static str,
    media_type: &'static str,
    plain: &'static [u8],
    brotli: &'static [u8],
}

macro_rules! file {
    ($folder:literal, $path:literal, $media_type:literal) => {
        File {
            path: $path,
            media_type: $media_type,
            plain: include_bytes!(concat!("../embedded/", $folder, $path)),
            brotli: include_bytes!(concat!("../embedded/", $folder, $path, ".br")),
        }
    };
}

/// The tracker, for one script tag.
pub static SCRIPT: File = file!("", "quorate.js", "text/javascript; charset=utf-8");

/// The dashboard; the first is the page itself.
pub static DASHBOARD: &[File] = &[
    file!("dashboard/", "index.html", "text/html; charset=utf-8"),
    file!("dashboard/", "icon.svg", "image/svg+xml"),
    file!("dashboard/", "assets/index.css", "text/css; charset=utf-8"),
    file!("dashboard/", "assets/index.js", "text/javascript; charset=utf-8"),
    file!("dashboard/", "assets/charts.js", "text/javascript; charset=utf-8"),
];

impl File {
    /// The file in the form that the request takes, or 304 if it has it. The names have no hash in them, so whoever serves
    /// one says how long it may be kept.
    #[must_use]
    pub fn answer(&self, request: &HeaderMap) -> Response {
        let tag = self.tag();
        let known = words(request, IF_NONE_MATCH).any(|one| one == tag || one == "*");
        // Browsers ask for brotli over TLS and on this machine, and nowhere else.
        let takes_brotli = words(request, ACCEPT_ENCODING).any(|one| {
            let (coding, quality) = one.split_once(';').unwrap_or((one, ""));
            coding.trim() == "br"
                && !matches!(quality.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        });
        let mut response = match (known, takes_brotli) {
            (true, _) => StatusCode::NOT_MODIFIED.into_response(),
            (false, true) => self.brotli.into_response(),
            (false, false) => self.plain.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if takes_brotli && !known {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        }
        if let Ok(tag) = HeaderValue::try_from(tag) {
            headers.insert(ETAG, tag);
        }
        response
    }

    /// What changes when the file does. Weak, because it is the same for both forms.
    fn tag(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.plain.hash(&mut hasher);
        format!("W/\"{:016x}\"", hasher.finish())
    }
}

/// What stands between the commas of a header.
fn words(request: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let texts = request.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(headers: &[(HeaderName, &str)]) -> Response {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap()));
        SCRIPT.answer(&headers.collect())
    }

    fn header(response: &Response, name: HeaderName) -> &str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[test]
    fn brotli_goes_to_who_takes_it() {
        for takes in ["br", "gzip, deflate, br", "gzip;q=1.0, br;q=0.5"] {
            assert_eq!(
                header(&ask(&[(ACCEPT_ENCODING, takes)]), CONTENT_ENCODING),
                "br",
                "{takes}"
            );
        }
        for not in ["", "gzip", "br;q=0", "brotli", "identity"] {
            let response = ask(&[(ACCEPT_ENCODING, not)]);
            assert_eq!(header(&response, CONTENT_ENCODING), "", "{not}");
            assert_eq!(header(&response, CONTENT_TYPE), "text/javascript; charset=utf-8");
        }
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let first = ask(&[]);
        assert_eq!(first.status(), StatusCode::OK);
        let tag = header(&first, ETAG).to_owned();
        let again = ask(&[(IF_NONE_MATCH, &format!("\"another\", {tag}"))]);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(header(&again, ETAG), tag);
        assert_eq!(ask(&[(IF_NONE_MATCH, "\"another\"")]).status(), StatusCode::OK);
    }

    #[test]
    fn the_page_names_only_files_that_are_carried() {
        let page = std::str::from_utf8(DASHBOARD[0].plain).unwrap();
        let named = page.split('"').filter(|word| word.starts_with("./"));
        for name in named.map(|name| name.trim_start_matches("./")) {
            assert!(DASHBOARD.iter().any(|file| file.path == name), "{name}");
        }
        assert!(page.contains("assets/index.js"));
    }
}
