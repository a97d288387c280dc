//! A shelf in memory, as slow and unreliable as a test wants it: calls fail before or after they did what they were asked
//! to, whoever is cut off reaches nothing, a crash is being cut off from a call of some number on, and the calls of many
//! threads come in an order that a seed says.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::{Change, Held, Hold, Shelf};
use crate::error::Error;

type Files = BTreeMap<String, Vec<u8>>;
type Written = Vec<(String, Vec<u8>)>;

/// What all handles of one shelf share.
#[derive(Clone, Default)]
pub(crate) struct Store {
    files: Arc<Mutex<Files>>,
    /// Everything that was ever written, by name.
    written: Arc<Mutex<Written>>,
}

/// One node's way to it.
#[derive(Clone)]
pub(crate) struct Memory {
    store: Store,
    node: Arc<Node>,
}

#[derive(Default)]
struct Node {
    /// State of the generator that says which call fails; zero for a shelf that never fails.
    faults: AtomicU64,
    cut: AtomicBool,
    calls: AtomicU64,
    /// From this call on nothing is reached; that very call happens, and its answer is lost, if the number is odd.
    crash: AtomicU64,
    turns: Option<(Arc<Turns>, usize)>,
}

/// Lets one thread at a time through, chosen by a seed when all wait: the order is the same each time.
pub(crate) struct Turns {
    state: Mutex<TurnState>,
    changed: Condvar,
}

struct TurnState {
    random: u64,
    at_work: BTreeSet<usize>,
    waiting: BTreeSet<usize>,
    turn: Option<usize>,
}

impl Turns {
    pub(crate) fn new(threads: usize, seed: u64) -> Arc<Self> {
        let at_work = (0..threads).collect();
        let state = TurnState { random: seed | 1, at_work, waiting: BTreeSet::new(), turn: None };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Waits for a turn.
    fn wait(&self, thread: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(thread);
        state.choose();
        self.changed.notify_all();
        while state.turn != Some(thread) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.turn = None;
    }

    /// Nothing more comes from this thread.
    pub(crate) fn leave(&self, thread: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.at_work.remove(&thread);
        state.choose();
        self.changed.notify_all();
    }
}

impl TurnState {
    fn choose(&mut self) {
        if self.turn.is_none() && !self.waiting.is_empty() && self.waiting == self.at_work {
            self.random = shuffled(self.random);
            let index = usize::try_from(self.random % 1_000).unwrap_or(0) % self.waiting.len();
            self.turn = self.waiting.iter().nth(index).copied();
            self.waiting.retain(|waiting| Some(*waiting) != self.turn);
        }
    }
}

/// Xorshift (Marsaglia 2003).
fn shuffled(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    state
}

impl Store {
    /// A handle that never fails.
    pub(crate) fn handle(&self) -> Memory {
        self.of(Node::default())
    }

    /// One whose calls wait for their turn, and fail one in eight as `faults` says; never if it is zero.
    pub(crate) fn in_turn(&self, faults: u64, turns: &Arc<Turns>, thread: usize) -> Memory {
        let turns = Some((Arc::clone(turns), thread));
        self.of(Node { faults: AtomicU64::new(faults), turns, ..Node::default() })
    }

    /// One that reaches nothing from so many half calls on: an odd number is a call that happened, and was not answered.
    pub(crate) fn crashing(&self, after: u64) -> Memory {
        self.of(Node { crash: AtomicU64::new(after + 1), ..Node::default() })
    }

    fn of(&self, node: Node) -> Memory {
        Memory { store: self.clone(), node: Arc::new(node) }
    }

    pub(crate) fn files(&self) -> Files {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn remove(&self, name: &str) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(name.to_owned(), bytes.to_vec());
    }

    /// Whether these bytes were ever in a file, plain or in hexadecimal.
    pub(crate) fn ever_held(&self, bytes: &[u8]) -> bool {
        let text = crate::keys::hexadecimal(bytes);
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.iter().any(|(_, content)| {
            content.windows(bytes.len()).any(|part| part == bytes)
                || content.windows(text.len()).any(|part| part == text.as_bytes())
        })
    }
}

impl Memory {
    /// The same node's handle of another shelf: it fails and is cut off with this one.
    pub(crate) fn with(&self, store: &Store) -> Self {
        Self { store: store.clone(), node: Arc::clone(&self.node) }
    }

    /// From now on nothing is reached, or everything is again.
    pub(crate) fn cut(&self, cut: bool) {
        self.node.cut.store(cut, Ordering::Relaxed);
    }

    /// As [`Store::crashing`], counted from now on.
    pub(crate) fn crash_in(&self, after: u64) {
        let calls = self.node.calls.load(Ordering::Relaxed);
        self.node.crash.store(2 * calls + after + 1, Ordering::Relaxed);
    }

    /// Does `work`, or fails before it, or fails after it.
    fn call<T>(
        &self,
        name: &str,
        work: impl FnOnce(&mut Files) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let failed = || Error::io("reach", self.place(name))(io::ErrorKind::TimedOut.into());
        if let Some((turns, thread)) = &self.node.turns {
            turns.wait(*thread);
        }
        let (before, after) = self.fate();
        if before || self.node.cut.load(Ordering::Relaxed) {
            return Err(failed());
        }
        let mut files = self.store.files.lock().unwrap_or_else(PoisonError::into_inner);
        let was = files.clone();
        let done = work(&mut files)?;
        let mut written = self.store.written.lock().unwrap_or_else(PoisonError::into_inner);
        let new = files.iter().filter(|(name, bytes)| was.get(*name) != Some(bytes));
        written.extend(new.map(|(name, bytes)| (name.clone(), bytes.clone())));
        if after { Err(failed()) } else { Ok(done) }
    }

    /// Whether the call does not happen, and whether its answer is lost.
    fn fate(&self) -> (bool, bool) {
        let node = &self.node;
        let call = 2 * node.calls.fetch_add(1, Ordering::Relaxed);
        let crash = node.crash.load(Ordering::Relaxed);
        if crash > 0 {
            let after = crash - 1;
            return (call >= after, call + 1 == after);
        }
        let state = node.faults.load(Ordering::Relaxed);
        if state == 0 {
            return (false, false);
        }
        let state = shuffled(state);
        node.faults.store(state, Ordering::Relaxed);
        (state.is_multiple_of(16), state % 16 == 1)
    }
}

impl Shelf for Memory {
    fn place(&self, name: &str) -> PathBuf {
        PathBuf::from("memory").join(name)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.call(name, |files| Ok(files.get(name).cloned()))
    }

    fn read_from(&self, name: &str, at: u64) -> Result<Vec<u8>, Error> {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        self.call(name, |files| {
            Ok(files.get(name).and_then(|bytes| bytes.get(at..)).unwrap_or_default().to_vec())
        })
    }

    fn create(&self, name: &str, bytes: &[u8]) -> Result<bool, Error> {
        self.call(name, |files| {
            let is_new = !files.contains_key(name);
            files.entry(name.to_owned()).or_insert_with(|| bytes.to_vec());
            Ok(is_new)
        })
    }

    fn append(&self, name: &str, at: u64, bytes: &[u8]) -> Result<bool, Error> {
        self.call(name, |files| {
            let file = files.entry(name.to_owned()).or_default();
            let fits = file.len() as u64 == at;
            if fits {
                file.extend_from_slice(bytes);
            }
            Ok(fits)
        })
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.call(name, |files| {
            files.insert(name.to_owned(), bytes.to_vec());
            Ok(())
        })
    }

    fn update(&self, name: &str, change: &mut Change<'_>) -> Result<(), Error> {
        loop {
            let before = self.read(name)?;
            let Some(after) = change(before.as_deref())? else { return Ok(()) };
            let done = self.call(name, |files| {
                let same = files.get(name) == before.as_ref();
                if same {
                    files.insert(name.to_owned(), after);
                }
                Ok(same)
            })?;
            if done {
                return Ok(());
            }
        }
    }

    fn wipe(&self, name: &str) -> Result<bool, Error> {
        self.call(name, |files| Ok(files.remove(name).is_some()))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        self.call(folder, |files| {
            let within = |name: &&String| match folder {
                "" => !name.contains('/'),
                folder => name
                    .strip_prefix(folder)
                    .and_then(|rest| rest.strip_prefix('/'))
                    .is_some_and(|rest| !rest.contains('/')),
            };
            Ok(files.keys().filter(within).cloned().collect())
        })
    }

    fn sweep(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    fn hold(&self, _: Hold) -> Result<Option<Held>, Error> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[test]
    fn memory_is_a_shelf() {
        let store = Store::default();
        conformance::all(&|| Box::new(store.handle()));
    }
}
