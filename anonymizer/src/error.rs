//! Why gate 1 refused to work. No variant can hold a value of an event: rules, names of the package, sizes.

use std::io;
use std::path::PathBuf;

use schemas::Digest;

/// What gate 1 may answer instead of a result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the key ring, the archive or a database could not be read or written.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was tried, in the infinitive: `read`, `create`.
        doing: &'static str,
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no key ring; nothing is made up in its place.
    #[error("no key ring at {0}: create one before starting")]
    NoRing(PathBuf),
    /// The key-encryption key is missing; nothing is made up in its place.
    #[error("no key-encryption key at {0}: the key ring cannot be opened without it")]
    NoKek(PathBuf),
    /// The key-encryption key is not the one this ring was made with, or not a key at all.
    #[error("the key-encryption key at {path} does not open this key ring: {why}")]
    WrongKek {
        /// The file of the key-encryption key.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another process uses the ring, and what is to be done needs it alone; or it is being changed.
    #[error("the key ring {0} is in use: stop the service first")]
    Busy(PathBuf),
    /// A rotation of the key-encryption key was begun here or elsewhere and is not finished.
    #[error(
        "a rotation of the key-encryption key of {0} is unfinished: run `quorate keyring rotate` where it was begun"
    )]
    Rotating(PathBuf),
    /// The key-encryption key was rotated while the ring was in use: whoever used it has to open it again.
    #[error(
        "the key-encryption key of {0} was rotated meanwhile: give this node the new one and start again"
    )]
    Rotated(PathBuf),
    /// What many nodes share could not be read for so long that it may have changed: nothing is done by it.
    #[error("{0} could not be read for {after} s, and others may have changed it", after = crate::shared::STALE_AFTER_MS / 1_000)]
    Stale(&'static str),
    /// Others changed a file again and again, so that a change of our own never came to pass.
    #[error("{0} is changed by others all the time: try again")]
    Contended(PathBuf),
    /// The store keeps what is overwritten, so that nothing could be destroyed there.
    #[error(
        "{0} keeps earlier versions of what is overwritten, so that no key could be destroyed: use a bucket without versions"
    )]
    Versions(PathBuf),
    /// The ledger belongs to another ring: keys of one installation are not for the data of another.
    #[error("the ledger {ledger} is that of another key ring than {dir}")]
    AnotherRing {
        /// The ring's folder.
        dir: PathBuf,
        /// The ledger of keys.
        ledger: PathBuf,
    },
    /// A key file of the ring is damaged.
    #[error("key {0} of the ring is damaged")]
    DamagedKey(String),
    /// A line of the key ledger cannot be read.
    #[error("line {line} of the key ledger {path} cannot be read")]
    Ledger {
        /// The ledger file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
    },
    /// The key existed and was destroyed at the end of its life; it never comes back.
    #[error("key {0} is destroyed")]
    Destroyed(String),
    /// Frames under an older key of this hour are still on their way into the log.
    #[error("frames under an older key of hour {0} are still on their way")]
    InFlight(u32),
    /// No such key was ever made.
    #[error("no key {0}")]
    NoKey(String),
    /// The system's generator or a cipher failed.
    #[error("the system could not {0}")]
    Crypto(&'static str),
    /// These bytes are not a whole and genuine frame.
    #[error("not a frame: {0}")]
    Frame(&'static str),
    /// A genuine frame whose rows are not as many as its header says.
    #[error("the frame holds {found} rows, its header says {declared}")]
    Rows {
        /// What the header says.
        declared: u32,
        /// What is inside.
        found: usize,
    },
    /// The frame was sealed under a policy whose raw columns are not archived.
    #[error("the policy {0} is not in the archive")]
    UnknownPolicy(Digest),
    /// The policy in force has no such family.
    #[error("the policy has no family {0}")]
    UnknownFamily(String),
    /// The package asks for a transform that gate 1 cannot make of this field.
    #[error("field {field} of {family}: {what}")]
    Field {
        /// The family.
        family: String,
        /// The field.
        field: String,
        /// What cannot be done.
        what: &'static str,
    },
    /// An identifier tells nobody of that family apart; what was given is not repeated.
    #[error("the identifier {0}")]
    Identifier(&'static str),
    /// The suppression list is not as it was written: whoever it named would come back.
    #[error("the suppression list {0} is damaged: nothing may be taken in without it")]
    Suppression(PathBuf),
    /// The country database cannot be used.
    #[error("country database {name}: {what}")]
    Geo {
        /// Its path, or `shipped`.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The user-agent patterns cannot be used.
    #[error("user-agent patterns {name}: {what}")]
    Agents {
        /// Their path, or `shipped`.
        name: String,
        /// What is wrong with them.
        what: String,
    },
}

impl Error {
    /// Whether a frame is one that nobody can read, now or later, though its hour's key was not destroyed: not genuine,
    /// or of a key, a policy or a family that is not there. Anything else may be tried again.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(
            self,
            Self::NoKey(_)
                | Self::Frame(_)
                | Self::Rows { .. }
                | Self::UnknownPolicy(_)
                | Self::UnknownFamily(_)
        )
    }

    /// For `map_err` of file operations.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
