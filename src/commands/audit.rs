//! `quorate audit`: what is at rest, and whether it is as promised.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::audit;
use crate::commands::print;
use crate::config::Config;
use crate::rehearsal;
use crate::store::system_clock;

/// Options of `audit`.
#[derive(clap::Args)]
pub struct Args {
    /// Text for a terminal, JSON for programs (docs/audit.md), or one page for a browser.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Writes into this file, for its owner alone, instead of standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Html,
}

/// Looks at everything, and prints what is there.
///
/// # Errors
///
/// If a store cannot be reached, the package is not valid, or anything is not as promised.
pub async fn run(args: &Args, config: &Config) -> anyhow::Result<()> {
    let now = rehearsal::clock(&config.data, &system_clock())?();
    let report = audit::run(config, now).await?;
    let told = match args.format {
        Format::Text => report.text(),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
        Format::Html => report.html(),
    };
    match &args.out {
        None => print(&told)?,
        Some(file) => {
            let mut options = std::fs::OpenOptions::new();
            let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file);
            let written = opened.and_then(|mut out| out.write_all(told.as_bytes()));
            written.with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    match report.findings.len() {
        0 => Ok(()),
        1 => bail!("1 finding"),
        count => bail!("{count} findings"),
    }
}
