//! What must be seen while the worker fails: acknowledged events that are about to die, and a clock that jumped.
//!
//! A task of its own, which needs nothing of the worker's rounds: it knows up to where the tables are committed,
//! and reads from the log the clear header of the first frame after that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anonymizer::KeyRing;
use anyhow::Context;
use futures::future::BoxFuture;
use schemas::Millis;
use schemas::Package;
use schemas::time::HOUR_MS;
use transport::{Log, Partition, Position};

use super::Progress;
use crate::clock::{GuardedClock, Moment};
use crate::store::Store;

/// How often the watch looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How often it reads frames of a log that others share, where each costs brokers a seek.
const READ_EVERY: Duration = Duration::from_secs(60);
/// How long before the death of acknowledged events a warning begins: a day, or a quarter of a short life.
const WARN_MS: i64 = 24 * HOUR_MS;
/// How long before it no more are taken: six hours, or a sixteenth.
const REFUSE_MS: i64 = 6 * HOUR_MS;

/// What the watch saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// How long ago the hour ended in which the oldest uncommitted frame was sealed, in milliseconds; zero if it
    /// has not ended, or if all is committed.
    pub oldest_uncommitted_ms: i64,
    /// How bad that is.
    pub danger: Danger,
    /// How far the wall clock is off, in milliseconds, if it is not believed.
    pub jump_ms: Option<i64>,
}

/// How near acknowledged events are to the end of their key's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Danger {
    /// Far.
    #[default]
    None,
    /// A person should look.
    Near,
    /// So near that no more events are taken.
    Refusing,
}

impl Danger {
    /// Of frames whose hour ended `age_ms` ago, under keys that die at `life_ms`.
    #[must_use]
    pub fn of(age_ms: i64, life_ms: i64) -> Self {
        let left = life_ms.saturating_sub(age_ms);
        if left <= REFUSE_MS.min(life_ms / 16) {
            Self::Refusing
        } else if left <= WARN_MS.min(life_ms / 4) {
            Self::Near
        } else {
            Self::None
        }
    }
}

/// Looks at the log, the tables' positions and the clocks.
pub struct Watch {
    log: Arc<dyn Log>,
    ring: Arc<KeyRing>,
    package: Arc<Package>,
    time: Arc<GuardedClock>,
    progress: Arc<Progress>,
    /// Life of a sealing key whose frames are committed, and of any.
    keep_ms: (i64, i64),
    /// Hour of the oldest uncommitted frame when last it could be read.
    oldest: Option<u32>,
    /// How far everybody is, where this process does not commit all of the log.
    others: Option<Others>,
    /// When frames of such a log were read last.
    read: Option<Instant>,
}

/// Tells for each partition of the log the position after the last frame that anybody committed, as far as it is known.
pub type Others =
    Box<dyn Fn() -> BoxFuture<'static, anyhow::Result<BTreeMap<u16, u64>>> + Send + Sync>;

impl Watch {
    /// A watch over an open store and its worker's progress.
    #[must_use]
    pub fn new(store: &Store, progress: Arc<Progress>) -> Self {
        Self {
            log: Arc::clone(&store.log),
            ring: Arc::clone(&store.ring),
            package: Arc::clone(&store.package),
            time: Arc::clone(&store.time),
            progress,
            keep_ms: store.config.log.raw_retention_ms(),
            oldest: None,
            others: store.others(),
            read: None,
        }
    }

    /// Looks for ever; tells `refuse` whether events are to be refused, each time.
    pub async fn run(mut self, refuse: impl Fn(bool)) {
        loop {
            let seen = self.look().await;
            refuse(seen.danger == Danger::Refusing);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Looks once: notes what it sees for others, reports what got worse or better, and destroys keys whose time is
    /// over although the worker fails.
    pub async fn look(&mut self) -> Seen {
        let moment = self.time.refresh().unwrap_or_else(|error| {
            tracing::warn!("{error:#}");
            self.time.check()
        });
        if self.others.is_none() || self.read.is_none_or(|read| read.elapsed() >= READ_EVERY) {
            self.read = Some(Instant::now());
            match self.oldest().await {
                Ok(oldest) => self.oldest = oldest,
                // What could not be read is as old as it was, and gets older.
                Err(error) => {
                    tracing::warn!("the oldest uncommitted frame is not readable: {error:#}");
                }
            }
        }
        let end = |hour: u32| Millis::of_hour(hour).plus(HOUR_MS);
        let age = |hour: u32| moment.now.0.saturating_sub(end(hour).0).max(0);
        let oldest_uncommitted_ms = self.oldest.map_or(0, age);
        let danger = match self.oldest {
            None => Danger::None,
            Some(_) => Danger::of(oldest_uncommitted_ms, self.keep_ms.1),
        };
        let seen = Seen { oldest_uncommitted_ms, danger, jump_ms: moment.jump_ms };
        report(self.progress.seen(), seen, self.keep_ms.1);
        self.progress.set_seen(seen);
        if self.progress.failures() > 0 {
            self.retire(moment).await;
        }
        seen
    }

    /// The hour in which the oldest uncommitted frame was sealed, if there is any.
    async fn oldest(&self) -> anyhow::Result<Option<u32>> {
        let mut oldest = None;
        for (partition, next) in self.positions().await? {
            let partition = Partition(partition);
            if Position(next) >= self.log.end(partition).await? {
                continue;
            }
            let frames = self.log.read(partition, Position(next), 1).await;
            let frames = frames.with_context(|| format!("partition {}", partition.0))?;
            let hour = frames.first().map(|(_, frame)| frame.header().hour);
            oldest = oldest.into_iter().chain(hour).min();
        }
        Ok(oldest)
    }

    /// For each partition of the log the position after the last committed frame. Of topics of others none: there we have
    /// no keys to lose.
    async fn positions(&self) -> anyhow::Result<BTreeMap<u16, u64>> {
        let mut positions = match &self.others {
            // Where nobody has said anything, what is left begins with the oldest frame there is.
            Some(others) => {
                let known = others().await?;
                let all = 0..self.log.partitions();
                all.map(|partition| (partition, known.get(&partition).copied().unwrap_or(0)))
                    .collect()
            }
            None => BTreeMap::new(),
        };
        let own = self.progress.positions().into_iter();
        positions.extend(own.filter(|(partition, _)| *partition < self.log.partitions()));
        Ok(positions)
    }

    /// The hard end of keys does not wait for a round that succeeds. Frames stay, so that they can be counted.
    async fn retire(&self, moment: Moment) {
        if !moment.is_trusted() {
            return;
        }
        let (ring, package) = (Arc::clone(&self.ring), Arc::clone(&self.package));
        let (keep, keep_max) = self.keep_ms;
        let retire = move || ring.retire(&package, moment.now, None, keep, keep_max);
        match tokio::task::spawn_blocking(retire).await {
            Ok(Ok(keys)) if keys.is_empty() => {}
            Ok(Ok(keys)) => tracing::warn!(
                keys = keys.len(),
                "destroyed keys at the end of their life although the worker fails: what is uncommitted under them \
                 is counted as expired"
            ),
            Ok(Err(error)) => tracing::error!("keys at the end of their life stay: {error}"),
            Err(error) => tracing::error!("keys at the end of their life stay: {error}"),
        }
    }
}

/// One line when it changes, not one a look.
fn report(before: Seen, now: Seen, life_ms: i64) {
    metrics::gauge!("quorate_oldest_uncommitted_seconds").set(seconds(now.oldest_uncommitted_ms));
    metrics::gauge!("quorate_clock_jump_seconds").set(seconds(now.jump_ms.unwrap_or(0)));
    if before.danger == now.danger {
        return;
    }
    let left_hours = life_ms.saturating_sub(now.oldest_uncommitted_ms).max(0) / HOUR_MS;
    match now.danger {
        Danger::None => tracing::info!("acknowledged events are no longer about to expire"),
        Danger::Near => tracing::warn!(
            left_hours,
            "acknowledged events are not committed, and expire with their key: see why the worker fails"
        ),
        Danger::Refusing => tracing::error!(
            left_hours,
            "no more events are taken (503) until those that are acknowledged are committed: they expire with their key"
        ),
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; times stay far below 2^53 ms")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1_000.0
}
