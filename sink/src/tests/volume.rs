//! Many rows over many days: files, memory, order.

use super::*;

/// History of a month, the days mixed within each batch.
fn month(batch: u32, rows: u32) -> Vec<Event> {
    let ids = batch * rows..(batch + 1) * rows;
    ids.map(|id| {
        let day = i64::from(id % 31);
        let time = NOW.plus(-day * DAY_MS);
        Event { time, received: time, serial: format!("s{}", id % 5_000), ..event(id) }
    })
    .collect()
}

#[tokio::test]
async fn a_month_of_history_fits_into_few_files() {
    let store = Store::new();
    let mut sink = store.sink().await;
    for batch in 0..20 {
        store.frame(&mut sink, USE, (IMPORT, batch.into()), &month(batch, 5_000));
    }
    let open = data_files(&store.staging()).len();
    assert!((31..=35).contains(&open), "{open} files for 31 days");
    let pending = sink.pending();
    assert_eq!(pending.rows, 100_000);
    assert!(pending.bytes > 100_000 * crate::dedupe::PENDING_BYTES && !sink.is_full());
    let committed = sink.commit(&[(IMPORT, 20)], NOW, CONTEXT).await.unwrap();
    assert_eq!(committed.rows, 100_000);
    let mut rows = store.rows("use").await;
    rows.sort();
    rows.dedup();
    assert_eq!(rows.len(), 100_000);
    let again = store.frame(&mut sink, USE, (IMPORT, 20), &month(7, 5_000));
    assert_eq!((again.stored, again.duplicate), (0, 5_000));
}

#[tokio::test]
async fn a_file_is_rewritten_in_passes_without_losing_a_row() {
    let store = Store::new();
    let mut sink = store.sink().await;
    for batch in 0..6 {
        store.frame(
            &mut sink,
            USE,
            (0, batch.into()),
            &events(batch * 50_000..(batch + 1) * 50_000),
        );
    }
    sink.commit(&[(0, 6)], NOW, CONTEXT).await.unwrap();
    let mut before = store.rows("use").await;
    sink.maintain(NOW.plus(HOUR_MS)).await.unwrap();
    let mut after = store.rows("use").await;
    assert_ne!(after, before);
    before.sort();
    after.sort();
    assert_eq!(after, before);
    assert_eq!(data_files(&store.root().join("events/use")).len(), 2, "two passes, two files");
}
