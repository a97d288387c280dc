//! Fuzzing on the stable toolchain: libFuzzer, with coverage counted in those of our crates that decode.
//!
//! `cargo fuzz` sets `RUSTFLAGS`, which would build all dependencies once more and needs a nightly compiler for what it
//! puts there. Here this program takes the place of the compiler for the crates of the workspace, and adds LLVM's
//! coverage to them; every dependency is the one that `cargo run` has built.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};

use crate::shell::{Outcome, cargo_command, fail, repository, run};

/// Set when cargo calls this program in place of rustc.
const MARK: &str = "QUORATE_XTASK_AS_RUSTC";
/// Names the target to the program that runs it.
const TARGET: &str = "QUORATE_FUZZ_TARGET";
/// Counters of edges, a table of their places, and values of comparisons: what libFuzzer steers by.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// Crates that decode what comes from outside. The others' counters would only have to be looked through.
const COVERED: &[&str] = &["anonymizer", "fuzz", "ingest", "query", "schemas"];
/// Seconds for each target in `cargo xtask test`.
const CHECK_S: u64 = 15;
/// Minutes that `cargo xtask fuzz` takes, all targets together, if nothing else is said.
const MINUTES: u64 = 60;
/// Targets at once.
const AT_ONCE: usize = 2;
/// Most memory of one target, in MiB: the shipped tables take 150.
const MEMORY_MIB: u32 = 768;
/// Longest input, in bytes.
const INPUT_BYTES_MAX: u32 = 4096;
/// A single input that takes longer is a finding, in seconds; the first one makes keys and reads tables.
const INPUT_S: u32 = 60;

/// Whether cargo started this program in place of rustc.
pub(crate) fn is_called_by_cargo() -> bool {
    std::env::var_os(MARK).is_some()
}

/// In place of rustc: the first argument is its path.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let Some((rustc, arguments)) = arguments.split_first() else { return ExitCode::FAILURE };
    let mut command = Command::new(rustc);
    command.args(arguments);
    let mut named = arguments.iter().skip_while(|argument| *argument != "--crate-name").skip(1);
    if named.next().is_some_and(|name| COVERED.contains(&name.as_str())) {
        command.args(COVERAGE);
    }
    if run(&mut command).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `cargo xtask fuzz [TARGET…] [--minutes N]`.
pub(crate) fn command(arguments: &[&str]) -> Outcome {
    let (names, minutes) = match arguments {
        [names @ .., "--minutes", minutes] => match minutes.parse::<u64>() {
            Ok(minutes) if minutes > 0 => (names, minutes),
            _ => return fail("--minutes takes a whole number from 1 on"),
        },
        names => (names, MINUTES),
    };
    let known = targets()?;
    if let Some(unknown) = names.iter().find(|name| known.iter().all(|known| known != *name)) {
        return fail(format!("no target is called {unknown}; there are {}", known.join(", ")));
    }
    let chosen: Vec<String> = match names {
        [] => known,
        some => some.iter().map(|name| (*name).to_owned()).collect(),
    };
    let rounds = chosen.len().div_ceil(AT_ONCE) as u64;
    fuzz(&chosen, (minutes * 60 / rounds).max(1))
}

/// Every target for some seconds.
pub(crate) fn check() -> Outcome {
    fuzz(&targets()?, CHECK_S)
}

/// Names of targets: each has a folder of seeds.
fn targets() -> Outcome<Vec<String>> {
    let folder = repository().join("fuzz/corpus");
    let cannot = |error| format!("cannot read {}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(cannot)? {
        names.push(entry.map_err(cannot)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    if names.is_empty() { fail("fuzz/corpus has no target") } else { Ok(names) }
}

fn fuzz(targets: &[String], seconds: u64) -> Outcome {
    let program = build()?;
    let temporary = repository().join("target/fuzz/tmp");
    make(&temporary)?;
    let mut failed = Vec::new();
    for together in targets.chunks(AT_ONCE) {
        let started: Vec<_> = together
            .iter()
            .map(|target| (target, start(&program, target, seconds, &temporary)))
            .collect();
        for (target, child) in started {
            if let Err(why) = child.and_then(|child| finish(child, target)) {
                failed.push(why);
            }
        }
    }
    // Keys of the targets' own, worth nothing.
    drop(std::fs::remove_dir_all(&temporary));
    if failed.is_empty() { Ok(()) } else { fail(failed.join("\n")) }
}

/// Builds the program of all targets, with coverage.
fn build() -> Outcome<PathBuf> {
    let own = std::env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
    let mut command =
        cargo_command(&["build", "--locked", "--package", "fuzz", "--features", "engine"]);
    command.env("RUSTC_WORKSPACE_WRAPPER", own).env(MARK, "1");
    run(&mut command).map_err(|why| {
        format!(
            "{why}\nFuzzing needs a C++ compiler for libFuzzer (Debian: g++), and nothing else."
        )
    })?;
    Ok(repository().join("target/debug/fuzz"))
}

fn start(program: &Path, target: &str, seconds: u64, temporary: &Path) -> Outcome<Child> {
    let folder = |kind: &str| repository().join("fuzz").join(kind).join(target);
    let grown = repository().join("target/fuzz/corpus").join(target);
    let findings = repository().join("target/fuzz/findings").join(target);
    make(&grown)?;
    make(&findings)?;
    let log = std::fs::File::create(log(target)).map_err(|error| format!("cannot log: {error}"))?;
    let mut command = Command::new(program);
    command
        .env(TARGET, target)
        .env("TMPDIR", temporary)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY_MIB}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-timeout={INPUT_S}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(["-print_final_stats=1", "-use_value_profile=1"]);
    let words = repository().join("fuzz/dictionaries").join(target);
    if words.is_file() {
        command.arg(format!("-dict={}", words.display()));
    }
    // What is found goes to the first folder.
    command.arg(grown);
    command.args([folder("corpus"), folder("regressions")].into_iter().filter(|dir| dir.is_dir()));
    command.stderr(log).spawn().map_err(|error| format!("cannot run {target}: {error}"))
}

fn log(target: &str) -> PathBuf {
    repository().join("target/fuzz").join(format!("{target}.log"))
}

/// Waits for a target, and says how far it came.
fn finish(mut child: Child, target: &str) -> Outcome {
    let status = child.wait().map_err(|error| format!("lost {target}: {error}"))?;
    let said = std::fs::read(log(target)).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let executed =
        said.lines().rev().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    println!("{target:<12} {:>12} executions", executed.map_or("no", str::trim));
    if status.success() {
        return Ok(());
    }
    let end: Vec<&str> = said.lines().rev().take(60).collect();
    let end: Vec<&str> = end.into_iter().rev().collect();
    fail(format!(
        "{}\n{target} failed; its input is below target/fuzz/findings/{target}. Copy it to \
         fuzz/regressions/{target}/, where ordinary tests run it, and mend what it shows.",
        end.join("\n")
    ))
}

fn make(folder: &Path) -> Outcome {
    std::fs::create_dir_all(folder)
        .map_err(|error| format!("cannot make {}: {error}", folder.display()))
}
