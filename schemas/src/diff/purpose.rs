//! Why anything is collected: what it takes to grant, to refuse and to end it.

use super::{Changes, NARROWER, NEITHER, Order, WIDER, days_or, limit};
use crate::model::{Basis, Package, Purpose};
use crate::words::and;

/// Purposes by name.
pub(super) fn compare_all(old: &Package, new: &Package, changes: &mut Changes) {
    for purpose in &new.purposes {
        if old.purpose(&purpose.name).is_none() {
            let says = format!("starts: {} ({})", purpose.notice, purpose.basis.name());
            changes.add(
                &place(purpose),
                WIDER,
                says,
                "data serves a purpose that it did not serve",
            );
        }
    }
    for purpose in &old.purposes {
        match new.purpose(&purpose.name) {
            None => {
                changes.add(&place(purpose), NARROWER, format!("stops: {}", purpose.notice), "")
            }
            Some((_, new)) => compare(purpose, new, changes),
        }
    }
}

fn place(purpose: &Purpose) -> String {
    format!("purpose {}", purpose.name)
}

fn compare(old: &Purpose, new: &Purpose, changes: &mut Changes) {
    let Purpose {
        name: _,
        basis,
        source,
        keep_days,
        keep_source,
        consent_versions,
        consent_days,
        tcf,
        google,
        dpv,
        notice,
    } = old;
    let place = &place(old);
    changes.value(
        place,
        "the basis",
        (basis.name(), new.basis.name()),
        standing(new.basis).partial_cmp(&standing(*basis)),
        "it stands without what it needed before, or cannot be objected to any more",
    );
    changes.value(
        place,
        "where the basis is stated",
        (source.name(), new.source.name()),
        NEITHER,
        "",
    );
    let silent = "as long as the row";
    changes.value(
        place,
        "how long its values are kept",
        (&days_or(*keep_days, silent), &days_or(new.keep_days, silent)),
        limit(keep_days.as_ref(), new.keep_days.as_ref()),
        "values are kept longer",
    );
    let of_keep = "where that time is stated";
    changes.value(place, of_keep, (keep_source.name(), new.keep_source.name()), NEITHER, "");
    compare_versions((consent_versions, &new.consent_versions), place, changes);
    let endless = "without end";
    changes.value(
        place,
        "how long a consent holds",
        (&days_or(*consent_days, endless), &days_or(new.consent_days, endless)),
        limit(consent_days.as_ref(), new.consent_days.as_ref()),
        "an old consent counts for longer",
    );
    compare_tcf((*basis, tcf), (new.basis, &new.tcf), place, changes);
    let (was, is) = (google.map(|one| one.name()), new.google.map(|one| one.name()));
    platform("Google's consent mode", (*basis, was), (new.basis, is), place, changes);
    changes.wording(place, "its term of the vocabulary", dpv.as_deref(), new.dpv.as_deref());
    changes.wording(place, "what visitors are told", Some(notice), Some(&new.notice));
}

/// The higher, the less is needed for it to stand.
fn standing(basis: Basis) -> u8 {
    match basis {
        Basis::Consent => 0,
        Basis::LegitimateInterest | Basis::PublicInterest => 1,
        Basis::Contract | Basis::LegalObligation | Basis::VitalInterests => 2,
    }
}

/// No list is every version.
fn compare_versions((old, new): (&[String], &[String]), place: &str, changes: &mut Changes) {
    let why = "consent to another text counts";
    match (old, new) {
        ([], []) => {}
        ([], new) => {
            changes.add(place, NARROWER, format!("takes consent to {} alone", and(new)), why);
        }
        (_, []) => changes.add(place, WIDER, "takes consent to any version of the text", why),
        (old, new) => {
            let words = ("takes consent to version", "no longer takes consent to version");
            changes.list(place, (old, new), words, WIDER, why);
        }
    }
}

/// All listed purposes must be consented to, so a longer list needs more; an empty one heeds nothing.
fn compare_tcf(
    (basis, old): (Basis, &[u8]),
    (new_basis, new): (Basis, &[u8]),
    place: &str,
    changes: &mut Changes,
) {
    let texts = |numbers: &[u8]| -> Vec<String> { numbers.iter().map(u8::to_string).collect() };
    let (old, new) = (texts(old), texts(new));
    if old.is_empty() || new.is_empty() {
        let mapped = |list: &[String]| (!list.is_empty()).then(|| and(list));
        let (was, is) = (mapped(&old), mapped(&new));
        platform("TCF", (basis, was.as_deref()), (new_basis, is.as_deref()), place, changes);
        return;
    }
    let words = ("needs consent to the TCF purpose", "no longer needs consent to the TCF purpose");
    changes.list(place, (&old, &new), words, NARROWER, "it is granted by less consent");
}

/// A consent platform that is heeded, or another, or none: where consent is needed it can also grant, so the two cannot
/// be compared; else it can refuse alone.
fn platform(
    name: &str,
    (basis, old): (Basis, Option<&str>),
    (new_basis, new): (Basis, Option<&str>),
    place: &str,
    changes: &mut Changes,
) {
    let grants = basis == Basis::Consent || new_basis == Basis::Consent;
    let heeds = |order: Order| if grants { None } else { order };
    let why = if grants {
        "others are granted or refused than before"
    } else {
        "a refusal that was heeded is heeded no more"
    };
    match (old, new) {
        (None, None) => {}
        (None, Some(new)) => {
            changes.add(place, heeds(NARROWER), format!("heeds {name}: {new}"), why);
        }
        (Some(old), None) => {
            changes.add(place, heeds(WIDER), format!("heeds {name} no more, was {old}"), why);
        }
        (Some(old), Some(new)) => {
            changes.value(place, &format!("what it heeds of {name}"), (old, new), None, why);
        }
    }
}
