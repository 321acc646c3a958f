//! Any JSON as a query: a plan or one refusal, never a panic, and no request that leaves Graph's root or grows beyond what
//! a front door takes. `cargo fuzz run conditions`.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use o365_agent::catalog::Catalog;
use o365_agent::clock::Timestamp;
use o365_agent::connection::{
    Auth, AuthScheme, ClientCredential, Connection, ConnectionName, Endpoints, Generation, InitiateOAuth, SeedTokens,
    SignInSettings, StoreLocation,
};
use o365_agent::query::{QueryRequest, plan};

static CONNECTION: LazyLock<Connection> = LazyLock::new(|| Connection {
    name: ConnectionName::new("fuzz").expect("a good name"),
    generation: Generation::next(),
    file: "agent.d/fuzz.yaml".into(),
    auth: Auth {
        scheme: AuthScheme::AzureAd,
        initiate: InitiateOAuth::Refresh,
        tenant: None,
        client_id: None,
        client_secret_expires: None,
        credential: ClientCredential::None,
        seed: SeedTokens::default(),
        scope: None,
        sign_in: SignInSettings::default(),
    },
    endpoints: Endpoints {
        authority: "https://login.test/".parse().expect("a URL"),
        graph: "https://graph.test/v1.0/".parse().expect("a URL"),
    },
    store: StoreLocation::StateDirectory,
    proxy: None,
    server_trust: Default::default(),
    sign_in_urls: Default::default(),
    timeout: Duration::from_secs(60),
    user_id: None,
    max_rows: None,
    page_size: None,
    directory_depth: Some(5),
    read_only: false,
    mailbox_concurrency: 4,
    activities: BTreeMap::new(),
    variables: Arc::new(BTreeMap::new()),
    fixed_variables: BTreeMap::new(),
    digest: [0; 32],
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(request) = serde_json::from_slice::<QueryRequest>(bytes) else { return };
    let written = serde_json::to_value(&request).expect("a request can be written");
    let again: QueryRequest = serde_json::from_value(written).expect("and read again");
    assert_eq!(again, request);
    let Ok(plan) = plan(&Catalog::embedded(), &request, &CONNECTION, None, Timestamp::from_seconds(1_767_225_600)) else { return };
    let root = url::Url::parse("https://graph.test/v1.0/").expect("a URL");
    for scan in &plan.scans {
        let url = root.join(&scan.request.path).expect("a path below the root");
        assert_eq!(url.as_str(), format!("{root}{}", scan.request.path), "no URL parser changes it");
        let filter = url.query_pairs().find(|(name, _)| name == "$filter").map_or(0, |(_, text)| text.len());
        assert!(filter <= 4096, "a filter of {filter} bytes");
    }
});
