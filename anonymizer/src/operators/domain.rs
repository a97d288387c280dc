//! Host of a URL: the site, not the person.

use std::borrow::Cow;

use super::{identifier, url};

/// Labels of a host that are told apart; what stands before them is one `:other`.
const LABELS_MAX: usize = 5;
/// Longest registered name with digits that passes: `123movies`, `office365`.
const SITE_BYTES_MAX: usize = 12;
/// Digits of such a name.
const SITE_DIGITS_MAX: usize = 3;

/// Writes the host in lower case to `out`, which is cleared first; false if there is none.
///
/// A leading `www.` and a final dot go. An address becomes `:ip`, a name that only a local network knows `:local`,
/// and a label that may identify its placeholder. Port and user information were cut before.
pub(crate) fn write(host: &str, out: &mut String) -> bool {
    out.clear();
    let host = host.trim_end_matches('.');
    if host.is_empty() {
        return false;
    }
    if is_address(host) {
        out.push_str(":ip");
        return true;
    }
    let lower = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    };
    let lower = lower.strip_prefix("www.").filter(|rest| rest.contains('.')).unwrap_or(&lower);
    if is_local(lower) {
        out.push_str(if lower == "localhost" { "localhost" } else { ":local" });
        return true;
    }
    let labels = url::split(lower, b'.').count();
    for (index, label) in url::split(lower, b'.').enumerate() {
        let from_end = labels - index;
        if from_end > LABELS_MAX {
            continue;
        }
        if from_end == LABELS_MAX && labels > LABELS_MAX {
            out.push_str(":other.");
        }
        out.push_str(written(label, from_end));
        if from_end > 1 {
            out.push('.');
        }
    }
    true
}

/// A label, or what stands for it. The second from the end is a registered name, and may have a few digits.
fn written(label: &str, from_end: usize) -> &str {
    if identifier::plain_words(label) {
        return label;
    }
    let digits = label.bytes().filter(u8::is_ascii_digit).count();
    let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let site = from_end == 2
        && plain
        && label.len() <= SITE_BYTES_MAX
        && digits <= SITE_DIGITS_MAX
        && !identifier::looks_hexadecimal(label);
    if site {
        return label;
    }
    match identifier::decoded(label) {
        Ok(_) => identifier::classify(label).map_or(label, |found| found.placeholder()),
        Err(identifier) => identifier.placeholder(),
    }
}

/// Whether only a local network knows a name: it has no dot, or ends as such names do.
fn is_local(host: &str) -> bool {
    let Some((before, last)) = host.rsplit_once('.') else { return true };
    matches!(last, "local" | "lan" | "home" | "internal" | "localdomain" | "localhost")
        || (last == "arpa" && (before == "home" || before.ends_with(".home")))
}

/// Whether a host is an IP address in any of the forms that browsers take: brackets, or a last label that is a
/// number, decimal or hexadecimal.
fn is_address(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    host.starts_with('[')
        || (last.starts_with(|first: char| first.is_ascii_digit()) && is_number(last))
}

fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x").or_else(|| label.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests;
