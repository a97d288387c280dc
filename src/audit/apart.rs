//! Rows that are kept apart, and exports of requests: by what stands beside them, without opening any.

use schemas::time::{DAY_MS, HOUR_MS};
use schemas::{Millis, Package};
use serde_json::Value;
use storage::Root;

use super::finding::{Code, Finding};
use super::places::{Place, written};
use super::report::{ExportAtRest, HoldAtRest};

/// How long an export is kept.
const EXPORT_MS: i64 = 7 * DAY_MS;
/// Time for a running service to remove what is due.
const SLACK_MS: i64 = HOUR_MS;

/// Everything that is kept apart, and what of it is longer than it may be, or for no reason that the policy has.
pub(super) fn holds(
    root: &Root,
    places: &[Place],
    package: &Package,
    now: Millis,
    findings: &mut Vec<Finding>,
) -> Vec<HoldAtRest> {
    let mut holds = Vec::new();
    for file in Place::below(places, "apart") {
        let Some(id) = file.name.strip_prefix("apart/").and_then(|id| id.strip_suffix(".json"))
        else {
            continue;
        };
        let place = root.join(&file.name).to_string();
        let about = root.read(&file.name).ok();
        let about = about.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let Some(about) = about else {
            findings.push(Finding::new(Code::Unreadable, "the file cannot be read", place));
            continue;
        };
        let word = |name: &str| about[name].as_str().map(str::to_owned);
        let hold = HoldAtRest {
            id: id.to_owned(),
            kind: word("kind").unwrap_or_default(),
            family: word("family").unwrap_or_default(),
            reason: word("reason"),
            since: word("since"),
            end: word("end"),
        };
        judge(&hold, &place, package, now, findings);
        holds.push(hold);
    }
    holds
}

fn judge(
    hold: &HoldAtRest,
    place: &str,
    package: &Package,
    now: Millis,
    findings: &mut Vec<Finding>,
) {
    let time = |text: &Option<String>| text.as_deref().and_then(Millis::parse);
    let (since, end) = (time(&hold.since), time(&hold.end));
    if end.is_some_and(|end| end.plus(SLACK_MS) <= now) {
        let what = "rows are kept apart longer than they may be";
        findings.push(Finding::new(Code::HoldPastEnd, what, place));
    }
    if hold.kind != "hold" {
        return;
    }
    let allowed = package.legal_hold.as_ref();
    let reason = hold.reason.as_ref();
    let has_reason = allowed
        .is_some_and(|allowed| reason.is_some_and(|reason| allowed.reasons.contains(reason)));
    if !has_reason {
        let what = "a hold without a reason that the policy allows";
        findings.push(Finding::new(Code::HoldReason, what, place));
    }
    let longest = allowed.map_or(0, |allowed| i64::from(allowed.days_max) * DAY_MS);
    let within = match (since, end) {
        (Some(since), Some(end)) => end <= since.plus(longest + SLACK_MS),
        _ => false,
    };
    if has_reason && !within {
        let what = "a hold without an end, or longer than the policy allows";
        findings.push(Finding::new(Code::HoldReason, what, place));
    }
}

/// Files for people who asked, and those that should be gone.
pub(super) fn exports(
    places: &[Place],
    now: Millis,
    findings: &mut Vec<Finding>,
) -> Vec<ExportAtRest> {
    let files = Place::below(places, "exports");
    let exports = files.map(|file| {
        if file.modified_ms + EXPORT_MS + SLACK_MS <= now.0 {
            let what = "an export is older than 7 days";
            findings.push(Finding::new(Code::ExportPastEnd, what, file.name.clone()));
        }
        ExportAtRest { file: file.name.clone(), written: written(file) }
    });
    exports.collect()
}
