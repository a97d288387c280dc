//! A few hundred distinct events for the benches of single stages, the same in every run.
//!
//! The harness takes its events from `quorate generate`.

use std::fmt::Write;
use std::sync::Arc;

use schemas::Package;

const PAGES: [&str; 6] = [
    "/",
    "/pricing",
    "/blog/how-we-count-without-watching",
    "/products/4711/reviews?page=2&session=9f3a71c40b5e4d62",
    "/account/3b1f8f9e-3c0a-4f6e-9a55-0c2d3e4f5a6b/settings#security",
    "/search?q=kari%40clinic.example&utm_source=newsletter&utm_medium=email&utm_campaign=spring",
];

/// User agents of common browsers.
pub const AGENTS: [&str; 5] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
];

/// The package that the binary carries.
///
/// # Panics
///
/// If it is not valid, which its own tests exclude.
#[must_use]
pub fn package() -> Arc<Package> {
    let files = [
        ("policy.toml", include_str!("../../schemas/default/policy.toml")),
        ("web.toml", include_str!("../../schemas/default/web.toml")),
        ("device_usage.toml", include_str!("../../schemas/default/device_usage.toml")),
        ("statistics.toml", include_str!("../../schemas/default/statistics.toml")),
    ];
    package_of(&files)
}

/// A package of these files.
///
/// # Panics
///
/// If it is not valid: the message lists why.
#[must_use]
pub fn package_of(files: &[(&str, &str)]) -> Arc<Package> {
    let files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    match Package::from_files(files.collect()) {
        Ok(package) => Arc::new(package),
        Err(diagnostics) => {
            let lines: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
            panic!("the package of the benches is not valid:\n{}", lines.join("\n"))
        }
    }
}

/// `count` page views, as lines.
#[must_use]
pub fn page_views(count: usize) -> String {
    let mut lines = String::new();
    for number in 0..count {
        let page = PAGES[number % PAGES.len()];
        // Writing to a String cannot fail.
        let _ = writeln!(
            lines,
            r#"{{"type":"web","id":"{}","name":"pageview","url":"https://shop.example{page}","referrer":"https://search.example/results?q=scanner","engaged":{},"scroll_depth":{}}}"#,
            id(number),
            number * 37 % 60_000,
            number % 101,
        );
    }
    lines
}

/// `count` uses of devices, as lines.
#[must_use]
pub fn uses(count: usize) -> String {
    let mut lines = String::new();
    for number in 0..count {
        let error = if number % 40 == 0 { r#","error":"E042""# } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            lines,
            r#"{{"type":"device_usage","id":"{}","serial_number":"X1-2031-{:06}","product":"x1","version":"3.{}.{}","feature":"implant","duration":{}{error}}}"#,
            id(number),
            number % 300,
            number % 9,
            number % 4,
            number * 971 % 90_000,
        );
    }
    lines
}

/// An identifier in the form of a UUID, different for each number.
fn id(number: usize) -> String {
    let hex = blake3::hash(&number.to_le_bytes()).to_hex();
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30])
}
