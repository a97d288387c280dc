//! The words of a package for legal grounds, categories, content, recipients and signals.

use crate::model::{Basis, Category, Content, GoogleConsent, Receives, Role, Stated};

macro_rules! words {
    ($($type:ident: $count:literal { $($word:literal = $variant:ident),* $(,)? })*) => {$(
        impl $type {
            /// Every word that a package may use, with what it stands for.
            pub const WORDS: [(&'static str, Self); $count] = [$(($word, Self::$variant)),*];

            /// The word in packages, notices and exports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    )*};
}

words! {
    Basis: 6 {
        "consent" = Consent, "contract" = Contract, "legal obligation" = LegalObligation,
        "vital interests" = VitalInterests, "public interest" = PublicInterest,
        "legitimate interest" = LegitimateInterest,
    }
    Stated: 2 { "text" = Text, "assumed" = Assumed }
    Category: 18 {
        "identifier" = Identifier, "usage" = Usage, "location" = Location, "device" = Device,
        "language" = Language, "experiment" = Experiment, "age" = Age, "name" = Name, "e-mail" = Email,
        "postal address" = PostalAddress, "telephone number" = Telephone, "date of birth" = BirthDate,
        "health" = Health, "scan" = Scan, "payment" = Payment, "credentials" = Credentials,
        "support request" = Support, "file name" = FileName,
    }
    Content: 3 { "image" = Image, "dicom" = Dicom, "base64" = Base64 }
    Role: 3 { "processor" = Processor, "third party" = ThirdParty, "public" = Public }
    Receives: 4 {
        "rows" = Rows, "statistics" = Statistics, "publishable statistics" = Publishable, "nothing" = Nothing,
    }
    GoogleConsent: 7 {
        "analytics_storage" = AnalyticsStorage, "ad_storage" = AdStorage, "ad_user_data" = AdUserData,
        "ad_personalization" = AdPersonalization, "functionality_storage" = FunctionalityStorage,
        "personalization_storage" = PersonalizationStorage, "security_storage" = SecurityStorage,
    }
}
