//! What the end-to-end tests share: a place with a running service in it, plain HTTP, the search, and random choices.

pub(crate) mod age;
pub(crate) mod deck;
pub(crate) mod http;
pub(crate) mod place;
pub(crate) mod search;

use std::process::{Command, Output};

/// The binary under test.
pub(crate) fn quorate() -> Command {
    Command::new(env!("CARGO_BIN_EXE_quorate"))
}

/// Runs a command that must succeed; its output otherwise says why not.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().expect("the program can be started");
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}

/// What a command that must succeed printed.
#[track_caller]
pub(crate) fn printed(command: &mut Command) -> String {
    String::from_utf8(succeed(command).stdout).expect("the program prints UTF-8")
}
