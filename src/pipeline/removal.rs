//! Removal of suppressed contributors from what is stored: tables first, then the log, by key.
//!
//! It works from the suppression list alone, so that it can be taken up after a crash at any point, and each step
//! may be repeated. The worker does nothing else meanwhile: nothing is computed while somebody is half removed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anonymizer::{Error, Suppressed};
use anyhow::Context;
use tokio::time::Instant;
use transport::Partition;

use super::Worker;
use crate::frames::{Frames, Read};

/// Longest wait for frames that are on their way into the log.
const IN_FLIGHT_MAX: Duration = Duration::from_secs(30);
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
        let pending = self.store.requests.list().pending();
        let half_done = self.store.gate.superseded()?;
        if pending.is_empty() && half_done.is_empty() {
            return Ok(());
        }
        tracing::trace!(target: "quorate::moment", "erase drain");
        self.drain().await.context("what came before a request could not be committed")?;
        tracing::trace!(target: "quorate::moment", "erase rows");
        self.remove_rows(&pending).await.context("rows could not be removed from the tables")?;
        tracing::trace!(target: "quorate::moment", "erase search");
        let (frames, keys) =
            self.reseal(&pending).await.context("frames could not be removed from the log")?;
        tracing::trace!(target: "quorate::moment", "erase done");
        let requests: Vec<String> = pending.into_iter().map(|entry| entry.request).collect();
        self.store.requests.done(&requests, frames, &keys)?;
        tracing::info!(requests = requests.len(), frames, keys = keys.len(), "requests are done");
        Ok(())
    }

    async fn remove_rows(&mut self, pending: &[Suppressed]) -> anyhow::Result<()> {
        let families: BTreeSet<&str> = pending.iter().map(|entry| entry.family.as_str()).collect();
        let now = (self.store.clock)();
        for name in families {
            let (family, _) = self.store.package.family(name).with_context(|| {
                format!(
                    "family {name} of an unfinished request is not in the policy package any more"
                )
            })?;
            let requests = Arc::clone(&self.store.requests);
            let list = requests.list();
            // Who is entered meanwhile has a round of their own, and rows that are all counted.
            let request = |contributor: &[u8]| {
                let request = list.request_of(name, contributor)?;
                pending.iter().any(|entry| entry.request == request).then_some(request)
            };
            let tables = self.store.tables()?;
            let found = tables.contributors(family, &|own| request(own).is_some())?;
            let mut rows: HashMap<String, u64> = HashMap::new();
            for (contributor, count) in &found {
                if let Some(request) = request(contributor) {
                    *rows.entry(request).or_default() += count;
                }
            }
            for (request, rows) in rows {
                requests.removing(&request, rows)?;
            }
            let found: HashSet<[u8; 16]> = found.into_keys().collect();
            tables.erase(family, &found, now).await?;
        }
        Ok(())
    }

    /// Seals the hours that hold a suppressed contributor under new keys, without it, and destroys the old ones. Gives the
    /// frames rewritten and the commitments of the keys destroyed.
    async fn reseal(&mut self, pending: &[Suppressed]) -> anyhow::Result<(u64, Vec<String>)> {
        let gate = Arc::clone(&self.store.gate);
        let families: BTreeSet<&str> = pending.iter().map(|entry| entry.family.as_str()).collect();
        let mut hours: BTreeSet<u32> = gate.superseded()?.into_iter().collect();
        let holding = self.hours_holding(&families, &hours).await?;
        for hour in holding.difference(&hours) {
            gate.supersede(*hour)?;
        }
        hours.extend(holding);
        if hours.is_empty() {
            return Ok((0, Vec::new()));
        }
        self.settled(&hours).await?;
        tracing::trace!(target: "quorate::moment", "erase frames");
        let mut rewritten = 0;
        for partition in 0..self.store.log.partitions() {
            rewritten += self.reseal_partition(Partition(partition), &hours).await?;
        }
        tracing::trace!(target: "quorate::moment", "erase keys");
        let mut keys = Vec::new();
        for hour in hours {
            keys.extend(gate.destroy_superseded(hour)?);
        }
        Ok((rewritten, keys))
    }

    /// The hours in whose frames anybody suppressed is; those of `known` are not looked at again.
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
                    if !named || header.rows == 0 || known.contains(&hour) || hours.contains(&hour)
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
