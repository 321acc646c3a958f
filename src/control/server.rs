//! Accepts connections on TCP and unix sockets and serves the router on each, within bounds: connections, header size
//! and time, and an end to idle keep-alive when the agent drains. Never looks into a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::guard::Via;

/// A client that has not sent its whole head by then is shed; also the bound on an idle keep-alive connection.
const HEADER_TIME: Duration = Duration::from_secs(5);

/// Request line and headers together; more answers 431.
const HEADER_BYTES: usize = 16 * 1024;

/// A pause after a failed accept (out of descriptors, mostly), so that the loop cannot spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Answer to a connection above the limit: short, at once, and honest about when to come back.
const OVERLOADED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The sockets the control port listens on.
#[derive(Debug)]
pub enum Listener {
    /// TCP, with the bound address.
    Tcp(TcpListener, SocketAddr),
    /// Unix stream.
    Unix(UnixListener),
}

/// Serves `router` on every listener until `stop`, then until the open connections have ended.
pub async fn serve(listeners: Vec<Listener>, router: Router, connections: usize, stop: CancellationToken) {
    let permits = Arc::new(Semaphore::new(connections));
    let mut loops = JoinSet::new();
    for listener in listeners {
        loops.spawn(accept(listener, router.clone(), permits.clone(), stop.clone()));
    }
    while loops.join_next().await.is_some() {}
}

async fn accept(listener: Listener, router: Router, permits: Arc<Semaphore>, stop: CancellationToken) {
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = open.join_next(), if !open.is_empty() => {}
            accepted = next(&listener) => match accepted {
                Ok((stream, via)) => match permits.clone().try_acquire_owned() {
                    Ok(permit) => {
                        let (router, stop) = (router.clone(), stop.clone());
                        open.spawn(async move {
                            serve_one(stream, via, router, stop).await;
                            drop(permit);
                        });
                    }
                    Err(_) => shed(stream).await,
                },
                Err(error) => {
                    tracing::warn!(%error, "A control port connection could not be accepted.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    while open.join_next().await.is_some() {}
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn next(listener: &Listener) -> std::io::Result<(Box<dyn Stream>, Via)> {
    match listener {
        Listener::Tcp(socket, address) => {
            let (stream, _) = socket.accept().await?;
            stream.set_nodelay(true)?;
            Ok((Box::new(stream), Via::Tcp(*address)))
        }
        Listener::Unix(socket) => {
            let (stream, _) = socket.accept().await?;
            let user = stream.peer_cred().ok().map(|peer| peer.uid());
            Ok((Box::new(stream), Via::Unix { user }))
        }
    }
}

async fn shed(mut stream: Box<dyn Stream>) {
    let said = tokio::time::timeout(ACCEPT_PAUSE, stream.write_all(OVERLOADED)).await;
    tracing::debug!(said = said.is_ok(), "A control port connection above the limit was turned away.");
}

async fn serve_one(stream: Box<dyn Stream>, via: Via, router: Router, stop: CancellationToken) {
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(via);
        request.map(axum::body::Body::new)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            // An idle keep-alive connection ends now; one with a request in progress ends after its answer.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "A control port connection ended early.");
    }
}
