//! History: lines of events whose time of receipt is told and not observed.
//!
//! The same decoding and the same checks as behind the door, so that an imported event gives the row that the live one
//! would have given. Only an operator imports, so events may name their end user.

use std::sync::Arc;

use anonymizer::{Connection, RawBatch, RawBuilder, RawEvent, Resolved, Resolver, Signals};
use schemas::access::SourceKind;
use schemas::{Millis, Package, Reason, Tally};

use crate::decode::{Limits, decode};
use crate::error::Error;
use crate::plan::Plan;
use crate::rows::{EndUser, Received, Rows, Sending, assemble, people};

/// Longest accepted line, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// Decodes lines of NDJSON into batches for gate 1.
pub struct Importer {
    plan: Plan,
    resolver: Arc<Resolver>,
    site: String,
    now: Millis,
    builders: Vec<RawBuilder>,
    tallies: Vec<Tally>,
}

impl Importer {
    /// An importer that counts visits under `site`, and believes no event to be later than `now`.
    #[must_use]
    pub fn new(package: Arc<Package>, resolver: Arc<Resolver>, site: &str, now: Millis) -> Self {
        let families = package.families.len();
        let builders = (0..families).map(|family| RawBuilder::new(&package, family)).collect();
        Self {
            plan: Plan::new(package),
            resolver,
            site: site.to_owned(),
            now,
            builders,
            tallies: vec![Tally::default(); families + 1],
        }
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
            let none = self.tallies.len() - 1;
            self.tallies[none].refuse(reason);
            return Err(Error::Refused { reason, expected: "one JSON object".to_owned() });
        };
        let sending = Sending {
            kind: SourceKind::Server,
            permitted: None,
            received: Received::Told(self.now),
            signals: Signals::default(),
        };
        let mut people = people(&decoded);
        let mut line = Line {
            resolver: &self.resolver,
            site: &self.site,
            builders: &mut self.builders,
            person: people.next().flatten(),
            failed: None,
        };
        let report = assemble(&self.plan, &decoded, &sending, &mut line);
        if let Some(error) = line.failed {
            return Err(error.into());
        }
        for (total, tally) in self.tallies.iter_mut().zip(&report.tallies) {
            total.add(tally);
        }
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
        self.builders.iter().map(RawBuilder::rows).sum()
    }

    /// Bytes of the rows decoded and not yet taken, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.builders.iter().map(RawBuilder::bytes).sum()
    }

    /// Gives what was decoded, one batch a family.
    pub fn take(&mut self) -> Vec<RawBatch> {
        let filled = self.builders.iter_mut().filter(|builder| builder.rows() > 0);
        filled.map(RawBuilder::finish).collect()
    }

    /// Gives what was refused and noted since the last call, by family index; under none, of no family.
    pub fn take_tally(&mut self) -> Vec<(Option<usize>, Tally)> {
        let families = self.builders.len();
        let taken = self.tallies.iter_mut().enumerate().filter(|(_, tally)| !tally.is_empty());
        let taken = taken
            .map(|(index, tally)| ((index < families).then_some(index), std::mem::take(tally)));
        taken.collect()
    }
}

/// One line on its way into a builder.
struct Line<'i> {
    resolver: &'i Resolver,
    site: &'i str,
    builders: &'i mut [RawBuilder],
    person: Option<EndUser<'i>>,
    failed: Option<anonymizer::Error>,
}

impl Rows for Line<'_> {
    fn row(&mut self, family: usize, event: &RawEvent<'_>, person: Option<usize>) {
        let person = person.and_then(|_| self.person.take());
        let resolved = resolve(self.resolver, person, self.site, event.received);
        match resolved {
            Ok(resolved) => self.builders[family].append(event, &resolved),
            Err(error) => self.failed = Some(error),
        }
    }
}

/// What may be known of an end user; of nobody without one.
pub(crate) fn resolve(
    resolver: &Resolver,
    person: Option<EndUser<'_>>,
    site: &str,
    received: Millis,
) -> Result<Resolved, anonymizer::Error> {
    let connection = match person {
        Some(EndUser { address, user_agent, language }) => Connection {
            address,
            user_agent: user_agent.to_owned(),
            accept_language: language.to_owned(),
        },
        None => {
            Connection { address: None, user_agent: String::new(), accept_language: String::new() }
        }
    };
    resolver.resolve(connection, site, received)
}
