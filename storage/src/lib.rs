//! Storage: what fjall leaves to its users when a disk is full or its files are damaged.
//!
//! A database takes nothing more after a write that failed, and may fail in any way over files that somebody changed.
//! [`guarded`], [`close`] and [`is_damage`] tell damage from what may pass; [`damaged_manifest`] finds the damage that would
//! take the process with it; [`settle`] and [`put_aside`] look after the journal of a closed database, and [`Journals`]
//! finds out whether opening one cut it short.
//!
//! Files that are read by programs without a look at a checksum bear one in their name ([`Checked`], [`is_whole`]).
//!
//! This crate knows neither frames nor keys: it works on fjall's files as fjall 3 lays them out.

mod checked;
mod damage;
mod journals;

pub use checked::{Checked, is_whole};
pub use damage::{close, damaged_manifest, guarded, is_damage};
pub use journals::{Journals, put_aside, settle};
