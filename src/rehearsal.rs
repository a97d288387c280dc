//! A rehearsal of the future: what retention will release, remove and destroy, on a copy of the data.
//!
//! `quorate run --ahead 30days` runs as if it were that much later, which destroys rows, frames and keys for good.
//! So a data folder has to be given to it: one that holds nothing yet, or a copy into which somebody has put an
//! empty file named [`FILE`]. The folder remembers how far it went, every later command on it goes on from there, and
//! none goes back, because what was stored by the later time would seem to come from the future.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use schemas::Clock;
use schemas::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use crate::config::Config;
use crate::store::DataLock;

/// Marks a data folder as a rehearsal; holds the milliseconds that its clock is ahead.
pub const FILE: &str = "REHEARSAL";
/// Ten years: beyond it times no longer fit everywhere.
const AHEAD_MS_MAX: i64 = 3_650 * DAY_MS;

/// Reads a span such as `30days`, `36 hours` or `90minutes`, in milliseconds.
///
/// # Errors
///
/// What would be right.
pub fn span_ms(text: &str) -> Result<i64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(digits);
    let unit = unit.trim();
    let unit_ms = match unit.strip_suffix('s').unwrap_or(unit) {
        "minute" => MINUTE_MS,
        "hour" => HOUR_MS,
        "day" => DAY_MS,
        _ => return Err("write minutes, hours or days, as in `30days`".to_owned()),
    };
    let ms = count.parse::<i64>().ok().and_then(|count| count.checked_mul(unit_ms));
    ms.filter(|ms| *ms <= AHEAD_MS_MAX).ok_or_else(|| "at most 3650 days".to_owned())
}

/// Records that from now on the folder's clock is `ahead_ms` ahead of the system's.
///
/// # Errors
///
/// If the folder holds data and no [`FILE`], is ahead by more already, is in use, or cannot be written.
pub fn advance(config: &Config, ahead_ms: i64) -> anyhow::Result<()> {
    let _lock = DataLock::take(&config.data)?;
    let file = config.data.join(FILE);
    if !file.exists() && config.log_dir().exists() {
        bail!(
            "{} is in use for real events, and running ahead destroys what is in it: copy it, the key ring too, and make \
             an empty file {FILE} in the copy of the data folder",
            config.data.display()
        );
    }
    let before_ms = read(&file)?.unwrap_or(0);
    if ahead_ms < before_ms {
        bail!("the folder is {} minutes ahead already, and cannot go back", before_ms / MINUTE_MS);
    }
    // Under another name first: a folder whose mark was torn could not be used any more.
    let fresh = config.data.join("REHEARSAL.new");
    let written = File::create(&fresh)
        .and_then(|mut new| new.write_all(ahead_ms.to_string().as_bytes()).map(|()| new))
        .and_then(|new| new.sync_all())
        .and_then(|()| std::fs::rename(&fresh, &file))
        .and_then(|()| File::open(&config.data)?.sync_all());
    written.with_context(|| format!("cannot write {}", file.display()))
}

/// The clock of a data folder: `system`, or as far ahead of it as the folder is.
///
/// # Errors
///
/// If the folder is marked and the mark cannot be read.
pub fn clock(data: &Path, system: &Clock) -> anyhow::Result<Clock> {
    let system = Arc::clone(system);
    match read(&data.join(FILE))? {
        None => Ok(system),
        Some(ahead_ms) => {
            tracing::warn!(minutes = ahead_ms / MINUTE_MS, "a rehearsal: the clock is ahead");
            Ok(Arc::new(move || system().plus(ahead_ms)))
        }
    }
}

/// Milliseconds ahead; none for a folder that is no rehearsal.
fn read(file: &Path) -> anyhow::Result<Option<i64>> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let ahead_ms = if text.trim().is_empty() { Some(0) } else { text.trim().parse().ok() };
    let ahead_ms = ahead_ms.filter(|ms| (0..=AHEAD_MS_MAX).contains(ms));
    let ahead_ms = ahead_ms.with_context(|| format!("{} holds no span of time", file.display()))?;
    Ok(Some(ahead_ms))
}

#[cfg(test)]
mod tests {
    use schemas::Millis;

    use super::*;

    fn place() -> (tempfile::TempDir, Config, Clock) {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::default().relative_to(folder.path());
        (folder, config, Arc::new(|| Millis(1_000)))
    }

    #[test]
    fn spans_are_read() {
        assert_eq!(span_ms("30days"), Ok(30 * DAY_MS));
        assert_eq!(span_ms("1 hour"), Ok(HOUR_MS));
        assert_eq!(span_ms("90minutes"), Ok(90 * MINUTE_MS));
        for wrong in ["", "days", "-1 day", "5", "5 weeks", "3651days", "99999999999999999999days"]
        {
            assert!(span_ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_folder_goes_ahead_and_never_back() {
        let (_folder, config, system) = place();
        assert_eq!(clock(&config.data, &system).unwrap()(), Millis(1_000));
        advance(&config, 500).unwrap();
        assert_eq!(clock(&config.data, &system).unwrap()(), Millis(1_500));
        advance(&config, 700).unwrap();
        assert!(advance(&config, 699).is_err());
        assert_eq!(clock(&config.data, &system).unwrap()(), Millis(1_700));
    }

    #[test]
    fn real_events_are_not_rehearsed_with() {
        let (_folder, config, system) = place();
        std::fs::create_dir_all(config.log_dir()).unwrap();
        assert!(advance(&config, 500).is_err());
        assert_eq!(clock(&config.data, &system).unwrap()(), Millis(1_000));
        std::fs::write(config.data.join(FILE), "").unwrap();
        advance(&config, 500).unwrap();
        std::fs::write(config.data.join(FILE), "soon").unwrap();
        assert!(clock(&config.data, &system).is_err());
    }
}
