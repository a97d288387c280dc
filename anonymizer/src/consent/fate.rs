//! Why each purpose stands for an event or not, in words: for whoever tries an event out.

use schemas::model::{Basis, Purpose};
use schemas::{Millis, Package};

use super::{Grant, Speaker, Statement};

/// What becomes of one purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurposeFate {
    /// Its name.
    pub purpose: String,
    /// Whether it stands.
    pub stands: bool,
    /// What decided that, in words of the package.
    pub why: String,
}

impl Statement {
    /// What becomes of each purpose of the package, in order; `event` as for [`Statement::resolve`].
    #[must_use]
    pub fn explain(&self, package: &Package, event: Millis) -> Vec<PurposeFate> {
        let purposes = package.purposes.iter().enumerate();
        let fates = purposes.map(|(index, purpose)| {
            let grant = self.grant(index, purpose, event);
            let stands = self.stands(package, index, purpose, grant);
            let why = if stands {
                standing(purpose)
            } else {
                self.fallen(package, index, purpose, grant).join(", ")
            };
            PurposeFate { purpose: purpose.name.clone(), stands, why }
        });
        fates.collect()
    }

    /// Everything that took it.
    fn fallen(
        &self,
        package: &Package,
        index: usize,
        purpose: &Purpose,
        grant: Grant,
    ) -> Vec<String> {
        let refused = |speaker| self.refused[speaker as usize].has(index);
        let tcf = if self.unreadable {
            "refused: the TC string cannot be read"
        } else {
            "refused by the TC string"
        };
        let taken = [
            (self.signals.gpc && package.signals.gpc, "taken by Sec-GPC"),
            (self.signals.dnt && package.signals.dnt, "taken by DNT"),
            (refused(Speaker::Event), "refused by the event"),
            (refused(Speaker::Google), "refused by Google's consent mode"),
            (refused(Speaker::Tcf), tcf),
        ];
        let taken = taken.into_iter().filter(|(is_so, _)| *is_so);
        let mut why: Vec<String> = taken.map(|(_, why)| why.to_owned()).collect();
        if purpose.basis == Basis::Consent {
            let missing = match grant {
                Grant::Counts => None,
                Grant::None => Some("not granted".to_owned()),
                Grant::OutOfTime => Some(out_of_time(purpose)),
                Grant::OtherVersion => {
                    let versions = purpose.consent_versions.join(" or ");
                    Some(format!("granted for another version: expected {versions}"))
                }
            };
            why.extend(missing.filter(|_| grant != Grant::None || why.is_empty()));
        }
        why
    }
}

fn out_of_time(purpose: &Purpose) -> String {
    let no_later = "granted at no time that counts: expected one that is not after the event";
    match purpose.consent_days {
        Some(days) => format!("{no_later}, and at most {days} days before it"),
        None => no_later.to_owned(),
    }
}

fn standing(purpose: &Purpose) -> String {
    let basis = purpose.basis.name();
    match purpose.basis {
        Basis::Consent => "granted".to_owned(),
        Basis::LegitimateInterest | Basis::PublicInterest => format!("{basis}: nobody objected"),
        Basis::Contract | Basis::LegalObligation | Basis::VitalInterests => {
            format!("{basis}: it stands whatever is said")
        }
    }
}
