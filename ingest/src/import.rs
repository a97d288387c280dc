//! History: lines of events whose time of receipt is told and not observed.
//!
//! The same decoding and the same checks as behind the door, so that an imported event gives the row that the live one
//! would have given. Only an operator imports, so events may name their end user.

use std::sync::Arc;

use anonymizer::{RawBatch, Resolver, Signals};
use schemas::access::SourceKind;
use schemas::{Millis, Package, Reason, Tally};

use crate::collect::Collector;
use crate::decode::{Limits, decode};
use crate::error::Error;
use crate::plan::Plan;
use crate::rows::{Received, Sending};

/// Longest accepted line, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Decodes lines of NDJSON into batches for gate 1.
pub struct Importer {
    plan: Plan,
    now: Millis,
    collector: Collector,
}

impl Importer {
    /// An importer that counts visits under `site`, and believes no event to be later than `now`.
    #[must_use]
    pub fn new(package: Arc<Package>, resolver: Arc<Resolver>, site: &str, now: Millis) -> Self {
        let collector = Collector::new(&package, resolver, site);
        Self { plan: Plan::new(package), now, collector }
    }

    /// Takes one line: an event with its `time`, and `received` if that was another; `end_user`, `consent` and
    /// `signals` as they were.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if it broke a rule, which is counted in [`Importer::take_tally`]; [`Error::Gate`] if a key
    /// cannot be made, which is not.
    pub fn push_line(&mut self, line: &[u8]) -> Result<(), Error> {
        let limits = Limits { events_max: 1, event_bytes_max: LINE_BYTES_MAX };
        let too_long = line.len() > LINE_BYTES_MAX;
        let decoded = if too_long { None } else { decode(&self.plan, line, limits).ok() };
        let Some(decoded) = decoded.filter(|decoded| decoded.events() == 1) else {
            let reason = if too_long { Reason::TooLong } else { Reason::Malformed };
            self.collector.of_no_family().refuse(reason);
            return Err(Error::Refused { reason, expected: "one JSON object".to_owned() });
        };
        let sending = Sending {
            kind: SourceKind::Server,
            permitted: None,
            received: Received::Told(self.now),
            signals: Signals::default(),
        };
        let report = self.collector.take_in(&self.plan, &decoded, &sending)?;
        match report.refused.into_iter().next() {
            None => Ok(()),
            Some(refusal) => {
                Err(Error::Refused { reason: refusal.reason, expected: refusal.expected })
            }
        }
    }

    /// Rows decoded and not yet taken.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.collector.rows()
    }

    /// Bytes of the rows decoded and not yet taken, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.collector.bytes()
    }

    /// Gives what was decoded, one batch a family.
    pub fn take(&mut self) -> Vec<RawBatch> {
        self.collector.batches()
    }

    /// Gives what was refused and noted since the last call, by family index; under none, of no family.
    pub fn take_tally(&mut self) -> Vec<(Option<usize>, Tally)> {
        self.collector.tallies()
    }
}
