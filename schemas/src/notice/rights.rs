//! What people may ask, and what becomes of it: every kind of request that the service answers.

use super::Notice;
use super::content::{days, paragraph};
use super::document::{Block, Text, term};
use crate::model::Basis;

/// The section of rights.
pub(super) fn of(notice: &Notice) -> Vec<Block> {
    let Notice { controller, contact, answer_within_days, .. } = notice;
    let whom = contact.as_ref().unwrap_or(controller);
    let within = days(*answer_within_days);
    let first = format!("Write to {whom}. Requests are answered within {within}. You may:");
    vec![
        paragraph(first),
        Block::List(kinds(notice)),
        paragraph(
            "Once the key of a pseudonym is destroyed, nobody can tell any more which events were whose: the answer then says \
             so. Statistics that were computed before stay as they are: they are about groups, and hold no pseudonym.",
        ),
        paragraph(
            "No decision about anybody is made by what is counted here, and no profile of anybody is made.",
        ),
    ]
}

fn kinds(notice: &Notice) -> Vec<Text> {
    let has = |wanted: &[Basis]| notice.purposes.iter().any(|one| wanted.contains(&one.basis));
    let mut lines = vec![
        term(
            "Know",
            "ask whether anything is stored of you, what and what for, and get a copy. Since no name is stored, you have to say \
             by what you are told apart (see above), and to show that it is yours.",
        ),
        term(
            "Take it along",
            "get that copy in machine-readable form, encrypted for you alone; ours is deleted after 7 days.",
        ),
        term("Correct", "have what is wrong deleted and entered anew as it should be."),
        term(
            "Erase",
            "have your events deleted, in tables and in what is still encrypted, and be left out from then on: for that a keyed \
             hash of what you are told apart by is kept. A receipt that names nobody shows that it was done.",
        ),
        term(
            "Restrict",
            "have your events kept apart and out of every statistic, until you say otherwise.",
        ),
    ];
    if has(&[Basis::LegitimateInterest, Basis::PublicInterest]) {
        let heeded = notice.signals.iter().any(|one| one.honoured);
        let how =
            if heeded { "by the signal of your browser, or by writing" } else { "by writing" };
        let text = format!(
            "at any time, to what rests on an interest, for each purpose by itself: {how}."
        );
        lines.push(term("Object", text));
    }
    if has(&[Basis::Consent]) {
        lines.push(term(
            "Withdraw consent",
            "at any time, as easily as you gave it. Values that rest on it alone are then emptied, as far as they can still be told \
             to be yours; what was counted before stays counted.",
        ));
    }
    lines.push(match &notice.authority {
        Some(authority) => term(
            "Complain",
            format!("to {authority}, or to the authority of where you live or work."),
        ),
        None => term("Complain", "to the data protection authority of where you live or work."),
    });
    lines
}
