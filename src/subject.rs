//! Requests of single people: to see, to take along, to have erased, corrected, restricted, left out, and the end of these.
//! Who asks is named in memory and by keyed hash alone.
//!
//! A request is first written down (`ledger/requests.jsonl`), then its contributor is entered in the suppression list:
//! from then on gate 1 lets nothing of it in, or nothing for the purposes that it names. What is stored already is changed by
//! the worker ([`crate::pipeline`]), from the list alone, so that a crash in between loses no request. What is handed over is
//! encrypted to the requester's key before it is written anywhere ([`exports`]).
//!
//! Where many nodes share list and ledger, any of them takes requests, and the worker that looks after the tables removes.

mod access;
pub mod age;
pub mod check;
pub mod exports;
pub(crate) mod fulfil;
pub mod gone;
mod ledger;
pub mod operator;
mod portable;
pub(crate) mod rectify;
mod said;
pub mod wish;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anonymizer::shared::SETTLE_AFTER_MS;
use anonymizer::{
    Gate, Identifier, KeyRing, RequestKind, Resolver, Sharing, Shelf, Subject, Suppressed,
    SuppressionList, Wanted,
};
use anyhow::Context;
use arrow::array::RecordBatch;
use ingest::Importer;
use schemas::model::ContributorSource;
use schemas::time::DAY_MS;
use schemas::{Clock, Millis, Package};
use serde::{Deserialize, Serialize};

use self::exports::Exports;
use self::gone::Gone;
pub(crate) use self::ledger::Changing;
pub use self::ledger::{Entry, Removed, Stage};
use self::ledger::{Received, RequestLedger};
use self::rectify::Corrected;
use self::said::Saying;
use self::wish::Wish;
use crate::apart::{Apart, Kind, Lot, State};

/// The ledger's name below the root of events.
const LEDGER: &str = "ledger/requests.jsonl";
/// Longest identifier that is read, in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 16 << 10;
/// Most corrected events that are taken at once, in bytes.
pub const EVENTS_BYTES_MAX: usize = 4 << 20;

/// What a person gets: everything about the request but who it was about.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Id of the request.
    pub request: String,
    /// What was asked for.
    pub kind: RequestKind,
    /// The family.
    pub family: String,
    /// The purposes it was about; none if it was about everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<String>,
    /// When it was received, RFC 3339.
    pub received: String,
    /// When nothing stored was other than was asked for any more, RFC 3339.
    pub finished: String,
    /// What was done.
    #[serde(flatten)]
    pub removed: Removed,
    /// Key epochs in which the contributor could still be told apart, and was looked for.
    pub epochs: usize,
    /// Epochs in which nobody can be told apart any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Gone>,
    /// Until when an erasure can be undone, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The file that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub export: Option<Exported>,
    /// All of that in sentences.
    #[serde(default)]
    pub said: Vec<String>,
    /// Random; proves with the identifier that the commitment is about it. Kept on the receipt alone.
    pub nonce: String,
    /// Hash of nonce and identifier, as in the ledger of requests.
    pub commitment: String,
}

/// A file for the requester.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Its name, below `exports/`.
    pub name: String,
    /// Where it lies.
    pub place: String,
    /// Its size, encrypted.
    pub bytes: u64,
    /// When it is deleted, RFC 3339.
    pub until: String,
}

/// A request that was received and is not done.
pub struct Asked {
    request: String,
    kind: RequestKind,
    family: String,
    purposes: Vec<String>,
    received: Millis,
    epochs: usize,
    until: Option<Millis>,
    export: Option<Exported>,
    nonce: String,
    commitment: String,
}

/// Corrected events cannot be taken in as they are: whoever asks can mend that.
#[derive(Debug)]
pub struct Unacceptable;

impl std::fmt::Display for Unacceptable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the corrected events cannot be taken in, none of them was")
    }
}

/// What is stored of one contributor.
#[derive(Default)]
pub struct Stored {
    /// Rows of its table.
    pub rows: Vec<RecordBatch>,
    /// Rows that are set apart.
    pub apart: Vec<RecordBatch>,
}

/// What requests work with.
pub(crate) struct Means {
    pub(crate) package: Arc<Package>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) ring: Arc<KeyRing>,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) apart: Arc<Apart>,
    pub(crate) list: Arc<SuppressionList>,
    pub(crate) clock: Clock,
    /// How long sealed events are kept, in hours: as a rule, and at most.
    pub(crate) sealed_hours: (i64, i64),
}

/// All requests of one data folder.
pub struct Requests {
    means: Means,
    sharing: Sharing,
    ledger: Mutex<RequestLedger>,
    exports: Exports,
    /// Since when requests are known that nobody entered in the list, by the steady clock.
    unentered: Mutex<HashMap<String, Millis>>,
    underway: Mutex<Option<Underway>>,
}

/// A removal that waits until no node can acknowledge a frame under an old key.
#[derive(Clone)]
pub(crate) struct Underway {
    pub(crate) requests: BTreeSet<String>,
    pub(crate) hours: BTreeSet<u32>,
}

impl Requests {
    /// Opens the ledger below the root of events. A request that was written down and went no further before a crash is
    /// closed as dropped; where others take requests too, once it had time to go on.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read or written.
    pub(crate) fn on(
        shelf: Arc<dyn Shelf>,
        sharing: Sharing,
        means: Means,
    ) -> anyhow::Result<Self> {
        let ledger = Mutex::new(RequestLedger::open(Arc::clone(&shelf), LEDGER)?);
        let (unentered, underway) = (Mutex::default(), Mutex::default());
        let exports = Exports::on(shelf);
        let requests = Self { means, sharing, ledger, exports, unentered, underway };
        requests.drop_cut_off()?;
        Ok(requests)
    }

    /// Whether many nodes take requests.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.sharing, Sharing::Shared { .. })
    }

    /// Closes requests that were written down and went no further: all there are, where nobody else is. Those that ended others
    /// and were only not called done are.
    fn drop_cut_off(&self) -> anyhow::Result<()> {
        let entries = self.means.list.entries();
        let entered = entries.iter().map(|entry| entry.request.clone()).collect::<Vec<_>>();
        let now = (self.means.clock)();
        let mut ledger = self.ledger();
        let (ended, mut lost): (Vec<_>, Vec<_>) = ledger
            .unentered(&entered)
            .into_iter()
            .partition(|request| entries.iter().any(|entry| is_lifted_by(entry, request)));
        for request in ended {
            let mut own = entries.iter().filter(|entry| is_lifted_by(entry, &request));
            if own.all(|entry| !entry.pending) {
                let count = entries.iter().filter(|entry| is_lifted_by(entry, &request)).count();
                let done = Removed { requests_ended: count as u64, ..Removed::default() };
                ledger.done(&request, done, now)?;
            }
        }
        if let Sharing::Shared { steady } = &self.sharing {
            let now = steady();
            let mut since = self.unentered.lock().unwrap_or_else(PoisonError::into_inner);
            since.retain(|request, _| lost.contains(request));
            lost.retain(|request| {
                let since = *since.entry(request.clone()).or_insert(now);
                now.0.saturating_sub(since.0) >= SETTLE_AFTER_MS
            });
        }
        ledger.drop_all(&lost, now)
    }

    /// Reads what other nodes took and removed.
    ///
    /// # Errors
    ///
    /// If list or ledger cannot be read.
    pub fn refresh(&self) -> anyhow::Result<()> {
        if !self.is_shared() {
            return Ok(());
        }
        self.ledger().refresh()?;
        self.means.list.refresh()?;
        Ok(())
    }

    /// Reads what other nodes took, closes what went no further, and gives those whose rows and frames can be removed
    /// now: every node knows of them.
    pub(crate) fn ready(&self) -> anyhow::Result<Vec<Suppressed>> {
        if self.is_shared() {
            self.refresh()?;
            self.drop_cut_off()?;
        }
        Ok(self.means.list.settled())
    }

    /// What waits for nodes to take another key.
    pub(crate) fn underway(&self) -> MutexGuard<'_, Option<Underway>> {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The suppression list.
    #[must_use]
    pub fn list(&self) -> &SuppressionList {
        &self.means.list
    }

    /// Reads an identifier: the text of the family's field, or `{"site", "address", "user_agent"}` as JSON for a family
    /// that counts visits. One line end after it is not part of it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, never what it says.
    pub fn subject(&self, family: &str, text: &str) -> anyhow::Result<Subject> {
        let (_, declared) = self
            .means
            .package
            .family(family)
            .with_context(|| format!("the policy package has no family {family}"))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let identifier = match declared.contributor.source {
            ContributorSource::Field(_) => Identifier::text(text.to_owned()),
            ContributorSource::Visit => visit(text).context(
                "contributors of this family are told by a JSON object with `site`, `address` and `user_agent`",
            )?,
        };
        Ok(self.means.gate.subject(family, &identifier)?)
    }

    /// Understands what was posted; none if nothing is asked for but to look.
    ///
    /// # Errors
    ///
    /// As [`Wish::of`].
    pub fn wish(&self, posted: &mut wish::Posted) -> anyhow::Result<Option<Wish>> {
        Wish::of(posted, &self.means.package)
    }

    /// Writes the request down and has what it is about kept out from now on. Durable on return.
    ///
    /// # Errors
    ///
    /// If it cannot be written; then it has to be asked again.
    pub fn ask(&self, wish: &Wish, subject: &Subject) -> anyhow::Result<Asked> {
        let now = (self.means.clock)();
        let days = |days: u32| now.plus(i64::from(days) * DAY_MS);
        let (kind, purposes, until) = match wish {
            Wish::Export { kind, .. } => (*kind, &[][..], None),
            Wish::Entry { kind, purposes, window_days } => {
                (*kind, purposes.as_slice(), window_days.map(days))
            }
            Wish::Rectify { .. } => (RequestKind::Rectify, &[][..], None),
            Wish::Restore => (RequestKind::Restore, &[][..], None),
        };
        let corrected = self.corrected(wish, subject)?;
        let request = uuid::Uuid::new_v4().to_string();
        let committed = subject.commit()?;
        let (nonce, commitment) = (committed.nonce, committed.commitment);
        let due = days(self.means.package.answer_within_days);
        let family = subject.family_name();
        self.ledger().received(
            &Received {
                request: &request,
                kind,
                family,
                purposes,
                due,
                until,
                commitment: &commitment,
            },
            now,
        )?;
        let mut asked = Asked {
            request,
            kind,
            family: family.to_owned(),
            purposes: purposes.to_vec(),
            received: now,
            epochs: 0,
            until,
            export: None,
            nonce,
            commitment,
        };
        if let Some(corrected) = corrected {
            self.keep(&asked, &corrected)?;
        }
        asked.epochs = match wish {
            Wish::Entry { .. } | Wish::Rectify { .. } => self.enter(&asked, subject)?,
            Wish::Restore => self.lift(&asked, subject)?,
            Wish::Export { .. } => self.means.gate.pseudonyms(subject)?.iter().count(),
        };
        tracing::info!(
            request = asked.request,
            kind = kind.name(),
            family,
            "a request was received"
        );
        Ok(asked)
    }

    /// The corrected events of a request for them, if all of them can be taken in.
    fn corrected(&self, wish: &Wish, subject: &Subject) -> anyhow::Result<Option<Corrected>> {
        let Wish::Rectify { events, site } = wish else { return Ok(None) };
        anyhow::ensure!(
            !self.is_shared(),
            "events are corrected where one process has the data to itself: many nodes would let some of them in twice"
        );
        let Means { package, gate, resolver, clock, .. } = &self.means;
        let family = &package.families[subject.family()];
        let importer = Importer::new(Arc::clone(package), Arc::clone(resolver), site, clock());
        let checked = Corrected::check(gate, family, subject, events, site, importer);
        checked.context(Unacceptable).map(Some)
    }

    /// Keeps corrected events, sealed, until the wrong ones are erased: a crash in between loses neither.
    fn keep(&self, asked: &Asked, corrected: &Corrected) -> anyhow::Result<()> {
        let rows = corrected.rows()?;
        let lot = Lot {
            id: asked.request.clone(),
            kind: Kind::Correction,
            family: asked.family.clone(),
            rows: rows.num_rows() as u64,
            reason: asked.kind.name().to_owned(),
            since: asked.received.to_string(),
            end: None,
            state: State::Writing,
        };
        let lot = self.means.apart.add(lot, &[rows])?;
        self.means.apart.set(&lot.id, State::Kept).map(drop)
    }

    /// Enters the request's contributor in the list, and gives in how many epochs it is known.
    fn enter(&self, asked: &Asked, subject: &Subject) -> anyhow::Result<usize> {
        let Asked { request, kind, purposes, until, received, .. } = asked;
        let (kind, until, since) = (*kind, *until, *received);
        let pseudonyms = || self.means.gate.pseudonyms_ahead(subject, since);
        let wanted = Wanted { request, kind, purposes, until };
        Ok(self.means.list.enter(&wanted, subject, since, pseudonyms)?.epochs())
    }

    /// Ends what the list remembers of the contributor and can be ended. What is set apart for it is brought back by the
    /// worker; else the request is done.
    fn lift(&self, asked: &Asked, subject: &Subject) -> anyhow::Result<usize> {
        let Asked { request, received: now, .. } = asked;
        let ended = self.means.list.lift(request, subject, can_be_ended)?;
        let mut ledger = self.ledger();
        for entry in &ended {
            ledger.ended(&entry.request, request, *now)?;
        }
        if ended.iter().all(|entry| !entry.pending) {
            let done = Removed { requests_ended: ended.len() as u64, ..Removed::default() };
            ledger.done(request, done, *now)?;
        }
        drop(ledger);
        Ok(self.means.gate.pseudonyms(subject)?.iter().count())
    }

    /// The pseudonyms that rows of a contributor can have.
    ///
    /// # Errors
    ///
    /// What the key ring gives.
    pub fn known_by(&self, subject: &Subject) -> anyhow::Result<HashSet<[u8; 16]>> {
        Ok(self.means.gate.pseudonyms(subject)?.iter().map(|(_, own)| *own).collect())
    }

    /// Closes a request that came to nothing.
    pub(crate) fn give_up(&self, asked: &Asked) -> anyhow::Result<()> {
        self.ledger().drop_all(std::slice::from_ref(&asked.request), (self.means.clock)())
    }

    /// Writes the file that was asked for, of what is stored, and notes that the request is done.
    ///
    /// # Errors
    ///
    /// If it cannot be encrypted or written; then it has to be asked again.
    pub fn deliver(
        &self,
        asked: &mut Asked,
        wish: &Wish,
        subject: &Subject,
        stored: &Stored,
    ) -> anyhow::Result<()> {
        let Wish::Export { kind, to, format } = wish else {
            anyhow::bail!("nothing was to be handed over")
        };
        let now = (self.means.clock)();
        let family = &self.means.package.families[subject.family()];
        let (ending, text, count) = if *kind == RequestKind::Access {
            let (text, count) = access::answer(&access::Found {
                package: &self.means.package,
                family: subject.family(),
                keys: &self.means.ring.list()?,
                rows: &stored.rows,
                apart: &stored.apart,
                standing: &self.means.list.of_subject(subject)?,
                sealed_hours: self.means.sealed_hours,
                now,
            })?;
            ("json", text, count)
        } else {
            let rows = [stored.rows.as_slice(), stored.apart.as_slice()].concat();
            let count = rows.iter().map(|rows| rows.num_rows() as u64).sum();
            let ending = match format {
                wish::Format::Ndjson => "ndjson",
                wish::Format::Parquet => "parquet",
            };
            (ending, portable::file(family, &rows, *format)?, count)
        };
        let name = format!("{}.{ending}.age", asked.request);
        let until = exports::kept_until(now);
        let bytes = self.exports.write(&name, to, &text)?;
        let mut ledger = self.ledger();
        ledger.exported(&asked.request, &name, until, now)?;
        let done = Removed { rows_exported: count, ..Removed::default() };
        ledger.done(&asked.request, done, now)?;
        let (place, until) = (self.exports.place(&name), until.to_string());
        asked.export = Some(Exported { name, place, bytes, until });
        Ok(())
    }

    /// The file of a request, encrypted as it lies there; none if it is gone or never was.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn export(&self, request: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let entry = self.entries().into_iter().find(|entry| entry.request == request);
        match entry.and_then(|entry| entry.export) {
            Some(name) => self.exports.read(&name),
            None => Ok(None),
        }
    }

    /// Every request, the first first.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.ledger().entries((self.means.clock)())
    }

    /// What its time brings at `now`, by a clock that is believed: exports are deleted, and windows in which an erasure could
    /// be undone end.
    ///
    /// # Errors
    ///
    /// The first step that failed; the next call tries all again.
    pub(crate) fn tend(&self, now: Millis) -> anyhow::Result<()> {
        let is_over = |until: &Option<String>| {
            until.as_deref().and_then(Millis::parse).is_some_and(|until| until <= now)
        };
        // Files first: each is of a request that was written down before it.
        let names = self.exports.names()?;
        self.refresh()?;
        let entries = self.entries();
        for entry in entries.iter().filter(|entry| is_over(&entry.until)) {
            let Some(name) = &entry.export else { continue };
            self.exports.delete(name)?;
            self.ledger().deleted(&entry.request, now)?;
            tracing::info!(request = entry.request, "an export was deleted at the end of its time");
        }
        for name in names {
            let of = entries.iter().find(|entry| name.starts_with(&entry.request));
            let is_open = of.is_some_and(|entry| {
                entry.state == Stage::Received || entry.export.as_ref() == Some(&name)
            });
            if !is_open {
                // A crash came between the file and its line.
                self.exports.delete(&name)?;
            }
        }
        for lot in self.means.apart.list().iter().filter(|lot| lot.kind == Kind::Correction) {
            let is_wanted = |entry: &Entry| {
                entry.request == lot.id && matches!(entry.state, Stage::Received | Stage::Removing)
            };
            if !entries.iter().any(is_wanted) {
                self.means.apart.destroy(&lot.id, "the request for it was dropped")?;
            }
        }
        for entry in self.means.list.entries() {
            if entry.stands() && !entry.pending && is_over(&entry.until) {
                self.means.list.end_window(&entry.request)?;
            }
        }
        Ok(())
    }

    /// The receipt of a request, if it is done, or hidden until the window ends that was chosen.
    #[must_use]
    pub fn receipt(&self, asked: &Asked) -> Option<Receipt> {
        let entries = self.entries();
        let entry = entries.into_iter().find(|entry| entry.request == asked.request)?;
        let finished = match entry.state {
            Stage::Done => entry.finished?,
            Stage::Hidden => (self.means.clock)().to_string(),
            Stage::Received | Stage::Removing | Stage::Dropped => return None,
        };
        let (_, family) = self.means.package.family(&asked.family)?;
        let gone = self.means.ring.list().ok().and_then(|keys| gone::gone(family, &keys));
        let until = asked.until.map(|until| until.to_string());
        let said = said::said(&Saying {
            kind: asked.kind,
            purposes: &asked.purposes,
            done: &entry.done,
            until: until.as_deref(),
            gone: gone.as_ref(),
        });
        Some(Receipt {
            request: asked.request.clone(),
            kind: asked.kind,
            family: asked.family.clone(),
            purposes: asked.purposes.clone(),
            received: asked.received.to_string(),
            finished,
            removed: entry.done,
            epochs: asked.epochs,
            gone,
            until,
            export: asked.export.clone(),
            said,
            nonce: asked.nonce.clone(),
            commitment: asked.commitment.clone(),
        })
    }

    /// Notes how many rows of a request's contributor are about to be changed; what was noted before a crash stands.
    pub(crate) fn removing(&self, request: &str, changing: Changing) -> anyhow::Result<()> {
        self.ledger().removing(request, changing, (self.means.clock)())
    }

    /// Notes that nothing stored is other than these requests want it any more. What they keep out stays out.
    pub(crate) fn done(
        &self,
        requests: &[Suppressed],
        frames_rewritten: u64,
        sealing_keys_destroyed: &[String],
    ) -> anyhow::Result<()> {
        let now = (self.means.clock)();
        let mut ledger = self.ledger();
        let entries = self.means.list.entries();
        for entry in requests {
            let sealing_keys_destroyed = sealing_keys_destroyed.to_vec();
            let done = Removed { frames_rewritten, sealing_keys_destroyed, ..Removed::default() };
            match &entry.lifted {
                Some(by) if *by != entry.request => {
                    let ended = entries.iter().filter(|entry| is_lifted_by(entry, by)).count();
                    ledger.done(
                        by,
                        Removed { requests_ended: ended as u64, ..Removed::default() },
                        now,
                    )?;
                }
                None if entry.until.is_some() => ledger.hidden(&entry.request, now)?,
                Some(_) | None => ledger.done(&entry.request, done, now)?,
            }
        }
        drop(ledger);
        let requests = requests.iter().map(|entry| entry.request.clone()).collect::<Vec<_>>();
        Ok(self.means.list.settle(&requests)?)
    }

    fn ledger(&self) -> MutexGuard<'_, RequestLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// Id of the request.
    #[must_use]
    pub fn request(&self) -> &str {
        &self.request
    }
}

fn is_lifted_by(entry: &Suppressed, request: &str) -> bool {
    entry.lifted.as_deref() == Some(request)
}

/// Whether a request to restore ends it: an erasure only while its window is open.
fn can_be_ended(entry: &Suppressed) -> bool {
    match entry.kind {
        RequestKind::Object | RequestKind::Restrict | RequestKind::Withdraw => true,
        RequestKind::Erase => entry.until.is_some(),
        RequestKind::Access
        | RequestKind::Portability
        | RequestKind::Rectify
        | RequestKind::Restore => false,
    }
}

fn visit(text: &str) -> Option<Identifier> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Visit {
        site: String,
        address: IpAddr,
        user_agent: String,
    }
    // The parser's own words may quote what it read: they end here.
    let Visit { site, address, user_agent } = serde_json::from_str(text).ok()?;
    Some(Identifier::visit(site, address, user_agent))
}
