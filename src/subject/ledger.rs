//! `ledger/requests.jsonl`: who asked for what is not in it, when and what became of it is. Append-only, a line a step, by
//! any number of processes.

use std::collections::HashMap;
use std::sync::Arc;

use anonymizer::{RequestKind, Shelf};
use anyhow::Context;
use schemas::Millis;
use serde::{Deserialize, Serialize};

/// What was removed for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Rows of its contributor.
    pub rows_removed: u64,
    /// Frames of the log that were sealed again in the round that finished it, for whomever; none if an earlier round
    /// had taken it along.
    pub frames_rewritten: u64,
    /// Commitments of the sealing keys that were destroyed with what was under them.
    pub sealing_keys_destroyed: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// RFC 3339.
    at: String,
    request: String,
    #[serde(flatten)]
    step: Step,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
enum Step {
    /// Its contributor is let in no more.
    Received { kind: RequestKind, family: String, due: String, commitment: String },
    /// So many rows are about to go.
    Removing { rows: u64 },
    /// Nothing stored holds its contributor any more.
    Done(Removed),
    /// It was written down and nothing was done before the process ended: it has to be asked again.
    Dropped,
}

/// What is known of one request.
#[derive(Default)]
struct State {
    rows: u64,
    ended: bool,
    done: Option<(String, Removed)>,
}

/// How often others may be first to append before it is given up.
const TRIES: usize = 200;

/// The file, and what has been read of it.
pub(super) struct RequestLedger {
    shelf: Arc<dyn Shelf>,
    name: String,
    /// Bytes of whole lines read, lines, and bytes of one that a crash tore.
    offset: u64,
    lines: usize,
    torn: u64,
    states: HashMap<String, State>,
}

impl RequestLedger {
    pub(super) fn open(shelf: Arc<dyn Shelf>, name: &str) -> anyhow::Result<Self> {
        let (name, states) = (name.to_owned(), HashMap::new());
        let mut ledger = Self { shelf, name, offset: 0, lines: 0, torn: 0, states };
        ledger.refresh()?;
        Ok(ledger)
    }

    /// Reads what others have appended.
    pub(super) fn refresh(&mut self) -> anyhow::Result<()> {
        let tail = self.shelf.read_from(&self.name, self.offset);
        let tail = tail.context("the ledger of requests cannot be read")?;
        let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in tail[..whole].split_inclusive(|byte| *byte == b'\n') {
            self.lines += 1;
            let line = line.trim_ascii_end();
            // A line that a crash tore says nothing; the next one stands alone.
            if line.ends_with(b"}") {
                let read = serde_json::from_slice(line).ok().with_context(|| {
                    let (number, place) = (self.lines, self.shelf.place(&self.name));
                    let place = place.display();
                    format!("line {number} of the ledger of requests {place} cannot be read")
                });
                self.take(&read?);
            }
        }
        self.offset += whole as u64;
        self.torn = (tail.len() - whole) as u64;
        Ok(())
    }

    pub(super) fn received(
        &mut self,
        request: &str,
        kind: RequestKind,
        family: &str,
        at: Millis,
        due: Millis,
        commitment: &str,
    ) -> anyhow::Result<()> {
        let (family, commitment) = (family.to_owned(), commitment.to_owned());
        self.write(request, at, Step::Received { kind, family, due: due.to_string(), commitment })
    }

    /// What an earlier attempt noted stands: it may have removed them.
    pub(super) fn removing(&mut self, request: &str, rows: u64, at: Millis) -> anyhow::Result<()> {
        if rows <= self.states.get(request).map_or(0, |state| state.rows) {
            return Ok(());
        }
        self.write(request, at, Step::Removing { rows })
    }

    pub(super) fn done(
        &mut self,
        request: &str,
        frames_rewritten: u64,
        sealing_keys_destroyed: &[String],
        at: Millis,
    ) -> anyhow::Result<()> {
        let rows_removed = self.states.get(request).map_or(0, |state| state.rows);
        let sealing_keys_destroyed = sealing_keys_destroyed.to_vec();
        let removed = Removed { rows_removed, frames_rewritten, sealing_keys_destroyed };
        self.write(request, at, Step::Done(removed))
    }

    /// When a request was done, and what was removed for it.
    pub(super) fn removed(&self, request: &str) -> Option<(String, Removed)> {
        self.states.get(request)?.done.clone()
    }

    /// The requests that are neither done nor in the suppression list.
    pub(super) fn unentered(&self, entered: &[String]) -> Vec<String> {
        let open = self.states.iter().filter(|(_, state)| !state.ended);
        let open = open.map(|(request, _)| request.clone());
        open.filter(|request| !entered.contains(request)).collect()
    }

    /// Ends requests that went no further than this ledger.
    pub(super) fn drop_all(&mut self, requests: &[String], at: Millis) -> anyhow::Result<()> {
        for request in requests {
            tracing::warn!(request, "a request was cut off before anything was done: ask it again");
            self.write(request, at, Step::Dropped)?;
        }
        Ok(())
    }

    fn write(&mut self, request: &str, at: Millis, step: Step) -> anyhow::Result<()> {
        let line = Line { at: at.to_string(), request: request.to_owned(), step };
        let text = serde_json::to_string(&line).context("a request cannot be written")? + "\n";
        for _ in 0..TRIES {
            let end = if self.torn > 0 { "\n" } else { "" };
            let appended = self.shelf.append(
                &self.name,
                self.offset + self.torn,
                [end, &text].concat().as_bytes(),
            );
            let appended = appended.context("a request cannot be written")?;
            self.refresh()?;
            if appended {
                return Ok(());
            }
        }
        anyhow::bail!("a request cannot be written: others write all the time")
    }

    fn take(&mut self, line: &Line) {
        let state = self.states.entry(line.request.clone()).or_default();
        match &line.step {
            Step::Received { .. } => {}
            Step::Removing { rows } => state.rows = *rows,
            Step::Done(removed) => {
                state.ended = true;
                state.done = Some((line.at.clone(), removed.clone()));
            }
            Step::Dropped => state.ended = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use anonymizer::Folder;

    use super::*;

    const NOW: Millis = Millis(1_795_435_200_000);

    fn open(path: &Path) -> anyhow::Result<RequestLedger> {
        let (shelf, name) = Folder::of(path);
        RequestLedger::open(Arc::new(shelf), &name)
    }

    #[test]
    fn steps_survive_and_a_torn_line_says_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ledger").join("requests.jsonl");
        let mut ledger = open(&path).unwrap();
        let (kind, due) = (RequestKind::Object, NOW.plus(1));
        for request in ["a", "b", "c"] {
            ledger.received(request, kind, "devices", NOW, due, "00").unwrap();
        }
        ledger.removing("a", 7, NOW).unwrap();
        ledger.removing("a", 3, NOW).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "{\"at\":\"20").unwrap();
        drop(ledger);

        let mut ledger = open(&path).unwrap();
        assert_eq!(ledger.removed("a"), None);
        ledger.done("a", 4, &["11".to_owned()], NOW).unwrap();
        let lost = ledger.unentered(&["b".to_owned()]);
        assert_eq!(lost, ["c"]);
        ledger.drop_all(&lost, NOW).unwrap();
        drop(ledger);

        let ledger = open(&path).unwrap();
        let (_, removed) = ledger.removed("a").unwrap();
        assert_eq!((removed.rows_removed, removed.frames_rewritten), (7, 4));
        let ended = |request: &str| ledger.states[request].ended;
        assert!(ended("a") && !ended("b") && ended("c"));
    }

    #[test]
    fn what_many_append_at_once_is_all_there() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("requests.jsonl");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    let mut ledger = open(path).unwrap();
                    for rows in 1..=10 {
                        ledger.removing(&format!("request {writer}"), rows, NOW).unwrap();
                    }
                });
            }
        });
        let ledger = open(&path).unwrap();
        assert_eq!(ledger.lines, 40);
        assert!(ledger.states.values().all(|state| state.rows == 10));
    }

    #[test]
    fn a_damaged_line_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("requests.jsonl");
        std::fs::write(&path, "{\"at\":\"x\",\"request\":\"a\",\"state\":\"dropped\"}\n{}\n")
            .unwrap();
        let error = open(&path).err().map(|error| error.to_string());
        assert!(error.unwrap().starts_with("line 2 of"));
    }
}
