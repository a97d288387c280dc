//! What readers may know of the running service: counts of the door, by family.

use std::sync::Arc;

use ingest::{FamilyStatus, Server};
use query::{FamilyCounts, Live, Running};
use schemas::Millis;

/// Asked by `query` for each answer about the service.
pub struct Told {
    /// When the service started.
    pub since: Millis,
    /// Base address at which events are posted.
    pub ingest: String,
    /// The door.
    pub server: Arc<Server>,
}

impl Running for Told {
    fn live(&self) -> Live {
        let families = self.server.families().into_iter().map(counts).collect();
        Live { since: self.since, ingest: self.ingest.clone(), families }
    }
}

fn counts(status: FamilyStatus) -> FamilyCounts {
    let FamilyStatus { family, last, accepted, recent, refused, undeclared } = status;
    FamilyCounts { family, last, accepted, recent, refused, undeclared }
}
