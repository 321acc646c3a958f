//! Prints how much of recorded requests and answers the catalog understands: how many paths lead to an object or procedure,
//! how many answers decode to typed columns without loss, and what is missed and why. Sends nothing.
//!
//! ```text
//! cargo run --example samples -- FILE.jsonl [--metadata CSDL]
//! ```
//!
//! One JSON object a line: `method`, `path` (or `url`), `request_body`, `response_body`. With `--metadata` the facts of
//! that document are used instead of those of this build.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a developer's tool reads whole files and writes to its standard output"
)]

mod check;

use std::process::ExitCode;
use std::sync::Arc;

use check::{Outcome, Sample, check};
use o365_agent::catalog::Catalog;

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let (path, catalog) = match arguments {
        [path] => (path, Catalog::embedded()),
        [path, flag, metadata] if flag == "--metadata" => (path, of_metadata(metadata)?),
        _ => return Err("Usage: samples FILE.jsonl [--metadata CSDL]".to_owned()),
    };
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let mut outcomes: Vec<(usize, Sample, Outcome)> = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let sample: Sample =
            serde_json::from_str(line).map_err(|error| format!("{path}, line {}: {error}", number + 1))?;
        let outcome = check(&catalog, &sample);
        outcomes.push((number + 1, sample, outcome));
    }
    report(&outcomes);
    Ok(())
}

fn of_metadata(path: &str) -> Result<Arc<Catalog>, String> {
    let xml = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
    let text = o365_agent::catalog::facts_of_metadata(&xml, &|_, _| String::new());
    text.and_then(Catalog::of_text).map_err(|error| format!("{path}: {error}"))
}

fn report(outcomes: &[(usize, Sample, Outcome)]) {
    let count =
        |which: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|(_, _, outcome)| which(outcome)).count();
    let all = outcomes.len();
    let resolved = count(&|outcome| outcome.unresolved.is_none());
    let answers = count(&|outcome| outcome.has_answer);
    let decoded = count(&|outcome| outcome.has_answer && outcome.is_whole());
    let whole = count(&Outcome::is_whole);
    let as_rows = count(&Outcome::is_whole_as_rows);
    for (line, sample, outcome) in outcomes.iter().filter(|(_, _, outcome)| !outcome.is_whole()) {
        let reasons: Vec<&str> =
            outcome.unresolved.iter().chain(&outcome.misses).map(String::as_str).collect();
        println!("line {line}: {} {}", sample.method, sample.path);
        for reason in reasons {
            println!("    {reason}");
        }
    }
    let share = |part: usize, of: usize| if of == 0 { 100.0 } else { part as f64 * 100.0 / of as f64 };
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(|(_, _, outcome)| of(outcome)).sum::<usize>();
    println!(
        "paths that lead to an object or procedure: {resolved} of {all} ({:.2} %)",
        share(resolved, all)
    );
    println!(
        "answers that decode without loss:          {decoded} of {answers} ({:.2} %)",
        share(decoded, answers)
    );
    println!("properties in a typed column:              {}", sum(|outcome| outcome.compared));
    println!("properties of open types, without a type:  {}", sum(|outcome| outcome.undeclared));
    println!("placeholders of a documentation:           {}", sum(|outcome| outcome.placeholders));
    println!("path and answer, flattened columns:        {whole} of {all} ({:.2} %)", share(whole, all));
    println!("path and answer, whole rows:               {as_rows} of {all} ({:.2} %)", share(as_rows, all));
}
