//! Crashes: everything a commit does up to a point, then a new sink on what is left.

use schemas::Reason;

use super::*;

/// Writes a round with rows for one family, refusals for the other, and refusals of none.
fn round(store: &Store, sink: &mut Sink) {
    store.frame(sink, USE, (0, 0), &events(0..5));
    store.frame(sink, USE, (0, 1), &events(3..7));
    let mut tally = Tally::default();
    tally.refuse(Reason::TooLong);
    let at = |position| Origin { partition: 0, position, import: false };
    sink.count(Some(VIEW), &at(2), &tally, 1, 0);
    sink.count(None, &at(3), &tally, 1, 0);
}

fn whole() -> BTreeMap<Counted, u64> {
    let refused = Counted::Refused(Reason::TooLong);
    BTreeMap::from([(Counted::Received, 11), (STORED, 7), (DUPLICATE, 2), (refused, 2)])
}

async fn a_round_lost_before_its_commit_comes_again(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    round(&store, &mut sink);
    drop(sink);
    let mut sink = store.sink().await;
    assert_eq!(sink.next(0), 0);
    assert!(data_files(&store.root()).is_empty(), "what no commit named is swept away");
    round(&store, &mut sink);
    sink.commit(&[(0, 4)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.outcomes().await, whole());
}

async fn a_crash_between_table_and_ledger_is_made_good(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    round(&store, &mut sink);
    sink.commit_rows(&[(0, 4)], NOW, CONTEXT).await.unwrap();
    drop(sink);

    // Twice, because the second time the ledger is complete and must not take the counts again.
    for _ in 0..2 {
        let sink = store.sink().await;
        assert_eq!(sink.next(0), 0, "the ledger alone says where to read on");
        let outcomes = store.outcomes().await;
        assert_eq!(
            (outcomes[&Counted::Received], outcomes[&STORED], outcomes[&DUPLICATE]),
            (9, 7, 2)
        );
    }
    let mut sink = store.sink().await;
    round(&store, &mut sink);
    assert_eq!(sink.pending().rows, 0, "the table has them");
    sink.commit(&[(0, 4)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.outcomes().await, whole());
    assert_eq!(store.rows("use").await.len(), 7);
}

async fn positions_of_a_table_that_is_ahead_never_move_back(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 9), &events(0..5));
    store.frame(&mut sink, USE, (1, 0), &events(5..6));
    sink.commit_rows(&[(0, 10), (1, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let mut sink = store.sink().await;
    assert!(sink.resume(0, 9).is_err(), "the table holds more than such a log");
    // Reading again, the first commit comes when partition 0 is not that far yet.
    store.frame(&mut sink, USE, (1, 1), &events(6..7));
    sink.commit(&[(0, 3), (1, 2)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let mut sink = store.sink().await;
    assert_eq!(sink.next(0), 3);
    assert_eq!(store.frame(&mut sink, USE, (0, 9), &events(0..5)).stored, 0);
    sink.commit(&[(0, 10)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.rows("use").await.len(), 7);
    assert_eq!(store.outcomes().await, BTreeMap::from([(Counted::Received, 7), (STORED, 7)]));
}

async fn maintenance_between_crash_and_reading_again_loses_no_counts(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    round(&store, &mut sink);
    sink.commit_rows(&[(0, 4)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let mut sink = store.sink().await;
    let done = sink.maintain(NOW.plus(2 * HOUR_MS)).await.unwrap();
    assert_eq!(done.compacted_files, 1);
    drop(sink);
    let mut sink = store.sink().await;
    round(&store, &mut sink);
    sink.commit(&[(0, 4)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.outcomes().await, whole());
    assert_eq!(store.rows("use").await.len(), 7);
}

async fn an_import_goes_on_behind_one_that_broke_off(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (IMPORT, 0), &events(0..5));
    sink.commit_rows(&[(IMPORT, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let mut sink = store.sink().await;
    assert_eq!(sink.next(IMPORT), 1);
    let again = store.frame(&mut sink, USE, (IMPORT, 1), &events(0..6));
    assert_eq!((again.stored, again.duplicate), (1, 5));
    sink.commit(&[(IMPORT, 2)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.rows("use").await.len(), 6);
    assert_eq!(store.outcomes().await[&STORED], 6);
}

on_both! {
    a_round_lost_before_its_commit_comes_again,
    a_crash_between_table_and_ledger_is_made_good,
    positions_of_a_table_that_is_ahead_never_move_back,
    maintenance_between_crash_and_reading_again_loses_no_counts,
    an_import_goes_on_behind_one_that_broke_off,
}
