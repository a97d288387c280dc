//! Who must not come in any more: contributors that were erased or object, by keyed hash alone.
//!
//! ```text
//! K_family   = derive_key("quorate 2026-11 v1 suppressed contributor", K_list ‖ lp(controller) ‖ lp(family) ‖ le64(0))
//! identifier = keyed_hash(K_family, canonical identifier)[..16]
//! pseudonym  = keyed_hash(K_family, lp("pseudonym") ‖ pseudonym)[..16]
//! ```
//!
//! `K_list` is a key of the ring that no epoch ends. An identifier's hash keeps its contributor out for as long as
//! the entry stands. Hashes of its pseudonyms, one for each epoch whose key is alive, find what is stored already,
//! and frames that hold a visit, of which nothing but the pseudonym is known. Neither an identifier nor a pseudonym is
//! in the list, and its file can be tested against guesses only by who has the key.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use schemas::Millis;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys::{KeyName, KeyRing};
use crate::keys::{from_hexadecimal, hexadecimal};
use crate::pseudonym::{Hash, SuppressionKey};
use crate::shelf::{private, sync_folder};
use crate::subject::{Pseudonyms, Subject};

/// Names of the list's own digest among the hashes of its key.
const DIGEST: &[u8] = b"list";

/// What a contributor asked for. Both remove what is stored and keep out what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestKind {
    /// Erasure.
    Erase,
    /// Objection to being counted.
    Object,
}

/// One contributor of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suppressed {
    /// Id of the request that put it there.
    pub request: String,
    /// What was asked for.
    pub kind: RequestKind,
    /// Name of the family.
    pub family: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Whether stored rows and frames may still hold it.
    pub pending: bool,
    /// Hash of the canonical identifier.
    identifier: String,
    /// Hash of its pseudonym in each epoch whose key was alive.
    pseudonyms: Vec<(i32, String)>,
}

impl Suppressed {
    /// How many epochs had a key when it was entered.
    #[must_use]
    pub fn epochs(&self) -> usize {
        self.pseudonyms.len()
    }
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    entries: Vec<Suppressed>,
    /// Keyed hash of the entries, so that no flipped bit lets anybody back in.
    check: String,
}

/// The list, shared by the door, the gate and whoever removes. Cheap to ask while it is empty.
pub struct SuppressionList {
    path: PathBuf,
    ring: Arc<KeyRing>,
    controller: String,
    empty: AtomicBool,
    /// Counts changes.
    version: AtomicU64,
    /// Held by the one that changes the list, file included.
    changing: Mutex<()>,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    entries: Vec<Suppressed>,
    families: HashMap<String, Arc<FamilyList>>,
}

/// Whom one family must not hold.
pub(crate) struct FamilyList {
    key: SuppressionKey,
    identifiers: HashSet<Hash>,
    /// The entry by index, for each pseudonym.
    pseudonyms: HashMap<Hash, usize>,
}

impl FamilyList {
    /// Whether what [`crate::pseudonym::Canonical::write`] or `write_visit` wrote names somebody in it.
    pub(crate) fn has_identifier(&self, written: &[u8]) -> bool {
        self.identifiers.contains(&self.key.identifier(written))
    }

    /// The entry that this is a pseudonym of.
    pub(crate) fn pseudonym(&self, pseudonym: &[u8], scratch: &mut Vec<u8>) -> Option<usize> {
        self.pseudonyms.get(&self.key.pseudonym(pseudonym, scratch)).copied()
    }
}

impl SuppressionList {
    /// Opens the list in the file `path`, which need not be there yet.
    ///
    /// # Errors
    ///
    /// [`Error::Suppression`] if it is not as it was written; [`Error::NoKey`] or [`Error::Destroyed`] if its key is
    /// gone; [`Error::Io`]. Nothing may be taken in without a list that exists.
    pub fn open(path: PathBuf, ring: Arc<KeyRing>, controller: &str) -> Result<Self, Error> {
        let text = match fs::read(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let list = Self {
            path,
            ring,
            controller: controller.to_owned(),
            empty: AtomicBool::new(true),
            version: AtomicU64::new(0),
            changing: Mutex::new(()),
            state: RwLock::default(),
        };
        if let Some(text) = text {
            let damaged = || Error::Suppression(list.path.clone());
            let wire: Wire = serde_json::from_slice(&text).map_err(|_| damaged())?;
            if wire.format != 1 || wire.check != list.check(&wire.entries, false)? {
                return Err(damaged());
            }
            list.take(wire.entries)?;
        }
        Ok(list)
    }

    /// Whether nobody is in it: then there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.empty.load(Ordering::Acquire)
    }

    /// Changes whenever somebody is entered.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Everybody in it, in order of entering.
    #[must_use]
    pub fn entries(&self) -> Vec<Suppressed> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).entries.clone()
    }

    /// Those of whom stored rows and frames may still hold something.
    #[must_use]
    pub fn pending(&self) -> Vec<Suppressed> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.entries.iter().filter(|entry| entry.pending).cloned().collect()
    }

    /// Enters a contributor: from now on nobody by that identifier comes in. Durable on return.
    ///
    /// `pseudonyms` is called when the identifier is already looked for, so that no key is made and used behind
    /// its back; if it fails, the entry is taken out again.
    ///
    /// # Errors
    ///
    /// What `pseudonyms` gives; [`Error::Io`], after which the entry stands in memory alone: call again.
    pub fn enter(
        &self,
        request: &str,
        kind: RequestKind,
        subject: &Subject,
        since: Millis,
        pseudonyms: impl FnOnce() -> Result<Pseudonyms, Error>,
    ) -> Result<Suppressed, Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.key(subject.family_name(), true)?;
        let mut entry = Suppressed {
            request: request.to_owned(),
            kind,
            family: subject.family_name().to_owned(),
            since: since.to_string(),
            // Whoever removes waits until the pseudonyms are known: without them no row would be found.
            pending: false,
            identifier: hexadecimal(&key.identifier(subject.canonical())),
            pseudonyms: Vec::new(),
        };
        let before = self.entries();
        let mut entries = before.clone();
        entries.push(entry.clone());
        self.take(entries)?;
        let pseudonyms = match pseudonyms() {
            Ok(pseudonyms) => pseudonyms,
            Err(error) => {
                self.take(before)?;
                return Err(error);
            }
        };
        let mut scratch = Vec::new();
        let hash = |pseudonym: &Hash| hexadecimal(&key.pseudonym(pseudonym, &mut scratch));
        let hashes: Vec<String> =
            pseudonyms.iter().map(|(_, pseudonym)| pseudonym).map(hash).collect();
        entry.pseudonyms = pseudonyms.iter().map(|(epoch, _)| epoch).zip(hashes).collect();
        entry.pending = true;
        let mut entries = before;
        entries.push(entry.clone());
        self.write(&entries)?;
        self.take(entries)?;
        Ok(entry)
    }

    /// Notes that nothing stored holds these requests' contributors any more. They stay out.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], after which they are still pending.
    pub fn settle(&self, requests: &[String]) -> Result<(), Error> {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entries = self.entries();
        for entry in &mut entries {
            entry.pending &= !requests.contains(&entry.request);
        }
        self.write(&entries)?;
        self.take(entries)
    }

    /// The request whose contributor has this pseudonym in `family`.
    #[must_use]
    pub fn request_of(&self, family: &str, pseudonym: &[u8]) -> Option<String> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let index = state.families.get(family)?.pseudonym(pseudonym, &mut Vec::new())?;
        state.entries.get(index).map(|entry| entry.request.clone())
    }

    /// Whom `family` must not hold; none if that is nobody.
    pub(crate) fn of_family(&self, family: &str) -> Option<Arc<FamilyList>> {
        if self.is_empty() {
            return None;
        }
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.families.get(family).cloned()
    }

    fn key(&self, family: &str, create: bool) -> Result<SuppressionKey, Error> {
        let name = KeyName::Suppression;
        let root = if create { self.ring.get_or_create(&name) } else { self.ring.get(&name) }?;
        Ok(SuppressionKey::of(&root, &self.controller, family))
    }

    /// The digest that stands in the file.
    fn check(&self, entries: &[Suppressed], create: bool) -> Result<String, Error> {
        let text = serde_json::to_vec(entries).expect("texts and numbers are JSON");
        Ok(hexadecimal(&self.key("", create)?.identifier(&[DIGEST, &text].concat())))
    }

    /// Makes `entries` what is asked from now on.
    fn take(&self, entries: Vec<Suppressed>) -> Result<(), Error> {
        let damaged = || Error::Suppression(self.path.clone());
        let mut families: HashMap<String, FamilyList> = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            if !families.contains_key(&entry.family) {
                let key = self.key(&entry.family, false)?;
                let list =
                    FamilyList { key, identifiers: HashSet::new(), pseudonyms: HashMap::new() };
                families.insert(entry.family.clone(), list);
            }
            let Some(family) = families.get_mut(&entry.family) else { continue };
            family.identifiers.insert(from_hexadecimal(&entry.identifier).ok_or_else(damaged)?);
            for (_, hash) in &entry.pseudonyms {
                let hash = from_hexadecimal(hash).ok_or_else(damaged)?;
                // Who asks twice is found under the first request that is not done.
                let known = family.pseudonyms.entry(hash).or_insert(index);
                if !entries[*known].pending {
                    *known = index;
                }
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.families = families.into_iter().map(|(name, list)| (name, Arc::new(list))).collect();
        self.empty.store(entries.is_empty(), Ordering::Release);
        state.entries = entries;
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// Replaces the file as a whole: temporary name, fsync, rename, fsync of the folder.
    fn write(&self, entries: &[Suppressed]) -> Result<(), Error> {
        let check = self.check(entries, true)?;
        let wire = Wire { format: 1, entries: entries.to_vec(), check };
        let text = serde_json::to_vec_pretty(&wire).expect("texts and numbers are JSON");
        if let Some(folder) = self.path.parent()
            && !folder.exists()
        {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            sync_folder(folder)?;
        }
        let temporary = self.path.with_extension("tmp");
        let write = || -> std::io::Result<()> {
            let mut file: File =
                private().write(true).create(true).truncate(true).open(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)
        };
        write().map_err(Error::io("write", &self.path))?;
        sync_folder(&self.path)
    }
}

#[cfg(test)]
mod tests;
