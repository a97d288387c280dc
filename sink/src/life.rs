//! How long rows live: until their key epoch is over, and a grace.

use schemas::time::epoch_start;
use schemas::{Family, Millis, Package};

use crate::error::SinkError;
use crate::table::{Home, Table};

/// Settings of a family's table: they tell the end of its rows even when the package has forgotten the family.
const EPOCH_DAYS: &str = "quorate.epochDays";
const GRACE_MS: &str = "quorate.graceMs";

/// The end of rows by their key epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    epoch_days: u32,
    grace_ms: i64,
}

/// A life as a table's settings.
pub(crate) struct Settings {
    epoch_days: String,
    grace_ms: String,
}

impl Settings {
    pub(crate) fn pairs(&self) -> [(&str, &str); 2] {
        [(EPOCH_DAYS, &self.epoch_days), (GRACE_MS, &self.grace_ms)]
    }
}

impl Life {
    pub(crate) fn of(family: &Family) -> Self {
        Self { epoch_days: family.epoch_days, grace_ms: family.grace_ms() }
    }

    /// By a table's own settings.
    fn read(table: &Table) -> Option<Self> {
        let epoch_days = table.setting(EPOCH_DAYS)?.parse().ok()?;
        Some(Self { epoch_days, grace_ms: table.setting(GRACE_MS)?.parse().ok()? })
    }

    pub(crate) fn settings(self) -> Settings {
        Settings { epoch_days: self.epoch_days.to_string(), grace_ms: self.grace_ms.to_string() }
    }

    /// From this moment on the rows of an epoch are to be removed.
    pub(crate) fn end(self, epoch: i32) -> Millis {
        epoch_start(epoch.saturating_add(1), self.epoch_days).plus(self.grace_ms)
    }

    /// Brings the table's settings up to date. While it holds rows, epochs keep their length: rows name them by number.
    pub(crate) async fn check(self, table: &mut Table) -> Result<(), SinkError> {
        let found = Self::read(table);
        if found == Some(self) {
            return Ok(());
        }
        if let Some(found) = found
            && found.epoch_days != self.epoch_days
            && !table.files().is_empty()
        {
            return Err(SinkError::Epoch {
                table: table.name().to_string(),
                found: found.epoch_days,
                declared: self.epoch_days,
            });
        }
        table.set(&self.settings().pairs()).await
    }
}

/// Tables of events below the root whose family the package does not have.
pub(crate) async fn former(
    home: Home<'_>,
    package: &Package,
) -> Result<Vec<(Table, Life)>, SinkError> {
    tables(home, |name| package.family(name).is_none()).await
}

/// Tables of events below the root of families that are `wanted`.
pub(crate) async fn tables(
    home: Home<'_>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(Table, Life)>, SinkError> {
    let mut tables = Vec::new();
    let folders = home.root.folders("events");
    let folders = folders.map_err(SinkError::io("read", home.root.join("events").to_string()))?;
    for name in folders.into_iter().filter(|name| wanted(name)) {
        if let Some(table) = Table::existing(home, &format!("events/{name}")).await? {
            let life = Life::read(&table);
            tables.push((table, life.ok_or_else(|| SinkError::damaged(&name, "the epoch"))?));
        }
    }
    Ok(tables)
}
