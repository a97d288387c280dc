//! Where keys lie in memory: slots on pages that the system may not write to disk.
//!
//! A slab of pages is taken and locked once, and keys move in and out of its slots; a slot is wiped when its key goes.
//! Slots are made of atomics, so that a key can be written into shared memory and wiped there without unsafe code;
//! they are read with plain loads. What is computed with a key holds a copy on the stack for that moment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use crate::crypto::KEY_BYTES;

const WORDS: usize = KEY_BYTES / 8;
const PAGE_BYTES: usize = 4096;
const SLOTS: usize = PAGE_BYTES / KEY_BYTES;
/// Pages taken at once: room for 4,096 keys, more than a service ever holds, in 128 KiB.
const SLAB_PAGES: usize = 32;

/// Room for one key.
struct Slot([AtomicU64; WORDS]);

/// As many slots as fill a page, so that no page holds anything else.
#[repr(C, align(4096))]
struct Page([Slot; SLOTS]);

/// Slots that are free, and whether a slab could not be locked.
struct Vault {
    free: Mutex<Vec<&'static Slot>>,
    unlocked: AtomicBool,
}

static VAULT: Vault = Vault { free: Mutex::new(Vec::new()), unlocked: AtomicBool::new(false) };

impl Vault {
    fn free(&self) -> MutexGuard<'_, Vec<&'static Slot>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one slab more. It is never given back, so it never has to be unlocked.
    fn grow(&self, free: &mut Vec<&'static Slot>) {
        let page = |_| Page([const { Slot([const { AtomicU64::new(0) }; WORDS]) }; SLOTS]);
        let slab: &'static [Page] =
            Box::leak((0..SLAB_PAGES).map(page).collect::<Vec<_>>().into_boxed_slice());
        match region::lock(slab.as_ptr(), size_of_val(slab)) {
            Ok(guard) => std::mem::forget(guard),
            Err(_) => self.unlocked.store(true, Ordering::Relaxed),
        }
        free.extend(slab.iter().flat_map(|page| &page.0));
    }
}

/// Takes memory for keys, if none was taken yet; true if every page of it is locked.
///
/// Where it is not, the system's limit is too low (`ulimit -l`), and keys may reach its swap.
#[must_use]
pub fn lock_memory() -> bool {
    let mut free = VAULT.free();
    if free.is_empty() {
        VAULT.grow(&mut free);
    }
    !VAULT.unlocked.load(Ordering::Relaxed)
}

/// A key in locked memory, wiped when dropped. Neither `Debug` nor `Clone`.
pub(crate) struct Secret(&'static Slot);

impl Secret {
    /// Moves a key there.
    pub(crate) fn new(bytes: &Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let mut free = VAULT.free();
        if free.is_empty() {
            VAULT.grow(&mut free);
        }
        let slot = free.pop().expect("a slab was just taken");
        drop(free);
        for (word, bytes) in slot.0.iter().zip(bytes.chunks_exact(8)) {
            let bytes = bytes.try_into().expect("chunks of eight");
            word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
        }
        Self(slot)
    }

    /// A copy for the moment of its use.
    pub(crate) fn expose(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        for (word, bytes) in self.0.0.iter().zip(bytes.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        bytes
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        for word in &self.0.0 {
            word.store(0, Ordering::Relaxed);
        }
        VAULT.free().push(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_bytes_and_leave_none() {
        let secrets: Vec<Secret> =
            (0..=255_u8).map(|number| Secret::new(&Zeroizing::new([number; KEY_BYTES]))).collect();
        for (number, secret) in (0..=255_u8).zip(&secrets) {
            assert_eq!(*secret.expose(), [number; KEY_BYTES]);
        }
        let slots: Vec<&Slot> = secrets.iter().map(|secret| secret.0).collect();
        let words = |slot: &&Slot| slot.0.each_ref().map(|word| word.load(Ordering::Relaxed));
        assert_ne!(words(&slots[1]), [0; WORDS]);
        let distinct: std::collections::BTreeSet<_> =
            slots.iter().map(|slot| std::ptr::from_ref(*slot)).collect();
        assert_eq!(distinct.len(), 256);
        // Others take slots at the same time: looked at without letting them in between.
        let slot = slots[255];
        let secret = secrets.into_iter().next_back().unwrap();
        let before = words(&slot);
        drop(secret);
        assert_ne!(words(&slot), before, "wiped, or another's by now");
    }

    #[test]
    fn a_page_holds_keys_and_nothing_else() {
        assert_eq!(size_of::<Page>(), PAGE_BYTES);
        assert_eq!(align_of::<Page>(), PAGE_BYTES);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_pages_are_locked() {
        // Whoever runs the tests may have no room for it; then that must be told.
        let locked = lock_memory();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
        let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert_eq!(locked, kib >= SLAB_PAGES * PAGE_BYTES / 1024, "{line}");
    }
}
