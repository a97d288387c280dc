//! The service: three ports and the worker, started together and stopped in the order in which events flow.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anonymizer::{Geo, Resolver};
use anyhow::Context;
use axum_server::Handle;
use ingest::{Certificate, Connections, Suspension};
use query::Statistics;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::operator::{self, Operator};
use crate::pipeline::watch::Watch;
use crate::pipeline::{Progress, Request, Worker};
use crate::space::{self, Free};
use crate::store::Store;
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
/// How long open requests may take to finish when the service stops.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A running service.
pub struct Service {
    /// Where events are posted.
    pub ingest: SocketAddr,
    /// Where statistics are read.
    pub query: SocketAddr,
    /// Where the operator looks.
    pub operator: SocketAddr,
    /// How far the worker is.
    pub progress: Arc<Progress>,
    server: Arc<ingest::Server>,
    handles: Vec<Handle>,
    tasks: Vec<JoinHandle<()>>,
    requests: mpsc::Sender<Request>,
    worker: JoinHandle<Worker>,
}

impl Service {
    /// Starts everything on an open store.
    ///
    /// # Errors
    ///
    /// If a port is taken, or a certificate cannot be read.
    pub async fn start(store: Store) -> anyhow::Result<Self> {
        tracing::trace!(target: "quorate::moment", "start serve");
        let metrics = telemetry::metrics()?;
        let config = store.config.clone();
        let package = Arc::clone(&store.package);
        let clock = Arc::clone(&store.clock);
        let progress = Arc::new(Progress::default());
        let server = ingest::serve(
            config.ingest.clone(),
            Arc::clone(&package),
            Arc::clone(&store.resolver),
            Arc::clone(&store.gate),
            Arc::clone(&store.log),
            config.sources.registry.clone(),
            Arc::clone(&clock),
        )
        .await?;
        let server = Arc::new(server);

        let (tables, ledger) = (config.statistics_dir(), config.ledger_dir());
        let statistics = Arc::new(Statistics::new(Arc::clone(&package), tables, ledger));
        let told = Arc::new(Told {
            since: clock(),
            ingest: config.ingest.base_url(server.addr),
            server: Arc::clone(&server),
            progress: Arc::clone(&progress),
            ring: KeyCounts::of(Arc::clone(&store.ring), Arc::clone(&clock)),
        });
        let readers = query::router(statistics, told, config.readers.clone(), Arc::clone(&clock));
        let free = Arc::new(Free::default());
        let status = operator::router(Operator {
            metrics,
            free: Arc::clone(&free),
            progress: Arc::clone(&progress),
            server: Arc::clone(&server),
            log: Arc::clone(&store.log),
            disclosure: Arc::clone(&store.disclosure),
            clock,
        });
        let (requests, inbox) = mpsc::channel(16);
        let checker = Checker {
            data: config.data.clone(),
            gate: Arc::clone(&store.gate),
            log: Arc::clone(&store.log),
        };
        let subjects = subject::operator::router(
            config.operator_token(),
            Arc::clone(&store.requests),
            Arc::new(checker),
            &requests,
        );
        let status = match subjects {
            Ok(subjects) => status.merge(subjects),
            // A disk that is full must not keep the service from starting.
            Err(error) => {
                tracing::error!("requests of single people need a service stopped: {error:#}");
                status
            }
        };
        let certificate = config.query.tls.as_ref().map(Certificate::open).transpose()?;
        let (query, query_handle, query_task) = listen(config.query.listen, readers, certificate)?;
        let (operator, operator_handle, operator_task) =
            listen(config.operator.listen, status, None)?;

        let keys = config.keyring.dir.folder().map(Path::to_owned);
        let disks = std::iter::once(config.data.clone()).chain(keys).collect();
        let space = space::watch(disks, config.log.free_space_min, Arc::clone(&server), free);
        let mut tasks = vec![query_task, operator_task, tokio::spawn(space)];
        if let Some(file) = config.resolve.geo_database {
            tasks.push(tokio::spawn(reload_geo(file, Arc::clone(&store.resolver))));
        }
        let watch = Watch::new(&store, Arc::clone(&progress));
        let door = Arc::clone(&server);
        tasks.push(tokio::spawn(
            watch.run(move |refuse| _ = door.suspend(Suspension::Expiry, refuse)),
        ));
        let worker = Worker::new(store, Arc::clone(&progress))?;
        // Encoding and syncing block: the worker has a thread of its own, so that no request waits behind a commit.
        let runtime = tokio::runtime::Handle::current();
        let worker = tokio::task::spawn_blocking(move || runtime.block_on(worker.run(inbox)));
        tracing::trace!(target: "quorate::moment", "start done");
        Ok(Self {
            ingest: server.addr,
            query,
            operator,
            progress,
            server,
            handles: vec![query_handle, operator_handle],
            tasks,
            requests,
            worker,
        })
    }

    /// Returns when all that was acknowledged before the call is committed.
    ///
    /// # Errors
    ///
    /// If the worker could not; it goes on trying by itself.
    pub async fn drain(&self) -> anyhow::Result<()> {
        let (done, answer) = oneshot::channel();
        self.requests.send(Request::Drain(done)).await.context("the worker has stopped")?;
        answer.await.context("the worker could not commit; its log lines say why")
    }

    /// Drains, releases what is closed, removes what is due; gives the number of released periods.
    ///
    /// # Errors
    ///
    /// As [`Service::drain`].
    pub async fn maintain(&self) -> anyhow::Result<usize> {
        let (done, answer) = oneshot::channel();
        self.requests.send(Request::Maintain(done)).await.context("the worker has stopped")?;
        answer.await.context("the round of maintenance failed; its log lines say why")
    }

    /// Stops in the order in which events flow: door, builders, worker; gives the worker and its store back.
    ///
    /// # Errors
    ///
    /// If the worker panicked.
    pub async fn stop(self) -> anyhow::Result<Worker> {
        self.server.stop().await;
        for handle in &self.handles {
            handle.graceful_shutdown(Some(STOP_WITHIN));
        }
        for task in self.tasks {
            task.abort();
            // Until it is gone it may hold the log, and whoever opens the folder next would be refused.
            drop(task.await);
        }
        drop(self.requests);
        self.worker.await.context("the worker panicked")
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
