//! Ingest: bytes and HTTP in, sealed frames out.
//!
//! Input: requests from browsers, devices and servers ([`serve`]), or lines of history ([`Importer`]). Output: frames
//! in a [`transport::Log`], or batches for gate 1; and for every event that is not taken an answer that names the rule
//! it broke. Decoding ([`decode`]), checking ([`assemble`]) and finding the event time ([`clock`]) are functions of
//! values; sockets, timers and tasks are a thin layer around them. A protocol of another client gets a file of its own in
//! `protocols/`, and ends in the same checks.
//!
//! This crate deliberately cannot read what it has sealed, and never puts a value of an event into an answer, a log
//! line or a metric.

pub mod clock;
#[doc(hidden)]
pub mod fuzzing;

mod address;
mod auth;
mod batcher;
mod body;
mod budget;
mod check;
mod collect;
mod config;
mod connections;
mod decode;
mod door;
mod error;
mod explain;
mod import;
mod limiter;
mod pages;
mod partition;
mod plan;
mod protocols;
mod record;
mod report;
mod respond;
mod rows;
mod server;
mod stats;
mod suspension;
#[cfg(test)]
mod testing;
mod tls;

pub use config::{ForwardedBy, IngestConfig, PlainText, Tls};
pub use connections::{Connections, Held};
pub use decode::{BodyError, Decoded, Limits, decode};
pub use error::Error;
pub use explain::{Explained, Outcome, Sender, explain};
pub use import::Importer;
pub use plan::Plan;
pub use record::{Record, RecordConfig, RecordFormat, RecordReader};
pub use rows::{Change, Received, Refusal, Report, Rows, Sending, assemble};
pub use server::{Server, serve};
pub use stats::{FamilyStatus, SourceStatus};
pub use suspension::Suspension;
pub use tls::Certificate;
