//! The table of the 23 procedures, and the test that calls each and looks at what it did.

use o365_sandbox::{PUBLIC_CLIENT_ID, Sandbox};
use serde_json::{Value, json};

use crate::facts::Facts;
use crate::support::{Agent, Setup, application, delegated, tenant};

/// A procedure of the table.
struct Call {
    name: &'static str,
    /// `mail` is a user's connection, `app` an application's, `new` one that nobody has signed in to yet.
    connection: &'static str,
    parameters: &'static str,
    /// The request that proves it: method and the end of the path without the query; empty where none is due.
    request: (&'static str, &'static str),
    /// An output that has to have a value.
    output: &'static str,
}

const fn call(
    name: &'static str,
    connection: &'static str,
    parameters: &'static str,
    request: (&'static str, &'static str),
    output: &'static str,
) -> Call {
    Call { name, connection, parameters, request, output }
}

const NOTHING_SENT: (&str, &str) = ("", "");

/// The 23 procedures, some of them in both of their forms.
const TABLE: &[Call] = &[
    call(
        "SendMail",
        "mail",
        r#"{"Subject": "Sent", "Content": "Hello", "ToRecipients": "<other>"}"#,
        ("POST", "/sendMail"),
        "Status",
    ),
    call("SendMail", "mail", r#"{"Id": "<draft>"}"#, ("POST", "/send"), "Status"),
    call(
        "ForwardMail",
        "mail",
        r#"{"Id": "<message>", "ToRecipients": "<other>", "Comment": "See"}"#,
        ("POST", "/forward"),
        "Status",
    ),
    call(
        "ReplyToMessage",
        "app",
        r#"{"Id": "<message>", "Comment": "Thanks", "UserId": "<user>"}"#,
        ("POST", "/reply"),
        "Status",
    ),
    call(
        "ReplyToMessage",
        "mail",
        r#"{"Id": "<message>", "Comment": "Thanks", "ReplyAll": true}"#,
        ("POST", "/replyAll"),
        "Status",
    ),
    call("DownloadEmail", "mail", r#"{"Id": "<message>"}"#, ("GET", "/$value"), "ContentBytes"),
    call("DownloadAttachments", "mail", r#"{"Id": "<message>"}"#, ("GET", "/attachments"), "Attachments"),
    call(
        "AddAttachments",
        "mail",
        r#"{"Id": "<message>", "DestinationType": "Message", "FileName": "a.txt", "ContentBytes": "SGVsbG8="}"#,
        ("POST", "/attachments"),
        "Id",
    ),
    call(
        "AddAttachments",
        "app",
        r#"{"Id": "<event>", "DestinationType": "Event", "FileName": "a.txt", "ContentBytes": "SGVsbG8=", "UserId": "<user>"}"#,
        ("POST", "/attachments"),
        "Id",
    ),
    call(
        "DeleteAttachment",
        "mail",
        r#"{"Id": "<message>", "AttachmentId": "<attachment>"}"#,
        ("DELETE", ""),
        "Status",
    ),
    call("MoveMail", "mail", r#"{"Id": "<message>", "DestinationId": "archive"}"#, ("POST", "/move"), "Id"),
    call(
        "RespondToEvent",
        "mail",
        r#"{"Id": "<invitation>", "ResponseType": "tentativelyAccept", "Comment": "Perhaps"}"#,
        ("POST", "/tentativelyAccept"),
        "Status",
    ),
    call(
        "ForwardEvent",
        "mail",
        r#"{"Id": "<event>", "ToRecipients": "<other>"}"#,
        ("POST", "/forward"),
        "Status",
    ),
    call(
        "SnoozeEventReminder",
        "mail",
        r#"{"Id": "<event>", "NewReminderTime": "2026-12-07T08:00:00Z"}"#,
        ("POST", "/snoozeReminder"),
        "Status",
    ),
    call(
        "DismissEventReminder",
        "app",
        r#"{"Id": "<event>", "UserId": "<user>"}"#,
        ("POST", "/dismissReminder"),
        "Status",
    ),
    call("CancelEvent", "mail", r#"{"Id": "<doomed>", "Comment": "Sorry"}"#, ("POST", "/cancel"), "Status"),
    call(
        "CreateFolder",
        "mail",
        r#"{"FolderName": "New", "ParentId": "<folder>"}"#,
        ("POST", "/children"),
        "Id",
    ),
    call(
        "UploadFile",
        "mail",
        r#"{"FileName": "up.txt", "ParentPath": "Reports", "ContentBytes": "SGVsbG8="}"#,
        ("PUT", ""),
        "Id",
    ),
    call("DownloadFile", "mail", r#"{"Id": "<file>"}"#, ("GET", ""), "ContentBytes"),
    call(
        "AssignLicense",
        "app",
        r#"{"UserId": "<user>", "AddLicenses": "<sku>"}"#,
        ("POST", "/assignLicense"),
        "Id",
    ),
    call("FetchAdditionalUserFields", "mail", "{}", ("GET", ""), "Id"),
    call("CreateSchema", "mail", r#"{"TableName": "Messages"}"#, NOTHING_SENT, ""),
    call("RefreshOAuthAccessToken", "mail", "{}", NOTHING_SENT, "ExpiresIn"),
    call("GetOAuthAccessToken", "mail", "{}", NOTHING_SENT, "ExpiresIn"),
    call("GetAdminConsentURL", "new", r#"{"State": "x"}"#, NOTHING_SENT, "URL"),
    call("GetOAuthAuthorizationURL", "new", r#"{"Prompt": "login"}"#, NOTHING_SENT, "URL"),
];

fn agent(sandbox: &Sandbox) -> Agent {
    let unsigned = format!(
        "connections:\n  new:\n    AuthScheme: AzureAD\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: {PUBLIC_CLIENT_ID}\n    AdvancedConfigurations:\n      AzureEnvironment: CUSTOM\n      AuthorityHost: {}\n      GraphEndpoint: {}\n      CallbackURL: https://agent.contoso.example/back\n",
        sandbox.login_url(),
        sandbox.graph_url()
    );
    Setup::new()
        .drop_in("mail.yaml", &delegated(sandbox, "mail", ""))
        .drop_in("app.yaml", &application(sandbox, "app", ""))
        .drop_in("new.yaml", &unsigned)
        .start()
}

#[tokio::test]
async fn every_procedure_does_what_it_says() {
    let sandbox = tenant();
    let facts = Facts::of(&sandbox).await;
    let agent = agent(&sandbox);
    agent.await_state("mail", "ok").await;
    agent.await_state("new", "needs_sign_in").await;
    let listed = agent.get("/v1/connections/mail/procedures").await.expect(200);
    let mut listed: Vec<String> = listed["procedures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|procedure| procedure["name"].as_str().unwrap().to_owned())
        .collect();
    let mut table: Vec<String> = TABLE.iter().map(|call| call.name.to_owned()).collect();
    listed.sort();
    table.sort();
    table.dedup();
    assert_eq!(listed, table, "the table has every procedure that the agent has, and no other");
    for call in TABLE {
        sandbox.clear_requests();
        let path = format!("/v1/connections/{}/execute", call.connection);
        let body = json!({"procedure": call.name, "parameters": facts.json(call.parameters)});
        let answer = agent.post(&path, body.clone()).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        let result = answer.json()["result"].clone();
        if !call.output.is_empty() {
            assert!(has_value(&result[call.output]), "{}: {} in {result}", call.name, call.output);
        }
        let (method, end) = call.request;
        let sent: Vec<(String, String)> = sandbox
            .graph_requests()
            .into_iter()
            .map(|request| {
                let path = request.path_and_query.split('?').next().unwrap_or_default().to_owned();
                (request.method, path)
            })
            .collect();
        if !method.is_empty() {
            let proven = sent.iter().any(|(known, path)| known == method && path.ends_with(end));
            assert!(proven, "{}: no {method} …{end} among {sent:?}", call.name);
        }
        eprintln!("{:26} {:5} {method} {end}", call.name, call.connection);
    }
    eprintln!("{} procedures, {} calls", table.len(), TABLE.len());
    assert_eq!((table.len(), TABLE.len()), (23, 26));
}

fn has_value(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        _ => true,
    }
}
