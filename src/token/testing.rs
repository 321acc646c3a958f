//! What this stage's tests share: a connection to fill in, settings, and a token endpoint on a local port.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::clock::Clock;
use crate::connection::*;
use crate::settings::*;
use crate::telemetry::{LogFormat, LogSettings, Metrics};

use super::handle::{Shared, TokenHandle};
use super::keeper::Keeper;
use super::places::Places;
use super::plan::TokenPlan;
use super::store::{OpenStore, Store};
use super::task::ConnectionTask;
use super::transaction::Context;
use super::transport::Transports;

pub(super) fn auth(scheme: AuthScheme, initiate: InitiateOAuth) -> Auth {
    Auth {
        scheme,
        initiate,
        tenant: Some("tenant".to_owned()),
        client_id: Some("client".to_owned()),
        credential: ClientCredential::None,
        client_secret_expires: None,
        seed: SeedTokens::default(),
        scope: None,
        sign_in: crate::connection::SignInSettings::default(),
    }
}

pub(super) struct Draft(Connection);

pub(super) fn connection(name: &str) -> Draft {
    Draft(Connection {
        name: ConnectionName::new(name).unwrap(),
        generation: Generation::next(),
        file: "agent.d/test.yaml".into(),
        auth: auth(AuthScheme::AzureAd, InitiateOAuth::Refresh),
        endpoints: Endpoints {
            authority: Url::parse("https://login.microsoftonline.com/").unwrap(),
            graph: Url::parse("https://graph.microsoft.com/v1.0/").unwrap(),
        },
        store: StoreLocation::StateDirectory,
        proxy: None,
        server_trust: Default::default(),
        sign_in_urls: Default::default(),
        timeout: Duration::from_secs(60),
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
    })
}

impl Draft {
    pub(super) fn with(mut self, change: impl FnOnce(&mut Connection)) -> Self {
        change(&mut self.0);
        self
    }

    /// Tokens from the drop-in: the access token ends `lifetime` after now.
    pub(super) fn seeded(self, access: Option<(&str, u64)>, refresh: Option<&str>) -> Self {
        self.with(|connection| {
            connection.auth.seed.access_token = access.map(|(token, _)| token.into());
            connection.auth.seed.expires_in = access.map(|(_, seconds)| Duration::from_secs(seconds));
            connection.auth.seed.refresh_token = refresh.map(Into::into);
        })
    }

    pub(super) fn at(self, server: &FakeEndpoint) -> Self {
        self.with(|connection| connection.endpoints.authority = server.authority.clone())
    }

    pub(super) fn finish(self) -> Arc<Connection> {
        Arc::new(self.0)
    }
}

pub(super) fn settings(state_directory: &Path) -> Settings {
    Settings {
        file: None,
        enable_local_file_location: true,
        predefined_variables: BTreeMap::new(),
        drop_in_directory: "agent.d".into(),
        state_directory: state_directory.to_owned(),
        control: ControlPort {
            listen: None,
            unix_socket: None,
            unix_socket_users: Vec::new(),
            token_file: "control-token".into(),
        },
        token_store: TokenStore {
            key_file: None,
            lock_timeout: Duration::from_secs(30),
            backend: Backend::File,
            group: None,
            postgresql: None,
        },
        refresh: Refresh {
            request_timeout: Duration::from_secs(10),
            minimum_validity: Duration::from_secs(60),
            backoff_base: Duration::from_millis(20),
            backoff_cap: Duration::from_millis(200),
            concurrent_per_host: 4,
        },
        proxy: None,
        local_files_root: None,
        logging: LogSettings { format: LogFormat::Text, filter: "info".to_owned() },
        limits: Limits {
            control_connections: 1,
            concurrent_runs: 1,
            request_body_bytes: 1,
            run_timeout: Duration::from_secs(1),
            page_bytes: 1,
            answer_rows: 1,
            drain: Duration::from_secs(1),
            run_history: 1,
        },
    }
}

/// A keeper of its own over `state_directory`, as a second agent would be.
pub(super) fn keeper(state_directory: &Path) -> Arc<Keeper> {
    Keeper::new(Arc::new(settings(state_directory)), Clock::machine(), Metrics::new(), Arc::default())
}

pub(super) fn keeper_with(settings: Settings, clock: Clock) -> Arc<Keeper> {
    Keeper::new(Arc::new(settings), clock, Metrics::new(), Arc::new(Transports::default()))
}

pub(super) fn set_of(connections: &[&Arc<Connection>]) -> ConnectionSet {
    let connections = connections.iter().map(|one| (one.name.clone(), Arc::clone(one))).collect();
    ConnectionSet { connections, ..ConnectionSet::default() }
}

/// A token server without a wire: takes the form, answers as the wire would.
pub(super) trait InMemory: Send + Sync + std::fmt::Debug {
    fn exchange(
        &self,
        form: String,
        now: crate::clock::Timestamp,
    ) -> futures_util::future::BoxFuture<'_, super::answer::Outcome>;
}

/// A task over a store of the test's own, and with `in_memory` also over a token server without a wire.
pub(super) fn drive_with(
    connection: &Arc<Connection>,
    store: Arc<dyn Store>,
    clock: Clock,
    refresh: Refresh,
    places: &Arc<Places>,
    in_memory: Option<Arc<dyn InMemory>>,
) -> TokenHandle {
    let store = Arc::new(OpenStore::new(store));
    drive_until(connection, store, clock, refresh, places, in_memory, CancellationToken::new())
}

/// As [`drive_with`], over a store that outlives the task, until `stop`.
pub(super) fn drive_until(
    connection: &Arc<Connection>,
    store: Arc<OpenStore>,
    clock: Clock,
    refresh: Refresh,
    places: &Arc<Places>,
    in_memory: Option<Arc<dyn InMemory>>,
    stop: CancellationToken,
) -> TokenHandle {
    let worker = worker(connection, store, clock, refresh, places, in_memory, stop);
    tokio::spawn(worker.task.run());
    worker.handle
}

/// A connection's task before it runs.
pub(super) struct Worker {
    pub(super) task: ConnectionTask,
    pub(super) handle: TokenHandle,
    pub(super) context: Arc<Context>,
}

/// As [`drive_until`], without running it.
pub(super) fn worker(
    connection: &Arc<Connection>,
    store: Arc<OpenStore>,
    clock: Clock,
    refresh: Refresh,
    places: &Arc<Places>,
    in_memory: Option<Arc<dyn InMemory>>,
    stop: CancellationToken,
) -> Worker {
    let TokenPlan::Kept(plan) = TokenPlan::make(&connection.auth, clock.now()) else { panic!("a kept plan") };
    let shared = Shared::new(&connection.name, None, &clock, true);
    let context = Arc::new(Context {
        connection: Arc::clone(connection),
        plan,
        store,
        http: shared_client(connection),
        clock,
        refresh,
        seat: places.seat(connection.auth.tenant.as_deref().unwrap_or_default()),
        proof: super::proof::ClientProof::of_process(),
        repeats: Default::default(),
        in_memory,
    });
    let task = ConnectionTask::new(
        Arc::clone(&shared),
        Arc::clone(&context),
        Metrics::new(),
        stop,
        Default::default(),
        Arc::new(tokio::sync::Semaphore::new(8)),
    );
    Worker { task, handle: TokenHandle::new(shared), context }
}

/// One client for all tests: making one reads the host's trust roots.
pub(super) fn shared_client(connection: &Arc<Connection>) -> reqwest::Client {
    static CLIENTS: std::sync::LazyLock<Transports> = std::sync::LazyLock::new(Transports::default);
    CLIENTS.client(connection).unwrap()
}

/// What the endpoint does with the next request, once; then it serves tokens again.
#[derive(Clone, Debug)]
pub(super) enum Next {
    /// Answers with this status and body.
    Answer(u16, String),
    /// Rotates the tokens, then cuts the line instead of answering.
    Cut,
    /// Waits for [`FakeEndpoint::release`], then serves tokens.
    Hold,
    /// Rotates nothing, sends these bytes and closes.
    Raw(&'static [u8]),
}

/// What a refresh token that has been used is still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotation {
    /// Nothing.
    Strict,
    /// Everything, as Entra documents it.
    Lenient,
    /// The one before the newest may be sent again for so long after its first use; any other ends the sign-in.
    Grace(Duration),
}

/// A token endpoint with rotating refresh tokens. A refresh token that is refused because it was used before is counted.
#[derive(Clone, Debug)]
pub(super) struct FakeEndpoint {
    pub(super) authority: Url,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    rotation: Rotation,
    lifetime: u64,
    state: Mutex<Issued>,
    release: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct Issued {
    current: String,
    /// The one before, and when it was first used.
    previous: Option<(String, tokio::time::Instant)>,
    used: Vec<String>,
    count: u64,
    posts: Vec<String>,
    heads: Vec<String>,
    reused: u32,
    next: VecDeque<Next>,
}

impl FakeEndpoint {
    /// Serves from now on; `first` is the refresh token in force.
    pub(super) async fn start(strict: bool, lifetime: u64, first: &str) -> Self {
        let rotation = if strict { Rotation::Strict } else { Rotation::Lenient };
        Self::start_with(rotation, lifetime, first).await
    }

    /// As [`Self::start`], with another way of treating used tokens.
    pub(super) async fn start_with(rotation: Rotation, lifetime: u64, first: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let state = Mutex::new(Issued { current: first.to_owned(), ..Issued::default() });
        let inner = Arc::new(Inner { rotation, lifetime, state, release: tokio::sync::Notify::new() });
        let server = Self { authority, inner };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        server
    }

    pub(super) fn next(&self, next: Next) {
        self.inner.state.lock().unwrap().next.push_back(next);
    }

    /// The request that is being held will be refused, as one with a token that somebody else has used up.
    pub(super) fn refuse_held(&self) {
        self.inner.state.lock().unwrap().current = "used up by a sibling".to_owned();
    }

    /// A sibling, which has the same tokens, refreshes: its new access and refresh token.
    pub(super) fn refresh_as_a_sibling(&self) -> (String, String) {
        let current = self.current_refresh_token();
        let (status, _) = self.answer(&format!("grant_type=refresh_token&refresh_token={current}"));
        assert_eq!(status, 200);
        let state = self.inner.state.lock().unwrap();
        (format!("at-{}", state.count), state.current.clone())
    }

    pub(super) fn release(&self) {
        self.inner.release.notify_one();
    }

    /// The bodies posted so far.
    pub(super) fn posts(&self) -> Vec<String> {
        self.inner.state.lock().unwrap().posts.clone()
    }

    /// The request lines and headers so far.
    pub(super) fn heads(&self) -> Vec<String> {
        self.inner.state.lock().unwrap().heads.clone()
    }

    pub(super) fn reused(&self) -> u32 {
        self.inner.state.lock().unwrap().reused
    }

    pub(super) fn current_refresh_token(&self) -> String {
        self.inner.state.lock().unwrap().current.clone()
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut buffer = Vec::new();
        loop {
            let Some((head, body)) = read_request(&mut stream, &mut buffer).await else { return };
            let next = {
                let mut state = self.inner.state.lock().unwrap();
                state.posts.push(body.clone());
                state.heads.push(head);
                state.next.pop_front()
            };
            let (status, answer) = match next {
                Some(Next::Answer(status, answer)) => (status, answer),
                Some(Next::Cut) => {
                    self.answer(&body);
                    return;
                }
                Some(Next::Hold) => {
                    self.inner.release.notified().await;
                    self.answer(&body)
                }
                Some(Next::Raw(bytes)) => {
                    let _the_other_side_may_have_gone = stream.write_all(bytes).await;
                    return;
                }
                None => self.answer(&body),
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Length: {}\r\n\r\n",
                answer.len()
            );
            if stream.write_all(format!("{head}{answer}").as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, body: &str) -> (u16, String) {
        let mut state = self.inner.state.lock().unwrap();
        let form: BTreeMap<String, String> =
            url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        state.count += 1;
        let number = state.count;
        let lifetime = self.inner.lifetime;
        if form["grant_type"] == "client_credentials" {
            return (
                200,
                format!(
                    r#"{{"token_type":"Bearer","expires_in":{lifetime},"access_token":"minted-{number}"}}"#
                ),
            );
        }
        let given = form["refresh_token"].clone();
        let known = state.used.contains(&given);
        let allowed = match self.inner.rotation {
            _ if given == state.current => true,
            Rotation::Strict => false,
            Rotation::Lenient => known,
            Rotation::Grace(grace) => state
                .previous
                .as_ref()
                .is_some_and(|(token, used)| *token == given && used.elapsed() <= grace),
        };
        if !allowed {
            state.reused += u32::from(known);
            if matches!(self.inner.rotation, Rotation::Grace(_)) {
                state.current = "the sign-in has ended".to_owned();
                state.previous = None;
            }
            return (400, r#"{"error":"invalid_grant","error_codes":[70008]}"#.to_owned());
        }
        let old = std::mem::replace(&mut state.current, format!("rt-{number}"));
        if old == given {
            state.previous = Some((given, tokio::time::Instant::now()));
        }
        state.used.push(old);
        let answer = format!(
            r#"{{"token_type":"Bearer","expires_in":{lifetime},"access_token":"at-{number}","refresh_token":"rt-{number}"}}"#
        );
        (200, answer)
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, String)> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let length: usize = head
                .to_lowercase()
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .map_or(0, |text| text.trim().parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let body = String::from_utf8(buffer[end + 4..end + 4 + length].to_vec()).unwrap();
                buffer.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        let mut chunk = [0u8; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            // The start of a TLS handshake: a server that speaks none says so in plain text and goes.
            Ok(_) if buffer.is_empty() && chunk[0] == 0x16 => {
                let _the_other_side_may_have_gone =
                    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                return None;
            }
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Waits until `condition` holds, for at most ten seconds.
pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never came true: {what}");
}

/// A state directory as the agent demands it.
pub(super) fn state_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}
