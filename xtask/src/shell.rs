//! Running other programs, from the root of the repository.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What is left to say when something went wrong.
pub(crate) type Outcome<T = ()> = Result<T, String>;

/// An error of these words.
pub(crate) fn fail<T>(why: impl Into<String>) -> Outcome<T> {
    Err(why.into())
}

/// The root of the repository.
pub(crate) fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("this crate lies in a folder of the repository").to_owned()
}

/// The service as the step `build` leaves it.
pub(crate) fn built_binary() -> Outcome<PathBuf> {
    let binary = repository().join("target/debug/quorate");
    if binary.is_file() {
        return Ok(binary);
    }
    fail(
        "target/debug/quorate is not there; make it with `cargo xtask test build`, or `cargo build`",
    )
}

/// Runs `command` with its output on the terminal.
pub(crate) fn run(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => fail(format!("{} failed: {status}", name(command))),
        Err(error) => fail(format!("cannot run {}: {error}", name(command))),
    }
}

/// Runs `command` with its output on the terminal, and shows each line of it to `watch`, too.
pub(crate) fn run_watched(command: &mut Command, mut watch: impl FnMut(&str)) -> Outcome {
    let failed = |error: std::io::Error, command: &Command| {
        fail(format!("cannot run {}: {error}", name(command)))
    };
    let mut child = match command.stdout(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => return failed(error, command),
    };
    let output = child.stdout.take().expect("asked for");
    for line in BufReader::new(output).split(b'\n') {
        // A test may print what is no text.
        match line {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                watch(&line);
            }
            Err(error) => return failed(error, command),
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => fail(format!("{} failed: {status}", name(command))),
        Err(error) => failed(error, command),
    }
}

/// Runs `command` and returns what it printed; its errors go to the terminal.
pub(crate) fn output(command: &mut Command) -> Outcome<String> {
    let done = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", name(command)))?;
    if !done.status.success() {
        return fail(format!("{} failed: {}", name(command), done.status));
    }
    String::from_utf8(done.stdout).map_err(|_| format!("{} printed no text", name(command)))
}

/// Cargo, as this program was started by it, at the root of the repository.
///
/// What cargo told this program about itself is taken away: a build script that asks for its own name and version
/// (ring's does) would seem to have changed, and half of the dependencies would be built a second time.
pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(repository());
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| told.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs cargo with these arguments.
pub(crate) fn cargo(arguments: &[&str]) -> Outcome {
    run(&mut cargo_command(arguments))
}

/// Runs cargo with these arguments and returns what it printed.
pub(crate) fn cargo_output(arguments: &[&str]) -> Outcome<String> {
    output(&mut cargo_command(arguments))
}

/// `cargo test`, as it was typed, without the folder of the program.
fn name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_not_told_what_it_told_us() {
        // Cargo runs tests with these, too.
        for name in ["CARGO_PKG_NAME", "CARGO_PKG_VERSION_MAJOR", "CARGO_MANIFEST_DIR"] {
            assert!(std::env::var_os(name).is_some(), "{name}");
            let command = cargo_command(&[]);
            assert!(command.get_envs().any(|removed| removed == (name.as_ref(), None)), "{name}");
        }
    }
}
