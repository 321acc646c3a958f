//! What `jitterbit.conf` comes to: every key present, typed and in range. Built only by this stage.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;
use crate::telemetry::LogSettings;

/// The whole of the settings. Equal settings mean "nothing changed".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file they came from; absent when all defaults were taken.
    pub file: Option<PathBuf>,
    /// `[Settings] EnableLocalFileLocation` (default false).
    pub enable_local_file_location: bool,
    /// `[PredefinedJitterbitVariables]`.
    pub predefined_variables: BTreeMap<String, String>,
    /// `[Agent] DropInDirectory` (default `/etc/o365-agent/agent.d`).
    pub drop_in_directory: PathBuf,
    /// `[Agent] StateDirectory` (default `/var/lib/o365-agent`).
    pub state_directory: PathBuf,
    /// `[ControlPort]`.
    pub control: ControlPort,
    /// `[TokenStore]`.
    pub token_store: TokenStore,
    /// `[Refresh]`.
    pub refresh: Refresh,
    /// `[Proxy]`: used only by connections with `UseProxySettings: true`.
    pub proxy: Option<AgentProxy>,
    /// `[LocalFiles] Root`: where activities may read and write files, if anywhere.
    pub local_files_root: Option<PathBuf>,
    /// `[Logging]`.
    pub logging: LogSettings,
    /// `[Limits]`.
    pub limits: Limits,
}

/// `[ControlPort]`. All its keys need a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPort {
    /// `Listen` (default `127.0.0.1:7365`; port 0 = any; empty = no TCP). Loopback only: there is no TLS on this port.
    pub listen: Option<SocketAddr>,
    /// `UnixSocket`: path of a unix socket (default none; systemd's `o365-agent.socket` passes one in).
    pub unix_socket: Option<PathBuf>,
    /// `UnixSocketUsers`: user ids besides root and the agent's own that may use the socket (default none).
    pub unix_socket_users: Vec<u32>,
    /// `TokenFile` (default `control-token` in the state directory).
    pub token_file: PathBuf,
}

/// `[TokenStore]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenStore {
    /// `KeyFile`: key that encrypts the token files (default: systemd credential `token-key`, else `token-key` in the
    /// state directory, made at first start).
    pub key_file: Option<PathBuf>,
    /// `LockTimeoutSeconds` (default 30): bound on waiting for a store's lock.
    pub lock_timeout: Duration,
    /// `Backend` (default `file`): where connections without an `OAuthSettingsLocation` keep their tokens.
    pub backend: Backend,
    /// `Group`: the name that the agents of one group share; rows in PostgreSQL are kept by group and connection.
    pub group: Option<String>,
    /// The database; there when `Connection` is set, whatever `Backend` says, so that tokens can be moved to it.
    pub postgresql: Option<Postgresql>,
}

/// `[TokenStore] Backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// One encrypted file per connection.
    File,
    /// One encrypted row per connection in a database that the agents of a group share.
    Postgresql,
}

/// The keys of `[TokenStore]` about PostgreSQL. All need a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgresql {
    /// `Connection`: URL or `key=value` text without a password.
    pub connection: String,
    /// `ListenConnection`: the same database past its pooler, for notifications.
    pub listen_connection: Option<String>,
    /// `Password`, `PasswordFile` or `PasswordCredential`.
    pub password: Option<Secret>,
    /// `Tls` (default verify-full).
    pub tls: DatabaseTls,
    /// `TlsRootCertificate`: PEM file of the authority that issued the server's certificate (default: the system's).
    pub root_certificate: Option<PathBuf>,
    /// `PoolSize` (default 2): database connections besides the one that listens.
    pub pool_size: usize,
    /// `LeaseSeconds` (default 45): how long one refresh may keep a row to itself; longer than a token request may take.
    pub lease: Duration,
    /// `RefreshWithoutStore` (default false): refresh without the lease while the database is away.
    pub refresh_without_store: bool,
}

/// `[TokenStore] Tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseTls {
    /// None; on loopback and unix sockets only.
    Disable,
    /// Encrypted; the server's certificate is not looked at.
    Require,
    /// Encrypted; certificate and host name are checked.
    VerifyFull,
}

/// `[Refresh]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refresh {
    /// `RequestTimeoutSeconds` (default 30): bound on one token request.
    pub request_timeout: Duration,
    /// `MinimumValiditySeconds` (default 60): a token with less left is not handed out.
    pub minimum_validity: Duration,
    /// `BackoffBaseSeconds` (default 2) and
    pub backoff_base: Duration,
    /// `BackoffCapSeconds` (default 300): waits after failures that pass.
    pub backoff_cap: Duration,
    /// `ConcurrentPerHost` (default 4): token requests at once to one token server.
    pub concurrent_per_host: usize,
}

/// The longest user or password of a SOCKS5 proxy, in bytes: RFC 1929 gives each a length of one byte.
pub const LONGEST_SOCKS_WORD: usize = 255;

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP without TLS to the proxy: https goes through a CONNECT tunnel, plain http is forwarded.
    #[default]
    Http,
    /// The same, with TLS to the proxy itself.
    Https,
    /// SOCKS version 5 (RFC 1928), names resolved by the proxy.
    Socks5,
}

impl ProxyKind {
    /// The port of a proxy whose port is not given: what the driver takes, and 443 for TLS.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 => 1080,
        }
    }
}

/// `[Proxy]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentProxy {
    /// `Type` (default http).
    pub kind: ProxyKind,
    /// `Host`.
    pub host: String,
    /// `Port` (default 80 for http, 443 for https, 1080 for socks5).
    pub port: u16,
    /// `User`.
    pub user: Option<String>,
    /// `Password`, `PasswordFile` or `PasswordCredential`.
    pub password: Option<Secret>,
    /// `Exceptions`: host names reached directly, separated by `;`.
    pub exceptions: Vec<String>,
}

/// `[Limits]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `ControlConnections` (default 128): open connections on the control port.
    pub control_connections: usize,
    /// `ConcurrentRuns` (default 32): activity runs at once; one more gets 503 with Retry-After.
    pub concurrent_runs: usize,
    /// `RequestBodyBytes` (default 16777216): the largest request body on the control port.
    pub request_body_bytes: usize,
    /// `RunTimeoutSeconds` (default 7200): bound on a run that gives no `timeoutSeconds`.
    pub run_timeout: Duration,
    /// `PageBytes` (default 16777216): the largest Graph answer, after decompression.
    pub page_bytes: usize,
    /// `AnswerRows` (default 100000): rows in one JSON answer; NDJSON and CSV have no such bound.
    pub answer_rows: u64,
    /// `DrainSeconds` (default 10): how long running work may go on after a stop signal.
    pub drain: Duration,
    /// `RunHistory` (default 1000): finished runs that are remembered.
    pub run_history: usize,
}
