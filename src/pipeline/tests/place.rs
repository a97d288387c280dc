//! A data folder on a machine whose clocks a test moves, with a door and a worker that runs when told to.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anonymizer::{KeyEntry, KeyState};
use ingest::{Server, Suspension};
use schemas::Millis;
use schemas::access::{SourceKind, Sources};
use serde_json::{Value, json};
use sink::Counted;
use tempfile::TempDir;

use crate::clock::Clocks;
use crate::config::{Config, KafkaConfig, Location, Properties, Roles, RootConfig, StorageConfig};
use crate::pipeline::watch::{Seen, Watch};
use crate::pipeline::{Progress, Worker};
use crate::store::{Node, Store};

/// A Monday at noon.
pub(super) const START: Millis = Millis(1_795_435_200_000);

/// The folder and the machine.
pub(super) struct Place {
    _folder: TempDir,
    wall: Arc<AtomicI64>,
    uptime: Arc<AtomicI64>,
    config: Config,
    key: String,
}

impl Place {
    pub(super) fn new() -> Self {
        Self::at(START)
    }

    pub(super) fn at(start: Millis) -> Self {
        let folder = TempDir::new().unwrap();
        let mut config = Config::default().relative_to(folder.path());
        config.ingest.listen = ([127, 0, 0, 1], 0).into();
        let mut sources = Sources::default();
        let kind = SourceKind::Server;
        let key = sources.add("test", kind, Vec::new(), Vec::new(), start, [7; 20]).unwrap();
        let key = key.reveal().to_owned();
        sources.save(&config.sources.registry).unwrap();
        let [wall, uptime] = [start.0, 5_000].map(|ms| Arc::new(AtomicI64::new(ms)));
        Self { _folder: folder, wall, uptime, config, key }
    }

    /// The same place for one of several processes: a data folder of its own, all else shared.
    pub(super) fn node(&self, name: &str, roles: Roles) -> Node {
        let mut config = self.config.clone();
        let shared = self.config.data.clone();
        let url = Location::Folder(shared);
        let root = RootConfig { url, options: Properties::default(), region: None };
        config.storage = StorageConfig { events: Some(root.clone()), statistics: Some(root) };
        config.data = self.config.data.with_file_name(name);
        let mut kafka = KafkaConfig::default();
        kafka.properties.set("bootstrap.servers", "nowhere:9092");
        config.kafka = Some(kafka);
        Node::open(config, self.clocks(), roles).unwrap()
    }

    pub(super) fn data(&self) -> &Path {
        &self.config.data
    }

    /// Both clocks go on.
    pub(super) fn pass(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::Relaxed);
        self.uptime.fetch_add(ms, Ordering::Relaxed);
    }

    /// Somebody sets the wall clock.
    pub(super) fn jump(&self, ms: i64) {
        self.wall.fetch_add(ms, Ordering::Relaxed);
    }

    pub(super) fn clocks(&self) -> Clocks {
        let (wall, uptime) = (Arc::clone(&self.wall), Arc::clone(&self.uptime));
        Clocks::new(
            Arc::new(move || Millis(wall.load(Ordering::Relaxed))),
            "boot".to_owned(),
            Arc::new(move || uptime.load(Ordering::Relaxed)),
        )
    }

    pub(super) async fn start(&self) -> Running<'_> {
        self.running(Store::open(self.config.clone(), self.clocks()).await.unwrap()).await
    }

    /// As [`Place::start`], for workers elsewhere: its own has nothing to do.
    pub(super) async fn start_door(&self) -> Running<'_> {
        let node = Node::open(self.config.clone(), self.clocks(), Roles::ALL).unwrap();
        self.running(Store::over(node, None).await.unwrap()).await
    }

    async fn running(&self, store: Store) -> Running<'_> {
        let server = ingest::serve(
            self.config.ingest.clone(),
            Arc::clone(&store.package),
            Arc::clone(&store.resolver),
            Arc::clone(&store.gate),
            Arc::clone(&store.log),
            self.config.sources.registry.clone(),
            Arc::clone(&store.clock),
        );
        let server = server.await.unwrap();
        let progress = Arc::new(Progress::default());
        let watch = Watch::new(&store, Arc::clone(&progress));
        let worker = Worker::new(store, Arc::clone(&progress)).unwrap();
        Running { place: self, server, watch, worker, progress }
    }
}

/// An open store.
pub(super) struct Running<'a> {
    place: &'a Place,
    server: Server,
    watch: Watch,
    pub(super) worker: Worker,
    pub(super) progress: Arc<Progress>,
}

impl Running<'_> {
    /// Posts events, and gives the status of the answer.
    pub(super) async fn post(&self, events: Vec<Value>) -> u16 {
        let url = format!("http://{}/v1/events", self.server.addr);
        let (key, body) = (format!("Bearer {}", self.place.key), Value::Array(events).to_string());
        let send = move || {
            let agent: ureq::Agent =
                ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let request = agent.post(url).header("Authorization", key);
            request.send(body).unwrap().status().as_u16()
        };
        tokio::task::spawn_blocking(send).await.unwrap()
    }

    /// One look of the watch, and what it asks of the door.
    pub(super) async fn look(&mut self) -> Seen {
        let seen = self.watch.look().await;
        let refuse = seen.danger == crate::pipeline::watch::Danger::Refusing;
        self.server.suspend(Suspension::Expiry, refuse);
        seen
    }

    pub(super) fn keys(&mut self) -> Vec<KeyEntry> {
        self.worker.store().ring.list().unwrap()
    }

    pub(super) fn keys_alive(&mut self) -> usize {
        self.keys().iter().filter(|key| key.state == KeyState::Alive).count()
    }

    /// Frames that the log still has, by the hour whose key sealed them.
    pub(super) async fn frames(&mut self) -> Vec<u32> {
        let log = Arc::clone(&self.worker.store().log);
        let mut hours = Vec::new();
        for partition in (0..log.partitions()).map(transport::Partition) {
            let frames = log.read(partition, transport::Position(0), usize::MAX).await.unwrap();
            hours.extend(frames.iter().map(|(_, frame)| frame.header().hour));
        }
        hours
    }

    pub(super) async fn stop(self) {
        self.server.stop().await;
    }
}

/// A device's event of this id, with what else is said of it.
pub(super) fn event(id: &str, more: Value) -> Value {
    let mut event = json!({ "type": "device_usage", "id": id, "serial_number": format!("SN-{id}"),
        "product": "x1", "version": "3.8.1" });
    let event_members = event.as_object_mut().unwrap();
    event_members.extend(more.as_object().cloned().unwrap_or_default());
    event
}

/// A visit's event of this id.
pub(super) fn visit(id: &str) -> Value {
    json!({ "type": "web", "id": id, "name": "pageview", "url": "https://shop.example/" })
}

/// What the books say, by name, where it is not zero; their sum is checked.
pub(super) async fn books(place: &Place) -> BTreeMap<&'static str, u64> {
    let mut books = BTreeMap::new();
    for row in sink::outcomes(&place.data().into(), place.data()).await.unwrap() {
        let name = match row.counted {
            Counted::Received => "received",
            Counted::Outcome(outcome) => outcome.name(),
            Counted::Refused(reason) => reason.name(),
            Counted::Note(note) => {
                *books.entry(note.name()).or_default() += row.count;
                continue;
            }
            Counted::Named(..) => continue,
        };
        *books.entry(name).or_default() += row.count;
    }
    books.retain(|_, count| *count > 0);
    let of = |name| books.get(name).copied().unwrap_or(0);
    let ends = of("stored") + of("duplicate") + of("expired") + of("unreadable");
    assert_eq!(of("received"), ends, "{books:?}");
    books
}
