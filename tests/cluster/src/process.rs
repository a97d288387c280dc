//! Processes that live no longer than this one, and their folder.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use std::os::unix::process::CommandExt;

/// How long anything may take until it is up, on a machine that does other things too.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(120);

/// Kills what is left and removes the folder when its standard input ends, which happens however this process ends.
const GUARDIAN: &str = r#"
cat >/dev/null
for mark in "$0"/*.pid; do kill -9 "$(cat "$mark")"; done 2>/dev/null
sleep 0.1
[ -e "$0/keep" ] || rm -rf "$0"
"#;

static FOLDERS: AtomicU32 = AtomicU32::new(0);

/// A temporary folder, and who looks after it and the processes in it.
pub(crate) struct Guarded {
    folder: PathBuf,
    guardian: Child,
}

impl Guarded {
    pub(crate) fn new(name: &str) -> Self {
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("quorate-{name}-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        // Left by a process of this number, long ago.
        drop(std::fs::remove_dir_all(&folder));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let mut guardian = Command::new("sh");
        guardian.args(["-c", GUARDIAN]).arg(&folder).stdin(Stdio::piped());
        // A group of its own: an interrupt at the terminal is for the tests, and this one has to outlive them.
        let guardian = guardian.process_group(0).spawn().expect("sh can be started");
        Self { folder, guardian }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves the folder where it is.
    pub(crate) fn keep(&self) -> &Path {
        File::create(self.folder.join("keep")).expect("the temporary folder can be written");
        &self.folder
    }

    /// Starts a process that says everything into the file `log`.
    pub(crate) fn spawn(&self, name: &str, log: &Path, command: &mut Command) -> Process {
        let child = spawn(command, log).unwrap_or_else(|why| panic!("{why}"));
        let mark = self.folder.join(format!("{name}.pid"));
        std::fs::write(&mark, child.id().to_string()).expect("the temporary folder can be written");
        Process { child, mark, log: log.to_owned() }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        drop(self.guardian.wait());
    }
}

/// Starts a process in a group of its own, with everything it says in a file.
pub(crate) fn spawn(command: &mut Command, log: &Path) -> Result<Child, String> {
    let said = |error| format!("cannot write {}: {error}", log.display());
    let file = File::create(log).map_err(said)?;
    command.stdin(Stdio::null()).stdout(file.try_clone().map_err(said)?).stderr(file);
    let program = command.get_program().to_string_lossy().into_owned();
    command.process_group(0).spawn().map_err(|error| format!("cannot start {program}: {error}"))
}

/// A process, killed when dropped.
pub(crate) struct Process {
    child: Child,
    mark: PathBuf,
    log: PathBuf,
}

impl Process {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|ended| ended.is_none())
    }

    pub(crate) fn pause(&self) {
        signal("STOP", self.id());
    }

    pub(crate) fn resume(&self) {
        signal("CONT", self.id());
    }

    /// Waits until `is_up`; panics with the end of its log if the process dies before, or takes too long.
    pub(crate) fn wait_until(&mut self, is_up: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        loop {
            let said = std::fs::read_to_string(&self.log).unwrap_or_default();
            if is_up(&said) {
                return;
            }
            assert!(self.is_running(), "{} ended:\n{}", self.log.display(), end(&said));
            let waited = begun.elapsed();
            assert!(
                waited < START_WITHIN,
                "{} does not start:\n{}",
                self.log.display(),
                end(&said)
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be dead already.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_file(&self.mark));
    }
}

/// Sends a signal; whether anybody was there to take it.
pub(crate) fn signal(name: &str, process: u32) -> bool {
    let mut kill = Command::new("sh");
    kill.args(["-c", &format!("kill -{name} {process}")]).stderr(Stdio::null());
    kill.status().is_ok_and(|status| status.success())
}

/// The last lines of a log.
pub(crate) fn end(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
