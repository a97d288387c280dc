//! `quorate query`: a statistic as a table, read from the files.

use query::{Description, Request, Statistics, table};

use crate::commands::{self, print};
use crate::config::Config;
use crate::store::package;

/// Options of `query`.
#[derive(clap::Args)]
pub struct Args {
    /// Name of the statistic; without it, the list of them.
    name: Option<String>,
    /// Dimensions of a declared grouping, such as `--by product --by version`, or `--by product,version`.
    #[arg(long, value_delimiter = ',')]
    by: Vec<String>,
    /// Measures; without any: all.
    #[arg(long, value_delimiter = ',')]
    measures: Vec<String>,
    /// First day, as 2026-01-31.
    #[arg(long, requires = "to")]
    from: Option<String>,
    /// Day after the last one.
    #[arg(long, requires = "from")]
    to: Option<String>,
}

/// Prints a statistic, or the list of them.
///
/// # Errors
///
/// If there is none of that name or grouping: the message says which there are.
pub async fn run(args: Args, config: &Config) -> anyhow::Result<()> {
    let package = package(config.policy.as_deref())?;
    let (tables, ledger) = config.released()?;
    let statistics = Statistics::new(package, tables, ledger);
    let Some(name) = args.name else {
        return print(&list(&statistics.list().await?));
    };
    let said = |words: Vec<String>| (!words.is_empty()).then_some(words);
    let request = Request {
        from: name,
        measures: said(args.measures),
        by: said(args.by),
        between: args.from.zip(args.to),
        ..Request::default()
    };
    let answer = statistics.answer(&request).await?;
    print(&format!("{}\n", table(&answer).trim_end()))
}

/// What can be asked for, a line a statistic.
fn list(statistics: &[Description]) -> String {
    let heading = ["statistic", "every", "complete until", "measures", "by"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for one in statistics {
        let by = one.groupings.iter().map(|grouping| match grouping.as_slice() {
            [] => "(total)".to_owned(),
            some => some.join(","),
        });
        rows.push(vec![
            one.name.clone(),
            one.every.to_owned(),
            one.complete_until.clone().unwrap_or_else(|| "nothing released yet".to_owned()),
            one.measures.join(","),
            by.collect::<Vec<_>>().join("  "),
        ]);
    }
    commands::table(&rows)
}
