//! The search of every file written for every value that was sent.

use std::path::Path;

use crate::generate::{Personal, Planted};
use crate::scan::{Report, Scanner};

/// What was looked for, and what was found.
pub(super) struct Searched {
    /// Network addresses looked for.
    pub(super) addresses: usize,
    /// Serial numbers and visitor ids.
    pub(super) identifiers: usize,
    /// E-mail addresses, tokens and names where they did not belong.
    pub(super) strays: usize,
    /// What was searched, and what was found.
    pub(super) report: Report,
}

/// Searches everything below `folder`.
///
/// # Errors
///
/// If a file cannot be read or decoded.
pub(super) fn search(folder: &Path, personal: &Personal) -> anyhow::Result<Searched> {
    let needles = personal.iter().map(|(planted, value)| (kind(planted), value.to_owned()));
    let scanner = Scanner::new(needles)?;
    let mut report = Report::default();
    scanner.folder(folder, &mut report)?;
    Ok(Searched {
        addresses: personal.count(Planted::Address),
        identifiers: personal.count(Planted::Identifier),
        strays: personal.count(Planted::Stray),
        report,
    })
}

fn kind(planted: Planted) -> &'static str {
    match planted {
        Planted::Address => "address",
        Planted::Identifier => "identifier",
        Planted::Stray => "stray value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_file_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let mut personal = Personal::default();
        personal.plant(Planted::Address, "203.0.113.77");
        personal.plant(Planted::Identifier, "QX-2024-00000417");
        std::fs::write(folder.path().join("clean"), "nothing of that kind").unwrap();
        assert_eq!(search(folder.path(), &personal).unwrap().report.found, 0);
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        std::fs::write(folder.path().join("deep/leak"), "serial=qx-2024-00000417;").unwrap();
        let searched = search(folder.path(), &personal).unwrap();
        assert!(searched.report.found >= 1);
        assert_eq!((searched.addresses, searched.identifiers, searched.strays), (1, 1, 0));
    }
}
