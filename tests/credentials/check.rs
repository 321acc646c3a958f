//! `o365-agent check` opens the certificates that drop-ins name, and says at which line what has to be changed.

use std::process::Command;

use crate::files::Files;
use crate::support::BINARY;

#[test]
fn check_opens_certificates_and_key_files_and_names_the_line() {
    let (files, folder) = (Files::make(), tempfile::tempdir().unwrap());
    let drop_ins = folder.path().join("agent.d");
    std::fs::create_dir(&drop_ins).unwrap();
    let conf = folder.path().join("j.conf");
    let state = folder.path().join("state");
    let text =
        format!("[Agent]\nDropInDirectory={}\nStateDirectory={}\n", drop_ins.display(), state.display());
    std::fs::write(&conf, text).unwrap();
    let path = |name: &str| files.path(name).display().to_string();
    // Each connection's certificate stands at line 9, what else there is from line 11.
    let connection = |name: &str, kind: &str, file: &str, more: &str| {
        let text = format!(
            "connections:\n  {name}:\n    AuthScheme: AzureServicePrincipal\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: 11111111-2222-3333-4444-555555555555\n    AdvancedConfigurations:\n      # Nobody listens there, and nobody is asked.\n      AzureTenant: contoso.onmicrosoft.com\n      OAuth JWT Cert: {}\n      OAuthJWTCertType: {kind}\n{more}",
            path(file)
        );
        std::fs::write(drop_ins.join(format!("{name}.yaml")), text).unwrap();
    };
    connection("good", "PEMKEY_FILE", "both.pem", "");
    connection("password", "PFXFILE", "new.pfx", "      OAuthJWTCertPassword: wrong\n");
    connection("no-password", "PFXFILE", "new.pfx", "");
    connection("expired", "PEMKEY_FILE", "expired-both.pem", "");
    connection("subject", "PEMKEY_FILE", "both.pem", "      OAuthJWTCertSubject: CN=nobody\n");
    connection("missing", "PEMKEY_FILE", "nowhere.pem", "");
    connection("key", "PUBLIC_KEY_FILE", "cert.pem", &format!("      OAuthJWTKey: {}\n", path("garbage")));
    let output = Command::new(BINARY).args(["check", "--config"]).arg(&conf).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}");
    for (file, line, key, words) in [
        ("password", 11, "OAuthJWTCertPassword", "the password does not open it"),
        ("no-password", 9, "OAuth JWT Cert", "the password does not open it"),
        ("expired", 9, "OAuth JWT Cert", "expired at"),
        ("subject", 11, "OAuthJWTCertSubject", "no entry has the OAuthJWTCertSubject 'CN=nobody'"),
        ("missing", 9, "OAuth JWT Cert", "nowhere.pem"),
        ("key", 11, "OAuthJWTKey", "neither a key nor a certificate"),
    ] {
        let place = format!("{file}.yaml:{line}: connections.{file}.");
        let found = out.lines().find(|text| text.contains(&place) && text.contains(words));
        assert!(found.is_some_and(|text| text.contains(key)), "{place} {key} {words}:\n{out}");
    }
    assert!(out.contains("1 usable connection in 7 files, 6 faults."), "{out}");
    assert!(!out.contains("good.yaml") && !out.contains("wrong\""), "{out}");
    assert!(!state.exists(), "check makes nothing");
}
