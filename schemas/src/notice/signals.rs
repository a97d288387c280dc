//! What `Sec-GPC` and `DNT` do to each purpose and family: what `anonymizer::Statement::resolve` decides, in
//! words.

use super::{Effect, Signal};
use crate::load::words::span_text;
use crate::model::{Basis, ContributorSource, Family, Honoured, Package, PurposeSet};
use crate::words::{and, purposes};

/// Whether a signal ends a purpose on that basis.
pub(super) fn ends(basis: Basis) -> bool {
    match basis {
        Basis::Consent | Basis::LegitimateInterest | Basis::PublicInterest => true,
        Basis::Contract | Basis::LegalObligation | Basis::VitalInterests => false,
    }
}

/// Both signals: those that are honoured are treated alike.
pub(super) fn of(package: &Package) -> Vec<Signal> {
    let honoured = means(package);
    let one = |name, title: &str, is: bool| {
        let means =
            if is { &honoured } else { "Not heeded: it is counted, and changes nothing else." };
        Signal { name, honoured: is, means: format!("{title}. {means}") }
    };
    let Honoured { gpc, dnt } = package.signals;
    vec![one("Sec-GPC", "Global Privacy Control", gpc), one("DNT", "Do Not Track", dnt)]
}

fn means(package: &Package) -> String {
    let named = |wanted: fn(Basis) -> bool| -> Vec<String> {
        let found = package.purposes.iter().filter(|purpose| wanted(purpose.basis));
        found.map(|purpose| purpose.name.clone()).collect()
    };
    let objected = named(|basis| ends(basis) && basis != Basis::Consent);
    let withheld = named(|basis| basis == Basis::Consent);
    let stands = named(|basis| !ends(basis));
    let mut text = Vec::new();
    if !objected.is_empty() {
        text.push(format!("Honoured as an objection to {}.", purpose(&objected)));
    }
    if !withheld.is_empty() {
        text.push(format!(
            "Honoured as a refusal of consent for {}, even where consent was given on the page.",
            purpose(&withheld)
        ));
    }
    if !stands.is_empty() {
        let verb = if stands.len() == 1 { "rests" } else { "rest" };
        text.push(format!(
            "It does not end {}, which {verb} on {}.",
            purpose(&stands),
            and(&standing(package.purposes.iter().map(|purpose| purpose.basis)))
        ));
    }
    text.join(" ")
}

/// `the purpose website`, `the purposes website and improve`.
fn purpose(names: &[String]) -> String {
    format!("the purpose{} {}", if names.len() == 1 { "" } else { "s" }, and(names))
}

/// Words of those bases that no signal ends, each once.
pub(super) fn standing(bases: impl Iterator<Item = Basis>) -> Vec<&'static str> {
    let mut words = Vec::new();
    for basis in bases.filter(|basis| !ends(*basis)) {
        if !words.contains(&basis.name()) {
            words.push(basis.name());
        }
    }
    words
}

/// What is left of an event of `family` that comes with a signal that is honoured.
pub(super) fn effect(package: &Package, family: &Family) -> Effect {
    let all = family.fields.iter().fold(family.purposes.0, |set, field| set | field.purposes.0);
    let of = |wanted: bool| {
        let indices = package.purposes.iter().enumerate();
        let found = indices.filter(|(_, purpose)| ends(purpose.basis) == wanted);
        found.fold(PurposeSet::default(), |set, (index, _)| set.with(index))
    };
    let Honoured { gpc, dnt } = package.signals;
    let (ended, standing) = if gpc || dnt {
        (PurposeSet(all & of(true).0), PurposeSet(all & of(false).0))
    } else {
        (PurposeSet::default(), PurposeSet(all))
    };
    let contributor = match family.contributor.source {
        ContributorSource::Field(index) => family.fields[index].purposes,
        ContributorSource::Visit => family.purposes,
    };
    let (ends, stands) = (purposes(package, ended), purposes(package, standing));
    let called = family.contributor.called.replace('_', " ");
    let grain = span_text(family.grain_ms);
    let counted = if contributor.meets(standing) {
        format!("The count of {called} stands, for {}.", purpose(&stands))
    } else {
        format!("The event is in no count of {called}: no pseudonym is kept with it.")
    };
    let means = match (ends.is_empty(), stands.is_empty()) {
        (_, true) => format!(
            "Of the event nothing is kept but that it happened, when (to {grain}), and a mark by which a second copy is known. {counted}"
        ),
        (true, false) => format!("Nothing changes. {counted}"),
        (false, false) => format!(
            "Fields that are for {} alone are left empty; those for {} are kept. {counted}",
            purpose(&ends),
            purpose(&stands)
        ),
    };
    Effect { ends, stands, means }
}
