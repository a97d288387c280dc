//! Fuzz targets: every decoder of bytes from outside, with what must hold for any of them.
//!
//! A [`Target`] is a function of bytes that panics when a promise is broken. `cargo xtask fuzz` drives them by coverage;
//! as ordinary tests they run over `fuzz/corpus/<target>/` and `fuzz/regressions/<target>/`, without an engine. What is
//! not public elsewhere comes from the `fuzzing` modules of the crates, which give sizes and answers, never a value.

mod fixture;
mod targets;

use targets::{body, compressed, files, frame, gate, head, query, record, tcf};

/// A word that stands in seeds and dictionaries and nowhere else: no error may repeat it.
pub const CANARY: &str = "9Qz7Canary";

/// One decoder.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of its folders, and on the command line.
    pub name: &'static str,
    /// Panics if a promise is broken for these bytes.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "json", run: body::json },
    Target { name: "ndjson", run: body::ndjson },
    Target { name: "envelope", run: body::envelope },
    Target { name: "plausible", run: body::plausible },
    Target { name: "pixel", run: body::pixel },
    Target { name: "record", run: record::run },
    Target { name: "compressed", run: compressed::run },
    Target { name: "head", run: head::run },
    Target { name: "gate", run: gate::run },
    Target { name: "frame", run: frame::run },
    Target { name: "columns", run: frame::columns },
    Target { name: "policy", run: files::policy },
    Target { name: "config", run: files::config },
    Target { name: "registry", run: files::registry },
    Target { name: "mmdb", run: files::mmdb },
    Target { name: "query", run: query::run },
    Target { name: "tcf", run: tcf::run },
];

/// The target of that name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}

/// Panics if `text`, which somebody may read, repeats the canary.
fn must_not_repeat(text: &str) {
    assert!(!text.contains(CANARY), "an error repeats its input");
}
