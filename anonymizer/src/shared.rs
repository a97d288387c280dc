//! What many nodes on one ring and one list agree on: how often each looks, how long it trusts what it saw, and how long
//! whoever destroys waits for the others. The constants stand here and nowhere else.
//!
//! A node looks every [`REFRESH_EVERY_MS`]. One that has not succeeded for [`STALE_AFTER_MS`] neither seals nor opens nor
//! commits. Whoever removes waits [`SETTLE_AFTER_MS`] after a change, by its own steady clock: by then every node has seen the
//! change or works no more, and what it had begun before has ended.

use std::sync::atomic::{AtomicI64, Ordering};

use schemas::{Clock, Millis};

use crate::error::Error;

/// How often ring and list are read again.
pub const REFRESH_EVERY_MS: i64 = 5_000;
/// How old what was read may be: a node that cannot read for longer stops.
pub const STALE_AFTER_MS: i64 = 15_000;
/// How long after a change no node works by what was before it.
pub const SETTLE_AFTER_MS: i64 = 60_000;

/// Whether others change ring and list at the same time.
#[derive(Clone)]
pub enum Sharing {
    /// One service on one machine, whose commands may use the ring beside it.
    Sole,
    /// Any number of nodes.
    Shared {
        /// Time that nobody sets and that goes on while the machine sleeps: since it started, say.
        steady: Clock,
    },
}

/// When something shared was last read.
pub(crate) struct Freshness {
    sharing: Sharing,
    seen: AtomicI64,
    what: &'static str,
}

impl Freshness {
    /// Of something that is read right now.
    pub(crate) fn new(sharing: Sharing, what: &'static str) -> Self {
        let freshness = Self { sharing, seen: AtomicI64::new(i64::MIN), what };
        freshness.seen_at(freshness.now());
        freshness
    }

    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.sharing, Sharing::Shared { .. })
    }

    /// By the steady clock; zero for a sole node, which needs none.
    pub(crate) fn now(&self) -> Millis {
        match &self.sharing {
            Sharing::Sole => Millis(0),
            Sharing::Shared { steady } => steady(),
        }
    }

    /// Notes that everything was read that was there at `began`.
    pub(crate) fn seen_at(&self, began: Millis) {
        self.seen.fetch_max(began.0, Ordering::AcqRel);
    }

    pub(crate) fn is_fresh(&self, within_ms: i64) -> bool {
        match &self.sharing {
            Sharing::Sole => true,
            Sharing::Shared { steady } => {
                steady().0.saturating_sub(self.seen.load(Ordering::Acquire)) < within_ms
            }
        }
    }

    /// # Errors
    ///
    /// [`Error::Stale`] if it was not read for too long.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_fresh(STALE_AFTER_MS) { Ok(()) } else { Err(Error::Stale(self.what)) }
    }
}
