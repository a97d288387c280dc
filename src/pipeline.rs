//! The worker: frames from the log through gate 1 into the tables, and periods through gate 2 when they close.
//!
//! One task owns the tables, so commits, compaction, removal and release never meet.

mod asking;
mod damage;
mod holds;
mod others;
mod patience;
#[cfg(feature = "kafka")]
mod records;
pub(crate) mod removal;
mod rights;

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anonymizer::{AnonymizedBatch, Error, Header, Origin, Sealed};
use anyhow::Context;
use futures::FutureExt;
use schemas::time::MINUTE_MS;
use schemas::{Millis, Note, Reason, Tally};
use sink::{IMPORT, ManifestContext, OutcomeRow, Own, SinkError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use transport::{Log, LogError, Partition, Position};

pub(crate) use self::asking::Asking;
use self::damage::{Damage, Gone};
use self::others::Others;
pub(crate) use self::patience::{Patience, Stage};
use crate::frames::READ_BYTES_MAX;
use crate::hold::Posted;
use crate::store::Store;
use crate::streams::{Records, appended};
use crate::subject::Stored;

pub mod watch;

#[cfg(test)]
mod tests;

/// How long a request may be on its way from its received time into the log: what is older, and not in the log,
/// was not acknowledged in time to count.
const IN_FLIGHT_MS: i64 = MINUTE_MS;
/// Wait after another worker took over, before the groups are asked again: they may not have said it yet.
const TAKEN_OVER_WAIT: Duration = Duration::from_secs(1);
/// How long a worker that is to end may get nothing done. Questions to brokers that hang take 10 s each.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 25 });
/// Longest wait after a failed round, in seconds.
const FAILURE_WAIT_MAX_S: u64 = 30;

/// What the worker tells others while it works.
#[derive(Default)]
pub struct Progress {
    /// Everything received before this was committed, in milliseconds since 1970.
    complete_until_ms: AtomicI64,
    /// When the last commit was made, likewise; zero before the first.
    committed_ms: AtomicI64,
    /// Frames in the log that are not committed.
    backlog_frames: AtomicU64,
    /// Failed rounds since the last good one.
    failures: AtomicU64,
    /// For each own partition the position after the last committed record; empty before the tables are open.
    positions: Mutex<BTreeMap<u16, u64>>,
    /// What became of every event, by the ledger; empty before the tables are open.
    outcomes: Mutex<Vec<OutcomeRow>>,
    /// What the watch saw last.
    seen: Mutex<watch::Seen>,
    /// Frames that could not be read and were passed over since the start.
    lost_frames: AtomicU64,
    /// How far a stop is, and what the worker has done: who waits for its end looks here.
    patience: Patience,
}

impl Progress {
    /// How far a stop is.
    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// For each partition that this process reads the position after the last committed record.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<u16, u64> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_positions(&self, positions: &BTreeMap<u16, u64>) {
        let mut known = self.positions.lock().unwrap_or_else(PoisonError::into_inner);
        known.clone_from(positions);
    }

    /// What became of every event, by the ledger as it was last committed.
    #[must_use]
    pub fn outcomes(&self) -> Vec<OutcomeRow> {
        self.outcomes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_outcomes(&self, outcomes: Vec<OutcomeRow>) {
        *self.outcomes.lock().unwrap_or_else(PoisonError::into_inner) = outcomes;
    }

    /// What the watch saw last: how long acknowledged events still live, and whether the clock is trusted.
    #[must_use]
    pub fn seen(&self) -> watch::Seen {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_seen(&self, seen: watch::Seen) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
    }

    /// Everything received before this was committed; none while this process cannot tell.
    #[must_use]
    pub fn complete_until(&self) -> Option<Millis> {
        Some(Millis(self.complete_until_ms.load(Ordering::Relaxed))).filter(|time| time.0 > 0)
    }

    fn set_complete_until(&self, time: Millis) {
        self.complete_until_ms.store(time.0, Ordering::Relaxed);
    }

    /// When the last commit was made, if there was one.
    #[must_use]
    pub fn committed(&self) -> Option<Millis> {
        Some(Millis(self.committed_ms.load(Ordering::Relaxed))).filter(|time| time.0 > 0)
    }

    /// Frames in the log that are not committed.
    #[must_use]
    pub fn backlog_frames(&self) -> u64 {
        self.backlog_frames.load(Ordering::Relaxed)
    }

    /// Failed rounds since the last good one.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Acknowledged frames that could not be read and were passed over since the start.
    #[must_use]
    pub fn lost_frames(&self) -> u64 {
        self.lost_frames.load(Ordering::Relaxed)
    }
}

/// Somebody was entered in the suppression list since the rows were made that were to be committed.
#[derive(Debug)]
struct Outdated;

impl std::fmt::Display for Outdated {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(
            "the suppression list changed: what was read since the last commit is read again",
        )
    }
}

impl std::error::Error for Outdated {}

/// Whether another writer took over what this one committed to.
fn is_fenced(error: &anyhow::Error) -> bool {
    let fenced = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref().is_some_and(|error| matches!(error, SinkError::Fenced { .. }))
    };
    error.chain().any(fenced)
}

/// What others ask of the worker.
pub enum Request {
    /// Commit all that the log holds now, then answer.
    Drain(oneshot::Sender<()>),
    /// Drain, then release, compact and remove what is due, then answer with the number of releases.
    Maintain(oneshot::Sender<usize>),
    /// Remove what is stored of suppressed contributors, then answer.
    Remove(oneshot::Sender<()>),
    /// Read what is stored of a contributor, then answer; the error is for who asked.
    Stored {
        /// Index of the family.
        family: usize,
        /// The pseudonyms that its rows can have.
        own: HashSet<[u8; 16]>,
        /// Who asked.
        done: oneshot::Sender<Result<Stored, String>>,
    },
    /// Do what is asked about legal holds, then answer; the error is for who asked.
    Hold(Posted, oneshot::Sender<Result<serde_json::Value, String>>),
}

/// Owns the tables, or its part of them; see the module.
pub struct Worker {
    store: Store,
    /// Where to read on, by own partition.
    cursors: BTreeMap<u16, u64>,
    /// The suppression list's version since which rows were read that are not committed.
    list_version: u64,
    /// What has to be committed for everything to be complete, as far as others commit it.
    others: Others,
    progress: Arc<Progress>,
    damage: Damage,
}

impl Worker {
    /// A worker that reads on where the tables say.
    ///
    /// # Errors
    ///
    /// If the tables are closed.
    pub fn new(store: Store, progress: Arc<Progress>) -> anyhow::Result<Self> {
        let (cursors, others) = (BTreeMap::new(), Others::default());
        let list_version = store.gate.list_version();
        let mut worker =
            Self { store, cursors, list_version, others, progress, damage: Damage::default() };
        worker.rewind()?;
        Ok(worker)
    }

    /// The store, for what happens before or after the work.
    pub fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// Reads on where the tables say.
    fn rewind(&mut self) -> anyhow::Result<()> {
        self.list_version = self.store.gate.list_version();
        let own: Vec<u16> = self.store.own().partitions.iter().copied().collect();
        self.cursors.clear();
        if !own.is_empty() {
            let tables = self.store.tables()?;
            let log = own.into_iter().filter(|partition| *partition != IMPORT);
            self.cursors = log.map(|partition| (partition, tables.next(partition))).collect();
            self.progress.set_outcomes(tables.outcomes());
        }
        self.progress.set_positions(&self.cursors);
        Ok(())
    }

    /// Works until every sender of `requests` is gone or the service stops, then commits what is left, as long as it gets
    /// on with it.
    ///
    /// A failed round is reported, waited out and tried again: events stay in the log meanwhile.
    pub async fn run(mut self, requests: mpsc::Receiver<Request>) -> Self {
        let progress = Arc::clone(&self.progress);
        let patience = async {
            progress.patience().ending().await;
            progress.patience().run_out(PATIENCE).await
        };
        let is_done = tokio::select! {
            () = self.work(requests) => true,
            _ = patience => false,
        };
        if !is_done {
            // Whatever it was about to commit is void.
            self.store.close_tables();
            tracing::error!(
                "not all was committed before the stop, events stay in the log: nothing got on for {PATIENCE:?}"
            );
        }
        self
    }

    async fn work(&mut self, mut requests: mpsc::Receiver<Request>) {
        let progress = Arc::clone(&self.progress);
        let commit_every = Duration::from_secs(self.store.config.sink.commit_every_s);
        let maintain_every = Duration::from_secs(self.store.config.sink.maintain_every_s);
        let mut commit_at = Instant::now() + commit_every;
        let mut maintain_at = Instant::now();
        loop {
            let feeds = self.store.streams.feeds().to_vec();
            let request = tokio::select! {
                // In this order: who stops begins no round that can fail for long.
                biased;
                () = progress.patience().ending(), if !requests.is_closed() => {
                    requests.close();
                    continue;
                }
                request = requests.recv() => match request {
                    Some(request) => Some(request),
                    None => break,
                },
                () = self.store.streams.changed() => {
                    let round = AssertUnwindSafe(self.rebalance()).catch_unwind().await;
                    let round = round.unwrap_or_else(|_| Err(anyhow::anyhow!("a panic")));
                    if !self.settle(round).await {
                        return;
                    }
                    continue;
                }
                () = appended(&feeds) => None,
                () = tokio::time::sleep_until(commit_at.min(maintain_at)) => None,
            };
            let round = async {
                match request {
                    // Who asked may have gone away; the work is done all the same.
                    Some(Request::Drain(done)) => self.drain().await.map(|()| _ = done.send(())),
                    Some(Request::Maintain(done)) => {
                        self.maintain().await.map(|released| _ = done.send(released))
                    }
                    Some(Request::Remove(done)) => {
                        self.remove_suppressed().await.map(|()| _ = done.send(()))
                    }
                    Some(Request::Stored { family, own, done }) => {
                        match self.stored(family, &own).await {
                            Ok(stored) => {
                                drop(done.send(Ok(stored)));
                                Ok(())
                            }
                            Err(error) => {
                                drop(done.send(Err(format!("{error:#}"))));
                                Err(error)
                            }
                        }
                    }
                    Some(Request::Hold(posted, done)) => {
                        let held = self.hold(posted).await;
                        drop(done.send(match &held {
                            Ok(answer) => Ok(answer.clone()),
                            Err(error) => Err(format!("{error:#}")),
                        }));
                        // What is not allowed is no failure of the worker.
                        let is_sound = self.store.tables().is_ok_and(|tables| !tables.has_failed());
                        if is_sound { Ok(()) } else { held.map(drop) }
                    }
                    None if Instant::now() >= maintain_at => {
                        maintain_at = Instant::now() + maintain_every;
                        self.maintain().await.map(drop)
                    }
                    None if Instant::now() >= commit_at => {
                        commit_at = Instant::now() + commit_every;
                        self.drain().await
                    }
                    None => self.read().await.map(drop),
                }
            };
            // A library that panics over a disk that failed must not take the worker with it.
            let round = AssertUnwindSafe(round).catch_unwind().await;
            let round = round.unwrap_or_else(|_| Err(anyhow::anyhow!("a panic")));
            if !self.settle(round).await {
                return;
            }
            tracing::trace!(target: "quorate::moment", "worker idle");
        }
        if let Err(error) = self.drain().await {
            tracing::error!(
                "not all was committed before the stop, events stay in the log: {error:#}"
            );
        }
    }

    /// Reports a failed round, lets a moment pass before the next one, unless that is the last, and makes void what it left
    /// uncommitted. Gives whether to go on: a worker that is to end leaves what fails to those who share its work.
    async fn settle(&mut self, round: anyhow::Result<()>) -> bool {
        let Err(error) = round else {
            self.progress.failures.store(0, Ordering::Relaxed);
            return true;
        };
        if error.is::<Outdated>() {
            // Somebody objects: what was read without knowing is void, and read again at once.
            tracing::info!("{error}");
            self.reopen(false).await;
            return true;
        }
        if self.store.streams.is_shared() && is_fenced(&error) {
            // Somebody else has these partitions by now: what is void here is read there.
            tracing::info!("another worker took over: {error:#}");
            tokio::time::sleep(TAKEN_OVER_WAIT).await;
            if let Err(error) = self.take_over().await {
                tracing::error!("the tables cannot be opened again: {error:#}");
            }
            return true;
        }
        let failures = self.progress.failures.fetch_add(1, Ordering::Relaxed) + 1;
        metrics::counter!("quorate_worker_failures_total").increment(1);
        tracing::error!(failures, "the worker's round failed, events stay in the log: {error:#}");
        let wait_until = Instant::now() + Duration::from_secs(failures.min(FAILURE_WAIT_MAX_S));
        let ending = self.progress.patience().ending();
        drop(tokio::time::timeout_at(wait_until, ending).await);
        if self.progress.patience().is_ending() && self.store.streams.is_shared() {
            self.store.close_tables();
            return false;
        }
        let index = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<SinkError>().is_some_and(SinkError::is_damaged_index)
        };
        let rebuild = error.chain().any(index);
        self.reopen(rebuild).await;
        true
    }

    async fn reopen(&mut self, rebuild: bool) {
        let reopened = self.store.reopen_tables(rebuild).await.and_then(|()| self.rewind());
        if let Err(error) = reopened {
            tracing::error!("the tables cannot be opened again: {error:#}");
        }
    }

    /// Commits what it can, gives back what the groups want back, and takes what they give.
    ///
    /// Nothing is read of a partition before the tables are open for it, which shuts out whoever read it before.
    async fn rebalance(&mut self) -> anyhow::Result<()> {
        let own = self.store.streams.own();
        if own == *self.store.own() && self.store.tables().is_ok() != own.partitions.is_empty() {
            self.store.streams.release();
            return Ok(());
        }
        tracing::trace!(target: "quorate::moment", "worker rebalance");
        if let Err(error) = self.commit().await {
            // Void here, and read again by whoever has it now.
            tracing::info!("what was read of partitions given up is left to others: {error:#}");
        }
        self.take_over().await?;
        let Own { partitions, maintainer, .. } = self.store.own();
        tracing::info!(partitions = partitions.len(), maintainer, "this worker's share changed");
        Ok(())
    }

    async fn take_over(&mut self) -> anyhow::Result<()> {
        self.others = Others::default();
        self.progress.set_complete_until(Millis(0));
        self.store.take_over().await?;
        self.rewind()
    }

    /// Reads what the streams hold into open files; commits early when they grow large.
    async fn read(&mut self) -> anyhow::Result<bool> {
        let (mut any, mut failed) = (false, None);
        let own: Vec<(u16, u64)> = self.cursors.iter().map(|(p, next)| (*p, *next)).collect();
        for (partition, from) in own {
            let Some(feed) = self.store.streams.of(partition).cloned() else { continue };
            let read = match &feed.from {
                Records::Log(log) => self.read_frames(log.as_ref(), partition, from).await,
                #[cfg(feature = "kafka")]
                Records::Topic(source) => match self.read_records(source, partition, from).await {
                    Err(error) if error.downcast_ref::<LogError>().is_some() => {
                        failed.get_or_insert(error);
                        Ok(false)
                    }
                    read => read,
                },
            };
            if read? {
                any = true;
                self.progress.patience().step();
            }
            if self.store.tables()?.is_full() {
                self.commit().await?;
            }
        }
        match failed {
            // A topic of others that cannot be read keeps nothing else from being committed.
            Some(error) if !any => {
                self.commit().await?;
                Err(error)
            }
            Some(_) | None => Ok(any),
        }
    }

    /// Frames of our log, whose partitions are numbered as the log numbers them.
    async fn read_frames(
        &mut self,
        log: &dyn Log,
        partition: u16,
        from: u64,
    ) -> anyhow::Result<bool> {
        let frames = match log.read(Partition(partition), Position(from), READ_BYTES_MAX).await {
            Ok(frames) => frames,
            Err(error) => {
                self.pass_over(error)?;
                return Ok(true);
            }
        };
        let any = !frames.is_empty();
        for (position, frame) in frames {
            self.frame(log, partition, position, frame).await?;
            self.cursors.insert(partition, position.0 + 1);
        }
        Ok(any)
    }

    /// Passes over frames that cannot be read again and again, and counts them in the ledger; any other failure ends
    /// the round.
    fn pass_over(&mut self, error: LogError) -> anyhow::Result<()> {
        let Some(Gone { partition, positions, is_new }) = self.damage.meet(&error) else {
            return Err(error.into());
        };
        if is_new {
            tracing::error!(
                partition,
                from = positions.start,
                to = positions.end,
                "passed over, with all events in it: {error}"
            );
            self.progress.lost_frames.store(self.damage.frames(), Ordering::Relaxed);
        }
        let mut tally = Tally::default();
        tally.note(Note::LostFrames, positions.end - positions.start);
        let origin = Origin { partition, position: positions.start, import: false };
        self.store.tables()?.count(None, &origin, &tally, 0, 0);
        self.cursors.insert(partition, positions.end);
        Ok(())
    }

    /// One frame: gate 1, then the tables; its header is counted whatever becomes of its rows.
    async fn frame(
        &mut self,
        log: &dyn Log,
        partition: u16,
        position: Position,
        frame: Sealed,
    ) -> anyhow::Result<()> {
        tracing::trace!(target: "quorate::moment", "worker open");
        let origin = Origin { partition, position: position.0, import: false };
        let Header { family, rows, mut tally, .. } = frame.header().clone();
        let family = family.as_deref().and_then(|name| self.store.package.family(name));
        let family = family.map(|(index, _)| index);
        let received = u64::from(rows) + tally.ended();
        let mut opened = self.open(frame, rows, &origin);
        if matches!(opened, Err(Error::Destroyed(_)))
            && let Some(frame) = log.replaced(Partition(partition), position).await?
        {
            // It was sealed again after it was read, elsewhere perhaps.
            opened = self.open(frame, rows, &origin);
        }
        let mut expired = 0;
        match opened {
            Ok(Some(batch)) => {
                self.store.tables()?.write(batch, &origin)?;
            }
            Ok(None) => {}
            Err(Error::Destroyed(_)) => expired = u64::from(rows),
            Err(error) if error.is_unreadable() => {
                tracing::error!(
                    partition,
                    position = position.0,
                    rows,
                    "unreadable frame: {error}"
                );
                *tally.refused.entry(Reason::Unreadable).or_default() += u64::from(rows);
            }
            Err(error) => return Err(error).context("a frame could not be opened"),
        }
        self.store.tables()?.count(family, &origin, &tally, received, expired);
        Ok(())
    }

    /// Opens a frame and takes its rows through gate 1; a frame without rows is only checked to be genuine.
    fn open(
        &self,
        frame: Sealed,
        rows: u32,
        origin: &Origin,
    ) -> Result<Option<AnonymizedBatch>, Error> {
        let gate = &self.store.gate;
        if rows == 0 {
            return gate.authenticate(frame).map(|_| None);
        }
        let batch = gate.open(frame)?;
        gate.anonymize(batch, origin, (self.store.clock)()).map(Some)
    }

    /// Refuses to commit rows that were made by an older suppression list than the one in force, where other nodes enter
    /// people too: they are read again.
    fn keeps_to_list(&self) -> anyhow::Result<()> {
        let Store { gate, config, roles, .. } = &self.store;
        if !config.is_shared(*roles) {
            return Ok(());
        }
        gate.refresh().and_then(|()| gate.usable())?;
        match gate.list_version() == self.list_version {
            true => Ok(()),
            false => Err(Outdated.into()),
        }
    }

    /// Commits what was read, with positions and manifest.
    async fn commit(&mut self) -> anyhow::Result<()> {
        let next: Vec<(u16, u64)> = self.cursors.iter().map(|(p, next)| (*p, *next)).collect();
        if next.is_empty() {
            return Ok(());
        }
        let now = (self.store.clock)();
        let context = ManifestContext { geo_build: self.store.resolver.geo_build() };
        let tables = self.store.tables()?;
        if next.iter().all(|&(partition, next)| tables.next(partition) == next) {
            self.list_version = self.store.gate.list_version();
            return Ok(());
        }
        self.keeps_to_list()?;
        let tables = self.store.tables()?;
        let committed = tables.commit(&next, now, context).await?;
        self.progress.patience().step();
        self.progress.set_outcomes(tables.outcomes());
        self.progress.committed_ms.store(now.0, Ordering::Relaxed);
        self.progress.set_positions(&self.cursors);
        self.store.streams.note_committed(&next);
        metrics::counter!("quorate_committed_rows_total").increment(committed.rows);
        metrics::counter!("quorate_commits_total").increment(1);
        Ok(())
    }

    /// Commits all that own partitions held when called, and notes up to when all is complete.
    ///
    /// # Errors
    ///
    /// Whatever the log or the tables report; nothing is lost by it.
    pub async fn drain(&mut self) -> anyhow::Result<()> {
        let began = (self.store.clock)();
        let mut ends = self.ends().await?;
        let commit_every = Duration::from_secs(self.store.config.sink.commit_every_s);
        let mut commit_at = Instant::now() + commit_every;
        while self.backlog(&ends) > 0 && !self.may_leave(&ends) {
            self.progress.backlog_frames.store(self.backlog(&ends), Ordering::Relaxed);
            if !self.read().await? {
                anyhow::bail!("the log gave no frame before its end");
            }
            if Instant::now() >= commit_at {
                // What is far behind does not make everything wait, and is not lost to a crash.
                self.commit().await?;
                commit_at = Instant::now() + commit_every;
            }
            if self.store.streams.is_shared() && self.store.streams.own() != *self.store.own() {
                // Who waits for these partitions does not wait for the end.
                self.rebalance().await?;
                ends = self.ends().await?;
            }
        }
        self.commit().await?;
        if self.backlog(&ends) > 0 {
            return Ok(());
        }
        self.progress.backlog_frames.store(0, Ordering::Relaxed);
        let complete = match self.store.owns_all() {
            true => Some(began),
            false if self.store.own().maintainer => {
                self.others.look(&mut self.store, began).await?
            }
            false => None,
        };
        if let Some(time) = complete {
            self.progress.set_complete_until(time.plus(-IN_FLIGHT_MS));
        }
        Ok(())
    }

    /// Whether all that is left before these ends may stay where it is: a service that stops commits what its own log
    /// holds, and not what other workers take over or topics of others keep.
    fn may_leave(&self, ends: &BTreeMap<u16, u64>) -> bool {
        let streams = &self.store.streams;
        let is_log =
            |partition: &u16| streams.of(*partition).is_some_and(|feed| !feed.is_of_others());
        self.progress.patience().is_ending()
            && (streams.is_shared()
                || self.backlog(
                    &ends.iter().filter(|(p, _)| is_log(p)).map(|(p, end)| (*p, *end)).collect(),
                ) == 0)
    }

    /// Where each own partition ends now.
    async fn ends(&self) -> anyhow::Result<BTreeMap<u16, u64>> {
        let mut ends = BTreeMap::new();
        for &partition in self.cursors.keys() {
            let Some(feed) = self.store.streams.of(partition) else { continue };
            let end = match feed.end(partition).await {
                // Not reached, wherever it is: reading says why.
                Err(_) if feed.is_of_others() => self.cursors[&partition].saturating_add(1),
                end => end?,
            };
            ends.insert(partition, end);
        }
        Ok(ends)
    }

    fn backlog(&self, ends: &BTreeMap<u16, u64>) -> u64 {
        let left = |(partition, end): (&u16, &u64)| {
            self.cursors.get(partition).map_or(0, |cursor| end.saturating_sub(*cursor))
        };
        ends.iter().map(left).sum()
    }

    /// Drains, finishes requests that are not, releases the periods that are closed, then removes what has lived long
    /// enough: in this order, so that rows are counted before they die. While the clock is not trusted nothing is released
    /// and nothing removed but what was asked for.
    ///
    /// # Errors
    ///
    /// The first part that failed. What can be done without it is done: a file that cannot be read keeps neither other
    /// tables from being released nor keys from being destroyed.
    pub async fn maintain(&mut self) -> anyhow::Result<usize> {
        self.drain().await?;
        if !self.store.own().maintainer {
            return Ok(0);
        }
        let moment = self.store.time.check();
        let tended = match moment.is_trusted() {
            true => self.store.requests.tend(moment.now),
            false => Ok(()),
        };
        self.remove_suppressed().await?;
        tended?;
        if !moment.is_trusted() {
            return Ok(0);
        }
        let now = moment.now;
        self.tend_lots().await?;
        self.end_lots(now)?;
        // With many nodes a removal takes minutes, and nothing is computed of who is half removed.
        if self.is_removing()? {
            self.retire(now, Millis(0)).await?;
            return Ok(0);
        }
        let Some(complete) = self.progress.complete_until() else {
            // What others have not committed is not counted yet: nothing closes or dies before it is, but keys at their
            // hard end.
            self.retire(now, Millis(0)).await?;
            return Ok(0);
        };
        let released = self.store.disclosure.release_closed(now, &|_| complete).await;
        if let Ok(released) = &released
            && !released.is_empty()
        {
            tracing::info!(periods = released.len(), "released closed periods");
        }
        self.progress.patience().step();
        let arranged = self.store.tables()?.maintain(now).await;
        self.progress.patience().step();
        self.retire(now, complete).await?;
        arranged?;
        Ok(released?.len())
    }

    /// Removes frames and keys at the end of their life.
    async fn retire(&mut self, now: Millis, complete: Millis) -> anyhow::Result<()> {
        let (keep, keep_max) = self.store.config.log.raw_retention_ms();
        // The hour that holds `complete` is still being written to; the one before it is not.
        let sealed_through = complete.hour().checked_sub(1);
        let due = now.plus(-keep).hour().checked_sub(1);
        if let (Some(sealed), Some(due)) = (sealed_through, due) {
            tracing::trace!(target: "quorate::moment", "worker frames");
            let removed = self.store.log.remove_through(sealed.min(due)).await?;
            if removed > 0 {
                tracing::info!(frames = removed, "removed frames at the end of their life");
            }
        }
        tracing::trace!(target: "quorate::moment", "worker keys");
        let retired =
            self.store.ring.retire(&self.store.package, now, sealed_through, keep, keep_max)?;
        if !retired.is_empty() {
            tracing::info!(keys = retired.len(), "destroyed keys at the end of their life");
        }
        Ok(())
    }
}
