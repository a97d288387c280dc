//! One life of the real binary: started, listened to, killed.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::moments::{self, Passed, UPKEEP};
use super::schedule::Kill;
use crate::support::place::Place;
use crate::support::succeed;

/// How long a process may take until it says where it listens, on a machine that does other things too.
const START_WITHIN: Duration = Duration::from_secs(60);
/// Delays below this are waited for by looking at the clock: sleeping takes longer.
const SPIN_BELOW: Duration = Duration::from_micros(300);

/// A process, and who listens to it.
pub(super) struct Life {
    process: Arc<Mutex<Child>>,
    listener: JoinHandle<Heard>,
    addresses: mpsc::Receiver<Vec<SocketAddr>>,
    begun: Instant,
}

/// What a process said until its end.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) passed: Passed,
    /// Lines that no correct run has.
    pub(super) complaints: Vec<String>,
    /// Whether it was killed where it should be.
    pub(super) in_time: bool,
}

impl Life {
    /// Starts the service that much ahead of the system's clock; if `kill` names a moment, the process dies there.
    pub(super) fn begin(place: &Place, ahead_ms: i64, kill: Option<&Kill>) -> Self {
        let ahead = format!("{}minutes", ahead_ms / 60_000);
        Self::of(place.command(&["run", "--ahead", &ahead]), kill)
    }

    /// Reads everything that the log still has under the policy of now, by the clock of the folder.
    pub(super) fn replay(place: &Place, kill: Option<&Kill>) -> Self {
        Self::of(place.command(&["replay", "--from", "2020-01-01", "--to", "2100-01-01"]), kill)
    }

    fn of(mut command: Command, kill: Option<&Kill>) -> Self {
        command.env("RUST_LOG", "info,quorate::moment=trace");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary can be started");
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let process = Arc::new(Mutex::new(child));
        let (told, addresses) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bound = Vec::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let words = line.split(|c: char| c.is_whitespace() || c == '/');
                bound.extend(words.filter_map(|word| word.parse::<SocketAddr>().ok()));
                if bound.len() == 3 {
                    // Nobody may wait for it any more.
                    drop(told.send(std::mem::take(&mut bound)));
                }
            }
        });
        let aim = match kill {
            Some(Kill::At { moment, nth, delay }) => Some((*moment, *nth, *delay)),
            Some(Kill::After(_)) | None => None,
        };
        let victim = Arc::clone(&process);
        let listener = std::thread::spawn(move || listen(stderr, aim, &victim));
        Self { process, listener, addresses, begun: Instant::now() }
    }

    /// Where events are posted, once the process says so; none if it dies before.
    pub(super) fn events(&self) -> Option<SocketAddr> {
        while self.begun.elapsed() < START_WITHIN {
            match self.addresses.recv_timeout(Duration::from_millis(50)) {
                Ok(addresses) => return addresses.first().copied(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return None,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
        }
        None
    }

    /// Waits until the process is dead, kills it when `is_over` says so of the time since its start, and gives what it
    /// said.
    pub(super) fn end(self, is_over: impl Fn(Duration) -> bool) -> Heard {
        while !self.listener.is_finished() && !is_over(self.begun.elapsed()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        kill(&self.process);
        let heard = self.listener.join().expect("the listener does not panic");
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.wait().expect("a killed process can be waited for");
        heard
    }

    /// Stops as an operator does: what was acknowledged is committed then.
    pub(super) fn stop(self) -> (ExitStatus, Heard) {
        let id = self.process.lock().unwrap_or_else(PoisonError::into_inner).id();
        succeed(Command::new("sh").args(["-c", &format!("kill -TERM {id}")]));
        self.wait()
    }

    /// Waits for a process that ends by itself.
    pub(super) fn wait(self) -> (ExitStatus, Heard) {
        let heard = self.listener.join().expect("the listener does not panic");
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        (process.wait().expect("a stopped process can be waited for"), heard)
    }
}

fn kill(process: &Mutex<Child>) {
    // It may be dead already.
    drop(process.lock().unwrap_or_else(PoisonError::into_inner).kill());
}

/// Reads until the process is dead; kills it when it passes the moment aimed at, or when that cannot come any more.
fn listen(
    stderr: impl Read,
    aim: Option<(&'static str, u32, Duration)>,
    process: &Mutex<Child>,
) -> Heard {
    let mut heard = Heard::default();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        let Some(moment) = moments::of_line(&line) else {
            if line.contains(" ERROR ") || line.contains("panicked") || line.starts_with("quorate:")
            {
                heard.complaints.push(line);
            }
            continue;
        };
        let count = heard.passed.note(moment);
        let Some((aimed, nth, delay)) = aim else { continue };
        if moment == aimed && count == nth {
            wait(delay);
            kill(process);
            heard.in_time = true;
        } else if moment == "worker idle"
            && UPKEEP.contains(&aimed)
            && heard.passed.count("worker keys") > 0
        {
            // What was due is done.
            kill(process);
        }
    }
    heard
}

fn wait(delay: Duration) {
    if delay >= SPIN_BELOW {
        std::thread::sleep(delay);
        return;
    }
    let until = Instant::now() + delay;
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}
