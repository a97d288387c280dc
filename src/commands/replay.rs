//! `quorate replay`: frames of past hours again, under the policy of today.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use disclosure::Released;
use indicatif::{ProgressBar, ProgressStyle};
use schemas::Millis;
use schemas::time::HOUR_MS;
use sink::Difference;

use crate::clock::Clocks;
use crate::commands::{print, table};
use crate::config::Config;
use crate::replay::{Options, Passed, Replayed, Selection, Target, replay};
use crate::store::Store;

/// Longest id, in characters: every commit of the replay carries it.
const ID_CHARS_MAX: usize = 64;

/// Options of `replay`.
#[derive(clap::Args)]
pub struct Args {
    /// First hour received: `2026-11-22` or `2026-11-22T10:00:00Z`.
    #[arg(long, visible_alias = "from-time", value_name = "TIME", value_parser = hour, requires = "to")]
    #[arg(required_unless_present = "partition", conflicts_with = "partition")]
    from: Option<u32>,
    /// The hour after the last, in the same form.
    #[arg(long, visible_alias = "to-time", value_name = "TIME", value_parser = hour, requires = "from")]
    to: Option<u32>,
    /// A partition of the log, instead of hours: then with positions of it, in Kafka the offsets.
    #[arg(long, requires = "from_offset", requires = "to_offset")]
    partition: Option<u16>,
    /// First position.
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    from_offset: Option<u64>,
    /// The position after the last.
    #[arg(long, value_name = "OFFSET", requires = "partition")]
    to_offset: Option<u64>,
    /// Counts what would change, by family and field, and changes nothing.
    #[arg(long, conflicts_with = "into")]
    dry_run: bool,
    /// Writes the rows into tables of their own below this folder, and leaves the others as they are.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// By which a replay that was killed is found again; without it the same hours and policy are the same replay.
    #[arg(long)]
    id: Option<String>,
    /// Rows that are compared and replaced at once: fewer take less memory, more are faster.
    #[arg(long, value_name = "ROWS", default_value_t = 262_144)]
    chunk_rows: usize,
}

/// Replays, on a store whose service is stopped.
///
/// # Errors
///
/// If the data folder is in use, the hours or the id make no sense, or a part of the work fails.
pub async fn run(args: Args, config: Config) -> anyhow::Result<()> {
    let frames = args.frames()?;
    if let Some(id) = &args.id {
        check(id)?;
    }
    let mut store = Store::open(config, Clocks::system()).await?;
    let target = match (args.dry_run, args.into) {
        (true, _) => Target::Nowhere,
        (false, None) => Target::Tables,
        (false, Some(folder)) => Target::Beside(folder),
    };
    let id = args.id.unwrap_or_else(|| frames.default_id(&store.package.digest));
    let options = Options { frames, target, id, chunk_rows: args.chunk_rows.max(1) };
    let bar = progress_bar();
    let mut tick = |done: u64, total: u64| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let replayed = replay(&mut store, &options, &mut tick).await?;
    bar.finish_and_clear();
    print(&report(&options, &replayed))
}

impl Args {
    fn frames(&self) -> anyhow::Result<Selection> {
        let ascends = |ascends: bool, last: &str| {
            anyhow::ensure!(ascends, "--{last} has to be beyond the other end");
            Ok(())
        };
        match (self.from, self.to, self.partition, self.from_offset, self.to_offset) {
            (Some(from), Some(to), None, None, None) => {
                ascends(from < to, "to")?;
                Ok(Selection::Hours(from..to))
            }
            (None, None, Some(partition), Some(from), Some(to)) => {
                ascends(from < to, "to-offset")?;
                Ok(Selection::Positions { partition, span: from..to })
            }
            _ => bail!("write --from and --to, or --partition with --from-offset and --to-offset"),
        }
    }
}

/// Reads a day or a point in time that begins an hour, as hours since 1970.
fn hour(text: &str) -> Result<u32, String> {
    let time = Millis::parse(text).or_else(|| Millis::parse(&format!("{text}T00:00:00Z")));
    let time = time.ok_or("not a time such as 2026-11-22 or 2026-11-22T10:00:00Z")?;
    if time.0 < 0 || time.truncate(HOUR_MS) != time {
        return Err("not the beginning of an hour".to_owned());
    }
    Ok(time.hour())
}

fn check(id: &str) -> anyhow::Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if id.is_empty() || id.len() > ID_CHARS_MAX || !id.chars().all(plain) {
        bail!("--id takes up to {ID_CHARS_MAX} letters, digits, - and _");
    }
    Ok(())
}

fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} positions {eta}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn report(options: &Options, replayed: &Replayed) -> String {
    let Replayed { frames, resumed, destroyed, unreadable, damaged, expired, revised, differences } =
        replayed;
    let done = match &options.target {
        Target::Nowhere => "compared, nothing was changed",
        Target::Tables => "replaced in the tables",
        Target::Beside(_) => "written beside, the tables are as they were",
    };
    let again = if *resumed { ", where an earlier call had stopped" } else { "" };
    let mut text = format!("replay {}: {frames} frames read{again}; {done}\n", options.id);
    let passed = |Passed { frames, rows }: &Passed, why: &str| match frames {
        0 => String::new(),
        _ => format!("{frames} frames with {rows} rows {why}: what they gave stays\n"),
    };
    text.push_str(&passed(destroyed, "whose key is destroyed"));
    text.push_str(&passed(unreadable, "cannot be read"));
    if *damaged > 0 {
        text.push_str(&format!("{damaged} frames are damaged in the log: what they gave stays\n"));
    }
    if *expired > 0 {
        text.push_str(&format!("{expired} events are past their end: what they gave stays\n"));
    }
    text.push('\n');
    text.push_str(&rows(differences.iter()));
    text.push_str(&fields(differences.iter()));
    let changed = differences.values().any(|difference| !difference.is_none());
    if changed && options.target == Target::Tables {
        text.push_str(
            "\nPeriods still open count the new rows. Those released before are computed again as long as all their \
             rows live, and keep their numbers after that.\n",
        );
    }
    if !revised.is_empty() {
        text.push_str(&format!("\n{}", table(&periods(revised))));
    }
    text
}

fn rows<'a>(differences: impl Iterator<Item = (&'a String, &'a Difference)>) -> String {
    let heading = ["family", "unchanged", "changed", "added", "removed"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    for (family, Difference { unchanged, changed, added, removed, .. }) in differences {
        let mut line = vec![family.clone()];
        line.extend([unchanged, changed, added, removed].map(u64::to_string));
        lines.push(line);
    }
    table(&lines)
}

fn periods(revised: &[Released]) -> Vec<Vec<String>> {
    let heading = ["revised statistic", "period", "groups"];
    let lines = revised.iter().map(|released| {
        let (name, start) = (released.statistic.clone(), released.period_start.to_string());
        vec![name, start, released.groups.to_string()]
    });
    std::iter::once(heading.map(str::to_owned).to_vec()).chain(lines).collect()
}

fn fields<'a>(differences: impl Iterator<Item = (&'a String, &'a Difference)>) -> String {
    let heading = ["family", "field", "became null", "got a value", "changed"];
    let mut lines = vec![heading.map(str::to_owned).to_vec()];
    for (family, difference) in differences {
        for (field, found) in &difference.fields {
            let mut line = vec![family.clone(), field.clone()];
            line.extend([found.nulled, found.filled, found.changed].map(|count| count.to_string()));
            lines.push(line);
        }
    }
    if lines.len() == 1 { String::new() } else { format!("\n{}", table(&lines)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_whole() {
        assert_eq!(hour("1970-01-02"), Ok(24));
        assert_eq!(hour("1970-01-01T05:00:00Z"), Ok(5));
        for wrong in ["1970-01-01T05:00:01Z", "1969-12-31", "today", ""] {
            assert!(hour(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ids_are_plain() {
        assert!(check("again-2_A").is_ok());
        let digest = schemas::Digest([7; 32]);
        let positions = Selection::Positions { partition: u16::MAX, span: 0..u64::MAX };
        for selection in [Selection::Hours(490_000..490_001), positions] {
            assert!(check(&selection.default_id(&digest)).is_ok());
        }
        for wrong in ["", "a/b", "a b", &"x".repeat(65)] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
