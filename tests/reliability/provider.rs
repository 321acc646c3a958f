//! An identity provider of the strict kind: refresh tokens rotate; the one before the newest may be sent again for a
//! grace time after its first use; any other reuse ends the sign-in. Can keep requests waiting and let them go together.
//! Written from RFC 6749 sections 5 and 6 and RFC 9700 section 4.14.2; shares no code with the agent.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What a provider has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Refresh tokens issued.
    pub(crate) issued: u64,
    /// Requests with the token before the newest, within its grace time: their earlier answer was lost.
    pub(crate) repeated: u64,
    /// Requests with a used token that ended the sign-in.
    pub(crate) reused: u64,
}

/// One sign-in at a port of its own, so that the agent keeps no two of them waiting for each other.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) port: u16,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    gate: Arc<Gate>,
    grace: Duration,
    /// What stands in the answers about the access token's life.
    lifetime: String,
    sign_in: Mutex<SignIn>,
}

#[derive(Debug, Default)]
struct SignIn {
    current: String,
    previous: Option<(String, Instant)>,
    used: HashSet<String>,
    seen: Seen,
}

/// A gate that all providers of a test share.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    waiting: usize,
}

impl Gate {
    pub(crate) fn close(&self) {
        self.state.lock().unwrap().closed = true;
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().closed = false;
        self.changed.notify_all();
    }

    /// Waits until so many requests stand before the closed gate.
    pub(crate) fn await_waiting(&self, count: usize) {
        self.await_that(|state| state.waiting == count);
    }

    fn await_that(&self, mut condition: impl FnMut(&GateState) -> bool) {
        let began = Instant::now();
        let mut state = self.state.lock().unwrap();
        while !condition(&state) {
            assert!(began.elapsed() < crate::support::PATIENCE * 2, "{state:?}");
            state = self.changed.wait_timeout(state, Duration::from_millis(200)).unwrap().0;
        }
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.waiting += 1;
        self.changed.notify_all();
        while state.closed {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn passed(&self) {
        self.state.lock().unwrap().waiting -= 1;
        self.changed.notify_all();
    }
}

impl Provider {
    /// `lifetime`: members of the token answer, such as `"expires_in":3600,"refresh_in":1`.
    pub(crate) fn start(gate: &Arc<Gate>, grace: Duration, lifetime: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            gate: Arc::clone(gate),
            grace,
            lifetime: lifetime.to_owned(),
            sign_in: Mutex::new(SignIn { current: "rt-0".to_owned(), ..SignIn::default() }),
        });
        let serving = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let inner = Arc::clone(&serving);
                std::thread::spawn(move || inner.serve(stream));
            }
        });
        Self { port, inner }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.inner.sign_in.lock().unwrap().seen
    }

    /// A drop-in with the first refresh token of this sign-in.
    pub(crate) fn drop_in(&self, name: &str) -> String {
        let address = format!("http://127.0.0.1:{}", self.port);
        format!(
            "connections:\n  {name}:\n    AuthScheme: AzureAD\n    InitiateOAuth: REFRESH\n    OAuthRefreshToken: rt-0\n    AdvancedConfigurations:\n      AzureEnvironment: CUSTOM\n      AuthorityHost: {address}\n      GraphEndpoint: {address}/v1.0\n      AzureTenant: tenant\n      OAuthClientId: client\n"
        )
    }
}

impl Inner {
    fn serve(&self, mut stream: TcpStream) {
        let (mut buffer, mut chunk) = (Vec::new(), [0u8; 4096]);
        loop {
            while let Some((body, whole)) = request(&buffer) {
                buffer.drain(..whole);
                // The token counts as used when the answer goes, so the gate takes nothing off the grace time.
                self.gate.pass();
                let answer = self.answer(&body);
                let written = stream.write_all(answer.as_bytes());
                self.gate.passed();
                if written.is_err() {
                    return;
                }
            }
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return,
                Ok(count) => buffer.extend_from_slice(&chunk[..count]),
            }
        }
    }

    fn answer(&self, body: &str) -> String {
        let given = url::form_urlencoded::parse(body.as_bytes())
            .find(|(name, _)| name == "refresh_token")
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default();
        let mut sign_in = self.sign_in.lock().unwrap();
        let in_grace = sign_in
            .previous
            .as_ref()
            .is_some_and(|(token, used)| *token == given && used.elapsed() <= self.grace);
        if given != sign_in.current && !in_grace {
            sign_in.seen.reused += u64::from(sign_in.used.contains(&given));
            sign_in.current = String::new();
            sign_in.previous = None;
            return http(400, r#"{"error":"invalid_grant","error_description":"The token has been used."}"#);
        }
        sign_in.seen.issued += 1;
        sign_in.seen.repeated += u64::from(in_grace);
        let number = sign_in.seen.issued;
        sign_in.current = format!("rt-{number}");
        if !in_grace {
            sign_in.previous = Some((given.clone(), Instant::now()));
            sign_in.used.insert(given);
        }
        http(
            200,
            &format!(
                r#"{{"token_type":"Bearer",{},"access_token":"at-{number}","refresh_token":"rt-{number}"}}"#,
                self.lifetime
            ),
        )
    }
}

fn http(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The body of the first whole request in the buffer, and how long the request is.
fn request(buffer: &[u8]) -> Option<(String, usize)> {
    let text = String::from_utf8_lossy(buffer);
    let end = text.find("\r\n\r\n")? + 4;
    let length: usize = text[..end]
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0);
    (buffer.len() >= end + length).then(|| (text[end..end + length].to_owned(), end + length))
}
