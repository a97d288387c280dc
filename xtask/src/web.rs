//! What browsers load: types, budgets, what the binary embeds, and every test in Chromium against the binary.

use std::process::Command;

use crate::packages::{self, Need};
use crate::shell::{Outcome, built_binary, fail, output, repository, run};

/// Oldest Node that Vite runs on.
const NODE: (u32, u32) = (20, 19);

const CHROMIUM: Need<'_> = Need {
    names: &["chromium", "chromium-browser", "google-chrome"],
    variable: Some("CHROMIUM"),
    // Without a font a page has no words, and nothing on it can be read or measured.
    packages: &["chromium", "fonts-dejavu-core"],
    works: packages::always,
};
/// Examples in C are compiled.
const CC: Need<'_> = Need {
    names: &["cc"],
    variable: None,
    packages: &["gcc", "libc6-dev"],
    works: packages::always,
};
/// What the page tells people to type, typed.
const CURL: Need<'_> =
    Need { names: &["curl"], variable: None, packages: &["curl"], works: packages::always };
const MAKE: Need<'_> =
    Need { names: &["make"], variable: None, packages: &["make"], works: packages::always };

/// Installs, checks, builds and tests `web/`.
pub(crate) fn check() -> Outcome {
    let binary = built_binary()?;
    node()?;
    let found = packages::provide(&[&CHROMIUM, &CURL, &CC, &MAKE])?;
    let chromium = found.first().expect("as many are found as are needed");
    let npm = |arguments: &[&str]| {
        let mut npm = Command::new("npm");
        npm.args(arguments).current_dir(repository().join("web"));
        npm.env("CHROMIUM", chromium).env("QUORATE", &binary);
        run(&mut npm)
    };
    npm(&["ci", "--no-audit", "--no-fund"]).map_err(|why| {
        format!("{why}\nCould not get the packages of web/: is npm's registry within reach?")
    })?;
    for script in ["check", "build", "embed:check", "test"] {
        npm(&["run", script])?;
    }
    Ok(())
}

fn node() -> Outcome {
    let wanted = format!(
        "install Node {}.{} or newer with npm, from nodejs.org if your system's own is older (Debian 12's is)",
        NODE.0, NODE.1
    );
    let said = output(Command::new("node").arg("--version"))
        .map_err(|why| format!("{why}\nThe tests of web/ run on Node: {wanted}."))?;
    if version(&said).is_none_or(|found| found < NODE) {
        return fail(format!("Node {} is too old to build web/: {wanted}.", said.trim()));
    }
    output(Command::new("npm").arg("--version"))
        .map(drop)
        .map_err(|why| format!("{why}\nThe packages of web/ come with npm: {wanted}."))
}

/// Major and minor of `v20.19.4`.
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.trim().trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("v20.19.4\n"), Some((20, 19)));
        assert!(version("v20.9.0").unwrap() < NODE);
        assert!(version("v22.1.0").unwrap() > NODE);
        assert_eq!(version("node"), None);
    }
}
