//! The certificates of a set of connections, opened as a token request would, without asking anybody for a token: for
//! `o365-agent check`. Puts each problem at the line of the drop-in that has to be changed.

use super::{CertificateError, inspect};
use crate::clock::Timestamp;
use crate::connection::{CertificateSource, ClientCertificate, ClientCredential, Connection, ConnectionSet};
use crate::dropin::{RawProperty, read_drop_in};
use crate::error::Fault;

/// What keeps the connections of `set` from signing at `now`. Blocking.
pub fn faults(set: &ConnectionSet, now: Timestamp) -> Vec<Fault> {
    let mut faults = Vec::new();
    for connection in set.connections.values() {
        if let (ClientCredential::Certificate(wanted), Err(error)) =
            (&connection.auth.credential, inspect(connection, now))
        {
            faults.push(at_its_line(connection, property(wanted, &error), &error, faults.len()));
        }
    }
    faults.sort_by(|one, other| (&one.file, one.line, &one.key).cmp(&(&other.file, other.line, &other.key)));
    faults
}

/// The property that is most likely wrong.
fn property(wanted: &ClientCertificate, error: &CertificateError) -> &'static str {
    let message = error.to_string();
    let is_about = |source: &Option<CertificateSource>, property: &str| match source {
        Some(CertificateSource::File(path)) => message.starts_with(&path.display().to_string()),
        Some(CertificateSource::Contents(_)) => message.starts_with(&format!("{property}:")),
        Some(CertificateSource::Folder(_)) | None => false,
    };
    match error {
        CertificateError::Password(_) if wanted.password.is_some() => "OAuthJWTCertPassword",
        CertificateError::Subject(_) => "OAuthJWTCertSubject",
        CertificateError::Mismatch(_) if wanted.thumbprint.is_some() => "OAuthJWTCertThumbprint",
        _ if is_about(&wanted.key, "OAuthJWTKey") => "OAuthJWTKey",
        _ if is_about(&wanted.certificate, "OAuthJWTCertificate") => "OAuthJWTCertificate",
        _ => "OAuthJWTCert",
    }
}

fn at_its_line(connection: &Connection, property: &str, error: &CertificateError, already: usize) -> Fault {
    let key = format!("connections.{}.{property}", connection.name);
    // Read once more, because a connection in force no longer knows its lines.
    let Ok(file) = read_drop_in(&connection.file) else {
        return Fault { file: connection.file.clone(), line: None, key, message: error.to_string() };
    };
    let raw = file.connections.iter().find(|raw| raw.name.trim() == connection.name.as_str());
    let is_called = |one: &&RawProperty, name: &str| one.name.replace(' ', "").eq_ignore_ascii_case(name);
    let written = raw.and_then(|raw| {
        let called = |name: &str| raw.properties.iter().find(|one| is_called(one, name));
        called(property).or_else(|| called("OAuthJWTCert")).or_else(|| called("OAuthJWTCertType"))
    });
    match (written, raw) {
        (Some(written), _) => file.fault(already, &written.place, &written.key, error.to_string()),
        (None, Some(raw)) => file.fault(already, &raw.place, &key, error.to_string()),
        (None, None) => Fault { file: file.path.clone(), line: None, key, message: error.to_string() },
    }
}
