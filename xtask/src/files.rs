//! Rules that hold for every file of the repository, whatever is in it.

use std::path::Path;
use std::process::Command;

use crate::shell::{Outcome, fail, output, repository};

/// Largest file; what is larger belongs into a package that a build downloads.
const BYTES_MAX: u64 = 4 << 20;

/// Longest source file, in lines.
const LINES_MAX: usize = 800;

/// What no source may hold. Cut in two, so that this file keeps its own rules.
const FORBIDDEN: &[(&str, &str)] = &[
    (concat!("#[ig", "nore"), "a test that is not run"),
    (concat!("TO", "DO"), "an unfinished thought; finish it, or file an issue"),
    (concat!("FIX", "ME"), "an unfinished thought; finish it, or file an issue"),
    (concat!("to", "do!("), "code that is not there"),
    (concat!("unimpl", "emented!("), "code that is not there"),
];

/// Beginnings of paths that exist on somebody's machine only.
const MACHINE_PATHS: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/")];

/// Checks every file that is, or could be, committed.
pub(crate) fn check() -> Outcome {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = output(git.current_dir(repository()))?;
    let mut broken = Vec::new();
    let mut files = 0;
    for name in listed.lines() {
        let path = repository().join(name);
        // Listed, and removed but not yet staged.
        if path.is_file() {
            files += 1;
            check_file(name, &path, &mut broken)?;
        }
    }
    if files == 0 {
        return fail("git lists no file: run this inside the repository");
    }
    println!("{files} files");
    if broken.is_empty() { Ok(()) } else { fail(broken.join("\n")) }
}

fn check_file(name: &str, path: &Path, broken: &mut Vec<String>) -> Outcome {
    let content = std::fs::read(path).map_err(|error| format!("cannot read {name}: {error}"))?;
    if content.len() as u64 > BYTES_MAX {
        broken.push(format!("{name}: {} bytes, at most {BYTES_MAX}", content.len()));
    }
    if let Ok(text) = std::str::from_utf8(&content) {
        check_text(name, text, broken);
    }
    Ok(())
}

fn check_text(name: &str, text: &str, broken: &mut Vec<String>) {
    if name.ends_with(".rs") && text.lines().count() > LINES_MAX {
        broken.push(format!("{name}: more than {LINES_MAX} lines; a second idea moved in"));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if name.ends_with(".rs") {
            for (word, meaning) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
                broken.push(format!("{name}:{number}: {word}: {meaning}"));
            }
        }
        for path in MACHINE_PATHS.iter().filter(|path| starts_a_path(line, path)) {
            broken.push(format!("{name}:{number}: {path}…: a path of one machine"));
        }
    }
}

/// Whether `path` stands in `line` as the beginning of a path, and not within one (`docs/work/`) or
/// within a URL.
fn starts_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && !"_.-*~/}>".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(name: &str, text: &str) -> usize {
        let mut broken = Vec::new();
        check_text(name, text, &mut broken);
        broken.len()
    }

    #[test]
    fn each_rule_is_enforced() {
        for (word, _) in FORBIDDEN {
            assert_eq!(broken("a.rs", &format!("fn a() {{}} // {word}")), 1, "{word}");
        }
        for path in MACHINE_PATHS {
            assert_eq!(broken("a.md", &format!("see `{path}somebody/file`")), 1, "{path}");
        }
        assert_eq!(broken("a.rs", &"\n".repeat(LINES_MAX + 1)), 1);
    }

    #[test]
    fn what_only_looks_like_a_broken_rule_passes() {
        assert_eq!(broken("a.md", concat!("the word TO", "DO in prose")), 0);
        assert_eq!(broken("a.rs", concat!("\"https://example.org/ho", "me/x\"")), 0);
        assert_eq!(broken("a.rs", concat!("docs/wo", "rk/x")), 0);
        assert_eq!(broken("a.rs", &"\n".repeat(LINES_MAX)), 0);
    }

    #[test]
    fn a_large_file_is_found() {
        let path = std::env::temp_dir().join(format!("xtask-large-{}", std::process::id()));
        let mut broken = Vec::new();
        std::fs::write(&path, vec![0; usize::try_from(BYTES_MAX).unwrap() + 1]).unwrap();
        check_file("large", &path, &mut broken).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(broken.len(), 1);
    }
}
