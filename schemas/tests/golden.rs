//! Every mistake that a package can hold, against the exact words in which it is reported.
//!
//! `golden/NAME.toml` holds the files of one package, each behind a line `#> file.toml`; what is missing of
//! `policy.toml`, a family and `statistics.toml` is taken from `golden/base`. `golden/NAME.txt` holds the diagnostics.
//! With `GOLDEN=write` in the environment of `cargo test`, they are written instead of compared; read the difference.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use schemas::Package;

const BASE: [(&str, &str); 3] = [
    ("policy.toml", include_str!("golden/base/policy.toml")),
    ("usage.toml", include_str!("golden/base/usage.toml")),
    ("statistics.toml", include_str!("golden/base/statistics.toml")),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The files of one case over the base.
fn files(case: &str) -> Vec<(String, String)> {
    let mut files: BTreeMap<String, String> =
        BASE.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    for part in case.split("#> ").skip(1) {
        let (name, text) = part.split_once('\n').expect("a case names its files");
        files.insert(name.to_owned(), text.to_owned());
    }
    files.into_iter().collect()
}

fn reported(case: &str) -> String {
    match Package::from_files(files(case)) {
        Ok(_) => "nothing\n".to_owned(),
        Err(found) => found.iter().map(|one| format!("{one}\n")).collect(),
    }
}

/// Lines of both texts that the other does not have.
fn difference(expected: &str, found: &str) -> String {
    let mut text = String::new();
    for line in expected.lines().filter(|line| !found.lines().any(|other| other == *line)) {
        text += &format!("- {line}\n");
    }
    for line in found.lines().filter(|line| !expected.lines().any(|other| other == *line)) {
        text += &format!("+ {line}\n");
    }
    text
}

#[test]
fn the_base_has_no_mistake() {
    assert_eq!(reported(""), "nothing\n");
}

#[test]
fn each_mistake_is_reported_in_its_words() {
    let write = std::env::vars().any(|(name, value)| name == "GOLDEN" && value == "write");
    let mut cases = 0;
    let mut differences = String::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        cases += 1;
        let found = reported(&std::fs::read_to_string(&path).unwrap());
        let golden = path.with_extension("txt");
        if write {
            std::fs::write(&golden, &found).unwrap();
            continue;
        }
        let expected = std::fs::read_to_string(&golden).unwrap_or_default();
        if found != expected {
            let name = path.file_stem().unwrap().display();
            writeln!(differences, "{name}:\n{}", difference(&expected, &found)).unwrap();
        }
    }
    assert!(cases > 20, "only {cases} cases were found");
    assert!(differences.is_empty(), "\n{differences}");
}
