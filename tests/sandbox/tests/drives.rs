//! Drives: folders, contents, sessions, downloads from another server, changes, refusals.
#![allow(clippy::unwrap_used)]

mod helper;

use helper::{Client, Reply, exchange};
use o365_sandbox::{Fault, FaultAction, FaultTarget, Sandbox, SandboxOptions};
use serde_json::{Value, json};

const UNIT: usize = 327_680;

fn put(client: &Client, path: &str, body: &[u8], headers: &[(&str, &str)]) -> Reply {
    let authorization = format!("Bearer {}", client.access_token);
    let mut all = vec![("authorization", authorization.as_str()), ("content-type", "text/plain")];
    all.extend_from_slice(headers);
    exchange("PUT", &format!("{}{path}", client.base), &all, body).unwrap().0
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn folders_and_files_are_found_by_id_and_by_path() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let drive = client.get("/me/drive").json();
    assert_eq!(drive["driveType"], "business");
    let made = client.send(
        "POST",
        "/me/drive/root/children",
        &[],
        r#"{"name":"New Folder","folder":{},"@microsoft.graph.conflictBehavior":"rename"}"#,
    );
    assert_eq!((made.status, &made.json()["folder"]["childCount"]), (201, &json!(0)));
    let folder = text(&made.json()["id"]);
    let file = put(
        &client,
        "/me/drive/root:/New%20Folder/Caf%C3%A9.txt:/content",
        b"The contents of the file goes here.",
        &[],
    );
    assert_eq!((file.status, &file.json()["size"]), (201, &json!(35)), "{}", file.body);
    let file_id = text(&file.json()["id"]);
    for path in [
        format!("/me/drive/items/{file_id}"),
        "/me/drive/root:/new folder/caf%C3%A9.txt".to_owned(),
        format!("/drives/{}/items/{folder}:/Caf%C3%A9.txt", text(&drive["id"])),
        format!("/users/{}/drive/items/{file_id}", sandbox.first_user().upn),
    ] {
        assert_eq!(client.get(&path).json()["id"], file_id.as_str(), "{path}");
    }
    assert_eq!(
        client.get(&format!("/me/drive/items/{folder}/children")).json()["value"][0]["name"],
        "Café.txt"
    );
    let again = put(&client, &format!("/me/drive/items/{file_id}/content"), b"Other", &[]);
    assert_eq!((again.status, &again.json()["size"]), (200, &json!(5)));
    assert_eq!(again.json()["file"]["hashes"].as_object().unwrap().len(), 1, "a work account has one hash");
    let named = client.send("PATCH", &format!("/me/drive/items/{file_id}"), &[], r#"{"name":"Renamed.txt"}"#);
    assert_eq!((named.status, &named.json()["name"]), (200, &json!("Renamed.txt")));
    let copy = client.send("POST", &format!("/me/drive/items/{file_id}/copy"), &[], r#"{"name":"Copy.txt"}"#);
    let monitor = exchange("GET", copy.header("location"), &[], b"").unwrap().0.json();
    assert_eq!((copy.status, &monitor["status"]), (202, &json!("completed")));
    assert_eq!(
        client.get(&format!("/me/drive/items/{}", text(&monitor["resourceId"]))).json()["name"],
        "Copy.txt"
    );
    assert_eq!(client.send("DELETE", &format!("/me/drive/items/{folder}"), &[], "").status, 204);
    assert_eq!(client.get(&format!("/me/drive/items/{file_id}")).code(), "itemNotFound");
    assert_eq!(
        client.get("/me/drive/root/search(q='budget')").json()["value"][0]["name"],
        "Budget 2026.xlsx"
    );
}

#[test]
fn children_come_in_pages_of_two_hundred() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let first = client.get("/me/drive/root:/Photos:/children").json();
    assert_eq!(first["value"].as_array().unwrap().len(), 200);
    assert_eq!(client.all("/me/drive/root:/Photos:/children?$select=id,name", &[]).len(), 250);
    let page = client.get("/me/drive/root:/Photos:/children?$top=3&$orderby=name desc&$select=name").json();
    assert_eq!(page["value"][0], json!({"name": "IMG_0249.jpg"}));
    let selected =
        client.get("/me/drive/root:/Documents:/children?$select=id,@microsoft.graph.downloadUrl").json();
    assert_eq!(selected["value"][0].as_object().unwrap().len(), 2);
    for (path, code) in [
        ("/me/drive/root/children?$filter=name eq 'x'", "notSupported"),
        ("/me/drive/root/children?$orderby=description", "notSupported"),
        ("/me/drive/root/children?$select=colour", "RequestBroker--ParseUri"),
        ("/me/drive/root/children?$skiptoken=abc", "invalidRequest"),
    ] {
        let reply = client.get(path);
        assert_eq!((reply.status, reply.code().as_str()), (400, code), "{path}");
    }
}

#[test]
fn contents_are_downloaded_elsewhere_in_ranges_and_without_a_token() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let length: usize = 1_000_000;
    sandbox.put_generated_file(&sandbox.first_user().upn, "big.bin", length as u64);
    let reply = client.get("/me/drive/root:/big.bin:/content");
    let url = reply.header("location").to_owned();
    assert_eq!(reply.status, 302);
    assert!(url.starts_with(sandbox.content_origin()) && !url.starts_with(sandbox.graph_origin()), "{url}");
    let (whole, bytes, _) = exchange("GET", &url, &[], b"").unwrap();
    assert_eq!((whole.status, bytes.len()), (200, length));
    let etag = whole.header("etag").to_owned();
    let ranged = |headers: &[(&str, &str)]| {
        let (reply, bytes, _) = exchange("GET", &url, headers, b"").unwrap();
        (reply.status, reply.header("content-range").to_owned(), bytes)
    };
    let (status, range, piece) = ranged(&[("range", "bytes=999990-")]);
    assert_eq!((status, range.as_str()), (206, "bytes 999990-999999/1000000"));
    assert_eq!(piece, bytes[999_990..]);
    assert_eq!(ranged(&[("range", "bytes=0-9"), ("if-range", &etag)]).0, 206);
    assert_eq!(ranged(&[("range", "bytes=0-9"), ("if-range", "\"old\"")]).0, 200);
    assert_eq!(ranged(&[("range", "bytes=1000000-")]).0, 416);
    assert_eq!(ranged(&[("authorization", "Bearer a.b.c")]).0, 401);
    assert_eq!(exchange("GET", &url.replace("tempauth=", "tempauth=0"), &[], b"").unwrap().0.status, 401);
    sandbox.inject(Fault {
        target: FaultTarget::Content { method: Some("GET".into()), path_contains: None },
        times: 1,
        action: FaultAction::CutMidBody(300_000),
    });
    let (_, cut, whole) = exchange("GET", &url, &[], b"").unwrap();
    assert!(!whole && cut.len() <= 300_000 && bytes.starts_with(&cut), "{}", cut.len());
    assert_eq!(client.get("/me/drive/root:/Photos:/content").status, 400, "a folder has no content");
}

#[test]
fn a_session_takes_fragments_in_order_and_survives_a_cut() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let bytes: Vec<u8> = (0..3 * UNIT + 100).map(|number| (number % 253) as u8).collect();
    let path = "/me/drive/root:/Documents/large.dat:/createUploadSession";
    let session = client.send(
        "POST",
        path,
        &[],
        r#"{"item":{"@microsoft.graph.conflictBehavior":"rename","name":"large.dat"}}"#,
    );
    assert_eq!(session.status, 200, "{}", session.body);
    let url = text(&session.json()["uploadUrl"]);
    let send = |from: usize, to: usize, headers: &[(&str, &str)]| {
        let range = format!("bytes {from}-{}/{}", to - 1, bytes.len());
        let mut all = vec![("content-range", range.as_str())];
        all.extend_from_slice(headers);
        exchange("PUT", &url, &all, &bytes[from..to])
    };
    assert_eq!(send(0, UNIT, &[("authorization", "Bearer a.b.c")]).unwrap().0.status, 401);
    let reply = send(0, UNIT, &[]).unwrap().0;
    assert_eq!((reply.status, &reply.json()["nextExpectedRanges"]), (202, &json!([format!("{UNIT}-")])));
    sandbox.inject(Fault {
        target: FaultTarget::Content { method: Some("PUT".into()), path_contains: None },
        times: 1,
        action: FaultAction::CutUpload(1000),
    });
    assert!(send(UNIT, 2 * UNIT, &[]).is_none(), "the connection is cut");
    let state = exchange("GET", &url, &[], b"").unwrap().0.json();
    assert_eq!(state["nextExpectedRanges"], json!([format!("{UNIT}-")]), "a cut fragment does not count");
    assert_eq!(send(0, UNIT, &[]).unwrap().0.status, 416);
    assert_eq!(send(UNIT, 3 * UNIT, &[]).unwrap().0.status, 202);
    let done = send(3 * UNIT, bytes.len(), &[]).unwrap().0;
    assert_eq!((done.status, &done.json()["size"]), (201, &json!(bytes.len())));
    assert_eq!(send(0, UNIT, &[]).unwrap().0.status, 404);
    let url = client.get("/me/drive/root:/Documents/large.dat:/content").header("location").to_owned();
    assert_eq!(exchange("GET", &url, &[], b"").unwrap().1, bytes);
}

#[test]
fn sessions_refuse_what_the_documents_say() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let open = |path: &str, body: &str| client.send("POST", path, &[], body);
    let upload = |url: &str, range: &str, length: usize| {
        exchange("PUT", url, &[("content-range", range)], &vec![7; length]).unwrap().0
    };
    let url = text(&open("/me/drive/root:/uneven.bin:/createUploadSession", "").json()["uploadUrl"]);
    assert_eq!(upload(&url, "bytes 0-99/300", 50).code(), "invalidRequest");
    assert_eq!(upload(&url, "bytes 0-99/300", 100).status, 202);
    assert_eq!(upload(&url, "bytes 100-199/400", 100).code(), "invalidRequest");
    assert_eq!(
        upload(&url, "bytes 100-299/300", 200).code(),
        "invalidRequest",
        "the end shows the uneven fragments"
    );
    assert_eq!(upload(&url, "nonsense", 1).status, 400);
    let url = text(&open("/me/drive/root:/huge.bin:/createUploadSession", "").json()["uploadUrl"]);
    let huge = 60 * 1024 * 1024;
    assert_eq!(upload(&url, &format!("bytes 0-{}/{}", huge - 1, huge * 2), huge).status, 413);

    let taken = "/me/drive/root:/Getting started with OneDrive.pdf:/createUploadSession";
    let url = text(&open(taken, "").json()["uploadUrl"]);
    assert_eq!(upload(&url, "bytes 0-9/10", 10).code(), "nameAlreadyExists");
    let commit = json!({"name": "Other name.pdf", "@microsoft.graph.sourceUrl": url}).to_string();
    assert_eq!(client.send("PUT", "/me/drive/root", &[], &commit).status, 201, "the bytes were kept");
    let url =
        text(&open(taken, r#"{"item":{"@microsoft.graph.conflictBehavior":"rename"}}"#).json()["uploadUrl"]);
    assert_eq!(upload(&url, "bytes 0-9/10", 10).json()["name"], "Getting started with OneDrive 1.pdf");
    let url = text(
        &open(taken, r#"{"deferCommit":true,"item":{"@microsoft.graph.conflictBehavior":"replace"}}"#).json()
            ["uploadUrl"],
    );
    assert_eq!(upload(&url, "bytes 0-9/10", 10).status, 202);
    assert_eq!(exchange("POST", &url, &[], b"").unwrap().0.status, 200, "the end was asked for");
    assert_eq!(open("/me/drive/root:/nowhere/x.bin:/createUploadSession", "").status, 404);
    assert_eq!(open("/me/drive/root:/x.bin:/createUploadSession", r#"{"surprise":1}"#).status, 400);
}

#[test]
fn drives_refuse_wrong_names_stale_tags_and_strangers() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let root = "/me/drive/root/children";
    for (body, code) in [
        (r#"{"name":"a","folder":{}}"#, ""),
        (r#"{"name":"A","folder":{}}"#, "nameAlreadyExists"),
        (r#"{"name":"b:c","folder":{}}"#, "invalidRequest"),
        (r#"{"folder":{}}"#, "invalidRequest"),
        (r#"{"name":"d"}"#, "invalidRequest"),
        (r#"{"name":"e","folder":{},"@microsoft.graph.conflictBehavior":"maybe"}"#, "invalidRequest"),
    ] {
        let reply = client.send("POST", root, &[], body);
        assert_eq!(reply.json()["error"]["code"].as_str().unwrap_or_default(), code, "{body}");
    }
    let file = put(&client, "/me/drive/root:/tagged.txt:/content", b"1", &[]).json();
    let path = format!("/me/drive/items/{}", text(&file["id"]));
    let stale = [("if-match", "\"old\"")];
    assert_eq!(put(&client, &format!("{path}/content"), b"2", &stale).code(), "resourceModified");
    assert_eq!(client.send("PATCH", &path, &stale, r#"{"name":"x"}"#).status, 412);
    assert_eq!(client.send("DELETE", &path, &[("if-match", file["eTag"].as_str().unwrap())], "").status, 204);
    assert_eq!(client.send("PATCH", "/me/drive/root:/a", &[], r#"{"size":3}"#).status, 400);
    assert_eq!(client.send("DELETE", "/me/drive/root", &[], "").status, 400);
    let stranger = sandbox.user(1);
    assert_eq!(client.get(&format!("/users/{}/drive", stranger.upn)).code(), "accessDenied");
    let app = Client::app(&sandbox);
    let theirs = text(&app.get(&format!("/users/{}/drive", stranger.upn)).json()["id"]);
    assert_eq!(client.get(&format!("/drives/{theirs}/root")).code(), "accessDenied");
    assert_eq!(app.get(&format!("/drives/{theirs}/root")).status, 200);
    assert_eq!(app.get("/drives/b!none/root").code(), "itemNotFound");
    assert_eq!(app.get("/me/drive").status, 400);
}

#[test]
fn delta_tells_what_changed_and_forgets_nothing() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let walk = |start: &str| {
        let (mut rows, mut next) = (Vec::new(), start.to_owned());
        loop {
            let page = client.get(&next).json();
            rows.extend(page["value"].as_array().unwrap().iter().cloned());
            match page["@odata.nextLink"].as_str() {
                Some(link) => next = link.to_owned(),
                None => return (rows, text(&page["@odata.deltaLink"])),
            }
        }
    };
    let (rows, link) = walk("/me/drive/root/delta");
    assert!(rows.len() > 260, "{}", rows.len());
    assert!(walk(&link).0.is_empty());
    put(&client, "/me/drive/root:/fresh.txt:/content", b"x", &[]);
    client.send("DELETE", "/me/drive/root:/Archive/Older/Older", &[], "");
    let (rows, _) = walk(&link);
    assert!(rows.iter().any(|row| row["name"] == "fresh.txt"));
    assert!(
        rows.iter().filter(|row| row.get("deleted").is_some()).count() > 5,
        "the folder and what lay in it"
    );
    assert!(walk("/me/drive/root/delta?token=latest").0.is_empty());
    let gone = client.get("/me/drive/root/delta?token=ancient");
    assert_eq!((gone.status, gone.code().as_str()), (410, "resyncRequired"));
    assert!(!gone.header("location").is_empty());
}

#[test]
fn personal_accounts_have_more_hashes() {
    let sandbox = Sandbox::start(SandboxOptions { personal_drives: true, ..SandboxOptions::default() });
    let client = Client::adele(&sandbox);
    let hashes =
        put(&client, "/me/drive/root:/abc.txt:/content", b"abc", &[]).json()["file"]["hashes"].clone();
    assert_eq!(hashes["sha1Hash"], "A9993E364706816ABA3E25717850C26C9CD0D89D");
    assert!(text(&hashes["sha256Hash"]).starts_with("BA7816BF8F01CFEA"));
}
