//! The project's own chores: `cargo xtask test`, `clauses`, `fuzz`, `soak`, `bench`, `python`, `kafka`, `advisories`.
//!
//! What CI runs is what a developer runs: `.ci/run` calls `cargo xtask test` and nothing else.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for people at a terminal")]

mod clauses;
mod dependencies;
mod documentation;
mod files;
mod firmware;
mod fuzz;
mod kafka;
mod packages;
mod python;
mod shell;
mod soak;
mod steps;
mod web;

use std::process::ExitCode;

use shell::{Outcome, cargo, fail, repository};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [STEP…]       every check, or only the named ones, in this order:
                       format        rustfmt changes nothing
                       files         nothing ignored or unfinished, nothing large, no path of a machine
                       edges         crates see each other as DESIGN draws it
                       clauses       each clause of a policy has its test or is open, and the table says so
                       features      the tests build what `cargo run` has built
                       licences      licences, bans and sources of all dependencies
                       python        readers of other languages, a Kafka client and an S3 API are at hand
                       kafka         Apache Kafka is at hand: its jars, and Java
                       build         everything compiles, with lints, warnings denied
                       tests         unit, property, pipeline and end-to-end tests, benches once
                       documentation doc tests, and the docs without a warning
                       firmware      the client for devices: two compilers, sanitizers, sizes, fuzzing, a bad network
                       web           tracker and dashboard: types, budgets, tests in Chromium; the whole way to the page
                       fuzz          every decoder, some seconds each
                     kafka, firmware and web install what they need and Debian has, if this is root or sudo asks for nothing
  clauses            writes the table of clauses, tests and results into schemas/README.md
  fuzz [TARGET…] [--minutes 60]
                     every decoder, or the named ones, for that long all together
  soak [--kills N] [--seed N]
                     the service killed at 2,000 seeded moments and compared with what its clients were told; fewer
                     kills of one seed are the first of more
  soak --kafka [--faults N] [--seed N]
                     500 seeded faults of brokers, nodes and wires that overlap, and the same comparison
  bench [OPTION…]    the pipeline against the reference program; `cargo xtask bench --help`
  python             makes target/python with what the tests use of Python
  kafka fetch        Apache Kafka below target/tools, from Maven Central
  kafka start [--brokers 1]|stop|status
                     brokers that go on when the command is over; their data is in target/kafka
  advisories         known vulnerabilities and yanked versions; needs the advisory database
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if documentation::is_called_by_cargo() {
        return documentation::main(&arguments);
    }
    if fuzz::is_called_by_cargo() {
        return fuzz::main(&arguments);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["test", only @ ..] => steps::run(only),
        ["clauses"] => clauses::write(),
        ["soak", options @ ..] => soak::run(options),
        ["fuzz", arguments @ ..] => fuzz::command(arguments),
        ["bench", options @ ..] => bench(options),
        ["python"] => python::prepare(),
        ["kafka", arguments @ ..] => kafka::command(arguments),
        ["advisories"] => dependencies::advisories(),
        _ => fail(USAGE),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the shipped binary and the harness as they ship, and measures.
fn bench(options: &[&str]) -> Outcome {
    cargo(&["build", "--release", "--package", "quorate", "--package", "benches", "--bins"])?;
    let mut harness = std::process::Command::new(repository().join("target/release/harness"));
    shell::run(harness.args(options).current_dir(repository()))
}
