//! Rows that go apart and come back, by the hand that owns the tables.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::{Context, ensure};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use schemas::{Millis, columns};
use sink::Which;

use super::Worker;
use crate::apart::{Kind, Lot, ROWS_MAX, State};
use crate::hold::{self, Add, Ended, Posted, Step};

impl Worker {
    /// Does what is asked about holds, and gives the answer.
    ///
    /// # Errors
    ///
    /// What is not allowed, or could not be done: what was begun is gone on with by [`Worker::tend_lots`].
    pub async fn hold(&mut self, posted: Posted) -> anyhow::Result<serde_json::Value> {
        self.store.apart.refresh()?;
        match posted {
            Posted::List => {
                let lots = self.store.apart.list().into_iter();
                let lots = lots.filter(|lot| lot.kind == Kind::Hold).collect::<Vec<_>>();
                Ok(serde_json::to_value(lots)?)
            }
            Posted::Add(_) | Posted::Release(_) if !self.store.time.check().is_trusted() => {
                anyhow::bail!("the clock jumped, and what ends when cannot be told: see the status")
            }
            Posted::Add(add) => Ok(serde_json::to_value(self.add_hold(&add).await?)?),
            Posted::Release(id) => Ok(serde_json::to_value(self.release_hold(&id).await?)?),
        }
    }

    async fn add_hold(&mut self, add: &Add) -> anyhow::Result<Lot> {
        let now = (self.store.clock)();
        let lot = hold::lot(&self.store.package, add, now)?;
        ensure!(
            self.store.own().maintainer,
            "this worker does not look after the tables: ask the one that does"
        );
        let (family, _) = self
            .store
            .package
            .family(&add.family)
            .with_context(|| format!("the policy package has no family {}", add.family))?;
        // Who asked to be erased before has nothing that could be held.
        self.drain().await.context("what came before the hold could not be committed")?;
        self.remove_suppressed().await?;
        self.tend_lots().await?;
        let contributors;
        let which = match (&add.days, &add.identifier) {
            (Some((from, to)), None) => {
                let days = hold::day(from).zip(hold::day(to));
                let (from, to) = days.context("--from and --to are days: 2026-11-30")?;
                Which::Days(from..=to)
            }
            (None, Some(identifier)) => {
                let subject = self.store.requests.subject(&add.family, identifier)?;
                let pseudonyms = self.store.gate.pseudonyms(&subject)?;
                contributors = pseudonyms.iter().map(|(_, own)| *own).collect::<HashSet<_>>();
                Which::Contributors(&contributors)
            }
            _ => anyhow::bail!("a hold is of days, or of one contributor"),
        };
        let lot = self.keep_apart(lot, family, &which).await?;
        let lot = lot.context("there are no such rows")?;
        tracing::info!(hold = lot.id, rows = lot.rows, "rows are held");
        Ok(lot)
    }

    /// Puts committed rows apart under a new lot; none if there are no such rows.
    ///
    /// # Errors
    ///
    /// What could not be done: what was begun is gone on with by [`Worker::tend_lots`].
    pub(crate) async fn keep_apart(
        &mut self,
        lot: Lot,
        family: usize,
        which: &Which<'_>,
    ) -> anyhow::Result<Option<Lot>> {
        let rows = self.store.tables()?.chosen(family, which, ROWS_MAX)?;
        let count = rows.iter().map(|rows| rows.num_rows() as u64).sum();
        if count == 0 {
            return Ok(None);
        }
        let lot = Lot { rows: count, ..lot };
        if lot.kind == Kind::Hold {
            let asked = Step::Asked {
                family: lot.family.clone(),
                reason: lot.reason.clone(),
                until: lot.end.clone().unwrap_or_default(),
            };
            self.store.holds.write(&lot.id, asked, (self.store.clock)())?;
        }
        let lot = self.store.apart.add(lot, &rows)?;
        self.take_out(lot, &rows).await.map(Some)
    }

    /// Takes rows that are written down out of their table.
    pub(super) async fn take_out(&mut self, lot: Lot, rows: &[RecordBatch]) -> anyhow::Result<Lot> {
        let now = (self.store.clock)();
        let family = self.family_of(&lot)?;
        self.store.tables()?.set_apart(family, rows, now).await?;
        let lot = self.store.apart.set(&lot.id, State::Kept)?;
        if lot.kind == Kind::Hold {
            self.store.holds.write(&lot.id, Step::Held { rows: lot.rows }, now)?;
        }
        Ok(lot)
    }

    fn family_of(&self, lot: &Lot) -> anyhow::Result<usize> {
        let family = self.store.package.family(&lot.family);
        let family = family.with_context(|| {
            format!("the policy package has no family {}, of which rows are kept apart", lot.family)
        });
        family.map(|(index, _)| index)
    }

    async fn release_hold(&mut self, id: &str) -> anyhow::Result<Ended> {
        self.drain().await.context("what came before could not be committed")?;
        self.tend_lots().await?;
        let lot = self.store.apart.get(id).filter(|lot| lot.kind == Kind::Hold);
        let lot = lot.with_context(|| format!("there is no hold {id}"))?;
        ensure!(
            self.store.own().maintainer,
            "this worker does not look after the tables: ask the one that does"
        );
        let lot = self.store.apart.set(&lot.id, State::Returning)?;
        self.bring_back(&lot).await
    }

    /// Puts rows back into their table, but for those of people who asked meanwhile not to be there and those whose epoch
    /// is over, and makes an end of the lot.
    pub(crate) async fn bring_back(&mut self, lot: &Lot) -> anyhow::Result<Ended> {
        let now = (self.store.clock)();
        let rows = self.store.apart.take(&lot.id)?;
        let family = self.family_of(lot)?;
        let (welcome, others) = self.welcome(&lot.family, &rows)?;
        let tables = self.store.tables()?;
        tables.forget_apart(family, &others)?;
        let back = tables.put_back(family, &welcome, now).await?;
        if lot.kind == Kind::Hold {
            // Before what is written down goes: a crash comes back here.
            self.heed_standing(family).await?;
        }
        let put_back = back.rows + back.known;
        let ended = Ended { put_back, destroyed: lot.rows.saturating_sub(put_back) };
        if lot.kind == Kind::Hold {
            self.store.holds.write(&lot.id, Step::Released(ended), now)?;
        }
        self.store.apart.destroy(&lot.id, "its rows are back, or past their end")?;
        tracing::info!(lot = lot.id, put_back, destroyed = ended.destroyed, "rows came back");
        Ok(ended)
    }

    /// The rows whose contributor is not erased and does not object, and the others.
    fn welcome(
        &self,
        family: &str,
        rows: &[RecordBatch],
    ) -> anyhow::Result<(Vec<RecordBatch>, Vec<RecordBatch>)> {
        let list = self.store.requests.list();
        let (mut welcome, mut others) = (Vec::new(), Vec::new());
        for rows in rows {
            let own = rows.column_by_name(columns::CONTRIBUTOR);
            let own = own.and_then(|own| own.as_binary_opt::<i32>());
            let own = own.context("rows that were kept apart have no contributors")?;
            let is_out = |own: &[u8]| {
                let standing = list.standing(family, own);
                standing.iter().any(|entry| entry.purposes.is_empty() && !entry.sets_apart())
            };
            let stays = (0..own.len()).map(|row| own.is_null(row) || !is_out(own.value(row)));
            let stays = stays.map(Some).collect::<BooleanArray>();
            welcome.push(filter_record_batch(rows, &stays)?);
            others.push(filter_record_batch(rows, &not(&stays)?)?);
        }
        Ok((welcome, others))
    }

    /// Goes on with what a crash cut off: rows on their way out or back, and lots that never came to be.
    ///
    /// # Errors
    ///
    /// The first step that failed.
    pub async fn tend_lots(&mut self) -> anyhow::Result<()> {
        if !self.store.own().maintainer {
            return Ok(());
        }
        let apart = Arc::clone(&self.store.apart);
        if self.store.config.is_shared(self.store.roles) {
            apart.refresh()?;
        }
        let rows = |lot: &Lot| lot.kind != Kind::Correction;
        for lot in apart.list().into_iter().filter(rows) {
            match lot.state {
                State::Taking => {
                    let rows = apart.take(&lot.id)?;
                    self.take_out(lot, &rows).await?;
                }
                State::Returning => drop(self.bring_back(&lot).await?),
                State::Writing | State::Kept | State::Ending => {}
            }
        }
        let now = (self.store.clock)();
        for lot in apart.give_up()? {
            if (lot.kind, lot.state) == (Kind::Hold, State::Writing) {
                self.store.holds.write(&lot.id, Step::Dropped, now)?;
            }
        }
        Ok(())
    }

    /// Makes an end of the lots whose time is over: their rows are destroyed with their key.
    ///
    /// # Errors
    ///
    /// The first that failed; the others are tried by the next call.
    pub(super) fn end_lots(&mut self, now: Millis) -> anyhow::Result<()> {
        let apart = Arc::clone(&self.store.apart);
        let over = apart.list().into_iter();
        for lot in over.filter(|lot| lot.state == State::Kept && lot.is_over(now)) {
            let ended = Ended { put_back: 0, destroyed: lot.rows };
            if lot.kind == Kind::Hold {
                self.store.holds.write(&lot.id, Step::Over(ended), now)?;
            }
            let family = self.store.package.family(&lot.family).map(|(index, _)| index);
            match (family, apart.take(&lot.id)) {
                (Some(family), Ok(rows)) => self.store.tables()?.forget_apart(family, &rows)?,
                // What cannot be read goes all the same.
                (None, _) | (_, Err(_)) => {}
            }
            apart.destroy(&lot.id, "the time of what it seals is over")?;
            tracing::info!(
                lot = lot.id,
                rows = lot.rows,
                "rows that were kept apart are destroyed"
            );
        }
        Ok(())
    }
}
