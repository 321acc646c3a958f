//! Attachments of any size: added, sent, read and removed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use o365_sandbox::FaultAction;
use serde_json::{Value, json};

use crate::support::{Answer, tenant};
use crate::transfer::{
    EXECUTE, MIB, agent, bytes, expect_no_token_given_away, files, graph, inject, refused, run, send, stream,
};

async fn draft(agent: &crate::support::Agent) -> String {
    let request = json!({"object": "Messages", "records": [{"subject": "With files", "body_content": "x"}]});
    let made = agent.post("/v1/connections/mail/create", request).await.expect(200);
    made["results"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn small_and_large_attachments_are_added_read_and_removed() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let id = draft(&agent).await;
    let small = run(
        &agent,
        "AddAttachments",
        json!({"Id": id, "DestinationType": "message", "FileName": "s.txt", "ContentBytes": "SGVsbG8=", "ContentType": "text/plain"}),
    )
    .await;
    assert_eq!(small["ContentBytes"], "Added Successfully");
    assert_eq!(
        (small["Name"].as_str(), small["ContentType"].as_str()),
        (Some("s.txt"), Some("text/plain")),
        "{small}"
    );

    let content = bytes(9 * MIB + 5);
    inject(&sandbox, "PUT", 1, FaultAction::CutUpload(50_000));
    let query = format!("procedure=AddAttachments&Id={id}&DestinationType=Message&FileName=l.bin");
    let large = send(&agent, &query, content.clone(), None).await.expect(200)["result"].clone();
    assert_eq!(large["Name"], "l.bin", "{large}");
    expect_no_token_given_away(&sandbox);

    let wanted = json!({"Id": id, "AttachmentIds": large["Id"]});
    let streamed = Answer::read(stream(&agent, "DownloadAttachments", wanted).await).await;
    assert!(streamed.status == 200 && streamed.body == content, "{}", streamed.status);
    let both = Answer::read(stream(&agent, "DownloadAttachments", json!({"Id": id})).await).await;
    assert!(both.expect(400)["detail"].as_str().unwrap().contains("There are 2 attachments"));

    let rows = run(&agent, "DownloadAttachments", json!({"Id": id, "AttachmentIds": small["Id"]})).await;
    assert_eq!(rows["Attachments"][0]["ContentBytes"], "SGVsbG8=", "{rows}");
    let all = run(&agent, "DownloadAttachments", json!({"Id": id, "AttachmentFolder": "/"})).await;
    assert_eq!(all["Attachments"].as_array().unwrap().len(), 2, "{all}");
    assert!(std::fs::read(files(&agent).join("l.bin")).unwrap() == content);
    assert_eq!(std::fs::read(files(&agent).join("s.txt")).unwrap(), b"Hello");

    let gone = json!({"Id": id, "AttachmentId": small["Id"]});
    assert_eq!(run(&agent, "DeleteAttachment", gone).await["Status"], "Success");
    let problem =
        refused(&agent, 400, "DownloadAttachments", json!({"Id": id, "AttachmentIds": small["Id"]})).await;
    assert_eq!(problem["code"], "unknown_attachment");
}

#[tokio::test]
async fn names_from_outside_cannot_lead_out_of_the_folder() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let id = draft(&agent).await;
    for name in ["../../escape.txt", "same.txt", "same.txt"] {
        let add = json!({"Id": id, "DestinationType": "Message", "FileName": name, "ContentBytes": "SGk="});
        run(&agent, "AddAttachments", add).await;
    }
    let rows = run(&agent, "DownloadAttachments", json!({"Id": id, "AttachmentFolder": "."})).await;
    let mut written: Vec<String> = std::fs::read_dir(files(&agent))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    written.sort();
    assert_eq!(written, ["_.._escape.txt", "same (2).txt", "same.txt"], "{rows}");
}

#[tokio::test]
async fn mail_is_sent_with_attachments_of_any_size() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let to = sandbox.user(1).upn;
    std::fs::write(files(&agent).join("report.txt"), "Report").unwrap();
    std::fs::write(files(&agent).join("film.bin"), bytes(4 * MIB)).unwrap();
    for (subject, more) in [
        ("base64", json!({"FileName": "a.txt", "ContentBytes": "SGk="})),
        ("small file", json!({"LocalFile": "report.txt"})),
        ("large file", json!({"Attachments": "r.txt, @report.txt; f.bin, @film.bin"})),
        ("large base64", json!({"FileName": "b.bin", "ContentBytes": STANDARD.encode(bytes(4 * MIB))})),
    ] {
        let mut mail = json!({"Subject": subject, "ToRecipients": to, "Content": "x"});
        mail.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(run(&agent, "SendMail", mail).await["Status"], "Success", "{subject}");
        let path = format!(
            "me/mailFolders/sentitems/messages?$select=id&$filter=subject%20eq%20'{}'",
            subject.replace(' ', "%20")
        );
        let sent = graph(&sandbox, &path).await;
        let id = sent["value"][0]["id"].as_str().unwrap_or_else(|| panic!("{subject}: {sent}")).to_owned();
        let attached = graph(&sandbox, &format!("me/messages/{id}/attachments?$select=name,size")).await;
        assert_eq!(
            attached["value"].as_array().unwrap().len(),
            if subject == "large file" { 2 } else { 1 },
            "{attached}"
        );
    }
    expect_no_token_given_away(&sandbox);
}

#[tokio::test]
async fn a_mail_that_cannot_get_its_attachment_leaves_no_draft() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let drafts = async || {
        let count = graph(&sandbox, "me/mailFolders/drafts/messages?$count=true&$top=1&$select=id").await;
        count["@odata.count"].clone()
    };
    let before = drafts().await;
    inject(&sandbox, "PUT", 1, FaultAction::Status { status: 403, headers: Vec::new(), body: String::new() });
    let mail = json!({"Subject": "broken", "ToRecipients": sandbox.user(1).upn, "FileName": "b", "ContentBytes": STANDARD.encode(bytes(4 * MIB))});
    let answer = agent.post(EXECUTE, json!({"procedure": "SendMail", "parameters": mail})).await;
    assert!(answer.status >= 400, "{}", answer.text());
    assert_eq!(drafts().await, before, "the draft was removed");
    assert_eq!(sandbox.created("b"), 0);
    let _unused: Value = before;
}

/// What counts is the body as it is sent: contents just below 3 MiB are above 4 MiB in base64.
#[tokio::test]
async fn no_body_above_four_mebibytes_is_ever_sent() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let id = draft(&agent).await;
    let attach = |size: usize, name: &str| json!({"Id": id, "DestinationType": "message", "FileName": name, "ContentBytes": STANDARD.encode(bytes(size))});
    run(&agent, "AddAttachments", attach(3 * MIB - 400, "fits.bin")).await;
    let problem = refused(&agent, 400, "AddAttachments", attach(3 * MIB - 1, "between.bin")).await;
    assert!(problem["detail"].as_str().unwrap().contains("too few for an upload session"), "{problem}");
    // Together with a long text it is too much for one request, and goes by a draft.
    let mail = json!({"Subject": "Large in base64", "ToRecipients": "a@b.example", "Content": "\"".repeat(700_000),
        "Attachments": [{"name": "a.bin", "contentBytes": STANDARD.encode(bytes(2 * MIB + MIB / 2))}]});
    assert_eq!(run(&agent, "SendMail", mail).await["Status"], "Success");
    let problem = refused(
        &agent,
        400,
        "SendMail",
        json!({"Subject": "x", "ToRecipients": "a@b.example", "Content": "\"".repeat(2 * MIB + MIB / 4)}),
    )
    .await;
    assert!(problem["detail"].as_str().unwrap().contains("takes 4194304 at most"), "{problem}");
    let refused = sandbox.stats();
    let lengths = sandbox
        .graph_requests()
        .into_iter()
        .filter_map(|request| request.header("content-length")?.parse().ok());
    let longest: usize = lengths.max().unwrap();
    assert!(longest <= 4 * MIB && longest > 3 * MIB, "{longest} {refused:?}");
}
