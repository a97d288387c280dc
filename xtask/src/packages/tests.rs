//! A machine of shell scripts: one folder is its PATH, and its `apt-get` puts programs there.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::*;

const BROWSER: Need<'_> = Need {
    names: &["browser", "browser-by-another-name"],
    variable: Some("BROWSER_PLACE"),
    packages: &["browser", "fonts"],
    works: always,
};
const COMPILER: Need<'_> =
    Need { names: &["compiler"], variable: None, packages: &["compiler", "fonts"], works: answers };

fn answers(program: &Path) -> bool {
    Command::new(program).status().is_ok_and(|status| status.success())
}

/// Writing a script while another test starts one would let that one hold it open.
static SCRIPTS: Mutex<()> = Mutex::new(());

struct Fake {
    folder: PathBuf,
    machine: Machine,
    _alone: MutexGuard<'static, ()>,
}

impl Fake {
    /// `user`: what `id -u` says.
    fn new(name: &str, user: &str) -> Self {
        let alone = SCRIPTS.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let machine = Machine { path: folder.clone().into(), variable: |_| None };
        let fake = Self { folder, machine, _alone: alone };
        fake.program("id", &format!("echo {user}"));
        fake.program("env", "shift; exec \"$@\"");
        fake
    }

    fn program(&self, name: &str, script: &str) {
        let place = self.folder.join(name);
        fs::write(&place, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// An `apt-get` that notes what it is told, and brings these.
    fn apt(&self, brings: &[&str]) {
        let folder = self.folder.display();
        let copies: Vec<_> =
            brings.iter().map(|name| format!("/bin/cp {folder}/id {folder}/{name}")).collect();
        let install = copies.join("; ");
        let note = format!("echo \"$@\" >> {folder}/told");
        self.program("apt-get", &format!("{note}\ncase \"$*\" in *install*) {install} ;; esac"));
    }

    fn told(&self) -> Vec<String> {
        let told = fs::read_to_string(self.folder.join("told")).unwrap_or_default();
        let options = OPTIONS.join(" ");
        told.lines().map(|line| line.replace(&options, "").trim().to_owned()).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

#[test]
fn what_is_there_is_taken_and_nothing_is_installed() {
    let fake = Fake::new("there", "0");
    fake.apt(&["browser"]);
    fake.program("browser-by-another-name", "");
    fake.program("compiler", "");
    let found = fake.machine.provide(&[&BROWSER, &COMPILER]).unwrap();
    assert_eq!(found, ["browser-by-another-name", "compiler"].map(|name| fake.folder.join(name)));
    assert_eq!(fake.told(), Vec::<String>::new());
}

#[test]
fn all_that_is_missing_is_installed_at_once() {
    let fake = Fake::new("root", "0");
    fake.apt(&["browser", "compiler"]);
    let found = fake.machine.provide(&[&BROWSER, &COMPILER]).unwrap();
    assert_eq!(found, ["browser", "compiler"].map(|name| fake.folder.join(name)));
    let install = "install --yes --no-install-recommends browser compiler fonts";
    assert_eq!(fake.told(), ["update", install]);
}

#[test]
fn only_what_is_missing_is_installed() {
    let fake = Fake::new("half", "0");
    fake.apt(&["compiler"]);
    fake.program("browser", "");
    // It is there, and cannot do what it is for.
    fake.program("compiler", "exit 1");
    fake.machine.provide(&[&BROWSER, &COMPILER]).unwrap();
    assert_eq!(fake.told(), ["update", "install --yes --no-install-recommends compiler fonts"]);
}

#[test]
fn a_python_without_pip_gets_it() {
    let fake = Fake::new("python", "0");
    fake.apt(&["python3"]);
    fake.program("python3", "[ \"$*\" != '-c import ensurepip' ]");
    fake.machine.provide(&[&crate::python::PYTHON]).unwrap();
    assert_eq!(fake.told(), ["update", "install --yes --no-install-recommends python3-venv"]);
}

#[test]
fn sudo_is_used_if_it_asks_for_no_password() {
    let fake = Fake::new("sudo", "1000");
    fake.apt(&["browser"]);
    fake.program("sudo", "[ \"$1\" = -n ] || exit 1; shift; [ \"$1\" = true ] || exec \"$@\"");
    fake.machine.provide(&[&BROWSER]).unwrap();
    assert_eq!(fake.told().len(), 2);
}

#[test]
fn who_may_not_install_is_told_what_to_install() {
    for (name, sudo) in [("nobody", None), ("password", Some("exit 1"))] {
        let fake = Fake::new(name, "1000");
        fake.apt(&["browser"]);
        if let Some(script) = sudo {
            fake.program("sudo", script);
        }
        let why = fake.machine.provide(&[&BROWSER, &COMPILER]).unwrap_err();
        assert!(why.starts_with("missing: browser, compiler. "), "{why}");
        let advice = "`sudo apt-get install --no-install-recommends browser compiler fonts`";
        assert!(why.ends_with(advice), "{why}");
        assert_eq!(fake.told(), Vec::<String>::new());
    }
}

#[test]
fn without_apt_root_is_told_too() {
    let fake = Fake::new("no-apt", "0");
    let why = fake.machine.provide(&[&BROWSER]).unwrap_err();
    assert!(why.starts_with("missing: browser. "), "{why}");
}

#[test]
fn an_installation_that_fails_or_brings_nothing_is_an_error() {
    let fake = Fake::new("fails", "0");
    fake.apt(&[]);
    let why = fake.machine.provide(&[&BROWSER]).unwrap_err();
    assert_eq!(why, "browser fonts installed, and browser still does not work");
    fake.program("apt-get", "exit 100");
    let why = fake.machine.provide(&[&BROWSER]).unwrap_err();
    assert!(why.ends_with("Missing: browser; could not install browser fonts."), "{why}");
}

#[test]
fn a_named_program_goes_before_others_and_has_to_be_one() {
    let mut fake = Fake::new("named", "0");
    fake.apt(&["browser"]);
    fake.program("browser", "");
    fake.machine.variable = |name| (name == "BROWSER_PLACE").then(|| "/bin/sh".into());
    assert_eq!(fake.machine.provide(&[&BROWSER]).unwrap(), [PathBuf::from("/bin/sh")]);
    fake.machine.variable = |name| (name == "BROWSER_PLACE").then(|| "/nowhere".into());
    let why = fake.machine.provide(&[&BROWSER]).unwrap_err();
    assert_eq!(why, "BROWSER_PLACE names /nowhere, which is no program");
    assert_eq!(fake.told(), Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_run_and_a_folder_are_no_programs() {
    let fake = Fake::new("not-programs", "0");
    fs::create_dir(fake.folder.join("browser")).unwrap();
    fs::write(fake.folder.join("browser-by-another-name"), "").unwrap();
    assert!(fake.machine.find(&BROWSER).unwrap().is_none());
}
