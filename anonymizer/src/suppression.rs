//! Who must not come in any more, or not for some purposes: contributors that were erased, object, restrict or withdrew, by
//! keyed hash alone.
//!
//! ```text
//! K_family   = derive_key("quorate 2026-11 v1 suppressed contributor", K_list ‖ lp(controller) ‖ lp(family) ‖ le64(0))
//! identifier = keyed_hash(K_family, canonical identifier)[..16]
//! pseudonym  = keyed_hash(K_family, lp("pseudonym") ‖ pseudonym)[..16]
//! ```
//!
//! `K_list` is a key of the ring that no epoch ends. An identifier's hash keeps its contributor out for as long as
//! the entry stands: wholly, or for the purposes that it names. Hashes of its pseudonyms, one for each epoch whose key is
//! alive, find what is stored already, and frames that hold a visit, of which nothing but the pseudonym is known. Neither
//! an identifier nor a pseudonym is in the list, and its file can be tested against guesses only by who has the key.

mod entry;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use schemas::Millis;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::keys::{KeyName, KeyRing};
use crate::keys::{from_hexadecimal, hexadecimal};
use crate::pseudonym::{Hash, SuppressionKey};
use crate::shared::{Freshness, SETTLE_AFTER_MS, Sharing};
use crate::shelf::{Folder, Shelf};
use crate::subject::{Pseudonyms, Subject};

pub(crate) use entry::{Listed, Stop};
pub use entry::{RequestKind, Suppressed, Wanted};

/// Names of the list's own digest among the hashes of its key.
const DIGEST: &[u8] = b"list";

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    entries: Vec<Suppressed>,
    /// Keyed hash of the entries, so that no flipped bit lets anybody back in.
    check: String,
}

/// The list, shared by the door, the gate and whoever removes, in all processes that have it on one shelf. Cheap to ask
/// while it is empty.
pub struct SuppressionList {
    shelf: Arc<dyn Shelf>,
    name: String,
    ring: Arc<KeyRing>,
    controller: String,
    empty: AtomicBool,
    /// Counts changes.
    version: AtomicU64,
    /// Held by the one that changes the list, file included; what the file held when it was last read.
    changing: Mutex<Option<Vec<u8>>>,
    state: RwLock<State>,
    freshness: Freshness,
    /// Since when this process knows each request that is not done, by the steady clock.
    since: Mutex<HashMap<String, Millis>>,
}

#[derive(Default)]
struct State {
    entries: Vec<Suppressed>,
    /// Requests that the file has held.
    written: HashSet<String>,
    families: HashMap<String, Arc<FamilyList>>,
}

/// What one family must not hold.
pub(crate) struct FamilyList {
    key: SuppressionKey,
    identifiers: HashMap<Hash, Stop>,
    /// With the entries that each pseudonym is of, by index in order of entering.
    pseudonyms: HashMap<Hash, (Stop, Vec<usize>)>,
}

impl FamilyList {
    fn of(key: SuppressionKey) -> Self {
        Self { key, identifiers: HashMap::new(), pseudonyms: HashMap::new() }
    }

    /// What is kept out of whom [`crate::pseudonym::Canonical::write`] or `write_visit` wrote.
    pub(crate) fn identifier(&self, written: &[u8]) -> Option<&Stop> {
        self.identifiers.get(&self.key.identifier(written))
    }

    /// What is kept out of whose pseudonym this is.
    pub(crate) fn pseudonym(&self, pseudonym: &[u8], scratch: &mut Vec<u8>) -> Option<&Stop> {
        self.entries(pseudonym, scratch).map(|(stop, _)| stop)
    }

    fn entries(&self, pseudonym: &[u8], scratch: &mut Vec<u8>) -> Option<&(Stop, Vec<usize>)> {
        self.pseudonyms.get(&self.key.pseudonym(pseudonym, scratch))
    }

    fn add(&mut self, index: usize, entry: &Suppressed) -> Option<()> {
        self.identifiers.entry(from_hexadecimal(&entry.identifier)?).or_default().add(entry);
        for (_, hash) in &entry.pseudonyms {
            let (stop, entries) = self.pseudonyms.entry(from_hexadecimal(hash)?).or_default();
            stop.add(entry);
            entries.push(index);
        }
        Some(())
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
        let (shelf, name) = Folder::of(&path);
        Self::on(Arc::new(shelf), &name, ring, controller, Sharing::Sole)
    }

    /// As [`SuppressionList::open`], on a shelf that others may share: they are seen by [`SuppressionList::refresh`].
    ///
    /// # Errors
    ///
    /// As [`SuppressionList::open`].
    pub fn on(
        shelf: Arc<dyn Shelf>,
        name: &str,
        ring: Arc<KeyRing>,
        controller: &str,
        sharing: Sharing,
    ) -> Result<Self, Error> {
        let list = Self {
            shelf,
            name: name.to_owned(),
            ring,
            controller: controller.to_owned(),
            empty: AtomicBool::new(true),
            version: AtomicU64::new(0),
            changing: Mutex::default(),
            state: RwLock::default(),
            freshness: Freshness::new(sharing, "the suppression list"),
            since: Mutex::default(),
        };
        list.look()?;
        Ok(list)
    }

    /// Reads whom others entered. To be called every [`crate::shared::REFRESH_EVERY_MS`] where many nodes share the list.
    ///
    /// # Errors
    ///
    /// As [`SuppressionList::open`]: what was read before stands, and after [`crate::shared::STALE_AFTER_MS`] nothing may
    /// be taken in by it.
    pub fn refresh(&self) -> Result<(), Error> {
        if !self.freshness.is_shared() {
            return Ok(());
        }
        let began = self.freshness.now();
        self.look()?;
        self.freshness.seen_at(began);
        Ok(())
    }

    fn look(&self) -> Result<(), Error> {
        let mut seen = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.shelf.read(&self.name)?;
        if text.is_some() && text == *seen {
            return Ok(());
        }
        let entries = self.parse(text.as_deref())?;
        self.take_written(entries)?;
        *seen = text;
        Ok(())
    }

    /// Whether whom others entered was read within so many milliseconds; always, where nobody else is.
    #[must_use]
    pub fn is_fresh(&self, within_ms: i64) -> bool {
        self.freshness.is_fresh(within_ms)
    }

    /// # Errors
    ///
    /// [`Error::Stale`] if nothing may be taken in by it now.
    pub(crate) fn usable(&self) -> Result<(), Error> {
        self.freshness.check()
    }

    /// Whether nobody is in it: then there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.empty.load(Ordering::Acquire)
    }

    /// Changes whenever somebody is entered: rows that were made under another version may hold somebody.
    #[must_use]
    pub fn version(&self) -> u64 {
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

    /// Those of [`SuppressionList::pending`] that every node knows by now, or works no more: what is stored of them grows
    /// no longer. All, where nobody else is.
    #[must_use]
    pub fn settled(&self) -> Vec<Suppressed> {
        let pending = self.pending();
        if !self.freshness.is_shared() {
            return pending;
        }
        let now = self.freshness.now();
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let known_for = |entry: &Suppressed| {
            since.get(&entry.request).map_or(0, |since| now.0.saturating_sub(since.0))
        };
        pending.into_iter().filter(|entry| known_for(entry) >= SETTLE_AFTER_MS).collect()
    }

    /// Enters a contributor: from now on what is asked for is kept out of whoever has that identifier. Durable on return.
    ///
    /// `pseudonyms` is called when the identifier is already looked for, so that no key is made and used behind
    /// its back; if it fails, the entry is taken out again. Where there are others it is called again once they can see
    /// the entry, for the keys that they made before.
    ///
    /// # Errors
    ///
    /// What `pseudonyms` gives; [`Error::Io`], after which the entry stands in memory alone at most: call again.
    pub fn enter(
        &self,
        wanted: &Wanted<'_>,
        subject: &Subject,
        since: Millis,
        pseudonyms: impl Fn() -> Result<Pseudonyms, Error>,
    ) -> Result<Suppressed, Error> {
        let mut seen = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.key(subject.family_name(), true)?;
        let hash = hexadecimal(&key.identifier(subject.canonical()));
        let mut entry = Suppressed::of(wanted, subject, since, hash);
        let before = self.entries();
        self.take([before.as_slice(), std::slice::from_ref(&entry)].concat())?;
        let hashes = || -> Result<Vec<(i32, String)>, Error> {
            let mut scratch = Vec::new();
            let pseudonyms = pseudonyms()?;
            let hash = |(epoch, pseudonym): (i32, &Hash)| {
                (epoch, hexadecimal(&key.pseudonym(pseudonym, &mut scratch)))
            };
            Ok(pseudonyms.iter().map(hash).collect())
        };
        entry.pseudonyms = match hashes() {
            Ok(hashes) => hashes,
            Err(error) => {
                self.take(before)?;
                return Err(error);
            }
        };
        entry.pending = true;
        self.change(&mut seen, |entries| put(entries, &entry))?;
        if self.freshness.is_shared() {
            let later = hashes()?;
            if later != entry.pseudonyms {
                entry.pseudonyms = later;
                self.change(&mut seen, |entries| put(entries, &entry))?;
            }
        }
        Ok(entry)
    }

    /// Notes that nothing stored holds these requests' contributors any more. They stay out.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], after which they are still pending.
    pub fn settle(&self, requests: &[String]) -> Result<(), Error> {
        let mut seen = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.change(&mut seen, |entries| {
            for entry in entries {
                entry.pending &= !requests.contains(&entry.request);
            }
        })
    }

    /// Ends those entries of a contributor that `ends` picks, in the name of `request`, and gives them as they are then:
    /// pending where rows are set apart that are to be brought back. Durable on return.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; call again then.
    pub fn lift(
        &self,
        request: &str,
        subject: &Subject,
        ends: impl Fn(&Suppressed) -> bool,
    ) -> Result<Vec<Suppressed>, Error> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let mut seen = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = self.key(subject.family_name(), false)?.identifier(subject.canonical());
        let hash = hexadecimal(&hash);
        let is_own =
            |entry: &Suppressed| entry.family == subject.family_name() && entry.identifier == hash;
        self.change(&mut seen, |entries| {
            for entry in entries.iter_mut().filter(|entry| is_own(entry) && entry.stands()) {
                if ends(entry) {
                    entry.lifted = Some(request.to_owned());
                    entry.pending = entry.sets_apart();
                }
            }
        })?;
        let lifted = |entry: &Suppressed| entry.lifted.as_deref() == Some(request);
        Ok(self.entries().into_iter().filter(lifted).collect())
    }

    /// Ends one request's own entry, which stays pending: whoever it is about is let in again.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn let_in(&self, request: &str) -> Result<(), Error> {
        self.update(request, |entry| entry.lifted = Some(request.to_owned()))
    }

    /// Has rows that are set apart for this request removed now, and never brought back.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn end_window(&self, request: &str) -> Result<(), Error> {
        self.update(request, |entry| {
            entry.until = None;
            entry.pending = true;
        })
    }

    fn update(&self, request: &str, change: impl Fn(&mut Suppressed)) -> Result<(), Error> {
        let mut seen = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.change(&mut seen, |entries| {
            entries.iter_mut().filter(|entry| entry.request == request).for_each(&change);
        })
    }

    /// The entries about a contributor, in order of entering; those that were ended too.
    ///
    /// # Errors
    ///
    /// What the key ring gives.
    pub fn of_subject(&self, subject: &Subject) -> Result<Vec<Suppressed>, Error> {
        if self.is_empty() {
            return Ok(Vec::new());
        }
        let hash = self.key(subject.family_name(), false)?.identifier(subject.canonical());
        let hash = hexadecimal(&hash);
        let mut entries = self.entries();
        entries.retain(|entry| entry.family == subject.family_name() && entry.identifier == hash);
        Ok(entries)
    }

    /// Changes what the shelf holds, whatever others made of it meanwhile, and takes it.
    fn change(
        &self,
        seen: &mut Option<Vec<u8>>,
        change: impl Fn(&mut Vec<Suppressed>),
    ) -> Result<(), Error> {
        let mut after = (Vec::new(), None);
        self.shelf.update(&self.name, &mut |text| {
            let before = self.parse(text)?;
            let mut entries = before.clone();
            change(&mut entries);
            if entries == before {
                after = (entries, text.map(<[u8]>::to_vec));
                return Ok(None);
            }
            let text = self.wire(&entries)?;
            after = (entries, Some(text.clone()));
            Ok(Some(text))
        })?;
        let (entries, text) = after;
        self.take_written(entries)?;
        *seen = text;
        Ok(())
    }

    /// The first standing request, of those that are not done if there is one, by which nothing of the contributor with this
    /// pseudonym may be in `family`.
    #[must_use]
    pub fn request_of(&self, family: &str, pseudonym: &[u8]) -> Option<String> {
        let mut entries = self.standing(family, pseudonym);
        entries.retain(|entry| entry.purposes.is_empty());
        let first = entries.iter().find(|entry| entry.pending).or(entries.first());
        first.map(|entry| entry.request.clone())
    }

    /// The standing entries whose contributor has this pseudonym in `family`, in order of entering.
    #[must_use]
    pub fn standing(&self, family: &str, pseudonym: &[u8]) -> Vec<Suppressed> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let list = state.families.get(family);
        let found = list.and_then(|list| list.entries(pseudonym, &mut Vec::new()));
        let indices = found.map_or(&[][..], |(_, indices)| indices).iter();
        indices.filter_map(|index| state.entries.get(*index)).cloned().collect()
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

    /// What a file holds; nobody, if there is none and nobody was known.
    fn parse(&self, text: Option<&[u8]>) -> Result<Vec<Suppressed>, Error> {
        let damaged = || Error::Suppression(self.shelf.place(&self.name));
        let entries = match text {
            None => Vec::new(),
            Some(text) => {
                let wire: Wire = serde_json::from_slice(text).map_err(|_| damaged())?;
                if wire.format != 1 || wire.check != self.check(&wire.entries, false)? {
                    return Err(damaged());
                }
                wire.entries
            }
        };
        // Nobody is ever taken out, who is let in again neither: an older list, or none, would let people back in.
        let has = |known: &String| entries.iter().any(|entry| entry.request == *known);
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if state.written.iter().all(has) { Ok(entries) } else { Err(damaged()) }
    }

    fn wire(&self, entries: &[Suppressed]) -> Result<Vec<u8>, Error> {
        let check = self.check(entries, true)?;
        let wire = Wire { format: 1, entries: entries.to_vec(), check };
        Ok(serde_json::to_vec_pretty(&wire).expect("texts and numbers are JSON"))
    }

    /// As [`SuppressionList::take`], of what the shelf holds.
    fn take_written(&self, entries: Vec<Suppressed>) -> Result<(), Error> {
        let requests: Vec<String> = entries.iter().map(|entry| entry.request.clone()).collect();
        self.take(entries)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.written.extend(requests);
        Ok(())
    }

    /// Makes `entries` what is asked from now on.
    fn take(&self, entries: Vec<Suppressed>) -> Result<(), Error> {
        let damaged = || Error::Suppression(self.shelf.place(&self.name));
        let mut families: HashMap<String, FamilyList> = HashMap::new();
        for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.stands()) {
            if !families.contains_key(&entry.family) {
                let key = self.key(&entry.family, false)?;
                families.insert(entry.family.clone(), FamilyList::of(key));
            }
            let Some(family) = families.get_mut(&entry.family) else { continue };
            family.add(index, entry).ok_or_else(damaged)?;
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.families = families.into_iter().map(|(name, list)| (name, Arc::new(list))).collect();
        self.empty.store(entries.is_empty(), Ordering::Release);
        let is_same = state.entries.len() == entries.len()
            && state.entries.iter().zip(&entries).all(|(one, other)| one.is_same_as(other));
        let waiting = entries.iter().filter(|entry| entry.pending);
        self.note(waiting.map(|entry| entry.request.clone()).collect());
        state.entries = entries;
        if !is_same {
            self.version.fetch_add(1, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Notes since when requests are known that are not done.
    fn note(&self, waiting: HashSet<String>) {
        let now = self.freshness.now();
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.retain(|request, _| waiting.contains(request));
        for request in waiting {
            since.entry(request).or_insert(now);
        }
    }
}

/// Puts an entry in, in place of what the same request put there before.
fn put(entries: &mut Vec<Suppressed>, entry: &Suppressed) {
    match entries.iter_mut().find(|known| known.request == entry.request) {
        Some(known) => known.clone_from(entry),
        None => entries.push(entry.clone()),
    }
}

#[cfg(test)]
mod nodes;
#[cfg(test)]
mod purposes;
#[cfg(test)]
mod tests;
