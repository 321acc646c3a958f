//! The loopback listener that a browser comes back to: one path, GET only, a plain page without scripts and without
//! anything secret in it. Gone as soon as the answer is there; every connection is bounded in time and size.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::desk::{CameBack, SignIn};
use crate::connection::Loopback;

/// Browsers open a few connections ahead; more than these at once are not a browser.
const CONNECTIONS: usize = 16;
/// Bound on one connection, from its opening to the end of its answer.
const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// Entra's codes are 1 to 2 KiB, and a browser adds its cookies for localhost.
const HEADER_BYTES: usize = 64 * 1024;
/// How long the page that is being sent may take after the answer is there.
const LAST_PAGE: Duration = Duration::from_secs(2);
/// The pause after a connection could not be accepted (no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An open port.
#[derive(Debug)]
pub(super) struct Listener {
    sockets: Vec<TcpListener>,
    path: String,
    /// The port that was opened.
    pub(super) port: u16,
}

impl Listener {
    /// Opens the port on the first address, and on the others if they can be had.
    pub(super) async fn open(loopback: Loopback) -> Result<Self, String> {
        let mut port = loopback.port;
        let mut sockets = Vec::new();
        for address in &loopback.addresses {
            match TcpListener::bind(SocketAddr::new(*address, port)).await {
                Ok(socket) => {
                    port = socket.local_addr().map_or(port, |address| address.port());
                    sockets.push(socket);
                }
                Err(error) if sockets.is_empty() => {
                    return Err(format!(
                        "The agent cannot listen at port {port} for the browser's return: {error}. Perhaps another connection's sign-in or another program uses it; wait, set another CallbackURL, or sign in by device code."
                    ));
                }
                // A host without IPv6.
                Err(_) => {}
            }
        }
        Ok(Self { sockets, path: loopback.path, port })
    }

    /// Answers browsers until `closing`; the port is closed then.
    pub(super) async fn serve(self, sign_in: Arc<SignIn>, closing: CancellationToken) {
        let mut open = JoinSet::new();
        let path: Arc<str> = self.path.into();
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => break,
                Some(_) = open.join_next(), if !open.is_empty() => {}
                accepted = accept(&self.sockets), if open.len() < CONNECTIONS => match accepted {
                    Ok(stream) => {
                        open.spawn(serve_one(stream, Arc::clone(&sign_in), Arc::clone(&path)));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "A browser's connection could not be accepted.");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.sockets);
        let rest = async { while open.join_next().await.is_some() {} };
        let _connections_that_are_silent_are_dropped = tokio::time::timeout(LAST_PAGE, rest).await;
    }
}

async fn accept(sockets: &[TcpListener]) -> std::io::Result<TcpStream> {
    let accepting = sockets.iter().map(|socket| Box::pin(socket.accept()));
    let (accepted, _, _) = futures_util::future::select_all(accepting).await;
    accepted.map(|(stream, _)| stream)
}

async fn serve_one(stream: TcpStream, sign_in: Arc<SignIn>, path: Arc<str>) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let page = answer(&request, &path, &sign_in);
        async move { Ok::<_, Infallible>(page) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIME)
        .max_buf_size(HEADER_BYTES)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that ends early, or never says anything, is a browser's own business.
    let _ended = tokio::time::timeout(CONNECTION_TIME, connection).await;
}

fn answer(request: &Request<Incoming>, path: &str, sign_in: &SignIn) -> Response<Full<Bytes>> {
    if request.uri().path() != path {
        return page(StatusCode::NOT_FOUND, "There is nothing here.");
    }
    if request.method() != Method::GET {
        return page(StatusCode::METHOD_NOT_ALLOWED, "Only GET is answered here.");
    }
    match sign_in.browser_came_back(request.uri().query().unwrap_or_default()) {
        CameBack::SignedIn => page(
            StatusCode::OK,
            "The sign-in has reached the agent. You can close this window; `o365-agent status` shows whether everything went well.",
        ),
        CameBack::Refused => page(
            StatusCode::OK,
            "The sign-in was refused. You can close this window; `o365-agent status` shows the reason.",
        ),
        CameBack::Again => page(StatusCode::GONE, "This sign-in has been answered already."),
        CameBack::NotOurs => page(
            StatusCode::BAD_REQUEST,
            "This is not the answer to the pending sign-in. Open the address that the agent showed last.",
        ),
    }
}

/// Constant texts only: nothing of the request comes back.
fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let html = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>o365-agent</title></head><body><h1>o365-agent</h1><p>{text}</p></body></html>"
    );
    let mut response = Response::new(Full::new(Bytes::from(html)));
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::CACHE_CONTROL, "no-store"),
        // The code stands in this page's address.
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONNECTION, "close"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
