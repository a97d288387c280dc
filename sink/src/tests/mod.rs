//! The sink as a whole, fed through the real gate.

/// Tests of these names, each in a folder and in an object store; they are given what makes a store.
macro_rules! on_both {
    ($($name:ident,)*) => {
        mod folder {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::tests::Store::new).await;
            })*
        }
        mod objects {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::tests::Store::in_bucket).await;
            })*
        }
    };
}

mod apart;
mod commits;
mod damage;
mod duplicates;
mod erasure;
mod maintenance;
mod narrow;
mod objects;
mod outlive;
mod privacy;
mod recovery;
mod replay;
mod volume;
mod writers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use anonymizer::{
    Agents, AnonymizedBatch, ClockSource, Connection, Gate, Geo, Identifier, KeyRing, Origin,
    RawBuilder, RawEvent, RequestKind, Resolved, Resolver, SuppressionList, Value, Wanted,
};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use schemas::time::{Clock, DAY_MS, HOUR_MS, MINUTE_MS};
use schemas::{Millis, Outcome, Package, PurposeSet, Tally};
use storage::Root;
use tempfile::TempDir;

use crate::table::{Home, Table};
use crate::{Counted, IMPORT, ManifestContext, OutcomeRow, Own, Sink, SinkConfig, Stream};

const POLICY: &str = r#"
controller = "Test"
version    = "2026-01-01"
[purposes.improve]
basis  = "legitimate interest"
source = "assumed"
notice = "to test"
"#;
/// Fields of `use`, in order.
const FIELDS: &str = r#"
serial   = { type = "string(64)", is = "identifier", transform = "pseudonym", about = "serial number" }
product  = { type = ["x1", "kathea"], is = "usage", about = "which product" }
duration = { type = "ms", range = [0, 3_600_000], is = "usage", transform = { bucket = 100 }, about = "how long" }
"#;
const USE: usize = 0;
const VIEW: usize = 1;
const LOG: &str = "11111111-1111-4111-8111-111111111111";
/// A Monday, inside the first day of an epoch of 28 days.
const NOW: Millis = Millis(1_772_409_600_000 + 10 * HOUR_MS);
const CONTEXT: ManifestContext = ManifestContext { geo_build: Millis(0) };

/// `use` counts devices over 28 days, `view` visitors over one; both have a grain of an hour.
fn package(fields: &str) -> Arc<Package> {
    package_of(fields, 28, 28, true)
}

fn package_of(fields: &str, epoch_days: u32, dedupe_days: u32, view: bool) -> Arc<Package> {
    let family = |name: &str, contributor: &str, times: &str, fields: &str| {
        let text = format!(
            "family = \"{name}\"\ncontributor = {contributor}\n{times}\ngrain = \"1 hour\"\n\
             purposes = [\"improve\"]\n[fields]\n{fields}"
        );
        (format!("{name}.toml"), text)
    };
    let devices = r#"{ field = "serial", called = "devices" }"#;
    let visitors = r#"{ from = "visit", called = "visitors" }"#;
    let page = r#"page = { type = ["home", "shop"], is = "usage", about = "which page" }"#;
    let times = format!(
        "epoch = \"{epoch_days} days\"\nlate = \"7 days\"\ndedupe = \"{dedupe_days} days\""
    );
    let mut files =
        vec![("policy.toml".to_owned(), POLICY.to_owned()), family("use", devices, &times, fields)];
    if view {
        let times = "epoch = \"1 day\"\nlate = \"2 hours\"\ndedupe = \"2 days\"";
        files.push(family("view", visitors, times, page));
    }
    let package = Package::from_files(files).unwrap_or_else(|wrong| {
        panic!("{}", wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    });
    Arc::new(package)
}

/// An event of `use`; of `view`, where only times, clock and id count.
#[derive(Clone)]
struct Event {
    serial: String,
    id: Option<String>,
    counter: Option<u64>,
    time: Millis,
    received: Millis,
    clock: ClockSource,
    said: Option<Millis>,
    duration: i64,
    granted: PurposeSet,
}

fn event(id: impl ToString) -> Event {
    let id = id.to_string();
    Event {
        serial: format!("serial-{id}"),
        id: Some(id),
        counter: None,
        time: NOW,
        received: NOW,
        clock: ClockSource::Device,
        said: None,
        duration: 1_250,
        granted: PurposeSet(1),
    }
}

fn events(ids: std::ops::Range<u32>) -> Vec<Event> {
    ids.map(event).collect()
}

/// The only writer of a log of two partitions.
async fn sole(
    config: SinkConfig,
    package: &Arc<Package>,
    log: &str,
) -> Result<Sink, crate::SinkError> {
    let streams = [Stream::log(log, 2)];
    Sink::open(config, Arc::clone(package), &streams, &Own::sole(&streams)).await
}

/// Makes a store, in a folder or in an object store.
type New = fn() -> Store;

/// A folder with a key ring, tables and an index.
struct Store {
    dir: TempDir,
    /// Where the tables are, if not in a folder here.
    bucket: Option<Root>,
    package: Arc<Package>,
    ring: Arc<KeyRing>,
    gate: Gate,
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: Clock = Arc::new(|| NOW);
        let at = |name: &str| dir.path().join(name);
        let ring = KeyRing::create(&at("ring"), &at("kek"), &at("keys.jsonl"), &clock).unwrap();
        let (package, ring) = (package(FIELDS), Arc::new(ring));
        let gate = Gate::new(Arc::clone(&package), Arc::clone(&ring), at("archive")).unwrap();
        Self { dir, bucket: None, package, ring, gate }
    }

    /// With tables in a bucket of its own.
    fn in_bucket() -> Self {
        let (bucket, options) = (bucket(), cluster::S3::shared().options());
        Self { bucket: Some(Root::parse(&bucket, &options).unwrap()), ..Self::new() }
    }

    /// Goes on with other fields of `use`.
    fn declare(&mut self, fields: &str) {
        self.declare_package(package(fields));
    }

    fn declare_package(&mut self, package: Arc<Package>) {
        self.package = package;
        self.gate = self.open_gate();
    }

    /// A gate that lets everybody in.
    fn open_gate(&self) -> Gate {
        let archive = self.dir.path().join("archive");
        Gate::new(Arc::clone(&self.package), Arc::clone(&self.ring), archive).unwrap()
    }

    /// From now on the gate leaves out events of `use` with that serial number.
    fn suppress(&mut self, serial: &str) {
        let path = self.dir.path().join("suppression.json");
        let list = SuppressionList::open(path, Arc::clone(&self.ring), &self.package.controller);
        let (list, gate) = (Arc::new(list.unwrap()), self.open_gate());
        let subject = gate.subject("use", &Identifier::text(serial.to_owned())).unwrap();
        let pseudonyms = || gate.pseudonyms(&subject);
        let wanted = Wanted::whole("request", RequestKind::Object);
        list.enter(&wanted, &subject, NOW, pseudonyms).unwrap();
        self.gate = self.open_gate().with_suppression(list);
    }

    /// Where the tables are.
    fn place(&self) -> Root {
        self.bucket.clone().unwrap_or_else(|| self.dir.path().join("store").into())
    }

    /// The tables, to look at: of a bucket a copy of what is there now.
    fn root(&self) -> PathBuf {
        let folder = self.dir.path().join("store");
        if let Some(bucket) = &self.bucket {
            let _none_yet = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            for found in bucket.files("").unwrap() {
                let file = folder.join(&found.name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, bucket.read(&found.name).unwrap()).unwrap();
            }
        }
        folder
    }

    fn staging(&self) -> PathBuf {
        self.dir.path().join("staging")
    }

    /// A table somewhere else.
    async fn table_in(&self, root: impl Into<Root>, name: &str) -> Table {
        let home = Home { root: &root.into(), staging: &self.staging() };
        Table::existing(home, name).await.unwrap().unwrap()
    }

    fn config(&self) -> SinkConfig {
        SinkConfig {
            root: self.place(),
            staging: self.staging(),
            index: self.dir.path().join("index"),
            commit_bytes: 64 << 20,
            row_group_rows: 128 * 1024,
        }
    }

    async fn sink(&self) -> Sink {
        self.try_sink(LOG).await.unwrap()
    }

    async fn try_sink(&self, log: &str) -> Result<Sink, crate::SinkError> {
        sole(self.config(), &self.package, log).await
    }

    fn batch(&self, family: usize, origin: &Origin, events: &[Event]) -> AnonymizedBatch {
        self.batch_at(family, origin, events, NOW)
    }

    fn batch_at(
        &self,
        family: usize,
        origin: &Origin,
        events: &[Event],
        now: Millis,
    ) -> AnonymizedBatch {
        let mut builder = RawBuilder::new(&self.package, family);
        for event in events {
            let declared = self.package.families[family].fields.iter();
            let values = declared.map(|field| match field.name.as_str() {
                "serial" => Value::Text(&event.serial),
                "product" | "page" => Value::Index(0),
                "duration" => Value::Integer(event.duration),
                _ => Value::Null,
            });
            let values = values.collect::<Vec<_>>();
            let raw = RawEvent {
                values: &values,
                time: event.time,
                clock: event.clock,
                said: event.said,
                received: event.received,
                session: None,
                id: event.id.as_deref(),
                boot: event.counter,
                seq: event.counter,
                granted: event.granted,
                location_off: false,
            };
            builder.append(&raw, nobody(&self.package, &self.ring));
        }
        self.gate.anonymize(builder.finish(), origin, now).unwrap()
    }

    /// Gives the sink a frame, header and rows.
    fn frame(
        &self,
        sink: &mut Sink,
        family: usize,
        at: (u16, u64),
        events: &[Event],
    ) -> crate::Written {
        let origin = Origin { partition: at.0, position: at.1, import: at.0 == IMPORT };
        sink.count(Some(family), &origin, &Tally::default(), events.len() as u64, 0);
        sink.write(self.batch(family, &origin, events), &origin).unwrap()
    }

    async fn table(&self, name: &str) -> Table {
        self.table_in(self.place(), name).await
    }

    /// Every row of a family's table, as another reader finds them.
    async fn rows(&self, family: &str) -> Vec<Row> {
        let table = self.table(&format!("events/{family}")).await;
        let mut rows = Vec::new();
        for file in table.files() {
            let day = file.day.clone().unwrap();
            for batch in table.read(&file.path, None).unwrap() {
                rows.extend(decode(&batch.unwrap(), &day));
            }
        }
        rows
    }

    /// A ledger.
    async fn books(&self, root: impl Into<Root>) -> Vec<OutcomeRow> {
        crate::outcomes(&root.into(), &self.staging()).await.unwrap()
    }

    /// Outcomes by name, over families and partitions.
    async fn outcomes(&self) -> BTreeMap<Counted, u64> {
        let mut sums = BTreeMap::new();
        for OutcomeRow { counted, count, .. } in self.books(self.place()).await {
            *sums.entry(counted).or_default() += count;
        }
        sums
    }
}

/// Where a row came from, and when.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    partition: u16,
    position: u64,
    row: u32,
    day: String,
    time: i64,
    epoch: i32,
}

fn decode(batch: &RecordBatch, day: &str) -> Vec<Row> {
    let int = |name: &str| batch.column_by_name(name).unwrap().as_primitive::<Int32Type>().clone();
    let (partition, row, epoch) = (int("_partition"), int("_row"), int("epoch"));
    let position = batch.column_by_name("_position").unwrap().as_primitive::<Int64Type>();
    let time = batch.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(time.null_count() + position.null_count(), 0);
    (0..batch.num_rows())
        .map(|index| Row {
            partition: u16::try_from(partition.value(index)).unwrap(),
            position: u64::try_from(position.value(index)).unwrap(),
            row: u32::try_from(row.value(index)).unwrap(),
            day: day.to_owned(),
            time: time.value(index),
            epoch: epoch.value(index),
        })
        .collect()
}

/// A connection of which nothing is known.
fn nobody(package: &Arc<Package>, ring: &Arc<KeyRing>) -> &'static Resolved {
    static NOBODY: OnceLock<Resolved> = OnceLock::new();
    NOBODY.get_or_init(|| {
        let (geo, agents) = (Geo::shipped().unwrap(), Agents::shipped().unwrap());
        let resolver = Resolver::new(Arc::clone(package), Arc::clone(ring), geo, agents);
        let connection =
            Connection { address: None, user_agent: String::new(), accept_language: String::new() };
        resolver.resolve(connection, "test", NOW).unwrap()
    })
}

/// A bucket that nobody else has.
fn bucket() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    cluster::S3::shared().bucket(&format!("sink-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// The rows of a file.
fn read(path: &Path, columns: Option<&[&str]>) -> ParquetRecordBatchReader {
    crate::files::read("test", std::fs::File::open(path).unwrap(), columns).unwrap()
}

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn data_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = files_below(folder);
    files.retain(|file| {
        file.extension().is_some_and(|kind| kind == "parquet")
            && !file.components().any(|part| part.as_os_str() == "_delta_log")
    });
    files
}

const STORED: Counted = Counted::Outcome(Outcome::Stored);
const DUPLICATE: Counted = Counted::Outcome(Outcome::Duplicate);
const EXPIRED: Counted = Counted::Outcome(Outcome::Expired);
const SUPPRESSED: Counted = Counted::Outcome(Outcome::Suppressed);
