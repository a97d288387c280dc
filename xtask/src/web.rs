//! What browsers load: types, budgets, what the binary embeds, and every test in Chromium against the binary.

use std::process::Command;

use crate::packages::{self, Need};
use crate::shell::{Outcome, built_binary, fail, output, repository, run};

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
    let wanted = "install Node 20 from 20.19 on, or 22.12 or newer, with npm, from nodejs.org if your system's own is \
                  another (Debian 12's is)";
    let said = output(Command::new("node").arg("--version"))
        .map_err(|why| format!("{why}\nThe tests of web/ run on Node: {wanted}."))?;
    if !version(&said).is_some_and(runs_vite) {
        return fail(format!("Node {} cannot build web/: {wanted}.", said.trim()));
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

/// As `engines` in Vite's `package.json` has it: `^20.19.0 || >=22.12.0`.
fn runs_vite((major, minor): (u32, u32)) -> bool {
    (major == 20 && minor >= 19) || (major, minor) >= (22, 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_vite_runs_on_is_asked_for() {
        for said in ["v20.19.4\n", "v20.20.0", "v22.12.0", "v22.13.1", "v23.0.0", "v24.1.0"] {
            assert!(version(said).is_some_and(runs_vite), "{said}");
        }
        for said in ["v18.20.8", "v20.9.0", "v20.18.3", "v21.7.3", "v22.0.0", "v22.11.0", "node"] {
            assert!(!version(said).is_some_and(runs_vite), "{said}");
        }
    }
}
