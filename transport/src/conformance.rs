//! What every [`Log`] owes, as a suite to run against it.
//!
//! Rules that no suite can show: a frame that took the place of another is durable before its [`Log::replace`] returns, and
//! who destroys the old key does so later. Hence a reader, wherever it runs, that meets a frame whose key is
//! destroyed asks for [`Log::replaced`] before it counts the frame as expired: that answer is no older than the
//! destruction. What other processes append is found once [`Log::end`] or [`Log::appended`] has told of it.

use std::collections::BTreeSet;
use std::time::Duration;

use anonymizer::Sealed;

use crate::{Log, LogError, Partition, Position};

/// How long an append may take to wake its reader.
const WAKE_MAX: Duration = Duration::from_secs(10);
/// An hour to seal frames in; any does.
const HOUR: u32 = 500_000;

/// Runs the whole suite.
///
/// `open(name)` opens the log of that name, and makes it, empty and with at least two partitions, the first time. The
/// suite drops a log before it opens it again. `frame(hour)` gives a frame sealed in that hour; frames should
/// differ from each other.
///
/// # Panics
///
/// If the log breaks a rule; the message says which.
pub async fn check<L: Log>(open: impl AsyncFn(&'static str) -> L, frame: impl Fn(u32) -> Sealed) {
    order(&open("order").await, &frame).await;
    limits(&open("limits").await, &frame).await;
    partitions(&open("partitions").await, &frame).await;
    wakes(&open("wakes").await, &frame).await;
    together(&open("together").await, &frame).await;
    reopened(&open, &frame).await;
    removal(&open, &frame).await;
    replacing(&open, &frame).await;
    backwards(&open, &frame).await;
}

/// Frames come back as they were, in the order of their positions, from wherever reading begins.
async fn order<L: Log>(log: &L, frame: impl Fn(u32) -> Sealed) {
    let partition = Partition(0);
    assert!(read(log, partition, Position(0)).await.is_empty(), "a new log is not empty");
    let mut appended = Vec::new();
    for _ in 0..5 {
        appended.push(append(log, partition, frame(HOUR)).await);
    }
    assert!(appended.is_sorted_by(|a, b| a.0 < b.0), "positions do not ascend");
    assert_eq!(read(log, partition, Position(0)).await, appended, "frames are not as they were");
    for (index, (position, _)) in appended.iter().enumerate() {
        let rest = read(log, partition, *position).await;
        assert_eq!(rest, appended[index..], "reading from a position");
    }
    let end = log.end(partition).await.expect("end");
    let last = appended.last().expect("five frames").0;
    assert!(end > last, "the end is not after the last frame");
    assert!(read(log, partition, end).await.is_empty(), "something is read from the end");
    assert!(read(log, partition, Position(u64::MAX)).await.is_empty(), "nor beyond it");
}

/// A read gives as much as it was asked for, and never nothing where there is something.
async fn limits<L: Log>(log: &L, frame: impl Fn(u32) -> Sealed) {
    let partition = Partition(0);
    let mut appended = Vec::new();
    for _ in 0..4 {
        appended.push(append(log, partition, frame(HOUR)).await);
    }
    let one = log.read(partition, Position(0), 0).await.expect("read");
    assert_eq!(one.len(), 1, "a read without room gives one frame");
    let two = appended[0].1.len() + appended[1].1.len();
    let read = log.read(partition, Position(0), two).await.expect("read");
    assert_eq!(read.len(), 2, "a read gives what fits");
}

/// Partitions know nothing of each other, and there are no others.
async fn partitions<L: Log>(log: &L, frame: impl Fn(u32) -> Sealed) {
    assert!(log.partitions() >= 2, "the suite needs two partitions");
    let first = append(log, Partition(0), frame(HOUR)).await;
    let second = append(log, Partition(1), frame(HOUR)).await;
    assert_eq!(read(log, Partition(0), Position(0)).await, [first]);
    assert_eq!(read(log, Partition(1), Position(0)).await, [second]);

    let beyond = Partition(log.partitions());
    let refused = log.append(beyond, frame(HOUR)).await.expect_err("no such partition");
    assert!(matches!(refused, LogError::NoPartition { .. }) && !refused.is_retryable());
    assert!(log.read(beyond, Position(0), 1).await.is_err() && log.end(beyond).await.is_err());
}

/// A reader that waits learns of an append, also of one that came before it waited.
async fn wakes<L: Log>(log: &L, frame: impl Fn(u32) -> Sealed) {
    append(log, Partition(0), frame(HOUR)).await;
    tokio::time::timeout(WAKE_MAX, log.appended()).await.expect("an append before waiting");
    let (_, ()) = tokio::time::timeout(WAKE_MAX, async {
        tokio::join!(append(log, Partition(1), frame(HOUR)), log.appended())
    })
    .await
    .expect("an append while waiting");
}

/// Appends at the same time all get a place, each its own.
async fn together<L: Log>(log: &L, frame: impl Fn(u32) -> Sealed) {
    let appends = (0..32_u16).map(|n| append(log, Partition(n % 2), frame(HOUR)));
    let mut appended = join_all(appends).await;
    for partition in [Partition(0), Partition(1)] {
        let read = read(log, partition, Position(0)).await;
        let positions = read.iter().map(|(position, _)| *position).collect::<BTreeSet<_>>();
        assert_eq!(positions.len(), 16, "two frames at one position");
        for found in read {
            let known = appended.iter().position(|one| *one == found).expect("a frame nobody sent");
            appended.swap_remove(known);
        }
    }
    assert!(appended.is_empty(), "a frame was acknowledged and is not there");
}

/// What was acknowledged outlives the process; so do the id and the positions.
async fn reopened<L: Log>(open: impl AsyncFn(&'static str) -> L, frame: impl Fn(u32) -> Sealed) {
    let log = open("reopened").await;
    let (id, count) = (log.id(), log.partitions());
    let before = append(&log, Partition(1), frame(HOUR)).await;
    let end = log.end(Partition(1)).await.expect("end");
    drop(log);

    let log = open("reopened").await;
    assert_eq!((log.id(), log.partitions()), (id, count), "another log");
    assert_eq!(log.end(Partition(1)).await.expect("end"), end, "the end moved");
    let after = append(&log, Partition(1), frame(HOUR)).await;
    assert_eq!(read(&log, Partition(1), Position(0)).await, [before, after]);
    assert_ne!(open("another").await.id(), id, "two logs with one id");
}

/// An hour goes with all of its frames and no others while hours ascend, and takes no position with it.
async fn removal<L: Log>(open: impl AsyncFn(&'static str) -> L, frame: impl Fn(u32) -> Sealed) {
    let log = open("removal").await;
    append(&log, Partition(0), frame(HOUR)).await;
    append(&log, Partition(1), frame(HOUR)).await;
    let kept = append(&log, Partition(0), frame(HOUR + 1)).await;
    assert_eq!(log.remove_through(HOUR - 1).await.expect("remove"), 0, "nothing is that old");
    assert_eq!(log.remove_through(HOUR).await.expect("remove"), 2, "two frames of that hour");
    assert_eq!(
        read(&log, Partition(0), Position(0)).await,
        std::slice::from_ref(&kept),
        "the later hour stays"
    );
    assert!(read(&log, Partition(1), Position(0)).await.is_empty(), "a removed frame is read");

    assert_eq!(log.remove_through(HOUR + 1).await.expect("remove"), 1, "the newest hour goes too");
    let end = log.end(Partition(0)).await.expect("end");
    drop(log);
    let log = open("removal").await;
    assert_eq!(log.end(Partition(0)).await.expect("end"), end, "the end of an empty log moved");
    let next = append(&log, Partition(0), frame(HOUR + 2)).await;
    assert!(next.0 >= end && next.0 > kept.0, "a position was used twice");
    assert_eq!(read(&log, Partition(0), Position(0)).await, [next]);
}

/// A frame takes the place of another, and of nothing else; it survives like one that was appended.
async fn replacing<L: Log>(open: impl AsyncFn(&'static str) -> L, frame: impl Fn(u32) -> Sealed) {
    let log = open("replacing").await;
    let mut expected = Vec::new();
    for hour in [HOUR, HOUR, HOUR + 3, HOUR + 3] {
        expected.push(append(&log, Partition(0), frame(hour)).await);
    }
    let other = append(&log, Partition(1), frame(HOUR)).await;
    let end = log.end(Partition(0)).await.expect("end");
    let mut frames = Vec::new();
    for (index, hour) in [(1, HOUR), (2, HOUR + 3)] {
        let sealed = frame(hour);
        let (position, bytes) = &mut expected[index];
        assert_ne!(sealed.as_bytes(), bytes, "the suite needs frames that differ");
        *bytes = sealed.as_bytes().to_vec();
        frames.push((*position, sealed));
    }
    frames.push((end, frame(HOUR)));
    frames.push((Position(u64::MAX), frame(HOUR)));
    let replaced = log.replace(Partition(0), frames).await.expect("replace");
    assert_eq!(replaced, 2, "where no frame is, none is put");
    assert_eq!(read(&log, Partition(0), Position(0)).await, expected, "two frames are others");
    assert_eq!(log.end(Partition(0)).await.expect("end"), end, "the end moved");
    again(&log, &expected).await;
    drop(log);

    let log = open("replacing").await;
    again(&log, &expected).await;
    assert_eq!(read(&log, Partition(0), Position(0)).await, expected, "after opening");
    assert_eq!(read(&log, Partition(1), Position(0)).await, [other], "another partition");
    assert_eq!(log.remove_through(HOUR).await.expect("remove"), 3, "they go with their hour");
    let gone = log.replace(Partition(0), vec![(expected[0].0, frame(HOUR))]).await;
    assert_eq!(gone.expect("replace"), 0, "what was removed stays so");
    let beyond = log.replace(Partition(log.partitions()), Vec::new()).await;
    assert!(matches!(beyond, Err(LogError::NoPartition { .. })));
}

/// Who asks for a frame again, because it could not be opened, is given what took its place.
async fn again<L: Log>(log: &L, expected: &[(Position, Vec<u8>)]) {
    for index in [1, 2] {
        let (position, bytes) = &expected[index];
        let found = log.replaced(Partition(0), *position).await.expect("replaced");
        let found = found.map(Sealed::into_bytes);
        assert_eq!(found.as_ref(), Some(bytes), "what took a frame's place");
    }
}

/// A clock that steps back, by little or by much, does not change the order. What was sealed later stays; what was sealed
/// earlier may stay behind it, if a log removes from its front alone, and goes with it.
async fn backwards<L: Log>(open: impl AsyncFn(&'static str) -> L, frame: impl Fn(u32) -> Sealed) {
    let log = open("backwards").await;
    let mut appended = Vec::new();
    for hour in [HOUR + 1, HOUR, HOUR + 900_000, HOUR, HOUR + 1] {
        appended.push(append(&log, Partition(0), frame(hour)).await);
    }
    assert_eq!(read(&log, Partition(0), Position(0)).await, appended, "order by position");
    drop(log);
    let log = open("backwards").await;
    assert_eq!(read(&log, Partition(0), Position(0)).await, appended, "order after opening");
    log.remove_through(HOUR + 1).await.expect("remove");
    let left = read(&log, Partition(0), Position(0)).await;
    assert!(left.contains(&appended[2]), "what was sealed far ahead is gone");
    assert!(left.iter().all(|one| appended[2..].contains(one)), "what lies before it is left");
    log.remove_through(HOUR + 900_000).await.expect("remove");
    assert!(read(&log, Partition(0), Position(0)).await.is_empty(), "what waited for it is left");
}

async fn append<L: Log>(log: &L, partition: Partition, frame: Sealed) -> (Position, Vec<u8>) {
    let bytes = frame.as_bytes().to_vec();
    (log.append(partition, frame).await.expect("append"), bytes)
}

async fn read<L: Log>(log: &L, partition: Partition, from: Position) -> Vec<(Position, Vec<u8>)> {
    let frames = log.read(partition, from, usize::MAX).await.expect("read");
    frames.into_iter().map(|(position, frame)| (position, frame.into_bytes())).collect()
}

/// Waits for all, at the same time.
async fn join_all<T>(futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting =
        futures.into_iter().map(|one| (Some(Box::pin(one)), None)).collect::<Vec<_>>();
    std::future::poll_fn(|context| {
        for (future, output) in &mut waiting {
            if let Some(running) = future
                && let std::task::Poll::Ready(done) = running.as_mut().poll(context)
            {
                *output = Some(done);
                *future = None;
            }
        }
        match waiting.iter().all(|(future, _)| future.is_none()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}
