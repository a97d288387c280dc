//! A worker that is to end while the log does not answer: it leaves what is left to others, soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anonymizer::Sealed;
use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use transport::{Log, LogError, LogId, Partition, Position};

use super::place::{Place, books};
use super::shared::{Hand, WORKER, door, post};
use crate::pipeline::Stage;

/// What the log does when it is asked for an end, as brokers do that are there, are gone, or hang.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Answers,
    Fails,
    Hangs,
}

/// A log of moods.
struct Moody {
    log: Arc<dyn Log>,
    mood: watch::Sender<Mood>,
    asked: AtomicU64,
}

impl Moody {
    fn new(log: Arc<dyn Log>) -> Arc<Self> {
        Arc::new(Self { log, mood: watch::Sender::new(Mood::Answers), asked: AtomicU64::new(0) })
    }

    /// How often it was asked since it has this mood.
    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    fn turns(&self, mood: Mood) {
        self.asked.store(0, Ordering::Relaxed);
        self.mood.send_replace(mood);
    }
}

#[async_trait]
impl Log for Moody {
    fn id(&self) -> LogId {
        self.log.id()
    }

    fn partitions(&self) -> u16 {
        self.log.partitions()
    }

    async fn append(&self, partition: Partition, frame: Sealed) -> Result<Position, LogError> {
        self.log.append(partition, frame).await
    }

    async fn read(
        &self,
        partition: Partition,
        from: Position,
        bytes_max: usize,
    ) -> Result<Vec<(Position, Sealed)>, LogError> {
        self.log.read(partition, from, bytes_max).await
    }

    async fn replace(
        &self,
        partition: Partition,
        frames: Vec<(Position, Sealed)>,
    ) -> Result<u64, LogError> {
        self.log.replace(partition, frames).await
    }

    async fn end(&self, partition: Partition) -> Result<Position, LogError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut mood = self.mood.subscribe();
        drop(mood.wait_for(|mood| *mood != Mood::Hangs).await);
        let mood = *mood.borrow();
        match mood {
            Mood::Answers => self.log.end(partition).await,
            Mood::Fails | Mood::Hangs => Err(LogError::Stopped),
        }
    }

    async fn appended(&self) {
        self.log.appended().await;
    }

    async fn remove_through(&self, hour: u32) -> Result<u64, LogError> {
        self.log.remove_through(hour).await
    }

    async fn bytes(&self) -> u64 {
        self.log.bytes().await
    }
}

#[tokio::test]
async fn who_is_to_end_tries_once_what_fails() {
    let place = Place::new();
    let (running, log) = door(&place).await;
    let log = Moody::new(log);
    let shared: Arc<dyn Log> = Arc::clone(&log) as _;
    let Hand { mut worker, progress, share: _share } =
        Hand::of(place.node("first", WORKER), &shared, &[0, 1]).await;
    post(&running, "one", 40).await;
    progress.patience().enter(Stage::Worker);
    log.turns(Mood::Fails);
    // A round is due all the time, and a chance of one half to begin it would show.
    for times in 1..=20 {
        let (_requests, inbox) = mpsc::channel(1);
        worker = worker.run(inbox).await;
        assert_eq!(log.asked(), times, "the last commit, and no round before it");
    }
    running.stop().await;
}

/// In a round that fails, or never ends, when the stop comes.
async fn leaves_to_others_what_is_left(ends: bool) {
    let place = Place::new();
    let (running, log) = door(&place).await;
    let log = Moody::new(log);
    let shared: Arc<dyn Log> = Arc::clone(&log) as _;
    let Hand { worker, progress, share: _share } =
        Hand::of(place.node("first", WORKER), &shared, &[0, 1]).await;
    post(&running, "one", 40).await;
    log.turns(Mood::Hangs);
    let (_requests, inbox) = mpsc::channel(1);
    let stop = async {
        while log.asked() == 0 {
            tokio::task::yield_now().await;
        }
        progress.patience().enter(Stage::Worker);
        if ends {
            log.mood.send_replace(Mood::Fails);
        }
    };
    let (mut worker, ()) = tokio::join!(worker.run(inbox), stop);
    assert_eq!(log.asked(), 1, "no other round was begun");
    assert!(worker.store().tables().is_err(), "what was read and not committed is void");

    log.turns(Mood::Answers);
    let mut second = Hand::of(place.node("second", WORKER), &shared, &[0, 1]).await;
    second.worker.drain().await.unwrap();
    assert_eq!(books(&place).await["stored"], 40);
    running.stop().await;
}

#[tokio::test]
async fn what_fails_while_the_service_stops_is_left_to_others() {
    leaves_to_others_what_is_left(true).await;
}

#[tokio::test]
async fn what_hangs_while_the_service_stops_is_left_to_others() {
    leaves_to_others_what_is_left(false).await;
}
