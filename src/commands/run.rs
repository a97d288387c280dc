//! `quorate run`: the service until Ctrl-C or SIGTERM.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::print;
use crate::config::Config;
use crate::service::Service;
use crate::store::{Store, system_clock};

/// Runs the service.
///
/// # Errors
///
/// If anything cannot be opened, or a port cannot be listened on.
pub async fn run(config: Config) -> anyhow::Result<()> {
    // Signals are listened to before anything is opened, so that none is missed.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let scheme = if config.ingest.tls.is_some() { "https" } else { "http" };
    let store = Store::open(config, system_clock()).await?;
    let service = Service::start(store).await?;
    print(&format!(
        "events      {scheme}://{}/v1/events\nstatistics  http://{}/v1/query\noperator    http://{}/status\n",
        service.ingest, service.query, service.operator
    ))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: no new requests, open ones are finished");
    service.stop().await?;
    Ok(())
}
