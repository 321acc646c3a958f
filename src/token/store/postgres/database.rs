//! The group's database: a small pool, one way to run a statement with bounds on both sides, the schema and the group's
//! key checked before anything else. Keeps no session state, so that a pooler in transaction mode may stand between.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, Row, Socket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::secret;
use crate::settings::{DatabaseTls, Postgresql};

use super::super::key::{KeyRing, StoreKey};
use super::super::{StoreError, off_thread};
use super::listen::{self, Events};
use super::schema::{self, SchemaError};
use super::tls::{Connector, Stream};

/// Bound on making one connection, TLS and password exchange included.
const CONNECT: Duration = Duration::from_secs(4);
/// Bound on one statement, as the database keeps it (`SET LOCAL` below), and
const STATEMENT: &str = "BEGIN; SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '5s'";
/// as we keep it, for a database that says nothing any more.
const ANSWER: Duration = Duration::from_secs(8);
/// Bound on waiting for a free connection of the pool.
const FREE_CONNECTION: Duration = Duration::from_secs(15);

/// A parameter and its type: with the types given, a statement needs neither a name nor a question beforehand.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// One group's database.
#[derive(Debug)]
pub(in crate::token) struct Database {
    pub(super) settings: Postgresql,
    pub(super) group: String,
    /// Tells this process's leases from all others, also from those of its predecessor on this host.
    pub(super) process: String,
    pub(super) events: Events,
    /// Owns connections and the listener.
    pub(super) tasks: TaskTracker,
    /// Owns the giving back of leases, which needs the connections.
    pub(super) releases: TaskTracker,
    pub(super) stop: CancellationToken,
    keys: Arc<KeyRing>,
    connector: tokio::sync::OnceCell<Connector>,
    idle: Mutex<Vec<Client>>,
    slots: Semaphore,
    ready: tokio::sync::OnceCell<Arc<StoreKey>>,
}

impl Database {
    /// Connects nowhere yet.
    pub(in crate::token) fn new(settings: Postgresql, group: String, keys: Arc<KeyRing>) -> Self {
        Self {
            slots: Semaphore::new(settings.pool_size),
            settings,
            group,
            process: secret::random_hex(8),
            events: Events::default(),
            tasks: TaskTracker::new(),
            releases: TaskTracker::new(),
            stop: CancellationToken::new(),
            keys,
            connector: tokio::sync::OnceCell::new(),
            idle: Mutex::default(),
            ready: tokio::sync::OnceCell::new(),
        }
    }

    /// Begins to listen for what other agents commit. Call it once, inside the async runtime.
    pub(in crate::token) fn listen(self: &Arc<Self>) {
        self.tasks.spawn(listen::run(Arc::clone(self)));
    }

    /// Lets lease releases finish and closes the connections.
    pub(in crate::token) async fn close(&self) {
        // First, while there are connections: each is one statement, with its bounds.
        self.releases.close();
        self.releases.wait().await;
        self.stop.cancel();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.slots.close();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// The place in words.
    pub(super) fn place(&self) -> String {
        format!("PostgreSQL at {}", servers(&self.settings.connection))
    }

    /// The key, once the schema is there and the group is known to use this very key.
    pub(super) async fn key(&self) -> Result<Arc<StoreKey>, StoreError> {
        self.ready.get_or_try_init(|| self.prepare()).await.cloned()
    }

    async fn prepare(&self) -> Result<Arc<StoreKey>, StoreError> {
        let keys = Arc::clone(&self.keys);
        let key = off_thread(move || keys.key()).await?;
        {
            let (_slot, client) = self.client().await?;
            match tokio::time::timeout(Duration::from_secs(40), schema::ensure(&client)).await {
                Ok(Ok(())) => self.put_back(client),
                Ok(Err(SchemaError::Newer(version))) => {
                    return Err(StoreError::Refused(format!(
                        "{}: the tables were made by a newer agent (version {version}). Update this agent.",
                        self.place()
                    )));
                }
                Ok(Err(SchemaError::Database(error))) => return Err(self.failed(&error)),
                Err(_) => return Err(self.silent()),
            }
        }
        // The first agent of the group writes down which key it uses; all others compare.
        let parameters: [Parameter<'_>; 2] = [(&self.group, Type::TEXT), (&key.id, Type::TEXT)];
        self.query(
            "INSERT INTO o365_agent_groups (group_name, key_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            &parameters,
        )
        .await?;
        self.group_key(&key).await?;
        Ok(key)
    }

    /// The key that the group seals with now, which need not be `own` while the group changes its key.
    pub(super) async fn group_key(&self, own: &StoreKey) -> Result<Arc<StoreKey>, StoreError> {
        let group: [Parameter<'_>; 1] = [(&self.group, Type::TEXT)];
        let rows = self.query("SELECT key_id FROM o365_agent_groups WHERE group_name = $1", &group).await?;
        let expected: String = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or_default();
        self.key_named(&expected).await?.ok_or_else(|| self.wrong_key(&expected, own))
    }

    /// The key with that id, if this agent has it.
    pub(super) async fn key_named(&self, id: &str) -> Result<Option<Arc<StoreKey>>, StoreError> {
        let (keys, id) = (Arc::clone(&self.keys), id.to_owned());
        off_thread(move || keys.named(&id)).await
    }

    pub(super) fn wrong_key(&self, expected: &str, key: &StoreKey) -> StoreError {
        StoreError::Refused(format!(
            "{}: the agents of group '{}' use the key {expected}, but the key in {} is {}. Give this agent the key of the others (the same file for [TokenStore] KeyFile, or the same credential token-key; while the group changes its key, the new one beside it as token-key.new).",
            self.place(),
            self.group,
            key.origin.display(),
            key.id
        ))
    }

    /// Runs one statement in a transaction of its own. All three parts travel together, so that the bounds cost no
    /// round trip. A connection that had died while idle is replaced once; whoever writes must bear a repetition.
    pub(super) async fn query(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        for last in [false, true] {
            let (_slot, client) = self.client().await?;
            let work = async {
                tokio::join!(
                    client.batch_execute(STATEMENT),
                    client.query_typed(sql, parameters),
                    client.batch_execute("COMMIT")
                )
            };
            let Ok((began, rows, ended)) = tokio::time::timeout(ANSWER, work).await else {
                return Err(self.silent());
            };
            let result = began.and(rows).and_then(|rows| ended.map(|()| rows));
            match result {
                Ok(rows) => {
                    self.put_back(client);
                    return Ok(rows);
                }
                Err(error) => {
                    let lost = client.is_closed() || error.is_closed();
                    if !lost {
                        self.put_back(client);
                    }
                    if last || !lost {
                        return Err(self.failed(&error));
                    }
                }
            }
        }
        Err(self.silent())
    }

    async fn client(&self) -> Result<(SemaphorePermit<'_>, Client), StoreError> {
        let Ok(Ok(slot)) = tokio::time::timeout(FREE_CONNECTION, self.slots.acquire()).await else {
            return Err(StoreError::Busy(format!(
                "{}: all {} connections are in use. The agent tries again; raise [TokenStore] PoolSize if this happens often.",
                self.place(),
                self.settings.pool_size
            )));
        };
        let idle = {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain(|client| !client.is_closed());
            idle.pop()
        };
        if let Some(client) = idle {
            return Ok((slot, client));
        }
        let (client, connection) = self.connect(&self.settings.connection).await?;
        // Ends when the client is dropped or the server closes.
        self.tasks.spawn(async move {
            let _told_to_whoever_waits = connection.await;
        });
        Ok((slot, client))
    }

    fn put_back(&self, client: Client) {
        if !client.is_closed() && !self.stop.is_cancelled() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        }
    }

    /// A new connection to `address`, within [`CONNECT`].
    pub(super) async fn connect(
        &self,
        address: &str,
    ) -> Result<(Client, Connection<Socket, Stream>), StoreError> {
        let refused = |why: &str| StoreError::Failed {
            message: format!("{}: {why}", self.place()),
            nobody_can_write: false,
        };
        let mut config: Config = address.parse().map_err(|_| refused("the address is not understood."))?;
        let unix_only = config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_)));
        config.ssl_mode(match self.settings.tls {
            // A unix socket has no TLS and needs none: it does not leave the host.
            _ if unix_only => SslMode::Disable,
            DatabaseTls::Disable => SslMode::Disable,
            DatabaseTls::Require | DatabaseTls::VerifyFull => SslMode::Require,
        });
        if let Some(password) = &self.settings.password {
            config.password(password.expose());
        }
        if config.get_application_name().is_none() {
            config.application_name("o365-agent");
        }
        config.connect_timeout(CONNECT);
        let connector = self
            .connector
            .get_or_try_init(|| {
                let settings = self.settings.clone();
                off_thread(move || {
                    Connector::new(&settings)
                        .map_err(|message| StoreError::Failed { message, nobody_can_write: false })
                })
            })
            .await?
            .clone();
        match tokio::time::timeout(CONNECT, config.connect(connector)).await {
            Ok(Ok(pair)) => Ok(pair),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    /// The database's refusal or absence as a failure that passes. A refused password is one as well: taking the tokens
    /// in use from their callers would help nobody.
    pub(super) fn failed(&self, error: &Error) -> StoreError {
        let why = match error.as_db_error() {
            // The message alone: details and hints of the server can quote values.
            Some(database) => format!("{} ({})", database.message(), database.code().code()),
            None => crate::error::chain(error),
        };
        self.away(&why)
    }

    fn silent(&self) -> StoreError {
        self.away("it does not answer")
    }

    pub(super) fn away(&self, why: &str) -> StoreError {
        StoreError::Failed {
            message: format!(
                "{}: {why}. Tokens that are valid stay in use; the agent goes on as soon as the database is back.",
                self.place()
            ),
            // Whether siblings can still write is not known; the operator says whether the provider would mind.
            nobody_can_write: self.settings.refresh_without_store,
        }
    }
}

/// The servers named in an address, and nothing else of it.
fn servers(address: &str) -> String {
    let Ok(config) = address.parse::<Config>() else { return "an unknown address".to_owned() };
    let ports = config.get_ports();
    let named = config.get_hosts().iter().enumerate().map(|(index, host)| {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(folder) => format!("{}:{port}", folder.display()),
        }
    });
    named.collect::<Vec<_>>().join(", ")
}

/// What a dedicated connection says next; `None` when it has ended.
pub(super) async fn next_message(
    connection: &mut Connection<Socket, Stream>,
) -> Option<Result<AsyncMessage, Error>> {
    std::future::poll_fn(|context| connection.poll_message(context)).await
}
