//! Managed identities: each source is asked in its own words, and trouble ends where it should.

use o365_sandbox::{CONFIDENTIAL_CLIENT_ID, Fault, FaultAction, FaultTarget, IDENTITY_HEADER, Sandbox};

use crate::support::{Agent, Setup, tenant};

/// Variables that would tell a source of the machine that the test runs on.
const VARIABLES: [&str; 11] = [
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
    "IMDS_ENDPOINT",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_AUTHORITY_HOST",
    "DEFAULT_IDENTITY_CLIENT_ID",
];

pub(crate) fn start(sandbox: &Sandbox, environment: &[(&str, String)], more: &str) -> Agent {
    let text = format!(
        "connections:\n  machine:\n    AuthScheme: AzureMSI\n    UseProxySettings: true\n    AzureEnvironment: CUSTOM\n    AuthorityHost: {}\n    GraphEndpoint: {}\n{more}",
        sandbox.login_url(),
        sandbox.graph_url()
    );
    // A proxy that nothing listens on: whatever is sent through it fails.
    let mut setup =
        Setup::new().drop_in("m.yaml", &text).conf("[Proxy]\nHost=127.0.0.1\nPort=9\nExceptions=127.0.0.1\n");
    for name in VARIABLES {
        setup = setup.environment(name, "");
    }
    for (name, value) in environment {
        setup = setup.environment(name, value);
    }
    setup.start()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_source_gives_a_token() {
    let sandbox = tenant();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("challenge.key");
    std::fs::write(&key, "arc-proof\n").unwrap();
    sandbox.set_arc_challenge(&key, "arc-proof");
    let federated = folder.path().join("federated");
    std::fs::write(&federated, "pod.token.one").unwrap();
    sandbox.trust_federated_token("pod.token.one");
    let at = |path: &str| format!("{}{path}", sandbox.login_url());
    let header = IDENTITY_HEADER.to_owned();
    let rows: Vec<(Vec<(&str, String)>, &str, &str)> = vec![
        (
            vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", at(""))],
            "",
            "/metadata/identity/oauth2/token?api-version=2018-02-01",
        ),
        (
            vec![("IDENTITY_ENDPOINT", at("/msi/token")), ("IDENTITY_HEADER", header.clone())],
            "",
            "/msi/token?api-version=2019-08-01",
        ),
        (
            vec![("MSI_ENDPOINT", at("/azureml/token")), ("MSI_SECRET", header.clone())],
            "",
            "/azureml/token?api-version=2017-09-01",
        ),
        (
            vec![
                ("IDENTITY_ENDPOINT", at("/arc/metadata/identity/oauth2/token")),
                ("IMDS_ENDPOINT", at("")),
                ("O365_AGENT_ARC_TOKEN_DIRECTORY", folder.path().display().to_string()),
            ],
            "",
            "/arc/metadata/identity/oauth2/token?api-version=2020-06-01",
        ),
        (vec![("MSI_ENDPOINT", at("/cloudshell/token"))], "", "/cloudshell/token"),
        (
            vec![
                ("IDENTITY_ENDPOINT", at("/msi/token")),
                ("IDENTITY_HEADER", header),
                ("AZURE_POD_IDENTITY_AUTHORITY_HOST", at("")),
            ],
            "    ManagedIdentitySource: IMDS\n",
            "/metadata/identity/oauth2/token",
        ),
    ];
    for (environment, more, path) in rows {
        for client in ["", CONFIDENTIAL_CLIENT_ID] {
            let more = if client.is_empty() {
                more.to_owned()
            } else {
                format!("{more}    OAuthClientId: {client}\n")
            };
            let agent = start(&sandbox, &environment, &more);
            agent.await_state("machine", "ok").await;
            let asked = sandbox.identity_requests().pop().unwrap();
            assert!(asked.path_and_query.starts_with(path), "{asked:?}");
            let names_it = asked.path_and_query.contains(CONFIDENTIAL_CLIENT_ID);
            assert_eq!(names_it, !client.is_empty() && asked.method == "GET", "{asked:?}");
        }
    }
    let agent = start(
        &sandbox,
        &[
            ("AZURE_FEDERATED_TOKEN_FILE", federated.display().to_string()),
            ("AZURE_CLIENT_ID", CONFIDENTIAL_CLIENT_ID.to_owned()),
            ("AZURE_TENANT_ID", sandbox.tenant_id()),
            ("AZURE_AUTHORITY_HOST", at("/")),
        ],
        "",
    );
    agent.await_state("machine", "ok").await;
    // The kubelet replaces the token; the next request sends the new one.
    std::fs::write(&federated, "pod.token.two").unwrap();
    sandbox.trust_federated_token("pod.token.two");
    agent.call(http::Method::POST, "/v1/connections/machine/refresh", &[], None).await.expect(200);
    assert!(sandbox.token_requests().pop().unwrap().body.contains("client_assertion=pod.token.two"));
}

#[tokio::test]
async fn trouble_passes_and_a_missing_identity_needs_an_administrator() {
    let sandbox = tenant();
    let imds = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", sandbox.login_url().to_owned())];
    for status in [404, 429, 500] {
        sandbox.inject(Fault {
            target: FaultTarget::Token,
            times: 1,
            action: FaultAction::Status { status, headers: Vec::new(), body: String::new() },
        });
    }
    let agent = start(&sandbox, &imds, "");
    agent.await_state("machine", "degraded").await;
    agent.await_state("machine", "ok").await;
    assert_eq!(sandbox.identity_requests().len(), 4);
    let agent = start(&sandbox, &imds, "    OAuthClientId: 11111111-2222-3333-4444-555555555555\n");
    agent.await_state("machine", "needs_admin").await;
    let view = agent.get("/v1/connections/machine").await.expect(200);
    assert_eq!(view["token"]["lastError"]["code"], "identity_not_found", "{view}");
}

#[tokio::test]
async fn a_challenge_outside_its_folder_is_refused() {
    let sandbox = tenant();
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // It exists and holds what is asked for, so that only the rule on its place keeps it from being sent.
    std::fs::write(elsewhere.path().join("a.key"), "proof").unwrap();
    sandbox.set_arc_challenge(elsewhere.path().join("a.key"), "proof");
    let arc = [
        ("IDENTITY_ENDPOINT", format!("{}/arc/metadata/identity/oauth2/token", sandbox.login_url())),
        ("IMDS_ENDPOINT", sandbox.login_url().to_owned()),
        ("O365_AGENT_ARC_TOKEN_DIRECTORY", folder.path().display().to_string()),
    ];
    let agent = start(&sandbox, &arc, "");
    agent.await_state("machine", "needs_admin").await;
    let view = agent.get("/v1/connections/machine").await.expect(200);
    assert_eq!(view["token"]["lastError"]["code"], "identity_challenge_refused", "{view}");
    assert_eq!(sandbox.identity_requests().len(), 1, "nothing was sent in answer to it");
}

/// The pod's token goes to the connection's own authority, past a proxy that the connection names, whatever the webhook
/// says about the authority.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_s_token_goes_past_the_proxy_to_the_authority_of_the_connection() {
    let (sandbox, elsewhere) = (tenant(), tenant());
    let folder = tempfile::tempdir().unwrap();
    let federated = folder.path().join("federated");
    std::fs::write(&federated, "pod.token").unwrap();
    for tenant in [&sandbox, &elsewhere] {
        tenant.trust_federated_token("pod.token");
    }
    let environment = [
        ("AZURE_FEDERATED_TOKEN_FILE", federated.display().to_string()),
        ("AZURE_CLIENT_ID", CONFIDENTIAL_CLIENT_ID.to_owned()),
        ("AZURE_TENANT_ID", sandbox.tenant_id()),
        ("AZURE_AUTHORITY_HOST", format!("{}/", elsewhere.login_url())),
    ];
    // Nothing listens at that proxy, and no exception leads past it.
    let proxy = "    ProxyServer: 127.0.0.1\n    ProxyPort: 9\n";
    let agent = start(&sandbox, &environment, proxy);
    agent.await_state("machine", "ok").await;
    assert_eq!(sandbox.token_requests().len(), 1);
    assert!(elsewhere.token_requests().is_empty(), "the pod's token went to another server");
    assert!(agent.log().contains("AZURE_AUTHORITY_HOST names another server"));
}
