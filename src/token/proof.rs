//! How a client proves itself beyond a secret: by an assertion of its certificate, or by the machine it runs on. Keeps
//! nothing but the day on which the certificate ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use url::Url;

use super::assertion;
use super::certificate::{self, CertificateError};
use super::managed_identity::ManagedIdentity;
use super::model::TokenFailure;
use crate::clock::{Clock, Timestamp};
use crate::connection::{ClientCredential, Connection};

/// Stands for "no certificate has been read".
const UNKNOWN: i64 = i64::MIN;

/// One connection's proofs.
#[derive(Debug)]
pub(super) struct ClientProof {
    pub(super) identity: ManagedIdentity,
    certificate_ends: AtomicI64,
}

impl ClientProof {
    /// With the environment of this process.
    pub(super) fn of_process() -> Self {
        Self { identity: ManagedIdentity::of_process(), certificate_ends: AtomicI64::new(UNKNOWN) }
    }

    /// When the certificate ends that was read last.
    pub(super) fn certificate_expires_at(&self) -> Option<Timestamp> {
        let seconds = self.certificate_ends.load(Ordering::Relaxed);
        (seconds != UNKNOWN).then(|| Timestamp::from_seconds(seconds))
    }

    /// Reads the certificate, if there is one, so that its end is known before the first token request.
    pub(super) async fn look(&self, connection: &Arc<Connection>, clock: &Clock) {
        if !matches!(connection.auth.credential, ClientCredential::Certificate(_)) {
            return;
        }
        let (connection, now) = (Arc::clone(connection), clock.now());
        let looked = tokio::task::spawn_blocking(move || certificate::inspect(&connection, now)).await;
        // What is wrong with it is told by the token request that needs it.
        if let Ok(Ok(Some(report))) = looked {
            self.note_end(report.not_after);
        }
    }

    /// `form` with whatever the connection's credential adds to it for the token endpoint at `url`.
    ///
    /// # Errors
    /// What is wrong with the certificate, for an administrator.
    pub(super) async fn add_to_form(
        &self,
        form: String,
        connection: &Arc<Connection>,
        client_id: &str,
        url: &Url,
        clock: &Clock,
    ) -> Result<String, TokenFailure> {
        if !matches!(connection.auth.credential, ClientCredential::Certificate(_)) {
            return Ok(form);
        }
        let now = clock.now();
        let (connection, client_id, audience) =
            (Arc::clone(connection), client_id.to_owned(), url.as_str().to_owned());
        // Reading files and deriving keys from passwords takes long enough to hold an async thread up.
        let made = tokio::task::spawn_blocking(move || {
            let ClientCredential::Certificate(wanted) = &connection.auth.credential else { return Ok(None) };
            let signer = certificate::load(wanted, now)?;
            let assertion = assertion::make(&signer, wanted, &client_id, &audience, now);
            Ok::<_, CertificateError>(Some((signer.report, assertion)))
        });
        let broken = |message: &str| failure(now, "certificate_unusable", message);
        match made.await {
            Ok(Ok(Some((report, Some(assertion))))) => {
                self.note_end(report.not_after);
                Ok(assertion::add_to_form(form, &assertion))
            }
            Ok(Ok(Some((report, None)))) => {
                Err(broken(&format!("{}: the key cannot sign. Make a new key.", report.source)))
            }
            Ok(Ok(None)) => Ok(form),
            Ok(Err(error)) => Err(failure(now, error.code(), &error.to_string())),
            Err(_) => Err(broken(
                "Reading the certificate broke off; the agent tries again. Report this with the log.",
            )),
        }
    }

    fn note_end(&self, end: Option<Timestamp>) {
        self.certificate_ends.store(end.map_or(UNKNOWN, Timestamp::as_seconds), Ordering::Relaxed);
    }
}

fn failure(at: Timestamp, code: &str, message: &str) -> TokenFailure {
    TokenFailure {
        code: code.to_owned(),
        aadsts: None,
        correlation_id: None,
        message: message.to_owned(),
        at,
        retry_at: None,
    }
}
