//! What `policy.toml` says: why anything is collected, on what grounds, who is given it, and what is never taken.

/// A reason to collect, and its legal ground.
#[derive(Clone, Debug)]
pub struct Purpose {
    /// The name by which fields and consent refer to it.
    pub name: String,
    /// What makes it lawful.
    pub basis: Basis,
    /// Whether the published text names the basis.
    pub source: Stated,
    /// How many days after the day of its event a value that rests on this purpose alone is kept; none: as long as its
    /// row. At least [`Purpose::KEEP_DAYS_MIN`].
    pub keep_days: Option<u32>,
    /// Whether the published text names that period.
    pub keep_source: Stated,
    /// Versions of the text to which a grant may refer; empty: any, or none.
    pub consent_versions: Vec<String>,
    /// For how many days a grant stands since its time; none: without end.
    pub consent_days: Option<u32>,
    /// Purposes of the IAB Europe Transparency and Consent Framework (1 to 11) that must all be consented to; empty: TC
    /// strings say nothing about this purpose.
    pub tcf: Vec<u8>,
    /// The type of Google's consent mode that speaks for this purpose.
    pub google: Option<GoogleConsent>,
    /// Its term in the W3C Data Privacy Vocabulary, if declared.
    pub dpv: Option<String>,
    /// What visitors are told.
    pub notice: String,
}

impl Purpose {
    /// Sealed frames live up to 96 hours, whatever is in them.
    pub const KEEP_DAYS_MIN: u32 = 4;
}

/// Whether a published text says something, or we assume it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stated {
    /// The text says so.
    Text,
    /// The text is silent; this is our reading.
    #[default]
    Assumed,
}

/// A type of Google's consent mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoogleConsent {
    /// `analytics_storage`.
    AnalyticsStorage,
    /// `ad_storage`.
    AdStorage,
    /// `ad_user_data`.
    AdUserData,
    /// `ad_personalization`.
    AdPersonalization,
    /// `functionality_storage`.
    FunctionalityStorage,
    /// `personalization_storage`.
    PersonalizationStorage,
    /// `security_storage`.
    SecurityStorage,
}

/// Which signals of browsers count as objections. What is not honoured is still counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Honoured {
    /// `Sec-GPC: 1`.
    pub gpc: bool,
    /// `DNT: 1`.
    pub dnt: bool,
}

impl Default for Honoured {
    fn default() -> Self {
        Self { gpc: true, dnt: true }
    }
}

/// Who is given something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Its key in the package.
    pub key: String,
    /// Who it is, by name or by kind.
    pub name: String,
    /// On whose behalf it acts.
    pub role: Role,
    /// What it is given.
    pub receives: Receives,
    /// Where, as an ISO 3166-1 alpha-2 code.
    pub country: Option<String>,
    /// What protects a transfer out of the EEA.
    pub safeguard: Option<String>,
    /// Whether the published text names it.
    pub source: Stated,
    /// What it does: one phrase.
    pub about: String,
}

/// On whose behalf a recipient acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// On the controller's, by contract (GDPR article 28).
    Processor,
    /// On its own.
    ThirdParty,
    /// Anybody.
    Public,
}

/// What a recipient is given, from nothing to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Receives {
    /// Nothing of what this pipeline holds.
    Nothing,
    /// Statistics that may be published.
    Publishable,
    /// Statistics for staff.
    Statistics,
    /// Rows and sealed frames, as a host of the machines.
    Rows,
}

/// What legal holds are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegalHold {
    /// Longest, in days.
    pub days_max: u32,
    /// Words for why.
    pub reasons: Vec<String>,
    /// What people are told.
    pub notice: String,
}

/// Legal ground, GDPR article 6(1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// (a): needs a grant.
    Consent,
    /// (b).
    Contract,
    /// (c).
    LegalObligation,
    /// (d).
    VitalInterests,
    /// (e): may be objected to.
    PublicInterest,
    /// (f): stands unless objected to.
    LegitimateInterest,
}

/// A set of purposes: bit `i` stands for `Package::purposes[i]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurposeSet(pub u32);

impl PurposeSet {
    /// Whether the two have a purpose in common.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether purpose `index` is in the set.
    #[must_use]
    pub fn has(self, index: usize) -> bool {
        index < 32 && self.0 & (1 << index) != 0
    }

    /// The set with purpose `index` in it.
    #[must_use]
    pub fn with(self, index: usize) -> Self {
        Self(self.0 | 1_u32.checked_shl(u32::try_from(index).unwrap_or(32)).unwrap_or(0))
    }
}

/// The longest of their periods; none if one of them has none, or the set is empty.
pub(crate) fn kept_days(all: &[Purpose], purposes: PurposeSet) -> Option<u32> {
    let own = all.iter().enumerate().filter(|(index, _)| purposes.has(*index));
    own.map(|(_, purpose)| purpose.keep_days)
        .try_fold(0, |most, days| Some(days?.max(most)))
        .filter(|days| *days > 0)
}

/// What cannot be declared, and is dropped or refused when it is sent.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    /// Words of the vocabulary: `name`, `e-mail`, `postal address`, `health`, `payment`, `credentials`, …
    pub categories: Vec<Category>,
    /// Content that no text field may hold: `image`, `dicom`.
    pub content: Vec<Content>,
}

/// What a field is about, in plain words; exports translate to DPV and Fides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Distinguishes one person or device directly.
    Identifier,
    /// What was done with the product.
    Usage,
    /// Where.
    Location,
    /// What it was done with: browser, system, version.
    Device,
    /// A person's language.
    Language,
    /// Which version of a page or a function was shown.
    Experiment,
    /// Whether somebody is a child; read at the door, never kept.
    Age,
    /// `name`.
    Name,
    /// `e-mail`.
    Email,
    /// `postal address`.
    PostalAddress,
    /// `health`.
    Health,
    /// `payment`.
    Payment,
    /// `credentials`.
    Credentials,
    /// `telephone number`.
    Telephone,
    /// `date of birth`.
    BirthDate,
    /// `scan`: pictures of people or of parts of them.
    Scan,
    /// `support request`.
    Support,
    /// `file name`: names that customers give to files and models.
    FileName,
}

/// Content that is recognised by its first bytes, raw or in base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// PNG, JPEG, GIF, WebP, TIFF, BMP.
    Image,
    /// DICOM part 10.
    Dicom,
    /// A long run of base64, whatever is in it.
    Base64,
}
