//! `[recipients]`: who is given what, where, and under which safeguard.

use super::purpose::read_stated;
use super::table::{Item, Table};
use super::words::{NAME_FORM, is_name};
use crate::eea;
use crate::model::{Receives, Recipient, Role};

pub(super) const FORM: &str = "`[recipients.hosting]` with `name`, `role`, `receives` and `about`";
const NAME: &str = "`name = \"..\"`, who it is";
const ROLE: &str = "`role = \"processor\"`, `\"third party\"` or `\"public\"`";
const RECEIVES: &str =
    "`receives = \"rows\"`, `\"statistics\"`, `\"publishable statistics\"` or `\"nothing\"`";
const ABOUT: &str = "`about = \"..\"`, what it does, in one phrase";
const COUNTRY: &str = "`country = \"NL\"`, two capitals";
const SAFEGUARD: &str =
    "`safeguard = \"standard contractual clauses\"`, what protects the transfer";

/// Reads all, in order of the file.
pub(super) fn read_all(table: &Table<'_>, residency: Option<&str>) -> Vec<Recipient> {
    table.entries().iter().filter_map(|item| read(item, residency)).collect()
}

fn read(item: &Item<'_>, residency: Option<&str>) -> Option<Recipient> {
    if !is_name(item.key) {
        let message = format!("`{}` cannot name a recipient", item.key);
        item.file.wrong(&item.key_span, message, NAME_FORM);
    }
    let table = item.table(FORM)?;
    let what = format!("recipient `{}`", item.key);
    let name = table.need("name", &what, NAME);
    let role = table.need("role", &what, ROLE);
    let receives = table.need("receives", &what, RECEIVES);
    let about = table.need("about", &what, ABOUT);
    let country = table.get("country");
    let safeguard = table.get("safeguard").and_then(|item| item.text(SAFEGUARD));
    let source = read_stated(&table, "source");
    table.finish();
    let role = role.and_then(|item| item.word(&Role::WORDS.map(|(word, _)| word)))?;
    let given = receives.as_ref()?;
    let receives = given.word(&Receives::WORDS.map(|(word, _)| word))?;
    let recipient = Recipient {
        key: item.key.to_owned(),
        name: name?.text(NAME)?.to_owned(),
        role: Role::WORDS[role].1,
        receives: Receives::WORDS[receives].1,
        country: match &country {
            Some(country) => Some(read_country(country)?),
            None => None,
        },
        safeguard: safeguard.map(str::to_owned),
        source,
        about: about?.text(ABOUT)?.to_owned(),
    };
    if recipient.role != Role::Processor && recipient.receives > Receives::Publishable {
        given.wrong(
            format!("{what} acts on its own, and would be given what is for staff only"),
            "`receives = \"publishable statistics\"` or `\"nothing\"`",
        );
    }
    check_place(item, country.as_ref(), &recipient, residency);
    Some(recipient)
}

fn read_country(item: &Item<'_>) -> Option<String> {
    let text = item.text(COUNTRY)?;
    if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return Some(text.to_owned());
    }
    item.wrong("`country` is no code of a country", COUNTRY);
    None
}

/// Rows stay where the policy promises that they do; a country outside the EEA needs a safeguard (GDPR chapter V).
fn check_place(
    item: &Item<'_>,
    country: Option<&Item<'_>>,
    recipient: &Recipient,
    residency: Option<&str>,
) {
    if recipient.receives == Receives::Nothing || recipient.role == Role::Public {
        return;
    }
    let rows = recipient.receives == Receives::Rows;
    let (Some(code), Some(at)) = (&recipient.country, country) else {
        if rows && residency.is_some() {
            let message =
                format!("recipient `{}` holds rows and does not say where", recipient.key);
            item.file.wrong(&item.key_span, message, COUNTRY);
        }
        return;
    };
    let resides =
        residency.is_none_or(|place| place == code || (place == eea::NAME && eea::contains(code)));
    if rows && !resides {
        at.wrong(
            format!("recipient `{}` holds rows outside the place of `residency`", recipient.key),
            "a country within it, or `receives = \"statistics\"`",
        );
    } else if !eea::contains(code) && recipient.safeguard.is_none() {
        let message =
            format!("recipient `{}` is outside the EEA without a safeguard", recipient.key);
        at.wrong(message, SAFEGUARD);
    }
}
