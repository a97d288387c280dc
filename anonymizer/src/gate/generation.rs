//! Which of an hour's keys seals: another one each time a contributor is erased from the hour's frames.
//!
//! A frame that is sealed holds on to its key's generation until it is in the log or has failed. Who wants the frames
//! of an hour under another key asks for the next generation, waits until nobody holds an older one, seals the frames
//! that are in the log again, and then destroys the old keys: no frame is lost on the way between.
//!
//! Where many nodes share a ring, others seal too. They see another generation when they look, so that whoever asked for
//! it waits as long as one may go on without looking ([`crate::shared`]), by a clock that nobody sets; and a node that
//! had a frame on its way for longer does not acknowledge it ([`Gate::stands`]).

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};

use super::Gate;
use crate::error::Error;
use crate::keys::{Key, KeyName, KeyState};
use crate::seal::{Generation, InFlight};
use crate::shared::SETTLE_AFTER_MS;

/// Hours remembered at once.
const HOURS_MAX: usize = 256;

/// The generations of each hour in which something was sealed.
pub(super) type Generations = HashMap<u32, Hour>;

/// What is known of one hour's keys.
pub(super) struct Hour {
    newest: Arc<Generation>,
    /// Those under which nothing new is sealed: gone when no frame is on its way any more.
    older: Vec<Weak<Generation>>,
    /// Lines of the ledger of keys that the newest was found in, where others may make another.
    lines: usize,
}

impl Hour {
    fn is_settled(&self) -> bool {
        self.older.iter().all(|older| older.strong_count() == 0)
    }

    fn set_newest(&mut self, newest: u32) {
        if newest <= self.newest.0 {
            return;
        }
        self.older.retain(|older| older.strong_count() > 0);
        self.older.push(Arc::downgrade(&self.newest));
        self.newest = Arc::new(Generation(newest));
    }
}

impl Gate {
    /// The key that seals in `hour`, made if there is none, and the hold on it.
    pub(super) fn sealing(&self, hour: u32) -> Result<(u32, Key, InFlight), Error> {
        let generation = self.newest(hour)?;
        let name = KeyName::Seal { hour, generation: generation.0 };
        let key = self.ring.get_or_create(&name)?;
        Ok((generation.0, key, InFlight::of(generation)))
    }

    fn newest(&self, hour: u32) -> Result<Arc<Generation>, Error> {
        let mut known = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = if self.ring.is_shared() { self.ring.lines() } else { 0 };
        if let Some(known) = known.get(&hour)
            && known.lines == lines
        {
            return Ok(Arc::clone(&known.newest));
        }
        let mut newest = 0;
        for entry in self.ring.known()? {
            if let KeyName::Seal { hour: of, generation } = entry.name
                && of == hour
            {
                newest = generation.max(newest);
            }
        }
        if let Some(known) = known.get_mut(&hour) {
            known.lines = lines;
            known.set_newest(newest);
            return Ok(Arc::clone(&known.newest));
        }
        if known.len() >= HOURS_MAX {
            known.retain(|_, hour| Arc::strong_count(&hour.newest) > 1 || !hour.is_settled());
        }
        let newest = Arc::new(Generation(newest));
        known.insert(hour, Hour { newest: Arc::clone(&newest), older: Vec::new(), lines });
        Ok(newest)
    }

    /// Whether a frame that was sealed under this generation of `hour` may be acknowledged now that it is in the log. Not if
    /// it was on its way while others made another key for the hour: it may have come too late to be sealed again. Always,
    /// where nobody else is: a frame on its way then keeps its key.
    #[must_use]
    pub fn stands(&self, hour: u32, generation: u32) -> bool {
        if !self.ring.is_shared() {
            return true;
        }
        self.usable().is_ok() && self.newest(hour).is_ok_and(|newest| newest.0 == generation)
    }

    /// Makes a new key for `hour`, under which everything is sealed from now on. Frames that are sealed under the one
    /// before may still be on their way: see [`Gate::is_settled`].
    ///
    /// # Errors
    ///
    /// If the key ring cannot make it.
    pub fn supersede(&self, hour: u32) -> Result<(), Error> {
        let old = self.newest(hour)?;
        let next = old.0 + 1;
        self.ring.get_or_create(&KeyName::Seal { hour, generation: next })?;
        let mut known = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(&hour) {
            known.set_newest(next);
        }
        drop(known);
        self.superseded_for_ms(hour).map(drop)
    }

    /// Gives another key to every hour from `hour` on that has a living one, and names them.
    ///
    /// # Errors
    ///
    /// As [`Gate::supersede`].
    pub fn supersede_since(&self, hour: u32) -> Result<Vec<u32>, Error> {
        let mut hours = Vec::new();
        for entry in self.ring.list()? {
            if let (KeyName::Seal { hour: of, .. }, KeyState::Alive) = (entry.name, entry.state)
                && of >= hour
                && !hours.contains(&of)
            {
                hours.push(of);
            }
        }
        hours.iter().try_for_each(|hour| self.supersede(*hour))?;
        Ok(hours)
    }

    /// Whether this is the newest generation of `hour`'s keys.
    ///
    /// # Errors
    ///
    /// If the ledger of keys cannot be read.
    pub fn is_newest(&self, hour: u32, generation: u32) -> Result<bool, Error> {
        Ok(self.newest(hour)?.0 <= generation)
    }

    /// For how long this process has known the newest key of `hour`, by the steady clock.
    fn superseded_for_ms(&self, hour: u32) -> Result<i64, Error> {
        let (now, newest) = (self.ring.steady_now(), self.newest(hour)?.0);
        let mut since = self.superseded_since.lock().unwrap_or_else(PoisonError::into_inner);
        let known = since.entry(hour).or_insert((newest, now));
        // Another one begins anew: nodes may have sealed under the one before until now.
        if known.0 != newest {
            *known = (newest, now);
        }
        Ok(now.0.saturating_sub(known.1.0))
    }

    /// Whether every frame sealed under an older key of `hour` is in the log, or has failed, or will not be acknowledged.
    #[must_use]
    pub fn is_settled(&self, hour: u32) -> bool {
        let known_for = |ms: i64| self.superseded_for_ms(hour).is_ok_and(|known| known >= ms);
        if self.ring.is_shared() && !known_for(SETTLE_AFTER_MS) {
            return false;
        }
        let known = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&hour).is_none_or(Hour::is_settled)
    }

    /// Hours with more than one living key: frames under the older ones have to be sealed again.
    ///
    /// # Errors
    ///
    /// If the ledger of keys cannot be read.
    pub fn superseded(&self) -> Result<Vec<u32>, Error> {
        let mut living: HashMap<u32, usize> = HashMap::new();
        for entry in self.ring.list()? {
            if let (KeyName::Seal { hour, .. }, KeyState::Alive) = (entry.name, entry.state) {
                *living.entry(hour).or_default() += 1;
            }
        }
        let mut hours: Vec<u32> =
            living.into_iter().filter(|(_, keys)| *keys > 1).map(|(hour, _)| hour).collect();
        hours.sort_unstable();
        Ok(hours)
    }

    /// Destroys the keys of `hour` but the newest, and gives the commitments of what is gone. What was sealed under
    /// them can never be read again: call it when it is sealed under the newest.
    ///
    /// # Errors
    ///
    /// [`Error::InFlight`] if the hour is not settled; what the key ring gives. It may be called again.
    pub fn destroy_superseded(&self, hour: u32) -> Result<Vec<String>, Error> {
        if !self.is_settled(hour) {
            return Err(Error::InFlight(hour));
        }
        let newest = self.newest(hour)?.0;
        let mut gone = Vec::new();
        for entry in self.ring.list()? {
            let KeyName::Seal { hour: of, generation } = entry.name else { continue };
            if of == hour && generation < newest && entry.state == KeyState::Alive {
                self.ring.destroy(&entry.name, "a contributor was erased from the hour")?;
                gone.push(entry.commitment);
            }
        }
        self.superseded_since.lock().unwrap_or_else(PoisonError::into_inner).remove(&hour);
        Ok(gone)
    }
}
