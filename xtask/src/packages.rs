//! Programs that Debian packages: found where they are, and installed where that can be done without asking anybody.
//!
//! What is there is taken as it is. What is missing is installed with `apt-get`, all at once, if this is root or `sudo` asks
//! for no password; anywhere else the error says which program is missing, and what would bring it.

use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::shell::{Outcome, fail, run};

/// Says little, waits for another installation that is under way (seconds), and tries a mirror again.
const OPTIONS: [&str; 7] =
    ["-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];

/// A program that a step cannot do without.
pub(crate) struct Need<'a> {
    /// What it may be called; the first is what the error calls it.
    pub(crate) names: &'a [&'a str],
    /// Environment variable that says where it is, and goes before everything else.
    pub(crate) variable: Option<&'static str>,
    /// Debian packages that bring it, with what it needs beside it.
    pub(crate) packages: &'a [&'a str],
    /// Whether the program that was found can do what it is for: a compiler may lack its libraries.
    pub(crate) works: fn(&Path) -> bool,
}

/// For programs that need nothing beside them.
pub(crate) fn always(_: &Path) -> bool {
    true
}

/// Paths of the programs, in the order of `needs`; what is missing is installed first.
pub(crate) fn provide(needs: &[&Need<'_>]) -> Outcome<Vec<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    Machine { path, variable: |name| std::env::var_os(name) }.provide(needs)
}

/// Where programs are looked for.
struct Machine {
    path: OsString,
    variable: fn(&str) -> Option<OsString>,
}

impl Machine {
    fn provide(&self, needs: &[&Need<'_>]) -> Outcome<Vec<PathBuf>> {
        let mut missing = Vec::new();
        for need in needs {
            if self.find(need)?.is_none() {
                missing.push(*need);
            }
        }
        if !missing.is_empty() {
            self.install(&missing)?;
        }
        needs.iter().map(|need| self.found(need)).collect()
    }

    /// After what was missing has been installed.
    fn found(&self, need: &Need<'_>) -> Outcome<PathBuf> {
        let [name, ..] = need.names else { return fail("a program without a name") };
        self.find(need)?.ok_or_else(|| {
            format!("{} installed, and {name} still does not work", need.packages.join(" "))
        })
    }

    fn find(&self, need: &Need<'_>) -> Outcome<Option<PathBuf>> {
        let named = need.variable.and_then(|name| Some((name, (self.variable)(name)?)));
        if let Some((name, place)) = named {
            let place = PathBuf::from(place);
            // Somebody chose it: another one in its place would be a surprise.
            if !is_program(&place) {
                return fail(format!("{name} names {}, which is no program", place.display()));
            }
            return Ok(Some(place));
        }
        let found = need.names.iter().filter_map(|name| search(name, &self.path));
        Ok(found.into_iter().find(|place| (need.works)(place)))
    }

    fn install(&self, missing: &[&Need<'_>]) -> Outcome {
        let mut packages: Vec<&str> =
            missing.iter().flat_map(|need| need.packages).copied().collect();
        packages.sort_unstable();
        packages.dedup();
        let programs: Vec<&str> =
            missing.iter().filter_map(|need| need.names.first()).copied().collect();
        let (programs, wanted) = (programs.join(", "), packages.join(" "));
        let Some(apt) = self.apt() else {
            return fail(format!(
                "missing: {programs}. Install Debian's packages {wanted}, or what your system calls them: \
                 `sudo apt-get install --no-install-recommends {wanted}`"
            ));
        };
        println!("missing: {programs}; installing {wanted}");
        let why = |why| format!("{why}\nMissing: {programs}; could not install {wanted}.");
        run(command(&apt, &self.path).args(OPTIONS).arg("update")).map_err(why)?;
        run(command(&apt, &self.path)
            .args(OPTIONS)
            .args(["install", "--yes", "--no-install-recommends"])
            .args(&packages)
            // A line for each of hundreds of files; what goes wrong is told elsewhere.
            .stdout(Stdio::null()))
        .map_err(why)?;
        println!("installed: {wanted}");
        Ok(())
    }

    /// The words with which packages are installed, if there is `apt-get` and it needs nobody.
    fn apt(&self) -> Option<Vec<OsString>> {
        let apt = search("apt-get", &self.path)?;
        // Asks nothing, also where sudo would pass no environment on.
        let quiet = "DEBIAN_FRONTEND=noninteractive";
        let apt = ["env".into(), quiet.into(), apt.into_os_string()];
        let id = Command::new(search("id", &self.path)?).arg("-u").output().ok()?;
        if id.stdout.trim_ascii() == b"0" {
            return Some(apt.into());
        }
        let sudo = [search("sudo", &self.path)?.into_os_string(), "-n".into()];
        let mut may = command(&sudo, &self.path);
        let may = may.arg("true").stdout(Stdio::null()).stderr(Stdio::null()).status();
        may.is_ok_and(|status| status.success()).then(|| sudo.into_iter().chain(apt).collect())
    }
}

fn command(words: &[OsString], path: &OsStr) -> Command {
    let (program, arguments) = words.split_first().expect("every caller names a program");
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", path);
    command
}

/// The first program of this name in the folders of `path`.
fn search(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|place| is_program(place))
}

fn is_program(place: &Path) -> bool {
    place.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests;
