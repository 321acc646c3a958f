//! The refresh transaction: store lock → re-read → token request → durable commit → only then is the new token known to
//! anyone. Runs as a task of its own that no caller, reload or stop signal cancels. Never deletes a token.
//!
//! No intent record is written before the request: Entra keeps a used refresh token in force (Microsoft identity
//! platform, "Refresh tokens"), so a lost answer is repaired by sending the same token again.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Timestamp};
use crate::connection::Connection;
use crate::secret::{Secret, hex};
use crate::settings::Refresh;
use crate::telemetry::Repeats;

use super::answer::{Denial, NewTokens, Outcome};
use super::claims::read_claims;
use super::endpoint::{self, ClientIdentity};
use super::model::{TokenFailure, TokenGeneration};
use super::places::Seat;
use super::plan::{ANY_TENANT, Grant, KeptPlan};
use super::proof::ClientProof;
use super::state;
use super::store::{
    Committed, DeniedMarker, Lineage, OpenStore, StoreError, StoreLock, Stored, StoredAccess, seeds,
};
use super::turn::{NoTurn, Standing, Turn};
use super::{advice, chance};

/// Everything a transaction needs; shared by all transactions of one connection version.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) connection: Arc<Connection>,
    pub(super) plan: KeptPlan,
    pub(super) store: Arc<OpenStore>,
    pub(super) http: reqwest::Client,
    pub(super) clock: Clock,
    pub(super) refresh: Refresh,
    /// Where it queues for its token host.
    pub(super) seat: Seat,
    /// How the client proves itself beyond a secret.
    pub(super) proof: ClientProof,
    /// The sentences that the log has already.
    pub(super) repeats: Repeats,
    /// The token server of the model test, instead of the wire.
    #[cfg(test)]
    pub(super) in_memory: Option<Arc<dyn super::testing::InMemory>>,
}

/// What a refresh is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Ask {
    /// A claims challenge to answer: a sibling's newer token, made without it, would not do.
    pub(super) claims: Option<String>,
    /// A person asked: a refresh token that was refused before is sent once more.
    pub(super) operator: bool,
}

/// How a transaction ended.
#[derive(Debug)]
pub(super) enum Settled {
    /// New tokens; `unsaved` says why they are not durable, if they are not.
    Refreshed { stored: Arc<Stored>, unsaved: Option<StoreError> },
    /// The store had newer tokens than we knew.
    Superseded(Arc<Stored>),
    /// Refused, and the store has nothing newer.
    Denied { denial: Denial, stored: Arc<Stored> },
    /// Failed for a passing reason.
    TryLater { after: Option<Duration>, failure: TokenFailure },
    /// The store is not ours to use.
    Refused(TokenFailure),
}

impl Settled {
    /// The word in logs and metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Refreshed { .. } => "refreshed",
            Self::Superseded(_) => "superseded",
            Self::Denied { .. } | Self::Refused(_) => "denied",
            Self::TryLater { .. } => "try_later",
        }
    }
}

/// A transaction's result, with what the server's clock said.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) settled: Settled,
    pub(super) clock_skew: Option<i64>,
}

/// One refresh of the tokens known so far.
pub(super) async fn refresh(context: Arc<Context>, known: Arc<Stored>, ask: Ask, turn: Turn) -> Finished {
    let mut clock_skew = None;
    let mut standing = match Standing::in_line(&context.seat, turn).await {
        Ok(standing) => standing,
        Err(why) => return Finished { settled: context.no_turn(why), clock_skew },
    };
    let settled = match context.transact(&known, &ask, &mut clock_skew, &mut standing).await {
        Ok(settled) => settled,
        Err(error) => context.store_trouble(&error),
    };
    Finished { settled, clock_skew }
}

/// The store during a transaction.
#[derive(Clone, Copy)]
struct Held<'a> {
    lock: Option<&'a StoreLock>,
    /// The number of what was read from it.
    in_store: TokenGeneration,
}

impl Context {
    fn no_turn(&self, why: NoTurn) -> Settled {
        let (code, message) = match why {
            NoTurn::Stopping => ("stopping", "The connection changed or the agent is stopping."),
            NoTurn::Busy => (
                "endpoint_busy",
                "Too many token requests to the same server are waiting for an answer. Nothing needs to be done; the agent tries again.",
            ),
        };
        Settled::TryLater { after: None, failure: self.failure(code, message) }
    }

    async fn transact(
        &self,
        known: &Arc<Stored>,
        ask: &Ask,
        skew: &mut Option<i64>,
        standing: &mut Standing<'_>,
    ) -> Result<Settled, StoreError> {
        let locked = match standing.wait(self.store.lock()).await {
            Ok(locked) => locked,
            Err(why) => return Ok(self.no_turn(why)),
        };
        let lock = match locked {
            Ok(lock) => Some(lock),
            // A full or read-only disk keeps every process of this machine from committing, so nobody can be
            // overtaken; going on from memory keeps the connection alive until the disk is repaired.
            Err(error @ StoreError::Failed { nobody_can_write: true, .. }) if !known.is_empty() => {
                if let Some(left_out) = self.repeats.admit("without the lock") {
                    tracing::error!(connection = %self.connection.name, %error, left_out, "Refreshing without the store's lock.");
                }
                None
            }
            Err(error) => return Err(error),
        };
        let in_store = match standing.work(self.store.read(lock.is_some())).await {
            // Nobody can get at the store, so nothing newer is there.
            Err(StoreError::Failed { nobody_can_write: true, .. }) if lock.is_none() => 0,
            other => other?,
        };
        // Also what a predecessor of this task could not save: its refresh token is the one that is still good.
        let current = self.store.newest();
        if !current.has_the_tokens_of(known) && ask.claims.is_none() && self.is_usable(&current) {
            return Ok(Settled::Superseded(current));
        }
        self.ask_the_server(current, Held { lock: lock.as_ref(), in_store }, ask, skew, standing).await
    }

    async fn ask_the_server(
        &self,
        mut current: Arc<Stored>,
        held: Held<'_>,
        ask: &Ask,
        skew: &mut Option<i64>,
        standing: &mut Standing<'_>,
    ) -> Result<Settled, StoreError> {
        let lock = held.lock;
        // Fixed before the request: a sibling that commits meanwhile gets the same number, and is not overwritten.
        let generation = self.store.next_generation();
        let mut refused: Option<Denial> = None;
        for (index, grant) in self.plan.grants.iter().copied().enumerate() {
            if !self.is_possible(grant, &current, ask) {
                continue;
            }
            let asked_at = self.clock.now();
            let exchanged = self.exchange(grant, &current, lock, ask, skew, standing).await;
            standing.answered();
            let outcome = match exchanged {
                Ok(outcome) => outcome,
                Err(settled) => {
                    self.note_refusal(held, &current, refused.is_some()).await;
                    return Ok(settled);
                }
            };
            match outcome {
                Outcome::Refreshed(tokens) => {
                    let before = match grant {
                        Grant::AuthorizationCode => &self.with_verifier_spent(&current, None),
                        _ => &*current,
                    };
                    let next = self.next(before, generation, tokens, asked_at);
                    return Ok(match self.store.commit(lock, held.in_store, Arc::new(next)).await {
                        Committed::Saved(stored) => Settled::Refreshed { stored, unsaved: None },
                        Committed::Owed(stored, error) => Settled::Refreshed { stored, unsaved: Some(error) },
                        Committed::Overtaken(stored) => Settled::Superseded(stored),
                    });
                }
                Outcome::TryLater { after, failure } => {
                    self.note_refusal(held, &current, refused.is_some()).await;
                    return Ok(Settled::TryLater { after, failure });
                }
                Outcome::Denied(mut denial) => {
                    if grant == Grant::AuthorizationCode && denial.needs_sign_in {
                        denial.failure.message = advice::verifier_refused(&self.connection.name);
                    }
                    // Under a lock that all honour this finds nothing new; stores or writers without mutual exclusion
                    // exist, and a sibling's success must never be taken for the end of the sign-in.
                    match self.store.read(lock.is_some()).await {
                        Ok(_) => {
                            let newest = self.store.newest();
                            if !newest.has_the_tokens_of(&current) {
                                return Ok(Settled::Superseded(newest));
                            }
                        }
                        // The refusal stands all the same: sent again, the token would be refused again. A sibling's news
                        // is found when the store is back, and ends the wait for a sign-in.
                        Err(error) => {
                            tracing::warn!(connection = %self.connection.name, %error, "The store could not be read again after the refusal.");
                        }
                    }
                    if grant == Grant::AuthorizationCode && denial.needs_sign_in {
                        let refresh_token = current.refresh_token.clone();
                        current = Arc::new(self.with_verifier_spent(&current, refresh_token));
                    }
                    let is_last = index + 1 == self.plan.grants.len();
                    if grant == Grant::RefreshToken && denial.needs_sign_in {
                        current = Arc::new(self.mark_denied(&current, &denial));
                    }
                    if is_last || !denial.needs_sign_in {
                        return Ok(self.denied(held, current, denial).await);
                    }
                    refused = Some(denial);
                }
            }
        }
        let denial = refused.unwrap_or_else(|| self.nothing_possible(&current));
        Ok(self.denied(held, current, denial).await)
    }

    async fn exchange(
        &self,
        grant: Grant,
        current: &Stored,
        lock: Option<&StoreLock>,
        ask: &Ask,
        skew: &mut Option<i64>,
        standing: &mut Standing<'_>,
    ) -> Result<Outcome, Settled> {
        if grant == Grant::ManagedIdentity {
            standing.may_send().await.map_err(|why| self.no_turn(why))?;
            let (bound, claims) = (self.refresh.request_timeout, ask.claims.as_deref());
            return Ok(self
                .proof
                .identity
                .fetch(&self.connection, &self.http, claims, bound, &self.clock)
                .await);
        }
        let client = self.identity(current).map_err(|failure| {
            let denial = Denial { needs_sign_in: false, failure, suberror: None, claims: None };
            Settled::Denied { denial, stored: Arc::new(current.clone()) }
        })?;
        let Some(url) = endpoint::token_url_of(&self.connection, &client.tenant) else {
            let failure = self.failure(
                "bad_tenant",
                "AzureTenant cannot stand in an address. Set it to the tenant's domain or id.",
            );
            let denial = Denial { needs_sign_in: false, failure, suberror: None, claims: None };
            return Err(Settled::Denied { denial, stored: Arc::new(current.clone()) });
        };
        let verifier = self.plan.verifier.as_ref().map(|verifier| verifier.code.expose().as_str());
        let proof = match grant {
            Grant::AuthorizationCode => verifier,
            _ => current.refresh_token.as_ref().map(|token| token.expose().as_str()),
        };
        let mut form = endpoint::form(&self.connection, &client, grant, proof, ask.claims.as_deref());
        if grant == Grant::AuthorizationCode {
            endpoint::add(&mut form, &[("redirect_uri", self.connection.auth.sign_in.callback.as_str())]);
        }
        let proof = self.proof.add_to_form(form, &self.connection, &client.client_id, &url, &self.clock);
        let proven = standing.work(proof).await;
        let form = proven.map_err(|failure| {
            let denial = Denial { needs_sign_in: false, failure, suberror: None, claims: None };
            Settled::Denied { denial, stored: Arc::new(current.clone()) }
        })?;
        standing.may_send().await.map_err(|why| self.no_turn(why))?;
        // A lease that ends while the answer is on its way lets a sibling send the same refresh token. This process may
        // have stood still since it took the lease (SIGSTOP, a suspended machine), so it is looked at last of all.
        if let Some(left) = lock.and_then(StoreLock::time_left)
            && left <= self.refresh.request_timeout
        {
            let failure = self.failure(
                "store_locked",
                "The lease on the group's token row was nearly over before the token request could be sent, so it was not sent. The agent tries again.",
            );
            return Err(Settled::TryLater { after: None, failure });
        }
        #[cfg(test)]
        if let Some(server) = &self.in_memory {
            return Ok(server.exchange(form, self.clock.now()).await);
        }
        let exchange = endpoint::exchange(
            &self.http,
            &self.connection,
            url,
            form,
            self.refresh.request_timeout,
            &self.clock,
        )
        .await;
        *skew = exchange.clock_skew.or(*skew);
        Ok(exchange.outcome)
    }

    /// Records the refusal; if that fails, a restart asks the server once more, which does no harm.
    async fn denied(&self, held: Held<'_>, current: Arc<Stored>, denial: Denial) -> Settled {
        self.note_refusal(held, &current, true).await;
        Settled::Denied { denial, stored: current }
    }

    /// Records that a grant was refused, also when the next grant could not be asked for: a refused token is not sent again.
    async fn note_refusal(&self, held: Held<'_>, current: &Arc<Stored>, refused: bool) {
        let worth_recording = current.denied.is_some() || self.plan.verifier.is_some();
        if refused
            && worth_recording
            && let Err(error) = self.store.note(held.lock, held.in_store, current).await
        {
            tracing::warn!(connection = %self.connection.name, %error, "The refusal could not be recorded in the store.");
        }
    }

    pub(super) fn next(
        &self,
        current: &Stored,
        generation: TokenGeneration,
        tokens: NewTokens,
        asked_at: Timestamp,
    ) -> Stored {
        // The life of the token is counted from before the request: believing it older than it is does no harm.
        let due = state::refresh_due(
            asked_at,
            tokens.lifetime,
            tokens.refresh_in,
            self.refresh.minimum_validity,
            chance(),
        );
        Stored {
            generation,
            lineage: current.lineage.clone(),
            access: Some(StoredAccess {
                secret: tokens.access_token,
                obtained_at: asked_at,
                expires_at: asked_at.plus(tokens.lifetime),
                refresh_due: due,
            }),
            refresh_token: tokens.refresh_token.or_else(|| current.refresh_token.clone()),
            seed: current.seed.clone(),
            denied: current.denied.clone(),
        }
    }

    /// `OAuthVerifier` has been redeemed or refused: either way it is never sent again. Its tokens belong to another
    /// sign-in than the tokens before it.
    fn with_verifier_spent(&self, current: &Stored, refresh_token: Option<Secret>) -> Stored {
        let spent = self.plan.verifier.as_ref().map(|verifier| verifier.fingerprint.as_str());
        // Only what was redeemed begins a new sign-in.
        let lineage = match (spent, &refresh_token) {
            (Some(spent), None) => Lineage::of_seed(spent, self.clock.now()).after(&current.lineage),
            _ => current.lineage.clone(),
        };
        let seed = seeds(spent, current.seed.as_deref());
        Stored { refresh_token, seed, lineage, ..current.clone() }
    }

    /// Whether `OAuthVerifier` is there and has not been sent yet.
    pub(super) fn verifier_waits(&self, stored: &Stored) -> bool {
        self.plan.verifier.as_ref().is_some_and(|verifier| !stored.has_taken(&verifier.fingerprint))
    }

    fn mark_denied(&self, current: &Stored, denial: &Denial) -> Stored {
        let refresh_token =
            current.refresh_token.as_ref().map(|token| token.fingerprint()).unwrap_or_default();
        let marker = DeniedMarker {
            refresh_token,
            configuration: self.configuration(),
            claims: denial.claims.clone(),
            failure: denial.failure.clone(),
        };
        Stored { denied: Some(marker), ..current.clone() }
    }

    /// The refusal that is on record for the refresh token in `stored`, asked with this very configuration.
    pub(super) fn recorded_denial<'a>(&self, stored: &'a Stored) -> Option<&'a DeniedMarker> {
        let refresh_token = stored.refresh_token.as_ref()?.fingerprint();
        let marker = stored.denied.as_ref()?;
        (marker.refresh_token == refresh_token && marker.configuration == self.configuration())
            .then_some(marker)
    }

    fn configuration(&self) -> String {
        hex(&self.connection.digest[..12])
    }

    fn is_possible(&self, grant: Grant, current: &Stored, ask: &Ask) -> bool {
        match grant {
            Grant::RefreshToken => {
                current.refresh_token.is_some() && (ask.operator || self.recorded_denial(current).is_none())
            }
            Grant::ClientCredentials | Grant::ManagedIdentity => true,
            Grant::AuthorizationCode => self.verifier_waits(current),
            // Only a sign-in that a person started sends one.
            Grant::DeviceCode => false,
        }
    }

    /// Whether any way to a new token is open without a person.
    pub(super) fn can_refresh(&self, stored: &Stored) -> bool {
        self.plan.grants.iter().any(|grant| self.is_possible(*grant, stored, &Ask::default()))
    }

    fn is_usable(&self, stored: &Stored) -> bool {
        stored.access.as_ref().is_some_and(|access| {
            let lifetime = access.expires_at.until(access.obtained_at);
            access.expires_at.until(self.clock.now()) > state::margin(lifetime, self.refresh.minimum_validity)
        })
    }

    /// Client and tenant: as configured, else as the given token says, else as the stored token says.
    pub(super) fn identity(&self, current: &Stored) -> Result<ClientIdentity, TokenFailure> {
        let auth = &self.connection.auth;
        let seed = self.plan.seed.as_ref().and_then(|seed| seed.access.as_ref()).map(|given| &given.secret);
        let hints: Vec<_> = [seed, current.access.as_ref().map(|access| &access.secret)]
            .into_iter()
            .flatten()
            .filter_map(|token| read_claims(token.expose()))
            .collect();
        let client_id =
            auth.client_id.clone().or_else(|| hints.iter().find_map(|claims| claims.client_id.clone()));
        let tenant = auth
            .tenant
            .clone()
            .or_else(|| hints.iter().find_map(|claims| claims.tenant.clone()))
            // Where a person signed in without a tenant, their token may be opaque.
            .or_else(|| self.plan.accepts_any_tenant().then(|| ANY_TENANT.to_owned()));
        match (client_id, tenant) {
            (Some(client_id), Some(tenant)) => Ok(ClientIdentity { client_id, tenant }),
            (None, _) => Err(self.failure(
                "no_client_id",
                "OAuthClientId is not given and cannot be read from the access token. Set OAuthClientId to the app registration's application id.",
            )),
            (_, None) => Err(self.failure(
                "no_tenant",
                "AzureTenant is not given and cannot be read from the access token. Set AzureTenant to the tenant's domain or id.",
            )),
        }
    }

    fn nothing_possible(&self, current: &Stored) -> Denial {
        let failure = match self.recorded_denial(current) {
            Some(marker) => marker.failure.clone(),
            None => {
                self.failure("no_token", &advice::sign_in_needed(&self.connection.name, self.plan.sign_in))
            }
        };
        Denial { needs_sign_in: true, failure, suberror: None, claims: None }
    }

    pub(super) fn store_trouble(&self, error: &StoreError) -> Settled {
        match error {
            StoreError::Refused(message) => Settled::Refused(self.failure("store_refused", message)),
            StoreError::Busy(message) => {
                Settled::TryLater { after: None, failure: self.failure("store_locked", message) }
            }
            StoreError::Superseded { .. } | StoreError::Corrupt(_) | StoreError::Failed { .. } => {
                Settled::TryLater { after: None, failure: self.failure("store_failed", &error.to_string()) }
            }
        }
    }

    pub(super) fn failure(&self, code: &str, message: &str) -> TokenFailure {
        TokenFailure {
            code: code.to_owned(),
            aadsts: None,
            correlation_id: None,
            message: message.to_owned(),
            at: self.clock.now(),
            retry_at: None,
        }
    }
}
