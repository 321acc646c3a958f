//! One connection's token as its users see it: a snapshot read without lock or I/O, and a refresh that many callers
//! share. Never sends anything itself: it only tells the connection's task what is wanted, and waits.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, watch};

use crate::clock::{Clock, Stopwatch, Timestamp};
use crate::connection::{ConnectionName, Generation};
use crate::secret::Secret;

use super::claims::{TokenClaims, read_claims};
use super::model::{AccessToken, ConnectionState, TokenError, TokenFailure, TokenGeneration, TokenStatus};
use super::state::{Held, margin};
use super::wants::Wants;

/// Stands for "no answer of the token server has been seen".
const NO_SKEW: i64 = i64::MIN;

/// One connection's token. Cheap to share. Runs hold the handle of the version they began with; where a later version
/// has the same identity, servers and store, that version's tokens serve them.
#[derive(Debug)]
pub struct TokenHandle {
    /// The latest version that serves this handle, for all handles that it serves.
    latest: Arc<ArcSwap<Shared>>,
}

/// What the handle and the connection's task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: ConnectionName,
    pub(super) generation: Option<Generation>,
    pub(super) clock: Clock,
    /// Whether a task can be asked for a new token at all.
    kept: bool,
    snapshot: ArcSwapOption<Snapshot>,
    pub(super) view: watch::Sender<View>,
    pub(super) wants: Mutex<Wants>,
    pub(super) wake: Notify,
    skew: AtomicI64,
    started: Stopwatch,
    beat: AtomicU64,
}

/// A token with what is needed to see that it has expired.
#[derive(Debug)]
struct Snapshot {
    token: Arc<AccessToken>,
    margin: Duration,
    /// The monotonic clock bounds its life too: a wall clock that is set back must not make a token immortal.
    published: Stopwatch,
    left: Duration,
}

/// What callers wait for.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// Counts finished attempts.
    pub(super) settled: u64,
    /// The highest ticket of a claims challenge that has been dealt with.
    pub(super) claims_settled: u64,
    /// Why nobody gets a new token now, if that is so.
    pub(super) blocked: Option<Blocked>,
    pub(super) status: TokenStatus,
}

/// Why there is no new token, as far as waiting callers care.
#[derive(Clone, Debug)]
pub(super) enum Blocked {
    /// The last attempt failed; the next is at that time.
    Until(Timestamp, TokenFailure),
    /// No attempt will be made without somebody's action.
    For(TokenError),
}

impl Shared {
    pub(super) fn new(
        name: &ConnectionName,
        generation: Option<Generation>,
        clock: &Clock,
        kept: bool,
    ) -> Arc<Self> {
        let status = TokenStatus {
            state: ConnectionState::Refreshing,
            expires_at: None,
            refreshed_at: None,
            next_refresh_at: None,
            token_generation: 0,
            token_fingerprint: None,
            certificate_expires_at: None,
            refreshable: kept,
            credentials: Vec::new(),
            last_error: None,
        };
        Arc::new(Self {
            name: name.clone(),
            generation,
            clock: clock.clone(),
            kept,
            snapshot: ArcSwapOption::empty(),
            view: watch::Sender::new(View { settled: 0, claims_settled: 0, blocked: None, status }),
            wants: Mutex::default(),
            wake: Notify::new(),
            skew: AtomicI64::new(NO_SKEW),
            started: Clock::stopwatch(),
            beat: AtomicU64::new(0),
        })
    }

    /// Hands `held` out from now on.
    pub(super) fn publish(&self, held: &Held, minimum_validity: Duration) {
        let current = self.snapshot.load();
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.token, &held.token)) {
            return;
        }
        // Left by the wall clock, but never more than the token's whole life.
        let left = held.token.expires_at.until(self.clock.now()).min(held.lifetime());
        self.snapshot.store(Some(Arc::new(Snapshot {
            token: Arc::clone(&held.token),
            margin: margin(held.lifetime(), minimum_validity),
            published: Clock::stopwatch(),
            left,
        })));
    }

    /// Hands out what `before` does, until there is something newer: nobody has to wait for this version's first look.
    fn go_on_from(&self, before: &Self) {
        self.snapshot.store(before.snapshot.load_full());
    }

    /// Hands nothing out any more.
    pub(super) fn withdraw(&self) {
        self.snapshot.store(None);
    }

    pub(super) fn current(&self) -> Option<Arc<AccessToken>> {
        let snapshot = self.snapshot.load();
        let snapshot = snapshot.as_ref()?;
        let by_wall_clock = snapshot.token.expires_at.until(self.clock.now()) > snapshot.margin;
        let by_monotonic_clock = snapshot.published.elapsed() + snapshot.margin < snapshot.left;
        (by_wall_clock && by_monotonic_clock).then(|| Arc::clone(&snapshot.token))
    }

    pub(super) fn wants(&self) -> std::sync::MutexGuard<'_, Wants> {
        self.wants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The task is alive.
    pub(super) fn beat(&self) {
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat.store(millis, Ordering::Relaxed);
    }

    pub(super) fn since_last_beat(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.beat.load(Ordering::Relaxed)))
    }

    pub(super) fn set_clock_skew(&self, seconds: i64) {
        self.skew.store(seconds, Ordering::Relaxed);
    }
}

impl TokenHandle {
    /// The handle of a connection's first version, or of one whose tokens serve no run of the version before.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { latest: Arc::new(ArcSwap::new(shared)) }
    }

    /// The handle of the next version, whose tokens serve the runs of this one and of all that this one serves.
    pub(super) fn succeeded_by(&self, shared: Arc<Shared>) -> Self {
        shared.go_on_from(&self.shared());
        self.latest.store(shared);
        Self { latest: Arc::clone(&self.latest) }
    }

    /// What the version that serves this handle shares with its task.
    pub(super) fn shared(&self) -> Arc<Shared> {
        self.latest.load_full()
    }

    /// A token that is used as given and never refreshed, as with `InitiateOAuth: OFF`; `expires_at` absent: unknown.
    pub fn fixed(secret: Secret, expires_at: Option<Timestamp>, clock: &Clock) -> Self {
        let name = ConnectionName::new("fixed token").expect("a constant name that keeps the rules");
        let shared = Shared::new(&name, None, clock, false);
        let held = fixed_token(secret, clock.now(), expires_at);
        shared.publish(&held, Duration::ZERO);
        shared.view.send_modify(|view| {
            view.status.state = ConnectionState::Ok;
            view.status.expires_at = expires_at;
            view.status.token_generation = held.token.generation;
            view.status.token_fingerprint = Some(held.token.secret.fingerprint());
            view.blocked = Some(Blocked::For(TokenError::NeedsSignIn(token_expired(clock.now()))));
        });
        Self::new(shared)
    }

    /// The valid access token, if there is one now. Takes no lock and does no I/O.
    pub fn current(&self) -> Option<Arc<AccessToken>> {
        self.latest.load().current()
    }

    /// The valid access token, waiting for a refresh for at most `wait` if there is none.
    ///
    /// # Errors
    /// [`TokenError`], also [`TokenError::TryLater`] when `wait` is over. Giving up does not stop the refresh.
    pub async fn get(&self, wait: Duration) -> Result<Arc<AccessToken>, TokenError> {
        match self.current() {
            Some(token) => Ok(token),
            None => self.wait_for(None, None, false, wait).await,
        }
    }

    /// A token newer than `seen`, which Graph has refused with 401; makes at most one token request for all callers
    /// that saw the same token. `claims`: the decoded claims challenge (JSON text) to hand to the token endpoint.
    ///
    /// # Errors
    /// As [`TokenHandle::get`].
    pub async fn renew(
        &self,
        seen: TokenGeneration,
        claims: Option<String>,
        wait: Duration,
    ) -> Result<Arc<AccessToken>, TokenError> {
        self.wait_for(Some(seen), claims, false, wait).await
    }

    /// A new token because a person asked for one: also while a sign-in is needed, before a wait is over, and when the
    /// present token is still good.
    ///
    /// # Errors
    /// As [`TokenHandle::get`].
    pub async fn refresh_now(&self, wait: Duration) -> Result<Arc<AccessToken>, TokenError> {
        let shared = self.shared();
        // A token is handed out a moment before the status tells of it.
        let handed_out = shared.current().map_or(0, |token| token.generation);
        let seen = shared.view.borrow().status.token_generation.max(handed_out);
        self.wait_for(Some(seen), None, true, wait).await
    }

    /// What can be told without telling a token.
    pub fn status(&self) -> TokenStatus {
        self.shared().view.borrow().status.clone()
    }

    /// Seconds that the token server's clock was ahead of ours at its last answer; `None` before the first.
    pub fn server_clock_skew(&self) -> Option<i64> {
        Some(self.shared().skew.load(Ordering::Relaxed)).filter(|skew| *skew != NO_SKEW)
    }

    /// What the current access token says about itself (audience, permissions); a hint, not verified.
    pub fn claims(&self) -> Option<TokenClaims> {
        read_claims(self.current()?.secret.expose())
    }

    async fn wait_for(
        &self,
        seen: Option<TokenGeneration>,
        claims: Option<String>,
        operator: bool,
        wait: Duration,
    ) -> Result<Arc<AccessToken>, TokenError> {
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let shared = self.shared();
            let result = shared.wait_for(seen, claims.clone(), operator, deadline).await;
            match result {
                // The version that was asked has been replaced meanwhile by one that serves this handle.
                Err(TokenError::Superseded) if !Arc::ptr_eq(&shared, &self.shared()) => {}
                other => return other,
            }
        }
    }
}

impl Shared {
    async fn wait_for(
        &self,
        seen: Option<TokenGeneration>,
        claims: Option<String>,
        operator: bool,
        deadline: tokio::time::Instant,
    ) -> Result<Arc<AccessToken>, TokenError> {
        let mut view = self.view.subscribe();
        let settled_before = view.borrow_and_update().settled;
        let ticket = self.wants().add(seen, claims, operator);
        self.wake.notify_one();
        loop {
            let now = view.borrow_and_update().clone();
            if let Some(token) = self.current()
                && seen.is_none_or(|seen| token.generation > seen)
                && now.claims_settled >= ticket
            {
                return Ok(token);
            }
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if let Some(error) = self.reason_to_give_up(&now, now.settled > settled_before, operator, left) {
                return Err(error);
            }
            match tokio::time::timeout(left, view.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(TokenError::Superseded),
                Err(_) => return Err(self.too_late(&now)),
            }
        }
    }

    /// Whether waiting on makes no sense: an attempt that counts for this caller has failed, or none will come in time.
    fn reason_to_give_up(
        &self,
        view: &View,
        tried: bool,
        operator: bool,
        left: Duration,
    ) -> Option<TokenError> {
        match view.blocked.as_ref()? {
            // A person's wish is tried in spite of a block; only its own attempt's failure counts.
            _ if operator && !tried && self.kept => None,
            Blocked::For(error) => Some(error.clone()),
            Blocked::Until(retry_at, failure) => {
                let after = retry_at.until(self.clock.now());
                (tried || after > left).then(|| TokenError::TryLater { failure: failure.clone(), after })
            }
        }
    }

    fn too_late(&self, view: &View) -> TokenError {
        let at = self.clock.now();
        let failure = view.status.last_error.clone().unwrap_or_else(|| TokenFailure {
            code: "refresh_takes_long".to_owned(),
            aadsts: None,
            correlation_id: None,
            message:
                "The token request has not been answered yet. Repeat the request; the agent goes on with it."
                    .to_owned(),
            at,
            retry_at: None,
        });
        TokenError::TryLater { failure, after: Duration::from_secs(1) }
    }
}

/// The token of a connection that never refreshes.
pub(super) fn fixed_token(secret: Secret, obtained_at: Timestamp, expires_at: Option<Timestamp>) -> Held {
    // No end known: Graph's 401 will tell.
    let expires_at = expires_at.unwrap_or(Timestamp::from_seconds(253_402_300_799));
    Held {
        token: Arc::new(AccessToken { secret, expires_at, generation: 1 }),
        obtained_at,
        refresh_due: None,
    }
}

/// The failure of a given token that has reached its end, or that Graph refuses.
pub(super) fn token_expired(at: Timestamp) -> TokenFailure {
    TokenFailure {
        code: "token_expired".to_owned(),
        aadsts: None,
        correlation_id: None,
        message: "The given access token has expired and InitiateOAuth is OFF. Paste a new OAuthAccessToken, or set InitiateOAuth to REFRESH with an OAuthRefreshToken.".to_owned(),
        at,
        retry_at: None,
    }
}
