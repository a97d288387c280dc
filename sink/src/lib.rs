//! Sink: anonymised rows in, Delta tables out, every event exactly once.
//!
//! A [`Sink`] takes [`anonymizer::AnonymizedBatch`] and nothing else, so that no row can get here past gate 1. It writes
//! `events/<family>`, a table for each family of the package, partitioned by day, and `ledger/outcomes`, which says
//! what became of every event. It finds duplicates by event key within the family's window, arranges
//! rows in random order once their hour is over, and removes them when their key epoch is.
//!
//! # Exactly once
//! Delta has no transactions over several tables, so no promise rests on one. A commit to a family's table carries its
//! rows, a manifest with their counts, and for each partition the position up to which the table is complete, under
//! `<stream>/<partition>`. The ledger commits last, with copies of the manifests and the same positions; it alone says where
//! to read on ([`Sink::next`]). After a crash between the two, frames come again: a table passes over what it
//! holds, and the ledger takes the missing counts from the table's manifests when the sink is opened.
//!
//! # Many writers
//! A store has several [`Stream`]s, and several processes may each write some partitions of them ([`Own`]) into the same
//! tables. Each names all partitions of its own in every commit, so that Delta refuses what it commits once another
//! opened one of them: opening commits to each table and to the ledger first, without rows, and only then reads
//! positions. What an earlier writer of the partition did before is found and counted, what it does after
//! is refused ([`SinkError::Fenced`]), whichever families the two write. What others do to the tables otherwise is no reason
//! to refuse a commit: it is tried again from there.
//!
//! One of them is the maintainer. It alone removes, erases and arranges rows, which names an application of its own. It
//! leaves log entries for an hour, and until the ledger has their counts: a commit is checked against the entries since it
//! was prepared, so that an hour is also the longest that a writer may stand still and go on; files that no commit
//! named are left for a day.
//!
//! Each writer's dedupe index holds the keys of its own partitions (and of imports), since a duplicate is one within a
//! partition. Who takes over a partition reads the keys of the whole table once: a group whose members keep most of their
//! partitions when it changes is worth having.
//!
//! # What it does not know
//! Where frames come from, how they are sealed, what a statistic is, and what time it is: time comes in with each
//! call. Rows of open files live in memory and in files in a folder of their own (staging), which are published below the root
//! right before the commit that names them; a crash loses them, and the log still has them.
//!
//! Calls work on the thread that makes them, and may take it for seconds (encoding, `fsync`): a worker
//! gives the sink a thread of its own.

mod apart;
mod arrange;
mod beside;
mod contributors;
mod dedupe;
mod erase;
mod error;
mod files;
mod ledger;
mod life;
mod maintain;
mod manifest;
mod narrow;
mod outlive;
mod own;
mod replay;
mod rewrite;
mod settle;
mod shared;
mod sink;
mod slots;
mod table;
mod writer;

use std::path::PathBuf;

use storage::Root;

pub use apart::{PutBack, Which};
pub use beside::keep_beside;
pub use erase::Erased;
pub use error::SinkError;
pub use ledger::outcomes;
pub use maintain::Maintained;
pub use manifest::{Counted, ManifestContext, OutcomeRow};
pub use narrow::Narrowed;
pub use own::{Own, Stream};
pub use replay::{Comparison, Difference, FieldDifference, Frame};
pub use sink::{Committed, Pending, Sink, Written};
pub use slots::slot;

/// The partition of rows that came through no log: positions in it count what was imported, over all imports
/// ([`Sink::next`] tells where to go on).
pub const IMPORT: u16 = u16::MAX;

/// Where a sink keeps things, and when it has enough for a commit.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// The tables: `events/…` and `ledger/…` below it.
    pub root: Root,
    /// Folder of this machine for files on their way to the tables, or from them if those are in an object store. Emptied
    /// when the sink is opened; on the file system of the tables, if they are in a folder, files are moved and not copied.
    pub staging: PathBuf,
    /// Folder of the dedupe index. It is derived from the tables and may be deleted while the sink is closed.
    pub index: PathBuf,
    /// [`Sink::is_full`] from this many bytes on, of files and of keys in memory; 64 MiB is a good value. More makes
    /// fewer files, and takes up to twice as much memory for keys.
    pub commit_bytes: u64,
    /// Rows of a row group at most; 131,072 is a good value. More packs better and takes more memory.
    pub row_group_rows: usize,
}

#[cfg(test)]
mod tests;
