//! `policy.toml`: who collects, why, and what is never taken.

use super::purpose::{self, days, read_stated};
use super::recipient;
use super::table::{Item, Table};
use super::words::list;
use crate::eea;
use crate::model::{Category, Content, Honoured, LegalHold, Package, Refused, Stated};

/// One month, GDPR article 12(3).
pub(super) const ANSWER_WITHIN_DAYS: u32 = 30;
/// Longest time within which requests may be answered: a month, and two more (GDPR article 12(3)).
const ANSWER_WITHIN_DAYS_MAX: u32 = 90;
/// Longest legal hold.
const HOLD_DAYS_MAX: u32 = 36_525;

/// What a package refuses that does not say what it refuses.
pub(super) fn everything_refused() -> Refused {
    Refused {
        categories: vec![
            Category::Name,
            Category::Email,
            Category::PostalAddress,
            Category::Telephone,
            Category::BirthDate,
            Category::Health,
            Category::Scan,
            Category::Payment,
            Category::Credentials,
            Category::Support,
            Category::FileName,
        ],
        content: vec![Content::Image, Content::Dicom, Content::Base64],
    }
}

pub(super) fn read(table: &Table<'_>, package: &mut Package) {
    let text = |item: Option<Item<'_>>, instead| {
        item.and_then(|item| item.text(instead).map(str::to_owned)).unwrap_or_default()
    };
    let controller = "`controller = \"Example Ltd\"`, the legal name of who collects";
    package.controller = text(table.need("controller", "the policy", controller), controller);
    let version = "`version = \"2026-01-31\"`, the version of the published policy";
    package.version = text(table.need("version", "the policy", version), version);
    package.residency = table.get("residency").and_then(|item| read_residency(&item));
    let line = |key, instead: &'static str| {
        table.get(key).and_then(|item| item.text(instead)).map(str::to_owned)
    };
    package.contact = line("contact", "`contact = \"privacy@example.com\"`, where requests go");
    package.authority = line("authority", "`authority = \"..\"`, who takes complaints");
    if let Some(fleet) = table.get("fleet").and_then(|item| item.table(FLEET)) {
        package.fleet = fleet.entries().iter().filter_map(read_fleet).collect();
    }
    if let Some((days, source)) = table.get("requests").and_then(|item| read_requests(&item)) {
        (package.answer_within_days, package.answer_source) = (days, source);
    }
    package.signals = table.get("signals").map(|item| read_signals(&item)).unwrap_or_default();
    let purposes = table.need("purposes", "the policy", purpose::FORM);
    if let Some(purposes) = purposes.and_then(|item| item.table(purpose::FORM)) {
        package.purposes = purpose::read_all(&purposes);
    }
    let recipients = table.get("recipients").and_then(|item| item.table(recipient::FORM));
    if let Some(recipients) = recipients {
        package.recipients = recipient::read_all(&recipients, package.residency.as_deref());
    }
    package.legal_hold = table.get("legal_hold").and_then(|item| read_hold(&item));
    if let Some(refused) = table.get("refused").and_then(|item| item.table(REFUSED)) {
        read_refused(&refused, &mut package.refused);
    }
    table.finish();
}

const FLEET: &str = "`fleet = { product = 300 }`, contributors expected";
const REQUESTS: &str = "`requests = { answer_within = \"30 days\" }`, from 1 to 90 whole days";
const REFUSED: &str = "`[refused]` with `categories = [..]` and `content = [..]`";
const SIGNALS: &str = "`signals = { gpc = \"objection\", dnt = \"ignored\" }`";
const HOLD: &str =
    "`[legal_hold]` with `at_most = \"730 days\"`, `reasons = [\"claim\"]` and `notice`";

fn read_fleet(item: &Item<'_>) -> Option<(String, u64)> {
    let count = u64::try_from(item.integer(FLEET)?).ok().filter(|count| *count > 0);
    if count.is_none() {
        item.wrong(format!("the fleet of `{}` is not positive", item.key), FLEET);
    }
    Some((item.key.to_owned(), count?))
}

fn read_requests(item: &Item<'_>) -> Option<(u32, Stated)> {
    let table = item.table(REQUESTS)?;
    let within = table.need("answer_within", "`requests`", REQUESTS)?;
    let source = read_stated(&table, "source");
    table.finish();
    Some((days(&within, 1, ANSWER_WITHIN_DAYS_MAX, REQUESTS)?, source))
}

fn read_residency(item: &Item<'_>) -> Option<String> {
    let form = "`residency = \"EEA\"`, or the two capitals of a country";
    let text = item.text(form)?;
    let is_country = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase());
    if text != eea::NAME && !is_country {
        item.wrong(format!("`{text}` is no place that can be checked"), form);
        return None;
    }
    Some(text.to_owned())
}

fn read_signals(item: &Item<'_>) -> Honoured {
    let mut honoured = Honoured::default();
    let Some(table) = item.table(SIGNALS) else { return honoured };
    let read = |key| {
        let word = table.get(key).and_then(|item| item.word(&["objection", "ignored"]));
        word.is_none_or(|word| word == 0)
    };
    (honoured.gpc, honoured.dnt) = (read("gpc"), read("dnt"));
    table.finish();
    honoured
}

fn read_hold(item: &Item<'_>) -> Option<LegalHold> {
    let table = item.table(HOLD)?;
    let what = "`legal_hold`";
    let at_most = table.need("at_most", what, HOLD);
    let reasons = table.need("reasons", what, HOLD);
    let notice = table.need("notice", what, HOLD);
    table.finish();
    let reasons = reasons?;
    let words: Vec<String> =
        reasons.array(HOLD)?.iter().filter_map(|item| Some(item.text(HOLD)?.to_owned())).collect();
    if words.is_empty() {
        reasons.wrong("nothing is held without a reason", HOLD);
    }
    Some(LegalHold {
        days_max: days(&at_most?, 1, HOLD_DAYS_MAX, HOLD)?,
        reasons: words,
        notice: notice?.text(HOLD)?.to_owned(),
    })
}

fn read_refused(table: &Table<'_>, refused: &mut Refused) {
    if let Some(item) = table.get("categories") {
        refused.categories = read_words(&item, &Category::WORDS);
    }
    if let Some(item) = table.get("content") {
        refused.content = read_words(&item, &Content::WORDS);
    }
    table.finish();
}

fn read_words<T: Copy>(item: &Item<'_>, known: &[(&str, T)]) -> Vec<T> {
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    let items = item.array(&format!("a list of {}", list(&words))).unwrap_or_default();
    items.iter().filter_map(|item| Some(known[item.word(&words)?].1)).collect()
}
