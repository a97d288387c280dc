//! `quorate hold`: rows that have to be kept, apart from everything else.

use anyhow::Context;
use clap::Subcommand;

use crate::apart::Lot;
use crate::clock::Clocks;
use crate::commands::subject::{ask_service, read_identifier};
use crate::commands::{print, table};
use crate::config::Config;
use crate::hold::{Add, Posted};
use crate::pipeline::{Progress, Worker};
use crate::store::{self, Store};

/// Commands about legal holds. The policy package says for which reasons there may be one, and how long.
#[derive(Subcommand)]
pub enum HoldCommand {
    /// Takes rows out of their table and keeps them apart: the events of some days, or of one contributor.
    Add(AddArgs),
    /// Shows every hold: reason, rows, end.
    List,
    /// Ends a hold before its time: rows whose epoch is not over go back, the others are destroyed.
    Release {
        /// As `hold list` shows it.
        id: String,
    },
}

/// Options of `hold add`.
#[derive(clap::Args)]
pub struct AddArgs {
    /// The family of the rows.
    #[arg(long)]
    family: String,
    /// First day of the events, UTC: 2026-11-01.
    #[arg(long, value_name = "DAY", requires = "to")]
    from: Option<String>,
    /// Last day of the events.
    #[arg(long, value_name = "DAY", requires = "from")]
    to: Option<String>,
    /// The rows of one contributor, who is named on standard input as for `subject`.
    #[arg(long, conflicts_with = "from", required_unless_present = "from")]
    contributor: bool,
    /// One of the reasons of the policy package.
    #[arg(long)]
    reason: String,
    /// Last day of the hold: then the rows are destroyed.
    #[arg(long, value_name = "DAY")]
    until: String,
}

/// Asks the running service, or does the work itself if there is none.
///
/// # Errors
///
/// If the package does not allow it, or the work fails.
pub async fn run(command: HoldCommand, config: Config) -> anyhow::Result<()> {
    let is_list = matches!(command, HoldCommand::List);
    let posted = match command {
        HoldCommand::List => Posted::List,
        HoldCommand::Release { id } => Posted::Release(id),
        HoldCommand::Add(AddArgs { family, from, to, contributor, reason, until }) => {
            let identifier = if contributor { Some(read_identifier()?) } else { None };
            Posted::Add(Add { family, days: from.zip(to), identifier, reason, until })
        }
    };
    let answer = if store::is_in_use(&config.data) {
        tokio::task::spawn_blocking(move || ask_service(&config, "hold", &posted)).await??
    } else {
        alone(config, posted).await?
    };
    if is_list {
        let lots: Vec<Lot> = serde_json::from_value(answer).context("no list of holds")?;
        return print(&render(&lots));
    }
    print(&format!("{}\n", serde_json::to_string_pretty(&answer)?))
}

async fn alone(config: Config, posted: Posted) -> anyhow::Result<serde_json::Value> {
    let store = Store::open(config, Clocks::system()).await?;
    let mut worker = Worker::new(store, std::sync::Arc::new(Progress::default()))?;
    worker.hold(posted).await
}

fn render(lots: &[Lot]) -> String {
    if lots.is_empty() {
        return "no holds\n".to_owned();
    }
    let heading = ["hold", "family", "rows", "reason", "since", "until"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for lot in lots {
        let end = lot.end.clone().unwrap_or_default();
        let cells = [
            lot.id.clone(),
            lot.family.clone(),
            lot.rows.to_string(),
            lot.reason.clone(),
            lot.since.clone(),
            end,
        ];
        rows.push(cells.to_vec());
    }
    table(&rows)
}
