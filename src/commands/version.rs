//! `quorate version`: what this binary is, and what it was built with.

use crate::commands::print;

/// Parts of the binary that a build may leave out, with whether this one has them.
///
/// The list is what a test reads, so that a release never lacks in silence what it promises.
pub const FEATURES: [(&str, bool); 5] = [
    ("embedded-log", true),
    ("threshold", true),
    ("kafka", false),
    ("s3", false),
    ("gaussian", false),
];

/// Prints version and features.
///
/// # Errors
///
/// If standard output cannot be written.
pub fn run() -> anyhow::Result<()> {
    let mut text = format!("quorate {}\n", env!("CARGO_PKG_VERSION"));
    for (feature, built) in FEATURES {
        let word = if built { "yes" } else { "not in this build" };
        text.push_str(&format!("{feature}: {word}\n"));
    }
    print(&text)
}
