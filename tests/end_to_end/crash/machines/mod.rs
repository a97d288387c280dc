//! The same promise over many machines: three brokers, two ingest nodes, two workers and a third that comes and goes, on
//! tables in an object store, while brokers and nodes are killed, hang and are cut off, several at once. Then a topic that was made anew
//! under the same name, which has to be refused.
//!
//! `cargo xtask soak --kafka --seed N --faults M` runs more of it. A failure names its seed, and keeps the folders.

mod nodes;
mod schedule;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::nodes::{Machines, Node};
use self::schedule::{BROKERS, Fault, Kind, Target};
use super::oracle::Book;
use super::tables::Tables;
use super::{declare, load, number};
use crate::support::place::Place;
use crate::support::search;

/// Faults, unless the environment says otherwise.
const FAULTS: u64 = 30;
/// Faults between two comparisons of everything.
const SEGMENT: usize = 10;
/// New events that each ingest node gets at once, and how long it rests then: a bound on what is compared, not on speed.
const EVENTS: u64 = 150;
const REST: Duration = Duration::from_millis(1_000);
/// Within this time of the last fault everything acknowledged is in the tables.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// How often somebody looks for nodes that ended by themselves.
const TICK: Duration = Duration::from_millis(200);
/// What Kafka calls the workers together, and the log.
const GROUP: &str = "quorate.worker";
const TOPIC: &str = "quorate.raw";

#[test]
fn nothing_is_lost_and_nothing_counts_twice_whatever_fails_together() {
    let (seed, faults) = (number("QUORATE_SEED", 1), number("QUORATE_FAULTS", FAULTS));
    let faults = usize::try_from(faults).expect("fewer faults than fit into memory");
    let mut run = Run::new();
    let mut current = None;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        for segment in schedule::of(seed, faults).chunks(SEGMENT) {
            run.endure(segment, seed, &mut current);
            run.settle();
        }
        run.stop();
        run.refuse_another_topic();
    }));
    // What it was has been printed by then.
    if ended.is_err() {
        let brokers = run.crew.machines.kafka.keep();
        panic!(
            "seed {seed}, last fault of {faults}: {current:?}\nfolders {}, {brokers:?}\n\
             the same schedule again: cargo xtask soak --kafka --seed {seed} --faults {faults}",
            run.place.keep().display(),
        );
    }
    println!("seed {seed}: {}", run.text());
}

/// Machines in the middle of their faults.
struct Run {
    crew: Crew,
    runtime: tokio::runtime::Runtime,
    tables: Tables,
    book: Mutex<Book>,
    begun: Instant,
    settled: Vec<Duration>,
    /// Dropped last: it is everybody's folder.
    place: Place,
}

/// Machines, and what is being done to them.
struct Crew {
    machines: Machines,
    /// The broker that is struck.
    struck: Option<usize>,
    faults: BTreeMap<Kind, usize>,
    /// Nodes that ended by themselves and were started again, as a supervisor does.
    revived: usize,
}

/// Tells the clients to stop, also when a test fails.
struct UntilDropped<'t>(&'t AtomicBool);

impl Drop for UntilDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Run {
    fn new() -> Self {
        let place = Place::new();
        declare(&place);
        let mut machines = Machines::start(&place);
        machines.regular().for_each(Node::start);
        machines.regular().for_each(Node::wait_until_ready);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            crew: Crew { machines, struck: None, faults: BTreeMap::new(), revived: 0 },
            runtime: runtime.expect("a runtime"),
            tables: Tables::default(),
            book: Mutex::default(),
            begun: Instant::now(),
            settled: Vec::new(),
            place,
        }
    }

    /// Some faults under load, each of which is over at the end.
    fn endure(&mut self, faults: &[Fault], seed: u64, current: &mut Option<Fault>) {
        let first = faults.first().map_or(Duration::ZERO, |fault| fault.begins);
        let begins = faults.iter().map(|fault| (fault.begins - first, true, *fault));
        let ends = faults.iter().map(|fault| (fault.ends - first, false, *fault));
        let mut steps: Vec<(Duration, bool, Fault)> = begins.chain(ends).collect();
        steps.sort_by_key(|(at, ..)| *at);
        let Self { crew, book, place, .. } = self;
        let stopped = AtomicBool::new(false);
        let addresses: Vec<_> = crew.machines.ingests.iter().map(|node| node.serves).collect();
        std::thread::scope(|scope| {
            let (book, place, stopped) = (&*book, &*place, &stopped);
            let until_dropped = UntilDropped(stopped);
            for (address, index) in addresses.into_iter().zip(0..) {
                let lot = u64::try_from(first.as_millis()).unwrap_or(0) ^ seed ^ (index << 32);
                scope.spawn(move || {
                    for lot in (lot..).take_while(|_| !stopped.load(Ordering::Relaxed)) {
                        // It returns at once while nobody listens.
                        load::run(place, address, book, (0, lot, EVENTS));
                        std::thread::sleep(REST);
                    }
                });
            }
            let begun = Instant::now();
            for (at, is_begin, fault) in steps {
                while begun.elapsed() < at {
                    std::thread::sleep(TICK.min(at.saturating_sub(begun.elapsed())));
                    crew.revive();
                }
                *current = Some(fault);
                if is_begin { crew.begin(&fault) } else { crew.end(&fault) }
            }
            drop(until_dropped);
        });
    }

    /// Sends again what is unknown, and compares until everything is there; what must never be is never there meanwhile.
    fn settle(&mut self) {
        let begun = Instant::now();
        (0..BROKERS).for_each(|broker| self.crew.machines.kafka.wait_until_up(broker));
        self.until(begun, |run| {
            let unready = run.crew.machines.regular().find(|node| !node.is_ready());
            unready.map(|node| format!("{} is not ready", node.name))
        });
        let serves = self.crew.machines.ingests[0].serves;
        load::send_again(&self.place, serves, &self.book, 0);
        self.until(begun, |run| run.compare().err());
        self.settled.push(begun.elapsed());
    }

    /// Waits until nothing is missing any more.
    fn until(&mut self, begun: Instant, missing: impl Fn(&mut Self) -> Option<String>) {
        while let Some(why) = missing(self) {
            assert!(
                begun.elapsed() < SETTLED_WITHIN,
                "{SETTLED_WITHIN:?} after the last fault: {why}"
            );
            std::thread::sleep(TICK);
            self.crew.revive();
        }
    }

    /// Compares tables and ledger with what was sent: panics at what may never be, and tells what is not there yet.
    fn compare(&mut self) -> Result<(), String> {
        let rows = self.runtime.block_on(self.tables.rows(&self.crew.machines.events));
        let now = (quorate::store::system_clock())().0;
        let book = self.book.get_mut().expect("no client panicked");
        book.compare(&rows, now).unwrap_or_else(|why| panic!("{why}"));
        book.settle(&search::outcomes_at(&self.crew.machines.events, &self.place.temporary()))
    }

    /// Stops everything in order, after which nothing has changed.
    fn stop(&mut self) {
        self.crew.machines.regular().for_each(Node::stop);
        self.compare().unwrap_or_else(|why| panic!("after everything stopped: {why}"));
        for node in self.crew.machines.all() {
            let complaints = node.complaints();
            assert!(complaints.is_empty(), "{} complained: {complaints:#?}", node.name);
        }
    }

    /// A topic of the same name, with nothing in it or with other things: no node takes it for the one that was.
    fn refuse_another_topic(&mut self) {
        let machines = &mut self.crew.machines;
        machines.ask_kafka("recreate", TOPIC);
        for node in [&mut machines.ingests[0], &mut machines.workers[0]] {
            node.start();
            let status = node.wait(Duration::from_secs(60));
            let said = node.said();
            assert!(
                status.is_some_and(|status| !status.success()),
                "{} ended with {status:?}:\n{said}",
                node.name
            );
            assert!(said.contains(TOPIC), "{} does not say which topic: {said}", node.name);
        }
        self.compare().unwrap_or_else(|why| panic!("after the topic was made anew: {why}"));
    }

    fn text(&mut self) -> String {
        let (events, acknowledged) = self.book.get_mut().expect("no client panicked").totals();
        format!(
            "{} faults {:?}, {events} events, {acknowledged} of them acknowledged, {} nodes started again because they \
             ended, settled after {:?}; {:?} in all",
            self.crew.faults.values().sum::<usize>(),
            self.crew.faults,
            self.crew.revived,
            self.settled,
            self.begun.elapsed(),
        )
    }
}

impl Crew {
    fn begin(&mut self, fault: &Fault) {
        *self.faults.entry(fault.kind).or_default() += 1;
        let machines = &mut self.machines;
        match (fault.kind, fault.target) {
            (Kind::KillCoordinator, _) => {
                let node = machines.ask_kafka("coordinator", GROUP);
                let node = node.parse().expect("the number of a node");
                let broker = *self.struck.insert(machines.kafka.of_node(node));
                machines.kafka.kill(broker);
            }
            (Kind::KillBroker, _) => machines.kafka.kill(*self.struck.insert(fault.broker)),
            (Kind::PauseBroker, _) => machines.kafka.pause(*self.struck.insert(fault.broker)),
            (Kind::AddWorker, Target::Worker(index)) => machines.workers[index].start(),
            (Kind::RemoveWorker, Target::Worker(index)) => machines.workers[index].stop(),
            (Kind::PauseWorker, Target::Worker(index)) => machines.workers[index].signal("STOP"),
            (Kind::CutWorker, Target::Worker(index)) => machines.wires[index].shut(),
            (Kind::KillIngest | Kind::KillWorker | Kind::KillQuery, target) => {
                machines.node(target).kill();
            }
            (kind, target) => unreachable!("{kind:?} strikes no {target:?}"),
        }
    }

    fn end(&mut self, fault: &Fault) {
        let machines = &mut self.machines;
        match (fault.kind, fault.target) {
            (Kind::KillCoordinator | Kind::KillBroker, _) => {
                machines.kafka.launch(self.struck.take().expect("it was killed"));
            }
            (Kind::PauseBroker, _) => machines.kafka.resume(self.struck.take().expect("it hangs")),
            (Kind::AddWorker, Target::Worker(index)) => machines.workers[index].stop(),
            (Kind::PauseWorker, Target::Worker(index)) => machines.workers[index].signal("CONT"),
            (Kind::CutWorker, Target::Worker(index)) => machines.wires[index].open(),
            (_, target) => machines.node(target).start(),
        }
    }

    /// Starts nodes again that ended by themselves.
    fn revive(&mut self) {
        for node in self.machines.all() {
            if node.has_ended() {
                node.start();
                self.revived += 1;
            }
        }
    }
}

impl Machines {
    fn node(&mut self, target: Target) -> &mut Node {
        match target {
            Target::Ingest(index) => &mut self.ingests[index],
            Target::Worker(index) => &mut self.workers[index],
            Target::Query => &mut self.query,
            Target::Brokers => unreachable!("brokers are Kafka's"),
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Node> {
        let (workers, query) = (self.workers.iter_mut(), std::iter::once(&mut self.query));
        self.ingests.iter_mut().chain(workers).chain(query)
    }
}
