//! Rows per second through the agent, as a ratio to a bare client on the same precomputed pages in the same run, and how
//! much of a page's latency is hidden. `cargo bench --bench rows` prints both; nothing here asserts a time.
//!
//! The bare client is a library call: reqwest, serde_json into a typed struct, JSON lines into a buffer. The agent does
//! the same work in a process of its own and adds one hop over its control port.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark prints and measures"
)]

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

const ROWS: usize = 100_000;
const PAGE: usize = 999;
const ROUNDS: usize = 7;
const LATENCY: Duration = Duration::from_millis(50);

/// A server of precomputed pages: its cost is a lookup and a write, so it is never the limit.
struct Server {
    port: u16,
    latency_ms: Arc<AtomicU64>,
}

impl Server {
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let pages: Arc<Vec<Bytes>> =
            Arc::new((0..ROWS.div_ceil(PAGE)).map(|page| render(port, page)).collect());
        let latency_ms = Arc::new(AtomicU64::new(0));
        let latency = latency_ms.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    stream.set_nodelay(true).unwrap();
                    let (pages, latency) = (pages.clone(), latency.clone());
                    tokio::spawn(async move {
                        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                            let (pages, latency) = (pages.clone(), latency.clone());
                            async move { Ok::<_, Infallible>(answer(&request, &pages, &latency).await) }
                        });
                        let _ended = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await;
                    });
                }
            });
        });
        Self { port, latency_ms }
    }
}

async fn answer(
    request: &hyper::Request<hyper::body::Incoming>,
    pages: &[Bytes],
    latency: &AtomicU64,
) -> hyper::Response<Full<Bytes>> {
    if request.uri().path().ends_with("/token") {
        let token = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"opaque"}"#;
        return json(Bytes::from_static(token.as_bytes()));
    }
    let delay = latency.load(Ordering::Relaxed);
    if delay > 0 {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let query = request.uri().query().unwrap_or_default();
    let page = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("$skiptoken="))
        .and_then(|page| page.parse().ok())
        .unwrap_or(0);
    json(pages.get(page).cloned().unwrap_or_default())
}

fn json(body: Bytes) -> hyper::Response<Full<Bytes>> {
    hyper::Response::builder().header("content-type", "application/json").body(Full::new(body)).unwrap()
}

fn render(port: u16, page: usize) -> Bytes {
    let last = (page + 1) * PAGE >= ROWS;
    let link = if last {
        String::new()
    } else {
        format!("\"@odata.nextLink\":\"http://127.0.0.1:{port}/v1.0/users?$skiptoken={}\",", page + 1)
    };
    let rows: Vec<String> = (page * PAGE..((page + 1) * PAGE).min(ROWS))
        .map(|n| {
            format!(
                "{{\"id\":\"6ea91a8d-e32e-41a1-b7bd-{n:012}\",\"displayName\":\"Person Number {n}\",\"givenName\":\"Person\",\"surname\":\"Number {n}\",\"userPrincipalName\":\"person{n}@contoso.onmicrosoft.com\",\"mail\":\"person{n}@contoso.onmicrosoft.com\",\"jobTitle\":\"Senior Engineer \\\"R&D\\\"\",\"officeLocation\":\"18/{}\",\"preferredLanguage\":\"en-US\",\"mobilePhone\":null,\"businessPhones\":[\"+1 425 555 0109\"]}}",
                n % 3000
            )
        })
        .collect();
    format!(
        "{{\"@odata.context\":\"http://127.0.0.1:{port}/v1.0/$metadata#users\",{link}\"value\":[{}]}}",
        rows.join(",")
    )
    .into()
}

/// What the bare client decodes: the same columns the agent is asked for.
#[derive(serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct User<'a> {
    id: &'a str,
    #[serde(borrow)]
    display_name: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    user_principal_name: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    mail: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    job_title: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    office_location: Option<std::borrow::Cow<'a, str>>,
}

#[derive(serde::Deserialize)]
struct Page<'a> {
    #[serde(rename = "@odata.nextLink")]
    next: Option<String>,
    #[serde(borrow)]
    value: Vec<User<'a>>,
}

const FIELDS: &str = r#"["id","displayName","userPrincipalName","mail","jobTitle","officeLocation"]"#;

fn bare(server: &Server) -> (usize, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let began = Instant::now();
        let mut url = Some(format!("http://127.0.0.1:{}/v1.0/users?$top=999", server.port));
        let (mut lines, mut out) = (0, Vec::with_capacity(1 << 20));
        while let Some(next) = url {
            let mut response =
                client.get(next).header("authorization", "Bearer opaque").send().await.unwrap();
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.unwrap() {
                body.extend_from_slice(&chunk);
            }
            let page: Page<'_> = serde_json::from_slice(&body).unwrap();
            out.clear();
            for user in &page.value {
                serde_json::to_writer(&mut out, user).unwrap();
                out.push(b'\n');
            }
            lines += std::hint::black_box(&out).iter().filter(|byte| **byte == b'\n').count();
            url = page.next;
        }
        (lines, began.elapsed())
    })
}

struct Agent {
    child: Child,
    folder: tempfile::TempDir,
}

impl Agent {
    fn start(server: &Server) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir(root.join("agent.d")).unwrap();
        let conf = format!(
            "[Agent]\nDropInDirectory={0}/agent.d\nStateDirectory={0}/state\n[ControlPort]\nListen=127.0.0.1:0\n[Logging]\nLevel=warn\n",
            root.display()
        );
        std::fs::write(root.join("j.conf"), conf).unwrap();
        let port = server.port;
        std::fs::write(
            root.join("agent.d/b.yaml"),
            format!("connections:\n  b:\n    AuthScheme: AzureServicePrincipal\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: c\n    OAuthClientSecret: s\n    AdvancedConfigurations:\n      AzureTenant: t\n      AzureEnvironment: CUSTOM\n      AuthorityHost: http://127.0.0.1:{port}\n      GraphEndpoint: http://127.0.0.1:{port}/v1.0\n"),
        )
        .unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_o365-agent"))
            .args(["run", "--config"])
            .arg(root.join("j.conf"))
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let agent = Self { child, folder };
        while !agent.read("control-address").ends_with('\n') {
            std::thread::sleep(Duration::from_millis(5));
        }
        agent
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("state").join(file)).unwrap_or_default()
    }

    /// One streamed query over a raw connection: the reader costs next to nothing.
    fn query(&self) -> (usize, Duration) {
        let (address, token) = (self.read("control-address"), self.read("control-token"));
        let body = format!("{{\"object\":\"Users\",\"fields\":{FIELDS}}}");
        let began = Instant::now();
        let mut stream = TcpStream::connect(address.trim()).unwrap();
        write!(
            stream,
            "POST /v1/connections/b/query HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\naccept: application/x-ndjson\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            address.trim(),
            token.trim(),
            body.len()
        )
        .unwrap();
        let (mut lines, mut buffer, mut first) = (0, vec![0; 1 << 18], true);
        loop {
            let length = stream.read(&mut buffer).unwrap();
            if length == 0 {
                break;
            }
            if first {
                assert!(
                    buffer.starts_with(b"HTTP/1.1 200"),
                    "{}",
                    String::from_utf8_lossy(&buffer[..length])
                );
                first = false;
            }
            lines += memchr::memmem::find_iter(&buffer[..length], b"{\"id\"").count();
        }
        (lines, began.elapsed())
    }

    fn memory_mib(&self, field: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _asked = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let server = Server::start();
    let agent = Agent::start(&server);
    agent.query();
    bare(&server);
    let idle = agent.memory_mib("VmRSS");
    let (mut ratios, mut bare_rates, mut agent_rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (count, took) = bare(&server);
        assert_eq!(count, ROWS);
        let (through, agent_took) = agent.query();
        // A search window at a buffer's end can miss a row's first bytes; more than a handful would be a real loss.
        assert!(through + 64 > ROWS, "{through} rows");
        bare_rates.push(ROWS as f64 / took.as_secs_f64());
        agent_rates.push(ROWS as f64 / agent_took.as_secs_f64());
        ratios.push(took.as_secs_f64() / agent_took.as_secs_f64());
    }
    println!(
        "rows/s: bare client {:.0}, agent {:.0} (medians of {ROUNDS}); ratio {:.2} (wanted: at least 0.60)",
        median(bare_rates),
        median(agent_rates),
        median(ratios)
    );
    println!(
        "memory: {idle:.1} MiB before, peak {:.1} MiB after {} rows",
        agent.memory_mib("VmHWM"),
        ROWS * (ROUNDS + 1)
    );

    server.latency_ms.store(u64::try_from(LATENCY.as_millis()).unwrap(), Ordering::Relaxed);
    let floor = LATENCY.as_secs_f64() * ROWS.div_ceil(PAGE) as f64;
    let of_floor = |took: Duration| 100.0 * took.as_secs_f64() / floor;
    let (mut bare_shares, mut agent_shares) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        bare_shares.push(of_floor(bare(&server).1));
        agent_shares.push(of_floor(agent.query().1));
    }
    println!(
        "with {LATENCY:?} a page, of pages × latency: bare client {:.1} %, agent {:.1} % (wanted: at most 105 %)",
        median(bare_shares),
        median(agent_shares)
    );
}
