//! What requests of single people do to stored rows: these go, lose what rested on purposes that were taken, are set apart, or
//! come back.
//!
//! It works from the suppression list alone, and every step may be repeated. Of several requests about one contributor the
//! strictest comes first: who is erased has nothing left to be set apart, and what was set apart is narrowed when it comes
//! back.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use anonymizer::{RequestKind, Suppressed};
use anyhow::Context;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int32Type;
use schemas::time::epoch_start;
use schemas::{Family, Millis, PurposeSet, columns};
use sink::Which;

use super::Worker;
use crate::apart::{Apart, Kind, Lot, ROWS_MAX, State};
use crate::commands::import::import;
use crate::subject::rectify::Corrected;
use crate::subject::{Changing, Stored};

/// Pseudonyms of contributors.
type Contributors = HashSet<[u8; 16]>;

/// What is to be done to the rows of a request's contributor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Work {
    Erase,
    SetApart,
    Narrow,
}

impl Work {
    /// A restriction for single purposes sets whole rows apart too: what is narrowed could not be restored, and a row that is
    /// used for anything is used for what it was restricted for.
    fn of(entry: &Suppressed) -> Self {
        if entry.sets_apart() {
            Self::SetApart
        } else if entry.purposes.is_empty() {
            Self::Erase
        } else {
            Self::Narrow
        }
    }
}

impl Worker {
    /// Does to stored rows what these requests ask for.
    pub(super) async fn change_rows(&mut self, pending: &[Suppressed]) -> anyhow::Result<()> {
        if !pending.is_empty() {
            // What a crash left half apart is apart, or in its table, before anything is decided.
            self.tend_lots().await?;
        }
        let families: BTreeSet<&str> = pending.iter().map(|entry| entry.family.as_str()).collect();
        for name in families {
            let (family, _) = self.store.package.family(name).with_context(|| {
                format!(
                    "family {name} of an unfinished request is not in the policy package any more"
                )
            })?;
            let own: Vec<&Suppressed> =
                pending.iter().filter(|entry| entry.family == name).collect();
            let does = |work: Work| {
                let does = own.iter().filter(|entry| entry.stands() && Work::of(entry) == work);
                does.copied().collect::<Vec<_>>()
            };
            let standing = own.iter().filter(|entry| entry.stands()).copied().collect::<Vec<_>>();
            for (request, held) in self.held_of(name, &standing)? {
                let changing = Changing { held, ..Changing::default() };
                self.store.requests.removing(&request, changing)?;
            }
            self.erase_rows(family, &does(Work::Erase)).await?;
            self.bring_back_of(&own).await?;
            for entry in does(Work::SetApart) {
                self.set_rows_apart(family, entry).await?;
            }
            let standing = self.store.requests.list().entries();
            let narrows = |entry: &&Suppressed| {
                entry.stands() && entry.family == name && Work::of(entry) == Work::Narrow
            };
            match own.iter().any(|entry| !entry.stands() && entry.sets_apart()) {
                // What comes back is as it was before anybody took a purpose.
                true => {
                    let all = standing.iter().filter(narrows).collect::<Vec<_>>();
                    self.narrow_rows(family, &all).await?;
                }
                false => self.narrow_rows(family, &does(Work::Narrow)).await?,
            }
        }
        Ok(())
    }

    /// The rows under legal holds of each of these requests' contributors: they stay where they are.
    fn held_of(&self, family: &str, of: &[&Suppressed]) -> anyhow::Result<HashMap<String, u64>> {
        let (apart, list) = (Arc::clone(&self.store.apart), self.store.requests.list());
        let mut held: HashMap<String, u64> = HashMap::new();
        let holds = apart.list().into_iter().filter(|lot| lot.kind == Kind::Hold);
        for lot in holds.filter(|lot| lot.family == family && lot.state == State::Kept) {
            for rows in apart.take(&lot.id)? {
                let own = rows.column_by_name(columns::CONTRIBUTOR);
                let own = own.and_then(|own| own.as_binary_opt::<i32>());
                let own = own.context("rows that are kept apart have no contributors")?;
                for standing in own.iter().flatten().map(|own| list.standing(family, own)) {
                    let asked = |entry: &&&Suppressed| {
                        standing.iter().any(|standing| standing.request == entry.request)
                    };
                    for entry in of.iter().filter(asked) {
                        *held.entry(entry.request.clone()).or_default() += 1;
                    }
                }
            }
        }
        Ok(held)
    }

    /// Does to rows that came back what the standing requests of their contributors ask for, erasures aside.
    pub(super) async fn heed_standing(&mut self, family: usize) -> anyhow::Result<()> {
        let name = self.store.package.families[family].name.clone();
        let entries = self.store.requests.list().entries();
        let own = entries.iter().filter(|entry| entry.stands() && entry.family == name);
        let does = |work: Work| own.clone().filter(move |entry| Work::of(entry) == work);
        for entry in does(Work::SetApart) {
            self.set_rows_apart(family, entry).await?;
        }
        self.narrow_rows(family, &does(Work::Narrow).collect::<Vec<_>>()).await
    }

    /// The rows of each contributor of these requests, under the first of them that is about it.
    fn found(
        &mut self,
        family: usize,
        of: &[&Suppressed],
    ) -> anyhow::Result<HashMap<String, HashMap<[u8; 16], u64>>> {
        let mut found: HashMap<String, HashMap<[u8; 16], u64>> = HashMap::new();
        if of.is_empty() {
            return Ok(found);
        }
        let name = self.store.package.families[family].name.clone();
        let requests = Arc::clone(&self.store.requests);
        let first = |own: &[u8]| {
            let standing = requests.list().standing(&name, own);
            let mut own = of
                .iter()
                .filter(|entry| standing.iter().any(|standing| standing.request == entry.request));
            own.next().map(|entry| entry.request.clone())
        };
        let rows = self.store.tables()?.contributors(family, &|own| first(own).is_some())?;
        for (own, count) in rows {
            if let Some(request) = first(&own) {
                found.entry(request).or_default().insert(own, count);
            }
        }
        Ok(found)
    }

    async fn erase_rows(&mut self, family: usize, of: &[&Suppressed]) -> anyhow::Result<()> {
        let requests = Arc::clone(&self.store.requests);
        for entry in of {
            // Whatever was set apart of the same contributor before goes as well.
            let lots = self.end_lots_of(family, entry)?;
            requests.removing(&entry.request, Changing { lots, ..Changing::default() })?;
        }
        let found = self.found(family, of)?;
        for (request, rows) in &found {
            let rows = rows.values().sum();
            requests.removing(request, Changing { rows, ..Changing::default() })?;
        }
        let now = (self.store.clock)();
        if !of.is_empty() {
            let own: Contributors = found.into_values().flat_map(HashMap::into_keys).collect();
            self.store.tables()?.erase(family, &own, now).await?;
        }
        Ok(())
    }

    /// Destroys what is set apart for requests about the same contributor, and tells how many rows that were.
    fn end_lots_of(&mut self, family: usize, entry: &Suppressed) -> anyhow::Result<u64> {
        let entries = self.store.requests.list().entries();
        let apart = Arc::clone(&self.store.apart);
        let mut rows = 0;
        for other in entries.iter().filter(|other| other.is_about_same(entry)) {
            for lot in lots_of(&apart, other) {
                rows += lot.rows;
                if let Ok(rows) = apart.take(&lot.id) {
                    self.store.tables()?.forget_apart(family, &rows)?;
                }
                apart.destroy(&lot.id, "its contributor is erased")?;
            }
        }
        Ok(rows)
    }

    async fn narrow_rows(&mut self, family: usize, of: &[&Suppressed]) -> anyhow::Result<()> {
        let requests = Arc::clone(&self.store.requests);
        let now = (self.store.clock)();
        for entry in of {
            let found = self.found(family, &[entry])?;
            let own: Contributors = found.into_values().flat_map(HashMap::into_keys).collect();
            if own.is_empty() {
                continue;
            }
            let package = Arc::clone(&self.store.package);
            let named = entry.purposes.iter().filter_map(|name| package.purpose(name));
            let taken = named.fold(PurposeSet::default(), |set, (index, _)| set.with(index));
            let done = self.store.tables()?.narrow(family, &own, taken, now).await?;
            let narrowed = done.rows;
            requests.removing(&entry.request, Changing { narrowed, ..Changing::default() })?;
        }
        Ok(())
    }

    /// Sets apart the rows of a request's contributor: written down first, then taken out of the table.
    async fn set_rows_apart(&mut self, family: usize, entry: &Suppressed) -> anyhow::Result<()> {
        let apart = Arc::clone(&self.store.apart);
        let found = self.found(family, &[entry])?;
        let own: Contributors = found.into_values().flat_map(HashMap::into_keys).collect();
        let rows = match own.is_empty() {
            true => Vec::new(),
            false => {
                let which = Which::Contributors(&own);
                self.store.tables()?.chosen(family, &which, ROWS_MAX)?
            }
        };
        let count = rows.iter().map(|rows| rows.num_rows() as u64).sum();
        if count == 0 {
            return Ok(());
        }
        let changing = Changing { apart: count, ..Changing::default() };
        self.store.requests.removing(&entry.request, changing)?;
        let declared = &self.store.package.families[family];
        let lot = Lot {
            // Another one at each attempt: the key of one that was given up is gone for good.
            id: format!("{}-{}", entry.request, uuid::Uuid::new_v4().simple()),
            kind: Kind::Restriction,
            family: entry.family.clone(),
            rows: count,
            reason: entry.kind.name().to_owned(),
            since: entry.since.clone(),
            end: last_end(declared, &rows).map(|end| end.to_string()),
            state: State::Writing,
        };
        let lot = apart.add(lot, &rows)?;
        self.take_out(lot, &rows).await.map(drop)
    }

    /// Brings back what was set apart for requests that another one ended. What somebody asked anew to
    /// have set apart stays where it is.
    async fn bring_back_of(&mut self, own: &[&Suppressed]) -> anyhow::Result<()> {
        let entries = self.store.requests.list().entries();
        let apart = Arc::clone(&self.store.apart);
        let mut back: HashMap<&str, u64> = HashMap::new();
        for entry in own.iter().filter(|entry| entry.sets_apart()) {
            let Some(by) = entry.lifted.as_deref() else { continue };
            let same = || entries.iter().filter(|other| other.is_about_same(entry));
            if same().any(|other| other.stands() && other.sets_apart()) {
                continue;
            }
            for lot in same().flat_map(|other| lots_of(&apart, other)).collect::<Vec<_>>() {
                let lot = apart.set(&lot.id, State::Returning)?;
                *back.entry(by).or_default() += self.bring_back(&lot).await?.put_back;
            }
        }
        for (by, back) in &back {
            let changing = Changing { back: *back, ..Changing::default() };
            self.store.requests.removing(by, changing)?;
        }
        Ok(())
    }

    /// Lets contributors in again whose wrong events are erased, and imports the right ones.
    ///
    /// # Errors
    ///
    /// The first step that failed; each may be repeated, since events that are there already are second copies.
    pub(super) async fn correct(&mut self, pending: &[Suppressed]) -> anyhow::Result<()> {
        let apart = Arc::clone(&self.store.apart);
        let requests = Arc::clone(&self.store.requests);
        for entry in pending.iter().filter(|entry| entry.kind == RequestKind::Rectify) {
            tracing::trace!(target: "quorate::moment", "correct in");
            requests.list().let_in(&entry.request)?;
            let lot = apart.get(&entry.request).filter(|lot| lot.kind == Kind::Correction);
            let Some(lot) = lot else { continue };
            let Corrected { site, lines } = Corrected::of_rows(&apart.take(&lot.id)?)?;
            let text = lines.join("\n");
            tracing::trace!(target: "quorate::moment", "correct import");
            let imported = import(&mut self.store, text.as_bytes(), &site, &mut |_, _| {}).await?;
            let stored = imported.stored + imported.duplicate;
            requests.removing(&entry.request, Changing { stored, ..Changing::default() })?;
            tracing::trace!(target: "quorate::moment", "correct stored");
            apart.destroy(&lot.id, "the corrected events are stored")?;
        }
        Ok(())
    }

    /// What is stored of a contributor, in its table and set apart, whoever asked for that.
    ///
    /// # Errors
    ///
    /// If what came before cannot be committed, or rows cannot be read.
    pub async fn stored(&mut self, family: usize, own: &Contributors) -> anyhow::Result<Stored> {
        self.drain().await.context("what came before the request could not be committed")?;
        let which = Which::Contributors(own);
        let rows = self.store.tables()?.chosen(family, &which, ROWS_MAX)?;
        let apart = Arc::clone(&self.store.apart);
        apart.refresh()?;
        let name = self.store.package.families[family].name.clone();
        let mut set_apart = Vec::new();
        for lot in apart.list() {
            let is_kept = matches!(lot.state, State::Kept | State::Returning | State::Taking);
            if lot.family != name || lot.kind == Kind::Correction || !is_kept {
                continue;
            }
            for rows in apart.take(&lot.id)? {
                let theirs = rows.column_by_name(columns::CONTRIBUTOR);
                let theirs = theirs.and_then(|theirs| theirs.as_binary_opt::<i32>());
                let theirs = theirs.context("rows that are kept apart have no contributors")?;
                let theirs =
                    theirs.iter().map(|one| Some(one.is_some_and(|one| own.contains(one))));
                let theirs = filter_record_batch(&rows, &theirs.collect::<BooleanArray>())?;
                set_apart.extend((theirs.num_rows() > 0).then_some(theirs));
            }
        }
        Ok(Stored { rows, apart: set_apart })
    }
}

/// What is set apart for a request.
fn lots_of(apart: &Apart, entry: &Suppressed) -> Vec<Lot> {
    let own = |lot: &Lot| lot.kind == Kind::Restriction && lot.id.starts_with(&entry.request);
    apart.list().into_iter().filter(own).collect()
}

/// When the last of these rows' epochs is over, and their keys go: nobody is kept longer for having asked.
fn last_end(family: &Family, rows: &[RecordBatch]) -> Option<Millis> {
    let epochs = rows
        .iter()
        .filter_map(|rows| rows.column_by_name(columns::EPOCH)?.as_primitive_opt::<Int32Type>());
    let last = epochs.flat_map(|epochs| epochs.values().iter().copied()).max()?;
    Some(epoch_start(last.saturating_add(1), family.epoch_days).plus(family.grace_ms()))
}
