//! A door on a free port of this machine, with the real gate and the real log, and a client that sends what it is told.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anonymizer::{Agents, Gate, Geo, KeyRing, Origin, Resolver, Sharing, Shelves};
use arrow::array::{AsArray, RecordBatch};
use arrow::util::display::array_value_to_string;
use ingest::{IngestConfig, Server};
use schemas::access::{SourceKind, Sources};
use schemas::{Clock, Millis, Package, Tally};
use tempfile::TempDir;
use transport::embedded::EmbeddedLog;
use transport::{Log, Partition, Position};

/// When tests happen: 2025-11-22T00:06:40Z.
pub(crate) const NOW: Millis = Millis(1_763_770_000_000);
/// An address in Denmark, by the shipped database.
pub(crate) const DANISH: &str = "80.160.17.4";
/// An address in Germany.
pub(crate) const GERMAN: &str = "79.192.17.4";

/// The package in `tests/package`.
pub(crate) fn package() -> Arc<Package> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/package");
    Arc::new(Package::load(&folder).expect("the package is valid"))
}

/// A clock that stands still until it is told.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(AtomicI64::new(NOW.0)))
    }

    pub(crate) fn clock(&self) -> Clock {
        let time = Arc::clone(&self.0);
        Arc::new(move || Millis(time.load(Ordering::SeqCst)))
    }

    pub(crate) fn advance(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

/// Gate 1 on a ring of its own.
pub(crate) struct Gates {
    pub(crate) package: Arc<Package>,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) gate: Arc<Gate>,
}

impl Gates {
    pub(crate) fn new(package: Arc<Package>, folder: &Path, clock: &Clock) -> Self {
        let kek = folder.join("key-encryption.key");
        KeyRing::make_key_encryption_key(&kek).unwrap();
        let shelves = Shelves::folders(&folder.join("keyring"), &folder.join("keys.jsonl"));
        // As one of many nodes, for whom no time passes.
        let sharing = Sharing::Shared { steady: Arc::new(|| Millis(0)) };
        let ring = Arc::new(KeyRing::create_on(&shelves, &kek, clock, sharing).unwrap());
        let resolver = Resolver::new(
            Arc::clone(&package),
            Arc::clone(&ring),
            Geo::shipped().unwrap(),
            Agents::shipped().unwrap(),
        );
        let gate = Gate::new(Arc::clone(&package), ring, folder.join("policies")).unwrap();
        Self { package, resolver: Arc::new(resolver), gate: Arc::new(gate) }
    }
}

/// A running door and what is behind it.
pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) gates: Gates,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: TestClock,
    pub(crate) device: String,
    pub(crate) usher: String,
    pub(crate) sources: PathBuf,
    _folder: TempDir,
}

/// The usual configuration on a free port.
pub(crate) fn config() -> IngestConfig {
    IngestConfig { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..IngestConfig::default() }
}

impl House {
    pub(crate) async fn open(config: IngestConfig) -> Self {
        Self::open_with(config, |folder| Arc::new(EmbeddedLog::open(folder, 2).unwrap())).await
    }

    pub(crate) async fn open_with(
        config: IngestConfig,
        log: impl FnOnce(&Path) -> Arc<dyn Log>,
    ) -> Self {
        Self::open_for(package(), config, log).await
    }

    /// Under another package.
    pub(crate) async fn open_for(
        package: Arc<Package>,
        config: IngestConfig,
        log: impl FnOnce(&Path) -> Arc<dyn Log>,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = TestClock::new();
        let gates = Gates::new(package, folder.path(), &clock.clock());
        let log = log(&folder.path().join("log"));
        let sources = folder.path().join("sources.toml");
        let mut registry = Sources::default();
        let mut add = |name: &str, kind, families: &[&str], origins: &[&str], entropy| {
            let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            let secret =
                registry.add(name, kind, texts(families), texts(origins), NOW, [entropy; 20]);
            secret.unwrap().reveal().to_owned()
        };
        let device = add("scanners", SourceKind::Device, &[], &[], 1);
        let usher = add("backend", SourceKind::Server, &[], &[], 2);
        add("shop", SourceKind::Site, &["web"], &["https://shop.example"], 3);
        add("shop.example", SourceKind::Site, &["web"], &["http://shop.example:39411"], 4);
        registry.save(&sources).unwrap();
        let server = ingest::serve(
            config,
            Arc::clone(&gates.package),
            Arc::clone(&gates.resolver),
            Arc::clone(&gates.gate),
            Arc::clone(&log),
            sources.clone(),
            clock.clock(),
        );
        let server = server.await.unwrap();
        Self { server, gates, log, clock, device, usher, sources, _folder: folder }
    }

    /// Posts a body under the device key.
    pub(crate) async fn post(&self, body: impl Into<Vec<u8>>) -> Answer {
        self.post_with(&[], body).await
    }

    /// Posts a body under the device key with more headers.
    pub(crate) async fn post_with(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let key = format!("Bearer {}", self.device);
        let headers = [headers, &[("Authorization", key.as_str())]].concat();
        self.send("POST", "/v1/events", &headers, body).await
    }

    /// Sends anything.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let request = request(method, path, headers, &body.into());
        let addr = self.server.addr;
        let answer = tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(addr).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            // A server that has answered may close before all is sent.
            let _sent = stream.write_all(&request);
            Answer::read(&mut stream)
        });
        answer.await.unwrap()
    }

    /// Clear headers of all frames in the log: family, rows, what was refused beside them.
    pub(crate) async fn frames(&self) -> Vec<(Option<String>, u32, Tally)> {
        let mut frames = Vec::new();
        for partition in 0..self.log.partitions() {
            let read = self.log.read(Partition(partition), Position(0), 1 << 30).await.unwrap();
            frames.extend(read.into_iter().map(|(_, frame)| {
                let header = frame.header();
                (header.family.clone(), header.rows, header.tally.clone())
            }));
        }
        frames
    }

    /// Rows of a family, as gate 1 leaves them.
    pub(crate) async fn rows(&self, family: &str) -> Vec<RecordBatch> {
        let mut rows = Vec::new();
        for partition in 0..self.log.partitions() {
            let read = self.log.read(Partition(partition), Position(0), 1 << 30).await.unwrap();
            for (position, frame) in read {
                let header = frame.header();
                if header.family.as_deref() != Some(family) || header.rows == 0 {
                    continue;
                }
                let origin = Origin { partition, position: position.0, import: false };
                let raw = self.gates.gate.open(frame).unwrap();
                let batch = self.gates.gate.anonymize(raw, &origin, NOW).unwrap();
                rows.push(batch.rows().clone());
            }
        }
        rows
    }

    /// Those columns of all rows of a family, a line each, sorted.
    pub(crate) async fn lines(&self, family: &str, columns: &[&str]) -> Vec<String> {
        let mut lines = Vec::new();
        for rows in self.rows(family).await {
            let column = |name: &&str| rows.column_by_name(name).unwrap();
            for row in 0..rows.num_rows() {
                let cell = |name| array_value_to_string(column(name), row).unwrap();
                lines.push(columns.iter().map(cell).collect::<Vec<_>>().join(" | "));
            }
        }
        lines.sort();
        lines
    }

    /// All values of a text column, sorted; empty for null.
    pub(crate) async fn texts(&self, family: &str, column: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for rows in self.rows(family).await {
            let column = rows.column_by_name(column).unwrap().as_string::<i32>();
            texts.extend(column.iter().map(|text| text.unwrap_or_default().to_owned()));
        }
        texts.sort();
        texts
    }
}

/// A door for the package that the binary carries, with fields of a shop in the family `web`.
pub(crate) async fn shop(config: IngestConfig) -> House {
    let files = schemas::DEFAULT_FILES.iter().map(|(name, text)| {
        let own = if *name == "web.toml" { SHOP_FIELDS } else { "" };
        ((*name).to_owned(), format!("{text}{own}"))
    });
    let package = Package::from_files(files.collect::<Vec<_>>()).expect("the package is valid");
    let log = |folder: &Path| -> Arc<dyn Log> { Arc::new(EmbeddedLog::open(folder, 2).unwrap()) };
    House::open_for(Arc::new(package), config, log).await
}

/// Behind those of the family `web`.
const SHOP_FIELDS: &str = include_str!("../shop_fields.toml");

/// A whole HTTP/1.1 request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let has_length = headers.iter().any(|(name, _)| {
        name.eq_ignore_ascii_case("content-length")
            || name.eq_ignore_ascii_case("transfer-encoding")
    });
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !has_length {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(stream: &mut impl Read) -> Self {
        let mut bytes = Vec::new();
        // A connection that is reset after the answer has given the answer.
        let _end = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The word in `error`.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }
}

/// One good event of a device.
pub(crate) fn event(number: u32) -> String {
    format!(
        r#"{{"type":"device_usage","product":"x1","serial_number":"X1-{number}","boot":1,"seq":{number}}}"#
    )
}

/// An array of good events.
pub(crate) fn events(numbers: std::ops::Range<u32>) -> String {
    let events: Vec<String> = numbers.map(event).collect();
    format!("[{}]", events.join(","))
}
