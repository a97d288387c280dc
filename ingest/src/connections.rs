//! Accepted connections: how many at once, for how long without a request, and which one goes when another needs its
//! place.
//!
//! The place of a connection that does nothing is taken first, of such as come from the network that holds most of them
//! the one that has been idle for longest; then that of one whose request is still arriving. One whose request is being
//! worked on keeps its place. So a flood closes its own connections, and somebody else still gets in.

mod held;
mod table;

pub use held::Held;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum_server::Server;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpSocket;
use tokio::time::Instant;

use table::{Admitted, Table};

/// Connections that the system completes before we have taken them up.
const BACKLOG: u32 = 4096;
/// How often connections are looked for that take too long.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Bytes of one connection in memory before they are a body: the head of a request is never larger.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Headers of one request.
const HEADERS_MAX: usize = 100;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 32;
/// Streams that the other side opened and reset again before they were looked at, after which it is sent away.
const RESETS_MAX: usize = 32;
/// Bytes that one HTTP/2 stream may send before they are read.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same for all streams of a connection together.
const CONNECTION_WINDOW_BYTES: u32 = 128 << 10;

/// The connections of one port. Clones are of the same port.
#[derive(Clone)]
pub struct Connections {
    table: Arc<Mutex<Table>>,
    idle: Duration,
    arriving: Duration,
}

/// A request that is being answered; its connection does nothing else from when this is dropped.
pub(crate) struct Call {
    connections: Connections,
    peer: SocketAddr,
    is_received: bool,
}

impl Connections {
    /// At most `max` at once, none of which is without a request for longer than `idle`: neither silent, nor still at
    /// its head, nor at reading the last answer. A request that has not arrived within `arriving`
    /// ends with its connection, if nobody has answered it before.
    #[must_use]
    pub fn new(max: usize, idle: Duration, arriving: Duration) -> Self {
        Self { table: Arc::new(Mutex::new(Table::new(max))), idle, arriving }
    }

    /// Listens on `address`, which is not waited for.
    ///
    /// # Errors
    ///
    /// If it is taken, or is none of this machine.
    pub fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // A port whose last connections linger can be taken again at once.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)?.into_std()
    }

    /// Bounds what each connection may hold and how long it may take.
    #[must_use]
    pub fn tune<A>(&self, mut server: Server<A>) -> Server<A> {
        let builder = server.http_builder();
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(self.idle)
            .max_buf_size(HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(self.idle)
            .max_concurrent_streams(STREAMS_MAX)
            .max_pending_accept_reset_streams(RESETS_MAX)
            .max_local_error_reset_streams(RESETS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
        server
    }

    /// Counts every request to `router` as arriving until it is answered. Needs [`ConnectInfo`].
    pub fn count(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), count))
    }

    /// Closes those that take too long, for ever.
    pub async fn sweep(self) {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            let now = Instant::now();
            let closed = self.table().close_late(now, self.idle + SWEEP_EVERY, self.arriving);
            if closed > 0 {
                metrics::counter!("quorate_connections_closed_total", "why" => "late")
                    .increment(closed);
            }
        }
    }

    /// A request of `peer` begins to arrive.
    pub(crate) fn call(&self, peer: SocketAddr) -> Call {
        self.table().change(peer, Instant::now(), |calls| calls.arriving += 1);
        Call { connections: self.clone(), peer, is_received: false }
    }

    fn admit(&self, peer: SocketAddr) -> Option<Admitted> {
        let admitted = self.table().admit(peer, Instant::now());
        let why = match &admitted {
            Some(Admitted { instead_of_another: false, .. }) => return admitted,
            Some(_) => "replaced",
            None => "full",
        };
        metrics::counter!("quorate_connections_closed_total", "why" => why).increment(1);
        admitted
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// All of the request has arrived: from now on its connection keeps its place.
    pub(crate) fn received(&mut self) {
        if !self.is_received {
            self.is_received = true;
            let change = |calls: &mut table::Calls| {
                calls.arriving -= 1;
                calls.working += 1;
            };
            self.connections.table().change(self.peer, Instant::now(), change);
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let is_received = self.is_received;
        self.connections.table().change(self.peer, Instant::now(), |calls| {
            *(if is_received { &mut calls.working } else { &mut calls.arriving }) -= 1;
        });
    }
}

async fn count(
    State(connections): State<Connections>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    let _call = connections.call(peer);
    next.run(request).await
}
