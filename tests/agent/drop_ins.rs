//! Drop-ins as operators save them: seen soon, never absent in between, and a bad one hurts itself only.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Setup, application, delegated, eventually, tenant};

/// The promise is two seconds; `O365_AGENT_STRICT_TIMES=1` holds the agent to it. Without it a busy machine is given more,
/// because a test must not fail for want of a processor.
fn live_within() -> Duration {
    let strict = std::env::var_os("O365_AGENT_STRICT_TIMES").is_some();
    Duration::from_secs(if strict { 2 } else { 10 })
}

fn shell(script: &str) {
    let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
}

/// "Must show" 4: vim, sed -i, cp, mv, rm and create, and a slow append.
#[tokio::test]
async fn every_way_of_saving_is_live_in_two_seconds_and_never_absent() {
    let sandbox = tenant();
    let text = application(&sandbox, "app", "      MaxRows: 100\n");
    let agent = Setup::new().drop_in("app.yaml", &text).start();
    agent.await_state("app", "ok").await;
    let file = agent.drop_in_directory().join("app.yaml");
    let other = agent.root().join("other.yaml");
    let path = file.display().to_string();
    let ways: Vec<(&str, Box<dyn Fn(u32)>)> = vec![
        (
            "vim",
            Box::new(|rows| {
                shell(&format!("vim -u NONE -n -es -c '%s/MaxRows: .*/MaxRows: {rows}/' -c wq {path}"))
            }),
        ),
        ("sed -i", Box::new(|rows| shell(&format!("sed -i 's/MaxRows: .*/MaxRows: {rows}/' {path}")))),
        (
            "cp",
            Box::new(|rows| {
                std::fs::write(&other, application_with(&text, rows)).unwrap();
                shell(&format!("cp {} {path}", other.display()));
            }),
        ),
        (
            "mv",
            Box::new(|rows| {
                std::fs::write(&other, application_with(&text, rows)).unwrap();
                shell(&format!("mv {} {path}", other.display()));
            }),
        ),
        (
            "rm and create",
            Box::new(|rows| {
                std::fs::remove_file(&file).unwrap();
                std::fs::write(&file, application_with(&text, rows)).unwrap();
            }),
        ),
        (
            "slow append",
            Box::new(|rows| {
                // The first part alone is a valid file with another meaning: it must not be taken for the whole.
                let whole = application_with(&text, rows);
                let (start, rest) = whole.split_at(whole.find("      MaxRows").unwrap());
                std::fs::write(&file, start).unwrap();
                let mut handle = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
                for piece in rest.as_bytes().chunks(4) {
                    std::io::Write::write_all(&mut handle, piece).unwrap();
                    std::thread::sleep(Duration::from_millis(15)); // this is the slow writer, not a wait for the agent
                }
            }),
        ),
    ];
    let mut rows = 100;
    for (way, save) in &ways {
        for _ in 0..3 {
            rows += 1;
            save(rows);
            let saved = Instant::now();
            loop {
                assert_ne!(
                    agent.state_of("app").await,
                    "absent",
                    "{way}: the connection was gone for a moment"
                );
                let request = json!({"object": "Users", "fields": ["id"], "conditions": []});
                let _keeps_the_agent_busy =
                    agent.post("/v1/connections/app/query", request).await.expect(200);
                let view = agent.get("/v1/connections/app").await.expect(200);
                if generation_of(&agent, rows).await && view["state"] == "ok" {
                    break;
                }
                assert!(saved.elapsed() < live_within(), "{way}: not live after {:?}", saved.elapsed());
            }
        }
    }
}

/// Whether MaxRows is in force: it caps the rows of a query over /users (25 in this tenant) only when it is smaller,
/// so the cap is read where the agent shows it: in its log record of the load.
async fn generation_of(agent: &crate::support::Agent, rows: u32) -> bool {
    let saved = std::fs::read_to_string(agent.drop_in_directory().join("app.yaml")).unwrap_or_default();
    let listed = agent.get("/v1/agent").await.expect(200);
    let hash = listed["dropIns"][0]["sha256"].as_str().unwrap_or_default().to_owned();
    saved.contains(&format!("MaxRows: {rows}")) && hash == sha256(saved.as_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn application_with(text: &str, rows: u32) -> String {
    text.lines()
        .map(|line| {
            if line.trim_start().starts_with("MaxRows") {
                format!("      MaxRows: {rows}\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect()
}

#[tokio::test]
async fn a_bad_file_keeps_the_last_good_and_says_where_and_what() {
    let sandbox = tenant();
    let good = delegated(&sandbox, "mail", "");
    let agent = Setup::new()
        .drop_in("a-mail.yaml", &good)
        .drop_in("b-app.yaml", &application(&sandbox, "app", ""))
        .start();
    agent.await_state("mail", "ok").await;
    let file = agent.drop_in_directory().join("a-mail.yaml");
    std::fs::write(&file, good.replace("InitiateOAuth: REFRESH", "InitiateOAuth: REFRSH")).unwrap();
    eventually("the fault is shown", async || {
        !agent.get("/v1/connections/mail").await.json()["faults"].as_array().is_none_or(Vec::is_empty)
    })
    .await;
    let view = agent.get("/v1/connections/mail").await.expect(200);
    let fault = &view["faults"][0];
    assert!(fault["file"].as_str().unwrap().ends_with("a-mail.yaml"), "{fault}");
    assert_eq!(fault["line"], 4, "{fault}");
    assert!(fault["key"].as_str().unwrap().contains("InitiateOAuth"), "{fault}");
    assert!(fault["message"].as_str().unwrap().contains("REFRESH"), "{fault}");
    assert_eq!(view["state"], "ok");
    for name in ["mail", "app"] {
        let request = json!({"object": "/users", "fields": ["id"]});
        agent.post(&format!("/v1/connections/{name}/query"), request).await.expect(200);
    }
    std::fs::write(&file, &good).unwrap();
    eventually("mended", async || agent.get("/v1/connections/mail").await.json()["faults"].is_null()).await;
}

#[tokio::test]
async fn a_connection_in_two_files_changes_neither() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", "")).start();
    agent.await_state("app", "ok").await;
    let before = agent.get("/v1/connections/app").await.expect(200)["generation"].clone();
    std::fs::write(
        agent.drop_in_directory().join("b.yaml"),
        application(&sandbox, "app", "      MaxRows: 3\n"),
    )
    .unwrap();
    eventually("both files are named", async || {
        let faults = agent.get("/v1/agent").await.json()["dropIns"].to_string();
        faults.matches("a.yaml").count() > 1 && faults.matches("b.yaml").count() > 1
    })
    .await;
    assert_eq!(agent.get("/v1/connections/app").await.expect(200)["generation"], before);
}

#[tokio::test]
async fn a_removed_file_removes_its_connection_and_a_reload_says_so() {
    let sandbox = tenant();
    let agent = Setup::new().drop_in("a.yaml", &application(&sandbox, "app", "")).start();
    std::fs::remove_file(agent.drop_in_directory().join("a.yaml")).unwrap();
    eventually("gone", async || agent.state_of("app").await == "absent").await;
    std::fs::write(agent.drop_in_directory().join("b.yaml"), application(&sandbox, "again", "")).unwrap();
    let report = agent.call(http::Method::POST, "/v1/agent/reload", &[], None).await.expect(200);
    assert_eq!(report["ok"], true, "{report}");
    eventually("back", async || agent.state_of("again").await == "ok").await;
}

#[tokio::test]
async fn put_and_delete_write_the_drop_in() {
    let sandbox = tenant();
    let agent = Setup::new().start();
    let document = json!({"AuthScheme": "AzureServicePrincipal", "InitiateOAuth": "GETANDREFRESH",
        "OAuthClientId": o365_sandbox::CONFIDENTIAL_CLIENT_ID, "OAuthClientSecret": o365_sandbox::CONFIDENTIAL_CLIENT_SECRET,
        "AdvancedConfigurations": {"AzureEnvironment": "CUSTOM", "AuthorityHost": sandbox.login_url(),
            "GraphEndpoint": sandbox.graph_url(), "AzureTenant": sandbox.tenant_id()}});
    let path = "/v1/connections/made%20here";
    let made = agent.call(http::Method::PUT, path, &[], Some(document.clone())).await;
    made.expect(201);
    agent.await_state("made here", "ok").await;
    let tag = agent.get(path).await.headers["etag"].to_str().unwrap().to_owned();
    let stale =
        agent.call(http::Method::PUT, path, &[("if-match", "\"other\"")], Some(document.clone())).await;
    assert_eq!(stale.status, 412, "{}", stale.text());
    let mut faulty = document.clone();
    faulty["OAuthClientIdd"] = json!("x");
    let refused = agent.call(http::Method::PUT, path, &[], Some(faulty)).await;
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("OAuthClientId"), "{}", refused.text());
    agent.call(http::Method::PUT, path, &[("if-match", &tag)], Some(document)).await.expect(200);
    let activity = json!({"type": "Query", "object": "Users", "fields": ["id"], "limit": 2});
    agent.call(http::Method::PUT, &format!("{path}/activities/two"), &[], Some(activity)).await.expect(200);
    let rows =
        agent.call(http::Method::POST, &format!("{path}/activities/two/run"), &[], None).await.expect(200);
    assert_eq!(rows["rows"].as_array().unwrap().len(), 2);
    agent.call(http::Method::DELETE, path, &[], None).await.expect(204);
    assert_eq!(agent.state_of("made here").await, "absent");
    assert_eq!(std::fs::read_dir(agent.drop_in_directory()).unwrap().count(), 0);
}

#[tokio::test]
async fn settings_location_needs_local_files_and_an_owner() {
    let sandbox = tenant();
    let setup = Setup::new();
    let store = setup.path().join("mine.json");
    let location = format!("      OAuthSettingsLocation: {}\n", store.display());
    let mut agent = setup.drop_in("a.yaml", &application(&sandbox, "one", &location)).start();
    let view = agent.get("/v1/connections/one").await.expect(200);
    assert_eq!(view["state"], "refused");
    let message = view["message"].as_str().unwrap();
    assert!(
        message.contains("EnableLocalFileLocation=true")
            && message.contains("[Settings]")
            && message.contains("state.conf"),
        "{message}"
    );

    let settings = std::fs::read_to_string(agent.settings_file()).unwrap();
    std::fs::write(agent.settings_file(), format!("{settings}\n[Settings]\nEnableLocalFileLocation=true\n"))
        .unwrap();
    agent.signal("HUP");
    agent.await_state("one", "ok").await;
    eventually("the store is there", async || store.exists()).await;

    std::fs::write(agent.drop_in_directory().join("b.yaml"), application(&sandbox, "two", &location))
        .unwrap();
    eventually("the second one is refused", async || agent.state_of("two").await == "refused").await;
    assert_eq!(agent.state_of("one").await, "ok");
    assert_eq!(agent.stop(), 0);
}

/// A user namespace in which nobody may make an inotify instance; the shell becomes the agent.
const WITHOUT_INOTIFY: [&str; 5] =
    ["unshare", "-Ur", "sh", "-c", "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\""];

/// How many edits: `O365_AGENT_EDITS=2000` is the full size. There are five edits to a file.
fn edits() -> u64 {
    std::env::var("O365_AGENT_EDITS").ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// An edit: which file, what is there now (nothing: it was removed), and when that was done.
type Edit = (String, Option<String>, Instant);

/// Saves one file in one of the ways in which files are saved, and says what is there.
fn edit(folder: &std::path::Path, name: &str, number: u64, way: u64) -> Option<String> {
    let path = folder.join(format!("{name}.yaml"));
    let text = format!(
        "connections:\n  {name}:\n    AuthScheme: AzureAD\n    InitiateOAuth: OFF\n    OAuthAccessToken: opaque\n    MaxRows: {}\n",
        number + 1
    );
    match way % 8 {
        0 => {
            let _it_may_be_gone_already = std::fs::remove_file(&path);
            return None;
        }
        1 | 2 => {
            let other = folder.join(format!(".{name}.new"));
            std::fs::write(&other, &text).unwrap();
            std::fs::rename(&other, &path).unwrap();
        }
        3 => {
            let _it_may_be_gone_already = std::fs::remove_file(&path);
            std::fs::write(&path, &text).unwrap();
        }
        4 => {
            // Two halves, of which the first alone is a good file with another meaning.
            let (start, rest) = text.split_at(text.find("    MaxRows").unwrap());
            let mut file = std::fs::File::create(&path).unwrap();
            std::io::Write::write_all(&mut file, start.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(7)); // this is the slow writer, not a wait for the agent
            std::io::Write::write_all(&mut file, rest.as_bytes()).unwrap();
        }
        _ => std::fs::write(&path, &text).unwrap(),
    }
    Some(sha256(text.as_bytes()))
}

/// Edits at random instants; every one is in force within the bound, unless it was overwritten before that. The longest
/// wait.
async fn every_edit_is_live(agent: &crate::support::Agent, spread: Duration, bound: Duration) -> Duration {
    let (count, folder) = (edits(), agent.drop_in_directory());
    let (tell, told) = std::sync::mpsc::channel::<Edit>();
    let writer = std::thread::spawn(move || {
        let mut seed = 0x9E37_79B9_7F4A_7C15_u64;
        let longest_pause = 2 * spread.as_micros() as u64 / count;
        for number in 0..count {
            // The random instants themselves, not a wait for the agent.
            std::thread::sleep(Duration::from_micros(random(&mut seed) % longest_pause));
            let name = format!("c{:03}", random(&mut seed) % (count / 5));
            let there = edit(&folder, &name, number, random(&mut seed) >> 7);
            tell.send((name, there, Instant::now())).unwrap();
        }
    });
    let mut waiting = std::collections::BTreeMap::<String, (Option<String>, Instant)>::new();
    let (mut longest, mut live, mut overwritten) = (Duration::ZERO, 0, 0);
    loop {
        let over = writer.is_finished();
        for (name, there, at) in told.try_iter() {
            overwritten += u64::from(waiting.insert(name, (there, at)).is_some());
        }
        if over && waiting.is_empty() {
            break;
        }
        let listed = agent.get("/v1/agent").await.expect(200);
        let now = Instant::now();
        let in_force: std::collections::BTreeMap<String, String> = listed["dropIns"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| {
                let path = std::path::Path::new(file["file"].as_str().unwrap()).to_owned();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                (name, file["sha256"].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        waiting.retain(|name, (there, at)| {
            let waited = now.duration_since(*at);
            let is_live = in_force.get(name) == there.as_ref();
            if is_live {
                longest = longest.max(waited);
                live += 1;
            } else {
                assert!(waited <= bound, "{name}: {there:?} is not in force after {waited:?}");
            }
            !is_live
        });
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    writer.join().unwrap();
    assert_eq!(live + overwritten, count, "every edit is accounted for");
    eprintln!(
        "{count} edits of {} files: {live} live, {overwritten} overwritten before; the longest wait {longest:?}",
        count / 5
    );
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_at_random_instants_are_live_in_two_seconds() {
    let agent = Setup::new().conf("[Logging]\nFormat=json\nLevel=info\n").start();
    let longest = every_edit_is_live(&agent, Duration::from_millis(edits() * 10), live_within()).await;
    assert!(longest <= live_within(), "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_inotify_edits_are_live_in_a_minute() {
    let may = Command::new("unshare").args(["-Ur", "true"]).status();
    if !may.is_ok_and(|status| status.success()) {
        eprintln!("skipped: user namespaces are not to be had here");
        return;
    }
    let setup = Setup::new();
    let conf = "[Logging]\nFormat=json\nLevel=info\n";
    let agent = crate::support::Agent::spawn_through(&WITHOUT_INOTIFY, setup.path(), "state", conf, &[]);
    assert!(agent.log().contains("cannot be watched"), "inotify was refused: {}", agent.log());
    let strict = std::env::var_os("O365_AGENT_STRICT_TIMES").is_some();
    let bound = Duration::from_secs(if strict { 60 } else { 70 });
    let longest = every_edit_is_live(&agent, Duration::from_secs(2), bound).await;
    assert!(longest <= bound, "{longest:?}");
}

/// A look that takes longer than an idle turn of the loop, as on a file system that is slow to answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_takes_seven_seconds_is_in_force_after_it() {
    let agent = Setup::new().conf("[Logging]\nFormat=json\nLevel=info\n").start();
    // A reading of the directory takes two of these calls.
    let Some(slowed) = agent.slow_down("getdents64", Duration::from_millis(3500)).await else {
        eprintln!("skipped: the agent cannot be traced here");
        return;
    };
    let there = edit(&agent.drop_in_directory(), "slow", 1, 5).unwrap();
    let saved = Instant::now();
    eventually("the edit is in force", async || {
        agent.get("/v1/agent").await.expect(200)["dropIns"][0]["sha256"] == there.as_str()
    })
    .await;
    assert!(saved.elapsed() > Duration::from_secs(5), "the look was as slow as it should be");
    drop(slowed);
}
