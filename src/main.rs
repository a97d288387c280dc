//! `quorate`: one binary for the whole way from an event to a statistic.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate::cli::main()
}
