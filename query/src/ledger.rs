//! The ledger of releases as it was read last: read again when somebody has appended to it.
//!
//! Every answer says up to when it is complete and where something is hidden, and the ledger has a file for each commit of
//! its life. Whether there is another one is told by the names in one folder.

use std::sync::Arc;

use disclosure::ledger::last_commit;
use disclosure::{Release, releases};
use storage::Root;
use tokio::sync::Mutex;

use crate::QueryError;

/// The lines of one ledger, in order of statistic and period.
pub(crate) struct Ledger {
    root: Root,
    /// What was read, and the commit that was the last one before that.
    read: Mutex<Option<(u64, Arc<Vec<Release>>)>>,
}

impl Ledger {
    /// That below `root`; it does not have to exist yet.
    pub(crate) fn new(root: Root) -> Self {
        Self { root, read: Mutex::new(None) }
    }

    /// All lines. Who asks while it is being read waits for that.
    ///
    /// # Errors
    ///
    /// [`QueryError::Unavailable`].
    pub(crate) async fn releases(&self) -> Result<Arc<Vec<Release>>, QueryError> {
        let mut read = self.read.lock().await;
        // Looked at first: what is appended while it is read is read again by whoever asks next.
        let known = read.as_ref().map(|(known, _)| *known);
        let last = last_commit(&self.root, known).await?;
        match (last, &*read) {
            (None, _) => return Ok(Arc::default()),
            (Some(last), Some((known, lines))) if last == *known => return Ok(Arc::clone(lines)),
            (Some(_), _) => {}
        }
        let lines = Arc::new(releases(&self.root, None).await?);
        *read = last.map(|last| (last, Arc::clone(&lines)));
        Ok(lines)
    }
}
