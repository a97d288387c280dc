//! Every target over its seeds, and over every input that once was a finding. Without an engine, in seconds.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::path::{Path, PathBuf};

use fuzz::{TARGETS, Target, target};

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind)
}

/// Names in a folder; nothing if there is none.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

fn run(kind: &str, target: Target) -> usize {
    let folder = folder(kind).join(target.name);
    let names = names(&folder);
    for name in &names {
        let input = std::fs::read(folder.join(name)).unwrap();
        let outcome = std::panic::catch_unwind(|| (target.run)(&input));
        assert!(outcome.is_ok(), "{kind}/{}/{name}", target.name);
    }
    names.len()
}

#[test]
fn every_target_takes_its_seeds() {
    for target in TARGETS {
        assert!(run("corpus", *target) > 0, "{} has no seed", target.name);
    }
}

#[test]
fn what_was_found_once_stays_mended() {
    TARGETS.iter().for_each(|target| {
        run("regressions", *target);
    });
}

#[test]
fn every_folder_is_of_a_target() {
    for kind in ["corpus", "regressions", "dictionaries"] {
        for name in names(&folder(kind)) {
            assert!(target(&name).is_some(), "{kind}/{name} is of no target");
        }
    }
}

#[test]
fn targets_take_nothing_and_noise() {
    for target in TARGETS {
        (target.run)(b"");
        for byte in 0..=255 {
            (target.run)(&[byte; 64]);
        }
    }
}
