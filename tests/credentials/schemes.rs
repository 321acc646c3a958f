//! Every auth scheme with every value of InitiateOAuth: what is sent, what the status says, and what happens when the
//! access token ends.

use std::time::Duration;

use o365_sandbox::{CONFIDENTIAL_CLIENT_ID, CONFIDENTIAL_CLIENT_SECRET, Sandbox, SandboxOptions};

use crate::files::Files;
use crate::support::{Setup, eventually};

/// What each cell is to come to: the grants on the wire, and the state once the given or first token has ended.
struct Cell {
    scheme: &'static str,
    initiate: &'static str,
    credential: &'static str,
    gives_tokens: bool,
    sent: &'static str,
    at_first: &'static str,
    after_end: &'static str,
}

#[rustfmt::skip]
const CELLS: &[Cell] = &[
    Cell { scheme: "AzureAD", initiate: "OFF", credential: "", gives_tokens: true, sent: "", at_first: "ok", after_end: "needs_sign_in" },
    Cell { scheme: "AzureAD", initiate: "REFRESH", credential: "", gives_tokens: true, sent: "refresh_token", at_first: "ok", after_end: "ok" },
    Cell { scheme: "AzureAD", initiate: "GETANDREFRESH", credential: "", gives_tokens: true, sent: "refresh_token", at_first: "ok", after_end: "ok" },
    Cell { scheme: "AzureServicePrincipal", initiate: "OFF", credential: "secret", gives_tokens: true, sent: "", at_first: "ok", after_end: "needs_sign_in" },
    Cell { scheme: "AzureServicePrincipal", initiate: "REFRESH", credential: "secret", gives_tokens: false, sent: "client_credentials", at_first: "ok", after_end: "ok" },
    Cell { scheme: "AzureServicePrincipal", initiate: "GETANDREFRESH", credential: "secret", gives_tokens: false, sent: "client_credentials", at_first: "ok", after_end: "ok" },
    Cell { scheme: "AzureServicePrincipal", initiate: "OFF", credential: "certificate", gives_tokens: true, sent: "", at_first: "ok", after_end: "needs_sign_in" },
    Cell { scheme: "AzureServicePrincipal", initiate: "REFRESH", credential: "certificate", gives_tokens: false, sent: "client_credentials assertion", at_first: "ok", after_end: "ok" },
    Cell { scheme: "AzureServicePrincipal", initiate: "GETANDREFRESH", credential: "certificate", gives_tokens: false, sent: "client_credentials assertion", at_first: "ok", after_end: "ok" },
    Cell { scheme: "AzureServicePrincipalCert", initiate: "OFF", credential: "certificate", gives_tokens: true, sent: "", at_first: "ok", after_end: "needs_sign_in" },
    Cell { scheme: "AzureServicePrincipalCert", initiate: "REFRESH", credential: "certificate", gives_tokens: false, sent: "client_credentials assertion", at_first: "ok", after_end: "ok" },
    Cell { scheme: "AzureServicePrincipalCert", initiate: "GETANDREFRESH", credential: "certificate", gives_tokens: false, sent: "client_credentials assertion", at_first: "ok", after_end: "ok" },
    Cell { scheme: "AzureMSI", initiate: "", credential: "", gives_tokens: false, sent: "", at_first: "ok", after_end: "ok" },
];

/// Long enough to be seen in use on a busy machine, short enough to wait for its end.
const GIVEN_LIFE: Duration = Duration::from_secs(8);

fn connection(cell: &Cell, sandbox: &Sandbox, certificate: &str) -> String {
    let mut text = format!(
        "connections:\n  cell:\n    AuthScheme: {}\n    AzureEnvironment: CUSTOM\n    AuthorityHost: {}\n    GraphEndpoint: {}\n",
        cell.scheme,
        sandbox.login_url(),
        sandbox.graph_url()
    );
    let mut line = |name: &str, value: &str| text.push_str(&format!("    {name}: '{value}'\n"));
    if !cell.initiate.is_empty() {
        line("InitiateOAuth", cell.initiate);
    }
    match cell.credential {
        "secret" => line("OAuthClientSecret", CONFIDENTIAL_CLIENT_SECRET),
        "certificate" => {
            line("OAuthJWTCertType", "PEMKEY_FILE");
            line("OAuthJWTCert", certificate);
        }
        _ => {}
    }
    if cell.scheme.starts_with("AzureService") {
        line("OAuthClientId", CONFIDENTIAL_CLIENT_ID);
        line("AzureTenant", &sandbox.tenant_id());
    }
    if cell.gives_tokens {
        let tokens = sandbox.issue_delegated_tokens_for(&sandbox.first_user().upn, GIVEN_LIFE);
        line("OAuthAccessToken", &tokens.access_token);
        if cell.initiate != "OFF" {
            line("OAuthRefreshToken", &tokens.refresh_token);
        }
    }
    text
}

#[test]
fn every_cell_of_scheme_and_initiate() {
    let files = Files::make();
    // Side by side, because each waits for the end of a token.
    std::thread::scope(|scope| {
        for cell in CELLS {
            let files = &files;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(walk(cell, files, &files.path("both.pem").display().to_string()));
            });
        }
    });
}

async fn walk(cell: &Cell, files: &Files, certificate: &str) {
    let shown = format!("{} {} {}", cell.scheme, cell.initiate, cell.credential);
    let options = SandboxOptions { access_token_lifetime: GIVEN_LIFE, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options);
    sandbox.register_certificate(&files.text("cert.pem"));
    let agent = Setup::new()
        .environment("AZURE_POD_IDENTITY_AUTHORITY_HOST", sandbox.login_url())
        .drop_in("c.yaml", &connection(cell, &sandbox, certificate))
        .start();
    agent.await_state("cell", cell.at_first).await;
    let requests = || sandbox.token_requests().len() + sandbox.identity_requests().len();
    if cell.after_end == "ok" {
        // A second request for the renewing ones: the first token's end has been met.
        eventually(&format!("{shown} renews"), async || requests() >= 2).await;
        agent.await_state("cell", "ok").await;
    } else {
        agent.await_state("cell", cell.after_end).await;
        assert_eq!(requests(), 0, "{shown}: nothing is sent");
    }
    for request in sandbox.token_requests() {
        let form = request.form();
        let field = |name: &str| form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
        let assertion = if field("client_assertion").is_empty() { "" } else { " assertion" };
        assert_eq!(format!("{}{assertion}", field("grant_type")), cell.sent, "{shown}");
        assert_eq!(field("client_secret").is_empty(), cell.credential != "secret", "{shown}");
    }
    assert_eq!(sandbox.identity_requests().is_empty(), cell.scheme != "AzureMSI", "{shown}");
}
