//! The key ring: random keys, each in a file of its own, sealed under a key-encryption key kept elsewhere.
//!
//! ```text
//! <dir>/ring.json              format, id of the ring, and proof of the key-encryption key
//! <dir>/keys/<name>.key        one sealed key
//! <dir>/ledger.head            hash of the ledger's last line
//! <ledger>                     JSON lines: each creation and destruction, by commitment, each with the hash of the one before
//! ```
//!
//! Keys are never derived from a date or another secret, and a destroyed one never comes back: the ledger
//! remembers. Several processes may share a ring; a key is made once, whoever comes first.

mod file;
mod ledger;
mod name;
mod retire;
mod rotate;
mod verify;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::{Clock, Millis, Package};
use zeroize::Zeroizing;

pub(crate) use file::{from_hexadecimal, hexadecimal};
pub use name::KeyName;
pub(crate) use retire::{epoch_end, window_days};

use crate::crypto::KEY_BYTES;
use crate::error::Error;
use crate::shelf::overwrite_and_remove;
use crate::vault::Secret;
use file::{KeyFile, Marker};
use ledger::{Action, Ledger, Line};
use rotate::Held;
pub use verify::{Finding, Verified};

/// A key of the ring. Wiped from memory with its last copy; no `Debug`, no way to its bytes from outside.
///
/// ```compile_fail,E0277
/// fn show(key: anonymizer::Key) {
///     println!("{key:?}");
/// }
/// ```
///
/// ```compile_fail,E0624
/// fn steal(key: anonymizer::Key) -> [u8; 32] {
///     *key.bytes()
/// }
/// ```
#[derive(Clone)]
pub struct Key(Arc<Secret>);

impl Key {
    pub(crate) fn bytes(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        self.0.expose()
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }

    /// A key that is not of the ring: thrown away after use, or fixed by a test.
    pub(crate) fn apart(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Arc::new(Secret::new(&Zeroizing::new(bytes))))
    }
}

/// Whether a key can still be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It is in the ring.
    Alive,
    /// It is gone for good.
    Destroyed,
}

/// What may be told of a key.
#[derive(Clone, Debug)]
pub struct KeyEntry {
    /// What it is for.
    pub name: KeyName,
    /// When it was made.
    pub created: Millis,
    /// When it was destroyed, if it is.
    pub destroyed: Option<Millis>,
    /// Whether it can still be used.
    pub state: KeyState,
    /// A hash of the key with a random nonce: the same at creation and at destruction.
    pub commitment: String,
}

/// The keys of one installation.
pub struct KeyRing {
    dir: PathBuf,
    kek: Secret,
    clock: Clock,
    /// Counts destructions: whoever keeps derived keys forgets them when this changes.
    version: AtomicU64,
    state: Mutex<State>,
    _held: Held,
}

struct State {
    keys: HashMap<KeyName, Key>,
    ledger: Ledger,
}

impl KeyRing {
    /// Opens the ring in `dir`; makes it and the key-encryption key first, if neither is there.
    ///
    /// # Errors
    ///
    /// As [`KeyRing::open`]; a ring whose key-encryption key is missing is refused, not replaced.
    pub fn create(
        dir: &Path,
        kek_file: &Path,
        ledger: &Path,
        clock: &Clock,
    ) -> Result<Self, Error> {
        let marker = file::marker_path(dir);
        if !marker.exists() {
            file::create_folder(dir)?;
            file::create_folder(&file::keys_folder(dir))?;
            if !kek_file.exists() {
                file::write_kek(kek_file)?;
            }
            let kek = file::read_kek(kek_file)?;
            Marker::new(&kek)?.write_new(&marker)?;
        }
        Self::open(dir, kek_file, ledger, clock)
    }

    /// Opens the ring in `dir` with the key-encryption key in `kek_file`; nothing is made up for what is missing.
    ///
    /// Finishes destructions and rotations that a crash interrupted, and enters keys that a crash kept out of the ledger.
    ///
    /// # Errors
    ///
    /// [`Error::NoRing`], [`Error::NoKek`], [`Error::WrongKek`], [`Error::AnotherRing`]; [`Error::Busy`] while
    /// another process rotates the key-encryption key; [`Error::Ledger`] if the ledger cannot be
    /// read; [`Error::Io`].
    pub fn open(dir: &Path, kek_file: &Path, ledger: &Path, clock: &Clock) -> Result<Self, Error> {
        let marker = file::marker_path(dir);
        if !marker.exists() {
            return Err(Error::NoRing(dir.to_owned()));
        }
        if rotate::unfinished(kek_file) {
            let _alone = Held::alone(dir)?;
            rotate::finish(dir, kek_file, &mut || Ok(()))?;
        }
        let held = Held::shared(dir)?;
        if !kek_file.exists() {
            return Err(Error::NoKek(kek_file.to_owned()));
        }
        let kek = file::read_kek(kek_file)?;
        let marker = Marker::read(&marker)?;
        marker.check(&kek, kek_file)?;
        let ledger = Ledger::open(ledger, dir, marker.id(), clock())?;
        let ring = Self {
            dir: dir.to_owned(),
            kek,
            clock: Arc::clone(clock),
            version: AtomicU64::new(0),
            state: Mutex::new(State { keys: HashMap::new(), ledger }),
            _held: held,
        };
        ring.reconcile()?;
        Ok(ring)
    }

    /// Makes a new key-encryption key, seals every key of the ring in `dir` again under it, and overwrites the old one. A
    /// copy of the old one opens nothing from then on; a copy of the ring from before stays as it was.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] if any process has the ring open; as [`KeyRing::open`]. What was begun is finished when the
    /// ring is next opened.
    pub fn rotate(dir: &Path, kek_file: &Path) -> Result<(), Error> {
        if !file::marker_path(dir).exists() {
            return Err(Error::NoRing(dir.to_owned()));
        }
        rotate::rotate(dir, kek_file, &mut || Ok(()))
    }

    /// Holds every key file against the ledger, and the ledger against itself. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NoRing`], [`Error::NoKek`], [`Error::WrongKek`], [`Error::Io`]: what cannot be looked at at all.
    pub fn verify(dir: &Path, kek_file: &Path, ledger: &Path) -> Result<Verified, Error> {
        verify::verify(dir, kek_file, ledger)
    }

    /// The key of this name, made now if there never was one.
    ///
    /// # Errors
    ///
    /// [`Error::Destroyed`] if there was one; [`Error::DamagedKey`], [`Error::Io`], [`Error::Crypto`].
    pub fn get_or_create(&self, name: &KeyName) -> Result<Key, Error> {
        let mut state = self.state();
        if let Some(key) = self.find(&mut state, name)? {
            return Ok(key);
        }
        state.ledger.refresh()?;
        if state.ledger.is_destroyed(name) {
            return Err(Error::Destroyed(name.to_string()));
        }
        self.forget_missing(&mut state);
        let created = (self.clock)();
        let path = self.path(name);
        let fresh = KeyFile::random(created)?;
        if fresh.write_new(&path, name, &self.kek)? {
            let commitment = fresh.commitment();
            state.ledger.append(Line::new(created, Action::Created, name, commitment, None))?;
        }
        // Another process may have been first: what lies there now is the key.
        let key = Key(Arc::new(KeyFile::read(&path, name, &self.kek)?.key));
        state.keys.insert(name.clone(), key.clone());
        Ok(key)
    }

    /// The key of this name, if it is alive.
    #[must_use]
    pub fn existing(&self, name: &KeyName) -> Option<Key> {
        self.find(&mut self.state(), name).ok().flatten()
    }

    /// The key of this name.
    ///
    /// # Errors
    ///
    /// [`Error::Destroyed`] if it is, [`Error::NoKey`] if there never was one.
    pub(crate) fn get(&self, name: &KeyName) -> Result<Key, Error> {
        let mut state = self.state();
        if let Some(key) = self.find(&mut state, name)? {
            return Ok(key);
        }
        state.ledger.refresh()?;
        let destroyed = state.ledger.is_destroyed(name);
        let name = name.to_string();
        Err(if destroyed { Error::Destroyed(name) } else { Error::NoKey(name) })
    }

    /// Overwrites and removes a key. What was sealed or hashed under it stays as it is, for ever.
    ///
    /// The ledger says so first, so that a crash cannot leave a key that nobody remembers to finish.
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if there is none; [`Error::Io`], after which it may be called again.
    pub fn destroy(&self, name: &KeyName, why: &str) -> Result<(), Error> {
        let mut state = self.state();
        state.keys.remove(name);
        self.version.fetch_add(1, Ordering::Release);
        let path = self.path(name);
        if !path.exists() {
            return Err(Error::NoKey(name.to_string()));
        }
        if !state.ledger.is_destroyed(name) {
            let commitment = KeyFile::read(&path, name, &self.kek)?.commitment();
            let why = Some(why.to_owned());
            let line = Line::new((self.clock)(), Action::Destroyed, name, commitment, why);
            state.ledger.append(line)?;
        }
        overwrite_and_remove(&path)
    }

    /// Every key there ever was, in order of name.
    ///
    /// # Errors
    ///
    /// [`Error::Ledger`] or [`Error::Io`] if the ledger cannot be read.
    pub fn list(&self) -> Result<Vec<KeyEntry>, Error> {
        let mut state = self.state();
        state.ledger.refresh()?;
        Ok(state.ledger.entries())
    }

    /// As [`KeyRing::list`], with the number of lines in the ledger; nothing if it has `seen` lines still.
    ///
    /// # Errors
    ///
    /// As [`KeyRing::list`].
    pub fn list_since(&self, seen: usize) -> Result<Option<(usize, Vec<KeyEntry>)>, Error> {
        let mut state = self.state();
        state.ledger.refresh()?;
        let lines = state.ledger.lines();
        Ok((lines != seen).then(|| (lines, state.ledger.entries())))
    }

    /// Destroys the keys whose time is over, and names them.
    ///
    /// - A sealing key: once its hour ended `raw_retention_ms` ago and every frame under it is committed
    ///   (`sealed_through` is the last hour of which that is true); `raw_retention_max_ms` after its hour in
    ///   any case.
    /// - A pseudonym key: at the end of its epoch and the family's grace.
    /// - A key of event keys: when no retry that it could recognise can come any more.
    ///
    /// A key made for history that is imported later than that lives for the grace after it was made.
    ///
    /// # Errors
    ///
    /// The first that a destruction gives; it may be called again.
    pub fn retire(
        &self,
        package: &Package,
        now: Millis,
        sealed_through: Option<u32>,
        raw_retention_ms: i64,
        raw_retention_max_ms: i64,
    ) -> Result<Vec<KeyName>, Error> {
        let terms =
            retire::Terms { package, sealed_through, raw_retention_ms, raw_retention_max_ms };
        let mut gone = Vec::new();
        for entry in self.list()? {
            if entry.state == KeyState::Destroyed {
                continue;
            }
            if let Some(why) = terms.over(&entry.name, entry.created, now) {
                match self.destroy(&entry.name, why) {
                    // Another process was first.
                    Err(Error::NoKey(_)) => continue,
                    other => other?,
                }
                gone.push(entry.name);
            }
        }
        Ok(gone)
    }

    /// Changes whenever a key is destroyed by this process.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, name: &KeyName) -> PathBuf {
        file::keys_folder(&self.dir).join(format!("{}.key", name.file_stem()))
    }

    fn find(&self, state: &mut State, name: &KeyName) -> Result<Option<Key>, Error> {
        if let Some(key) = state.keys.get(name) {
            return Ok(Some(key.clone()));
        }
        let path = self.path(name);
        if !path.exists() || state.ledger.is_destroyed(name) {
            return Ok(None);
        }
        let key = Key(Arc::new(KeyFile::read(&path, name, &self.kek)?.key));
        state.keys.insert(name.clone(), key.clone());
        Ok(Some(key))
    }

    /// Drops keys from memory that another process has destroyed.
    fn forget_missing(&self, state: &mut State) {
        let before = state.keys.len();
        state.keys.retain(|name, _| self.path(name).exists());
        if state.keys.len() < before {
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Brings files and ledger together after a crash between the two.
    fn reconcile(&self) -> Result<(), Error> {
        let mut state = self.state();
        let folder = file::keys_folder(&self.dir);
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let path = entry.map_err(Error::io("read", &folder))?.path();
            // Temporary files are left alone: another process may be at work on them, and what a crash left
            // is either a key that nobody ever used, or another name of a file that destruction overwrites.
            let Some(name) = KeyName::of_path(&path) else { continue };
            if state.ledger.is_destroyed(&name) {
                overwrite_and_remove(&path)?;
            } else if !state.ledger.knows(&name) {
                let key = KeyFile::read(&path, &name, &self.kek)?;
                let line = Line::new(key.created, Action::Created, &name, key.commitment(), None);
                state.ledger.append(line)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
