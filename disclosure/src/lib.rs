//! Gate 2: the only code that turns event rows into answers.
//!
//! Input: `events/<family>` (Delta tables of pseudonymised rows) and a [`schemas::Package`] that declares what may be
//! asked. Output: `statistics/<name>`, one row a group that may be shown, for each closed period, once; and a line in
//! `ledger/releases` for each. Mechanism `threshold`: at least k contributors, complementary suppression across
//! groupings, clamps, rounding. It is disclosure control for staff, not anonymity: see [`threshold`] for what is
//! guaranteed and what is not.
//! This crate deliberately knows no socket, no clock, no key and no reader, and takes no query: it computes what is
//! declared, whoever asks.

mod compute;
mod days;
mod error;
mod groups;
mod histogram;
pub mod ledger;
pub mod period;
mod plan;
mod release;
mod revise;
mod rounding;
pub mod statistic;
mod suppression;
pub mod table;
pub mod threshold;

pub use error::Error;
pub use ledger::{Release, releases};
pub use period::Period;
pub use release::{Closing, Disclosure, Released};
