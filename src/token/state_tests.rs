//! The state machine's tables, and a model that interleaves everything that can happen to a token.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const MINIMUM: Duration = Duration::from_secs(60);
const BASE: Duration = Duration::from_secs(2);
const CAP: Duration = Duration::from_secs(300);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn held(generation: u64, obtained: i64, lifetime: u64) -> Held {
    let obtained_at = at(obtained);
    let expires_at = obtained_at.plus(Duration::from_secs(lifetime));
    let token = AccessToken { secret: format!("at-{generation}").into(), expires_at, generation };
    let due = refresh_due(obtained_at, Duration::from_secs(lifetime), None, MINIMUM, 0.5);
    Held { token: Arc::new(token), obtained_at, refresh_due: Some(due) }
}

fn failure(code: &str, now: Timestamp) -> TokenFailure {
    TokenFailure {
        code: code.into(),
        aadsts: None,
        correlation_id: None,
        message: "M.".into(),
        at: now,
        retry_at: None,
    }
}

#[test]
fn refreshes_are_due_at_the_servers_word_or_half_life_and_in_time() {
    let due = |lifetime: u64, refresh_in: Option<u64>, chance: f64| {
        let lifetime = Duration::from_secs(lifetime);
        refresh_due(at(0), lifetime, refresh_in.map(Duration::from_secs), MINIMUM, chance).as_millis()
    };
    assert_eq!(due(3600, None, 0.5), 1_800_000);
    assert_eq!(due(3600, None, 0.0), 1_620_000);
    assert_eq!(due(3600, None, 1.0), 1_980_000);
    assert_eq!(due(86_400, Some(43_200), 0.5), 43_200_000);
    assert_eq!(due(3600, Some(3599), 1.0), 3_540_000, "never later than the token is handed out");
    assert_eq!(due(10, None, 0.5), 5000, "short tokens keep their half life");
    assert_eq!(due(10, Some(9), 1.0), 9000);
}

#[test]
fn backoff_keeps_its_spread_at_the_cap() {
    assert_eq!(backoff(BASE, CAP, 0, 0.0), Duration::from_secs(1));
    assert_eq!(backoff(BASE, CAP, 3, 1.0), Duration::from_secs(16));
    for attempts in [8, 30, 31, u32::MAX] {
        assert_eq!(backoff(BASE, CAP, attempts, 0.0), Duration::from_secs(150));
        assert_eq!(backoff(BASE, CAP, attempts, 1.0), CAP);
    }
}

#[test]
fn an_outage_of_twelve_hours_is_noticed_to_be_over_within_five_minutes() {
    let mut state = TokenState::Starting { previous: None };
    let (mut now, mut attempts) = (at(0), 0);
    while now < at(12 * 3600) {
        state = state.begin(now, Cause::Routine).unwrap();
        state = state.later(None, failure("x", now), |attempts| backoff(BASE, CAP, attempts, 1.0)).unwrap();
        assert!(!state.may_begin(now, Cause::Routine) && state.may_begin(now, Cause::Operator));
        let due = state.due(now).unwrap();
        assert!(due.until(now) <= CAP);
        (now, attempts) = (due, attempts + 1);
    }
    assert!(attempts < 160, "{attempts}");
}

#[test]
fn waits_of_the_server_are_lower_bounds() {
    for (after, expected) in [(None, 2), (Some(0), 2), (Some(1), 2), (Some(900), 900)] {
        let state = TokenState::Refreshing { previous: None, attempts: 0 };
        let after = after.map(Duration::from_secs);
        let state =
            state.later(after, failure("x", at(100)), |attempts| backoff(BASE, CAP, attempts, 1.0)).unwrap();
        assert_eq!(state.due(at(100)), Some(at(100 + expected)));
    }
}

#[test]
fn the_legal_moves() {
    let now = at(0);
    let all = || {
        [
            TokenState::Starting { previous: None },
            TokenState::Valid { held: held(1, 0, 3600) },
            TokenState::Refreshing { previous: None, attempts: 0 },
            TokenState::Degraded { previous: None, attempts: 1, retry_at: at(9), failure: failure("x", now) },
            TokenState::NeedsSignIn { previous: None, failure: failure("x", now) },
            TokenState::NeedsAdmin { previous: None, retry_at: at(9), failure: failure("x", now) },
            TokenState::Expired { failure: failure("x", now) },
            TokenState::Refused { failure: failure("x", now), retry_at: None },
        ]
    };
    let row = |step: &dyn Fn(TokenState) -> Result<TokenState, IllegalMove>| -> String {
        all().map(|state| if step(state).is_ok() { 'y' } else { '-' }).iter().collect()
    };
    // Starting, Valid, Refreshing, Degraded (waiting), NeedsSignIn, NeedsAdmin (waiting), Expired, Refused.
    assert_eq!(row(&|state| state.begin(now, Cause::Routine)), "yy------");
    assert_eq!(row(&|state| state.begin(at(9), Cause::Routine)), "yy-y-y--");
    assert_eq!(row(&|state| state.begin(now, Cause::Operator)), "yy-yyy--");
    assert_eq!(row(&|state| state.refreshed(held(2, 0, 3600))), "--y-----");
    assert_eq!(row(&|state| state.denied(true, failure("x", now))), "--y-----");
    assert_eq!(row(&|state| state.later(None, failure("x", now), |_| BASE)), "--y-----");
    assert_eq!(row(&|state| state.adopt(held(2, 0, 3600))), "yy-yyyyy");
    assert_eq!(row(&TokenState::reconsider), "yy-yyyyy");
    assert_eq!(row(&|state| state.park(failure("x", now))), "yy-yyyyy");
    assert_eq!(row(&|state| state.expire(failure("x", now))), "--------");
    let fixed = TokenState::Valid { held: Held { refresh_due: None, ..held(1, 0, 60) } };
    assert!(!fixed.may_begin(now, Cause::Operator));
    assert!(matches!(fixed.expire(failure("x", now)), Ok(TokenState::Expired { .. })));
    let error = TokenState::Starting { previous: None }.refreshed(held(1, 0, 1)).unwrap_err();
    assert_eq!(error.to_string(), "the token state starting does not allow the move 'refreshed'");
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_wait_for_ever() {
    let valid = TokenState::Valid { held: held(1, 100_000, 3600) };
    assert_eq!(valid.due(at(100_000 - 30)), Some(at(101_800)), "a small correction changes nothing");
    assert_eq!(valid.due(at(13_600)), Some(at(13_600)), "a day back: refresh now");
    let waiting = TokenState::Degraded {
        previous: None,
        attempts: 9,
        retry_at: at(100_300),
        failure: failure("x", at(100_000)),
    };
    assert_eq!(waiting.due(at(13_600)), Some(at(13_600)));
}

/// What can happen.
#[derive(Clone, Debug)]
enum Event {
    RefreshOk(u64),
    RefreshDenied(bool),
    RefreshLater(Option<u64>),
    LostAnswer,
    Sibling,
    Reload,
    Restart,
    Operator,
    Clock(i64),
    Pass(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1u64..90_000).prop_map(Event::RefreshOk),
        1 => any::<bool>().prop_map(Event::RefreshDenied),
        2 => proptest::option::of(0u64..1000).prop_map(Event::RefreshLater),
        1 => Just(Event::LostAnswer),
        1 => Just(Event::Sibling),
        1 => Just(Event::Reload),
        1 => Just(Event::Restart),
        1 => Just(Event::Operator),
        1 => prop_oneof![Just(-86_400i64), Just(-3600), Just(3600), Just(86_400), -90i64..90].prop_map(Event::Clock),
        4 => (1u64..8000).prop_map(Event::Pass),
    ]
}

/// The model: the store as one generation and one refresh token, and the world's true count of issued ones.
struct World {
    state: TokenState,
    now: Timestamp,
    stored: Option<Held>,
    stored_refresh: u64,
    issued: u64,
    last_handed_out: u64,
}

impl World {
    fn commit(&mut self, lifetime: u64) -> Held {
        self.issued += 1;
        let next = held(
            self.stored.as_ref().map_or(0, |held| held.token.generation) + 1,
            self.now.as_seconds(),
            lifetime,
        );
        (self.stored, self.stored_refresh) = (Some(next.clone()), self.issued);
        next
    }

    fn loaded(&self) -> TokenState {
        match &self.stored {
            Some(held) => TokenState::Valid { held: held.clone() },
            None => TokenState::Starting { previous: None },
        }
    }

    fn refresh(
        &mut self,
        cause: Cause,
        answer: impl FnOnce(&mut Self, TokenState) -> Result<TokenState, IllegalMove>,
    ) {
        if !self.state.may_begin(self.now, cause) {
            return;
        }
        let refreshing = self.state.clone().begin(self.now, cause).unwrap();
        // The re-read under the lock: a sibling's newer token is taken instead of asking.
        let known = self.state.held().map_or(0, |held| held.token.generation);
        let newer = self
            .stored
            .clone()
            .filter(|held| held.token.generation > known && held.is_usable(self.now, MINIMUM));
        self.state = match newer {
            Some(held) => refreshing.refreshed(held).unwrap(),
            None => answer(self, refreshing).unwrap(),
        };
    }

    fn step(&mut self, event: &Event) {
        let now = self.now;
        match event {
            Event::RefreshOk(lifetime) => self.refresh(Cause::Routine, |world, state| {
                let held = world.commit(*lifetime);
                state.refreshed(held)
            }),
            Event::RefreshDenied(sign_in) => {
                self.refresh(Cause::Routine, |_, state| state.denied(*sign_in, failure("denied", now)));
            }
            Event::RefreshLater(after) => self.refresh(Cause::Routine, |_, state| {
                let after = after.map(Duration::from_secs);
                state.later(after, failure("later", now), |attempts| backoff(BASE, CAP, attempts, 0.5))
            }),
            Event::LostAnswer => self.refresh(Cause::Routine, |_, state| {
                state.later(None, failure("lost", now), |attempts| backoff(BASE, CAP, attempts, 0.5))
            }),
            Event::Operator => self.refresh(Cause::Operator, |world, state| {
                let held = world.commit(3600);
                state.refreshed(held)
            }),
            Event::Sibling => drop(self.commit(3600)),
            Event::Reload | Event::Restart => self.state = self.loaded(),
            Event::Clock(jump) => self.now = at((now.as_seconds() + jump).max(0)),
            Event::Pass(seconds) => self.now = now.plus(Duration::from_secs(*seconds)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_interleaving_breaks_the_promises(events in prop::collection::vec(event(), 1..60)) {
        let mut world = World {
            state: TokenState::Starting { previous: None },
            now: at(1_000_000),
            stored: None,
            stored_refresh: 0,
            issued: 0,
            last_handed_out: 0,
        };
        for event in &events {
            let before = (world.state.clone(), world.stored.as_ref().map_or(0, |held| held.token.generation));
            world.step(event);
            let generation = world.stored.as_ref().map_or(0, |held| held.token.generation);
            prop_assert!(generation >= before.1, "the store never goes back");
            prop_assert_eq!(world.stored_refresh, world.issued, "the stored refresh token is the last one issued");
            prop_assert!(!matches!(world.state, TokenState::Refreshing { .. }), "every attempt ends");
            let usable = world.state.held().filter(|held| held.is_usable(world.now, MINIMUM));
            if let Some(held) = usable {
                prop_assert!(held.token.expires_at > world.now, "an expired token is never handed out");
                prop_assert!(held.token.generation >= world.last_handed_out, "tokens only get newer");
                world.last_handed_out = held.token.generation;
            }
            if let (Some(had), Event::RefreshDenied(_) | Event::RefreshLater(_) | Event::LostAnswer) = (before.0.held(), event) {
                let has = world.state.held().map_or(0, |held| held.token.generation);
                prop_assert!(has >= had.token.generation, "a failure never takes a token away");
            }
            match &world.state {
                TokenState::NeedsSignIn { .. } => prop_assert_eq!(world.state.due(world.now), None),
                state => {
                    let due = state.due(world.now).expect("every other state of a kept token goes on by itself");
                    let bound = Duration::from_secs(90_000) + CAP;
                    prop_assert!(due.until(world.now) <= bound, "nothing sleeps in");
                }
            }
        }
    }
}
