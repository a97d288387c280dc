//! Against Apache Kafka.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anonymizer::Folder;
use rdkafka::admin::{AdminOptions, NewPartitions};

use super::*;
use crate::frames::Sealer;
use crate::{Log, LogError, Partition, Position, conformance};

/// Hours in which the tests seal.
const HOUR: u32 = 400_000;

fn config(prefix: &str) -> KafkaConfig {
    let brokers = cluster::Kafka::shared().bootstrap().to_owned();
    KafkaConfig {
        prefix: prefix.to_owned(),
        properties: [("bootstrap.servers".to_owned(), brokers)].into(),
        partitions: 2,
        replication: 1,
        buffer_bytes: 8 << 20,
        frame_bytes_max: 512 << 10,
        raw_retention_max_ms: 96 * 3_600_000,
    }
}

/// A prefix that no other test has.
fn prefix(name: &str) -> String {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), TAKEN.fetch_add(1, Ordering::Relaxed))
}

fn shelf(dir: &Path) -> Arc<Folder> {
    Arc::new(Folder::new(dir.join("shelf")))
}

/// Opens the log of a prefix, made if need be.
async fn open(config: &KafkaConfig, dir: &Path) -> KafkaLog {
    topics::create(config).await.expect("create");
    KafkaLog::open(config, shelf(dir)).await.expect("open")
}

async fn append(log: &KafkaLog, sealer: &Sealer, partition: u16, count: u32) -> Vec<u64> {
    let mut positions = Vec::new();
    for _ in 0..count {
        positions
            .push(log.append(Partition(partition), sealer.frame(HOUR)).await.expect("append").0);
    }
    positions
}

async fn positions(log: &KafkaLog, partition: u16, from: u64) -> Result<Vec<u64>, LogError> {
    let read = log.read(Partition(partition), Position(from), usize::MAX).await?;
    Ok(read.into_iter().map(|(position, _)| position.0).collect())
}

async fn delete_topics(config: &KafkaConfig) {
    let admin = topics::admin(config).unwrap();
    let (raw, replaced) = (config.topic(), config.replaced_topic());
    let deleted = admin.delete_topics(&[&raw, &replaced], &topics::options()).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok), "{deleted:?}");
}

/// Makes the topics again; a topic that is being deleted is there for a moment yet.
async fn create_again(config: &KafkaConfig) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        topics::create(config).await.expect("create");
        tokio::time::sleep(Duration::from_millis(200)).await;
        match topics::check(config).await {
            Ok(found) if found.iter().all(|finding| finding.is_warning) => return,
            _ => assert!(Instant::now() < until, "the topics do not come back"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let prefix = prefix("conforms");
    let opened = async |name| {
        let config = config(&format!("{prefix}-{name}"));
        open(&config, dir.path()).await
    };
    conformance::check(opened, |hour| sealer.frame(hour)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_again_is_refused_though_it_has_grown_beyond() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let config = config(&prefix("again"));
    let log = open(&config, dir.path()).await;
    append(&log, &sealer, 0, 3).await;
    let id = log.id();
    drop(log);
    assert_eq!(open(&config, dir.path()).await.id(), id);

    delete_topics(&config).await;
    create_again(&config).await;
    let refused = KafkaLog::open(&config, shelf(dir.path())).await.err().expect("refused");
    assert!(matches!(&refused, LogError::Topic { remedy, .. } if remedy.contains("adopt")));
    assert!(!refused.is_retryable());

    // Somebody with another key ring fills it: it is theirs, and stays refused here.
    let other = tempfile::tempdir().unwrap();
    let log = KafkaLog::open(&config, shelf(other.path())).await.expect("another log");
    append(&log, &sealer, 0, 9).await;
    drop(log);
    let refused = KafkaLog::open(&config, shelf(dir.path())).await.err().expect("refused");
    assert!(matches!(refused, LogError::Topic { .. }));

    let new = KafkaLog::adopt(&config, shelf(dir.path()), Adopt::New).await.expect("adopt");
    assert_ne!(new, id);
    let log = KafkaLog::open(&config, shelf(dir.path())).await.expect("adopted");
    assert_eq!(log.id(), new);
    assert_eq!(positions(&log, 0, 0).await.expect("read").len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_again_under_a_running_log_is_refused_to_reader_and_writer() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let config = config(&prefix("running"));
    let log = open(&config, dir.path()).await;
    append(&log, &sealer, 0, 2).await;
    assert_eq!(positions(&log, 0, 0).await.expect("read"), [0, 1]);
    delete_topics(&config).await;
    create_again(&config).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let ended = log.end(Partition(0)).await.expect_err("another topic");
    assert!(matches!(ended, LogError::Topic { .. }), "{ended:?}");
    let appended = log.append(Partition(0), sealer.frame(HOUR)).await.expect_err("another topic");
    assert!(matches!(appended, LogError::Topic { .. } | LogError::Storage(_)), "{appended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_frames_and_no_known_id_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let config = config(&prefix("unknown"));
    let log = open(&config, dir.path()).await;
    append(&log, &sealer, 1, 1).await;
    let id = log.id();
    drop(log);
    let other = tempfile::tempdir().unwrap();
    let refused = KafkaLog::open(&config, shelf(other.path())).await.err().expect("refused");
    assert!(matches!(refused, LogError::Topic { .. }));
    assert!(KafkaLog::adopt(&config, shelf(other.path()), Adopt::Same).await.is_err());
    let same = KafkaLog::adopt(&config, shelf(dir.path()), Adopt::Same).await.expect("adopt");
    assert_eq!(same, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_removed_is_lost_and_what_we_removed_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let config = config(&prefix("lost"));
    let log = open(&config, dir.path()).await;
    append(&log, &sealer, 0, 4).await;
    log.append(Partition(0), sealer.frame(HOUR + 1)).await.expect("append");
    log.append(Partition(0), sealer.frame(HOUR + 2)).await.expect("append");
    // Another node reads, and one removes.
    let reader = KafkaLog::open(&config, shelf(dir.path())).await.expect("open");
    assert_eq!(positions(&reader, 0, 0).await.expect("read"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(log.remove_through(HOUR).await.expect("remove"), 4);
    assert_eq!(log.remove_through(HOUR).await.expect("remove"), 0);
    assert_eq!(positions(&reader, 0, 1).await.expect("read"), [4, 5]);

    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(&config.topic(), 0, rdkafka::Offset::Offset(5)).unwrap();
    let admin = topics::admin(&config).unwrap();
    admin.delete_records(&list, &topics::options()).await.unwrap();
    for log in [&log, &reader] {
        let lost = positions(log, 0, 2).await.expect_err("a frame is gone");
        assert!(matches!(lost, LogError::Lost { partition: 0, from: 4, to: 5 }), "{lost:?}");
        assert_eq!(positions(log, 0, 5).await.expect("read"), [5]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_finds_what_took_a_frames_place_though_it_read_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let config = config(&prefix("replaced"));
    let log = open(&config, dir.path()).await;
    append(&log, &sealer, 1, 3).await;
    let worker = KafkaLog::open(&config, shelf(dir.path())).await.expect("open");
    worker.read(Partition(1), Position(0), usize::MAX).await.expect("read");
    assert!(worker.replaced(Partition(1), Position(1)).await.expect("asked").is_none());

    let new = sealer.frame(HOUR);
    let bytes = new.as_bytes().to_vec();
    assert_eq!(log.replace(Partition(1), vec![(Position(1), new)]).await.expect("replace"), 1);
    let found = worker.replaced(Partition(1), Position(1)).await.expect("asked");
    assert_eq!(found.map(anonymizer::Sealed::into_bytes), Some(bytes.clone()));
    // A node that comes later reads it at once.
    let later = KafkaLog::open(&config, shelf(dir.path())).await.expect("open");
    let read = later.read(Partition(1), Position(1), 0).await.expect("read");
    assert_eq!(read[0].1.as_bytes(), bytes);
    // It goes with its hour.
    assert_eq!(log.remove_through(HOUR).await.expect("remove"), 3);
    assert!(worker.replaced(Partition(1), Position(1)).await.expect("asked").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_missing_or_set_up_otherwise_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(&prefix("setup"));
    let missing = KafkaLog::open(&config, shelf(dir.path())).await.err().expect("no topic");
    assert!(matches!(missing, LogError::Topic { remedy, .. } if remedy.contains("topics create")));
    topics::create(&config).await.expect("create");
    topics::create(&config).await.expect("again");
    let found = topics::check(&config).await.expect("check");
    assert!(found.is_empty(), "{found:?}");

    let larger = KafkaConfig { frame_bytes_max: 2 << 20, ..config.clone() };
    let refused = KafkaLog::open(&larger, shelf(dir.path())).await.err().expect("too large");
    assert!(matches!(refused, LogError::Topic { problem, .. } if problem.contains("max.message")));

    let admin = topics::admin(&config).unwrap();
    let (topic, options) = (config.topic(), AdminOptions::new());
    admin.create_partitions(&[NewPartitions::new(&topic, 3)], &options).await.unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    while !topics::check(&config).await.is_ok_and(|found| !found.is_empty()) {
        assert!(Instant::now() < until, "three partitions go unnoticed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_finer_than_the_hour_is_in_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let config = config(&prefix("hour"));
    let log = open(&config, dir.path()).await;
    append(&log, &sealer, 0, 1).await;
    log.append(Partition(0), sealer.frame(HOUR + 1)).await.expect("append");
    let none = BTreeMap::new();
    let reader = TopicReader::new(&config, "plain", &config.topic(), &none).unwrap();
    let chunk = reader.read(0, 0, usize::MAX).await.expect("read");
    assert_eq!((chunk.records.len(), chunk.next), (2, 2));
    for (record, hour) in chunk.records.iter().zip([HOUR, HOUR + 1]) {
        assert_eq!(record.timestamp_ms, Some(i64::from(hour) * 3_600_000));
        assert!(record.key.is_none());
    }
    let start = i64::from(HOUR + 1) * 3_600_000;
    assert_eq!(log.at_time(start + 1).await.expect("times")[&0], 1);
    assert_eq!(log.at_time(start - 1).await.expect("times"), [(0, 0), (1, 0)].into());
}

mod clients;
