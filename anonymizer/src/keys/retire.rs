//! When the time of a key is over.

use schemas::time::{DAY_MS, HOUR_MS, epoch_start};
use schemas::{Family, Millis, Package};

use super::name::KeyName;

/// Keys of families that the package no longer has are kept for the longest epoch in use, so that a family
/// left out by mistake does not lose its contributors; then they go.
const UNKNOWN_FAMILY_MS: i64 = 30 * DAY_MS;

/// What retirement depends on.
pub(super) struct Terms<'a> {
    pub(super) package: &'a Package,
    pub(super) sealed_through: Option<u32>,
    pub(super) raw_retention_ms: i64,
    pub(super) raw_retention_max_ms: i64,
}

impl Terms<'_> {
    /// Why a key's time is over, or none if it is not.
    pub(super) fn over(
        &self,
        name: &KeyName,
        created: Millis,
        now: Millis,
    ) -> Option<&'static str> {
        match name {
            KeyName::Seal { hour, .. } => self.seal_over(*hour, now),
            // An objection has no end of its own.
            KeyName::Suppression => None,
            // It goes with what it seals, by whoever keeps that.
            KeyName::Apart { .. } => None,
            KeyName::Pseudonym { family, epoch } => {
                let (end, grace_ms, why) = match self.package.family(family) {
                    None => (created, UNKNOWN_FAMILY_MS, "family left the package"),
                    Some((_, family)) => {
                        (epoch_end(family, *epoch), family.grace_ms(), "epoch and grace are over")
                    }
                };
                (deadline(end, grace_ms, created) < now).then_some(why)
            }
            KeyName::Dedupe { family, generation } => {
                let (end, grace_ms, why) = match self.package.family(family) {
                    None => (created, UNKNOWN_FAMILY_MS, "family left the package"),
                    Some((_, family)) => {
                        // The generation after still looks for copies under this key, and its events may be
                        // late and then wait in the log.
                        let next_end = i64::from(*generation).saturating_add(2);
                        let end = Millis(next_end.saturating_mul(window_days(family) * DAY_MS))
                            .plus(family.late_ms)
                            .plus(self.raw_retention_max_ms);
                        (end, family.grace_ms(), "no retry can come any more")
                    }
                };
                (deadline(end, grace_ms, created) < now).then_some(why)
            }
        }
    }

    fn seal_over(&self, hour: u32, now: Millis) -> Option<&'static str> {
        let end = Millis::of_hour(hour).plus(HOUR_MS);
        let committed = self.sealed_through.is_some_and(|through| hour <= through);
        if end.plus(self.raw_retention_max_ms) <= now {
            return Some("raw_retention_max is over");
        }
        (committed && end.plus(self.raw_retention_ms) <= now).then_some("raw_retention is over")
    }
}

impl KeyName {
    /// Why the key should be gone by `now`, if it was made at `created` and frames are kept for `raw_retention_max_ms` at most;
    /// none if it may live.
    #[must_use]
    pub fn is_over(
        &self,
        package: &Package,
        created: Millis,
        now: Millis,
        raw_retention_max_ms: i64,
    ) -> Option<&'static str> {
        let raw_retention_ms = raw_retention_max_ms;
        let terms = Terms { package, sealed_through: None, raw_retention_ms, raw_retention_max_ms };
        terms.over(self, created, now)
    }
}

/// When `epoch` of `family` ends.
pub(crate) fn epoch_end(family: &Family, epoch: i32) -> Millis {
    epoch_start(epoch.saturating_add(1), family.epoch_days)
}

/// Days in a generation of event keys.
pub(crate) fn window_days(family: &Family) -> i64 {
    family.dedupe_window_ms.saturating_add(DAY_MS - 1).div_euclid(DAY_MS).max(1)
}

/// A grace after the end; or after the creation, for a key that was made when all was over, for an import.
fn deadline(end: Millis, grace_ms: i64, created: Millis) -> Millis {
    let regular = end.plus(grace_ms);
    if created <= regular { regular } else { created.plus(grace_ms) }
}
