//! Why a certificate cannot be used. Never holds a password, a key, or contents of a file.

use crate::files::FileError;

/// Why a connection's certificate cannot sign. Each message names the place and what to do.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file cannot be read, is too large, or lets others read a private key.
    #[error(transparent)]
    File(#[from] FileError),
    /// The contents are not what they should be, or not something that can sign for Entra.
    #[error("{0}")]
    Unusable(String),
    /// The password is wrong or missing.
    #[error("{0}")]
    Password(String),
    /// The private key or the certificate is missing.
    #[error("{0}")]
    Incomplete(String),
    /// No entry has the wanted subject.
    #[error("{0}")]
    Subject(String),
    /// Key, certificate and thumbprint do not belong together.
    #[error("{0}")]
    Mismatch(String),
    /// The certificate's time is over.
    #[error("{0}")]
    Expired(String),
    /// The certificate's time has not begun.
    #[error("{0}")]
    NotYetValid(String),
}

impl CertificateError {
    /// A stable code for status and problems.
    pub fn code(&self) -> &'static str {
        match self {
            Self::File(_) => "certificate_unreadable",
            Self::Unusable(_) => "certificate_unusable",
            Self::Password(_) => "certificate_password",
            Self::Incomplete(_) => "certificate_incomplete",
            Self::Subject(_) => "certificate_subject",
            Self::Mismatch(_) => "certificate_mismatch",
            Self::Expired(_) => "certificate_expired",
            Self::NotYetValid(_) => "certificate_not_yet_valid",
        }
    }

    pub(super) fn unusable(place: &str, sentence: &str) -> Self {
        Self::Unusable(format!("{place}: {sentence}"))
    }

    pub(super) fn password(place: &str) -> Self {
        Self::Password(format!(
            "{place}: the password does not open it. Correct OAuthJWTCertPassword (leave it out when there is none)."
        ))
    }
}
