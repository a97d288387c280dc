//! A report as sections with tables, before anything is known of how it is shown.

use std::collections::BTreeMap;
use std::fmt;

use super::report::{FamilyOutcomes, Rare, Report};

/// Destroyed keys that are listed one by one; of more, the JSON tells all.
const DESTROYED_MAX: usize = 50;

/// A report for people.
pub(super) struct Page {
    pub(super) title: String,
    pub(super) summary: Vec<String>,
    pub(super) sections: Vec<Section>,
    pub(super) colophon: String,
}

/// One part of it.
pub(super) struct Section {
    /// Its anchor: letters and `-`.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What is said before the table.
    pub(super) text: Vec<String>,
    pub(super) heads: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// What stands there where there are no rows.
    pub(super) nothing: &'static str,
}

impl Page {
    pub(super) fn of(report: &Report) -> Self {
        let mut sections = vec![findings(report)];
        sections.extend(residency(report));
        sections.extend([at_rest(report), fields(report), keys(report), rare(report)]);
        sections.extend([outcomes(report), requests(report), holds(report)]);
        sections.extend([exports(report), releases(report)]);
        let scanned = &report.scanned;
        Self {
            title: report.controller.clone(),
            summary: summary(report),
            sections,
            colophon: format!(
                "Made at {} of {} files, {} values of columns and {} bytes of text, under policy {} ({}).",
                report.at,
                scanned.files,
                scanned.values,
                scanned.bytes,
                report.policy,
                report.digest
            ),
        }
    }
}

fn summary(report: &Report) -> Vec<String> {
    let mut lines = vec![match report.findings.len() {
        0 => "Nothing was found that is not as promised.".to_owned(),
        1 => "1 thing was found that is not as promised.".to_owned(),
        count => format!("{count} things were found that are not as promised."),
    }];
    lines.extend(report.not_looked_at.iter().map(|what| format!("Not looked at: {what}.")));
    let alive = report.keys.iter().filter(|key| key.state == "alive").count();
    let destroyed = report.keys.len() - alive;
    lines.push(format!("{alive} keys alive, {destroyed} destroyed."));
    let open = report.requests.iter().filter(|request| !is_ended(&request.state)).count();
    lines.push(format!("{} requests of people, {open} of them open.", report.requests.len()));
    lines
}

fn is_ended(state: &str) -> bool {
    matches!(state, "done" | "dropped")
}

fn findings(report: &Report) -> Section {
    let rows = report.findings.iter().map(|finding| {
        let (what, count) = (&finding.what, finding.count);
        let what = if count > 1 { format!("{what} ({count})") } else { what.clone() };
        vec![
            finding.code.to_owned(),
            what,
            finding.place.clone(),
            finding.breaks.to_owned(),
            finding.remedy.to_owned(),
        ]
    });
    Section {
        id: "findings",
        title: "Findings",
        text: Vec::new(),
        heads: vec!["finding", "what", "where", "promise that it breaks", "what to do"],
        rows: rows.collect(),
        nothing: "None.",
    }
}

fn residency(report: &Report) -> Option<Section> {
    let promised = report.residency_promised.as_ref()?;
    let rows = report.residency.iter().map(|placed| {
        let region = placed.region.clone().unwrap_or_default();
        vec![placed.store.clone(), placed.place.clone(), region, placed.verdict.text().to_owned()]
    });
    Some(Section {
        id: "residency",
        title: "Residency",
        text: vec![format!("The policy promises that data stays in {promised}.")],
        heads: vec!["store", "place", "region", "residency"],
        rows: rows.collect(),
        nothing: "None.",
    })
}

fn at_rest(report: &Report) -> Section {
    let rows = report.at_rest.iter().map(|place| {
        let time = |time: &Option<String>| time.clone().unwrap_or_default();
        vec![
            place.place.clone(),
            place.holds.clone(),
            place.count.to_string(),
            time(&place.oldest),
            time(&place.newest),
            place.kept.clone(),
            place.at.clone(),
        ]
    });
    Section {
        id: "at-rest",
        title: "What is at rest",
        text: Vec::new(),
        heads: vec!["place", "holds", "how many", "oldest", "newest", "kept", "where"],
        rows: rows.collect(),
        nothing: "Nothing.",
    }
}

fn fields(report: &Report) -> Section {
    let rows = report.fields.iter().map(|field| {
        let purposes = field.purposes.iter();
        let purposes = purposes.map(|of| format!("{} ({}, {})", of.purpose, of.basis, of.source));
        let expires = field.expires.as_ref().map(|end| format!("; no values from {end} on"));
        vec![
            format!("{}.{}", field.family, field.field),
            field.category.to_owned(),
            field.stored.clone().unwrap_or_else(|| "nothing".to_owned()),
            purposes.collect::<Vec<_>>().join(", "),
            field.kept.clone() + &expires.unwrap_or_default(),
        ]
    });
    Section {
        id: "fields",
        title: "Fields",
        text: vec![
            "In brackets: the legal basis, and whether the published text states it.".to_owned(),
        ],
        heads: vec!["field", "category", "what is stored", "purposes", "kept"],
        rows: rows.collect(),
        nothing: "None.",
    }
}

fn keys(report: &Report) -> Section {
    let alive = report.keys.iter().filter(|key| key.state == "alive");
    let mut destroyed: Vec<_> = report.keys.iter().filter(|key| key.state != "alive").collect();
    destroyed.sort_by(|one, other| other.destroyed.cmp(&one.destroyed));
    let more = destroyed.len().saturating_sub(DESTROYED_MAX);
    let rows = alive.chain(destroyed.into_iter().take(DESTROYED_MAX)).map(|key| {
        vec![
            key.key.clone(),
            key.state.to_owned(),
            key.created.clone(),
            key.destroyed.clone().unwrap_or_default(),
            key.commitment.clone(),
        ]
    });
    let more = (more > 0).then(|| {
        format!("{more} more were destroyed before: `quorate audit --format json` lists all.")
    });
    Section {
        id: "keys",
        title: "Keys",
        text: more.into_iter().collect(),
        heads: vec!["key", "state", "made", "destroyed", "commitment"],
        rows: rows.collect(),
        nothing: "None yet.",
    }
}

fn rare(report: &Report) -> Section {
    let rows = report.rare.iter().map(|rare| {
        let Rare { family, fields, min_contributors, combinations, rare, of_one, at_least } = rare;
        let least = if *at_least { "at least " } else { "" };
        vec![
            family.clone(),
            format!("{least}{combinations}"),
            format!("{least}{rare} (fewer than {min_contributors})"),
            format!("{least}{of_one}"),
            fields.join(", "),
        ]
    });
    Section {
        id: "rare",
        title: "Rare combinations",
        text: vec![
            "How many combinations of stored values few contributors hold: what rows would tell whoever had them. \
             Statistics show none of them."
                .to_owned(),
        ],
        heads: vec!["family", "combinations", "rare", "of one contributor", "fields"],
        rows: rows.collect(),
        nothing: "No rows.",
    }
}

fn outcomes(report: &Report) -> Section {
    let rows = report.outcomes.iter().map(|of| {
        let FamilyOutcomes { received, stored, duplicate, expired, suppressed, .. } = of;
        let mut row = vec![of.family.clone().unwrap_or_else(|| "(none)".to_owned())];
        row.extend([received, stored, duplicate].map(u64::to_string));
        row.push(counted(&of.refused));
        row.extend([expired, suppressed].map(u64::to_string));
        row.push(counted(&of.notes));
        row
    });
    Section {
        id: "outcomes",
        title: "Outcomes and signals",
        text: Vec::new(),
        heads: vec![
            "family",
            "received",
            "stored",
            "duplicate",
            "refused",
            "expired",
            "suppressed",
            "noted",
        ],
        rows: rows.collect(),
        nothing: "No events yet.",
    }
}

/// Names with their counts, in one line.
fn counted(counts: &BTreeMap<impl fmt::Display, u64>) -> String {
    let each = counts.iter().map(|(name, count)| format!("{name} {count}"));
    each.collect::<Vec<_>>().join(", ")
}

fn requests(report: &Report) -> Section {
    let rows = report.requests.iter().map(|request| {
        vec![
            request.request.clone(),
            request.kind.clone(),
            request.family.clone(),
            request.received.clone(),
            request.due.clone(),
            request.state.clone(),
        ]
    });
    Section {
        id: "requests",
        title: "Requests",
        text: vec!["Who asked is nowhere.".to_owned()],
        heads: vec!["request", "kind", "family", "received", "due", "state"],
        rows: rows.collect(),
        nothing: "None.",
    }
}

fn holds(report: &Report) -> Section {
    let rows = report.holds.iter().map(|hold| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            hold.id.clone(),
            hold.kind.clone(),
            hold.family.clone(),
            text(&hold.reason),
            text(&hold.since),
            text(&hold.end),
        ]
    });
    Section {
        id: "holds",
        title: "Rows kept apart",
        text: Vec::new(),
        heads: vec!["id", "kind", "family", "reason", "since", "until"],
        rows: rows.collect(),
        nothing: "None.",
    }
}

fn exports(report: &Report) -> Section {
    let rows =
        report.exports.iter().map(|export| vec![export.file.clone(), export.written.clone()]);
    Section {
        id: "exports",
        title: "Exports",
        text: Vec::new(),
        heads: vec!["file", "written"],
        rows: rows.collect(),
        nothing: "None.",
    }
}

fn releases(report: &Report) -> Section {
    let rows = report.releases.iter().map(|release| {
        vec![
            release.statistic.clone(),
            release.periods.to_string(),
            release.groups.to_string(),
            release.oldest.clone(),
            release.newest.clone(),
            release.revised.to_string(),
        ]
    });
    Section {
        id: "releases",
        title: "Releases",
        text: Vec::new(),
        heads: vec!["statistic", "periods", "groups", "from", "to", "computed again"],
        rows: rows.collect(),
        nothing: "None yet.",
    }
}
