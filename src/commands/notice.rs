//! `quorate notice`: what visitors are told, made of a package.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use schemas::notice::Notice;

use crate::commands::{policy, print};

/// Options of `quorate notice`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of the package; without it the configured one.
    dir: Option<PathBuf>,
    /// One page for a browser or a printer, or text for a site of yours.
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Markdown,
    Html,
}

/// Prints the notice.
///
/// # Errors
///
/// With every diagnostic, if the package is not valid.
pub fn run(args: Args, config: Option<&Path>) -> anyhow::Result<()> {
    let notice = Notice::of(policy::load(args.dir, config)?.as_ref());
    print(&match args.format {
        Format::Markdown => notice.markdown(),
        Format::Html => notice.html(),
    })
}
