//! What a connection costs while nothing happens: starts the agent with many generated connections on a small token
//! server and prints the time until it is ready and until every connection has its token, then memory and CPU per 1,000
//! connections at rest. `cargo bench --bench connections -- 10000`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for people"
)]

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// As many as stay below the 256 KiB of a drop-in.
const PER_FILE: usize = 400;
const AT_REST: Duration = Duration::from_secs(60);

fn main() {
    let count = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(1000);
    let (port, served) = serve_tokens();
    for connections in [0, count] {
        measure(connections, port, &served);
    }
}

fn measure(count: usize, port: u16, served: &Arc<AtomicUsize>) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    write_drop_ins(&folder.path().join("agent.d"), count, port);
    let settings = folder.path().join("jitterbit.conf");
    let text = format!(
        "[Agent]\nDropInDirectory={0}/agent.d\nStateDirectory={0}/state\n[ControlPort]\nListen=127.0.0.1:0\n[Logging]\nLevel=warn\n",
        folder.path().display()
    );
    std::fs::write(&settings, text).unwrap();
    served.store(0, Ordering::SeqCst);
    let began = Instant::now();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_o365-agent"))
        .args(["run", "--config"])
        .arg(&settings)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !state.join("control-address").exists() {
        assert!(agent.try_wait().unwrap().is_none(), "the agent ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    let ready = began.elapsed();
    while served.load(Ordering::SeqCst) < count {
        std::thread::sleep(Duration::from_millis(20));
    }
    let all_tokens = began.elapsed();
    std::thread::sleep(Duration::from_secs(10)); // the last commits
    let before = cpu_seconds(&agent);
    std::thread::sleep(AT_REST);
    let cpu = (cpu_seconds(&agent) - before) / AT_REST.as_secs_f64() * 100.0;
    println!(
        "{count:>6} connections: ready after {:.2} s, all tokens after {:.1} s, {} threads; at rest {:.1} MiB resident, {cpu:.2} % of one CPU",
        ready.as_secs_f64(),
        all_tokens.as_secs_f64(),
        status(&agent, "Threads:"),
        status(&agent, "VmRSS:") as f64 / 1024.0,
    );
    if count > 0 {
        let thousands = count as f64 / 1000.0;
        println!(
            "       per 1,000: {:.2} MiB, {:.3} % of one CPU (with what an empty agent takes)",
            status(&agent, "VmRSS:") as f64 / 1024.0 / thousands,
            cpu / thousands
        );
    }
    agent.kill().unwrap();
    agent.wait().unwrap();
}

fn write_drop_ins(folder: &Path, count: usize, port: u16) {
    std::fs::create_dir(folder).unwrap();
    for (file, first) in (0..count).step_by(PER_FILE).enumerate() {
        let mut text = String::from("connections:\n");
        for number in first..count.min(first + PER_FILE) {
            write!(
                text,
                "  c{number}:\n    AuthScheme: AzureServicePrincipal\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: app-{number}\n    OAuthClientSecret: s3cret-{number}\n    AdvancedConfigurations:\n      AzureEnvironment: CUSTOM\n      AuthorityHost: http://127.0.0.1:{port}\n      GraphEndpoint: http://127.0.0.1:{port}/v1.0\n      AzureTenant: t{}.onmicrosoft.com\n",
                number % 100
            )
            .unwrap();
        }
        std::fs::write(folder.join(format!("{file:04}.yaml")), text).unwrap();
    }
}

fn status(agent: &Child, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// User and system time, in seconds.
fn cpu_seconds(agent: &Child) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", agent.id())).unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / 100.0
}

/// A token server that says yes to everything, one thread a connection.
fn serve_tokens() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, served) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&served);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counter = Arc::clone(&counter);
            std::thread::spawn(move || answer(stream, &counter));
        }
    });
    (port, served)
}

fn answer(mut stream: TcpStream, served: &AtomicUsize) {
    let (mut buffer, mut chunk) = (Vec::new(), [0u8; 4096]);
    let body = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"a-token-of-the-bench"}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    loop {
        let text = String::from_utf8_lossy(&buffer).to_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text
                .split("content-length:")
                .nth(1)
                .and_then(|rest| rest.lines().next()?.trim().parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if buffer.len() >= whole {
                buffer.drain(..whole);
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
                served.fetch_add(1, Ordering::SeqCst);
                continue;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}
