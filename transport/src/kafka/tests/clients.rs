//! Members of groups, readers of other people's topics, brokers that are away, and clients that have to log in.

use std::collections::BTreeSet;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::*;

/// How long a group may take to agree.
const AGREE_MAX: Duration = Duration::from_secs(40);

fn quick() -> BTreeMap<String, String> {
    let quick = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")];
    quick.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn join(config: &KafkaConfig) -> Membership {
    Membership::join(config, &config.group(), &[&config.topic()], &quick()).expect("join")
}

/// Waits until `members` own all `partitions` together, each its own, letting go of what they are asked for.
async fn agree(members: &mut [&mut Membership], partitions: u16) -> Vec<BTreeSet<u16>> {
    let until = Instant::now() + AGREE_MAX;
    loop {
        let mut owned = Vec::new();
        for member in &mut *members {
            let assignment = member.assigned();
            if !assignment.revoking.is_empty() {
                member.release();
            }
            owned.push(assignment.owned.into_iter().map(|(_, partition)| partition).collect());
        }
        let all: Vec<u16> =
            owned.iter().flat_map(|own: &BTreeSet<u16>| own.iter().copied()).collect();
        let fair = owned.iter().all(|own| !own.is_empty());
        if fair && all.len() == usize::from(partitions) {
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "owned twice");
            return owned;
        }
        assert!(Instant::now() < until, "the group does not agree: {owned:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_share_partitions_and_give_them_up_when_they_have_committed() {
    let config = KafkaConfig { partitions: 4, ..config(&prefix("members")) };
    topics::create(&config).await.expect("create");
    let mut first = join(&config);
    assert_eq!(agree(&mut [&mut first], 4).await[0].len(), 4);
    first.note_committed(&[(&config.topic(), 0, 17)]);

    // The second one has nothing before the first has let go.
    let mut second = join(&config);
    let asked = tokio::time::timeout(AGREE_MAX, async {
        loop {
            let assignment = first.changed().await;
            if !assignment.revoking.is_empty() {
                return assignment;
            }
        }
    });
    let asked = asked.await.expect("the group asks for partitions");
    assert!(asked.revoking.is_subset(&asked.owned) && asked.revoking.len() < 4, "{asked:?}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(second.assigned().owned.is_empty(), "taken before it was let go");
    let owned = agree(&mut [&mut first, &mut second], 4).await;
    assert_eq!((owned[0].len(), owned[1].len()), (2, 2));

    // Who leaves gives all back at once.
    second.leave().await.expect("leave");
    assert_eq!(agree(&mut [&mut first], 4).await[0].len(), 4);
    let told = committed(&config, &config.group(), &config.topic(), 4, &BTreeMap::new()).await;
    assert_eq!(told.expect("committed"), [(0, 17)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_let_go_is_waited_for_and_then_not() {
    let config = KafkaConfig { partitions: 2, ..config(&prefix("stuck")) };
    topics::create(&config).await.expect("create");
    let mut first = join(&config);
    agree(&mut [&mut first], 2).await;
    let second = join(&config);
    let began = Instant::now();
    while second.assigned().owned.is_empty() {
        assert!(began.elapsed() < AGREE_MAX, "it waits for ever");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() >= RELEASE_MAX, "it was not waited for");
    assert_eq!(first.assigned().owned.len(), 1);
}

/// A producer of somebody else, which writes transactions.
fn transactions(topic: &str, aborted: usize, committed: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", cluster::Kafka::shared().bootstrap())
        .set("transactional.id", topic)
        .create()
        .expect("producer");
    let wait = Duration::from_secs(20);
    producer.init_transactions(wait).expect("init");
    for (count, commit) in [(committed, true), (aborted, false)] {
        producer.begin_transaction().expect("begin");
        for number in 0..count {
            let payload = format!("{commit} {number}");
            let record = BaseRecord::<(), str>::to(topic).partition(0).payload(&payload);
            producer.send(record).map_err(|(error, _)| error).expect("send");
        }
        producer.flush(wait).expect("flush");
        match commit {
            true => producer.commit_transaction(wait).expect("commit"),
            false => producer.abort_transaction(wait).expect("abort"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_comes_to_the_end_past_aborted_records_and_marks() {
    let config = config(&prefix("aborted"));
    topics::create(&config).await.expect("create");
    let topic = config.topic();
    let sent = topic.clone();
    tokio::task::spawn_blocking(move || transactions(&sent, 3, 5)).await.expect("sent");
    let reader = TopicReader::new(&config, "plain", &topic, &BTreeMap::new()).unwrap();
    // Five records, a mark, three aborted ones, a mark.
    let end = reader.end(0).await.expect("end");
    assert_eq!(end, 10);
    let mut next = 0;
    let mut read = Vec::new();
    while next < end {
        let chunk = reader.read(0, next, 16).await.expect("read");
        assert!(chunk.next > next, "stuck at {next}");
        next = chunk.next;
        read.extend(chunk.records.into_iter().filter_map(|record| record.payload));
    }
    assert_eq!(next, end);
    assert_eq!(read.len(), 5);
    assert!(read.iter().all(|payload| payload.starts_with(b"true")), "an aborted record was read");
    // Nothing but marks after an end that it was told of before.
    let sent = topic.clone();
    tokio::task::spawn_blocking(move || transactions(&sent, 2, 0)).await.expect("sent");
    let end = reader.end(0).await.expect("end");
    assert!(end > next);
    let chunk = reader.read(0, next, usize::MAX).await.expect("read");
    assert_eq!((chunk.records.len(), chunk.next), (0, end));
    // And back again, from where it did not stand.
    let chunk = reader.read(0, 3, usize::MAX).await.expect("read");
    assert_eq!(chunk.records.iter().map(|record| record.position).collect::<Vec<_>>(), [3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_into_the_log_is_named_and_not_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let config = config(&prefix("foreign"));
    let log = open(&config, dir.path()).await;
    let topic = config.topic();
    // A record that is no frame, and the mark of its transaction.
    tokio::task::spawn_blocking(move || transactions(&topic, 0, 1)).await.expect("sent");
    let end = log.end(Partition(0)).await.expect("end").0;
    let damaged = positions(&log, 0, 0).await.expect_err("no frame");
    assert!(matches!(damaged, LogError::Corrupt { partition: 0, position: 0 }), "{damaged:?}");
    let gone = positions(&log, 0, 1).await.expect_err("no record");
    assert!(matches!(gone, LogError::Lost { partition: 0, from: 1, .. }), "{gone:?}");
    append(&log, &sealer, 0, 1).await;
    let gone = positions(&log, 0, 1).await.expect_err("no record");
    assert!(matches!(gone, LogError::Lost { from: 1, to, .. } if to == end), "{gone:?}");
    assert_eq!(positions(&log, 0, end).await.expect("read"), [end]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_gives_what_fits_and_goes_on_behind_it_wherever_it_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let config = config(&prefix("seeks"));
    let log = open(&config, dir.path()).await;
    append(&log, &sealer, 0, 60).await;
    let reader = TopicReader::new(&config, "plain", &config.topic(), &BTreeMap::new()).unwrap();
    assert_eq!(reader.end(0).await.expect("end"), 60);
    // Forth and back, with what was fetched ahead lying in the queue.
    for from in [0, 30, 10, 59, 1, 2, 58, 0] {
        let chunk = reader.read(0, from, 2000).await.expect("read");
        let positions: Vec<u64> = chunk.records.iter().map(|record| record.position).collect();
        let expected: Vec<u64> = (from..chunk.next).collect();
        assert_eq!(positions, expected, "from {from}");
        assert!(!positions.is_empty());
        let bytes: usize = chunk.records.iter().map(Record::bytes).sum();
        assert!(bytes <= 2000 || positions.len() == 1, "{bytes} bytes from {from}");
    }
    reader.release(0);
    assert_eq!(reader.read(0, 57, usize::MAX).await.expect("read").records.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_away_make_appends_wait_then_fail_and_nothing_acknowledged_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let kafka = cluster::Kafka::start(1);
    let mut config = config(&prefix("away"));
    config.properties = [
        ("bootstrap.servers".to_owned(), kafka.bootstrap().to_owned()),
        ("message.timeout.ms".to_owned(), "3000".to_owned()),
    ]
    .into();
    config.buffer_bytes = 16 << 10;
    let log = open(&config, dir.path()).await;
    append(&log, &sealer, 0, 2).await;
    kafka.pause(0);
    // The buffer holds some; what does not fit fails at once, the rest when its time is over.
    let began = Instant::now();
    let appends: Vec<_> = (0..200).map(|_| log.append(Partition(0), sealer.frame(HOUR))).collect();
    let mut at_once = 0;
    for result in futures_of(appends).await {
        let error = result.expect_err("nobody answers");
        assert!(error.is_retryable(), "{error:?}");
        at_once += u32::from(format!("{error:?}").contains("QueueFull"));
    }
    assert!(at_once > 0, "the buffer has no bound");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    kafka.resume(0);
    let position = loop {
        match log.append(Partition(0), sealer.frame(HOUR)).await {
            Ok(Position(position)) => break position,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(60), "it does not recover");
    };
    let read = positions(&log, 0, 0).await.expect("read");
    assert!(read.contains(&0) && read.contains(&1) && read.contains(&position), "{read:?}");
}

/// Runs all at the same time, in order of their places.
async fn futures_of<T: Send + 'static>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in waiting.iter_mut().zip(&mut done) {
            if output.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_scram_let_in_who_has_the_password_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let sealer = Sealer::new(dir.path());
    let options = cluster::Options { secure: true, ..cluster::Options::default() };
    let kafka = cluster::Kafka::start_with(1, options);
    let mut config = config(&prefix("secure"));
    config.properties = kafka.secure();
    let log = open(&config, dir.path()).await;
    append(&log, &sealer, 0, 2).await;
    assert_eq!(positions(&log, 0, 0).await.expect("read"), [0, 1]);
    let member = join(&config);
    let began = Instant::now();
    while member.assigned().owned.len() < 2 {
        assert!(began.elapsed() < AGREE_MAX, "the member is not let in");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let secret = "another-password";
    let mut stranger = config.clone();
    stranger.properties.insert("sasl.password".to_owned(), secret.to_owned());
    let refused = KafkaLog::open(&stranger, shelf(dir.path())).await.err().expect("refused");
    assert!(!format!("{refused} {refused:?}").contains(secret));
    let mut trusting = config.clone();
    trusting.properties.retain(|name, _| !name.starts_with("ssl.ca"));
    assert!(KafkaLog::open(&trusting, shelf(dir.path())).await.is_err(), "an unknown certificate");
}
