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
//! remembers. Several processes may share a ring, and many nodes one on a shelf; a key is made once, whoever comes first.
//!
//! A key is used when two things are so: its creation is in the ledger by the commitment of the file that is there, and no
//! destruction is. Files alone say nothing: one that a slow or crashed node put there after the key was destroyed is another
//! key that nobody ever used, and is wiped by whoever meets it.

mod file;
mod lease;
mod ledger;
mod name;
mod retire;
mod rotate;
mod verify;

use std::collections::HashMap;
use std::path::Path;
#[cfg(test)]
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::{Clock, Millis, Package};
use zeroize::Zeroizing;

pub(crate) use file::{from_hexadecimal, hexadecimal};
pub use name::KeyName;
pub(crate) use retire::{epoch_end, window_days};

use crate::crypto::KEY_BYTES;
use crate::error::Error;
use crate::shared::{Freshness, Sharing};
use crate::shelf::{Folder, Held, Hold, Shelf};
use crate::vault::Secret;
use file::{KeyFile, Marker};
use lease::Lease;
use ledger::{Action, Ledger, Line};
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

/// Where a ring lies.
#[derive(Clone)]
pub struct Shelves {
    /// Keys, marker, and where the ledger ends.
    pub ring: Arc<dyn Shelf>,
    /// What holds the ledger: another place, so that no one hand can change both.
    pub ledger: Arc<dyn Shelf>,
    /// The ledger's name there.
    pub ledger_name: String,
}

impl Shelves {
    /// Keys in a folder, the ledger in a file.
    #[must_use]
    pub fn folders(dir: &Path, ledger: &Path) -> Self {
        let (shelf, ledger_name) = Folder::of(ledger);
        let ring = Arc::new(Folder::new(dir.to_owned()));
        Self { ring, ledger: Arc::new(shelf), ledger_name }
    }
}

/// The keys of one installation.
pub struct KeyRing {
    shelf: Arc<dyn Shelf>,
    kek: Secret,
    /// The marker as it was when the ring was opened.
    marker: Vec<u8>,
    clock: Clock,
    /// Counts destructions: whoever keeps derived keys forgets them when this changes.
    version: AtomicU64,
    keys: Mutex<HashMap<KeyName, Key>>,
    ledger: Ledger,
    freshness: Freshness,
    /// Another key-encryption key is in force: this ring is closed for good.
    rotated: AtomicBool,
    _held: Option<Held>,
    lease: Option<Lease>,
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
        Self::create_on(&Shelves::folders(dir, ledger), kek_file, clock, Sharing::Sole)
    }

    /// As [`KeyRing::create`], wherever the ring lies. Of several nodes that make it at once one does; the key-encryption key
    /// has to be the same on all, so that of a shared ring it is made beforehand, once, and handed on.
    ///
    /// # Errors
    ///
    /// As [`KeyRing::open`].
    pub fn create_on(
        shelves: &Shelves,
        kek_file: &Path,
        clock: &Clock,
        sharing: Sharing,
    ) -> Result<Self, Error> {
        if shelves.ring.read(file::MARKER)?.is_none() {
            if !kek_file.exists() && matches!(sharing, Sharing::Sole) {
                file::write_kek(kek_file)?;
            }
            if !kek_file.exists() {
                return Err(Error::NoKek(kek_file.to_owned()));
            }
            let kek = file::read_kek(kek_file)?;
            shelves.ring.create(file::MARKER, &Marker::new(&kek)?.text())?;
        }
        Self::open_on(shelves, kek_file, clock, sharing)
    }

    /// Makes a key-encryption key in a file, for a ring that many nodes share: each gets a copy. False if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Crypto`].
    pub fn make_key_encryption_key(kek_file: &Path) -> Result<bool, Error> {
        if kek_file.exists() {
            return Ok(false);
        }
        file::write_kek(kek_file).map(|()| true)
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
        Self::open_on(&Shelves::folders(dir, ledger), kek_file, clock, Sharing::Sole)
    }

    /// As [`KeyRing::open`], wherever the ring lies. A ring that others change has to be refreshed: see
    /// [`KeyRing::refresh`].
    ///
    /// # Errors
    ///
    /// As [`KeyRing::open`]; [`Error::Rotating`] while another node rotates the key-encryption key, and until it has ended.
    pub fn open_on(
        shelves: &Shelves,
        kek_file: &Path,
        clock: &Clock,
        sharing: Sharing,
    ) -> Result<Self, Error> {
        let shelf = &shelves.ring;
        rotate::marker(shelf.as_ref())?;
        if rotate::unfinished(kek_file) {
            let alone = shelf.hold(Hold::Alone)?;
            // Without locks nobody is kept from the ring: the command that rotates waits for the others.
            if alone.is_none() {
                return Err(Error::Rotating(shelf.place("")));
            }
            rotate::finish(shelf.as_ref(), kek_file, &mut || Ok(()))?;
        }
        let held = shelf.hold(Hold::Shared)?;
        let lease = if held.is_none() { Some(Lease::new(shelf)?) } else { None };
        if !kek_file.exists() {
            return Err(Error::NoKek(kek_file.to_owned()));
        }
        let kek = file::read_kek(kek_file)?;
        let as_written = shelf.read(file::MARKER)?.ok_or_else(|| Error::NoRing(shelf.place("")))?;
        let marker = Marker::parse(&as_written)?;
        rotate::check_finished(shelf.as_ref(), &marker, &kek, kek_file)?;
        marker.check(&kek, kek_file)?;
        let freshness = Freshness::new(sharing, "the key ring");
        let ledger = Ledger::open(shelves, marker.id(), clock())?;
        let ring = Self {
            shelf: Arc::clone(shelf),
            kek,
            marker: as_written,
            clock: Arc::clone(clock),
            version: AtomicU64::new(0),
            keys: Mutex::default(),
            ledger,
            freshness,
            rotated: AtomicBool::new(false),
            _held: held,
            lease,
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
        // A folder has locks: nothing is waited for.
        Self::rotate_on(&Folder::new(dir.to_owned()), kek_file, &mut |_| ())
    }

    /// As [`KeyRing::rotate`], wherever the ring lies. Of nodes on a shelf without locks the signs of life are watched for as many
    /// milliseconds as `wait` is told to let pass. The new key-encryption key then has to be handed to every node.
    ///
    /// # Errors
    ///
    /// As [`KeyRing::rotate`]; what was begun on a shelf without locks is finished by calling it again.
    pub fn rotate_on(
        shelf: &dyn Shelf,
        kek_file: &Path,
        wait: &mut dyn FnMut(i64),
    ) -> Result<(), Error> {
        rotate::marker(shelf)?;
        rotate::rotate(shelf, kek_file, wait, &mut || Ok(()))
    }

    /// Holds every key file against the ledger, and the ledger against itself. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::NoRing`], [`Error::NoKek`], [`Error::WrongKek`], [`Error::Io`]: what cannot be looked at at all.
    pub fn verify(dir: &Path, kek_file: &Path, ledger: &Path) -> Result<Verified, Error> {
        Self::verify_on(&Shelves::folders(dir, ledger), kek_file)
    }

    /// As [`KeyRing::verify`], wherever the ring lies.
    ///
    /// # Errors
    ///
    /// As [`KeyRing::verify`].
    pub fn verify_on(shelves: &Shelves, kek_file: &Path) -> Result<Verified, Error> {
        verify::verify(shelves, kek_file)
    }

    /// Every key that the ledger tells of, in order of name, without a look at the ring. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Ledger`] or [`Error::Io`] if the ledger cannot be read.
    pub fn list_on(shelves: &Shelves) -> Result<Vec<KeyEntry>, Error> {
        Ledger::told(shelves)
    }

    /// Reads what others did: keys that they destroyed are forgotten and wiped from memory. To be called every
    /// [`crate::shared::REFRESH_EVERY_MS`] where many nodes share the ring; says to them that this one is at work.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Ledger`]; after [`crate::shared::STALE_AFTER_MS`] without success every key is forgotten and
    /// none is given out until it succeeds again. [`Error::Rotated`], for good, if the key-encryption key is another.
    pub fn refresh(&self) -> Result<(), Error> {
        let began = self.freshness.now();
        let looked = self.look();
        if looked.is_ok() {
            self.freshness.seen_at(began);
        }
        if self.usable().is_err() {
            self.forget(|_| true);
        }
        looked
    }

    fn look(&self) -> Result<(), Error> {
        self.ledger.refresh()?;
        self.forget_destroyed();
        if !self.freshness.is_shared() {
            return Ok(());
        }
        self.check_marker()?;
        self.lease.as_ref().map_or(Ok(()), Lease::renew)
    }

    /// No key is made where the ring is not, or for one whose keys are under another key-encryption key by now.
    fn check_marker(&self) -> Result<(), Error> {
        match self.shelf.read(file::MARKER)? {
            None => return Err(Error::NoRing(self.shelf.place(""))),
            Some(marker) if marker == self.marker => {}
            Some(_) => self.rotated.store(true, Ordering::Release),
        }
        self.not_rotated()
    }

    fn not_rotated(&self) -> Result<(), Error> {
        match self.rotated.load(Ordering::Acquire) {
            true => Err(Error::Rotated(self.shelf.place(""))),
            false => Ok(()),
        }
    }

    /// Whether what others did was read within so many milliseconds; always, where nobody else is.
    #[must_use]
    pub fn is_fresh(&self, within_ms: i64) -> bool {
        self.freshness.is_fresh(within_ms) && !self.rotated.load(Ordering::Acquire)
    }

    /// Whether many nodes share it.
    pub(crate) fn is_shared(&self) -> bool {
        self.freshness.is_shared()
    }

    /// By the clock that nobody sets; zero where nobody else is.
    pub(crate) fn steady_now(&self) -> Millis {
        self.freshness.now()
    }

    /// # Errors
    ///
    /// [`Error::Stale`] or [`Error::Rotated`] if no key may be used now.
    pub(crate) fn usable(&self) -> Result<(), Error> {
        self.not_rotated()?;
        self.freshness.check()
    }

    /// The key of this name, made now if there never was one.
    ///
    /// # Errors
    ///
    /// [`Error::Destroyed`] if there was one; [`Error::DamagedKey`], [`Error::Io`], [`Error::Crypto`];
    /// [`Error::Stale`] and [`Error::Rotated`] where many nodes share it.
    pub fn get_or_create(&self, name: &KeyName) -> Result<Key, Error> {
        if let Some(key) = self.alive(name)? {
            return Ok(key);
        }
        self.ledger.refresh()?;
        self.forget_destroyed();
        let path = file::key_file(name);
        if self.ledger.read().entry(name).is_none() {
            self.check_marker()?;
            let fresh = KeyFile::random((self.clock)())?;
            self.shelf.create(&path, &fresh.sealed(name, &self.kek)?)?;
            // Another may have been first: what lies there now is the key, if nobody has destroyed one meanwhile.
            match self.file(name)? {
                Some(lies) => self.enter(name, &lies)?,
                None => self.ledger.refresh()?,
            }
        }
        if let Some(key) = self.alive(name)? {
            return Ok(key);
        }
        // It may have been destroyed since, between the look at the ledger and that at its file.
        self.ledger.refresh()?;
        let entry = self.ledger.read().entry(name).map(|entry| entry.state);
        match entry {
            Some(KeyState::Destroyed) => {
                // Put there by somebody who did not know, ourselves perhaps: nobody has used it, and nobody will.
                self.shelf.wipe(&path)?;
                Err(Error::Destroyed(name.to_string()))
            }
            // Made, and gone without a word: another in its place would not be the key.
            Some(KeyState::Alive) => Err(Error::DamagedKey(name.to_string())),
            None => Err(Error::Contended(self.shelf.place(&path))),
        }
    }

    /// The key of this name, if it is alive and can be read.
    #[must_use]
    pub fn existing(&self, name: &KeyName) -> Option<Key> {
        self.alive(name).ok().flatten()
    }

    /// The key of this name, if it is alive.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if nobody knows; [`Error::DamagedKey`]; [`Error::Stale`], [`Error::Rotated`].
    pub(crate) fn alive(&self, name: &KeyName) -> Result<Option<Key>, Error> {
        self.usable()?;
        if let Some(key) = self.keys().get(name) {
            return Ok(Some(key.clone()));
        }
        // Many nodes look by themselves; that a key was made seconds ago is known to who made it.
        if !self.freshness.is_shared() {
            self.ledger.refresh()?;
        }
        let commitment = match self.ledger.read().entry(name) {
            Some(entry) if entry.state == KeyState::Alive => entry.commitment.clone(),
            Some(_) | None => return Ok(None),
        };
        let Some(lies) = self.file(name)? else { return Ok(None) };
        // It may have been destroyed since the ledger was read, and another put in its place.
        self.ledger.refresh()?;
        if self.ledger.read().is_destroyed(name) {
            return Ok(None);
        }
        if lies.commitment() != commitment {
            return Err(Error::DamagedKey(name.to_string()));
        }
        let key = Key(Arc::new(lies.key));
        self.keys().insert(name.clone(), key.clone());
        // Whoever destroyed it meanwhile wrote so before forgetting it.
        if self.ledger.read().is_destroyed(name) {
            self.forget(|kept| kept == name);
            return Ok(None);
        }
        Ok(Some(key))
    }

    /// The key of this name.
    ///
    /// # Errors
    ///
    /// [`Error::Destroyed`] if it is, [`Error::NoKey`] if there never was one; as [`KeyRing::get_or_create`].
    pub(crate) fn get(&self, name: &KeyName) -> Result<Key, Error> {
        if let Some(key) = self.alive(name)? {
            return Ok(key);
        }
        self.ledger.refresh()?;
        if let Some(key) = self.alive(name)? {
            return Ok(key);
        }
        let destroyed = self.ledger.read().is_destroyed(name);
        let name = name.to_string();
        Err(if destroyed { Error::Destroyed(name) } else { Error::NoKey(name) })
    }

    /// Overwrites and removes a key. What was sealed or hashed under it stays as it is, for ever.
    ///
    /// The ledger says so first, so that a crash cannot leave a key that nobody remembers to finish. Other nodes forget it
    /// when they look; see [`crate::shared`].
    ///
    /// # Errors
    ///
    /// [`Error::NoKey`] if there is none; [`Error::Io`], after which it may be called again.
    pub fn destroy(&self, name: &KeyName, why: &str) -> Result<(), Error> {
        self.forget(|kept| kept == name);
        let Some(lies) = self.shelf.read(&file::key_file(name))? else {
            return Err(Error::NoKey(name.to_string()));
        };
        self.ledger.refresh()?;
        if self.ledger.read().entry(name).is_none() {
            self.enter(name, &KeyFile::open(lies, name, &self.kek)?)?;
        }
        let now = (self.clock)();
        self.ledger.append(|read| {
            let entry = read.entry(name).filter(|entry| entry.state == KeyState::Alive)?;
            let (commitment, why) = (entry.commitment.clone(), Some(why.to_owned()));
            Some(Line::new(now, Action::Destroyed, name, commitment, why))
        })?;
        self.forget(|kept| kept == name);
        self.shelf.wipe(&file::key_file(name)).map(drop)
    }

    /// Every key there ever was, in order of name.
    ///
    /// # Errors
    ///
    /// [`Error::Ledger`] or [`Error::Io`] if the ledger cannot be read.
    pub fn list(&self) -> Result<Vec<KeyEntry>, Error> {
        self.ledger.refresh()?;
        Ok(self.seen())
    }

    /// As [`KeyRing::list`], as it was when it was last read; where nobody refreshes, it is read now.
    pub(crate) fn known(&self) -> Result<Vec<KeyEntry>, Error> {
        if self.freshness.is_shared() { Ok(self.seen()) } else { self.list() }
    }

    fn seen(&self) -> Vec<KeyEntry> {
        self.ledger.read().entries()
    }

    /// Lines of the ledger that were read: what is made of [`KeyRing::known`] stands until this changes.
    pub(crate) fn lines(&self) -> usize {
        self.ledger.read().lines()
    }

    /// As [`KeyRing::list`], with the number of lines in the ledger; nothing if it has `seen` lines still.
    ///
    /// # Errors
    ///
    /// As [`KeyRing::list`].
    pub fn list_since(&self, seen: usize) -> Result<Option<(usize, Vec<KeyEntry>)>, Error> {
        self.ledger.refresh()?;
        let read = self.ledger.read();
        Ok((read.lines() != seen).then(|| (read.lines(), read.entries())))
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
        if self.freshness.is_shared() {
            self.reconcile()?;
        }
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

    /// Changes whenever a key is forgotten by this process.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn keys(&self) -> MutexGuard<'_, HashMap<KeyName, Key>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that lies in its file, whatever the ledger says of it.
    fn file(&self, name: &KeyName) -> Result<Option<KeyFile>, Error> {
        let bytes = self.shelf.read(&file::key_file(name))?;
        bytes.map(|bytes| KeyFile::open(bytes, name, &self.kek)).transpose()
    }

    /// Enters a key's creation, unless it is entered.
    fn enter(&self, name: &KeyName, key: &KeyFile) -> Result<(), Error> {
        let commitment = key.commitment();
        self.ledger.append(|read| {
            let is_new = read.entry(name).is_none();
            is_new.then(|| Line::new(key.created, Action::Created, name, commitment.clone(), None))
        })
    }

    /// Drops keys from memory.
    fn forget(&self, which: impl Fn(&KeyName) -> bool) {
        self.keys().retain(|name, _| !which(name));
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Drops keys from memory that the ledger says are destroyed.
    fn forget_destroyed(&self) {
        let kept: Vec<KeyName> = self.keys().keys().cloned().collect();
        let read = self.ledger.read();
        let gone: Vec<KeyName> = kept.into_iter().filter(|name| read.is_destroyed(name)).collect();
        drop(read);
        if !gone.is_empty() {
            self.forget(|name| gone.contains(name));
        }
    }

    /// Brings files and ledger together after a crash between the two, of whomever.
    fn reconcile(&self) -> Result<(), Error> {
        for path in self.shelf.list(file::KEYS)? {
            let Some(name) = KeyName::of_path(Path::new(&path)) else { continue };
            if self.ledger.read().entry(&name).is_none()
                && let Some(key) = self.file(&name)?
            {
                self.enter(&name, &key)?;
            }
            if self.ledger.read().is_destroyed(&name) {
                self.shelf.wipe(&path)?;
            }
        }
        Ok(())
    }

    #[cfg(test)]
    fn path(&self, name: &KeyName) -> PathBuf {
        self.shelf.place(&file::key_file(name))
    }
}

#[cfg(test)]
mod nodes;
#[cfg(test)]
mod tests;
