//! What a changed connection has in common with the version before it: whether its tokens are those that the old
//! version's runs began with, and whether a sign-in that is pending is still the one it needs. Pure comparisons.

use crate::connection::{Connection, InitiateOAuth};

/// Whether tokens of `now` may serve runs that began with `before`: the same identity signs in to the same servers, and
/// the tokens are kept in the same place. How they are fetched (proxy, trust, a renewed secret) does not count.
pub(super) fn serves_runs_of(before: &Connection, now: &Connection) -> bool {
    let given = |connection: &Connection| {
        let auth = &connection.auth;
        let seed = &auth.seed;
        (seed.access_token.clone(), seed.refresh_token.clone(), auth.sign_in.verifier.clone())
    };
    let is_kept = |connection: &Connection| connection.auth.initiate != InitiateOAuth::Off;
    identity(before) == identity(now)
        && given(before) == given(now)
        && is_kept(before) == is_kept(now)
        && before.endpoints == now.endpoints
        && before.store == now.store
}

/// Whether a sign-in that was begun for `before` may go on for `now`: it asks for the same, at the same addresses, by the
/// same way, and proves itself alike.
pub(super) fn keeps_pending_sign_in(before: &Connection, now: &Connection) -> bool {
    identity(before) == identity(now)
        && before.auth.scope == now.auth.scope
        && before.auth.initiate == now.auth.initiate
        && before.auth.credential == now.auth.credential
        && before.auth.sign_in.callback == now.auth.sign_in.callback
        && before.endpoints == now.endpoints
        && before.sign_in_urls == now.sign_in_urls
        && before.proxy == now.proxy
        && before.server_trust == now.server_trust
        && before.store == now.store
}

/// Who signs in.
fn identity(connection: &Connection) -> impl PartialEq + use<> {
    let auth = &connection.auth;
    (auth.scheme, auth.client_id.clone(), auth.tenant.clone())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::super::testing::connection;
    use super::*;
    use crate::connection::{ClientCredential, Proxy, ProxyKind, ServerTrust, StoreLocation};

    #[test]
    fn every_change_of_a_connection_is_decided() {
        type Change = fn(&mut Connection);
        let proxy = |connection: &mut Connection| {
            connection.proxy = Some(Proxy {
                kind: ProxyKind::Http,
                named_by: "ProxyServer",
                host: "proxy".to_owned(),
                port: 1,
                user: None,
                password: None,
                exceptions: Vec::new(),
            });
        };
        // Whether the new tokens serve old runs, and whether a pending sign-in goes on.
        #[rustfmt::skip]
        let table: [(&str, bool, bool, Change); 14] = [
            ("nothing", true, true, |_| {}),
            ("an activity's page size", true, true, |one| one.page_size = Some(7)),
            ("the proxy", true, false, proxy),
            ("whom it believes", true, false, |one| one.server_trust = ServerTrust::AnyOnLoopback),
            ("the token address", true, false, |one| one.sign_in_urls.token = Some("https://h/t".parse().unwrap())),
            ("the sign-in address", true, false, |one| one.sign_in_urls.authorization = Some("https://h/a".parse().unwrap())),
            ("the secret", true, false, |one| one.auth.credential = ClientCredential::Secret("new".into())),
            ("the scope", true, false, |one| one.auth.scope = Some("Mail.Read".to_owned())),
            ("the client", false, false, |one| one.auth.client_id = Some("other".to_owned())),
            ("the tenant", false, false, |one| one.auth.tenant = Some("other".to_owned())),
            ("the Graph address", false, false, |one| one.endpoints.graph = "https://h/".parse().unwrap()),
            ("the store", false, false, |one| one.store = StoreLocation::Memory("m".to_owned())),
            ("the pasted tokens", false, true, |one| one.auth.seed.refresh_token = Some("another person's".into())),
            ("that it refreshes", false, false, |one| one.auth.initiate = InitiateOAuth::Off),
        ];
        for (what, serves, keeps, change) in table {
            let (before, now) = (connection("a").finish(), connection("a").with(change).finish());
            assert_eq!(serves_runs_of(&before, &now), serves, "{what}");
            assert_eq!(keeps_pending_sign_in(&before, &now), keeps, "{what}");
            assert_eq!(serves_runs_of(&now, &before), serves, "{what}, taken back");
            assert!(keeps_pending_sign_in(&now, &Arc::clone(&now)));
        }
    }
}
