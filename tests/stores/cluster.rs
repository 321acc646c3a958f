//! A PostgreSQL cluster of the test's own: made by initdb in a short temporary folder, run as an unprivileged user on a
//! free port and a unix socket, ended by its process id. And a PgBouncer in front of it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `nobody`: PostgreSQL and PgBouncer refuse to run as root.
const UNPRIVILEGED: u32 = 65534;
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    server: Option<Child>,
    pub(crate) port: u16,
}

impl Cluster {
    /// `extra`: further lines of `postgresql.conf`; `host_rule`: the line of `pg_hba.conf` for TCP.
    pub(crate) fn start_with(extra: &str, host_rule: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        own(folder.path());
        let data = folder.path().join("data");
        let made = as_nobody(&tool("initdb"))
            .args(["-U", "agent", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        prepare(&data);
        let port = free_port();
        let settings = format!(
            "listen_addresses='127.0.0.1'\nport={port}\nunix_socket_directories='{}'\nfsync=off\nmax_connections=60\nlog_statement=all\n{extra}\n",
            folder.path().display()
        );
        std::fs::write(data.join("postgresql.auto.conf"), settings).unwrap();
        std::fs::write(data.join("pg_hba.conf"), format!("local all all trust\n{host_rule}\n")).unwrap();
        own(&data);
        let mut cluster = Self { folder, server: None, port };
        cluster.resume();
        cluster.sql_in("postgres", "CREATE DATABASE tokens");
        cluster
    }

    pub(crate) fn start() -> Self {
        Self::start_with("", "host all all 127.0.0.1/32 trust", |_| {})
    }

    /// Starts the server (again) and waits until it answers.
    pub(crate) fn resume(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let server = as_nobody(&tool("postgres"))
            .arg("-D")
            .arg(self.folder.path().join("data"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.server = Some(server);
        let began = Instant::now();
        while !self.psql("postgres", "SELECT 1").0 {
            assert!(began.elapsed() < PATIENCE, "PostgreSQL did not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Stops the server at once (SIGINT: fast shutdown).
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let _ended = Command::new("kill").args(["-INT", &server.id().to_string()]).status();
            let _ended = server.wait();
        }
    }

    /// Everything the server has logged, statements included.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("log")).unwrap_or_default())
            .into_owned()
    }

    pub(crate) fn address(&self) -> String {
        format!("postgresql://agent@127.0.0.1:{}/tokens", self.port)
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// The answer of one statement in the tokens database, columns parted by `|`.
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.sql_in("tokens", statement)
    }

    fn sql_in(&self, database: &str, statement: &str) -> String {
        let (done, text) = self.psql(database, statement);
        assert!(done, "{statement}: {text}");
        text
    }

    fn psql(&self, database: &str, statement: &str) -> (bool, String) {
        let output = Command::new("psql")
            .args([
                "-X",
                "-A",
                "-t",
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "agent",
                "-p",
                &self.port.to_string(),
                "-h",
            ])
            .arg(self.folder.path())
            .args(["-d", database, "-c", statement])
            .output()
            .unwrap();
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.success(), String::from_utf8_lossy(&text).trim().to_owned())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A pooler in transaction mode before a cluster.
#[derive(Debug)]
pub(crate) struct Bouncer {
    server: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
}

impl Bouncer {
    pub(crate) fn start(cluster: &Cluster) -> Self {
        let folder = tempfile::Builder::new().prefix("pgb").tempdir().unwrap();
        let port = free_port();
        let settings = format!(
            "[databases]\ntokens = host=127.0.0.1 port={} dbname=tokens user=agent\n[pgbouncer]\nlisten_addr=127.0.0.1\nlisten_port={port}\nunix_socket_dir=\nauth_type=any\npool_mode=transaction\ndefault_pool_size=2\nmax_client_conn=100\nlogfile={}\n",
            cluster.port,
            folder.path().join("log").display()
        );
        let path = folder.path().join("pgbouncer.ini");
        std::fs::write(&path, settings).unwrap();
        own(folder.path());
        let server = as_nobody(&tool("pgbouncer"))
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bouncer = Self { server, port, _folder: folder };
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "PgBouncer did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        bouncer
    }

    pub(crate) fn address(&self) -> String {
        format!("postgresql://agent@127.0.0.1:{}/tokens", self.port)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _already_dead = self.server.kill();
        let _already_waited = self.server.wait();
    }
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
    }
    command.stdin(Stdio::null()).current_dir("/");
    command
}

fn own(path: &Path) {
    if is_root() {
        let done =
            Command::new("chown").arg("-R").arg(format!("{UNPRIVILEGED}:{UNPRIVILEGED}")).arg(path).status();
        assert!(done.unwrap().success());
    }
}

/// Debian keeps the server's programs out of the path, one folder per version.
fn tool(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let beside = versions.map(|version| version.path().join("bin").join(name)).find(|path| path.exists());
    beside.unwrap_or_else(|| {
        ["/usr/sbin", "/usr/bin"]
            .iter()
            .map(|folder| Path::new(folder).join(name))
            .find(|path| path.exists())
            .unwrap_or_else(|| name.into())
    })
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
