//! Rows of many requests to few frames: builders that outlive requests, sealed and appended together.
//!
//! One builder a family and partition, behind a lock that is held for one append. A frame goes out when it is full,
//! when its first event has waited for the linger, or when the hour of receipt changes; then there is one seal, one
//! durable append, and one acknowledgement for all the requests in it. What was refused travels in the frame's clear
//! header, so that a refusal is as durable as a row before anybody hears of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anonymizer::{Gate, RawBatch, RawBuilder, RawEvent, Resolved, Sealed};
use schemas::{Millis, Package, Tally};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use transport::{Log, Partition};

use crate::budget::Reservation;
use crate::partition::Partitioner;
use crate::report;
use crate::stats::Stats;

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Not known yet.
    Pending,
    /// It survives a crash.
    Durable,
    /// Nobody knows, or it does not.
    Unknown,
}

/// A frame was not made durable, as far as anybody knows; its events may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotDurable;

/// When frames go out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How long the first event of a frame waits for others.
    pub(crate) linger: Duration,
    /// Bytes of rows at which nobody waits any longer.
    pub(crate) frame_bytes_max: usize,
}

/// Collects rows and makes them durable.
#[derive(Clone)]
pub(crate) struct Batcher {
    inner: Arc<Inner>,
}

struct Inner {
    package: Arc<Package>,
    gate: Arc<Gate>,
    log: Arc<dyn Log>,
    partitioner: Partitioner,
    pace: Pace,
    runtime: Handle,
    /// By family, then partition; behind the families, one row of slots for what has no family.
    slots: Vec<Mutex<Slot>>,
    generations: AtomicUsize,
    flights: Mutex<JoinSet<()>>,
    failures: AtomicUsize,
    stats: Arc<Stats>,
}

/// One family and partition.
struct Slot {
    /// None for what has no family: there are no rows, only counts.
    builder: Option<RawBuilder>,
    open: Option<Open>,
}

/// A frame being filled.
struct Open {
    generation: usize,
    received: Millis,
    tally: Tally,
    fate: watch::Sender<Fate>,
    /// Bytes of the requests in it, given back when its fate is known.
    held: Vec<Arc<Reservation>>,
}

/// A frame on its way out.
struct Flight {
    family: Option<usize>,
    partition: Partition,
    batch: Option<RawBatch>,
    open: Open,
}

impl Batcher {
    /// A batcher on the current runtime; what it leaves out of frames is told to `stats`.
    pub(crate) fn new(
        package: Arc<Package>,
        gate: Arc<Gate>,
        log: Arc<dyn Log>,
        pace: Pace,
        stats: Arc<Stats>,
    ) -> Self {
        let partitions = usize::from(log.partitions());
        let families = (0..package.families.len()).map(Some).chain([None]);
        let slots = families.flat_map(|family| {
            let package = Arc::clone(&package);
            (0..partitions).map(move |_| {
                let builder = family.map(|family| RawBuilder::new(&package, family));
                Mutex::new(Slot { builder, open: None })
            })
        });
        let slots = slots.collect();
        let partitioner = Partitioner::new(log.id(), log.partitions());
        let inner = Inner {
            package,
            gate,
            log,
            partitioner,
            pace,
            runtime: Handle::current(),
            slots,
            generations: AtomicUsize::new(0),
            flights: Mutex::new(JoinSet::new()),
            failures: AtomicUsize::new(0),
            stats,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Begins a request received at `received`, whose bytes are `held` as long as any of its frames is under way.
    pub(crate) fn post(&self, received: Millis, held: Reservation) -> Posting {
        Posting {
            inner: Arc::clone(&self.inner),
            received,
            held: Arc::new(held),
            default: self.inner.partitioner.next(),
            tickets: Vec::new(),
        }
    }

    /// Frames in a row that could not be made durable.
    pub(crate) fn failures(&self) -> usize {
        self.inner.failures.load(Ordering::Relaxed)
    }

    /// Sends everything out, and returns when all of it has arrived or failed.
    pub(crate) async fn drain(&self) {
        for slot in 0..self.inner.slots.len() {
            let mut guard = self.inner.lock(slot);
            self.inner.flush(slot, &mut guard);
        }
        let mut flights = {
            let mut flights = self.inner.flights.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *flights)
        };
        while flights.join_next().await.is_some() {}
    }
}

/// One request: puts rows and refusals into frames, and waits for them.
pub(crate) struct Posting {
    inner: Arc<Inner>,
    received: Millis,
    held: Arc<Reservation>,
    /// The partition of what has no key.
    default: u16,
    tickets: Vec<(usize, watch::Receiver<Fate>)>,
}

impl Posting {
    /// Adds one event. Cannot fail: what is wrong with it has been found before.
    pub(crate) fn append(&mut self, family: usize, event: &RawEvent<'_>, resolved: &Resolved) {
        let inner = Arc::clone(&self.inner);
        let declared = &inner.package.families[family];
        let partition = inner.partitioner.of(declared, event).unwrap_or(self.default);
        self.enter(Some(family), partition, |slot, _| {
            if let Some(builder) = &mut slot.builder {
                builder.append(event, resolved);
            }
        });
    }

    /// Adds what was refused and noted beside the rows of a family, or of none.
    pub(crate) fn count(&mut self, family: Option<usize>, tally: &Tally) {
        if !tally.is_empty() {
            self.enter(family, self.default, |_, total| total.add(tally));
        }
    }

    /// Puts something into the open frame of a family and partition, and takes a ticket for it.
    fn enter(
        &mut self,
        family: Option<usize>,
        partition: u16,
        put: impl FnOnce(&mut Slot, &mut Tally),
    ) {
        let inner = &self.inner;
        let index = inner.slot(family, partition);
        let mut guard = inner.lock(index);
        let is_other_hour = |open: &Open| open.received.hour() != self.received.hour();
        if guard.open.as_ref().is_some_and(is_other_hour) {
            inner.flush(index, &mut guard);
        }
        let mut open = match guard.open.take() {
            Some(open) => open,
            None => inner.open(index, self.received),
        };
        put(&mut guard, &mut open.tally);
        if !self.tickets.iter().any(|(generation, _)| *generation == open.generation) {
            self.tickets.push((open.generation, open.fate.subscribe()));
            open.held.push(Arc::clone(&self.held));
        }
        guard.open = Some(open);
        let bytes = guard.builder.as_ref().map_or(0, RawBuilder::bytes);
        if bytes >= inner.pace.frame_bytes_max {
            inner.flush(index, &mut guard);
        }
    }

    /// Returns once everything that was added would survive a crash.
    pub(crate) async fn durable(self) -> Result<(), NotDurable> {
        for (_, mut fate) in self.tickets {
            let fate = fate.wait_for(|fate| *fate != Fate::Pending).await;
            // A sender that is gone without a word panicked: its frame's fate is unknown.
            match fate.map(|fate| *fate) {
                Ok(Fate::Durable) => {}
                Ok(Fate::Unknown | Fate::Pending) | Err(_) => return Err(NotDurable),
            }
        }
        Ok(())
    }
}

impl Inner {
    fn slot(&self, family: Option<usize>, partition: u16) -> usize {
        let family = family.unwrap_or(self.package.families.len());
        family * usize::from(self.partitioner.partitions()) + usize::from(partition)
    }

    fn lock(&self, slot: usize) -> MutexGuard<'_, Slot> {
        self.slots[slot].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new frame, which goes out after the linger if nothing sends it out before.
    fn open(self: &Arc<Self>, slot: usize, received: Millis) -> Open {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let inner = Arc::clone(self);
        let _detached = self.runtime.spawn(async move {
            tokio::time::sleep(inner.pace.linger).await;
            let mut guard = inner.lock(slot);
            if guard.open.as_ref().is_some_and(|open| open.generation == generation) {
                inner.flush(slot, &mut guard);
            }
        });
        let (fate, _) = watch::channel(Fate::Pending);
        Open { generation, received, tally: Tally::default(), fate, held: Vec::new() }
    }

    /// Sends out what a slot holds.
    fn flush(self: &Arc<Self>, slot: usize, guard: &mut Slot) {
        let Some(open) = guard.open.take() else { return };
        let partitions = usize::from(self.partitioner.partitions());
        let family = slot / partitions;
        let flight = Flight {
            family: (family < self.package.families.len()).then_some(family),
            partition: Partition(u16::try_from(slot % partitions).unwrap_or(0)),
            batch: guard
                .builder
                .as_mut()
                .filter(|builder| builder.rows() > 0)
                .map(RawBuilder::finish),
            open,
        };
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        while flights.try_join_next().is_some() {}
        flights.spawn_on(Arc::clone(self).fly(flight), &self.runtime);
    }

    /// Seals and appends one frame, and tells its requests.
    async fn fly(self: Arc<Self>, flight: Flight) {
        let Flight { family, partition, batch, open } = flight;
        let Open { received, tally, fate, held, .. } = open;
        let gate = Arc::clone(&self.gate);
        if let Some(batch) = &batch {
            let left_out = batch.left_out(&self.package);
            report::notes(&self.package.families[batch.family()].name, &left_out);
            self.stats.note(batch.family(), &left_out);
        }
        tracing::trace!(target: "quorate::moment", "door seal");
        let seal = move || match batch {
            Some(batch) => gate.seal(batch, tally),
            None => gate.seal_tally(family, tally, received),
        };
        let sealed = self.runtime.spawn_blocking(seal).await;
        let is_durable = match sealed {
            Ok(Ok(frame)) => {
                let (hour, generation) = (frame.header().hour, frame.header().generation);
                self.append(partition, frame).await && self.stands(hour, generation)
            }
            Ok(Err(error)) => {
                tracing::error!("a frame could not be sealed: {error}");
                false
            }
            Err(_) => {
                tracing::error!("sealing a frame panicked");
                false
            }
        };
        let outcome = if is_durable { "durable" } else { "unknown" };
        metrics::counter!("quorate_frames_total", "outcome" => outcome).increment(1);
        if is_durable {
            self.failures.store(0, Ordering::Relaxed);
        } else {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        drop(held);
        fate.send_replace(if is_durable { Fate::Durable } else { Fate::Unknown });
    }

    /// Whether a frame in the log will be read: not if its key was given up while it was on its way.
    fn stands(&self, hour: u32, generation: u32) -> bool {
        let stands = self.gate.stands(hour, generation);
        if !stands {
            tracing::warn!(
                "a frame was on its way for so long that its key may be destroyed: its events are to be sent again"
            );
        }
        stands
    }

    async fn append(&self, partition: Partition, frame: Sealed) -> bool {
        let bytes = u32::try_from(frame.as_bytes().len()).unwrap_or(u32::MAX);
        let began = tokio::time::Instant::now();
        match self.log.append(partition, frame).await {
            Ok(_) => {
                metrics::histogram!("quorate_append_seconds").record(began.elapsed());
                metrics::histogram!("quorate_frame_bytes").record(f64::from(bytes));
                true
            }
            Err(error) => {
                tracing::error!(partition = partition.0, "a frame could not be appended: {error}");
                false
            }
        }
    }
}
