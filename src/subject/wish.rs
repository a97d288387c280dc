//! What is asked, as it is posted and as it is understood: kind, purposes, whom an export is for.

use anonymizer::RequestKind;
use anyhow::{Context, ensure};
use schemas::Package;
use schemas::model::Basis;
use serde::{Deserialize, Serialize};

use super::age::Recipient;

/// Longest window in which an erasure can be undone, in days.
const WINDOW_DAYS_MAX: u32 = 90;

/// What the command posts. No `Debug`: an identifier is in it.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Posted {
    /// What is asked for; none to look only whether anything is stored.
    pub kind: Option<RequestKind>,
    /// The family.
    pub family: String,
    /// As it came on standard input.
    pub identifier: String,
    /// The purposes it is about, by name; none for all that it can be about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<String>,
    /// The requester's public key, `age1…`: for what is handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Form of what is taken along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// For how many days an erasure can be undone, if the requester wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_within_days: Option<u32>,
    /// Corrected events, one a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<String>,
}

/// Form of what is taken along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A JSON object a line.
    #[default]
    Ndjson,
    /// A Parquet file.
    Parquet,
}

/// What is asked, checked against the package.
pub enum Wish {
    /// A file for the requester.
    Export {
        /// Access, or portability.
        kind: RequestKind,
        /// Whom it is for.
        to: Recipient,
        /// Its form; access has but one.
        format: Format,
    },
    /// Something that the suppression list remembers.
    Entry {
        /// Erasure, restriction, objection, withdrawal.
        kind: RequestKind,
        /// Names of the purposes it is about; none for everything.
        purposes: Vec<String>,
        /// How long it can be undone, in days.
        window_days: Option<u32>,
    },
    /// Other events in place of those that are stored.
    Rectify {
        /// One a line.
        events: String,
        /// The site that visits belong to; empty where none are counted.
        site: String,
    },
    /// The end of what the list remembers.
    Restore,
}

impl Wish {
    /// Whether it is about rows that may be on their way still, and would be missing: what is kept out cannot be brought back.
    /// Nobody waits to be erased for what cannot be committed.
    #[must_use]
    pub fn needs_all_rows(&self) -> bool {
        match self {
            Self::Entry { kind, window_days, .. } => {
                *kind == RequestKind::Restrict || window_days.is_some()
            }
            Self::Export { .. } => true,
            Self::Rectify { .. } | Self::Restore => false,
        }
    }

    /// Understands what was posted; none if nothing is asked for but to look.
    ///
    /// # Errors
    ///
    /// What is missing or does not belong; nothing of an identifier or an event is in it.
    pub fn of(posted: &mut Posted, package: &Package) -> anyhow::Result<Option<Self>> {
        let Some(kind) = posted.kind else { return Ok(None) };
        let name = kind.name();
        let purposes = std::mem::take(&mut posted.purposes);
        for purpose in &purposes {
            let known = package.purpose(purpose).is_some();
            ensure!(known, "the policy package has no such purpose");
        }
        let (exports, rectifies) = (
            matches!(kind, RequestKind::Access | RequestKind::Portability),
            kind == RequestKind::Rectify,
        );
        let narrows =
            matches!(kind, RequestKind::Object | RequestKind::Withdraw | RequestKind::Restrict);
        ensure!(narrows || purposes.is_empty(), "{name} is not about single purposes");
        ensure!(exports || posted.to.is_none(), "{name} hands nothing over");
        let is_portable = kind == RequestKind::Portability;
        ensure!(is_portable || posted.format.is_none(), "{name} has one form alone");
        let window_days = posted.restore_within_days;
        ensure!(
            kind == RequestKind::Erase || window_days.is_none(),
            "{name} has no window: it is ended by restore"
        );
        ensure!(
            window_days.is_none_or(|days| (1..=WINDOW_DAYS_MAX).contains(&days)),
            "an erasure can be undone for 1 to {WINDOW_DAYS_MAX} days"
        );
        ensure!(rectifies || posted.events.is_none(), "{name} takes no events");
        Ok(Some(match kind {
            RequestKind::Access | RequestKind::Portability => {
                let to = posted.to.as_deref().context("whom is it for: a public key, `age1…`")?;
                let format = posted.format.unwrap_or_default();
                Self::Export { kind, to: Recipient::parse(to)?, format }
            }
            RequestKind::Rectify => {
                let events = posted.events.take().context("the corrected events are needed")?;
                Self::Rectify { events, site: site(&posted.identifier) }
            }
            RequestKind::Restore => Self::Restore,
            RequestKind::Withdraw => {
                let purposes = withdrawn(package, purposes)?;
                Self::Entry { kind, purposes, window_days: None }
            }
            RequestKind::Object => {
                objected(package, &purposes)?;
                Self::Entry { kind, purposes, window_days: None }
            }
            RequestKind::Restrict => Self::Entry { kind, purposes, window_days: None },
            RequestKind::Erase => Self::Entry { kind, purposes, window_days },
        }))
    }
}

/// The site that an identifier of a visit names.
fn site(identifier: &str) -> String {
    let visit: Option<serde_json::Value> = serde_json::from_str(identifier).ok();
    visit.and_then(|visit| Some(visit["site"].as_str()?.to_owned())).unwrap_or_default()
}

/// The purposes whose consent is withdrawn: all that rest on consent, if none is named.
fn withdrawn(package: &Package, named: Vec<String>) -> anyhow::Result<Vec<String>> {
    let rests = |name: &String| {
        package.purpose(name).is_some_and(|(_, purpose)| purpose.basis == Basis::Consent)
    };
    if let Some(other) = named.iter().find(|name| !rests(name)) {
        anyhow::bail!("purpose `{other}` does not rest on consent: there is none to withdraw");
    }
    let all = package.purposes.iter().map(|purpose| purpose.name.clone());
    let purposes = if named.is_empty() { all.filter(rests).collect() } else { named };
    ensure!(!purposes.is_empty(), "no purpose of the policy package rests on consent");
    Ok(purposes)
}

/// Whether one may object to each of these: those that rest on legitimate or public interest.
fn objected(package: &Package, named: &[String]) -> anyhow::Result<()> {
    let may = |basis: Basis| matches!(basis, Basis::LegitimateInterest | Basis::PublicInterest);
    let rests = |name: &String| package.purpose(name).is_some_and(|(_, of)| may(of.basis));
    match named.iter().find(|name| !rests(name)) {
        Some(other) => anyhow::bail!(
            "purpose `{other}` rests on neither legitimate nor public interest: withdraw consent to it, or have it erased"
        ),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "age10wqdrk7qlscyrhzngc4q7k69f4wuml83hse807scasdrsyl6954q8tpfjh";

    /// The default package, one of whose purposes needs consent.
    fn package() -> Package {
        let mut files = crate::store::default_package();
        let (interest, consent) = ("basis  = \"legitimate interest\"", "basis  = \"consent\"");
        for (name, text) in &mut files {
            if name == "policy.toml" {
                *text = text.replacen(interest, consent, 1);
            }
        }
        Package::from_files(files).unwrap()
    }

    fn wish(kind: RequestKind, change: impl Fn(&mut Posted)) -> anyhow::Result<Option<Wish>> {
        let mut posted = Posted { kind: Some(kind), ..Posted::default() };
        change(&mut posted);
        Wish::of(&mut posted, &package())
    }

    #[test]
    fn each_kind_takes_what_belongs_to_it_and_nothing_else() {
        let to = |posted: &mut Posted| posted.to = Some(KEY.to_owned());
        let window = |posted: &mut Posted| posted.restore_within_days = Some(30);
        let events = |posted: &mut Posted| posted.events = Some(String::new());
        let format = |posted: &mut Posted| posted.format = Some(Format::Parquet);
        for kind in RequestKind::ALL {
            let exports = matches!(kind, RequestKind::Access | RequestKind::Portability);
            let rectifies = kind == RequestKind::Rectify;
            assert_eq!(wish(kind, |_| {}).is_ok(), !exports && !rectifies, "{kind:?}");
            assert_eq!(wish(kind, to).is_ok(), exports, "{kind:?}");
            assert_eq!(wish(kind, window).is_ok(), kind == RequestKind::Erase, "{kind:?}");
            assert_eq!(wish(kind, events).is_ok(), rectifies, "{kind:?}");
            let both = |posted: &mut Posted| (to(posted), format(posted)).0;
            assert_eq!(wish(kind, both).is_ok(), kind == RequestKind::Portability, "{kind:?}");
        }
        assert!(wish(RequestKind::Erase, |posted| posted.restore_within_days = Some(91)).is_err());
    }

    #[test]
    fn purposes_are_those_of_the_package_with_a_basis_that_allows_it() {
        let package = package();
        for purpose in &package.purposes {
            let named = |posted: &mut Posted| posted.purposes = vec![purpose.name.clone()];
            let may = |kind| wish(kind, named).is_ok();
            let interest =
                matches!(purpose.basis, Basis::LegitimateInterest | Basis::PublicInterest);
            assert_eq!(may(RequestKind::Withdraw), purpose.basis == Basis::Consent);
            assert_eq!(may(RequestKind::Object), interest);
            assert!(may(RequestKind::Restrict) && !may(RequestKind::Erase));
        }
        let other = |posted: &mut Posted| posted.purposes = vec!["other".to_owned()];
        assert!(RequestKind::ALL.iter().all(|kind| wish(*kind, other).is_err()));
        let Some(Wish::Entry { purposes, .. }) = wish(RequestKind::Withdraw, |_| {}).unwrap()
        else {
            panic!("a withdrawal is an entry of the list")
        };
        let consent = package.purposes.iter().filter(|purpose| purpose.basis == Basis::Consent);
        assert_eq!(purposes, consent.map(|purpose| purpose.name.clone()).collect::<Vec<_>>());
    }
}
