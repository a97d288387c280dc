//! Who receives what, and where they are.

use super::{Changes, NARROWER, NEITHER, Order, WIDER};
use crate::eea;
use crate::model::{Receives, Recipient, Role};

/// Recipients by key.
pub(super) fn compare_all(old: &[Recipient], new: &[Recipient], changes: &mut Changes) {
    let by_key = |list: &[Recipient], key: &str| list.iter().position(|one| one.key == key);
    for recipient in new.iter().filter(|one| by_key(old, &one.key).is_none()) {
        let order = if amount(recipient.receives) == 0 { NEITHER } else { WIDER };
        let says = format!(
            "{} receives {} ({})",
            recipient.name,
            recipient.receives.name(),
            whom(recipient)
        );
        changes.add(&place(recipient), order, says, "somebody else receives it");
    }
    for recipient in old {
        match by_key(new, &recipient.key) {
            Some(index) => compare(recipient, &new[index], changes),
            None => {
                let order = if amount(recipient.receives) == 0 { NEITHER } else { NARROWER };
                let says = format!("{} receives nothing any more", recipient.name);
                changes.add(&place(recipient), order, says, "");
            }
        }
    }
}

fn place(recipient: &Recipient) -> String {
    format!("recipient {}", recipient.key)
}

fn whom(recipient: &Recipient) -> String {
    match &recipient.country {
        Some(country) => format!("{}, {country}", recipient.role.name()),
        None => recipient.role.name().to_owned(),
    }
}

fn compare(old: &Recipient, new: &Recipient, changes: &mut Changes) {
    let Recipient { key: _, name, role, receives, country, safeguard, source, about } = old;
    let place = &place(old);
    changes.value(place, "the recipient", (name, &new.name), None, "somebody else receives it");
    changes.value(
        place,
        "its role",
        (role.name(), new.role.name()),
        distance(new.role).partial_cmp(&distance(*role)),
        "it is bound by less",
    );
    changes.value(
        place,
        "what it receives",
        (receives.name(), new.receives.name()),
        amount(new.receives).partial_cmp(&amount(*receives)),
        "it receives more",
    );
    let unsaid =
        |country: &Option<String>| country.clone().unwrap_or_else(|| "not said".to_owned());
    changes.value(
        place,
        "its country",
        (&unsaid(country), &unsaid(&new.country)),
        transfer(country.as_deref(), new.country.as_deref()),
        "data may come under another law",
    );
    match (safeguard, &new.safeguard) {
        (Some(_), None) => changes.add(
            place,
            WIDER,
            "names no safeguard any more",
            "a transfer rests on nothing that is said",
        ),
        (None, Some(new)) => changes.add(place, NARROWER, format!("names a safeguard: {new}"), ""),
        (old, new) => changes.wording(place, "the safeguard", old.as_deref(), new.as_deref()),
    }
    changes.value(place, "where it is stated", (source.name(), new.source.name()), NEITHER, "");
    changes.wording(place, "what it does", Some(about), Some(&new.about));
}

/// How far from the controller.
fn distance(role: Role) -> u8 {
    match role {
        Role::Processor => 0,
        Role::ThirdParty => 1,
        Role::Public => 2,
    }
}

fn amount(receives: Receives) -> u8 {
    match receives {
        Receives::Nothing => 0,
        Receives::Publishable => 1,
        Receives::Statistics => 2,
        Receives::Rows => 3,
    }
}

/// Within the EEA one law holds; outside, and where nobody says, each country is by itself.
fn transfer(old: Option<&str>, new: Option<&str>) -> Order {
    let inside = |country: Option<&str>| country.is_some_and(eea::contains);
    match (inside(old), inside(new)) {
        (true, true) => NEITHER,
        (true, false) => WIDER,
        (false, true) => NARROWER,
        (false, false) => None,
    }
}
