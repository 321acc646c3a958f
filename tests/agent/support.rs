//! What every test of the binary needs: a running agent in a folder of its own, calls to its control port, and waiting
//! for a condition with a deadline instead of sleeping.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use o365_sandbox::{
    CONFIDENTIAL_CLIENT_ID, CONFIDENTIAL_CLIENT_SECRET, IssuedTokens, Sandbox, SandboxOptions,
};
use serde_json::Value;

/// No condition of a test takes longer on a busy machine of two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The built binary.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_o365-agent");

/// A folder with everything one agent needs, before it is started.
#[derive(Debug)]
pub(crate) struct Setup {
    folder: tempfile::TempDir,
    conf: String,
    environment: Vec<(String, String)>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("o365-agent-test").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("agent.d")).unwrap();
        Self { folder, conf: String::new(), environment: Vec::new() }
    }

    /// Adds lines to `jitterbit.conf`; sections may be repeated neither here nor in the file.
    pub(crate) fn conf(mut self, lines: &str) -> Self {
        self.conf.push_str(lines);
        self.conf.push('\n');
        self
    }

    pub(crate) fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn drop_in(self, file: &str, text: &str) -> Self {
        std::fs::write(self.folder.path().join("agent.d").join(file), text).unwrap();
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the settings and starts the agent.
    pub(crate) fn start(self) -> Agent {
        let root = self.folder.path().to_owned();
        Agent::start_in(self.folder, &root, &self.conf, &self.environment)
    }
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    pub(crate) base: String,
    pub(crate) token: String,
    root: PathBuf,
    log: PathBuf,
    folder: Option<tempfile::TempDir>,
}

impl Agent {
    fn start_in(
        folder: tempfile::TempDir,
        root: &Path,
        conf: &str,
        environment: &[(String, String)],
    ) -> Self {
        let mut agent = Self::spawn(root, "state", conf, environment);
        agent.folder = Some(folder);
        agent
    }

    /// Starts an agent on an existing folder, with a state directory of that name in it.
    pub(crate) fn spawn(root: &Path, state: &str, conf: &str, environment: &[(String, String)]) -> Self {
        Self::spawn_through(&[], root, state, conf, environment)
    }

    /// As [`Agent::spawn`], by a command that becomes the agent: it is given the agent's own command line.
    pub(crate) fn spawn_through(
        through: &[&str],
        root: &Path,
        state: &str,
        conf: &str,
        environment: &[(String, String)],
    ) -> Self {
        let state_directory = root.join(state);
        let settings = root.join(format!("{state}.conf"));
        let logging = if conf.contains("[Logging]") { "" } else { "[Logging]\nFormat=json\nLevel=trace\n" };
        let control = if conf.contains("[ControlPort]") { "" } else { "[ControlPort]\nListen=127.0.0.1:0\n" };
        let agent = format!(
            "[Agent]\nDropInDirectory={}\nStateDirectory={}\n",
            root.join("agent.d").display(),
            state_directory.display()
        );
        std::fs::write(&settings, format!("{agent}{control}{logging}{conf}")).unwrap();
        let log = root.join(format!("{state}.log"));
        let _fresh = std::fs::remove_file(state_directory.join("control-address"));
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let line: Vec<&str> = through.iter().copied().chain([BINARY]).collect();
        let mut command = Command::new(line[0]);
        command
            .args(&line[1..])
            .arg("run")
            .arg("--config")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        for name in ["CREDENTIALS_DIRECTORY", "JITTERBIT_HOME", "JOURNAL_STREAM", "NOTIFY_SOCKET"] {
            command.env_remove(name);
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().unwrap();
        let mut agent = Self {
            child,
            base: String::new(),
            token: String::new(),
            root: root.to_owned(),
            log,
            folder: None,
        };
        let address = agent.await_file(&state_directory.join("control-address"));
        agent.base = format!("http://{}", address.trim());
        agent.token = std::fs::read_to_string(state_directory.join("control-token"))
            .unwrap_or_default()
            .trim()
            .to_owned();
        agent
    }

    fn await_file(&mut self, path: &Path) -> String {
        let began = Instant::now();
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => {}
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the agent ended with {status}:\n{}", self.log());
            }
            assert!(began.elapsed() < PATIENCE, "the agent did not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn drop_in_directory(&self) -> PathBuf {
        self.root.join("agent.d")
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        self.root.join("state.conf")
    }

    /// Everything the agent has logged.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Sends SIGTERM and waits for the end; answers the exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        self.signal("TERM");
        self.await_end()
    }

    pub(crate) fn await_end(&mut self) -> i32 {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(began.elapsed() < PATIENCE, "the agent did not stop:\n{}", tail(&self.log()));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Every test runs its agent at TRACE, so every test is a search for secrets: the tenant's access tokens are JWTs (their
    /// headers begin with `alg` or `typ`; less than that stands in one of many thousand random ids by chance), its refresh
    /// tokens begin alike, and the client secret is known.
    fn expect_no_secret_in_the_log(&self) {
        let log = self.log();
        for secret in
            ["eyJhbGci", "eyJ0eXAi", "1.AVYA", "AgABAwEAAAA", CONFIDENTIAL_CLIENT_SECRET, &self.token]
        {
            if let Some(at) = log.find(secret).filter(|_| !secret.is_empty()) {
                let start = log[..at].rfind('\n').map_or(0, |line| line + 1);
                panic!("a secret is in the log: {}…", &log[start..at + 4]);
            }
        }
    }

    /// A figure of `/proc/PID/status` in KiB, such as `VmRSS` or `VmHWM`.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(http::Method::GET, path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(http::Method::POST, path, &[], Some(body)).await
    }

    pub(crate) async fn call(
        &self,
        method: http::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = client()
            .request(method, format!("{}{path}", self.base))
            .header("authorization", format!("Bearer {}", self.token));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        Answer::read(
            request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}\n{}", tail(&self.log()))),
        )
        .await
    }

    /// Makes the named system calls of the agent take so long, as a disk or a network file system that is slow does; nothing,
    /// when this process may not trace it.
    pub(crate) async fn slow_down(&self, calls: &str, by: Duration) -> Option<Slowed> {
        let delay = format!("inject={calls}:delay_enter={}", by.as_micros());
        let strace = Command::new("strace")
            .args(["-f", "-q", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e", &delay])
            .args(["-p", &self.pid().to_string()])
            .stderr(Stdio::null())
            .spawn();
        let mut slowed = Slowed(strace.ok()?);
        let mut refused = false;
        eventually("strace is attached", async || {
            refused = slowed.0.try_wait().unwrap().is_some();
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
            refused || !status.contains("TracerPid:\t0\n")
        })
        .await;
        (!refused).then_some(slowed)
    }

    /// The state word of a connection, or `absent`.
    pub(crate) async fn state_of(&self, name: &str) -> String {
        let list = self.get("/v1/connections").await.json();
        let found = list["connections"]
            .as_array()
            .unwrap()
            .iter()
            .find(|connection| connection["name"] == name)
            .cloned();
        found.map_or_else(
            || "absent".to_owned(),
            |connection| connection["state"].as_str().unwrap().to_owned(),
        )
    }

    /// Waits until a connection has that state.
    pub(crate) async fn await_state(&self, name: &str, state: &str) {
        eventually(&format!("connection {name} is {state}"), async || self.state_of(name).await == state)
            .await;
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the end of the agent's log\n{}", tail(&self.log()));
        }
        let _already_dead = self.child.kill();
        let _already_waited = self.child.wait();
        if !std::thread::panicking() {
            self.expect_no_secret_in_the_log();
        }
    }
}

/// Calls are slow while it lives.
#[derive(Debug)]
pub(crate) struct Slowed(Child);

impl Drop for Slowed {
    fn drop(&mut self) {
        let _already_ended = self.0.kill();
        let _already_waited = self.0.wait();
    }
}

fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) async fn read(mut response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        Self { status, headers, body }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON ({}): {}", self.status, self.text()))
    }

    /// The JSON body, after a check of the status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Value::Null } else { self.json() }
    }
}

/// A client that behaves like curl: no pool shared between tests, no proxy.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
}

/// A small tenant.
pub(crate) fn tenant() -> Sandbox {
    Sandbox::start(SandboxOptions::default())
}

/// The lines that point a connection at the tenant.
fn endpoints(sandbox: &Sandbox) -> String {
    format!(
        "      AzureEnvironment: CUSTOM\n      AuthorityHost: {}\n      GraphEndpoint: {}\n      AzureTenant: {}\n",
        sandbox.login_url(),
        sandbox.graph_url(),
        sandbox.tenant_id()
    )
}

/// A delegated connection with a fresh sign-in of the first user; `more` is added below Advanced Configurations.
pub(crate) fn delegated(sandbox: &Sandbox, name: &str, more: &str) -> String {
    delegated_with(sandbox, name, &sandbox.issue_delegated_tokens(&sandbox.first_user().upn), more)
}

/// As [`delegated`], with tokens that are given.
pub(crate) fn delegated_with(sandbox: &Sandbox, name: &str, tokens: &IssuedTokens, more: &str) -> String {
    format!(
        "connections:\n  {name}:\n    AuthScheme: AzureAD\n    InitiateOAuth: REFRESH\n    OAuthAccessToken: {}\n    OAuthRefreshToken: {}\n    AdvancedConfigurations:\n{}{more}",
        tokens.access_token,
        tokens.refresh_token,
        endpoints(sandbox)
    )
}

/// An application's connection with its client secret, acting on the first user's mailbox.
pub(crate) fn application(sandbox: &Sandbox, name: &str, more: &str) -> String {
    format!(
        "connections:\n  {name}:\n    AuthScheme: AzureServicePrincipal\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: {CONFIDENTIAL_CLIENT_ID}\n    OAuthClientSecret: '{CONFIDENTIAL_CLIENT_SECRET}'\n    AdvancedConfigurations:\n{}{more}",
        endpoints(sandbox)
    )
}
