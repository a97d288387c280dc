//! The ledger of keys: append-only JSON lines, one a creation or destruction. It holds commitments, no keys,
//! and is what makes a destruction final.
//!
//! Each line carries the BLAKE3 hash of the line before, so that none can be changed or left out unseen, and the ring's
//! folder holds the hash of the last, so that the end cannot be cut off. The first line names the ring.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::Millis;
use serde::{Deserialize, Serialize};

use super::name::KeyName;
use super::{KeyEntry, KeyState, Shelves, file};
use crate::error::Error;
use crate::shelf::Shelf;

/// How often others may be first to append before it is given up.
const TRIES: usize = 200;

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

/// The ledger, and what has been read of it. Nothing waits for a shelf under its lock.
pub(super) struct Ledger {
    shelf: Arc<dyn Shelf>,
    name: String,
    /// Where the hash of the last line is kept, beside the keys.
    ring: Arc<dyn Shelf>,
    read: Mutex<Read>,
}

/// What the lines read so far say.
#[derive(Default)]
pub(super) struct Read {
    /// Hash of the last line, and the id of the ring.
    last: Option<String>,
    ring: Option<String>,
    /// Bytes of whole lines, and lines.
    offset: u64,
    lines: usize,
    /// A last line without an end: torn by a crash, because nobody reads while somebody appends.
    torn: String,
    keys: BTreeMap<KeyName, KeyEntry>,
}

impl Ledger {
    /// Opens the ledger of the ring with this id, made if there is none, and reads it.
    ///
    /// # Errors
    ///
    /// [`Error::AnotherRing`] if it is that of another ring.
    pub(super) fn open(shelves: &Shelves, id: &str, now: Millis) -> Result<Self, Error> {
        let ledger = Self {
            shelf: Arc::clone(&shelves.ledger),
            name: shelves.ledger_name.clone(),
            ring: Arc::clone(&shelves.ring),
            read: Mutex::default(),
        };
        ledger.append(|read| match &read.ring {
            Some(ring) if ring == id => None,
            // Of a ring of before there were ids.
            None if id.is_empty() => None,
            None => Some(Line::ring(now, id)),
            Some(_) => None,
        })?;
        if ledger.read().ring.as_ref().is_some_and(|ring| ring != id) {
            let (dir, ledger) = (shelves.ring.place(""), ledger.place());
            return Err(Error::AnotherRing { dir, ledger });
        }
        Ok(ledger)
    }

    /// The keys that a ledger tells of, whosever it is.
    pub(super) fn told(shelves: &Shelves) -> Result<Vec<KeyEntry>, Error> {
        let ledger = Self {
            shelf: Arc::clone(&shelves.ledger),
            name: shelves.ledger_name.clone(),
            ring: Arc::clone(&shelves.ring),
            read: Mutex::default(),
        };
        ledger.refresh()?;
        let entries = ledger.read().entries();
        Ok(entries)
    }

    pub(super) fn place(&self) -> PathBuf {
        self.shelf.place(&self.name)
    }

    /// What has been read so far.
    pub(super) fn read(&self) -> MutexGuard<'_, Read> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what others have appended.
    pub(super) fn refresh(&self) -> Result<(), Error> {
        for _ in 0..TRIES {
            let at = self.read().offset;
            let tail = self.shelf.read_from(&self.name, at)?;
            let mut read = self.read();
            // Another thread read on meanwhile, perhaps less than is there now.
            if read.offset == at {
                return read.take(&tail).map_err(|line| Error::Ledger { path: self.place(), line });
            }
        }
        Err(Error::Contended(self.place()))
    }

    /// Appends the line that `line` makes of what has been read, if it makes one; asked again when others were first.
    /// Durable on return.
    pub(super) fn append(&self, mut line: impl FnMut(&Read) -> Option<Line>) -> Result<(), Error> {
        for _ in 0..TRIES {
            self.refresh()?;
            let (at, text) = {
                let read = self.read();
                let Some(line) = line(&read) else { return Ok(()) };
                (read.end(), read.text(line))
            };
            if self.shelf.append(&self.name, at, text.as_bytes())? {
                return self.remember();
            }
        }
        Err(Error::Contended(self.place()))
    }

    /// Notes in the ring where the ledger ends. Of several that append at once the one that sees no later line is last.
    fn remember(&self) -> Result<(), Error> {
        let mut noted = None;
        for _ in 0..TRIES {
            self.refresh()?;
            let last = self.read().last.clone();
            if last == noted {
                return Ok(());
            }
            self.ring.replace(file::HEAD, last.as_deref().unwrap_or_default().as_bytes())?;
            noted = last;
        }
        Err(Error::Contended(self.place()))
    }
}

impl Read {
    /// Takes what stands from the offset on; a line that cannot be read is given by its number.
    fn take(&mut self, tail: &[u8]) -> Result<(), usize> {
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = std::str::from_utf8(&tail[..whole]).map_err(|_| self.lines + 1)?;
        for line in text.split_terminator('\n') {
            self.lines += 1;
            self.last = Some(hash(line));
            self.line(line).ok_or(self.lines)?;
        }
        self.offset += whole as u64;
        self.torn = String::from_utf8_lossy(&tail[whole..]).into_owned();
        Ok(())
    }

    fn line(&mut self, line: &str) -> Option<()> {
        // Torn by a crash; the next line carries its hash. What was torn says nothing: a creation is entered again from
        // the key's file, a destruction has not begun before its line is durable.
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

    /// Length of the file as it was read.
    fn end(&self) -> u64 {
        self.offset + self.torn.len() as u64
    }

    /// What to append for a line: an end for a torn one first, so that it stands alone. Nothing is ever cut off.
    fn text(&self, mut line: Line) -> String {
        let mut text = String::new();
        line.before.clone_from(&self.last);
        if !self.torn.is_empty() {
            text.push('\n');
            line.before = Some(hash(&self.torn));
        }
        text.push_str(&serde_json::to_string(&line).expect("texts are JSON"));
        text.push('\n');
        text
    }

    pub(super) fn entry(&self, name: &KeyName) -> Option<&KeyEntry> {
        self.keys.get(name)
    }

    pub(super) fn is_destroyed(&self, name: &KeyName) -> bool {
        self.entry(name).is_some_and(|entry| entry.state == KeyState::Destroyed)
    }

    /// Lines read so far.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    pub(super) fn entries(&self) -> Vec<KeyEntry> {
        self.keys.values().cloned().collect()
    }
}
