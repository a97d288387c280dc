//! What depends on what: edges between our crates, features, and what comes from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use crate::shell::{Outcome, cargo, cargo_output, fail, repository, run};

/// Which of our crates each of them uses. Another edge is a design change: its own commit, and a line
/// in ARCHITECTURE.md.
const EDGES: &[(&str, &[&str])] = &[
    ("schemas", &[]),
    ("storage", &[]),
    ("anonymizer", &["schemas"]),
    ("transport", &["anonymizer", "storage"]),
    ("ingest", &["anonymizer", "schemas", "transport", "web"]),
    ("sink", &["anonymizer", "schemas", "storage"]),
    ("disclosure", &["schemas", "storage"]),
    ("query", &["disclosure", "schemas", "storage", "web"]),
    (
        "quorate",
        &["anonymizer", "disclosure", "ingest", "query", "schemas", "sink", "storage", "transport"],
    ),
    ("benches", &["anonymizer", "ingest", "schemas", "sink", "transport"]),
    ("fuzz", &["anonymizer", "ingest", "query", "quorate", "schemas"]),
    ("web", &[]),
    ("cluster", &[]),
    ("xtask", &["cluster"]),
];

/// What tests of any crate may use: the parts that they start.
const FOR_TESTS: &str = "cluster";

/// The checker of licences, bans and sources; `deny.toml` has the rules.
const CARGO_DENY: &str = "0.20.2";

type Edges = BTreeMap<String, BTreeSet<String>>;

/// Our crates see each other as listed. Tests may also use what their crate reaches anyway, and what is made for tests.
pub(crate) fn edges() -> Outcome {
    let mut broken = Vec::new();
    let (built, tested) = (direct("normal,build")?, direct("normal,build,dev")?);
    for member in tested.keys().filter(|member| EDGES.iter().all(|(known, _)| known != member)) {
        broken.push(format!("{member} is not in the list of crates"));
    }
    for &(member, listed) in EDGES {
        let Some(found) = built.get(member) else {
            broken.push(format!("{member} is listed, and is no crate of the workspace"));
            continue;
        };
        let listed: BTreeSet<String> = listed.iter().map(|name| (*name).to_owned()).collect();
        for other in found.difference(&listed) {
            broken.push(format!("{member} must not depend on {other}"));
        }
        for other in listed.difference(found) {
            broken.push(format!("{member} no longer depends on {other}: take it off the list"));
        }
        let mut allowed = &reach(member) | found;
        allowed.insert(FOR_TESTS.to_owned());
        for other in tested[member].difference(&allowed) {
            broken.push(format!("tests of {member} must not depend on {other}"));
        }
    }
    println!("{} crates", built.len());
    if broken.is_empty() { Ok(()) } else { fail(broken.join("\n")) }
}

/// Everything that `member` may use by the list, directly or through others.
fn reach(member: &str) -> BTreeSet<String> {
    let listed = EDGES.iter().find(|(known, _)| *known == member);
    let direct = listed.map_or(&[][..], |(_, others)| others);
    let further = direct.iter().flat_map(|other| reach(other));
    direct.iter().map(|other| (*other).to_owned()).chain(further).collect()
}

/// For each of our crates, which others it depends on directly.
fn direct(kinds: &str) -> Outcome<Edges> {
    let listed = cargo_output(&[
        "tree",
        "--workspace",
        "--locked",
        "--depth",
        "1",
        "--prefix",
        "depth",
        "--no-dedupe",
        "--edges",
        kinds,
        "--format",
        " {p}",
    ])?;
    parse_direct(&listed)
}

/// Reads lines of `0 sink v0.1.0 (…/sink)`, each followed by what it depends on, at depth 1.
fn parse_direct(listed: &str) -> Outcome<Edges> {
    let mut edges = Edges::new();
    let mut member = None;
    // Ours are those with a path; all others come from a registry.
    for line in listed.lines().filter(|line| line.ends_with(')') && line.contains(" (/")) {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), &member) {
            (Some("0"), Some(name), _) => {
                edges.entry(name.to_owned()).or_default();
                member = Some(name.to_owned());
            }
            (Some("1"), Some(name), Some(member)) => {
                edges.entry(member.clone()).or_default().insert(name.to_owned());
            }
            _ => return fail(format!("cargo tree printed an unknown line: {line}")),
        }
    }
    Ok(edges)
}

/// The tests build every dependency with the features that `cargo run` builds it with; else the
/// second command compiles hundreds of crates again.
pub(crate) fn features() -> Outcome {
    let tree = |scope: &[&str]| -> Outcome<BTreeSet<String>> {
        let common = ["tree", "--locked", "--prefix", "none", "--format", "{p} {f}"];
        let printed = cargo_output(&[&common, scope].concat())?;
        // A crate that was printed before is marked.
        Ok(printed.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect())
    };
    let run = tree(&["--package", "quorate", "--edges", "normal,build"])?;
    let test = tree(&["--workspace", "--edges", "normal,build,dev"])?;
    let changed: Vec<&str> = run.difference(&test).map(String::as_str).collect();
    println!("{} builds of crates for `cargo run`, {} for the tests", run.len(), test.len());
    if changed.is_empty() {
        return Ok(());
    }
    fail(format!(
        "built once more for the tests, with other features (name the same ones in the workspace's \
         dependencies):\n{}",
        changed.join("\n")
    ))
}

/// Licences, banned crates, doubled versions and sources, by `cargo deny` with `deny.toml`.
pub(crate) fn licences() -> Outcome {
    run(&mut deny(&["--locked", "check", "bans", "licenses", "sources"])?)?;
    println!("advisories and yanked versions: cargo xtask advisories (needs their database)");
    Ok(())
}

/// Known vulnerabilities and yanked versions, from a database that is fetched.
pub(crate) fn advisories() -> Outcome {
    run(&mut deny(&["check", "advisories"])?)
        .map_err(|why| format!("{why}\nThe advisory database lies on GitHub; is it within reach?"))
}

/// `cargo deny` of the wanted version, built below `target/tools` if it is not there: without
/// optimisation that takes less than a minute and a half of one core.
fn deny(arguments: &[&str]) -> Outcome<Command> {
    let root = repository().join("target/tools");
    let program: PathBuf = root.join("bin/cargo-deny");
    let mark = root.join(format!("cargo-deny-{CARGO_DENY}"));
    if !(program.is_file() && mark.is_file()) {
        let (root, build) = (root.display().to_string(), root.join("build").display().to_string());
        cargo(&[
            "install",
            "cargo-deny",
            "--version",
            CARGO_DENY,
            "--locked",
            "--debug",
            "--force",
            "--config",
            "profile.dev.debug=0",
            "--root",
            &root,
            "--target-dir",
            &build,
        ])
        .map_err(|why| format!("{why}\nCould not get cargo-deny: is crates.io within reach?"))?;
        std::fs::write(&mark, "").map_err(|error| format!("cannot write {root}: {error}"))?;
        std::fs::remove_dir_all(build).map_err(|error| format!("cannot clean {root}: {error}"))?;
    }
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository());
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edges_are_read_and_crates_from_elsewhere_left_out() {
        let listed = "0 sink v0.1.0 (/x/sink)\n1 anonymizer v0.1.0 (/x/anonymizer)\n1 arrow v59.3.2\n\n\
                      0 schemas v0.1.0 (/x/schemas)\n1 serde v1.0.1 (proc-macro)\n";
        let edges = parse_direct(listed).unwrap();
        assert_eq!(edges["sink"].iter().collect::<Vec<_>>(), ["anonymizer"]);
        assert!(edges["schemas"].is_empty());
        assert_eq!(edges.len(), 2);
    }

    #[test]
    fn the_list_has_no_circle_and_names_only_what_it_lists() {
        for (member, others) in EDGES {
            assert!(!reach(member).contains(*member));
            assert!(others.iter().all(|other| EDGES.iter().any(|(known, _)| known == other)));
        }
    }
}
