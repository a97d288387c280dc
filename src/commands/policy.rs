//! `quorate policy`: checks a package, forecasts what its statistics will show, says what a change of it does, or
//! exports it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use schemas::diff::Diff;
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
    /// What a change of a package starts and stops to collect, for what, for whom, how long, and for whose eyes.
    ///
    /// Ends with 0 if the new package is as narrow as the old one or narrower, with 1 if it is wider in anything, and
    /// with 2 if one of them cannot be read.
    Diff(DiffArgs),
    /// Prints a package in the language of others: of those who send, and of those who keep records of processing.
    #[command(subcommand)]
    Export(ExportCommand),
}

/// Options of `quorate policy diff`.
#[derive(clap::Args)]
pub struct DiffArgs {
    /// Folder of the package as it was.
    old: PathBuf,
    /// Folder of the package as it would be.
    new: PathBuf,
    /// As one JSON object.
    #[arg(long)]
    json: bool,
}

/// Languages of others.
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
    /// JSON Schema (draft 2020-12) of events and batches.
    JsonSchema {
        /// Folder of the package; without it the configured one.
        dir: Option<PathBuf>,
    },
    /// The W3C Data Privacy Vocabulary (DPV 2.3) as JSON-LD: purposes, bases, data, recipients, periods, rights.
    Dpv {
        /// Folder of the package; without it the configured one.
        dir: Option<PathBuf>,
    },
    /// Resources of Fides as YAML: a dataset, a system, a policy.
    Fides {
        /// Folder of the package; without it the configured one.
        dir: Option<PathBuf>,
    },
}

/// Runs a command about packages; 1 is a change that widens.
///
/// # Errors
///
/// With every diagnostic, if the package is not valid.
pub fn run(command: PolicyCommand, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        PolicyCommand::Check { dir } => print(&load(dir, config)?.describe()),
        PolicyCommand::Forecast { dir, contributors } => {
            let forecasts =
                forecast(load(dir, config)?.as_ref(), contributors).ok_or_else(|| {
                    anyhow::anyhow!("the package declares no fleet: say `--contributors 300`")
                })?;
            print(&table(&forecasts))
        }
        PolicyCommand::Diff(args) => return diff(&args),
        PolicyCommand::Export(command) => {
            let (dir, write): (_, fn(&Package) -> String) = match command {
                ExportCommand::Typescript { dir } => (dir, export::typescript),
                ExportCommand::CHeader { dir } => (dir, export::c_header),
                ExportCommand::JsonSchema { dir } => (dir, export::json_schema),
                ExportCommand::Dpv { dir } => (dir, export::dpv_json_ld),
                ExportCommand::Fides { dir } => (dir, export::fides),
            };
            print(&write(load(dir, config)?.as_ref()))
        }
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What cannot be read is neither wider nor narrower.
const UNREADABLE: u8 = 2;

#[expect(clippy::print_stderr, reason = "the last word of a command that ends with its own code")]
fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let DiffArgs { old, new, json } = args;
    let read = |dir: &Path| store::package(Some(dir));
    let (old, new) = match (read(old), read(new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("quorate: {error:#}");
            return Ok(ExitCode::from(UNREADABLE));
        }
    };
    let diff = Diff::between(&old, &new);
    if *json {
        print(&format!("{}\n", serde_json::to_string_pretty(&diff)?))?;
    } else {
        print(&diff.text())?;
    }
    Ok(if diff.result.is_wider() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
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
