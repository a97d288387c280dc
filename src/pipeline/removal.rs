//! Removal of suppressed contributors, or of what rests on purposes that were taken from them, from what is stored: tables
//! first ([`super::rights`]), then the log, by key.
//!
//! It works from the suppression list alone, so that it can be taken up after a crash at any point, and each step
//! may be repeated. The worker does nothing else meanwhile: nothing is computed while somebody is half removed.
//!
//! Where many nodes seal and commit, it takes two waits ([`anonymizer::shared`]), during which the worker does go on, but
//! releases nothing: until every node knows who must not come in, and until every node seals under another key. Only then
//! no row and no frame can come behind the search. The hours that are being sealed get another key whether or not anybody
//! was found in them, so that a frame which was on its way all that time cannot be opened.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anonymizer::{Error, Suppressed};
use anyhow::Context;
use tokio::time::Instant;
use transport::Partition;

use super::Worker;
use crate::frames::{Frames, Read};
use crate::subject::{Requests, Underway};

/// Longest wait for frames of this process that are on their way into the log.
const IN_FLIGHT_MAX: Duration = Duration::from_secs(30);
const ROWS: &str = "rows could not be removed from the tables";
const FRAMES: &str = "frames could not be removed from the log";
/// Between two looks at whether they have arrived.
const IN_FLIGHT_LOOK: Duration = Duration::from_millis(5);

impl Worker {
    /// Removes everybody on the suppression list who was not removed yet, from tables and log; nothing is released
    /// before it has succeeded.
    ///
    /// # Errors
    ///
    /// The first step that failed. The list remembers, and the next call goes on.
    pub async fn remove_suppressed(&mut self) -> anyhow::Result<()> {
        let requests = Arc::clone(&self.store.requests);
        let pending = requests.ready()?;
        let half_done = self.store.gate.superseded()?;
        if pending.is_empty() && half_done.is_empty() {
            return Ok(());
        }
        if requests.is_shared() {
            if !self.store.own().maintainer {
                return Ok(());
            }
            return self.remove_from_many(&requests, pending).await;
        }
        tracing::trace!(target: "quorate::moment", "erase drain");
        self.drain().await.context("what came before a request could not be committed")?;
        tracing::trace!(target: "quorate::moment", "erase rows");
        self.change_rows(&pending).await.context(ROWS)?;
        tracing::trace!(target: "quorate::moment", "erase search");
        let hours = self.supersede(&pending).await.context(FRAMES)?;
        self.settled(&hours).await.context(FRAMES)?;
        let (frames, keys) = self.reseal(&hours).await.context(FRAMES)?;
        self.correct(&pending).await.context("corrected events could not be stored")?;
        self.end(&pending, frames, &keys)
    }

    /// Notes that nothing stored holds these contributors any more.
    fn end(&self, done: &[Suppressed], frames: u64, keys: &[String]) -> anyhow::Result<()> {
        tracing::trace!(target: "quorate::moment", "erase done");
        self.store.requests.done(done, frames, keys)?;
        tracing::info!(requests = done.len(), frames, keys = keys.len(), "requests are done");
        Ok(())
    }

    /// One step with many nodes: gives the hours other keys, or goes on once every node seals under them.
    async fn remove_from_many(
        &mut self,
        requests: &Requests,
        pending: Vec<Suppressed>,
    ) -> anyhow::Result<()> {
        let underway = requests.underway().clone();
        let Some(Underway { requests: named, hours }) = underway else {
            let mut hours = self.supersede(&pending).await.context(FRAMES)?;
            // A frame that was sealed before its node saw the list, and comes behind the search, is under one of these.
            let since = (self.store.clock)().hour().saturating_sub(1);
            hours.extend(self.store.gate.supersede_since(since)?);
            let named = pending.into_iter().map(|entry| entry.request).collect();
            *requests.underway() = Some(Underway { requests: named, hours });
            return Ok(());
        };
        if !hours.iter().all(|hour| self.store.gate.is_settled(*hour)) {
            return Ok(());
        }
        let pending: Vec<Suppressed> =
            pending.into_iter().filter(|entry| named.contains(&entry.request)).collect();
        self.drain().await.context("what came before a request could not be committed")?;
        self.change_rows(&pending).await.context(ROWS)?;
        let (frames, keys) = self.reseal(&hours).await.context(FRAMES)?;
        // What a worker committed that had stopped for longer than it may.
        self.change_rows(&pending).await.context(ROWS)?;
        self.end(&pending, frames, &keys)?;
        *requests.underway() = None;
        Ok(())
    }

    /// Whether anybody is on the list whose rows or frames may still be there: nothing may be released meanwhile.
    ///
    /// # Errors
    ///
    /// If the ledger of keys cannot be read.
    pub(super) fn is_removing(&self) -> anyhow::Result<bool> {
        let is_pending = !self.store.requests.list().pending().is_empty();
        Ok(is_pending || !self.store.gate.superseded()?.is_empty())
    }

    /// Gives another key to every hour in whose frames a suppressed contributor is, and tells these and those that an
    /// earlier round left with more than one.
    async fn supersede(&mut self, pending: &[Suppressed]) -> anyhow::Result<BTreeSet<u32>> {
        let gate = Arc::clone(&self.store.gate);
        let families: BTreeSet<&str> = pending.iter().map(|entry| entry.family.as_str()).collect();
        let mut hours: BTreeSet<u32> = gate.superseded()?.into_iter().collect();
        let holding = self.hours_holding(&families, &hours).await?;
        for hour in &holding {
            gate.supersede(*hour)?;
        }
        hours.extend(holding);
        Ok(hours)
    }

    /// Seals these hours' frames under their newest keys, without suppressed contributors, and destroys the older keys. Gives
    /// the frames rewritten and the commitments of the keys destroyed.
    async fn reseal(&mut self, hours: &BTreeSet<u32>) -> anyhow::Result<(u64, Vec<String>)> {
        let gate = Arc::clone(&self.store.gate);
        if hours.is_empty() {
            return Ok((0, Vec::new()));
        }
        tracing::trace!(target: "quorate::moment", "erase frames");
        let mut rewritten = 0;
        for partition in 0..self.store.log.partitions() {
            rewritten += self.reseal_partition(Partition(partition), hours).await?;
        }
        tracing::trace!(target: "quorate::moment", "erase keys");
        let mut keys = Vec::new();
        for hour in hours {
            keys.extend(gate.destroy_superseded(*hour)?);
        }
        Ok((rewritten, keys))
    }

    /// The hours in whose frames anybody suppressed is; of those of `known`, whose frames are sealed again in any case, only
    /// if that is under the newest key.
    async fn hours_holding(
        &self,
        families: &BTreeSet<&str>,
        known: &BTreeSet<u32>,
    ) -> anyhow::Result<BTreeSet<u32>> {
        let mut hours = BTreeSet::new();
        for partition in 0..self.store.log.partitions() {
            let mut log = Frames::all(self.store.log.as_ref(), Partition(partition)).await?;
            while let Some(read) = log.next().await? {
                let Read::Frames(frames) = read else { continue };
                for (_, frame) in frames {
                    let header = frame.header();
                    let hour = header.hour;
                    let named =
                        header.family.as_deref().is_some_and(|name| families.contains(name));
                    if !named || header.rows == 0 || hours.contains(&hour) {
                        continue;
                    }
                    if known.contains(&hour)
                        && !self.store.gate.is_newest(hour, header.generation)?
                    {
                        continue;
                    }
                    if readable(self.store.gate.holds_suppressed(frame))?.unwrap_or(false) {
                        hours.insert(hour);
                    }
                }
            }
        }
        Ok(hours)
    }

    /// Waits until no frame under an older key of these hours is on its way into the log.
    async fn settled(&self, hours: &BTreeSet<u32>) -> anyhow::Result<()> {
        let deadline = Instant::now() + IN_FLIGHT_MAX;
        while !hours.iter().all(|hour| self.store.gate.is_settled(*hour)) {
            anyhow::ensure!(
                Instant::now() < deadline,
                "frames have been on their way into the log for {} s",
                IN_FLIGHT_MAX.as_secs()
            );
            tokio::time::sleep(IN_FLIGHT_LOOK).await;
        }
        Ok(())
    }

    async fn reseal_partition(
        &self,
        partition: Partition,
        hours: &BTreeSet<u32>,
    ) -> anyhow::Result<u64> {
        let mut rewritten = 0;
        let mut log = Frames::all(self.store.log.as_ref(), partition).await?;
        while let Some(read) = log.next().await? {
            let Read::Frames(frames) = read else { continue };
            let mut again = Vec::new();
            for (position, frame) in frames {
                if !hours.contains(&frame.header().hour) {
                    continue;
                }
                match readable(self.store.gate.reseal(frame))? {
                    Some(Some((sealed, _))) => again.push((position, sealed)),
                    Some(None) => {}
                    // It was counted as what it is when it was committed, and goes with its key.
                    None => tracing::warn!(
                        partition = partition.0,
                        position = position.0,
                        "an unreadable frame is left to die with its key"
                    ),
                }
            }
            if !again.is_empty() {
                rewritten += self.store.log.replace(partition, again).await?;
            }
        }
        Ok(rewritten)
    }
}

/// None for a frame that nobody can read.
fn readable<T>(opened: Result<T, Error>) -> anyhow::Result<Option<T>> {
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(Error::Destroyed(_)) => Ok(None),
        Err(error) if error.is_unreadable() => Ok(None),
        Err(error) => Err(error.into()),
    }
}
