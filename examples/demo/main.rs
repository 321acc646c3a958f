//! The whole product in one minute: a simulated Microsoft 365 tenant and the real agent as its own process, every
//! activity with the curl command that was used, a drop-in edited live, one broken on purpose, and a summary.
//!
//! `cargo run --release --example demo` runs it; with `-- --keep` it leaves everything running at the end.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a demonstration prints, and stops at the first surprise"
)]

mod show;
mod stage;

use std::process::ExitCode;

use serde_json::json;

use show::{Show, heading, note};
use stage::{CHILD, Stage};

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_some() {
        // The demonstration started itself again to be the agent: the same code as the o365-agent binary.
        return o365_agent::cli::main(std::env::args_os());
    }
    let keep = std::env::args().any(|argument| argument == "--keep");
    let stage = Stage::build();
    let show = Show::new(&stage);

    start(&stage, &show);
    activities(&show);
    everything(&stage, &show);
    bulk(&stage, &show);
    live_edit(&stage, &show);
    tokens(&stage, &show);
    sign_in(&stage, &show);
    summary(&stage, &show);
    if keep {
        stage.keep();
    } else {
        note("Run it with `-- --keep` to leave the tenant and the agent running and try the calls yourself.");
    }
    ExitCode::SUCCESS
}

fn start(stage: &Stage, show: &Show) {
    heading("1. Drop connections in");
    note("An operator saves two files below agent.d/. No restart, no Postman, no token in sight afterwards.");
    stage.save("mail.yaml", &stage.mail_connection("adele", 500));
    stage.save("app.yaml", &stage.app_connection());
    show.file(&stage.mail_connection("adele", 500));
    show.await_state("Adele's mailbox", "ok");
    show.await_state("Contoso directory", "ok");
    show.agent_command(stage, &["status"]);
    show.agent_command(stage, &["test", "Contoso directory"]);
}

fn activities(show: &Show) {
    let mail = "/v1/connections/Adele's%20mailbox";
    heading("2. Query");
    let unread = json!({"object": "Messages", "fields": ["receivedDateTime", "from_emailAddress_address", "subject"],
        "conditions": [{"field": "isRead", "operator": "=", "value": false}],
        "orderBy": [{"field": "receivedDateTime", "descending": true}], "limit": 3});
    show.call("POST", &format!("{mail}/query"), Some(&unread));
    note("The same as CSV, from the other connection: an application that reads the directory.");
    let users = json!({"object": "Users", "fields": ["displayName", "mail", "jobTitle"],
        "conditions": [{"field": "displayName", "operator": "starts-with", "value": "A"}]});
    show.call_accepting("POST", "/v1/connections/Contoso%20directory/query", Some(&users), "text/csv");

    heading("3. Create, Update, Delete");
    let event = json!({"object": "Events", "records": [{"subject": "Review", "start_dateTime": "2027-03-01T09:00:00",
        "start_timeZone": "UTC", "end_dateTime": "2027-03-01T10:00:00", "end_timeZone": "UTC"}]});
    let created = show.call("POST", &format!("{mail}/create"), Some(&event));
    let id = created["results"][0]["id"].as_str().unwrap_or_default().to_owned();
    let change = json!({"object": "Events", "records": [{"id": id, "subject": "Review, moved", "location_displayName": "Room 7"}]});
    show.call("POST", &format!("{mail}/update"), Some(&change));
    show.call("POST", &format!("{mail}/delete"), Some(&json!({"object": "Events", "records": [{"id": id}]})));
    note("An error is exact: what is wrong, where, and what was meant.");
    show.call(
        "POST",
        &format!("{mail}/create"),
        Some(&json!({"object": "Events", "records": [{"subjct": "x"}]})),
    );

    heading("4. Execute");
    let send = json!({"procedure": "SendMail", "parameters": {"Subject": "Minutes", "Content": "See you there.",
        "ToRecipients": "alex@contoso.onmicrosoft.com"}});
    show.call("POST", &format!("{mail}/execute"), Some(&send));
    note("A saved activity runs by name, with variables.");
    show.call(
        "POST",
        &format!("{mail}/activities/By%20sender/run"),
        Some(&json!({"variables": {"sender": "alex"}})),
    );
}

fn everything(stage: &Stage, show: &Show) {
    let (app, tenant) = ("/v1/connections/Contoso%20directory", stage.tenant());
    heading("5. Everything in Graph: two mailboxes at once, any path, files");
    note("An OR over two mailboxes, read side by side. `evaluated` says who compared what.");
    let either = json!({"object": "Messages", "fields": ["UserId", "subject", "importance"], "limit": 4, "conditions": [
        {"field": "UserId", "operator": "in", "value": [tenant.user(0).upn, tenant.user(1).upn]},
        {"or": [{"field": "importance", "operator": "=", "value": "high"}, {"field": "subject", "operator": "ends-with", "value": "report"}]}]});
    show.call("POST", &format!("{app}/query"), Some(&either));
    note("Any Graph path is an object with columns, and any of its actions a procedure.");
    let path = format!("/users/{}/mailFolders", tenant.user(0).upn);
    let folders = json!({"object": path, "fields": ["displayName", "totalItemCount"], "limit": 3});
    show.call_accepting("POST", &format!("{app}/query"), Some(&folders), "text/csv");
    show.call("GET", &format!("{app}/procedures?search=snooze"), None);
    note("A file goes up and comes back; large ones go in pieces and are resumed after a cut.");
    let user = &tenant.user(0).upn;
    let up = json!({"procedure": "UploadFile", "parameters": {"UserId": user, "FileName": "minutes.txt", "ContentBytes": "QWdyZWVkLg=="}});
    let id = show.call("POST", &format!("{app}/execute"), Some(&up))["result"]["Id"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let down = json!({"procedure": "DownloadFile", "parameters": {"UserId": user, "Id": id}});
    show.call("POST", &format!("{app}/execute"), Some(&down));

    heading("6. A thousand contacts in one call");
    note("Records as CSV, in batches that keep to four at once a mailbox; the key makes a repeat safe.");
    show.create_contacts(&format!("{app}/create?object=Contacts&continueOnError=true"), user, 1000);
}

fn bulk(stage: &Stage, show: &Show) {
    heading("7. A big query, streamed");
    let idle = stage.memory_mib("VmRSS");
    let rows = show.stream_all("/v1/connections/Adele's%20mailbox/query");
    let peak = stage.memory_mib("VmHWM");
    println!(
        "   {} rows in {:.2} s: {:.0} rows/s; the agent's memory was {idle:.1} MiB and peaked at {peak:.1} MiB.",
        rows.count,
        rows.seconds,
        rows.per_second()
    );
    show.remember_rate(rows.per_second());
}

fn live_edit(stage: &Stage, show: &Show) {
    heading("8. Edit a drop-in live, then break it");
    let before = show.generation("Adele's mailbox");
    stage.save("mail.yaml", &stage.mail_connection("adele", 2));
    let took = show.await_generation_after("Adele's mailbox", before);
    println!("   MaxRows is now 2; in force after {took:.1} s, and the connection was never away.");
    let query = json!({"object": "Messages", "fields": ["subject"]});
    show.call("POST", "/v1/connections/Adele's%20mailbox/query", Some(&query));
    note("Now a typing slip. The last good version stays in force, and the message says where and what.");
    stage.save(
        "mail.yaml",
        &stage.mail_connection("adele", 2).replace("InitiateOAuth: REFRESH", "InitiateOAuth: REFRSH"),
    );
    show.await_faults("Adele's mailbox", true);
    show.agent_command(stage, &["status"]);
    stage.save("mail.yaml", &stage.mail_connection("adele", 500));
    show.await_faults("Adele's mailbox", false);
}

fn tokens(stage: &Stage, show: &Show) {
    heading("9. Tokens: renewed when refused, honest when dead");
    note("Graph refuses the access token; the agent gets a new one and the caller notices nothing.");
    stage.tenant().expire_access_tokens();
    show.call(
        "POST",
        "/v1/connections/Adele's%20mailbox/query",
        Some(&json!({"object": "Messages", "fields": ["id"], "limit": 1})),
    );
    note("The user's sign-in is revoked: no retry storm, but one sentence that says what to do.");
    stage.revoke("adele");
    show.call("POST", "/v1/connections/Adele's%20mailbox/refresh", None);
    note("A new token is pasted into the drop-in, and the connection is back.");
    stage.save("mail.yaml", &stage.new_sign_in("adele", 500));
    show.await_state("Adele's mailbox", "ok");
    show.agent_command(stage, &["status"]);
}

fn sign_in(stage: &Stage, show: &Show) {
    heading("10. Sign a new connection in, without any other tool");
    note(
        "A third drop-in has only a client id. The agent offers a sign-in and sends nothing until it is asked.",
    );
    stage.save("alex.yaml", &stage.bare_connection());
    show.await_state("Alex's mailbox", "needs_sign_in");
    let mailbox = "/v1/connections/Alex's%20mailbox";
    let shown = show.call("POST", &format!("{mailbox}/sign-in"), Some(&json!({"method": "device_code"})));
    let code = shown["userCode"].as_str().unwrap_or_default();
    note(&format!(
        "`o365-agent sign-in` does the same and waits. Alex opens the page on any device and enters {code}."
    ));
    assert!(stage.type_in(code), "the code that was just shown is known to the tenant");
    show.await_state("Alex's mailbox", "ok");
    show.call("GET", &format!("{mailbox}/sign-in"), None);
    let newest = json!({"object": "Messages", "fields": ["subject"], "limit": 2});
    show.call("POST", &format!("{mailbox}/query"), Some(&newest));
}

fn summary(stage: &Stage, show: &Show) {
    heading("11. What happened");
    let (stats, tenant) = (show.metrics(), stage.tenant().stats());
    println!(
        "   token requests     {:>8}   (refreshed {}, denied {})",
        tenant.token_posts, stats.refreshed, stats.denied
    );
    println!("   requests to Graph  {:>8}", tenant.graph_requests);
    println!("   rows delivered     {:>8}   (the big query: {:.0} rows/s)", stats.rows, show.rate());
    println!("   runs               {:>8}", stats.runs);
    println!(
        "   agent's memory     {:>8.1} MiB now, {:.1} MiB at its peak",
        stage.memory_mib("VmRSS"),
        stage.memory_mib("VmHWM")
    );
    println!();
}
