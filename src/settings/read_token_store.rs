//! `[TokenStore]`: where tokens are kept, and the database of an agent group. A password never stands in the connection
//! text, because that text is shown in messages. Connects nowhere.

use tokio_postgres::config::{Host as Server, SslMode};

use super::super::{Backend, DatabaseTls, Host, Postgresql, TokenStore};
use super::Reader;

const SECTION: &str = "TokenStore";

impl Reader<'_> {
    pub(super) fn token_store(&mut self, host: &dyn Host) -> TokenStore {
        let backend = self.backend();
        let group = self.text(SECTION, "Group");
        if group.as_ref().is_some_and(|group| group.chars().count() > 100 || group.contains(char::is_control))
        {
            self.fault(
                SECTION,
                "Group",
                "The name is too long or has control characters. Use at most 100 plain characters.",
            );
        }
        let postgresql = self.postgresql(host);
        if backend == Backend::Postgresql {
            if postgresql.is_none() {
                self.fault(SECTION, "Connection", "Backend=postgresql needs a database. Write for example Connection=postgresql://agent@db.example/tokens.");
            }
            if group.is_none() {
                self.fault(SECTION, "Group", "Backend=postgresql needs the name of the agent group. Write the same Group on all its agents.");
            }
        }
        TokenStore {
            key_file: self.path(SECTION, "KeyFile"),
            lock_timeout: self.seconds(SECTION, "LockTimeoutSeconds", 1..=600),
            backend,
            group,
            postgresql,
        }
    }

    fn backend(&mut self) -> Backend {
        match self.merged.text(SECTION, "Backend").to_ascii_lowercase().as_str() {
            "file" => Backend::File,
            "postgresql" => Backend::Postgresql,
            other => {
                self.fault(
                    SECTION,
                    "Backend",
                    format!("'{}' is not one of file, postgresql.", other.escape_debug()),
                );
                Backend::File
            }
        }
    }

    fn postgresql(&mut self, host: &dyn Host) -> Option<Postgresql> {
        let password = self.password(SECTION, host);
        let tls = self.tls();
        let root_certificate = self.path(SECTION, "TlsRootCertificate");
        if root_certificate.is_some() && tls != DatabaseTls::VerifyFull {
            self.fault(
                SECTION,
                "TlsRootCertificate",
                "It is used with Tls=verify-full only. Set that, or remove this key.",
            );
        }
        let pool_size = self.number(SECTION, "PoolSize", 1..=64);
        let lease = self.seconds(SECTION, "LeaseSeconds", 1..=3600);
        let refresh_without_store = self.boolean(SECTION, "RefreshWithoutStore");
        let connection = self.text(SECTION, "Connection")?;
        // The commit has to fall inside the lease, which is never renewed.
        let request = self.merged.text("Refresh", "RequestTimeoutSeconds").parse().unwrap_or(0);
        if lease.as_secs() <= request {
            self.fault(SECTION, "LeaseSeconds", format!("A token request may take {request} s ([Refresh] RequestTimeoutSeconds), and the lease must outlast it. Make LeaseSeconds larger."));
        }
        self.check_connection("Connection", &connection, tls);
        let listen_connection = self.text(SECTION, "ListenConnection");
        if let Some(text) = &listen_connection {
            self.check_connection("ListenConnection", text, tls);
        }
        Some(Postgresql {
            connection,
            listen_connection,
            password,
            tls,
            root_certificate,
            pool_size,
            lease,
            refresh_without_store,
        })
    }

    fn tls(&mut self) -> DatabaseTls {
        match self.merged.text(SECTION, "Tls").to_ascii_lowercase().as_str() {
            "verify-full" => DatabaseTls::VerifyFull,
            "require" => DatabaseTls::Require,
            "disable" => DatabaseTls::Disable,
            other => {
                self.fault(
                    SECTION,
                    "Tls",
                    format!("'{}' is not one of verify-full, require, disable.", other.escape_debug()),
                );
                DatabaseTls::VerifyFull
            }
        }
    }

    fn check_connection(&mut self, key: &str, text: &str, tls: DatabaseTls) {
        let config = match text.parse::<tokio_postgres::Config>() {
            Ok(config) => config,
            Err(error) => {
                // Only the parser's own words: the text could hold a password after all.
                let message = format!(
                    "It is not a PostgreSQL address ({error}). Write for example postgresql://agent@db.example/tokens, and TLS into Tls."
                );
                return self.fault(SECTION, key, message);
            }
        };
        if config.get_password().is_some() {
            self.fault(SECTION, key, "It holds a password, and this text is shown in messages. Move the password to PasswordFile or PasswordCredential.");
        }
        if config.get_ssl_mode() != SslMode::Prefer {
            self.fault(SECTION, key, "TLS is chosen by the key Tls. Remove sslmode from the address.");
        }
        if config.get_hosts().is_empty() {
            self.fault(
                SECTION,
                key,
                "It names no server. Add a host, or the folder of the server's unix socket.",
            );
        }
        let near = config.get_hosts().iter().all(|server| match server {
            Server::Unix(_) => true,
            Server::Tcp(name) => {
                name == "localhost"
                    || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        });
        // `hostaddr` overrules where `host` points to.
        let near = near && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback);
        if tls == DatabaseTls::Disable && !near {
            self.fault(SECTION, "Tls", "Without TLS the password and the rows would cross the network in the clear. Use verify-full, or a server on this host.");
        }
    }
}
