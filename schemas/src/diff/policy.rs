//! What holds for all families: who collects, where it stays, what is refused, what is heeded.

use super::{
    Changes, NARROWER, NEITHER, Order, WIDER, days, family, limit, purpose, recipient, statistic,
};
use crate::eea;
use crate::model::{Honoured, LegalHold, Package, Refused};

const PLACE: &str = "policy";

/// Everything of two packages.
pub(super) fn compare(old: &Package, new: &Package, changes: &mut Changes) {
    let Package {
        controller,
        version,
        // Of the files, not of what they say.
        digest: _,
        residency,
        contact,
        authority,
        fleet,
        answer_within_days,
        answer_source,
        purposes: _,
        refused,
        signals,
        recipients,
        legal_hold,
        families: _,
        statistics: _,
    } = old;
    changes.value(
        PLACE,
        "the controller",
        (controller, &new.controller),
        None,
        "somebody else collects",
    );
    changes.value(PLACE, "the version", (version, &new.version), NEITHER, "");
    compare_residency(residency.as_deref(), new.residency.as_deref(), changes);
    reachable("contact", (contact.as_deref(), new.contact.as_deref()), changes);
    reachable("authority", (authority.as_deref(), new.authority.as_deref()), changes);
    changes.value(
        PLACE,
        "the time to answer a request",
        (&days(*answer_within_days), &days(new.answer_within_days)),
        new.answer_within_days.partial_cmp(answer_within_days),
        "people wait longer for their rights",
    );
    let of_answer = "where the time to answer is stated";
    changes.value(PLACE, of_answer, (answer_source.name(), new.answer_source.name()), NEITHER, "");
    if *fleet != new.fleet {
        changes.add(
            PLACE,
            NEITHER,
            "other contributors are expected, which forecasts alone use",
            "",
        );
    }
    compare_signals(*signals, new.signals, changes);
    compare_refused(refused, &new.refused, changes);
    purpose::compare_all(old, new, changes);
    recipient::compare_all(recipients, &new.recipients, changes);
    compare_hold(legal_hold.as_ref(), new.legal_hold.as_ref(), changes);
    family::compare_all(old, new, changes);
    statistic::compare_all(old, new, changes);
}

fn compare_residency(old: Option<&str>, new: Option<&str>, changes: &mut Changes) {
    let why = "data may lie where it was not allowed to";
    match (old, new) {
        (None, None) => {}
        (Some(old), None) => {
            let says = format!("no longer promises that data stays in {old}");
            changes.add(PLACE, WIDER, says, why);
        }
        (None, Some(new)) => {
            changes.add(PLACE, NARROWER, format!("promises that data stays in {new}"), why);
        }
        (Some(old), Some(new)) => {
            changes.value(PLACE, "where data stays", (old, new), residence(old, new), why);
        }
    }
}

/// The EEA holds its countries; two countries cannot be compared.
fn residence(old: &str, new: &str) -> Order {
    match (old, new) {
        (old, "EEA") if eea::contains(old) => WIDER,
        ("EEA", new) if eea::contains(new) => NARROWER,
        _ => None,
    }
}

fn reachable(what: &str, (old, new): (Option<&str>, Option<&str>), changes: &mut Changes) {
    let why = "people are not told where to turn to";
    match (old, new) {
        (None, None) => {}
        (Some(_), None) => changes.add(PLACE, WIDER, format!("names no {what} any more"), why),
        (None, Some(new)) => changes.add(PLACE, NARROWER, format!("names a {what}: {new}"), why),
        (Some(old), Some(new)) => {
            changes.value(PLACE, &format!("the {what}"), (old, new), NEITHER, "")
        }
    }
}

fn compare_signals(old: Honoured, new: Honoured, changes: &mut Changes) {
    let Honoured { gpc, dnt } = old;
    let signals = [("Global Privacy Control", gpc, new.gpc), ("Do Not Track", dnt, new.dnt)];
    for (name, was, is) in signals {
        if was == is {
            continue;
        }
        let (order, verb) = if is { (NARROWER, "honours") } else { (WIDER, "no longer honours") };
        let why = "who sends the signal is counted all the same";
        changes.add(PLACE, order, format!("{verb} {name}"), why);
    }
}

fn compare_refused(old: &Refused, new: &Refused, changes: &mut Changes) {
    let Refused { categories, content } = old;
    let names = |refused: &Refused| -> [Vec<String>; 2] {
        [
            refused.categories.iter().map(|one| one.name().to_owned()).collect(),
            refused.content.iter().map(|one| one.name().to_owned()).collect(),
        ]
    };
    let [old_categories, old_content] =
        names(&Refused { categories: categories.clone(), content: content.clone() });
    let [new_categories, new_content] = names(new);
    let why = "it could be declared, and is not looked for any more";
    let words = ("refuses the category", "no longer refuses the category");
    changes.list(PLACE, (&old_categories, &new_categories), words, NARROWER, why);
    let words = ("refuses the content", "no longer refuses the content");
    changes.list(PLACE, (&old_content, &new_content), words, NARROWER, why);
}

fn compare_hold(old: Option<&LegalHold>, new: Option<&LegalHold>, changes: &mut Changes) {
    const PLACE: &str = "legal hold";
    match (old, new) {
        (None, None) => {}
        (Some(_), None) => changes.add(PLACE, NARROWER, "no rows can be kept apart any more", ""),
        (None, Some(LegalHold { days_max, reasons, notice: _ })) => changes.add(
            PLACE,
            WIDER,
            format!(
                "rows can be kept apart for up to {}, for {}",
                days(*days_max),
                crate::words::and(reasons)
            ),
            "rows may outlive their time",
        ),
        (Some(LegalHold { days_max, reasons, notice }), Some(new)) => {
            changes.value(
                PLACE,
                "its longest time",
                (&days(*days_max), &days(new.days_max)),
                limit(Some(days_max), Some(&new.days_max)),
                "rows may outlive their time for longer",
            );
            changes.list(
                PLACE,
                (reasons, &new.reasons),
                ("takes the reason", "no longer takes the reason"),
                WIDER,
                "rows may outlive their time for one more reason",
            );
            changes.wording(PLACE, "what visitors are told", Some(notice), Some(&new.notice));
        }
    }
}
