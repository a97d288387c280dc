//! Erasure where one node takes the request and another looks after the tables, by a steady clock that the test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anonymizer::RequestKind;
use anonymizer::shared::SETTLE_AFTER_MS;
use schemas::{Clock, Millis};

use super::place::{Place, books};
use super::shared::{Hand, WORKER, door, post};
use crate::store::Node;
use crate::subject::check::Checker;
use crate::subject::wish::Wish;

const FAMILY: &str = "device_usage";

struct Steady(Arc<AtomicI64>);

impl Steady {
    fn node(&self, place: &Place, name: &str) -> Node {
        let steady = Arc::clone(&self.0);
        let steady: Clock = Arc::new(move || Millis(steady.load(Ordering::Relaxed)));
        let mut node = place.node(name, WORKER);
        node.steady = steady;
        node
    }

    /// Every node looks when the time has passed.
    fn passes(&self, hands: &mut [&mut Hand]) {
        self.0.fetch_add(SETTLE_AFTER_MS, Ordering::Relaxed);
        for hand in hands {
            hand.worker.store().gate.refresh().unwrap();
        }
    }
}

#[tokio::test]
async fn a_request_that_one_node_takes_is_done_by_another_when_every_node_must_know() {
    let place = Place::new();
    let steady = Steady(Arc::new(AtomicI64::new(1)));
    let (running, log) = door(&place).await;
    let mut keeper = Hand::of(steady.node(&place, "keeper"), &log, &[0, 1]).await;
    let mut other = Hand::of(steady.node(&place, "other"), &log, &[]).await;
    post(&running, "one", 20).await;
    keeper.worker.drain().await.unwrap();
    post(&running, "two", 20).await;
    assert_eq!(books(&place).await["stored"], 20);

    let requests = Arc::clone(&other.worker.store().requests);
    let subject = requests.subject(FAMILY, "SN-one3").unwrap();
    let kind = RequestKind::Erase;
    let wish = Wish::Entry { kind, purposes: Vec::new(), window_days: None };
    let asked = requests.ask(&wish, &subject).unwrap();
    keeper.worker.remove_suppressed().await.unwrap();
    let keys = |hand: &mut Hand| hand.worker.store().gate.superseded().unwrap();
    assert!(keys(&mut keeper).is_empty(), "not every node knows of it");

    steady.passes(&mut [&mut keeper, &mut other]);
    other.worker.remove_suppressed().await.unwrap();
    assert!(keys(&mut other).is_empty(), "it does not look after the tables");
    keeper.worker.remove_suppressed().await.unwrap();
    assert!(!keys(&mut keeper).is_empty());
    keeper.worker.remove_suppressed().await.unwrap();
    // What was read under the older list is void, and is read again.
    let drained = keeper.worker.drain().await;
    assert!(drained.is_err(), "rows of before the request are not committed after it");
    keeper.worker.settle(drained).await;
    assert_eq!(keeper.worker.maintain().await.unwrap(), 0);
    requests.refresh().unwrap();
    assert!(requests.receipt(&asked).is_none(), "not every node seals under the other key");

    steady.passes(&mut [&mut keeper, &mut other]);
    keeper.worker.remove_suppressed().await.unwrap();
    assert!(keys(&mut keeper).is_empty());
    requests.refresh().unwrap();
    let receipt = requests.receipt(&asked).unwrap();
    assert_eq!(receipt.removed.rows_removed, 1);
    assert!(receipt.removed.frames_rewritten > 0);
    assert!(!receipt.removed.sealing_keys_destroyed.is_empty());
    let store = keeper.worker.store();
    let gate = Arc::clone(&store.gate);
    let data = place.data().to_owned();
    let checked = Checker { data, gate, log: Arc::clone(&log) }.check(&subject).await.unwrap();
    assert_eq!(checked.found, 0, "{:?}", checked.places);
    // Everybody else is there, and what came meanwhile.
    keeper.worker.drain().await.unwrap();
    assert_eq!(books(&place).await["stored"], 40);
    running.stop().await;
}

/// A request that its node wrote down and never entered is closed, but not while that node may still be at it.
#[tokio::test]
async fn a_request_that_went_no_further_is_dropped_when_its_node_must_be_gone() {
    let place = Place::new();
    let steady = Steady(Arc::new(AtomicI64::new(1)));
    let (running, log) = door(&place).await;
    let ledger = place.data().join("ledger/requests.jsonl");
    let line = format!(
        "{{\"at\":\"{0}\",\"request\":\"r\",\"state\":\"received\",\"kind\":\"erase\",\"family\":\"{FAMILY}\",\"due\":\"{0}\",\"commitment\":\"00\"}}\n",
        super::place::START
    );
    std::fs::write(&ledger, line).unwrap();
    let mut keeper = Hand::of(steady.node(&place, "keeper"), &log, &[0, 1]).await;
    let dropped = || std::fs::read_to_string(&ledger).unwrap().contains("dropped");
    keeper.worker.remove_suppressed().await.unwrap();
    assert!(!dropped());
    steady.passes(&mut [&mut keeper]);
    keeper.worker.remove_suppressed().await.unwrap();
    assert!(dropped());
    running.stop().await;
}
