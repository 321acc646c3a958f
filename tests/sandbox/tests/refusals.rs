//! What Graph refuses, with status and code, and what filters find.
#![allow(clippy::unwrap_used)]

mod helper;

use helper::Client;
use o365_sandbox::{Sandbox, SandboxOptions};

#[test]
fn options_that_the_service_refuses_are_refused() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::app(&sandbox);
    let mail = format!("/users/{}/messages", sandbox.first_user().upn);
    let own = format!("/users/{}", sandbox.first_user().id);
    let cases: Vec<(String, u16, &str)> = vec![
        ("/me/messages".into(), 400, "BadRequest"),
        (format!("{mail}?$select=colour"), 400, "RequestBroker--ParseUri"),
        (format!("{mail}?$filter=colour eq 'red'"), 400, "RequestBroker--ParseUri"),
        (format!("{mail}?$filter=from/emailAddress/phone eq 'x'"), 400, "RequestBroker--ParseUri"),
        (format!("{mail}?$filter=subject eq"), 400, "BadRequest"),
        (format!("{mail}?$filter=(subject eq 'a'"), 400, "BadRequest"),
        (format!("{mail}?$filter=subject = 'a'"), 400, "BadRequest"),
        (format!("{mail}?$filter=receivedDateTime ge '2026-01-01T00:00:00Z'"), 400, "BadRequest"),
        (format!("{mail}?$filter=isRead eq 'false'"), 400, "BadRequest"),
        (format!("{mail}?$filter=importance eq 'urgent'"), 400, "BadRequest"),
        (format!("{mail}?$filter=shout(subject)"), 400, "BadRequest"),
        (format!("{mail}?$filter=tolower(subject) eq 'a'"), 400, "ErrorInvalidUrlQueryFilter"),
        (
            format!("{mail}?$filter=toRecipients/any(r:r/emailAddress/address eq 'a@b')"),
            400,
            "ErrorInvalidUrlQueryFilter",
        ),
        (format!("{mail}?$filter=isRead eq false&$orderby=receivedDateTime desc"), 400, "InefficientFilter"),
        (format!("{mail}?$orderby=toRecipients"), 400, "BadRequest"),
        (format!("{mail}?$orderby=subject upwards"), 400, "BadRequest"),
        (format!("{mail}?$top=1001"), 400, "ErrorInvalidParameter"),
        (format!("{mail}?$top=many"), 400, "BadRequest"),
        (format!("{mail}?$count=yes"), 400, "BadRequest"),
        (format!("{mail}?$unknown=1"), 400, "BadRequest"),
        (format!("{mail}?$top=1&$top=2"), 400, "BadRequest"),
        (format!("{mail}?$expand=extensions"), 501, "NotImplemented"),
        (format!("{mail}?$expand=unicorns"), 400, "BadRequest"),
        (format!("{mail}?$search=\"a\"&$filter=isRead eq true"), 400, "SearchWithFilter"),
        (format!("{mail}?$search=\"a\"&$orderby=subject"), 400, "SearchWithOrderBy"),
        (format!("{mail}/AAMkInvented="), 400, "ErrorInvalidIdMalformed"),
        (format!("{mail}/AAMkInvented=?$filter=a eq 1"), 400, "RequestBroker--ParseUri"),
        (format!("{own}/mailFolders/nowhere/messages"), 400, "ErrorInvalidIdMalformed"),
        (format!("{own}/calendarView"), 400, "ErrorInvalidParameter"),
        (format!("{own}/unicorns"), 400, "BadRequest"),
        ("/users?$top=1000".into(), 400, "Request_UnsupportedQuery"),
        ("/users?$top=0".into(), 400, "Request_UnsupportedQuery"),
        ("/users?$skip=10".into(), 400, "Request_BadRequest"),
        ("/users?$filter=contains(displayName,'a')".into(), 400, "Request_UnsupportedQuery"),
        ("/users?$filter=displayName ne 'a'".into(), 400, "Request_UnsupportedQuery"),
        ("/users?$filter=not startsWith(displayName,'a')".into(), 400, "Request_UnsupportedQuery"),
        ("/users?$filter=endsWith(mail,'com')".into(), 400, "Request_UnsupportedQuery"),
        ("/users?$count=true&$filter=endsWith(mail,'com')".into(), 400, "Request_UnsupportedQuery"),
        ("/users?$filter=aboutMe eq 'a'".into(), 400, "Request_UnsupportedQuery"),
        ("/users?$filter=displayName gt 'a'".into(), 400, "Request_UnsupportedQuery"),
        ("/users?$filter=startsWith(department,'S')".into(), 400, "Request_UnsupportedQuery"),
        ("/users?$filter=colour eq 'a'".into(), 400, "BadRequest"),
        ("/users?$select=colour".into(), 400, "BadRequest"),
        ("/users?$orderby=city".into(), 400, "Request_UnsupportedQuery"),
        (
            "/users?$filter=startsWith(displayName,'a')&$orderby=displayName".into(),
            400,
            "Request_UnsupportedQuery",
        ),
        ("/users?$search=\"displayName:ade\"".into(), 400, "Request_UnsupportedQuery"),
        ("/users/$count".into(), 400, "Request_BadRequest"),
        ("/users?$skiptoken=abc".into(), 400, "Directory_ExpiredPageToken"),
        ("/users/nobody@contoso.onmicrosoft.com".into(), 404, "Request_ResourceNotFound"),
        ("/users/nobody@contoso.onmicrosoft.com/messages".into(), 404, "ErrorInvalidUser"),
        (
            format!("/users/{}/messages", sandbox.user_without_mailbox().id),
            404,
            "MailboxNotEnabledForRESTAPI",
        ),
    ];
    for (path, status, code) in cases {
        let reply = client.get(&path);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{path}: {}", reply.body);
        let inner = &reply.json()["error"]["innerError"];
        assert!(inner["request-id"].is_string() && inner["date"].is_string(), "{path}");
    }
}

#[test]
fn a_user_sees_the_own_mailbox_only() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let other = sandbox.user(1).id;
    assert_eq!(client.get(&format!("/users/{}/messages", sandbox.first_user().id)).status, 200);
    assert_eq!(client.get(&format!("/users/{other}/messages")).code(), "ErrorAccessDenied");
    assert_eq!(client.get(&format!("/users/{other}")).status, 200, "the directory may be read");
    let change = client.send("PATCH", &format!("/users/{other}"), &[], r#"{"jobTitle":"Clown"}"#);
    assert_eq!((change.status, change.code().as_str()), (403, "Authorization_RequestDenied"));
    assert_eq!(client.send("PUT", "/me/messages", &[], "{}").status, 405);
    let beta = client.get(&format!("{}/beta/me", sandbox.graph_origin()));
    assert_eq!(beta.status, 400);
}

#[test]
fn filters_find_what_they_say() {
    let sandbox = Sandbox::start(SandboxOptions::default());
    let client = Client::adele(&sandbox);
    let all = client.all("/me/messages?$top=1000", &[]);
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().to_lowercase();
    let middle = all[100]["receivedDateTime"].as_str().unwrap().to_owned();
    let sender = all[0]["from"]["emailAddress"]["address"].as_str().unwrap().to_owned();
    type Condition<'a> = Box<dyn Fn(&serde_json::Value) -> bool + 'a>;
    let cases: Vec<(String, Condition<'_>)> = vec![
        ("isRead eq false".into(), Box::new(|row| row["isRead"] == false)),
        ("isRead".into(), Box::new(|row| row["isRead"] == true)),
        ("not isRead".into(), Box::new(|row| row["isRead"] == false)),
        ("importance eq 'High'".into(), Box::new(|row| row["importance"] == "high")),
        ("importance in ('high','low')".into(), Box::new(|row| row["importance"] != "normal")),
        ("startswith(subject,'re:')".into(), Box::new(|row| text(row, "subject").starts_with("re:"))),
        (
            "contains(subject,'budget') or endswith(subject,'reminder')".into(),
            Box::new(|row| {
                text(row, "subject").contains("budget") || text(row, "subject").ends_with("reminder")
            }),
        ),
        (
            format!("receivedDateTime gt {middle}"),
            Box::new(|row| row["receivedDateTime"].as_str().unwrap() > middle.as_str()),
        ),
        (
            format!("receivedDateTime le {middle} and isRead eq true"),
            Box::new(|row| {
                row["receivedDateTime"].as_str().unwrap() <= middle.as_str() && row["isRead"] == true
            }),
        ),
        (
            format!("from/emailAddress/address eq '{sender}'"),
            Box::new(|row| row["from"]["emailAddress"]["address"] == sender.as_str()),
        ),
        (
            "categories/any(c:c eq 'Red category')".into(),
            Box::new(|row| row["categories"].as_array().unwrap().contains(&"Red category".into())),
        ),
        ("categories/any()".into(), Box::new(|row| !row["categories"].as_array().unwrap().is_empty())),
        ("flag/flagStatus eq 'flagged'".into(), Box::new(|row| row["flag"]["flagStatus"] == "flagged")),
        (
            "(isRead eq false or hasAttachments eq true) and importance ne 'normal'".into(),
            Box::new(|row| {
                (row["isRead"] == false || row["hasAttachments"] == true) && row["importance"] != "normal"
            }),
        ),
        ("subject ne null and subject ne 'it''s'".into(), Box::new(|_| true)),
    ];
    for (filter, condition) in cases {
        let found = client.all(&format!("/me/messages?$top=1000&$filter={filter}"), &[]);
        let expected = all.iter().filter(|row| condition(row)).count();
        assert!(expected > 0, "{filter} finds nothing, so it shows nothing");
        assert_eq!(found.len(), expected, "{filter}");
        assert!(found.iter().all(condition), "{filter}");
    }
    let ordered = client.get(&format!(
        "/me/messages?$filter=receivedDateTime ge {middle} and isRead eq true&$orderby=receivedDateTime asc"
    ));
    assert_eq!(ordered.status, 200, "the ordered property leads the filter");
}

#[test]
fn directory_filters_and_defaults() {
    let sandbox = Sandbox::start(SandboxOptions { users: 400, ..SandboxOptions::default() });
    let client = Client::app(&sandbox);
    let found = |path: &str, headers: &[(&str, &str)]| client.all(path, headers).len();
    let eventual = [("consistencylevel", "eventual")];
    assert_eq!(found("/users?$filter=displayName eq 'ADELE vance'", &[]), 1);
    assert_eq!(found("/users?$filter=startswith(userPrincipalName,'adelev')", &[]), 1);
    assert_eq!(found("/users?$filter=mail eq null", &[]), 1);
    assert_eq!(found("/users?$count=true&$filter=mail ne null", &eventual), 399);
    assert_eq!(found("/users?$search=\"displayName:van\"", &eventual), 1);
    assert!(found("/users?$filter=surname eq 'O''Brien'", &[]) > 0);
    let count = client.send("GET", "/users/$count", &eventual, "");
    assert_eq!((count.body.as_str(), count.header("content-type")), ("400", "text/plain"));
    let user = client.get(&format!("/users/{}", sandbox.first_user().id)).json();
    assert_eq!(user.as_object().unwrap().len(), 12, "the default set and the context");
    assert_eq!(user["jobTitle"], "Retail Manager");
    let ignored = client.get("/users?$count=true").json();
    assert!(ignored.get("@odata.count").is_none(), "the option is ignored without its header");
    let sorted = client.all("/users?$orderby=displayName desc&$select=displayName&$top=150", &[]);
    let names: Vec<String> =
        sorted.iter().map(|row| row["displayName"].as_str().unwrap().to_lowercase()).collect();
    assert!(names.is_sorted_by(|left, right| left >= right));
}
