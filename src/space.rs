//! Room on the disk: while little is left, no events are taken, so that what was acknowledged can still be committed,
//! compacted and destroyed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ingest::Suspension;

/// How often the disk is looked at. At the fastest a disk takes writes, this much time uses a part of the floor.
const EVERY: Duration = Duration::from_millis(500);

/// Bytes free, as last seen; [`u64::MAX`] while nobody knows.
pub struct Free(AtomicU64);

impl Default for Free {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Free {
    /// Bytes free on the fullest of the disks in use, if the system told.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|bytes| *bytes != u64::MAX)
    }
}

/// Whether there is too little room: below `floor`, and until an eighth more than it is free again.
fn is_low(was_low: bool, free: u64, floor: u64) -> bool {
    let enough = if was_low { floor.saturating_add(floor / 8) } else { floor };
    free < enough
}

/// Looks at the disks of `folders` for ever, and suspends the door while one has less than `floor` bytes left.
pub async fn watch(
    folders: Vec<PathBuf>,
    floor: u64,
    server: Arc<ingest::Server>,
    seen: Arc<Free>,
) {
    let folders = Arc::new(folders);
    let mut low = false;
    loop {
        let asked = Arc::clone(&folders);
        // The system may take long to answer for a disk that does not.
        let free = tokio::task::spawn_blocking(move || free(&asked)).await.ok().flatten();
        seen.0.store(free.unwrap_or(u64::MAX), Ordering::Relaxed);
        if let Some(free) = free {
            low = is_low(low, free, floor);
            if server.suspend(Suspension::Space, low) {
                tell(low, free, floor);
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn tell(low: bool, free: u64, floor: u64) {
    if low {
        tracing::error!(
            free_bytes = free,
            log.free_space_min = floor,
            "little room is left on the disk: events are answered 503 until there is more"
        );
    } else {
        tracing::info!(free_bytes = free, "there is room on the disk again: events are taken");
    }
}

/// The least that a user without privileges may still write on any of the disks.
fn free(folders: &[PathBuf]) -> Option<u64> {
    let of = |folder: &Path| {
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    };
    folders.iter().filter_map(|folder| of(folder)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_low_below_the_floor_and_until_clearly_above_it() {
        assert!(!is_low(false, 800, 800) && is_low(false, 799, 800));
        assert!(is_low(true, 899, 800) && !is_low(true, 900, 800));
        assert!(!is_low(false, 0, 0) && !is_low(true, 0, 0), "a floor of 0 switches it off");
    }

    #[test]
    fn the_system_tells_how_much_is_free() {
        let dir = tempfile::tempdir().unwrap();
        assert!(free(&[dir.path().to_owned()]).is_some_and(|bytes| bytes > 0));
        assert_eq!(free(&[dir.path().join("nowhere")]), None);
    }
}
