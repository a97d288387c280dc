//! Partitions that change hands, at whatever moment, and writers that have not heard of it.

use anonymizer::Origin;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::*;

#[tokio::test]
async fn a_writer_that_lost_its_partition_between_table_and_ledger_is_counted_once() {
    let store = Store::new();
    let mut zombie = store.worker("zombie", &[0, 1]).await;
    store.frame(&mut zombie, USE, (0, 0), &events(0..5));
    store.frame(&mut zombie, USE, (1, 0), &events(5..7));
    let next = [(0, 1), (1, 1)];
    let (_, manifests) = zombie.commit_rows(&next, NOW, CONTEXT).await.unwrap();

    let mut owner = store.worker("owner", &[0]).await;
    assert_eq!((owner.next(0), owner.boundaries(0)), (0, BTreeSet::from([1])));
    assert_eq!(stored(&store.outcomes().await), (5, 5, 0), "its own partition, and no other");
    let late = zombie.ledger_positions(&next);
    let refused = zombie.ledger.append(&manifests, late).await.unwrap_err();
    assert!(matches!(refused, SinkError::Fenced { .. }), "{refused}");
    assert_eq!(store.frame(&mut owner, USE, (0, 0), &events(0..5)).stored, 0);
    owner.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    drop(zombie);
    let mut rest = store.worker("zombie", &[1]).await;
    assert_eq!(store.frame(&mut rest, USE, (1, 0), &events(5..7)).stored, 0);
    rest.commit(&[(1, 1)], NOW, CONTEXT).await.unwrap();
    assert_eq!(stored(&store.outcomes().await), (7, 7, 0));
    assert_eq!(store.rows("use").await.len(), 7);
}

#[tokio::test]
async fn a_writer_that_lost_its_partition_is_refused_by_every_table() {
    let store = Store::new();
    // One has rows of one family, one of the other, one of none.
    let mut late = Vec::new();
    for (worker, family) in [("a", Some(USE)), ("b", Some(VIEW)), ("c", None)] {
        // Each shuts out those before.
        late.push((store.worker(worker, &[2]).await, family));
    }
    let (mut last, _) = late.pop().unwrap();
    let origin = Origin { partition: 2, position: 0, import: false };
    for (mut sink, family) in late {
        let family = family.unwrap();
        store.frame(&mut sink, family, (2, 0), &events(0..3));
        let refused = sink.commit(&[(2, 1)], NOW, CONTEXT).await.unwrap_err();
        assert!(matches!(refused, SinkError::Fenced { .. }), "{refused}");
    }
    assert!(store.places().await.is_empty(), "refused before a row was in a table");
    let mut owner = store.worker("d", &[2]).await;
    last.count(None, &origin, &Tally::default(), 1, 1);
    let refused = last.commit(&[(2, 1)], NOW, CONTEXT).await.unwrap_err();
    assert!(matches!(refused, SinkError::Fenced { .. }), "{refused}");
    assert!(store.outcomes().await.is_empty());
    assert!(matches!(last.progress().await.unwrap_err(), SinkError::Failed));
    store.frame(&mut owner, VIEW, (2, 0), &events(0..3));
    owner.commit(&[(2, 1)], NOW, CONTEXT).await.unwrap();
    assert_eq!(stored(&store.outcomes().await), (3, 3, 0));
}

#[tokio::test]
async fn a_writer_hears_that_it_was_replaced_when_it_asks() {
    let store = Store::new();
    let mut old = store.worker("old", &[0]).await;
    let mut other = store.worker("other", &[1]).await;
    old.progress().await.unwrap();
    let _new = store.worker("new", &[0]).await;
    assert!(matches!(old.progress().await, Err(SinkError::Fenced { .. })));
    other.progress().await.unwrap();
    other.commit(&[(1, 4)], NOW, CONTEXT).await.unwrap();
}

#[tokio::test]
async fn a_second_copy_is_found_by_the_next_owner() {
    let store = Store::new();
    let mut one = store.worker("one", &[0, 1]).await;
    let mut two = store.worker("two", &[2]).await;
    store.frame(&mut one, USE, (0, 0), &events(0..5));
    store.frame(&mut one, USE, (1, 0), &events(5..8));
    store.frame(&mut two, USE, (2, 0), &events(20..24));
    one.commit(&[(0, 1), (1, 1)], NOW, CONTEXT).await.unwrap();
    two.commit(&[(2, 1)], NOW, CONTEXT).await.unwrap();
    drop((one, two));
    // An index that was there, of other partitions; and files that were mixed since.
    let mut keeper = store.worker("keeper", &[0]).await;
    keeper.maintain(NOW.plus(HOUR_MS)).await.unwrap();
    drop(keeper);
    let mut two = store.worker("two", &[0, 2]).await;
    assert_eq!(store.frame(&mut two, USE, (0, 1), &events(0..6)).duplicate, 5);
    assert_eq!(store.frame(&mut two, USE, (2, 1), &events(20..25)).duplicate, 4);
    two.commit(&[(0, 2), (2, 2)], NOW, CONTEXT).await.unwrap();
    drop(two);
    let mut one = store.worker("one", &[0, 1]).await;
    assert_eq!(store.frame(&mut one, USE, (0, 2), &events(0..6)).duplicate, 6, "as by the other");
    assert_eq!(store.frame(&mut one, USE, (1, 1), &events(5..9)).duplicate, 3);
    let places = one.index.places(USE);
    assert!(places.iter().all(|place| place.partition < 2), "no keys of others");
}

/// A frame of the log: its family, and the numbers of its events.
type Sent = (usize, Vec<u32>);

/// The log, workers on it, and writers that lost their partitions and do not know.
struct World {
    store: Store,
    lot: ChaCha8Rng,
    log: Vec<Vec<Sent>>,
    workers: Vec<Worker>,
    zombies: Vec<Worker>,
    opened: u32,
}

struct Worker {
    sink: Sink,
    index: String,
    cursors: BTreeMap<u16, u64>,
}

const PARTITIONS: u16 = 3;

impl World {
    fn new(seed: u64) -> Self {
        let mut lot = ChaCha8Rng::seed_from_u64(seed);
        let frame = |lot: &mut ChaCha8Rng, partition: u16| -> Sent {
            // Few enough that many come twice.
            let (family, count) = (lot.random_range(0..2), lot.random_range(1..5));
            let ids = (0..count).map(|_| lot.random_range(0..40) + u32::from(partition) * 1000);
            (family, ids.collect())
        };
        let log = (0..PARTITIONS).map(|of| (0..25).map(|_| frame(&mut lot, of)).collect());
        let log = log.collect();
        let (workers, zombies) = (Vec::new(), Vec::new());
        Self { store: Store::new(), lot, log, workers, zombies, opened: 0 }
    }

    async fn open(&mut self, own: &[u16], index: Option<String>) {
        self.opened += 1;
        let index = index.unwrap_or_else(|| format!("index-{}", self.opened));
        let sink = self.store.worker(&index, own).await;
        let cursors = own.iter().map(|&partition| (partition, sink.next(partition))).collect();
        self.workers.push(Worker { sink, index, cursors });
    }

    /// Gives the partitions to other workers. Some that had them stop, some only do not hear of it.
    async fn rebalance(&mut self) {
        let mut indexes = Vec::new();
        for worker in std::mem::take(&mut self.workers) {
            if self.lot.random_bool(0.4) {
                self.zombies.push(worker);
            } else {
                let index = worker.index.clone();
                worker.sink.close();
                indexes.push(index);
            }
        }
        let mut partitions = (0..PARTITIONS).collect::<Vec<_>>();
        partitions.shuffle(&mut self.lot);
        let count = self.lot.random_range(1..=2);
        for own in partitions.chunks(partitions.len().div_ceil(count)) {
            let index = indexes.pop();
            self.open(own, index).await;
        }
    }

    fn read(store: &Store, log: &[Vec<Sent>], worker: &mut Worker, frames: usize) {
        for (&partition, cursor) in &mut worker.cursors {
            for _ in 0..frames {
                let at = usize::try_from(*cursor).unwrap();
                let Some((family, ids)) = log[usize::from(partition)].get(at) else { break };
                let sent = ids.iter().map(event).collect::<Vec<_>>();
                store.frame(&mut worker.sink, *family, (partition, *cursor), &sent);
                *cursor += 1;
            }
        }
    }

    /// Works a little. Gives whether the worker lives on; a crash is before the commit or in its middle.
    async fn work(&mut self, mut worker: Worker, is_zombie: bool) -> Option<Worker> {
        Self::read(&self.store, &self.log, &mut worker, self.lot.random_range(0..3));
        let next = worker.cursors.iter().map(|(&of, &next)| (of, next)).collect::<Vec<_>>();
        let done = match self.lot.random_range(0..10) {
            0 => return None,
            1 => worker.sink.commit_rows(&next, NOW, CONTEXT).await.map(|_| false),
            2 | 3 => return Some(worker),
            4 => match worker.sink.maintain(NOW.plus(2 * HOUR_MS)).await {
                Ok(_) => Ok(true),
                Err(error) => Err(error),
            },
            _ => worker.sink.commit(&next, NOW, CONTEXT).await.map(|_| true),
        };
        match done {
            Ok(true) => Some(worker),
            Ok(false) => None,
            Err(SinkError::Fenced { .. }) if is_zombie => None,
            Err(error) => panic!("an owner was refused: {error:?}"),
        }
    }

    async fn step(&mut self) {
        match self.lot.random_range(0..8) {
            0 => self.rebalance().await,
            1 | 2 if !self.zombies.is_empty() => {
                let chosen = self.lot.random_range(0..self.zombies.len());
                let zombie = self.zombies.swap_remove(chosen);
                let zombie = self.work(zombie, true).await;
                self.zombies.extend(zombie);
            }
            _ => {
                let chosen = self.lot.random_range(0..self.workers.len());
                let worker = self.workers.swap_remove(chosen);
                let (own, index) = (worker.cursors.keys().copied(), worker.index.clone());
                let own = own.collect::<Vec<_>>();
                match self.work(worker, false).await {
                    Some(worker) => self.workers.push(worker),
                    None => self.open(&own, Some(index)).await,
                }
            }
        }
    }

    async fn finish(mut self, seed: u64) {
        self.workers.clear();
        let own = (0..PARTITIONS).collect::<Vec<_>>();
        self.open(&own, None).await;
        let mut worker = self.workers.pop().unwrap();
        Self::read(&self.store, &self.log, &mut worker, 25);
        let next = own.iter().map(|&of| (of, 25)).collect::<Vec<_>>();
        worker.sink.commit(&next, NOW, CONTEXT).await.unwrap();
        for mut zombie in self.zombies {
            let late = zombie.cursors.keys().map(|&of| (of, 26)).collect::<Vec<_>>();
            let refused = zombie.sink.commit(&late, NOW, CONTEXT).await;
            assert!(refused.is_err(), "seed {seed}: a late commit was taken");
        }
        let mut distinct = BTreeSet::new();
        let mut total = 0;
        for frames in &self.log {
            for (family, ids) in frames {
                total += ids.len() as u64;
                distinct.extend(ids.iter().map(|id| (*family, *id)));
            }
        }
        let distinct = distinct.len() as u64;
        let places = self.store.places().await;
        assert_eq!(places.len() as u64, distinct, "seed {seed}: rows");
        let mut keys = BTreeSet::new();
        for (partition, position, row) in places {
            let at = usize::try_from(position).unwrap();
            let (family, ids) = &self.log[usize::from(partition)][at];
            keys.insert((*family, ids[usize::try_from(row).unwrap()]));
        }
        assert_eq!(keys.len() as u64, distinct, "seed {seed}: an event twice");
        let outcomes = stored(&self.store.outcomes().await);
        assert_eq!(outcomes, (total, distinct, total - distinct), "seed {seed}: the books");
    }
}

#[tokio::test]
async fn every_event_is_in_once_whoever_writes() {
    for seed in 0..4 {
        let mut world = World::new(seed);
        world.rebalance().await;
        for _ in 0..20 {
            world.step().await;
        }
        world.finish(seed).await;
    }
}
