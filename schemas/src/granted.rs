//! Granted purposes as rows name them: in the column [`crate::columns::PURPOSES`].

use crate::model::{Family, Package, PurposeSet};

/// Between two names.
const SEPARATOR: &str = ",";

impl Package {
    /// The names of these purposes, sorted, with commas between; nothing for none.
    #[must_use]
    pub fn purposes_text(&self, set: PurposeSet) -> String {
        let own = self.purposes.iter().enumerate().filter(|(index, _)| set.has(*index));
        let mut names = own.map(|(_, purpose)| purpose.name.as_str()).collect::<Vec<_>>();
        names.sort_unstable();
        names.join(SEPARATOR)
    }

    /// Reads what [`Package::purposes_text`] writes. Names that this package does not have are passed over: no field of
    /// it is kept for them.
    #[must_use]
    pub fn purposes_of(&self, text: &str) -> PurposeSet {
        let known = text.split(SEPARATOR).filter_map(|name| self.purpose(name));
        known.fold(PurposeSet::default(), |set, (index, _)| set.with(index))
    }
}

impl Family {
    /// Every purpose for which anything of an event of this family is kept.
    #[must_use]
    pub fn all_purposes(&self) -> PurposeSet {
        let fields = self.fields.iter().map(|field| field.purposes.0);
        PurposeSet(fields.fold(self.purposes.0, |all, own| all | own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_survive() {
        let files = vec![
            (
                "policy.toml".to_owned(),
                "controller = \"C\"\nversion = \"1\"\n\
                 [purposes.website]\nbasis = \"consent\"\nsource = \"text\"\nnotice = \"n\"\n\
                 [purposes.improve]\nbasis = \"consent\"\nsource = \"text\"\nnotice = \"n\"\n"
                    .to_owned(),
            ),
            (
                "web.toml".to_owned(),
                "family = \"web\"\ncontributor = { from = \"visit\" }\npurposes = [\"website\"]\n\
                 [fields]\npage = { type = [\"a\"], is = \"usage\", about = \"a page\" }\n"
                    .to_owned(),
            ),
        ];
        let package = Package::from_files(files).expect("a sound package");
        let set = |names: &[&str]| {
            names.iter().fold(PurposeSet::default(), |set, name| {
                set.with(package.purpose(name).expect("declared").0)
            })
        };
        let both = set(&["website", "improve"]);
        assert_eq!(package.purposes_text(both), "improve,website");
        assert_eq!(package.purposes_text(PurposeSet::default()), "");
        assert_eq!(package.purposes_of("improve,website"), both);
        assert_eq!(package.purposes_of("website,gone"), set(&["website"]));
        assert_eq!(package.purposes_of(""), PurposeSet::default());
        assert_eq!(package.families[0].all_purposes(), set(&["website"]));
    }
}
