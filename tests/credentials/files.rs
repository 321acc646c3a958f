//! Keys and certificates in all their formats, made by openssl, keytool, puttygen and ssh-keygen. Nothing is committed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The password of everything that has one.
pub(crate) const PASSWORD: &str = "s3cret pass";

/// A folder with one RSA key, its certificate, and both in every format.
#[derive(Debug)]
pub(crate) struct Files {
    folder: tempfile::TempDir,
}

/// Runs a tool to its end; its words are shown when it fails.
pub(crate) fn run(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed ({error}); tests/run.sh installs it"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

impl Files {
    pub(crate) fn make() -> Self {
        let folder = tempfile::Builder::new().prefix("o365-credentials").tempdir().unwrap();
        let files = Self { folder };
        files.keys();
        files.containers();
        files.make_private();
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The file in base64 without line ends.
    pub(crate) fn base64(&self, name: &str) -> String {
        STANDARD.encode(std::fs::read(self.path(name)).unwrap())
    }

    pub(crate) fn openssl(&self, line: &str) -> String {
        let arguments: Vec<&str> =
            line.split(' ').map(|word| if word == "PASS" { "pass:s3cret pass" } else { word }).collect();
        run(self.folder.path(), "openssl", &arguments)
    }

    pub(crate) fn join(&self, name: &str, parts: &[&str]) {
        let text: String = parts.iter().map(|part| self.text(part)).collect();
        std::fs::write(self.path(name), text).unwrap();
    }

    /// The certificate's thumbprint in hexadecimal with colons, as openssl prints it.
    pub(crate) fn thumbprint(&self, algorithm: &str) -> String {
        let line = self.openssl(&format!("x509 -in cert.pem -noout -fingerprint -{algorithm}"));
        line.trim().split('=').nth(1).unwrap().to_owned()
    }

    fn keys(&self) {
        for line in [
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem",
            "req -x509 -new -key key.pem -days 90 -subj /C=DE/O=Contoso/CN=mail-agent -out cert.pem",
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out other-key.pem",
            "req -x509 -new -key other-key.pem -days 90 -subj /CN=other -out other-cert.pem",
            "x509 -in cert.pem -outform DER -out cert.der",
            "rsa -in key.pem -traditional -out pkcs1.pem",
            "rsa -in key.pem -traditional -aes256 -passout PASS -out traditional-aes.pem",
            "rsa -in key.pem -traditional -des3 -passout PASS -out traditional-3des.pem",
            "pkcs8 -topk8 -in key.pem -v2 aes-256-cbc -passout PASS -out encrypted.pem",
            "pkcs8 -topk8 -in key.pem -v2 des3 -passout PASS -out encrypted-3des.pem",
            "pkcs8 -topk8 -in key.pem -scrypt -passout PASS -out encrypted-scrypt.pem",
            "pkcs8 -topk8 -in key.pem -v1 PBE-SHA1-3DES -passout PASS -out encrypted-sha1-3des.pem",
            "pkcs8 -topk8 -in key.pem -v1 PBE-SHA1-RC2-40 -provider legacy -provider default -passout PASS -out encrypted-rc2-40.pem",
            "pkcs8 -topk8 -in key.pem -v1 PBE-MD5-DES -provider legacy -provider default -passout PASS -out encrypted-md5-des.pem",
            "pkcs8 -topk8 -in key.pem -v1 PBE-SHA1-DES -provider legacy -provider default -passout PASS -out encrypted-sha1-des.pem",
            "pkcs8 -topk8 -in key.pem -v1 PBE-SHA1-RC4-128 -provider legacy -provider default -passout PASS -out encrypted-rc4.pem",
            "ecparam -name prime256v1 -genkey -noout -out ec-key.pem",
            "req -x509 -new -key ec-key.pem -days 90 -subj /CN=curve -out ec-cert.pem",
            "crl2pkcs7 -nocrl -certfile cert.pem -out cert.p7b",
            "crl2pkcs7 -nocrl -certfile cert.pem -outform DER -out cert.p7b.der",
        ] {
            self.openssl(line);
        }
        for (name, parts) in [
            ("both.pem", ["key.pem", "cert.pem"]),
            ("cert-first.pem", ["cert.pem", "key.pem"]),
            ("pkcs1-both.pem", ["pkcs1.pem", "cert.pem"]),
            ("traditional-aes-both.pem", ["cert.pem", "traditional-aes.pem"]),
            ("traditional-3des-both.pem", ["traditional-3des.pem", "cert.pem"]),
            ("encrypted-both.pem", ["encrypted.pem", "cert.pem"]),
            ("encrypted-3des-both.pem", ["encrypted-3des.pem", "cert.pem"]),
            ("encrypted-scrypt-both.pem", ["encrypted-scrypt.pem", "cert.pem"]),
            ("encrypted-sha1-3des-both.pem", ["encrypted-sha1-3des.pem", "cert.pem"]),
            ("encrypted-rc2-40-both.pem", ["encrypted-rc2-40.pem", "cert.pem"]),
            ("encrypted-md5-des-both.pem", ["encrypted-md5-des.pem", "cert.pem"]),
            ("encrypted-sha1-des-both.pem", ["encrypted-sha1-des.pem", "cert.pem"]),
            ("encrypted-rc4-both.pem", ["encrypted-rc4.pem", "cert.pem"]),
            ("ec-both.pem", ["ec-key.pem", "ec-cert.pem"]),
            ("mismatch.pem", ["key.pem", "other-cert.pem"]),
        ] {
            self.join(name, &parts);
        }
        // Only `openssl ca` takes dates as they are.
        std::fs::write(self.path("ca.conf"), "[ca]\ndefault_ca=c\n[c]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n").unwrap();
        std::fs::write(self.path("index"), "").unwrap();
        std::fs::write(self.path("serial"), "01\n").unwrap();
        for (name, from, to) in [
            ("expired", "20200101000000Z", "20210101000000Z"),
            ("future", "20400101000000Z", "20410101000000Z"),
        ] {
            self.openssl(&format!("req -new -key key.pem -subj /CN={name} -out {name}.csr"));
            self.openssl(&format!("ca -batch -config ca.conf -selfsign -keyfile key.pem -in {name}.csr -startdate {from} -enddate {to} -notext -out {name}.pem"));
            self.join(&format!("{name}-both.pem"), &["key.pem", &format!("{name}.pem")]);
        }
        std::fs::write(self.path("noise"), vec![0x5a; 10 * 1024 * 1024]).unwrap();
        std::fs::write(self.path("garbage"), "this is not a certificate").unwrap();
        std::fs::write(self.path("key.xml"), self.xml()).unwrap();
    }

    fn containers(&self) {
        for line in [
            "pkcs12 -export -inkey key.pem -in cert.pem -passout PASS -out new.pfx",
            "pkcs12 -export -inkey key.pem -in cert.pem -passout pass: -out empty.pfx",
            "pkcs12 -export -inkey key.pem -in cert.pem -passout PASS -certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1 -out old.pfx",
            "pkcs12 -export -legacy -inkey key.pem -in cert.pem -passout PASS -out rc2.pfx",
        ] {
            self.openssl(line);
        }
        let folder = self.folder.path();
        for (kind, name) in [("JKS", "store.jks"), ("PKCS12", "modern.jks"), ("JCEKS", "store.jceks")] {
            run(
                folder,
                "keytool",
                &[
                    "-importkeystore",
                    "-noprompt",
                    "-srckeystore",
                    "new.pfx",
                    "-srcstoretype",
                    "PKCS12",
                    "-srcstorepass",
                    PASSWORD,
                    "-destkeystore",
                    name,
                    "-deststoretype",
                    kind,
                    "-deststorepass",
                    PASSWORD,
                ],
            );
        }
        std::fs::write(self.path("passphrase"), PASSWORD).unwrap();
        run(folder, "chmod", &["600", "pkcs1.pem", "key.pem"]);
        for version in ["2", "3"] {
            let parameter = format!("version={version}");
            run(
                folder,
                "puttygen",
                &[
                    "pkcs1.pem",
                    "-O",
                    "private",
                    "--ppk-param",
                    &parameter,
                    "-o",
                    &format!("plain{version}.ppk"),
                ],
            );
            run(
                folder,
                "puttygen",
                &[
                    "pkcs1.pem",
                    "-O",
                    "private",
                    "--ppk-param",
                    &parameter,
                    "--new-passphrase",
                    "passphrase",
                    "-o",
                    &format!("encrypted{version}.ppk"),
                ],
            );
        }
        let ssh = run(folder, "ssh-keygen", &["-y", "-f", "pkcs1.pem"]);
        std::fs::write(self.path("key.pub"), ssh).unwrap();
        for (name, passphrase) in [("openssh", ""), ("openssh-encrypted", PASSWORD)] {
            let arguments = ["-q", "-t", "rsa", "-b", "2048", "-N", passphrase, "-f", name];
            run(folder, "ssh-keygen", &arguments);
        }
    }

    /// .NET's form, from the numbers that openssl shows.
    fn xml(&self) -> String {
        let text = self.openssl("rsa -in key.pem -noout -text");
        let number = |label: &str| {
            let from =
                text.find(&format!("\n{label}:")).unwrap_or_else(|| panic!("no {label}")) + label.len() + 2;
            let digits: String = text[from..]
                .lines()
                .skip(1)
                .take_while(|line| line.starts_with(' '))
                .flat_map(|line| line.chars())
                .filter(char::is_ascii_hexdigit)
                .collect();
            let bytes: Vec<u8> = (0..digits.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
                .collect();
            STANDARD.encode(bytes.strip_prefix(&[0]).unwrap_or(&bytes))
        };
        let mut xml = "<RSAKeyValue>".to_owned();
        for (tag, label) in [
            ("Modulus", "modulus"),
            ("P", "prime1"),
            ("Q", "prime2"),
            ("DP", "exponent1"),
            ("DQ", "exponent2"),
            ("InverseQ", "coefficient"),
            ("D", "privateExponent"),
        ] {
            xml.push_str(&format!("<{tag}>{}</{tag}>", number(label)));
        }
        xml + "<Exponent>AQAB</Exponent></RSAKeyValue>"
    }

    fn make_private(&self) {
        use std::os::unix::fs::PermissionsExt;
        for entry in std::fs::read_dir(self.folder.path()).unwrap() {
            std::fs::set_permissions(entry.unwrap().path(), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}
