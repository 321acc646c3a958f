//! Every procedure that carries no content, from the call to what it changed, also as an application for another user.

use o365_sandbox::{PUBLIC_CLIENT_ID, Sandbox};
use serde_json::{Value, json};

use crate::support::{Agent, Setup, tenant};
use crate::transfer::{agent, files, graph, refused, run};

async fn first(sandbox: &Sandbox, collection: &str) -> Value {
    graph(sandbox, &format!("me/{collection}?$top=1")).await["value"][0].clone()
}

#[tokio::test]
async fn messages_are_forwarded_answered_moved_and_read_whole() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let message = first(&sandbox, "messages").await;
    let id = message["id"].as_str().unwrap();
    let done = json!({"Status": "Success"});
    let to = sandbox.user(1).upn;
    assert_eq!(
        run(&agent, "ForwardMail", json!({"Id": id, "ToRecipients": to, "Comment": "see"})).await,
        done
    );
    assert_eq!(run(&agent, "ReplyToMessage", json!({"Id": id, "Comment": "thanks"})).await, done);
    assert_eq!(
        run(&agent, "ReplyToMessage", json!({"Id": id, "Comment": "all", "ReplyAll": "true"})).await,
        done
    );
    let sent: Vec<String> = sandbox.graph_requests().into_iter().map(|sent| sent.path_and_query).collect();
    for verb in ["forward", "reply", "replyAll"] {
        assert!(sent.iter().any(|path| path.ends_with(&format!("/{verb}"))), "{verb}: {sent:?}");
    }
    let email = run(&agent, "DownloadEmail", json!({"Id": id, "LocalFile": "m.eml"})).await;
    let text = std::fs::read_to_string(files(&agent).join("m.eml")).unwrap();
    assert!(text.contains(message["subject"].as_str().unwrap()), "{text}");
    assert_eq!(email["Size"].as_u64(), Some(text.len() as u64), "{email}");
    let in_answer = run(&agent, "DownloadEmail", json!({"Id": id})).await;
    assert!(in_answer["ContentBytes"].as_str().is_some_and(|text| text.len() > 100), "{in_answer}");
    let moved = run(&agent, "MoveMail", json!({"Id": id, "DestinationId": "archive"})).await;
    let now =
        graph(&sandbox, &format!("me/messages/{}?$select=id,subject", moved["Id"].as_str().unwrap())).await;
    assert_eq!(now["subject"], message["subject"]);
}

#[tokio::test]
async fn folders_licenses_and_profiles() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let made = run(&agent, "CreateFolder", json!({"FolderName": "New", "ParentPath": "Documents"})).await;
    assert_eq!(made["Name"], "New");
    let problem =
        refused(&agent, 409, "CreateFolder", json!({"FolderName": "New", "ParentPath": "Documents"})).await;
    assert_eq!(problem["graph"]["code"], "nameAlreadyExists");
    let inner = run(&agent, "CreateFolder", json!({"FolderName": "In", "ParentId": made["Id"]})).await;
    let found = graph(&sandbox, "me/drive/root:/Documents/New/In?$select=id").await;
    assert_eq!(found["id"], inner["Id"]);

    let profile = run(&agent, "FetchAdditionalUserFields", json!({})).await;
    assert!(
        profile["Id"].is_string() && profile.get("AboutMe").is_some() && profile.get("Skills").is_some(),
        "{profile}"
    );
    let skus = graph(&sandbox, "subscribedSkus").await;
    if let Some(sku) = skus["value"][0]["skuId"].as_str() {
        let user = sandbox.user(1).upn;
        let path = format!("users/{user}?$select=assignedLicenses,usageLocation");
        let held = |user: &Value| {
            user["assignedLicenses"].as_array().unwrap().iter().any(|license| license["skuId"] == sku)
        };
        let before = held(&graph(&sandbox, &path).await);
        let first = if before { "RemoveLicenses" } else { "AddLicenses" };
        let second = if before { "AddLicenses" } else { "RemoveLicenses" };
        for (parameter, after) in [(first, !before), (second, before)] {
            // An administrator's business: the application has the role, the signed-in user has not.
            let call = json!({"procedure": "AssignLicense", "parameters": {"UserId": user, parameter: sku}});
            let problem = agent.post(crate::transfer::EXECUTE, call.clone()).await.expect(502);
            assert_eq!(problem["code"], "graph_forbidden");
            let done = agent.post("/v1/connections/app/execute", call).await.expect(200);
            assert!(done["result"]["Id"].is_string(), "{done}");
            assert_eq!(held(&graph(&sandbox, &path).await), after, "{parameter}");
        }
    }
}

#[tokio::test]
async fn an_application_acts_on_a_user_and_a_reader_only_reads() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let user = sandbox.user(1).upn;
    let path = "/v1/connections/app/execute";
    let call = |procedure: &str, parameters: Value| json!({"procedure": procedure, "parameters": parameters});
    let missing = agent.post(path, call("CreateFolder", json!({"FolderName": "X"}))).await.expect(400);
    assert_eq!(missing["code"], "user_id_required");
    let made =
        agent.post(path, call("CreateFolder", json!({"FolderName": "X", "UserId": user}))).await.expect(200);
    assert_eq!(made["result"]["Name"], "X");

    let reader = Setup::new()
        .drop_in("m.yaml", &crate::support::delegated(&sandbox, "mail", "      Readonly: true\n"))
        .start();
    assert_eq!(refused(&reader, 403, "CreateFolder", json!({"FolderName": "Y"})).await["code"], "read_only");
    assert!(run(&reader, "FetchAdditionalUserFields", json!({})).await["Id"].is_string());
}

/// Nothing that looks like a token, a code or a key.
fn expect_no_token(answer: &Value) {
    let text = answer.to_string();
    for mark in ["eyJhbGci", "eyJ0eXAi", "1.AVYA", "AgABAwEAAAA"] {
        assert!(!text.contains(mark), "{text}");
    }
}

#[tokio::test]
async fn the_oauth_procedures_sign_in_and_never_answer_a_token() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    agent.await_state("mail", "ok").await;
    agent.await_state("app", "ok").await;
    let before = sandbox.stats().tokens_issued;
    for (procedure, parameters) in
        [("GetOAuthAccessToken", json!({})), ("RefreshOAuthAccessToken", json!({}))]
    {
        let answer = run(&agent, procedure, parameters).await;
        assert_eq!(answer["Status"], "ok", "{answer}");
        assert!(answer["ExpiresIn"].as_u64().is_some_and(|seconds| seconds > 60), "{answer}");
        expect_no_token(&answer);
    }
    assert_eq!(sandbox.stats().tokens_issued, before + 1, "only the refresh fetched one");

    let unsigned = unsigned(&sandbox).await;
    let consent = run(&unsigned, "GetAdminConsentURL", json!({"State": "x"})).await;
    assert!(consent["URL"].as_str().unwrap().contains("/adminconsent?client_id="), "{consent}");
    let begun = run(&unsigned, "GetOAuthAuthorizationURL", json!({"Prompt": "login"})).await;
    let url = begun["URL"].as_str().unwrap();
    assert!(url.contains("code_challenge=") && url.ends_with("&prompt=login"), "{begun}");
    let back = sandbox.authorize(url, &sandbox.first_user().upn).unwrap();
    let signed = run(&unsigned, "GetOAuthAccessToken", json!({"AuthMode": "WEB", "Verifier": back})).await;
    assert_eq!(
        (signed["Status"].as_str(), signed["Account"].as_str()),
        (Some("ok"), Some(&*sandbox.first_user().upn)),
        "{signed}"
    );
    expect_no_token(&signed);
}

#[tokio::test]
async fn without_a_token_the_app_mode_offers_a_code_to_type_in() {
    let sandbox = tenant();
    let agent = unsigned(&sandbox).await;
    let offered = run(&agent, "GetOAuthAccessToken", json!({"AuthMode": "APP"})).await;
    assert_eq!(offered["Status"], "waiting_for_code_entry", "{offered}");
    assert!(sandbox.approve_device_code(offered["UserCode"].as_str().unwrap(), &sandbox.first_user().upn));
    agent.await_state("mail", "ok").await;
    expect_no_token(&offered);
}

/// An agent whose connection needs a sign-in.
async fn unsigned(sandbox: &Sandbox) -> Agent {
    let text = format!(
        "connections:\n  mail:\n    AuthScheme: AzureAD\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: {PUBLIC_CLIENT_ID}\n    AdvancedConfigurations:\n      AzureEnvironment: CUSTOM\n      AuthorityHost: {}\n      GraphEndpoint: {}\n      CallbackURL: https://agent.contoso.example/back\n",
        sandbox.login_url(),
        sandbox.graph_url()
    );
    let agent = Setup::new().drop_in("m.yaml", &text).start();
    agent.await_state("mail", "needs_sign_in").await;
    agent
}

#[tokio::test]
async fn meetings_are_answered_forwarded_and_cancelled() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let events = graph(&sandbox, "me/events?$top=50&$select=id,isOrganizer,responseRequested").await;
    let events = events["value"].as_array().unwrap().clone();
    let of = |organizer: bool| {
        events
            .iter()
            .filter(move |event| event["isOrganizer"] == organizer)
            .map(|event| event["id"].clone())
            .collect::<Vec<_>>()
    };
    let (mine, theirs) = (of(true), of(false));
    let done = json!({"Status": "Success"});
    for (id, response) in theirs.iter().zip(["accept", "tentativelyAccept", "decline"]) {
        let answer =
            run(&agent, "RespondToEvent", json!({"Id": id, "ResponseType": response, "Comment": "ok"})).await;
        assert_eq!(answer, done, "{response}");
    }
    let own = mine.first().expect("the user organizes a meeting");
    for (procedure, parameters) in [
        ("SnoozeEventReminder", json!({"Id": own, "NewReminderTime": "2026-12-01T08:00:00Z"})),
        ("DismissEventReminder", json!({"Id": own})),
        ("ForwardEvent", json!({"Id": own, "ToRecipients": sandbox.user(1).upn, "Comment": "you too"})),
        ("CancelEvent", json!({"Id": own, "Comment": "sorry"})),
    ] {
        assert_eq!(run(&agent, procedure, parameters).await, done, "{procedure}");
    }
}

#[tokio::test]
async fn every_procedure_describes_itself() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let list = agent.get("/v1/connections/mail/procedures").await.expect(200);
    let names: Vec<&str> =
        list["procedures"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 23);
    for name in names {
        let described =
            agent.get(&format!("/v1/connections/mail/procedures/{}", name.to_uppercase())).await.expect(200);
        for parameter in described["parameters"].as_array().unwrap() {
            assert!(parameter["type"].is_string() && parameter["required"].is_boolean(), "{described}");
        }
    }
}
