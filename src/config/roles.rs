//! What one process does of the whole.

use std::fmt;
use std::str::FromStr;

/// Parts of the service that run in this process; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The port where events are posted; sealed frames into the log.
    pub ingest: bool,
    /// Frames and topics through gate 1 into the tables; gate 2 when a period closes.
    pub worker: bool,
    /// The port where statistics are read.
    pub query: bool,
}

/// What to write for each.
const NAMES: [&str; 3] = ["ingest", "worker", "query"];

impl Roles {
    /// Everything in one process.
    pub const ALL: Self = Self { ingest: true, worker: true, query: true };

    /// Whether it is everything.
    #[must_use]
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Whether keys and the suppression list are needed: whoever seals or opens.
    #[must_use]
    pub fn needs_keys(self) -> bool {
        self.ingest || self.worker
    }

    fn flags(self) -> [bool; 3] {
        [self.ingest, self.worker, self.query]
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self::ALL
    }
}

/// As it is written: `ingest,worker`.
impl fmt::Display for Roles {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.into_iter().zip(self.flags()).filter(|(_, has)| *has);
        out.write_str(&names.map(|(name, _)| name).collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Roles {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut flags = [false; 3];
        for word in text.split(',') {
            let known = NAMES.iter().position(|name| *name == word.trim());
            let role =
                known.ok_or("write one or more of ingest, worker, query, with commas between")?;
            flags[role] = true;
        }
        let [ingest, worker, query] = flags;
        Ok(Self { ingest, worker, query })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_as_they_are_written() {
        for text in ["ingest", "worker,query", "ingest,worker,query"] {
            assert_eq!(text.parse::<Roles>().unwrap().to_string(), text);
        }
        assert_eq!("query, ingest".parse::<Roles>().unwrap().to_string(), "ingest,query");
        assert!("ingest,worker,query".parse::<Roles>().unwrap().is_all());
        for wrong in ["", "ingest,", "all", "Worker"] {
            assert!(wrong.parse::<Roles>().is_err(), "{wrong}");
        }
    }
}
