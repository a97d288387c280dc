//! The journals of a database: `<n>.jnl`, the last of which is written to.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes looked at at once for the end of a journal's content.
const CHUNK_BYTES: u64 = 64 << 10;

/// Writes the last journal of a closed database once more, durably and under its own name.
///
/// A system may call pages written that it could not write; what is read from memory then is not what a crash would
/// leave. After this, what is read is on the disk.
///
/// # Errors
///
/// What the system says; the journal is as it was then.
pub fn settle(dir: &Path) -> io::Result<()> {
    let Some((_, journal)) = journals(dir)?.pop() else { return Ok(()) };
    let copy = journal.with_extension("settled");
    let mut from = File::open(&journal)?;
    let length = content_end(&mut from)?;
    from.rewind()?;
    let mut to = File::create(&copy)?;
    io::copy(&mut from.take(length), &mut to)?;
    to.sync_all()?;
    fs::rename(&copy, &journal)?;
    File::open(dir)?.sync_all()
}

/// Puts the journals of a closed database aside as `<n>.damaged`, so that it opens without them.
///
/// # Errors
///
/// What the system says.
pub fn put_aside(dir: &Path) -> io::Result<()> {
    let mut last = 0;
    for (number, journal) in journals(dir)? {
        fs::rename(&journal, journal.with_extension("damaged"))?;
        last = number;
    }
    // Where it finds none at all, fjall begins to count from the start and writes behind what its tables hold.
    File::create(dir.join(format!("{}.jnl", last + 1)))?.sync_all()?;
    File::open(dir)?.sync_all()
}

/// How long the journals of a closed database were, but for the last one, which is cut after each crash.
pub struct Journals {
    /// Each with the end of its content; held open, because fjall may remove it soon.
    complete: Vec<(File, u64)>,
}

impl Journals {
    /// Measures the journals in `dir`, before the database there is opened.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn measure(dir: &Path) -> io::Result<Self> {
        let mut complete = Vec::new();
        if dir.exists() {
            for (_, path) in journals(dir)? {
                let mut file = File::open(path)?;
                let end = content_end(&mut file)?;
                complete.push((file, end));
            }
            complete.pop();
        }
        Ok(Self { complete })
    }

    /// Whether opening the database has cut a journal short that was complete: it held something that made no sense,
    /// and what stood behind that is not read.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn were_cut(&self) -> io::Result<bool> {
        for (file, end) in &self.complete {
            if file.metadata()?.len() < *end {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The journals in `dir`, oldest first.
fn journals(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|name| name.to_str()?.parse::<u64>().ok());
        if let Some(number) = number
            && path.extension().is_some_and(|extension| extension == "jnl")
        {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Where a journal's content ends: behind it are the zeros of a file made longer than it is needed yet.
fn content_end(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut chunk = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES);
        file.seek(SeekFrom::Start(start))?;
        chunk.clear();
        file.by_ref().take(end - start).read_to_end(&mut chunk)?;
        if let Some(last) = chunk.iter().rposition(|byte| *byte != 0) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> (fjall::Database, fjall::Keyspace) {
        let database = fjall::Database::builder(dir).open().unwrap();
        let options = fjall::KeyspaceCreateOptions::default;
        let keyspace = database.keyspace("some", options).unwrap();
        (database, keyspace)
    }

    #[test]
    fn a_settled_journal_is_short_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        settle(dir.path()).unwrap();
        let (database, keyspace) = open(dir.path());
        keyspace.insert("key", "value").unwrap();
        drop((database, keyspace));
        settle(dir.path()).unwrap();
        let (_, path) = journals(dir.path()).unwrap().pop().unwrap();
        assert!(path.metadata().unwrap().len() < 4096);
        assert_eq!(open(dir.path()).1.get("key").unwrap().as_deref(), Some(&b"value"[..]));
    }

    #[test]
    fn without_its_journals_a_database_goes_on_behind_its_tables() {
        let dir = tempfile::tempdir().unwrap();
        let (database, keyspace) = open(dir.path());
        for _ in 0..9 {
            keyspace.insert("key", "flushed").unwrap();
        }
        keyspace.rotate_memtable_and_wait().unwrap();
        keyspace.insert("key", "lost").unwrap();
        drop((database, keyspace));
        put_aside(dir.path()).unwrap();
        let (database, keyspace) = open(dir.path());
        assert_eq!(keyspace.get("key").unwrap().as_deref(), Some(&b"flushed"[..]));
        keyspace.insert("key", "new").unwrap();
        drop((database, keyspace));
        assert_eq!(open(dir.path()).1.get("key").unwrap().as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn a_complete_journal_that_is_cut_is_noticed() {
        for changed in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (database, keyspace) = open(dir.path());
            for key in 0..100_u8 {
                keyspace.insert([key], [key; 100]).unwrap();
            }
            drop((database, keyspace));
            settle(dir.path()).unwrap();
            // A further one makes it complete.
            let (number, path) = journals(dir.path()).unwrap().pop().unwrap();
            File::create(dir.path().join(format!("{}.jnl", number + 1))).unwrap();
            if changed {
                let mut bytes = fs::read(&path).unwrap();
                // The first byte is that of a batch's beginning: without it nothing that follows is read.
                bytes[0] ^= 4;
                fs::write(&path, bytes).unwrap();
            }
            let before = Journals::measure(dir.path()).unwrap();
            drop(open(dir.path()));
            assert_eq!(before.were_cut().unwrap(), changed);
        }
    }
}
