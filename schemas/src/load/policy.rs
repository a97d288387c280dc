//! `policy.toml`: who collects, why, and what is never taken.

use super::table::{Item, Table};
use super::words::{NAME_FORM, is_name, list, span_ms};
use crate::model::{Basis, Category, Content, Package, Purpose, Refused};
use crate::time::DAY_MS;

/// One month, GDPR article 12(3).
pub(super) const ANSWER_WITHIN_DAYS: u32 = 30;
/// As many bits as a set of purposes has.
const PURPOSES_MAX: usize = 32;

/// What a package refuses that does not say what it refuses.
pub(super) fn everything_refused() -> Refused {
    Refused {
        categories: vec![
            Category::Name,
            Category::Email,
            Category::PostalAddress,
            Category::Health,
            Category::Payment,
            Category::Credentials,
        ],
        content: vec![Content::Image, Content::Dicom],
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
    package.residency = table
        .get("residency")
        .and_then(|item| item.text("`residency = \"EEA\"`").map(str::to_owned));
    if let Some(fleet) = table.get("fleet").and_then(|item| item.table(FLEET)) {
        package.fleet = fleet.entries().iter().filter_map(read_fleet).collect();
    }
    if let Some(days) = table.get("requests").and_then(|item| read_requests(&item)) {
        package.answer_within_days = days;
    }
    let purposes = table.need("purposes", "the policy", PURPOSE);
    if let Some(purposes) = purposes.and_then(|item| item.table(PURPOSE)) {
        package.purposes = read_purposes(&purposes);
    }
    if let Some(refused) = table.get("refused").and_then(|item| item.table(REFUSED)) {
        read_refused(&refused, &mut package.refused);
    }
    table.finish();
}

const FLEET: &str = "`fleet = { product = 300 }`, contributors expected";
const REQUESTS: &str = "`requests = { answer_within = \"30 days\" }`, from 1 to 90 whole days";
const REFUSED: &str = "`[refused]` with `categories = [..]` and `content = [..]`";
const PURPOSE: &str = "`[purposes.website]` with `basis`, `source` and `notice`";

fn read_fleet(item: &Item<'_>) -> Option<(String, u64)> {
    let count = u64::try_from(item.integer(FLEET)?).ok().filter(|count| *count > 0);
    if count.is_none() {
        item.wrong(format!("the fleet of `{}` is not positive", item.key), FLEET);
    }
    Some((item.key.to_owned(), count?))
}

fn read_requests(item: &Item<'_>) -> Option<u32> {
    let table = item.table(REQUESTS)?;
    let within = table.need("answer_within", "`requests`", REQUESTS)?;
    table.finish();
    let ms = within.text(REQUESTS).and_then(span_ms);
    let days = ms.filter(|ms| ms % DAY_MS == 0).map(|ms| ms / DAY_MS);
    let days = days.filter(|days| (1..=90).contains(days)).and_then(|days| days.try_into().ok());
    if days.is_none() {
        within.wrong("`answer_within` is not a span of 1 to 90 whole days", REQUESTS);
    }
    days
}

fn read_purposes(table: &Table<'_>) -> Vec<Purpose> {
    let entries = table.entries();
    if entries.is_empty() {
        table.file.wrong(&table.span, "the policy has no purpose", PURPOSE);
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
        source: "assumed".to_owned(),
        dpv: None,
        notice: String::new(),
    };
    if !is_name(item.key) {
        item.file.wrong(&item.key_span, format!("`{}` cannot name a purpose", item.key), NAME_FORM);
    }
    let Some(table) = item.table(PURPOSE) else { return purpose };
    let what = format!("purpose `{}`", item.key);
    let basis = format!("`basis = ..`, one of {}", list(&Basis::WORDS.map(|(word, _)| word)));
    if let Some(basis) = table
        .need("basis", &what, &basis)
        .and_then(|basis| basis.word(&Basis::WORDS.map(|(word, _)| word)))
    {
        purpose.basis = Basis::WORDS[basis].1;
    }
    let sources = ["text", "assumed"];
    if let Some(source) = table.get("source").and_then(|source| source.word(&sources)) {
        purpose.source = sources[source].to_owned();
    }
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

fn read_dpv(item: &Item<'_>) -> Option<String> {
    let form =
        "a term of the Data Privacy Vocabulary without its prefix, such as `ServiceUsageAnalytics`";
    let text = item.text(form)?;
    if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Some(text.to_owned());
    }
    item.wrong(format!("`{text}` cannot be a term"), form);
    None
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
