//! Records of a topic that somebody else writes: one JSON object each, in a form that a configuration describes.
//!
//! Input: values and timestamps of records. Output: batches for gate 1, and counts. What is accepted of a record is what
//! the native protocol accepts of an event, and is checked by the same code; only where it stands differs. A declared
//! field stands under its own name at the top, or where [`RecordConfig::fields`] says; a path is found in nested objects
//! and in flat ones whose names have dots (`{"client":{"ip":…}}`, `{"client.ip":…}`). Names that the native protocol
//! reserves (`id`, `time`, `consent`, …) mean nothing here unless they are configured: in somebody else's topic `id` may
//! be a customer's. A record that cannot be taken is refused by reason, and costs nothing but itself.

mod config;
mod format;
mod read;
#[cfg(test)]
mod tests;
mod trial;

use std::sync::Arc;

use anonymizer::{RawBatch, Resolver, Signals};
use schemas::access::SourceKind;
use schemas::{Millis, Tally};

use crate::collect::Collector;
use crate::decode::{Cell, Cells, Decoded, Entry, Fault, Limits, Shared, new_state};
use crate::error::Error;
use crate::plan::{Reserved, Word};
use crate::rows::{Received, Report, Sending};

pub use config::RecordConfig;
pub use format::RecordFormat;

/// What the JSON serializers of a schema registry put before the text: a zero, and four bytes that number the schema.
const REGISTRY_BYTES: usize = 5;

/// One record, as a topic has it.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Its value; none is a deletion mark.
    pub value: Option<&'a [u8]>,
    /// Its timestamp, by the producer's clock or the broker's; not every record has one.
    pub timestamp: Option<Millis>,
}

/// Decodes records of one topic into batches for gate 1.
pub struct RecordReader {
    format: Arc<RecordFormat>,
    collector: Collector,
}

impl RecordReader {
    /// A reader for this form of records.
    #[must_use]
    pub fn new(format: Arc<RecordFormat>, resolver: Arc<Resolver>) -> Self {
        let collector = Collector::new(format.plan.package(), resolver, &format.site);
        Self { format, collector }
    }

    /// Takes records; no event is believed to be received later than `now`. Gives what became of them.
    ///
    /// # Errors
    ///
    /// [`Error::Gate`] if a key cannot be made; what was taken before is of no use then.
    pub fn push<'a>(
        &mut self,
        records: impl IntoIterator<Item = Record<'a>>,
        now: Millis,
    ) -> Result<Report, Error> {
        let Self { format, collector } = self;
        collector.set_now(now);
        let decoded = format.decode(records);
        Ok(collector.take_in(&format.plan, &decoded, &sending(now))?)
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

/// Whoever writes the topic speaks for end users, and tells when events were received.
pub(crate) fn sending(now: Millis) -> Sending<'static> {
    Sending {
        kind: SourceKind::Server,
        permitted: None,
        received: Received::Told(now),
        signals: Signals::default(),
    }
}

impl RecordFormat {
    /// Takes records apart, an event each.
    pub fn decode<'a, 'r: 'a>(
        &'a self,
        records: impl IntoIterator<Item = Record<'r>>,
    ) -> Decoded<'a> {
        let event_bytes_max = self.record_bytes_max;
        let mut state = new_state(&self.plan, Limits { events_max: usize::MAX, event_bytes_max });
        for Record { value, timestamp } in records {
            match self.text(value) {
                Ok(text) => state.event_by(|state| read::read(self, state, text)),
                Err(fault) => {
                    let none = state.none(fault);
                    state.cells.events.push(none);
                }
            }
            if let Some(timestamp) = timestamp {
                received(&mut state.cells, timestamp);
            }
        }
        Decoded { cells: state.cells, shared: Shared::default() }
    }

    /// The text of a value that may be an event.
    fn text<'a>(&self, value: Option<&'a [u8]>) -> Result<&'a str, Fault> {
        let value = value.filter(|value| !value.is_empty()).ok_or(Fault::Empty)?;
        if value.len() > self.record_bytes_max {
            return Err(Fault::TooLong);
        }
        // No JSON begins with a zero.
        let text = match value {
            [0, _, _, _, _, ..] => &value[REGISTRY_BYTES..],
            value => value.strip_prefix(b"\xef\xbb\xbf").unwrap_or(value),
        };
        std::str::from_utf8(text).map_err(|_| Fault::NotAnObject)
    }
}

/// Gives the last event the time of receipt that its record does not say itself.
fn received(cells: &mut Cells<'_>, timestamp: Millis) {
    let Some(event) = cells.events.last_mut().filter(|event| event.fault.is_none()) else { return };
    let (word, cell) = (Word::Reserved(Reserved::Received), Cell::Integer(timestamp.0));
    let own = &mut cells.entries[event.entries.clone()];
    match own.iter_mut().find(|entry| entry.word == word) {
        Some(said) if matches!(said.cell, Cell::Null) => said.cell = cell,
        Some(_) => {}
        None => {
            cells.entries.push(Entry { word, cell });
            event.entries.end = cells.entries.len();
        }
    }
}
