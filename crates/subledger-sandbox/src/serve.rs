//! Serving the router so that a connection can be broken on purpose.
//!
//! A fault must look like a broken connection, not like an HTTP response. Two means, neither needing a server of our own:
//! * close: the response's body fails at its first poll. The server buffers the head until the body's first frame, so
//!   nothing was written yet and the connection just ends. This works behind any `axum::serve`.
//! * reset: the handler also sets a flag of its connection, which makes the socket linger for zero seconds when it is
//!   closed; the kernel then sends RST. This needs [`Sandbox::serve`].
//!
//! [`Sandbox::serve`] also ends hanging calls at shutdown, which would otherwise keep the server alive for ever.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::sandbox::Sandbox;

/// Pause after a failed accept (for example no file handles left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Sandbox {
    /// Serves [`Sandbox::router`] on `listener` until `shutdown` completes; calls that hang or wait are broken off then.
    ///
    /// Errors: those of the listener.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let (closed, closing) = watch::channel(false);
        let listener = Breakable { listener, closing };
        let service = self.router().into_make_service_with_connect_info::<Peer>();
        axum::serve(listener, service)
            .with_graceful_shutdown(async move {
                shutdown.await;
                // The sender moves in here and stays alive until the signal is given.
                closed.send_replace(true);
            })
            .await
    }
}

/// The far end of a connection, and the means to break it.
#[derive(Debug, Clone)]
struct Peer {
    address: SocketAddr,
    reset: Arc<AtomicBool>,
    closing: watch::Receiver<bool>,
}

/// Who calls, as far as the server can tell.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The caller's address; loopback when the router is served without connection info.
    pub(crate) ip: String,
    peer: Option<Peer>,
}

impl Caller {
    /// Completes when the server shuts down; never behind a plain `axum::serve`.
    pub(crate) async fn closing(&self) {
        match &self.peer {
            Some(peer) => {
                let mut closing = peer.closing.clone();
                // An error means that the server is gone, which is a shutdown too.
                let _ = closing.wait_for(|closed| *closed).await;
            }
            None => std::future::pending().await,
        }
    }

    /// Makes the connection end in a TCP reset once it is closed.
    pub(crate) fn arm_reset(&self) {
        if let Some(peer) = &self.peer {
            peer.reset.store(true, Ordering::Release);
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<Peer>>().map(|info| info.0.clone());
        let plain = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
        let address = peer.as_ref().map(|p| p.address).or(plain);
        let ip = address.map_or_else(|| "127.0.0.1".to_owned(), |a| a.ip().to_canonical().to_string());
        Ok(Self { ip, peer })
    }
}

/// A response that closes the connection without a byte being written.
pub(crate) fn no_answer() -> Response {
    let broken: [Result<Bytes, io::Error>; 1] = [Err(io::ErrorKind::ConnectionAborted.into())];
    Response::new(Body::from_stream(futures::stream::iter(broken)))
}

/// Reads a request's body up to `limit` bytes; `None` if it is larger or breaks off.
pub(crate) async fn read_body(request: Request, limit: usize) -> Option<Bytes> {
    axum::body::to_bytes(request.into_body(), limit).await.ok()
}

/// A listener whose connections can be told to end in a reset.
struct Breakable {
    listener: TcpListener,
    closing: watch::Receiver<bool>,
}

impl Breakable {
    fn peer(&self, address: SocketAddr) -> Peer {
        Peer { address, reset: Arc::new(AtomicBool::new(false)), closing: self.closing.clone() }
    }
}

impl Listener for Breakable {
    type Io = BreakableStream;
    type Addr = Peer;

    async fn accept(&mut self) -> (BreakableStream, Peer) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "no TCP_NODELAY");
                    }
                    let peer = self.peer(address);
                    return (BreakableStream { stream, reset: Arc::clone(&peer.reset) }, peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(self.peer(self.listener.local_addr()?))
    }
}

impl Connected<IncomingStream<'_, Breakable>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Breakable>) -> Self {
        stream.remote_addr().clone()
    }
}

struct BreakableStream {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for BreakableStream {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Acquire)
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "no TCP reset");
        }
    }
}

impl AsyncRead for BreakableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for BreakableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
