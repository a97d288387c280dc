//! Storage: where tables live, and what fjall and Parquet leave to their users when a disk is full or files are damaged.
//!
//! A [`Root`] is a folder or a prefix of an object store: tables, statistics and ledgers live below one, and those who work on
//! them do not know which it is.
//!
//! A database takes nothing more after a write that failed, and may fail in any way over files that somebody changed.
//! [`guarded`], [`close`] and [`is_damage`] tell damage from what may pass; [`damaged_manifest`] finds the damage that would
//! take the process with it; [`settle`] and [`put_aside`] look after the journal of a closed database, and [`Journals`]
//! finds out whether opening one cut it short.
//!
//! Files that are read by programs without a look at a checksum bear one in their name ([`Checked`], [`is_whole`]).
//!
//! This crate knows neither frames nor keys nor tables: it works on fjall's files as fjall 3 lays them out.

mod checked;
mod damage;
mod journals;
mod root;

pub use checked::{Checked, is_whole, is_whole_file};
pub use damage::{close, damaged_manifest, guarded, is_damage};
pub use journals::{Journals, put_aside, settle};
pub use root::{Found, Root, RootError, wait};
