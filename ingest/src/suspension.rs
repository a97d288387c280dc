//! Why no events are taken now: a set of reasons, each set and lifted by whoever watches over it.

use std::sync::atomic::{AtomicU8, Ordering};

/// A reason not to take events: what is acknowledged now could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspension {
    /// Frames would lose their sealing key before they are committed.
    Expiry,
    /// The rest of the disk is for what was acknowledged before.
    Space,
    /// What other nodes did with keys or suppression list cannot be read.
    Shared,
}

impl Suspension {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Expiry, Self::Space, Self::Shared];

    /// The name in status and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Expiry => "expiry",
            Self::Space => "space",
            Self::Shared => "shared",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Expiry => 1,
            Self::Space => 2,
            Self::Shared => 4,
        }
    }
}

/// The reasons in force; events are taken while there is none.
#[derive(Default)]
pub(crate) struct Suspensions(AtomicU8);

impl Suspensions {
    /// Sets or lifts one reason; the others stay as they are. True if that changed anything.
    pub(crate) fn set(&self, reason: Suspension, suspended: bool) -> bool {
        let before = match suspended {
            true => self.0.fetch_or(reason.bit(), Ordering::Relaxed),
            false => self.0.fetch_and(!reason.bit(), Ordering::Relaxed),
        };
        (before & reason.bit() != 0) != suspended
    }

    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn reasons(&self) -> Vec<Suspension> {
        let set = self.0.load(Ordering::Relaxed);
        Suspension::ALL.into_iter().filter(|reason| set & reason.bit() != 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_lifted_alone() {
        let set = Suspensions::default();
        assert!(!set.any());
        assert!(set.set(Suspension::Expiry, true) && set.set(Suspension::Space, true));
        assert!(!set.set(Suspension::Space, true), "it was set already");
        assert!(set.set(Suspension::Space, false));
        assert_eq!((set.any(), set.reasons()), (true, vec![Suspension::Expiry]));
        assert!(set.set(Suspension::Expiry, false) && !set.any());
    }
}
