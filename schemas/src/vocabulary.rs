//! The words of a package for legal grounds, categories and content.

use crate::model::{Basis, Category, Content};

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
    Category: 11 {
        "identifier" = Identifier, "usage" = Usage, "location" = Location, "device" = Device,
        "language" = Language, "name" = Name, "e-mail" = Email, "postal address" = PostalAddress,
        "health" = Health, "payment" = Payment, "credentials" = Credentials,
    }
    Content: 2 { "image" = Image, "dicom" = Dicom }
}
