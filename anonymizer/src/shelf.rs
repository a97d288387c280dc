//! Small files that processes and machines share: keys, ledgers, the suppression list, archived policies.
//!
//! A [`Folder`] for one machine, or for several on a file system that honours locks; an object store for any number,
//! which the binary implements. [`conformance`] is what each has to pass.

pub mod conformance;
mod folder;
#[cfg(test)]
pub(crate) mod memory;

use std::path::PathBuf;

pub use folder::Folder;
pub(crate) use folder::{overwrite_and_remove, sync_folder, write_new};

use crate::error::Error;

/// Makes the new content of a file from what it holds, if it is there; none leaves it as it is. May be called again
/// with what somebody else wrote meanwhile.
pub type Change<'a> = dyn FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>, Error> + 'a;

/// Keeps a shelf for as long as it lives.
pub type Held = Box<dyn Send + Sync>;

/// How a shelf is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Together with others.
    Shared,
    /// Without anybody else.
    Alone,
}

/// Small files by name, for many at once. Names are parts of letters, digits, `.`, `_` and `-` with `/` between, relative to the
/// shelf.
///
/// An implementor guarantees: what is written is durable on return, and whole to whoever reads; a read that begins after
/// a write has returned sees it, wherever it is made; of several that create, append or update at once, one goes first and the
/// others see what it did. A call may block for seconds, and may be made from asynchronous code.
///
/// Every method fails with [`Error::Io`]; a write whose fate is unknown fails too, and may have happened.
pub trait Shelf: Send + Sync {
    /// Where a file lies, for messages.
    fn place(&self, name: &str) -> PathBuf;

    /// The content of a file, if it is there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error>;

    /// The content of a file from byte `at` on; nothing if it is not there or ends before. Not while somebody is within
    /// an append: a part of a line is one that a crash left.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn read_from(&self, name: &str, at: u64) -> Result<Vec<u8>, Error>;

    /// Writes a file where there is none; false if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, Error>;

    /// Adds bytes to the end of a file of `at` bytes, made if that is zero; false if it has another length by now.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn append(&self, name: &str, at: u64, bytes: &[u8]) -> Result<bool, Error>;

    /// Writes a file whole, whatever was there; that is overwritten first where it can be.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error>;

    /// Changes a file, if nobody else did since it was read; else reads and tries again.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Busy`] if others never let go; what `change` gives.
    fn update(&self, name: &str, change: &mut Change<'_>) -> Result<(), Error>;

    /// Overwrites a file with zeros and removes it; false if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn wipe(&self, name: &str) -> Result<bool, Error>;

    /// Names of the files in a folder, in order; none if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn list(&self, folder: &str) -> Result<Vec<String>, Error>;

    /// Removes from a folder what crashes left under temporary names. For who holds the shelf alone.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn sweep(&self, folder: &str) -> Result<(), Error>;

    /// Holds the whole shelf; none if it has no locks, so that whoever shares it leaves signs of life instead.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if others hold it otherwise; [`Error::Io`].
    fn hold(&self, how: Hold) -> Result<Option<Held>, Error>;
}
