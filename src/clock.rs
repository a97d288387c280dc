//! The clock of one process on a data folder: the wall clock, as long as it does not jump.
//!
//! Everything that dies here dies by the clock, so a wrong one destroys for ever. The wall clock is therefore held
//! against the machine's time since boot, which nobody sets: when the two part by more than an hour, the time goes on
//! as the machine counts it, and nothing is destroyed or released until they agree again. `clock.json` in the data
//! folder carries the comparison across restarts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, bail};
use schemas::time::{HOUR_MS, MINUTE_MS};
use schemas::{Clock, Millis};
use serde::{Deserialize, Serialize};

use crate::rehearsal;

/// A wall clock this far off is not believed.
const JUMP_MS: i64 = HOUR_MS;
/// Up to here a difference is a correction, and forgotten; those above add up.
const CORRECTION_MS: i64 = MINUTE_MS;
/// How often the pair of clocks is written down.
const SAVE_EVERY_MS: i64 = MINUTE_MS;

/// Tells the milliseconds since the machine started, its sleep included.
pub type Uptime = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Where the time comes from.
#[derive(Clone)]
pub struct Clocks {
    wall: Clock,
    /// Id of the machine's boot, empty if unknown, and the time since it.
    steady: Option<(String, Uptime)>,
}

impl Clocks {
    /// The system's.
    #[must_use]
    pub fn system() -> Self {
        Self::new(crate::store::system_clock(), boot_id(), Arc::new(uptime_ms))
    }

    /// A wall clock and what it is held against: time since the boot of this id.
    #[must_use]
    pub fn new(wall: Clock, boot: String, uptime: Uptime) -> Self {
        Self { wall, steady: Some((boot, uptime)) }
    }

    /// A clock that is believed whatever it says, for tests and for work on made-up times.
    #[must_use]
    pub fn believed(wall: Clock) -> Self {
        Self { wall, steady: None }
    }

    /// The same for a folder of real events; as far ahead as the folder is, and believed, if it is a rehearsal.
    ///
    /// # Errors
    ///
    /// If the folder's mark cannot be read.
    pub fn rehearsed(self, data: &Path) -> anyhow::Result<Self> {
        if !data.join(rehearsal::FILE).exists() {
            return Ok(self);
        }
        Ok(Self::believed(rehearsal::clock(data, &self.wall)?))
    }
}

fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

fn uptime_ms() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000).saturating_add(time.tv_nsec / 1_000_000)
}

/// Time that nobody sets and that goes on while the machine sleeps: since it started.
#[must_use]
pub fn steady() -> Clock {
    Arc::new(|| Millis(uptime_ms()))
}

/// A point in time, and whether it is to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock; while it is not believed, the last time that was, and what has passed since.
    pub now: Millis,
    /// How far the wall clock is ahead of `now`, if it is not believed.
    pub jump_ms: Option<i64>,
}

impl Moment {
    /// Whether something may be destroyed by it.
    #[must_use]
    pub fn is_trusted(self) -> bool {
        self.jump_ms.is_none()
    }
}

/// What both clocks said when they last agreed, as `clock.json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    /// RFC 3339.
    wall: String,
    boot: String,
    uptime_ms: i64,
}

impl Pair {
    fn read(file: &Path) -> anyhow::Result<Option<Self>> {
        let text = match std::fs::read(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.with_context(|| format!("cannot read {}", file.display()))?,
        };
        match serde_json::from_slice::<Self>(&text) {
            Ok(pair) if Millis::parse(&pair.wall).is_some() => Ok(Some(pair)),
            _ => bail!(
                "{} is damaged: if the clock of this machine is right, run `quorate keyring trust-clock`",
                file.display()
            ),
        }
    }

    /// Replaces the file as a whole, durably.
    fn write(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec(self).context("texts and numbers are JSON")?;
        let folder = file.parent().context("a file in a folder")?;
        let write = || -> std::io::Result<()> {
            let mut new = tempfile::NamedTempFile::new_in(folder)?;
            new.write_all(&text)?;
            new.as_file().sync_all()?;
            new.persist(file)?;
            std::fs::File::open(folder)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Where the steady time begins: the last agreement.
#[derive(Clone, Copy)]
struct Base {
    wall: Millis,
    uptime_ms: i64,
    /// The agreement is from before this boot: how long the machine was off is unknown.
    earlier_boot: bool,
}

struct State {
    base: Base,
    jump_ms: Option<i64>,
    /// Uptime at the last time the pair was written; none if never.
    saved_ms: Option<i64>,
}

/// A clock that is not believed when it jumps; see the module.
pub struct GuardedClock {
    clocks: Clocks,
    file: PathBuf,
    state: Mutex<State>,
}

impl GuardedClock {
    /// Compares the clocks with what `file` says of the last time, and says so there.
    ///
    /// # Errors
    ///
    /// If the file is damaged, or cannot be read.
    pub fn open(clocks: Clocks, file: PathBuf) -> anyhow::Result<Arc<Self>> {
        let wall = (clocks.wall)();
        let mut base = Base { wall, uptime_ms: 0, earlier_boot: false };
        if let Some((boot, uptime)) = &clocks.steady {
            base.uptime_ms = uptime();
            if let Some(pair) = Pair::read(&file)? {
                let same = !boot.is_empty() && pair.boot == *boot;
                base.wall = Millis::parse(&pair.wall).unwrap_or(wall);
                base.earlier_boot = !same;
                if same {
                    base.uptime_ms = pair.uptime_ms;
                } else if wall.0.saturating_sub(base.wall.0) > JUMP_MS {
                    tracing::info!(last = %base.wall, "time has passed since this folder was last worked on");
                }
            }
        }
        let state = Mutex::new(State { base, jump_ms: None, saved_ms: None });
        let clock = Self { clocks, file, state };
        // A disk that is full must not keep a service from starting.
        if clock.check().is_trusted()
            && let Err(error) = clock.save()
        {
            tracing::warn!("{error:#}");
        }
        Ok(Arc::new(clock))
    }

    /// The time now, and whether to trust it.
    pub fn check(&self) -> Moment {
        let Some((_, uptime)) = &self.clocks.steady else {
            return Moment { now: (self.clocks.wall)(), jump_ms: None };
        };
        let mut state = self.state();
        let (wall, uptime_ms) = ((self.clocks.wall)(), uptime());
        let base = state.base;
        let steady = base.wall.plus(uptime_ms.saturating_sub(base.uptime_ms));
        let off_ms = wall.0.saturating_sub(steady.0);
        let ahead_is_fine = base.earlier_boot;
        if off_ms < -JUMP_MS || (off_ms > JUMP_MS && !ahead_is_fine) {
            if state.jump_ms.is_none() {
                tracing::error!(
                    jump_s = off_ms / 1_000,
                    "the clock jumped: nothing is destroyed and no period released until it agrees with the time \
                     since boot again, or `quorate keyring trust-clock` says that it is right; time goes on from {steady}"
                );
            }
            state.jump_ms = Some(off_ms);
            return Moment { now: steady, jump_ms: Some(off_ms) };
        }
        if state.jump_ms.take().is_some() {
            tracing::info!("the clock is trusted again");
        }
        let corrected = off_ms.saturating_abs() <= CORRECTION_MS || base.earlier_boot;
        let wall_then = if corrected { wall } else { steady };
        state.base = Base { wall: wall_then, uptime_ms, earlier_boot: false };
        Moment { now: wall, jump_ms: None }
    }

    /// Looks at the file now and then: writes the pair down while the clock is trusted; takes over what
    /// [`trust`] wrote while it is not.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written; the guard goes on without.
    pub fn refresh(&self) -> anyhow::Result<Moment> {
        let moment = self.check();
        let Some((boot, uptime)) = &self.clocks.steady else { return Ok(moment) };
        if moment.is_trusted() {
            let uptime_ms = uptime();
            let due = |saved: i64| uptime_ms.saturating_sub(saved) >= SAVE_EVERY_MS;
            if self.state().saved_ms.is_none_or(due) {
                self.save()?;
            }
            return Ok(moment);
        }
        let Some(pair) = Pair::read(&self.file)?.filter(|pair| pair.boot == *boot) else {
            return Ok(moment);
        };
        if let Some(said) = Millis::parse(&pair.wall) {
            let steady = said.plus(uptime().saturating_sub(pair.uptime_ms));
            let off_ms = (self.clocks.wall)().0.saturating_sub(steady.0);
            if off_ms.saturating_abs() <= CORRECTION_MS {
                self.state().base =
                    Base { wall: said, uptime_ms: pair.uptime_ms, earlier_boot: false };
            }
        }
        Ok(self.check())
    }

    fn save(&self) -> anyhow::Result<()> {
        let Some((boot, _)) = &self.clocks.steady else { return Ok(()) };
        // Not what the wall clock says: differences that add up must not be forgotten by a restart.
        let base = self.state().base;
        let pair =
            Pair { wall: base.wall.to_string(), boot: boot.clone(), uptime_ms: base.uptime_ms };
        pair.write(&self.file)?;
        self.state().saved_ms = Some(base.uptime_ms);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says in `file` that the clocks agree now, for a service that runs or is started next.
///
/// # Errors
///
/// If the file cannot be written.
pub fn trust(clocks: &Clocks, file: &Path) -> anyhow::Result<Millis> {
    let now = (clocks.wall)();
    if let Some((boot, uptime)) = &clocks.steady {
        let pair = Pair { wall: now.to_string(), boot: boot.clone(), uptime_ms: uptime() };
        pair.write(file)?;
    }
    Ok(now)
}

#[cfg(test)]
mod tests;
