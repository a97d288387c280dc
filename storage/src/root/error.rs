//! Why a root cannot be used.

use std::io;

/// Why a root cannot be used. Nothing here quotes an option's value: it may be a credential.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// No store has such URLs.
    #[error("{scheme}:// names no place for tables; known are {known}, and paths")]
    Scheme {
        /// What stands before `://`.
        scheme: String,
        /// What may stand there.
        known: &'static str,
    },
    /// The URL is not one.
    #[error("the URL {what}")]
    Url {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The store has no option of that name.
    #[error("{scheme}:// has no option {name}; known are {known}")]
    Option {
        /// The name.
        name: String,
        /// What stands before `://`.
        scheme: String,
        /// Names that may stand there; some have others beside them.
        known: &'static str,
    },
    /// The options do not make a connection.
    #[error("the options of {url} do not do: {what}")]
    Options {
        /// The URL.
        url: String,
        /// What is wrong, without values.
        what: String,
    },
    /// The binary was built without object stores.
    #[error("{scheme}:// needs a binary that was built with feature s3; this one was not")]
    NotBuilt {
        /// What stands before `://`.
        scheme: String,
    },
    /// What is deleted there can be had again: neither rows nor keys would ever die.
    #[error("{url} keeps versions of what is deleted: use a bucket without versioning")]
    Versioned {
        /// The URL.
        url: String,
    },
    /// Two writers of one name do not notice each other there: one would undo what the other committed.
    #[error("{url} does not refuse the second writer of a name (If-None-Match): use another store")]
    Unconditional {
        /// The URL.
        url: String,
    },
    /// The store is away, or the credentials do not suffice.
    #[error("{url} cannot be used")]
    Unavailable {
        /// The URL.
        url: String,
        /// What the store said, cut down to status and code.
        source: io::Error,
    },
}
