//! `quorate policy`: checks a package, forecasts what its statistics will show, or exports its event types.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Subcommand;
use schemas::forecast::{forecast, table};
use schemas::{Package, export};

use crate::commands::print;
use crate::config::Config;
use crate::store;

/// Commands about packages.
#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Reports everything that is wrong with a package at once, with file, line, column and what to write.
    Check {
        /// Folder of the package; without it the configured one.
        dir: Option<PathBuf>,
    },
    /// How much of each statistic will be visible.
    Forecast {
        /// Folder of the package; without it the configured one.
        dir: Option<PathBuf>,
        /// Contributors to reckon with; without it the package's `fleet`.
        #[arg(long)]
        contributors: Option<u64>,
    },
    /// Prints the event types of a package as source text, for those who send.
    #[command(subcommand)]
    Export(ExportCommand),
}

/// Languages of senders.
#[derive(Subcommand)]
pub enum ExportCommand {
    /// Declarations for the tracker: `types/events.d.ts`.
    Typescript {
        /// Folder of the package; without it the configured one.
        dir: Option<PathBuf>,
    },
    /// A C99 header for the client for devices: structs, and functions that record them.
    CHeader {
        /// Folder of the package; without it the configured one.
        dir: Option<PathBuf>,
    },
}

/// Runs a command about packages.
///
/// # Errors
///
/// With every diagnostic, if the package is not valid.
pub fn run(command: PolicyCommand, config: Option<&Path>) -> anyhow::Result<()> {
    match command {
        PolicyCommand::Check { dir } => print(&load(dir, config)?.describe()),
        PolicyCommand::Forecast { dir, contributors } => {
            let forecasts =
                forecast(load(dir, config)?.as_ref(), contributors).ok_or_else(|| {
                    anyhow::anyhow!("the package declares no fleet: say `--contributors 300`")
                })?;
            print(&table(&forecasts))
        }
        PolicyCommand::Export(ExportCommand::Typescript { dir }) => {
            print(&export::typescript(load(dir, config)?.as_ref()))
        }
        PolicyCommand::Export(ExportCommand::CHeader { dir }) => {
            print(&export::c_header(load(dir, config)?.as_ref()))
        }
    }
}

/// The package in `dir`, else the configured one.
///
/// # Errors
///
/// With every diagnostic, if it is not valid.
pub(super) fn load(dir: Option<PathBuf>, config: Option<&Path>) -> anyhow::Result<Arc<Package>> {
    let folder = match dir {
        Some(dir) => Some(dir),
        None => Config::load(config)?.policy,
    };
    store::package(folder.as_deref())
}
