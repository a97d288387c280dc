//! A shelf on a file system: private files, written under a temporary name and synced, overwritten before they go.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::{Change, Held, Hold, Shelf};
use crate::crypto::random;
use crate::error::Error;
use crate::keys::hexadecimal;

/// Between two tries for a lock that somebody else has.
const LOCK_LOOK: Duration = Duration::from_millis(5);
/// Tries before an update gives up: ten seconds.
const LOCK_TRIES: usize = 2_000;

/// Files in a folder, which is made when the first is written.
///
/// Appending locks the file, updating the folder that it is in, [`Shelf::hold`] the folder of the shelf: a file that is updated must
/// lie in a folder below if the shelf is held.
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The shelf in this folder.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The shelf that holds the file `path`, and its name there.
    ///
    /// # Panics
    ///
    /// If the path has no file name.
    #[must_use]
    pub fn of(path: &Path) -> (Self, String) {
        let name = path.file_name().expect("the path of a file ends with its name");
        let root = path.parent().unwrap_or(Path::new("")).to_owned();
        (Self { root }, name.to_string_lossy().into_owned())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The path of a file that is about to be written, in a folder that is there.
    fn room(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path(name);
        if let Some(folder) = parent(&path)
            && !folder.exists()
        {
            fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
            sync_folder(folder)?;
        }
        Ok(path)
    }
}

impl Shelf for Folder {
    fn place(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    fn read_from(&self, name: &str, at: u64) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        let mut bytes = Vec::new();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bytes),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        file.lock_shared()
            .and_then(|()| file.seek(SeekFrom::Start(at)))
            .and_then(|_| file.read_to_end(&mut bytes))
            .map_err(Error::io("read", path))?;
        Ok(bytes)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, Error> {
        write_new(&self.room(name)?, bytes)
    }

    fn append(&self, name: &str, at: u64, bytes: &[u8]) -> Result<bool, Error> {
        let path = self.room(name)?;
        let opened = private().append(true).create(true).open(&path);
        let mut file = opened.map_err(Error::io("open", &path))?;
        file.lock().map_err(Error::io("lock", &path))?;
        if file.metadata().map_err(Error::io("read", &path))?.len() != at {
            return Ok(false);
        }
        file.write_all(bytes)
            .and_then(|()| file.sync_data())
            .map_err(Error::io("append to", &path))?;
        if at == 0 {
            sync_folder(&path)?;
        }
        Ok(true)
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        replace(&self.room(name)?, bytes)
    }

    fn update(&self, name: &str, change: &mut Change<'_>) -> Result<(), Error> {
        let path = self.room(name)?;
        let folder = parent(&path).unwrap_or(Path::new("."));
        let _lock = locked(folder)?;
        match change(self.read(name)?.as_deref())? {
            Some(bytes) => replace(&path, &bytes),
            None => Ok(()),
        }
    }

    fn wipe(&self, name: &str) -> Result<bool, Error> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(false);
        }
        overwrite_and_remove(&path).map(|()| true)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for path in entries(&self.path(folder))? {
            if path.is_file()
                && !is_temporary(&path)
                && let Some(name) = path.file_name()
            {
                let name = name.to_string_lossy();
                names.push(match folder {
                    "" => name.into_owned(),
                    folder => format!("{folder}/{name}"),
                });
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sweep(&self, folder: &str) -> Result<(), Error> {
        for path in entries(&self.path(folder))? {
            if is_temporary(&path) {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }

    fn hold(&self, how: Hold) -> Result<Option<Held>, Error> {
        let folder = File::open(&self.root).map_err(Error::io("open", &self.root))?;
        let held = match how {
            Hold::Shared => folder.try_lock_shared(),
            Hold::Alone => folder.try_lock(),
        };
        held.map_err(|_| Error::Busy(self.root.clone()))?;
        Ok(Some(Box::new(folder)))
    }
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|folder| !folder.as_os_str().is_empty())
}

/// Temporary files are another process's work, or what a crash left of it: never a file that was whole.
fn is_temporary(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "tmp")
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let read = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io("read", folder))?,
    };
    let paths: io::Result<Vec<PathBuf>> = read.map(|entry| Ok(entry?.path())).collect();
    paths.map_err(Error::io("read", folder))
}

fn locked(folder: &Path) -> Result<File, Error> {
    let file = File::open(folder).map_err(Error::io("open", folder))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_LOOK),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", folder)(error)),
        }
    }
    Err(Error::Busy(folder.to_owned()))
}

/// Opens for writing what only its owner may read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options
}

/// Writes a whole file where there is none, durably: temporary name, fsync, link, fsync of the folder. A link
/// and not a rename, because a rename would replace what another process has just put there. False if so.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<bool, Error> {
    let temporary = write_temporary(path, bytes)?;
    let first = match fs::hard_link(&temporary, path) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(Error::io("create", path)(error)),
    };
    if first {
        fs::remove_file(&temporary).map_err(Error::io("remove", &temporary))?;
    } else {
        overwrite_and_remove(&temporary)?;
    }
    sync_folder(path)?;
    Ok(first)
}

/// Writes a whole file in place of another, durably, and overwrites the other's content with zeros.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = write_temporary(path, bytes)?;
    let mut before = match OpenOptions::new().write(true).open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("open", path)(error)),
    };
    fs::rename(&temporary, path).map_err(Error::io("replace", path))?;
    sync_folder(path)?;
    before.as_mut().map_or(Ok(()), overwrite).map_err(Error::io("overwrite", path))
}

fn write_temporary(path: &Path, bytes: &[u8]) -> Result<PathBuf, Error> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", hexadecimal(&random::<8>()?)));
    let temporary = PathBuf::from(temporary);
    let mut file = private()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .map_err(Error::io("create", &temporary))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::io("write", &temporary))?;
    Ok(temporary)
}

fn overwrite(file: &mut File) -> io::Result<()> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    file.rewind()?;
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

/// Overwrites a file with zeros, durably, and removes it, durably.
pub(crate) fn overwrite_and_remove(path: &Path) -> Result<(), Error> {
    let destroy = || -> io::Result<()> {
        overwrite(&mut OpenOptions::new().write(true).open(path)?)?;
        fs::remove_file(path)
    };
    destroy().map_err(Error::io("destroy", path))?;
    sync_folder(path)
}

/// Makes the entry of `path` in its folder durable.
pub(crate) fn sync_folder(path: &Path) -> Result<(), Error> {
    let Some(folder) = parent(path) else { return Ok(()) };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("sync", folder))
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[test]
    fn a_folder_is_a_shelf() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("shelf");
        conformance::all(&|| Box::new(Folder::new(root.clone())));
    }

    #[test]
    fn a_line_that_a_crash_tore_is_not_overwritten_and_temporary_files_are_none() {
        let place = tempfile::tempdir().unwrap();
        let shelf = Folder::new(place.path().to_owned());
        assert!(shelf.append("a/lines", 0, b"one\ntw").unwrap());
        assert!(!shelf.append("a/lines", 4, b"x").unwrap());
        assert!(shelf.append("a/lines", 6, b"\nthree\n").unwrap());
        assert_eq!(shelf.read_from("a/lines", 4).unwrap(), b"tw\nthree\n");
        fs::write(place.path().join("a/left.0.tmp"), "x").unwrap();
        assert_eq!(shelf.list("a").unwrap(), ["a/lines"]);
        shelf.sweep("a").unwrap();
        assert!(!place.path().join("a/left.0.tmp").exists());
    }

    #[cfg(unix)]
    #[test]
    fn files_are_for_their_owner_and_no_name_keeps_what_is_gone() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let shelf = Folder::new(place.path().to_owned());
        shelf.create("a", b"secret").unwrap();
        shelf.append("b", 0, b"secret").unwrap();
        shelf.update("c", &mut |_| Ok(Some(b"secret".to_vec()))).unwrap();
        for (name, kept) in [("a", "a2"), ("b", "b2"), ("c", "c2")] {
            let path = place.path().join(name);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::hard_link(path, place.path().join(kept)).unwrap();
        }
        shelf.wipe("a").unwrap();
        shelf.replace("b", b"new").unwrap();
        shelf.update("c", &mut |_| Ok(Some(b"new".to_vec()))).unwrap();
        for kept in ["a2", "b2", "c2"] {
            assert_eq!(fs::read(place.path().join(kept)).unwrap(), [0; 6], "{kept}");
        }
    }

    #[test]
    fn a_shelf_is_held_by_many_or_by_one() {
        let place = tempfile::tempdir().unwrap();
        let shelf = Folder::new(place.path().to_owned());
        let (one, other) = (shelf.hold(Hold::Shared).unwrap(), shelf.hold(Hold::Shared).unwrap());
        drop(one);
        assert!(matches!(shelf.hold(Hold::Alone), Err(Error::Busy(_))));
        drop(other);
        let _alone = shelf.hold(Hold::Alone).unwrap();
        assert!(matches!(shelf.hold(Hold::Shared), Err(Error::Busy(_))));
    }
}
