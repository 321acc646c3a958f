//! Real proxies from Debian, each a process of its own on a free port of loopback, stopped when dropped.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::PATIENCE;

pub(crate) const USER: &str = "agent";
pub(crate) const PASSWORD: &str = "pr0xypw";
/// Characters that have a meaning in an address; tinyproxy takes none of them.
pub(crate) const SOCKS_PASSWORD: &str = "s%41:c@k/s";

#[derive(Debug)]
pub(crate) struct ProxyServer {
    child: Child,
    pub(crate) port: u16,
    log: PathBuf,
    _folder: tempfile::TempDir,
}

impl ProxyServer {
    /// An HTTP proxy that wants [`USER`] and [`PASSWORD`]; `more` is added to its configuration.
    pub(crate) fn tinyproxy(more: &str) -> Self {
        Self::start("tinyproxy", |port, folder, log| {
            let conf = folder.join("tinyproxy.conf");
            let text = format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 100\nLogFile \"{}\"\nLogLevel Info\nBasicAuth {USER} {PASSWORD}\n{more}\n",
                log.display()
            );
            std::fs::write(&conf, text).unwrap();
            vec!["-d".to_owned(), "-c".to_owned(), conf.display().to_string()]
        })
    }

    /// The other common HTTP proxy, which answers 407 to wrong credentials too (tinyproxy says 401).
    pub(crate) fn squid() -> Self {
        Self::start("/usr/sbin/squid", |port, folder, log| {
            let (conf, users) = (folder.join("squid.conf"), folder.join("users"));
            // As root, squid changes to a user of its own, which has to write here.
            std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
            let hash = Command::new("openssl").args(["passwd", "-apr1", PASSWORD]).output().unwrap().stdout;
            std::fs::write(&users, format!("{USER}:{}", String::from_utf8(hash).unwrap())).unwrap();
            let text = format!(
                "http_port 127.0.0.1:{port}\nauth_param basic program /usr/lib/squid/basic_ncsa_auth {}\n\
                 auth_param basic children 2 startup=1 idle=1\nacl known proxy_auth REQUIRED\n\
                 http_access allow known\nhttp_access deny all\naccess_log stdio:{}\ncache_log {}\ncache deny all\n\
                 pid_filename none\npinger_enable off\nmax_filedescriptors 1024\ncoredump_dir {}\n",
                users.display(),
                log.display(),
                folder.join("cache.log").display(),
                folder.display()
            );
            std::fs::write(&conf, text).unwrap();
            vec!["-N".to_owned(), "-f".to_owned(), conf.display().to_string()]
        })
    }

    /// A SOCKS5 server that wants [`USER`] and [`SOCKS_PASSWORD`].
    pub(crate) fn microsocks() -> Self {
        Self::start("microsocks", |port, _, _| {
            ["-i", "127.0.0.1", "-p", &port.to_string(), "-u", USER, "-P", SOCKS_PASSWORD]
                .map(str::to_owned)
                .to_vec()
        })
    }

    fn start(
        program: &str,
        arguments: impl Fn(u16, &std::path::Path, &std::path::Path) -> Vec<String>,
    ) -> Self {
        // Another process may take the free port before the server does: then the server ends at once.
        for _ in 0..5 {
            let folder = tempfile::Builder::new().prefix("o365-agent-proxy").tempdir().unwrap();
            let log = folder.path().join("log");
            let port = free_port();
            let output = std::fs::File::create(folder.path().join("output")).unwrap();
            let child = Command::new(program)
                .args(arguments(port, folder.path(), &log))
                .stdin(Stdio::null())
                .stdout(output.try_clone().unwrap())
                .stderr(output)
                .spawn()
                .unwrap_or_else(|error| panic!("{program}: {error}; tests/run.sh installs it"));
            let mut server = Self { child, port, log, _folder: folder };
            if server.listens() {
                return server;
            }
        }
        panic!("{program} did not start");
    }

    fn listens(&mut self) -> bool {
        let began = Instant::now();
        while self.child.try_wait().unwrap().is_none() && began.elapsed() < PATIENCE {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        false
    }

    /// Everything it has written.
    pub(crate) fn log(&self) -> String {
        let output = self.log.with_file_name("output");
        [&self.log, &output]
            .into_iter()
            .map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned())
            .collect()
    }

    /// How many lines of its log hold `words`.
    pub(crate) fn count(&self, words: &str) -> usize {
        self.log().lines().filter(|line| line.contains(words)).count()
    }
}

impl Drop for ProxyServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the proxy's log\n{}", self.log());
        }
        let _already_dead = self.child.kill();
        let _already_waited = self.child.wait();
    }
}

/// A port that nothing listens on at this moment.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `HOST:PORT` of an address.
pub(crate) fn authority_of(address: &str) -> &str {
    address.split("://").nth(1).unwrap().split('/').next().unwrap()
}
