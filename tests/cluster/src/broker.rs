//! One broker of Apache Kafka: its configuration, its folder, its process. Brokers are controllers too (KRaft).

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{end, signal, spawn};
use crate::secure::{PASSWORD, Secure, USER};
use crate::{KAFKA_VERSION, kafka_jars};

/// What every broker of every cluster is formatted with: nothing is ever moved from one to another.
const CLUSTER_ID: &str = "cXVvcmF0ZS10ZXN0cy1rZg";

/// Started within seconds on two busy cores; nothing is measured here.
const JVM: [&str; 7] = [
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    // It says when the broker is up.
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",
];

/// What a broker logs once it takes requests.
pub(crate) const STARTED: &str = "Kafka Server started";

/// Where one broker listens, and where its files are.
#[derive(Clone, Debug)]
pub struct Broker {
    folder: PathBuf,
    plain: u16,
    controller: u16,
    secure: Option<u16>,
}

impl Broker {
    /// A broker whose files lie in `folder`, on these ports: for clients, for controllers, and for clients with TLS and SCRAM.
    #[must_use]
    pub fn new(folder: PathBuf, plain: u16, controller: u16, secure: Option<u16>) -> Self {
        Self { folder, plain, controller, secure }
    }

    /// Its address without TLS.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.plain)
    }

    /// Its address with TLS and SCRAM.
    #[must_use]
    pub fn secure_address(&self) -> Option<String> {
        self.secure.map(|port| format!("127.0.0.1:{port}"))
    }

    /// Where the segment files of its topics are.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts the process, which says everything into the file `log`.
    ///
    /// # Errors
    ///
    /// In words: no Java, no jars, a folder that cannot be written.
    pub fn start(&self, log: &Path) -> Result<std::process::Child, String> {
        spawn(&mut self.command()?, log)
    }

    /// The process that serves.
    pub(crate) fn command(&self) -> Result<Command, String> {
        let mut command = java()?;
        command.arg("kafka.Kafka").arg(self.configuration());
        Ok(command)
    }

    /// Writes its configuration, and an empty store.
    pub(crate) fn format(&self, text: &str) -> Result<(), String> {
        let written = std::fs::create_dir_all(&self.folder)
            .and_then(|()| std::fs::write(self.configuration(), text));
        written.map_err(|error| format!("cannot write {}: {error}", self.folder.display()))?;
        let mut format = java()?;
        format.args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"]);
        format.arg(self.configuration());
        if self.secure.is_some() {
            let user = format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]");
            format.args(["--add-scram", &user]);
        }
        let done = format.output().map_err(|error| format!("cannot start java: {error}"))?;
        if done.status.success() {
            return Ok(());
        }
        let said = [done.stdout, done.stderr].concat();
        Err(format!("a store cannot be formatted:\n{}", end(&String::from_utf8_lossy(&said))))
    }

    fn configuration(&self) -> PathBuf {
        self.folder.join("server.properties")
    }
}

/// Formats the stores of brokers that belong together. `more` are settings of Kafka's, which go before those from here.
///
/// # Errors
///
/// In words, as for [`Broker::start`].
pub fn format(brokers: &[Broker], more: &[(&str, &str)]) -> Result<(), String> {
    format_with(brokers, None, more)
}

pub(crate) fn format_with(
    brokers: &[Broker],
    secure: Option<&Secure>,
    more: &[(&str, &str)],
) -> Result<(), String> {
    std::thread::scope(|scope| {
        let texts = (0..brokers.len()).map(|index| properties(brokers, index, secure, more));
        let format = |(broker, text): (&'_ Broker, String)| broker.format(&text);
        let tasks = brokers.iter().zip(texts).map(|pair| scope.spawn(move || format(pair)));
        let tasks: Vec<_> = tasks.collect();
        tasks.into_iter().try_for_each(|task| task.join().expect("formatting does not panic"))
    })
}

/// Stops a process of [`Broker::start`] in order; false if there was none.
#[must_use]
pub fn stop(process: u32) -> bool {
    signal("TERM", process)
}

/// Whether a process of this number is there.
#[must_use]
pub fn is_running(process: u32) -> bool {
    signal("0", process)
}

/// Whether a broker that logs into this file takes requests.
#[must_use]
pub fn is_up(log: &Path) -> bool {
    std::fs::read_to_string(log).is_ok_and(|said| said.contains(STARTED))
}

/// `server.properties` of the broker at `index`.
fn properties(
    brokers: &[Broker],
    index: usize,
    secure: Option<&Secure>,
    more: &[(&str, &str)],
) -> String {
    let (broker, count) = (&brokers[index], brokers.len());
    let voters = brokers.iter().zip(1..);
    let voters = voters.map(|(broker, node)| format!("{node}@127.0.0.1:{}", broker.controller));
    let (copies, in_sync) = (count.min(3), if count >= 3 { 2 } else { 1 });
    let mut clients = format!("PLAINTEXT://{}", broker.address());
    if let Some(address) = broker.secure_address() {
        clients.push_str(&format!(",SASL_SSL://{address}"));
    }
    let mut settings: Vec<(&str, String)> = vec![
        ("process.roles", "broker,controller".to_owned()),
        ("node.id", (index + 1).to_string()),
        ("controller.quorum.voters", voters.collect::<Vec<_>>().join(",")),
        ("controller.listener.names", "CONTROLLER".to_owned()),
        ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
        ("listeners", format!("{clients},CONTROLLER://127.0.0.1:{}", broker.controller)),
        ("advertised.listeners", clients),
        (
            "listener.security.protocol.map",
            "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL".to_owned(),
        ),
        ("log.dirs", broker.log_dir().display().to_string()),
        // A topic that was deleted must not come back because somebody asks for it.
        ("auto.create.topics.enable", "false".to_owned()),
        ("default.replication.factor", copies.to_string()),
        ("min.insync.replicas", in_sync.to_string()),
        ("offsets.topic.replication.factor", copies.to_string()),
        ("offsets.topic.num.partitions", "4".to_owned()),
        ("transaction.state.log.replication.factor", copies.to_string()),
        ("transaction.state.log.min.isr", in_sync.to_string()),
        ("transaction.state.log.num.partitions", "4".to_owned()),
        ("share.coordinator.state.topic.replication.factor", copies.to_string()),
        ("share.coordinator.state.topic.min.isr", in_sync.to_string()),
        ("group.initial.rebalance.delay.ms", "0".to_owned()),
        // A dead broker is known to be dead after 3 s, not 9.
        ("broker.session.timeout.ms", "3000".to_owned()),
        ("broker.heartbeat.interval.ms", "500".to_owned()),
        ("num.network.threads", "2".to_owned()),
        ("num.io.threads", "2".to_owned()),
        ("log.cleaner.dedupe.buffer.size", (4 << 20).to_string()),
    ];
    if let Some(secure) = secure {
        settings.extend(secure.properties());
    }
    settings.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
    settings.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    settings.iter().fold(String::new(), |mut text, (name, value)| {
        writeln!(text, "{name}={value}").expect("a String takes everything");
        text
    })
}

/// Java with the jars of a broker.
fn java() -> Result<Command, String> {
    let jars = kafka_jars();
    if !jars.is_dir() {
        return Err(format!(
            "Apache Kafka {KAFKA_VERSION} is not below target/tools: run `cargo xtask kafka fetch`"
        ));
    }
    let mut java = Command::new("java");
    java.args(JVM).arg("-cp").arg(jars.join("*"));
    Ok(java)
}
