//! `ledger/holds.jsonl`: which holds there were, why, and what became of their rows. Append-only, a line a step; whose rows
//! they are is not in it. A step that a crash cut off and that is made again may have two lines.

use std::sync::Arc;

use anonymizer::Shelf;
use anyhow::{Context, bail};
use schemas::Millis;
use serde::{Deserialize, Serialize};

use super::Ended;

/// How often others may be first to append before it is given up.
const TRIES: usize = 200;

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    /// RFC 3339.
    at: String,
    hold: &'a str,
    #[serde(flatten)]
    step: Step,
}

/// What happened to a hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub(crate) enum Step {
    /// It was asked for.
    Asked { family: String, reason: String, until: String },
    /// Its rows are apart.
    Held { rows: u64 },
    /// A crash came before its rows were written down: they stayed where they were.
    Dropped,
    /// It was released before its end.
    Released(Ended),
    /// Its time is over.
    Over(Ended),
}

/// The file.
pub(crate) struct HoldLedger {
    shelf: Arc<dyn Shelf>,
    name: String,
}

impl HoldLedger {
    pub(super) fn new(shelf: Arc<dyn Shelf>, name: &str) -> Self {
        Self { shelf, name: name.to_owned() }
    }

    /// Appends a step. Durable on return.
    pub(crate) fn write(&self, hold: &str, step: Step, at: Millis) -> anyhow::Result<()> {
        let line = serde_json::to_string(&Line { at: at.to_string(), hold, step })?;
        for _ in 0..TRIES {
            let read = self.shelf.read_from(&self.name, 0);
            let read = read.context("the ledger of holds cannot be read")?;
            // What a crash tore says nothing; this line stands alone.
            let torn = read.last().is_some_and(|last| *last != b'\n');
            let text = format!("{}{line}\n", if torn { "\n" } else { "" });
            let end = read.len() as u64;
            let appended = self.shelf.append(&self.name, end, text.as_bytes());
            if appended.context("the ledger of holds cannot be written")? {
                return Ok(());
            }
        }
        bail!("the ledger of holds is changed by others all the time: try again")
    }
}
