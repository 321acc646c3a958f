//! The tables of a group store: made and migrated by whichever agent comes first. Agents that start together queue on
//! one row of the version table; no advisory lock is taken, because such a lock outlives its owner behind a pooler.

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error};

/// What each version adds to the one before it.
const MIGRATIONS: [&str; 2] = [
    "CREATE TABLE o365_agent_tokens (
         group_name text NOT NULL,
         connection text NOT NULL,
         generation bigint NOT NULL DEFAULT 0,
         contents text,
         owner text,
         lease_until timestamptz,
         updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
         PRIMARY KEY (group_name, connection)
     );",
    // `changes` tells two contents of one generation apart (a recorded refusal keeps the generation); `previous` is what
    // a person goes back to; one key per group, so that two agents cannot take turns locking each other out.
    "ALTER TABLE o365_agent_tokens ADD COLUMN changes bigint NOT NULL DEFAULT 0;
     ALTER TABLE o365_agent_tokens ADD COLUMN previous text;
     CREATE TABLE o365_agent_groups (group_name text PRIMARY KEY, key_id text NOT NULL);
     CREATE TABLE o365_agent_set_aside (
         group_name text NOT NULL,
         connection text NOT NULL,
         contents text NOT NULL,
         reason text NOT NULL,
         at timestamptz NOT NULL DEFAULT clock_timestamp()
     );",
];

/// One more than can happen: each try loses to another agent that is making the very table.
const TRIES: usize = 20;

/// Why the schema cannot be used.
#[derive(Debug)]
pub(super) enum SchemaError {
    /// Made by a newer agent.
    Newer(i32),
    /// The database refused or went away.
    Database(Error),
}

impl From<Error> for SchemaError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// Brings the schema to this agent's version.
pub(super) async fn ensure(client: &Client) -> Result<(), SchemaError> {
    let newest = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    // Read first: an agent whose role may not make tables works where somebody else has made them.
    let mut version = version(client, "").await;
    for _ in 0..TRIES {
        match version {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {}
            other => {
                version = other;
                break;
            }
        }
        match make_version_table(client).await {
            // Two agents were at it: `IF NOT EXISTS` does not keep them from colliding in the catalogue.
            Err(error) if is_collision(&error) => {}
            other => other?,
        }
        version = self::version(client, "").await;
    }
    match version? {
        version if version > newest => return Err(SchemaError::Newer(version)),
        version if version == newest => return Ok(()),
        _ => {}
    }
    let migrated = migrate(client, newest).await;
    if migrated.is_err() {
        client.batch_execute("ROLLBACK").await?;
    }
    migrated
}

async fn migrate(client: &Client, newest: i32) -> Result<(), SchemaError> {
    client
        .batch_execute("BEGIN; SET LOCAL lock_timeout = '20s'; SET LOCAL statement_timeout = '30s'")
        .await?;
    let found = version(client, " FOR UPDATE").await?;
    if found > newest {
        client.batch_execute("ROLLBACK").await?;
        return Err(SchemaError::Newer(found));
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        client.batch_execute(step).await?;
    }
    client.batch_execute(&format!("UPDATE o365_agent_schema SET version = {newest}; COMMIT")).await?;
    if found < newest {
        tracing::info!(from = found, to = newest, "Brought the token tables in PostgreSQL up to date.");
    }
    Ok(())
}

async fn make_version_table(client: &Client) -> Result<(), Error> {
    client
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS o365_agent_schema (one boolean PRIMARY KEY DEFAULT true CHECK (one), version integer NOT NULL);
             INSERT INTO o365_agent_schema (version) VALUES (0) ON CONFLICT DO NOTHING",
        )
        .await
}

fn is_collision(error: &Error) -> bool {
    [SqlState::UNIQUE_VIOLATION, SqlState::DUPLICATE_TABLE, SqlState::DUPLICATE_OBJECT]
        .iter()
        .any(|state| error.code() == Some(state))
}

async fn version(client: &Client, locked: &str) -> Result<i32, Error> {
    let rows = client.query_typed(&format!("SELECT version FROM o365_agent_schema{locked}"), &[]).await?;
    rows.first().map_or(Ok(0), |row| row.try_get(0))
}
