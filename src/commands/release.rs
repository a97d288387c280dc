//! `quorate release`: drains the log and computes what is closed, without the service.

use std::sync::Arc;

use crate::clock::Clocks;
use crate::commands::print;
use crate::config::Config;
use crate::pipeline::{Progress, Worker};
use crate::store::Store;

/// Releases what is closed. A running service does so by itself, every `sink.maintain_every_s`.
///
/// # Errors
///
/// If the data folder is in use, or a part of the work fails.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let store = Store::open(config, Clocks::system()).await?;
    let released = Worker::new(store, Arc::new(Progress::default()))?.maintain().await?;
    print(&format!("{released} periods released\n"))
}
