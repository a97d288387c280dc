//! Bytes of bodies in memory at once: bounded, so that overload is answered and not died of; and shared, so that one
//! sender's flood leaves room for the others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// On whose account bytes are held.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A source with a key.
    Source(String),
    /// Everybody who posts without one from one network; in memory only, as long as its bytes are.
    Network(Option<IpAddr>),
}

/// How many bytes may be in flight, and whose they are.
pub(crate) struct Budget {
    max: usize,
    used: Mutex<Used>,
}

#[derive(Default)]
struct Used {
    total: usize,
    by: HashMap<Holder, usize>,
}

/// There is no room for more bytes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Bytes taken out of a budget; given back when dropped.
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    holder: Holder,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: Mutex::default() })
    }

    /// Bytes in flight.
    pub(crate) fn used(&self) -> usize {
        self.lock().total
    }

    /// A reservation of nothing, to grow.
    pub(crate) fn reserve(self: &Arc<Self>, holder: Holder) -> Reservation {
        Reservation { budget: Arc::clone(self), holder, bytes: 0 }
    }

    /// What is left to a holder that has `own` already: who holds more than a quarter of everything leaves the last
    /// quarter to others.
    fn room(max: usize, own: usize) -> usize {
        if own > max / 4 { shared(max) } else { max }
    }

    fn lock(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a budget that one holder alone may take.
pub(crate) fn shared(max: usize) -> usize {
    max - max / 4
}

impl Reservation {
    /// Takes `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let mut used = self.budget.lock();
        let own = used.by.get(&self.holder).copied().unwrap_or(0);
        let own = own.checked_add(bytes).ok_or(Full)?;
        let total = used.total.checked_add(bytes).ok_or(Full)?;
        if total > Budget::room(self.budget.max, own) {
            return Err(Full);
        }
        used.total = total;
        match used.by.get_mut(&self.holder) {
            Some(held) => *held = own,
            None if bytes > 0 => _ = used.by.insert(self.holder.clone(), own),
            None => {}
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut used = self.budget.lock();
        used.total -= self.bytes;
        if let Some(own) = used.by.get_mut(&self.holder) {
            *own -= self.bytes;
            if *own == 0 {
                used.by.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
impl Holder {
    /// Somebody, for tests in which it does not matter who.
    pub(crate) fn any() -> Self {
        Self::Network(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str) -> Holder {
        Holder::Source(name.to_owned())
    }

    #[test]
    fn what_is_taken_is_given_back() {
        let budget = Budget::new(100);
        let mut first = budget.reserve(source("a"));
        assert_eq!(first.grow(60), Ok(()));
        let mut second = budget.reserve(source("a"));
        assert_eq!(second.grow(16), Err(Full));
        assert_eq!(second.grow(15), Ok(()));
        assert_eq!(budget.used(), 75);
        drop(first);
        assert_eq!(budget.used(), 15);
        assert_eq!(second.grow(usize::MAX), Err(Full));
        drop(second);
        assert_eq!(budget.used(), 0);
        assert!(budget.lock().by.is_empty());
    }

    #[test]
    fn a_flood_of_one_leaves_room_for_others() {
        let budget = Budget::new(100);
        let mut flood: Vec<Reservation> = (0..100).map(|_| budget.reserve(source("a"))).collect();
        assert_eq!(flood.iter_mut().filter_map(|held| held.grow(1).ok()).count(), 75);
        let mut other = budget.reserve(source("b"));
        assert_eq!(other.grow(25), Ok(()));
        assert_eq!(other.grow(1), Err(Full));
    }
}
