//! The long run of what `tests/end_to_end/crash` does in short.

use crate::shell::{Outcome, cargo_command, fail, run as run_command};
use crate::steps::lint_own_crates;

const KILLS: u64 = 2_000;
const TEST: &str = "crash::nothing_is_lost";

/// Kills the service as often as asked, from the build that the tests use.
pub(crate) fn run(options: &[&str]) -> Outcome {
    let (mut kills, mut seed) = (KILLS, 1);
    for pair in options.chunks(2) {
        let number = pair.get(1).and_then(|number| number.parse().ok());
        match (pair[0], number) {
            ("--kills", Some(number)) => kills = number,
            ("--seed", Some(number)) => seed = number,
            _ => return fail("usage: cargo xtask soak [--kills N] [--seed N]"),
        }
    }
    let mut command = cargo_command(&["test", "--workspace", "--locked", "--test", "end_to_end"]);
    lint_own_crates(&mut command);
    command.args(["--", "--nocapture", TEST]);
    command.env("QUORATE_KILLS", kills.to_string()).env("QUORATE_SEED", seed.to_string());
    run_command(&mut command)
}
