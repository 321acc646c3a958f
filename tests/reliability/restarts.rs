//! Rows 14 and 15: an agent that is killed between a token answer and its commit, or told to stop while a token request
//! is under way, comes back without a person. The providers are strict, so a lost token ends its sign-in for good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::provider::{Gate, Provider, Seen};
use crate::support::{Agent, Setup, eventually};

const CONF: &str = "[Logging]\nFormat=json\nLevel=info\n";

/// Sign-ins that are hit by every kill and every stop: each has a provider and a connection of its own.
const SIGN_INS: usize = 20;

/// A token that is due all the time although it lives long, and one that has ended by the time of a restart.
const LIFETIMES: [&str; 2] = [r#""expires_in":3600,"refresh_in":1"#, r#""expires_in":2"#];

struct Stage {
    gate: Arc<Gate>,
    providers: Vec<Provider>,
    setup: Setup,
}

impl Stage {
    fn new(grace: Duration) -> Self {
        let gate = Arc::new(Gate::default());
        let providers: Vec<_> = (0..SIGN_INS)
            .map(|number| Provider::start(&gate, grace, LIFETIMES[number % LIFETIMES.len()]))
            .collect();
        let setup = providers.iter().enumerate().fold(Setup::new(), |setup, (number, provider)| {
            setup.drop_in(&format!("c{number}.yaml"), &provider.drop_in(&format!("c{number}")))
        });
        Self { gate, providers, setup }
    }

    fn spawn(&self) -> Agent {
        Agent::spawn(self.setup.path(), "state", CONF, &[])
    }

    fn seen(&self) -> Vec<Seen> {
        self.providers.iter().map(Provider::seen).collect()
    }

    fn total(&self, count: impl Fn(Seen) -> u64) -> u64 {
        self.seen().into_iter().map(count).sum()
    }

    /// Every sign-in has been refreshed again, by the agent alone.
    async fn await_a_refresh_of_each(&self, agent: &Agent, before: &[Seen]) {
        eventually("each sign-in is refreshed", async || {
            assert_eq!(self.total(|seen| seen.reused), 0, "a token was lost: {:?}", self.seen());
            self.seen().iter().zip(before).all(|(now, before)| now.issued > before.issued)
        })
        .await;
        eventually("each connection is well", async || {
            let list = agent.get("/v1/connections").await.json();
            let states = list["connections"].as_array().unwrap().iter();
            states.clone().count() == SIGN_INS
                && states.into_iter().all(|one| one["state"] == "ok" || one["state"] == "refreshing")
        })
        .await;
    }
}

fn signal(agent: &Agent, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(agent.pid()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Row 14. The agent stands still while the answers arrive; then it runs for a moment of 0 to 4 ms and is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_between_an_answer_and_its_commit_are_recovered_within_the_grace_time() {
    let grace = Duration::from_secs(30);
    let stage = Stage::new(grace);
    let rounds = crate::size(2, 10);
    let (mut random, mut slowest) = (0x9E37_79B9_7F4A_7C15_u64, Duration::ZERO);
    for round in 0..rounds {
        let mut agent = stage.spawn();
        stage.gate.close();
        stage.gate.await_waiting(SIGN_INS);
        signal(&agent, Signal::STOP);
        stage.gate.open();
        stage.gate.await_waiting(0);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let moment = Duration::from_micros(if round % 2 == 0 { 0 } else { random % 4000 });
        signal(&agent, Signal::CONT);
        let running = Instant::now();
        while running.elapsed() < moment {
            std::hint::spin_loop(); // the random instant itself, finer than a sleep
        }
        signal(&agent, Signal::KILL);
        let killed = Instant::now();
        agent.await_end();
        let before = stage.seen();
        let agent = stage.spawn();
        stage.await_a_refresh_of_each(&agent, &before).await;
        slowest = slowest.max(killed.elapsed());
        assert_eq!(stage.total(|seen| seen.reused), 0, "round {round}: {:?}", stage.seen());
    }
    let repeated = stage.total(|seen| seen.repeated);
    let crashes = u64::from(rounds) * SIGN_INS as u64;
    eprintln!(
        "{crashes} of {crashes} recovered; {repeated} of them had lost their answer; the slowest round took {slowest:?}"
    );
    assert!(repeated >= crashes / 4, "only {repeated} of {crashes} kills hit between answer and commit");
    assert!(slowest < grace);
}

/// Row 15. The answers come after SIGTERM; a provider without any grace ends the sign-in of a token that is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_during_refreshes_commits_every_one_of_them() {
    let stage = Stage::new(Duration::ZERO);
    let rounds = crate::size(3, 10);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let before = stage.seen();
        let mut agent = stage.spawn();
        // A start finds what the stop before it has committed, and goes on from there.
        stage.await_a_refresh_of_each(&agent, &before).await;
        stage.gate.close();
        stage.gate.await_waiting(SIGN_INS);
        signal(&agent, Signal::TERM);
        eventually("the stop has begun", async || {
            agent.log().matches("stop signal has come").count() > round as usize
        })
        .await;
        let opened = Instant::now();
        stage.gate.open();
        assert_eq!(agent.await_end(), 0, "round {round}");
        slowest = slowest.max(opened.elapsed());
        assert_eq!(stage.total(|seen| seen.reused), 0, "round {round}: {:?}", stage.seen());
    }
    let before = stage.seen();
    let agent = stage.spawn();
    stage.await_a_refresh_of_each(&agent, &before).await;
    assert_eq!(stage.total(|seen| seen.reused + seen.repeated), 0, "{:?}", stage.seen());
    let stops = rounds * SIGN_INS as u32;
    eprintln!(
        "{stops} of {stops} refreshes under way at a stop were committed; the slowest end took {slowest:?}"
    );
    assert!(slowest <= Duration::from_secs(10), "{slowest:?}");
}
