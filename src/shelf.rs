//! Shelves in object stores: for keys, ledgers, the suppression list, archived policies, the id of a log.
//!
//! An object is whole or not there, and a write with a condition is refused if somebody else was first, which is all that
//! [`Shelf`] asks for. A request whose answer was lost may have happened: what lies there afterwards tells.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anonymizer::shelf::{Change, Held, Hold};
use anonymizer::{Error, Folder, Shelf};
use anyhow::Context;
use object_store::path::Path as Key;
use object_store::{
    Error as Refusal, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    PutResult, UpdateVersion,
};
use storage::{Root, wait};

/// How often an update is tried that others were faster with.
const TRIES: u32 = 40;
/// How often a write is tried whose fate is unknown.
const SWAPS: u32 = 3;
/// Longest pause between two tries; they begin with a fortieth of it.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A prefix of an object store as a shelf.
pub struct Objects {
    root: Root,
    store: Arc<dyn ObjectStore>,
    /// Size and tag of what was read last of each name that is read on from where it ended.
    ends: Mutex<HashMap<String, (u64, String)>>,
}

/// An object as it was read.
struct Object {
    bytes: Vec<u8>,
    version: UpdateVersion,
}

impl Objects {
    /// The shelf below a root, after a look whether the store refuses second writers and forgets what is deleted.
    ///
    /// # Errors
    ///
    /// What [`Root::probe`] finds.
    pub fn open(root: Root) -> anyhow::Result<Self> {
        let probed = root.clone();
        wait(async move { probed.probe().await })??;
        let store = root.store();
        Ok(Self { root, store, ends: Mutex::default() })
    }

    fn failed(&self, doing: &'static str, name: &str) -> impl Fn(io::Error) -> Error {
        let path = self.place(name);
        move |source| Error::Io { doing, path: path.clone(), source }
    }

    fn key(&self, name: &str) -> Result<Key, Error> {
        self.root.join(name).prefix().map_err(self.failed("name", name))
    }

    /// Makes one request on the threads of object stores.
    fn ask<T, F>(&self, ask: impl FnOnce(Arc<dyn ObjectStore>) -> F) -> io::Result<Answer<T>>
    where
        T: Send + 'static,
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        wait(ask(Arc::clone(&self.store)))
    }

    fn get(&self, name: &str, unless: Option<String>) -> Result<Answer<Object>, Error> {
        let key = self.key(name)?;
        let get = move |store: Arc<dyn ObjectStore>| async move {
            let options = GetOptions { if_none_match: unless, ..GetOptions::default() };
            let answer = store.get_opts(&key, options).await?;
            let version = UpdateVersion {
                e_tag: answer.meta.e_tag.clone(),
                version: answer.meta.version.clone(),
            };
            Ok(Object { bytes: answer.bytes().await?.to_vec(), version })
        };
        self.ask(get).map_err(self.failed("read", name))
    }

    fn find(&self, name: &str) -> Result<Option<Object>, Error> {
        match self.get(name, None)? {
            Ok(object) => Ok(Some(object)),
            Err(Refusal::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed("read", name)(error.into())),
        }
    }

    fn put(&self, name: &str, bytes: &[u8], mode: PutMode) -> Result<Answer<PutResult>, Error> {
        let (key, payload) = (self.key(name)?, PutPayload::from(bytes.to_vec()));
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = move |store: Arc<dyn ObjectStore>| async move {
            store.put_opts(&key, payload, options).await
        };
        self.ask(put).map_err(self.failed("write", name))
    }

    /// Writes `bytes` in place of what was read; false if something else lies there by now.
    fn swap(&self, name: &str, before: Option<Object>, bytes: &[u8]) -> Result<bool, Error> {
        let before_bytes = before.as_ref().map(|before| before.bytes.clone());
        let mode = match before {
            None => PutMode::Create,
            Some(before) => PutMode::Update(before.version),
        };
        for attempt in 0..SWAPS {
            let refused = match self.put(name, bytes, mode.clone())? {
                Ok(_) => return Ok(true),
                // Somebody was first, or an attempt of our own whose answer was lost.
                Err(refused) if is_condition(&refused) => {
                    return Ok(attempt > 0 && self.holds(name, bytes)?);
                }
                Err(refused) => refused,
            };
            let there = self.find(name)?.map(|object| object.bytes);
            if there.as_deref() == Some(bytes) {
                return Ok(true);
            }
            if there != before_bytes {
                return Ok(false);
            }
            if attempt + 1 == SWAPS {
                return Err(self.failed("write", name)(refused.into()));
            }
            pause(attempt);
        }
        Ok(false)
    }

    fn holds(&self, name: &str, bytes: &[u8]) -> Result<bool, Error> {
        Ok(self.find(name)?.is_some_and(|object| object.bytes == bytes))
    }
}

type Answer<T> = Result<T, Refusal>;

/// Whether a write was refused because of its condition.
fn is_condition(error: &Refusal) -> bool {
    matches!(
        error,
        Refusal::AlreadyExists { .. } | Refusal::Precondition { .. } | Refusal::NotModified { .. }
    )
}

fn pause(attempt: u32) {
    std::thread::sleep(PAUSE_MAX / TRIES * (attempt + 1).min(TRIES));
}

impl Shelf for Objects {
    fn place(&self, name: &str) -> PathBuf {
        self.root.join(name).to_string().into()
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.find(name)?.map(|object| object.bytes))
    }

    fn read_from(&self, name: &str, at: u64) -> Result<Vec<u8>, Error> {
        let known = self.ends.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let unless = known.filter(|(size, _)| *size == at && at > 0).map(|(_, tag)| tag);
        let object = match self.get(name, unless)? {
            Ok(object) => object,
            Err(Refusal::NotFound { .. } | Refusal::NotModified { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(self.failed("read", name)(error.into())),
        };
        if let Some(tag) = object.version.e_tag {
            let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
            ends.insert(name.to_owned(), (object.bytes.len() as u64, tag));
        }
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        Ok(object.bytes.get(at..).unwrap_or_default().to_vec())
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, Error> {
        self.swap(name, None, bytes)
    }

    fn append(&self, name: &str, at: u64, bytes: &[u8]) -> Result<bool, Error> {
        let before = self.find(name)?;
        let there = before.as_ref().map_or(&[][..], |before| &before.bytes);
        if there.len() as u64 != at {
            return Ok(false);
        }
        let after = [there, bytes].concat();
        self.swap(name, before, &after)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let put = self.put(name, bytes, PutMode::Overwrite)?;
        put.map(drop).map_err(|error| self.failed("write", name)(error.into()))
    }

    fn update(&self, name: &str, change: &mut Change<'_>) -> Result<(), Error> {
        for attempt in 0..TRIES {
            let before = self.find(name)?;
            let Some(after) = change(before.as_ref().map(|before| before.bytes.as_slice()))? else {
                return Ok(());
            };
            if self.swap(name, before, &after)? {
                return Ok(());
            }
            pause(attempt);
        }
        Err(Error::Contended(self.place(name)))
    }

    fn wipe(&self, name: &str) -> Result<bool, Error> {
        let Some(object) = self.find(name)? else { return Ok(false) };
        let failed = self.failed("destroy", name);
        let zeros = self.put(name, &vec![0; object.bytes.len()], PutMode::Overwrite)?;
        let zeros = zeros.map_err(|error| failed(error.into()))?;
        let key = self.key(name)?;
        // Some stores number what they do not keep: only asking tells.
        let delete = move |store: Arc<dyn ObjectStore>| async move {
            store.delete(&key).await?;
            let Some(version) = zeros.version else { return Ok(false) };
            let options = GetOptions { version: Some(version), ..GetOptions::default() };
            match store.get_opts(&key, options).await {
                Err(Refusal::NotFound { .. }) => Ok(false),
                Ok(_) => Ok(true),
                Err(error) => Err(error),
            }
        };
        let kept = self.ask(delete).map_err(&failed)?.map_err(|error| failed(error.into()))?;
        if kept { Err(Error::Versions(self.place(name))) } else { Ok(true) }
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let (key, failed) = (self.key(folder)?, self.failed("list", folder));
        let list = move |store: Arc<dyn ObjectStore>| async move {
            store.list_with_delimiter(Some(&key)).await
        };
        let found = self.ask(list).map_err(&failed)?.map_err(|error| failed(error.into()))?;
        let names = found.objects.iter().filter_map(|object| object.location.filename());
        let mut names: Vec<String> = match folder {
            "" => names.map(str::to_owned).collect(),
            folder => names.map(|name| format!("{folder}/{name}")).collect(),
        };
        names.sort_unstable();
        Ok(names)
    }

    fn sweep(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn hold(&self, _: Hold) -> Result<Option<Held>, Error> {
        Ok(None)
    }
}

/// The shelf in a root.
///
/// # Errors
///
/// If an object store does not do for it: it keeps versions, say.
pub fn of(root: &Root) -> anyhow::Result<Arc<dyn Shelf>> {
    match root.as_folder() {
        Some(folder) => Ok(Arc::new(Folder::new(folder.to_owned()))),
        None => {
            let shelf = Objects::open(root.clone());
            Ok(Arc::new(shelf.with_context(|| format!("{root} cannot be used"))?))
        }
    }
}

#[cfg(test)]
mod tests;
