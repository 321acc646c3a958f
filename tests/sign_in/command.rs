//! `o365-agent sign-in NAME` as a person uses it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use o365_sandbox::Sandbox;

use crate::flows::{SIGN_IN, agent_without_token, parameter, quick_tenant, start};
use crate::support::{Agent, BINARY, eventually};

fn command(agent: &Agent, arguments: &[&str]) -> Child {
    Command::new(BINARY)
        .arg("sign-in")
        .args(arguments)
        .arg("--config")
        .arg(agent.settings_file())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The lines up to the first that holds `word`.
fn lines_until(child: &mut Child, word: &str) -> (Vec<String>, BufReader<std::process::ChildStdout>) {
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0, "the output ended before '{word}': {lines:?}");
        lines.push(line.trim_end().to_owned());
        if line.contains(word) {
            return (lines, reader);
        }
    }
}

fn rest(mut reader: BufReader<std::process::ChildStdout>) -> String {
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_shows_the_code_waits_and_says_who_signed_in() {
    let sandbox: Sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "").await;
    let mut child = command(&agent, &["mail"]);
    let (lines, reader) = lines_until(&mut child, "Waiting");
    let code = lines.iter().find_map(|line| line.strip_prefix("Enter   ")).unwrap().to_owned();
    assert!(lines[0].starts_with("Open    http"), "{lines:?}");
    assert!(lines.iter().all(|line| !line.contains('\r') && !line.contains('\x1b')), "{lines:?}");
    // Whoever lost the terminal finds the same code again.
    let mut second = command(&agent, &["mail"]);
    let (again, _open) = lines_until(&mut second, "Enter");
    assert!(again.concat().contains(&code), "{again:?}");
    assert!(sandbox.approve_device_code(&code, &sandbox.first_user().upn));
    let said = rest(reader);
    assert!(child.wait().unwrap().success(), "{said}");
    assert!(said.contains(&sandbox.first_user().upn), "{said}");
    assert!(second.wait().unwrap().success());
    assert_eq!(agent.state_of("mail").await, "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_cancels() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "").await;
    let mut child = command(&agent, &["mail"]);
    let (_, reader) = lines_until(&mut child, "Waiting");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let said = rest(reader);
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("cancelled"), "{said}");
    assert_eq!(agent.get(SIGN_IN).await.expect(200)["state"], "cancelled");

    start(&agent, "device_code").await;
    let cancelled = command(&agent, &["mail", "--cancel"]).wait_with_output().unwrap();
    assert!(cancelled.status.success(), "{cancelled:?}");
    let nothing = command(&agent, &["mail", "--cancel"]).wait_with_output().unwrap();
    assert_eq!(nothing.status.code(), Some(1));
    assert_eq!(
        command(&agent, &["mail", "--browser", "--cancel"]).wait_with_output().unwrap().status.code(),
        Some(2)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_from_another_machine_comes_over_standard_input() {
    let sandbox = quick_tenant();
    let agent = agent_without_token(&sandbox, "      CallbackURL: http://localhost:0/back\n").await;
    let mut child = command(&agent, &["mail", "--browser"]);
    let (lines, reader) = lines_until(&mut child, "Waiting");
    let address = lines.iter().find(|line| line.starts_with("http")).unwrap();
    let back = sandbox.authorize(address, &sandbox.first_user().upn).unwrap();
    let mut second = command(&agent, &["mail", "--code", "-"]);
    second.stdin.take().unwrap().write_all(format!("{back}\n").as_bytes()).unwrap();
    let ended = second.wait_with_output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert!(!String::from_utf8_lossy(&ended.stdout).contains(&parameter(&back, "code").unwrap()));
    let said = rest(reader);
    assert!(child.wait().unwrap().success(), "{said}");
    eventually("the connection works", async || agent.state_of("mail").await == "ok").await;
}
