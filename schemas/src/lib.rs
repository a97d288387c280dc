//! The policy package: what may be collected, why, for how long, and what may leave.
//!
//! Input: a folder of TOML files written by people (`policy.toml`, one file a family, `statistics.toml`).
//! Output: a [`Package`], checked as a whole and compiled once into what every stage needs.
//! This crate deliberately knows no stage: no sockets, no keys, no tables, and never a value of an event.

pub mod access;
pub mod columns;
mod describe;
pub mod diagnostic;
pub mod diff;
pub mod eea;
mod expected;
pub mod export;
pub mod forecast;
pub mod gpc;
mod granted;
pub mod model;
mod names;
pub mod notice;
pub mod outcome;
pub mod time;
mod vocabulary;
mod words;

mod load;

/// The files of the package `schemas/default`, as [`Package::from_files`] takes them: what `init` copies and
/// `demo` runs.
pub const DEFAULT_FILES: [(&str, &str); 4] = [
    ("policy.toml", include_str!("../default/policy.toml")),
    ("web.toml", include_str!("../default/web.toml")),
    ("device_usage.toml", include_str!("../default/device_usage.toml")),
    ("statistics.toml", include_str!("../default/statistics.toml")),
];

/// The file [`GENERATE_FILE`] of that package.
pub const DEFAULT_GENERATE: &str = include_str!("../default/generate.toml");

pub use diagnostic::Diagnostic;
pub use load::GENERATE_FILE;
pub use model::{Digest, Family, Field, Package, Purpose, PurposeSet, Statistic};
pub use outcome::{Named, Note, Outcome, Reason, Tally};
pub use time::{Clock, Millis};
