//! `[purposes]`: why anything is collected, on what grounds, for how long, and what counts as consent.

use super::table::{Item, Table};
use super::words::{NAME_FORM, is_name, list, nearest, span_ms};
use crate::model::{Basis, GoogleConsent, Purpose, Stated};
use crate::time::DAY_MS;

/// As many bits as a set of purposes has.
const PURPOSES_MAX: usize = 32;
/// No row lives longer than its key, and no key longer than this and its grace.
const KEEP_DAYS_MAX: u32 = 368;
/// Nobody remembers longer what they agreed to.
const CONSENT_DAYS_MAX: u32 = 3_653;

pub(super) const FORM: &str = "`[purposes.website]` with `basis`, `source` and `notice`";
const KEEP: &str = "`keep = \"14 days\"`; sealed frames alone live for 4 days";
const VERSIONS: &str = "`consent_versions = [\"2024-05\"]`, versions that count as consent";
const LASTS: &str = "`consent_for = \"365 days\"`, how long a grant stands";
const TCF: &str = "`tcf = [1, 8, 9]`, purposes of the framework from 1 to 11";

/// Reads `[purposes]`.
pub(super) fn read_all(table: &Table<'_>) -> Vec<Purpose> {
    let entries = table.entries();
    if entries.is_empty() {
        table.file.wrong(&table.span, "the policy has no purpose", FORM);
    }
    if let Some(item) = entries.get(PURPOSES_MAX) {
        table.file.wrong(
            &item.key_span,
            format!("more than {PURPOSES_MAX} purposes ({})", entries.len()),
            "fewer and broader purposes",
        );
    }
    entries.iter().take(PURPOSES_MAX).map(read_purpose).collect()
}

/// Always gives the purpose, so that fields which name it are not reported as well.
fn read_purpose(item: &Item<'_>) -> Purpose {
    let mut purpose = Purpose {
        name: item.key.to_owned(),
        basis: Basis::Consent,
        source: Stated::Assumed,
        keep_days: None,
        keep_source: Stated::Assumed,
        consent_versions: Vec::new(),
        consent_days: None,
        tcf: Vec::new(),
        google: None,
        dpv: None,
        notice: String::new(),
    };
    if !is_name(item.key) {
        item.file.wrong(&item.key_span, format!("`{}` cannot name a purpose", item.key), NAME_FORM);
    }
    let Some(table) = item.table(FORM) else { return purpose };
    let what = format!("purpose `{}`", item.key);
    let basis = format!("`basis = ..`, one of {}", list(&Basis::WORDS.map(|(word, _)| word)));
    if let Some(basis) = table
        .need("basis", &what, &basis)
        .and_then(|basis| basis.word(&Basis::WORDS.map(|(word, _)| word)))
    {
        purpose.basis = Basis::WORDS[basis].1;
    }
    purpose.source = read_stated(&table, "source");
    purpose.keep_source = read_stated(&table, "keep_source");
    if let Some(item) = table.get("keep") {
        purpose.keep_days = days(&item, Purpose::KEEP_DAYS_MIN, KEEP_DAYS_MAX, KEEP);
    }
    read_consent(&table, &mut purpose);
    purpose.dpv = table.get("dpv").and_then(|dpv| read_dpv(&dpv));
    let notice = "`notice = \"to ..\"`, what visitors are told";
    if let Some(text) =
        table.need("notice", &what, notice).and_then(|item| item.text(notice).map(str::to_owned))
    {
        purpose.notice = text;
    }
    table.finish();
    purpose
}

/// What a grant has to be, and who may speak for it. Of purposes that need none, nothing but objections is read.
fn read_consent(table: &Table<'_>, purpose: &mut Purpose) {
    let (versions, lasts) = (table.get("consent_versions"), table.get("consent_for"));
    let (tcf, google) = (table.get("tcf"), table.get("google"));
    if purpose.basis != Basis::Consent {
        for item in [&versions, &lasts].into_iter().flatten() {
            let message = format!("`{}` belongs to a purpose whose basis is consent", item.key);
            item.file.wrong(
                &item.key_span,
                message,
                "`basis = \"consent\"`, or the purpose without it",
            );
        }
    }
    if let Some(item) = &versions {
        let items = item.array(VERSIONS).unwrap_or_default();
        purpose.consent_versions =
            items.iter().filter_map(|item| Some(item.text(VERSIONS)?.to_owned())).collect();
        if items.is_empty() && item.as_array().is_some() {
            item.wrong("no version could be consented to", VERSIONS);
        }
    }
    purpose.consent_days = lasts.and_then(|item| days(&item, 1, CONSENT_DAYS_MAX, LASTS));
    let numbers = tcf.and_then(|item| item.array(TCF)).unwrap_or_default();
    purpose.tcf = numbers.iter().filter_map(read_tcf).collect();
    if let Some(item) = google {
        let words = GoogleConsent::WORDS.map(|(word, _)| word);
        purpose.google = item.word(&words).map(|word| GoogleConsent::WORDS[word].1);
    }
}

fn read_tcf(item: &Item<'_>) -> Option<u8> {
    let number = u8::try_from(item.integer(TCF)?).ok().filter(|number| (1..=11).contains(number));
    if number.is_none() {
        item.wrong("the framework has no such purpose", TCF);
    }
    number
}

/// `text` or `assumed`; silence is assumed.
pub(super) fn read_stated(table: &Table<'_>, key: &'static str) -> Stated {
    let words = Stated::WORDS.map(|(word, _)| word);
    let word = table.get(key).and_then(|item| item.word(&words));
    word.map_or(Stated::Assumed, |word| Stated::WORDS[word].1)
}

/// A span of whole days within bounds.
pub(super) fn days(item: &Item<'_>, least: u32, most: u32, instead: &str) -> Option<u32> {
    let ms = item.text(instead).and_then(span_ms);
    let days = ms.filter(|ms| ms % DAY_MS == 0).and_then(|ms| u32::try_from(ms / DAY_MS).ok());
    let days = days.filter(|days| (least..=most).contains(days));
    if days.is_none() {
        let message = format!("`{}` is not a span of {least} to {most} whole days", item.key);
        item.wrong(message, instead);
    }
    days
}

/// Purposes of the Data Privacy Vocabulary 2.3 (W3C Community Group, 2026-02-28), in order.
const DPV_PURPOSES: &str = include_str!("dpv_purposes.txt");

fn read_dpv(item: &Item<'_>) -> Option<String> {
    let form = "a purpose of the Data Privacy Vocabulary without its prefix, such as `ServiceUsageAnalytics`";
    let text = item.text(form)?;
    let known: Vec<&str> = DPV_PURPOSES.lines().collect();
    if known.contains(&text) {
        return Some(text.to_owned());
    }
    let near = nearest(text, &known);
    let instead = if near.contains(", ") { form.to_owned() } else { near };
    item.wrong(format!("`{text}` is no purpose of the Data Privacy Vocabulary 2.3"), instead);
    None
}
