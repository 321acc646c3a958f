//! Local files: off by default, only below the root, whole or not at all, and gone on with after a crash.

use std::os::unix::fs::{MetadataExt, symlink};

use o365_sandbox::FaultAction;
use serde_json::json;

use crate::support::{Setup, delegated, eventually, tenant};
use crate::transfer::{EXECUTE, MIB, agent, bytes, files, inject, refused, run};

#[tokio::test]
async fn local_files_are_off_until_both_settings_say_otherwise() {
    let sandbox = tenant();
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("a.txt"), "a").unwrap();
    let root = root.path().display();
    for (conf, expected) in [
        (format!("[LocalFiles]\nRoot={root}"), "EnableLocalFileLocation=true in [Settings]"),
        ("[Settings]\nEnableLocalFileLocation=true".to_owned(), "Root in [LocalFiles]"),
    ] {
        let agent = Setup::new().conf(&conf).drop_in("m.yaml", &delegated(&sandbox, "mail", "")).start();
        for (procedure, parameters) in [
            ("UploadFile", json!({"LocalFile": "a.txt"})),
            ("DownloadFile", json!({"Id": "x", "LocalFile": "b.txt"})),
            ("DownloadEmail", json!({"Id": "x", "LocalFile": "b.txt"})),
            ("DownloadAttachments", json!({"Id": "x", "AttachmentFolder": "/"})),
            (
                "AddAttachments",
                json!({"Id": "x", "DestinationType": "Message", "FileName": "a", "LocalFile": "a.txt"}),
            ),
            ("SendMail", json!({"ToRecipients": "a@b.c", "Attachments": "a, @a.txt"})),
            ("CreateSchema", json!({"TableName": "Messages", "LocalFile": "s.json"})),
        ] {
            let problem = refused(&agent, 403, procedure, parameters).await;
            let detail = problem["detail"].as_str().unwrap();
            assert_eq!(problem["code"], "local_files_off", "{problem}");
            assert!(detail.contains(expected) && detail.contains("state.conf"), "{detail}");
        }
        assert!(sandbox.content_requests().is_empty());
    }
}

#[tokio::test]
async fn nothing_outside_the_root_is_read_or_written() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let root = files(&agent);
    std::fs::write(agent.root().join("secret"), "secret").unwrap();
    symlink(agent.root(), root.join("out")).unwrap();
    symlink("../secret", root.join("linked")).unwrap();
    for path in ["../secret", "out/secret", "linked", "/etc/passwd", "x/../../secret", "sub\u{0}/x", ".."] {
        let problem =
            refused(&agent, 400, "UploadFile", json!({"LocalFile": path, "FileName": "up.bin"})).await;
        assert_eq!(problem["field"], "LocalFile", "{path}: {problem}");
        let wanted = json!({"Path": "Documents", "LocalFile": path});
        let problem = refused(&agent, 400, "DownloadFile", wanted).await;
        assert!(problem["code"] != "internal_error", "{path}: {problem}");
    }
    assert_eq!(sandbox.created("up.bin"), 0);
    assert_eq!(std::fs::read(agent.root().join("secret")).unwrap(), b"secret");
}

#[tokio::test]
async fn a_file_comes_into_a_local_file_whole_private_and_once() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let content = bytes(5 * MIB);
    std::fs::write(files(&agent).join("up.bin"), &content).unwrap();
    let made = run(&agent, "UploadFile", json!({"LocalFile": "up.bin"})).await;
    assert_eq!(
        (made["Name"].as_str(), made["Verified"].as_str()),
        (Some("up.bin"), Some("quickXorHash")),
        "{made}"
    );
    let target = files(&agent).join("down.bin");
    let wanted = json!({"Id": made["Id"], "LocalFile": target.display().to_string(), "Overwrite": false});
    let got = run(&agent, "DownloadFile", wanted.clone()).await;
    assert_eq!(
        (got["Verified"].as_str(), got["Size"].as_u64()),
        (Some("quickXorHash"), Some(content.len() as u64))
    );
    assert!(std::fs::read(&target).unwrap() == content && got["ContentBytes"].is_null());
    assert_eq!(std::fs::metadata(&target).unwrap().mode() & 0o777, 0o600);
    let problem = refused(&agent, 409, "DownloadFile", wanted).await;
    assert_eq!(problem["code"], "local_file_exists");
    assert_eq!(std::fs::read_dir(files(&agent)).unwrap().count(), 2, "nothing unfinished stays");
}

#[tokio::test]
async fn a_download_into_a_file_goes_on_after_the_agent_was_killed() {
    let sandbox = tenant();
    let mut agent = agent(&sandbox);
    let length = 24 * MIB as u64;
    sandbox.put_generated_file(&sandbox.first_user().upn, "g.bin", length);
    // The second range never comes, so that the agent dies in the middle.
    inject(&sandbox, "GET", 1, FaultAction::CutMidBody(9 * MIB));
    inject(&sandbox, "GET", 1, FaultAction::Hang);
    let wanted = json!({"procedure": "DownloadFile", "parameters": {"Path": "g.bin", "LocalFile": "g.bin"}});
    let part = || {
        let entries = std::fs::read_dir(files(&agent)).unwrap().flatten();
        entries.map(|entry| entry.metadata().unwrap().len()).max().unwrap_or(0)
    };
    let call = {
        let (base, token, body) = (agent.base.clone(), agent.token.clone(), wanted.to_string());
        tokio::spawn(async move {
            let request = crate::support::client()
                .post(format!("{base}{EXECUTE}"))
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", "application/json");
            request.body(body).send().await.map(|response| response.status())
        })
    };
    eventually("a part is on disk", async || part() >= 7 * MIB as u64).await;
    agent.signal("KILL");
    agent.await_end();
    assert!(call.await.unwrap().is_err());
    assert!(!files(&agent).join("g.bin").exists(), "nothing looks complete");

    sandbox.clear_faults();
    let conf = std::fs::read_to_string(agent.settings_file()).unwrap();
    let conf = conf.split_once("[Settings]").map(|(_, rest)| format!("[Settings]{rest}")).unwrap();
    let again = crate::support::Agent::spawn(agent.root(), "state", &conf, &[]);
    again.await_state("mail", "ok").await;
    let before = sandbox.content_requests().len();
    let got = again.post(EXECUTE, wanted).await.expect(200)["result"].clone();
    assert_eq!(
        (got["Verified"].as_str(), got["Size"].as_u64()),
        (Some("quickXorHash"), Some(length)),
        "{got}"
    );
    let asked = sandbox.content_requests().split_off(before);
    let ranges: Vec<_> =
        asked.iter().filter_map(|sent| sent.headers.iter().find(|(name, _)| name == "range")).collect();
    assert_eq!(ranges.len(), 1, "it went on with a range: {asked:?}");
    assert_eq!(std::fs::metadata(files(&again).join("g.bin")).unwrap().len(), length);
}

#[tokio::test]
async fn a_schema_is_answered_and_written() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    for table in ["messages", "/me/mailFolders"] {
        let made = run(&agent, "CreateSchema", json!({"TableName": table, "LocalFile": "schema.json"})).await;
        let text = std::fs::read_to_string(files(&agent).join("schema.json")).unwrap();
        let written: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(written, made["Schema"]);
        assert!(written["columns"].as_array().is_some_and(|columns| columns.len() > 5), "{written}");
    }
}
