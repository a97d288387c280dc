use super::*;

/// Rows of `use` in the order of their files.
async fn order(store: &Store) -> Vec<(u64, u32)> {
    store.rows("use").await.iter().map(|row| (row.position, row.row)).collect()
}

async fn files_of_a_closed_grain_become_one_in_random_order(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    for position in 0..4_u32 {
        let ids = position * 100..position * 100 + 100;
        store.frame(&mut sink, USE, (0, position.into()), &events(ids));
        sink.commit(&[(0, u64::from(position) + 1)], NOW, CONTEXT).await.unwrap();
    }
    let before = order(&store).await;
    let done = sink.maintain(NOW.plus(59 * MINUTE_MS)).await.unwrap();
    assert_eq!((done.compacted_files, order(&store).await), (0, before.clone()), "still open");

    let done = sink.maintain(NOW.plus(HOUR_MS)).await.unwrap();
    assert_eq!((done.compacted_files, done.deleted_files, done.removed_rows), (4, 4, 0));
    assert_eq!(data_files(&store.root().join("events/use")).len(), 1);
    let mut after = order(&store).await;
    assert_ne!(after, before);
    let in_place =
        after.windows(2).filter(|pair| pair[0].0 == pair[1].0 && pair[0].1 + 1 == pair[1].1);
    assert!(in_place.count() < 40, "some 1 of 400 would stay beside its neighbour by chance");
    after.sort_unstable();
    let mut expected = before;
    expected.sort_unstable();
    assert_eq!(after, expected);

    let done = sink.maintain(NOW.plus(HOUR_MS)).await.unwrap();
    assert_eq!((done.compacted_files, done.deleted_files), (0, 0), "once is enough");
    assert_eq!(store.frame(&mut sink, USE, (0, 4), &events(0..400)).duplicate, 400);
    drop(sink);
    assert_eq!(store.outcomes().await[&STORED], 400);
}

#[tokio::test]
async fn what_waits_for_a_commit_is_left_alone() {
    let store = Store::new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &events(0..10));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    // Enough to be in a file already.
    store.frame(&mut sink, USE, (0, 1), &events(10..40_000));
    assert_eq!(data_files(&store.staging()).len(), 1);
    sink.maintain(NOW.plus(HOUR_MS)).await.unwrap();
    sink.commit(&[(0, 2)], NOW, CONTEXT).await.unwrap();
    assert_eq!(store.rows("use").await.len(), 40_000);
}

async fn rows_go_with_their_epoch_and_nothing_else_does(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    let mut sent = events(0..6);
    // Same day, but received in the epoch before: only their end differs.
    for old in &mut sent[..2] {
        old.received = NOW.plus(-DAY_MS);
    }
    store.frame(&mut sink, VIEW, (IMPORT, 0), &sent);
    store.frame(&mut sink, USE, (IMPORT, 1), &sent);
    sink.commit(&[(IMPORT, 2)], NOW, CONTEXT).await.unwrap();
    let view = store.rows("view").await;
    let old = view.iter().map(|row| row.epoch).min().unwrap();
    // The day of `received`, and two days of grace.
    let end = Millis::of_day(NOW.day()).plus(2 * DAY_MS);
    assert_eq!(sink.maintain(end).await.unwrap().removed_rows, 0);
    let done = sink.maintain(end.plus(1)).await.unwrap();
    assert_eq!(done.removed_rows, 2);
    let left = store.rows("view").await;
    assert_eq!(left.len(), 4);
    assert!(left.iter().all(|row| row.epoch != old));
    assert_eq!(data_files(&store.root().join("events/view")).len(), 1, "the file itself is gone");
    assert_eq!(store.rows("use").await.len(), 6, "28 days here");

    assert_eq!(sink.maintain(end.plus(DAY_MS + 1)).await.unwrap().removed_rows, 4);
    assert!(data_files(&store.root().join("events/view")).is_empty());
    assert!(!store.root().join("events/view/day=2026-03-02").exists());
    assert_eq!(store.rows("use").await.len(), 6);
    drop(sink);
    assert_eq!(store.outcomes().await[&STORED], 12, "what was counted stays counted");
}

async fn the_log_forgets_what_is_gone(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    for position in 0..5 {
        store.frame(&mut sink, VIEW, (0, position), &[event(position)]);
        sink.commit(&[(0, position + 1)], NOW, CONTEXT).await.unwrap();
    }
    let names = data_files(&store.root().join("events/view"));
    assert_eq!(names.len(), 5);
    sink.maintain(NOW.plus(HOUR_MS)).await.unwrap();
    // The entry that removes them is the one behind the checkpoint; the next change takes it along.
    store.frame(&mut sink, VIEW, (0, 5), &[event(5)]);
    sink.commit(&[(0, 6)], NOW.plus(HOUR_MS), CONTEXT).await.unwrap();
    sink.maintain(NOW.plus(2 * HOUR_MS)).await.unwrap();
    let log = files_below(&store.root().join("events/view/_delta_log"));
    let log = log.iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>();
    for name in names {
        let name = name.file_name().unwrap().to_str().unwrap().as_bytes();
        let named = |entry: &&Vec<u8>| entry.windows(name.len()).any(|part| part == name);
        assert!(!log.iter().any(|entry| named(&entry)));
    }
    assert_eq!(store.rows("view").await.len(), 6);
    drop(sink);
    let sink = store.sink().await;
    assert_eq!(sink.next(0), 6);
    assert_eq!(store.outcomes().await[&STORED], 6);
}

async fn the_ledger_stays_small_and_whole(new: New) {
    let store = new();
    let mut sink = store.sink().await;
    for position in 0..6_u64 {
        let now = NOW.plus(i64::try_from(position).unwrap() * 30 * MINUTE_MS);
        store.frame(&mut sink, USE, (0, position), &[event(position), event(0)]);
        sink.commit(&[(0, position + 1)], now, CONTEXT).await.unwrap();
    }
    let before = store.outcomes().await;
    assert_eq!(before[&Counted::Received], 12);
    sink.maintain(NOW.plus(6 * HOUR_MS)).await.unwrap();
    let files = data_files(&store.root().join("ledger/outcomes"));
    assert_eq!(files.len(), 1);
    assert_eq!(store.outcomes().await, before);
    let batch = read(&files[0], None).next().unwrap().unwrap();
    let manifests = batch.column_by_name("manifest").unwrap().as_string::<i32>();
    let manifests = manifests.iter().flatten().collect::<Vec<_>>();
    assert_eq!(manifests.len(), 3, "one an hour: {manifests:?}");
    assert!(manifests[0].contains("\"first\":0,\"next\":2"), "{}", manifests[0]);
    drop(sink);
    let mut sink = store.sink().await;
    assert_eq!(sink.next(0), 6);
    sink.maintain(NOW.plus(6 * HOUR_MS)).await.unwrap();
    assert_eq!(store.outcomes().await, before);
}

#[tokio::test]
async fn files_of_another_program_are_taken_apart_by_epoch() {
    let store = Store::new();
    let mut sink = store.sink().await;
    let mut sent = events(0..6);
    for old in &mut sent[..2] {
        old.received = NOW.plus(-DAY_MS);
    }
    store.frame(&mut sink, VIEW, (IMPORT, 0), &sent);
    sink.commit(&[(IMPORT, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    let url = url::Url::from_directory_path(store.root().join("events/view")).unwrap();
    let table = deltalake::open_table(url).await.unwrap();
    let (_, metrics) = table.optimize().await.unwrap();
    assert_eq!(metrics.num_files_added, 1);

    let mut sink = store.sink().await;
    let end = Millis::of_day(NOW.day()).plus(2 * DAY_MS + 1);
    assert_eq!(sink.maintain(end).await.unwrap().compacted_files, 1);
    assert_eq!(sink.maintain(end).await.unwrap().removed_rows, 2);
    assert_eq!(store.rows("view").await.len(), 4);
}

async fn rows_of_a_family_that_is_no_longer_declared_still_end(new: New) {
    let mut store = new();
    let mut sink = store.sink().await;
    store.frame(&mut sink, VIEW, (0, 0), &events(0..3));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    store.declare_package(package_of(FIELDS, 28, 28, false));
    let mut sink = store.sink().await;
    let end = Millis::of_day(NOW.day()).plus(3 * DAY_MS);
    assert_eq!(sink.maintain(end).await.unwrap().removed_rows, 0);
    let done = sink.maintain(end.plus(1)).await.unwrap();
    assert_eq!((done.removed_rows, done.deleted_files), (3, 1));
    assert!(data_files(&store.root().join("events/view")).is_empty());
}

#[tokio::test]
async fn epochs_keep_their_length_while_there_are_rows() {
    let mut store = Store::new();
    drop(store.sink().await);
    store.declare_package(package_of(FIELDS, 14, 28, true));
    let mut sink = store.sink().await;
    store.frame(&mut sink, USE, (0, 0), &events(0..3));
    sink.commit(&[(0, 1)], NOW, CONTEXT).await.unwrap();
    drop(sink);
    store.declare_package(package_of(FIELDS, 28, 28, true));
    let refused = store.try_sink(LOG).await.err().unwrap();
    assert!(
        matches!(refused, crate::SinkError::Epoch { found: 14, declared: 28, .. }),
        "{refused}"
    );
    store.declare_package(package_of(FIELDS, 14, 28, true));
    let mut sink = store.sink().await;
    assert_eq!(sink.maintain(NOW.plus(40 * DAY_MS)).await.unwrap().removed_rows, 3);
}

on_both! {
    files_of_a_closed_grain_become_one_in_random_order,
    rows_go_with_their_epoch_and_nothing_else_does,
    the_log_forgets_what_is_gone,
    the_ledger_stays_small_and_whole,
    rows_of_a_family_that_is_no_longer_declared_still_end,
}
