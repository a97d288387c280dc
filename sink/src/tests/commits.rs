use schemas::Reason;

use super::*;
use crate::SinkError;

async fn rows_and_counts_arrive_and_are_found_again(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    assert_eq!((sink.next(0), sink.next(1), sink.next(IMPORT)), (0, 0, 0));
    store.frame(&mut sink, USE, (0, 0), &events(0..5));
    store.frame(&mut sink, USE, (1, 7), &events(5..7));
    store.frame(&mut sink, VIEW, (0, 1), &events(0..3));
    assert_eq!(sink.pending().rows, 10);
    let committed = sink.commit(&[(0, 2), (1, 8)], NOW, CONTEXT).await.unwrap();
    assert_eq!((committed.rows, committed.files), (10, 2));
    assert_eq!(committed.versions, [("use".to_owned(), 1), ("view".to_owned(), 1)]);
    assert_eq!((sink.pending().rows, sink.pending().bytes), (0, 0));
    assert_eq!((sink.next(0), sink.next(1)), (2, 8));

    let mut rows = store.rows("use").await;
    rows.sort();
    let places = rows.iter().map(|row| (row.partition, row.position, row.row)).collect::<Vec<_>>();
    let mut expected = (0..5).map(|row| (0, 0, row)).collect::<Vec<_>>();
    expected.extend([(1, 7, 0), (1, 7, 1)]);
    assert_eq!(places, expected);
    assert!(rows.iter().all(|row| row.day == "2026-03-02" && row.time == NOW.0 * 1000));
    assert_eq!(store.rows("view").await.len(), 3);

    drop(sink);
    let sink = store.sink().await;
    assert_eq!((sink.next(0), sink.next(1)), (2, 8));
    assert_eq!(store.outcomes().await, BTreeMap::from([(Counted::Received, 10), (STORED, 10)]));
    assert_eq!(sink.outcomes(), store.books(store.place()).await);
}

#[tokio::test]
async fn rows_go_to_their_own_day_and_epoch() {
    let store = Store::new();
    let mut sink = store.sink().await;
    let mut sent = events(0..4);
    sent[1].time = NOW.plus(-DAY_MS);
    sent[2].received = NOW.plus(-56 * DAY_MS);
    sent[3].time = NOW.plus(-3 * MINUTE_MS);
    store.frame(&mut sink, USE, (IMPORT, 0), &sent);
    sink.commit(&[(IMPORT, 1)], NOW, CONTEXT).await.unwrap();
    let mut rows = store.rows("use").await;
    rows.sort();
    let days = rows.iter().map(|row| row.day.as_str()).collect::<Vec<_>>();
    assert_eq!(days, ["2026-03-02", "2026-03-01", "2026-03-02", "2026-03-02"]);
    assert_eq!(rows[3].time, NOW.truncate(HOUR_MS).plus(-HOUR_MS).0 * 1000);
    assert_eq!(rows[2].epoch, rows[0].epoch - 2);
    // Day and epoch each have files of their own.
    assert_eq!(data_files(&store.root().join("events/use")).len(), 3);
}

async fn every_event_ends_once(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    let origin = Origin { partition: 0, position: 0, import: false };
    let mut tally = Tally::default();
    tally.refuse(Reason::TooLong);
    tally.refuse(Reason::TooLong);
    tally.refuse(Reason::MissingField);
    sink.count(Some(USE), &origin, &tally, 9, 0);
    let mut sent = events(0..6);
    sent[5] = event(0);
    sent[4].received = NOW.plus(-90 * DAY_MS);
    sink.write(store.batch(USE, &origin, &sent), &origin).unwrap();
    // Refusals without a family, and a frame whose key is gone.
    let mut unknown = Tally::default();
    unknown.refuse(Reason::UnknownType);
    let origin = Origin { position: 1, ..origin };
    sink.count(None, &origin, &unknown, 1, 0);
    let suppressed = Tally { suppressed: 3, ..Tally::default() };
    sink.count(Some(VIEW), &Origin { position: 2, ..origin }, &suppressed, 7, 4);
    sink.commit(&[(0, 3)], NOW, CONTEXT).await.unwrap();

    let outcomes = store.outcomes().await;
    assert_eq!(
        outcomes,
        BTreeMap::from([
            (Counted::Received, 17),
            (STORED, 4),
            (DUPLICATE, 1),
            (EXPIRED, 5),
            (SUPPRESSED, 3),
            (Counted::Refused(Reason::TooLong), 2),
            (Counted::Refused(Reason::MissingField), 1),
            (Counted::Refused(Reason::UnknownType), 1),
        ])
    );
    let ends = outcomes.iter().filter(|(counted, _)| **counted != Counted::Received);
    assert_eq!(ends.map(|(_, count)| count).sum::<u64>(), outcomes[&Counted::Received]);
}

#[tokio::test]
async fn a_partition_advances_without_rows() {
    let store = Store::new();
    let mut sink = store.sink().await;
    sink.commit(&[(0, 5)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.table("events/use").await.version(), 0, "nothing for the family to say");
    let ledger = store.table("ledger/outcomes").await.version();
    sink.commit(&[(0, 5)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.table("ledger/outcomes").await.version(), ledger, "nothing to say at all");
    drop(sink);
    assert_eq!(store.sink().await.next(0), 5);
}

#[tokio::test]
async fn positions_never_move_back() {
    let store = Store::new();
    let mut sink = store.sink().await;
    sink.commit(&[(0, 5)], NOW, CONTEXT).await.unwrap();
    let refused = sink.commit(&[(0, 4)], NOW, CONTEXT).await.unwrap_err();
    assert!(matches!(refused, SinkError::Backwards { stored: 5, given: 4, .. }), "{refused}");
    // A mistake of the caller, which harmed nothing.
    sink.commit(&[(0, 6)], NOW, CONTEXT).await.unwrap();
}

#[tokio::test]
async fn another_log_is_refused_once_positions_are_known() {
    let store = Store::new();
    let other = "22222222-2222-4222-8222-222222222222";
    drop(store.sink().await);
    // Nothing was read yet: a log may still be made anew. An import leaves no position of a log.
    let mut sink = store.try_sink(other).await.unwrap();
    store.frame(&mut sink, USE, (IMPORT, 0), &events(0..1));
    sink.commit(&[(IMPORT, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let mut sink = store.sink().await;
    sink.commit(&[(1, 3)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let refused = store.try_sink(other).await.err().unwrap();
    assert!(matches!(refused, SinkError::AnotherLog { .. }), "{refused}");

    let sink = store.sink().await;
    assert_eq!(sink.resume(1, 3).unwrap(), 3);
    let refused = sink.resume(1, 2).unwrap_err();
    assert!(matches!(refused, SinkError::BeyondLog { partition: 1, position: 3, end: 2 }));
}

async fn a_writer_that_was_overtaken_is_refused(new: New) {
    let store = new();
    let mut old = store.sink().await;
    store.frame(&mut old, USE, (0, 0), &events(0..3));
    // The same tables with an index of its own, as another machine would have.
    let config = SinkConfig { index: store.dir.path().join("other"), ..store.config() };
    let mut new = sole(config, &store.package, LOG).await.unwrap();
    store.frame(&mut new, USE, (0, 0), &events(0..3));
    new.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();

    let refused = old.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap_err();
    assert!(matches!(refused, SinkError::Fenced { .. }), "{refused:?}");
    let origin = Origin { partition: 0, position: 1, import: false };
    let refused = old.write(store.batch(USE, &origin, &events(3..4)), &origin).unwrap_err();
    assert!(matches!(refused, SinkError::Failed), "{refused}");
    assert_eq!(store.rows("use").await.len(), 3);
}

#[tokio::test]
async fn the_table_gains_nullable_columns_and_keeps_old_ones() {
    let mut store = Store::new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &events(0..2));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);

    let added = r#"version = { type = "version", is = "usage", about = "software version" }"#;
    let without_duration = FIELDS.lines().take(3).collect::<Vec<_>>().join("\n");
    store.declare(&format!("{without_duration}\n{added}"));
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 1), &events(2..4));
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    let schema = store.table("events/use").await.schema().unwrap();
    assert!(schema.field_with_name("version").unwrap().is_nullable());
    assert!(schema.field_with_name("duration").is_ok(), "what was stored stays readable");
    // Both kinds of rows in one file.
    sink.maintain(NOW.plus(2 * HOUR_MS)).await.unwrap();
    assert_eq!(store.rows("use").await.len(), 4);
    let [file] = &data_files(&store.root().join("events/use"))[..] else { panic!("one file") };
    let batch = read(file, Some(&["duration", "version"])).next();
    let batch = batch.unwrap().unwrap();
    assert_eq!((batch.num_columns(), batch.num_rows()), (2, 4));
    assert_eq!(batch.column_by_name("duration").unwrap().null_count(), 2);
    drop(sink);

    let retyped =
        FIELDS.replace("type = \"ms\", range = [0, 3_600_000]", "type = \"float\", range = [0, 9]");
    store.declare(&retyped.replace("{ bucket = 100 }", "\"keep\""));
    let refused = store.try_sink(LOG).await.err().unwrap();
    assert!(
        matches!(&refused, SinkError::Column { column, .. } if column == "duration"),
        "{refused}"
    );
}

/// A worker may be moved between threads while it waits.
#[tokio::test]
async fn a_sink_can_be_sent() {
    fn sent<T: Send>(value: T) -> T {
        value
    }
    let store = Store::new();
    let opened = sole(store.config(), &store.package, LOG);
    let mut sink = sent(sent(opened).await.unwrap());
    sent(sink.commit(&[(0, 1)], NOW, CONTEXT)).await.unwrap();
    sent(sink.maintain(NOW)).await.unwrap();
    let (root, staging) = (store.root().into(), store.staging());
    sent(crate::outcomes(&root, &staging)).await.unwrap();
}

on_both! {
    rows_and_counts_arrive_and_are_found_again,
    every_event_ends_once,
    a_writer_that_was_overtaken_is_refused,
}
