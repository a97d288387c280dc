//! The ledger of keys: append-only JSON lines, one a creation or destruction. It holds commitments, no keys,
//! and is what makes a destruction final.
//!
//! Each line carries the BLAKE3 hash of the line before, so that none can be changed or left out unseen, and the ring's
//! folder holds the hash of the last, so that the end cannot be cut off. The first line names the ring.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use schemas::Millis;
use serde::{Deserialize, Serialize};

use super::name::KeyName;
use super::{KeyEntry, KeyState, file};
use crate::error::Error;
use crate::shelf::{private, replace, sync_folder};

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Created,
    Destroyed,
    /// The ledger is that of the ring whose id stands for the key.
    Ring,
}

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// RFC 3339.
    at: String,
    pub(super) action: Action,
    pub(super) key: String,
    pub(super) commitment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Hash of the line before, in hexadecimal; lines of before there was a chain have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<String>,
}

impl Line {
    pub(super) fn new(
        at: Millis,
        action: Action,
        key: &KeyName,
        commitment: String,
        why: Option<String>,
    ) -> Self {
        Self { at: at.to_string(), action, key: key.to_string(), commitment, why, before: None }
    }

    fn ring(at: Millis, id: &str) -> Self {
        let (key, commitment) = (id.to_owned(), String::new());
        Self { at: at.to_string(), action: Action::Ring, key, commitment, why: None, before: None }
    }
}

/// What the line after this one carries.
pub(super) fn hash(line: &str) -> String {
    blake3::hash(line.as_bytes()).to_hex().to_string()
}

/// The ledger file, and what has been read of it.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    /// Where the hash of the last line is kept beside the keys.
    head: PathBuf,
    /// Hash of the last line, and the id of the ring, once read.
    last: Option<String>,
    ring: Option<String>,
    /// Bytes read so far, and lines.
    offset: u64,
    lines: usize,
    keys: BTreeMap<KeyName, KeyEntry>,
}

impl Ledger {
    /// Opens the ledger of the ring in `dir` with this id, made if there is none, and reads it.
    ///
    /// # Errors
    ///
    /// [`Error::AnotherRing`] if it is that of another ring.
    pub(super) fn open(path: &Path, dir: &Path, id: &str, now: Millis) -> Result<Self, Error> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            file::create_folder(folder)?;
        }
        let mut options: OpenOptions = private();
        let opened = options.read(true).append(true).create(true).open(path);
        let file = opened.map_err(Error::io("open", path))?;
        sync_folder(path)?;
        let mut ledger = Self {
            path: path.to_owned(),
            file,
            head: file::head_path(dir),
            last: None,
            ring: None,
            offset: 0,
            lines: 0,
            keys: BTreeMap::new(),
        };
        ledger.locked(|ledger| {
            ledger.refresh()?;
            ledger.repair()?;
            match &ledger.ring {
                Some(ring) if ring == id => Ok(()),
                None if id.is_empty() => Ok(()),
                None => ledger.write(Line::ring(now, id)),
                Some(_) => {
                    let (dir, ledger) = (dir.to_owned(), path.to_owned());
                    Err(Error::AnotherRing { dir, ledger })
                }
            }
        })?;
        Ok(ledger)
    }

    /// Keeps other processes from appending meanwhile.
    fn locked<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.file.lock().map_err(Error::io("lock", &self.path))?;
        let done = work(self);
        self.file.unlock().map_err(Error::io("unlock", &self.path))?;
        done
    }

    /// Reads what other processes have appended.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        let mut text = String::new();
        self.file
            .seek(SeekFrom::Start(self.offset))
            .and_then(|_| self.file.read_to_string(&mut text))
            .map_err(Error::io("read", &self.path))?;
        // A last line without an end is still being written, or was torn by a crash.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[..whole].split_terminator('\n') {
            self.lines += 1;
            self.last = Some(hash(line));
            self.take(line).ok_or(Error::Ledger { path: self.path.clone(), line: self.lines })?;
        }
        self.offset += whole as u64;
        Ok(())
    }

    fn take(&mut self, line: &str) -> Option<()> {
        // Torn by a crash, or the end that a repair gave to such a line.
        if !line.ends_with('}') {
            return Some(());
        }
        let line: Line = serde_json::from_str(line).ok()?;
        let at = Millis::parse(&line.at)?;
        let state = match line.action {
            Action::Created => KeyState::Alive,
            Action::Destroyed => KeyState::Destroyed,
            Action::Ring => {
                self.ring.get_or_insert(line.key);
                return Some(());
            }
        };
        let name = KeyName::parse(&line.key)?;
        let entry = self.keys.entry(name.clone()).or_insert(KeyEntry {
            name,
            created: at,
            destroyed: None,
            state,
            commitment: line.commitment,
        });
        if state == KeyState::Destroyed {
            entry.state = state;
            entry.destroyed = Some(at);
        }
        Some(())
    }

    /// Ends a line that a crash tore, so that the next one stands alone. What was torn says nothing: a creation
    /// is entered again from the key's file, a destruction has not begun before its line is durable. Nothing is
    /// cut off, because another process may be appending.
    fn repair(&mut self) -> Result<(), Error> {
        let length = self.file.metadata().map_err(Error::io("read", &self.path))?.len();
        if length > self.offset {
            self.file
                .write_all(b"\n")
                .and_then(|()| self.file.sync_data())
                .map_err(Error::io("repair", &self.path))?;
            self.refresh()?;
        }
        Ok(())
    }

    /// Appends one line. Durable on return.
    pub(super) fn append(&mut self, line: Line) -> Result<(), Error> {
        self.locked(|ledger| {
            ledger.refresh()?;
            ledger.write(line)
        })
    }

    /// As [`Self::append`], for whoever has locked and read the ledger.
    fn write(&mut self, mut line: Line) -> Result<(), Error> {
        line.before.clone_from(&self.last);
        let mut text = serde_json::to_string(&line).expect("texts are JSON");
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io("append to", &self.path))?;
        self.refresh()?;
        let last = self.last.as_deref().unwrap_or_default();
        replace(&self.head, last.as_bytes())
    }

    pub(super) fn knows(&self, name: &KeyName) -> bool {
        self.keys.contains_key(name)
    }

    pub(super) fn is_destroyed(&self, name: &KeyName) -> bool {
        self.keys.get(name).is_some_and(|entry| entry.state == KeyState::Destroyed)
    }

    /// Lines read so far.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    pub(super) fn entries(&self) -> Vec<KeyEntry> {
        self.keys.values().cloned().collect()
    }
}
