//! The command line as an operator uses it, with its exit codes.

use std::process::{Command, Output};

use crate::support::{BINARY, Setup, application, delegated, tenant};

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        Command::new(BINARY).args(arguments).env_remove("JITTERBIT_HOME").output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn help_and_version_need_nothing() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for word in ["run", "check", "status", "test", "reload", "Exit codes", "--config"] {
        assert!(out.contains(word), "{word}: {out}");
    }
    assert_eq!(run(&["version"]), (0, format!("o365-agent {}\n", env!("CARGO_PKG_VERSION")), String::new()));
    assert_eq!(run(&["frobnicate"]).0, 2);
}

#[test]
fn check_names_every_fault_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let drop_ins = folder.path().join("agent.d");
    std::fs::create_dir(&drop_ins).unwrap();
    let conf = folder.path().join("j.conf");
    let state = folder.path().join("state");
    std::fs::write(
        &conf,
        format!("[Agent]\nDropInDirectory={}\nStateDirectory={}\n", drop_ins.display(), state.display()),
    )
    .unwrap();
    let conf = conf.to_str().unwrap();
    let (code, out, _) = run(&["check", "--config", conf]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("0 usable connections"), "{out}");

    std::fs::write(
        drop_ins.join("x.yaml"),
        "connections:\n  a:\n    AuthSchem: AzureAD\n    OAuthClientIdd: x\n",
    )
    .unwrap();
    let (code, out, _) = run(&["check", "--config", conf]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("x.yaml:3") && out.contains("AuthScheme") && out.contains("x.yaml:4"), "{out}");
    assert!(!state.exists(), "check makes nothing");
    assert_eq!(run(&["check", "--config", "/nonexistent/j.conf"]).0, 64);
}

#[tokio::test]
async fn status_test_and_reload_ask_the_running_agent() {
    let sandbox = tenant();
    let mut agent = Setup::new()
        .drop_in("a.yaml", &application(&sandbox, "app", ""))
        .drop_in("m.yaml", &delegated(&sandbox, "mail", ""))
        .start();
    agent.await_state("app", "ok").await;
    agent.await_state("mail", "ok").await;
    let settings = agent.settings_file();
    let conf = settings.to_str().unwrap().to_owned();
    let run = move |arguments: Vec<String>| {
        let conf = conf.clone();
        tokio::task::spawn_blocking(move || {
            let mut all = arguments;
            all.extend(["--config".to_owned(), conf]);
            run(&all.iter().map(String::as_str).collect::<Vec<_>>())
        })
    };
    let (code, out, error) = run(vec!["status".into()]).await.unwrap();
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("app") && out.contains("AzureServicePrincipal") && out.contains("left"), "{out}");
    let (code, out, error) = run(vec!["test".into(), "mail".into()]).await.unwrap();
    assert_eq!(code, 0, "{out}{error}");
    assert!(out.contains("graph") && out.contains("The connection works."), "{out}");
    let (code, _, error) = run(vec!["test".into(), "mial".into()]).await.unwrap();
    assert_eq!(code, 1);
    assert!(error.contains("Did you mean 'mail'?"), "{error}");

    std::fs::write(agent.drop_in_directory().join("bad.yaml"), "connections: 5\n").unwrap();
    let (code, out, error) = run(vec!["reload".into()]).await.unwrap();
    assert_eq!(code, 1, "{out}{error}");
    assert!(error.contains("bad.yaml:1"), "{error}");
    let (code, out, _) = run(vec!["status".into()]).await.unwrap();
    assert_eq!(code, 1);
    assert!(out.contains("bad.yaml"), "{out}");
    agent.stop();
    let (code, _, error) = run(vec!["status".into()]).await.unwrap();
    assert_eq!(code, 69, "{error}");
}
