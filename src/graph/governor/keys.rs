//! What Graph counts together: the app, the app in a tenant, and there each mailbox and each service. Pure.

use crate::connection::Connection;

use super::cost::Service;

/// One thing that has limits of its own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum LaneKey {
    /// An app in all tenants.
    Application(String),
    /// An app in one tenant.
    Tenant(String),
    /// A mailbox, for an app.
    Mailbox(String, String),
    /// A service without mailboxes, for an app in a tenant.
    Service(String, Service),
}

impl LaneKey {
    /// Whether its service counts in resource units.
    pub(super) fn is_directory(&self) -> bool {
        matches!(self, Self::Service(_, Service::Directory))
    }
}

/// The three that a request counts for, the narrowest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LaneKeys {
    pub(super) lane: LaneKey,
    pub(super) tenant: LaneKey,
    pub(super) application: LaneKey,
}

impl LaneKeys {
    /// Connections with the same app, tenant and Graph root count together. Where the tenant is not known, a connection
    /// stands for itself. A signed-in user's `me` means another mailbox in each connection, so mailboxes of such
    /// connections are put together only under their object ids.
    pub(super) fn of(connection: &Connection, mailbox: Option<&str>, service: Service) -> Self {
        let alone = || format!("connection {}", connection.name);
        let (client, tenant) = (connection.auth.client_id.as_deref(), connection.auth.tenant.as_deref());
        let tenant = tenant.filter(|tenant| !matches!(*tenant, "common" | "organizations" | "consumers"));
        let root = &connection.endpoints.graph;
        let application = client.map_or_else(alone, |client| format!("{root} {client}").to_lowercase());
        let in_tenant = match (client, tenant) {
            (Some(client), Some(tenant)) => format!("{root} {tenant} {client}").to_lowercase(),
            _ => alone(),
        };
        let lane = match mailbox {
            // An object id is one mailbox, wherever it is named.
            Some(mailbox) if connection.is_delegated() && !is_object_id(mailbox) => {
                LaneKey::Mailbox(alone(), mailbox.to_lowercase())
            }
            Some(mailbox) => LaneKey::Mailbox(in_tenant.clone(), mailbox.to_lowercase()),
            None => LaneKey::Service(in_tenant.clone(), service),
        };
        Self { lane, tenant: LaneKey::Tenant(in_tenant), application: LaneKey::Application(application) }
    }
}

/// Whether a mailbox's name is the object id of its user.
pub fn is_object_id(mailbox: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    mailbox.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && mailbox.split('-').all(digits)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::connection::{AuthScheme, ConnectionName};
    use crate::graph::test_support::connection;

    fn app(name: &str) -> Connection {
        let mut connection = connection(url::Url::parse("https://graph.example/v1.0/").unwrap());
        connection.name = ConnectionName::new(name).unwrap();
        connection
    }

    #[test]
    fn what_is_counted_together() {
        let user = |name: &str| {
            let mut connection = app(name);
            connection.auth.scheme = AuthScheme::AzureAd;
            connection
        };
        let elsewhere = |name: &str, tenant: Option<&str>| {
            let mut connection = app(name);
            connection.auth.tenant = tenant.map(str::to_owned);
            connection
        };
        for (one, other, mailbox, lane, tenant, application) in [
            (app("a"), app("b"), Some("m"), true, true, true),
            (app("a"), app("b"), None, true, true, true),
            (user("a"), user("b"), Some("me"), false, true, true),
            (user("a"), user("b"), None, true, true, true),
            (app("a"), elsewhere("b", Some("other")), Some("m"), false, false, true),
            (elsewhere("a", Some("common")), elsewhere("b", Some("common")), None, false, false, true),
            (elsewhere("a", None), elsewhere("b", None), Some("m"), false, false, true),
        ] {
            let keys = |connection: &Connection| LaneKeys::of(connection, mailbox, Service::Directory);
            let (one, other) = (keys(&one), keys(&other));
            assert_eq!(
                (one.lane == other.lane, one.tenant == other.tenant, one.application == other.application),
                (lane, tenant, application),
                "{one:?} {other:?}"
            );
        }
        let mailbox = |name: &str| LaneKeys::of(&app("a"), Some(name), Service::Other).lane;
        assert_eq!(mailbox("Ada@Contoso.example"), mailbox("ada@contoso.EXAMPLE"));
        let service = |service| LaneKeys::of(&app("a"), None, service).lane;
        assert_ne!(service(Service::Files), service(Service::Directory));
    }
}
