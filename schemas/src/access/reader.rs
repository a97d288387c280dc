//! Readers: people and programs that may ask for statistics.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::key::{self, KeyRecord, Secret};
use super::source::describe;
use super::{AccessError, file};
use crate::time::Millis;

const HEADING: &str =
    "# Who may read statistics. Written by `quorate reader`; tokens are kept as hashes only.\n";

/// One reader, with any number of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reader {
    /// For people and for the access ledger.
    pub name: String,
    /// Its tokens, dead ones included.
    #[serde(default, rename = "tokens")]
    pub keys: Vec<KeyRecord>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(default, rename = "reader")]
    readers: Vec<Reader>,
}

/// Everybody who may read.
#[derive(Clone, Debug, Default)]
pub struct Readers {
    readers: Vec<Reader>,
    /// Hash of a living token to the index of its reader.
    living: HashMap<[u8; 32], usize>,
}

impl Readers {
    /// Reads the registry at `path`; where there is no file, nobody may read.
    ///
    /// # Errors
    ///
    /// [`AccessError::File`], or [`AccessError::Malformed`] with a line.
    pub fn load(path: &Path) -> Result<Self, AccessError> {
        let Stored { readers } = file::read(path)?;
        let mut registry = Self { readers, living: HashMap::new() };
        registry.index().map_err(|()| AccessError::Malformed { path: path.to_owned(), line: 0 })?;
        Ok(registry)
    }

    /// Replaces the file at `path` in one step, readable by its owner alone.
    ///
    /// # Errors
    ///
    /// [`AccessError::File`].
    pub fn save(&self, path: &Path) -> Result<(), AccessError> {
        file::write(path, HEADING, &Stored { readers: self.readers.clone() })
    }

    /// Adds a reader, or one more token to one that exists. Gives the token `qr_…` in clear, for this once.
    ///
    /// # Errors
    ///
    /// [`AccessError::Name`] for what cannot be one.
    pub fn add(
        &mut self,
        name: &str,
        now: Millis,
        entropy: [u8; 20],
    ) -> Result<Secret, AccessError> {
        file::check_name(name)?;
        let secret = Secret::new("qr_", entropy);
        if self.living.contains_key(&key::hash(secret.reveal())) {
            return Err(AccessError::Repeated);
        }
        let record = KeyRecord::new(&secret, now);
        match self.readers.iter_mut().find(|reader| reader.name == name) {
            Some(reader) => reader.keys.push(record),
            None => self.readers.push(Reader { name: name.to_owned(), keys: vec![record] }),
        }
        self.index().map_err(|()| AccessError::Repeated)?;
        Ok(secret)
    }

    /// Makes the token of that id worthless from now on or, without one, all of the reader's.
    ///
    /// # Errors
    ///
    /// [`AccessError::Unknown`] if there is nothing alive to revoke.
    pub fn revoke(
        &mut self,
        name: &str,
        key: Option<&str>,
        now: Millis,
    ) -> Result<(), AccessError> {
        let any = self
            .readers
            .iter_mut()
            .find(|reader| reader.name == name)
            .is_some_and(|reader| key::revoke(&mut reader.keys, key, now));
        if !any {
            return Err(AccessError::Unknown(describe(name, key)));
        }
        self.index().map_err(|()| AccessError::Repeated)
    }

    /// The reader that holds the living token `presented`.
    #[must_use]
    pub fn by_token(&self, presented: &str) -> Option<&Reader> {
        self.readers.get(*self.living.get(&key::hash(presented))?)
    }

    /// All of them, in order of addition.
    pub fn iter(&self) -> impl Iterator<Item = &Reader> {
        self.readers.iter()
    }

    /// Builds the lookup anew; fails on a hash that is none, or that two tokens share.
    fn index(&mut self) -> Result<(), ()> {
        self.living.clear();
        for (index, reader) in self.readers.iter().enumerate() {
            for record in &reader.keys {
                let digest = record.digest().ok_or(())?;
                if record.revoked.is_none() && self.living.insert(digest, index).is_some() {
                    return Err(());
                }
            }
        }
        Ok(())
    }
}
