//! Attachments of messages and events, in one request and in a session; messages as MIME; answers and forwards.
#![allow(clippy::unwrap_used)]

mod helper;

use helper::{Client, exchange};
use o365_sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};
use std::time::Duration;

const FILE: &str = r##"{"@odata.type":"#microsoft.graph.fileAttachment","name":"smile.txt","contentType":"text/plain","contentBytes":"OikK"}"##;

fn draft(client: &Client) -> String {
    let body = r#"{"subject":"With files","toRecipients":[{"emailAddress":{"address":"a@b.example"}}]}"#;
    id(&client.send("POST", "/me/messages", &[], body).json())
}

fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

#[test]
fn attachments_are_added_read_and_deleted() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let event =
        client.get("/me/events?$top=1&$select=id").json()["value"][0]["id"].as_str().unwrap().to_owned();
    for item in [format!("/me/messages/{}", draft(&client)), format!("/me/events/{event}")] {
        let list = format!("{item}/attachments");
        assert_eq!(client.get(&list).json()["value"], json!([]));
        let made = client.send("POST", &list, &[], FILE);
        assert_eq!(made.status, 201, "{}", made.body);
        let made = made.json();
        assert_eq!((&made["size"], &made["contentBytes"]), (&json!(3), &json!("OikK")));
        assert_eq!(client.get(&item).json()["hasAttachments"], true);
        let one = format!("{list}/{}", id(&made));
        assert_eq!(client.get(&one).json()["@odata.type"], "#microsoft.graph.fileAttachment");
        let small = client.get(&format!("{one}?$select=name,size")).json();
        assert_eq!((small.get("contentBytes"), &small["name"]), (None, &json!("smile.txt")));
        let raw = client.get(&format!("{one}/$value"));
        assert_eq!((raw.body.as_str(), raw.header("content-type")), (":)\n", "text/plain"));
        let expanded = client.get(&format!("{item}?$expand=attachments")).json();
        assert_eq!(expanded["attachments"][0]["name"], "smile.txt");
        assert_eq!(client.send("DELETE", &one, &[], "").status, 204);
        assert_eq!(client.get(&one).status, 404);
        assert_eq!(client.get(&item).json()["hasAttachments"], false);
    }
}

#[test]
fn items_and_references_can_be_attached_and_whole_messages_bring_their_files() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let list = format!("/me/messages/{}/attachments", draft(&client));
    let body = r##"{"@odata.type":"#microsoft.graph.itemAttachment","name":"Holiday","item":{"@odata.type":"microsoft.graph.event","subject":"Holiday"}}"##;
    let item = id(&client.send("POST", &list, &[], body).json());
    assert!(client.get(&format!("{list}/{item}")).json().get("item").is_none());
    let expanded = client.get(&format!("{list}/{item}?$expand=microsoft.graph.itemattachment/item")).json();
    assert_eq!(expanded["item"]["subject"], "Holiday");
    assert!(client.get(&format!("{list}/{item}/$value")).body.starts_with("BEGIN:VCALENDAR"));
    let body = r##"{"@odata.type":"#microsoft.graph.referenceAttachment","name":"Shared file"}"##;
    let link = id(&client.send("POST", &list, &[], body).json());
    assert_eq!(client.get(&format!("{list}/{link}/$value")).status, 405);

    let body =
        json!({"subject": "Born with a file", "attachments": [serde_json::from_str::<Value>(FILE).unwrap()]});
    let born = id(&client.send("POST", "/me/messages", &[], &body.to_string()).json());
    assert_eq!(
        client.get(&format!("/me/messages/{born}/attachments")).json()["value"].as_array().unwrap().len(),
        1
    );
    let mime = client.get(&format!("/me/messages/{born}/$value"));
    assert!(
        mime.body.contains("Subject: Born with a file") && mime.body.contains("filename=\"smile.txt\""),
        "{}",
        mime.body
    );
    let forward = client.send("POST", &format!("/me/messages/{born}/createForward"), &[], "{}");
    assert_eq!((forward.status, &forward.json()["subject"]), (201, &json!("FW: Born with a file")));
    let forward = id(&forward.json());
    assert_eq!(client.get(&format!("/me/messages/{forward}/attachments/$count")).body, "1");
    assert_eq!(
        client.send("POST", &format!("/me/messages/{forward}/send"), &[], "").code(),
        "ErrorInvalidRecipients"
    );
    for (action, prefix) in [("createReply", "RE: "), ("createReplyAll", "RE: ")] {
        let reply =
            client.send("POST", &format!("/me/messages/{born}/{action}"), &[], r#"{"comment":"Fine."}"#);
        assert_eq!(reply.status, 201, "{}", reply.body);
        assert_eq!(reply.json()["subject"], format!("{prefix}Born with a file"));
    }
}

#[test]
fn wrong_attachments_are_refused() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let list = format!("/me/messages/{}/attachments", draft(&client));
    let large = "A".repeat(4 * 1024 * 1024);
    let too_large = format!(
        r##"{{"@odata.type":"#microsoft.graph.fileAttachment","name":"x","contentBytes":"{large}"}}"##
    );
    let session = |item: &str| format!("{{\"AttachmentItem\":{item}}}");
    let cases = [
        (list.clone(), r#"{"name":"x","contentBytes":"OikK"}"#.to_owned(), 400, "RequestBodyRead"),
        (list.clone(), FILE.replace("OikK", "?"), 400, "RequestBodyRead"),
        (list.clone(), FILE.replace("smile.txt", ""), 400, "ErrorInvalidProperty"),
        (list.clone(), too_large, 413, "RequestEntityTooLarge"),
        (
            format!("{list}/createUploadSession"),
            session(r#"{"attachmentType":"file","name":"x","size":3000}"#),
            400,
            "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize",
        ),
        (
            format!("{list}/createUploadSession"),
            session(r#"{"attachmentType":"file","name":"x","size":160000000}"#),
            413,
            "ErrorAttachmentSizeLimitExceeded",
        ),
        (format!("{list}/createUploadSession"), session(r#"{"name":"x"}"#), 400, "ErrorInvalidParameter"),
        (format!("{list}/createUploadSession"), "{}".to_owned(), 400, "ErrorInvalidParameter"),
    ];
    for (path, body, status, code) in cases {
        let reply = client.send("POST", &path, &[], &body);
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (status, code),
            "{path} {}",
            &body[..body.len().min(200)]
        );
    }
    assert_eq!(client.get(&format!("{list}/no-id")).code(), "ErrorInvalidIdMalformed");
}

#[test]
fn a_session_takes_ranges_in_order_and_says_where_the_attachment_is() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let message = draft(&client);
    let bytes: Vec<u8> = (0..3_483_322_u32).map(|number| (number % 251) as u8).collect();
    let body = json!({"AttachmentItem": {"attachmentType": "file", "name": "flower", "size": bytes.len(), "contentType": "image/jpeg"}});
    let path = format!("/me/messages/{message}/attachments/createUploadSession");
    let session = client.send("POST", &path, &[], &body.to_string());
    assert_eq!((session.status, &session.json()["nextExpectedRanges"]), (201, &json!(["0-"])));
    let url = session.json()["uploadUrl"].as_str().unwrap().to_owned();
    assert!(!url.starts_with(sandbox.graph_origin()), "the address is another server's");
    let put = |from: usize, to: usize, more: &[(&str, &str)]| {
        let range = format!("bytes {from}-{}/{}", to - 1, bytes.len());
        let mut headers = vec![("content-range", range.as_str())];
        headers.extend_from_slice(more);
        exchange("PUT", &url, &headers, &bytes[from..to]).unwrap().0
    };
    assert_eq!(put(0, 2_097_152, &[("authorization", "Bearer x.y.z")]).status, 401);
    assert_eq!(sandbox.stats().tokens_given_away, 1);
    let first = put(0, 2_097_152, &[]);
    assert_eq!((first.status, &first.json()["nextExpectedRanges"]), (200, &json!(["2097152"])));
    assert_eq!(put(0, 2_097_152, &[]).status, 416, "received already");
    assert_eq!(put(2_500_000, 3_000_000, &[]).status, 416, "out of order");
    let last = put(2_097_152, bytes.len(), &[]);
    assert_eq!((last.status, last.body.as_str()), (201, ""));
    let place = last.header("location");
    assert!(place.starts_with("https://outlook.office.com/api/v2.0/Users('"), "{place}");
    let attachment = place.rsplit_once("Attachments('").unwrap().1.trim_end_matches("')").to_owned();
    let url = format!("{}/me/messages/{message}/attachments/{attachment}/$value", client.base);
    let authorization = format!("Bearer {}", client.access_token);
    let (_, received, whole) = exchange("GET", &url, &[("authorization", &authorization)], b"").unwrap();
    assert!(whole && received == bytes);
    assert_eq!(put(0, 100, &[]).status, 404, "the session is over");
}

#[test]
fn a_session_ends_with_its_time_or_when_it_is_deleted() {
    let options = SandboxOptions { upload_session_lifetime: Duration::ZERO, ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options);
    let client = Client::adele(&sandbox);
    let path = format!("/me/messages/{}/attachments/createUploadSession", draft(&client));
    let body = r#"{"AttachmentItem":{"attachmentType":"file","name":"x","size":4000000}}"#;
    let url = client.send("POST", &path, &[], body).json()["uploadUrl"].as_str().unwrap().to_owned();
    assert_eq!(exchange("GET", &url, &[], b"").unwrap().0.status, 404);

    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let path = format!("/me/messages/{}/attachments/createUploadSession", draft(&client));
    let url = client.send("POST", &path, &[], body).json()["uploadUrl"].as_str().unwrap().to_owned();
    assert_eq!(exchange("DELETE", &url, &[], b"").unwrap().0.status, 204);
    assert_eq!(exchange("GET", &url, &[], b"").unwrap().0.status, 404);
}
