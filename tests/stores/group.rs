//! Agents of a group on PostgreSQL, with the provider that revokes a sign-in when a refresh token is used twice.

use std::path::Path;
use std::time::{Duration, Instant};

use o365_sandbox::{Fault, FaultAction, FaultTarget, Rotation, Sandbox, SandboxOptions};
use serde_json::json;

use crate::cluster::{Bouncer, Cluster};
use crate::support::{Agent, Setup, delegated, eventually};

fn strict() -> Sandbox {
    Sandbox::start(SandboxOptions { rotation: Rotation::Strict, ..SandboxOptions::default() })
}

fn conf(key: &Path, address: &str, more: &str) -> String {
    format!(
        "[Logging]\nFormat=json\nLevel=info\n[TokenStore]\nBackend=postgresql\nGroup=blue\nKeyFile={}\nConnection={address}\n{more}\n",
        key.display()
    )
}

const NEAR: &str = "Tls=disable";
const SHORT: &str = "Tls=disable\nLeaseSeconds=3\n[Refresh]\nRequestTimeoutSeconds=1\nBackoffBaseSeconds=1\nBackoffCapSeconds=2";

fn agents(count: usize, setup: &Setup, conf: &str) -> Vec<Agent> {
    (0..count).map(|number| Agent::spawn(setup.path(), &format!("agent{number}"), conf, &[])).collect()
}

async fn refresh(agent: &Agent) -> u16 {
    agent.call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.status
}

/// Forced refreshes on all agents at once until the provider has seen that many.
async fn refresh_until(agents: &[Agent], sandbox: &Sandbox, posts: u64) {
    let began = Instant::now();
    while sandbox.stats().token_posts < posts {
        assert!(began.elapsed() < Duration::from_secs(240), "{:?}", sandbox.stats());
        let all = futures_util::future::join_all(agents.iter().map(refresh)).await;
        assert!(all.iter().all(|status| *status == 200), "{all:?}");
    }
}

async fn all_serve(agents: &[Agent], sandbox: &Sandbox) {
    assert_eq!(sandbox.stats().refresh_reuses, 0, "{:?}", sandbox.stats());
    for agent in agents {
        let query = json!({"object": "Messages", "fields": ["id"], "limit": 1});
        agent.post("/v1/connections/mail/query", query).await.expect(200);
    }
}

fn posts() -> u64 {
    let nightly = std::env::var_os("O365_AGENT_NIGHTLY").map(|_| 2000);
    let wanted = std::env::var("O365_AGENT_REFRESHES").ok().and_then(|count| count.parse().ok());
    wanted.or(nightly).unwrap_or(150)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_agents_of_a_group_never_use_a_refresh_token_twice() {
    let (cluster, sandbox) = (Cluster::start(), strict());
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let key = setup.path().join("key");
    let agents = agents(5, &setup, &conf(&key, &cluster.address(), NEAR));
    refresh_until(&agents, &sandbox, posts()).await;
    all_serve(&agents, &sandbox).await;
    // Siblings hear of a new token without asking: no look is due for 37 s.
    let began = Instant::now();
    let told =
        agents[0].call(http::Method::POST, "/v1/connections/mail/refresh", &[], None).await.expect(200);
    let newest = told["token"]["tokenGeneration"].as_u64().unwrap();
    for agent in &agents[1..] {
        eventually("the sibling has the new token", async || {
            agent.get("/v1/connections/mail").await.json()["token"]["tokenGeneration"].as_u64()
                >= Some(newest)
        })
        .await;
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert!(!cluster.log().contains("advisory"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_in_transaction_mode_stands_between() {
    let (cluster, sandbox) = (Cluster::start(), strict());
    let bouncer = Bouncer::start(&cluster);
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let key = setup.path().join("key");
    let pooled = agents(4, &setup, &conf(&key, &bouncer.address(), NEAR));
    let direct = format!("{NEAR}\nListenConnection={}", cluster.address());
    let mut all = pooled;
    all.push(Agent::spawn(setup.path(), "direct", &conf(&key, &bouncer.address(), &direct), &[]));
    refresh_until(&all, &sandbox, posts() / 2).await;
    all_serve(&all, &sandbox).await;
    eventually("the direct one listens", async || all[4].log().contains("Listening for tokens")).await;
    eventually("the pooled ones poll", async || all[0].log().contains("Notifications do not come through"))
        .await;
}

/// How long a stopped holder stands still after its siblings have gone on: a minute in all at night.
fn standstill() -> Duration {
    let nightly = std::env::var_os("O365_AGENT_NIGHTLY").is_some();
    Duration::from_secs(if nightly { 60 } else { 0 })
}

/// kill -9 and SIGSTOP of the holder while its request hangs: the siblings go on when the lease has lapsed, and the holder
/// finds its commit refused when it wakes.
async fn take_over_from_dead_and_stopped_holders(address: &str, rounds: usize) {
    let sandbox = strict();
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let key = setup.path().join("key");
    let conf = conf(&key, address, SHORT);
    let mut agents = agents(5, &setup, &conf);
    for round in 0..rounds {
        let holder = round % 5;
        // An agent that has not heard of its siblings' newest token would take that over instead of asking for one.
        assert_eq!(refresh(&agents[holder]).await, 200);
        let posts = sandbox.stats().token_posts;
        sandbox.inject(Fault { target: FaultTarget::Token, times: 1, action: FaultAction::Hang });
        let call = crate::support::client()
            .post(format!("{}/v1/connections/mail/refresh", agents[holder].base))
            .header("authorization", format!("Bearer {}", agents[holder].token));
        let asking = tokio::spawn(call.send());
        eventually("the holder has asked", async || sandbox.stats().token_posts > posts).await;
        let stopped = round % 2 == 0;
        agents[holder].signal(if stopped { "STOP" } else { "KILL" });
        let next = &agents[(holder + 1) % 5];
        let began = Instant::now();
        eventually("a sibling has refreshed", async || refresh(next).await == 200).await;
        let took = began.elapsed();
        eprintln!(
            "round {round}: {} and taken over after {took:?}",
            if stopped { "stopped" } else { "killed" }
        );
        assert!(took < Duration::from_secs(15), "{took:?}");
        if stopped {
            // The siblings live on meanwhile, and rotate.
            while began.elapsed() < standstill() {
                assert_eq!(refresh(next).await, 200);
                tokio::time::sleep(Duration::from_secs(1)).await; // the standstill itself
            }
            agents[holder].signal("CONT");
        } else {
            agents[holder].await_end();
            agents[holder] = Agent::spawn(setup.path(), &format!("agent{holder}"), &conf, &[]);
        }
        asking.abort();
        let back = &agents[holder];
        eventually("the holder is well again", async || refresh(back).await == 200).await;
    }
    all_serve(&agents, &sandbox).await;
    eprintln!("{} refreshes, {} reuses", sandbox.stats().token_posts, sandbox.stats().refresh_reuses);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_killed_or_stopped_is_taken_over() {
    let cluster = Cluster::start();
    take_over_from_dead_and_stopped_holders(&cluster.address(), 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_behind_a_pooler_that_is_killed_or_stopped_is_taken_over() {
    let cluster = Cluster::start();
    let bouncer = Bouncer::start(&cluster);
    take_over_from_dead_and_stopped_holders(&bouncer.address(), 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_degrades_and_heals() {
    let (mut cluster, sandbox) = (Cluster::start(), strict());
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let key = setup.path().join("key");
    let agents = agents(2, &setup, &conf(&key, &cluster.address(), NEAR));
    for agent in &agents {
        agent.await_state("mail", "ok").await;
    }
    cluster.stop();
    for agent in &agents {
        agent.await_state("mail", "degraded").await;
        let view = agent.get("/v1/connections/mail").await.expect(200);
        assert_eq!(view["token"]["lastError"]["code"], "store_failed", "{view}");
        assert!(
            view["token"]["lastError"]["message"]
                .as_str()
                .unwrap()
                .contains("Tokens that are valid stay in use"),
            "{view}"
        );
    }
    let before = sandbox.stats().token_posts;
    assert_eq!(refresh(&agents[0]).await, 503);
    assert_eq!(sandbox.stats().token_posts, before, "no refresh without the lease");
    all_serve(&agents, &sandbox).await;
    cluster.resume();
    let began = Instant::now();
    for agent in &agents {
        agent.await_state("mail", "ok").await;
    }
    eprintln!("healed after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    refresh_until(&agents, &sandbox, before + 4).await;
    all_serve(&agents, &sandbox).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_without_the_store_is_made_only_when_the_operator_says_so() {
    let mut cluster = Cluster::start();
    let sandbox = Sandbox::start(SandboxOptions::default());
    let setup = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let key = setup.path().join("key");
    let conf = conf(&key, &cluster.address(), "Tls=disable\nRefreshWithoutStore=true");
    let agent = Agent::spawn(setup.path(), "one", &conf, &[]);
    agent.await_state("mail", "ok").await;
    assert_eq!(refresh(&agent).await, 200);
    cluster.stop();
    let before = sandbox.stats().token_posts;
    assert_eq!(refresh(&agent).await, 200, "served from memory");
    assert_eq!(sandbox.stats().token_posts, before + 1);
    agent.await_state("mail", "degraded").await;
    cluster.resume();
    agent.await_state("mail", "ok").await;
    eventually("saved", async || cluster.sql("SELECT generation FROM o365_agent_tokens") == "3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_required_and_the_server_is_checked() {
    let setup = Setup::new();
    let folder = setup.path().to_owned();
    let certificate = |name: &str| folder.join(name);
    // An authority and a server certificate for `localhost`.
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt &&
        openssl req -newkey rsa:2048 -nodes -subj /CN=db -keyout server.key -out server.csr &&
        echo subjectAltName=DNS:localhost > names &&
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt";
    let made = std::process::Command::new("sh").args(["-c", script]).current_dir(&folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let cluster = Cluster::start_with("ssl=on", "hostssl all all 127.0.0.1/32 scram-sha-256", |data| {
        for name in ["server.key", "server.crt"] {
            std::fs::copy(certificate(name), data.join(name)).unwrap();
        }
        std::fs::set_permissions(
            data.join("server.key"),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
    });
    cluster.sql("ALTER ROLE agent PASSWORD 'canary-pw'");
    let sandbox = strict();
    let setup = setup.drop_in("m.yaml", &delegated(&sandbox, "mail", ""));
    let (key, port) = (setup.path().join("key"), cluster.port);
    let root = format!("TlsRootCertificate={}", certificate("ca.crt").display());
    let rows = [
        ("verify", "localhost", format!("Tls=verify-full\n{root}\nPassword=canary-pw"), "ok"),
        ("require", "127.0.0.1", "Tls=require\nPassword=canary-pw".to_owned(), "ok"),
        ("name", "127.0.0.1", format!("Tls=verify-full\n{root}\nPassword=canary-pw"), "degraded"),
        ("untrusted", "localhost", "Tls=verify-full\nPassword=canary-pw".to_owned(), "degraded"),
        ("plain", "127.0.0.1", "Tls=disable\nPassword=canary-pw".to_owned(), "degraded"),
        ("password", "127.0.0.1", "Tls=require\nPassword=canary-wrong".to_owned(), "degraded"),
    ];
    for (name, host, more, state) in rows {
        let address = format!("host={host} hostaddr=127.0.0.1 port={port} user=agent dbname=tokens");
        let agent = Agent::spawn(setup.path(), name, &conf(&key, &address, &more), &[]);
        agent.await_state("mail", state).await;
        let view = agent.get("/v1/connections/mail").await.text();
        assert!(!view.contains("canary-") && !agent.log().contains("canary-"), "{name}: {view}");
        eprintln!("{name}: {view}");
    }
}
