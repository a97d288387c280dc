//! The listening socket and the tasks around it: started together, stopped in the order in which events flow.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anonymizer::{Gate, Resolver};
use axum::Router;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use axum::extract::{ConnectInfo, State};
use axum::routing::{MethodRouter, any};
use axum_server::Handle;
use schemas::{Clock, Package};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use transport::Log;

use crate::auth::Registry;
use crate::batcher::{Batcher, Pace};
use crate::budget::Budget;
use crate::config::IngestConfig;
use crate::connections::Connections;
use crate::door::{self, Door};
use crate::error::Error;
use crate::limiter::Limiter;
use crate::pages;
use crate::plan::Plan;
use crate::protocols::pixel::PIXEL;
use crate::protocols::plausible::PLAUSIBLE;
use crate::protocols::{NATIVE, Protocol};
use crate::stats::{FamilyStatus, SourceStatus, Stats};
use crate::suspension::{Suspension, Suspensions};
use crate::tls::Certificate;

/// How long open requests may take to finish when the service stops.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long a body that did not arrive in time has for its answer.
const BODY_GRACE: Duration = Duration::from_secs(10);
/// Least number of large bodies worked on at once.
const WORKERS_MIN: usize = 2;
/// Frames in a row that failed, after which the door says that it is not ready.
const FAILURES_MAX: usize = 3;

/// A door that is open.
pub struct Server {
    /// Where it is; the port that the system chose, if the configuration says 0.
    pub addr: SocketAddr,
    door: Arc<Door>,
    handle: Handle,
    serving: Mutex<Option<JoinHandle<()>>>,
    watching: Vec<JoinHandle<()>>,
}

/// Opens the door: from here on events are taken.
///
/// `sources` is the registry of who may send; it is looked at each second. `clock` tells when events are received.
///
/// # Errors
///
/// If a setting is not possible, a file cannot be read, or the address is taken. Nothing listens then.
pub async fn serve(
    config: IngestConfig,
    package: Arc<Package>,
    resolver: Arc<Resolver>,
    gate: Arc<Gate>,
    log: Arc<dyn Log>,
    sources: PathBuf,
    clock: Clock,
) -> Result<Server, Error> {
    config.check()?;
    let registry = Arc::new(Registry::open(sources, Arc::clone(&package))?);
    let tls = config.tls.as_ref().map(Certificate::open).transpose()?;
    let idle = Duration::from_secs(config.head_timeout_s);
    let arriving = Duration::from_secs(config.body_timeout_s) + BODY_GRACE;
    let connections = Connections::new(config.connections_max, idle, arriving);
    let (listener, addr) = listen(config.listen)?;
    let pace = Pace { linger: config.linger(), frame_bytes_max: config.frame_bytes_max };
    let stats = Arc::new(Stats::default());
    let door = Arc::new(Door {
        plan: Plan::new(Arc::clone(&package)),
        resolver,
        registry: Arc::clone(&registry),
        batcher: Batcher::new(package, gate, log, pace, Arc::clone(&stats)),
        connections: connections.clone(),
        budget: Budget::new(config.in_flight_bytes_max),
        workers: Arc::new(Semaphore::new(workers())),
        keys: Limiter::new(config.key_requests_per_s),
        events: Limiter::new(config.source_events_per_s),
        addresses: Limiter::new(config.address_requests_per_s),
        stats,
        clock,
        suspended: Suspensions::default(),
        config,
    });
    let mut watching =
        vec![tokio::spawn(registry.watch()), tokio::spawn(connections.clone().sweep())];
    let handle = Handle::new();
    let server = connections.tune(axum_server::from_tcp(listener).handle(handle.clone()));
    let serving = match tls {
        Some(certificate) => {
            let acceptor = certificate.acceptor(connections);
            watching.push(tokio::spawn(certificate.watch()));
            tokio::spawn(run(server.acceptor(acceptor).serve(routes(Arc::clone(&door)))))
        }
        None => tokio::spawn(run(server.acceptor(connections).serve(routes(Arc::clone(&door))))),
    };
    tracing::info!(%addr, "events are taken");
    Ok(Server { addr, door, handle, serving: Mutex::new(Some(serving)), watching })
}

fn listen(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), Error> {
    let listen = || {
        let listener = Connections::listen(address)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    listen().map_err(|source| Error::Listen { address, source })
}

/// Large bodies worked on at once, each in a few times its own size: more than there are cores gain nothing.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(WORKERS_MIN, |cores| cores.get().max(WORKERS_MIN))
}

fn routes(door: Arc<Door>) -> IntoMakeServiceWithConnectInfo<Router, SocketAddr> {
    // Requests with events keep their place once they have arrived; all others are answered at once.
    let others = door.connections.count(pages::routes(door.plan.package()));
    let routes = Router::new()
        .route("/v1/events", speaking(&NATIVE))
        .route("/api/event", speaking(&PLAUSIBLE))
        .route("/v1/pixel.gif", speaking(&PIXEL));
    let routes = routes.with_state(door).merge(others);
    routes.into_make_service_with_connect_info()
}

/// What takes events in one protocol.
fn speaking(protocol: &'static Protocol) -> MethodRouter<Arc<Door>> {
    any(
        move |State(door): State<Arc<Door>>,
              ConnectInfo(peer): ConnectInfo<SocketAddr>,
              request| { door::events(protocol, door, peer, request) },
    )
}

/// Serves until the handle says otherwise.
async fn run(serving: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = serving.await {
        tracing::error!("the door stopped serving: {error}");
    }
}

impl Server {
    /// What each source has sent since the door was opened, in order of name.
    #[must_use]
    pub fn stats(&self) -> Vec<SourceStatus> {
        self.door.stats.sources((self.door.clock)())
    }

    /// What has come of each family since the door was opened, in the order of the package; last what belongs to no
    /// family, if anything does.
    #[must_use]
    pub fn families(&self) -> Vec<FamilyStatus> {
        self.door.stats.families(self.door.plan.package(), (self.door.clock)())
    }

    /// Whether events are being taken: not suspended, and the log takes frames.
    #[must_use]
    pub fn ready(&self) -> bool {
        !self.door.suspended.any() && self.door.batcher.failures() < FAILURES_MAX
    }

    /// Answers 503 from now on for this reason, or lifts it: for when what is acknowledged could not be kept. Events
    /// are taken while no reason stands. True if that changed anything.
    pub fn suspend(&self, reason: Suspension, suspended: bool) -> bool {
        self.door.suspended.set(reason, suspended)
    }

    /// Why no events are taken now; empty while they are.
    #[must_use]
    pub fn suspensions(&self) -> Vec<Suspension> {
        self.door.suspended.reasons()
    }

    /// Stops accepting, answers what is pending, and makes durable what is in memory.
    pub async fn stop(&self) {
        self.handle.graceful_shutdown(Some(STOP_WITHIN));
        let serving = self.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(serving) = serving
            && serving.await.is_err()
        {
            tracing::error!("the door panicked");
        }
        self.door.batcher.drain().await;
        for task in &self.watching {
            task.abort();
        }
    }
}

/// A server that is not stopped takes its watchers with it all the same.
impl Drop for Server {
    fn drop(&mut self) {
        self.handle.shutdown();
        for task in &self.watching {
            task.abort();
        }
    }
}
