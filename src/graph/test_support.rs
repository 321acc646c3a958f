//! What the tests of this stage share: a server on loopback that answers from a script, tokens, a connection. Exists only
//! in test builds.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

use super::bearer::Bearer;
use super::*;
use crate::clock::Timestamp;
use crate::connection::{
    Auth, AuthScheme, ClientCredential, Connection, ConnectionName, Endpoints, Generation, InitiateOAuth,
    SeedTokens, StoreLocation,
};
use crate::secret::Secret;
use crate::telemetry::Metrics;
use crate::token::{AccessToken, TokenError};

/// Tokens named `token-1`, `token-2`, …; remembers the claims it was asked to renew with.
#[derive(Clone, Debug, Default)]
pub(super) struct MadeTokens {
    renewed: Arc<AtomicU64>,
    pub(super) claims: Arc<Mutex<Vec<Option<String>>>>,
    /// Whoever has it for writing keeps tokens back.
    pub(super) hold: Arc<tokio::sync::RwLock<()>>,
    /// How many wait for a token.
    pub(super) waiting: Arc<AtomicU64>,
}

impl MadeTokens {
    pub(super) fn get(&self) -> Result<Arc<AccessToken>, TokenError> {
        let generation = self.renewed.load(Ordering::SeqCst) + 1;
        let secret = Secret::from(format!("token-{generation}"));
        Ok(Arc::new(AccessToken { secret, expires_at: Timestamp::from_seconds(i64::MAX / 2000), generation }))
    }

    pub(super) fn renew(&self, seen: u64, claims: Option<String>) -> Result<Arc<AccessToken>, TokenError> {
        self.claims.lock().unwrap().push(claims);
        let _only_if_still_the_seen_one =
            self.renewed.compare_exchange(seen - 1, seen, Ordering::SeqCst, Ordering::SeqCst);
        self.get()
    }
}

pub(super) type Body = BoxBody<Bytes, std::io::Error>;
type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: Method,
    /// Path and query, byte for byte.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// The client's port: the same one means the same connection.
    pub(super) peer: u16,
}

/// A server that answers each request by a script and remembers what it saw.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    /// `script` gets each request with its number, from 0.
    pub(super) async fn start<F, A>(script: F) -> Self
    where
        F: Fn(usize, Seen) -> A + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let script: Arc<dyn Fn(usize, Seen) -> Answering + Send + Sync> =
            Arc::new(move |number, request| Box::pin(script(number, request)) as Answering);
        let task = tokio::spawn(accept(listener, Arc::clone(&seen), script));
        Self { address, seen, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) fn root(&self) -> Url {
        Url::parse(&format!("http://{}/v1.0/", self.address)).unwrap()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn targets(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.target).collect()
    }
}

async fn accept(
    listener: TcpListener,
    seen: Arc<Mutex<Vec<Seen>>>,
    script: Arc<dyn Fn(usize, Seen) -> Answering + Send + Sync>,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, peer)) = listener.accept().await {
        let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                    let target = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
                    let request = Seen {
                        method: parts.method,
                        target,
                        headers: parts.headers,
                        body,
                        peer: peer.port(),
                    };
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    Ok::<_, Infallible>(script(number, request).await)
                }
            });
            let _ended = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

/// An answer with headers and a whole body.
pub(super) fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into()).map_err(|never| match never {}).boxed()).unwrap()
}

/// An answer whose body is what is sent into the channel; an `Err` breaks the connection.
pub(super) fn flowing() -> (mpsc::Sender<Result<Bytes, std::io::Error>>, Response<Body>) {
    let (sender, receiver) = mpsc::channel(4);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        let next: Option<Result<Bytes, std::io::Error>> = receiver.recv().await;
        next.map(|next| (next.map(Frame::data), receiver))
    });
    (sender, Response::new(BodyExt::boxed(StreamBody::new(stream))))
}

/// A break in the middle of a body.
pub(super) fn broken() -> std::io::Error {
    std::io::Error::other("broken by the test")
}

pub(super) fn connection(graph: Url) -> Connection {
    Connection {
        name: ConnectionName::new("Test").unwrap(),
        generation: Generation::next(),
        file: "test.yaml".into(),
        auth: Auth {
            scheme: AuthScheme::AzureServicePrincipal,
            initiate: InitiateOAuth::GetAndRefresh,
            tenant: Some("tenant".to_owned()),
            client_id: Some("client".to_owned()),
            client_secret_expires: None,
            credential: ClientCredential::None,
            seed: SeedTokens::default(),
            scope: None,
            sign_in: crate::connection::SignInSettings::default(),
        },
        endpoints: Endpoints { authority: Url::parse("http://127.0.0.1:1/").unwrap(), graph },
        store: StoreLocation::StateDirectory,
        proxy: None,
        server_trust: Default::default(),
        sign_in_urls: Default::default(),
        timeout: Duration::from_secs(10),
        user_id: None,
        max_rows: None,
        page_size: None,
        directory_depth: Some(5),
        read_only: false,
        mailbox_concurrency: 4,
        activities: BTreeMap::new(),
        variables: Arc::default(),
        fixed_variables: BTreeMap::new(),
        digest: [0; 32],
    }
}

/// A client for `server` with a page limit of 1 MiB, and its tokens.
pub(super) fn client(server: &Server) -> (Arc<GraphClient>, MadeTokens) {
    client_with(connection(server.root()))
}

pub(super) fn client_with(connection: Connection) -> (Arc<GraphClient>, MadeTokens) {
    client_with_limit(connection, 1024 * 1024)
}

pub(super) fn client_with_limit(connection: Connection, page_bytes: usize) -> (Arc<GraphClient>, MadeTokens) {
    let tokens = MadeTokens::default();
    let connection = Arc::new(connection);
    let http = crate::token::Transports::default().clients(&connection).unwrap();
    let bearer = Bearer::Made(tokens.clone());
    let client =
        GraphClient::with_bearer(connection, bearer, http, Governor::new(), Metrics::new(), page_bytes);
    (client, tokens)
}

/// A caller with a minute of patience.
pub(super) fn context() -> CallContext {
    CallContext {
        request_id: "0f5d2d2e-1111-4222-8333-444444444444".to_owned(),
        cancel: CancellationToken::new(),
        deadline: tokio::time::Instant::now() + Duration::from_secs(60),
        traffic: Traffic::new(),
    }
}

pub(super) fn get(path: &str) -> GraphRequest {
    GraphRequest {
        method: Method::GET,
        path: path.to_owned(),
        headers: Vec::new(),
        body: None,
        mailbox: None,
        effect: Effect::Repeatable,
    }
}

pub(super) fn post(path: &str, body: &'static str) -> GraphRequest {
    let body = Some(Bytes::from_static(body.as_bytes()));
    GraphRequest { method: Method::POST, body, effect: Effect::Once, ..get(path) }
}

/// Polls until `condition` holds.
///
/// # Panics
/// When it does not hold within ten seconds.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(tokio::time::Instant::now() < limit, "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
