//! The token endpoint: its address, the forms posted to it, and one bounded exchange. Never puts a secret into an
//! address, never follows a redirect, never logs or returns a body.

use std::time::Duration;

use url::Url;
use url::form_urlencoded::Serializer;

use crate::clock::Clock;
use crate::connection::{ClientCredential, Connection};

use super::answer::{self, Outcome};
use super::model::TokenFailure;
use super::plan::Grant;
use super::transport::{explain, refused_by_proxy};

/// The largest answer that is read, decoded. Real ones are below 20 KiB.
const LARGEST_ANSWER: usize = 256 * 1024;

/// Who asks: what the configuration or the tokens themselves say about client and tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientIdentity {
    pub(super) client_id: String,
    pub(super) tenant: String,
}

/// An exchange's outcome, with what the answer's Date header said about our clock.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) outcome: Outcome,
    /// Seconds that the server's clock is ahead of ours.
    pub(super) clock_skew: Option<i64>,
}

/// `{AuthorityHost}/{AzureTenant}/oauth2/v2.0/token`; the tenant is one path segment, whatever it contains.
pub(super) fn token_url(authority: &Url, tenant: &str) -> Option<Url> {
    // The url crate drops dot segments, which would silently address another tenant.
    if tenant.is_empty() || tenant == "." || tenant == ".." {
        return None;
    }
    let mut url = authority.clone();
    url.path_segments_mut().ok()?.pop_if_empty().extend([tenant, "oauth2", "v2.0", "token"]);
    Some(url)
}

/// The form for `grant`, `application/x-www-form-urlencoded`; `proof` is the refresh token or the code, `claims` a claims
/// challenge to answer. What else a sign-in needs is added with [`add`].
pub(super) fn form(
    connection: &Connection,
    client: &ClientIdentity,
    grant: Grant,
    proof: Option<&str>,
    claims: Option<&str>,
) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("client_id", &client.client_id);
    let scope = connection.auth.scope.as_deref().map(str::trim).filter(|scope| !scope.is_empty());
    match grant {
        Grant::RefreshToken => {
            form.append_pair("grant_type", "refresh_token");
            form.append_pair("refresh_token", proof.unwrap_or_default());
            // Without a scope Entra renews what was granted. With one but without offline_access it would answer
            // without a new refresh token, and the connection would die with the old one.
            if let Some(scope) = scope {
                form.append_pair("scope", &with_offline_access(scope));
            }
        }
        Grant::ClientCredentials | Grant::ManagedIdentity => {
            form.append_pair("grant_type", "client_credentials");
            form.append_pair(
                "scope",
                &scope.map_or_else(|| default_scope(&connection.endpoints.graph), str::to_owned),
            );
        }
        // Without a scope both give what the sign-in was started for.
        Grant::AuthorizationCode => {
            form.append_pair("grant_type", "authorization_code");
            form.append_pair("code", proof.unwrap_or_default());
        }
        Grant::DeviceCode => {
            form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
            form.append_pair("device_code", proof.unwrap_or_default());
        }
    }
    match &connection.auth.credential {
        // A certificate's assertion is added by `proof`, which may read files.
        ClientCredential::None | ClientCredential::Certificate(_) | ClientCredential::ManagedIdentity(_) => {}
        ClientCredential::Secret(secret) => {
            form.append_pair("client_secret", secret.expose());
        }
    }
    if let Some(claims) = claims {
        form.append_pair("claims", claims);
    }
    form.finish()
}

/// Adds fields to a form.
pub(super) fn add(form: &mut String, fields: &[(&str, &str)]) {
    let mut more = Serializer::new(std::mem::take(form));
    more.extend_pairs(fields);
    *form = more.finish();
}

pub(super) fn with_offline_access(scope: &str) -> String {
    if scope.split_whitespace().any(|one| one.eq_ignore_ascii_case("offline_access")) {
        return scope.to_owned();
    }
    format!("{scope} offline_access")
}

/// Tokens of one cloud are useless in another, so the scope follows the Graph host.
pub(super) fn default_scope(graph: &Url) -> String {
    format!("{}/.default", graph.origin().ascii_serialization())
}

/// Where `connection` asks for tokens: its own `OAuthAccessTokenURL`, else the tenant's usual address.
pub(super) fn token_url_of(connection: &Connection, tenant: &str) -> Option<Url> {
    connection.sign_in_urls.token.clone().or_else(|| token_url(&connection.endpoints.authority, tenant))
}

/// Posts `form` and classifies what comes back. An answer that got lost counts as `TryLater` like a request that never
/// left: Entra keeps a used refresh token in force, so the same one is simply sent again.
pub(super) async fn exchange(
    client: &reqwest::Client,
    connection: &Connection,
    url: Url,
    form: String,
    bound: Duration,
    clock: &Clock,
) -> Exchange {
    match post(client, url.clone(), form, bound).await {
        Ok(Answered { status, headers, body }) => {
            let now = clock.now();
            let outcome = match refused_by_proxy(connection, &url).filter(|_| status == 407) {
                Some(trouble) => {
                    Outcome::TryLater { after: None, failure: failure(trouble.code, &trouble.message, clock) }
                }
                None => answer::classify(status, &headers, &body, now),
            };
            let clock_skew =
                answer::server_time(&headers).map(|server| server.as_seconds() - now.as_seconds());
            Exchange { outcome, clock_skew }
        }
        Err(error) => Exchange {
            outcome: Outcome::TryLater { after: None, failure: no_answer(&error, connection, &url, clock) },
            clock_skew: None,
        },
    }
}

/// An answer of the login server.
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    /// Wiped when dropped: there may be tokens in it.
    pub(super) body: zeroize::Zeroizing<Vec<u8>>,
}

/// Posts `form` and reads the answer, both within `bound`.
pub(super) async fn post(
    client: &reqwest::Client,
    url: Url,
    form: String,
    bound: Duration,
) -> Result<Answered, reqwest::Error> {
    let mut response = client
        .post(url)
        .header(http::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(http::header::ACCEPT, "application/json")
        .timeout(bound)
        .body(form)
        .send()
        .await?;
    let mut body = zeroize::Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await? {
        // An answer this long is cut and then not parsable, which is the right verdict on it.
        let room = LARGEST_ANSWER - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == LARGEST_ANSWER {
            break;
        }
    }
    let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
    Ok(Answered { status, headers, body })
}

/// Why there was no answer, without the address (it names the tenant) and without anything that was sent.
pub(super) fn no_answer(
    error: &reqwest::Error,
    connection: &Connection,
    url: &Url,
    clock: &Clock,
) -> TokenFailure {
    if let Some(trouble) = explain(error, connection, url) {
        let message = format!("The token endpoint was not asked. {} The agent tries again.", trouble.message);
        return failure(trouble.code, &message, clock);
    }
    let (code, message) = if error.is_connect() {
        (
            "endpoint_unreachable",
            "The token endpoint cannot be reached. Check the network, name resolution, the proxy and AuthorityHost; the agent tries again.",
        )
    } else if error.is_timeout() {
        (
            "endpoint_timeout",
            "The token endpoint did not answer in time. Check the network and the proxy; the agent tries again.",
        )
    } else {
        (
            "answer_lost",
            "The connection to the token endpoint broke before the answer was complete. Nothing needs to be done; the agent tries again with the same token.",
        )
    };
    failure(code, message, clock)
}

fn failure(code: &str, message: &str, clock: &Clock) -> TokenFailure {
    TokenFailure {
        code: code.to_owned(),
        aadsts: None,
        correlation_id: None,
        message: message.to_owned(),
        at: clock.now(),
        retry_at: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::connection;
    use super::*;

    fn client() -> ClientIdentity {
        ClientIdentity { client_id: "id-1".to_owned(), tenant: "t".to_owned() }
    }

    #[test]
    fn every_cloud_has_its_own_servers_and_its_own_scope() {
        for (cloud, token, scope) in [
            (
                "GLOBAL",
                "https://login.microsoftonline.com/t/oauth2/v2.0/token",
                "https://graph.microsoft.com/.default",
            ),
            (
                "USGOVT",
                "https://login.microsoftonline.us/t/oauth2/v2.0/token",
                "https://graph.microsoft.us/.default",
            ),
            (
                "USGOVTDOD",
                "https://login.microsoftonline.us/t/oauth2/v2.0/token",
                "https://dod-graph.microsoft.us/.default",
            ),
            (
                "CHINA",
                "https://login.partner.microsoftonline.cn/t/oauth2/v2.0/token",
                "https://microsoftgraph.chinacloudapi.cn/.default",
            ),
        ] {
            let endpoints = crate::connection::endpoints::cloud(cloud).unwrap();
            let of_cloud = connection("a").with(|connection| connection.endpoints = endpoints).finish();
            assert_eq!(token_url_of(&of_cloud, "t").unwrap().as_str(), token, "{cloud}");
            let sent = form(&of_cloud, &client(), Grant::ClientCredentials, None, None);
            let sent: std::collections::BTreeMap<_, _> =
                url::form_urlencoded::parse(sent.as_bytes()).collect();
            assert_eq!(sent["scope"], scope, "{cloud}");
        }
        let own = Url::parse("https://login.microsoftonline.com/other/token").unwrap();
        let other =
            connection("a").with(|connection| connection.sign_in_urls.token = Some(own.clone())).finish();
        assert_eq!(token_url_of(&other, "t"), Some(own));
    }

    #[test]
    fn the_tenant_is_one_segment() {
        let authority = Url::parse("https://login.microsoftonline.com/").unwrap();
        let url = |tenant: &str| token_url(&authority, tenant).map(|url| url.to_string());
        assert_eq!(
            url("contoso.onmicrosoft.com").as_deref(),
            Some("https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token")
        );
        assert_eq!(
            url("a/b?c#d").as_deref(),
            Some("https://login.microsoftonline.com/a%2Fb%3Fc%23d/oauth2/v2.0/token")
        );
        assert_eq!((url(""), url("."), url("..")), (None, None, None));
        let below = Url::parse("http://127.0.0.1:9411/entra/").unwrap();
        assert_eq!(
            token_url(&below, "t").unwrap().as_str(),
            "http://127.0.0.1:9411/entra/t/oauth2/v2.0/token"
        );
    }

    #[test]
    fn secrets_are_form_encoded_and_scopes_follow_the_rules() {
        let plain = connection("a").finish();
        assert_eq!(
            form(&plain, &client(), Grant::RefreshToken, Some("r+t/=%&"), None),
            "client_id=id-1&grant_type=refresh_token&refresh_token=r%2Bt%2F%3D%25%26"
        );
        let secret = connection("a")
            .with(|connection| {
                connection.auth.credential = ClientCredential::Secret("s~+ &é".into());
                connection.auth.scope = Some("Mail.Read".to_owned());
            })
            .finish();
        assert_eq!(
            form(&secret, &client(), Grant::RefreshToken, Some("rt"), Some("{}")),
            "client_id=id-1&grant_type=refresh_token&refresh_token=rt&scope=Mail.Read+offline_access&client_secret=s%7E%2B+%26%C3%A9&claims=%7B%7D"
        );
        let minted = connection("a")
            .with(|connection| {
                connection.auth.credential = ClientCredential::Secret("s".into());
                connection.endpoints.graph = Url::parse("https://graph.microsoft.us/v1.0/").unwrap();
            })
            .finish();
        assert_eq!(
            form(&minted, &client(), Grant::ClientCredentials, None, None),
            "client_id=id-1&grant_type=client_credentials&scope=https%3A%2F%2Fgraph.microsoft.us%2F.default&client_secret=s"
        );
        assert_eq!(with_offline_access("Mail.Read OFFLINE_ACCESS"), "Mail.Read OFFLINE_ACCESS");
    }
}
