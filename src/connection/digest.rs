//! The digest that tells whether a connection has changed. Secrets go into it, so that a new client secret behind the
//! same reference counts as a change; a SHA-256 over all of them together gives none of them away.

use aws_lc_rs::digest::{Context, SHA256};

use super::{ClientCredential, Connection};
use crate::secret::Secret;

/// The digest over everything but the generation and the digest itself.
pub(super) fn of(connection: &Connection) -> [u8; 32] {
    // Destructured in full, so that a new field cannot be forgotten here.
    let Connection {
        name,
        generation: _,
        file,
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
        variables,
        fixed_variables,
        digest: _,
    } = connection;
    let mut context = Context::new(&SHA256);
    // `Debug` shows everything but secrets, unambiguously: texts are quoted.
    let mut add = |bytes: &[u8]| {
        context.update(&bytes.len().to_be_bytes());
        context.update(bytes);
    };
    add(format!("{name:?} {file:?} {auth:?} {endpoints:?} {store:?} {proxy:?} {timeout:?} {user_id:?}")
        .as_bytes());
    add(format!("{server_trust:?} {sign_in_urls:?}").as_bytes());
    add(format!("{max_rows:?} {page_size:?} {read_only:?} {mailbox_concurrency:?} {activities:?}").as_bytes());
    add(format!("{directory_depth:?}").as_bytes());
    add(format!("{variables:?} {fixed_variables:?}").as_bytes());
    let client_secret = match &auth.credential {
        ClientCredential::None | ClientCredential::ManagedIdentity(_) => None,
        ClientCredential::Secret(secret) => Some(secret),
        ClientCredential::Certificate(certificate) => {
            for secret in certificate.secrets() {
                add(secret.expose().as_bytes());
            }
            None
        }
    };
    let proxy_password = proxy.as_ref().and_then(|proxy| proxy.password.as_ref());
    let verifier = auth.sign_in.verifier.as_ref();
    for secret in [
        client_secret,
        auth.seed.access_token.as_ref(),
        auth.seed.refresh_token.as_ref(),
        proxy_password,
        verifier,
    ] {
        add(secret.map(Secret::expose).map_or("", String::as_str).as_bytes());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
