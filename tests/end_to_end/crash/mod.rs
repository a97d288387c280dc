//! The real binary, killed under load at seeded moments, started again, and compared with what its clients were told.
//!
//! `cargo xtask soak --seed N --kills M` runs more of it. A seed stands for a schedule ([`schedule`]); a failure names
//! its seed, and keeps the folder.

mod child;
mod load;
mod machines;
mod moments;
mod oracle;
mod schedule;
mod tables;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use self::child::{Heard, Life};
use self::moments::UPKEEP;
use self::oracle::Book;
use self::schedule::{Kill, Round, Work};
use self::tables::{Keys, Tables};
use crate::support::place::Place;
use crate::support::search;
use storage::Root;

/// Kills, unless the environment says otherwise.
const KILLS: usize = 200;
/// Kills of one seed: some eleven days of the data's time.
const KILLS_A_SEED: usize = 100;
/// Seeds at work at once.
const AT_ONCE: usize = 2;
/// With this many kills every moment has to be hit.
const KILLS_FOR_ALL: usize = 200;
/// Most new events in one life of the process: a bound on what is compared, not on speed.
const EVENTS: u64 = 3_000;
/// The same where the moment needs none.
const UPKEEP_EVENTS: u64 = 300;
/// A process that did not pass its moment is killed this long after its start, on a machine that does other things too,
const ROUND: Duration = Duration::from_secs(60);
/// or, if the moment belongs to the way of an event, this long after all were sent.
const QUIET: Duration = Duration::from_secs(4);

const POLICY: [(&str, &str); 4] = [
    ("policy.toml", include_str!("policy/policy.toml")),
    ("device_usage.toml", include_str!("policy/device_usage.toml")),
    ("web.toml", include_str!("policy/web.toml")),
    ("statistics.toml", include_str!("policy/statistics.toml")),
];

/// What became of the kills.
#[derive(Default)]
struct Tally {
    kills: usize,
    /// Kills aimed at a moment, and those that came when it was passed.
    aimed: BTreeMap<&'static str, (usize, usize)>,
    /// Kills after which the moment was the last of its lane.
    hit: BTreeMap<String, usize>,
    events: usize,
    acknowledged: usize,
    releases: usize,
    destroyed: usize,
}

#[test]
fn nothing_is_lost_and_nothing_counts_twice_whenever_the_process_is_killed() {
    let (seed, kills) = (number("QUORATE_SEED", 1), number("QUORATE_KILLS", KILLS as u64));
    let kills = usize::try_from(kills).expect("fewer kills than fit into memory");
    let mut seeds = Vec::new();
    for begun in (0..kills).step_by(KILLS_A_SEED) {
        seeds.push((seed + seeds.len() as u64, KILLS_A_SEED.min(kills - begun)));
    }
    let begun = Instant::now();
    let (queue, total) = (Mutex::new(seeds.into_iter()), Mutex::new(Tally::default()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((seed, kills)) = { queue.lock().expect("nothing panics").next() } {
                    let tally = endure(seed, kills);
                    total.lock().expect("nothing panics").add(tally);
                }
            });
        }
    });
    let total = total.into_inner().expect("nothing panicked");
    println!("{}\n{:?}", total.text(), begun.elapsed());
    if kills >= KILLS_FOR_ALL {
        // A part that is short may be over before the kill arrives.
        let in_time = |moment| total.aimed.get(moment).is_some_and(|(_, in_time)| *in_time > 0);
        let missed =
            moments::all().filter(|&moment| !total.hit.contains_key(moment) && !in_time(moment));
        let missed: Vec<&str> = missed.collect();
        assert!(missed.is_empty(), "no kill hit {missed:?}");
    }
}

#[expect(clippy::disallowed_methods, reason = "how a test is repeated; the service never reads it")]
fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

/// All rounds of one seed; on a failure says how to repeat it, and keeps the folder.
fn endure(seed: u64, kills: usize) -> Tally {
    let mut endured = Endured::new();
    let rounds = schedule::of(seed, kills);
    let mut current = None;
    let ended = catch_unwind(AssertUnwindSafe(|| {
        for round in &rounds {
            current = Some(round.clone());
            endured.round(round);
        }
    }));
    // What it was has been printed by then.
    if ended.is_err() {
        panic!(
            "seed {seed}, round {} of {kills}: {current:?}\nfolder {}\n\
             the same schedule again: cargo xtask soak --seed {seed} --kills {kills}",
            current.as_ref().map_or(0, |round| round.number),
            endured.place.keep().display(),
        );
    }
    endured.tally()
}

/// Declares what the clients of [`load`] send, with a number in every event.
fn declare(place: &Place) {
    let policy = place.home().join("policy");
    std::fs::remove_dir_all(&policy).expect("init made it");
    std::fs::create_dir(&policy).expect("the folder can be written");
    for (name, text) in POLICY {
        std::fs::write(policy.join(name), text).expect("the folder can be written");
    }
    std::fs::write(place.home().join("regexes.yaml"), include_str!("regexes.yaml"))
        .expect("the folder can be written");
    place.configure("resolve", "user_agents", "regexes.yaml");
}

/// A place in the middle of its rounds.
struct Endured {
    place: Place,
    runtime: tokio::runtime::Runtime,
    tables: Tables,
    book: Mutex<Book>,
    tally: Tally,
    keys: Keys,
}

impl Endured {
    fn new() -> Self {
        let place = Place::new();
        declare(&place);
        place.configure("operator", "listen", "127.0.0.1:0");
        place.configure("sink", "maintain_every_s", 1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            place,
            runtime: runtime.expect("a runtime"),
            tables: Tables::default(),
            book: Mutex::default(),
            tally: Tally::default(),
            keys: Keys::default(),
        }
    }

    fn round(&mut self, round: &Round) {
        let heard = match round.work {
            Work::Serve => self.serve(round),
            Work::Replay => self.replay(round),
        };
        self.note(round, &heard);
        assert!(heard.complaints.is_empty(), "the process complained: {:#?}", heard.complaints);
        self.compare(round.ahead_ms);
        if round.work == Work::Replay {
            // It goes on where it was killed.
            let (status, heard) = Life::replay(&self.place, None).wait();
            assert!(status.success(), "the replay ended with {status}: {:#?}", heard.complaints);
            self.compare(round.ahead_ms);
        }
        if round.settle {
            self.settle(round.ahead_ms);
        }
    }

    /// Changes the policy, and reads everything again under the new one.
    fn replay(&mut self, round: &Round) -> Heard {
        let file = self.place.home().join("policy/device_usage.toml");
        let text = std::fs::read_to_string(&file).expect("it was written");
        let (one, other) = ("\"major.minor\"", "\"major\"");
        let (from, to) = if text.contains(one) { (one, other) } else { (other, one) };
        std::fs::write(&file, text.replace(from, to)).expect("the folder can be written");
        Life::replay(&self.place, Some(&round.kill)).end(|elapsed| elapsed > ROUND)
    }

    fn serve(&mut self, round: &Round) -> Heard {
        let life = Life::begin(&self.place, round.ahead_ms, Some(&round.kill));
        let sent = OnceLock::new();
        // What is due when time has passed comes by itself, and the sooner the less there is to read.
        let is_upkeep = matches!(round.kill, Kill::At { moment, .. } if UPKEEP.contains(&moment));
        std::thread::scope(|scope| {
            let (place, book, sent) = (&self.place, &self.book, &sent);
            if let Some(events) = life.events() {
                scope.spawn(move || {
                    let most = if is_upkeep { UPKEEP_EVENTS } else { EVENTS };
                    load::run(place, events, book, (round.ahead_ms, round.load, most));
                    sent.get_or_init(Instant::now);
                });
            }
            let is_quiet = || sent.get().is_some_and(|sent| sent.elapsed() > QUIET);
            life.end(|elapsed| match round.kill {
                Kill::At { .. } => elapsed > ROUND || (is_quiet() && !is_upkeep),
                Kill::After(delay) => elapsed > delay,
            })
        })
    }

    fn note(&mut self, round: &Round, heard: &Heard) {
        self.tally.kills += 1;
        if let Kill::At { moment, .. } = round.kill {
            let (aimed, in_time) = self.tally.aimed.entry(moment).or_default();
            *aimed += 1;
            *in_time += usize::from(heard.in_time);
        }
        let keys = tables::keys(&self.place.home());
        let destroying = keys.destroyed > self.keys.destroyed;
        self.keys = keys;
        for moment in heard.passed.last() {
            // Every round looks for keys to destroy; a kill while none is destroyed is none there.
            if moment != "worker keys" || destroying {
                *self.tally.hit.entry(moment.to_owned()).or_default() += 1;
            }
        }
    }

    /// Looks at the rows while nobody is at work.
    fn compare(&mut self, ahead_ms: i64) {
        let rows = self.runtime.block_on(self.tables.rows(&Root::folder(&self.place.data())));
        let now = (quorate::store::system_clock())().plus(ahead_ms).0;
        let compared = self.book.get_mut().expect("no client panicked").compare(&rows, now);
        compared.unwrap_or_else(|why| panic!("{why}"));
    }

    /// Sends again what is unknown, stops in order, and compares everything.
    fn settle(&mut self, ahead_ms: i64) {
        let life = Life::begin(&self.place, ahead_ms, None);
        let events = life.events().expect("the service starts after a crash");
        load::send_again(&self.place, events, &self.book, ahead_ms);
        let (status, heard) = life.stop();
        assert!(status.success(), "the service ended with {status}: {:#?}", heard.complaints);
        assert!(heard.complaints.is_empty(), "the process complained: {:#?}", heard.complaints);
        self.compare(ahead_ms);
        let books = search::outcomes(&self.place.data());
        let settled = self.book.get_mut().expect("no client panicked").settle(&books);
        settled.unwrap_or_else(|why| panic!("{why}"));
        let strays = self.runtime.block_on(tables::strays(&self.place.data()));
        assert!(strays.is_empty(), "no commit names {strays:?}");
        let releases = self.runtime.block_on(tables::releases(&self.place.data()));
        let releases = releases.unwrap_or_else(|why| panic!("{why}"));
        self.tally.releases = releases.count;
        let released = self.book.get_mut().expect("no client panicked").released(&releases.uses);
        released.unwrap_or_else(|why| panic!("{why}"));
        self.keys = tables::keys(&self.place.home());
        let Keys { made, destroyed, files } = self.keys;
        assert_eq!(
            made - destroyed,
            files,
            "keys made and destroyed by the ledger, and their files"
        );
    }

    fn tally(mut self) -> Tally {
        let (events, acknowledged) = self.book.get_mut().expect("no client panicked").totals();
        Tally { events, acknowledged, destroyed: self.keys.destroyed, ..self.tally }
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.kills += other.kills;
        for (moment, (aimed, in_time)) in other.aimed {
            let own = self.aimed.entry(moment).or_default();
            *own = (own.0 + aimed, own.1 + in_time);
        }
        for (moment, count) in other.hit {
            *self.hit.entry(moment).or_default() += count;
        }
        self.events += other.events;
        self.acknowledged += other.acknowledged;
        self.releases += other.releases;
        self.destroyed += other.destroyed;
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} kills, {} events, {} of them acknowledged, {} periods released, {} keys destroyed\n\
             {:<20} {:>8} {:>8} {:>8}\n",
            self.kills,
            self.events,
            self.acknowledged,
            self.releases,
            self.destroyed,
            "moment",
            "aimed",
            "in time",
            "died in"
        );
        for moment in moments::all() {
            let (aimed, in_time) = self.aimed.get(moment).copied().unwrap_or_default();
            let hit = self.hit.get(moment).copied().unwrap_or(0);
            text.push_str(&format!("{moment:<20} {aimed:>8} {in_time:>8} {hit:>8}\n"));
        }
        text
    }
}
