//! Signals and statements in, granted purposes out. The most restrictive wins, and silence grants nothing.
//!
//! Whatever an event came with, in headers or in itself, is put into one [`Statement`]: equal ones grant the same, so that
//! of a thousand events of one sender the first alone is resolved. A TC string goes no further than
//! [`Statement::tcf`]: what is left of it says which purposes of the package it covers, and from when.

use schemas::model::{Basis, GoogleConsent, Purpose};
use schemas::time::DAY_MS;
use schemas::{Millis, Note, Package, PurposeSet};

mod fate;
mod tcf;

pub use fate::PurposeFate;
pub use tcf::TcString;

/// What the browser said for all sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// `Sec-GPC: 1`.
    pub gpc: bool,
    /// `DNT: 1`.
    pub dnt: bool,
}

/// When something was decided, by the clock of whoever tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decided {
    /// Nobody says.
    Unsaid,
    /// Then.
    At(Millis),
    /// Somebody says, and it is no time: such a grant is none.
    Unreadable,
}

/// A decision about one purpose.
#[derive(Clone, Copy)]
pub struct Decision<'a> {
    /// Granted, or refused.
    pub granted: bool,
    /// Version of the text that it was about.
    pub version: Option<&'a str>,
    /// When it was made.
    pub at: Decided,
}

/// Who said something about a purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Event,
    Google,
    Tcf,
}

/// All that an event came with: signals, decisions by purpose, states of consent managers. Adding to it never grants what
/// was refused. No `Debug`: times of decisions tell people apart.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Statement {
    signals: Signals,
    /// Who refused what, by [`Speaker`].
    refused: [PurposeSet; 3],
    /// Who said anything of it, by [`Speaker`].
    heard: [PurposeSet; 3],
    /// Granted, with no time to hold against anything.
    granted: PurposeSet,
    /// Granted at these times.
    dated: Vec<(PurposeSet, Millis)>,
    /// Granted under another version of the text, or none.
    other_version: PurposeSet,
    /// Granted without a time where one is asked for, or at one that cannot be read.
    undated: PurposeSet,
    /// A TC string could not be read.
    unreadable: bool,
}

/// What stands of a statement for one event, and what is to be counted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The purposes that stand.
    pub granted: PurposeSet,
    notes: [(Note, u64); 9],
}

impl Consent {
    /// What to count of it; some of it may be zero.
    pub fn notes(&self) -> impl Iterator<Item = (Note, u64)> + '_ {
        self.notes.iter().copied()
    }
}

impl Statement {
    /// Forgets everything.
    pub fn clear(&mut self) {
        // The list keeps its memory: this is called once an event.
        let mut dated = std::mem::take(&mut self.dated);
        dated.clear();
        *self = Self { dated, ..Self::default() };
    }

    /// Adds signals of the browser.
    pub fn signals(&mut self, signals: Signals) {
        self.signals.gpc |= signals.gpc;
        self.signals.dnt |= signals.dnt;
    }

    /// Adds what the event itself says of the purpose of this index.
    pub fn decision(&mut self, package: &Package, index: usize, decision: &Decision<'_>) {
        self.add_decision(package, index, Speaker::Event, decision);
    }

    /// Adds a state of Google's consent mode, for every purpose that heeds its type. It has neither version nor time.
    pub fn google(&mut self, package: &Package, kind: GoogleConsent, granted: bool) {
        let decision = Decision { granted, version: None, at: Decided::Unsaid };
        for (index, purpose) in package.purposes.iter().enumerate() {
            if purpose.google == Some(kind) {
                self.add_decision(package, index, Speaker::Google, &decision);
            }
        }
    }

    /// Adds a TC string, for every purpose that depends on one: a grant if all it needs is consented to, else a refusal, and
    /// so for a string that cannot be read.
    pub fn tcf(&mut self, package: &Package, text: &str) {
        if package.purposes.iter().all(|purpose| purpose.tcf.is_empty()) {
            return;
        }
        let read = TcString::read(text);
        self.unreadable |= read.is_none();
        for (index, purpose) in package.purposes.iter().enumerate() {
            if !purpose.tcf.is_empty() {
                let granted = read.is_some_and(|read| read.covers(&purpose.tcf));
                let at = read.map_or(Decided::Unsaid, |read| Decided::At(read.updated));
                let decision = Decision { granted, version: None, at };
                self.add_decision(package, index, Speaker::Tcf, &decision);
            }
        }
    }

    fn add_decision(
        &mut self,
        package: &Package,
        index: usize,
        speaker: Speaker,
        decision: &Decision<'_>,
    ) {
        let Some(purpose) = package.purposes.get(index) else { return };
        let heard = &mut self.heard[speaker as usize];
        *heard = heard.with(index);
        if !decision.granted {
            let refused = &mut self.refused[speaker as usize];
            *refused = refused.with(index);
            return;
        }
        if purpose.basis != Basis::Consent {
            return;
        }
        let versions = &purpose.consent_versions;
        let is_version = |version| versions.iter().any(|known| known == version);
        let known = versions.is_empty() || decision.version.is_some_and(is_version);
        match decision.at {
            _ if !known => self.other_version = self.other_version.with(index),
            Decided::Unsaid if purpose.consent_days.is_none() => {
                self.granted = self.granted.with(index);
            }
            Decided::Unsaid | Decided::Unreadable => self.undated = self.undated.with(index),
            Decided::At(at) => self.add_dated(PurposeSet::default().with(index), at),
        }
    }

    fn add_dated(&mut self, purposes: PurposeSet, at: Millis) {
        match self.dated.iter_mut().find(|(_, known)| *known == at) {
            Some((set, _)) => *set = union(*set, purposes),
            None => self.dated.push((purposes, at)),
        }
    }

    /// Adds all of another statement.
    pub fn add(&mut self, other: &Self) {
        // No `..` here: whatever else may be said must not be lost on the way.
        let Self { signals, refused, heard, granted, dated, other_version, undated, unreadable } =
            other;
        self.signals(*signals);
        for (own, other) in self.refused.iter_mut().zip(refused) {
            *own = union(*own, *other);
        }
        for (own, other) in self.heard.iter_mut().zip(heard) {
            *own = union(*own, *other);
        }
        self.granted = union(self.granted, *granted);
        dated.iter().for_each(|(purposes, at)| self.add_dated(*purposes, *at));
        self.other_version = union(self.other_version, *other_version);
        self.undated = union(self.undated, *undated);
        self.unreadable |= unreadable;
    }

    /// Whether what it grants depends on when the event happened.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        !self.dated.is_empty()
    }

    /// What stands for an event that happened at `event`, by the clock that gave the times of decisions.
    ///
    /// A purpose based on consent stands only with a grant that counts, no refusal and no signal that is honoured. One
    /// based on legitimate or public interest stands unless refused or signalled against. A contract, a legal obligation
    /// and vital interests always stand. Of a grant and a refusal of the same purpose the refusal counts.
    #[must_use]
    pub fn resolve(&self, package: &Package, event: Millis) -> Consent {
        let mut granted = PurposeSet::default();
        let (mut other_version, mut out_of_time) = (0, 0);
        for (index, purpose) in package.purposes.iter().enumerate() {
            let grant = self.grant(index, purpose, event);
            other_version += u64::from(grant == Grant::OtherVersion);
            out_of_time += u64::from(grant == Grant::OutOfTime);
            if self.stands(package, index, purpose, grant) {
                granted = granted.with(index);
            }
        }
        let Signals { gpc, dnt } = self.signals;
        let honoured = package.signals;
        let heard = |speaker| u64::from(self.heard[speaker as usize] != PurposeSet::default());
        let notes = [
            (Note::SignalGpc, u64::from(gpc && honoured.gpc)),
            (Note::SignalDnt, u64::from(dnt && honoured.dnt)),
            (Note::IgnoredGpc, u64::from(gpc && !honoured.gpc)),
            (Note::IgnoredDnt, u64::from(dnt && !honoured.dnt)),
            (Note::StatedConsent, heard(Speaker::Event)),
            (Note::SignalGoogle, heard(Speaker::Google)),
            if self.unreadable {
                (Note::TcfUnreadable, 1)
            } else {
                (Note::SignalTcf, heard(Speaker::Tcf))
            },
            (Note::GrantOtherVersion, other_version),
            (Note::GrantOutOfTime, out_of_time),
        ];
        Consent { granted, notes }
    }

    fn stands(&self, package: &Package, index: usize, purpose: &Purpose, grant: Grant) -> bool {
        let refused = self.refused.iter().any(|refused| refused.has(index));
        match purpose.basis {
            Basis::Consent => !self.objects(package) && !refused && grant == Grant::Counts,
            Basis::LegitimateInterest | Basis::PublicInterest => !self.objects(package) && !refused,
            Basis::Contract | Basis::LegalObligation | Basis::VitalInterests => true,
        }
    }

    /// Whether a signal came that the package honours.
    fn objects(&self, package: &Package) -> bool {
        (self.signals.gpc && package.signals.gpc) || (self.signals.dnt && package.signals.dnt)
    }

    /// What the grants of one purpose come to.
    fn grant(&self, index: usize, purpose: &Purpose, event: Millis) -> Grant {
        let age_max = purpose.consent_days.map(|days| i64::from(days).saturating_mul(DAY_MS));
        let in_time = |at: Millis| {
            at <= event && age_max.is_none_or(|max| event.0.saturating_sub(at.0) <= max)
        };
        let mut dated = self.dated.iter().filter(|(purposes, _)| purposes.has(index)).peekable();
        let is_dated = dated.peek().is_some();
        if self.granted.has(index) || dated.any(|(_, at)| in_time(*at)) {
            Grant::Counts
        } else if is_dated || self.undated.has(index) {
            Grant::OutOfTime
        } else if self.other_version.has(index) {
            Grant::OtherVersion
        } else {
            Grant::None
        }
    }
}

fn union(one: PurposeSet, other: PurposeSet) -> PurposeSet {
    PurposeSet(one.0 | other.0)
}

/// What was granted of a purpose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grant {
    /// Nothing.
    None,
    /// Something that counts.
    Counts,
    /// Nothing that counts, since it is too old, too new, or of no time.
    OutOfTime,
    /// Nothing that counts, since it is of another version.
    OtherVersion,
}

#[cfg(test)]
mod tests;
