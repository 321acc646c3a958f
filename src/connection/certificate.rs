//! What a connection says about its client certificate, and the checks on that. Never opens a file: whether the
//! certificate can be read is found out by the token stage, each time it is needed, so that a renewed file is seen.

use std::path::{Path, PathBuf};

use super::values::Values;
use super::{AuthScheme, ClientCredential};
use crate::secret::Secret;

/// The sixteen kinds of `OAuthJWTCert` (`OAuthJWTCertType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum CertificateKind {
    /// The agent's own certificate folder.
    User,
    /// The host's certificate folder.
    Machine,
    /// A PKCS#12 file.
    PfxFile,
    /// A PKCS#12 container, in base64.
    PfxBlob,
    /// A Java key store file.
    JksFile,
    /// A Java key store, in base64.
    JksBlob,
    /// A PEM file with a private key, and a certificate or not.
    PemKeyFile,
    /// The same as text or in base64.
    PemKeyBlob,
    /// A certificate file in PEM or DER.
    PublicKeyFile,
    /// The same as text or in base64.
    PublicKeyBlob,
    /// An SSH public key file.
    SshPublicKeyFile,
    /// An SSH public key as text.
    SshPublicKeyBlob,
    /// A PKCS#7 file with certificates.
    P7bFile,
    /// A PuTTY private key file.
    PpkFile,
    /// An XML file with an RSAKeyValue.
    XmlFile,
    /// The same as text or in base64.
    XmlBlob,
}

impl CertificateKind {
    const ALL: [Self; 16] = [
        Self::User,
        Self::Machine,
        Self::PfxFile,
        Self::PfxBlob,
        Self::JksFile,
        Self::JksBlob,
        Self::PemKeyFile,
        Self::PemKeyBlob,
        Self::PublicKeyFile,
        Self::PublicKeyBlob,
        Self::SshPublicKeyFile,
        Self::SshPublicKeyBlob,
        Self::P7bFile,
        Self::PpkFile,
        Self::XmlFile,
        Self::XmlBlob,
    ];

    /// The name operators write.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Machine => "MACHINE",
            Self::PfxFile => "PFXFILE",
            Self::PfxBlob => "PFXBLOB",
            Self::JksFile => "JKSFILE",
            Self::JksBlob => "JKSBLOB",
            Self::PemKeyFile => "PEMKEY_FILE",
            Self::PemKeyBlob => "PEMKEY_BLOB",
            Self::PublicKeyFile => "PUBLIC_KEY_FILE",
            Self::PublicKeyBlob => "PUBLIC_KEY_BLOB",
            Self::SshPublicKeyFile => "SSHPUBLIC_KEY_FILE",
            Self::SshPublicKeyBlob => "SSHPUBLIC_KEY_BLOB",
            Self::P7bFile => "P7BFILE",
            Self::PpkFile => "PPKFILE",
            Self::XmlFile => "XMLFILE",
            Self::XmlBlob => "XMLBLOB",
        }
    }

    /// Whether `OAuthJWTCert` is a path.
    pub fn is_file(self) -> bool {
        matches!(
            self,
            Self::PfxFile
                | Self::JksFile
                | Self::PemKeyFile
                | Self::PublicKeyFile
                | Self::SshPublicKeyFile
                | Self::P7bFile
                | Self::PpkFile
                | Self::XmlFile
        )
    }

    fn is_folder(self) -> bool {
        matches!(self, Self::User | Self::Machine)
    }
}

/// Where a key or certificate is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CertificateSource {
    /// An absolute path of a file.
    File(PathBuf),
    /// The contents themselves, as text or base64.
    Contents(Secret),
    /// A folder, each file of which may hold a key, a certificate, or both.
    Folder(PathBuf),
}

/// How an assertion is signed (`OAuthAssertionAlgorithm`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AssertionAlgorithm {
    /// RSA-PSS with SHA-256; the certificate is named by its SHA-256 thumbprint.
    Ps256,
    /// RSA PKCS#1 v1.5 with SHA-256; the certificate is named by its SHA-1 thumbprint.
    Rs256,
}

/// The certificate that an application signs its assertions with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// `OAuthJWTCertType`.
    pub kind: CertificateKind,
    /// `OAuthJWTCert`.
    pub source: CertificateSource,
    /// `OAuthJWTCertPassword`.
    pub password: Option<Secret>,
    /// `OAuthJWTCertSubject`; `*` takes the first entry.
    pub subject: String,
    /// `OAuthJWTCertificate`: the certificate that belongs to a bare key.
    pub certificate: Option<CertificateSource>,
    /// `OAuthJWTCertThumbprint`: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
    pub thumbprint: Option<String>,
    /// `OAuthJWTKey`: the private key that belongs to a bare certificate.
    pub key: Option<CertificateSource>,
    /// How assertions are signed.
    pub algorithm: AssertionAlgorithm,
    /// `OAuthAssertionSendX5c`: whether assertions carry the certificate chain.
    pub send_chain: bool,
}

impl ClientCertificate {
    /// Its secrets and contents, for the digest over the connection.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        [Some(&self.source), self.certificate.as_ref(), self.key.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|source| match source {
                CertificateSource::Contents(contents) => Some(contents),
                CertificateSource::File(_) | CertificateSource::Folder(_) => None,
            })
            .chain(self.password.as_ref())
    }
}

/// The properties of a certificate, besides `OAuthJWTCert` itself.
const COMPANIONS: [&str; 8] = [
    "OAuthJWTCertType",
    "OAuthJWTCertPassword",
    "OAuthJWTCertSubject",
    "OAuthJWTCertThumbprint",
    "OAuthJWTCertificate",
    "OAuthJWTKey",
    "OAuthAssertionAlgorithm",
    "OAuthAssertionSendX5c",
];

/// How the connection's client proves itself: by the machine's identity, a secret, a certificate, or not at all.
pub(super) fn credential(values: &mut Values<'_>, scheme: AuthScheme) -> ClientCredential {
    if scheme == AuthScheme::AzureMsi {
        return ClientCredential::ManagedIdentity(values.choice("ManagedIdentitySource"));
    }
    let secret = values.secret("OAuthClientSecret");
    let kind = values.choice("OAuthJWTCertType").and_then(kind_named);
    let has_certificate = values.is_given("OAuthJWTCert") || kind.is_some_and(CertificateKind::is_folder);
    if has_certificate && secret.is_some() {
        values.fault("OAuthJWTCert", "An application proves itself by OAuthClientSecret or by OAuthJWTCert, not by both. Remove one of the two.");
    }
    if !has_certificate {
        if let Some(name) = COMPANIONS.into_iter().find(|name| values.is_given(name)) {
            values.fault(
                name,
                format!("{name} has no meaning without OAuthJWTCert. Add OAuthJWTCert, or remove it."),
            );
        }
        return secret.map_or(ClientCredential::None, ClientCredential::Secret);
    }
    match certificate(values, kind) {
        Some(certificate) => ClientCredential::Certificate(Box::new(certificate)),
        None => ClientCredential::None,
    }
}

fn kind_named(name: &str) -> Option<CertificateKind> {
    CertificateKind::ALL.into_iter().find(|kind| kind.as_str() == name)
}

fn certificate(values: &mut Values<'_>, kind: Option<CertificateKind>) -> Option<ClientCertificate> {
    if !values.is_given("OAuthJWTCertType") {
        values.fault("OAuthJWTCertType", "OAuthJWTCert needs OAuthJWTCertType, which says what it is. Write for example PFXFILE or PEMKEY_FILE.");
        return None;
    }
    let kind = kind?;
    let source = source(values, kind)?;
    let password = values.secret("OAuthJWTCertPassword");
    let subject = values.text("OAuthJWTCertSubject").unwrap_or_else(|| "*".to_owned());
    let thumbprint = values.text("OAuthJWTCertThumbprint").and_then(|text| thumbprint(values, &text));
    let certificate = values.secret("OAuthJWTCertificate").map(by_content);
    let key = values.secret("OAuthJWTKey").map(by_content);
    for (name, source) in [("OAuthJWTCertificate", &certificate), ("OAuthJWTKey", &key)] {
        if let Some(CertificateSource::File(path)) = source
            && !path.is_absolute()
        {
            values.fault(
                name,
                format!("{name} is neither contents nor an absolute path. Write the path from / on."),
            );
        }
    }
    let send_chain = values.boolean("OAuthAssertionSendX5c", false);
    let algorithm = algorithm(values, thumbprint.as_deref(), certificate.is_some());
    Some(ClientCertificate {
        kind,
        source,
        password,
        subject,
        certificate,
        thumbprint,
        key,
        algorithm,
        send_chain,
    })
}

fn source(values: &mut Values<'_>, kind: CertificateKind) -> Option<CertificateSource> {
    let settings = values.around.settings;
    match kind {
        CertificateKind::User => {
            return Some(CertificateSource::Folder(settings.state_directory.join("certificates")));
        }
        CertificateKind::Machine => {
            let beside = settings.drop_in_directory.parent().unwrap_or(Path::new("/"));
            return Some(CertificateSource::Folder(beside.join("certificates")));
        }
        _ => {}
    }
    let value = values.secret("OAuthJWTCert")?;
    if !kind.is_file() {
        return Some(CertificateSource::Contents(value));
    }
    let path = PathBuf::from(value.expose().trim());
    // The value is not quoted: with the wrong type it is a private key.
    if !path.is_absolute() || value.expose().contains('\n') {
        let name = kind.as_str();
        values.fault("OAuthJWTCert", format!("OAuthJWTCertType {name} needs the absolute path of a file in OAuthJWTCert. Write the path from / on, or choose the type that takes contents."));
        return None;
    }
    Some(CertificateSource::File(path))
}

/// A path when it looks like one: no contents of a key or certificate begin with a slash and are so short.
fn by_content(value: Secret) -> CertificateSource {
    let text = value.expose().trim();
    if text.len() < 1024 && !text.contains('\n') && (text.starts_with('/') || text.starts_with('.')) {
        return CertificateSource::File(PathBuf::from(text));
    }
    CertificateSource::Contents(value)
}

/// Lower-case hexadecimal, without the separators that other tools write.
fn thumbprint(values: &mut Values<'_>, text: &str) -> Option<String> {
    let digits: String = text
        .chars()
        .filter(|one| !matches!(one, ':' | ' ' | '-'))
        .map(|one| one.to_ascii_lowercase())
        .collect();
    if matches!(digits.len(), 40 | 64) && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Some(digits);
    }
    values.fault("OAuthJWTCertThumbprint", "A certificate's thumbprint has 64 (SHA-256) or 40 (SHA-1) hexadecimal digits. Copy it from the app registration, or print it with: openssl x509 -noout -fingerprint -sha256.");
    None
}

fn algorithm(values: &mut Values<'_>, thumbprint: Option<&str>, has_certificate: bool) -> AssertionAlgorithm {
    let given = values.choice("OAuthAssertionAlgorithm");
    let only_sha1 = thumbprint.is_some_and(|thumbprint| thumbprint.len() == 40) && !has_certificate;
    match given {
        Some("RS256") => AssertionAlgorithm::Rs256,
        Some(_) => AssertionAlgorithm::Ps256,
        // A bare key with the portal's SHA-1 thumbprint can be named in the older form only.
        None if only_sha1 => AssertionAlgorithm::Rs256,
        None => AssertionAlgorithm::Ps256,
    }
}
