//! A socket that counts, without Nagle's delay, and that is closed when its place is taken.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{Admitted, Connections};

impl<S> Accept<TcpStream, S> for Connections {
    type Stream = Held;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Held, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        std::future::ready(self.hold(stream).map(|held| (held, service)))
    }
}

impl Connections {
    fn hold(&self, stream: TcpStream) -> io::Result<Held> {
        stream.set_nodelay(true)?;
        let peer = stream.peer_addr()?;
        let Admitted { id, closed, .. } =
            self.admit(peer).ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(Held { stream, closed: Some(closed), connections: self.clone(), peer, id })
    }
}

/// A connection that counts until it is dropped.
pub struct Held {
    stream: TcpStream,
    /// None once its place is taken.
    closed: Option<oneshot::Receiver<()>>,
    connections: Connections,
    peer: SocketAddr,
    id: u64,
}

impl Held {
    /// Fails once its place is taken; whoever waits for the socket is woken then.
    fn poll_place(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if let Some(closed) = &mut self.closed
            && Pin::new(closed).poll(context).is_pending()
        {
            return Ok(());
        }
        self.closed = None;
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.connections.table().forget(self.peer, self.id);
    }
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_place(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_place(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_place(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
