//! Signals and statements in, granted purposes out. The most restrictive wins, and silence grants nothing.

use schemas::model::Basis;
use schemas::{Package, PurposeSet};

/// What the browser said for all sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// `Sec-GPC: 1`.
    pub gpc: bool,
    /// `DNT: 1`.
    pub dnt: bool,
}

/// What an event says about one purpose.
#[derive(Clone, Copy, Debug)]
pub struct Grant<'a> {
    /// Name of the purpose; names the package does not have are passed over.
    pub purpose: &'a str,
    /// Granted, or refused.
    pub granted: bool,
}

/// The purposes that stand for one event.
///
/// A purpose based on consent stands only with a grant, no refusal and no signal. One based on legitimate or
/// public interest stands unless refused or signalled against. A contract, a legal obligation and vital
/// interests always stand. Of a grant and a refusal of the same purpose the refusal counts.
#[must_use]
pub fn granted(package: &Package, signals: Signals, stated: &[Grant<'_>]) -> PurposeSet {
    let objected = signals.gpc || signals.dnt;
    let mut set = PurposeSet::default();
    for (index, purpose) in package.purposes.iter().enumerate() {
        let said = || stated.iter().filter(|grant| grant.purpose == purpose.name);
        let refused = said().any(|grant| !grant.granted);
        let stands = match purpose.basis {
            Basis::Consent => !objected && !refused && said().next().is_some(),
            Basis::LegitimateInterest | Basis::PublicInterest => !objected && !refused,
            Basis::Contract | Basis::LegalObligation | Basis::VitalInterests => true,
        };
        if stands {
            set = set.with(index);
        }
    }
    set
}

#[cfg(test)]
mod tests;
