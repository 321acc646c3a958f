//! Real proxies from Debian, each a process of its own on a free port of loopback, stopped when dropped.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::PATIENCE;

pub(crate) const USER: &str = "agent";
/// Characters that a header, an address and a configuration line treat in different ways.
pub(crate) const PASSWORD: &str = "pr0xy%41pw";

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

    /// A SOCKS5 server that wants [`USER`] and [`PASSWORD`].
    pub(crate) fn microsocks() -> Self {
        Self::start("microsocks", |port, _, _| {
            ["-i", "127.0.0.1", "-p", &port.to_string(), "-u", USER, "-P", PASSWORD].map(str::to_owned).to_vec()
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
