//! What the running service knows and statistics do not tell.

use crate::Live;

/// Implemented by the binary: this crate has no path to the door, the event tables or the key ring, and counts are all
/// that comes through here. Each method may be called for every request, so it has to be cheap.
pub trait Running: Send + Sync {
    /// Counts since the service started.
    fn live(&self) -> Live;
}
