//! The checks, in order, cheapest first.
//!
//! A step that fails does not stop the ones that do not need it, so that one run shows everything that
//! is broken; the summary at the end names each with its seconds.

use std::process::Command;
use std::time::Instant;

use crate::shell::{self, Outcome, cargo, cargo_command, fail, run as run_command};
use crate::{clauses, dependencies, documentation, files, firmware, fuzz, kafka, python, web};

struct Step {
    name: &'static str,
    /// Steps without which this one cannot mean anything.
    needs: &'static [&'static str],
    check: fn() -> Outcome,
}

const STEPS: &[Step] = &[
    Step { name: "format", needs: &[], check: || cargo(&["fmt", "--all", "--check"]) },
    Step { name: "files", needs: &[], check: files::check },
    Step { name: "edges", needs: &[], check: dependencies::edges },
    Step { name: "clauses", needs: &[], check: clauses::check },
    Step { name: "features", needs: &[], check: dependencies::features },
    Step { name: "licences", needs: &[], check: dependencies::licences },
    Step { name: "python", needs: &[], check: python::prepare },
    Step { name: "kafka", needs: &[], check: kafka::fetch },
    Step { name: "build", needs: &[], check: || run_command(&mut with_lints(&["--no-run"])) },
    Step { name: "tests", needs: &["build", "kafka", "python"], check: tests },
    Step { name: "documentation", needs: &["build"], check: documentation::check },
    Step { name: "firmware", needs: &["build", "python"], check: firmware::check },
    Step { name: "web", needs: &["build"], check: web::check },
    Step { name: "fuzz", needs: &["build"], check: fuzz::check },
];

/// Runs the named steps, or all.
pub(crate) fn run(only: &[&str]) -> Outcome {
    if let Some(unknown) = only.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        let names: Vec<&str> = STEPS.iter().map(|step| step.name).collect();
        return fail(format!("no step is called {unknown}; there are {}", names.join(", ")));
    }
    let mut done: Vec<(&str, f64, Outcome)> = Vec::new();
    for step in STEPS.iter().filter(|step| only.is_empty() || only.contains(&step.name)) {
        println!("\n==> {}", step.name);
        let begun = Instant::now();
        let missing = step.needs.iter().find(|needed| {
            done.iter().any(|(name, _, outcome)| name == *needed && outcome.is_err())
        });
        let outcome = match missing {
            Some(needed) => fail(format!("not run: it needs {needed}")),
            None => (step.check)(),
        };
        if let Err(why) = &outcome {
            println!("{why}");
        }
        done.push((step.name, begun.elapsed().as_secs_f64(), outcome));
    }
    summary(&done)
}

fn summary(done: &[(&str, f64, Outcome)]) -> Outcome {
    println!();
    for (name, seconds, outcome) in done {
        println!("{name:<14} {seconds:>8.1} s  {}", if outcome.is_ok() { "ok" } else { "FAILED" });
    }
    let seconds: f64 = done.iter().map(|(_, seconds, _)| seconds).sum();
    let failed: Vec<&str> =
        done.iter().filter(|(_, _, outcome)| outcome.is_err()).map(|(name, _, _)| *name).collect();
    println!("{:<14} {seconds:>8.1} s", "together");
    println!("steps: {} passed, {} failed", done.len() - failed.len(), failed.len());
    if failed.is_empty() { Ok(()) } else { fail(format!("failed: {}", failed.join(", "))) }
}

/// Everything that `cargo test` runs but the doc tests, from the build with lints. Benches run once
/// each, which shows that they work and measures nothing. What libtest says of clauses is kept: a table that says
/// `kept` of one whose test did not run would be a promise that nobody looked at.
fn tests() -> Outcome {
    let mut results = Vec::new();
    shell::run_watched(&mut with_lints(&["--no-fail-fast"]), |line| {
        if line.starts_with("test clauses::") {
            results.push(line.to_owned());
        }
    })?;
    clauses::check_results(&results)
}

/// `cargo test` of everything but doc tests, with lints.
fn with_lints(arguments: &[&str]) -> Command {
    let mut command = cargo_command(&["test", "--workspace", "--all-targets", "--locked"]);
    lint_own_crates(&mut command);
    command.args(arguments);
    command
}

/// Lets clippy compile our own crates, warnings denied.
///
/// `cargo clippy` would only check, and everything would have to be compiled once more for the tests.
/// Dependencies are not touched by the wrapper, so those of `cargo run` are used as they are.
pub(crate) fn lint_own_crates(cargo: &mut Command) {
    cargo
        .env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver")
        // The form in which `cargo clippy -- -D warnings` hands its arguments on.
        .env("CLIPPY_ARGS", "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__");
}
