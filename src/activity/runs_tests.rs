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
    (Runs::new(clock.clone(), Metrics::new(), &limits(concurrent, history), None), clock)
}

fn all(runs: &Runs) -> Vec<RunView> {
    runs.list(&RunFilter::default(), usize::MAX - 1).0
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
    assert_eq!(all(&runs).len(), 1);
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
    assert_eq!(runs.cancel(one.id()).map(|view| view.status), Some(RunStatus::CancelRequested));
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
    let listed: Vec<String> = all(&runs).into_iter().map(|view| view.id).collect();
    assert_eq!(listed[1..], [ids[4].clone(), ids[3].clone(), ids[2].clone()]);
    assert_eq!((runs.get(&ids[0]).map(|view| view.id), runs.active()), (None, 1));
}

#[test]
fn a_list_can_be_filtered_and_read_in_pages() {
    let (runs, clock) = runs(9, 9);
    let mut ids = Vec::new();
    for second in 0..5 {
        clock.set(Timestamp::from_seconds(second));
        let mut run = start(&runs).unwrap();
        ids.insert(0, run.id().to_owned());
        if second % 2 == 0 {
            run.succeed(RunStatus::Success);
        }
    }
    let list = |filter: &RunFilter, most| {
        let (views, more) = runs.list(filter, most);
        (views.into_iter().map(|view| view.id).collect::<Vec<_>>(), more)
    };
    let after = |id: &String| RunFilter { after: Some(id.clone()), ..RunFilter::default() };
    assert_eq!(list(&RunFilter::default(), 2), (ids[..2].to_vec(), true));
    assert_eq!(list(&after(&ids[1]), 3), (ids[2..].to_vec(), false));
    assert_eq!(list(&after(&"unknown".to_owned()), 3), (Vec::new(), false));
    let cancelled = RunFilter { status: Some(RunStatus::Cancelled), ..RunFilter::default() };
    assert_eq!(list(&cancelled, 9), (vec![ids[1].clone(), ids[3].clone()], false));
    let other = RunFilter { connection: Some("Other".to_owned()), ..RunFilter::default() };
    assert_eq!(list(&other, 9), (Vec::new(), false));
}

#[test]
fn the_next_life_of_the_agent_knows_the_runs_and_which_were_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::manual(Timestamp::from_seconds(100));
    let open = || Runs::new(clock.clone(), Metrics::new(), &limits(9, 3), Some(folder.path()));
    let runs = open();
    let mut done = start(&runs).unwrap();
    done.set_total(7);
    done.add_rows(5);
    done.add_failed(2);
    done.succeed(RunStatus::SuccessWithWarning);
    let keyed = runs
        .start_with(
            &ConnectionName::new("Sales").unwrap(),
            ActivityKind::Create,
            "Contacts",
            &CallOptions::default(),
            |_| Some("key-x.journal".to_owned()),
        )
        .unwrap();
    // The process dies: nothing is dropped in an orderly way.
    let (done, keyed) = (done.id().to_owned(), {
        let id = keyed.id().to_owned();
        std::mem::forget(keyed);
        id
    });
    clock.set(Timestamp::from_seconds(200));
    for _ in 0..2 {
        let runs = open();
        let view = runs.get(&done).unwrap();
        assert_eq!(
            (view.status, view.rows, view.failed, view.total),
            (RunStatus::SuccessWithWarning, 5, 2, Some(7))
        );
        let view = runs.get(&keyed).unwrap();
        assert_eq!((view.status, view.results_kept), (RunStatus::Interrupted, true));
        assert!(view.error.unwrap().contains("same Idempotency-Key"));
        assert_eq!(runs.journal(&keyed).as_deref(), Some("key-x.journal"));
    }
    let runs = open();
    for _ in 0..5 {
        start(&runs).unwrap();
    }
    assert_eq!((all(&open()).len(), open().get(&done).is_none()), (3, true), "the history is bounded");
}
