//! All certificate types: each gets a token by an assertion that the tenant verifies, or gives its exact refusal.

use o365_sandbox::{CONFIDENTIAL_CLIENT_ID, Sandbox};

use crate::files::{Files, PASSWORD};
use crate::support::{Agent, Setup, eventually, tenant};

/// What one row is to come to.
#[derive(Debug, Clone)]
enum Wanted {
    Token,
    Refusal(&'static str, &'static str),
}
use Wanted::{Refusal, Token};

/// One connection: its type, what is in OAuthJWTCert, the lines that go with it.
struct Row {
    kind: &'static str,
    value: String,
    more: String,
    wanted: Wanted,
}

/// One connection of a service principal; YAML strings are written as JSON, which YAML reads.
fn connection(sandbox: &Sandbox, name: &str, kind: &str, value: &str, more: &str) -> String {
    let value = if value.is_empty() {
        String::new()
    } else {
        format!("    OAuthJWTCert: {}\n", serde_json::json!(value))
    };
    format!(
        "  {name}:\n    AuthScheme: AzureServicePrincipalCert\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: {CONFIDENTIAL_CLIENT_ID}\n    AzureTenant: {}\n{value}    OAuthJWTCertType: {kind}\n    AzureEnvironment: CUSTOM\n    AuthorityHost: {}\n    GraphEndpoint: {}\n{more}",
        sandbox.tenant_id(),
        sandbox.login_url(),
        sandbox.graph_url()
    )
}

fn rows(files: &Files) -> Vec<Row> {
    let path = |name: &str| files.path(name).display().to_string();
    let password = format!("    OAuthJWTCertPassword: {PASSWORD}\n");
    let certificate = format!("    OAuthJWTCertificate: {}\n", path("cert.pem"));
    let key = format!("    OAuthJWTKey: {}\n", path("key.pem"));
    let sha256 = format!("    OAuthJWTCertThumbprint: '{}'\n", files.thumbprint("sha256"));
    let sha1 = format!("    OAuthJWTCertThumbprint: '{}'\n", files.thumbprint("sha1"));
    let mut rows = Vec::new();
    let mut row = |kind: &'static str, value: String, more: &[&str], wanted: Wanted| {
        rows.push(Row { kind, value, more: more.concat(), wanted });
    };
    for name in ["new.pfx", "old.pfx", "rc2.pfx", "modern.jks"] {
        row("PFXFILE", path(name), &[&password], Token);
    }
    row("PFXFILE", path("empty.pfx"), &[], Token);
    row("PFXBLOB", files.base64("new.pfx"), &[&password], Token);
    row("JKSFILE", path("store.jks"), &[&password], Token);
    row("JKSFILE", path("modern.jks"), &[&password], Token);
    row("JKSBLOB", files.base64("store.jks"), &[&password], Token);
    for name in ["both.pem", "cert-first.pem", "pkcs1-both.pem"] {
        row("PEMKEY_FILE", path(name), &[], Token);
    }
    for name in [
        "traditional-aes",
        "traditional-3des",
        "encrypted",
        "encrypted-3des",
        "encrypted-scrypt",
        "encrypted-sha1-3des",
        "encrypted-rc2-40",
        "encrypted-md5-des",
        "encrypted-sha1-des",
    ] {
        row("PEMKEY_FILE", path(&format!("{name}-both.pem")), &[&password], Token);
        row(
            "PEMKEY_FILE",
            path(&format!("{name}-both.pem")),
            &["    OAuthJWTCertPassword: wrong\n"],
            Refusal("certificate_password", "OAuthJWTCertPassword"),
        );
    }
    row("PEMKEY_BLOB", files.text("both.pem"), &[], Token);
    row("PEMKEY_BLOB", files.base64("both.pem"), &[], Token);
    row("PEMKEY_FILE", path("key.pem"), &[&certificate], Token);
    row("PEMKEY_FILE", path("key.pem"), &[&sha256], Token);
    row("PEMKEY_FILE", path("key.pem"), &[&sha1], Token);
    row(
        "PEMKEY_FILE",
        path("both.pem"),
        &["    OAuthAssertionAlgorithm: RS256\n    OAuthAssertionSendX5c: true\n"],
        Token,
    );
    for name in ["plain2.ppk", "plain3.ppk"] {
        row("PPKFILE", path(name), &[&certificate], Token);
    }
    for name in ["encrypted2.ppk", "encrypted3.ppk"] {
        row("PPKFILE", path(name), &[&password, &sha256], Token);
        row(
            "PPKFILE",
            path(name),
            &["    OAuthJWTCertPassword: wrong\n", &sha256],
            Refusal("certificate_password", "OAuthJWTCertPassword"),
        );
    }
    row("XMLFILE", path("key.xml"), &[&certificate], Token);
    row("XMLBLOB", files.text("key.xml"), &[&sha256], Token);
    row("XMLBLOB", files.base64("key.xml"), &[&sha256], Token);
    row("P7BFILE", path("cert.p7b"), &[&key], Token);
    row("P7BFILE", path("cert.p7b.der"), &[&key], Token);
    row("PUBLIC_KEY_FILE", path("cert.pem"), &[&key], Token);
    row("PUBLIC_KEY_FILE", path("cert.der"), &[&key], Token);
    row("PUBLIC_KEY_BLOB", files.text("cert.pem"), &[&key], Token);
    row("PUBLIC_KEY_BLOB", files.base64("cert.der"), &[&key], Token);
    row("SSHPUBLIC_KEY_FILE", path("key.pub"), &[&key, &certificate], Token);
    row("SSHPUBLIC_KEY_BLOB", files.text("key.pub"), &[&key, &sha256], Token);
    for subject in ["'*'", "mail-agent", "'CN=mail-agent, O=Contoso, C=DE'", "'C=DE,O=Contoso,CN=mail-agent'"]
    {
        row("USER", String::new(), &[&format!("    OAuthJWTCertSubject: {subject}\n")], Token);
        row("MACHINE", "MY".to_owned(), &[&format!("    OAuthJWTCertSubject: {subject}\n")], Token);
    }
    // Refusals.
    row(
        "P7BFILE",
        path("cert.p7b"),
        &[],
        Refusal(
            "certificate_incomplete",
            "OAuthJWTCertType P7BFILE holds no private key. Add OAuthJWTKey, or use",
        ),
    );
    row(
        "PUBLIC_KEY_FILE",
        path("cert.pem"),
        &[],
        Refusal("certificate_incomplete", "holds no private key. Add OAuthJWTKey, or use"),
    );
    row(
        "PUBLIC_KEY_BLOB",
        files.text("cert.pem"),
        &[],
        Refusal("certificate_incomplete", "holds no private key"),
    );
    for (kind, value) in
        [("SSHPUBLIC_KEY_FILE", path("key.pub")), ("SSHPUBLIC_KEY_BLOB", files.text("key.pub"))]
    {
        row(
            kind,
            value,
            &[],
            Refusal(
                "certificate_incomplete",
                "neither a private key nor a certificate. Add OAuthJWTKey and OAuthJWTCertificate or OAuthJWTCertThumbprint",
            ),
        );
    }
    for (kind, name) in [("PPKFILE", "plain3.ppk"), ("XMLFILE", "key.xml"), ("PEMKEY_FILE", "key.pem")] {
        row(
            kind,
            path(name),
            &[],
            Refusal("certificate_incomplete", "Add OAuthJWTCertificate or OAuthJWTCertThumbprint"),
        );
    }
    row(
        "PFXFILE",
        path("new.pfx"),
        &["    OAuthJWTCertPassword: wrong\n"],
        Refusal("certificate_password", "OAuthJWTCertPassword"),
    );
    row(
        "JKSFILE",
        path("store.jks"),
        &["    OAuthJWTCertPassword: wrong\n"],
        Refusal("certificate_password", "OAuthJWTCertPassword"),
    );
    row("JKSFILE", path("store.jceks"), &[&password], Refusal("certificate_unusable", "JCEKS"));
    row(
        "PEMKEY_FILE",
        path("encrypted-rc4-both.pem"),
        &[&password],
        Refusal("certificate_unusable", "openssl pkcs8 -topk8 -v2 aes-256-cbc"),
    );
    for (name, more) in [("openssh", ""), ("openssh-encrypted", password.as_str())] {
        let refusal = Refusal("certificate_unusable", "ssh-keygen -p -m PEM -f FILE");
        row("PEMKEY_FILE", path(name), &[&certificate, more], refusal);
    }
    row("PEMKEY_FILE", path("ec-both.pem"), &[], Refusal("certificate_unusable", "elliptic curve"));
    row("PEMKEY_FILE", path("expired-both.pem"), &[], Refusal("certificate_expired", "expired at"));
    row(
        "PEMKEY_FILE",
        path("future-both.pem"),
        &[],
        Refusal("certificate_not_yet_valid", "not valid before 2040"),
    );
    row(
        "PEMKEY_FILE",
        path("mismatch.pem"),
        &[],
        Refusal("certificate_mismatch", "no certificate belongs to the private key"),
    );
    row(
        "PEMKEY_FILE",
        path("both.pem"),
        &["    OAuthJWTCertSubject: CN=nobody\n"],
        Refusal("certificate_subject", "There is 'C=DE, O=Contoso, CN=mail-agent'"),
    );
    row("PEMKEY_FILE", path("other-cert.pem"), &[&key], Refusal("certificate_mismatch", "belongs"));
    row("PFXFILE", path("noise"), &[], Refusal("certificate_unreadable", "larger than the limit"));
    row("PFXFILE", path("missing"), &[], Refusal("certificate_unreadable", "missing"));
    row(
        "PFXFILE",
        path("both.pem"),
        &[],
        Refusal("certificate_unusable", "it is PEM text, not what OAuthJWTCertType PFXFILE says"),
    );
    for kind in ["PFXFILE", "JKSFILE", "PEMKEY_FILE", "PPKFILE", "XMLFILE", "P7BFILE"] {
        row(kind, path("garbage"), &[], Refusal("certificate_unusable", "neither a key nor a certificate"));
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_certificate_type_signs_or_says_what_is_missing() {
    let (sandbox, files) = (tenant(), Files::make());
    assert_eq!(sandbox.register_certificate(&files.text("cert.pem")), 1);
    let setup = Setup::new();
    for folder in ["state/certificates", "certificates"] {
        let folder = setup.path().join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(files.path("both.pem"), folder.join("mail.pem")).unwrap();
        std::fs::copy(files.path("noise"), folder.join("aaa-noise")).unwrap();
    }
    std::fs::set_permissions(setup.path().join("state"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    let rows = rows(&files);
    let mut text = "connections:\n".to_owned();
    for (number, row) in rows.iter().enumerate() {
        text.push_str(&connection(&sandbox, &format!("row{number}"), row.kind, &row.value, &row.more));
    }
    let agent = setup.drop_in("rows.yaml", &text).start();
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let token = settled(&agent, &format!("row{number}")).await;
        let error = &token["lastError"];
        let is_right = match &row.wanted {
            Token => token["state"] == "ok",
            Refusal(code, part) => {
                token["state"] == "needs_admin"
                    && error["code"] == *code
                    && error["message"].as_str().is_some_and(|message| message.contains(part))
            }
        };
        if !is_right {
            wrong.push(format!(
                "{number} {} {:?} wanted {:?}: {token}",
                row.kind,
                row.value.get(..60.min(row.value.len())),
                row.wanted
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(!agent.log().contains(PASSWORD), "no password in the log");
    let forms = sandbox.token_requests();
    assert!(forms.iter().all(|form| !form.body.contains("client_secret")));
}

/// The token part of a connection's status, once it has settled.
async fn settled(agent: &Agent, name: &str) -> serde_json::Value {
    let mut token = serde_json::Value::Null;
    eventually(&format!("{name} settled"), async || {
        token = agent.get(&format!("/v1/connections/{name}")).await.expect(200)["token"].clone();
        ["ok", "needs_admin", "refused"].iter().any(|state| token["state"] == *state)
    })
    .await;
    token
}

#[tokio::test]
async fn a_renewed_file_is_used_without_a_restart_and_the_test_names_the_certificate() {
    let (sandbox, files) = (tenant(), Files::make());
    files.join("live.pem", &["other-key.pem", "other-cert.pem"]);
    std::fs::set_permissions(files.path("live.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    let live = files.path("live.pem").display().to_string();
    let text = format!("connections:\n{}", connection(&sandbox, "app", "PEMKEY_FILE", &live, ""));
    sandbox.register_certificate(&files.text("cert.pem"));
    let agent = Setup::new().drop_in("a.yaml", &text).start();
    let token = settled(&agent, "app").await;
    assert_eq!(
        (&token["state"], &token["lastError"]["aadsts"]),
        (&"needs_admin".into(), &700_027.into()),
        "{token}"
    );
    assert!(token["certificateExpiresAt"].is_string(), "{token}");
    files.join("live.pem", &["key.pem", "cert.pem"]);
    agent.call(http::Method::POST, "/v1/connections/app/refresh", &[], None).await.expect(200);
    assert_eq!(agent.state_of("app").await, "ok");
    let test = agent.call(http::Method::POST, "/v1/connections/app/test", &[], None).await.expect(200);
    assert_eq!(test["ok"], true, "{test}");
    assert!(test["steps"][0]["message"].as_str().unwrap().contains("CN=mail-agent"), "{test}");
    files.join("live.pem", &["key.pem", "expired.pem"]);
    let test = agent.call(http::Method::POST, "/v1/connections/app/test", &[], None).await.expect(200);
    assert!(
        test["steps"][0]["ok"] == false
            && test["steps"][0]["message"].as_str().unwrap().contains("expired at"),
        "{test}"
    );
    // A key that others can read is not used.
    files.join("live.pem", &["key.pem", "cert.pem"]);
    std::fs::set_permissions(files.path("live.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .unwrap();
    let test = agent.call(http::Method::POST, "/v1/connections/app/test", &[], None).await.expect(200);
    assert!(test["steps"][0]["message"].as_str().unwrap().contains("chmod 600"), "{test}");
}
