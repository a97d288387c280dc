//! The European Economic Area: the Union's member states, and Iceland, Liechtenstein and Norway (EEA agreement, annex on
//! Regulation (EU) 2016/679).

/// The word for it in packages.
pub const NAME: &str = "EEA";

/// ISO 3166-1 alpha-2 codes, in order.
pub const COUNTRIES: [&str; 30] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS",
    "IT", "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// Whether a country, by its code in capitals, is in it.
#[must_use]
pub fn contains(country: &str) -> bool {
    COUNTRIES.binary_search(&country).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_leaves_out_neighbours() {
        assert!(COUNTRIES.is_sorted());
        for inside in ["DK", "NO", "LI", "AT"] {
            assert!(contains(inside), "{inside}");
        }
        for outside in ["GB", "CH", "US", "dk", "EU", ""] {
            assert!(!contains(outside), "{outside}");
        }
    }
}
