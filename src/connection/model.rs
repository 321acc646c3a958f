//! What a validated connection is. Built only by `check.rs`; nothing here can hold a contradiction that a later stage
//! would have to handle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use url::Url;

use crate::clock::Timestamp;
use crate::secret::Secret;

/// A connection's name: 1 to 128 characters, unique over all drop-ins, without `/`, `:` and control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionName(Arc<str>);

impl ConnectionName {
    /// Checks a name.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn new(name: &str) -> Result<Self, String> {
        let name = name.trim();
        if name.is_empty() {
            return Err("A connection name must not be empty. Give the connection a name.".to_owned());
        }
        if name.chars().count() > 128 {
            return Err("A connection name has at most 128 characters. Shorten the name.".to_owned());
        }
        if let Some(bad) =
            name.chars().find(|character| matches!(character, '/' | ':') || character.is_control())
        {
            return Err(format!(
                "The connection name '{}' must not contain {bad:?}. Rename the connection.",
                name.escape_debug()
            ));
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ConnectionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for ConnectionName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, formatter)
    }
}

impl serde::Serialize for ConnectionName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Which version of a connection something was made for. A result for an old generation is dropped at the write.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
pub struct Generation(u64);

impl Generation {
    /// A number no earlier call of this process has returned.
    pub fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The number, for logs and status.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// One Microsoft Office 365 connection, validated, with every load-time variable replaced.
#[derive(Debug)]
pub struct Connection {
    /// Its unique name.
    pub name: ConnectionName,
    /// Which version of it this is.
    pub generation: Generation,
    /// The drop-in file it came from.
    pub file: PathBuf,
    /// How it gets the right to talk.
    pub auth: Auth,
    /// Where it talks to.
    pub endpoints: Endpoints,
    /// Where its tokens are kept.
    pub store: StoreLocation,
    /// The proxy for token and Graph requests, if one is to be used.
    pub proxy: Option<Proxy>,
    /// Which servers it accepts besides those the host trusts (`SSLServerCert`).
    pub server_trust: super::ServerTrust,
    /// Other addresses at the authority than the usual ones.
    pub sign_in_urls: SignInUrls,
    /// Bound on one answer of the service (`Timeout`, seconds; default 60).
    pub timeout: Duration,
    /// The mailbox or user its activities act on unless they say otherwise (`UserId`); may hold run-time variables.
    pub user_id: Option<Template>,
    /// Row cap for queries that give no limit (`MaxRows`); absent = none.
    pub max_rows: Option<u64>,
    /// Rows asked for per page (`Pagesize`); absent = the largest the resource takes.
    pub page_size: Option<u32>,
    /// How many levels below the first a query of folders goes (`DirectoryRetrievalDepth`, default 5); absent = all.
    pub directory_depth: Option<u32>,
    /// Refuses Create, Update, Delete and Execute (`Readonly`).
    pub read_only: bool,
    /// How many requests may run at once against one mailbox (`MailboxConcurrency`, default 4).
    pub mailbox_concurrency: u32,
    /// Saved activities by name.
    pub activities: BTreeMap<String, SavedActivity>,
    /// Variables that replace `[name]` in activities, unless a request gives its own.
    pub variables: Arc<BTreeMap<String, String>>,
    /// Names of variables that were used in load-time properties, each with the property: a request may not change them.
    pub fixed_variables: BTreeMap<String, String>,
    /// Digest over everything above except `generation`; equal digests mean "unchanged".
    pub digest: [u8; 32],
}

impl Connection {
    /// Whether it acts for a signed-in user (`/me` works) rather than as an application. An application that was
    /// given a refresh token acts for the user who signed in.
    pub fn is_delegated(&self) -> bool {
        match self.auth.scheme {
            AuthScheme::AzureAd => true,
            AuthScheme::AzureServicePrincipal | AuthScheme::AzureServicePrincipalCert => {
                self.auth.seed.refresh_token.is_some()
            }
            AuthScheme::AzureMsi => false,
        }
    }
}

/// The four auth schemes of the connection screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum AuthScheme {
    /// A user signs in.
    AzureAd,
    /// The identity of the machine.
    AzureMsi,
    /// An application with a client secret.
    AzureServicePrincipal,
    /// An application with a certificate.
    AzureServicePrincipalCert,
}

impl AuthScheme {
    /// The name operators write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AzureAd => "AzureAD",
            Self::AzureMsi => "AzureMSI",
            Self::AzureServicePrincipal => "AzureServicePrincipal",
            Self::AzureServicePrincipalCert => "AzureServicePrincipalCert",
        }
    }
}

/// Who starts OAuth (`InitiateOAuth`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum InitiateOAuth {
    /// Nobody: the token is used as given.
    Off,
    /// The agent gets the first token and refreshes it.
    GetAndRefresh,
    /// The operator gives the first tokens, the agent refreshes them.
    Refresh,
}

impl InitiateOAuth {
    /// The name operators write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "OFF",
            Self::GetAndRefresh => "GETANDREFRESH",
            Self::Refresh => "REFRESH",
        }
    }
}

/// Everything the token stage needs to know of a connection's configuration.
#[derive(Debug)]
pub struct Auth {
    /// The auth scheme.
    pub scheme: AuthScheme,
    /// Who starts OAuth. AzureMSI counts as [`InitiateOAuth::GetAndRefresh`].
    pub initiate: InitiateOAuth,
    /// `AzureTenant`: domain or id. Absent: the `tid` of the given access token.
    pub tenant: Option<String>,
    /// `OAuthClientId`. Absent: the `appid` or `azp` of the given access token.
    pub client_id: Option<String>,
    /// How the client proves itself to the token endpoint.
    pub credential: ClientCredential,
    /// `OAuthClientSecretExpires`: the day the client secret ends, for the forecast only.
    pub client_secret_expires: Option<Timestamp>,
    /// Tokens given in the configuration.
    pub seed: SeedTokens,
    /// `Scope`, if the operator set it.
    pub scope: Option<String>,
    /// What belongs to a person's sign-in.
    pub sign_in: super::SignInSettings,
}

/// How a client proves itself to the token endpoint (RFC 6749 section 2.3).
#[derive(PartialEq, Eq, Debug)]
pub enum ClientCredential {
    /// A public client: it does not.
    None,
    /// `client_secret` in the form body.
    Secret(Secret),
    /// An assertion signed with a certificate's key (RFC 7523 section 2.2).
    Certificate(Box<super::ClientCertificate>),
    /// The machine vouches for it; `ManagedIdentitySource`, unless it is to be found out.
    ManagedIdentity(Option<&'static str>),
}

/// Tokens given in the configuration. They count only while they differ from the seed recorded in the store.
#[derive(Debug, Default)]
pub struct SeedTokens {
    /// `OAuthAccessToken`.
    pub access_token: Option<Secret>,
    /// `OAuthRefreshToken`.
    pub refresh_token: Option<Secret>,
    /// `OAuthExpiresIn`: lifetime of the given access token.
    pub expires_in: Option<Duration>,
    /// `OAuthTokenTimestamp`: when the given access token was made.
    pub issued_at: Option<Timestamp>,
}

/// The two servers of one cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Token server, e.g. `https://login.microsoftonline.com/` (https, or http on loopback). Always ends in `/`.
    pub authority: Url,
    /// Graph root with version, e.g. `https://graph.microsoft.com/v1.0/`. Always ends in `/`.
    pub graph: Url,
}

/// Addresses that replace the usual ones below the authority. Always of the authority's own origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignInUrls {
    /// `OAuthAccessTokenURL`: where tokens are asked for.
    pub token: Option<Url>,
    /// `OAuthAuthorizationURL`: where a person signs in.
    pub authorization: Option<Url>,
}

/// Where a connection's tokens are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// The agent's own state directory, one file per connection.
    StateDirectory,
    /// `OAuthSettingsLocation` as an absolute path.
    File(PathBuf),
    /// `OAuthSettingsLocation=memory://id`: kept until the process ends; shared by connections with the same id.
    Memory(String),
}

/// A proxy, already decided: exceptions have not been applied yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// How it is spoken to.
    pub kind: super::ProxyKind,
    /// The property or key that names it, for sentences to the operator.
    pub named_by: &'static str,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User, when the proxy wants Basic authentication (RFC 1929 for SOCKS5).
    pub user: Option<String>,
    /// Password for it.
    pub password: Option<Secret>,
    /// Host names (with optional leading `*.` or `.`) that are reached directly.
    pub exceptions: Vec<String>,
}

/// The kinds of activity.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActivityKind {
    /// Reads rows.
    Query,
    /// Makes records.
    Create,
    /// Changes records.
    Update,
    /// Removes records.
    Delete,
    /// Calls a procedure.
    Execute,
}

impl ActivityKind {
    /// Lower-case word for metrics, logs and routes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Execute => "execute",
        }
    }
}

/// An activity kept in a drop-in. The body has the shape of the request that the control port takes for that kind;
/// variables in it are replaced when it runs.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedActivity {
    /// What it does.
    pub kind: ActivityKind,
    /// The request, without `type`.
    pub body: serde_json::Value,
}

/// A text with `[name]` and `[name{default}]` places, kept as written until its variables are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The text as written.
    pub text: String,
    /// The variables it mentions.
    pub variables: BTreeSet<String>,
}

/// The connections of the agent at one moment. Replaced whole, never changed in place.
#[derive(Debug, Default)]
pub struct ConnectionSet {
    /// The usable connections by name.
    pub connections: BTreeMap<ConnectionName, Arc<Connection>>,
    /// Connections that exist in a drop-in but cannot be used, and have no last good version; each with its faults.
    pub refused: BTreeMap<String, Vec<crate::error::Fault>>,
    /// Every fault in every drop-in file now, in file and line order.
    pub faults: Vec<crate::error::Fault>,
    /// The drop-in files that were read, each with how it fared.
    pub files: Vec<DropInState>,
}

/// How one drop-in file fared at the last load.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DropInState {
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of its contents as last read, so that a caller can tell whether its own version has been seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `loaded`, or `kept_last_good` when it has faults and its earlier version is still in use, or `rejected`.
    pub state: &'static str,
    /// Names of the connections in force from it.
    pub connections: Vec<ConnectionName>,
    /// Its faults.
    pub faults: Vec<crate::error::Fault>,
    /// What it says without effect.
    pub notices: Vec<crate::error::Fault>,
}
