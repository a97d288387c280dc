//! The long runs of what `tests/end_to_end/crash` does in short.

use crate::shell::{Outcome, cargo_command, fail, run as run_command};
use crate::steps::lint_own_crates;
use crate::{kafka, python};

/// One process, killed; what is counted is kills.
const KILLS: (&str, u64) = ("QUORATE_KILLS", 2_000);
const KILLS_TEST: &str = "crash::nothing_is_lost";
/// Many machines on Kafka and an object store; what is counted is faults.
const FAULTS: (&str, u64) = ("QUORATE_FAULTS", 500);
const FAULTS_TEST: &str = "crash::machines::nothing_is_lost";

const USAGE: &str =
    "usage: cargo xtask soak [--kills N] [--seed N], or --kafka [--faults N] [--seed N]";

/// Kills the service, or breaks machines, as often as asked, from the build that the tests use.
pub(crate) fn run(options: &[&str]) -> Outcome {
    let (is_kafka, options) = match options {
        ["--kafka", rest @ ..] => (true, rest),
        _ => (false, options),
    };
    let (test, (variable, default), counted) =
        if is_kafka { (FAULTS_TEST, FAULTS, "--faults") } else { (KILLS_TEST, KILLS, "--kills") };
    let (count, seed) = numbers(options, counted, default)?;
    if is_kafka {
        python::prepare()?;
        kafka::fetch()?;
    }
    let mut command = cargo_command(&["test", "--workspace", "--locked", "--test", "end_to_end"]);
    lint_own_crates(&mut command);
    command.args(["--", "--nocapture", test]);
    command.env(variable, count.to_string()).env("QUORATE_SEED", seed.to_string());
    run_command(&mut command)
}

/// How many, and the seed.
fn numbers(options: &[&str], counted: &str, default: u64) -> Outcome<(u64, u64)> {
    let (mut count, mut seed) = (default, 1);
    for pair in options.chunks(2) {
        let number = pair.get(1).and_then(|number| number.parse().ok());
        match (pair[0], number) {
            (option, Some(number)) if option == counted => count = number,
            ("--seed", Some(number)) => seed = number,
            _ => return fail(USAGE),
        }
    }
    Ok((count, seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_and_anything_else_is_refused() {
        let numbers = |options: &[&str]| numbers(options, "--faults", 500);
        assert_eq!(numbers(&[]).unwrap(), (500, 1));
        assert_eq!(numbers(&["--seed", "7", "--faults", "30"]).unwrap(), (30, 7));
        for wrong in [&["--kills", "30"][..], &["--faults"], &["--faults", "many"], &["x"]] {
            assert!(numbers(wrong).is_err(), "{wrong:?}");
        }
    }
}
