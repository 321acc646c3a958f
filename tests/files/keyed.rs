//! Execute with an `Idempotency-Key` and for later: one mail for one key, whatever is lost or killed on the way.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use o365_sandbox::{Fault, FaultAction, FaultTarget, Sandbox};
use serde_json::{Value, json};

use crate::support::{Agent, Answer, Setup, client, delegated, eventually, tenant};
use crate::transfer::{EXECUTE, MIB, agent, bytes, graph};

fn on_post(sandbox: &Sandbox, path: &str, action: FaultAction) {
    let target = FaultTarget::Graph { method: Some("POST".into()), path_contains: Some(path.to_owned()) };
    sandbox.inject(Fault { target, times: 1, action });
}

fn mail(sandbox: &Sandbox, subject: &str) -> Value {
    let to = sandbox.user(1).upn;
    json!({"procedure": "SendMail", "parameters": {"Subject": subject, "Content": "x", "ToRecipients": to}})
}

async fn keyed(agent: &Agent, key: &str, call: &Value) -> Answer {
    agent.call(http::Method::POST, EXECUTE, &[("idempotency-key", key)], Some(call.clone())).await
}

/// The messages with that subject in the sender's mailbox: `isDraft` of each.
async fn there(sandbox: &Sandbox, subject: &str) -> Vec<bool> {
    let path = format!("me/messages?$select=id,isDraft&$filter=subject%20eq%20'{subject}'");
    let rows = graph(sandbox, &path).await["value"].clone();
    rows.as_array().unwrap().iter().map(|row| row["isDraft"].as_bool().unwrap()).collect()
}

fn posts(sandbox: &Sandbox) -> Vec<String> {
    let sent = sandbox.graph_requests().into_iter().filter(|request| request.method == "POST");
    sent.map(|request| request.path_and_query).collect()
}

#[tokio::test]
async fn a_mail_is_sent_once_for_its_key_and_the_repeat_gets_the_first_answer() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let call = mail(&sandbox, "once");
    let first = keyed(&agent, "k", &call).await.expect(200);
    assert_eq!(first["result"], json!({"Status": "Success"}));
    assert_eq!(there(&sandbox, "once").await, [false]);
    let draft =
        sandbox.graph_requests().into_iter().find(|request| request.path_and_query.ends_with("/send"));
    assert!(draft.is_some(), "it went by a draft");
    sandbox.clear_requests();
    let again = keyed(&agent, "k", &call).await.expect(200);
    assert_eq!(again["result"], first["result"]);
    assert_ne!(again["runId"], first["runId"]);
    assert_eq!((sandbox.graph_requests().len(), sandbox.created("once")), (0, 1), "nothing was called");
    let other = keyed(&agent, "k", &mail(&sandbox, "other")).await;
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("idempotency_key_reused")));

    // Another key is another mail, and a refusal is told again as it was.
    keyed(&agent, "k2", &call).await.expect(200);
    assert_eq!(there(&sandbox, "once").await, [false, false]);
    let folder = json!({"procedure": "CreateFolder", "parameters": {"FolderName": "Taken", "ParentPath": "Documents"}});
    let made = keyed(&agent, "f", &folder).await.expect(200);
    assert_eq!(keyed(&agent, "f", &folder).await.expect(200)["result"], made["result"]);
    let refused = keyed(&agent, "f2", &folder).await.expect(409);
    sandbox.clear_requests();
    let again = keyed(&agent, "f2", &folder).await.expect(409);
    assert_eq!((&again["code"], &again["graph"]), (&refused["code"], &refused["graph"]));
    assert_eq!(sandbox.graph_requests().len(), 0);
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_in_the_mailbox() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    for (subject, path) in [("lost draft", "/messages"), ("lost send", "/send")] {
        on_post(&sandbox, path, FaultAction::CutBeforeAnswer);
        let sent = keyed(&agent, subject, &mail(&sandbox, subject)).await.expect(200);
        assert_eq!(sent["result"]["Status"], "Success", "{subject}");
        assert_eq!((sandbox.created(subject), there(&sandbox, subject).await), (1, vec![false]), "{subject}");
    }
}

#[tokio::test]
async fn an_agent_killed_while_the_draft_is_on_its_way_out_never_sends_it_again() {
    let sandbox = tenant();
    let setup = Setup::new().drop_in("mail.yaml", &delegated(&sandbox, "mail", ""));
    let conf = "[Logging]\nFormat=json\nLevel=info\n";
    let call = mail(&sandbox, "killed");
    on_post(&sandbox, "/send", FaultAction::Delay(Duration::from_secs(600)));
    let mut agent = Agent::spawn(setup.path(), "state", conf, &[]);
    let calling = async {
        // The answer breaks off with the agent.
        let _nobody_answers = client()
            .post(format!("{}{EXECUTE}", agent.base))
            .header("authorization", format!("Bearer {}", agent.token))
            .header("content-type", "application/json")
            .header("idempotency-key", "k")
            .body(call.to_string())
            .send()
            .await;
    };
    let pid = agent.pid().to_string();
    let killer = async {
        eventually("the draft is about to be sent", async || {
            posts(&sandbox).iter().any(|path| path.ends_with("/send"))
        })
        .await;
        std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
    };
    tokio::join!(calling, killer);
    agent.await_end();
    assert_eq!(there(&sandbox, "killed").await, [true], "the kill came in between");
    let short = [("O365_AGENT_TEST_LOOKS_PERCENT".to_owned(), "5".to_owned())];
    let agent = Agent::spawn(setup.path(), "state", conf, &short);
    agent.await_state("mail", "ok").await;
    // The service may have taken it: the dead agent cannot say.
    assert_eq!(keyed(&agent, "k", &call).await.expect(502)["code"], "outcome_unknown");
    let sent = posts(&sandbox).iter().filter(|path| path.ends_with("/send")).count();
    assert_eq!((sandbox.created("killed"), sent, there(&sandbox, "killed").await), (1, 1, vec![true]));
    // Once the draft is out, whoever sent it, the key has its answer.
    let draft = graph(&sandbox, "me/messages?$select=id&$filter=subject%20eq%20'killed'").await;
    let by_id = json!({"procedure": "SendMail", "parameters": {"Id": draft["value"][0]["id"]}});
    agent.post(EXECUTE, by_id).await.expect(200);
    keyed(&agent, "k", &call).await.expect(200);
    assert_eq!(there(&sandbox, "killed").await, [false]);
}

#[tokio::test]
async fn a_mail_that_may_have_gone_out_and_is_nowhere_is_not_made_anew() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let call = mail(&sandbox, "gone");
    on_post(&sandbox, "/send", FaultAction::Delay(Duration::from_secs(600)));
    let mut impatient = call.clone();
    impatient["timeoutSeconds"] = json!(2);
    assert_eq!(keyed(&agent, "k", &impatient).await.expect(502)["code"], "outcome_unknown");
    let find = "me/messages?$select=id&$filter=subject%20eq%20'gone'";
    while let Some(id) = graph(&sandbox, find).await["value"][0]["id"].as_str() {
        let request = json!({"object": "Messages", "keys": [id]});
        agent.post("/v1/connections/mail/delete", request).await.expect(200);
    }
    assert_eq!(keyed(&agent, "k", &call).await.expect(502)["code"], "outcome_unknown");
    assert_eq!((sandbox.created("gone"), there(&sandbox, "gone").await), (1, vec![]));
}

#[tokio::test]
async fn what_cannot_be_found_out_stays_unknown_and_is_never_sent_again() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let id = graph(&sandbox, "me/messages?$top=1&$select=id").await["value"][0]["id"].clone();
    let to = sandbox.user(1).upn;
    let call =
        json!({"procedure": "ForwardMail", "parameters": {"Id": id, "ToRecipients": to, "Comment": "x"}});
    on_post(&sandbox, "/forward", FaultAction::CutBeforeAnswer);
    for _ in 0..3 {
        let problem = keyed(&agent, "k", &call).await.expect(502);
        assert_eq!(problem["code"], "outcome_unknown");
        assert!(problem["detail"].as_str().unwrap().contains("Look whether it happened"), "{problem}");
    }
    assert_eq!(posts(&sandbox).iter().filter(|path| path.ends_with("/forward")).count(), 1);
}

#[tokio::test]
async fn a_draft_that_got_only_some_attachments_gets_them_anew() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let mut call = mail(&sandbox, "large");
    let content = STANDARD.encode(bytes(2 * MIB));
    call["parameters"]["Attachments"] =
        json!([{"name": "a.bin", "contentBytes": content}, {"name": "b.bin", "contentBytes": content}]);
    // The second attachment is refused for a reason that may pass.
    let target =
        FaultTarget::Graph { method: Some("POST".into()), path_contains: Some("/attachments".to_owned()) };
    let action = FaultAction::Status { status: 403, headers: Vec::new(), body: String::new() };
    sandbox.inject(Fault {
        target: FaultTarget::Every { nth: 2, target: Box::new(target) },
        times: 1,
        action,
    });
    keyed(&agent, "k", &call).await.expect(502);
    assert_eq!(there(&sandbox, "large").await, [true]);
    keyed(&agent, "k", &call).await.expect(200);
    assert_eq!((sandbox.created("large"), there(&sandbox, "large").await), (1, vec![false]));
    let path = "me/messages?$select=id&$filter=subject%20eq%20'large'&$expand=attachments($select=name)";
    let rows = graph(&sandbox, path).await;
    assert_eq!(rows["value"][0]["attachments"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_procedure_for_later_keeps_its_result_also_when_it_is_saved() {
    let sandbox = tenant();
    let to = sandbox.user(1).upn;
    let saved = format!(
        "    activities:\n      Tell:\n        type: Execute\n        procedure: SendMail\n        parameters: {{ Subject: saved, Content: x, ToRecipients: {to} }}\n"
    );
    let agent = Setup::new().drop_in("m.yaml", &delegated(&sandbox, "mail", &saved)).start();
    let headers = [("prefer", "respond-async"), ("idempotency-key", "k")];
    let path = "/v1/connections/mail/activities/Tell/run";
    on_post(&sandbox, "/send", FaultAction::Delay(Duration::from_secs(1)));
    let accepted = agent.call(http::Method::POST, path, &headers, None).await;
    assert_eq!(
        (accepted.status, accepted.headers["preference-applied"].to_str().unwrap()),
        (202, "respond-async")
    );
    let run = accepted.headers["location"].to_str().unwrap().to_owned();
    let busy = agent.call(http::Method::POST, path, &headers, None).await;
    assert_eq!((busy.status, &busy.json()["code"]), (409, &json!("idempotency_key_in_use")));
    assert!(run.ends_with(busy.json()["runId"].as_str().unwrap()));
    eventually("the run has ended", async || agent.get(&run).await.expect(200)["status"] == "success").await;
    let results = agent.get(&format!("{run}/results")).await.expect(200);
    let expected = json!([{"index": 0, "status": "executed", "result": {"Status": "Success"}}]);
    assert_eq!((&results["results"], &results["complete"]), (&expected, &json!(true)), "{results}");
    let again = agent.call(http::Method::POST, path, &headers[1..], None).await.expect(200);
    assert_eq!(again["result"]["Status"], "Success");
    assert_eq!(sandbox.created("saved"), 1);

    // Without a key, and one that fails.
    let missing = json!({"procedure": "MoveMail", "parameters": {"Id": "none", "DestinationId": "archive"}});
    let accepted = agent.call(http::Method::POST, EXECUTE, &headers[..1], Some(missing)).await;
    let run = accepted.headers["location"].to_str().unwrap().to_owned();
    eventually("the run has ended", async || agent.get(&run).await.expect(200)["status"] == "error").await;
    let results = agent.get(&format!("{run}/results")).await.expect(200);
    assert_eq!(results["results"][0]["status"], "failed", "{results}");
    assert_eq!(results["results"][0]["error"]["code"], "graph_refused");
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_before_anything_is_sent() {
    let sandbox = tenant();
    let agent = agent(&sandbox);
    let mut unsaved = mail(&sandbox, "unsaved");
    unsaved["parameters"]["SaveToSentItems"] = json!(false);
    let problem = keyed(&agent, "a", &unsaved).await.expect(400);
    assert_eq!(problem["field"], "SaveToSentItems", "{problem}");
    let consent = json!({"procedure": "GetOAuthAuthorizationUrl", "parameters": {}});
    assert_eq!(keyed(&agent, "b", &consent).await.expect(400)["code"], "sign_in_not_kept");
    let download = json!({"procedure": "DownloadFile", "parameters": {"Path": "x"}});
    let send = async |path: &str, headers: &[(&str, &str)], body: String| {
        let url = format!("{}{path}", agent.base);
        let mut request =
            client().post(url).header("authorization", format!("Bearer {}", agent.token)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::read(request.send().await.unwrap()).await
    };
    let upload = format!("{EXECUTE}?procedure=UploadFile&FileName=a");
    for kept in [("idempotency-key", "c"), ("prefer", "respond-async")] {
        let headers = [kept, ("content-type", "application/json"), ("accept", "application/octet-stream")];
        let problem = send(EXECUTE, &headers, download.to_string()).await.expect(400);
        assert_eq!(problem["code"], "content_not_kept", "{problem}");
        let headers = [kept, ("content-type", "application/octet-stream")];
        let problem = send(&upload, &headers, "content".to_owned()).await.expect(400);
        assert_eq!(problem["code"], "content_not_kept", "{problem}");
    }
    assert_eq!((posts(&sandbox).len(), sandbox.created("unsaved")), (0, 0));
}
