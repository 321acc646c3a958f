//! A minimal HTTP/1.1 client on a plain socket, so that the tests see the bytes and no client library's kindness.
//! Never retries and never follows anything.
#![allow(dead_code)] // Each test file uses its own part of this.

use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }

    /// `error.code` of a Graph error.
    pub fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends a request on a connection of its own; `None` when the connection ends without a whole answer.
pub fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Option<Reply> {
    let rest = url.strip_prefix("http://").expect("the sandbox speaks plain HTTP");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(authority).expect("the sandbox listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let path = path.replace(' ', "%20").replace('"', "%22");
    let mut head = format!("{method} /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(problem) if problem.kind() == ErrorKind::ConnectionReset => {}
        Err(problem) => panic!("{problem}"),
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    // An answer with 204 has no length.
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or("0", |(_, value)| value);
    let promised = length.parse::<usize>().ok()?;
    (body.len() == promised).then_some(Reply { status, headers, body })
}

/// Percent-encodes everything but letters and digits.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

/// Posts a form to the token endpoint of a tenant.
pub fn token(sandbox: &o365_sandbox::Sandbox, tenant: &str, fields: &[(&str, &str)]) -> Reply {
    let form: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let url = format!("{}/{tenant}/oauth2/v2.0/token", sandbox.login_url());
    send("POST", &url, &[("content-type", "application/x-www-form-urlencoded")], &form.join("&"))
        .expect("the token endpoint answers")
}

/// A client with an access token.
pub struct Client {
    pub base: String,
    pub access_token: String,
}

impl Client {
    /// Signs the first user in.
    pub fn adele(sandbox: &o365_sandbox::Sandbox) -> Self {
        let tokens = sandbox.issue_delegated_tokens(&sandbox.first_user().upn);
        Self { base: sandbox.graph_url(), access_token: tokens.access_token }
    }

    /// The application on its own.
    pub fn app(sandbox: &o365_sandbox::Sandbox) -> Self {
        Self { base: sandbox.graph_url(), access_token: sandbox.issue_app_token().access_token }
    }

    /// Sends a request; a path is taken below `/v1.0`.
    pub fn try_send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Option<Reply> {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) };
        let authorization = format!("Bearer {}", self.access_token);
        let mut all = vec![("authorization", authorization.as_str())];
        all.extend_from_slice(headers);
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            all.push(("content-type", "application/json"));
        }
        send(method, &url, &all, body)
    }

    /// Like `try_send`, for a request that must be answered.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        self.try_send(method, path, headers, body).expect("Graph answers")
    }

    /// A plain GET.
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "")
    }

    /// Reads all pages and answers the rows.
    pub fn all(&self, path: &str, headers: &[(&str, &str)]) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let reply = self.send("GET", &path, headers, "");
            assert_eq!(reply.status, 200, "{path}: {}", reply.body);
            let page = reply.json();
            rows.extend(page["value"].as_array().unwrap().iter().cloned());
            next = page["@odata.nextLink"].as_str().map(str::to_owned);
        }
        rows
    }
}

/// An answer whose body is kept as bytes, as far as it came; the second says whether it came whole.
pub fn exchange(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<(Reply, Vec<u8>, bool)> {
    let rest = url.strip_prefix("http://").expect("the sandbox speaks plain HTTP");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(authority).expect("the sandbox listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut head = format!("{method} /{path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    // A server that cuts the connection may do so before everything is written.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    let promised =
        headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let whole = promised.is_none_or(|length: usize| length == body.len());
    let text = String::from_utf8_lossy(&body).into_owned();
    Some((Reply { status, headers, body: text }, body, whole))
}
