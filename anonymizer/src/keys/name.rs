//! What a key is for.

use std::fmt;
use std::path::Path;

/// Names one key of the ring.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyName {
    /// Seals the frames of one hour of received time, counted from 1970.
    Seal {
        /// The hour.
        hour: u32,
        /// Counts the keys of the hour, from 0: it gets another when a contributor is erased from its frames.
        generation: u32,
    },
    /// Makes the pseudonyms of one family in one epoch.
    Pseudonym {
        /// The family.
        family: String,
        /// The epoch, as `schemas::time::epoch_of` counts.
        epoch: i32,
    },
    /// Makes the event keys of one family in one generation: a day number divided by the window's days.
    Dedupe {
        /// The family.
        family: String,
        /// The generation.
        generation: i32,
    },
    /// Hashes the contributors of the suppression list; lives as long as objections do.
    Suppression,
    /// Seals rows that are kept apart; destroyed with the last of them.
    Apart {
        /// The id under which they are kept.
        id: String,
    },
}

/// `seal/490000`, `seal/490000/1`, `pseudonym/web/20600`, `dedupe/web/10300`, `suppression`, `apart/<id>`.
impl fmt::Display for KeyName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seal { hour, generation: 0 } => write!(out, "seal/{hour}"),
            Self::Seal { hour, generation } => write!(out, "seal/{hour}/{generation}"),
            Self::Pseudonym { family, epoch } => write!(out, "pseudonym/{family}/{epoch}"),
            Self::Dedupe { family, generation } => write!(out, "dedupe/{family}/{generation}"),
            Self::Suppression => out.write_str("suppression"),
            Self::Apart { id } => write!(out, "apart/{id}"),
        }
    }
}

impl KeyName {
    /// Reads what `Display` writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text == "suppression" {
            return Some(Self::Suppression);
        }
        let (kind, rest) = text.split_once('/')?;
        if kind == "seal" {
            let (hour, generation) = match rest.split_once('/') {
                None => (rest, 0),
                Some((hour, generation)) => (hour, generation.parse().ok()?),
            };
            return Some(Self::Seal { hour: hour.parse().ok()?, generation });
        }
        if kind == "apart" {
            return Some(Self::Apart { id: rest.to_owned() });
        }
        let (family, number) = rest.rsplit_once('/')?;
        let (family, number) = (family.to_owned(), number.parse().ok()?);
        match kind {
            "pseudonym" => Some(Self::Pseudonym { family, epoch: number }),
            "dedupe" => Some(Self::Dedupe { family, generation: number }),
            _ => None,
        }
    }

    /// The name as one part of a path: every byte but letters, digits and `-` is written in hexadecimal, so
    /// that two names never meet in one file.
    pub(crate) fn file_stem(&self) -> String {
        let mut stem = String::new();
        for byte in self.to_string().bytes() {
            match byte {
                b'/' => stem.push('.'),
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => stem.push(char::from(byte)),
                _ => stem.push_str(&format!("_{byte:02x}")),
            }
        }
        stem
    }

    /// The name that a file of the ring is for; none for other files.
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".key")?;
        let mut text = Vec::new();
        let mut bytes = stem.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => text.push(b'/'),
                b'_' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    let digits = std::str::from_utf8(&digits).ok()?;
                    text.push(u8::from_str_radix(digits, 16).ok()?);
                }
                _ => text.push(byte),
            }
        }
        Self::parse(std::str::from_utf8(&text).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_text_and_files() {
        let names = [
            KeyName::Seal { hour: 490_000, generation: 0 },
            KeyName::Seal { hour: 490_000, generation: 12 },
            KeyName::Suppression,
            KeyName::Pseudonym { family: "device_usage".into(), epoch: -3 },
            KeyName::Apart { id: "3d6c9a0e-4b1f".into() },
            KeyName::Dedupe { family: "a/../b".into(), generation: 7 },
            KeyName::Dedupe { family: "é.x".into(), generation: 7 },
        ];
        for name in names {
            assert_eq!(KeyName::parse(&name.to_string()), Some(name.clone()));
            let stem = name.file_stem();
            assert!(!stem.contains('/') && !stem.contains(".."), "{stem}");
            let path = Path::new("keys").join(format!("{stem}.key"));
            assert_eq!(KeyName::of_path(&path), Some(name));
        }
    }

    #[test]
    fn other_files_have_no_name() {
        for path in
            ["ring.json", "keys/.key", "keys/seal.x.key", "keys/seal.7.tmp", "keys/other.7.key"]
        {
            assert_eq!(KeyName::of_path(Path::new(path)), None, "{path}");
        }
    }
}
