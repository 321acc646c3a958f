//! What only shows on the inside: which connections keep their identity, and what the digest notices.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::dropin::{DropInFile, Snapshot};
use crate::secret::Secret;
use crate::settings::{self, Host, Settings, ThisHost};

/// A machine where everything is in order.
struct FakeHost;

impl Host for FakeHost {
    fn secret_file(&self, path: &Path) -> Result<Secret, String> {
        Ok(format!("file {}", path.display()).into())
    }

    fn public_file(&self, path: &Path) -> Result<Vec<u8>, String> {
        Err(format!("{} is missing.", path.display()))
    }

    fn credential(&self, name: &str) -> Result<Secret, String> {
        Ok(format!("credential {name}").into())
    }

    fn environment(&self, name: &str) -> Result<Secret, String> {
        Ok(format!("environment {name}").into())
    }

    fn check_writable_folder(&self, folder: &Path) -> Result<(), String> {
        if folder == Path::new("/locked") {
            Err("The agent cannot make files in /locked.".to_owned())
        } else {
            Ok(())
        }
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf, String> {
        Ok(PathBuf::from(path.display().to_string().replace("/link/", "/real/")))
    }
}

fn settings(text: &str) -> Settings {
    settings::parse(Some(Path::new("jitterbit.conf")), text, &FakeHost).unwrap().settings
}

fn snapshot(files: &[(&str, &str)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (name, text) in files {
        snapshot = snapshot.with(DropInFile::parse(Path::new(name), text.as_bytes()).unwrap());
    }
    snapshot
}

const BASE: &str = "connections:\n  A:\n    AuthScheme: AzureServicePrincipal\n    InitiateOAuth: REFRESH\n    \
                    OAuthClientId: id\n    OAuthClientSecret: s\n    AzureTenant: t\n";

#[test]
fn every_property_that_counts_changes_the_digest() {
    let settings = settings("[Proxy]\nHost=proxy.example\n[Settings]\nEnableLocalFileLocation=1\n");
    let digest = |lines: &str| {
        let registry = Registry::new();
        let changes =
            registry.apply(&snapshot(&[("a.yaml", &format!("{BASE}{lines}"))]), &settings, &FakeHost);
        assert_eq!(changes.faults, [], "{lines}");
        registry.get("A").unwrap().digest
    };
    let base = digest("");
    assert_eq!(base, digest("    # only a comment\n"));
    assert_eq!(
        base,
        digest("    Timeout: 60\n    RTK: x\n"),
        "a default written out, and something without effect"
    );
    let mut seen = vec![base];
    for lines in [
        "    OAuthAccessToken: a\n",
        "    OAuthAccessToken: b\n",
        "    OAuthRefreshToken: a\n",
        "    Scope: https://graph.microsoft.com/.default\n",
        "    OAuthExpiresIn: 5\n",
        "    OAuthTokenTimestamp: 1700000000000\n",
        "    OAuthAccessTokenURL: https://login.microsoftonline.com/t/oauth2/v2.0/token\n",
        "    OAuthAuthorizationURL: https://login.microsoftonline.com/t/oauth2/v2.0/authorize\n",
        "    SSLServerCert: 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n",
        "    SSLServerCert: 01112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n",
        "    FirewallType: SOCKS5\n    FirewallServer: p\n",
        "    FirewallType: SOCKS5\n    FirewallServer: p\n    FirewallUser: u\n    FirewallPassword: x\n",
        "    FirewallType: SOCKS5\n    FirewallServer: p\n    FirewallUser: u\n    FirewallPassword: y\n",
        "    FirewallType: TUNNEL\n    FirewallServer: p\n",
        "    ProxyServer: q\n    ProxySSLType: ALWAYS\n",
        "    AzureEnvironment: USGOVT\n",
        "    AzureEnvironment: USGOVTDOD\n",
        "    AzureEnvironment: CHINA\n",
        "    OAuthSettingsLocation: /real/a\n",
        "    OAuthSettingsLocation: memory://a\n",
        "    UseProxySettings: 1\n",
        "    ProxyServer: p\n",
        "    ProxyServer: p\n    ProxyUser: u\n    ProxyPassword: x\n",
        "    ProxyServer: p\n    ProxyUser: u\n    ProxyPassword: y\n",
        "    Timeout: 61\n",
        "    UserId: u\n",
        "    MaxRows: 5\n",
        "    Pagesize: 5\n",
        "    Readonly: true\n",
        "    MailboxConcurrency: 5\n",
        "    activities: {Q: {type: Query, object: Messages}}\n",
        "variables: {v: w}\n",
    ] {
        let digest = digest(lines);
        assert!(!seen.contains(&digest), "{lines}");
        seen.push(digest);
    }
    assert_eq!(
        digest("    OAuthSettingsLocation: /link/a\n"),
        digest("    OAuthSettingsLocation: /real/a\n")
    );
}

#[test]
fn the_national_clouds_have_their_own_servers() {
    for (environment, authority, graph) in [
        ("global", "login.microsoftonline.com", "graph.microsoft.com"),
        ("USGOVT", "login.microsoftonline.us", "graph.microsoft.us"),
        ("USGOVTDOD", "login.microsoftonline.us", "dod-graph.microsoft.us"),
        ("China", "login.partner.microsoftonline.cn", "microsoftgraph.chinacloudapi.cn"),
    ] {
        let registry = Registry::new();
        let text = format!("{BASE}    AzureEnvironment: {environment}\n");
        registry.apply(&snapshot(&[("a.yaml", &text)]), &settings(""), &FakeHost);
        let endpoints = registry.get("A").unwrap().endpoints.clone();
        assert_eq!(endpoints.authority.as_str(), format!("https://{authority}/"));
        assert_eq!(endpoints.graph.as_str(), format!("https://{graph}/v1.0/"));
    }
}

#[test]
fn store_files_are_compared_by_where_they_really_are() {
    let open = settings("[Settings]\nEnableLocalFileLocation=1\n");
    let with = |name: &str, path: &str| {
        format!("{}    OAuthSettingsLocation: {path}\n", BASE.replace("  A:", &format!("  {name}:")))
    };
    let two = snapshot(&[("a.yaml", &with("A", "/real/x")), ("b.yaml", &with("B", "/link/x"))]);
    let set = Registry::new().preview(&two, &open, &FakeHost);
    assert_eq!(set.len(), 2, "{set:?}");
    assert!(
        set.iter().all(|fault| fault.message.contains("'A' and 'B'") && fault.line == Some(8)),
        "{set:?}"
    );
    let locked = snapshot(&[("a.yaml", &with("A", "/locked/x"))]);
    assert!(Registry::new().preview(&locked, &open, &FakeHost)[0].message.contains("cannot make files"));
    // The same memory store may be shared.
    let memory = snapshot(&[("a.yaml", &with("A", "memory://x")), ("b.yaml", &with("B", "memory://x"))]);
    assert_eq!(Registry::new().preview(&memory, &settings(""), &FakeHost), []);
}

#[test]
fn the_agents_proxy_is_used_only_by_those_who_ask() {
    let settings =
        settings("[Proxy]\nHost=proxy.example\nPort=3128\nUser=u\nPasswordCredential=p\nExceptions=x\n");
    let proxy = |lines: &str| {
        let registry = Registry::new();
        registry.apply(&snapshot(&[("a.yaml", &format!("{BASE}{lines}"))]), &settings, &FakeHost);
        registry.get("A").unwrap().proxy.clone()
    };
    assert!(proxy("").is_none() && proxy("    UseProxySettings: false\n").is_none());
    let agents = proxy("    UseProxySettings: true\n").unwrap();
    assert_eq!(
        (agents.host.as_str(), agents.port, agents.exceptions),
        ("proxy.example", 3128, vec!["x".to_owned()])
    );
    assert_eq!(agents.password.unwrap().expose(), "credential p");
    let own = proxy("    UseProxySettings: true\n    ProxyServer: own.example\n").unwrap();
    assert_eq!((own.host.as_str(), own.port, own.user), ("own.example", 80, None));
    let without =
        proxy("    ProxyServer: own.example\n    ProxyUser: u\n    ProxyAuthScheme: none\n").unwrap();
    assert_eq!(without.user, None);
}

#[test]
fn the_machines_proxy_is_used_only_by_those_who_ask() {
    let host = ThisHost::with_environment(|name| match name {
        "https_proxy" => Some("http://us%20er:pw@proxy.example:3128".to_owned()),
        "NO_PROXY" => Some("contoso.com,10.0.0.0/8".to_owned()),
        "http_proxy" => Some("http://other.example".to_owned()),
        _ => None,
    });
    let applied = |lines: &str, host: &ThisHost| {
        let registry = Registry::new();
        let settings = settings("[Proxy]\nHost=agents.example\n");
        registry.apply(&snapshot(&[("a.yaml", &format!("{BASE}{lines}"))]), &settings, host);
        registry
    };
    let asked = applied("    ProxyAutoDetect: true\n", &host);
    let found = asked.get("A").unwrap().proxy.clone().unwrap();
    assert_eq!(
        (found.named_by, found.host.as_str(), found.port, found.user.as_deref()),
        ("https_proxy", "proxy.example", 3128, Some("us er"))
    );
    assert_eq!(found.exceptions, ["contoso.com", ".contoso.com"]);
    assert!(asked.current().files[0].notices[0].message.contains("'10.0.0.0/8'"));
    assert!(applied("", &host).get("A").unwrap().proxy.is_none());
    let bare = ThisHost::with_environment(|_| None);
    assert!(applied("    ProxyAutoDetect: true\n", &bare).get("A").unwrap().proxy.is_none());
    let wrong = ThisHost::with_environment(|name| (name == "all_proxy").then(|| "ftp://x".to_owned()));
    for (lines, host, word) in [
        ("    ProxyAutoDetect: true\n", &wrong, "all_proxy is not a proxy's address"),
        ("    ProxyAutoDetect: true\n    ProxyServer: p\n", &host, "ProxyServer names another one"),
        (
            "    ProxyAutoDetect: true\n    UseProxySettings: true\n",
            &host,
            "UseProxySettings names another one",
        ),
        ("    ProxyAutoDetect: true\n    ProxyUser: u\n", &host, "ProxyUser needs ProxyServer"),
    ] {
        let faults = applied(lines, host).current().faults.clone();
        assert!(faults.iter().any(|fault| fault.message.contains(word)), "{faults:?}");
    }
}

#[test]
fn readers_see_whole_sets_and_unchanged_connections_stay_the_same() {
    let registry = Registry::new();
    let (settings, other) = (settings(""), BASE.replace("  A:", "  B:"));
    registry.apply(&snapshot(&[("a.yaml", BASE), ("b.yaml", &other)]), &settings, &FakeHost);
    let (set, a) = (registry.current(), registry.get("A").unwrap());
    let changed = other.replace("AzureTenant: t", "AzureTenant: u");
    let changes = registry.apply(&snapshot(&[("a.yaml", BASE), ("b.yaml", &changed)]), &settings, &FakeHost);
    assert_eq!((changes.changed.len(), changes.unchanged), (1, 1));
    assert!(Arc::ptr_eq(&a, &registry.get("A").unwrap()));
    let old = &set.connections[&ConnectionName::new("B").unwrap()];
    assert_eq!(old.auth.tenant.as_deref(), Some("t"), "a set that was handed out does not change");
    assert!(registry.get("B").unwrap().generation > old.generation);
    let changes = registry.apply(&snapshot(&[("a.yaml", BASE)]), &settings, &FakeHost);
    assert_eq!(changes.removed.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["B"]);
    assert!(registry.get("B").is_none() && registry.get("no:name").is_none());
}

#[test]
fn a_request_may_set_only_what_was_left_open() {
    let registry = Registry::new();
    let text = BASE.replace("AzureTenant: t", "AzureTenant: \"[tenant]\"")
        + "variables: {tenant: t, folder: inbox}\n";
    let changes = registry.apply(&snapshot(&[("a.yaml", &text)]), &settings(""), &FakeHost);
    assert_eq!(changes.faults, []);
    let connection = registry.get("A").unwrap();
    let empty = BTreeMap::new();
    let lookup = connection.variable_lookup(&empty).unwrap();
    assert_eq!((lookup("folder").as_deref(), lookup("none")), (Some("inbox"), None));
    let request = BTreeMap::from([("folder".to_owned(), "sent".to_owned())]);
    assert_eq!(connection.variable_lookup(&request).unwrap()("folder").as_deref(), Some("sent"));
    let request = BTreeMap::from([("tenant".to_owned(), "evil".to_owned())]);
    assert!(connection.variable_lookup(&request).is_err());
}

#[test]
fn many_files_with_chains_of_trouble_end_in_a_bounded_time() {
    // Each file needs the variable of the next one, and the last one is faulty: all of them turn bad, one a round.
    let mut snapshot = Snapshot::default();
    for index in 0..40 {
        let text = format!(
            "{}variables: {{v{index}: x}}\n",
            BASE.replace("  A:", &format!("  A{index}:"))
                .replace("AzureTenant: t", &format!("AzureTenant: \"[v{}]\"", index + 1))
        );
        snapshot = snapshot
            .with(DropInFile::parse(Path::new(&format!("{index:02}.yaml")), text.as_bytes()).unwrap());
    }
    let faults = Registry::new().preview(&snapshot, &settings(""), &FakeHost);
    assert_eq!(faults.len(), 40);
}

#[test]
fn thousands_of_faults_are_found_without_thousands_of_parses() {
    let mut text = "connections:\n".to_owned();
    for index in 0..3000 {
        text.push_str(&format!("  c{index}:\n    AuthScheme: AzureAD\n    Colour: red\n    RTK: x\n"));
    }
    let watch = crate::clock::Clock::stopwatch();
    let faults = Registry::new().preview(&snapshot(&[("a.yaml", &text)]), &settings(""), &FakeHost);
    assert_eq!(faults.len(), 6000);
    assert!(faults.iter().filter(|fault| fault.line.is_some()).count() <= crate::dropin::FAULT_LIMIT);
    // With a parse for each of them this takes minutes.
    assert!(watch.elapsed() < std::time::Duration::from_secs(20), "{:?}", watch.elapsed());
}
