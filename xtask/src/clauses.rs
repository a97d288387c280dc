//! Clauses of published policies: what each asks for, which test shows that it is kept, and what came of the test.
//!
//! `schemas/clauses.toml` holds the clauses in our own words. A clause has one end-to-end test that is named after it,
//! `ci_2_…` for `ci_2`, or says why it is open. `schemas/README.md` holds the table that is made of both.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::shell::{Outcome, fail, repository};

const DECLARED: &str = "schemas/clauses.toml";
const TESTS: &str = "tests/end_to_end/clauses";
const PAGE: &str = "schemas/README.md";
const BEGIN: &str = "<!-- made by `cargo xtask clauses` of clauses.toml and the tests -->\n";
const END: &str = "<!-- end -->\n";
/// How libtest names the tests of the folder.
const MODULE: &str = "test clauses::";

/// A policy, and its clauses in order.
struct Policy {
    name: String,
    title: String,
    clauses: Vec<Clause>,
}

/// One clause.
#[derive(Default)]
struct Clause {
    id: String,
    /// What the published text says.
    asks: String,
    /// What the pipeline does about it.
    does: String,
    /// Why it is not kept, if it is not.
    open: Option<String>,
}

/// Writes the table.
pub(crate) fn write() -> Outcome {
    let (page, made) = page()?;
    if page == made {
        return Ok(());
    }
    std::fs::write(repository().join(PAGE), made)
        .map_err(|error| format!("cannot write {PAGE}: {error}"))
}

/// Checks that each clause has its test or is open, and that the table is in line.
pub(crate) fn check() -> Outcome {
    let (page, made) = page()?;
    if page != made {
        return fail(format!("{PAGE} is not what `cargo xtask clauses` makes: run it"));
    }
    let policies = declared()?;
    let clauses = policies.iter().flat_map(|policy| &policy.clauses);
    let open = clauses.clone().filter(|clause| clause.open.is_some()).count();
    println!("{} clauses, {open} open", clauses.count());
    Ok(())
}

/// Checks that the test of each clause ran and passed; `lines` are what libtest printed.
pub(crate) fn check_results(lines: &[String]) -> Outcome {
    judge(&declared()?, &tests()?, lines)
}

fn judge(policies: &[Policy], tests: &BTreeMap<String, String>, lines: &[String]) -> Outcome {
    let passed = |test: &str| {
        let mut of_it = lines.iter().filter(|line| {
            let rest = line.strip_prefix(MODULE).and_then(|rest| rest.split_once("::"));
            rest.is_some_and(|(_, rest)| {
                rest.strip_prefix(test).is_some_and(|rest| rest.starts_with(" ..."))
            })
        });
        of_it.next().is_some_and(|line| line.trim_end().ends_with("... ok"))
            && of_it.next().is_none()
    };
    let kept = policies.iter().flat_map(|policy| &policy.clauses);
    let kept = kept.filter(|clause| clause.open.is_none());
    let missing: Vec<&str> = kept
        .filter(|clause| !tests.get(&clause.id).is_some_and(|test| passed(test)))
        .map(|clause| clause.id.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    fail(format!("said to be kept, but its test did not run once and pass: {}", missing.join(", ")))
}

/// The page as it is, and as it should be.
fn page() -> Outcome<(String, String)> {
    let page = read(PAGE)?;
    let around = page.split_once(BEGIN).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(END)?;
        Some((head, tail))
    });
    let Some((head, tail)) = around else {
        return fail(format!("{PAGE} has no place for the table, between {BEGIN} and {END}"));
    };
    let table = table(&declared()?, &tests()?)?;
    let made = format!("{head}{BEGIN}{table}{END}{tail}");
    Ok((page, made))
}

fn read(name: &str) -> Outcome<String> {
    std::fs::read_to_string(repository().join(name))
        .map_err(|error| format!("cannot read {name}: {error}"))
}

fn declared() -> Outcome<Vec<Policy>> {
    parse(&read(DECLARED)?)
}

/// Reads the part of TOML that the file uses: `[policy]`, `[policy.clause]` and `key = "text"`.
fn parse(text: &str) -> Outcome<Vec<Policy>> {
    let mut policies: Vec<Policy> = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        let wrong = |what: &str| fail(format!("{DECLARED}:{number}: {what}"));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            match (name.split_once('.'), policies.last_mut()) {
                (None, _) => policies.push(Policy {
                    name: name.to_owned(),
                    title: String::new(),
                    clauses: Vec::new(),
                }),
                (Some((policy, id)), Some(last)) if last.name == policy => {
                    last.clauses.push(Clause { id: id.to_owned(), ..Clause::default() });
                }
                _ => return wrong("a clause stands under its policy"),
            }
            continue;
        }
        let Some((key, value)) = line.split_once(" = ") else {
            return wrong("neither `[..]` nor `key = \"text\"`");
        };
        let Some(value) = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) else {
            return wrong("a value is a text in quotes");
        };
        let Some(policy) = policies.last_mut() else { return wrong("no policy yet") };
        let value = value.replace("\\\"", "\"");
        match (policy.clauses.last_mut(), key.trim_end()) {
            (None, "title") => policy.title = value,
            (Some(clause), "asks") => clause.asks = value,
            (Some(clause), "does") => clause.does = value,
            (Some(clause), "open") => clause.open = Some(value),
            (_, key) => return wrong(&format!("unknown key `{key}`")),
        }
    }
    Ok(policies)
}

/// Names of the tests by clause.
fn tests() -> Outcome<BTreeMap<String, String>> {
    let folder = repository().join(TESTS);
    let listed =
        std::fs::read_dir(&folder).map_err(|error| format!("cannot list {TESTS}: {error}"))?;
    let mut texts = Vec::new();
    for entry in listed {
        let path = entry.map_err(|error| format!("cannot list {TESTS}: {error}"))?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path);
            texts.push(text.map_err(|error| format!("cannot read {}: {error}", path.display()))?);
        }
    }
    named(&texts)
}

/// Functions behind `#[test]`, by the clause that their names begin with.
fn named(texts: &[String]) -> Outcome<BTreeMap<String, String>> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for text in texts {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[test]") {
            let Some(name) = pair[1].strip_prefix("fn ").and_then(|rest| rest.split('(').next())
            else {
                continue;
            };
            let mut words = name.splitn(3, '_');
            let (Some(policy), Some(number)) = (words.next(), words.next()) else { continue };
            let id = format!("{policy}_{number}");
            if let Some(other) = found.insert(id, name.to_owned()) {
                return fail(format!("two tests of one clause: {other} and {name}"));
            }
        }
    }
    Ok(found)
}

fn table(policies: &[Policy], tests: &BTreeMap<String, String>) -> Outcome<String> {
    let mut text = String::new();
    let mut wrong = Vec::new();
    let mut known = Vec::new();
    for Policy { name, title, clauses } in policies {
        text.push_str(&format!("\n## {title}: [`{name}`]({name}/README.md)\n\n"));
        text.push_str("| clause | the text | what is done | test | result |\n");
        text.push_str("| --- | --- | --- | --- | --- |\n");
        for Clause { id, asks, does, open } in clauses {
            known.push(id);
            let test = tests.get(id);
            let shown = test.map_or(String::new(), |test| format!("`{test}`"));
            let result = match (test, open) {
                (Some(_), None) => "kept",
                (_, Some(why)) => &format!("open: {why}"),
                (None, None) => {
                    wrong.push(format!("{id} has no test, and does not say why it is open"));
                    ""
                }
            };
            let row = [id, asks, does, &shown, result].map(|cell| cell.replace('|', "\\|"));
            writeln!(text, "| {} |", row.join(" | ")).expect("a String can be written to");
        }
    }
    text.push('\n');
    let stray = tests.iter().filter(|(id, _)| !known.contains(id));
    wrong.extend(stray.map(|(_, test)| format!("{test} is the test of no clause")));
    if wrong.is_empty() { Ok(text) } else { fail(wrong.join("\n")) }
}

#[cfg(test)]
mod tests_of_clauses {
    use super::*;

    const TEXT: &str = "# c\n[acme]\ntitle = \"Acme\"\n\n[acme.ac_1]\nasks = \"a \\\"b\\\"\"\ndoes = \"d\"\n\
                        [acme.ac_2]\nasks = \"e\"\ndoes = \"f\"\nopen = \"later\"\n";

    fn found(text: &str) -> BTreeMap<String, String> {
        named(&[text.to_owned()]).unwrap()
    }

    fn lines(result: &str) -> Vec<String> {
        vec!["running 3 tests".to_owned(), format!("test clauses::acme::ac_1_is_kept ... {result}")]
    }

    #[test]
    fn a_clause_has_its_test_or_is_open() {
        let policies = parse(TEXT).unwrap();
        let tests = found("#[test]\nfn ac_1_is_kept() {}\nfn ac_2_helper() {}\n");
        let table = table(&policies, &tests).unwrap();
        assert!(table.contains("| ac_1 | a \"b\" | d | `ac_1_is_kept` | kept |"), "{table}");
        assert!(table.contains("| ac_2 | e | f |  | open: later |"), "{table}");
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        let policies = parse(TEXT).unwrap();
        assert!(table(&policies, &found("")).unwrap_err().contains("ac_1 has no test"));
        let more = found("#[test]\nfn ac_1_a() {}\n#[test]\nfn ac_3_b() {}\n");
        assert!(table(&policies, &more).unwrap_err().contains("ac_3_b is the test of no clause"));
        let twice = "#[test]\nfn ac_1_a() {}\n#[test]\nfn ac_1_b() {}\n".to_owned();
        assert!(named(&[twice]).unwrap_err().contains("two tests"));
        assert!(parse("[acme]\nwhat = \"x\"").is_err() && parse("[a.b]").is_err());
    }

    #[test]
    fn a_test_that_did_not_run_or_failed_keeps_nothing() {
        let policies = parse(TEXT).unwrap();
        let tests = found("#[test]\nfn ac_1_is_kept() {}\n");
        assert!(judge(&policies, &tests, &lines("ok")).is_ok());
        for result in ["FAILED", "ignored"] {
            assert!(judge(&policies, &tests, &lines(result)).unwrap_err().contains("ac_1"));
        }
        assert!(judge(&policies, &tests, &[]).is_err());
        assert!(
            judge(&policies, &tests, &["test clauses::acme::ac_1_is ... ok".to_owned()]).is_err()
        );
    }
}
