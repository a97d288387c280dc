//! `quorate run`: the service until Ctrl-C or SIGTERM.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clocks;
use crate::commands::print;
use crate::config::Config;
use crate::limits;
use crate::rehearsal;
use crate::service::Service;
use crate::store::Store;

/// Options of `run`.
#[derive(clap::Args)]
pub struct Args {
    /// Runs as if it were this much later, on a copy of the data: a rehearsal of what will be released, removed and
    /// destroyed. It is done for good, so the data folder has to be new, or hold a file named REHEARSAL.
    #[arg(long, value_name = "SPAN", value_parser = rehearsal::span_ms)]
    ahead: Option<i64>,
    /// Starts although a damaged log has lost acknowledged frames: journals that cannot be read are put aside, and what
    /// is gone is counted in the ledger.
    #[arg(long)]
    accept_lost_frames: bool,
}

/// Runs the service.
///
/// # Errors
///
/// If anything cannot be opened, or a port cannot be listened on.
pub async fn run(args: Args, mut config: Config) -> anyhow::Result<()> {
    limits::fit(&mut config);
    // Signals are listened to before anything is opened, so that none is missed.
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let scheme = |tls: &Option<ingest::Tls>| if tls.is_some() { "https" } else { "http" };
    let (events, reads) = (scheme(&config.ingest.tls), scheme(&config.query.tls));
    if let Some(ahead_ms) = args.ahead {
        rehearsal::advance(&config, ahead_ms)?;
    }
    if args.accept_lost_frames {
        let losses = Store::accept_lost_frames(&config)?;
        let nothing = "no frames are missing".to_owned();
        let lines = if losses.is_empty() { vec![nothing] } else { losses };
        lines.iter().for_each(|line| tracing::warn!("{line}"));
    }
    let store = Store::open(config, Clocks::system()).await?;
    let service = Service::start(store).await?;
    print(&format!(
        "events      {events}://{}/v1/events\nstatistics  {reads}://{}/v1/query\noperator    http://{}/status\n\
         page        {reads}://{}/   sign in with a read token (quorate reader add NAME)\n",
        service.ingest, service.query, service.operator, service.query
    ))?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: no new requests, open ones are finished");
    service.stop().await?;
    Ok(())
}
