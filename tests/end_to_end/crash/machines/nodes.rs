//! The machines: brokers, an object store, and one process of the real binary for each role and node.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster::{Kafka, Proxy, S3};
use quorate::config::Config;
use storage::Root;
use toml::Table;
use transport::kafka::{KafkaConfig, topics};

use super::schedule::{BROKERS, INGESTS, WORKERS};
use crate::support::place::Place;
use crate::support::{http, printed, quorate, succeed};

/// How long anything may take until it is up, on a machine that does other things too.
const START_WITHIN: Duration = Duration::from_secs(120);
/// How long a node may take to stop in order.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// Partitions of the log: more than workers, so that some have two.
const PARTITIONS: u16 = 4;
/// Copies of each on brokers.
const REPLICATION: i16 = 3;

/// Everything there is.
pub(super) struct Machines {
    pub(super) ingests: Vec<Node>,
    /// The last one comes and goes.
    pub(super) workers: Vec<Node>,
    pub(super) query: Node,
    pub(super) kafka: Kafka,
    /// The wires between each worker and the object store.
    pub(super) wires: Vec<Proxy>,
    /// Where rows and ledgers are.
    pub(super) events: Root,
    _s3: S3,
}

impl Machines {
    /// Starts brokers and makes the topics; nodes are there, and not started.
    pub(super) fn start(place: &Place) -> Self {
        let (kafka, s3) = (Kafka::start(BROKERS), S3::start());
        let urls = ["events", "statistics"].map(|name| (name, s3.bucket(name)));
        let wires: Vec<Proxy> = (0..=WORKERS).map(|_| Proxy::start(s3.address())).collect();
        let site = Site { place, kafka: &kafka, urls: &urls };
        let direct = |name: String, role| Node::new(&site, &name, role, s3.address());
        let ingests = (0..INGESTS).map(|index| direct(format!("ingest-{index}"), "ingest"));
        let ingests = ingests.collect();
        let query = direct("query".to_owned(), "query");
        let behind = |(index, wire): (usize, &Proxy)| {
            Node::new(&site, &format!("worker-{index}"), "worker", wire.address())
        };
        let workers = wires.iter().enumerate().map(behind).collect();
        let events = Root::parse(&urls[0].1, &s3.options()).expect("a bucket of moto's");
        make_topics(kafka.bootstrap());
        Self { ingests, workers, query, kafka, wires, events, _s3: s3 }
    }

    /// Every node that is there when no fault is.
    pub(super) fn regular(&mut self) -> impl Iterator<Item = &mut Node> {
        let workers = self.workers.iter_mut().take(WORKERS);
        self.ingests.iter_mut().chain(workers).chain(std::iter::once(&mut self.query))
    }

    /// What the script beside this file says.
    pub(super) fn ask_kafka(&self, command: &str, name: &str) -> String {
        let mut python = Command::new("target/python/bin/python");
        python.args(["-c", include_str!("kafka.py"), self.kafka.bootstrap(), command, name]);
        printed(python.current_dir(env!("CARGO_MANIFEST_DIR"))).trim().to_owned()
    }
}

/// What all nodes share.
struct Site<'t> {
    place: &'t Place,
    kafka: &'t Kafka,
    /// Buckets by what they are for.
    urls: &'t [(&'static str, String)],
}

/// A node: its configuration, and its process while there is one.
pub(super) struct Node {
    pub(super) name: String,
    role: &'static str,
    configuration: PathBuf,
    temporary: PathBuf,
    /// Its port: of events, or of statistics; workers have none.
    pub(super) serves: SocketAddr,
    operator: SocketAddr,
    /// What each of its lives said.
    logs: Vec<PathBuf>,
    process: Option<Child>,
}

impl Node {
    /// Writes the configuration of a node that finds the object store at `store`, host and port.
    fn new(site: &Site<'_>, name: &str, role: &'static str, store: &str) -> Self {
        let home = site.place.home();
        let ports = cluster::free_ports(2);
        let [serves, operator] =
            [ports[0], ports[1]].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let text = std::fs::read_to_string(home.join("quorate.toml")).expect("init writes it");
        let mut table: Table = text.parse().expect("which is TOML");
        table.insert("data".to_owned(), format!("data-{name}").into());
        let mut set = |section: &str, key: &str, value: toml::Value| {
            let section = table.entry(section).or_insert_with(|| Table::new().into());
            let section = section.as_table_mut().expect("a section of the configuration");
            section.insert(key.to_owned(), value);
        };
        set("ingest", "listen", serves.to_string().into());
        // Well below what clients wait.
        set("ingest", "durable_timeout_s", 10.into());
        set("query", "listen", serves.to_string().into());
        set("operator", "listen", operator.to_string().into());
        set("log", "partitions", i64::from(PARTITIONS).into());
        set("sink", "maintain_every_s", 2.into());
        let properties = [
            ("bootstrap.servers", site.kafka.bootstrap().to_owned()),
            ("session.timeout.ms", "6000".to_owned()),
        ];
        set("kafka", "replication", i64::from(REPLICATION).into());
        set("kafka", "properties", texts(properties).into());
        let options = S3::options_at(store);
        for (root, url) in site.urls {
            let mut bucket = texts([("url", url.clone())]);
            let options = options.iter().map(|(name, value)| (name.as_str(), value.clone()));
            bucket.insert("options".to_owned(), texts(options).into());
            set("storage", root, bucket.into());
        }
        let configuration = home.join(format!("{name}.toml"));
        std::fs::write(&configuration, table.to_string()).expect("the folder can be written");
        Self {
            name: name.to_owned(),
            role,
            configuration,
            temporary: site.place.temporary(),
            serves,
            operator,
            logs: Vec::new(),
            process: None,
        }
    }

    /// The binary with the configuration of this node.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = quorate();
        command.arg("--config").arg(&self.configuration).args(arguments);
        command.env("TMPDIR", &self.temporary).env("RUST_LOG", "info");
        command
    }

    /// Starts a life of it, and does not wait.
    pub(super) fn start(&mut self) {
        assert!(self.process.is_none(), "{} is running", self.name);
        let log =
            self.configuration.with_file_name(format!("{}.{}.log", self.name, self.logs.len()));
        let file = File::create(&log).expect("a file for log lines");
        let mut command = self.command(&["run", "--roles", self.role]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        self.logs.push(log);
        self.process = Some(command.spawn().expect("the binary can be started"));
    }

    /// Whether it says that it is ready.
    pub(super) fn is_ready(&self) -> bool {
        // Nobody listens before it is.
        std::net::TcpStream::connect(self.operator).is_ok()
            && http::send(self.operator, "GET", "/readyz", &[], b"").status == 200
    }

    pub(super) fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        while !self.is_ready() {
            let ended =
                self.process.as_mut().and_then(|process| process.try_wait().expect("a child"));
            assert!(ended.is_none(), "{} ended with {ended:?}:\n{}", self.name, self.said());
            let waited = begun.elapsed();
            assert!(waited < START_WITHIN, "{} does not get ready:\n{}", self.name, self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Kills it wherever it is.
    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may be dead already.
            drop(process.kill());
            drop(process.wait());
        }
    }

    /// Lets it hang, and go on.
    pub(super) fn signal(&self, name: &str) {
        let id = self.process.as_ref().expect("it is running").id();
        succeed(Command::new("sh").args(["-c", &format!("kill -{name} {id}")]));
    }

    /// Stops it as an operator does. While it starts it may give up instead, where Kafka does not answer just then.
    pub(super) fn stop(&mut self) {
        if self.has_ended() || self.process.is_none() {
            return;
        }
        let was_ready = self.is_ready();
        self.signal("TERM");
        let status = self.wait(STOP_WITHIN);
        if !was_ready && status.is_some() {
            return;
        }
        assert!(
            status.is_some_and(|status| status.success()),
            "{} ended with {status:?}:\n{}",
            self.name,
            self.said()
        );
    }

    /// How it ended, if it does within this time. It is killed otherwise.
    pub(super) fn wait(&mut self, within: Duration) -> Option<std::process::ExitStatus> {
        let begun = Instant::now();
        let process = self.process.as_mut().expect("it is running");
        let mut status = None;
        while status.is_none() && begun.elapsed() < within {
            std::thread::sleep(Duration::from_millis(20));
            status = process.try_wait().expect("a child can be asked");
        }
        self.kill();
        status
    }

    /// Whether it ended by itself; it can be started again then.
    pub(super) fn has_ended(&mut self) -> bool {
        let status = self.process.as_mut().and_then(|process| process.try_wait().expect("a child"));
        if status.is_some() {
            self.process = None;
        }
        status.is_some()
    }

    /// What its last life said.
    pub(super) fn said(&self) -> String {
        self.logs.last().map(|log| read(log)).unwrap_or_default()
    }

    /// Lines that no life should have had.
    pub(super) fn complaints(&self) -> Vec<String> {
        let texts = self.logs.iter().map(|log| read(log));
        let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
        lines.filter(|line| line.contains("panicked")).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Makes the topics of the log.
fn make_topics(brokers: &str) {
    let usual = Config::default();
    let config = KafkaConfig {
        prefix: "quorate".to_owned(),
        properties: [("bootstrap.servers".to_owned(), brokers.to_owned())].into(),
        partitions: PARTITIONS,
        replication: REPLICATION,
        buffer_bytes: 64 << 20,
        frame_bytes_max: usual.ingest.frame_bytes_max,
        raw_retention_max_ms: usual.log.raw_retention_ms().1,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let made = runtime.expect("a runtime").block_on(topics::create(&config));
    made.expect("topics can be made");
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

fn texts<'t>(pairs: impl IntoIterator<Item = (&'t str, String)>) -> Table {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}
