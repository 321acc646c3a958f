//! Hearing of other agents' commits: LISTEN on a connection of its own, tried out before it is trusted, because a pooler
//! in transaction mode takes the command and delivers nothing. Where it does not work, tasks look for themselves.
//! Also the one place that notices the database going away and coming back, and wakes everybody for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, Connection, Socket};

use crate::secret;

use super::super::StoreError;
use super::database::{Database, next_message};
use super::tls::Stream;

/// The one channel of all groups and connections.
pub(super) const CHANNEL: &str = "o365_agent_tokens";
/// How often a database that is away is tried again: everybody is to go on within 5 s of its return.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How often a database without notifications is asked whether it is there.
const PROBE: Duration = Duration::from_secs(2);
/// How long our own notification may take to come back before notifications count as not working.
const ECHO: Duration = Duration::from_secs(3);
/// How often a connection that only listens is asked for a sign of life: a firewall may forget it silently.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// What is heard.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Whether each commit of others is heard of, so that an unchanged count means "nothing has changed".
    listening: AtomicBool,
    /// Grows whenever something may have been missed.
    epoch: AtomicU64,
    /// One signal per connection, by the mark in the notifications.
    signals: Mutex<HashMap<String, watch::Sender<u64>>>,
}

impl Events {
    pub(super) fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Acquire)
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The signal of one connection; all stores of that connection share it.
    pub(super) fn signal(&self, mark: &str) -> watch::Sender<u64> {
        let mut signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        signals.entry(mark.to_owned()).or_insert_with(|| watch::Sender::new(0)).clone()
    }

    fn heard(&self, mark: &str) {
        let signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signal) = signals.get(mark) {
            signal.send_modify(|count| *count += 1);
        }
    }

    fn wake_all(&self, listening: bool) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.listening.store(listening, Ordering::Release);
        let signals = self.signals.lock().unwrap_or_else(PoisonError::into_inner);
        for signal in signals.values() {
            signal.send_modify(|count| *count += 1);
        }
    }
}

/// What a notification says: group and connection, by fingerprint, because anybody on the database may listen.
pub(super) fn mark(group: &str, connection: &str) -> String {
    secret::fingerprint(format!("{group}\0{connection}").as_bytes())
}

/// Listens until the database is closed.
pub(super) async fn run(database: Arc<Database>) {
    let stop = database.stop.clone();
    tokio::select! {
        () = stop.cancelled() => {}
        () = listen(&database) => {}
    }
}

async fn listen(database: &Database) {
    let mut away = false;
    let mut told_polling = false;
    loop {
        let address = database.settings.listen_connection.as_ref().unwrap_or(&database.settings.connection);
        let problem = match database.connect(address).await {
            Ok((client, mut connection)) => match is_heard(database, &client, &mut connection).await {
                Ok(true) => {
                    if std::mem::take(&mut away) {
                        tracing::info!(place = %database.place(), "The group's token store is back.");
                    }
                    told_polling = false;
                    tracing::info!(place = %database.place(), "Listening for tokens of the other agents of the group.");
                    database.events.wake_all(true);
                    follow(database, &client, &mut connection).await
                }
                Ok(false) => {
                    drop((client, connection));
                    if std::mem::take(&mut away) {
                        tracing::info!(place = %database.place(), "The group's token store is back.");
                    }
                    if !std::mem::replace(&mut told_polling, true) {
                        tracing::info!(place = %database.place(), "Notifications do not come through (a pooler in transaction mode?). The agent looks every 37 s and before each refresh; set [TokenStore] ListenConnection to the database's own address to hear of new tokens at once.");
                    }
                    database.events.wake_all(false);
                    probe(database).await
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        if !std::mem::replace(&mut away, true) {
            tracing::error!(%problem, "The group's token store is away. Valid tokens stay in use.");
            database.events.wake_all(false);
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
}

/// Listens, and sends a notification by the pool's way to see whether it comes back.
async fn is_heard(
    database: &Database,
    client: &Client,
    connection: &mut Connection<Socket, Stream>,
) -> Result<bool, StoreError> {
    let nonce = secret::random_hex(8);
    let ask = async {
        client.batch_execute(&format!("LISTEN {CHANNEL}")).await.map_err(|error| database.failed(&error))?;
        database
            .query("SELECT pg_notify($1, $2)", &[(&CHANNEL, Type::TEXT), (&nonce, Type::TEXT)])
            .await
            .map(|_| ())
    };
    let echo = async {
        loop {
            match next_message(connection).await {
                Some(Ok(AsyncMessage::Notification(heard))) if heard.payload() == nonce => return true,
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return false,
            }
        }
    };
    tokio::pin!(ask, echo);
    let mut asked = false;
    let both = async {
        loop {
            tokio::select! {
                heard = &mut echo => return Ok(heard),
                done = &mut ask, if !asked => { done?; asked = true; }
            }
        }
    };
    match tokio::time::timeout(ECHO, both).await {
        Ok(result) => result,
        // The statements went through, only the echo did not come: a pooler.
        Err(_) => database.query("SELECT 1", &[]).await.map(|_| false),
    }
}

/// Hands notifications on until the connection ends; answers why it did.
async fn follow(
    database: &Database,
    client: &Client,
    connection: &mut Connection<Socket, Stream>,
) -> StoreError {
    loop {
        let sign_of_life = async {
            tokio::time::sleep(SIGN_OF_LIFE).await;
            tokio::time::timeout(ECHO, client.batch_execute("")).await
        };
        tokio::pin!(sign_of_life);
        loop {
            tokio::select! {
                message = next_message(connection) => match message {
                    Some(Ok(AsyncMessage::Notification(heard))) => database.events.heard(heard.payload()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return database.failed(&error),
                    None => return database.away("the connection has ended"),
                },
                answer = &mut sign_of_life => match answer {
                    Ok(Ok(())) => break,
                    Ok(Err(error)) => return database.failed(&error),
                    Err(_) => return database.away("it does not answer"),
                },
            }
        }
    }
}

/// Without notifications: asks until there is no answer.
async fn probe(database: &Database) -> StoreError {
    loop {
        tokio::time::sleep(PROBE).await;
        if let Err(error @ StoreError::Failed { .. }) = database.query("SELECT 1", &[]).await {
            return error;
        }
    }
}
