//! Who may write and who may read: registries of names and hashed secrets, one TOML file each.
//!
//! A secret is shown once, when it is made; the file holds its BLAKE3 hash and an id by which people refer
//! to it. A presented secret is hashed and looked up by the whole hash, so the time of a lookup says nothing
//! about how much of a guess was right.

mod file;
mod key;
mod reader;
mod source;

pub use key::{KeyRecord, Secret};
pub use reader::{Reader, Readers};
pub use source::{Source, SourceKind, Sources};

use std::path::PathBuf;

/// Why a registry could not be read, changed or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The file could not be read or written; look at its rights and at the disk.
    #[error("cannot use {path}")]
    File {
        /// Of the registry.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a registry, or was edited into something else.
    #[error("{path}, line {line}: not a registry of this build")]
    Malformed {
        /// Of the registry.
        path: PathBuf,
        /// Where, from 1; 0 if not known.
        line: usize,
    },
    /// Letters, digits, `.`, `-` and `_`, at most 64, beginning with a letter or a digit.
    #[error("{0:?} is no name: use at most 64 letters, digits, dots, hyphens and underscores")]
    Name(String),
    /// A browser's origin is `https://host` or `https://host:port`, without a path.
    #[error("{0:?} is no origin: write it as https://www.example.com")]
    Origin(String),
    /// The name is taken by something else; revoke that first, or choose another name.
    #[error("{name} exists already, as a {kind} source with other families or origins")]
    Exists {
        /// The name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// Nothing of that name, or no key of that id that is not revoked yet.
    #[error("no {0} to revoke")]
    Unknown(String),
    /// The random bytes gave a key that exists; they were not random.
    #[error("the system's random numbers repeat")]
    Repeated,
}
