//! What has been sent since the service started, by source for `quorate status` and by family for the live panel: in
//! memory only.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use schemas::access::SourceKind;
use schemas::time::MINUTE_MS;
use schemas::{Millis, Named, Note, Package, Reason, Tally};
use serde::Serialize;

use crate::auth::Principal;
use crate::rows::Report;

/// Minutes that count as recent.
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

/// Counts of one family, all sources together. Exact, so not for readers as it is: one event more tells of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyStatus {
    /// Its declared name; none for what belongs to no family: bodies that cannot be read, events of an unknown type.
    pub family: Option<String>,
    /// When its last accepted event was received.
    pub last: Option<Millis>,
    /// Accepted events.
    pub accepted: u64,
    /// Those of them that were received within the last quarter of an hour.
    pub recent: u64,
    /// Refused events by reason.
    pub refused: BTreeMap<Reason, u64>,
    /// Fields dropped because nobody declared them.
    pub undeclared: u64,
    /// Everything that was noted on the way: signals, grants that do not count, fields nulled and dropped.
    pub notes: BTreeMap<Note, u64>,
    /// Of some notes, how much belongs to which declared word.
    pub named: Named,
}

/// Counts of all sources and all families.
#[derive(Default)]
pub(crate) struct Stats {
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    sources: BTreeMap<String, (SourceKind, Counts)>,
    /// By index of the family; [`Self::none`] is for what belongs to none.
    families: BTreeMap<usize, Counts>,
    none: Counts,
}

#[derive(Default)]
struct Counts {
    last: Option<Millis>,
    accepted: u64,
    refused: BTreeMap<Reason, u64>,
    undeclared: u64,
    /// Notes alone: reasons are above.
    noted: Tally,
    /// Accepted events of recent minutes: the minute since 1970, and its count.
    recent: [(i64, u64); MINUTES],
}

impl Stats {
    /// Adds what became of one request.
    pub(crate) fn add(&self, principal: &Principal, report: &Report, received: Millis) {
        let mut counted = self.lock();
        let Counted { sources, families, none } = &mut *counted;
        if !sources.contains_key(&principal.name) {
            sources.insert(principal.name.clone(), (principal.kind, Counts::default()));
        }
        let Some((_, source)) = sources.get_mut(&principal.name) else { return };
        for (index, tally) in report.tallies.iter().enumerate() {
            // Behind those of the families stands the tally of no family, alone where nothing could be read.
            let accepted = report.accepted.get(index);
            let family = match accepted {
                Some(_) => families.entry(index).or_default(),
                None => &mut *none,
            };
            let accepted = accepted.copied().unwrap_or_default();
            family.add(accepted, tally, received);
            source.add(accepted, tally, received);
        }
    }

    /// Adds what was noted of a family while its events were put together.
    pub(crate) fn note(&self, family: usize, tally: &Tally) {
        self.lock().families.entry(family).or_default().noted.add(tally);
    }

    /// Adds what became of a body that does not tell who sent it: of no family, and of no source.
    pub(crate) fn add_unknown(&self, tally: &Tally, received: Millis) {
        self.lock().none.add(0, tally, received);
    }

    /// Counts of every source that has sent something, in order of name.
    pub(crate) fn sources(&self, now: Millis) -> Vec<SourceStatus> {
        let counted = self.lock();
        let sources = counted.sources.iter();
        sources.map(|(name, (kind, counts))| counts.source(name, *kind, now)).collect()
    }

    /// Counts of every family of `package`, in its order; last of no family, if there is anything to tell.
    pub(crate) fn families(&self, package: &Package, now: Millis) -> Vec<FamilyStatus> {
        let counted = self.lock();
        let nothing = Counts::default();
        let of = |index| counted.families.get(&index).unwrap_or(&nothing);
        let families = package.families.iter().enumerate();
        let families = families.map(|(index, family)| of(index).family(Some(&family.name), now));
        let none = counted.none.family(None, now);
        let none = Some(none).filter(|none| !none.refused.is_empty() || none.undeclared > 0);
        families.chain(none).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(minute: i64) -> usize {
    let length = i64::try_from(MINUTES).unwrap_or(1);
    usize::try_from(minute.rem_euclid(length)).unwrap_or(0)
}

impl Counts {
    fn add(&mut self, accepted: u64, tally: &Tally, received: Millis) {
        self.accepted += accepted;
        self.undeclared += tally.notes.get(&Note::Undeclared).copied().unwrap_or_default();
        for (&reason, &count) in &tally.refused {
            *self.refused.entry(reason).or_default() += count;
        }
        tally.notes.iter().for_each(|(note, count)| self.noted.note(*note, *count));
        for (note, words) in &tally.named {
            words.iter().for_each(|(word, count)| self.noted.name(*note, word, *count));
        }
        if accepted > 0 {
            self.last = self.last.max(Some(received));
            let minute = received.0.div_euclid(MINUTE_MS);
            let place = &mut self.recent[place(minute)];
            if place.0 != minute {
                *place = (minute, 0);
            }
            place.1 += accepted;
        }
    }

    /// Accepted events of the last quarter of an hour.
    fn recent(&self, now: Millis) -> u64 {
        let minute = now.0.div_euclid(MINUTE_MS);
        let oldest = minute - i64::try_from(MINUTES).unwrap_or(i64::MAX) + 1;
        let recent = self.recent.iter().filter(|(at, _)| (oldest..=minute).contains(at));
        recent.map(|(_, count)| count).sum()
    }

    fn source(&self, name: &str, kind: SourceKind, now: Millis) -> SourceStatus {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let events_per_minute = (self.recent(now) as f64 / MINUTES as f64 * 10.0).round() / 10.0;
        SourceStatus {
            source: name.to_owned(),
            kind: kind.name(),
            last_event: self.last.map(|last| last.to_string()),
            events_per_minute,
            accepted: self.accepted,
            refused_total: self.refused.values().sum(),
            refused: self.refused.clone(),
            undeclared: self.undeclared,
        }
    }

    fn family(&self, name: Option<&str>, now: Millis) -> FamilyStatus {
        FamilyStatus {
            family: name.map(str::to_owned),
            last: self.last,
            accepted: self.accepted,
            recent: self.recent(now),
            refused: self.refused.clone(),
            undeclared: self.undeclared,
            notes: self.noted.notes.clone(),
            named: self.noted.named.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::package;

    fn tally(refused: Option<Reason>, undeclared: u64) -> Tally {
        let mut tally = Tally::default();
        refused.into_iter().for_each(|reason| tally.refuse(reason));
        tally.note(Note::Undeclared, undeclared);
        tally
    }

    fn report(accepted: u64, refused: Option<Reason>) -> Report {
        Report {
            accepted: vec![accepted],
            tallies: vec![tally(refused, 2), tally(None, 0)],
            undeclared: 2,
            ..Report::default()
        }
    }

    const START: Millis = Millis(1_763_770_000_000);

    #[test]
    fn counts_add_up_and_the_rate_forgets() {
        let stats = Stats::default();
        let principal = Principal::named("line", SourceKind::Device);
        stats.add(&principal, &report(30, Some(Reason::WrongType)), START);
        stats.add(&principal, &report(0, Some(Reason::WrongType)), START.plus(MINUTE_MS));
        let status = |now| stats.sources(now).remove(0);
        let now = status(START.plus(MINUTE_MS));
        assert_eq!((now.accepted, now.refused_total, now.undeclared), (30, 2, 4));
        assert_eq!(now.last_event.as_deref(), Some(START.to_string().as_str()));
        assert!((now.events_per_minute - 2.0).abs() < 1e-9);
        assert!(status(START.plus(20 * MINUTE_MS)).events_per_minute.abs() < 1e-9);
        let json = serde_json::to_value(stats.sources(START)).unwrap();
        assert_eq!(json[0]["refused"]["wrong_type"], 2);
    }

    #[test]
    fn families_are_told_apart_whoever_sent_them() {
        let (stats, package) = (Stats::default(), package());
        assert!(package.families.len() > 1, "the test needs two");
        let nothing = stats.families(&package, START);
        let names: Vec<_> = nothing.iter().map(|status| status.family.as_deref()).collect();
        let declared = package.families.iter().map(|family| Some(family.name.as_str()));
        assert_eq!(names, declared.collect::<Vec<_>>(), "all, and none that is of no family");
        assert!(nothing.iter().all(|status| status.last.is_none() && status.accepted == 0));

        for (source, second) in [("line", 0), ("other", 5)] {
            let mut tallies = vec![Tally::default(); package.families.len() + 1];
            tallies[1] = tally(Some(Reason::OutOfRange), 3);
            *tallies.last_mut().unwrap() = tally(Some(Reason::UnknownType), 1);
            let mut accepted = vec![0; package.families.len()];
            accepted[1] = 7;
            let report = Report { accepted, tallies, undeclared: 4, ..Report::default() };
            let principal = Principal::named(source, SourceKind::Device);
            stats.add(&principal, &report, START.plus(second * MINUTE_MS));
        }
        let broken =
            Report { tallies: vec![tally(Some(Reason::Malformed), 0)], ..Report::default() };
        stats.add(&Principal::named("line", SourceKind::Device), &broken, START);

        let now = START.plus(5 * MINUTE_MS);
        let families = stats.families(&package, now);
        assert_eq!(families[0], nothing[0], "the other family has nothing of it");
        assert_eq!(
            families[1],
            FamilyStatus {
                family: Some(package.families[1].name.clone()),
                last: Some(now),
                accepted: 14,
                recent: 14,
                refused: BTreeMap::from([(Reason::OutOfRange, 2)]),
                undeclared: 6,
                notes: [(Note::Undeclared, 6)].into(),
                named: Named::new(),
            }
        );
        assert_eq!(
            families.last(),
            Some(&FamilyStatus {
                family: None,
                last: None,
                accepted: 0,
                recent: 0,
                refused: BTreeMap::from([(Reason::Malformed, 1), (Reason::UnknownType, 2)]),
                undeclared: 2,
                notes: [(Note::Undeclared, 2)].into(),
                named: Named::new(),
            })
        );
        let later = stats.families(&package, START.plus(17 * MINUTE_MS));
        assert_eq!((later[1].accepted, later[1].recent), (14, 7), "the first half is not recent");
    }
}
