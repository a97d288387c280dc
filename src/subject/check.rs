//! Looks for one contributor in everything that is stored: files as they are and decoded, and opened frames.

use std::path::PathBuf;
use std::sync::Arc;

use anonymizer::{Error, Gate, Subject};
use serde::{Deserialize, Serialize};
use transport::{Log, Partition};

use crate::frames::{Frames, Read};
use crate::scan::{NEEDLE_BYTES_MIN, Report, Scanner};

/// Places told; more are only counted.
const PLACES_MAX: usize = 100;

/// What was searched, and where the contributor was found.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Epochs whose key is alive: in each the contributor has another pseudonym, and each is looked for.
    pub epochs: usize,
    /// Files read.
    pub files: u64,
    /// Values of tables decoded.
    pub values: u64,
    /// Frames of the log opened.
    pub frames: u64,
    /// Frames that nobody can open any more.
    pub frames_unreadable: u64,
    /// Occurrences.
    pub found: u64,
    /// The first of them: places, never values.
    pub places: Vec<String>,
}

/// What is searched.
pub struct Checker {
    /// The data folder.
    pub data: PathBuf,
    /// Gate 1.
    pub gate: Arc<Gate>,
    /// The log.
    pub log: Arc<dyn Log>,
}

impl Checker {
    /// Searches for `subject`: its pseudonyms under every living key in any file, its identifier likewise if it is long
    /// enough not to be found by chance, and both in the rows of every frame that can be opened.
    ///
    /// # Errors
    ///
    /// If a file or the log cannot be read.
    pub async fn check(&self, subject: &Subject) -> anyhow::Result<Checked> {
        let pseudonyms = self.gate.pseudonyms(subject)?;
        let mut checked = Checked { epochs: pseudonyms.iter().count(), ..Checked::default() };
        self.frames(subject, &mut checked).await?;
        let texts = subject.texts().filter(|text| text.len() >= NEEDLE_BYTES_MIN);
        let texts = texts.map(|text| ("identifier", text.to_owned()));
        let hashes = pseudonyms.iter().map(|(_, pseudonym)| ("pseudonym", pseudonym.to_vec()));
        let scanner = Scanner::with_hashes(texts, hashes)?;
        let data = self.data.clone();
        let report = tokio::task::spawn_blocking(move || {
            let mut report = Report::default();
            scanner.folder(&data, &mut report).map(|()| report)
        });
        let report = report.await??;
        checked.files = report.files;
        checked.values = report.values;
        checked.found += report.found;
        checked.places.extend(report.findings.iter().map(ToString::to_string));
        checked.places.sort_unstable();
        checked.places.dedup();
        checked.places.truncate(PLACES_MAX);
        Ok(checked)
    }

    async fn frames(&self, subject: &Subject, checked: &mut Checked) -> anyhow::Result<()> {
        for partition in (0..self.log.partitions()).map(Partition) {
            let mut log = Frames::all(self.log.as_ref(), partition).await?;
            while let Some(read) = log.next().await? {
                let Read::Frames(frames) = read else {
                    checked.frames_unreadable += 1;
                    continue;
                };
                for (position, frame) in frames {
                    checked.frames += 1;
                    match self.gate.holds_subject(frame, subject) {
                        Ok(false) => {}
                        Ok(true) => {
                            checked.found += 1;
                            let (partition, position) = (partition.0, position.0);
                            let place = format!(
                                "the frame at position {position} of partition {partition}"
                            );
                            checked.places.push(place);
                        }
                        Err(Error::Destroyed(_)) => checked.frames_unreadable += 1,
                        Err(error) if error.is_unreadable() => checked.frames_unreadable += 1,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
        Ok(())
    }
}
