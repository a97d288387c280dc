//! Why the door could not be opened, or what it was asked could not be done.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::decode::BodyError;

/// Errors of this crate. None can hold a value of an event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is not possible; says which and what to write.
    #[error("{0}")]
    Config(String),
    /// The registry of sources cannot be read.
    #[error("the registry of sources cannot be used")]
    Sources(#[from] schemas::access::AccessError),
    /// Certificate or key cannot be used.
    #[error("{path} cannot be used for TLS: {why}")]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: is it in use?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Gate 1 could not work, for want of a key.
    #[error("gate 1 cannot work")]
    Gate(#[from] anonymizer::Error),
    /// A body of which nothing can be taken.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// An event that broke a rule.
    #[error("refused as {}: expected {expected}", .reason.name())]
    Refused {
        /// The rule.
        reason: schemas::Reason,
        /// What is accepted.
        expected: String,
    },
}
