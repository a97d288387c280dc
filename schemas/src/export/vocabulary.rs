//! What our words are called in the W3C Data Privacy Vocabulary (DPV 2.3, of 2026-02-28) and in Fides' taxonomy
//! (fideslang 3.1).

use crate::model::{Basis, Category, ContributorSource, Family, Field, Source, Transform};

/// One thing in both vocabularies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) dpv: &'static str,
    pub(super) fides: &'static str,
}

const fn term(dpv: &'static str, fides: &'static str) -> Term {
    Term { dpv, fides }
}

/// The address of whoever is connected, of which the country and the visit are made.
pub(super) const ADDRESS: Term = term("pd:IPAddress", "user.device.ip_address");

/// Whether the address of whoever is connected is read for the purpose of that index.
pub(super) fn reads_address(family: &Family, index: usize) -> bool {
    let visit = family.contributor.source == ContributorSource::Visit;
    let mut made = family.fields.iter().filter(|field| field.source == Source::Address);
    (visit && family.purposes.has(index)) || made.any(|field| field.purposes.has(index))
}

const USER_AGENT: Term = term("pd:UserAgent", "user.device");
const IDENTIFIER: Term = term("pd:UID", "user.unique_id.pseudonymous");
const REFERRAL: Term = term("pd:BrowsingReferral", "user.behavior");
const LINK: Term = term("pd:LinkClicked", "user.behavior");
const PAGE: Term = term("pd:BrowserHistory", "user.behavior.browsing_history");

/// What is left of a field: by what is made of it, else by what it is about.
pub(super) fn of_field(family: &Family, field: &Field) -> Term {
    match &field.transform {
        Transform::Country => term("pd:Country", "user.location.imprecise"),
        Transform::Pseudonym => IDENTIFIER,
        Transform::Browser => USER_AGENT,
        Transform::Os => term("pd:DeviceOperatingSystem", "user.device"),
        Transform::DeviceClass => term("pd:DeviceBased", "user.device"),
        Transform::Language => term("pd:Language", "user.demographic.language"),
        Transform::Path(_) => PAGE,
        Transform::Utm(_) => REFERRAL,
        Transform::Domain => of_host(field),
        Transform::Keep | Transform::Drop | Transform::Truncate(_) | Transform::Bucket(_) => {
            of_category(family, field.category)
        }
    }
}

/// The host of the page itself, of the page before it, or of the page behind a link.
fn of_host(field: &Field) -> Term {
    match field.source {
        Source::Field(_) => PAGE,
        Source::Body if field.name.starts_with("refer") => REFERRAL,
        Source::Body | Source::Address | Source::UserAgent | Source::AcceptLanguage => LINK,
    }
}

fn of_category(family: &Family, category: Category) -> Term {
    match (category, family.contributor.source) {
        (Category::Usage | Category::Experiment, ContributorSource::Visit) => {
            term("pd:ServiceConsumptionBehaviour", "user.behavior")
        }
        (Category::Usage | Category::Experiment, ContributorSource::Field(_)) => {
            term("pd:ServiceConsumptionBehaviour", "user.telemetry")
        }
        (category, _) => of_word(category),
    }
}

/// A category by itself, as it is refused.
pub(super) fn of_word(category: Category) -> Term {
    match category {
        Category::Identifier => IDENTIFIER,
        Category::Usage | Category::Experiment => {
            term("pd:ServiceConsumptionBehaviour", "user.behavior")
        }
        Category::Location => term("pd:Location", "user.location"),
        Category::Device => term("pd:DeviceBased", "user.device"),
        Category::Language => term("pd:Language", "user.demographic.language"),
        Category::Age => term("pd:Age", "user.demographic.age_range"),
        Category::Name => term("pd:Name", "user.name"),
        Category::Email => term("pd:EmailAddress", "user.contact.email"),
        Category::PostalAddress => term("pd:PhysicalAddress", "user.contact.address"),
        Category::Telephone => term("pd:TelephoneNumber", "user.contact.phone_number"),
        Category::BirthDate => term("pd:BirthDate", "user.demographic.date_of_birth"),
        Category::Health => term("pd:Health", "user.health_and_medical"),
        Category::Scan => term("pd:HealthRecord", "user.health_and_medical"),
        Category::Payment => term("pd:PaymentCard", "user.payment"),
        Category::Credentials => term("pd:Authenticating", "user.authorization.credentials"),
        Category::Support => term("pd:Communication", "user.content.private"),
        Category::FileName => term("pd:Identifying", "user.content.private"),
    }
}

/// The legal ground: of DPV, of its GDPR extension, and of Fides.
pub(super) fn of_basis(basis: Basis) -> [&'static str; 3] {
    match basis {
        Basis::Consent => ["dpv:Consent", "eu-gdpr:A6-1-a", "Consent"],
        Basis::Contract => ["dpv:ContractPerformance", "eu-gdpr:A6-1-b", "Contract"],
        Basis::LegalObligation => ["dpv:LegalObligation", "eu-gdpr:A6-1-c", "Legal obligations"],
        Basis::VitalInterests => ["dpv:VitalInterest", "eu-gdpr:A6-1-d", "Vital interests"],
        Basis::PublicInterest => ["dpv:PublicInterest", "eu-gdpr:A6-1-e", "Public interest"],
        Basis::LegitimateInterest => {
            ["dpv:LegitimateInterestOfController", "eu-gdpr:A6-1-f", "Legitimate interests"]
        }
    }
}

/// The use in Fides of a purpose, by its term in DPV.
pub(super) fn fides_use(dpv: Option<&str>, basis: Basis) -> &'static str {
    match dpv.unwrap_or_default() {
        "ImproveExistingProductsAndServices"
        | "ServiceOptimisation"
        | "OptimisationForConsumer"
        | "OptimisationForController"
        | "OptimiseUserInterface"
        | "ResearchAndDevelopment" => "functional.service.improve",
        "EnforceSecurity" | "EnforceAccessControl" | "IncreaseServiceRobustness" => {
            "essential.service.security"
        }
        "MisusePreventionAndDetection" | "FraudPreventionAndDetection" => {
            "essential.fraud_detection"
        }
        "LegalCompliance" | "FulfilmentOfObligation" => "essential.legal_obligation",
        "ServiceProvision" | "RequestedServiceProvision" | "ServiceManagement" => {
            "essential.service"
        }
        "TechnicalServiceProvision" | "ServiceMonitoring" => "essential.service.operations",
        _ if basis == Basis::LegalObligation => "essential.legal_obligation",
        _ => "analytics.reporting",
    }
}
