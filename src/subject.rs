//! Requests of single people: to be erased, or to be left out. Who asks is named in memory and by keyed hash alone.
//!
//! A request is first written down (`ledger/requests.jsonl`), then its contributor is entered in the suppression list:
//! from then on gate 1 lets nothing of it in. What is stored already is removed by the worker
//! ([`crate::pipeline`]), from the list alone, so that a crash in between loses no request.
//!
//! Where many nodes share list and ledger, any of them takes requests, and the worker that looks after the tables removes.

pub mod check;
mod ledger;
pub mod operator;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anonymizer::shared::SETTLE_AFTER_MS;
use anonymizer::{
    Gate, Identifier, RequestKind, Sharing, Shelf, Subject, Suppressed, SuppressionList, Wanted,
};
use anyhow::Context;
use schemas::model::ContributorSource;
use schemas::time::DAY_MS;
use schemas::{Clock, Millis, Package};
use serde::{Deserialize, Serialize};

pub use ledger::Removed;
use ledger::RequestLedger;

/// The ledger's name below the root of events.
const LEDGER: &str = "ledger/requests.jsonl";
/// Longest identifier that is read, in bytes.
pub const IDENTIFIER_BYTES_MAX: usize = 16 << 10;

/// What a person gets: everything about the request but who it was about.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Id of the request.
    pub request: String,
    /// What was asked for.
    pub kind: RequestKind,
    /// The family.
    pub family: String,
    /// When it was received, RFC 3339.
    pub received: String,
    /// When nothing stored held the contributor any more, RFC 3339.
    pub finished: String,
    /// What was removed.
    #[serde(flatten)]
    pub removed: Removed,
    /// Key epochs in which the contributor could still be told apart, and was looked for.
    pub epochs: usize,
    /// Random; proves with the identifier that the commitment is about it. Kept on the receipt alone.
    pub nonce: String,
    /// Hash of nonce and identifier, as in the ledger of requests.
    pub commitment: String,
}

/// A request that was received and is not done.
pub struct Asked {
    entry: Suppressed,
    nonce: String,
    commitment: String,
}

/// All requests of one data folder.
pub struct Requests {
    package: Arc<Package>,
    gate: Arc<Gate>,
    list: Arc<SuppressionList>,
    clock: Clock,
    sharing: Sharing,
    ledger: Mutex<RequestLedger>,
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
    pub fn on(
        shelf: Arc<dyn Shelf>,
        sharing: Sharing,
        package: Arc<Package>,
        gate: Arc<Gate>,
        list: Arc<SuppressionList>,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let ledger = Mutex::new(RequestLedger::open(shelf, LEDGER)?);
        let (unentered, underway) = (Mutex::default(), Mutex::default());
        let requests = Self { package, gate, list, clock, sharing, ledger, unentered, underway };
        requests.drop_cut_off()?;
        Ok(requests)
    }

    /// Whether many nodes take requests.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.sharing, Sharing::Shared { .. })
    }

    /// Closes requests that were written down and went no further: all there are, where nobody else is.
    fn drop_cut_off(&self) -> anyhow::Result<()> {
        let entered =
            self.list.entries().into_iter().map(|entry| entry.request).collect::<Vec<_>>();
        let mut ledger = self.ledger();
        let mut lost = ledger.unentered(&entered);
        if let Sharing::Shared { steady } = &self.sharing {
            let now = steady();
            let mut since = self.unentered.lock().unwrap_or_else(PoisonError::into_inner);
            since.retain(|request, _| lost.contains(request));
            lost.retain(|request| {
                let since = *since.entry(request.clone()).or_insert(now);
                now.0.saturating_sub(since.0) >= SETTLE_AFTER_MS
            });
        }
        ledger.drop_all(&lost, (self.clock)())
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
        self.list.refresh()?;
        Ok(())
    }

    /// Reads what other nodes took, closes what went no further, and gives those whose rows and frames can be removed
    /// now: every node knows of them.
    pub(crate) fn ready(&self) -> anyhow::Result<Vec<Suppressed>> {
        if self.is_shared() {
            self.refresh()?;
            self.drop_cut_off()?;
        }
        Ok(self.list.settled())
    }

    /// What waits for nodes to take another key.
    pub(crate) fn underway(&self) -> MutexGuard<'_, Option<Underway>> {
        self.underway.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The suppression list.
    #[must_use]
    pub fn list(&self) -> &SuppressionList {
        &self.list
    }

    /// Reads an identifier: the text of the family's field, or `{"site", "address", "user_agent"}` as JSON for a family
    /// that counts visits. One line end after it is not part of it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, never what it says.
    pub fn subject(&self, family: &str, text: &str) -> anyhow::Result<Subject> {
        let (_, declared) = self
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
        Ok(self.gate.subject(family, &identifier)?)
    }

    /// Writes the request down and lets nothing of its contributor in from now on. Durable on return.
    ///
    /// # Errors
    ///
    /// If it cannot be written; then it has to be asked again.
    pub fn ask(&self, kind: RequestKind, subject: &Subject) -> anyhow::Result<Asked> {
        let now = (self.clock)();
        let request = uuid::Uuid::new_v4().to_string();
        let committed = subject.commit()?;
        let (nonce, commitment) = (committed.nonce, committed.commitment);
        let due = now.plus(i64::from(self.package.answer_within_days) * DAY_MS);
        let family = subject.family_name();
        self.ledger().received(&request, kind, family, now, due, &commitment)?;
        let pseudonyms = || self.gate.pseudonyms_ahead(subject, now);
        let wanted = Wanted::whole(&request, kind);
        let entry = self.list.enter(&wanted, subject, now, pseudonyms)?;
        tracing::info!(
            request,
            family,
            "a request was received: its contributor is let in no more"
        );
        Ok(Asked { entry, nonce, commitment })
    }

    /// The receipt of a request, if it is done.
    #[must_use]
    pub fn receipt(&self, asked: &Asked) -> Option<Receipt> {
        let Asked { entry, nonce, commitment } = asked;
        let (finished, removed) = self.ledger().removed(&entry.request)?;
        Some(Receipt {
            request: entry.request.clone(),
            kind: entry.kind,
            family: entry.family.clone(),
            received: entry.since.clone(),
            finished,
            removed,
            epochs: entry.epochs(),
            nonce: nonce.clone(),
            commitment: commitment.clone(),
        })
    }

    /// Notes how many rows of a request's contributor are about to be removed; what was noted before a crash stands.
    pub(crate) fn removing(&self, request: &str, rows: u64) -> anyhow::Result<()> {
        self.ledger().removing(request, rows, (self.clock)())
    }

    /// Notes that nothing stored holds these contributors any more; they stay out.
    pub(crate) fn done(
        &self,
        requests: &[String],
        frames_rewritten: u64,
        sealing_keys_destroyed: &[String],
    ) -> anyhow::Result<()> {
        let now = (self.clock)();
        for request in requests {
            self.ledger().done(request, frames_rewritten, sealing_keys_destroyed, now)?;
        }
        Ok(self.list.settle(requests)?)
    }

    fn ledger(&self) -> MutexGuard<'_, RequestLedger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asked {
    /// Id of the request.
    #[must_use]
    pub fn request(&self) -> &str {
        &self.entry.request
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
