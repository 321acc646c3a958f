//! The retry table, and every form of `Retry-After`.
#![allow(clippy::unwrap_used)]

use super::*;
use Effect::{Once, Repeatable};

fn attempt(effect: Effect, number: u32) -> Attempt {
    Attempt { effect, number, time_left: Duration::from_secs(600), jitter: 1.0 }
}

fn answered(status: u16, seconds: Option<u64>) -> Happened {
    Happened::Answered { status, retry_after: seconds.map(Duration::from_secs) }
}

#[test]
fn what_is_repeated_and_what_is_not() {
    let again = |seconds| Decision::Again { after: Duration::from_secs(seconds), new_connection: false };
    let elsewhere = |seconds| Decision::Again { after: Duration::from_secs(seconds), new_connection: true };
    for (happened, reads, writes) in [
        (answered(429, Some(7)), again(7), again(7)),
        (answered(429, None), again(1), again(1)),
        (answered(429, Some(0)), again(0), again(0)),
        (answered(503, Some(7)), elsewhere(7), elsewhere(7)),
        (answered(503, None), elsewhere(1), Decision::GiveUp),
        (answered(500, None), again(1), Decision::GiveUp),
        (answered(502, None), again(1), Decision::GiveUp),
        (answered(504, None), again(1), Decision::GiveUp),
        (answered(504, Some(3)), again(3), Decision::GiveUp),
        (answered(509, None), again(1), Decision::GiveUp),
        (answered(408, None), again(1), Decision::GiveUp),
        (answered(400, None), Decision::GiveUp, Decision::GiveUp),
        (answered(403, Some(1)), Decision::GiveUp, Decision::GiveUp),
        (answered(404, None), Decision::GiveUp, Decision::GiveUp),
        (answered(412, None), Decision::GiveUp, Decision::GiveUp),
        (answered(302, None), Decision::GiveUp, Decision::GiveUp),
        (answered(501, None), Decision::GiveUp, Decision::GiveUp),
        (answered(507, None), Decision::GiveUp, Decision::GiveUp),
        (answered(411, None), Decision::GiveUp, Decision::GiveUp),
        (Happened::NotSent, again(1), again(1)),
        (Happened::NotTaken, elsewhere(1), elsewhere(1)),
        (Happened::Contended { retry_after: None }, again(1), again(1)),
        (Happened::Contended { retry_after: Some(Duration::from_secs(3)) }, again(3), again(3)),
        (Happened::Lost, again(1), Decision::GiveUp),
    ] {
        assert_eq!(decide(attempt(Repeatable, 1), happened), reads, "read after {happened:?}");
        assert_eq!(decide(attempt(Once, 1), happened), writes, "write after {happened:?}");
    }
}

#[test]
fn waits_grow_are_spread_and_end() {
    let after = |number, jitter| {
        let attempt = Attempt { jitter, ..attempt(Repeatable, number) };
        match decide(attempt, Happened::Lost) {
            Decision::Again { after, .. } | Decision::NotNow { after } => after.as_millis(),
            Decision::GiveUp => panic!("a read is repeated"),
        }
    };
    assert_eq!([1, 2, 3, 4].map(|number| after(number, 1.0)), [1000, 2000, 4000, 8000]);
    assert_eq!([1, 2, 3, 4].map(|number| after(number, 0.0)), [500, 1000, 2000, 4000]);
    assert_eq!((after(40, 1.0), after(40, 0.0)), (60_000, 30_000), "the jitter survives the cap");
    for (happened, most) in [
        (Happened::Lost, 5),
        (Happened::NotSent, 5),
        (answered(502, None), 5),
        (answered(503, Some(1)), 8),
        (answered(429, Some(1)), 50),
        (answered(429, None), 50),
        (answered(429, Some(0)), 8),
    ] {
        assert!(matches!(decide(attempt(Repeatable, most - 1), happened), Decision::Again { .. }));
        assert!(
            matches!(decide(attempt(Repeatable, most), happened), Decision::NotNow { .. }),
            "{happened:?}"
        );
    }
}

#[test]
fn a_wait_beyond_the_deadline_is_told_and_not_begun() {
    let short = Attempt { time_left: Duration::from_secs(5), ..attempt(Once, 1) };
    assert_eq!(decide(short, answered(429, Some(5))), Decision::NotNow { after: Duration::from_secs(5) });
    assert!(matches!(decide(short, answered(429, Some(4))), Decision::Again { .. }));
}

#[test]
fn retry_after_is_understood_in_every_form() {
    let now = Timestamp::from_seconds(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
    let date = Some("Sun, 06 Nov 1994 08:49:00 GMT");
    for (value, date, millis) in [
        ("3", None, Some(3000)),
        (" 120 ", None, Some(120_000)),
        ("2.128", None, Some(2128)),
        ("0", None, Some(0)),
        ("Sun, 06 Nov 1994 08:50:00 GMT", None, Some(23_000)),
        ("Sun, 06 Nov 1994 08:50:00 GMT", date, Some(60_000)),
        ("Sunday, 06-Nov-94 08:50:00 GMT", date, Some(60_000)),
        ("Sun, 06 Nov 1994 08:48:00 GMT", date, Some(0)),
        ("Sun, 06 Nov 1994 08:50:00 GMT", Some("garbage"), Some(23_000)),
        ("Sat, 06 Nov 2094 08:50:00 GMT", date, Some(86_400_000)),
        ("99999999999999999999", None, Some(86_400_000)),
        ("-1", None, None),
        ("NaN", None, None),
        ("inf", None, None),
        ("soon", None, None),
        ("", None, None),
    ] {
        let wait = parse_retry_after(value, date, now).map(|wait| wait.as_millis());
        assert_eq!(wait, millis, "{value} {date:?}");
    }
}
