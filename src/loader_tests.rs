//! The loop that owns the drop-ins, in paused time: what was heard is put in force whatever else the loop does, and the
//! loop turns whatever its work waits for.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;

use super::*;
use crate::clock::Clock;
use crate::control::ReloadHandle;
use crate::files;

/// A loop that runs, without events from the operating system.
struct Running {
    folder: TempDir,
    registry: Arc<Registry>,
    alive: Alive,
    reload: ReloadHandle,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

fn put(folder: &Path, name: &str) {
    let text = format!(
        "connections:\n  {name}:\n    AuthScheme: AzureAD\n    InitiateOAuth: OFF\n    OAuthAccessToken: opaque\n"
    );
    files::write_private(&folder.join("agent.d").join(format!("{name}.yaml")), text.as_bytes())
        .expect("the folder is ours");
}

/// Starts a loop over a folder with one drop-in; `prepare` is done to the drop-ins before it runs.
async fn running<T>(prepare: impl FnOnce(&DropIns) -> T) -> (Running, T) {
    let folder = tempfile::tempdir().expect("a folder");
    files::ensure_private_folder(&folder.path().join("agent.d")).expect("a folder");
    put(folder.path(), "first");
    let conf = folder.path().join("jitterbit.conf");
    let text =
        format!("[Agent]\nDropInDirectory={0}/agent.d\nStateDirectory={0}/state\n", folder.path().display());
    files::write_private(&conf, text.as_bytes()).expect("the folder is ours");
    let location = Location { path: conf, required: true };
    let loaded = settings::load(&location, &ThisHost::new()).expect("good settings");
    let settings = loaded.settings.clone();
    let (clock, metrics) = (Clock::simulated(Clock::machine().now()), Metrics::new());
    let transports = Arc::new(Transports::default());
    let keeper = Keeper::new(Arc::new(settings.clone()), clock.clone(), metrics.clone(), transports.clone());
    let engine =
        Engine::new(clock.clone(), metrics.clone(), &settings.limits, &settings.state_directory, false);
    let (registry, alive) = (Arc::new(Registry::new()), Alive::default());
    let drop_ins = DropIns::watch(&settings.drop_in_directory, clock);
    drop_ins.refuse_watching();
    let mut loader = Loader {
        location,
        in_force: Arc::new(ArcSwap::from_pointee(settings)),
        registry: registry.clone(),
        keeper,
        engine,
        metrics,
        log: LogHandle::detached(),
        governor: Governor::new(),
        catalogs: Arc::new(Catalogs::new(None)),
        transports,
        drop_ins,
        alive: alive.clone(),
        applying: Applying::default(),
    };
    loader.start(&loaded).await;
    let prepared = prepare(&loader.drop_ins);
    let ((reload, requests), stop) = (ReloadHandle::new(), CancellationToken::new());
    let hang_up = signal(SignalKind::hangup()).expect("signals can be received");
    let ended = tokio::spawn(loader.run(requests, hang_up, stop.clone()));
    (Running { folder, registry, alive, reload, stop, ended }, prepared)
}

impl Running {
    fn has(&self, name: &str) -> bool {
        self.registry.current().connections.keys().any(|known| known.as_str() == name)
    }

    /// How long it takes until the connection is in force.
    async fn live_after(&self, name: &str, bound: Duration) -> Duration {
        let saved = tokio::time::Instant::now();
        while !self.has(name) {
            assert!(saved.elapsed() <= bound, "{name} is not in force after {:?}", saved.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        saved.elapsed()
    }

    async fn stopped(self) {
        self.stop.cancel();
        self.ended.await.expect("the loop ended in order");
    }
}

/// Lets everything run that can, while a thread at work keeps the paused time from going by itself.
async fn pass(seconds: u64) {
    for _ in 0..seconds * 4 {
        tokio::time::advance(Duration::from_millis(250)).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_events_the_loop_looks_once_a_minute() {
    let (running, ()) = running(|_| ()).await;
    put(running.folder.path(), "second");
    let waited = running.live_after("second", Duration::from_secs(60)).await;
    assert!(waited > Duration::from_secs(40), "{waited:?}: something else saw it");
    // Again, and while reloads of nothing come in between.
    put(running.folder.path(), "third");
    running.live_after("third", Duration::from_secs(60)).await;
    running.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_look_that_outlasts_an_idle_turn_is_put_in_force() {
    let (running, (poke, held_up)) = running(|drop_ins| (drop_ins.poke(), drop_ins.hold_up())).await;
    put(running.folder.path(), "second");
    poke.poke();
    // Two idle turns go by while the look hangs.
    pass(3 * IDLE_TURN.as_secs()).await;
    assert!(running.alive.since_last_turn() <= IDLE_TURN, "{:?}", running.alive.since_last_turn());
    assert!(!running.has("second"));
    drop(held_up);
    let waited = running.live_after("second", Duration::from_secs(3)).await;
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    running.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_reload_over_a_directory_that_hangs_is_bounded_and_keeps_the_loop_turning() {
    let (running, held_up) = running(DropIns::hold_up).await;
    let reload = running.reload.clone();
    let report = tokio::spawn(async move { reload.reload().await });
    pass(15).await;
    assert!(running.alive.since_last_turn() <= IDLE_TURN, "{:?}", running.alive.since_last_turn());
    pass(10).await;
    let report = report.await.expect("no panic").expect("the loop answers");
    assert!(!report.ok && report.faults[0].contains("does not answer"), "{report:?}");
    assert!(running.has("first"), "what was there stays in force");
    // A stop does not wait for the directory.
    let reload = running.reload.clone();
    let unanswered = tokio::spawn(async move { reload.reload().await });
    pass(1).await;
    running.stopped().await;
    assert!(unanswered.await.expect("no panic").is_none());
    drop(held_up);
}

#[tokio::test(start_paused = true)]
async fn a_named_file_that_hangs_is_reported_and_put_in_force_when_it_answers() {
    let (running, ()) = running(|_| ()).await;
    let held_up = running.registry.hold_up();
    put(running.folder.path(), "second");
    let reload = running.reload.clone();
    let report = tokio::spawn(async move { reload.reload().await });
    pass_until_ended(&report).await;
    assert!(running.alive.since_last_turn() <= IDLE_TURN, "{:?}", running.alive.since_last_turn());
    let report = report.await.expect("no panic").expect("the loop answers");
    assert!(!report.ok && report.faults[0].contains("not answer"), "{report:?}");
    assert!(running.has("first") && !running.has("second"));
    // One more, which waits for the end of that work.
    put(running.folder.path(), "third");
    let reload = running.reload.clone();
    let again = tokio::spawn(async move { reload.reload().await });
    pass_until_ended(&again).await;
    assert!(!again.await.expect("no panic").expect("the loop answers").ok);
    drop(held_up);
    running.live_after("second", Duration::from_secs(2)).await;
    running.live_after("third", Duration::from_secs(2)).await;
    running.stopped().await;
}

/// The caller waits for no disk that hangs; some of the minute goes by while threads look at the folder.
async fn pass_until_ended<T>(task: &JoinHandle<T>) {
    for _ in 0..60 {
        if task.is_finished() {
            return;
        }
        pass(1).await;
    }
    panic!("it still waits");
}
