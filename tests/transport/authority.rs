//! A certificate authority made by openssl for one test, and the server certificates it issues.

use std::path::{Path, PathBuf};
use std::process::Command;

use o365_sandbox::{Sandbox, SandboxOptions, TlsFiles};

/// The names and addresses the simulated tenant is reached by.
const LOOPBACK: &str = "DNS:localhost,IP:127.0.0.1";

#[derive(Debug)]
pub(crate) struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("o365-agent-ca").tempdir().unwrap();
        let authority = Self { folder };
        authority.self_signed("ca", "/CN=Test authority", &[]);
        authority
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn self_signed(&self, name: &str, subject: &str, more: &[&str]) {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let mut arguments =
            vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        arguments.extend(["-days", "30", "-subj", subject, "-keyout", &key, "-out", &certificate]);
        arguments.extend(more);
        self.openssl(&arguments);
    }

    /// The authority's own certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A server certificate for the loopback addresses.
    pub(crate) fn server(&self) -> TlsFiles {
        self.issue("server", LOOPBACK, "30")
    }

    /// One that ended yesterday.
    pub(crate) fn expired(&self) -> TlsFiles {
        self.issue("expired", LOOPBACK, "-1")
    }

    /// One for another host.
    pub(crate) fn for_another_name(&self) -> TlsFiles {
        self.issue("other-name", "DNS:elsewhere.example", "30")
    }

    /// One without an authority, marked as one itself, which is what openssl makes unless told otherwise.
    pub(crate) fn without_authority(&self, names: &str) -> TlsFiles {
        self.self_signed("own", "/CN=own", &["-addext", &format!("subjectAltName={names}")]);
        self.files("own")
    }

    fn issue(&self, name: &str, names: &str, days: &str) -> TlsFiles {
        let (key, request, certificate) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.pem"));
        std::fs::write(
            self.path("extensions"),
            format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n"),
        )
        .unwrap();
        let subject = format!("/CN={name}");
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &request,
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            days,
            "-extfile",
            "extensions",
            "-out",
            &certificate,
        ]);
        self.files(name)
    }

    fn files(&self, name: &str) -> TlsFiles {
        TlsFiles { certificate: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) }
    }

    fn openssl(&self, arguments: &[&str]) {
        let output =
            Command::new("openssl").current_dir(self.folder.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The SHA-256 thumbprint as openssl prints it, with colons.
pub(crate) fn thumbprint(certificate: &Path) -> String {
    let output = Command::new("openssl")
        .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
        .arg(certificate)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.trim().rsplit('=').next().unwrap().to_owned()
}

/// A tenant that speaks https with that certificate.
pub(crate) fn tenant_with(files: TlsFiles) -> Sandbox {
    Sandbox::start(SandboxOptions { tls: Some(files), ..SandboxOptions::default() })
}

/// The property as a line below Advanced Configurations.
pub(crate) fn server_cert(value: impl std::fmt::Display) -> String {
    format!("      SSLServerCert: '{value}'\n")
}

/// The property as a block with the PEM text.
pub(crate) fn server_cert_text(certificate: &Path) -> String {
    let pem = std::fs::read_to_string(certificate).unwrap();
    let lines: String = pem.lines().map(|line| format!("        {line}\n")).collect();
    format!("      SSLServerCert: |\n{lines}")
}
