//! Releases: closed periods computed once, written to the statistic's table, then to the ledger.
//!
//! **Never twice.** A period that the ledger names is not computed again. Between the two commits a crash leaves
//! rows without a line in the ledger: such a period is not computed again either, its line is made from its rows.
//! (Of a period all of whose groups are hidden there are no rows, so it is computed again; nobody has seen any of
//! it.) Two processes at once: both tables count a transaction up, and the second to commit is refused.
//!
//! **What is due** are periods that have events and no line in the ledger. A period without events is not released
//! as empty: history may be imported into it later. Which days have events is read from the table's list of files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::ident;
use datafusion::prelude::{SessionConfig, SessionContext};
use deltalake::DeltaTable;
use schemas::columns::timestamp;
use schemas::model::{Package, Statistic};
use schemas::time::Millis;
use storage::Root;

use crate::compute::{HELD_ROWS_MAX, Outcome, compute};
use crate::days::{Days, whole};
use crate::error::Doing;
use crate::ledger::{Ledger, Release, digest};
use crate::period::{Period, next_to_close, touching};
use crate::statistic::{
    GROUPING, HIDDEN, PERIOD_START, POLICY_VERSION, RELEASED_AT, REVISED_AT, Spec, grouping_text,
};
use crate::{Error, table};

/// Periods released in one commit at most: bounds what a crash makes anew, and the rows in memory.
const PERIODS_A_COMMIT: usize = 64;

/// Memory that computing may use unless told otherwise.
const MEMORY_BYTES: usize = 256 << 20;

/// A period that was released just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// Name of the statistic.
    pub statistic: String,
    /// Its beginning.
    pub period_start: Millis,
    /// Its end, not included.
    pub period_end: Millis,
    /// Groups shown.
    pub groups: u64,
    /// Whether anything is hidden.
    pub hidden: bool,
}

/// The next period of a statistic to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Name of the statistic.
    pub statistic: String,
    /// Its beginning.
    pub period_start: Millis,
    /// Its end, not included.
    pub period_end: Millis,
    /// When all that counts in it has been received; it is released once that is committed.
    pub closes_at: Millis,
}

/// Gate 2 at work: releases what the package declares from the events tables under one root.
pub struct Disclosure {
    pub(crate) package: Arc<Package>,
    pub(crate) events_root: Root,
    pub(crate) statistics_root: Root,
    pub(crate) ledger_root: Root,
    memory_bytes: usize,
    spill: Option<PathBuf>,
    /// Periods found without events, with the files they were looked for in: not looked at again until those
    /// change.
    empty: Mutex<HashMap<(String, Period), u64>>,
}

impl Disclosure {
    /// Reads `events_root/<family>`, writes `statistics_root/<statistic>` and `ledger_root/releases`. Uses at most
    /// 256 MiB for aggregation and spills nothing; see [`Self::with_memory`].
    #[must_use]
    pub fn new(
        package: Arc<Package>,
        events_root: impl Into<Root>,
        statistics_root: impl Into<Root>,
        ledger_root: impl Into<Root>,
    ) -> Self {
        Self {
            package,
            events_root: events_root.into(),
            statistics_root: statistics_root.into(),
            ledger_root: ledger_root.into(),
            memory_bytes: MEMORY_BYTES,
            spill: None,
            empty: Mutex::default(),
        }
    }

    /// Uses at most `bytes` for aggregation, and files in the folder `spill` beyond that: they hold pseudonyms, so
    /// it belongs inside the data directory. Without a folder, needing more is [`Error::Memory`].
    #[must_use]
    pub fn with_memory(mut self, bytes: usize, spill: Option<PathBuf>) -> Self {
        self.memory_bytes = bytes;
        self.spill = spill;
        self
    }

    /// The next period of each statistic to close after `now`, in order of name.
    #[must_use]
    pub fn closings(&self, now: Millis) -> Vec<Closing> {
        let closing = |statistic: &Statistic| {
            let family = &self.package.families[statistic.family];
            let period = next_to_close(now, statistic.every, family);
            Closing {
                statistic: statistic.name.clone(),
                period_start: period.start,
                period_end: period.end,
                closes_at: period.closes_at(family),
            }
        };
        self.package.statistics.iter().map(closing).collect()
    }

    /// Releases every period that is closed, has events, and was never released. `complete` says of a family up to
    /// when everything received is committed. Statistics are independent: one that fails does not keep others.
    ///
    /// # Errors
    ///
    /// The first [`Error`] of a statistic, after all others have been tried; what was released stays released.
    pub async fn release_closed(
        &self,
        now: Millis,
        complete: &(dyn Fn(&str) -> Millis + Sync),
    ) -> Result<Vec<Released>, Error> {
        // Opened before anything else: what another process appends from here on makes our append fail.
        let mut ledger = Ledger::open(&self.ledger_root).await?;
        let known = ledger.releases().await?;
        let mut released = Vec::new();
        let mut failed = None;
        for statistic in &self.package.statistics {
            let done: BTreeSet<Millis> = known
                .iter()
                .filter(|release| release.statistic == statistic.name)
                .map(|release| release.period.start)
                .collect();
            let family = &self.package.families[statistic.family].name;
            match self.release(&mut ledger, statistic, &done, now, complete(family)).await {
                Ok(lines) => released.extend(lines),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(released),
        }
    }

    async fn release(
        &self,
        ledger: &mut Ledger,
        statistic: &Statistic,
        done: &BTreeSet<Millis>,
        now: Millis,
        complete: Millis,
    ) -> Result<Vec<Released>, Error> {
        let family = &self.package.families[statistic.family];
        let Some(events) = table::open(&self.events_root, &family.name).await? else {
            return Ok(Vec::new());
        };
        let days = Days::of(&events, &family.name).await?;
        let due: Vec<Period> = touching(days.all(), statistic.every, family)
            .into_iter()
            .filter(|period| period.closes_at(family) <= complete)
            .filter(|period| !done.contains(&period.start))
            .filter(|period| !self.is_empty(statistic, *period, &days))
            .collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let spec = Spec::new(&self.package, statistic)?;
        // One handle from looking to writing: rows that another process adds in between make our commit fail.
        let name = &statistic.name;
        let mut statistics =
            table::open_or_create(&self.statistics_root, name, &spec.schema).await?;
        let (written, due) = self.split_written(&spec, &statistics, due).await?;
        let mut released = record(ledger, written).await?;
        let needed = due.iter().flat_map(|period| period.days()).collect();
        whole(&events, &self.events_root.join(&family.name), &family.name, &needed).await?;
        for some in due.chunks(PERIODS_A_COMMIT) {
            let lines = self.publish(&spec, &mut statistics, &events, &days, some, now).await?;
            released.extend(record(ledger, lines).await?);
        }
        Ok(released)
    }

    /// Computes `due` and commits its rows to the statistic's table; gives the lines for the ledger.
    async fn publish(
        &self,
        spec: &Spec<'_>,
        statistics: &mut DeltaTable,
        events: &DeltaTable,
        days: &Days,
        due: &[Period],
        now: Millis,
    ) -> Result<Vec<Release>, Error> {
        let name = &spec.statistic.name;
        tracing::trace!(target: "quorate::moment", "worker compute");
        let (mut lines, mut rows) = (Vec::new(), Vec::new());
        let outcomes = self.outcomes(spec, events, days, due, now).await?;
        for (&period, outcome) in due.iter().zip(outcomes) {
            if outcome.empty {
                self.remember_empty(spec.statistic, period, days);
                continue;
            }
            lines.push(Release {
                statistic: name.clone(),
                period,
                groups: outcome.rows.num_rows() as u64,
                hidden: outcome.hidden,
                digest: digest(std::slice::from_ref(&outcome.rows))?,
                table_version: 0,
                policy_version: self.package.version.clone(),
                released_at: now,
                revised_at: None,
            });
            rows.push(outcome.rows);
        }
        let rows = concat_batches(&spec.schema, &rows).expect("batches were made of one schema");
        if rows.num_rows() > 0 {
            tracing::trace!(target: "quorate::moment", "worker statistic");
            *statistics = table::append(statistics, name, rows).await?;
        }
        let version = version(statistics);
        lines.iter_mut().for_each(|line| line.table_version = version);
        Ok(lines)
    }

    /// What becomes of each of `periods`, in order of time; `now` is written down as when it was released.
    pub(crate) async fn outcomes(
        &self,
        spec: &Spec<'_>,
        events: &DeltaTable,
        days: &Days,
        periods: &[Period],
        now: Millis,
    ) -> Result<Vec<Outcome>, Error> {
        let provider = table::rows(events, &spec.family.name).await?;
        let context = self.context(&spec.statistic.name)?;
        let mut outcomes = Vec::with_capacity(periods.len());
        for some in days.together(periods, HELD_ROWS_MAX) {
            let (events, memory) = (Arc::clone(&provider), self.memory_bytes);
            let some = compute(&context, events, &self.package, spec, some, now, memory).await?;
            outcomes.extend(some);
        }
        Ok(outcomes)
    }

    /// Of `due`, the periods whose rows a crash left without a line, as lines, and the others.
    async fn split_written(
        &self,
        spec: &Spec<'_>,
        statistics: &DeltaTable,
        due: Vec<Period>,
    ) -> Result<(Vec<Release>, Vec<Period>), Error> {
        let (Some(first), Some(last)) = (due.first(), due.last()) else {
            return Ok((Vec::new(), due));
        };
        let found = self.stored(spec, statistics, first.start..=last.start).await?;
        let version = version(statistics);
        let (mut lines, mut others) = (Vec::new(), Vec::new());
        for period in due {
            match found.get(&period.start) {
                Some(rows) => lines.push(line(spec, period, rows, version)?),
                None => others.push(period),
            }
        }
        Ok((lines, others))
    }

    /// Rows of the statistic's table of the periods that begin in `starts`, by beginning.
    pub(crate) async fn stored(
        &self,
        spec: &Spec<'_>,
        statistics: &DeltaTable,
        starts: RangeInclusive<Millis>,
    ) -> Result<BTreeMap<Millis, Vec<RecordBatch>>, Error> {
        let name = &spec.statistic.name;
        let provider = table::rows(statistics, name).await?;
        // A span and no list: a list of the hours of a year is taken apart by a function that calls itself for each.
        let in_span = ident(PERIOD_START)
            .between(table::micros(*starts.start()), table::micros(*starts.end()));
        let context = self.context(name)?;
        let rows = context.read_table(provider).and_then(|rows| rows.filter(in_span));
        let rows = rows.map_err(failed(name))?.collect().await.map_err(failed(name))?;
        by_period(name, rows)
    }

    fn context(&self, statistic: &str) -> Result<SessionContext, Error> {
        let disk = match &self.spill {
            Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
            None => DiskManagerMode::Disabled,
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(self.memory_bytes)))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(disk))
            .build_arc()
            .map_err(failed(statistic))?;
        // One partition: memory is not split further, and floats are added up in one order.
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_sort_spill_reservation_bytes(self.memory_bytes / 16);
        Ok(SessionContext::new_with_config_rt(config, runtime))
    }

    fn is_empty(&self, statistic: &Statistic, period: Period, days: &Days) -> bool {
        let empty = self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        empty.get(&(statistic.name.clone(), period)) == Some(&days.files_of(period))
    }

    fn remember_empty(&self, statistic: &Statistic, period: Period, days: &Days) {
        let mut empty = self.empty.lock().unwrap_or_else(PoisonError::into_inner);
        empty.insert((statistic.name.clone(), period), days.files_of(period));
    }
}

/// Writes lines to the ledger: from then on the periods are released.
pub(crate) async fn record(
    ledger: &mut Ledger,
    lines: Vec<Release>,
) -> Result<Vec<Released>, Error> {
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    tracing::trace!(target: "quorate::moment", "worker release");
    ledger.record(&lines).await?;
    let released = |line: Release| {
        let (groups, hidden) = (line.groups, !line.hidden.is_empty());
        let Period { start, end } = line.period;
        tracing::debug!(statistic = line.statistic, %start, groups, hidden, "released");
        let statistic = line.statistic;
        Released { statistic, period_start: start, period_end: end, groups, hidden }
    };
    Ok(lines.into_iter().map(released).collect())
}

pub(crate) fn version(table: &DeltaTable) -> i64 {
    table.version().and_then(|version| i64::try_from(version).ok()).unwrap_or(0)
}

fn failed(statistic: &str) -> impl Fn(datafusion::error::DataFusionError) -> Error + '_ {
    let doing = Doing { statistic, step: "read what was released", memory_bytes: 0 };
    move |error| doing.failed(&error)
}

/// Rows of a statistic's table by the period they are of.
fn by_period(
    name: &str,
    batches: Vec<RecordBatch>,
) -> Result<BTreeMap<Millis, Vec<RecordBatch>>, Error> {
    let mut periods: BTreeMap<Millis, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches {
        let starts = typed(name, &batch, PERIOD_START, &timestamp())?;
        let starts = starts.as_primitive::<TimestampMicrosecondType>();
        let distinct: BTreeSet<i64> = starts.iter().flatten().collect();
        for start in distinct {
            let of_it = starts.iter().map(|other| Some(other == Some(start))).collect();
            let rows =
                filter_record_batch(&batch, &of_it).expect("the filter has one value for each row");
            periods.entry(Millis(start.div_euclid(1000))).or_default().push(rows);
        }
    }
    Ok(periods)
}

/// The ledger's line for rows that are in the table already.
pub(crate) fn line(
    spec: &Spec<'_>,
    period: Period,
    batches: &[RecordBatch],
    table_version: i64,
) -> Result<Release, Error> {
    let name = &spec.statistic.name;
    // Each grouping holds every event of the period, so one without rows has nothing but hidden groups.
    let mut hidden: BTreeSet<String> =
        spec.statistic.by.iter().map(|grouping| grouping_text(spec.family, grouping)).collect();
    let (mut policy_version, mut released_at, mut revised_at) = (String::new(), Millis(0), None);
    for batch in batches {
        let flags = typed(name, batch, HIDDEN, &DataType::Boolean)?;
        let groupings = typed(name, batch, GROUPING, &DataType::Utf8)?;
        let policies = typed(name, batch, POLICY_VERSION, &DataType::Utf8)?;
        let times = typed(name, batch, RELEASED_AT, &timestamp())?;
        let revised =
            batch.column_by_name(REVISED_AT).map(|_| typed(name, batch, REVISED_AT, &timestamp()));
        let revised = revised.transpose()?;
        for row in 0..batch.num_rows() {
            if !flags.as_boolean().value(row) {
                hidden.remove(groupings.as_string::<i32>().value(row));
            }
            policies.as_string::<i32>().value(row).clone_into(&mut policy_version);
            let micros = times.as_primitive::<TimestampMicrosecondType>().value(row);
            released_at = Millis(micros.div_euclid(1000));
            let revised = revised.as_ref().filter(|revised| revised.is_valid(row));
            revised_at = revised.map(|revised| {
                let micros = revised.as_primitive::<TimestampMicrosecondType>().value(row);
                Millis(micros.div_euclid(1000))
            });
        }
    }
    Ok(Release {
        statistic: name.to_owned(),
        period,
        groups: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
        hidden: in_order(spec, &hidden),
        digest: digest(batches)?,
        table_version,
        policy_version,
        released_at,
        revised_at,
    })
}

fn in_order(spec: &Spec<'_>, hidden: &BTreeSet<String>) -> Vec<String> {
    let all = spec.statistic.by.iter().map(|grouping| grouping_text(spec.family, grouping));
    all.filter(|grouping| hidden.contains(grouping)).collect()
}

fn typed(
    table: &str,
    batch: &RecordBatch,
    column: &str,
    kind: &DataType,
) -> Result<arrow::array::ArrayRef, Error> {
    let found = batch.column_by_name(column).and_then(|values| cast(values, kind).ok());
    found.ok_or_else(|| Error::Column { table: table.to_owned(), column: column.to_owned() })
}
