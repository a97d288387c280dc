//! Purposes with a period: what maintenance takes from rows, once, and what replay does not bring back.

use schemas::Note;

use super::narrow::{seen, store_of};
use super::*;
use crate::Frame;

const OUTLIVED: Counted = Counted::Note(Note::Outlived);
const POLICY: &str = r#"
controller = "Test"
version    = "2026-01-01"
[purposes.care]
basis  = "consent"
keep   = "4 days"
notice = "to care"
[purposes.improve]
basis  = "legitimate interest"
keep   = "10 days"
notice = "to test"
"#;

async fn filled(store: &Store) -> Sink {
    let mut sink = store.sink().await;
    let both = |id: u32| Event { granted: PurposeSet(3), ..event(id) };
    store.frame(&mut sink, USE, (0, 0), &(0..10).map(both).collect::<Vec<_>>());
    let old = |id: u32| Event { time: NOW.plus(-2 * DAY_MS), ..both(id) };
    store.frame(&mut sink, USE, (0, 1), &(10..20).map(old).collect::<Vec<_>>());
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    // One file a day, in random order.
    sink.maintain(NOW.plus(HOUR_MS)).await.unwrap();
    sink
}

/// How many rows have a contributor, a product, a duration.
async fn left(store: &Store) -> (usize, usize, usize) {
    let rows = seen(store).await;
    assert_eq!(rows.len(), 20, "events stay");
    let count =
        |is: &dyn Fn(&super::narrow::Seen) -> bool| rows.iter().filter(|row| is(row)).count();
    (count(&|row| row.1.is_some()), count(&|row| row.2.is_some()), count(&|row| row.3.is_some()))
}

async fn a_purpose_ends_a_day_at_a_time_and_once(new: New) {
    let store = store_of(new, POLICY);
    let mut sink = filled(&store).await;
    let day_over = Millis::of_day(NOW.day() + 1);
    // The older day first: the moment before, and that moment.
    let first = day_over.plus(2 * DAY_MS);
    assert_eq!(sink.maintain(first.plus(-1)).await.unwrap().outlived_rows, 0);
    assert_eq!(left(&store).await, (20, 20, 20));
    assert_eq!(sink.maintain(first).await.unwrap().outlived_rows, 10);
    // `care` alone carried the duration.
    assert_eq!(left(&store).await, (20, 20, 10));
    let files = data_files(&store.root().join("events/use"));
    for reopened in [false, true] {
        if reopened {
            drop(sink);
            sink = store.sink().await;
        }
        assert_eq!(sink.maintain(first.plus(DAY_MS)).await.unwrap().outlived_rows, 0);
        assert_eq!(data_files(&store.root().join("events/use")), files, "nothing is rewritten");
    }
    assert_eq!(sink.maintain(day_over.plus(4 * DAY_MS)).await.unwrap().outlived_rows, 10);
    assert_eq!(left(&store).await, (20, 20, 0));
    // Then the purpose that carried all else; the events are nobody's from then on.
    assert_eq!(sink.maintain(day_over.plus(10 * DAY_MS)).await.unwrap().outlived_rows, 20);
    assert_eq!(left(&store).await, (0, 0, 0));
    assert!(seen(&store).await.iter().all(|row| row.4.as_deref() == Some("")));
    assert_eq!(store.outcomes().await[&OUTLIVED], 40);
    assert_eq!(store.outcomes().await[&STORED], 20);
    let known = store.frame(&mut sink, USE, (0, 2), &events(0..20));
    assert_eq!(known.duplicate, 10, "copies of rows in their window are known");
}

async fn what_comes_late_to_a_day_that_is_over_loses_it_too(new: New) {
    let store = store_of(new, POLICY);
    let mut sink = filled(&store).await;
    let later = Millis::of_day(NOW.day() + 1).plus(2 * DAY_MS);
    sink.maintain(later).await.unwrap();
    let late = Event { granted: PurposeSet(3), time: NOW.plus(-2 * DAY_MS), ..event("late") };
    store.frame(&mut sink, USE, (0, 2), &[late]);
    sink.commit(&[(0, 3)], later, CONTEXT).await.unwrap();
    assert_eq!(sink.maintain(later).await.unwrap().outlived_rows, 1);
}

async fn replay_brings_nothing_back(new: New) {
    let store = store_of(new, POLICY);
    let mut sink = filled(&store).await;
    let later = Millis::of_day(NOW.day() + 1).plus(4 * DAY_MS);
    sink.maintain(later).await.unwrap();
    let frames = |now: Millis| {
        let both = |id: u32| Event { granted: PurposeSet(3), ..event(id) };
        let origin = Origin { partition: 0, position: 0, import: false };
        let batch = store.batch(USE, &origin, &(0..10).map(both).collect::<Vec<_>>());
        [Frame::new(origin, batch, &store.package, now).unwrap()]
    };
    let comparison = sink.compare(&frames(later)).unwrap();
    let (_, difference) = comparison.differences().next().unwrap();
    assert!(difference.is_none(), "{difference:?}");
    let comparison = sink.compare(&frames(NOW)).unwrap();
    let (_, difference) = comparison.differences().next().unwrap();
    assert_eq!(difference.fields["duration"].filled, 10, "it is the time that tells");
}

/// Rows from before they named their purposes lose what any of them may have carried at its first end.
async fn rows_that_do_not_name_their_purposes_lose_at_the_first_end(new: New) {
    let store = store_of(new, POLICY);
    let mut sink = filled(&store).await;
    super::narrow::forget_purposes(&mut sink).await;
    let later = Millis::of_day(NOW.day() + 1).plus(4 * DAY_MS);
    assert_eq!(sink.maintain(later).await.unwrap().outlived_rows, 20);
    assert_eq!(left(&store).await, (0, 20, 0), "the serial number has two purposes");
    drop(sink);
    let mut sink = store.sink().await;
    assert_eq!(sink.maintain(later).await.unwrap().outlived_rows, 0);
}

on_both! {
    a_purpose_ends_a_day_at_a_time_and_once,
    what_comes_late_to_a_day_that_is_over_loses_it_too,
    replay_brings_nothing_back,
    rows_that_do_not_name_their_purposes_lose_at_the_first_end,
}
