//! Brokers of a test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::broker::{self, Broker, STARTED};
use crate::ports;
use crate::process::{Guarded, Process};
use crate::secure::Secure;

/// A cluster of brokers, numbered from 0. All methods can be called from several threads.
pub struct Kafka {
    bootstrap: String,
    brokers: Vec<Seat>,
    secure: Option<Secure>,
    /// Dropped last: it removes the folder.
    guarded: Option<Guarded>,
}

/// How brokers differ from the usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'t> {
    /// Whether they also listen with TLS, for clients that log in by SCRAM-SHA-512; see [`Kafka::secure`].
    pub secure: bool,
    /// Settings of `server.properties`, which go before those of this crate.
    pub properties: &'t [(&'t str, &'t str)],
}

/// A broker and the process that is it, while there is one.
struct Seat {
    broker: Broker,
    process: Mutex<Option<Process>>,
    lives: AtomicU32,
}

impl Kafka {
    /// Starts that many brokers, each a controller too, with as many copies of everything as there are, at most 3; ready
    /// when it returns, after some 3 s for one and 6 s for three on idle cores. Topics are not created by asking for them.
    #[must_use]
    pub fn start(brokers: usize) -> Self {
        Self::start_with(brokers, Options::default())
    }

    /// Starts brokers that differ from the usual.
    #[must_use]
    pub fn start_with(brokers: usize, options: Options<'_>) -> Self {
        let guarded = Guarded::new("kafka");
        let secure = options.secure.then(|| Secure::new(guarded.folder()));
        let ports = ports::free(3 * brokers);
        let brokers = ports.chunks(3).zip(1..).map(|(ports, number)| {
            let folder = guarded.folder().join(format!("broker-{number}"));
            Broker::new(folder, ports[0], ports[1], options.secure.then_some(ports[2]))
        });
        let brokers: Vec<Broker> = brokers.collect();
        let formatted = broker::format_with(&brokers, secure.as_ref(), options.properties);
        formatted.unwrap_or_else(|why| panic!("{why}"));
        let bootstrap = brokers.iter().map(Broker::address).collect::<Vec<_>>().join(",");
        let seat = |broker| Seat { broker, process: Mutex::default(), lives: AtomicU32::new(0) };
        let brokers = brokers.into_iter().map(seat).collect();
        let kafka = Self { bootstrap, brokers, secure, guarded: Some(guarded) };
        // None is up before most are there.
        (0..kafka.brokers.len()).for_each(|index| kafka.launch(index));
        (0..kafka.brokers.len()).for_each(|index| kafka.wait_until_up(index));
        kafka
    }

    /// One broker for all tests of this process, started when first asked for: most tests need no more, under topics of
    /// their own. With `KAFKA_BOOTSTRAP` in the environment it is the cluster at those addresses, and cannot be broken.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "where tests run; the service never reads it")]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("KAFKA_BOOTSTRAP") {
            Ok(bootstrap) if !bootstrap.is_empty() => {
                Self { bootstrap, brokers: Vec::new(), secure: None, guarded: None }
            }
            _ => Self::start(1),
        })
    }

    /// Addresses of all brokers, dead ones too, as `bootstrap.servers` wants them.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// What a client needs to come in with TLS and SCRAM, under librdkafka's names, addresses included. Leaving one out, or
    /// changing the password or the certificate, has to keep it out.
    ///
    /// # Panics
    ///
    /// If the brokers were not started with [`Options::secure`].
    #[must_use]
    pub fn secure(&self) -> BTreeMap<String, String> {
        let secure = self.secure.as_ref().expect("started with Options::secure");
        let addresses = self.brokers.iter().filter_map(|seat| seat.broker.secure_address());
        let addresses = addresses.collect::<Vec<_>>().join(",");
        let mut client = secure.client();
        client.insert("bootstrap.servers".to_owned(), addresses);
        client
    }

    /// How many brokers there are to break: none on somebody else's cluster.
    #[must_use]
    pub fn brokers(&self) -> usize {
        self.brokers.len()
    }

    /// The broker that Kafka calls `node` in its metadata.
    #[must_use]
    pub fn of_node(&self, node: i32) -> usize {
        usize::try_from(node - 1)
            .ok()
            .filter(|index| *index < self.brokers.len())
            .expect("a node of this cluster")
    }

    /// Kills a broker at once, as a power cut would but for its page cache. Nothing happens if it is dead.
    pub fn kill(&self, broker: usize) {
        drop(self.process(broker).take());
    }

    /// Stops a broker without letting it know, as a machine that hangs.
    pub fn pause(&self, broker: usize) {
        if let Some(process) = &*self.process(broker) {
            process.pause();
        }
    }

    /// Lets a paused broker go on.
    pub fn resume(&self, broker: usize) {
        if let Some(process) = &*self.process(broker) {
            process.resume();
        }
    }

    /// Starts a broker on the data that it had, killing it first if it runs; returns when it takes requests, for which most
    /// brokers have to be up.
    pub fn restart(&self, broker: usize) {
        self.kill(broker);
        self.launch(broker);
        self.wait_until_up(broker);
    }

    /// Starts a dead broker and does not wait for it.
    pub fn launch(&self, broker: usize) {
        let seat = &self.brokers[broker];
        let life = seat.lives.fetch_add(1, Ordering::Relaxed);
        let name = format!("broker-{}", broker + 1);
        let guarded = self.guarded.as_ref().expect("brokers have a folder");
        let log = guarded.folder().join(format!("{name}.{life}.log"));
        let mut command = seat.broker.command().unwrap_or_else(|why| panic!("{why}"));
        *self.process(broker) = Some(guarded.spawn(&name, &log, &mut command));
    }

    /// Whether the process of a broker is there.
    #[must_use]
    pub fn is_running(&self, broker: usize) -> bool {
        self.process(broker).as_mut().is_some_and(Process::is_running)
    }

    /// Where brokers keep segment files: everything that they were ever told is below. None on somebody else's cluster.
    #[must_use]
    pub fn log_dirs(&self) -> Vec<PathBuf> {
        self.brokers.iter().map(|seat| seat.broker.log_dir()).collect()
    }

    /// Leaves data and logs where they are when this ends, and tells where that is: for a test that failed.
    pub fn keep(&self) -> Option<PathBuf> {
        self.guarded.as_ref().map(|guarded| guarded.keep().to_owned())
    }

    /// Waits until a broker that was launched takes requests.
    pub fn wait_until_up(&self, broker: usize) {
        let mut process = self.process(broker);
        process.as_mut().expect("just started").wait_until(|said| said.contains(STARTED));
    }

    fn process(&self, broker: usize) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.brokers[broker].process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
