//! Gate 1: nothing personal passes. The only code that can read a raw event.
//!
//! Input: declared fields of events as [`RawEvent`]s, and the [`Connection`] they came over. Output:
//! [`Sealed`] frames for the log, and [`AnonymizedBatch`]es for the sink. The way through is one:
//! `RawEvent → RawBatch → Sealed → RawBatch → AnonymizedBatch`; each arrow consumes its input, and no other
//! crate can look inside any but the last.
//!
//! This crate deliberately knows no socket, no log, no table and no request: time comes in as a value, rows
//! go out as columns. The system's generator is asked here alone, for keys and nonces.

mod agents;
mod anonymized;
pub mod apart;
mod archive;
mod connection;
mod consent;
mod crypto;
mod error;
mod explain;
#[cfg(test)]
mod fixture;
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod geo;
mod keys;
mod layout;
mod nulled;
mod operators;
mod plan;
mod pseudonym;
mod raw;
mod seal;
pub mod shared;
pub mod shelf;
mod subject;
mod suppression;
mod vault;

pub use agents::Agents;
pub use anonymized::{AnonymizedBatch, EventKey};
pub use connection::{Connection, Resolved, Resolver};
pub use consent::{Consent, Decided, Decision, PurposeFate, Signals, Statement, TcString};
pub use error::Error;
pub use explain::Fate;
pub use gate::{Gate, Origin};
pub use geo::Geo;
pub use keys::{Finding, Key, KeyEntry, KeyName, KeyRing, KeyState, Shelves, Verified};
pub use raw::{ClockSource, RawBatch, RawBuilder, RawEvent, Value};
pub use seal::{Header, InFlight, Sealed};
pub use shared::Sharing;
pub use shelf::{Folder, Shelf};
pub use subject::{Commitment, Identifier, Pseudonyms, Subject};
pub use suppression::{RequestKind, Suppressed, SuppressionList, Wanted};
pub use vault::lock_memory;
