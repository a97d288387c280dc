//! The parts start, break and stop as they say.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cluster::{Kafka, Options, Proxy, S3};

/// Runs a script in the Python of the tests, with these arguments.
fn python(script: &str, arguments: &[&str]) -> Result<String, String> {
    let interpreter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    let done = Command::new(interpreter).args(["-c", script]).args(arguments).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if done.status.success() { Ok(said(&done.stdout)) } else { Err(said(&done.stderr)) }
}

/// Makes a topic on every broker, writes, reads what is there. Arguments: name=value of librdkafka's.
const ROUND_TRIP: &str = "
import sys, uuid
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
client = dict(pair.split('=', 1) for pair in sys.argv[1:])
admin = AdminClient(client)
known = admin.list_topics(timeout=15)
if 't' not in known.topics:
    admin.create_topics([NewTopic('t', 1, len(known.brokers))])['t'].result(30)
producer = Producer(client | {'acks': 'all', 'message.timeout.ms': 60000})
failed = []
producer.produce('t', b'x', on_delivery=lambda error, _: failed.append(error))
assert producer.flush(70) == 0 and failed == [None], failed
consumer = Consumer(client | {'group.id': str(uuid.uuid4())})
consumer.assign([TopicPartition('t', 0, 0)])
low, high = consumer.get_watermark_offsets(TopicPartition('t', 0), timeout=20)
read = consumer.consume(high, 30)
assert [record.error() for record in read] == [None] * high, read
print(len(known.brokers), high)
";

/// Asks for the topics; the same arguments.
const ASK: &str = "
import sys
from confluent_kafka.admin import AdminClient
AdminClient(dict(pair.split('=', 1) for pair in sys.argv[1:])).list_topics(timeout=5)
";

#[test]
fn brokers_are_killed_paused_and_started_again_on_what_they_had() {
    let kafka = Kafka::start(3);
    let client = format!("bootstrap.servers={}", kafka.bootstrap());
    let addresses: Vec<&str> = kafka.bootstrap().split(',').collect();
    assert_eq!(python(ROUND_TRIP, &[&client]).unwrap(), "3 1");
    kafka.kill(0);
    assert!(!kafka.is_running(0) && kafka.is_running(1));
    assert!(!answers(addresses[0], Duration::from_secs(1)));
    kafka.restart(0);
    assert!(answers(addresses[0], Duration::from_secs(30)));
    kafka.pause(1);
    assert!(kafka.is_running(1) && !answers(addresses[1], Duration::from_secs(1)));
    kafka.resume(1);
    assert!(answers(addresses[1], Duration::from_secs(30)));
    assert_eq!(python(ROUND_TRIP, &[&client]).unwrap(), "3 2");
    let segments = kafka.log_dirs();
    assert!(segments.iter().any(|folder| folder.join("t-0/00000000000000000000.log").is_file()));
    let folder = segments[0].ancestors().nth(2).unwrap().to_owned();
    drop(kafka);
    assert!(!folder.exists(), "nothing is left");
}

/// Whether a broker says within this time which requests it knows.
fn answers(broker: &str, within: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect(broker) else { return false };
    stream.set_read_timeout(Some(within)).unwrap();
    // Length, ApiVersions, version 0, number 1, no name.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]).unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).is_ok() && answer[4..] == [0, 0, 0, 1]
}

#[test]
fn who_has_password_and_certificate_comes_in_with_tls_and_nobody_else() {
    let kafka = Kafka::start_with(1, Options { secure: true, ..Options::default() });
    let client = kafka.secure();
    let settings = |change: Option<(&str, &str)>| {
        let mut client = client.clone();
        client.extend(change.map(|(name, value)| (name.to_owned(), value.to_owned())));
        client.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    let run = |script, change| {
        let settings = settings(change);
        python(script, &settings.iter().map(String::as_str).collect::<Vec<_>>())
    };
    assert_eq!(run(ROUND_TRIP, None).unwrap(), "1 1");
    assert!(run(ASK, Some(("sasl.password", "another"))).is_err());
    assert!(run(ASK, Some(("ssl.ca.location", "probe"))).is_err(), "nobody vouches for it");
    assert!(run(ASK, None).is_ok());
}

#[test]
fn nothing_passes_a_wire_that_is_shut_and_everything_once_it_is_open() {
    let s3 = S3::shared();
    let url = s3.versioned_bucket("versions");
    assert_eq!((url.as_str(), s3.bucket("plain").as_str()), ("s3://versions", "s3://plain"));
    let proxy = Proxy::start(s3.address());
    let ask = || {
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        stream.write_all(b"GET /versions?versioning HTTP/1.0\r\n\r\n").unwrap();
        stream
    };
    let answer = |mut stream: TcpStream| {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map(|_| answer)
    };
    assert!(answer(ask()).unwrap().contains("Enabled"));
    proxy.shut();
    let waiting = ask();
    waiting.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(answer(waiting.try_clone().unwrap()).is_err(), "nothing came");
    proxy.open();
    waiting.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert!(answer(waiting).unwrap().contains("Enabled"));
}

/// Where a second process of this test, to be killed, tells what it started.
const TOLD: &str = "CLUSTER_TEST_TOLD";

#[test]
#[expect(clippy::disallowed_methods, reason = "one process tells the other which of the two it is")]
fn nothing_outlives_a_process_that_is_killed() {
    if let Ok(told) = std::env::var(TOLD) {
        let s3 = S3::start();
        std::fs::write(told, s3.address()).unwrap();
        loop {
            std::thread::park();
        }
    }
    let told = std::env::temp_dir().join(format!("cluster-told-{}", std::process::id()));
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", "nothing_outlives_a_process_that_is_killed"]).env(TOLD, &told);
    let mut again = again.spawn().unwrap();
    let address = until(|| std::fs::read_to_string(&told).ok().filter(|told| !told.is_empty()));
    std::fs::remove_file(told).unwrap();
    TcpStream::connect(&address).unwrap();
    again.kill().unwrap();
    again.wait().unwrap();
    until(|| TcpStream::connect(&address).is_err().then_some(()));
}

/// What comes within two minutes.
fn until<T>(come: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(come) = come() {
            return come;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}
