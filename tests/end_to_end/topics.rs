//! A topic of JSON records that somebody else writes, through the real binary into the tables: every record once, the broken
//! ones counted by reason, whoever is killed; and nothing of what it says of people in anything that is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::Kafka;
use quorate::scan::Scanner;
use schemas::Note;
use serde_json::Value;

use crate::support::place::Place;
use crate::support::{printed, search, succeed};

/// Stands in every record, as the name of a mailbox.
const CANARY: &str = "k7qcanarymailbox";
/// How long records may take into the tables, on a machine that does other things too.
const WITHIN: Duration = Duration::from_secs(300);

fn script(arguments: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target/python/bin/python");
    assert!(python.is_file(), "no Python with confluent-kafka: run `cargo xtask python` first");
    let mut command = Command::new(python);
    command.arg(root.join("tests/end_to_end/topic.py")).args(arguments);
    serde_json::from_str(&printed(&mut command)).expect("the program prints JSON")
}

/// Makes a topic with that many records, and gives what must become of them.
fn write(topic: &str, partitions: u16, records: u64) -> BTreeMap<String, u64> {
    let (partitions, records) = (partitions.to_string(), records.to_string());
    let bootstrap = Kafka::shared().bootstrap();
    let expected = script(&["write", bootstrap, topic, &partitions, &records, CANARY]);
    let mut counts: BTreeMap<String, u64> = serde_json::from_value(expected).unwrap();
    let refused = counts["received"] - counts["stored"];
    assert_eq!(refused, counts["received"] / 1000);
    counts.retain(|_, count| *count > 0);
    counts
}

/// Lets a place read the topic: family by a field, the rest where the company has it.
fn configure(place: &Place, topic: &str) {
    let package = place.home().join("policy/web.toml");
    let mut text = std::fs::read_to_string(&package).unwrap();
    text.push_str(
        "number = { type = \"integer\", range = [0, 2_000_000], is = \"usage\", about = \"number of the record\" }\n",
    );
    std::fs::write(&package, text).unwrap();
    let source = format!(
        r#"
name             = "shop"
topic            = "{topic}"
group            = "quorate-{topic}"
family_field     = "type"
families         = {{ view = "web" }}
fields           = {{ name = "event.name", number = "event.number", url = "page.url" }}
address_field    = "client.ip"
user_agent_field = "client.agent"
time_field       = "at"
record_bytes_max = 16_384
properties       = {{ "bootstrap.servers" = "{}", "session.timeout.ms" = "6000" }}
"#,
        Kafka::shared().bootstrap()
    );
    let source: toml::Value = toml::from_str(&source).unwrap();
    place.configure("sources", "kafka", vec![source]);
}

/// What the books say of records, without notes.
fn books(root: &Path) -> BTreeMap<String, u64> {
    let mut books = search::outcomes(root);
    books.retain(|name, count| *count > 0 && !Note::ALL.iter().any(|note| note.name() == name));
    books
}

/// Waits until the books have that many records, and gives how many they have.
fn wait_for(root: &Path, received: u64) -> u64 {
    let begun = Instant::now();
    loop {
        let found = books(root).get("received").copied().unwrap_or(0);
        if found >= received {
            return found;
        }
        assert!(begun.elapsed() < WITHIN, "{found} of {received} records arrived");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Every record of the topic is in the table once, or in the books under the reason that it was refused for.
fn assert_once(root: &Path, sent: &BTreeMap<String, u64>) {
    assert_eq!(&books(root), sent, "left: the books, right: what was written");
    let table = root.join("events/web");
    let found = script(&["check", table.to_str().unwrap()]);
    assert_eq!(found["rows"].as_u64(), Some(sent["stored"]), "{found}");
    assert_eq!(found["different"], found["rows"], "each number once: {found}");
    assert_eq!(found["broken"].as_u64(), Some(0), "{found}");
}

#[test]
fn a_topic_arrives_once_though_the_service_is_killed_and_nothing_personal_is_written() {
    let place = Place::new();
    let sent = write("views", 3, 60_000);
    configure(&place, "views");
    let tried = place.print(&["try", "--source", "shop", "--records", "1000"]);
    for line in ["accepted as web", "refused: empty", "declared them: customer"] {
        assert!(tried.contains(line), "{line}: {tried:.2000}");
    }
    assert!(!place.data().join("events").exists(), "a trial stores nothing");
    for pause in [1_500, 3_000, 500, 4_000] {
        // Dropped without a stop: the process is killed.
        let service = place.start();
        std::thread::sleep(Duration::from_millis(pause));
        drop(service);
    }
    let service = place.start();
    wait_for(&place.data(), sent["received"]);
    service.stop();
    assert_once(&place.data(), &sent);

    let addresses = (0..200).map(|number: u32| format!("203.0.{}.{}", number % 16, number % 251));
    let needles = addresses.map(|address| ("address", address));
    let needles = needles.chain([("mailbox", CANARY.to_owned())]);
    let scanner = Scanner::new(needles).unwrap();
    let report = search::everything(place.root(), &scanner);
    assert!(report.findings.is_empty(), "{}", search::told(&report));
}

#[test]
fn a_topic_that_was_made_again_is_refused() {
    let place = Place::new();
    let sent = write("again", 1, 3_000);
    configure(&place, "again");
    let service = place.start();
    wait_for(&place.data(), sent["received"]);
    service.stop();
    script(&["delete", Kafka::shared().bootstrap(), "again"]);
    // Longer than the first one: its positions are all there.
    write("again", 1, 6_000);
    let service = place.start();
    let begun = Instant::now();
    let said = || std::fs::read_to_string(place.outputs().join("stderr.txt")).unwrap();
    while !said().contains("does not have the mark") {
        assert!(begun.elapsed() < WITHIN, "it is not refused");
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(service);
    assert_once(&place.data(), &sent);
}

/// A worker of a place, with data of its own and tables that it shares.
struct Worker(Child);

impl Worker {
    fn start(place: &Place, number: u32) -> Self {
        let file = place.home().join(format!("worker-{number}.toml"));
        let text = std::fs::read_to_string(place.home().join("quorate.toml")).unwrap();
        let mut table: toml::Table = text.parse().unwrap();
        table.insert("data".to_owned(), format!("worker-{number}").into());
        let listen = toml::Table::from_iter([("listen".to_owned(), "127.0.0.1:0".into())]);
        table.insert("operator".to_owned(), listen.into());
        std::fs::write(&file, table.to_string()).unwrap();
        let log = place.outputs().join(format!("worker-{number}.txt"));
        let log = File::options().append(true).create(true).open(log).unwrap();
        let mut command = crate::support::quorate();
        command.arg("--config").arg(file).args(["run", "--roles", "worker"]);
        command.env("TMPDIR", place.temporary()).env("RUST_LOG", "info");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().unwrap())
    }

    /// Stops as an operator does.
    fn stop(mut self) {
        succeed(Command::new("sh").args(["-c", &format!("kill -TERM {}", self.0.id())]));
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After a stop there is nothing to kill, and nothing to say.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Lets everything lie where several workers reach it.
fn share(place: &Place) -> PathBuf {
    let root = place.home().join("shared");
    for part in ["events", "statistics"] {
        let url = root.join(part).to_str().unwrap().to_owned();
        let table = toml::Table::from_iter([("url".to_owned(), url.into())]);
        place.configure("storage", part, table);
    }
    root.join("events")
}

#[test]
fn a_million_records_arrive_once_while_workers_join_leave_and_die() {
    const RECORDS: u64 = 1_000_000;
    let place = Place::new();
    configure(&place, "million");
    let root = share(&place);
    let sent = write("million", 6, RECORDS);
    let begun = Instant::now();
    let first = Worker::start(&place, 1);
    wait_for(&root, RECORDS / 50);
    let second = Worker::start(&place, 2);
    wait_for(&root, RECORDS / 5);
    // Dropped without a stop: the process is killed.
    drop(first);
    let third = Worker::start(&place, 3);
    wait_for(&root, RECORDS / 5 * 2);
    second.stop();
    let fourth = Worker::start(&place, 1);
    let at_last_kill = wait_for(&root, RECORDS / 5 * 3);
    drop(third);
    let fifth = Worker::start(&place, 2);
    wait_for(&root, RECORDS);
    println!("{RECORDS} records in {:.1} s", begun.elapsed().as_secs_f64());
    fifth.stop();
    fourth.stop();
    assert!(at_last_kill < RECORDS, "nothing was under way any more");
    assert_once(&root, &sent);
}
