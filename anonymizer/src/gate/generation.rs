//! Which of an hour's keys seals: another one each time a contributor is erased from the hour's frames.
//!
//! A frame that is sealed holds on to its key's generation until it is in the log or has failed. Who wants the frames
//! of an hour under another key asks for the next generation, waits until nobody holds an older one, seals the frames
//! that are in the log again, and then destroys the old keys: no frame is lost on the way between.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, Weak};

use super::Gate;
use crate::error::Error;
use crate::keys::{Key, KeyName, KeyState};
use crate::seal::{Generation, InFlight};

/// Hours remembered at once.
const HOURS_MAX: usize = 256;

/// The generations of each hour in which something was sealed.
pub(super) type Generations = HashMap<u32, Hour>;

/// What is known of one hour's keys.
pub(super) struct Hour {
    newest: Arc<Generation>,
    /// Those under which nothing new is sealed: gone when no frame is on its way any more.
    older: Vec<Weak<Generation>>,
}

impl Hour {
    fn is_settled(&self) -> bool {
        self.older.iter().all(|older| older.strong_count() == 0)
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
        if let Some(known) = known.get(&hour) {
            return Ok(Arc::clone(&known.newest));
        }
        let mut newest = 0;
        for entry in self.ring.list()? {
            if let KeyName::Seal { hour: of, generation } = entry.name
                && of == hour
            {
                newest = generation.max(newest);
            }
        }
        if known.len() >= HOURS_MAX {
            known.retain(|_, hour| Arc::strong_count(&hour.newest) > 1 || !hour.is_settled());
        }
        let newest = Arc::new(Generation(newest));
        known.insert(hour, Hour { newest: Arc::clone(&newest), older: Vec::new() });
        Ok(newest)
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
            known.older.retain(|older| older.strong_count() > 0);
            known.older.push(Arc::downgrade(&old));
            known.newest = Arc::new(Generation(next));
        }
        Ok(())
    }

    /// Whether every frame sealed under an older key of `hour` is in the log, or has failed.
    #[must_use]
    pub fn is_settled(&self, hour: u32) -> bool {
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
        Ok(gone)
    }
}
