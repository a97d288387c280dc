//! Holds the ring against its ledger: that what is said to be destroyed is gone, that what lives is what was made, and
//! that no line was changed, left out or cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::Shelves;
use super::file::{self, KeyFile};
use super::ledger::{self, Action, Line};
use super::name::KeyName;
use super::rotate;
use crate::error::Error;
use crate::shelf::Hold;
use crate::vault::Secret;

/// Something that is not as the ledger says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which file, or which line of the ledger.
    pub place: String,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.place, self.what)
    }
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Lines of the ledger.
    pub lines: usize,
    /// Keys that live, each in a file that opens and holds what was made.
    pub alive: usize,
    /// Keys that are destroyed, and in no file of the ring.
    pub destroyed: Vec<KeyName>,
    /// What is wrong; empty if all is as it should be.
    pub findings: Vec<Finding>,
}

/// What the ledger says of one key.
struct Told {
    commitment: String,
    destroyed: bool,
}

/// Reads ring and ledger; changes nothing.
pub(super) fn verify(shelves: &Shelves, kek_file: &Path) -> Result<Verified, Error> {
    let shelf = shelves.ring.as_ref();
    rotate::marker(shelf)?;
    let _held = shelf.hold(Hold::Shared)?;
    let mut look = Look { verified: Verified::default(), told: BTreeMap::new(), shelves };
    if rotate::unfinished(kek_file) {
        look.find(kek_file, "a rotation is unfinished: the next to open the ring finishes it");
        return Ok(look.verified);
    }
    if shelf.read(file::ROTATING)?.is_some() {
        look.find(&shelf.place(file::ROTATING), "a rotation is unfinished where it was begun");
        return Ok(look.verified);
    }
    if !kek_file.exists() {
        return Err(Error::NoKek(kek_file.to_owned()));
    }
    let kek = file::read_kek(kek_file)?;
    let marker = rotate::marker(shelf)?;
    marker.check(&kek, kek_file)?;
    look.lines(marker.id())?;
    look.files(&kek)?;
    Ok(look.verified)
}

struct Look<'a> {
    verified: Verified,
    told: BTreeMap<KeyName, Told>,
    shelves: &'a Shelves,
}

impl Look<'_> {
    fn find(&mut self, path: &Path, what: &'static str) {
        let place = path.display().to_string();
        self.verified.findings.push(Finding { place, what });
    }

    fn find_line(&mut self, number: usize, what: &'static str) {
        let ledger = self.shelves.ledger.place(&self.shelves.ledger_name);
        let place = format!("{}, line {number}", ledger.display());
        self.verified.findings.push(Finding { place, what });
    }

    /// The chain of lines, and what they say of each key.
    fn lines(&mut self, ring: &str) -> Result<(), Error> {
        let bytes = self.shelves.ledger.read_from(&self.shelves.ledger_name, 0)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut before: Option<String> = None;
        let mut chained = false;
        let mut hashes = BTreeSet::new();
        for (number, text) in (1..).zip(text.split_terminator('\n')) {
            self.verified.lines = number;
            let hash = ledger::hash(text);
            let last = before.replace(hash.clone());
            hashes.insert(hash);
            // Torn by a crash: it says nothing, and the next line carries its hash.
            if !text.ends_with('}') {
                continue;
            }
            let Ok(line) = serde_json::from_str::<Line>(text) else {
                self.find_line(number, "it cannot be read");
                continue;
            };
            if line.before.is_none() && (chained || ring_line(&line)) && number > 1 {
                self.find_line(number, "it does not carry the hash of the line before");
            } else if line.before.is_some() && line.before != last {
                self.find_line(number, "the line before is not the one that it was written after");
            }
            chained |= line.before.is_some() || ring_line(&line);
            if ring_line(&line) {
                if line.key != ring {
                    self.find_line(number, "it names another ring");
                }
            } else {
                self.line(number, &line);
            }
        }
        let head = self.shelves.ring.place(file::HEAD);
        match self.shelves.ring.read(file::HEAD)?.map(String::from_utf8) {
            Some(Ok(text)) if hashes.contains(&text) => {}
            Some(_) => self.find(&head, "the last line of the ledger is not in it any more"),
            None if ring.is_empty() => {}
            None => self.find(&head, "it is not there, so that a cut ledger would not be seen"),
        }
        Ok(())
    }

    fn line(&mut self, number: usize, line: &Line) {
        let Some(name) = KeyName::parse(&line.key) else {
            return self.find_line(number, "it names no key");
        };
        let commitment = line.commitment.clone();
        let wrong = match (line.action, self.told.get_mut(&name)) {
            (Action::Ring, _) => None,
            (Action::Created, None) => {
                self.told.insert(name, Told { commitment, destroyed: false });
                None
            }
            (Action::Created, Some(told)) if told.destroyed => {
                Some("a destroyed key is made again")
            }
            (Action::Created | Action::Destroyed, Some(told)) if told.commitment != commitment => {
                Some("the commitment is not that of the key's creation")
            }
            (Action::Created, Some(_)) => None,
            (Action::Destroyed, None) => Some("a key is destroyed that was never made"),
            (Action::Destroyed, Some(told)) => {
                let again = std::mem::replace(&mut told.destroyed, true);
                again.then_some("a key is destroyed a second time")
            }
        };
        if let Some(what) = wrong {
            self.find_line(number, what);
        }
    }

    /// Each file of the ring, and each key that should have one.
    fn files(&mut self, kek: &Secret) -> Result<(), Error> {
        let shelf = &self.shelves.ring;
        let mut seen = BTreeSet::new();
        for file in shelf.list(file::KEYS)? {
            let Some(name) = KeyName::of_path(Path::new(&file)) else {
                self.find(&shelf.place(&file), "it is no key of the ring");
                continue;
            };
            // Destroyed since it was listed: the ledger had said so before, or the next look tells.
            let Some(bytes) = shelf.read(&file)? else { continue };
            self.file(&file, bytes, &name, kek);
            seen.insert(name);
        }
        let missing: Vec<String> = self
            .told
            .iter()
            .filter(|(name, told)| !told.destroyed && !seen.contains(*name))
            .map(|(name, _)| file::key_file(name))
            .collect();
        for file in missing {
            self.find(&shelf.place(&file), "the key lives by the ledger, and its file is gone");
        }
        let gone = self.told.iter().filter(|(name, told)| told.destroyed && !seen.contains(*name));
        self.verified.destroyed = gone.map(|(name, _)| name.clone()).collect();
        Ok(())
    }

    fn file(&mut self, file: &str, bytes: Vec<u8>, name: &KeyName, kek: &Secret) {
        let what = match (self.told.get(name), KeyFile::open(bytes, name, kek)) {
            (Some(told), _) if told.destroyed => {
                "the key is destroyed by the ledger, and here it is"
            }
            (_, Err(_)) => "it does not open: damaged, or of another ring or name",
            (None, Ok(_)) => "the ledger does not tell of it",
            (Some(told), Ok(key)) if key.commitment() != told.commitment => {
                "it is not the key that was made: another commitment"
            }
            (Some(_), Ok(_)) => {
                self.verified.alive += 1;
                return;
            }
        };
        self.find(&self.shelves.ring.place(file), what);
    }
}

fn ring_line(line: &Line) -> bool {
    line.action == Action::Ring
}

#[cfg(test)]
mod tests;
