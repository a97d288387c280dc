//! Files for requesters: encrypted to their keys, kept for a week, listed in the ledger of requests.
//!
//! ```text
//! <events root>/exports/<request>.json.age      an answer to a request of access
//! <events root>/exports/<request>.ndjson.age    what somebody takes along, or `.parquet.age`
//! ```

use std::sync::Arc;

use anonymizer::Shelf;
use anyhow::Context;
use schemas::Millis;
use schemas::time::DAY_MS;

use super::age::Recipient;

/// Below the root of events.
const FOLDER: &str = "exports";
/// How long a file is kept.
pub const KEPT_MS: i64 = 7 * DAY_MS;

/// The files.
pub(super) struct Exports(Arc<dyn Shelf>);

impl Exports {
    pub(super) fn on(shelf: Arc<dyn Shelf>) -> Self {
        Self(shelf)
    }

    /// Encrypts and writes a file, and gives its size. Durable on return.
    pub(super) fn write(&self, name: &str, to: &Recipient, text: &[u8]) -> anyhow::Result<u64> {
        let sealed = to.seal(text)?;
        self.0.replace(&path(name), &sealed).context("an export cannot be written")?;
        Ok(sealed.len() as u64)
    }

    /// The file as it lies there; none if there is none.
    pub(super) fn read(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        self.0.read(&path(name)).context("an export cannot be read")
    }

    /// Removes a file, if it is there.
    pub(super) fn delete(&self, name: &str) -> anyhow::Result<()> {
        self.0.wipe(&path(name)).context("an export cannot be deleted").map(drop)
    }

    /// Names of all files.
    pub(super) fn names(&self) -> anyhow::Result<Vec<String>> {
        let names = self.0.list(FOLDER).context("exports cannot be listed")?.into_iter();
        let own = |name: String| Some(name.rsplit('/').next()?.to_owned());
        Ok(names.filter_map(own).collect())
    }

    /// Where a file lies, for people.
    pub(super) fn place(&self, name: &str) -> String {
        self.0.place(&path(name)).display().to_string()
    }
}

fn path(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

/// Until when a file is kept that is written now.
pub(super) fn kept_until(now: Millis) -> Millis {
    now.plus(KEPT_MS)
}
