//! The agent against a certified OAuth server that knows nothing of Microsoft or of us: `oidc-provider` from npm, with
//! rotation and reuse detection. Skipped, with the reason printed, only where npm cannot install it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use http::Method;
use serde_json::{Value, json};

use crate::flows::{SIGN_IN, await_sign_in, start};
use crate::support::{Agent, Setup, client, eventually};

/// The version that the test was written for.
const PACKAGE: &str = "oidc-provider@9.13.3";

struct Provider {
    child: Child,
    origin: String,
    _output: BufReader<ChildStdout>,
}

impl Provider {
    /// Installs and starts it in `folder`.
    fn start(folder: &Path) -> Result<Self, String> {
        let folder = folder.join("provider");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("package.json"), r#"{"private": true, "type": "module"}"#).unwrap();
        std::fs::copy(
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sign_in/provider.mjs"),
            folder.join("provider.mjs"),
        )
        .unwrap();
        let installed = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--no-save", "--ignore-scripts", PACKAGE])
            .current_dir(&folder)
            .output()
            .map_err(|error| format!("npm cannot be run: {error}"))?;
        if !installed.status.success() {
            return Err(format!(
                "npm cannot install {PACKAGE}: {}",
                String::from_utf8_lossy(&installed.stderr)
            ));
        }
        let mut child = Command::new("node")
            .arg("provider.mjs")
            .current_dir(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("node cannot be run: {error}"))?;
        let mut origin = String::new();
        // Kept open: a warning that cannot be written would end the process.
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut origin).unwrap();
        assert!(origin.starts_with("http://"), "the provider did not start: {:?}", child.wait());
        Ok(Self { child, origin: origin.trim().to_owned(), _output: output })
    }

    async fn get(&self, path: &str) -> Value {
        let answer = client().get(format!("{}{path}", self.origin)).send().await.unwrap();
        crate::support::Answer::read(answer).await.expect(200)
    }

    /// Lets the person and the browser that the provider has built in open an address.
    async fn browse(&self, address: &str) -> String {
        let encoded: String = url::form_urlencoded::byte_serialize(address.as_bytes()).collect();
        self.get(&format!("/browse?url={encoded}")).await["end"].as_str().unwrap().to_owned()
    }

    fn connection(&self, scheme: &str, client: &str, scope: &str, more: &str) -> String {
        format!(
            "connections:\n  mail:\n    AuthScheme: {scheme}\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: {client}\n{more}    AdvancedConfigurations:\n      AzureEnvironment: CUSTOM\n      AuthorityHost: {}\n      GraphEndpoint: {}/v1.0\n      Scope: {scope}\n",
            self.origin, self.origin
        )
    }

    fn person(&self) -> String {
        self.connection("AzureAD", "agent", "openid", "    CallbackURL: http://127.0.0.1:0/back\n")
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _already_dead = self.child.kill();
        let _already_waited = self.child.wait();
    }
}

async fn refresh(agent: &Agent) -> u16 {
    agent.call(Method::POST, "/v1/connections/mail/refresh", &[], None).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_in_refresh_and_rotation_against_a_certified_server() {
    let folder = tempfile::tempdir().unwrap();
    let provider = match Provider::start(folder.path()) {
        Ok(provider) => provider,
        Err(reason) => return eprintln!("SKIPPED: {reason}"),
    };

    let setup = Setup::new().drop_in("m.yaml", &provider.person());
    let mut agent = Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "needs_sign_in").await;
    let address = start(&agent, "browser").await["authorizationUrl"].as_str().unwrap().to_owned();
    let back = provider.browse(&address).await;
    assert!(back.starts_with("http://127.0.0.1:") && back.contains("code="), "{back}");
    assert_eq!(client().get(&back).send().await.unwrap().status(), 200);
    await_sign_in(&agent, "done").await;
    for round in 0..5 {
        assert_eq!(refresh(&agent).await, 200, "round {round}");
    }
    agent.stop();
    let agent = Agent::spawn(setup.path(), "state", "", &[]);
    agent.await_state("mail", "ok").await;
    assert_eq!(refresh(&agent).await, 200, "the rotated token survived the restart");
    let seen = provider.get("/seen").await;
    assert_eq!(seen, json!({"refreshes": 6, "minted": 0, "errors": [], "revoked": 0}));

    // The server's reuse detection is real: a replayed token ends the grant, and the agent says what to do.
    assert_eq!(provider.get("/replay").await["status"], 400);
    assert_eq!(refresh(&agent).await, 409);
    eventually("a sign-in is offered", async || agent.get(SIGN_IN).await.json()["state"] == "offered").await;
    assert!(provider.get("/seen").await["revoked"].as_u64().unwrap() >= 1);

    let shown = start(&agent, "device_code").await;
    let (page, code) = (shown["verificationUri"].as_str().unwrap(), shown["userCode"].as_str().unwrap());
    assert_eq!(provider.browse(&format!("{page}?user_code={code}")).await, "200");
    await_sign_in(&agent, "done").await;
    assert_eq!(refresh(&agent).await, 200);

    let secret = "    OAuthClientSecret: 's~+ /=%&secret'\n";
    let service = provider.connection("AzureServicePrincipal", "service", "api:read", secret);
    let service = service.replace("      Scope", "      AzureTenant: contoso.onmicrosoft.com\n      Scope");
    let minting = Setup::new().drop_in("m.yaml", &service).start();
    minting.await_state("mail", "ok").await;
    assert_eq!(refresh(&minting).await, 200);
    assert_eq!(provider.get("/seen").await["minted"], 2);
}
