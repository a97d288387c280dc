//! What each source has sent since the service started: for `quorate status`, in memory only.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use schemas::access::SourceKind;
use schemas::time::MINUTE_MS;
use schemas::{Millis, Reason};
use serde::Serialize;

use crate::auth::Principal;
use crate::rows::Report;

/// Minutes over which the rate is taken.
const MINUTES: usize = 15;

/// Counts of one source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceStatus {
    /// The operator's name for it.
    pub source: String,
    /// `device`, `server` or `site`.
    pub kind: &'static str,
    /// When its last accepted event was received, RFC 3339.
    pub last_event: Option<String>,
    /// Accepted events a minute, over the last quarter of an hour.
    pub events_per_minute: f64,
    /// Accepted events.
    pub accepted: u64,
    /// Refused events.
    pub refused_total: u64,
    /// Refused events by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Fields dropped because nobody declared them.
    pub undeclared: u64,
}

/// Counts of all sources.
#[derive(Default)]
pub(crate) struct Stats {
    sources: Mutex<BTreeMap<String, Counts>>,
}

struct Counts {
    kind: SourceKind,
    last: Option<Millis>,
    accepted: u64,
    refused: BTreeMap<Reason, u64>,
    undeclared: u64,
    /// Accepted events of recent minutes: the minute since 1970, and its count.
    recent: [(i64, u64); MINUTES],
}

impl Stats {
    /// Adds what became of one request.
    pub(crate) fn add(&self, principal: &Principal, report: &Report, received: Millis) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if !sources.contains_key(&principal.name) {
            sources.insert(principal.name.clone(), Counts::new(principal.kind));
        }
        let Some(counts) = sources.get_mut(&principal.name) else { return };
        let accepted = report.accepted_total();
        counts.accepted += accepted;
        counts.undeclared += report.undeclared;
        for (&reason, &count) in report.tallies.iter().flat_map(|tally| &tally.refused) {
            *counts.refused.entry(reason).or_default() += count;
        }
        if accepted > 0 {
            counts.last = counts.last.max(Some(received));
            let minute = received.0.div_euclid(MINUTE_MS);
            let place = &mut counts.recent[place(minute)];
            if place.0 != minute {
                *place = (minute, 0);
            }
            place.1 += accepted;
        }
    }

    /// Counts of every source that has sent something, in order of name.
    pub(crate) fn snapshot(&self, now: Millis) -> Vec<SourceStatus> {
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.iter().map(|(name, counts)| counts.status(name, now)).collect()
    }
}

fn place(minute: i64) -> usize {
    let length = i64::try_from(MINUTES).unwrap_or(1);
    usize::try_from(minute.rem_euclid(length)).unwrap_or(0)
}

impl Counts {
    fn new(kind: SourceKind) -> Self {
        Self {
            kind,
            last: None,
            accepted: 0,
            refused: BTreeMap::new(),
            undeclared: 0,
            recent: [(0, 0); MINUTES],
        }
    }

    fn status(&self, name: &str, now: Millis) -> SourceStatus {
        let minute = now.0.div_euclid(MINUTE_MS);
        let oldest = minute - i64::try_from(MINUTES).unwrap_or(i64::MAX) + 1;
        let recent = self.recent.iter().filter(|(at, _)| (oldest..=minute).contains(at));
        let recent: u64 = recent.map(|(_, count)| count).sum();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let events_per_minute = (recent as f64 / MINUTES as f64 * 10.0).round() / 10.0;
        SourceStatus {
            source: name.to_owned(),
            kind: self.kind.name(),
            last_event: self.last.map(|last| last.to_string()),
            events_per_minute,
            accepted: self.accepted,
            refused_total: self.refused.values().sum(),
            refused: self.refused.clone(),
            undeclared: self.undeclared,
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::Tally;

    use super::*;

    fn report(accepted: u64, refused: Option<Reason>) -> Report {
        let mut tally = Tally::default();
        refused.into_iter().for_each(|reason| tally.refuse(reason));
        Report {
            accepted: vec![accepted],
            tallies: vec![tally],
            undeclared: 2,
            ..Report::default()
        }
    }

    #[test]
    fn counts_add_up_and_the_rate_forgets() {
        let stats = Stats::default();
        let principal = Principal::named("line", SourceKind::Device);
        let start = Millis(1_763_770_000_000);
        stats.add(&principal, &report(30, Some(Reason::WrongType)), start);
        stats.add(&principal, &report(0, Some(Reason::WrongType)), start.plus(MINUTE_MS));
        let status = |now| stats.snapshot(now).remove(0);
        let now = status(start.plus(MINUTE_MS));
        assert_eq!((now.accepted, now.refused_total, now.undeclared), (30, 2, 4));
        assert_eq!(now.last_event.as_deref(), Some(start.to_string().as_str()));
        assert!((now.events_per_minute - 2.0).abs() < 1e-9);
        assert!(status(start.plus(20 * MINUTE_MS)).events_per_minute.abs() < 1e-9);
        let json = serde_json::to_value(stats.snapshot(start)).unwrap();
        assert_eq!(json[0]["refused"]["wrong_type"], 2);
    }
}
