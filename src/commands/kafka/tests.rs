//! The commands, against Apache Kafka.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anonymizer::{Gate, KeyRing};
use schemas::time::HOUR_MS;
use schemas::{Millis, Reason, Tally};
use transport::kafka::{KafkaLog, Membership};
use transport::{Log, Partition};

use super::*;
use crate::config::{KafkaConfig, Properties};
use crate::lag::{Lag, Topics};
use crate::store::kafka::client;
use crate::store::{package, shared};

/// When the frames are sealed.
const SEALED: Millis = Millis(1_700_000_000_000);

fn config(folder: &std::path::Path) -> Config {
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", cluster::Kafka::shared().bootstrap());
    let prefix = format!("commands-{}", std::process::id());
    let kafka = KafkaConfig { prefix, replication: 1, properties, ..KafkaConfig::default() };
    Config { kafka: Some(kafka), ..Config::default() }.relative_to(folder)
}

fn behind(lags: &[Lag], partition: u16) -> (Option<u64>, u64, bool) {
    let lag = &lags[usize::from(partition)];
    (lag.committed, lag.records, lag.seconds > 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_and_lag_is_told_from_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let topics = async |command| topics::run(command, &config).await;
    assert!(topics(topics::TopicsCommand::Check).await.is_err(), "there is no topic yet");
    topics(topics::TopicsCommand::Create).await.expect("create");
    topics(topics::TopicsCommand::Check).await.expect("check");

    let clock: schemas::Clock = std::sync::Arc::new(|| SEALED);
    let key = folder.path().join("kek");
    let ring = KeyRing::create(&folder.path().join("ring"), &key, &folder.path().join("l"), &clock);
    let policies = folder.path().join("policies");
    let gate = Gate::new(package(None).unwrap(), std::sync::Arc::new(ring.unwrap()), policies);
    let gate = gate.unwrap();
    let client = client(&config).unwrap();
    let shelf = shared::keys(&config).unwrap();
    let log = KafkaLog::open(&client, shelf).await.expect("open");
    for _ in 0..3 {
        let mut tally = Tally::default();
        tally.refused.insert(Reason::Malformed, 1);
        let frame = gate.seal_tally(Some(0), tally, SEALED).expect("seal");
        log.append(Partition(1), frame).await.expect("append");
    }
    let watched = Topics::open(&config).expect("topics");
    let lags = watched.behind(SEALED.plus(3 * HOUR_MS)).await.expect("lag");
    assert_eq!(behind(&lags, 0), (None, 0, false));
    assert_eq!(behind(&lags, 1), (None, 3, true));
    // Within its hour nobody can say how long a frame has waited.
    let lags = watched.behind(SEALED).await.expect("lag");
    assert_eq!(behind(&lags, 1), (None, 3, false));

    let (group, topic) = (client.group(), client.topic());
    let member = Membership::join(&client, &group, &[&topic], &BTreeMap::new()).expect("join");
    let began = Instant::now();
    loop {
        member.note_committed(&[(&topic, 1, 2)]);
        let lags = watched.behind(SEALED).await.expect("lag");
        if behind(&lags, 1) == (Some(2), 1, false) {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(40), "{lags:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let tail = tail::Args { partition: Some(1), last: 2, follow: false, rows: false };
    tail::run(&tail, config.clone()).await.expect("tail");
    let beyond = tail::Args { partition: Some(9), ..tail };
    assert!(tail::run(&beyond, config.clone()).await.is_err());
    assert!(topics(topics::TopicsCommand::Adopt { same: true, new: false }).await.is_ok());
}
