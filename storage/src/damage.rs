//! Damage, and how to tell it from a failure that may pass.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

/// `current` names a version: its number, the checksum of its file, and the kind of checksum.
const CURRENT_BYTES: usize = 8 + 16 + 1;

/// Does what may meet damaged files: a library that panics over them has found them damaged.
///
/// # Errors
///
/// What `work` says; [`fjall::Error::Unrecoverable`] in place of a panic.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, fjall::Error>) -> Result<T, fjall::Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(fjall::Error::Unrecoverable))
}

/// Drops what holds a database, which panics if one of the database's threads has.
///
/// # Errors
///
/// [`fjall::Error::Unrecoverable`] in place of a panic.
pub fn close<T>(holder: T) -> Result<(), fjall::Error> {
    guarded(|| {
        drop(holder);
        Ok(())
    })
}

/// Whether the storage found its files to be other than it wrote them, which no second attempt changes.
#[must_use]
pub fn is_damage(error: &fjall::Error) -> bool {
    let broken = |error: &io::Error| {
        matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
    };
    if let fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) = error {
        return broken(error);
    }
    // Whatever else it found, it found in its files.
    !matches!(error, fjall::Error::Poisoned | fjall::Error::Locked | fjall::Error::KeyspaceDeleted)
}

/// The first list of tables that is not as it was written, of the closed database in `dir`.
///
/// fjall reads these lists without a look at their checksum, and believes the numbers in them: a changed bit may ask
/// for more memory than there is, and end the process.
///
/// # Errors
///
/// If a file cannot be read for another reason.
pub fn damaged_manifest(dir: &Path) -> io::Result<Option<PathBuf>> {
    let folders = match fs::read_dir(dir.join("keyspaces")) {
        Ok(folders) => folders,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for folder in folders {
        let current = folder?.path().join("current");
        let Some(bytes) = read(&current)? else { continue };
        let Some((number, rest)) = bytes.split_first_chunk::<8>() else {
            return Ok(Some(current));
        };
        let manifest = current.with_file_name(format!("v{}", u64::from_le_bytes(*number)));
        let checksum = rest.first_chunk().map(|bytes| u128::from_le_bytes(*bytes));
        if bytes.len() != CURRENT_BYTES || checksum.is_none() {
            return Ok(Some(current));
        }
        if read(&manifest)?.is_none_or(|bytes| Some(xxh3_128(&bytes)) != checksum) {
            return Ok(Some(manifest));
        }
    }
    Ok(None)
}

/// The whole file; none if there is none.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_bit_of_a_list_of_tables_is_found() {
        let dir = tempfile::tempdir().unwrap();
        {
            let database = fjall::Database::builder(dir.path()).open().unwrap();
            let options = fjall::KeyspaceCreateOptions::default;
            let keyspace = database.keyspace("some", options).unwrap();
            keyspace.insert("key", "value").unwrap();
            keyspace.rotate_memtable_and_wait().unwrap();
        }
        assert_eq!(damaged_manifest(dir.path()).unwrap(), None);
        let keyspace = dir.path().join("keyspaces").join("1");
        let current = keyspace.join("current");
        let number = fs::read(&current).unwrap()[0];
        for path in [keyspace.join(format!("v{number}")), current] {
            let whole = fs::read(&path).unwrap();
            for byte in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[byte] ^= 1 << (byte % 8);
                fs::write(&path, &bytes).unwrap();
                // The last byte of `current` is the kind of checksum, of which there is one.
                let harmless = path.ends_with("current") && byte == CURRENT_BYTES - 1;
                assert_eq!(
                    damaged_manifest(dir.path()).unwrap().is_none(),
                    harmless,
                    "byte {byte}"
                );
            }
            fs::write(&path, whole).unwrap();
        }
    }

    #[test]
    fn damage_is_told_from_what_may_pass() {
        let io = |kind: io::ErrorKind| fjall::Error::Io(kind.into());
        assert!(!is_damage(&io(io::ErrorKind::StorageFull)) && !is_damage(&fjall::Error::Poisoned));
        assert!(is_damage(&io(io::ErrorKind::UnexpectedEof)));
        assert!(is_damage(&fjall::Error::InvalidTrailer));
        let panicked = guarded::<()>(|| panic!("over a file")).unwrap_err();
        assert!(is_damage(&panicked));
    }
}
