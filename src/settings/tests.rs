//! What files come to, and what is said about wrong ones.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use super::*;
use crate::secret::Secret;

/// A machine with one secret.
struct FakeHost;

impl Host for FakeHost {
    fn secret_file(&self, path: &Path) -> Result<Secret, String> {
        if path == Path::new("/secret") { Ok("from a file".into()) } else { Err("It is missing.".to_owned()) }
    }

    fn public_file(&self, path: &Path) -> Result<Vec<u8>, String> {
        Err(format!("{} is missing.", path.display()))
    }

    fn credential(&self, name: &str) -> Result<Secret, String> {
        if name == "proxy" { Ok("from a credential".into()) } else { Err("It is missing.".to_owned()) }
    }

    fn environment(&self, _name: &str) -> Result<Secret, String> {
        Err("It is not set.".to_owned())
    }

    fn check_writable_folder(&self, _folder: &Path) -> Result<(), String> {
        Ok(())
    }

    fn canonical(&self, path: &Path) -> Result<PathBuf, String> {
        Ok(path.to_owned())
    }
}

fn read(text: &str) -> Result<Loaded, Vec<crate::error::Fault>> {
    parse(Some(Path::new("jitterbit.conf")), text, &FakeHost)
}

#[test]
fn the_example_lists_every_key_with_its_default_and_a_reason() {
    let example = include_str!("../../jitterbit.conf.example");
    let defaults = read("").unwrap().settings;
    assert_eq!(read(example).unwrap().settings, defaults, "as it stands everything is commented out");
    let (mut section, mut previous, mut listed, mut active) = ("", "", Vec::new(), String::new());
    for line in example.lines() {
        let key_line = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ') && rest.contains('='));
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((name, value)) = key_line.and_then(|rest| rest.split_once('=')) {
            assert!(previous.starts_with('#') && !previous.is_empty(), "{name} has no reason above it");
            listed.push((section, name, value));
        }
        active.push_str(key_line.unwrap_or(line));
        active.push('\n');
        previous = line;
    }
    let known: Vec<_> = KEYS.iter().map(|key| (key.section, key.name, key.default)).collect();
    assert_eq!(listed, known);
    let loaded = read(&active).unwrap();
    assert_eq!(loaded.settings, defaults, "with every key active");
    assert_eq!(loaded.notices, [], "no key of ours is unknown");
}

#[test]
fn the_defaults_are_those_of_the_design() {
    let settings = read("").unwrap().settings;
    assert_eq!(settings.control.listen, Some("127.0.0.1:7365".parse().unwrap()));
    assert_eq!(settings.control.token_file, Path::new("/var/lib/o365-agent/control-token"));
    assert!(
        !settings.enable_local_file_location
            && settings.proxy.is_none()
            && settings.local_files_root.is_none()
    );
}

#[test]
fn names_and_booleans_are_read_in_any_case() {
    for value in ["1", "true", "TRUE", "True"] {
        let text = format!("[SETTINGS]\nenablelocalfilelocation = {value}\n");
        assert!(read(&text).unwrap().settings.enable_local_file_location, "{value}");
    }
    let text =
        "[controlport]\nLISTEN=[::1]:0\nUnixSocketUsers=1000, 1001\n[Agent]\nStateDirectory=/srv/state\n";
    let settings = read(text).unwrap().settings;
    assert_eq!(settings.control.listen, Some("[::1]:0".parse().unwrap()));
    assert_eq!(settings.control.unix_socket_users, [1000, 1001]);
    assert_eq!(settings.control.token_file, Path::new("/srv/state/control-token"));
    assert_eq!(read("[ControlPort]\nListen=\n").unwrap().settings.control.listen, None);
    assert!(read("[ControlPort]\nListen=localhost:7000\n").unwrap().settings.control.listen.is_some());
}

#[test]
fn wrong_values_are_all_said_with_line_and_remedy() {
    let text = "[Settings]\nEnableLocalFileLocation=yes\n[Agent]\nDropInDirectory=agent.d\nStateDirectory=C:\\state\n\
                [ControlPort]\nListen=0.0.0.0:7365\nUnixSocketUsers=bob\n[Refresh]\nRequestTimeoutSeconds=0\n\
                BackoffBaseSeconds=300\nBackoffCapSeconds=10\n[Logging]\nFormat=xml\nLevel=a=b=c\n\
                [Limits]\nRunHistory=-1\nno sign\n";
    let faults = read(text).unwrap_err();
    let found: Vec<_> = faults.iter().map(|fault| (fault.line.unwrap(), fault.key.as_str())).collect();
    assert_eq!(
        found,
        [
            (2, "[Settings] EnableLocalFileLocation"),
            (4, "[Agent] DropInDirectory"),
            (5, "[Agent] StateDirectory"),
            (7, "[ControlPort] Listen"),
            (8, "[ControlPort] UnixSocketUsers"),
            (10, "[Refresh] RequestTimeoutSeconds"),
            (11, "[Refresh] BackoffBaseSeconds"),
            (14, "[Logging] Format"),
            (15, "[Logging] Level"),
            (17, "[Limits] RunHistory"),
            (18, "[Limits]"),
        ]
    );
    assert!(faults[3].message.contains("TLS reverse proxy"), "{}", faults[3]);
    for text in [
        "[ControlPort]\nListen=7365\n",
        "[ControlPort]\nListen=example.com:1\n",
        "[ControlPort]\nListen=[::]:1\n",
    ] {
        assert_eq!(read(text).unwrap_err().len(), 1, "{text}");
    }
}

#[test]
fn the_proxy_has_one_password_from_one_place() {
    let password = |line: &str| {
        let loaded =
            read(&format!("[Proxy]\nHost=proxy.example\nUser=agent\n{line}\nExceptions=a; *.b ;\n")).unwrap();
        let proxy = loaded.settings.proxy.unwrap();
        assert_eq!((proxy.port, proxy.exceptions), (80, vec!["a".to_owned(), "*.b".to_owned()]));
        proxy.password.map(|secret| secret.expose().clone())
    };
    assert_eq!(password("Password=p#;\"").as_deref(), Some("p#;\""));
    assert_eq!(password("PasswordFile=/secret").as_deref(), Some("from a file"));
    assert_eq!(password("PasswordCredential=proxy").as_deref(), Some("from a credential"));
    assert_eq!(password(""), None);
    for (text, key) in [
        ("Host=p\nUser=u\nPassword=a\nPasswordFile=/secret\n", "[Proxy] PasswordFile"),
        ("Host=p\nPassword=hunter2\n", "[Proxy] User"),
        ("Host=p\nUser=u\nPasswordFile=/none\n", "[Proxy] PasswordFile"),
        ("Host=http://p\n", "[Proxy] Host"),
        ("Port=3128\n", "[Proxy] Port"),
        ("Type=https\n", "[Proxy] Type"),
        ("Host=p\nType=socks4\n", "[Proxy] Type"),
    ] {
        let faults = read(&format!("[Proxy]\n{text}")).unwrap_err();
        assert_eq!(faults.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(), [key], "{text}");
        assert!(!format!("{faults:?}").contains("hunter2"));
    }
}

#[test]
fn unknown_things_are_noticed_and_tolerated() {
    let text = "[Other]\na=1\nb=2\n[Settings]\nTempDir=x\nEnableLocalFileLocatin=1\n[Limits]\nConcurentRuns=5\n\
                RunHistory=1\nRunHistory=2\n";
    let loaded = read(text).unwrap();
    assert_eq!(loaded.settings.limits.run_history, 2);
    let found: Vec<_> = loaded.notices.iter().map(|notice| (notice.level, notice.text.to_string())).collect();
    assert_eq!(found.len(), 4, "{found:?}");
    assert_eq!(found[0].0, NoticeLevel::Info);
    assert!(found[0].1.contains("[Other], [Settings] TempDir"), "{found:?}");
    for (index, wanted) in [
        (1, "Did you mean 'EnableLocalFileLocation'"),
        (2, "Did you mean 'ConcurrentRuns'"),
        (3, "line 9 is overruled"),
    ] {
        assert!(found[index].0 == NoticeLevel::Warning && found[index].1.contains(wanted), "{found:?}");
    }
}

#[test]
fn the_proxys_port_follows_its_type() {
    for (lines, kind, port) in [
        ("", ProxyKind::Http, 80),
        ("Type=HTTP\n", ProxyKind::Http, 80),
        ("Type=https\n", ProxyKind::Https, 443),
        ("Type=socks5\n", ProxyKind::Socks5, 1080),
        ("Type=socks5\nPort=9\n", ProxyKind::Socks5, 9),
    ] {
        let proxy = read(&format!("[Proxy]\nHost=p\n{lines}")).unwrap().settings.proxy.unwrap();
        assert_eq!((proxy.kind, proxy.port), (kind, port), "{lines}");
    }
    let long = "x".repeat(256);
    let faults = read(&format!("[Proxy]\nHost=p\nType=socks5\nUser={long}\nPassword={long}\n")).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn variables_keep_their_names() {
    let settings = read("[PredefinedJitterbitVariables]\nTenant.Name=a=b\ntenant.name=\n").unwrap().settings;
    assert_eq!(settings.predefined_variables["Tenant.Name"], "a=b");
    assert_eq!(settings.predefined_variables["tenant.name"], "");
}

#[test]
fn the_file_is_found_in_the_documented_order() {
    let home = |name: &str| (name == "JITTERBIT_HOME").then(|| "/opt/jitterbit".to_owned());
    let of = |path: &str, required| Location { path: path.into(), required };
    assert_eq!(locate(Some(Path::new("mine.conf")), &home), of("mine.conf", true));
    assert_eq!(locate(None, &home), of("/opt/jitterbit/jitterbit.conf", false));
    assert_eq!(locate(None, &|_| None), of(DEFAULT_FILE, false));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jitterbit.conf");
    let loaded = load(&Location { path: path.clone(), required: false }, &FakeHost).unwrap();
    assert!(loaded.settings.file.is_none() && loaded.notices.len() == 1);
    assert_eq!(load(&Location { path: path.clone(), required: true }, &FakeHost).unwrap_err().len(), 1);
    crate::files::write_private(&path, &vec![b'#'; 300 * 1024]).unwrap();
    assert!(load(&Location { path, required: false }, &FakeHost).unwrap_err()[0].message.contains("limit"));
}

#[test]
fn every_key_is_either_live_or_waits_for_a_restart() {
    let running = read("").unwrap().settings;
    for key in KEYS {
        let value = match key.name {
            "EnableLocalFileLocation" => "true",
            "Listen" => "127.0.0.1:1",
            "UnixSocketUsers" => "7",
            "Format" => "json",
            "Level" => "debug",
            // Together with `Connection` they are told as one key; see `the_group_store_is_read_whole`.
            _ if key.section == "TokenStore"
                && !matches!(key.name, "KeyFile" | "LockTimeoutSeconds" | "Group") =>
            {
                continue;
            }
            "Password" | "PasswordFile" | "PasswordCredential" | "User" | "Port" | "Type" | "Exceptions" => {
                continue;
            }
            "Host" => "proxy.example",
            name if name.ends_with("Directory")
                || name.ends_with("File")
                || matches!(name, "UnixSocket" | "Root") =>
            {
                "/x"
            }
            "RequestBodyBytes" | "PageBytes" => "65536",
            _ => "5",
        };
        let newer = read(&format!("[{}]\n{}={value}\n", key.section, key.name)).unwrap().settings;
        let waiting = running.needs_restart(&newer);
        let name = format!("[{}] {}", key.section, key.name);
        assert_eq!(waiting.contains(&name.as_str()), key.restart, "{name}: {waiting:?}");
        let applied = newer.with_restart_keys_of(&running);
        assert!(running.needs_restart(&applied).is_empty(), "{name}");
        assert_eq!(applied != running, !key.restart, "{name}: a live key is applied, another is not");
    }
}

#[test]
fn the_group_store_is_read_whole() {
    let whole = "Backend=postgresql\nGroup=blue\nConnection=postgresql://agent@db.example/tokens\nPasswordFile=/secret\nLeaseSeconds=50\n";
    let store = read(&format!("[TokenStore]\n{whole}")).unwrap().settings.token_store;
    let database = store.postgresql.clone().unwrap();
    assert_eq!((store.backend, store.group.as_deref()), (Backend::Postgresql, Some("blue")));
    assert_eq!(
        (database.tls, database.lease.as_secs(), database.pool_size),
        (DatabaseTls::VerifyFull, 50, 2)
    );
    let running = read("").unwrap().settings;
    let newer = read(&format!("[TokenStore]\n{whole}")).unwrap().settings;
    assert_eq!(
        running.needs_restart(&newer),
        ["[TokenStore] Backend", "[TokenStore] Group", "[TokenStore] Connection"]
    );
    let address = "Connection=postgresql://agent@db.example/tokens\n";
    for (text, key, part) in [
        ("Backend=redis\n".to_owned(), "Backend", "file, postgresql"),
        ("Backend=postgresql\nGroup=a\n".to_owned(), "Connection", "needs a database"),
        (format!("Backend=postgresql\n{address}"), "Group", "agent group"),
        (
            "Connection=postgresql://agent:hunter2@db.example/tokens\n".to_owned(),
            "Connection",
            "PasswordFile",
        ),
        ("Connection=postgresql://agent@db.example/tokens?sslmode=require\n".to_owned(), "Connection", "Tls"),
        ("Connection=user=agent\n".to_owned(), "Connection", "no server"),
        ("Connection=http://x\n".to_owned(), "Connection", "not a PostgreSQL address"),
        (format!("{address}Tls=disable\n"), "Tls", "in the clear"),
        (
            "Connection=host=localhost hostaddr=192.0.2.1 user=a\nTls=disable\n".to_owned(),
            "Tls",
            "in the clear",
        ),
        (format!("{address}Tls=sometimes\n"), "Tls", "verify-full"),
        (format!("{address}LeaseSeconds=30\n"), "LeaseSeconds", "outlast"),
        (format!("{address}Tls=require\nTlsRootCertificate=/ca\n"), "TlsRootCertificate", "verify-full"),
    ] {
        let faults = read(&format!("[TokenStore]\n{text}")).unwrap_err();
        let found: Vec<_> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(found, [format!("[TokenStore] {key}")], "{text}: {faults:?}");
        assert!(faults[0].message.contains(part) && !format!("{faults:?}").contains("hunter2"), "{faults:?}");
    }
}
