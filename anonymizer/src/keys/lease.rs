//! Signs of life on a shelf without locks: one file a node, written anew at each look.
//!
//! Whoever rotates the key-encryption key watches them for as long as a node may go on without having looked; a sign that
//! changes meanwhile is a node at work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::hexadecimal;
use crate::crypto::random;
use crate::error::Error;
use crate::shelf::Shelf;

const FOLDER: &str = "nodes";

/// One node's sign; wiped when the ring is closed, if the shelf can be reached.
pub(super) struct Lease {
    shelf: Arc<dyn Shelf>,
    name: String,
    looks: AtomicU64,
}

impl Lease {
    pub(super) fn new(shelf: &Arc<dyn Shelf>) -> Result<Self, Error> {
        let name = format!("{FOLDER}/{}", hexadecimal(&random::<8>()?));
        let lease = Self { shelf: Arc::clone(shelf), name, looks: AtomicU64::new(0) };
        lease.renew()?;
        Ok(lease)
    }

    pub(super) fn renew(&self) -> Result<(), Error> {
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        self.shelf.replace(&self.name, look.to_string().as_bytes())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What stays is taken for dead once it no longer changes.
        drop(self.shelf.wipe(&self.name));
    }
}

/// The signs of all nodes.
#[derive(PartialEq, Eq)]
pub(super) struct Signs(BTreeMap<String, Vec<u8>>);

impl Signs {
    pub(super) fn read(shelf: &dyn Shelf) -> Result<Self, Error> {
        let mut signs = BTreeMap::new();
        for name in shelf.list(FOLDER)? {
            if let Some(sign) = shelf.read(&name)? {
                signs.insert(name, sign);
            }
        }
        Ok(Self(signs))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any is there that was not, or was another, in `before`.
    pub(super) fn is_any_alive(&self, before: &Self) -> bool {
        self.0.iter().any(|(name, sign)| before.0.get(name) != Some(sign))
    }

    pub(super) fn remove(&self, shelf: &dyn Shelf) -> Result<(), Error> {
        self.0.keys().try_for_each(|name| shelf.wipe(name).map(drop))
    }
}
