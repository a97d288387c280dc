//! Up to when everything is complete, where other workers commit a part of it.

use std::collections::BTreeMap;

use schemas::Millis;

use crate::store::Store;

/// Ends of all partitions at some time, until everybody has committed up to them.
#[derive(Default)]
pub(super) struct Others {
    noted: Option<(Millis, BTreeMap<u16, u64>)>,
}

impl Others {
    /// Looks how far everybody is: gives the time at which the ends were noted that are all committed now, if they are.
    /// Then, or the first time, it notes those of now; `now` was read before the call.
    ///
    /// # Errors
    ///
    /// Whatever streams or tables report.
    pub(super) async fn look(
        &mut self,
        store: &mut Store,
        now: Millis,
    ) -> anyhow::Result<Option<Millis>> {
        let committed = store.tables()?.progress().await?;
        let mut complete = None;
        if let Some((time, ends)) = &self.noted {
            if !is_past(&committed, ends) {
                return Ok(None);
            }
            complete = Some(*time);
        }
        let mut ends = BTreeMap::new();
        for feed in store.streams.feeds() {
            for partition in feed.partitions() {
                ends.insert(partition, feed.end(partition).await?);
            }
        }
        if is_past(&committed, &ends) {
            // Nothing is under way.
            complete = Some(now);
        }
        self.noted = Some((now, ends));
        Ok(complete)
    }
}

/// Whether every partition is committed up to its end.
fn is_past(committed: &BTreeMap<u16, u64>, ends: &BTreeMap<u16, u64>) -> bool {
    ends.iter().all(|(partition, end)| committed.get(partition).copied().unwrap_or(0) >= *end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_partition_that_is_behind_holds_everything_back() {
        let ends = BTreeMap::from([(0, 5), (1, 0), (1_024, 7)]);
        assert!(is_past(&BTreeMap::from([(0, 5), (1_024, 9)]), &ends));
        assert!(!is_past(&BTreeMap::from([(0, 5), (1_024, 6)]), &ends));
        assert!(!is_past(&BTreeMap::from([(0, 5)]), &ends));
    }
}
