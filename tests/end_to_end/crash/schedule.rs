//! What a seed stands for: which moments, how often passed, how long after, how much later each era is.
//!
//! Timing is the machine's: the same seed gives the same schedule, and not the same interleaving. A failure that depends
//! on it may need several attempts.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemas::time::{HOUR_MS, MINUTE_MS};

use super::moments::{LOAD, REPLAY, START, UPKEEP};
use crate::support::deck::Deck;

/// Rounds between two jumps of the clock: four when all is due, three under load, two at the start, one at a replay, one
/// at any time.
const ERA_ROUNDS: usize = 11;
/// Hours between two eras. More than 48 would let rows die that wait in the log for their commit, which is right, and
/// is another test's.
const JUMP_HOURS: std::ops::Range<i64> = 16..44;

/// When the process is killed.
#[derive(Clone, Debug)]
pub(super) enum Kill {
    /// So long after it passed a moment for the n-th time.
    At { moment: &'static str, nth: u32, delay: Duration },
    /// So long after it was started, whatever it does then.
    After(Duration),
}

/// What the process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Serve,
    /// `quorate replay` of everything, under another policy than the rows are of.
    Replay,
}

/// One life of the process.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Counted from one.
    pub(super) number: usize,
    /// How far ahead of the system's clock it runs, in milliseconds; never less than the round before.
    pub(super) ahead_ms: i64,
    pub(super) work: Work,
    pub(super) kill: Kill,
    /// Whether everything is drained, stopped in order and compared after it.
    pub(super) settle: bool,
    /// Seed of what is sent meanwhile.
    pub(super) load: u64,
}

/// The first `kills` rounds of a seed.
pub(super) fn of(seed: u64, kills: usize) -> Vec<Round> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut start, mut load, mut upkeep) = (Deck::new(START), Deck::new(LOAD), Deck::new(UPKEEP));
    let mut replay = Deck::new(REPLAY);
    let mut ahead_ms = 0;
    let mut rounds: Vec<Round> = Vec::new();
    while rounds.len() < kills {
        let order = |moment: &&str| UPKEEP.iter().position(|other| other == moment);
        let mut due: Vec<&str> = (0..4).map(|_| upkeep.deal(&mut random)).collect();
        // What is due is done once: what comes later in a round of it has to be aimed at later.
        due.sort_by_key(order);
        let mut kills: Vec<Kill> = due.iter().map(|moment| at(moment, &mut random)).collect();
        kills.insert(random.random_range(0..=4), at(start.deal(&mut random), &mut random));
        for _ in 0..ERA_ROUNDS - 8 {
            kills.push(at(load.deal(&mut random), &mut random));
        }
        kills.push(at(start.deal(&mut random), &mut random));
        kills.push(at(replay.deal(&mut random), &mut random));
        kills.push(Kill::After(Duration::from_millis(random.random_range(0..1200))));
        let last = kills.len() - 1;
        for (index, kill) in kills.into_iter().enumerate() {
            let (number, load) = (rounds.len() + 1, random.random());
            let is_replay = matches!(kill, Kill::At { moment, .. } if REPLAY.contains(&moment));
            let work = if is_replay { Work::Replay } else { Work::Serve };
            rounds.push(Round { number, ahead_ms, work, kill, settle: index == last, load });
        }
        let jump = random.random_range(JUMP_HOURS) * HOUR_MS;
        ahead_ms += jump + random.random_range(0..60) * MINUTE_MS;
    }
    rounds.truncate(kills);
    if let Some(last) = rounds.last_mut() {
        last.settle = true;
    }
    rounds
}

fn at(moment: &'static str, random: &mut ChaCha8Rng) -> Kill {
    let often = match moment {
        "door decode" | "door seal" | "door wait" | "door answer" => 60,
        "log append" | "log tell" | "worker open" => 40,
        "worker files" | "worker table" | "worker index" | "worker ledger" => 2,
        "worker compute" | "worker statistic" | "worker release" | "worker mix" => 2,
        "rewrite table" => 2,
        "replay read" => 2,
        _ => 1,
    };
    // Parts of steps take from microseconds to tens of milliseconds: each length as likely, and none a third of the time,
    // since some are over before a kill arrives.
    let longest_us: f64 = if moment == "worker keys" { 30_000.0 } else { 6_000.0 };
    let delay_us = longest_us.powf(random.random::<f64>());
    let at_once = random.random_bool(0.3);
    let delay = Duration::from_secs_f64(if at_once { 0.0 } else { delay_us / 1e6 });
    Kill::At { moment, nth: random.random_range(1..=often), delay }
}

#[test]
fn a_seed_stands_for_one_schedule() {
    let text = |seed, kills| format!("{:?}", of(seed, kills));
    assert_eq!(text(1, 200), text(1, 200));
    assert_ne!(text(1, 200), text(2, 200));
    let (short, long) = (of(3, 2 * ERA_ROUNDS), of(3, 200));
    for (one, other) in short.iter().zip(&long) {
        assert_eq!(format!("{one:?}"), format!("{other:?}"), "fewer kills are the first of more");
    }
    let mut aimed = BTreeMap::new();
    for round in &long {
        if let Kill::At { moment, .. } = round.kill {
            *aimed.entry(moment).or_insert(0) += 1;
        }
    }
    for moment in super::moments::all() {
        assert!(aimed.get(moment).is_some_and(|&count| count >= 3), "{moment}: {aimed:?}");
    }
    assert!(long.windows(2).all(|pair| pair[0].ahead_ms <= pair[1].ahead_ms));
}
