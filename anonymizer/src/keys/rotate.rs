//! Another key-encryption key for a ring: every key sealed again under it, the old one overwritten.
//!
//! ```text
//! <kek>.next   the new one, from the first step until it takes its place
//! <kek>.old    the old one, from when the ring has no more use for it until it is overwritten
//! ```
//!
//! Either file says that a rotation is unfinished; whoever opens the ring next finishes it first. Until the marker proves the
//! new key-encryption key each key file opens under one of the two, and what was done is not done again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::file::{self, KeyFile, Marker};
use super::name::KeyName;
use crate::error::Error;
use crate::shelf::{overwrite_and_remove, sync_folder};
use crate::vault::Secret;

/// Called between every two changes of files: tests fail there as a crash would.
pub(super) type Step<'a> = &'a mut dyn FnMut() -> Result<(), Error>;

fn beside(kek_file: &Path, end: &str) -> PathBuf {
    let mut name = kek_file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn next_path(kek_file: &Path) -> PathBuf {
    beside(kek_file, ".next")
}

fn old_path(kek_file: &Path) -> PathBuf {
    beside(kek_file, ".old")
}

/// Whether a rotation began and did not end.
pub(super) fn unfinished(kek_file: &Path) -> bool {
    next_path(kek_file).exists() || old_path(kek_file).exists()
}

/// A ring's folder, held by all that use it, or by the one that changes it as a whole.
pub(super) struct Held {
    _folder: File,
}

impl Held {
    /// Held together with others.
    pub(super) fn shared(dir: &Path) -> Result<Self, Error> {
        let folder = File::open(dir).map_err(Error::io("open", dir))?;
        folder.try_lock_shared().map_err(|_| Error::Busy(dir.to_owned()))?;
        Ok(Self { _folder: folder })
    }

    /// Held alone.
    pub(super) fn alone(dir: &Path) -> Result<Self, Error> {
        let folder = File::open(dir).map_err(Error::io("open", dir))?;
        folder.try_lock().map_err(|_| Error::Busy(dir.to_owned()))?;
        Ok(Self { _folder: folder })
    }
}

/// Begins a rotation and ends it.
///
/// # Errors
///
/// [`Error::Busy`] if the ring is in use; as opening it; [`Error::Io`], after which whoever opens the ring finishes.
pub(super) fn rotate(dir: &Path, kek_file: &Path, step: Step<'_>) -> Result<(), Error> {
    let _held = Held::alone(dir)?;
    finish(dir, kek_file, step)?;
    if !kek_file.exists() {
        return Err(Error::NoKek(kek_file.to_owned()));
    }
    let old = file::read_kek(kek_file)?;
    Marker::read(&file::marker_path(dir))?.check(&old, kek_file)?;
    step()?;
    file::write_kek(&next_path(kek_file))?;
    step()?;
    finish(dir, kek_file, step)
}

/// Ends what was begun; the caller holds the ring alone.
pub(super) fn finish(dir: &Path, kek_file: &Path, step: Step<'_>) -> Result<(), Error> {
    let (next, old) = (next_path(kek_file), old_path(kek_file));
    if next.exists() {
        let new_kek = file::read_kek(&next)?;
        let path = file::marker_path(dir);
        let marker = Marker::read(&path)?;
        if marker.check(&new_kek, &next).is_err() {
            let old_kek = file::read_kek(kek_file)?;
            marker.check(&old_kek, kek_file)?;
            seal_again(dir, &old_kek, &new_kek, step)?;
            step()?;
            marker.under(&new_kek)?.replace(&path)?;
        }
        step()?;
        // The old one moves aside before the new one takes its place, so that it is still there to be overwritten.
        if kek_file.exists() && !old.exists() {
            fs::rename(kek_file, &old).map_err(Error::io("rename", kek_file))?;
            sync_folder(kek_file)?;
        }
        step()?;
        fs::rename(&next, kek_file).map_err(Error::io("rename", &next))?;
        sync_folder(kek_file)?;
    }
    if old.exists() {
        step()?;
        overwrite_and_remove(&old)?;
    }
    step()
}

/// Seals each key file under `new_kek` that is not yet.
fn seal_again(dir: &Path, old_kek: &Secret, new_kek: &Secret, step: Step<'_>) -> Result<(), Error> {
    let folder = file::keys_folder(dir);
    let mut paths = Vec::new();
    for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
        paths.push(entry.map_err(Error::io("read", &folder))?.path());
    }
    for path in paths {
        if path.extension().is_some_and(|end| end == "tmp") {
            // Nobody else is at work here: it was left by a crash, and is a key that was never used or another
            // name of one that is sealed again below.
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            continue;
        }
        let Some(name) = KeyName::of_path(&path) else { continue };
        if KeyFile::read(&path, &name, new_kek).is_ok() {
            continue;
        }
        let key = KeyFile::read(&path, &name, old_kek)?;
        step()?;
        key.replace(&path, &name, new_kek)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
