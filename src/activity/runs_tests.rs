//! Tests of the runs: life cycle, bounds, cancelling.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::clock::Timestamp;
use crate::graph::GraphError;

fn limits(concurrent_runs: usize, run_history: usize) -> Limits {
    Limits {
        control_connections: 1,
        concurrent_runs,
        request_body_bytes: 1,
        run_timeout: Duration::from_secs(60),
        page_bytes: 1,
        answer_rows: 1,
        drain: Duration::from_secs(1),
        run_history,
    }
}

fn start(runs: &Arc<Runs>) -> Result<Run, ActivityError> {
    let options = CallOptions { request_id: "r".to_owned(), ..CallOptions::default() };
    runs.start(&ConnectionName::new("Sales").unwrap(), ActivityKind::Query, "Messages", &options)
}

fn runs(concurrent: usize, history: usize) -> (Arc<Runs>, Clock) {
    let clock = Clock::manual(Timestamp::from_seconds(100));
    (Runs::new(clock.clone(), Metrics::new(), &limits(concurrent, history)), clock)
}

#[test]
fn a_run_ends_once_and_is_remembered() {
    let (runs, clock) = runs(2, 10);
    let mut run = start(&runs).unwrap();
    let id = run.id().to_owned();
    run.add_rows(5);
    assert_eq!(runs.get(&id).map(|view| (view.status, view.rows)), Some((RunStatus::Running, 5)));
    clock.set(Timestamp::from_seconds(101));
    run.succeed(RunStatus::Success);
    run.fail(&ActivityError::Graph(GraphError::Deadline));
    drop(run);
    let view = runs.get(&id).unwrap();
    assert_eq!(
        (view.status, view.finished_at, view.error),
        (RunStatus::Success, Some(Timestamp::from_seconds(101)), None)
    );
    assert_eq!(runs.list().len(), 1);
}

#[test]
fn places_are_bounded_and_given_back() {
    let (runs, _) = runs(1, 10);
    let run = start(&runs).unwrap();
    let busy = start(&runs).unwrap_err();
    assert!(matches!(busy, ActivityError::Busy { limit: 1, .. }), "{busy}");
    drop(run);
    assert!(start(&runs).is_ok());
}

#[test]
fn a_dropped_run_counts_as_cancelled_and_stops_its_work() {
    let (runs, _) = runs(1, 10);
    let run = start(&runs).unwrap();
    let (id, token) = (run.id().to_owned(), run.cancel_token().clone());
    drop(run);
    assert!(token.is_cancelled());
    assert_eq!(runs.get(&id).map(|view| view.status), Some(RunStatus::Cancelled));
}

#[test]
fn cancelling_reaches_the_run_and_nobody_else() {
    let (runs, _) = runs(3, 10);
    let (mut one, two) = (start(&runs).unwrap(), start(&runs).unwrap());
    assert_eq!(runs.cancel(one.id()).map(|view| view.status), Some(RunStatus::Running));
    assert!(one.cancel_token().is_cancelled() && !two.cancel_token().is_cancelled());
    one.fail(&ActivityError::Graph(GraphError::Cancelled));
    assert_eq!(runs.get(one.id()).map(|view| view.status), Some(RunStatus::Cancelled));
    assert!(runs.cancel("unknown").is_none());
    runs.cancel_all();
    assert!(two.cancel_token().is_cancelled());
    assert!(start(&runs).unwrap().cancel_token().is_cancelled(), "a run that begins while stopping stops");
}

#[test]
fn the_history_is_bounded_and_newest_first() {
    let (runs, clock) = runs(2, 3);
    let mut ids = Vec::new();
    for second in 0..5 {
        clock.set(Timestamp::from_seconds(second));
        ids.push(start(&runs).unwrap().id().to_owned());
    }
    let _running = start(&runs).unwrap();
    let listed: Vec<String> = runs.list().into_iter().map(|view| view.id).collect();
    assert_eq!(listed[1..], [ids[4].clone(), ids[3].clone(), ids[2].clone()]);
    assert_eq!((runs.get(&ids[0]).map(|view| view.id), runs.active()), (None, 1));
}
