//! Whatever a package file holds, loading ends with a package or with diagnostics inside the file.

use proptest::prelude::*;
use schemas::Package;

/// Pieces that mean something somewhere.
const PIECES: [&str; 28] = [
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    "=",
    ",",
    "\n",
    ".",
    "#",
    "0",
    "-1",
    "1e400",
    "nan",
    "true",
    "æ",
    "\u{0}",
    "\"string(64)\"",
    "\"ms\"",
    "range = [0, 1]",
    "type",
    "from",
    "transform",
    "{ bucket = 0 }",
    "[[]]",
    "9223372036854775807",
    "\"7 days\"",
];

fn files() -> Vec<(String, String)> {
    schemas::DEFAULT_FILES.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec()
}

/// A package with every word in it.
fn language() -> Vec<(String, String)> {
    [
        ("policy.toml", include_str!("language/policy.toml")),
        ("visits.toml", include_str!("language/visits.toml")),
        ("statistics.toml", include_str!("language/statistics.toml")),
    ]
    .map(|(name, text)| (name.to_owned(), text.to_owned()))
    .to_vec()
}

/// Puts pieces in the place of some letters.
fn change(text: &mut String, changes: &[(prop::sample::Index, usize, usize)]) {
    for (at, removed, piece) in changes {
        let mut letters: Vec<char> = text.chars().collect();
        let start = at.index(letters.len() + 1);
        let end = (start + removed).min(letters.len());
        letters.splice(start..end, PIECES[*piece].chars());
        *text = letters.into_iter().collect();
    }
}

fn check(files: Vec<(String, String)>) -> Result<(), TestCaseError> {
    let texts = files.clone();
    let Err(found) = Package::from_files(files) else { return Ok(()) };
    prop_assert!(!found.is_empty());
    for one in found {
        let (_, text) =
            texts.iter().find(|(name, _)| *name == one.file).expect("a file of the package");
        prop_assert!(one.line >= 1 && one.line <= text.split('\n').count(), "{one}");
        let line = text.split('\n').nth(one.line - 1).expect("checked above");
        prop_assert!(one.column >= 1 && one.column <= line.chars().count() + 1, "{one}");
        prop_assert!(!one.message.is_empty() && !one.instead.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_package_never_panics(
        file in 0..4_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..60_usize, 0..PIECES.len()), 1..6),
    ) {
        let mut files = files();
        change(&mut files[file].1, &changes);
        check(files)?;
    }

    #[test]
    fn a_change_to_the_whole_language_never_panics(
        file in 0..3_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..60_usize, 0..PIECES.len()), 1..6),
    ) {
        let mut files = language();
        change(&mut files[file].1, &changes);
        check(files)?;
    }

    #[test]
    fn swapped_lines_never_panic(file in 0..4_usize, from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>()) {
        let mut files = files();
        let mut lines: Vec<&str> = files[file].1.lines().collect();
        let (from, to) = (from.index(lines.len()), to.index(lines.len()));
        lines.swap(from, to);
        files[file].1 = lines.join("\n");
        check(files)?;
    }

    #[test]
    fn noise_never_panics(text in "\\PC{0,200}", pattern in "\\PC{0,40}") {
        let mut files = files();
        files[1].1 = text;
        let line = format!("\nextra = {{ type = \"string(32)\", pattern = {pattern:?}, is = \"usage\", about = \"x\" }}\n");
        files[2].1.push_str(&line);
        check(files)?;
    }
}
