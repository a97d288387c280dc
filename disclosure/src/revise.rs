//! Revisions: released periods computed again after a replay has changed events of theirs.
//!
//! Only what staff alone may read is revised: by mechanism `threshold`. A period is left as it is where rows that were
//! counted, or values of them, have come to the end of their life since, because what is left would be fewer; and where nothing but
//! times and the policy's version would be different. The new rows take the place of the old ones in one commit and say
//! when ([`crate::statistic::REVISED_AT`]); then the ledger gets another line. Between the two a crash leaves rows that
//! the ledger's line is not about: the next revision of that period makes the line good.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::logical_expr::{Expr, ident};
use schemas::model::{Family, Mechanism, Package, Statistic};
use schemas::time::{DAY_MS, MINUTE_MS, Millis, epoch_of, epoch_start};

use crate::compute::Outcome;
use crate::days::{Days, whole};
use crate::ledger::{Ledger, Release, digest};
use crate::period::Period;
use crate::release::{Released, line, record, version};
use crate::statistic::{PERIOD_START, POLICY_VERSION, RELEASED_AT, REVISED_AT, Spec};
use crate::{Disclosure, Error, table};

/// Periods revised in one commit at most.
const PERIODS_A_COMMIT: usize = 64;
/// How far a sender's clock may be ahead of the time of receipt.
const AHEAD_MS: i64 = 5 * MINUTE_MS;

impl Disclosure {
    /// Computes every released period again in which an event received in `received` may count, and puts what is
    /// different in place of what was released; gives the periods that changed.
    ///
    /// # Errors
    ///
    /// The first [`Error`] of a statistic, after all others have been tried; what was revised stays so, and the call may
    /// be repeated.
    pub async fn revise(
        &self,
        received: Range<Millis>,
        now: Millis,
    ) -> Result<Vec<Released>, Error> {
        let mut ledger = Ledger::open(&self.ledger_root).await?;
        let known = ledger.releases().await?;
        let (mut revised, mut failed) = (Vec::new(), None);
        for statistic in &self.package.statistics {
            let Mechanism::Threshold { .. } = statistic.mechanism;
            let own = known.iter().filter(|release| release.statistic == statistic.name);
            match self.revise_one(&mut ledger, statistic, own, &received, now).await {
                Ok(lines) => revised.extend(lines),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(revised),
        }
    }

    async fn revise_one(
        &self,
        ledger: &mut Ledger,
        statistic: &Statistic,
        known: impl Iterator<Item = &Release>,
        received: &Range<Millis>,
        now: Millis,
    ) -> Result<Vec<Released>, Error> {
        let family = &self.package.families[statistic.family];
        let due: BTreeMap<Period, &Release> = known
            .filter(|release| is_touched(release.period, received, family))
            .filter(|release| is_whole(release, family, now))
            .filter(|release| is_carried(release, &self.package, family, now))
            .map(|release| (release.period, release))
            .collect();
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let Some(events) = table::open(&self.events_root, &family.name).await? else {
            return Ok(Vec::new());
        };
        let days = Days::of(&events, &family.name).await?;
        let spec = Spec::new(&self.package, statistic)?;
        let name = &statistic.name;
        let mut statistics =
            table::open_or_create(&self.statistics_root, name, &spec.schema).await?;
        let needed: BTreeSet<i32> = due.keys().flat_map(|period| period.days()).collect();
        whole(&events, &self.events_root.join(&family.name), &family.name, &needed).await?;
        let periods: Vec<Period> = due.keys().copied().collect();
        let mut revised = Vec::new();
        for some in periods.chunks(PERIODS_A_COMMIT) {
            let (Some(first), Some(last)) = (some.first(), some.last()) else { continue };
            let stored = self.stored(&spec, &statistics, first.start..=last.start).await?;
            let outcomes = self.outcomes(&spec, &events, &days, some, now).await?;
            let (mut lines, mut rows) = (Vec::new(), Vec::new());
            for (&period, outcome) in some.iter().zip(outcomes) {
                let old = stored.get(&period.start).map(Vec::as_slice).unwrap_or_default();
                let release = due[&period];
                if content(old)? == content(std::slice::from_ref(&outcome.rows))? {
                    // The rows stand. Their line may be missing, if a crash came between.
                    if !old.is_empty() && digest(old)? != release.digest {
                        lines.push(line(&spec, period, old, release.table_version)?);
                    }
                    continue;
                }
                let (line, batch) = self.revision(&spec, release, outcome, now)?;
                lines.push(line);
                rows.push((period, batch));
            }
            if !rows.is_empty() {
                let starts = rows.iter().map(|(period, _)| *period).collect::<Vec<_>>();
                let rows = rows.iter().map(|(_, rows)| rows).collect::<Vec<_>>();
                let rows = concat_batches(&spec.schema, rows).expect("batches are of one schema");
                tracing::trace!(target: "quorate::moment", "revise statistic");
                statistics = table::replace(&statistics, name, rows, in_periods(&starts)).await?;
                let version = version(&statistics);
                lines.iter_mut().for_each(|line| line.table_version = version);
            }
            tracing::trace!(target: "quorate::moment", "revise release");
            revised.extend(record(ledger, lines).await?);
        }
        Ok(revised)
    }

    /// The line and the rows of a period that comes out otherwise now.
    fn revision(
        &self,
        spec: &Spec<'_>,
        release: &Release,
        outcome: Outcome,
        now: Millis,
    ) -> Result<(Release, RecordBatch), Error> {
        let rows = marked(&outcome.rows, release.released_at, now);
        let line = Release {
            statistic: spec.statistic.name.clone(),
            period: release.period,
            groups: rows.num_rows() as u64,
            hidden: outcome.hidden,
            digest: digest(std::slice::from_ref(&rows))?,
            table_version: 0,
            policy_version: self.package.version.clone(),
            released_at: release.released_at,
            revised_at: Some(now),
        };
        Ok((line, rows))
    }
}

/// Whether an event received in `received` may have its time in the period.
fn is_touched(period: Period, received: &Range<Millis>, family: &Family) -> bool {
    let earliest = received.start.plus(-family.late_ms);
    period.end > earliest && period.start < received.end.plus(AHEAD_MS)
}

/// Whether no row that could be counted when the period was released has come to its end since.
fn is_whole(release: &Release, family: &Family, now: Millis) -> bool {
    let days = family.epoch_days;
    // A session may bear the epoch before.
    let first = epoch_of(release.period.start.plus(-AHEAD_MS), days).saturating_sub(1);
    let last = epoch_of(release.period.end.plus(family.late_ms), days);
    (first..=last).all(|epoch| {
        let end = epoch_start(epoch.saturating_add(1), days).plus(family.grace_ms());
        end <= release.released_at || end > now
    })
}

/// Whether no purpose came to its end since the period was released, for any of its days: what it alone carried is gone.
fn is_carried(release: &Release, package: &Package, family: &Family, now: Millis) -> bool {
    let own = family.all_purposes();
    let purposes = package.purposes.iter().enumerate().filter(|(index, _)| own.has(*index));
    let mut kept_days = purposes.filter_map(|(_, purpose)| purpose.keep_days);
    kept_days.all(|days| {
        release.period.days().all(|day| {
            let end = Millis::of_day(day).plus((i64::from(days) + 1) * DAY_MS);
            end <= release.released_at || end > now
        })
    })
}

/// What rows say, whenever and by whichever version of the policy they were computed.
fn content(batches: &[RecordBatch]) -> Result<String, Error> {
    const ABOUT: [&str; 3] = [RELEASED_AT, REVISED_AT, POLICY_VERSION];
    let said = batches.iter().map(|batch| {
        let schema = batch.schema();
        let columns = schema.fields().iter().enumerate();
        let kept = columns.filter(|(_, column)| !ABOUT.contains(&column.name().as_str()));
        let kept: Vec<usize> = kept.map(|(index, _)| index).collect();
        batch.project(&kept).expect("the columns are the batch's own")
    });
    digest(&said.collect::<Vec<_>>())
}

/// The rows with both times.
fn marked(rows: &RecordBatch, released_at: Millis, revised_at: Millis) -> RecordBatch {
    let time = |time| table::times(time, rows.num_rows());
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    let columns = columns.map(|(column, values)| match column.name().as_str() {
        RELEASED_AT => time(released_at),
        REVISED_AT => time(revised_at),
        _ => Arc::clone(values),
    });
    RecordBatch::try_new(Arc::clone(&schema), columns.collect())
        .expect("two columns are replaced by others of their type")
}

/// Rows of these periods.
fn in_periods(periods: &[Period]) -> Expr {
    let starts = periods.iter().map(|period| table::micros(period.start));
    ident(PERIOD_START).in_list(starts.collect(), false)
}
