//! `quorate run`: the service until Ctrl-C or SIGTERM.

use std::sync::Arc;

use crate::clock::Clocks;
use crate::commands::print;
use crate::config::{Config, Roles};
use crate::limits;
use crate::rehearsal;
use crate::service::Service;
use crate::signals::Signals;
use crate::store::{Node, Store};

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
    /// What this process does of the whole, with commas between: `ingest` takes events, `worker` fills tables and
    /// releases statistics, `query` shows them. Some without the others need Kafka and shared storage.
    #[arg(long, value_name = "ROLES", default_value_t = Roles::ALL)]
    pub(crate) roles: Roles,
}

/// Runs the service.
///
/// # Errors
///
/// If anything cannot be opened, or a port cannot be listened on.
pub async fn run(args: Args, mut config: Config) -> anyhow::Result<()> {
    limits::fit(&mut config);
    // Signals are listened to before anything is opened, so that none is missed.
    let signals = Signals::listen()?;
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
    let node = Node::open(config, Clocks::system(), args.roles)?;
    let service = tokio::select! {
        service = Service::open(node) => service?,
        // Brokers or stores that it waits for may never answer; nothing was taken yet.
        () = signals.asked() => return Ok(()),
    };
    signals.watch(Arc::clone(&service.progress));
    let mut text = String::new();
    if let Some(address) = service.ingest {
        text.push_str(&format!("events      {events}://{address}/v1/events\n"));
    }
    if let Some(address) = service.query {
        text.push_str(&format!("statistics  {reads}://{address}/v1/query\n"));
    }
    text.push_str(&format!("operator    http://{}/status\n", service.operator));
    if let Some(address) = service.query {
        let how = "sign in with a read token (quorate reader add NAME)";
        text.push_str(&format!("page        {reads}://{address}/   {how}\n"));
    }
    print(&text)?;
    signals.asked().await;
    service.stop().await?;
    Ok(())
}
