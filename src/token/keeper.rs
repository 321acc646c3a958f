//! The keeper owns every connection's token task: starts, replaces and stops them with the configuration, bounds token
//! requests per host, and lets running refreshes commit before the agent ends. Never looks into a token.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::connection::{Connection, ConnectionName, ConnectionSet};
use crate::settings::Settings;
use crate::telemetry::{Metrics, Repeats};

use super::fixed;
use super::forewarn::Forewarner;
use super::handle::{Blocked, Shared, TokenHandle};
use super::model::{ConnectionState, TokenError, TokenFailure};
use super::places::{Places, Seat};
use super::plan::TokenPlan;
use super::proof::ClientProof;
use super::sign_in::{Drivers, SignInError, SignInRequest, SignInView, SignIns};
use super::store::{self, Shelf, StoreReport};
use super::succession::serves_runs_of;
use super::task::ConnectionTask;
use super::transaction::Context;
use super::transport::Transports;

/// Stores opened at once. Each opening is file work on a thread of its own; ten thousand at once would make hundreds of
/// threads at the start of a large agent.
const OPENINGS_AT_ONCE: usize = 8;

/// When credentials that end soon are looked for after the start, and how often then.
const FIRST_FOREWARNING: Duration = Duration::from_secs(30);
const FOREWARNED_EVERY: Duration = Duration::from_secs(3600);

/// Keeps every connection's token alive.
#[derive(Debug)]
pub struct Keeper {
    settings: Arc<Settings>,
    clock: Clock,
    metrics: Arc<Metrics>,
    transports: Arc<Transports>,
    shelf: Shelf,
    /// Token requests at once, by token server.
    hosts: Mutex<HashMap<String, Arc<Places>>>,
    openings: Arc<Semaphore>,
    /// Read at every request, changed at a reload.
    entries: ArcSwap<BTreeMap<ConnectionName, Entry>>,
    applying: Mutex<()>,
    forewarning: AtomicBool,
    tasks: TaskTracker,
    /// Work that no stop cancels: store openings and refresh transactions.
    flights: TaskTracker,
    stop: CancellationToken,
    sign_ins: SignIns,
}

#[derive(Clone, Debug)]
struct Entry {
    connection: Arc<Connection>,
    handle: Arc<TokenHandle>,
    /// What a sign-in needs; absent where tokens are not kept.
    context: Option<Arc<Context>>,
    stop: CancellationToken,
    /// Whether a task drives it (a connection that cannot be used has none).
    driven: bool,
}

impl Keeper {
    /// A keeper without connections. The settings are those of the whole process: `[TokenStore]` and `[Refresh]` change
    /// with a restart only.
    pub fn new(
        settings: Arc<Settings>,
        clock: Clock,
        metrics: Arc<Metrics>,
        transports: Arc<Transports>,
    ) -> Arc<Self> {
        let credentials = crate::systemd::credentials_directory();
        let shelf = Shelf::new(&settings, credentials, clock.clone());
        Arc::new(Self {
            settings,
            clock,
            metrics,
            transports,
            shelf,
            hosts: Mutex::default(),
            openings: Arc::new(Semaphore::new(OPENINGS_AT_ONCE)),
            entries: ArcSwap::default(),
            applying: Mutex::default(),
            forewarning: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            flights: TaskTracker::new(),
            stop: CancellationToken::new(),
            sign_ins: SignIns::default(),
        })
    }

    /// Takes a set of connections over: unchanged ones go on untouched, changed ones get a new handle, removed ones end.
    /// Handles of a changed connection's old version go on with the new one's tokens where identity, servers and store
    /// are the same; else they serve until their token ends. A running refresh of a changed or removed connection still commits, and its successor finds it in the store.
    /// Call it inside the async runtime.
    pub fn apply(self: &Arc<Self>, set: &ConnectionSet) {
        let _one_at_a_time = self.applying.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stop.is_cancelled() {
            return;
        }
        if !self.forewarning.swap(true, Ordering::Relaxed) {
            self.forewarn();
        }
        let before = self.entries.load_full();
        let mut after = BTreeMap::new();
        for (name, connection) in &set.connections {
            let entry = match before.get(name) {
                Some(entry) if entry.connection.generation == connection.generation => entry.clone(),
                changed => {
                    let entry = self.start(connection, changed);
                    if let Some(old) = changed {
                        old.stop.cancel();
                    }
                    entry
                }
            };
            after.insert(name.clone(), entry);
        }
        for (name, entry) in before.iter().filter(|(name, _)| !after.contains_key(*name)) {
            entry.stop.cancel();
            self.metrics.forget(name.as_str());
        }
        self.entries.store(Arc::new(after));
        self.sign_ins.reconsider(&set.connections);
    }

    /// Starts a person's sign-in, or answers the pending one with what the person brought back. Returns once there is
    /// something to show; the sign-in itself goes on in the background, at most one a connection.
    ///
    /// # Errors
    /// [`SignInError`]: not possible with this configuration, one is pending, or the server or the callback's port
    /// refuses.
    pub async fn sign_in(
        &self,
        name: &ConnectionName,
        request: SignInRequest,
    ) -> Result<SignInView, SignInError> {
        let entry = self.entries.load().get(name).cloned().ok_or(SignInError::NoSuchConnection)?;
        let context = entry.context.ok_or_else(|| {
            SignInError::NotPossible(
                "The connection keeps no tokens of its own. Set AuthScheme AzureAD and InitiateOAuth REFRESH or GETANDREFRESH."
                    .to_owned(),
            )
        })?;
        let drivers = Drivers {
            tasks: self.tasks.clone(),
            flights: self.flights.clone(),
            stop: self.stop.child_token(),
        };
        self.sign_ins.ask(&context, &entry.handle.shared(), &drivers, request).await
    }

    /// The pending or last sign-in of a connection, or the offer of one; `None` when there is nothing to say.
    pub fn sign_in_view(&self, name: &ConnectionName) -> Option<SignInView> {
        let entries = self.entries.load();
        let entry = entries.get(name)?;
        self.sign_ins.view(entry.context.as_ref()?, entry.handle.status().state)
    }

    /// Ends the pending sign-in of a connection.
    ///
    /// # Errors
    /// [`SignInError::NothingPending`], and [`SignInError::TooLate`] when the person has signed in already.
    pub fn cancel_sign_in(&self, name: &ConnectionName) -> Result<(), SignInError> {
        self.sign_ins.cancel(name)
    }

    /// The token of a connection; `None` when there is no such connection. Takes no lock.
    pub fn handle(&self, name: &ConnectionName) -> Option<Arc<TokenHandle>> {
        self.entries.load().get(name).map(|entry| Arc::clone(&entry.handle))
    }

    /// How long ago the slowest task last turned its loop, by the monotonic clock. Tasks turn at least every 37 s, so
    /// more than two minutes mean that one is stuck. Zero without connections.
    pub fn heartbeat(&self) -> Duration {
        let entries = self.entries.load();
        let driven = entries.values().filter(|entry| entry.driven);
        driven.map(|entry| entry.handle.shared().since_last_beat()).max().unwrap_or_default()
    }

    /// Tries out the store of `connection`: read, lock, write back. Never shows a secret.
    pub async fn inspect(&self, connection: &Connection) -> StoreReport {
        match TokenPlan::make(&connection.auth, self.clock.now()) {
            TokenPlan::Kept(_) => {
                let (store, name) = (self.shelf.open(connection), connection.name.as_str());
                store::inspect(&store, name, self.clock.now()).await
            }
            TokenPlan::Fixed(_) | TokenPlan::Impossible(_) => StoreReport::not_used(),
        }
    }

    /// Stops all tasks, waits for running refreshes and sign-ins to commit, and saves what stores could not take before, all
    /// for at most `bound`. Whether everything was done and nothing is lost; each store that did not get its newest token is
    /// named in the log. After it, nothing is refreshed any more.
    pub async fn drain(&self, bound: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        self.flights.close();
        let work_ended = || async {
            self.tasks.wait().await;
            self.flights.wait().await;
        };
        let all_done = async {
            // Work that hangs on one store leaves time to save what the others are owed.
            let _ended_or_not = tokio::time::timeout(bound / 2, work_ended()).await;
            self.shelf.save_owed().await;
            work_ended().await;
            self.shelf.close().await;
        };
        let in_time = tokio::time::timeout(bound, all_done).await.is_ok();
        let owing = self.shelf.owing();
        for store in &owing {
            tracing::error!(
                place = store.place(),
                "The newest token, from a refresh or a person's sign-in, could not be saved before the end of the agent and is lost. Check the store; where the next start asks for it, sign in again."
            );
        }
        in_time && owing.is_empty()
    }

    #[cfg(test)]
    pub(super) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Foretells the end of credentials in the log, until the keeper stops.
    fn forewarn(self: &Arc<Self>) {
        let (keeper, stop, clock) = (Arc::downgrade(self), self.stop.clone(), self.clock.clone());
        let mut forewarner = Forewarner::open(&self.settings.state_directory);
        self.tasks.spawn(async move {
            // A moment after the start, when the stores have been read; then every hour.
            let mut next = clock.now().plus(FIRST_FOREWARNING);
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = clock.sleep_until(next) => {}
                }
                let Some(keeper) = keeper.upgrade() else { return };
                let now = clock.now();
                next = now.plus(FOREWARNED_EVERY);
                let row = |(name, entry): (&ConnectionName, &Entry)| {
                    (name.as_str().to_owned(), entry.handle.status().credentials)
                };
                let rows: Vec<_> = keeper.entries.load().iter().map(row).collect();
                drop(keeper);
                let looked = tokio::task::spawn_blocking(move || {
                    forewarner.look(&rows, now);
                    forewarner
                });
                let Ok(again) = looked.await else { return };
                forewarner = again;
            }
        });
    }

    fn start(&self, connection: &Arc<Connection>, before: Option<&Entry>) -> Entry {
        let stop = self.stop.child_token();
        let plan = TokenPlan::make(&connection.auth, self.clock.now());
        let kept = matches!(plan, TokenPlan::Kept(_));
        let shared = Shared::new(&connection.name, Some(connection.generation), &self.clock, kept);
        // First of all: callers that the old version's end wakes find the new one.
        let handle = Arc::new(match before {
            Some(before) if serves_runs_of(&before.connection, connection) => {
                before.handle.succeeded_by(Arc::clone(&shared))
            }
            _ => TokenHandle::new(Arc::clone(&shared)),
        });
        let mut kept_context = None;
        let driven = match plan {
            TokenPlan::Impossible(why) => self.refuse(&shared, "configuration_refused", why.to_owned()),
            TokenPlan::Fixed(given) => {
                let minimum = self.settings.refresh.minimum_validity;
                let metrics = Arc::clone(&self.metrics);
                self.tasks.spawn(fixed::run(Arc::clone(&shared), given, minimum, metrics, stop.clone()));
                true
            }
            TokenPlan::Kept(plan) => match self.transports.token_client(connection) {
                Err(why) => self.refuse(&shared, "configuration_refused", why),
                Ok(http) => {
                    let context = Arc::new(Context {
                        connection: Arc::clone(connection),
                        plan,
                        store: self.shelf.open(connection),
                        http,
                        clock: self.clock.clone(),
                        refresh: self.settings.refresh.clone(),
                        seat: self.seat(connection),
                        proof: ClientProof::of_process(),
                        repeats: Repeats::default(),
                        #[cfg(test)]
                        in_memory: None,
                    });
                    kept_context = Some(Arc::clone(&context));
                    let (shared, metrics) = (Arc::clone(&shared), Arc::clone(&self.metrics));
                    let task = ConnectionTask::new(
                        shared,
                        context,
                        metrics,
                        stop.clone(),
                        self.flights.clone(),
                        Arc::clone(&self.openings),
                    );
                    self.tasks.spawn(task.run());
                    true
                }
            },
        };
        Entry { connection: Arc::clone(connection), handle, context: kept_context, stop, driven }
    }

    fn refuse(&self, shared: &Shared, code: &str, message: String) -> bool {
        tracing::error!(connection = %shared.name, reason = %message, "The connection cannot be used.");
        let failure = TokenFailure {
            code: code.to_owned(),
            aadsts: None,
            correlation_id: None,
            message,
            at: self.clock.now(),
            retry_at: None,
        };
        shared.view.send_modify(|view| {
            view.status.state = ConnectionState::Refused;
            view.status.refreshable = false;
            view.status.last_error = Some(failure.clone());
            view.blocked = Some(Blocked::For(TokenError::NeedsAdmin(failure)));
        });
        self.metrics.usable(shared.name.as_str(), false);
        false
    }

    fn seat(&self, connection: &Connection) -> Seat {
        let host = connection.endpoints.authority.origin().ascii_serialization();
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        // Looking through all hosts at each connection would be quadratic; a new host is rare.
        if !hosts.contains_key(&host) {
            hosts.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let at_once = self.settings.refresh.concurrent_per_host;
        let places = hosts.entry(host).or_insert_with(|| Places::new(at_once));
        places.seat(connection.auth.tenant.as_deref().unwrap_or_default())
    }
}

/// Dropping the keeper ends its tasks; refreshes that are under way still commit while the runtime lives.
impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
