//! Everything of this stage that holds a secret, printed the way a careless log line or a panic would print it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use super::answer::NewTokens;
use super::handle::TokenHandle;
use super::model::AccessToken;
use super::plan::TokenPlan;
use super::store::{FileStore, KeyRing, Store, Stored, StoredAccess};
use super::testing::*;
use crate::clock::{Clock, Timestamp};
use crate::connection::{ClientCredential, Proxy, ProxyKind};
use crate::files;
use crate::secret::Secret;
use crate::settings::{Backend, DatabaseTls, Postgresql};

const CANARY: &str = "canary-4d1e";
const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn canary() -> Secret {
    Secret::from(CANARY)
}

#[tokio::test]
async fn nothing_that_holds_a_secret_prints_it() {
    let folder = state_folder();
    let access = StoredAccess { secret: canary(), obtained_at: NOW, expires_at: NOW, refresh_due: NOW };
    let stored = Stored { access: Some(access), refresh_token: Some(canary()), ..Stored::default() };
    let proxy = Proxy {
        kind: ProxyKind::Http,
        named_by: "ProxyServer",
        host: "proxy".to_owned(),
        port: 1,
        user: None,
        password: Some(canary()),
        exceptions: Vec::new(),
    };
    let full = connection("a")
        .seeded(Some((CANARY, 3600)), Some(CANARY))
        .with(|connection| {
            connection.auth.credential = ClientCredential::Secret(canary());
            connection.proxy = Some(proxy);
        })
        .finish();
    let mut all = settings(folder.path());
    all.token_store.backend = Backend::Postgresql;
    all.token_store.postgresql = Some(Postgresql {
        connection: "host=db".to_owned(),
        listen_connection: None,
        password: Some(canary()),
        tls: DatabaseTls::Disable,
        root_certificate: None,
        pool_size: 1,
        lease: Duration::from_secs(45),
        refresh_without_store: false,
    });
    let tokens = NewTokens {
        access_token: canary(),
        refresh_token: Some(canary()),
        lifetime: Duration::ZERO,
        refresh_in: None,
    };
    let handed_out = AccessToken { secret: canary(), expires_at: NOW, generation: 1 };
    let handle = TokenHandle::fixed(canary(), Some(NOW.plus(Duration::from_secs(60))), &Clock::manual(NOW));
    let keys = Arc::new(KeyRing::new(&settings(folder.path()), None));
    let path = FileStore::default_path(folder.path(), &full.name);
    files::ensure_private_folder(path.parent().unwrap()).unwrap();
    let store = FileStore::new(path, &full.name, Arc::clone(&keys), Duration::from_secs(5), Clock::machine());
    let lock = store.lock().await.unwrap();
    store.commit(&lock, 0, &Stored { generation: 1, ..stored.clone() }).await.unwrap();
    let key_text = files::read_bounded(&folder.path().join("token-key"), 1000).unwrap();
    let key_text = String::from_utf8(key_text).unwrap();
    let holders: [(&str, &dyn std::fmt::Debug); 10] = [
        ("stored tokens", &stored),
        ("a connection", &full),
        ("settings", &all),
        ("a token answer", &tokens),
        ("an access token", &handed_out),
        ("a handle", &handle),
        ("a plan", &TokenPlan::make(&full.auth, NOW)),
        ("a key ring", &keys),
        ("a store", &store),
        ("a shared connection", &Some(Arc::clone(&full))),
    ];
    for (what, holder) in holders {
        let printed = format!("{holder:?}\n{holder:#?}");
        assert!(!printed.contains(CANARY), "{what}: {printed}");
        assert!(!printed.contains(key_text.trim()), "{what}: {printed}");
        // As bytes, a secret is a list of numbers.
        assert!(!printed.contains("99, 97, 110, 97, 114, 121"), "{what}: {printed}");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panic!("{holder:?}")));
        let said = panicked.unwrap_err().downcast::<String>().unwrap();
        assert!(!said.contains(CANARY), "{what} in a panic");
    }
}
