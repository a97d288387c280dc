//! Doc tests, and the documentation itself, in one pass.
//!
//! `cargo doc` would check all dependencies once more, for minutes. `cargo test --doc` hands rustdoc
//! what is already built; so this program takes rustdoc's place there, and calls the real one twice:
//! once for the pages, warnings denied, and once for the tests.

use std::process::{Command, ExitCode};

use crate::shell::{Outcome, cargo_command, repository, run};
use crate::steps::lint_own_crates;

/// Set when cargo calls this program in place of rustdoc.
const MARK: &str = "QUORATE_XTASK_AS_RUSTDOC";

/// Arguments that belong to doc tests, with how many values follow each.
const TEST_ARGUMENTS: &[(&str, usize)] =
    &[("--test", 0), ("--test-run-directory", 1), ("--test-args", 1), ("--no-run", 0)];

/// Whether cargo started this program in place of rustdoc.
pub(crate) fn is_called_by_cargo() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs the doc tests and makes the pages, below `target/doc`.
pub(crate) fn check() -> Outcome {
    let own = std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
    let mut command =
        cargo_command(&["test", "--workspace", "--doc", "--locked", "--no-fail-fast"]);
    lint_own_crates(&mut command);
    run(command.env("RUSTDOC", own).env(MARK, "1"))
}

/// In place of rustdoc.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let mut calls = vec![arguments.to_vec()];
    if arguments.iter().any(|argument| argument == "--test") {
        calls.insert(0, pages(arguments));
    }
    for call in calls {
        // What went wrong is on the terminal already; the command line would hide it.
        if run(Command::new("rustdoc").args(call)).is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// The arguments that make pages of what these arguments would test.
fn pages(arguments: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match TEST_ARGUMENTS.iter().find(|(name, _)| name == argument) {
            Some(&(_, values)) => {
                rest.by_ref().take(values).for_each(|_| ());
            }
            None => kept.push(argument.clone()),
        }
    }
    let pages = repository().join("target/doc").display().to_string();
    kept.extend(["--deny", "warnings", "--out-dir", &pages].map(str::to_owned));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_tests_are_left_out_and_warnings_denied() {
        let given = ["--crate-name", "sink", "--test", "lib.rs", "--test-run-directory", "here"];
        let pages = pages(&given.map(str::to_owned));
        assert_eq!(pages[..3], ["--crate-name", "sink", "lib.rs"]);
        assert_eq!(pages[3..5], ["--deny", "warnings"]);
    }
}
