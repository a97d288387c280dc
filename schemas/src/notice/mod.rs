//! What visitors are told: who collects what, why, on what basis, for how long, and what may leave.
//!
//! Input: a checked [`Package`]. Output: one [`Notice`], as data for the dashboard, and as a whole page in HTML or
//! Markdown. Nothing in it is written by hand, so it cannot say anything else than what the gates enforce; and it knows
//! no key, no row and no clock, so it is the same wherever it is shown.

mod content;
mod document;
mod html;
mod markdown;
mod promises;
mod rights;
mod signals;

pub use html::{STYLE, STYLE_HASH, content_security_policy, escape};

use serde::{Serialize, Serializer};

use crate::eea;
use crate::model::{
    Basis, ContributorSource, Family, Field, GoogleConsent, LegalHold, Mechanism, Package,
    Receives, Recipient, Statistic,
};
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
    /// Where requests go: an e-mail address or a URL.
    pub contact: Option<String>,
    /// Who takes complaints.
    pub authority: Option<String>,
    /// Days within which a request of a data subject is answered.
    pub answer_within_days: u32,
    /// `text` if the published policy names that time, `assumed` if not.
    pub answer_source: &'static str,
    /// Why anything is collected.
    pub purposes: Vec<Purpose>,
    /// What is never taken, in words of the package.
    pub refused: Vec<String>,
    /// What the signals of browsers do.
    pub signals: Vec<Signal>,
    /// What is collected.
    pub families: Vec<FamilyNotice>,
    /// Who is given anything.
    pub recipients: Vec<RecipientNotice>,
    /// When rows may be kept apart for longer; none if never.
    pub legal_hold: Option<HoldNotice>,
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
    /// How many days after the day of its event a value that is for it alone is kept; none: as long as the event.
    pub keep_days: Option<u32>,
    /// `text` if the published policy names that period, `assumed` if not.
    pub keep_source: &'static str,
    /// Versions of the text to which consent may refer; empty: any.
    pub consent_versions: Vec<String>,
    /// For how many days consent holds; none: without end.
    pub consent_days: Option<u32>,
    /// Purposes of the TCF that a TC string must consent to; empty: it says nothing of this purpose.
    pub tcf: Vec<u8>,
    /// The type of Google's consent mode that speaks for it.
    pub google: Option<&'static str>,
    /// What visitors are told.
    pub notice: String,
}

/// Who is given something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecipientNotice {
    /// Who it is.
    pub name: String,
    /// `processor`, `third party` or `public`.
    pub role: &'static str,
    /// `rows`, `statistics`, `publishable statistics` or `nothing`.
    pub receives: &'static str,
    /// Where, as ISO 3166-1 alpha-2 code.
    pub country: Option<String>,
    /// Whether that is outside the European Economic Area.
    pub is_transfer: bool,
    /// What protects a transfer.
    pub safeguard: Option<String>,
    /// `text` if the published policy names it, `assumed` if not.
    pub source: &'static str,
    /// What it does.
    pub about: String,
}

/// When rows may be kept apart for longer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HoldNotice {
    /// For at most so many days.
    pub days_max: u32,
    /// For these reasons.
    pub reasons: Vec<String>,
    /// What people are told.
    pub notice: String,
}

/// A signal that browsers send for all sites.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Signal {
    /// The header: `Sec-GPC` or `DNT`.
    pub name: &'static str,
    /// Whether it is heeded; if not it is still counted.
    pub honoured: bool,
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
    /// `text` if the published policy says how long its events are kept, `assumed` if not.
    pub kept_source: &'static str,
    /// The field that says whether somebody is a child: where it does, the event is refused.
    pub age_flag: Option<String>,
    /// The field that says whether location is on: where it is off, every place is left empty.
    pub location_flag: Option<String>,
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
    /// How many days after the day of its event it is kept; none: as long as the event.
    pub kept_days: Option<u32>,
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
            keep_days: purpose.keep_days,
            keep_source: purpose.keep_source.name(),
            consent_versions: purpose.consent_versions.clone(),
            consent_days: purpose.consent_days,
            tcf: purpose.tcf.clone(),
            google: purpose.google.map(GoogleConsent::name),
            notice: purpose.notice.clone(),
        });
        Self {
            controller: package.controller.clone(),
            version: package.version.clone(),
            digest: package.digest.to_string(),
            residency: package.residency.clone(),
            contact: package.contact.clone(),
            authority: package.authority.clone(),
            answer_within_days: package.answer_within_days,
            answer_source: package.answer_source.name(),
            purposes: purposes.collect(),
            refused: words::refused(package).into_iter().map(str::to_owned).collect(),
            signals: signals::of(package),
            families: package.families.iter().map(|family| of_family(package, family)).collect(),
            recipients: package.recipients.iter().map(of_recipient).collect(),
            legal_hold: package.legal_hold.as_ref().map(of_hold),
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
        kept_source: family.kept_source.name(),
        age_flag: family.flags.age.map(|index| family.fields[index].name.clone()),
        location_flag: family.flags.location.map(|index| family.fields[index].name.clone()),
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
        kept_days: package.kept_days(field.purposes),
        expires: field.expires.map(|end| end.to_string()),
    }
}

fn of_recipient(recipient: &Recipient) -> RecipientNotice {
    let Recipient { key: _, name, role, receives, country, safeguard, source, about } = recipient;
    let given = *receives > Receives::Nothing;
    RecipientNotice {
        name: name.clone(),
        role: role.name(),
        receives: receives.name(),
        country: country.clone(),
        is_transfer: given && country.as_deref().is_some_and(|country| !eea::contains(country)),
        safeguard: safeguard.clone(),
        source: source.name(),
        about: about.clone(),
    }
}

fn of_hold(hold: &LegalHold) -> HoldNotice {
    let LegalHold { days_max, reasons, notice } = hold;
    HoldNotice { days_max: *days_max, reasons: reasons.clone(), notice: notice.clone() }
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
