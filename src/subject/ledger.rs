//! `ledger/requests.jsonl`: who asked for what is not in it, when and what became of it is. Append-only, a line a step, by
//! any number of processes.

use std::collections::HashMap;
use std::sync::Arc;

use anonymizer::{RequestKind, Shelf};
use anyhow::Context;
use schemas::Millis;
use serde::{Deserialize, Serialize};

/// What was done for a request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Rows of its contributor that are gone.
    pub rows_removed: u64,
    /// Frames of the log that were sealed again in the round that finished it, for whomever; none if an earlier round
    /// had taken it along.
    pub frames_rewritten: u64,
    /// Commitments of the sealing keys that were destroyed with what was under them.
    pub sealing_keys_destroyed: Vec<String>,
    /// Rows from which went what rests on purposes that were taken.
    #[serde(default, skip_serializing_if = "is_none")]
    pub rows_narrowed: u64,
    /// Rows that were set apart.
    #[serde(default, skip_serializing_if = "is_none")]
    pub rows_set_apart: u64,
    /// Rows that were brought back.
    #[serde(default, skip_serializing_if = "is_none")]
    pub rows_brought_back: u64,
    /// Rows under a legal hold, which stay apart until it ends.
    #[serde(default, skip_serializing_if = "is_none")]
    pub rows_held: u64,
    /// Rows that were told or handed over.
    #[serde(default, skip_serializing_if = "is_none")]
    pub rows_exported: u64,
    /// Corrected events that were stored.
    #[serde(default, skip_serializing_if = "is_none")]
    pub events_stored: u64,
    /// Requests that were ended.
    #[serde(default, skip_serializing_if = "is_none")]
    pub requests_ended: u64,
}

fn is_none(count: &u64) -> bool {
    *count == 0
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing is stored of its contributor from now on, or for its purposes; what is stored already is next.
    Received,
    /// What is stored is being changed.
    Removing,
    /// Nothing is shown of the contributor; it is erased when the window that the requester chose ends.
    Hidden,
    /// All was done.
    Done,
    /// It was cut off before anything was done, and has to be asked again.
    Dropped,
}

/// One request as the ledger tells it: everything but who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its id.
    pub request: String,
    /// What was asked for.
    pub kind: RequestKind,
    /// The family.
    pub family: String,
    /// The purposes it is about; none if it is about everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<String>,
    /// When it was received, RFC 3339.
    pub received: String,
    /// By when it has to be answered, RFC 3339.
    pub due: String,
    /// How far it is.
    pub state: Stage,
    /// Whether it should have been answered by now.
    #[serde(default)]
    pub overdue: bool,
    /// When all was done, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<String>,
    /// Until when it can be undone, or its export is kept, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The request that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<String>,
    /// Name of its export, while that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// What was done.
    #[serde(flatten)]
    pub done: Removed,
    /// Hash of the receipt's nonce and the identifier.
    pub commitment: String,
}

/// What is written down when a request comes.
pub(super) struct Received<'a> {
    pub(super) request: &'a str,
    pub(super) kind: RequestKind,
    pub(super) family: &'a str,
    pub(super) purposes: &'a [String],
    pub(super) due: Millis,
    pub(super) until: Option<Millis>,
    pub(super) commitment: &'a str,
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
    /// Its contributor is let in no more, or not for all purposes.
    Received {
        kind: RequestKind,
        family: String,
        due: String,
        commitment: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        purposes: Vec<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
    },
    /// So many rows are about to be changed.
    Removing(Changing),
    /// They are set apart, until the window ends.
    Hidden,
    /// A file for the requester was written.
    Exported { export: String, until: String },
    /// And is gone.
    Deleted,
    /// Nothing stored holds any more what was to go.
    Done(Removed),
    /// Another request ended it.
    Ended { by: String },
    /// It was written down and nothing was done before the process ended: it has to be asked again.
    Dropped,
}

/// Rows that are about to be changed, by how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Changing {
    /// Removed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) rows: u64,
    /// Destroyed where they were set apart.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) lots: u64,
    /// Narrowed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) narrowed: u64,
    /// Set apart.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) apart: u64,
    /// Brought back.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) back: u64,
    /// Left under a legal hold.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) held: u64,
    /// Corrected events that are stored.
    #[serde(default, skip_serializing_if = "is_none")]
    pub(crate) stored: u64,
}

impl Changing {
    /// The larger of each: what was noted before a crash may have been done before it.
    fn most(self, other: Self) -> Self {
        Self {
            rows: self.rows.max(other.rows),
            lots: self.lots.max(other.lots),
            narrowed: self.narrowed.max(other.narrowed),
            apart: self.apart.max(other.apart),
            back: self.back.max(other.back),
            held: self.held.max(other.held),
            stored: self.stored.max(other.stored),
        }
    }
}

/// What is known of one request.
#[derive(Default)]
struct State {
    changing: Changing,
    ended: bool,
    done: Option<(String, Removed)>,
    entry: Option<Entry>,
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
    /// Their ids, in order of coming.
    order: Vec<String>,
}

impl RequestLedger {
    pub(super) fn open(shelf: Arc<dyn Shelf>, name: &str) -> anyhow::Result<Self> {
        let (name, states, order) = (name.to_owned(), HashMap::new(), Vec::new());
        let mut ledger = Self { shelf, name, offset: 0, lines: 0, torn: 0, states, order };
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

    pub(super) fn received(&mut self, received: &Received<'_>, at: Millis) -> anyhow::Result<()> {
        let step = Step::Received {
            kind: received.kind,
            family: received.family.to_owned(),
            due: received.due.to_string(),
            commitment: received.commitment.to_owned(),
            purposes: received.purposes.to_vec(),
            until: received.until.map(|until| until.to_string()),
        };
        self.write(received.request, at, step)
    }

    /// What an earlier attempt noted stands: it may have been done.
    pub(super) fn removing(
        &mut self,
        request: &str,
        changing: Changing,
        at: Millis,
    ) -> anyhow::Result<()> {
        let known = self.changing(request);
        match known.most(changing) {
            same if same == known => Ok(()),
            more => self.write(request, at, Step::Removing(more)),
        }
    }

    fn changing(&self, request: &str) -> Changing {
        self.states.get(request).map_or_else(Changing::default, |state| state.changing)
    }

    /// Notes that rows are set apart, for those whose window is open.
    pub(super) fn hidden(&mut self, request: &str, at: Millis) -> anyhow::Result<()> {
        self.write(request, at, Step::Hidden)
    }

    pub(super) fn exported(
        &mut self,
        request: &str,
        export: &str,
        until: Millis,
        at: Millis,
    ) -> anyhow::Result<()> {
        let (export, until) = (export.to_owned(), until.to_string());
        self.write(request, at, Step::Exported { export, until })
    }

    pub(super) fn deleted(&mut self, request: &str, at: Millis) -> anyhow::Result<()> {
        self.write(request, at, Step::Deleted)
    }

    pub(super) fn ended(&mut self, request: &str, by: &str, at: Millis) -> anyhow::Result<()> {
        self.write(request, at, Step::Ended { by: by.to_owned() })
    }

    /// Notes that all was done; counts of rows are those that were noted before.
    pub(super) fn done(&mut self, request: &str, done: Removed, at: Millis) -> anyhow::Result<()> {
        let Changing { rows, lots, narrowed, apart, back, held, stored } = self.changing(request);
        let done = Removed {
            rows_removed: rows + lots,
            rows_narrowed: narrowed,
            rows_set_apart: apart,
            rows_brought_back: back,
            rows_held: held,
            events_stored: stored,
            ..done
        };
        self.write(request, at, Step::Done(done))
    }

    /// All requests, the first first.
    pub(super) fn entries(&self, now: Millis) -> Vec<Entry> {
        let known = self.order.iter().filter_map(|request| self.states.get(request)?.entry.clone());
        let overdue = |entry: Entry| Entry { overdue: is_overdue(&entry, now), ..entry };
        known.map(overdue).collect()
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
        if !self.states.contains_key(&line.request) {
            self.order.push(line.request.clone());
        }
        let state = self.states.entry(line.request.clone()).or_default();
        match &line.step {
            Step::Received { .. } => state.entry = Entry::of(line),
            Step::Removing(changing) => {
                state.changing = *changing;
                state.set(Stage::Removing);
            }
            Step::Hidden => {
                state.set(Stage::Hidden);
                if let Some(entry) = &mut state.entry {
                    entry.done.rows_set_apart = state.changing.apart;
                }
            }
            Step::Exported { export, until } => {
                if let Some(entry) = &mut state.entry {
                    (entry.export, entry.until) = (Some(export.clone()), Some(until.clone()));
                }
            }
            Step::Deleted => {
                if let Some(entry) = &mut state.entry {
                    (entry.export, entry.until) = (None, None);
                }
            }
            Step::Done(removed) => {
                state.ended = true;
                state.done = Some((line.at.clone(), removed.clone()));
                state.set(Stage::Done);
                if let Some(entry) = &mut state.entry {
                    (entry.finished, entry.done) = (Some(line.at.clone()), removed.clone());
                }
            }
            Step::Ended { by } => {
                if let Some(entry) = &mut state.entry {
                    entry.ended_by = Some(by.clone());
                }
            }
            Step::Dropped => {
                state.ended = true;
                state.set(Stage::Dropped);
            }
        }
    }
}

/// Whether it is past its day and nobody was answered.
fn is_overdue(entry: &Entry, now: Millis) -> bool {
    let is_open = matches!(entry.state, Stage::Received | Stage::Removing);
    is_open && Millis::parse(&entry.due).is_none_or(|due| due < now)
}

impl State {
    fn set(&mut self, stage: Stage) {
        if let Some(entry) = &mut self.entry {
            entry.state = stage;
        }
    }
}

impl Entry {
    fn of(line: &Line) -> Option<Self> {
        let Step::Received { kind, family, due, commitment, purposes, until } = &line.step else {
            return None;
        };
        Some(Self {
            request: line.request.clone(),
            kind: *kind,
            family: family.clone(),
            purposes: purposes.clone(),
            received: line.at.clone(),
            due: due.clone(),
            state: Stage::Received,
            overdue: false,
            finished: None,
            until: until.clone(),
            ended_by: None,
            export: None,
            done: Removed::default(),
            commitment: commitment.clone(),
        })
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

    fn received(request: &str) -> Received<'_> {
        Received {
            request,
            kind: RequestKind::Object,
            family: "devices",
            purposes: &[],
            due: NOW.plus(1),
            until: None,
            commitment: "00",
        }
    }

    fn rows(rows: u64) -> Changing {
        Changing { rows, ..Changing::default() }
    }

    /// Lines as they were written when requests were erasures and objections alone.
    #[test]
    fn lines_of_before_are_read_and_an_overdue_request_is_told() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("requests.jsonl");
        let old = concat!(
            r#"{"at":"2026-11-01T00:00:00.000Z","request":"a","state":"received","kind":"erase","family":"web","due":"2026-12-01T00:00:00.000Z","commitment":"00"}"#,
            "\n",
            r#"{"at":"2026-11-01T00:00:01.000Z","request":"a","state":"removing","rows":7}"#,
            "\n",
            r#"{"at":"2026-11-01T00:00:02.000Z","request":"a","state":"done","rows_removed":7,"frames_rewritten":1,"sealing_keys_destroyed":["11"]}"#,
            "\n",
            r#"{"at":"2026-11-02T00:00:00.000Z","request":"b","state":"received","kind":"object","family":"web","due":"2026-12-02T00:00:00.000Z","commitment":"22"}"#,
            "\n",
        );
        std::fs::write(&path, old).unwrap();
        let ledger = open(&path).unwrap();
        let told = |now: Millis| {
            let entries = ledger.entries(now).into_iter();
            entries.map(|entry| (entry.request, entry.state, entry.overdue)).collect::<Vec<_>>()
        };
        let due = Millis::parse("2026-12-02T00:00:00Z").unwrap();
        let (a, b) = ("a".to_owned(), "b".to_owned());
        let expected = [(a, Stage::Done, false), (b, Stage::Received, false)];
        assert_eq!(told(due), expected);
        assert!(told(due.plus(1))[1].2 && !told(due.plus(1))[0].2);
        assert_eq!(ledger.entries(due)[0].done.rows_removed, 7);
    }

    #[test]
    fn an_export_is_told_until_it_is_deleted() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("requests.jsonl");
        let mut ledger = open(&path).unwrap();
        let purposes = ["website".to_owned()];
        let asked = Received { purposes: &purposes, ..received("a") };
        ledger.received(&asked, NOW).unwrap();
        ledger.exported("a", "a.json.age", NOW.plus(7), NOW).unwrap();
        let done = Removed { rows_exported: 3, ..Removed::default() };
        ledger.done("a", done, NOW).unwrap();
        let entry = open(&path).unwrap().entries(NOW).remove(0);
        assert_eq!((entry.export.as_deref(), entry.done.rows_exported), (Some("a.json.age"), 3));
        assert_eq!(
            (entry.purposes, entry.until),
            (purposes.to_vec(), Some(NOW.plus(7).to_string()))
        );
        ledger.deleted("a", NOW).unwrap();
        ledger.ended("a", "b", NOW).unwrap();
        let entry = open(&path).unwrap().entries(NOW).remove(0);
        assert_eq!((entry.export, entry.ended_by.as_deref()), (None, Some("b")));
    }

    #[test]
    fn steps_survive_and_a_torn_line_says_nothing() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("ledger").join("requests.jsonl");
        let mut ledger = open(&path).unwrap();
        for request in ["a", "b", "c"] {
            ledger.received(&received(request), NOW).unwrap();
        }
        ledger.removing("a", rows(7), NOW).unwrap();
        ledger.removing("a", rows(3), NOW).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text + "{\"at\":\"20").unwrap();
        drop(ledger);

        let mut ledger = open(&path).unwrap();
        assert_eq!(ledger.states["a"].done, None);
        let keys = vec!["11".to_owned()];
        let done =
            Removed { frames_rewritten: 4, sealing_keys_destroyed: keys, ..Removed::default() };
        ledger.done("a", done, NOW).unwrap();
        let lost = ledger.unentered(&["b".to_owned()]);
        assert_eq!(lost, ["c"]);
        ledger.drop_all(&lost, NOW).unwrap();
        drop(ledger);

        let ledger = open(&path).unwrap();
        let (_, removed) = ledger.states["a"].done.clone().unwrap();
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
                        let changing = Changing { rows, ..Changing::default() };
                        ledger.removing(&format!("request {writer}"), changing, NOW).unwrap();
                    }
                });
            }
        });
        let ledger = open(&path).unwrap();
        assert_eq!(ledger.lines, 40);
        assert!(ledger.states.values().all(|state| state.changing.rows == 10));
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
