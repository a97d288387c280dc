//! Frames of the log read again, through gate 1 with the policy of today, into the place of what they gave before.
//!
//! It works on a store that nobody else has open. Frames that the tables have not committed are left to the worker. A
//! frame that cannot be opened any more keeps what it gave.

mod beside;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use anonymizer::{AnonymizedBatch, Error, Header, Origin, Sealed};
use anyhow::Context;
use disclosure::Released;
use schemas::{Millis, Reason};
use sink::{Difference, Frame, ManifestContext, Sink};
use transport::Partition;

use crate::frames::{Frames, Read};
use crate::store::Store;

/// Where rows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nowhere: only the differences are counted.
    Nowhere,
    /// Into the tables, in place of what is there.
    Tables,
    /// Into tables of their own below this folder.
    Beside(PathBuf),
}

/// Which frames are read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Those received in these hours since 1970, of every partition.
    Hours(Range<u32>),
    /// Those at these positions of one partition, of whatever hour.
    Positions {
        /// The partition.
        partition: u16,
        /// The positions.
        span: Range<u64>,
    },
}

impl Selection {
    /// The positions of `partition` that are looked at, of those before `end`; none if none are.
    fn span(&self, partition: u16, end: u64) -> Range<u64> {
        match self {
            Self::Hours(_) => 0..end,
            Self::Positions { partition: own, span } if *own == partition => {
                span.start.min(end)..span.end.min(end)
            }
            Self::Positions { .. } => 0..0,
        }
    }

    fn has_hour(&self, hour: u32) -> bool {
        match self {
            Self::Hours(hours) => hours.contains(&hour),
            Self::Positions { .. } => true,
        }
    }

    /// The id of a replay that is given none: the same for the same frames under the same policy.
    #[must_use]
    pub fn default_id(&self, digest: &schemas::Digest) -> String {
        let hour = |hour: u32| {
            let text = Millis::of_hour(hour).to_string();
            text.get(..13).unwrap_or(&text).to_owned()
        };
        let digest = digest.to_string();
        let digest = digest.get(..12).unwrap_or(&digest);
        match self {
            Self::Hours(Range { start, end }) => {
                format!("{}_{}_{digest}", hour(*start), hour(*end))
            }
            Self::Positions { partition, span } => {
                format!("p{partition}_{}_{}_{digest}", span.start, span.end)
            }
        }
    }
}

/// What is replayed, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which frames.
    pub frames: Selection,
    /// Where rows go.
    pub target: Target,
    /// By which a replay that was killed finds where it stopped; letters, digits, `-` and `_`.
    pub id: String,
    /// Rows that are compared, and replaced in one commit; more take more memory.
    pub chunk_rows: usize,
}

/// Frames that were passed over, and their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Frames.
    pub frames: u64,
    /// Their rows.
    pub rows: u64,
}

impl Passed {
    fn add(&mut self, rows: u32) {
        self.frames += 1;
        self.rows += u64::from(rows);
    }
}

/// What a replay found and did, since this call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Frames of the hours asked for, those passed over included.
    pub frames: u64,
    /// Whether it went on where an earlier call had stopped.
    pub resumed: bool,
    /// Frames whose key is destroyed; what they gave stays until its end.
    pub destroyed: Passed,
    /// Frames that cannot be read with the policy or the keys there are; what they gave stays.
    pub unreadable: Passed,
    /// Frames that are damaged in the log or missing there, of whatever hour; what they gave stays.
    pub damaged: u64,
    /// Events past their end in frames that were opened; what they gave stays until it is removed.
    pub expired: u64,
    /// Released periods that come out otherwise now; their new numbers are in place of the old ones.
    pub revised: Vec<Released>,
    /// Differences between what was stored and what the frames give now, by name of the family.
    pub differences: BTreeMap<String, Difference>,
}

/// Replays; `tick` is told how many positions of how many are done.
///
/// # Errors
///
/// Whatever log, gate or tables report. What was committed stands, and the next call with the same id goes on behind it.
pub async fn replay(
    store: &mut Store,
    options: &Options,
    tick: &mut dyn FnMut(u64, u64),
) -> anyhow::Result<Replayed> {
    let beside = match &options.target {
        Target::Beside(folder) => Some(beside::open(store, folder, &options.id).await?),
        Target::Nowhere | Target::Tables => None,
    };
    let partitions = store.log.partitions();
    if let Selection::Positions { partition, .. } = options.frames {
        anyhow::ensure!(partition < partitions, "the log has {partitions} partitions, from 0");
    }
    let (mut spans, mut replayed) = (Vec::new(), Replayed::default());
    for partition in 0..partitions {
        let tables = store.tables()?;
        let done = match (&options.target, &beside) {
            (_, Some(beside)) => beside.next(partition),
            (Target::Tables, _) => tables.replayed(&options.id, partition).await?,
            _ => 0,
        };
        // What the tables have not committed is the worker's.
        let span = options.frames.span(partition, store.tables()?.next(partition));
        if span.is_empty() {
            continue;
        }
        replayed.resumed |= done > span.start;
        spans.push((partition, done.clamp(span.start, span.end)..span.end));
    }
    let hours = hours(store, &options.frames).await?;
    let total = spans.iter().map(|(_, span)| span.end).sum();
    let mut run = Run { store, options, beside, chunk: Chunk::default(), replayed, hours };
    let mut done = 0;
    for (partition, span) in spans {
        let end = span.end;
        run.partition(partition, span, &mut |position| tick(done + position, total)).await?;
        done += end;
    }
    run.finish().await
}

/// The hours in which the frames were received, whether they are replayed in this call or were before.
async fn hours(store: &mut Store, selection: &Selection) -> anyhow::Result<Range<u32>> {
    let (partition, span) = match selection {
        Selection::Hours(hours) => return Ok(hours.clone()),
        Selection::Positions { partition, span } => (*partition, span.clone()),
    };
    let span = span.start..span.end.min(store.tables()?.next(partition));
    let log = Arc::clone(&store.log);
    let mut frames = Frames::within(log.as_ref(), Partition(partition), span);
    let mut met: Option<Range<u32>> = None;
    while let Some(read) = frames.next().await? {
        let Read::Frames(frames) = read else { continue };
        for (_, frame) in frames {
            let hour = frame.header().hour;
            met = Some(match met {
                None => hour..hour + 1,
                Some(met) => met.start.min(hour)..met.end.max(hour + 1),
            });
        }
    }
    Ok(met.unwrap_or(0..0))
}

/// A replay under way.
struct Run<'a> {
    store: &'a mut Store,
    options: &'a Options,
    beside: Option<Sink>,
    chunk: Chunk,
    replayed: Replayed,
    /// Hours in which the frames were received.
    hours: Range<u32>,
}

/// Frames that were opened and not compared yet.
#[derive(Default)]
struct Chunk {
    frames: Vec<Frame>,
    rows: usize,
}

impl Run<'_> {
    async fn partition(
        &mut self,
        partition: u16,
        span: Range<u64>,
        tick: &mut dyn FnMut(u64),
    ) -> anyhow::Result<()> {
        let log = Arc::clone(&self.store.log);
        let mut frames = Frames::within(log.as_ref(), Partition(partition), span.clone());
        while frames.next_position() < span.end {
            tracing::trace!(target: "quorate::moment", "replay read");
            match frames.next().await? {
                None => break,
                Some(Read::Gone(positions)) => {
                    self.replayed.damaged += positions.end - positions.start;
                }
                Some(Read::Frames(frames)) => {
                    for (position, frame) in frames {
                        self.frame(partition, position.0, frame)?;
                        if self.chunk.rows >= self.options.chunk_rows {
                            self.flush(partition, position.0 + 1).await?;
                        }
                    }
                }
            }
            tick(frames.next_position());
        }
        self.flush(partition, span.end).await?;
        tick(span.end);
        Ok(())
    }

    /// Opens a frame and takes its rows through gate 1.
    fn frame(&mut self, partition: u16, position: u64, frame: Sealed) -> anyhow::Result<()> {
        let Header { family, hour, rows, mut tally, .. } = frame.header().clone();
        if !self.options.frames.has_hour(hour) {
            return Ok(());
        }
        self.replayed.frames += 1;
        let origin = Origin { partition, position, import: false };
        let received = u64::from(rows) + tally.ended();
        let mut expired = 0;
        if rows > 0 {
            match self.open(frame, &origin) {
                Ok(batch) => {
                    self.replayed.expired += batch.expired();
                    self.chunk.rows += batch.rows().num_rows();
                    let now = (self.store.clock)();
                    let frame = Frame::new(origin.clone(), batch, &self.store.package, now)?;
                    self.chunk.frames.push(frame);
                }
                Err(Error::Destroyed(_)) => {
                    self.replayed.destroyed.add(rows);
                    expired = u64::from(rows);
                }
                Err(error) if error.is_unreadable() => {
                    self.replayed.unreadable.add(rows);
                    *tally.refused.entry(Reason::Unreadable).or_default() += u64::from(rows);
                }
                Err(error) => return Err(error).context("a frame could not be opened"),
            }
        }
        if let Some(beside) = &mut self.beside {
            let family = family.as_deref().and_then(|name| self.store.package.family(name));
            beside.count(family.map(|(family, _)| family), &origin, &tally, received, expired);
        }
        Ok(())
    }

    fn open(&self, frame: Sealed, origin: &Origin) -> Result<AnonymizedBatch, Error> {
        let batch = self.store.gate.open(frame)?;
        self.store.gate.anonymize(batch, origin, (self.store.clock)())
    }

    /// Compares the frames since the last call with the tables, and does what is to be done about them. All up to `next`
    /// is done then.
    async fn flush(&mut self, partition: u16, next: u64) -> anyhow::Result<()> {
        let Chunk { frames, .. } = std::mem::take(&mut self.chunk);
        let now = (self.store.clock)();
        let context = ManifestContext { geo_build: self.store.resolver.geo_build() };
        let comparison = self.store.tables()?.compare(&frames)?;
        match &self.options.target {
            Target::Nowhere => {}
            Target::Tables => {
                let (tables, id) = (self.store.tables()?, &self.options.id);
                tables.replace(id, (partition, next), &frames, &comparison, now, context).await?;
            }
            Target::Beside(_) => {
                let beside = self.beside.as_mut().context("the tables beside are not open")?;
                beside.write_compared(&frames, &comparison)?;
                beside.commit(&[(partition, next)], now, context).await?;
            }
        }
        for (family, difference) in comparison.differences() {
            let name = &self.store.package.families[family].name;
            self.replayed.differences.entry(name.clone()).or_default().add(difference);
        }
        Ok(())
    }

    /// Computes what was released of those hours again, also where this call changed nothing: one before it, that was
    /// killed, may have.
    async fn finish(mut self) -> anyhow::Result<Replayed> {
        if self.options.target == Target::Tables {
            let Range { start, end } = self.hours;
            let now = (self.store.clock)();
            let received = Millis::of_hour(start)..Millis::of_hour(end);
            let revised = self.store.disclosure.revise(received, now).await;
            self.replayed.revised =
                revised.context("the rows are replaced, what was released of them is not")?;
            self.store.tables()?.finish_replay(&self.options.id).await?;
        }
        Ok(self.replayed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_those_of_one_partition_and_no_further_than_the_tables() {
        let all = Selection::Hours(5..6);
        assert_eq!((all.span(3, 9), all.has_hour(5), all.has_hour(6)), (0..9, true, false));
        let some = Selection::Positions { partition: 1, span: 4..20 };
        assert_eq!((some.span(1, 9), some.span(1, 3)), (4..9, 3..3));
        assert!(some.span(0, 9).is_empty() && some.has_hour(7));
        let digest = schemas::Digest([7; 32]);
        assert_ne!(some.default_id(&digest), all.default_id(&digest));
        assert!(some.default_id(&digest).starts_with("p1_4_20_"));
    }
}
