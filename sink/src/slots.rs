//! Numbers for sources, each allotted once and remembered for ever: partitions of a source are numbered by its slot.

use std::path::Path;

use storage::Root;

use crate::error::SinkError;
use crate::ledger::{self, NAME};
use crate::shared::Positions;
use crate::table::{Change, Home};

/// How many numbers the ledger has given out.
const ALLOTTED: &str = "sources";
/// How often another process may be quicker.
const ATTEMPTS: usize = 20;

/// The number of the source of that name: from zero, the same whoever asks, now and later. A name that was not asked for
/// before gets the next one. Nothing is written to `staging`.
///
/// # Errors
///
/// What storage and tables report.
pub async fn slot(root: &Root, staging: &Path, source: &str) -> Result<u16, SinkError> {
    let mut table = ledger::open_table(Home { root, staging }, &[]).await?;
    table.share();
    let name = format!("source/{source}");
    for _ in 0..ATTEMPTS {
        let mut known = Positions::default();
        known.read(&table, &[name.clone(), ALLOTTED.to_owned()]).await?;
        let damaged = |_| SinkError::damaged(NAME, "the number of a source");
        if let Some(slot) = known.get(&name) {
            return u16::try_from(slot).map_err(damaged);
        }
        let next = known.at(ALLOTTED);
        let positions = vec![(name.clone(), next), (ALLOTTED.to_owned(), next + 1)];
        match table.commit(Change { positions, ..Change::default() }).await {
            Ok(()) => return u16::try_from(next).map_err(damaged),
            // Another process asked for this source or for another one.
            Err(SinkError::Fenced { .. }) => {
                let newest = table.newest().await?;
                table.go_to(newest);
            }
            Err(error) => return Err(error),
        }
    }
    Err(SinkError::Busy { table: NAME.to_owned() })
}
