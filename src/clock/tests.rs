use std::sync::atomic::{AtomicI64, Ordering};

use schemas::time::DAY_MS;
use tempfile::TempDir;

use super::*;

const START: i64 = 1_795_435_200_000;

/// A machine whose two clocks a test moves.
struct Machine {
    folder: TempDir,
    wall: Arc<AtomicI64>,
    uptime: Arc<AtomicI64>,
    boot: String,
}

impl Machine {
    fn new() -> Self {
        let [wall, uptime] = [START, 5_000].map(|ms| Arc::new(AtomicI64::new(ms)));
        Self { folder: TempDir::new().unwrap(), wall, uptime, boot: "first".to_owned() }
    }

    fn clocks(&self) -> Clocks {
        let (wall, uptime) = (Arc::clone(&self.wall), Arc::clone(&self.uptime));
        Clocks::new(
            Arc::new(move || Millis(wall.load(Ordering::Relaxed))),
            self.boot.clone(),
            Arc::new(move || uptime.load(Ordering::Relaxed)),
        )
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("clock.json")
    }

    fn open(&self) -> Arc<GuardedClock> {
        GuardedClock::open(self.clocks(), self.file()).unwrap()
    }

    /// Both clocks go on.
    fn pass(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::Relaxed);
        self.uptime.fetch_add(ms, Ordering::Relaxed);
    }

    /// Somebody sets the wall clock.
    fn jump(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::Relaxed);
    }

    fn reboot(&mut self) {
        self.boot.push('+');
        self.uptime.store(1_000, Ordering::Relaxed);
    }
}

#[test]
fn time_that_passes_is_trusted_however_much() {
    let machine = Machine::new();
    let clock = machine.open();
    for ms in [1, HOUR_MS, 400 * DAY_MS] {
        machine.pass(ms);
        assert!(clock.check().is_trusted());
    }
    assert_eq!(clock.check().now, Millis(machine.wall.load(Ordering::Relaxed)));
}

#[test]
fn a_jump_either_way_is_not_believed_and_time_goes_on() {
    for jump in [2 * HOUR_MS, -2 * HOUR_MS, 30 * DAY_MS, -30 * DAY_MS, HOUR_MS + 1, -HOUR_MS - 1] {
        let machine = Machine::new();
        let clock = machine.open();
        machine.jump(jump);
        assert_eq!(clock.check(), Moment { now: Millis(START), jump_ms: Some(jump) });
        machine.pass(3 * HOUR_MS);
        let now = Millis(START + 3 * HOUR_MS);
        assert_eq!(clock.check(), Moment { now, jump_ms: Some(jump) });
        machine.jump(-jump);
        assert_eq!(clock.check(), Moment { now, jump_ms: None });
    }
}

#[test]
fn corrections_are_believed_but_small_jumps_add_up() {
    let machine = Machine::new();
    let clock = machine.open();
    for _ in 0..200 {
        machine.pass(10_000);
        machine.jump(30_000);
        assert!(clock.check().is_trusted());
    }
    let clock = Machine::new();
    let guard = clock.open();
    clock.jump(40 * MINUTE_MS);
    assert!(guard.check().is_trusted());
    clock.jump(40 * MINUTE_MS);
    assert!(!guard.check().is_trusted());
}

#[test]
fn a_jump_while_the_service_was_stopped_is_found() {
    for jump in [2 * DAY_MS, -2 * DAY_MS] {
        let machine = Machine::new();
        machine.open();
        machine.pass(HOUR_MS);
        machine.jump(jump);
        assert_eq!(machine.open().check().jump_ms, Some(jump));
        // And again: a restart does not make it right.
        assert_eq!(machine.open().check().now, Millis(START + HOUR_MS));
    }
}

#[test]
fn after_another_boot_only_going_back_is_a_jump() {
    let mut machine = Machine::new();
    machine.open();
    machine.reboot();
    machine.jump(60 * DAY_MS);
    assert!(machine.open().check().is_trusted(), "the machine was off");
    machine.reboot();
    machine.jump(-3 * DAY_MS);
    let clock = machine.open();
    let last = Millis(START + 60 * DAY_MS);
    assert_eq!(clock.check(), Moment { now: last, jump_ms: Some(-3 * DAY_MS) });
    // The network sets the clock.
    machine.pass(5_000);
    machine.jump(4 * DAY_MS);
    assert_eq!(clock.check().now, Millis(START + 61 * DAY_MS + 5_000));
    machine.jump(2 * DAY_MS);
    assert!(!clock.check().is_trusted(), "from then on it is held against this boot");
}

#[test]
fn a_clock_is_trusted_by_hand() {
    for running in [true, false] {
        let machine = Machine::new();
        let clock = machine.open();
        machine.jump(9 * DAY_MS);
        assert!(!clock.refresh().unwrap().is_trusted());
        assert!(!clock.refresh().unwrap().is_trusted());
        trust(&machine.clocks(), &machine.file()).unwrap();
        machine.pass(MINUTE_MS);
        let clock = if running { clock } else { machine.open() };
        let now = Millis(START + 9 * DAY_MS + MINUTE_MS);
        assert_eq!(clock.refresh().unwrap(), Moment { now, jump_ms: None });
        assert_eq!(machine.open().check(), Moment { now, jump_ms: None });
    }
}

#[test]
fn what_was_trusted_by_hand_before_the_jump_says_nothing() {
    let machine = Machine::new();
    let clock = machine.open();
    trust(&machine.clocks(), &machine.file()).unwrap();
    machine.pass(DAY_MS);
    clock.refresh().unwrap();
    machine.jump(9 * DAY_MS);
    assert!(!clock.refresh().unwrap().is_trusted());
}

#[test]
fn the_file_is_written_now_and_then_and_a_damaged_one_refuses() {
    let machine = Machine::new();
    let clock = machine.open();
    let read = || std::fs::read(machine.file()).unwrap();
    let first = read();
    machine.pass(MINUTE_MS - 1);
    clock.refresh().unwrap();
    assert_eq!(read(), first);
    machine.pass(1);
    clock.refresh().unwrap();
    assert_ne!(read(), first);
    std::fs::write(machine.file(), &first[..20]).unwrap();
    let error = GuardedClock::open(machine.clocks(), machine.file()).err().unwrap();
    assert!(error.to_string().contains("trust-clock"), "{error}");
    trust(&machine.clocks(), &machine.file()).unwrap();
    assert!(machine.open().check().is_trusted());
}

#[test]
fn the_system_tells_its_boot_and_how_long_ago_it_was() {
    let clocks = Clocks::system();
    let (boot, uptime) = clocks.steady.unwrap();
    assert!(!boot.is_empty());
    let before = uptime();
    assert!(before > 0 && uptime() >= before);
}
