//! Pages: complete, exact, in order, and refused where the service refuses them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Tests may panic, and this one measures time.

mod helper;

use helper::Client;
use o365_sandbox::{Fault, FaultAction, Sandbox, SandboxOptions};
use std::collections::HashSet;
use std::time::Duration;

#[test]
fn pages_are_complete_and_exact() {
    let sandbox = Sandbox::start(SandboxOptions { messages_per_mailbox: 2_345, ..SandboxOptions::default() });
    let client = Client::adele(&sandbox);
    for path in ["/me/messages?$top=1000&$select=subject", "/me/messages?$select=receivedDateTime&$top=77"] {
        let rows = client.all(path, &[]);
        let ids: HashSet<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
        assert_eq!((rows.len(), ids.len()), (2_345, 2_345), "{path}");
    }
    let rows = client.all("/me/messages?$orderby=receivedDateTime&$top=500", &[]);
    let times: Vec<&str> = rows.iter().map(|row| row["receivedDateTime"].as_str().unwrap()).collect();
    assert!(times.is_sorted());
    assert_eq!(client.get("/me/messages/$count").body, "2345");
    let stats = sandbox.stats();
    assert_eq!(stats.graph_requests, 3 + 31 + 5 + 1);
    assert_eq!(stats.rows_sent, 3 * 2_345);
}

#[test]
fn a_page_looks_like_the_services() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let reply =
        client.send("GET", "/me/messages?$select=subject,isRead", &[("client-request-id", "abc")], "");
    assert_eq!(reply.header("client-request-id"), "abc");
    assert_eq!(reply.header("request-id").len(), 36);
    let page = reply.json();
    let members: Vec<&String> = page.as_object().unwrap().keys().collect();
    assert_eq!(members, ["@odata.context", "@odata.nextLink", "value"]);
    assert_eq!(page["value"].as_array().unwrap().len(), 10);
    let row: Vec<&String> = page["value"][0].as_object().unwrap().keys().collect();
    assert_eq!(row, ["@odata.etag", "id", "subject", "isRead"]);
    let link = page["@odata.nextLink"].as_str().unwrap();
    assert_eq!(link, format!("{}/me/messages?$select=subject,isRead&$skip=10", sandbox.graph_url()));
    sandbox.set_next_link_after_value(true);
    let page = client.get("/me/messages?$select=subject,isRead").json();
    assert_eq!(page.as_object().unwrap().keys().next_back().unwrap(), "@odata.nextLink");
}

#[test]
fn folders_and_preferences_shape_pages() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let reply =
        client.send("GET", "/me/mailFolders/inbox/messages", &[("prefer", "odata.maxpagesize=25")], "");
    assert_eq!(reply.header("preference-applied"), "odata.maxpagesize=25");
    assert_eq!(reply.json()["value"].as_array().unwrap().len(), 25);
    let mut total = 0;
    for folder in client.all("/me/mailFolders?$top=50", &[]) {
        let count =
            client.get(&format!("/me/mailFolders/{}/messages/$count", folder["id"].as_str().unwrap())).body;
        assert_eq!(folder["totalItemCount"].to_string(), count);
        total += count.parse::<usize>().unwrap();
    }
    assert_eq!(total, 200);
    let counted = client.get("/me/messages?$count=true&$filter=isRead eq false&$top=1").json();
    let unread = client.all("/me/messages?$filter=isRead eq false", &[]);
    assert_eq!(counted["@odata.count"], unread.len());
}

#[test]
fn a_planned_next_link_may_loop() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let link = format!("{}/me/messages?$top=5", sandbox.graph_url());
    sandbox.inject(Fault::graph(2, FaultAction::NextLink(link.clone())));
    for _ in 0..2 {
        assert_eq!(client.get("/me/messages?$top=5").json()["@odata.nextLink"], link);
    }
    assert_ne!(client.get("/me/messages?$top=5").json()["@odata.nextLink"], link);
}

#[test]
fn directory_pages_go_by_opaque_tokens() {
    let sandbox = Sandbox::start(SandboxOptions { users: 2_345, ..SandboxOptions::default() });
    let client = Client::app(&sandbox);
    let rows = client.all("/users?$top=999&$select=id,displayName", &[]);
    let ids: HashSet<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!((rows.len(), ids.len()), (2_345, 2_345));
    let link = client.get("/users").json()["@odata.nextLink"].as_str().unwrap().to_owned();
    assert!(link.contains("$skiptoken="), "{link}");
    assert_eq!(client.get(&link).status, 200);
    let refused = client.get(&format!("{link}A"));
    assert_eq!((refused.status, refused.code().as_str()), (400, "Directory_ExpiredPageToken"));
    let refused = client.get(&link.replace("/users?", "/users?$top=5&"));
    assert_eq!(refused.code(), "Directory_ExpiredPageToken");
}

#[test]
fn advanced_queries_need_their_header_on_every_page() {
    let sandbox = Sandbox::start(SandboxOptions { users: 300, ..SandboxOptions::default() });
    let client = Client::app(&sandbox);
    let eventual = [("consistencylevel", "eventual")];
    let path = "/users?$count=true&$filter=endsWith(mail,'contoso.onmicrosoft.com')";
    let page = client.send("GET", path, &eventual, "").json();
    assert_eq!(page["@odata.count"], 299);
    let link = page["@odata.nextLink"].as_str().unwrap();
    assert_eq!(client.get(link).code(), "Request_UnsupportedQuery");
    let second = client.send("GET", link, &eventual, "").json();
    assert!(second.get("@odata.count").is_none(), "only the first page counts");
    assert_eq!(client.all(path, &eventual).len(), 299);
}

#[test]
fn many_rows_cost_nothing_before_they_are_read() {
    let started = std::time::Instant::now();
    let sandbox =
        Sandbox::start(SandboxOptions { messages_per_mailbox: 100_000, ..SandboxOptions::default() });
    assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
    let client = Client::adele(&sandbox);
    let path = "/me/messages?$select=subject,receivedDateTime&$top=1000&$skip=99000";
    assert_eq!(client.get(path).json()["value"].as_array().unwrap().len(), 1_000);
    let started = std::time::Instant::now();
    client.get(path);
    assert!(started.elapsed() < Duration::from_millis(200), "{:?}", started.elapsed());
}
