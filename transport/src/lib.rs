//! Transport: sealed frames in, the same frames out, in order and for as long as raw events may live.
//!
//! A [`Log`] appends a [`anonymizer::Sealed`] frame to one of a fixed number of partitions and reads a
//! partition from a position. [`embedded`] keeps it on one machine, `kafka` (a feature) on many. [`conformance`] says what every implementation owes, as a suite that each of them passes.
//!
//! This crate cannot open a frame: it holds no key, and [`anonymizer::Sealed`] gives it bytes and a clear
//! header, nothing else.

pub mod conformance;
pub mod embedded;
#[cfg(test)]
mod frames;
#[cfg(feature = "kafka")]
pub mod kafka;
mod log;

pub use log::{Log, LogError, LogId, Partition, Position};
