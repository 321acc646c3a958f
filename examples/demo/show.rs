//! What a person sees: the curl command, its answer cut to a screenful, and the agent's own command line.

use std::cell::Cell;
use std::io::{IsTerminal, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::stage::{CHILD, Stage};

/// Answers longer than this are cut on the screen.
const LINES: usize = 16;

/// Longer lines are cut on the screen.
const COLUMNS: usize = 148;

pub(crate) struct Show {
    url: String,
    token: String,
    token_file: String,
    rate: Cell<f64>,
}

/// Rows of a streamed query.
pub(crate) struct Streamed {
    pub(crate) count: usize,
    pub(crate) seconds: f64,
}

impl Streamed {
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.seconds
    }
}

/// Figures of the agent's metrics.
pub(crate) struct Figures {
    pub(crate) refreshed: u64,
    pub(crate) denied: u64,
    pub(crate) rows: u64,
    pub(crate) runs: u64,
}

pub(crate) fn heading(text: &str) {
    println!(
        "\n{}",
        styled("1", &format!("── {text} {}", "─".repeat(90_usize.saturating_sub(text.chars().count()))))
    );
}

pub(crate) fn note(text: &str) {
    println!("   {text}");
}

fn styled(code: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// JSON the way a person reads rows: one line for each member, and one for each element of a list.
fn laid_out(value: &Value) -> String {
    let Value::Object(members) = value else { return value.to_string() };
    let mut text = String::from("{");
    for (index, (name, member)) in members.iter().enumerate() {
        text.push_str(if index == 0 { "\n" } else { ",\n" });
        text.push_str(&format!("  \"{name}\": "));
        match member {
            Value::Array(items) if name != "columns" && !items.is_empty() => {
                let lines: Vec<String> = items.iter().map(|item| format!("    {item}")).collect();
                text.push_str(&format!("[\n{}\n  ]", lines.join(",\n")));
            }
            other => text.push_str(&other.to_string()),
        }
    }
    text.push_str("\n}");
    text
}

impl Show {
    pub(crate) fn new(stage: &Stage) -> Self {
        let token_file = stage.token_file();
        let token = std::fs::read_to_string(&token_file).unwrap().trim().to_owned();
        Self {
            url: stage.control_url(),
            token,
            token_file: token_file.display().to_string(),
            rate: Cell::new(0.0),
        }
    }

    /// A drop-in, with what is secret in it blotted out.
    pub(crate) fn file(&self, text: &str) {
        for line in text.lines().take(LINES) {
            let shown = match line.split_once("Token: ") {
                Some((key, _)) => format!("{key}Token: ********"),
                None => line.to_owned(),
            };
            println!("   │ {shown}");
        }
    }

    /// Makes a call with curl and shows both.
    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        serde_json::from_str(&self.call_accepting(method, path, body, "application/json"))
            .unwrap_or(Value::Null)
    }

    pub(crate) fn call_accepting(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
        accept: &str,
    ) -> String {
        let mut shown = format!("curl -s -X {method} -H \"Authorization: Bearer $(cat $TOKEN_FILE)\"");
        if accept != "application/json" {
            shown.push_str(&format!(" -H 'Accept: {accept}'"));
        }
        if let Some(body) = body {
            shown.push_str(&format!(" -H 'Content-Type: application/json' -d '{body}'"));
        }
        println!("\n   {}", styled("36", &format!("$ {shown} \"{}{path}\"", self.url)));
        let answer = self.curl(method, path, body, accept);
        self.print_answer(&answer);
        answer
    }

    fn print_answer(&self, answer: &str) {
        let text = serde_json::from_str::<Value>(answer)
            .map_or_else(|_| answer.to_owned(), |value| laid_out(&value));
        let lines: Vec<&str> = text.lines().collect();
        for line in lines.iter().take(LINES) {
            let cut: String = line.chars().take(COLUMNS).collect();
            println!("   {cut}{}", if cut.len() < line.len() { "…" } else { "" });
        }
        if lines.len() > LINES {
            println!("   … {} more lines", lines.len() - LINES);
        }
    }

    /// The call itself: the curl of this machine, with the token in a header file that other users cannot see.
    fn curl(&self, method: &str, path: &str, body: Option<&Value>, accept: &str) -> String {
        let mut command = Command::new("curl");
        command.args(["-sS", "-X", method, "-H", "@-", "-H", &format!("Accept: {accept}")]);
        if let Some(body) = body {
            command.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
        }
        command.arg(format!("{}{path}", self.url)).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .expect("curl is needed to show the calls; install it with `apt-get install curl`");
        let mut input = child.stdin.take().expect("stdin was piped just above");
        std::io::Write::write_all(&mut input, format!("Authorization: Bearer {}\n", self.token).as_bytes())
            .unwrap();
        drop(input);
        String::from_utf8_lossy(&child.wait_with_output().unwrap().stdout).into_owned()
    }

    fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.curl("GET", path, None, "application/json")).unwrap_or(Value::Null)
    }

    /// Runs a command of the agent's own command line and shows it.
    pub(crate) fn agent_command(&self, stage: &Stage, arguments: &[&str]) {
        let shown: Vec<_> = arguments
            .iter()
            .map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() })
            .collect();
        println!("\n   {}", styled("36", &format!("$ o365-agent {}", shown.join(" "))));
        let output = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .arg("--config")
            .arg(stage.settings_file())
            .env(CHILD, "1")
            .output()
            .unwrap();
        for line in String::from_utf8_lossy(&output.stdout)
            .lines()
            .chain(String::from_utf8_lossy(&output.stderr).lines())
        {
            println!(
                "   {}",
                line.replace(&format!("{}/", stage.settings_file().parent().unwrap().display()), "")
            );
        }
    }

    fn wait(&self, what: &str, mut holds: impl FnMut() -> bool) -> f64 {
        let began = Instant::now();
        while !holds() {
            assert!(began.elapsed() < Duration::from_secs(20), "not in time: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
        began.elapsed().as_secs_f64()
    }

    fn connection(&self, name: &str) -> Value {
        self.get(&format!("/v1/connections/{}", name.replace(' ', "%20")))
    }

    pub(crate) fn await_state(&self, name: &str, state: &str) {
        self.wait(&format!("{name} is {state}"), || self.connection(name)["state"] == state);
    }

    pub(crate) fn await_faults(&self, name: &str, faults: bool) {
        self.wait("the drop-in is looked at", || self.connection(name)["faults"].is_array() == faults);
    }

    pub(crate) fn generation(&self, name: &str) -> u64 {
        self.connection(name)["generation"].as_u64().unwrap_or_default()
    }

    pub(crate) fn await_generation_after(&self, name: &str, before: u64) -> f64 {
        self.wait("the new generation", || self.generation(name) > before)
    }

    /// Creates contacts from CSV with an idempotency key, twice, and counts what became of them.
    pub(crate) fn create_contacts(&self, path: &str, user: &str, count: usize) {
        let rows: String = (0..count).map(|number| format!("Person {number:04},Demo,{user}\n")).collect();
        let records = format!("givenName,surname,UserId\n{rows}");
        let shown =
            "curl -s -H 'Content-Type: text/csv' -H 'Idempotency-Key: demo-1' --data-binary @contacts.csv";
        for turn in ["the call", "the same call again"] {
            println!("\n   {}", styled("36", &format!("$ {shown} \"{}{path}\"", self.url)));
            let began = Instant::now();
            let answer = self.send_csv(path, &records);
            let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
            let created: std::collections::BTreeSet<&str> =
                results.iter().filter_map(|result| result["id"].as_str()).collect();
            println!(
                "   {turn}: {} results, {} different records, {:.2} s",
                results.len(),
                created.len(),
                began.elapsed().as_secs_f64()
            );
        }
    }

    fn send_csv(&self, path: &str, records: &str) -> Value {
        // The records in a file of their own: curl reads the token from its standard input.
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, records.as_bytes()).unwrap();
        let body = format!("@{}", file.path().display());
        let mut child = Command::new("curl")
            .args(["-sS", "-H", "@-", "-H", "Content-Type: text/csv", "-H", "Idempotency-Key: demo-1"])
            .args(["--data-binary", &body])
            .arg(format!("{}{path}", self.url))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl is needed to show the calls; install it with `apt-get install curl`");
        let mut input = child.stdin.take().expect("stdin was piped just above");
        std::io::Write::write_all(&mut input, format!("Authorization: Bearer {}\n", self.token).as_bytes())
            .unwrap();
        drop(input);
        serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap_or(Value::Null)
    }

    /// Streams every message as NDJSON and counts the lines.
    pub(crate) fn stream_all(&self, path: &str) -> Streamed {
        let body = json!({"object": "Messages", "fields": ["id", "subject", "receivedDateTime", "from_emailAddress_address"], "limit": 1_000_000});
        let shown = format!(
            "curl -sN -H 'Accept: application/x-ndjson' … -d '{body}' \"{}{path}\" | wc -l",
            self.url
        );
        println!("\n   {}", styled("36", &format!("$ {shown}")));
        let began = Instant::now();
        let mut child = Command::new("curl")
            .args([
                "-sSN",
                "-X",
                "POST",
                "-H",
                "@-",
                "-H",
                "Accept: application/x-ndjson",
                "-H",
                "Content-Type: application/json",
                "-d",
            ])
            .arg(body.to_string())
            .arg(format!("{}{path}", self.url))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl is needed to show the calls; install it with `apt-get install curl`");
        let mut input = child.stdin.take().expect("stdin was piped just above");
        std::io::Write::write_all(&mut input, format!("Authorization: Bearer {}\n", self.token).as_bytes())
            .unwrap();
        drop(input);
        let (mut count, mut buffer) = (0, vec![0; 1 << 16]);
        let mut output = child.stdout.take().expect("stdout was piped just above");
        loop {
            let length = output.read(&mut buffer).unwrap();
            if length == 0 {
                break;
            }
            count += buffer[..length].iter().filter(|byte| **byte == b'\n').count();
        }
        child.wait().unwrap();
        println!("   {count}");
        Streamed { count, seconds: began.elapsed().as_secs_f64() }
    }

    pub(crate) fn remember_rate(&self, rate: f64) {
        self.rate.set(rate);
    }

    pub(crate) fn rate(&self) -> f64 {
        self.rate.get()
    }

    pub(crate) fn metrics(&self) -> Figures {
        let text = self.curl("GET", "/metrics", None, "text/plain");
        let sum = |name: &str, label: &str| -> u64 {
            text.lines()
                .filter(|line| line.starts_with(name) && line.contains(label))
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum()
        };
        Figures {
            refreshed: sum("o365_agent_token_refreshes_total", "\"refreshed\""),
            denied: sum("o365_agent_token_refreshes_total", "\"denied\""),
            rows: sum("o365_agent_rows_total", ""),
            runs: sum("o365_agent_runs_total", ""),
        }
    }
}

/// What to try while everything is left running.
pub(crate) fn print_keep(stage: &Stage) {
    let show = Show::new(stage);
    heading("Left running: try it (Ctrl-C ends it)");
    println!("   export TOKEN_FILE={}", show.token_file);
    println!("   export URL={}", show.url);
    for call in [
        "curl -s -H \"Authorization: Bearer $(cat $TOKEN_FILE)\" $URL/v1/connections",
        "curl -s -H \"Authorization: Bearer $(cat $TOKEN_FILE)\" $URL/metrics",
        "curl -s -H \"Authorization: Bearer $(cat $TOKEN_FILE)\" $URL/openapi.json",
        "curl -s -H \"Authorization: Bearer $(cat $TOKEN_FILE)\" -H 'Content-Type: application/json' -d '{\"object\":\"Contacts\",\"limit\":3}' \"$URL/v1/connections/Adele's%20mailbox/query\"",
    ] {
        println!("   {call}");
    }
    println!("   drop-ins: {}/agent.d", stage.settings_file().parent().unwrap().display());
}
