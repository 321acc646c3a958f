//! A group's change of key, while its agents run. First the group says which key it seals with; then every row is visited
//! under its lease, opened with whichever of the two keys it has, and sealed with the new one. Makes no key.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::types::Type;

use crate::clock::Clock;

use super::super::StoreError;
use super::super::envelope::{self, OpenError};
use super::super::key::StoreKey;
use super::database::{Database, Parameter};
use super::lease::Lease;
use super::listen::{self, CHANNEL};
use super::{LOAD, generation_of, text_of};

const SWITCH: &str = "UPDATE o365_agent_groups SET key_id = $3 WHERE group_name = $1 AND key_id IN ($2, $3)
    RETURNING key_id";
const ROWS: &str = "SELECT connection FROM o365_agent_tokens WHERE group_name = $1 AND contents IS NOT NULL
    ORDER BY connection";
/// The contents before are dropped with it: they are under the key that is to go out of use.
const RESEAL: &str = "WITH done AS (
        UPDATE o365_agent_tokens
        SET contents = $4, previous = NULL, changes = changes + 1, updated_at = clock_timestamp(),
            owner = NULL, lease_until = NULL
        WHERE group_name = $1 AND connection = $2 AND owner = $3 AND lease_until > clock_timestamp()
        RETURNING 1)
    SELECT pg_notify($5, $6) FROM done";

/// Puts all rows under `new`; a line a row. May be repeated after it was cut short: rows that are done are left alone.
pub(in crate::token::store) async fn group(
    database: &Arc<Database>,
    old: &StoreKey,
    new: &Arc<StoreKey>,
    bound: Duration,
    clock: &Clock,
) -> Result<Vec<String>, StoreError> {
    database.key().await?;
    let keys: [Parameter<'_>; 3] =
        [(&database.group, Type::TEXT), (&old.id, Type::TEXT), (&new.id, Type::TEXT)];
    if database.query(SWITCH, &keys).await?.is_empty() {
        database.group_key(old).await?;
        return Err(StoreError::Refused(format!(
            "{}: the group '{}' seals with another key than this agent. Put that key in this agent's place first.",
            database.place(),
            database.group
        )));
    }
    let mut lines = Vec::new();
    for row in database.query(ROWS, &keys[..1]).await? {
        let connection: String = row.try_get(0).unwrap_or_default();
        let changed = reseal(database, &connection, old, new, bound, clock).await?;
        let what = if changed { "encrypted anew" } else { "was done already" };
        lines.push(format!("{}, connection '{connection}': {what}", database.place()));
    }
    Ok(lines)
}

async fn reseal(
    database: &Arc<Database>,
    connection: &str,
    old: &StoreKey,
    new: &StoreKey,
    bound: Duration,
    clock: &Clock,
) -> Result<bool, StoreError> {
    let refused =
        |why: &str| StoreError::Refused(format!("{}, connection '{connection}': {why}", database.place()));
    // The command has no other task that could want this row.
    let local = Arc::<tokio::sync::Mutex<()>>::default().lock_owned().await;
    let (lease, _) = Lease::take(Arc::clone(database), connection.to_owned(), local, bound, clock).await?;
    let place: [Parameter<'_>; 2] = [(&database.group, Type::TEXT), (&connection, Type::TEXT)];
    let row = database.query(LOAD, &place).await?.pop();
    let Some((generation, contents)) = row.as_ref().and_then(|row| Some((generation_of(row), text_of(row)?)))
    else {
        return Ok(false);
    };
    if envelope::open(contents.as_bytes(), connection, new).is_ok() {
        return Ok(false);
    }
    let stored = match envelope::open(contents.as_bytes(), connection, old) {
        Ok(stored) if stored.generation == generation => stored,
        Ok(_) => return Err(refused("the row was put back to an earlier state in part.")),
        Err(OpenError::Key(id)) => {
            return Err(refused(&format!(
                "encrypted with key {id}, which is neither the old key {} nor the new one {}.",
                old.id, new.id
            )));
        }
        Err(other) => return Err(refused(&format!("the row cannot be opened ({other:?})."))),
    };
    let sealed = envelope::seal(&stored, connection, new).map_err(refused)?;
    let sealed = String::from_utf8(sealed).unwrap_or_default();
    let [group, name] = place;
    let mark = listen::mark(&database.group, connection);
    let parameters = [
        group,
        name,
        (&lease.owner, Type::TEXT),
        (&sealed, Type::TEXT),
        (&CHANNEL, Type::TEXT),
        (&mark, Type::TEXT),
    ];
    if database.query(RESEAL, &parameters).await?.is_empty() {
        return Err(StoreError::Busy(
            refused("another agent took the row meanwhile. Repeat the command.").to_string(),
        ));
    }
    lease.ended();
    Ok(true)
}
