//! Addresses that Graph hands out for contents: pre-signed, on another host, good for a while and for one content only.
//! A request to one never carries the token, and nothing here can put it on: there is no header for it and no access to
//! it. The address is a secret itself, so it is never logged and never in an error.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use url::{Host, Url};

use super::CallContext;
use super::GraphError;
use super::body::{describe, has_no_body};
use super::bounds::{Stop, bounded};
use super::checked_url::check_text;
use super::client::GraphClient;

/// Longest address, in bytes. Upload addresses of drives have two to three thousand.
const LONGEST: usize = 32 * 1024;

/// An address outside the Graph root that needs no token.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PresignedUrl(Url);

/// The host only: the query is worth the content.
impl std::fmt::Debug for PresignedUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PresignedUrl({})", self.host())
    }
}

impl PresignedUrl {
    /// Checks an address as Graph gave it; a relative one is resolved against `base`, where it came from. It is https;
    /// plain http only on loopback, and only where the connection's own Graph root is plain http on loopback too.
    ///
    /// # Errors
    /// [`GraphError::BadAnswer`] that says what is wrong, without the address.
    pub(super) fn parse(root: &Url, base: &Url, link: &str) -> Result<Self, GraphError> {
        let refuse = |what: &str| GraphError::BadAnswer {
            what: format!("the address it gives for the content {what}"),
        };
        if link.is_empty() || link.len() > LONGEST {
            return Err(refuse("is empty or longer than 32 KiB"));
        }
        check_text(link).map_err(refuse)?;
        let url = base.join(link).map_err(|_| refuse("is not a URL"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("has user information"));
        }
        match url.scheme() {
            "https" if url.host().is_some() => Ok(Self(url)),
            "http" if root.scheme() == "http" && is_loopback(root) && is_loopback(&url) => Ok(Self(url)),
            _ => Err(refuse("is not https")),
        }
    }

    pub(super) fn as_url(&self) -> &Url {
        &self.0
    }

    fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// A literal loopback address or `localhost`.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// Why a pre-signed address gave no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// No connection could be made.
    NotSent(String),
    /// It was sent, or may have been.
    Lost(String),
    /// The caller stopped.
    Stopped(Stop),
}

/// A request to a pre-signed address.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    pub(super) url: &'a PresignedUrl,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Option<Bytes>,
    /// Longest wait for the head of the answer, sending included.
    pub(super) time: Duration,
    /// Whether to make a new connection.
    pub(super) fresh: bool,
}

impl GraphClient {
    /// Sends to a pre-signed address, once, through the connection's proxy and certificate check. Never follows a redirect.
    pub(super) async fn ask_presigned(
        &self,
        ask: Ask<'_>,
        context: &CallContext,
    ) -> Result<reqwest::Response, NoAnswer> {
        let (method, length) = (ask.method.clone(), ask.body.as_ref().map(Bytes::len));
        let mut request = reqwest::Request::new(ask.method, ask.url.as_url().clone());
        *request.headers_mut() = headers(ask.headers);
        match ask.body.filter(|body| !body.is_empty()) {
            Some(body) => *request.body_mut() = Some(body.into()),
            None if ask_changes(&method) => has_no_body(&mut request),
            None => {}
        }
        let sent = tokio::time::timeout(ask.time, self.http(ask.fresh).execute(request));
        let answer = match bounded(context, sent).await {
            Err(stop) => Err(NoAnswer::Stopped(stop)),
            Ok(Err(_)) => {
                Err(NoAnswer::Lost(format!("no answer came within {} seconds", ask.time.as_secs())))
            }
            Ok(Ok(Err(error))) if error.is_connect() => Err(NoAnswer::NotSent(describe(error))),
            Ok(Ok(Err(error))) => Err(NoAnswer::Lost(describe(error))),
            Ok(Ok(Ok(response))) => Ok(response),
        };
        let status = answer.as_ref().ok().map(reqwest::Response::status);
        let outcome = status.map_or("no_answer", class);
        self.metrics().graph_request(self.connection().name.as_str(), outcome);
        tracing::debug!(connection = %self.connection().name, %method, host = ask.url.host(), length,
            status = status.map(|status| status.as_u16()), outcome, request_id = %context.request_id,
            "Request to a pre-signed address.");
        answer
    }
}

fn ask_changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

/// The named headers. Names are constants of this stage; a value that no header can hold is left out, because all of them
/// only narrow what is asked for.
fn headers(named: Vec<(HeaderName, String)>) -> HeaderMap {
    let value = |(name, text): (HeaderName, String)| Some((name, HeaderValue::from_str(&text).ok()?));
    named.into_iter().filter_map(value).collect()
}

fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_https_and_the_stand_ins_loopback_are_taken() {
        let cloud = Url::parse("https://graph.microsoft.com/v1.0/").unwrap();
        let here = Url::parse("http://127.0.0.1:9420/v1.0/").unwrap();
        for (root, link, taken) in [
            (&cloud, "https://contoso.sharepoint.com/_layouts/download?tempauth=x", true),
            (&cloud, "/v1.0/relative", true),
            (&cloud, "//other.example/x", true),
            (&cloud, "http://contoso.sharepoint.com/x", false),
            (&cloud, "http://127.0.0.1/x", false),
            (&cloud, "http://169.254.169.254/metadata", false),
            (&cloud, "ftp://x/y", false),
            (&cloud, "file:///etc/passwd", false),
            (&cloud, "https://user:pass@evil.example/x", false),
            (&cloud, "https://a.example/x#y", false),
            (&cloud, "https://a.example/x\r\ny", false),
            (&cloud, "", false),
            (&here, "http://127.0.0.1:9999/upload", true),
            (&here, "http://localhost:9999/upload", true),
            (&here, "http://[::1]:9999/upload", true),
            (&here, "http://10.0.0.1/upload", false),
            (&here, "https://elsewhere.example/upload", true),
        ] {
            let parsed = PresignedUrl::parse(root, root, link);
            assert_eq!(parsed.is_ok(), taken, "{link}: {parsed:?}");
            if let Err(error) = parsed {
                assert!(!error.to_string().contains("evil"), "{error}");
            }
        }
        let shown = format!("{:?}", PresignedUrl::parse(&cloud, &cloud, "https://h.example/p?sig=canary"));
        assert!(shown.contains("h.example") && !shown.contains("canary"), "{shown}");
    }
}
