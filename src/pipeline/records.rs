//! Records of a topic of others: decoded, through gate 1, into open files.

use std::sync::atomic::Ordering;

use anonymizer::Origin;
use anyhow::Context;

use super::Worker;
use crate::source::{self, Part, Piece, Source};

impl Worker {
    /// Takes a piece of a partition; gives whether there was one.
    ///
    /// What was refused and what is gone is counted with it, so the position moves past records of which nothing is left.
    pub(super) async fn read_records(
        &mut self,
        source: &Source,
        partition: u16,
        from: u64,
    ) -> anyhow::Result<bool> {
        let now = (self.store.clock)();
        let until = self.store.tables()?.boundaries(partition).into_iter().find(|end| *end > from);
        let Piece { next, parts, lost } = source.read(partition, from, until, now).await?;
        if next == from {
            return Ok(false);
        }
        tracing::trace!(target: "quorate::moment", "worker open");
        let origin = Origin { partition, position: from, import: false };
        if lost > 0 {
            self.progress.lost_frames.fetch_add(lost, Ordering::Relaxed);
            self.store.tables()?.count(None, &origin, &source::lost(lost), 0, 0);
        }
        for Part { family, batch, tally, received } in parts {
            if let Some(batch) = batch {
                let batch = self.store.gate.anonymize(batch, &origin, now);
                let batch = batch.context("records could not be taken through gate 1")?;
                self.store.tables()?.write(batch, &origin)?;
            }
            self.store.tables()?.count(family, &origin, &tally, received, 0);
        }
        self.cursors.insert(partition, next);
        Ok(true)
    }
}
