//! Every route × token × Host × Origin × peer: exactly the answers of the table. A route that is not in the list makes
//! the test fail, and so does taking any guard out.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::{Agent, Setup};

/// Every route the agent has, with a path that may exist or not: the guard stands before routing.
const ROUTES: &[(&str, &str)] = &[
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/v1/agent"),
    ("POST", "/v1/agent/reload"),
    ("GET", "/v1/connections"),
    ("GET", "/v1/connections/{name}"),
    ("PUT", "/v1/connections/{name}"),
    ("DELETE", "/v1/connections/{name}"),
    ("POST", "/v1/connections/{name}/test"),
    ("POST", "/v1/connections/{name}/refresh"),
    ("POST", "/v1/connections/{name}/sign-in"),
    ("GET", "/v1/connections/{name}/sign-in"),
    ("DELETE", "/v1/connections/{name}/sign-in"),
    ("GET", "/v1/connections/{name}/objects"),
    ("GET", "/v1/connections/{name}/objects/{object}"),
    ("GET", "/v1/connections/{name}/procedures"),
    ("GET", "/v1/connections/{name}/procedures/{procedure}"),
    ("GET", "/v1/connections/{name}/schema"),
    ("POST", "/v1/connections/{name}/schema"),
    ("POST", "/v1/connections/{name}/query"),
    ("POST", "/v1/connections/{name}/create"),
    ("POST", "/v1/connections/{name}/update"),
    ("POST", "/v1/connections/{name}/delete"),
    ("POST", "/v1/connections/{name}/execute"),
    ("GET", "/v1/connections/{name}/activities"),
    ("GET", "/v1/connections/{name}/activities/{activity}"),
    ("PUT", "/v1/connections/{name}/activities/{activity}"),
    ("DELETE", "/v1/connections/{name}/activities/{activity}"),
    ("POST", "/v1/connections/{name}/activities/{activity}/run"),
    ("GET", "/v1/runs"),
    ("GET", "/v1/runs/{id}"),
    ("GET", "/v1/runs/{id}/results"),
    ("DELETE", "/v1/runs/{id}"),
];

const OPEN: [&str; 2] = ["/healthz", "/readyz"];

/// Status, head and body of one raw request: no client library in between that could repair what the test breaks.
fn raw(
    stream: &mut (impl Read + Write),
    method: &str,
    path: &str,
    headers: &[(&str, String)],
) -> (u16, String) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _closed = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), answer)
}

fn over_tcp(agent: &Agent, method: &str, path: &str, headers: &[(&str, String)]) -> (u16, String) {
    let mut stream = TcpStream::connect(agent.base.trim_start_matches("http://")).unwrap();
    raw(&mut stream, method, path, headers)
}

#[tokio::test]
async fn the_table_lists_every_route_of_the_router() {
    let agent = Setup::new().start();
    let document = agent.get("/openapi.json").await.expect(200);
    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "delete", "patch", "head", "options"] {
            if item.get(method).is_some() {
                documented.insert((method.to_uppercase(), path.clone()));
            }
        }
    }
    let listed: BTreeSet<_> =
        ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(documented, listed);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[test]
fn every_route_is_guarded_as_written() {
    let agent = Setup::new().start();
    let port = agent.base.rsplit(':').next().unwrap().to_owned();
    let own = format!("127.0.0.1:{port}");
    let hosts = [
        (Some(own.clone()), true),
        (Some(format!("localhost:{port}")), true),
        (Some(format!("[::1]:{port}")), true),
        (Some(format!("evil.test:{port}")), false),
        (Some(format!("localhost.:{port}")), false),
        (Some("127.0.0.1".to_owned()), false),
        (None, false),
    ];
    let origins = [
        (None, true),
        (Some(format!("http://{own}")), true),
        (Some("null".to_owned()), false),
        (Some("http://evil.test".to_owned()), false),
        (Some(format!("https://{own}")), false),
    ];
    let sites = [
        (None, true),
        (Some("same-origin"), true),
        (Some("none"), true),
        (Some("cross-site"), false),
        (Some("same-site"), false),
    ];
    let tokens = [(None, false), (Some("wrong".to_owned()), false), (Some(agent.token.clone()), true)];

    let mut cells = 0;
    for (method, route) in ROUTES {
        let path = route
            .replace("{name}", "none")
            .replace("{object}", "o")
            .replace("{procedure}", "p")
            .replace("{activity}", "a")
            .replace("{id}", "i");
        for (host, host_ok) in &hosts {
            for (origin, origin_ok) in &origins {
                for (site, site_ok) in &sites {
                    for (token, token_ok) in &tokens {
                        // The full product only where something can differ: the rest is the same code before routing.
                        let ordinary = usize::from(*host_ok)
                            + usize::from(*origin_ok)
                            + usize::from(*site_ok)
                            + usize::from(*token_ok);
                        if ordinary < 3 {
                            continue;
                        }
                        let mut headers: Vec<(&str, String)> = Vec::new();
                        headers.extend(host.clone().map(|host| ("host", host)));
                        headers.extend(origin.clone().map(|origin| ("origin", origin)));
                        headers.extend(site.map(|site| ("sec-fetch-site", site.to_owned())));
                        headers
                            .extend(token.clone().map(|token| ("authorization", format!("Bearer {token}"))));
                        let (status, answer) = over_tcp(&agent, method, &path, &headers);
                        let place = format!("{method} {path} {headers:?}: {status}");
                        let expected = if !(*host_ok && *origin_ok && *site_ok) {
                            // A request without any Host is not HTTP/1.1 at all.
                            if host.is_none() { vec![400, 403] } else { vec![403] }
                        } else if !token_ok && !OPEN.contains(route) {
                            vec![401]
                        } else {
                            vec![200, 400, 404, 409]
                        };
                        assert!(expected.contains(&status), "{place}, expected {expected:?}\n{answer}");
                        assert!(
                            !answer.to_lowercase().contains("access-control-"),
                            "{place}: no CORS header, ever"
                        );
                        if status == 403 {
                            assert!(
                                answer.contains("This request is not allowed."),
                                "{place}: says nothing more\n{answer}"
                            );
                        }
                        cells += 1;
                    }
                }
            }
        }
    }
    assert!(cells > 1_500, "{cells} cells");
}

#[test]
fn a_preflight_and_an_unknown_route_say_nothing() {
    let agent = Setup::new().start();
    let own = agent.base.trim_start_matches("http://").to_owned();
    let preflight = [
        ("host", own.clone()),
        ("origin", "http://evil.test".to_owned()),
        ("access-control-request-method", "POST".to_owned()),
    ];
    let (status, answer) = over_tcp(&agent, "OPTIONS", "/v1/agent/reload", &preflight);
    assert_eq!(status, 403, "{answer}");
    assert_eq!(
        over_tcp(&agent, "GET", "/v1/none", &[("host", own.clone())]).0,
        401,
        "unknown routes need a token as well"
    );
    let authorized = [("host", own), ("authorization", format!("Bearer {}", agent.token))];
    assert_eq!(over_tcp(&agent, "GET", "/v1/none", &authorized).0, 404);
    assert_eq!(over_tcp(&agent, "POST", "/v1/runs", &authorized).0, 405);
    let form = [
        authorized[0].clone(),
        authorized[1].clone(),
        ("content-type", "text/plain".to_owned()),
        ("content-length", "0".to_owned()),
    ];
    assert_eq!(over_tcp(&agent, "POST", "/v1/agent/reload", &form).0, 415);
}

#[test]
fn the_unix_socket_is_private_and_knows_its_peer() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new();
    let socket = setup.path().join("control.sock");
    let agent =
        setup.conf(&format!("[ControlPort]\nListen=127.0.0.1:0\nUnixSocket={}\n", socket.display())).start();
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700);
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let (status, answer) = raw(&mut stream, "GET", "/v1/agent", &[("host", "localhost".to_owned())]);
    assert_eq!(status, 200, "{answer}\n{}", agent.log());
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    assert_eq!(raw(&mut stream, "GET", "/v1/agent", &[("host", "evil.test".to_owned())]).0, 403);
}

/// Row "peer uid" of the guard table: another user of the host is turned away. Needs root to become another user.
#[test]
fn another_user_is_turned_away_at_the_unix_socket() {
    if std::process::Command::new("id").arg("-u").output().unwrap().stdout != b"0\n" {
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new();
    let socket = setup.path().join("control.sock");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(setup.path(), open).unwrap();
    let agent =
        setup.conf(&format!("[ControlPort]\nListen=127.0.0.1:0\nUnixSocket={}\n", socket.display())).start();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o777)).unwrap();
    let output = std::process::Command::new("setpriv")
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--unix-socket",
        ])
        .arg(&socket)
        .arg("http://localhost/v1/agent")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "403", "{output:?}\n{}", agent.log());
}
