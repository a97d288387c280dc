//! The service: three ports and the worker, or those of them that a process has as its roles; started together and
//! stopped in the order in which events flow.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anonymizer::{Gate, Geo, Resolver};
use anyhow::Context;
use axum_server::Handle;
use ingest::{Certificate, Connections, Server, Suspension};
use query::Statistics;
use schemas::{Clock, Package};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::operator::{self, Operator};
use crate::pipeline::watch::Watch;
use crate::pipeline::{Progress, Request, Stage, Worker};
use crate::residency;
use crate::space::{self, Free};
use crate::store::{Node, Store};
use crate::subject;
use crate::subject::check::Checker;
use crate::telemetry;
use crate::told::{KeyCounts, Told};

/// How often a configured country database is looked at for a newer version.
const GEO_RELOAD_EVERY: Duration = Duration::from_secs(60);
/// Connections at once at the port of readers, and at the operator's.
const READERS_MAX: usize = 256;
/// How long such a connection may be without a request, or read at its last answer.
const READER_IDLE: Duration = Duration::from_secs(60);
/// How long one of its requests may take, from its head to its answer: a query alone may take 30 s.
const READER_PATIENCE: Duration = Duration::from_secs(90);
/// How often the age of what nodes share is looked at.
const STALE_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long open requests may take to finish when the service stops.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A running service.
pub struct Service {
    /// Where events are posted, if they are.
    pub ingest: Option<SocketAddr>,
    /// Where statistics are read, if they are.
    pub query: Option<SocketAddr>,
    /// Where the operator looks.
    pub operator: SocketAddr,
    /// How far the worker is.
    pub progress: Arc<Progress>,
    server: Option<Arc<Server>>,
    ports: Ports,
    /// The worker, if there is one, and how to ask it.
    worker: Option<(mpsc::Sender<Request>, JoinHandle<Worker>)>,
    /// Keeps the data folder, which nobody else may open meanwhile, where no worker does.
    _held: Option<Box<dyn Send>>,
}

/// Ports and tasks that end with the service.
#[derive(Default)]
struct Ports {
    handles: Vec<Handle>,
    tasks: Vec<JoinHandle<()>>,
}

impl Service {
    /// Opens what the node's roles need, and starts it.
    ///
    /// # Errors
    ///
    /// If a part cannot be opened, a port is taken, or a certificate cannot be read.
    pub async fn open(node: Node) -> anyhow::Result<Self> {
        match node.roles.needs_keys() {
            true => Self::start(Store::serving(node).await?).await,
            false => Self::read(node),
        }
    }

    /// Starts the roles of an open store.
    ///
    /// # Errors
    ///
    /// If a port is taken, or a certificate cannot be read.
    pub async fn start(store: Store) -> anyhow::Result<Self> {
        tracing::trace!(target: "quorate::moment", "start serve");
        let metrics = telemetry::metrics()?;
        let (config, roles) = (store.config.clone(), store.roles);
        let (package, clock) = (Arc::clone(&store.package), Arc::clone(&store.clock));
        let progress = Arc::new(Progress::default());
        let server = match roles.ingest {
            true => Some(Arc::new(open_door(&store).await?)),
            false => None,
        };
        let mut ports = Ports::default();
        let query = match roles.query {
            true => {
                let told = Told {
                    since: clock(),
                    ingest: server
                        .as_ref()
                        .map_or_else(String::new, |server| config.ingest.base_url(server.addr)),
                    server: server.clone(),
                    progress: roles.worker.then(|| Arc::clone(&progress)),
                    ring: Some(KeyCounts::of(Arc::clone(&store.ring), Arc::clone(&clock))),
                };
                Some(ports.readers(&config, &package, told, &clock)?)
            }
            false => None,
        };
        let free = Arc::new(Free::default());
        let status = operator::router(Operator {
            metrics,
            roles,
            free: Arc::clone(&free),
            progress: Arc::clone(&progress),
            server: server.clone(),
            log: Some(Arc::clone(&store.log)),
            disclosure: roles.worker.then(|| Arc::clone(&store.disclosure)),
            apart: Some(Arc::clone(&store.apart)),
            residency: residency::stores(&config, &package)?,
            requests: Some(Arc::clone(&store.requests)),
            clock,
        });
        let (requests, inbox) = mpsc::channel(16);
        let status = with_subjects(status, &store, &requests);
        let operator = ports.listen(config.operator.listen, status, None)?;

        if let Some(server) = &server {
            let keys = config.keyring.dir.folder().map(Path::to_owned);
            let disks = std::iter::once(config.data.clone()).chain(keys).collect();
            let space = space::watch(disks, config.log.free_space_min, Arc::clone(server), free);
            ports.tasks.push(tokio::spawn(space));
        }
        if let Some(server) = &server
            && config.is_shared(roles)
        {
            let (gate, server) = (Arc::clone(&store.gate), Arc::clone(server));
            ports.tasks.push(tokio::spawn(suspend_while_stale(gate, server)));
        }
        #[cfg(feature = "kafka")]
        if roles.worker && (config.kafka.is_some() || !config.sources.kafka.is_empty()) {
            let topics = crate::lag::Topics::open(&config)?;
            ports.tasks.push(tokio::spawn(crate::lag::watch(topics, Arc::clone(&store.clock))));
        }
        if let Some(file) = config.resolve.geo_database {
            ports.tasks.push(tokio::spawn(reload_geo(file, Arc::clone(&store.resolver))));
        }
        let watch = Watch::new(&store, Arc::clone(&progress));
        let door = server.clone();
        ports.tasks.push(tokio::spawn(watch.run(move |refuse| {
            if let Some(door) = &door {
                door.suspend(Suspension::Expiry, refuse);
            }
        })));
        let (worker, held) = match roles.worker {
            true => {
                let worker = Worker::new(store, Arc::clone(&progress))?;
                // Encoding and syncing block: the worker has a thread of its own, so that no request waits behind a commit.
                let runtime = tokio::runtime::Handle::current();
                let run = move || runtime.block_on(worker.run(inbox));
                (Some((requests, tokio::task::spawn_blocking(run))), None)
            }
            false => (None, Some(Box::new(store) as Box<dyn Send>)),
        };
        tracing::trace!(target: "quorate::moment", "start done");
        let ingest = server.as_ref().map(|server| server.addr);
        Ok(Self { ingest, query, operator, progress, server, ports, worker, _held: held })
    }

    /// Starts what needs no key and no row: the port where statistics are read, and the operator's.
    ///
    /// # Errors
    ///
    /// As [`Service::start`].
    fn read(node: Node) -> anyhow::Result<Self> {
        let metrics = telemetry::metrics()?;
        let progress = Arc::new(Progress::default());
        let mut ports = Ports::default();
        let told = Told {
            since: (node.clock)(),
            ingest: String::new(),
            server: None,
            progress: None,
            ring: None,
        };
        let query = ports.readers(&node.config, &node.package, told, &node.clock)?;
        let status = operator::router(Operator {
            metrics,
            roles: node.roles,
            free: Arc::default(),
            progress: Arc::clone(&progress),
            server: None,
            log: None,
            disclosure: None,
            apart: None,
            residency: residency::stores(&node.config, &node.package)?,
            requests: None,
            clock: Arc::clone(&node.clock),
        });
        let operator = ports.listen(node.config.operator.listen, status, None)?;
        tracing::trace!(target: "quorate::moment", "start done");
        Ok(Self {
            ingest: None,
            query: Some(query),
            operator,
            progress,
            server: None,
            ports,
            worker: None,
            _held: Some(Box::new(node)),
        })
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Request) -> anyhow::Result<T> {
        let (done, answer) = oneshot::channel();
        let (requests, _) = self.worker.as_ref().context("there is no worker in this process")?;
        requests.send(ask(done)).await.context("the worker has stopped")?;
        answer.await.context("the worker could not do it; its log lines say why")
    }

    /// Returns when all that was acknowledged before the call is committed.
    ///
    /// # Errors
    ///
    /// If the worker could not; it goes on trying by itself.
    pub async fn drain(&self) -> anyhow::Result<()> {
        self.ask(Request::Drain).await
    }

    /// Drains, releases what is closed, removes what is due; gives the number of released periods.
    ///
    /// # Errors
    ///
    /// As [`Service::drain`].
    pub async fn maintain(&self) -> anyhow::Result<usize> {
        self.ask(Request::Maintain).await
    }

    /// Stops in the order in which events flow: door, builders, worker; gives the worker and its store back.
    ///
    /// # Errors
    ///
    /// If the worker panicked.
    pub async fn stop(self) -> anyhow::Result<Option<Worker>> {
        let patience = self.progress.patience();
        patience.enter(Stage::Door);
        if let Some(server) = &self.server {
            server.stop().await;
        }
        patience.enter(Stage::Ports);
        for handle in &self.ports.handles {
            handle.graceful_shutdown(Some(STOP_WITHIN));
        }
        for task in self.ports.tasks {
            task.abort();
            // Until it is gone it may hold the log, and whoever opens the folder next would be refused.
            drop(task.await);
        }
        patience.enter(Stage::Worker);
        let worker = match self.worker {
            Some((requests, worker)) => {
                drop(requests);
                Some(worker.await.context("the worker panicked")?)
            }
            None => None,
        };
        patience.enter(Stage::Closing);
        Ok(worker)
    }
}

/// Opens the door for events.
async fn open_door(store: &Store) -> anyhow::Result<Server> {
    let server = ingest::serve(
        store.config.ingest.clone(),
        Arc::clone(&store.package),
        Arc::clone(&store.resolver),
        Arc::clone(&store.gate),
        Arc::clone(&store.log),
        store.config.sources.registry.clone(),
        Arc::clone(&store.clock),
    );
    Ok(server.await?)
}

/// Takes no events while what other nodes did with keys and suppression list is not known.
async fn suspend_while_stale(gate: Arc<Gate>, server: Arc<Server>) {
    loop {
        let usable = gate.usable();
        if server.suspend(Suspension::Shared, usable.is_err()) {
            match usable {
                Ok(()) => tracing::info!("shared keys are known again: events are taken"),
                Err(error) => tracing::error!("events are answered 503: {error}"),
            }
        }
        tokio::time::sleep(STALE_LOOK_EVERY).await;
    }
}

/// The operator's routes with those for requests of single people.
fn with_subjects(
    status: axum::Router,
    store: &Store,
    requests: &mpsc::Sender<Request>,
) -> axum::Router {
    let checker = Checker {
        data: store.config.data.clone(),
        gate: Arc::clone(&store.gate),
        log: Arc::clone(&store.log),
    };
    let subjects = subject::operator::router(
        store.config.operator_token(),
        Arc::clone(&store.requests),
        Arc::new(checker),
        requests,
    );
    match subjects {
        Ok(subjects) => status.merge(subjects),
        // A disk that is full must not keep the service from starting.
        Err(error) => {
            tracing::error!("requests of single people need a service stopped: {error:#}");
            status
        }
    }
}

impl Ports {
    /// Opens the port where statistics are read.
    fn readers(
        &mut self,
        config: &Config,
        package: &Arc<Package>,
        told: Told,
        clock: &Clock,
    ) -> anyhow::Result<SocketAddr> {
        let (tables, ledger) = config.released()?;
        let statistics = Arc::new(Statistics::new(Arc::clone(package), tables, ledger));
        let readers = config.readers.clone();
        let router = query::router(statistics, Arc::new(told), readers, Arc::clone(clock));
        let certificate = config.query.tls.as_ref().map(Certificate::open).transpose()?;
        self.listen(config.query.listen, router, certificate)
    }

    fn listen(
        &mut self,
        address: SocketAddr,
        router: axum::Router,
        certificate: Option<Certificate>,
    ) -> anyhow::Result<SocketAddr> {
        let (bound, handle, task) = listen(address, router, certificate)?;
        self.handles.push(handle);
        self.tasks.push(task);
        Ok(bound)
    }
}

/// Serves `router` at `address`, under TLS if there is a certificate.
fn listen(
    address: SocketAddr,
    router: axum::Router,
    certificate: Option<Certificate>,
) -> anyhow::Result<(SocketAddr, Handle, JoinHandle<()>)> {
    let connections = Connections::new(READERS_MAX, READER_IDLE, READER_PATIENCE);
    let listener = Connections::listen(address)
        .with_context(|| format!("cannot listen on {address}: is it in use?"))?;
    let bound = listener.local_addr()?;
    let handle = Handle::new();
    let server = connections.tune(axum_server::from_tcp(listener).handle(handle.clone()));
    let routes = connections.count(router).into_make_service_with_connect_info::<SocketAddr>();
    let plain = connections.clone();
    let serving = async move {
        let Some(certificate) = certificate else {
            return server.acceptor(plain).serve(routes).await;
        };
        let server = server.acceptor(certificate.acceptor(plain));
        tokio::select! {
            served = server.serve(routes) => served,
            () = certificate.watch() => Ok(()),
        }
    };
    let task = tokio::spawn(async move {
        tokio::select! {
            served = serving => {
                if let Err(error) = served {
                    tracing::error!(%bound, "a port stopped serving: {error}");
                }
            }
            () = connections.sweep() => {}
        }
    });
    Ok((bound, handle, task))
}

/// Looks at the file's time of change now and then; a file that cannot be used leaves the old one in force.
async fn reload_geo(file: PathBuf, resolver: Arc<Resolver>) {
    let changed = || std::fs::metadata(&file).and_then(|meta| meta.modified()).ok();
    let mut seen = changed();
    loop {
        tokio::time::sleep(GEO_RELOAD_EVERY).await;
        let now = changed();
        if now == seen || now.is_none() {
            continue;
        }
        seen = now;
        match Geo::open(&file) {
            Ok(geo) => {
                resolver.reload_geo(geo);
                tracing::info!("the country database was reloaded");
            }
            Err(error) => tracing::error!("the changed country database is not used: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    #[tokio::test(flavor = "multi_thread")]
    async fn tls_carries_answers() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ingest/tests/tls");
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        let files = ingest::Tls { certificate: certificate.clone(), key };
        let router = axum::Router::new().route("/", axum::routing::get(async || "the page"));
        let opened = Certificate::open(&files).unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (address, handle, task) = listen(any, router, Some(opened)).unwrap();
        let asked = tokio::task::spawn_blocking(move || {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(certificate).unwrap()).unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let client = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots)
                .with_no_client_auth();
            let name = ServerName::try_from("localhost").unwrap();
            let session = ClientConnection::new(Arc::new(client), name).unwrap();
            let mut stream = StreamOwned::new(session, TcpStream::connect(address).unwrap());
            stream.write_all(REQUEST).unwrap();
            let (mut under_tls, mut plain) = (Vec::new(), Vec::new());
            stream.read_to_end(&mut under_tls).unwrap();
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(REQUEST).unwrap();
            drop(stream.read_to_end(&mut plain));
            [under_tls, plain].map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        });
        let [under_tls, plain] = asked.await.unwrap();
        assert!(under_tls.ends_with("the page"), "{under_tls}");
        assert!(!plain.contains("the page"), "without TLS nothing is understood: {plain}");
        handle.shutdown();
        task.await.unwrap();
    }
}
