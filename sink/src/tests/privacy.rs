//! What the files say beside the rows.

use parquet::file::metadata::ParquetMetaDataReader;
use serde_json::Value as Json;

use super::*;

async fn filled(store: &Store) -> Sink {
    let mut sink = store.sink().await;
    let mut tally = Tally::default();
    tally.refuse(schemas::Reason::TooLong);
    for position in 0..3 {
        store.frame(&mut sink, USE, (0, position), &events(0..20));
        let origin = Origin { partition: 0, position, import: false };
        sink.count(None, &origin, &tally, 1, 0);
        sink.commit(&[(0, position + 1)], NOW, CONTEXT).await.unwrap();
    }
    sink
}

#[tokio::test]
async fn parquet_files_have_no_statistics() {
    let store = Store::new();
    let mut sink = filled(&store).await;
    for maintained in [false, true] {
        if maintained {
            sink.maintain(NOW.plus(HOUR_MS)).await.unwrap();
        }
        let files = data_files(&store.root());
        assert!(files.len() >= 2);
        for path in files {
            let file = std::fs::File::open(&path).unwrap();
            let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).unwrap();
            assert!(metadata.file_metadata().key_value_metadata().is_none(), "no Arrow schema");
            for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
                assert!(column.statistics().is_none(), "{path:?} {}", column.column_path());
                assert!(column.column_index_offset().is_none());
                assert!(column.offset_index_offset().is_none());
                assert!(column.bloom_filter_offset().is_none());
            }
        }
    }
}

#[tokio::test]
async fn the_log_has_no_column_statistics_and_a_plain_protocol() {
    let store = Store::new();
    let mut sink = filled(&store).await;
    let mut adds = 0;
    for path in files_below(&store.root()) {
        if path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            let line = serde_json::from_str::<Json>(line).unwrap();
            if let Some(stats) = line.pointer("/add/stats") {
                let stats = serde_json::from_str::<Json>(stats.as_str().unwrap()).unwrap();
                assert_eq!(stats.as_object().unwrap().keys().collect::<Vec<_>>(), ["numRecords"]);
                adds += 1;
            }
            if let Some(protocol) = line.get("protocol") {
                assert_eq!(
                    (&protocol["minReaderVersion"], &protocol["minWriterVersion"]),
                    (&1.into(), &2.into())
                );
            }
        }
    }
    assert!(adds >= 4);
    // Checkpoints repeat what the log says, and could add what it does not.
    sink.maintain(NOW.plus(HOUR_MS)).await.unwrap();
    let checkpoints = files_below(&store.root());
    let checkpoints =
        checkpoints.iter().filter(|path| path.to_str().unwrap().contains(".checkpoint"));
    let mut read = 0;
    for path in checkpoints {
        let mut batches = super::read(path, None);
        let text = batches.by_ref().map(|batch| {
            let batch = batch.unwrap();
            arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string()
        });
        let text = text.collect::<String>();
        assert!(
            text.contains("numRecords")
                && !text.contains("minValues")
                && !text.contains("maxValues"),
            "{text}"
        );
        read += 1;
    }
    assert_eq!(read, 2, "the table that changed, and the ledger");
}

#[tokio::test]
async fn a_commit_carries_its_manifest() {
    let store = Store::new();
    let sink = filled(&store).await;
    let said = store.table("events/use").await.said(None).await.unwrap();
    let manifests = said.into_iter().filter_map(|said| said.manifest).collect::<Vec<_>>();
    assert_eq!(manifests.len(), 1, "only the first frame brought rows");
    let manifest = &manifests[0];
    assert_eq!((manifest.policy.as_str(), manifest.family.as_deref()), ("2026-01-01", Some("use")));
    assert_eq!(manifest.digest, store.package.digest.to_string());
    assert_eq!(manifest.geo_build.as_deref(), Some("1970-01-01T00:00:00.000Z"));
    assert_eq!(manifest.hour, "2026-03-02T10:00:00.000Z");
    assert_eq!(manifest.epochs.len(), 1);
    let counts = &manifest.partitions[&0];
    assert_eq!((counts.first, counts.next, counts.received, counts.stored), (0, 1, 20, 20));
    drop(sink);
    assert_eq!(store.outcomes().await[&DUPLICATE], 40);
}
