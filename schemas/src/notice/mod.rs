//! What visitors are told: who collects what, why, on what basis, for how long, and what may leave.
//!
//! Input: a checked [`Package`]. Output: one [`Notice`], as data for the dashboard, and as a whole page in HTML or
//! Markdown. Nothing in it is written by hand, so it cannot say anything else than what the gates enforce; and it knows
//! no key, no row and no clock, so it is the same wherever it is shown.

mod content;
mod document;
mod html;
mod markdown;
mod signals;

pub use html::{STYLE_HASH, content_security_policy};

use serde::{Serialize, Serializer};

use crate::model::{Basis, ContributorSource, Family, Field, Mechanism, Package, Statistic};
use crate::words;

/// A package in the words of a notice. As JSON it is what `GET /v1/policy` answers, but for keys and outcomes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice {
    /// Who collects.
    pub controller: String,
    /// Version of the published policy.
    pub version: String,
    /// Fingerprint of the package, hexadecimal.
    pub digest: String,
    /// Where data stays, if declared.
    pub residency: Option<String>,
    /// Days within which a request of a data subject is answered.
    pub answer_within_days: u32,
    /// Why anything is collected.
    pub purposes: Vec<Purpose>,
    /// What is never taken, in words of the package.
    pub refused: Vec<String>,
    /// What the signals of browsers do.
    pub signals: Vec<Signal>,
    /// What is collected.
    pub families: Vec<FamilyNotice>,
    /// What may leave.
    pub statistics: Vec<StatisticNotice>,
}

/// A reason to collect.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Purpose {
    /// Its name in events and consent.
    pub name: String,
    /// What makes it lawful.
    #[serde(serialize_with = "basis_word")]
    pub basis: Basis,
    /// `text` if the published policy names the basis, `assumed` if not.
    pub source: String,
    /// What visitors are told.
    pub notice: String,
}

/// A signal that browsers send for all sites.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Signal {
    /// The header: `Sec-GPC` or `DNT`.
    pub name: &'static str,
    /// What it does, in whole sentences.
    pub means: String,
}

/// What a signal does to the events of one family.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// Purposes that it ends for the event that it came with.
    pub ends: Vec<String>,
    /// Purposes that stand all the same.
    pub stands: Vec<String>,
    /// What is left of the event, in whole sentences.
    pub means: String,
}

/// A kind of event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FamilyNotice {
    /// Its name, the `type` of its events.
    pub name: String,
    /// What one event is, if declared.
    pub about: Option<String>,
    /// What contributors are called.
    pub called: String,
    /// How they are told apart.
    pub told: String,
    /// The field by which they are; none where it is site, address and browser.
    pub told_by: Option<String>,
    /// How long a pseudonym means anything, in milliseconds.
    pub epoch_ms: i64,
    /// How long after it came a row is gone at the latest, in milliseconds.
    pub gone_after_ms: i64,
    /// What times are rounded down to, in milliseconds.
    pub grain_ms: i64,
    /// How late an event still counts, in milliseconds.
    pub late_ms: i64,
    /// How long a second copy is known, in milliseconds.
    pub dedupe_ms: i64,
    /// What the signals of browsers do to it.
    pub under_signal: Effect,
    /// What is taken.
    pub fields: Vec<FieldNotice>,
}

/// One declared field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldNotice {
    /// Name in the event.
    pub name: String,
    /// What it is, for people.
    pub about: String,
    /// What it is about: `usage`, `location`, …
    pub category: &'static str,
    /// Where its value comes from: `event`, `address`, `user agent`, `accepted languages`, or another field.
    pub source: String,
    /// What is kept; none where nothing is.
    pub kept: Option<String>,
    /// What for.
    pub purposes: Vec<String>,
    /// From when on it is dropped, RFC 3339.
    pub expires: Option<String>,
}

/// One declared statistic.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatisticNotice {
    /// Its name in questions.
    pub name: String,
    /// Heading for people.
    pub title: String,
    /// Family that it is made of.
    pub family: String,
    /// What contributors are called.
    pub called: String,
    /// Length of its periods: `hour`, `day`, `week` or `epoch`.
    pub every: &'static str,
    /// That length in words.
    #[serde(skip)]
    pub period: String,
    /// What is measured, in words.
    pub measured: Vec<String>,
    /// Groups that are told apart, in words; `all` is the total.
    pub groups: Vec<String>,
    /// Fewest contributors of a group that is shown.
    pub min_contributors: u64,
    /// Counts are rounded to a multiple of it.
    pub rounding: u64,
    /// What protects it: `threshold`.
    pub mechanism: &'static str,
}

fn basis_word<S: Serializer>(basis: &Basis, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(basis.name())
}

impl Notice {
    /// What the package says to visitors.
    #[must_use]
    pub fn of(package: &Package) -> Self {
        let purposes = package.purposes.iter().map(|purpose| Purpose {
            name: purpose.name.clone(),
            basis: purpose.basis,
            source: purpose.source.name().to_owned(),
            notice: purpose.notice.clone(),
        });
        Self {
            controller: package.controller.clone(),
            version: package.version.clone(),
            digest: package.digest.to_string(),
            residency: package.residency.clone(),
            answer_within_days: package.answer_within_days,
            purposes: purposes.collect(),
            refused: words::refused(package).into_iter().map(str::to_owned).collect(),
            signals: signals::of(package),
            families: package.families.iter().map(|family| of_family(package, family)).collect(),
            statistics: package
                .statistics
                .iter()
                .map(|statistic| of_statistic(package, statistic))
                .collect(),
        }
    }

    /// The notice as one page of HTML: no script, no request to anywhere, its style inline under [`STYLE_HASH`].
    /// Every declared text is escaped.
    #[must_use]
    pub fn html(&self) -> String {
        html::render(&content::document(self))
    }

    /// The notice as Markdown, with the same sections as [`Notice::html`].
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown::render(&content::document(self))
    }
}

fn of_family(package: &Package, family: &Family) -> FamilyNotice {
    let told_by = match family.contributor.source {
        ContributorSource::Field(index) => Some(family.fields[index].name.clone()),
        ContributorSource::Visit => None,
    };
    FamilyNotice {
        name: family.name.clone(),
        about: family.about.clone(),
        called: family.contributor.called.clone(),
        told: words::told(family),
        told_by,
        epoch_ms: words::epoch_ms(family),
        gone_after_ms: words::gone_after_ms(family),
        grain_ms: family.grain_ms,
        late_ms: family.late_ms,
        dedupe_ms: family.dedupe_window_ms,
        under_signal: signals::effect(package, family),
        fields: family.fields.iter().map(|field| of_field(package, family, field)).collect(),
    }
}

fn of_field(package: &Package, family: &Family, field: &Field) -> FieldNotice {
    FieldNotice {
        name: field.name.clone(),
        about: field.about.clone(),
        category: field.category.name(),
        source: words::source(family, field),
        kept: words::kept(family, field),
        purposes: words::purposes(package, field.purposes),
        expires: field.expires.map(|end| end.to_string()),
    }
}

fn of_statistic(package: &Package, statistic: &Statistic) -> StatisticNotice {
    let family = &package.families[statistic.family];
    let called = &family.contributor.called;
    let Mechanism::Threshold { min_contributors, rounding } = statistic.mechanism;
    StatisticNotice {
        name: statistic.name.clone(),
        title: statistic.title.clone(),
        family: family.name.clone(),
        called: called.clone(),
        every: statistic.every.name(),
        period: words::every(statistic.every, family),
        measured: statistic.measures.iter().map(|one| words::measure(one, called)).collect(),
        groups: statistic.by.iter().map(|grouping| words::grouping(family, grouping)).collect(),
        min_contributors,
        rounding,
        mechanism: "threshold",
    }
}
