//! Service Fabric's token service: a TLS server with a certificate of its own, known by its thumbprint alone.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use o365_sandbox::{TlsFiles, TlsFront};

use crate::machine::start;
use crate::support::{Agent, tenant};

/// A self-signed certificate for no name that anybody asks for, and its SHA-1 thumbprint as openssl prints it.
fn certificate(folder: &Path, name: &str) -> (TlsFiles, String) {
    let files =
        TlsFiles { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) };
    let openssl = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (pem, key) = (files.certificate.to_str().unwrap(), files.key.to_str().unwrap());
    let subject = "/CN=fabric.invalid";
    openssl(&[
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject, "-keyout", key,
        "-out", pem,
    ]);
    let line = openssl(&["x509", "-in", pem, "-noout", "-fingerprint", "-sha1"]);
    (files, line.trim().split('=').nth(1).unwrap().to_owned())
}

/// A plain server behind the TLS front: answers every request alike and keeps what it was asked.
fn server(answer: &'static str) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut buffer = [0; 2048];
            while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                match stream.read(&mut buffer) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => head.extend_from_slice(&buffer[..count]),
                }
            }
            kept.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            let _caller_may_be_gone = stream.write_all(answer.as_bytes());
        }
    });
    (port, asked)
}

fn environment(front: &TlsFront, thumbprint: &str) -> Vec<(&'static str, String)> {
    vec![
        ("IDENTITY_ENDPOINT", format!("https://127.0.0.1:{}/metadata/identity/oauth2/token", front.port())),
        ("IDENTITY_HEADER", "fabric-secret".to_owned()),
        ("IDENTITY_SERVER_THUMBPRINT", thumbprint.to_owned()),
    ]
}

async fn error_code(agent: &Agent) -> String {
    let view = agent.get("/v1/connections/machine").await.expect(200);
    view["token"]["lastError"]["code"].as_str().unwrap_or_default().to_owned()
}

const TOKEN: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 81\r\n\r\n{\"token_type\":\"Bearer\",\"access_token\":\"fabric-token\",\"expires_on\":\"4102444800\"}  ";

#[tokio::test]
async fn the_token_comes_from_the_holder_of_the_certificate_and_from_nobody_else() {
    let (sandbox, folder) = (tenant(), tempfile::tempdir().unwrap());
    let ((files, thumbprint), (_, other)) =
        (certificate(folder.path(), "fabric"), certificate(folder.path(), "other"));
    let (port, asked) = server(TOKEN);
    let front = TlsFront::start(&files, port).unwrap();
    for written in [thumbprint.clone(), thumbprint.replace(':', "").to_lowercase()] {
        // The drop-in names a proxy on which nothing listens: it must not be used here.
        let agent = start(&sandbox, &environment(&front, &written), "    OAuthClientId: somebody-else\n");
        agent.await_state("machine", "ok").await;
        let request = asked.lock().unwrap().pop().unwrap();
        assert!(request.starts_with("GET /metadata/identity/oauth2/token?api-version=2019-07-01-preview&resource=http%3A%2F%2F127.0.0.1"), "{request}");
        assert!(request.contains("\r\nsecret: fabric-secret\r\n"), "{request}");
        assert!(!request.contains("somebody-else"), "the deployment has chosen the identity: {request}");
    }
    asked.lock().unwrap().clear();
    let agent = start(&sandbox, &environment(&front, &other), "");
    agent.await_state("machine", "degraded").await;
    assert_eq!(error_code(&agent).await, "identity_not_trusted");
    assert!(asked.lock().unwrap().is_empty(), "the secret was not sent");
    assert!(!agent.log().contains("fabric-secret"));
}

#[tokio::test]
async fn an_application_without_an_identity_needs_an_administrator() {
    let (sandbox, folder) = (tenant(), tempfile::tempdir().unwrap());
    let (files, thumbprint) = certificate(folder.path(), "fabric");
    let (port, asked) = server("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}");
    let front = TlsFront::start(&files, port).unwrap();
    let agent = start(&sandbox, &environment(&front, &thumbprint), "");
    agent.await_state("machine", "needs_admin").await;
    assert_eq!(error_code(&agent).await, "identity_not_found");
    assert_eq!(asked.lock().unwrap().len(), 1);
}
