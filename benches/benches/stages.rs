//! What each stage costs, for batches of 1,000 events.
//!
//! Gate 1 lets nobody call its operators one by one; so `gate/…` measures packages that declare one field
//! each, and `gate/nothing` what every row costs without any. `cargo bench -p benches` takes minutes;
//! compare runs of one machine only.

#![allow(missing_docs, reason = "criterion's macros write public functions")]

use std::hint::black_box;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anonymizer::{
    Agents, Connection, Gate, Geo, KeyRing, Origin, RawBatch, RawBuilder, RawEvent, Resolved,
    Resolver, Signals,
};
use benches::events::{self, AGENTS};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ingest::{Limits, Plan, Received, Rows, Sending, assemble, decode};
use schemas::access::SourceKind;
use schemas::{Clock, Millis, Package, Tally};
use sink::{ManifestContext, Sink, SinkConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const EVENTS: usize = 1_000;
const LIMITS: Limits = Limits { events_max: EVENTS, event_bytes_max: 64 << 10 };
/// A Monday at noon.
const NOW: Millis = Millis(1_795_435_200_000);
const ORIGIN: Origin = Origin { partition: 0, position: 0, import: false };

/// Everything a stage needs, in a folder of its own.
struct Place {
    folder: TempDir,
    package: Arc<Package>,
    plan: Plan,
    gate: Gate,
    resolver: Resolver,
}

impl Place {
    fn new(package: Arc<Package>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let clock: Clock = Arc::new(|| NOW);
        let ring = KeyRing::create(&path("ring"), &path("kek"), &path("keys.jsonl"), &clock);
        let ring = Arc::new(ring.expect("a key ring"));
        let gate = Gate::new(Arc::clone(&package), Arc::clone(&ring), path("archive"));
        let (geo, agents) = (Geo::shipped(), Agents::shipped());
        let (geo, agents) = (geo.expect("shipped data"), agents.expect("shipped data"));
        let resolver = Resolver::new(Arc::clone(&package), ring, geo, agents);
        let plan = Plan::new(Arc::clone(&package));
        Self { gate: gate.expect("a gate"), folder, package, plan, resolver }
    }

    fn resolve(&self, address: Option<IpAddr>, user_agent: &str) -> Resolved {
        let connection = Connection {
            address,
            user_agent: user_agent.to_owned(),
            accept_language: "da-DK,da;q=0.9".to_owned(),
        };
        self.resolver.resolve(connection, "shop.example", NOW).expect("the ring has keys")
    }

    /// The events of `lines`, as the door would hand them to gate 1.
    fn batch(&self, lines: &str, resolved: &Resolved) -> RawBatch {
        let decoded = decode(&self.plan, lines.as_bytes(), LIMITS).expect("good lines");
        let families = 0..self.package.families.len();
        let builders = families.map(|family| RawBuilder::new(&self.package, family));
        let mut filled = Filled { builders: builders.collect(), resolved };
        let report = assemble(&self.plan, &decoded, &sending(), &mut filled);
        assert_eq!(report.refused_total, 0, "{:?}", report.refused);
        let mut filled = filled.builders.into_iter().filter(|builder| builder.rows() > 0);
        filled.next().expect("events of one family").finish()
    }
}

fn sending() -> Sending<'static> {
    Sending {
        kind: SourceKind::Server,
        permitted: None,
        received: Received::At(NOW),
        signals: Signals::default(),
    }
}

struct Filled<'a> {
    builders: Vec<RawBuilder>,
    resolved: &'a Resolved,
}

impl Rows for Filled<'_> {
    fn row(&mut self, family: usize, event: &RawEvent<'_>, _person: Option<usize>) {
        self.builders[family].append(event, self.resolved);
    }
}

/// Checks, and throws away.
struct Counted(u64);

impl Rows for Counted {
    fn row(&mut self, _family: usize, _event: &RawEvent<'_>, _person: Option<usize>) {
        self.0 += 1;
    }
}

fn samples() -> [(&'static str, String); 2] {
    [("web", events::page_views(EVENTS)), ("device_usage", events::uses(EVENTS))]
}

fn door(criterion: &mut Criterion) {
    let place = Place::new(events::package());
    let resolved = place.resolve(None, AGENTS[0]);
    let mut group = criterion.benchmark_group("door");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for (family, lines) in samples() {
        let decoded = || decode(&place.plan, lines.as_bytes(), LIMITS).expect("good lines");
        group.bench_function(format!("decode/{family}"), |bench| {
            bench.iter(|| black_box(decoded().events()));
        });
        let body = decoded();
        group.bench_function(format!("check/{family}"), |bench| {
            bench.iter(|| {
                let mut counted = Counted(0);
                black_box(assemble(&place.plan, &body, &sending(), &mut counted));
                counted.0
            });
        });
        group.bench_function(format!("decode to columns/{family}"), |bench| {
            bench.iter(|| place.batch(&lines, &resolved).rows());
        });
    }
    group.finish();
}

fn connection(criterion: &mut Criterion) {
    let place = Place::new(events::package());
    let mut group = criterion.benchmark_group("connection");
    let mut number = 0_u32;
    group.bench_function("nothing known", |bench| bench.iter(|| place.resolve(None, "")));
    group.bench_function("geo", |bench| {
        bench.iter(|| {
            // Spread over the space of addresses, as visitors are.
            number = number.wrapping_add(0x9e37_79b9);
            place.resolve(Some(IpAddr::V4(number.into())), "")
        });
    });
    group.bench_function("user agent, seen before", |bench| {
        bench.iter(|| {
            number = number.wrapping_add(1);
            place.resolve(None, AGENTS[number as usize % AGENTS.len()])
        });
    });
    group.bench_function("user agent, new", |bench| {
        bench.iter(|| {
            number = number.wrapping_add(1);
            place.resolve(None, &format!("{} Build/{number}", AGENTS[0]))
        });
    });
    group.finish();
}

fn seal(criterion: &mut Criterion) {
    let place = Place::new(events::package());
    let resolved = place.resolve(None, AGENTS[0]);
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for (family, lines) in samples() {
        let batch = || place.batch(&lines, &resolved);
        let sealed = || place.gate.seal(batch(), Tally::default()).expect("the ring has keys");
        group.bench_function(format!("seal/{family}"), |bench| {
            let seal = |batch| place.gate.seal(batch, Tally::default());
            bench.iter_batched(batch, seal, BatchSize::LargeInput);
        });
        group.bench_function(format!("open/{family}"), |bench| {
            bench.iter_batched(sealed, |frame| place.gate.open(frame), BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// A family with one declared field.
fn family_of(field: &str) -> Arc<Package> {
    let family = format!(
        "family = \"one\"\ncontributor = {{ field = \"who\", called = \"devices\" }}\n\
         epoch = \"28 days\"\ngrain = \"1 hour\"\nlate = \"7 days\"\npurposes = [\"improve\"]\n[fields]\n\
         who = {{ type = \"string(64)\", is = \"identifier\", transform = \"pseudonym\", about = \"who\" }}\n{field}"
    );
    let policy = "controller = \"Example Ltd\"\nversion = \"1\"\n[purposes.improve]\n\
                  basis = \"legitimate interest\"\nsource = \"assumed\"\nnotice = \"to make it better\"\n";
    events::package_of(&[("policy.toml", policy), ("one.toml", &family)])
}

fn operators(criterion: &mut Criterion) {
    let page = "value = { type = \"url\", is = \"usage\", transform = \"path\", about = \"page\" }";
    let host = page.replace("\"path\"", "\"domain\"");
    let version = "value = { type = \"version\", is = \"usage\", transform = { truncate = \"major.minor\" }, about = \"version\" }";
    let url = r#""https://shop.example/products/4711/reviews?q=kari%40clinic.example#top""#;
    let cases = [
        ("nothing", "", "", "null"),
        ("pseudonym", "", r#""who":"X1-2031-000417","#, "null"),
        ("path", page, "", url),
        ("domain", &host, "", url),
        ("version", version, "", r#""3.8.1""#),
    ];
    let mut group = criterion.benchmark_group("gate");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for (name, field, who, value) in cases {
        let place = Place::new(family_of(field));
        let resolved = place.resolve(None, "");
        let lines = format!("{{\"type\":\"one\",{who}\"value\":{value}}}\n").repeat(EVENTS);
        group.bench_function(name, |bench| {
            let batch = || place.batch(&lines, &resolved);
            let anonymize = |batch| place.gate.anonymize(batch, &ORIGIN, NOW);
            bench.iter_batched(batch, anonymize, BatchSize::LargeInput);
        });
    }
    let place = Place::new(events::package());
    let resolved = place.resolve(None, AGENTS[0]);
    for (family, lines) in samples() {
        group.bench_function(format!("anonymize/{family}"), |bench| {
            let batch = || place.batch(&lines, &resolved);
            let anonymize = |batch| place.gate.anonymize(batch, &ORIGIN, NOW);
            bench.iter_batched(batch, anonymize, BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn open_sink(runtime: &Runtime, package: &Arc<Package>, folder: &Path) -> Sink {
    let config = SinkConfig {
        root: folder.join("data").into(),
        staging: folder.join("staging"),
        index: folder.join("index"),
        commit_bytes: 64 << 20,
        row_group_rows: 128 << 10,
    };
    let streams = [sink::Stream::log("benches", 1)];
    let own = sink::Own::sole(&streams);
    let sink = Sink::open(config, Arc::clone(package), &streams, &own);
    runtime.block_on(sink).expect("a sink")
}

/// Rows into open Parquet files, duplicates looked for; and the commit that ends them.
fn tables(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let place = Place::new(events::package());
    let resolved = place.resolve(None, AGENTS[0]);
    let mut sink = open_sink(&runtime, &place.package, place.folder.path());
    let mut position = 0;
    let mut group = criterion.benchmark_group("tables");
    group.sample_size(20).throughput(Throughput::Elements(EVENTS as u64));
    for (family, lines) in samples() {
        group.bench_function(format!("write and commit/{family}"), |bench| {
            let prepare = || {
                let origin = Origin { position, ..ORIGIN };
                position += 1;
                // Without ids: else all but the first thousand would be duplicates.
                let lines = lines.replace("\"id\"", "\"note\"");
                let batch = place.batch(&lines, &resolved);
                let rows = place.gate.anonymize(batch, &origin, NOW).expect("the ring has keys");
                (rows, origin)
            };
            bench.iter_batched(
                prepare,
                |(rows, origin)| {
                    sink.write(rows, &origin).expect("the rows fit");
                    let next = [(origin.partition, origin.position + 1)];
                    let context = ManifestContext { geo_build: NOW };
                    runtime.block_on(sink.commit(&next, NOW, context)).expect("a commit")
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(stages, door, connection, seal, operators, tables);
criterion_main!(stages);
