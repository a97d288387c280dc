//! Two workers over one log and the same tables, whose shares a test decides as a group would.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use schemas::Millis;
use schemas::time::MINUTE_MS;
use serde_json::json;
use tokio::sync::watch;
use transport::Log;

use super::place::{Place, Running, START, books, event};
use crate::config::Roles;
use crate::pipeline::{Progress, Worker, is_fenced};
use crate::store::{Node, Store};
use crate::streams::{Member, Share, Streams};

pub(super) const WORKER: Roles = Roles { ingest: false, worker: true, query: false };

/// What a test says that the group says.
struct Seat(watch::Receiver<Share>);

impl Member for Seat {
    fn share(&self) -> Share {
        self.0.borrow().clone()
    }

    fn changed(&mut self) -> BoxFuture<'_, ()> {
        async { drop(self.0.changed().await) }.boxed()
    }

    fn release(&self) {}

    fn note_committed(&self, _: &[(u16, u64)]) {}
}

/// A worker of the two, and its share.
pub(super) struct Hand {
    pub(super) worker: Worker,
    pub(super) progress: Arc<Progress>,
    pub(super) share: watch::Sender<Share>,
}

impl Hand {
    async fn at(place: &Place, name: &str, log: &Arc<dyn Log>, own: &[u16]) -> Self {
        Self::of(place.node(name, WORKER), log, own).await
    }

    pub(super) async fn of(node: Node, log: &Arc<dyn Log>, own: &[u16]) -> Self {
        let mut store = Store::over(node, Some(Arc::clone(log))).await.unwrap();
        let (share, seat) = watch::channel(Share::default());
        let feeds = store.streams.feeds().to_vec();
        store.streams = Streams::shared(feeds, vec![Box::new(Seat(seat))]);
        let progress = Arc::new(Progress::default());
        let worker = Worker::new(store, Arc::clone(&progress)).unwrap();
        let mut hand = Self { worker, progress, share };
        hand.gets(own).await;
        hand
    }

    /// The group gives it these.
    fn is_given(&self, own: &[u16]) {
        let owned: BTreeSet<u16> = own.iter().copied().collect();
        drop(self.share.send_replace(Share { owned, revoking: BTreeSet::new() }));
    }

    /// And it notices.
    async fn gets(&mut self, own: &[u16]) {
        self.is_given(own);
        self.worker.rebalance().await.unwrap();
    }
}

/// A door with a log, whose own worker is not used.
pub(super) async fn door(place: &Place) -> (Running<'_>, Arc<dyn Log>) {
    let mut running = place.start_door().await;
    let log = Arc::clone(&running.worker.store().log);
    (running, log)
}

pub(super) async fn post(running: &Running<'_>, name: &str, count: usize) {
    let events = (0..count).map(|n| event(&format!("{name}{n}"), json!({}))).collect();
    assert_eq!(running.post(events).await, 202);
}

#[tokio::test]
async fn each_commits_its_share_and_all_is_complete_when_both_have() {
    let place = Place::new();
    let (running, log) = door(&place).await;
    let mut first = Hand::at(&place, "first", &log, &[0]).await;
    let mut second = Hand::at(&place, "second", &log, &[1]).await;
    post(&running, "one", 40).await;
    place.pass(10 * MINUTE_MS);

    first.worker.drain().await.unwrap();
    let half = books(&place).await["stored"];
    assert!(half > 0 && half < 40, "{half}");
    place.pass(MINUTE_MS);
    first.worker.drain().await.unwrap();
    assert_eq!(first.progress.complete_until(), None, "the other half is not committed");

    second.worker.drain().await.unwrap();
    assert_eq!(second.progress.complete_until(), None, "not for this one to say");
    first.worker.drain().await.unwrap();
    let complete = first.progress.complete_until().unwrap();
    assert!(complete >= START.plus(9 * MINUTE_MS), "{complete}");
    let counted = books(&place).await;
    assert_eq!((counted["received"], counted["stored"]), (40, 40));

    assert_eq!(
        second.worker.maintain().await.unwrap(),
        0,
        "it is not the one to look after tables"
    );
    running.stop().await;
}

#[tokio::test]
async fn who_lost_a_partition_commits_nothing_of_it_and_who_got_it_all() {
    let place = Place::new();
    let (running, log) = door(&place).await;
    let mut first = Hand::at(&place, "first", &log, &[0]).await;
    let mut second = Hand::at(&place, "second", &log, &[1]).await;
    post(&running, "one", 40).await;
    second.worker.read().await.unwrap();

    // The group gives all to the first, and the second does not know.
    first.gets(&[0, 1]).await;
    first.worker.drain().await.unwrap();
    assert!(first.progress.complete_until().is_some_and(|time| time > Millis(0)));
    let late = second.worker.commit().await.unwrap_err();
    assert!(is_fenced(&late), "{late:#}");
    second.is_given(&[]);
    second.worker.settle(Err(late)).await;
    assert_eq!(second.progress.failures(), 0, "an ordinary event");
    second.worker.drain().await.unwrap();

    post(&running, "two", 40).await;
    // The same again: found to be there, whoever stored it.
    post(&running, "one", 40).await;
    first.gets(&[0]).await;
    second.gets(&[1]).await;
    first.worker.drain().await.unwrap();
    second.worker.drain().await.unwrap();
    let counted = books(&place).await;
    assert_eq!((counted["stored"], counted["duplicate"]), (80, 40), "{counted:?}");
    running.stop().await;
}

#[tokio::test]
async fn what_is_given_back_is_committed_first_and_nothing_is_read_without_a_share() {
    let place = Place::new();
    let (running, log) = door(&place).await;
    let mut only = Hand::at(&place, "only", &log, &[0, 1]).await;
    post(&running, "one", 40).await;
    only.worker.read().await.unwrap();
    only.gets(&[]).await;
    assert_eq!(books(&place).await["stored"], 40);
    assert!(only.progress.positions().is_empty());
    post(&running, "two", 40).await;
    assert!(!only.worker.read().await.unwrap());
    only.worker.drain().await.unwrap();
    assert_eq!(only.worker.maintain().await.unwrap(), 0);
    assert_eq!(books(&place).await["stored"], 40);
    only.gets(&[1, 0]).await;
    only.worker.drain().await.unwrap();
    assert_eq!(books(&place).await["stored"], 80);
    running.stop().await;
}
