//! A child process, and what it used: CPU time and peak memory, as the kernel counts them.

use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Clock ticks in a second: what `/proc` counts in on Linux, whatever the kernel's own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// How often peak memory is read. It only grows, so that what a poll misses is the end alone.
const POLL: Duration = Duration::from_millis(20);

/// What a process used, from its start to its end.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// User and system time of all its threads, in seconds; exact to a hundredth.
    pub cpu_s: f64,
    /// Time that passed, in seconds.
    pub wall_s: f64,
    /// Largest resident memory, in MiB.
    pub rss_mib: f64,
}

/// A running child that is watched.
pub struct Watched {
    child: Child,
    begun: Instant,
    rss_kib: u64,
}

impl Watched {
    /// Starts `command`.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        Ok(Self { child: command.spawn()?, begun: Instant::now(), rss_kib: 0 })
    }

    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Asks it to stop, as an operator does.
    ///
    /// # Errors
    ///
    /// If there is no `kill`.
    pub fn terminate(&self) -> io::Result<ExitStatus> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()
    }

    /// Notes peak memory; call it while the process lives.
    pub fn look(&mut self) {
        if let Some(kib) = peak_kib(self.child.id()) {
            self.rss_kib = self.rss_kib.max(kib);
        }
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// If the process failed, or `/proc` cannot be read.
    pub fn finish(mut self) -> io::Result<Used> {
        loop {
            self.look();
            // A process that has ended keeps its times until it is waited for, and waiting comes last.
            let (state, cpu_s) = times(self.child.id())?;
            if state == 'Z' {
                let wall_s = self.begun.elapsed().as_secs_f64();
                let status = self.child.wait()?;
                if !status.success() {
                    return Err(io::Error::other(format!("the process ended with {status}")));
                }
                #[expect(clippy::cast_precision_loss, reason = "kibibytes of memory fit")]
                let rss_mib = self.rss_kib as f64 / 1024.0;
                return Ok(Used { cpu_s, wall_s, rss_mib });
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Nothing is left to kill after `finish`.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// State and CPU seconds of a process, from `/proc/<pid>/stat`.
fn times(process: u32) -> io::Result<(char, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let malformed = || io::Error::other("/proc/<pid>/stat is not as expected");
    // The name, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(") ").ok_or_else(malformed)?;
    let words: Vec<&str> = rest.split(' ').collect();
    let ticks = |index: usize| words.get(index)?.parse::<f64>().ok();
    let state = words.first().and_then(|word| word.chars().next()).ok_or_else(malformed)?;
    // Fields 14 and 15 of proc(5), user and system time; the state is field 3.
    let (user, system) = ticks(11).zip(ticks(12)).ok_or_else(malformed)?;
    Ok((state, (user + system) / TICKS_PER_SECOND))
}

/// Peak resident memory, in KiB; none once the process has ended.
fn peak_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Bytes of all files below `folder`.
///
/// # Errors
///
/// If it cannot be listed.
pub fn bytes_below(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() { bytes_below(&entry.path())? } else { meta.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_used_time_and_memory() {
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let used = Watched::start(Command::new("sh").args(["-c", busy])).unwrap().finish().unwrap();
        assert!(used.cpu_s > 0.0 && used.cpu_s <= used.wall_s + 0.1, "{used:?}");
        assert!(used.rss_mib > 0.5, "{used:?}");
    }

    #[test]
    fn a_failed_process_is_an_error() {
        assert!(Watched::start(&mut Command::new("false")).unwrap().finish().is_err());
    }
}
