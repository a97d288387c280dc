use schemas::time::HOUR_MS;
use serde_json::json;
use std::sync::atomic::Ordering;

use super::place::{Place, books, event};
use crate::pipeline::watch::Danger;

fn some(from: usize, count: usize) -> Vec<serde_json::Value> {
    (from..from + count).map(|number| event(&number.to_string(), json!({}))).collect()
}

#[test]
fn danger_is_a_day_before_the_end_and_refusal_six_hours() {
    let life = 96 * HOUR_MS;
    for (age, danger) in [
        (0, Danger::None),
        (72 * HOUR_MS - 1, Danger::None),
        (72 * HOUR_MS, Danger::Near),
        (90 * HOUR_MS - 1, Danger::Near),
        (90 * HOUR_MS, Danger::Refusing),
        (200 * HOUR_MS, Danger::Refusing),
    ] {
        assert_eq!(Danger::of(age, life), danger, "{age}");
    }
    assert_eq!(Danger::of(0, HOUR_MS), Danger::None, "a short life is not all danger");
}

/// The worker does not run at all here: what the watch does must not depend on it.
#[tokio::test]
async fn before_acknowledged_events_die_no_more_are_taken_until_they_are_committed() {
    let place = Place::new();
    let mut running = place.start().await;
    assert_eq!(running.look().await.danger, Danger::None);
    assert_eq!(running.post(some(0, 20)).await, 202);
    // Received at noon, so that the hour ends one hour later.
    place.pass(HOUR_MS + 72 * HOUR_MS - 1);
    assert_eq!(running.look().await.danger, Danger::None);
    place.pass(1);
    let seen = running.look().await;
    assert_eq!((seen.danger, seen.oldest_uncommitted_ms), (Danger::Near, 72 * HOUR_MS));
    assert_eq!(running.post(some(20, 5)).await, 202);
    place.pass(18 * HOUR_MS);
    assert_eq!(running.look().await.danger, Danger::Refusing);
    assert_eq!(running.post(some(25, 5)).await, 503);

    running.worker.drain().await.unwrap();
    let seen = running.look().await;
    assert_eq!((seen.danger, seen.oldest_uncommitted_ms), (Danger::None, 0));
    assert_eq!(running.post(some(25, 5)).await, 202);
    running.worker.drain().await.unwrap();
    assert_eq!(books(&place).await["stored"], 30);
    running.stop().await;
}

#[tokio::test]
async fn a_restart_sees_the_danger_before_the_first_round() {
    let place = Place::new();
    let running = place.start().await;
    running.post(some(0, 3)).await;
    running.stop().await;
    place.pass(92 * HOUR_MS);
    let mut running = place.start().await;
    assert_eq!(running.look().await.danger, Danger::Refusing);
    running.stop().await;
}

#[tokio::test]
async fn what_dies_all_the_same_is_expired_and_counted_from_clear_headers() {
    let place = Place::new();
    let mut running = place.start().await;
    assert_eq!(running.post(some(0, 20)).await, 202);
    place.pass(96 * HOUR_MS);
    assert_eq!(running.post(some(20, 10)).await, 202);
    // The worker fails, so that nothing but the watch destroys keys.
    running.progress.failures.store(1, Ordering::Relaxed);
    running.look().await;
    assert_eq!(running.keys_alive(), 2, "its hour ends later");
    place.pass(HOUR_MS);
    running.look().await;
    assert_eq!(running.keys_alive(), 1, "the hard end waits for nobody");

    running.worker.drain().await.unwrap();
    let counted = books(&place).await;
    assert_eq!((counted["received"], counted["expired"], counted["stored"]), (30, 20, 10));
    running.stop().await;
}
