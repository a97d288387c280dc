//! The whole way over several processes and a real broker: two doors, two workers, and statistics read elsewhere. And
//! what becomes of events while the broker is away, and of a replay while workers run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cluster::{Kafka, S3};
use quorate::scan::Scanner;
use serde_json::Value;
use storage::Root;

use crate::canary::{self, Canaries, Sender};
use crate::support::place::{Place, Service};
use crate::support::{http, quorate, search, succeed};

/// How long anything may take on a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(120);
const PARTITIONS: u16 = 4;
/// How long a node may take to stop that cannot commit.
const STOP_WITHIN: Duration = Duration::from_secs(50);

/// Puts the log of a place into Kafka.
pub(crate) fn log_in(kafka: &Kafka, place: &Place, partitions: u16) {
    let properties: toml::Table = [
        ("bootstrap.servers", kafka.bootstrap()),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "500"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.into()))
    .collect();
    place.configure("kafka", "replication", 1);
    place.configure("kafka", "properties", properties);
    place.configure("log", "partitions", i64::from(partitions));
    let config = transport::kafka::KafkaConfig {
        prefix: "quorate".to_owned(),
        properties: BTreeMap::from([(
            "bootstrap.servers".to_owned(),
            kafka.bootstrap().to_owned(),
        )]),
        partitions,
        replication: 1,
        buffer_bytes: 64 << 20,
        frame_bytes_max: 512 << 10,
        raw_retention_max_ms: 96 * 3_600_000,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(transport::kafka::topics::create(&config)).unwrap();
}

/// A place whose log is in Kafka and whose tables several nodes share.
fn place_on(kafka: &Kafka) -> Place {
    let place = Place::new();
    log_in(kafka, &place, PARTITIONS);
    place.configure("sink", "maintain_every_s", 1);
    place.configure("ingest", "durable_timeout_s", 3);
    for root in ["events", "statistics"] {
        let table: toml::Table =
            [("url".to_owned(), format!("shared/{root}").into())].into_iter().collect();
        place.configure("storage", root, table);
    }
    place
}

/// Puts what the nodes of a place share into buckets: tables, and statistics.
fn share_in_buckets(s3: &S3, place: &Place) -> [Root; 2] {
    ["events", "statistics"].map(|name| {
        let url = s3.bucket(name);
        let options = s3.options().into_iter().map(|(name, value)| (name, value.into()));
        let mut table = toml::Table::from_iter([("url".to_owned(), url.clone().into())]);
        table.insert("options".to_owned(), toml::Table::from_iter(options).into());
        place.configure("storage", name, table);
        Root::parse(&url, &s3.options()).unwrap()
    })
}

/// Copies what lies below a root to where it can be searched; gives how many files that are.
fn fetch(root: &Root, to: &Path) -> usize {
    let found = root.files("").unwrap();
    for file in &found {
        let path = to.join(&file.name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, root.read(&file.name).unwrap()).unwrap();
    }
    found.len()
}

fn events(place: &Place) -> PathBuf {
    place.home().join("shared/events")
}

/// What the books say, once there are any.
fn books(place: &Place) -> BTreeMap<String, u64> {
    match events(place).join("ledger/outcomes/_delta_log").is_dir() {
        true => search::outcomes(&events(place)),
        false => BTreeMap::new(),
    }
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < WITHIN, "{what}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn device(id: &str) -> String {
    format!(
        "[{{\"type\":\"device_usage\",\"id\":\"{id}\",\"serial_number\":\"{id}\",\"product\":\"x1\"}}]"
    )
}

/// Rows of a statistic at the port of a node.
fn rows_of(place: &Place, node: &Service, statistic: &str) -> usize {
    let bearer = format!("Bearer {}", place.token);
    let headers = [("Authorization", &*bearer), ("Accept", "application/json")];
    let question = format!(r#"{{"from":"{statistic}","measures":["visitors"]}}"#);
    let answer = http::send(node.statistics, "POST", "/v1/query", &headers, question.as_bytes());
    if answer.status != 200 {
        return 0;
    }
    let answer: Value = serde_json::from_str(&answer.body()).unwrap();
    answer["rows"].as_array().map_or(0, Vec::len)
}

#[test]
fn two_doors_two_workers_and_statistics_elsewhere_and_nothing_personal_anywhere() {
    let (kafka, s3) = (Kafka::start(1), S3::start());
    let (place, mut canaries) = (place_on(&kafka), Canaries::new());
    let shared = share_in_buckets(&s3, &place);
    let books = || search::outcomes_at(&shared[0], &place.temporary());
    // History that has closed, from before the machines were.
    let history = place.outputs().join("history");
    let mut generate = quorate();
    generate.args(["generate", "--events", "20000", "--seed", "9", "--days", "1"]);
    std::fs::write(&history, succeed(&mut generate).stdout).unwrap();
    place.print(&["import", history.to_str().unwrap(), "--more-follows"]);
    canary::import(&place, &mut canaries);
    let imported = books()["received"];

    let query = place.start_node("query", "query");
    let workers = ["first", "second"].map(|name| place.start_node(name, "worker"));
    let mut doors = ["front", "back"].map(|name| place.start_node(name, "ingest"));
    for door in &mut doors {
        // Who sends to it reads there.
        door.statistics = query.statistics;
        let mut sender = Sender { place: &place, service: door, answers: 0 };
        canary::post_as_a_page(&mut sender, &mut canaries);
        canary::post_under_keys(&mut sender, &mut canaries);
        canary::post_nonsense(&mut sender, &mut canaries);
    }
    let mut sent = 0;
    for (number, door) in (0..60).zip([0, 1].into_iter().cycle()) {
        let posted = doors[door].post(&place.server_key, &device(&format!("QX-{number}")));
        assert_eq!(posted.status, 202, "{}", posted.body());
        sent += 1;
    }
    until("both workers get a share", || {
        let shares = workers.each_ref().map(|worker| worker.operator("/status").json());
        shares.iter().all(|status| status["partitions"] == PARTITIONS / 2)
    });
    until("everything is committed", || {
        let books = books();
        let of = |name: &str| books.get(name).copied().unwrap_or(0);
        of("received") > imported + sent
            && workers.iter().all(|worker| worker.operator("/status").json()["backlog_frames"] == 0)
    });
    until("closed hours are released, and read where there is neither key nor row", || {
        rows_of(&place, &query, "visitors_by_hour") > 0
    });
    let bearer = format!("Bearer {}", place.token);
    let headers = [("Authorization", &*bearer)];
    let live = http::send(query.statistics, "GET", "/v1/live", &headers, b"").json();
    assert_eq!(live["elsewhere"], true, "{live}");
    let policy = http::send(query.statistics, "GET", "/v1/policy", &headers, b"").json();
    assert_eq!(policy["elsewhere"], serde_json::json!(["keys", "outcomes"]), "{policy}");
    let status = workers.each_ref().map(|worker| worker.operator("/status").json());
    let knows = status.iter().filter(|status| status["complete_until"].is_string()).count();
    assert_eq!(knows, 1, "one looks after the tables: {status:?}");

    let refused = place.command(&["replay", "--from", "2020-01-01", "--to", "2100-01-01"]).output();
    let refused = String::from_utf8_lossy(&refused.unwrap().stderr).into_owned();
    assert!(refused.contains("2 workers"), "{refused}");

    doors.into_iter().chain(workers).chain([query]).for_each(Service::stop);
    let books = books();
    let of = |name: &str| books.get(name).copied().unwrap_or(0);
    assert_eq!(of("received"), of("stored") + of("duplicate") + refusals(&books), "{books:?}");

    for (number, root) in shared.iter().enumerate() {
        let objects = fetch(root, &place.outputs().join(format!("bucket-{number}")));
        assert!(objects > 3, "{objects} objects in {root}");
    }
    let scanner = Scanner::new(canaries.made).unwrap();
    for root in kafka.log_dirs().into_iter().chain([place.root().to_owned()]) {
        let report = search::everything(&root, &scanner);
        assert!(report.files > 3, "{} files in {}", report.files, root.display());
        assert_eq!(report.found, 0, "\n{}", search::told(&report));
    }
}

fn refusals(books: &BTreeMap<String, u64>) -> u64 {
    let reasons = schemas::Reason::ALL.iter().map(|reason| reason.name());
    reasons.filter_map(|name| books.get(name)).sum()
}

#[test]
fn while_the_broker_is_away_doors_say_so_and_what_they_took_is_there() {
    let kafka = Kafka::start(1);
    let place = place_on(&kafka);
    let door = place.start_node("door", "ingest");
    let worker = place.start_node("worker", "worker");
    let mut taken = Vec::new();
    let mut post = |id: String| {
        let answer = door.post(&place.server_key, &device(&id));
        match answer.status {
            202 => taken.push(id),
            503 => {
                let answer = String::from_utf8_lossy(&answer.bytes).to_lowercase();
                assert!(answer.contains("\r\nretry-after: "), "{answer}");
            }
            status => panic!("{status}: {}", answer.body()),
        }
        answer.status
    };
    assert_eq!(post("before".to_owned()), 202);
    kafka.pause(0);
    let mut number = 0;
    until("the door says that it is not ready", || {
        number += 1;
        assert_eq!(post(format!("during-{number}")), 503, "nobody said that they have it");
        door.operator("/readyz").status == 503
    });
    kafka.resume(0);
    until("events are taken again", || {
        number += 1;
        post(format!("after-{number}")) == 202
    });
    until("the door is ready again", || door.operator("/readyz").status == 200);
    until("all that was taken is stored", || {
        // Those of unknown fate may be there too.
        let stored = books(&place).get("stored").copied().unwrap_or(0);
        stored >= taken.len() as u64
    });
    door.stop();
    worker.stop();
}

#[test]
fn a_stop_ends_although_the_broker_hangs() {
    let kafka = Kafka::start(1);
    let place = place_on(&kafka);
    // At the level of an operator: that the stop was heard is to be seen there.
    let start = |name: &str, roles| place.start_node_saying(name, roles, "info");
    let door = start("door", "ingest");
    let workers = ["first", "second"].map(|name| start(name, "worker"));
    until("both workers get a share", || {
        let shares = workers.each_ref().map(|worker| worker.operator("/status").json());
        shares.iter().all(|status| status["partitions"] == PARTITIONS / 2)
    });
    for number in 0..20 {
        assert_eq!(door.post(&place.server_key, &device(&number.to_string())).status, 202);
    }
    kafka.pause(0);
    assert_eq!(door.post(&place.server_key, &device("nobody takes it")).status, 503);
    let begun = Instant::now();
    let names = ["door", "first", "second"];
    std::thread::scope(|scope| {
        [door].into_iter().chain(workers).for_each(|node| drop(scope.spawn(|| node.stop())));
    });
    assert!(begun.elapsed() < STOP_WITHIN, "{:?}", begun.elapsed());
    for name in names {
        let said = std::fs::read_to_string(place.outputs().join(format!("stderr-{name}.txt")));
        let said = said.unwrap();
        assert!(said.contains("stopping: no new requests"), "{name} does not say so:\n{said}");
    }
    kafka.resume(0);
    let worker = start("third", "worker");
    until("all that was taken is stored", || {
        books(&place).get("stored").copied().unwrap_or(0) >= 20
    });
    worker.stop();
}

/// A key in a pipe that nobody writes to: the main thread waits for the system, and no runtime turns.
#[test]
fn a_process_that_hangs_is_ended_with_what_it_did_not_finish() {
    let place = Place::new();
    // Who has no key ring yet is told so before a key is read.
    place.start().stop();
    let key = place.home().join("pipe");
    succeed(Command::new("mkfifo").args(["-m", "600"]).arg(&key));
    place.configure("keyring", "key_encryption_key", key.to_str().unwrap());
    let mut command = place.command(&["run"]);
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let threads = format!("/proc/{}/task", process.id());
    until("signals are listened to", || {
        let mut threads = std::fs::read_dir(&threads).unwrap().flatten();
        threads.any(|thread| {
            std::fs::read_to_string(thread.path().join("comm"))
                .is_ok_and(|name| name == "signals\n")
        })
    });
    let begun = Instant::now();
    succeed(Command::new("sh").args(["-c", &format!("kill -TERM {}", process.id())]));
    until("it ends", || process.try_wait().unwrap().is_some());
    let output = process.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("stopping") && said.contains("not finished: the start"), "{said}");
    assert!(begun.elapsed() > Duration::from_secs(39), "what may still get on is waited for");
}
