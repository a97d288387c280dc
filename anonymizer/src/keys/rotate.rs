//! Another key-encryption key for a ring: every key sealed again under it, the old one overwritten.
//!
//! ```text
//! <kek>.next   the new one, from the first step until it takes its place
//! <kek>.old    the old one, from when the ring has no more use for it until it is overwritten
//! ```
//!
//! Either file says that a rotation is unfinished; whoever opens the ring next finishes it first. Until the marker proves the
//! new key-encryption key each key file opens under one of the two, and what was done is not done again.
//!
//! On a ring that many nodes share, each with the key-encryption key in a file of its own, the file `rotating` keeps the others out
//! meanwhile. A shelf with locks is held alone; on one without, every node that gave a sign of life must be still for as
//! long as one may go on without looking. A node that was cut off that long finds another marker, and stops for good.

use std::fs;
use std::path::{Path, PathBuf};

use super::file::{self, KeyFile, Marker};
use super::lease::Signs;
use super::name::KeyName;
use crate::error::Error;
use crate::shared::SETTLE_AFTER_MS;
use crate::shelf::{Hold, Shelf, overwrite_and_remove, sync_folder};
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

/// Begins a rotation and ends it, or ends one that was begun here. `wait` lets so many milliseconds pass.
///
/// # Errors
///
/// [`Error::Busy`] if the ring is in use; [`Error::Rotating`] if another node began and did not end; as opening it;
/// [`Error::Io`], after which whoever opens the ring here finishes.
pub(super) fn rotate(
    shelf: &dyn Shelf,
    kek_file: &Path,
    wait: &mut dyn FnMut(i64),
    step: Step<'_>,
) -> Result<(), Error> {
    let held = shelf.hold(Hold::Alone)?;
    let is_new = !unfinished(kek_file);
    if is_new {
        if !kek_file.exists() {
            return Err(Error::NoKek(kek_file.to_owned()));
        }
        let (kek, marker) = (file::read_kek(kek_file)?, marker(shelf)?);
        check_finished(shelf, &marker, &kek, kek_file)?;
        marker.check(&kek, kek_file)?;
        step()?;
        file::write_kek(&next_path(kek_file))?;
        step()?;
    }
    let alone = announce(shelf, kek_file).and_then(|()| match held {
        Some(_) => Ok(()),
        None => watch(shelf, wait),
    });
    if let Err(error) = alone {
        // After another error it is not known whether the others were told: whoever goes on from here finds out.
        if matches!(error, Error::Busy(_)) && is_untouched(shelf, kek_file)? {
            shelf.wipe(file::ROTATING)?;
            overwrite_and_remove(&next_path(kek_file))?;
        } else if matches!(error, Error::Rotating(_)) && is_new {
            overwrite_and_remove(&next_path(kek_file))?;
        }
        return Err(error);
    }
    finish(shelf, kek_file, step)
}

/// The marker of the ring.
pub(super) fn marker(shelf: &dyn Shelf) -> Result<Marker, Error> {
    let text = shelf.read(file::MARKER)?.ok_or_else(|| Error::NoRing(shelf.place("")))?;
    Marker::parse(&text)
}

/// Keeps nodes from opening the ring, whose own key-encryption keys are about to be old.
fn announce(shelf: &dyn Shelf, kek_file: &Path) -> Result<(), Error> {
    let next = next_path(kek_file);
    let newest = if next.exists() { next } else { kek_file.to_owned() };
    let kek = file::read_kek(&newest)?;
    if shelf.create(file::ROTATING, &Marker::new(&kek)?.text())? {
        return Ok(());
    }
    let Some(text) = shelf.read(file::ROTATING)? else {
        return Err(Error::Contended(shelf.place(file::ROTATING)));
    };
    let ours = Marker::parse(&text)?.check(&kek, &newest);
    ours.map_err(|_| Error::Rotating(shelf.place("")))
}

/// Whether nothing is under the next key-encryption key yet.
fn is_untouched(shelf: &dyn Shelf, kek_file: &Path) -> Result<bool, Error> {
    let next = next_path(kek_file);
    if !next.exists() {
        return Ok(false);
    }
    let kek = file::read_kek(&next)?;
    if marker(shelf)?.check(&kek, &next).is_ok() {
        return Ok(false);
    }
    for file in shelf.list(file::KEYS)? {
        let Some(name) = KeyName::of_path(Path::new(&file)) else { continue };
        let Some(bytes) = shelf.read(&file)? else { continue };
        if KeyFile::open(bytes, &name, &kek).is_ok() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Waits until no node that does not know of the rotation can be at work.
fn watch(shelf: &dyn Shelf, wait: &mut dyn FnMut(i64)) -> Result<(), Error> {
    let before = Signs::read(shelf)?;
    if before.is_empty() {
        return Ok(());
    }
    wait(SETTLE_AFTER_MS);
    if Signs::read(shelf)?.is_any_alive(&before) {
        return Err(Error::Busy(shelf.place("")));
    }
    before.remove(shelf)
}

/// Whether a rotation that was announced still goes on, as far as a node with this key-encryption key can tell; what a
/// finished one left is removed.
///
/// # Errors
///
/// [`Error::Rotating`] if it does.
pub(super) fn check_finished(
    shelf: &dyn Shelf,
    marker: &Marker,
    kek: &Secret,
    kek_file: &Path,
) -> Result<(), Error> {
    let Some(text) = shelf.read(file::ROTATING)? else { return Ok(()) };
    let proved = Marker::parse(&text)?.check(kek, kek_file).and(marker.check(kek, kek_file));
    match proved {
        Ok(()) => shelf.wipe(file::ROTATING).map(drop),
        Err(_) => Err(Error::Rotating(shelf.place(""))),
    }
}

/// Ends what was begun; the caller holds the ring alone, and it is announced.
pub(super) fn finish(shelf: &dyn Shelf, kek_file: &Path, step: Step<'_>) -> Result<(), Error> {
    announce(shelf, kek_file)?;
    let (next, old) = (next_path(kek_file), old_path(kek_file));
    if next.exists() {
        let new_kek = file::read_kek(&next)?;
        let marker = marker(shelf)?;
        if marker.check(&new_kek, &next).is_err() {
            let old_kek = file::read_kek(kek_file)?;
            marker.check(&old_kek, kek_file)?;
            seal_again(shelf, &old_kek, &new_kek, step)?;
            step()?;
            shelf.replace(file::MARKER, &marker.under(&new_kek)?.text())?;
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
    step()?;
    shelf.wipe(file::ROTATING)?;
    step()
}

/// Seals each key file under `new_kek` that is not yet.
fn seal_again(
    shelf: &dyn Shelf,
    old_kek: &Secret,
    new_kek: &Secret,
    step: Step<'_>,
) -> Result<(), Error> {
    // Left by a crash: a key that was never used, or another name of one that is sealed again below.
    shelf.sweep(file::KEYS)?;
    for file in shelf.list(file::KEYS)? {
        let Some(name) = KeyName::of_path(Path::new(&file)) else { continue };
        let Some(bytes) = shelf.read(&file)? else { continue };
        if KeyFile::open(bytes.clone(), &name, new_kek).is_ok() {
            continue;
        }
        let key = KeyFile::open(bytes, &name, old_kek)?;
        step()?;
        shelf.replace(&file, &key.sealed(&name, new_kek)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
