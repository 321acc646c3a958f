//! The lease on a row: taken by the database's clock, told apart by a token of this very attempt, given back when
//! dropped. It is never renewed: a refresh that outlives it finds its commit refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio_postgres::types::Type;

use crate::clock::Clock;
use crate::secret;

use super::super::key::StoreKey;
use super::super::{Lapse, StoreError};
use super::database::{Database, Parameter};

/// Waits between two tries to get a row that another agent holds; a commit that is heard of cuts them short.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// `clock_timestamp()` and not `now()`: the latter stands still while a statement waits for another one's row lock.
const TAKE: &str = "INSERT INTO o365_agent_tokens AS kept (group_name, connection, owner, lease_until)
    VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 second')
    ON CONFLICT (group_name, connection) DO UPDATE
        SET owner = excluded.owner, lease_until = clock_timestamp() + $4 * interval '1 second'
        WHERE kept.lease_until IS NULL OR kept.lease_until < clock_timestamp() OR kept.owner = excluded.owner
    RETURNING generation";
const GIVE_BACK: &str = "UPDATE o365_agent_tokens SET owner = NULL, lease_until = NULL
    WHERE group_name = $1 AND connection = $2 AND owner = $3";

/// A row that is ours for a while.
#[derive(Debug)]
pub(super) struct Lease {
    database: Arc<Database>,
    connection: String,
    /// Process and attempt. Not the process alone: two tasks of one process would both be let in, which is how a
    /// re-entrant lock has lost rotated tokens elsewhere.
    pub(super) owner: String,
    /// What to seal with while it is held. Read under the lease: whoever changes the group's key says so first and then
    /// visits every row under its lease, so nothing that is sealed with the key before can be left behind.
    pub(super) sealing: Option<Arc<StoreKey>>,
    held: AtomicBool,
    local: Option<OwnedMutexGuard<()>>,
}

impl Lease {
    /// Takes the row of `connection`, waiting for others for at most `bound`. `local` keeps this process's other tasks
    /// out, and goes with the lease.
    pub(super) async fn take(
        database: Arc<Database>,
        connection: String,
        local: OwnedMutexGuard<()>,
        bound: Duration,
        clock: &Clock,
    ) -> Result<(Self, Lapse), StoreError> {
        let owner = format!("{}-{}", database.process, secret::random_hex(6));
        // Made before the first try: when its answer is lost, dropping this gives back what may have been taken.
        let lease = Self {
            database,
            connection,
            owner,
            sealing: None,
            held: AtomicBool::new(true),
            local: Some(local),
        };
        let database = &lease.database;
        let seconds = database.settings.lease.as_secs_f64();
        let mark = super::listen::mark(&database.group, &lease.connection);
        let mut signal = database.events.signal(&mark).subscribe();
        let waiting = async {
            let mut wait = SHORTEST_WAIT;
            loop {
                // Before the question: our view of the lease ends no later than the database's.
                let lapse = Lapse::begin(database.settings.lease, clock);
                let parameters: [Parameter<'_>; 4] = [
                    (&database.group, Type::TEXT),
                    (&lease.connection, Type::TEXT),
                    (&lease.owner, Type::TEXT),
                    (&seconds, Type::FLOAT8),
                ];
                if !database.query(TAKE, &parameters).await?.is_empty() {
                    return Ok(lapse);
                }
                let _heard_or_not = tokio::time::timeout(wait, signal.changed()).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        };
        match tokio::time::timeout(bound, waiting).await {
            Ok(Ok(lapse)) => Ok((lease, lapse)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StoreError::Busy(format!(
                "{}: another agent of group '{}' has kept this connection's row for more than {bound:?}. The agent tries again.",
                database.place(),
                database.group
            ))),
        }
    }

    /// The commit has given the row back already.
    pub(super) fn ended(&self) {
        self.held.store(false, Ordering::Release);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.held.load(Ordering::Acquire) || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (database, connection, owner) = (
            Arc::clone(&self.database),
            std::mem::take(&mut self.connection),
            std::mem::take(&mut self.owner),
        );
        let local = self.local.take();
        self.database.releases.spawn(async move {
            let parameters: [Parameter<'_>; 3] =
                [(&database.group, Type::TEXT), (&connection, Type::TEXT), (&owner, Type::TEXT)];
            if let Err(error) = database.query(GIVE_BACK, &parameters).await {
                tracing::debug!(%connection, %error, "A lease was not given back; it lapses by itself.");
            }
            drop(local);
        });
    }
}
