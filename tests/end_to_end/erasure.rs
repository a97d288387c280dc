//! People who are erased: nothing of them is left in any file or frame, none of their events comes in again by any
//! way, and everybody else's are where they were.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anonymizer::{Gate, Identifier, KeyRing, Subject};
use arrow::array::AsArray;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use quorate::config::Config;
use quorate::scan::Scanner;
use quorate::store;
use quorate::subject::Receipt;
use serde_json::{Value, json};
use transport::embedded::EmbeddedLog;
use transport::{Log, Partition, Position};

use crate::support::place::{ORIGIN, Place, SITE, Service};
use crate::support::{http, search};

const DEVICES: usize = 260;
const VISITORS: usize = 40;
/// Of each kind the first so many are erased: a hundred people.
const ERASED_DEVICES: usize = 85;
const ERASED_VISITORS: usize = 15;
/// Requests that are open at once.
const AT_ONCE: usize = 33;

/// Serial number of a device.
pub(crate) fn serial(number: usize) -> String {
    format!("ER-2031-{number:06}")
}

fn address(number: usize) -> String {
    format!("198.51.100.{number}")
}

fn agent(number: usize) -> String {
    format!("Mozilla/5.0 (X11; Linux x86_64) Firefox/{}.0", 100 + number)
}

fn visitor(number: usize) -> String {
    json!({ "site": SITE, "address": address(number), "user_agent": agent(number) }).to_string()
}

fn use_of(number: usize, id: &str) -> Value {
    json!({ "type": "device_usage", "id": id, "serial_number": serial(number), "product": "x1", "version": "3.8.1" })
}

fn view(id: &str) -> Value {
    json!({ "type": "web", "id": id, "name": "pageview", "url": "https://shop.example/docs/a" })
}

fn post_view(events: SocketAddr, number: usize, body: &str) {
    let headers = [
        ("Origin", ORIGIN),
        ("Content-Type", "text/plain"),
        ("User-Agent", &*agent(number)),
        ("X-Forwarded-For", &*address(number)),
    ];
    let target = format!("/v1/events?site={SITE}");
    assert_eq!(http::send(events, "POST", &target, &headers, body.as_bytes()).status, 202);
}

fn post_uses(events: SocketAddr, key: &str, body: &str) {
    let authorization = format!("Bearer {key}");
    let headers = [("Authorization", &*authorization), ("Content-Type", "application/json")];
    assert_eq!(http::send(events, "POST", "/v1/events", &headers, body.as_bytes()).status, 202);
}

/// What everybody sends once, as whole bodies that can be sent again.
struct Bodies {
    uses: Vec<String>,
    views: Vec<(usize, String)>,
}

impl Bodies {
    fn new() -> Self {
        let events: Vec<Value> = (0..DEVICES)
            .flat_map(|number| (0..4).map(move |n| use_of(number, &format!("d{number}-{n}"))))
            .collect();
        let uses = events.chunks(130).map(|chunk| Value::from(chunk.to_vec()).to_string());
        let views = (0..VISITORS).map(|number| {
            let events = (0..3).map(|n| view(&format!("v{number}-{n}")));
            (number, Value::Array(events.collect()).to_string())
        });
        Self { uses: uses.collect(), views: views.collect() }
    }

    fn send(&self, place: &Place, service: &Service) {
        for body in &self.uses {
            post_uses(service.events, &place.device_key, body);
        }
        for (number, body) in &self.views {
            post_view(service.events, *number, body);
        }
    }
}

/// Events that go on coming in, and how many of each device were acknowledged.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<Mutex<BTreeMap<usize, u64>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Load {
    pub(crate) fn begin(place: &Place, service: &Service) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let (events, key) = (service.events, place.device_key.clone());
        let thread = std::thread::spawn({
            let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
            move || {
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    let devices = (0..40).map(|n| (round * 37 + n * 7) % DEVICES);
                    let devices: Vec<usize> = devices.collect();
                    let body = devices.iter().enumerate();
                    let body = body.map(|(n, device)| use_of(*device, &format!("l{round}-{n}")));
                    post_uses(events, &key, &Value::Array(body.collect()).to_string());
                    let mut sent: std::sync::MutexGuard<'_, BTreeMap<usize, u64>> =
                        sent.lock().unwrap();
                    for device in devices {
                        *sent.entry(device).or_default() += 1;
                    }
                    round += 1;
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        });
        Self { stop, sent, thread }
    }

    pub(crate) fn end(self) -> BTreeMap<usize, u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("every body is acknowledged");
        Arc::into_inner(self.sent).unwrap().into_inner().unwrap()
    }
}

/// `quorate subject` with an identifier on standard input.
fn subject(place: &Place, action: &str, family: &str, identifier: &str) -> Output {
    subject_with(place, &[action], family, identifier)
}

/// The same with more arguments.
pub(crate) fn subject_with(
    place: &Place,
    arguments: &[&str],
    family: &str,
    identifier: &str,
) -> Output {
    let mut command = place.command(&["subject"]);
    command.args(arguments).args(["--family", family]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary can be started");
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{identifier}").unwrap();
    drop(input);
    child.wait_with_output().expect("the command ends")
}

/// What a command printed that must succeed.
#[track_caller]
pub(crate) fn receipt(output: &Output) -> Receipt {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).expect("a receipt")
}

/// As the command does, without starting a process for each of a hundred.
fn erase(place: &Place, operator: SocketAddr, family: &str, identifier: &str) -> Receipt {
    let token = std::fs::read_to_string(place.data().join("operator.token")).unwrap();
    let body = json!({ "kind": "erase", "family": family, "identifier": identifier }).to_string();
    let authorization = format!("Bearer {token}");
    let headers = [("Authorization", &*authorization)];
    let answer = http::send(operator, "POST", "/subject", &headers, body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.body());
    serde_json::from_value(answer.json()).expect("a receipt")
}

/// Who is erased: family, and identifier as on standard input.
fn erased() -> Vec<(&'static str, String)> {
    let devices = (0..ERASED_DEVICES).map(|number| ("device_usage", serial(number)));
    devices.chain((0..ERASED_VISITORS).map(|number| ("web", visitor(number)))).collect()
}

/// What a place holds while no process works on it.
pub(crate) struct Stored {
    place: PathBuf,
    config: Config,
    gate: Gate,
}

impl Stored {
    pub(crate) fn open(place: &Place) -> Self {
        let config = Config::load(Some(&place.home().join("quorate.toml"))).unwrap();
        let package = store::package(config.policy.as_deref()).unwrap();
        let (dir, key) = (config.keyring.folder().unwrap(), &config.keyring.key_encryption_key);
        let ring = KeyRing::open(dir, key, &config.key_ledger(), &store::system_clock()).unwrap();
        let gate = Gate::new(package, Arc::new(ring), config.archive_dir()).unwrap();
        Self { place: place.root().to_owned(), config, gate }
    }

    pub(crate) fn device(&self, number: usize) -> Subject {
        self.gate.subject("device_usage", &Identifier::text(serial(number))).unwrap()
    }

    fn visitor(&self, number: usize) -> Subject {
        let address = address(number).parse().unwrap();
        let identifier = Identifier::visit(SITE.to_owned(), address, agent(number));
        self.gate.subject("web", &identifier).unwrap()
    }

    /// Stored rows of each contributor of a family.
    pub(crate) fn rows(&self, family: &str) -> BTreeMap<Vec<u8>, u64> {
        let mut rows = BTreeMap::new();
        for file in parquet(&self.config.tables_dir().join("events").join(family)) {
            let file = std::fs::File::open(file).unwrap();
            let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
            let mask = ProjectionMask::columns(builder.parquet_schema(), ["contributor"]);
            for batch in builder.with_projection(mask).build().unwrap() {
                let batch = batch.unwrap();
                for contributor in batch.column(0).as_binary::<i32>() {
                    *rows.entry(contributor.unwrap_or_default().to_vec()).or_default() += 1;
                }
            }
        }
        rows
    }

    /// How many of these rows are a subject's.
    pub(crate) fn of(&self, rows: &BTreeMap<Vec<u8>, u64>, subject: &Subject) -> u64 {
        let pseudonyms = self.gate.pseudonyms(subject).unwrap();
        let own = pseudonyms.iter().filter_map(|(_, pseudonym)| rows.get(pseudonym.as_slice()));
        own.sum()
    }

    /// Nothing of these subjects in any file, decoded or not, in any store of keys and values, or in any frame.
    pub(crate) fn assert_nothing_of(&self, subjects: &[Subject]) {
        let mut hashes = Vec::new();
        for subject in subjects {
            let pseudonyms = self.gate.pseudonyms(subject).unwrap();
            hashes.extend(pseudonyms.iter().map(|(_, hash)| ("pseudonym", hash.to_vec())));
        }
        assert!(hashes.len() >= subjects.len(), "an epoch of each is alive");
        let texts = subjects.iter().flat_map(Subject::texts);
        let texts = texts.map(|text| ("identifier", text.to_owned())).collect::<Vec<_>>();
        let report = search::everything(&self.place, &Scanner::with_hashes(texts, hashes).unwrap());
        assert_eq!(report.found, 0, "{}", search::told(&report));
        let (frames, held) = self.frames(subjects);
        assert!(frames > 0, "the log holds nothing that could be looked at");
        assert_eq!(held, 0, "of {frames} frames");
    }

    /// Frames that can be opened, and how many hold a row of these subjects.
    fn frames(&self, subjects: &[Subject]) -> (u64, u64) {
        let log = EmbeddedLog::open(&self.config.log_dir(), self.config.log.partitions).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (mut count, mut held) = (0, 0);
        for partition in (0..log.partitions()).map(Partition) {
            let read = log.read(partition, Position(0), usize::MAX);
            for (_, frame) in runtime.block_on(read).unwrap() {
                let (bytes, _) = frame.into_parts();
                count += 1;
                for subject in subjects {
                    let frame = anonymizer::Sealed::parse(bytes.clone()).unwrap();
                    held += u64::from(self.gate.holds_subject(frame, subject).unwrap());
                }
            }
        }
        (count, held)
    }
}

fn parquet(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && !entry.ends_with("_delta_log") {
            files.extend(parquet(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "parquet") {
            files.push(entry);
        }
    }
    files
}

/// received = stored + duplicate + refused + expired + suppressed, and stored = rows + erased rows.
fn assert_conserved(place: &Place, rows: u64) -> BTreeMap<String, u64> {
    let books = search::outcomes(&place.data());
    let of = |name: &str| books.get(name).copied().unwrap_or(0);
    let ends = ["stored", "duplicate", "expired", "suppressed"].map(of).iter().sum::<u64>();
    assert_eq!(of("received"), ends, "{books:?}");
    assert_eq!(of("stored"), rows + of("erased"), "{books:?}");
    books
}

#[test]
fn a_hundred_people_are_erased_while_events_come_in() {
    let place = Place::new();
    let service = place.start();
    let bodies = Bodies::new();
    bodies.send(&place, &service);
    let load = Load::begin(&place, &service);
    std::thread::sleep(Duration::from_millis(1_500));

    // Whoever reads the data folder may ask, and nobody else.
    let unasked = http::send(service.operator, "POST", "/subject", &[], b"{}");
    assert_eq!(unasked.status, 401);
    let first = receipt(&subject(&place, "erase", "device_usage", &serial(0)));
    assert!(first.removed.rows_removed >= 4 && first.removed.frames_rewritten > 0, "{first:?}");
    assert!(!first.removed.sealing_keys_destroyed.is_empty() && first.epochs >= 1, "{first:?}");
    let nobody = receipt(&subject(&place, "object", "device_usage", "nobody at all"));
    assert_eq!((nobody.removed.rows_removed, nobody.removed.frames_rewritten), (0, 0));

    let queue = Mutex::new(erased().split_off(1));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((family, identifier)) = queue.lock().unwrap().pop() else { break };
                    let receipt = erase(&place, service.operator, family, &identifier);
                    assert!(receipt.removed.rows_removed >= 3, "{receipt:?}");
                }
            });
        }
    });
    // Their events again, while they are looked for no more: the same bodies, and new events.
    bodies.send(&place, &service);
    std::thread::sleep(Duration::from_millis(500));
    let mut sent = load.end();
    for device in 0..DEVICES {
        *sent.entry(device).or_default() += 4;
    }

    // Somebody whose last events the worker has not seen when it dies, and who is erased before it comes back.
    let late = DEVICES;
    let uses = (0..5).map(|n| use_of(late, &format!("late-{n}")));
    post_uses(service.events, &place.device_key, &Value::Array(uses.collect()).to_string());
    drop(service);
    let late_receipt = receipt(&subject(&place, "erase", "device_usage", &serial(late)));
    assert!(late_receipt.removed.rows_removed <= 5);

    // History that holds them, too.
    let now = chrono_now();
    let mut history = String::new();
    for number in 0..ERASED_DEVICES + 5 {
        let mut event = use_of(number, &format!("h{number}"));
        event["time"] = json!(now);
        history.push_str(&format!("{event}\n"));
    }
    for number in 0..VISITORS {
        let mut event = view(&format!("hv{number}"));
        event["time"] = json!(now);
        event["end_user"] = json!({ "address": address(number), "user_agent": agent(number) });
        history.push_str(&format!("{event}\n"));
    }
    let file = place.outputs().join("history.ndjson");
    std::fs::write(&file, history).unwrap();
    let printed = place.print(&["import", file.to_str().unwrap(), "--site", SITE]);
    std::fs::remove_file(&file).unwrap();
    let suppressed = ERASED_DEVICES + ERASED_VISITORS;
    assert!(printed.contains(&format!("+ suppressed {suppressed}\n")), "{printed}");
    for device in ERASED_DEVICES..ERASED_DEVICES + 5 {
        *sent.entry(device).or_default() += 1;
    }

    // And once more by a service that was started anew.
    let service = place.start();
    bodies.send(&place, &service);
    let checked = subject(&place, "check", "device_usage", &serial(1));
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    service.stop();

    let stored = Stored::open(&place);
    let mut gone: Vec<Subject> = (0..ERASED_DEVICES).map(|n| stored.device(n)).collect();
    gone.extend((0..ERASED_VISITORS).map(|n| stored.visitor(n)));
    gone.push(stored.device(late));
    // What this test wrote itself is not what came out.
    stored.assert_nothing_of(&gone);

    let (uses, views) = (stored.rows("device_usage"), stored.rows("web"));
    for number in 0..DEVICES {
        let expected = if number < ERASED_DEVICES { 0 } else { sent[&number] };
        assert_eq!(stored.of(&uses, &stored.device(number)), expected, "device {number}");
    }
    for number in 0..VISITORS {
        let expected = if number < ERASED_VISITORS { 0 } else { 4 };
        assert_eq!(stored.of(&views, &stored.visitor(number)), expected, "visitor {number}");
    }
    let rows = uses.values().chain(views.values()).sum();
    let books = assert_conserved(&place, rows);
    assert!(books["suppressed"] >= (3 * ERASED_VISITORS + ERASED_DEVICES) as u64, "{books:?}");
    assert!(first_commitment_holds(&stored, &first));

    // The search can fail: somebody who was not erased is found, in tables and frames.
    let other = subject(&place, "check", "device_usage", &serial(DEVICES - 1));
    assert_eq!(other.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&other.stdout).unwrap();
    assert!(report["found"].as_u64().unwrap() > 2, "{report}");
    let checked = subject(&place, "check", "web", &visitor(0));
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

fn first_commitment_holds(stored: &Stored, receipt: &Receipt) -> bool {
    let ledger = std::fs::read_to_string(stored.config.request_ledger()).unwrap();
    assert!(ledger.contains(&receipt.commitment) && !ledger.contains(&receipt.nonce));
    stored.device(0).verify(&receipt.nonce, &receipt.commitment)
        && !stored.device(1).verify(&receipt.nonce, &receipt.commitment)
}

/// Killed at each step of an erasure: the next start goes on without being asked.
#[test]
fn an_erasure_that_was_cut_off_is_finished_by_the_next_start() {
    let place = Place::new();
    let moments = ["drain", "rows", "search", "frames", "keys", "done"];
    let people = moments.len();
    let mut service = place.start();
    let body = |from: usize| {
        let events = (from..from + 3).flat_map(|n| {
            (0..people + 3).map(move |device| use_of(device, &format!("{device}-{n}")))
        });
        Value::Array(events.collect()).to_string()
    };
    for (number, moment) in moments.iter().enumerate() {
        post_uses(service.events, &place.device_key, &body(10 * number));
        // What was resumed passed it too.
        let passed = |moment: &str| {
            let log = std::fs::read_to_string(place.outputs().join("stderr.txt"));
            log.unwrap_or_default().matches(&format!("quorate::moment: erase {moment}")).count()
        };
        let before = passed(moment);
        let token = std::fs::read_to_string(place.data().join("operator.token")).unwrap();
        let operator = service.operator;
        let asked = std::thread::spawn(move || {
            let identifier = serial(number);
            let body =
                json!({ "kind": "object", "family": "device_usage", "identifier": identifier });
            let authorization = format!("Bearer {token}");
            let headers = [("Authorization", &*authorization)];
            // The process is killed meanwhile.
            std::panic::catch_unwind(|| {
                http::send(operator, "POST", "/subject", &headers, body.to_string().as_bytes())
            })
        });
        wait(|| passed(moment) > before);
        drop(service);
        drop(asked.join());
        service = place.start();
        let ledger = place.data().join("ledger").join("requests.jsonl");
        wait(|| std::fs::read_to_string(&ledger).unwrap().matches("\"done\"").count() > number);
        // A retry of what was sent before.
        post_uses(service.events, &place.device_key, &body(10 * number));
    }
    service.stop();

    let stored = Stored::open(&place);
    let gone: Vec<Subject> = (0..people).map(|n| stored.device(n)).collect();
    stored.assert_nothing_of(&gone);
    let rows = stored.rows("device_usage");
    for other in people..people + 3 {
        let expected = 3 * moments.len() as u64;
        assert_eq!(stored.of(&rows, &stored.device(other)), expected, "device {other}");
    }
    assert_conserved(&place, rows.values().sum());
    let keys = std::fs::read_to_string(place.data().join("ledger").join("keys.jsonl")).unwrap();
    let destroyed: BTreeSet<&str> =
        keys.lines().filter(|line| line.contains("a contributor was erased")).collect();
    assert!(destroyed.len() >= moments.len(), "{destroyed:?}");
}

#[track_caller]
fn wait(done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "it does not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Now, as devices say it.
pub(crate) fn chrono_now() -> String {
    let clock = store::system_clock();
    clock().to_string()
}
