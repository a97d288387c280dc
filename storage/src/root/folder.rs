//! What a root does that is a folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::Path;

use super::Found;

/// What is in a folder; nothing if there is no such folder.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// All files below a folder of the root.
pub(super) fn walk(root: &Path, folder: &str, found: &mut Vec<Found>) -> io::Result<()> {
    for entry in entries(&root.join(folder))? {
        let entry = entry?;
        // Nothing of ours is called what is no text.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        let about = entry.metadata()?;
        if about.is_dir() {
            walk(root, &name, found)?;
        } else {
            let since = about.modified()?.duration_since(std::time::UNIX_EPOCH);
            let modified_ms = since.map_or(0, |since| since.as_millis());
            found.push(Found { name, modified_ms: i64::try_from(modified_ms).unwrap_or(i64::MAX) });
        }
    }
    Ok(())
}

/// Removes the empty folders in a folder.
pub(super) fn remove_empty(folder: &Path) {
    for entry in entries(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            remove_empty(&path);
            // Only an empty folder can be removed, and that is what is wanted.
            let _not_empty = fs::remove_dir(&path);
        }
    }
}

/// Renames, or copies where the two places are not on one file system.
pub(super) fn move_file(file: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::rename(file, to) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {}
        done => return done,
    }
    // Not under its name before all of it is there.
    let partly = to.with_extension("partly");
    let mut copy = File::create(&partly)?;
    io::copy(&mut File::open(file)?, &mut copy)?;
    copy.sync_all()?;
    fs::rename(&partly, to)?;
    fs::remove_file(file)
}
