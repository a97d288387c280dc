//! `ledger/requests.jsonl`: who asked for what is not in it, when and what became of it is. Append-only, a line a step.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anonymizer::RequestKind;
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

/// The file, and what has been read of it.
pub(super) struct RequestLedger {
    path: PathBuf,
    file: File,
    states: HashMap<String, State>,
}

impl RequestLedger {
    pub(super) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let doing = || format!("cannot open the ledger of requests {}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(doing)?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(&path);
        let file = file.with_context(doing)?;
        let text = std::fs::read_to_string(&path).with_context(doing)?;
        let mut ledger = Self { path, file, states: HashMap::new() };
        if !text.is_empty() && !text.ends_with('\n') {
            // A line that a crash tore says nothing; the next one stands alone.
            ledger.append("\n")?;
        }
        let whole = text.lines().enumerate().filter(|(_, line)| line.ends_with('}'));
        for (index, line) in whole {
            let line: Line = serde_json::from_str(line).map_err(|_| {
                let path = ledger.path.display();
                anyhow::anyhow!(
                    "line {} of the ledger of requests {path} cannot be read",
                    index + 1
                )
            })?;
            ledger.take(&line);
        }
        Ok(ledger)
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

    /// Ends the requests that are neither done nor in the suppression list.
    pub(super) fn drop_unentered(&mut self, entered: &[String], at: Millis) -> anyhow::Result<()> {
        let open = self.states.iter().filter(|(_, state)| !state.ended);
        let lost: Vec<String> = open
            .map(|(request, _)| request.clone())
            .filter(|request| !entered.contains(request))
            .collect();
        for request in lost {
            tracing::warn!(request, "a request was cut off before anything was done: ask it again");
            self.write(&request, at, Step::Dropped)?;
        }
        Ok(())
    }

    fn write(&mut self, request: &str, at: Millis, step: Step) -> anyhow::Result<()> {
        let line = Line { at: at.to_string(), request: request.to_owned(), step };
        let text = serde_json::to_string(&line).context("a request cannot be written")? + "\n";
        self.append(&text)?;
        self.take(&line);
        Ok(())
    }

    fn append(&mut self, text: &str) -> anyhow::Result<()> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_all());
        written.with_context(|| format!("cannot append to {}", self.path.display()))
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
    use super::*;

    const NOW: Millis = Millis(1_795_435_200_000);

    #[test]
    fn steps_survive_and_a_torn_line_says_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ledger").join("requests.jsonl");
        let open = || RequestLedger::open(path.clone()).unwrap();
        let mut ledger = open();
        let (kind, due) = (RequestKind::Object, NOW.plus(1));
        for request in ["a", "b", "c"] {
            ledger.received(request, kind, "devices", NOW, due, "00").unwrap();
        }
        ledger.removing("a", 7, NOW).unwrap();
        ledger.removing("a", 3, NOW).unwrap();
        ledger.append("{\"at\":\"20").unwrap();
        drop(ledger);

        let mut ledger = open();
        assert_eq!(ledger.removed("a"), None);
        ledger.done("a", 4, &["11".to_owned()], NOW).unwrap();
        ledger.drop_unentered(&["b".to_owned()], NOW).unwrap();
        drop(ledger);

        let ledger = open();
        let (_, removed) = ledger.removed("a").unwrap();
        assert_eq!((removed.rows_removed, removed.frames_rewritten), (7, 4));
        let ended = |request: &str| ledger.states[request].ended;
        assert!(ended("a") && !ended("b") && ended("c"));
    }

    #[test]
    fn a_damaged_line_is_named() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("requests.jsonl");
        std::fs::write(&path, "{\"at\":\"x\",\"request\":\"a\",\"state\":\"dropped\"}\n{}\n")
            .unwrap();
        let error = RequestLedger::open(path).err().map(|error| error.to_string());
        assert!(error.unwrap().starts_with("line 2 of"));
    }
}
