//! What people talk to: statistics that gate 2 has released, over HTTP, as SQL, and as text.
//!
//! Input: a typed [`Request`] in the words of `statistics.toml`, or read-only SQL; `statistics/<name>` and
//! `ledger/releases`. Output: an [`Answer`], which says up to when it is complete and what protects it.
//! This crate deliberately has no path to an events table: everything it can read may be shown to every reader.

mod answer;
mod dashboard;
mod describe;
mod encode;
mod error;
mod http;
mod ledger;
mod live;
mod policy;
mod privacy;
mod request;
mod running;
mod sql;
mod statistics;
mod text;
mod tokens;

pub use answer::{Answer, Privacy};
pub use describe::{Column, Description};
pub use encode::{Encoded, Format};
pub use error::QueryError;
pub use http::router;
pub use live::{FamilyCounts, Live};
pub use policy::{Keys, Outcomes};
pub use request::{NONE, Request};
pub use running::Running;
pub use sql::STACK_BYTES;
pub use statistics::Statistics;
pub use text::{bars, table};
