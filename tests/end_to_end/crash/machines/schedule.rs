//! What a seed stands for: which faults, against whom, when, and for how long. They overlap.
//!
//! Timing is the machine's: the same seed gives the same schedule, and not the same interleaving.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::deck::Deck;

/// Brokers; with three, and two in sync, one may be dead and everything goes on.
pub(super) const BROKERS: usize = 3;
/// Ingest nodes.
pub(super) const INGESTS: usize = 2;
/// Workers that are there but for faults; one more comes and goes.
pub(super) const WORKERS: usize = 2;

/// Milliseconds between the beginnings of two faults.
const GAP_MS: std::ops::Range<u64> = 1_500..6_000;
/// How long one lasts: below and beyond the 6 s after which a member of a group is given up.
const LASTS_MS: std::ops::Range<u64> = 2_000..14_000;

/// What is done to the machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    KillBroker,
    /// The broker that coordinates the group of the workers.
    KillCoordinator,
    /// A broker that hangs, and then goes on as if nothing had been.
    PauseBroker,
    KillIngest,
    KillWorker,
    KillQuery,
    /// A worker that hangs, loses its partitions, and then goes on with what it held: a zombie.
    PauseWorker,
    /// One worker more, that is stopped in order afterwards.
    AddWorker,
    /// A worker is stopped in order, and comes back.
    RemoveWorker,
    /// No byte passes between a worker and the object store.
    CutWorker,
}

pub(super) const KINDS: &[Kind] = &[
    Kind::KillBroker,
    Kind::KillCoordinator,
    Kind::PauseBroker,
    Kind::KillIngest,
    Kind::KillWorker,
    Kind::KillQuery,
    Kind::PauseWorker,
    Kind::AddWorker,
    Kind::RemoveWorker,
    Kind::CutWorker,
];

/// Whom it strikes. No one is struck twice at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// One broker at a time: without two of three Kafka takes nothing, which is right, and is no test.
    Brokers,
    Ingest(usize),
    Worker(usize),
    Query,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) target: Target,
    /// Which broker, where that is not asked of Kafka.
    pub(super) broker: usize,
    /// Since the beginning of the run.
    pub(super) begins: Duration,
    pub(super) ends: Duration,
}

/// The first `faults` faults of a seed, in the order in which they begin.
pub(super) fn of(seed: u64, faults: usize) -> Vec<Fault> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut deck = Deck::new(KINDS);
    let mut busy: BTreeMap<Target, u64> = BTreeMap::new();
    let mut now = 0;
    let mut all = Vec::new();
    while all.len() < faults {
        let kind = deck.deal(&mut random);
        let targets = targets(kind);
        let target = targets[random.random_range(0..targets.len())];
        now += random.random_range(GAP_MS);
        // Who is struck already is waited for.
        now = now.max(busy.get(&target).copied().unwrap_or(0));
        let ends = now + random.random_range(LASTS_MS);
        // And has a moment to come back.
        busy.insert(target, ends + GAP_MS.end);
        all.push(Fault {
            kind,
            target,
            broker: random.random_range(0..BROKERS),
            begins: Duration::from_millis(now),
            ends: Duration::from_millis(ends),
        });
    }
    all
}

fn targets(kind: Kind) -> Vec<Target> {
    match kind {
        Kind::KillBroker | Kind::KillCoordinator | Kind::PauseBroker => vec![Target::Brokers],
        Kind::KillIngest => (0..INGESTS).map(Target::Ingest).collect(),
        Kind::KillQuery => vec![Target::Query],
        Kind::AddWorker => vec![Target::Worker(WORKERS)],
        Kind::KillWorker | Kind::PauseWorker | Kind::RemoveWorker | Kind::CutWorker => {
            (0..WORKERS).map(Target::Worker).collect()
        }
    }
}

#[test]
fn a_seed_stands_for_faults_of_every_kind_that_overlap() {
    let text = |seed, faults| format!("{:?}", of(seed, faults));
    assert_eq!(text(1, 100), text(1, 100));
    assert_ne!(text(1, 100), text(2, 100));
    for seed in 0..20 {
        let (short, long) = (of(seed, 30), of(seed, 100));
        assert!(format!("{long:?}").starts_with(format!("{short:?}").trim_end_matches(']')));
        for kind in KINDS {
            assert!(short.iter().filter(|fault| fault.kind == *kind).count() >= 3, "{kind:?}");
        }
        let overlapping = long.windows(2).filter(|pair| pair[1].begins < pair[0].ends).count();
        assert!(overlapping > long.len() / 3, "{overlapping} overlap the one before");
        for (index, fault) in long.iter().enumerate() {
            let struck = long[..index]
                .iter()
                .find(|before| before.target == fault.target && before.ends > fault.begins);
            assert!(struck.is_none(), "{fault:?} strikes whom {struck:?} has not left");
        }
    }
}
