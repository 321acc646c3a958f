//! Managed identity: a token because of where the agent runs. Finds the source, asks it, and for Kubernetes exchanges
//! the pod's federated token at the connection's authority. Nothing of it ever goes through a proxy.

mod answer;
mod challenge;
mod detect;
mod request;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use url::Url;
use zeroize::Zeroize;

use self::answer::{Answered, Manners, denied, failure};
use self::detect::{Source, Workload};
use self::request::IdentityRequest;
use super::answer::Outcome;
use super::assertion;
use super::endpoint::{self, ClientIdentity};
use super::plan::Grant;
use super::transport;
use crate::clock::Clock;
use crate::connection::{ClientCredential, Connection};
use crate::files;
use crate::secret::Secret;

/// The largest answer that is read; real ones are below 4 KiB.
const LARGEST_ANSWER: usize = 256 * 1024;
/// The largest federated token; the projected tokens of Kubernetes are about 1 KiB.
const LARGEST_TOKEN_FILE: u64 = 64 * 1024;
/// Microsoft's libraries gave up after 0.3 to 1 s, which was their most frequent complaint.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Where the Arc agent is installed on Linux.
const ARC_AGENT: &str = "/opt/azcmagent/bin/himds";
/// Names another folder for Arc's challenge files: for machines where Arc is installed elsewhere, and for tests.
const ARC_FOLDER_VARIABLE: &str = "O365_AGENT_ARC_TOKEN_DIRECTORY";

type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// One connection's way to the machine's identity.
pub(super) struct ManagedIdentity {
    environment: Environment,
    has_arc_agent: bool,
    client: OnceLock<Option<reqwest::Client>>,
    /// Failures in a row, which the documented waits go by.
    failures: AtomicUsize,
}

impl fmt::Debug for ManagedIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ManagedIdentity").field("failures", &self.failures).finish_non_exhaustive()
    }
}

impl ManagedIdentity {
    /// With the environment of this process.
    pub(super) fn of_process() -> Self {
        Self::new(Arc::new(|name| std::env::var(name).ok()), Path::new(ARC_AGENT).exists())
    }

    fn new(environment: Environment, has_arc_agent: bool) -> Self {
        Self { environment, has_arc_agent, client: OnceLock::new(), failures: AtomicUsize::new(0) }
    }

    /// Asks for a token once. `http` is the connection's client for token requests, which goes past every proxy here; it is
    /// for the exchange of Kubernetes.
    pub(super) async fn fetch(
        &self,
        connection: &Connection,
        http: &reqwest::Client,
        claims: Option<&str>,
        bound: Duration,
        clock: &Clock,
    ) -> Outcome {
        let wanted = match &connection.auth.credential {
            ClientCredential::ManagedIdentity(wanted) => *wanted,
            _ => None,
        };
        let variable = |name: &str| (self.environment)(name);
        let outcome = match Source::find(wanted, &variable, self.has_arc_agent) {
            Err(message) => denied(clock.now(), "identity_misconfigured", &message),
            Ok(Source::Kubernetes(workload)) => {
                return federated(&workload, connection, http, claims, bound, clock).await;
            }
            Ok(source) => self.ask(&source, connection, bound, clock).await,
        };
        match &outcome {
            Outcome::Refreshed(_) => self.failures.store(0, Ordering::Relaxed),
            Outcome::TryLater { .. } | Outcome::Denied(_) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        outcome
    }

    async fn ask(&self, source: &Source, connection: &Connection, bound: Duration, clock: &Clock) -> Outcome {
        let resource = connection.endpoints.graph.origin().ascii_serialization();
        let client_id = connection.auth.client_id.as_deref();
        let Some(request) = request::build(source, &resource, client_id) else {
            return denied(
                clock.now(),
                "identity_unsupported",
                "This managed identity source cannot be asked. Set another ManagedIdentitySource.",
            );
        };
        let pinned;
        let http = if let Source::ServiceFabric { thumbprint, .. } = source {
            // Made for each request: the platform may have exchanged its certificate, and it is asked a few times a day.
            pinned = transport::client_for_thumbprint(*thumbprint, CONNECT_TIMEOUT).ok();
            pinned.as_ref()
        } else {
            self.client.get_or_init(direct_client).as_ref()
        };
        let Some(http) = http else {
            return denied(
                clock.now(),
                "identity_unsupported",
                "The HTTP client could not be made. Check the host's CA certificates.",
            );
        };
        let is_arc = matches!(source, Source::Arc { .. });
        if client_id.is_some() && matches!(source, Source::ServiceFabric { .. }) {
            tracing::warn!(connection = %connection.name,
                "OAuthClientId is not used: which identity this Service Fabric application has was decided when it was deployed.");
        }
        let answered = match send(http, &request, None, bound).await {
            Ok(first) if is_arc && first.status == 401 => match self.proof(&first).await {
                Ok(proof) => send(http, &request, Some(&proof), bound).await,
                Err(message) => return denied(clock.now(), "identity_challenge_refused", &message),
            },
            answered => answered,
        };
        let failures = self.failures.load(Ordering::Relaxed);
        match answered {
            Ok(mut answered) => {
                let manners = Manners {
                    must_echo: is_arc,
                    not_found_is_final: matches!(source, Source::ServiceFabric { .. }),
                };
                let outcome = answer::classify(&answered, clock.now(), failures, client_id, manners);
                answered.body.zeroize();
                outcome
            }
            Err(error) if transport::shows_other_certificate(&error) => Outcome::TryLater {
                after: None,
                failure: failure(
                    clock.now(),
                    "identity_not_trusted",
                    "The server at IDENTITY_ENDPOINT does not show the certificate that IDENTITY_SERVER_THUMBPRINT names, so nothing was sent to it. Restart the application when the platform has exchanged its certificate; the agent tries again.",
                ),
            },
            Err(_) => Outcome::TryLater {
                after: None,
                failure: failure(
                    clock.now(),
                    "identity_unreachable",
                    "The managed identity service of this machine does not answer. Check that the agent runs on an Azure machine with a managed identity, or set ManagedIdentitySource; the agent tries again.",
                ),
            },
        }
    }

    async fn proof(&self, challenge: &Answered) -> Result<Secret, String> {
        let folder = (self.environment)(ARC_FOLDER_VARIABLE).map(PathBuf::from);
        let folder = folder.unwrap_or_else(|| PathBuf::from(challenge::TOKEN_FOLDER));
        let path = challenge::file_in(&challenge.headers, &folder)?;
        let read = tokio::task::spawn_blocking(move || challenge::read(&path)).await;
        read.unwrap_or_else(|_| {
            Err("Reading Azure Arc's challenge file broke off; the agent tries again.".to_owned())
        })
    }
}

/// No proxy, no redirects, no retries. Its own client, because a connection's proxy must not see the machine's proof.
fn direct_client() -> Option<reqwest::Client> {
    reqwest::Client::builder()
        .user_agent(concat!("o365-agent/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
        .ok()
}

async fn send(
    http: &reqwest::Client,
    request: &IdentityRequest,
    proof: Option<&Secret>,
    bound: Duration,
) -> Result<Answered, reqwest::Error> {
    let builder = match &request.form {
        None => http.get(request.url.clone()),
        Some(form) => http
            .post(request.url.clone())
            .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.clone()),
    };
    let (name, value) = &request.header;
    let builder = builder.header(*name, value.expose().as_str()).timeout(bound);
    let builder = match proof {
        None => builder,
        Some(proof) => builder.header(http::header::AUTHORIZATION, format!("Basic {}", proof.expose())),
    };
    let mut response = builder.send().await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = LARGEST_ANSWER - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == LARGEST_ANSWER {
            break;
        }
    }
    let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
    Ok(Answered { status, headers, body })
}

/// Kubernetes workload identity: the pod's own token is the client assertion. The file is read each time, because the
/// kubelet replaces it long before it ends.
async fn federated(
    workload: &Workload,
    connection: &Connection,
    http: &reqwest::Client,
    claims: Option<&str>,
    bound: Duration,
    clock: &Clock,
) -> Outcome {
    let auth = &connection.auth;
    let missing = |what: &str, variable: &str| {
        denied(
            clock.now(),
            "identity_misconfigured",
            &format!("Workload identity needs {what}. Set {what}, or let the webhook set {variable}."),
        )
    };
    let Some(client_id) = auth.client_id.clone().or_else(|| workload.client_id.clone()) else {
        return missing("OAuthClientId", "AZURE_CLIENT_ID");
    };
    let Some(tenant) = auth.tenant.clone().or_else(|| workload.tenant.clone()) else {
        return missing("AzureTenant", "AZURE_TENANT_ID");
    };
    let authority = &connection.endpoints.authority;
    let other = workload.authority.as_deref().and_then(|named| Url::parse(named.trim()).ok());
    if other.is_some_and(|other| other.origin() != authority.origin()) {
        tracing::warn!(connection = %connection.name, authority = %authority.origin().ascii_serialization(),
            "AZURE_AUTHORITY_HOST names another server than the connection. The pod's token goes to the connection's own; set AzureEnvironment or AuthorityHost if the other one is meant.");
    }
    let Some(url) = endpoint::token_url(authority, &tenant) else {
        return denied(
            clock.now(),
            "bad_tenant",
            "The tenant cannot stand in an address. Set AzureTenant to the tenant's domain or id.",
        );
    };
    let path = PathBuf::from(&workload.token_file);
    let token = match tokio::task::spawn_blocking(move || token_in(&path)).await {
        Ok(Ok(token)) => token,
        Ok(Err(message)) => return denied(clock.now(), "federated_token_unreadable", &message),
        Err(_) => {
            return denied(
                clock.now(),
                "federated_token_unreadable",
                "Reading the federated token broke off; the agent tries again.",
            );
        }
    };
    let client = ClientIdentity { client_id, tenant };
    let form = endpoint::form(connection, &client, Grant::ClientCredentials, None, claims);
    endpoint::exchange(http, connection, url, assertion::add_to_form(form, &token), bound, clock)
        .await
        .outcome
}

/// The federated token. The kubelet mounts it as a link, and the pod's volume protects it, not its own mode.
fn token_in(path: &Path) -> Result<Secret, String> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let bytes = files::read_bounded(&target, LARGEST_TOKEN_FILE).map_err(|error| {
        format!("The federated token (AZURE_FEDERATED_TOKEN_FILE) cannot be read. {error}")
    })?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    if text.trim().is_empty() || !text.trim().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{}: not a federated token. Check AZURE_FEDERATED_TOKEN_FILE.", path.display()));
    }
    Ok(Secret::from(text.trim()))
}
