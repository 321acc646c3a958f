//! Bulk creation through the agent, as a ratio to one call at a time by a bare client on the same service in the same run.
//! `cargo bench --bench bulk -- 2000 50` (records, milliseconds of service time for each) prints one mailbox and twenty;
//! nothing here asserts a time. The service is the sandbox tenant in this process: at most four requests of one mailbox at
//! once, the parts of a batch counted one by one.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a benchmark prints and measures"
)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use o365_sandbox::{CONFIDENTIAL_CLIENT_ID, CONFIDENTIAL_CLIENT_SECRET, Sandbox, SandboxOptions};
use serde_json::json;

/// Calls of the bare client that are measured: every one takes the same time.
const ONE_BY_ONE: usize = 40;

fn main() {
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let count = numbers.first().copied().unwrap_or(2000);
    let latency = Duration::from_millis(numbers.get(1).copied().unwrap_or(50) as u64);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for mailboxes in [1, 20] {
            for keyed in [false, true] {
                measure(count, latency, mailboxes, keyed).await;
            }
        }
    });
}

async fn measure(count: usize, latency: Duration, mailboxes: u32, keyed: bool) {
    let options =
        SandboxOptions { contacts_per_mailbox: 0, page_latency: latency, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options);
    let single = one_by_one(&sandbox).await;
    let users: Vec<String> = (0..mailboxes).map(|number| sandbox.user(number).upn).collect();
    let body: String = (0..count)
        .map(|n| {
            let user = &users[n % users.len()];
            format!(
                "{}\n",
                json!({"givenName": format!("N{n}"), "displayName": format!("Bulk {n}"), "UserId": user})
            )
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let mut agent = start(&sandbox, folder.path());
    let state = folder.path().join("state");
    let address = std::fs::read_to_string(state.join("control-address")).unwrap();
    let token = std::fs::read_to_string(state.join("control-token")).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = client
        .post(format!(
            "http://{}/v1/connections/app/create?object=Contacts&continueOnError=true",
            address.trim()
        ))
        .bearer_token(token.trim())
        .header("content-type", "application/x-ndjson")
        .header("accept", "application/x-ndjson");
    if keyed {
        request = request.header("idempotency-key", "bench");
    }
    let began = Instant::now();
    let mut answer = request.body(body).send().await.unwrap();
    let mut results = Vec::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        results.extend_from_slice(&chunk);
    }
    let took = began.elapsed();
    let created = results.split(|byte| *byte == b'\n').filter(|line| {
        serde_json::from_slice::<serde_json::Value>(line).is_ok_and(|result| result["status"] == "created")
    });
    let created = created.count();
    let (different, doubled) = sandbox.created_names();
    let one_by_one = single.as_secs_f64() * count as f64;
    println!(
        "{count} contacts, {} ms each, {mailboxes} mailbox(es), {}: {:.1} s; one by one {one_by_one:.1} s ({:.1} ms a call); ratio {:.2}; created {created}, lost {}, doubled {doubled}; {} MiB peak",
        latency.as_millis(),
        if keyed { "with a key" } else { "without a key" },
        took.as_secs_f64(),
        single.as_secs_f64() * 1000.0,
        one_by_one / took.as_secs_f64(),
        (count + ONE_BY_ONE).saturating_sub(different),
        peak_mib(&agent),
    );
    agent.kill().unwrap();
    agent.wait().unwrap();
}

trait BearerToken {
    fn bearer_token(self, token: &str) -> Self;
}

impl BearerToken for reqwest::RequestBuilder {
    fn bearer_token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }
}

/// How long one call takes when the next waits for it, on one connection that is kept open.
async fn one_by_one(sandbox: &Sandbox) -> Duration {
    let token = sandbox.issue_app_token().access_token;
    let url = format!("{}/users/{}/contacts", sandbox.graph_url(), sandbox.first_user().upn);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let began = Instant::now();
    for n in 0..ONE_BY_ONE {
        let record = json!({"givenName": format!("S{n}"), "displayName": format!("Single {n}")});
        let mut answer = client
            .post(&url)
            .bearer_token(&token)
            .header("content-type", "application/json")
            .body(record.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
        while answer.chunk().await.unwrap().is_some() {}
    }
    began.elapsed() / u32::try_from(ONE_BY_ONE).unwrap()
}

fn start(sandbox: &Sandbox, folder: &std::path::Path) -> Child {
    let drop_ins = folder.join("agent.d");
    std::fs::create_dir(&drop_ins).unwrap();
    let connection = format!(
        "connections:\n  app:\n    AuthScheme: AzureServicePrincipal\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: {CONFIDENTIAL_CLIENT_ID}\n    OAuthClientSecret: '{CONFIDENTIAL_CLIENT_SECRET}'\n    AdvancedConfigurations:\n      AzureEnvironment: CUSTOM\n      AuthorityHost: {}\n      GraphEndpoint: {}\n      AzureTenant: {}\n",
        sandbox.login_url(),
        sandbox.graph_url(),
        sandbox.tenant_id()
    );
    std::fs::write(drop_ins.join("app.yaml"), connection).unwrap();
    let settings = folder.join("jitterbit.conf");
    let text = format!(
        "[Agent]\nDropInDirectory={0}/agent.d\nStateDirectory={0}/state\n[ControlPort]\nListen=127.0.0.1:0\n[Logging]\nLevel=warn\n",
        folder.display()
    );
    std::fs::write(&settings, text).unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_o365-agent"))
        .args(["run", "--config"])
        .arg(&settings)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    while !folder.join("state/control-address").exists() {
        assert!(agent.try_wait().unwrap().is_none(), "the agent ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    agent
}

fn peak_mib(agent: &Child) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", agent.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
