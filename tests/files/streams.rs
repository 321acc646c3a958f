//! Files of drives as streams, base64 and through cuts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use o365_sandbox::{FaultAction, Sandbox, SandboxOptions};
use serde_json::json;

use crate::support::{Answer, tenant};
use crate::transfer::{
    MIB, agent, bytes, expect_no_token_given_away, graph, inject, refused, run, send, stream as fetch,
};

#[tokio::test]
async fn a_file_goes_up_as_base64_and_comes_back_the_same() {
    for personal_drives in [false, true] {
        let sandbox = Sandbox::start(SandboxOptions { personal_drives, ..SandboxOptions::default() });
        let agent = agent(&sandbox);
        let content = bytes(1000);
        let up = json!({"FileName": "a b#1.bin", "ParentPath": "Documents/", "ContentBytes": STANDARD.encode(&content)});
        let made = run(&agent, "UploadFile", up).await;
        let digest = if personal_drives { "sha256Hash" } else { "quickXorHash" };
        assert_eq!((made["Size"].as_u64(), made["Verified"].as_str()), (Some(1000), Some(digest)), "{made}");
        for wanted in [json!({"Id": made["Id"]}), json!({"Path": "/Documents/a b#1.bin"})] {
            let got = run(&agent, "DownloadFile", wanted).await;
            assert_eq!(got["ContentBytes"], STANDARD.encode(&content));
            assert_eq!(
                (got["Name"].as_str(), got["Verified"].as_str()),
                (Some("a b#1.bin"), Some(digest)),
                "{got}"
            );
        }
        let empty = send(&agent, "procedure=UploadFile&FileName=empty", Vec::new(), None).await.expect(200);
        assert_eq!(empty["result"]["Size"].as_u64(), Some(0), "{empty}");
        let got = run(&agent, "DownloadFile", json!({"Path": "empty"})).await;
        assert_eq!((got["Size"].as_u64(), got["ContentBytes"].as_str()), (Some(0), Some("")), "{got}");
    }
}

#[tokio::test]
async fn a_large_file_survives_every_cut_on_its_way_up_and_down() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let content = bytes(20 * MIB + 17);
    inject(&sandbox, "PUT", 1, FaultAction::CutUpload(100_000));
    inject(&sandbox, "PUT", 1, FaultAction::StatusAfterExecuting { status: 503 });
    inject(&sandbox, "PUT", 1, FaultAction::CutBeforeAnswer);
    let answer =
        send(&agent, "procedure=UploadFile&FileName=large.bin&ParentPath=Documents", content.clone(), None)
            .await;
    let made = answer.expect(200)["result"].clone();
    assert_eq!(made["Size"].as_u64(), Some(content.len() as u64), "{made}");
    assert_eq!(made["Verified"], "quickXorHash");
    let puts = sandbox.content_requests().into_iter().filter(|sent| sent.method == "PUT").count();
    // The one that was cut while it was sent is not counted.
    assert!(puts >= 3, "{puts} pieces and repeats");

    inject(&sandbox, "GET", 1, FaultAction::CutMidBody(5 * MIB));
    inject(&sandbox, "GET", 1, FaultAction::CutMidBody(3 * MIB));
    let answer = Answer::read(fetch(&agent, "DownloadFile", json!({"Id": made["Id"]})).await).await;
    assert_eq!((answer.status, answer.body.len()), (200, content.len()));
    assert!(answer.body == content, "the content is the same");
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    assert_eq!(answer.headers["content-disposition"], "attachment; filename*=UTF-8''large%2Ebin");
    let run_id = answer.headers["x-run-id"].to_str().unwrap();
    let run = agent.get(&format!("/v1/runs/{run_id}")).await.expect(200);
    assert_eq!(run["status"], "success", "{run}");
    let gets = sandbox.content_requests().into_iter().filter(|sent| sent.method == "GET").count();
    assert!(gets >= 3, "{gets} ranges");
    expect_no_token_given_away(&sandbox);
}

#[tokio::test]
async fn the_last_answer_of_an_upload_may_be_lost() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let content = bytes(5 * MIB);
    inject(&sandbox, "PUT", 1, FaultAction::CutBeforeAnswer);
    let answer = send(&agent, "procedure=UploadFile&FileName=lost.bin", content.clone(), None).await;
    let made = answer.expect(200)["result"].clone();
    assert_eq!(
        (made["Name"].as_str(), made["Verified"].as_str()),
        (Some("lost.bin"), Some("quickXorHash")),
        "{made}"
    );
    assert_eq!(sandbox.created("lost.bin"), 1, "it was not uploaded twice");
    // With a name that the service chooses, the agent cannot know which item it became.
    inject(&sandbox, "PUT", 1, FaultAction::CutBeforeAnswer);
    let query = "procedure=UploadFile&FileName=lost.bin&ConflictBehavior=rename";
    assert_eq!(send(&agent, query, content, None).await.expect(502)["code"], "outcome_unknown");
}

#[tokio::test]
async fn names_that_are_taken_are_handled_as_asked() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    for (length, what) in [(100, "small"), (5 * MIB, "large")] {
        let name = format!("{what}.bin");
        let query =
            |conflict: &str| format!("procedure=UploadFile&FileName={name}&ConflictBehavior={conflict}");
        let first = send(&agent, &query("fail"), bytes(length), None).await.expect(200)["result"].clone();
        assert_eq!(
            send(&agent, &query("fail"), bytes(length), None).await.expect(409)["graph"]["code"],
            "nameAlreadyExists"
        );
        let renamed = send(&agent, &query("rename"), bytes(length), None).await.expect(200)["result"].clone();
        assert_ne!((&renamed["Id"], &renamed["Name"]), (&first["Id"], &first["Name"]));
        let replaced =
            send(&agent, &query("replace"), bytes(length + 1), None).await.expect(200)["result"].clone();
        assert_eq!((&replaced["Id"], replaced["Size"].as_u64()), (&first["Id"], Some(length as u64 + 1)));
        let by_id = format!("procedure=UploadFile&ItemId={}", first["Id"].as_str().unwrap());
        let again = send(&agent, &by_id, bytes(length + 2), None).await.expect(200)["result"].clone();
        assert_eq!((&again["Id"], again["Size"].as_u64()), (&first["Id"], Some(length as u64 + 2)));
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_or_has_no_length_is_refused_and_leaves_nothing() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let pieces =
        |count: usize| stream::iter((0..count).map(|_| Ok::<_, std::io::Error>(Bytes::from(bytes(MIB)))));
    // Small enough to be received before its length must be told.
    let small =
        send(&agent, "procedure=UploadFile&FileName=c.bin", reqwest::Body::wrap_stream(pieces(2)), None)
            .await;
    assert_eq!(small.expect(200)["result"]["Size"].as_u64(), Some(2 * MIB as u64));
    let large =
        send(&agent, "procedure=UploadFile&FileName=d.bin", reqwest::Body::wrap_stream(pieces(4)), None)
            .await;
    assert_eq!(large.expect(411)["code"], "length_required");

    let mut socket = tokio::net::TcpStream::connect(agent.base.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /v1/connections/mail/execute?procedure=UploadFile&FileName=e.bin HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        agent.base.trim_start_matches("http://"),
        agent.token,
        30 * MIB
    );
    use tokio::io::AsyncWriteExt;
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&bytes(9 * MIB)).await.unwrap();
    crate::support::eventually("the first piece is with the service", async || {
        sandbox.content_requests().iter().any(|sent| sent.method == "PUT")
    })
    .await;
    drop(socket);
    crate::support::eventually("the session is taken back", async || {
        sandbox.content_requests().iter().any(|sent| sent.method == "DELETE")
    })
    .await;
    let listed = graph(&sandbox, "me/drive/root/children?$select=name").await;
    assert!(!listed.to_string().contains("e.bin") && !listed.to_string().contains("d.bin"), "{listed}");
}

#[tokio::test]
async fn a_stream_that_cannot_be_gone_on_with_is_cut_and_never_looks_complete() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let user = sandbox.first_user().upn;
    sandbox.put_generated_file(&user, "g.bin", 12 * MIB as u64);
    inject(&sandbox, "GET", 1, FaultAction::CutMidBody(5 * MIB));
    // Whoever answers now has another content: the length does not fit.
    let other = FaultAction::Status {
        status: 200,
        headers: vec![("etag".into(), "\"other\"".into())],
        body: "x".repeat(99),
    };
    inject(&sandbox, "GET", 1, other);
    let mut response = fetch(&agent, "DownloadFile", json!({"Path": "g.bin"})).await;
    assert_eq!(response.status(), 200);
    let run_id = response.headers()["x-run-id"].to_str().unwrap().to_owned();
    let mut received = 0;
    let broken = loop {
        match response.chunk().await {
            Ok(Some(piece)) => received += piece.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken && received < 12 * MIB, "{received} bytes, broken: {broken}");
    let run = agent.get(&format!("/v1/runs/{run_id}")).await.expect(200);
    assert_eq!(run["status"], "error", "{run}");
    // In JSON the same is an error, and too much for JSON is one that says what to do.
    let problem = refused(&agent, 406, "DownloadFile", json!({"Path": "g.bin"})).await;
    assert!(problem["detail"].as_str().unwrap().contains("application/octet-stream"), "{problem}");
    let problem = refused(&agent, 404, "DownloadFile", json!({"Path": "absent.bin"})).await;
    assert_eq!(problem["code"], "graph_not_found");
    let problem = refused(&agent, 400, "DownloadFile", json!({"Path": "Documents"})).await;
    assert_eq!(problem["code"], "not_a_file");
}
