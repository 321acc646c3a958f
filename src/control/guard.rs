//! The guard: decides whether a request may reach a handler at all. One pure function over what the request says about
//! itself and how it came in; it runs before routing, so a new route cannot forget it. Never reads a body.
//!
//! Why each check is there: the bearer token keeps out other users of this host; the exact Host keeps out DNS
//! rebinding (a rebound same-origin GET carries no Origin at all); Origin and Sec-Fetch-Site keep out web pages in an
//! operator's browser; JSON on writes keeps out HTML forms.

use std::net::SocketAddr;

use http::{HeaderMap, Method, header};

use crate::secret::Secret;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Over TCP, on this local address.
    Tcp(SocketAddr),
    /// Over the unix socket, from a process of this user.
    Unix {
        /// The peer's user id by `SO_PEERCRED`; absent when the kernel did not tell.
        user: Option<u32>,
    },
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The Host header is missing, doubled, or not this port's own name.
    Host,
    /// The Origin header is not this port's own origin.
    Origin,
    /// The browser says that another site made the request.
    FetchSite,
    /// The user at the other end of the unix socket may not use it.
    Peer,
    /// No bearer token, or a wrong one.
    Token,
    /// A body that is not JSON.
    MediaType,
}

impl Refusal {
    /// The word used in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Origin => "origin",
            Self::FetchSite => "fetch_site",
            Self::Peer => "peer",
            Self::Token => "token",
            Self::MediaType => "media_type",
        }
    }
}

/// Paths that answer without a token, each with one word.
pub const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// Who may come in.
#[derive(Debug)]
pub struct Guard {
    token: Secret,
    users: Vec<u32>,
}

impl Guard {
    /// A guard that wants `token` on TCP, and on the unix socket one of `users` (root and the agent's own are added).
    pub fn new(token: Secret, users: &[u32]) -> Self {
        let mut users = users.to_vec();
        users.extend([0, rustix::process::geteuid().as_raw()]);
        Self { token, users }
    }

    /// Judges one request.
    ///
    /// # Errors
    /// The first check that fails, in an order that tells a stranger the least.
    pub fn judge(&self, via: Via, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        self.check_host(via, headers)?;
        self.check_origin(via, headers)?;
        check_fetch_site(headers)?;
        if !OPEN_PATHS.contains(&path) {
            self.check_caller(via, headers)?;
        }
        check_media_type(method, path, headers)
    }

    fn check_host(&self, via: Via, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = only_value(headers, &header::HOST).ok_or(Refusal::Host)?;
        if own_hosts(via).iter().any(|own| own == host) { Ok(()) } else { Err(Refusal::Host) }
    }

    fn check_origin(&self, via: Via, headers: &HeaderMap) -> Result<(), Refusal> {
        if !headers.contains_key(header::ORIGIN) {
            return Ok(());
        }
        let origin = only_value(headers, &header::ORIGIN).ok_or(Refusal::Origin)?;
        let own =
            origin.strip_prefix("http://").is_some_and(|host| own_hosts(via).iter().any(|own| own == host));
        if own { Ok(()) } else { Err(Refusal::Origin) }
    }

    fn check_caller(&self, via: Via, headers: &HeaderMap) -> Result<(), Refusal> {
        if let Via::Unix { user } = via {
            return match user {
                Some(user) if self.users.contains(&user) => Ok(()),
                _ => Err(Refusal::Peer),
            };
        }
        let given = only_value(headers, &header::AUTHORIZATION)
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Secret::from(token.trim()))
            .ok_or(Refusal::Token)?;
        if given == self.token { Ok(()) } else { Err(Refusal::Token) }
    }
}

/// The names under which this port may be called. Exact text: a trailing dot or another port is another name.
fn own_hosts(via: Via) -> Vec<String> {
    match via {
        Via::Tcp(address) => ["127.0.0.1", "localhost", "[::1]"]
            .iter()
            .flat_map(|name| {
                // Port 80 is left out of Host by HTTP itself.
                let bare = (address.port() == 80).then(|| (*name).to_owned());
                bare.into_iter().chain([format!("{name}:{}", address.port())])
            })
            .collect(),
        Via::Unix { .. } => vec!["localhost".to_owned()],
    }
}

fn check_fetch_site(headers: &HeaderMap) -> Result<(), Refusal> {
    if !headers.contains_key("sec-fetch-site") {
        return Ok(());
    }
    match only_value(headers, &header::HeaderName::from_static("sec-fetch-site")) {
        Some("same-origin" | "none") => Ok(()),
        _ => Err(Refusal::FetchSite),
    }
}

fn check_media_type(method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let writes = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let has_body = headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0");
    if !writes || (!has_body && !headers.contains_key(header::CONTENT_TYPE)) {
        return Ok(());
    }
    let media_type = only_value(headers, &header::CONTENT_TYPE).ok_or(Refusal::MediaType)?;
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let known: &[&str] = match path.rsplit('/').next() {
        Some("create" | "update" | "delete" | "run") => {
            &["application/json", "application/x-ndjson", "application/ndjson", "text/csv"]
        }
        Some("execute") => &["application/json", "application/octet-stream"],
        _ => &["application/json"],
    };
    // None of them can be sent by a form, nor by a script of a web page without asking first (CORS), which is refused.
    if known.iter().any(|known| essence.eq_ignore_ascii_case(known)) {
        Ok(())
    } else {
        Err(Refusal::MediaType)
    }
}

/// The header's value when it occurs exactly once and is text; two different Host headers must not both be believed.
fn only_value<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(via: Via, method: &Method, path: &str, headers: &[(&'static str, &str)]) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        Guard::new(Secret::from("right"), &[1234]).judge(via, method, path, &map)
    }

    #[test]
    fn the_tcp_table() {
        let tcp = Via::Tcp("127.0.0.1:7365".parse().unwrap());
        let (host, token) = (("host", "127.0.0.1:7365"), ("authorization", "Bearer right"));
        let rows: &[(&[(&str, &str)], Result<(), Refusal>)] = &[
            (&[host, token], Ok(())),
            (&[("host", "localhost:7365"), token], Ok(())),
            (&[("host", "[::1]:7365"), ("authorization", "bearer right")], Ok(())),
            (&[token], Err(Refusal::Host)),
            (&[("host", "127.0.0.1"), token], Err(Refusal::Host)),
            (&[("host", "localhost.:7365"), token], Err(Refusal::Host)),
            (&[("host", "evil.test:7365"), token], Err(Refusal::Host)),
            (&[("host", "127.0.0.1:7366"), token], Err(Refusal::Host)),
            (&[host, ("host", "evil.test"), token], Err(Refusal::Host)),
            (&[host], Err(Refusal::Token)),
            (&[host, ("authorization", "Bearer wrong")], Err(Refusal::Token)),
            (&[host, ("authorization", "Basic right")], Err(Refusal::Token)),
            (&[host, ("authorization", "right")], Err(Refusal::Token)),
            (&[host, token, ("origin", "http://127.0.0.1:7365")], Ok(())),
            (&[host, token, ("origin", "null")], Err(Refusal::Origin)),
            (&[host, token, ("origin", "https://127.0.0.1:7365")], Err(Refusal::Origin)),
            (&[host, token, ("origin", "http://evil.test")], Err(Refusal::Origin)),
            (&[host, token, ("sec-fetch-site", "same-origin")], Ok(())),
            (&[host, token, ("sec-fetch-site", "none")], Ok(())),
            (&[host, token, ("sec-fetch-site", "cross-site")], Err(Refusal::FetchSite)),
            (&[host, token, ("sec-fetch-site", "same-site")], Err(Refusal::FetchSite)),
        ];
        for (headers, expected) in rows {
            assert_eq!(judge(tcp, &Method::GET, "/v1/agent", headers), *expected, "{headers:?}");
        }
        assert_eq!(judge(tcp, &Method::GET, "/healthz", &[host]), Ok(()));
        assert_eq!(judge(tcp, &Method::GET, "/healthz", &[("host", "evil.test")]), Err(Refusal::Host));
        assert_eq!(judge(tcp, &Method::GET, "/healthz/", &[host]), Err(Refusal::Token));
    }

    #[test]
    fn the_unix_socket_trusts_users_not_tokens() {
        let host = ("host", "localhost");
        for (user, expected) in [
            (Some(0), Ok(())),
            (Some(1234), Ok(())),
            (Some(77), Err(Refusal::Peer)),
            (None, Err(Refusal::Peer)),
        ] {
            let given = judge(
                Via::Unix { user },
                &Method::GET,
                "/v1/agent",
                &[host, ("authorization", "Bearer right")],
            );
            assert_eq!(given, expected, "{user:?}");
        }
        assert_eq!(
            judge(Via::Unix { user: Some(0) }, &Method::GET, "/", &[("host", "evil")]),
            Err(Refusal::Host)
        );
    }

    #[test]
    fn writes_with_a_body_are_json() {
        let tcp = Via::Tcp("127.0.0.1:80".parse().unwrap());
        let base = [("host", "127.0.0.1"), ("authorization", "Bearer right")];
        let rows: &[(&[(&str, &str)], Result<(), Refusal>)] = &[
            (&[], Ok(())),
            (&[("content-length", "0")], Ok(())),
            (&[("content-length", "2"), ("content-type", "application/json")], Ok(())),
            (&[("content-length", "2"), ("content-type", "Application/JSON; charset=utf-8")], Ok(())),
            (&[("content-length", "2")], Err(Refusal::MediaType)),
            (&[("transfer-encoding", "chunked")], Err(Refusal::MediaType)),
            (&[("content-length", "2"), ("content-type", "text/plain")], Err(Refusal::MediaType)),
            (&[("content-type", "application/x-www-form-urlencoded")], Err(Refusal::MediaType)),
        ];
        for (extra, expected) in rows {
            let headers: Vec<_> = base.iter().chain(extra.iter()).copied().collect();
            assert_eq!(judge(tcp, &Method::POST, "/v1/agent/reload", &headers), *expected, "{extra:?}");
        }
        let content = [base[0], base[1], ("content-type", "application/octet-stream")];
        let at = |path: &str| judge(tcp, &Method::POST, path, &content);
        assert_eq!(at("/v1/connections/mail/execute"), Ok(()));
        assert_eq!(at("/v1/connections/mail/query"), Err(Refusal::MediaType));
        for (path, media_type, expected) in [
            ("/v1/connections/a/create", "text/csv; charset=utf-8", Ok(())),
            ("/v1/connections/a/delete", "application/x-ndjson", Ok(())),
            ("/v1/connections/a/create", "text/plain", Err(Refusal::MediaType)),
            ("/v1/connections/a/query", "text/csv", Err(Refusal::MediaType)),
        ] {
            let headers: Vec<_> = base.iter().copied().chain([("content-type", media_type)]).collect();
            assert_eq!(judge(tcp, &Method::POST, path, &headers), expected, "{path} {media_type}");
        }
    }
}
