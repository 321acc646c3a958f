//! What the tests of this stage and of the activities share: a connection that can be changed.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::connection::{
    Auth, AuthScheme, ClientCredential, Connection, ConnectionName, Endpoints, Generation, InitiateOAuth,
    SeedTokens, StoreLocation,
};

/// A delegated connection, changed by `change`.
pub(crate) fn connection(change: impl FnOnce(&mut Connection)) -> Connection {
    let mut connection = Connection {
        name: ConnectionName::new("Sales").unwrap(),
        generation: Generation::next(),
        file: "agent.d/sales.yaml".into(),
        auth: Auth {
            scheme: AuthScheme::AzureAd,
            initiate: InitiateOAuth::Refresh,
            tenant: None,
            client_id: None,
            client_secret_expires: None,
            credential: ClientCredential::None,
            seed: SeedTokens::default(),
            scope: None,
            sign_in: crate::connection::SignInSettings::default(),
        },
        endpoints: Endpoints {
            authority: "https://login.test/".parse().unwrap(),
            graph: "https://graph.test/v1.0/".parse().unwrap(),
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
    };
    change(&mut connection);
    connection
}
