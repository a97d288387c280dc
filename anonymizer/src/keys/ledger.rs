//! The ledger of keys: append-only JSON lines, one a creation or destruction. It holds commitments, no keys,
//! and is what makes a destruction final.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use schemas::Millis;
use serde::{Deserialize, Serialize};

use super::name::KeyName;
use super::{KeyEntry, KeyState, file};
use crate::error::Error;

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Created,
    Destroyed,
}

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    /// RFC 3339.
    at: String,
    action: Action,
    key: String,
    commitment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Line {
    pub(super) fn new(
        at: Millis,
        action: Action,
        key: &KeyName,
        commitment: String,
        why: Option<String>,
    ) -> Self {
        Self { at: at.to_string(), action, key: key.to_string(), commitment, why }
    }
}

/// The ledger file, and what has been read of it.
pub(super) struct Ledger {
    path: PathBuf,
    file: File,
    /// Bytes read so far, and lines.
    offset: u64,
    lines: usize,
    keys: BTreeMap<KeyName, KeyEntry>,
}

impl Ledger {
    /// Opens the ledger, made empty if there is none, and reads it.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            file::create_folder(folder)?;
        }
        let mut options: OpenOptions = file::private();
        let opened = options.read(true).append(true).create(true).open(path);
        let file = opened.map_err(Error::io("open", path))?;
        file::sync_folder(path)?;
        let mut ledger =
            Self { path: path.to_owned(), file, offset: 0, lines: 0, keys: BTreeMap::new() };
        ledger.refresh()?;
        ledger.repair()?;
        Ok(ledger)
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
        for line in text[..whole].lines() {
            self.lines += 1;
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
        let name = KeyName::parse(&line.key)?;
        let at = Millis::parse(&line.at)?;
        let state = match line.action {
            Action::Created => KeyState::Alive,
            Action::Destroyed => KeyState::Destroyed,
        };
        let entry = self.keys.entry(name.clone()).or_insert(KeyEntry {
            name,
            created: at,
            state,
            commitment: line.commitment,
        });
        if state == KeyState::Destroyed {
            entry.state = state;
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
    pub(super) fn append(&mut self, line: &Line) -> Result<(), Error> {
        let mut text = serde_json::to_string(line).expect("texts are JSON");
        text.push('\n');
        self.file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(Error::io("append to", &self.path))?;
        self.refresh()
    }

    pub(super) fn knows(&self, name: &KeyName) -> bool {
        self.keys.contains_key(name)
    }

    pub(super) fn is_destroyed(&self, name: &KeyName) -> bool {
        self.keys.get(name).is_some_and(|entry| entry.state == KeyState::Destroyed)
    }

    pub(super) fn entries(&self) -> Vec<KeyEntry> {
        self.keys.values().cloned().collect()
    }
}
