use super::*;
use crate::SinkError;

/// A store with rows in two files whose hour is over, closed.
async fn stored() -> (Store, Vec<PathBuf>) {
    let store = Store::new();
    let mut sink = store.sink().await;
    for position in 0..2_u32 {
        let ids = position * 100..position * 100 + 100;
        store.frame(&mut sink, USE, (0, position.into()), &events(ids));
        sink.commit(&[(0, u64::from(position) + 1)], NOW, CONTEXT).await.unwrap();
    }
    let files = data_files(&store.root().join("events/use"));
    (store, files)
}

#[tokio::test]
async fn a_changed_data_file_is_named_and_its_rows_are_not_arranged() {
    let (store, files) = stored().await;
    let whole = std::fs::read(&files[0]).unwrap();
    // Every part of the file, at offsets that are no multiples of anything.
    for at in (0..whole.len()).step_by(whole.len() / 23) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&files[0], changed).unwrap();
        let mut sink = store.sink().await;
        let refused = sink.maintain(NOW.plus(HOUR_MS)).await.unwrap_err();
        assert!(matches!(&refused, SinkError::Changed { path } if *path == files[0]), "{refused}");
        sink.close();
        assert_eq!(data_files(&store.root().join("events/use")), files, "nothing is replaced");
    }
    std::fs::write(&files[0], whole).unwrap();
    let mut sink = store.sink().await;
    assert_eq!(sink.maintain(NOW.plus(HOUR_MS)).await.unwrap().compacted_files, 2);
    assert_eq!(store.rows("use").await.len(), 200);
}

#[tokio::test]
async fn a_changed_ledger_file_is_named_when_the_sink_is_opened() {
    let (store, _) = stored().await;
    let file = data_files(&store.root().join("ledger/outcomes")).remove(0);
    let mut changed = std::fs::read(&file).unwrap();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&file, changed).unwrap();
    let refused = store.try_sink(LOG).await.err().unwrap();
    assert!(matches!(&refused, SinkError::Changed { path } if *path == file), "{refused}");
}
