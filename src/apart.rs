//! Rows that are kept apart from their tables: by a legal hold, or because their contributor asked that they be used no more.
//!
//! ```text
//! <events root>/apart/<id>.json    what is kept, why, since and until when: no identifier, no pseudonym
//! <events root>/apart/<id>         the rows, sealed under a key of their own (`anonymizer::apart`)
//! ```
//! A lot says how far it is, so that whoever comes after a crash goes on: [`State`]. Rows are written down before they leave
//! their table, and are in it again before what is written down goes; each step between may be repeated. The key is
//! destroyed before the file, so that what a store may still have of it opens no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anonymizer::{Error, KeyRing, KeyState, Shelf, apart};
use anyhow::Context;
use arrow::array::RecordBatch;
use schemas::Millis;
use serde::{Deserialize, Serialize};

/// Most rows in a lot: they are in memory at once, when they leave and when they come back.
pub const ROWS_MAX: u64 = 1_000_000;
/// Below the root of events.
const FOLDER: &str = "apart";

/// Why rows are apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// They have to be kept, longer than they would be.
    Hold,
    /// Their contributor asked that they be kept and not used, or hidden before they are erased.
    Restriction,
    /// They are no rows yet: corrected events, until those that they replace are erased.
    Correction,
}

/// How far a lot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its rows are being written down; all of them are in their table. Given up after a crash.
    Writing,
    /// They are written down, and on their way out of their table.
    Taking,
    /// They are here and nowhere else.
    Kept,
    /// They are on their way back into their table.
    Returning,
    /// They are being destroyed.
    Ending,
}

/// What is known of a lot without its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// Its name: random.
    pub id: String,
    /// Why its rows are apart.
    pub kind: Kind,
    /// The family of its rows.
    pub family: String,
    /// How many rows were taken.
    pub rows: u64,
    /// One of the package's words for it.
    pub reason: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, RFC 3339; none where somebody has to say so.
    pub end: Option<String>,
    /// How far it is.
    pub state: State,
}

impl Lot {
    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, now: Millis) -> bool {
        self.end.as_deref().and_then(Millis::parse).is_some_and(|end| end <= now)
    }
}

/// All lots of one root of events.
pub struct Apart {
    shelf: Arc<dyn Shelf>,
    ring: Arc<KeyRing>,
    /// As they were last read.
    lots: Mutex<BTreeMap<String, Lot>>,
}

impl Apart {
    /// Opens what is below the root of events, given as a shelf, and makes an end of keys whose lot never came to be.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn open(shelf: Arc<dyn Shelf>, ring: Arc<KeyRing>) -> anyhow::Result<Self> {
        let apart = Self { shelf, ring, lots: Mutex::default() };
        apart.refresh()?;
        Ok(apart)
    }

    /// Reads what other processes did.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn refresh(&self) -> anyhow::Result<()> {
        let mut lots = BTreeMap::new();
        for name in self.shelf.list(FOLDER).context("rows kept apart cannot be listed")? {
            let Some(id) = name.rsplit('/').next().and_then(|name| name.strip_suffix(".json"))
            else {
                continue;
            };
            if let Some(lot) = self.read(id)? {
                lots.insert(id.to_owned(), lot);
            }
        }
        *self.lots.lock().unwrap_or_else(PoisonError::into_inner) = lots;
        Ok(())
    }

    fn read(&self, id: &str) -> anyhow::Result<Option<Lot>> {
        let place = || format!("{} cannot be read", self.shelf.place(&about(id)).display());
        let Some(bytes) = self.shelf.read(&about(id)).with_context(place)? else {
            return Ok(None);
        };
        // What the parser would quote stays here.
        serde_json::from_slice(&bytes).ok().with_context(place).map(Some)
    }

    /// Every lot, in order of id.
    #[must_use]
    pub fn list(&self) -> Vec<Lot> {
        self.lots.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How many legal holds there are.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.list().iter().filter(|lot| lot.kind == Kind::Hold).count()
    }

    /// The lot of that id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Lot> {
        self.lots.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Writes rows down, sealed; from then on the lot is [`State::Taking`], and its rows are to be taken out of their table.
    ///
    /// # Errors
    ///
    /// If they cannot be written; the lot is given up then, at the latest by [`Apart::give_up`].
    pub fn add(&self, lot: Lot, rows: &[RecordBatch]) -> anyhow::Result<Lot> {
        let lot = Lot { state: State::Writing, ..lot };
        self.write(&lot)?;
        tracing::trace!(target: "quorate::moment", "apart key");
        let sealed = apart::seal(&self.ring, &lot.id, rows).context("rows could not be sealed")?;
        tracing::trace!(target: "quorate::moment", "apart rows");
        self.shelf.replace(&sealed_file(&lot.id), &sealed)?;
        self.set(&lot.id, State::Taking)
    }

    /// Notes how far a lot is.
    ///
    /// # Errors
    ///
    /// If there is none of that id, or it cannot be written.
    pub fn set(&self, id: &str, state: State) -> anyhow::Result<Lot> {
        tracing::trace!(target: "quorate::moment", "apart {state:?}");
        let lot = self.get(id).with_context(|| format!("nothing is kept apart under {id}"))?;
        let lot = Lot { state, ..lot };
        self.write(&lot)?;
        Ok(lot)
    }

    fn write(&self, lot: &Lot) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(lot)?;
        self.shelf.replace(&about(&lot.id), &text)?;
        let mut lots = self.lots.lock().unwrap_or_else(PoisonError::into_inner);
        lots.insert(lot.id.clone(), lot.clone());
        Ok(())
    }

    /// The rows of a lot. They stay where they are.
    ///
    /// # Errors
    ///
    /// If they cannot be read, or their key is gone.
    pub fn take(&self, id: &str) -> anyhow::Result<Vec<RecordBatch>> {
        let sealed = self.shelf.read(&sealed_file(id))?;
        let sealed = sealed.with_context(|| format!("the rows kept apart under {id} are gone"))?;
        apart::open(&self.ring, id, sealed)
            .with_context(|| format!("the rows kept apart under {id} cannot be opened"))
    }

    /// Destroys a lot: its key, then its rows, then what is said of it. May be called again.
    ///
    /// # Errors
    ///
    /// If a step fails; the lot is [`State::Ending`] then.
    pub fn destroy(&self, id: &str, why: &str) -> anyhow::Result<()> {
        self.set(id, State::Ending)?;
        tracing::trace!(target: "quorate::moment", "apart end key");
        match self.ring.destroy(&apart::key_of(id), why) {
            Ok(()) | Err(Error::NoKey(_)) => {}
            Err(error) => return Err(error).context("the key of rows kept apart is still there"),
        }
        tracing::trace!(target: "quorate::moment", "apart end rows");
        self.shelf.wipe(&sealed_file(id))?;
        self.shelf.wipe(&about(id))?;
        self.lots.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        Ok(())
    }

    /// Gives up lots that were never written down, and goes on with the end of those that were being destroyed.
    ///
    /// # Errors
    ///
    /// As [`Apart::destroy`].
    pub fn give_up(&self) -> anyhow::Result<Vec<Lot>> {
        let half_done = self.list().into_iter();
        let half_done = half_done.filter(|lot| matches!(lot.state, State::Writing | State::Ending));
        let half_done = half_done.collect::<Vec<_>>();
        for lot in &half_done {
            self.destroy(&lot.id, "no rows are kept apart under it")?;
        }
        Ok(half_done)
    }

    /// Whether the key of a lot can still be used.
    ///
    /// # Errors
    ///
    /// If the ledger of keys cannot be read.
    pub fn has_key(&self, id: &str) -> anyhow::Result<bool> {
        let name = apart::key_of(id);
        let keys = self.ring.list()?.into_iter();
        Ok(keys.filter(|key| key.name == name).any(|key| key.state == KeyState::Alive))
    }
}

fn about(id: &str) -> String {
    format!("{FOLDER}/{id}.json")
}

fn sealed_file(id: &str) -> String {
    format!("{FOLDER}/{id}")
}

#[cfg(test)]
mod tests;
