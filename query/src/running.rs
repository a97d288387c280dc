//! What the running service knows and statistics do not tell.

use std::error::Error;

use crate::{Keys, Live, Outcomes};

/// Implemented by the binary: this crate has no path to the door, the event tables or the key ring, and counts are all
/// that comes through here. Each method may be called for every request, so it has to be cheap however large a ledger is; it
/// may block for a moment.
pub trait Running: Send + Sync {
    /// Counts since the service started.
    fn live(&self) -> Live;

    /// Keys by use and family, in order, as they were at the beginning of the day: the first event of an hour makes a key, so
    /// counts of this moment would tell when it came.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read.
    fn keys(&self) -> Result<Vec<Keys>, Box<dyn Error + Send + Sync>>;

    /// Outcomes by family since the beginning, those of no family first.
    fn outcomes(&self) -> Vec<Outcomes>;

    /// Which of `live`, `keys` and `outcomes` this process cannot tell, because others do that part; what it answers about
    /// them is empty, and says so.
    fn elsewhere(&self) -> Vec<&'static str> {
        Vec::new()
    }
}
