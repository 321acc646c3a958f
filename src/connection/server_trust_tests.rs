//! What `SSLServerCert` takes and what it refuses, with the reasons.
#![allow(clippy::unwrap_used)]

use super::*;

/// A self-signed certificate (EC P-256, CN=test), DER in base64; it never has to be valid at any time here.
const CERTIFICATE: &str = "MIIBcTCCARmgAwIBAgIUMEw/emz0MRT/1/68He5EtmVzCKEwCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEdGVzdDAeFw0yNjExMjMxMzM4MTNaFw0zNjExMjAxMzM4MTNaMA8xDTALBgNVBAMMBHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATa1zmjs6bZTE1TNxh6WpGiK+HsKv8VytxWoHJrvCnzQkdZHH43YsiKYazBQ4GHhZnih/9AqlV0+73g6Ohqz7Hno1MwUTAdBgNVHQ4EFgQUxNfrn93OtN4YQRp6N6Tt4mOgkGMwHwYDVR0jBBgwFoAUxNfrn93OtN4YQRp6N6Tt4mOgkGMwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNGADBDAiBBfkgQKZWca6lvOHLYS0+7mKAG7MxrtO/eLCeagtn0AQIfXCL36gQ+iUWtCCmOEOM55T+oBXKplDXl+R4uZn3wPg==";

fn pem() -> String {
    format!("-----BEGIN CERTIFICATE-----\n{CERTIFICATE}\n-----END CERTIFICATE-----\n")
}

#[test]
fn thumbprints_are_taken_in_the_forms_tools_show_them() {
    let hex = "00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF";
    let colons: Vec<String> =
        hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
    let mut pin = [0; 32];
    for (index, byte) in pin.iter_mut().enumerate() {
        *byte = u8::try_from(index % 16 * 17).unwrap();
    }
    let openssl = format!("sha256 Fingerprint={}", colons.join(":"));
    for text in [hex, &hex.to_lowercase(), &colons.join(":"), &colons.join(" "), &openssl] {
        assert_eq!(thumbprint(text), Ok(ServerTrust::Thumbprint(pin)), "{text}");
    }
    for (text, reason) in [
        (&hex[..40], "SHA-1"),
        (&hex[..32], "MD5"),
        (&hex[..62], "not a certificate"),
        ("relative/path.pem", "absolute path"),
        ("", "not a certificate"),
        (&format!("{}zz", &hex[..62]), "not a certificate"),
    ] {
        let message = thumbprint(text).unwrap_err();
        assert!(message.contains(reason), "{text}: {message}");
    }
    assert!(thumbprint(&hex[..40]).unwrap_err().contains("forged"));
}

#[test]
fn certificates_are_taken_as_text_and_as_files() {
    let one = from_pem(pem().as_bytes()).unwrap();
    let ServerTrust::Certificates(der) = &one else { panic!("{one:?}") };
    assert_eq!(der.len(), 1);
    assert_eq!(from_file(&der[0]), Ok(one.clone()), "DER");
    assert_eq!(
        from_file(format!("a remark\n{}", pem()).as_bytes()),
        Ok(one.clone()),
        "PEM with text around it"
    );
    let ServerTrust::Certificates(two) = from_pem(pem().repeat(2).as_bytes()).unwrap() else { panic!() };
    assert_eq!(two.len(), 2);
    let public = pem().replace("CERTIFICATE", "PUBLIC KEY");
    let key = pem().replace("CERTIFICATE", "EC PRIVATE KEY");
    let cut = pem().replace("-----END CERTIFICATE-----", "");
    for (text, reason) in [
        (public.as_str(), "no certificate"),
        (&key, "private key"),
        (&cut, "BEGIN"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "X.509"),
    ] {
        let message = from_pem(text.as_bytes()).unwrap_err();
        assert!(message.contains(reason), "{text}: {message}");
    }
    assert!(from_file(b"noise").unwrap_err().contains("X.509"));
}

#[test]
fn any_server_is_taken_on_loopback_only() {
    let both = |authority: &str, graph: &str| Endpoints {
        authority: authority.parse().unwrap(),
        graph: graph.parse().unwrap(),
    };
    let proxy = |kind, host: &str| Proxy {
        kind,
        named_by: "ProxyServer",
        host: host.to_owned(),
        port: 1,
        user: None,
        password: None,
        exceptions: Vec::new(),
    };
    let near = both("https://127.0.0.1:1/", "https://localhost:2/v1.0/");
    for (endpoints, proxy, allowed) in [
        (near.clone(), None, true),
        (both("https://[::1]/", "http://127.9.9.9/"), None, true),
        (both("https://127.0.0.1:1/", "https://graph.microsoft.com/v1.0/"), None, false),
        (both("https://login.microsoftonline.com/", "https://127.0.0.1/"), None, false),
        (both("https://localhost.evil.example/", "https://127.0.0.1/"), None, false),
        (near.clone(), Some(proxy(ProxyKind::Https, "127.0.0.1")), true),
        (near.clone(), Some(proxy(ProxyKind::Https, "proxy.example")), false),
        (near, Some(proxy(ProxyKind::Http, "proxy.example")), true),
    ] {
        assert_eq!(is_all_loopback(Some(&endpoints), proxy.as_ref()), allowed, "{endpoints:?} {proxy:?}");
    }
    assert!(!is_all_loopback(None, None));
}
