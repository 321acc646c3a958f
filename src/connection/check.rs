//! One connection as written → a [`Connection`] that cannot be wrong, or all its faults at once. Does no I/O itself:
//! secrets and folders are asked of the [`Host`] it is given.
//!
//! [`Host`]: crate::settings::Host

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::values::{Surroundings, Values};
use super::{
    AuthScheme, Connection, ConnectionName, Generation, Template, activities, auth, digest, endpoints, proxy,
    scope, server_trust, store,
};
use crate::dropin::{DropInFile, Node, RawConnection, Step};
use crate::error::Fault;

/// Levels of folders below the first that are read unless the connection says otherwise, as operators know it.
const DEFAULT_DEPTH: i64 = 5;

/// What the check of one connection came to. Faults and no connection, or the other way round.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) connection: Option<Connection>,
    pub(super) faults: Vec<Fault>,
    pub(super) notices: Vec<Fault>,
}

/// Checks one connection of a file that has so many faults and notices `already`.
pub(super) fn check(
    around: Surroundings<'_>,
    file: &DropInFile,
    raw: &RawConnection,
    variables: &Arc<BTreeMap<String, String>>,
    already: usize,
) -> Checked {
    let mut values = Values::new(around, file, raw, already);
    let name = ConnectionName::new(&raw.name);
    if let Err(message) = &name {
        values.fault_in(&raw.place, &format!("connections.{}", raw.name), message.clone());
    }
    same_name(&mut values);
    let scheme = auth_scheme(&mut values);
    if let Some(scheme) = scheme {
        values.check_scheme(scheme);
    }
    let auth = scheme.map(|scheme| auth::check(&mut values, scheme));
    let endpoints = endpoints::check(&mut values);
    let store = store::check(&mut values);
    if let Some(Some(auth)) = &auth {
        scope::check(&mut values, auth, endpoints.as_ref());
    }
    let sign_in_urls = endpoints::sign_in_urls(&mut values, endpoints.as_ref());
    let has_tls = endpoints.as_ref().is_none_or(|endpoints| endpoints.graph.scheme() == "https");
    let proxy = proxy::check(&mut values, has_tls);
    let server_trust = server_trust::check(&mut values, endpoints.as_ref(), proxy.as_ref());
    let timeout = timeout(&mut values);
    let user_id = user_id(&mut values);
    let max_rows = values.integer::<i64>("MaxRows").and_then(|rows| u64::try_from(rows).ok());
    let depth = values.integer::<i64>("DirectoryRetrievalDepth").unwrap_or(DEFAULT_DEPTH);
    let directory_depth = u32::try_from(depth).ok();
    let page_size = values.integer("Pagesize");
    let read_only = values.boolean("Readonly", false);
    let mailbox_concurrency = values.integer("MailboxConcurrency").unwrap_or(4);
    let activities = activities::check(&mut values);
    let Values { faults, notices, fixed_variables, .. } = values;
    let (Ok(name), Some(Some(auth)), Some(endpoints), Some(store), true) =
        (name, auth, endpoints, store, faults.is_empty())
    else {
        return Checked { connection: None, faults, notices };
    };
    let mut connection = Connection {
        name,
        generation: Generation::next(),
        file: file.path.clone(),
        auth,
        endpoints,
        store,
        proxy,
        server_trust,
        sign_in_urls,
        timeout,
        user_id,
        max_rows,
        page_size,
        directory_depth,
        read_only,
        mailbox_concurrency,
        activities,
        variables: Arc::clone(variables),
        fixed_variables,
        digest: [0; 32],
    };
    connection.digest = digest::of(&connection);
    Checked { connection: Some(connection), faults, notices }
}

/// The screen's own name field may be there too, but must not say something else.
fn same_name(values: &mut Values<'_>) {
    let wanted = values.raw.name.trim();
    if let Some(other) = values.text("ConnectionName").filter(|name| name != wanted) {
        let message = format!(
            "The name '{}' differs from '{}', which it stands under. Remove it.",
            other.escape_debug(),
            wanted.escape_debug()
        );
        values.fault("ConnectionName", message);
    }
}

fn auth_scheme(values: &mut Values<'_>) -> Option<AuthScheme> {
    if !values.is_given("AuthScheme") {
        values.fault("AuthScheme", "AuthScheme is missing. Write AzureAD or AzureServicePrincipal.");
        return None;
    }
    Some(match values.choice("AuthScheme")? {
        "AzureAD" => AuthScheme::AzureAd,
        "AzureMSI" => AuthScheme::AzureMsi,
        "AzureServicePrincipal" => AuthScheme::AzureServicePrincipal,
        _ => AuthScheme::AzureServicePrincipalCert,
    })
}

/// 0 means "no bound" to the driver; nothing waits without a bound here, so it becomes the longest one.
fn timeout(values: &mut Values<'_>) -> Duration {
    match values.integer::<u64>("Timeout") {
        Some(0) => {
            values.notice("Timeout", "Nothing waits for ever; 0 counts as 3600 seconds.");
            Duration::from_secs(3600)
        }
        Some(seconds) => Duration::from_secs(seconds),
        None => Duration::from_secs(60),
    }
}

/// The one property whose variables are replaced per request: it says whose mailbox, not where a token goes.
fn user_id(values: &mut Values<'_>) -> Option<Template> {
    let written = values.written("UserId").map(str::trim).filter(|text| !text.is_empty());
    match written.map(Template::parse) {
        Some(Ok(template)) => Some(template),
        Some(Err(message)) => {
            values.fault("UserId", message);
            None
        }
        None if values.is_given("UserId") && values.written("UserId").is_none() => {
            values.fault("UserId", "UserId must be one value.");
            None
        }
        None => None,
    }
}

/// The place of the value of the n-th entry of a map that stands at `inside`, or of its key.
pub(super) fn entry_place(
    inside: &crate::dropin::Place,
    index: usize,
) -> (crate::dropin::Place, crate::dropin::Place) {
    (inside.then(Step::Key(index)), inside.then(Step::Value(index)))
}

/// A scalar's text, or a sentence that it is none.
pub(super) fn scalar<'n>(node: &'n Node, what: &str) -> Result<&'n str, String> {
    node.scalar().ok_or_else(|| format!("{what} must be text, not {}.", node.kind()))
}
