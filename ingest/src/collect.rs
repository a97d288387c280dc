//! Accepted events on their way into batches for gate 1, with what was refused beside them.

use std::sync::Arc;

use anonymizer::{Connection, RawBatch, RawBuilder, RawEvent, Resolved, Resolver};
use schemas::time::{epoch_of, epoch_start};
use schemas::{Family, Millis, Package, Tally};

use crate::decode::Decoded;
use crate::plan::Plan;
use crate::rows::{EndUser, Report, Rows, Sending, assemble, person as person_of};

/// Builders of every family, and counts.
pub(crate) struct Collector {
    resolver: Arc<Resolver>,
    site: String,
    /// What is over by then gets no visit, and no key for it; without it everything does, for an import.
    now: Option<Millis>,
    builders: Vec<RawBuilder>,
    tallies: Vec<Tally>,
}

impl Collector {
    /// One that counts visits under `site`.
    pub(crate) fn new(package: &Arc<Package>, resolver: Arc<Resolver>, site: &str) -> Self {
        let families = package.families.len();
        let builders = (0..families).map(|family| RawBuilder::new(package, family)).collect();
        let tallies = vec![Tally::default(); families + 1];
        Self { resolver, site: site.to_owned(), now: None, builders, tallies }
    }

    /// From now on makes no key for what is too old to be stored at `now`.
    pub(crate) fn set_now(&mut self, now: Millis) {
        self.now = Some(now);
    }

    /// Checks decoded events and takes the good ones.
    ///
    /// # Errors
    ///
    /// If a key cannot be made; nothing is counted then, and what was taken is of no use.
    pub(crate) fn take_in(
        &mut self,
        plan: &Plan,
        decoded: &Decoded<'_>,
        sending: &Sending<'_>,
    ) -> Result<Report, anonymizer::Error> {
        let Self { resolver, site, now, builders, tallies } = self;
        let (now, package) = (*now, plan.package());
        let mut events = Events { resolver, site, now, package, builders, decoded, failed: None };
        let report = assemble(plan, decoded, sending, &mut events);
        if let Some(error) = events.failed {
            return Err(error);
        }
        for (total, tally) in tallies.iter_mut().zip(&report.tallies) {
            total.add(tally);
        }
        Ok(report)
    }

    /// What is counted of no family.
    pub(crate) fn of_no_family(&mut self) -> &mut Tally {
        self.tallies.last_mut().expect("one more than there are families")
    }

    /// Rows taken and not yet given.
    pub(crate) fn rows(&self) -> usize {
        self.builders.iter().map(RawBuilder::rows).sum()
    }

    /// Bytes of these rows, about.
    pub(crate) fn bytes(&self) -> usize {
        self.builders.iter().map(RawBuilder::bytes).sum()
    }

    /// Gives the rows, one batch a family.
    pub(crate) fn batches(&mut self) -> Vec<RawBatch> {
        let filled = self.builders.iter_mut().filter(|builder| builder.rows() > 0);
        filled.map(RawBuilder::finish).collect()
    }

    /// Gives the counts, by family index; under none, of no family.
    pub(crate) fn tallies(&mut self) -> Vec<(Option<usize>, Tally)> {
        let families = self.builders.len();
        let taken = self.tallies.iter_mut().enumerate().filter(|(_, tally)| !tally.is_empty());
        let taken = taken
            .map(|(index, tally)| ((index < families).then_some(index), std::mem::take(tally)));
        taken.collect()
    }
}

/// Events on their way into builders.
struct Events<'i> {
    resolver: &'i Resolver,
    site: &'i str,
    now: Option<Millis>,
    package: &'i Package,
    builders: &'i mut [RawBuilder],
    decoded: &'i Decoded<'i>,
    failed: Option<anonymizer::Error>,
}

impl Rows for Events<'_> {
    fn row(&mut self, family: usize, event: &RawEvent<'_>, index: Option<usize>) {
        if self.failed.is_some() {
            return;
        }
        let declared = &self.package.families[family];
        let person =
            index.filter(|_| self.now.is_none_or(|now| !is_over(declared, event.received, now)));
        let person = person.and_then(|index| person_of(self.decoded, index).ok());
        match resolve(self.resolver, person, self.site, event.received) {
            Ok(resolved) => self.builders[family].append(event, &resolved),
            Err(error) => self.failed = Some(error),
        }
    }
}

/// Whether the epoch in which an event was received is over for so long that no row of it may live.
pub(crate) fn is_over(family: &Family, received: Millis, now: Millis) -> bool {
    let epoch = epoch_of(received, family.epoch_days);
    let end = epoch_start(epoch.saturating_add(1), family.epoch_days);
    end.plus(family.grace_ms()) < now
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
