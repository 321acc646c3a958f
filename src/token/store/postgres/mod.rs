//! The store of an agent group: one row per connection in PostgreSQL, sealed with the agents' key before it leaves the
//! process, guarded by a lease and a generation. Never sends a token in the clear to the database.
//!
//! When a commit finds its lease gone, there are two cases. The generation has grown: a sibling's newer tokens are
//! durable, and ours are dropped; a lenient provider (Entra) honours both, a strict one has already judged. The
//! generation is the one we read: nobody has stored anything newer, so ours may be the only live refresh token there is.
//! They are then kept as unsaved, used from memory, and committed under a fresh lease unless a sibling gets there first.

mod database;
mod lease;
mod listen;
pub(super) mod rekey;
mod schema;
mod tls;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::clock::Clock;
use crate::connection::ConnectionName;
use crate::token::model::TokenGeneration;

use super::envelope::{self, OpenError};
use super::key::StoreKey;
use super::{Store, StoreError, StoreLock, StoreVersion, Stored};

pub(in crate::token) use database::Database;
use database::Parameter;
use lease::Lease;
use listen::CHANNEL;

const LOAD: &str =
    "SELECT generation, changes, contents FROM o365_agent_tokens WHERE group_name = $1 AND connection = $2";
const VERSION: &str = "SELECT generation, changes FROM o365_agent_tokens
    WHERE group_name = $1 AND connection = $2 AND contents IS NOT NULL";
/// Commits, gives the lease back and tells the others, in one statement. Contents of the same generation (a recorded
/// refusal, the test of a connection) are no state that a person would go back to, so what was there before stays.
const COMMIT: &str = "WITH done AS (
        UPDATE o365_agent_tokens
        SET generation = $5, contents = $6, changes = changes + 1,
            previous = CASE WHEN generation = $5 THEN previous ELSE contents END,
            updated_at = clock_timestamp(), owner = NULL, lease_until = NULL
        WHERE group_name = $1 AND connection = $2 AND owner = $3 AND generation = $4
            AND lease_until > clock_timestamp()
        RETURNING 1)
    SELECT pg_notify($7, $8) FROM done";
const RETIRE: &str = "WITH done AS (
        UPDATE o365_agent_tokens
        SET previous = contents, contents = NULL, generation = 0, changes = changes + 1
        WHERE group_name = $1 AND connection = $2 AND owner = $3
        RETURNING 1)
    SELECT pg_notify($4, $5) FROM done";
const SET_ASIDE: &str = "WITH bad AS (
        SELECT contents FROM o365_agent_tokens WHERE group_name = $1 AND connection = $2 AND contents = $3),
    kept AS (
        INSERT INTO o365_agent_set_aside (group_name, connection, contents, reason)
        SELECT $1, $2, contents, $4 FROM bad),
    done AS (
        UPDATE o365_agent_tokens SET contents = NULL, generation = 0, changes = changes + 1
        WHERE group_name = $1 AND connection = $2 AND contents = $3
        RETURNING 1)
    SELECT pg_notify($5, $6) FROM done";

/// One connection's row.
#[derive(Debug)]
pub(in crate::token) struct PostgresStore {
    database: Arc<Database>,
    connection: String,
    mark: String,
    signal: watch::Sender<u64>,
    lock_timeout: Duration,
    clock: Clock,
    /// The tasks of this process queue here and not at the database.
    local: Arc<tokio::sync::Mutex<()>>,
    seen: Mutex<Option<Seen>>,
}

/// A version, and the counts that stood when it was read.
#[derive(Clone, Copy, Debug)]
struct Seen {
    epoch: u64,
    signals: u64,
    version: Option<StoreVersion>,
}

impl PostgresStore {
    /// The row of the connection `owner`.
    pub(in crate::token) fn new(
        database: Arc<Database>,
        owner: &ConnectionName,
        lock_timeout: Duration,
        clock: Clock,
    ) -> Self {
        let mark = listen::mark(&database.group, owner.as_str());
        Self {
            signal: database.events.signal(&mark),
            connection: owner.as_str().to_owned(),
            mark,
            database,
            lock_timeout,
            clock,
            local: Arc::default(),
            seen: Mutex::default(),
        }
    }

    async fn row(&self) -> Result<Option<Row>, StoreError> {
        Ok(self.database.query(LOAD, &self.row_key()).await?.pop())
    }

    fn row_key(&self) -> [Parameter<'_>; 2] {
        [(&self.database.group, Type::TEXT), (&self.connection, Type::TEXT)]
    }

    /// What tells the other agents of a change.
    fn notice(&self) -> [Parameter<'_>; 2] {
        [(&CHANNEL, Type::TEXT), (&self.mark, Type::TEXT)]
    }

    async fn open(&self, row: &Row, key: &StoreKey, locked: bool) -> Result<Option<Stored>, StoreError> {
        let (generation, contents) = (generation_of(row), text_of(row));
        let Some(contents) = contents else { return Ok(None) };
        let mut opened = envelope::open(contents.as_bytes(), &self.connection, key);
        if let Err(OpenError::Key(id)) = &opened
            && let Some(other) = self.database.key_named(id).await?
        {
            opened = envelope::open(contents.as_bytes(), &self.connection, &other);
        }
        let why = match opened {
            Ok(stored) if stored.generation == generation => return Ok(Some(stored)),
            Ok(_) => "it was put back to an earlier state in part".to_owned(),
            Err(OpenError::Key(id)) => return Err(self.database.wrong_key(&id, key)),
            Err(OpenError::Newer(version)) => {
                return Err(StoreError::Refused(format!(
                    "{}: written by a newer agent (format {version}). Update this agent.",
                    self.place()
                )));
            }
            Err(OpenError::Owner(owner)) => format!("it belongs to connection '{owner}'"),
            Err(OpenError::Corrupt(why)) => why.to_owned(),
        };
        if !locked {
            return Err(StoreError::Corrupt(format!("{}: the row cannot be read: {why}.", self.place())));
        }
        let [group, connection] = self.row_key();
        let [channel, mark] = self.notice();
        let bad: [Parameter<'_>; 2] = [(&contents, Type::TEXT), (&why, Type::TEXT)];
        let [bad, reason] = bad;
        self.database.query(SET_ASIDE, &[group, connection, bad, reason, channel, mark]).await?;
        tracing::error!(connection = %self.connection, place = %self.place(), reason = %why,
            "The stored tokens cannot be read. They were set aside in table o365_agent_set_aside, and the connection starts with the tokens of its drop-in.");
        Ok(None)
    }

    async fn write(
        &self,
        lock: &StoreLock,
        expected: TokenGeneration,
        next: &Stored,
    ) -> Result<(), StoreError> {
        let failed = |message: String| StoreError::Failed { message, nobody_can_write: false };
        let Some(lease) = lock.guard::<Lease>() else {
            return Err(failed(format!("{}: the lock of another store was used.", self.place())));
        };
        let Some(key) = &lease.sealing else {
            return Err(failed(format!("{}: the lease has no key to seal with.", self.place())));
        };
        let sealed = envelope::seal(next, &self.connection, key)
            .map_err(|why| failed(format!("{}: {why}. Restart the agent.", self.place())))?;
        let contents = String::from_utf8(sealed).unwrap_or_default();
        let [group, connection] = self.row_key();
        let [channel, mark] = self.notice();
        let (before, after) = (as_number(expected), as_number(next.generation));
        let parameters = [
            group,
            connection,
            (&lease.owner, Type::TEXT),
            (&before, Type::INT8),
            (&after, Type::INT8),
            (&contents, Type::TEXT),
            channel,
            mark,
        ];
        let committed = self.database.query(COMMIT, &parameters).await;
        if committed.as_ref().is_ok_and(|rows| !rows.is_empty()) {
            lease.ended();
            return Ok(());
        }
        // Refused, or its answer was lost. The nonce makes every seal unique, so the row tells which.
        let row = self.row().await?;
        let found = row.as_ref().map_or(0, generation_of);
        if row.as_ref().and_then(text_of).as_deref() == Some(contents.as_str()) {
            lease.ended();
            return Ok(());
        }
        committed?;
        if found != expected {
            return Err(StoreError::Superseded { found });
        }
        Err(failed(format!(
            "{}: the lease on the row ended before the new tokens could be stored, and nobody has stored newer ones. They are used from memory and stored as soon as the row is free.",
            self.place()
        )))
    }

    async fn look(&self) -> Result<Option<StoreVersion>, StoreError> {
        // Read before the question: what happens while it is under way counts as news.
        let (epoch, signals) = (self.database.events.epoch(), *self.signal.borrow());
        if self.database.events.is_listening()
            && let Some(seen) = *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
            && (seen.epoch, seen.signals) == (epoch, signals)
        {
            return Ok(seen.version);
        }
        self.database.key().await?;
        let row = self.database.query(VERSION, &self.row_key()).await?.pop();
        let version =
            row.map(|row| StoreVersion(row.try_get::<_, i64>(1).unwrap_or_default(), generation_of(&row)));
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Seen { epoch, signals, version });
        Ok(version)
    }
}

impl Store for PostgresStore {
    fn load(&self, locked: bool) -> BoxFuture<'_, Result<Option<Stored>, StoreError>> {
        async move {
            let key = self.database.key().await?;
            match self.row().await? {
                Some(row) => self.open(&row, &key, locked).await,
                None => Ok(None),
            }
        }
        .boxed()
    }

    fn lock(&self) -> BoxFuture<'_, Result<StoreLock, StoreError>> {
        async {
            let own = self.database.key().await?;
            let busy = || StoreError::Busy(format!("{}: this agent's own refresh of the connection takes longer than {:?}. The agent tries again.", self.place(), self.lock_timeout));
            let local = tokio::time::timeout(self.lock_timeout, Arc::clone(&self.local).lock_owned())
                .await
                .map_err(|_| busy())?;
            let (mut lease, lapse) = Lease::take(
                Arc::clone(&self.database),
                self.connection.clone(),
                local,
                self.lock_timeout,
                &self.clock,
            )
            .await?;
            // Before the token request: an agent that cannot seal what it gets must not ask for it.
            lease.sealing = Some(self.database.group_key(&own).await?);
            Ok(StoreLock::lapsing(lease, lapse))
        }
        .boxed()
    }

    fn commit<'a>(
        &'a self,
        lock: &'a StoreLock,
        expected: TokenGeneration,
        next: &'a Stored,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.write(lock, expected, next).boxed()
    }

    fn retire<'a>(&'a self, lock: &'a StoreLock) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let owner = lock.guard::<Lease>().map(|lease| lease.owner.clone()).unwrap_or_default();
            let ([group, connection], [channel, mark]) = (self.row_key(), self.notice());
            let parameters = [group, connection, (&owner as _, Type::TEXT), channel, mark];
            self.database.query(RETIRE, &parameters).await.map(|_| ())
        }
        .boxed()
    }

    fn version(&self) -> BoxFuture<'_, Result<Option<StoreVersion>, StoreError>> {
        self.look().boxed()
    }

    fn place(&self) -> String {
        format!(
            "{}, group '{}', connection '{}'",
            self.database.place(),
            self.database.group,
            self.connection
        )
    }

    fn signal(&self) -> watch::Sender<u64> {
        self.signal.clone()
    }
}

fn generation_of(row: &Row) -> TokenGeneration {
    row.try_get::<_, i64>(0).ok().and_then(|number| u64::try_from(number).ok()).unwrap_or(0)
}

fn text_of(row: &Row) -> Option<String> {
    row.try_get(2).ok()
}

fn as_number(generation: TokenGeneration) -> i64 {
    i64::try_from(generation).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
