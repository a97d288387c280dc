//! `quorate sql`: read-only SQL over the statistics tables.

use query::{Statistics, table};

use crate::commands::print;
use crate::config::Config;
use crate::store::package;

/// Options of `sql`.
#[derive(clap::Args)]
pub struct Args {
    /// The statement; each statistic is a table of its name.
    statement: String,
}

/// Runs the statement and prints its rows.
///
/// # Errors
///
/// If it is not a query, or names anything but statistics.
pub async fn run(args: Args, config: &Config) -> anyhow::Result<()> {
    let package = package(config.policy.as_deref())?;
    let (tables, ledger) = config.released()?;
    let statistics = Statistics::new(package, tables, ledger);
    let answer = statistics.sql(&args.statement).await?;
    print(&format!("{}\n", table(&answer).trim_end()))
}
