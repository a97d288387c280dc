//! What keeps keys in memory from reaching a disk, and key files from being kept when they are destroyed.

use std::path::Path;

use anyhow::{Context, bail};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use serde::Deserialize;

use crate::config::KeyringConfig;

/// Whether a service may run whose keys the system could write to its swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LockMemory {
    /// It may, with a warning.
    #[default]
    Preferred,
    /// It does not start.
    Required,
}

/// No core dump holds a key, and nobody but root attaches to the process.
///
/// # Errors
///
/// What the system said.
pub fn no_core_dumps() -> anyhow::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).context("cannot forbid core dumps")?;
    // A dump into a pipe, as to systemd-coredump, does not ask the limit.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .context("cannot forbid core dumps")
}

/// Checks where keys will lie: memory that is locked, and files that do not outlive their destruction.
///
/// # Errors
///
/// If a thing that the configuration does not put up with is so, with what to do.
pub fn check(config: &KeyringConfig) -> anyhow::Result<()> {
    memory(config.lock_memory, anonymizer::lock_memory())?;
    check_folders(config)
}

/// Checks that key files do not outlive their destruction.
///
/// # Errors
///
/// If they lie on a file system that keeps what is overwritten, and the configuration does not put up with it.
pub fn check_folders(config: &KeyringConfig) -> anyhow::Result<()> {
    let folder = config.dir.folder().into_iter();
    for path in folder.chain([config.key_encryption_key.as_path()]) {
        versions(path, file_system(path), config.accept_snapshots)?;
    }
    Ok(())
}

fn memory(wanted: LockMemory, locked: bool) -> anyhow::Result<()> {
    const WHAT: &str = "the system does not lock the memory of keys, so that they may reach its swap: raise the limit \
                        (`ulimit -l 1024`, or `LimitMEMLOCK=1M` in a systemd unit)";
    match (wanted, locked) {
        (_, true) => {}
        (LockMemory::Preferred, false) => tracing::warn!("{WHAT}"),
        (LockMemory::Required, false) => {
            bail!("{WHAT}; or set keyring.lock_memory = \"preferred\"")
        }
    }
    Ok(())
}

/// Name of a file system on which an overwritten file may live on: in a snapshot, or in blocks that were copied on write.
fn keeps_versions(magic: u64) -> Option<&'static str> {
    match magic {
        0x9123_683E => Some("btrfs"),
        0x2FC1_2FC1 => Some("zfs"),
        0xCA45_1A4E => Some("bcachefs"),
        0x3434 => Some("nilfs2"),
        _ => None,
    }
}

/// The magic number of the file system that `path` is or would be on.
fn file_system(path: &Path) -> Option<u64> {
    let path = std::path::absolute(path).ok()?;
    let existing = path.ancestors().find(|path| path.exists())?;
    let magic = rustix::fs::statfs(existing).ok()?.f_type;
    // Kernels have given 32 bits with their sign.
    Some(u64::from_ne_bytes(magic.to_ne_bytes()) & 0xFFFF_FFFF)
}

fn versions(path: &Path, magic: Option<u64>, accepted: bool) -> anyhow::Result<()> {
    let Some(name) = magic.and_then(keeps_versions).filter(|_| !accepted) else { return Ok(()) };
    bail!(
        "{} is on {name}, which keeps what is overwritten, so that no key could be destroyed: put it on another file system \
         (ext4, xfs, tmpfs), or set keyring.accept_snapshots = true if you know that no version of it is kept",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_that_keep_versions_are_refused_unless_accepted() {
        let path = Path::new("/somewhere/keyring");
        for (magic, name) in [
            (0x9123_683E, "btrfs"),
            (0x2FC1_2FC1, "zfs"),
            (0xCA45_1A4E, "bcachefs"),
            (0x3434, "nilfs2"),
        ] {
            let error = versions(path, Some(magic), false).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("keyring.accept_snapshots"), "{error}");
            versions(path, Some(magic), true).unwrap();
        }
        for magic in [0xEF53, 0x5846_5342, 0x0102_1994, 0x794C_7630] {
            versions(path, Some(magic), false).unwrap();
        }
        versions(path, None, false).unwrap();
    }

    #[test]
    fn the_file_system_of_what_is_not_there_yet_is_that_of_the_folder_above() {
        let folder = tempfile::TempDir::new().unwrap();
        let here = file_system(folder.path());
        assert!(here.is_some());
        assert_eq!(file_system(&folder.path().join("not/there")), here);
    }

    #[test]
    fn memory_that_is_not_locked_is_refused_where_it_is_required() {
        memory(LockMemory::Preferred, false).unwrap();
        memory(LockMemory::Required, true).unwrap();
        let error = memory(LockMemory::Required, false).unwrap_err().to_string();
        assert!(error.contains("ulimit -l"), "{error}");
    }
}
