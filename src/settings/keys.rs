//! Every key of ours in `jitterbit.conf`: section, name, default and meaning. The one list that the merge, the
//! "did you mean" and `jitterbit.conf.example` go by. Never reads anything.

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its section.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What holds when it is absent; empty = not set.
    pub default: &'static str,
    /// Whether only a restart applies a change.
    pub restart: bool,
}

const fn live(section: &'static str, name: &'static str, default: &'static str) -> Key {
    Key { section, name, default, restart: false }
}

const fn at_start(section: &'static str, name: &'static str, default: &'static str) -> Key {
    Key { section, name, default, restart: true }
}

/// All keys, in the order of `jitterbit.conf.example`. `[PredefinedJitterbitVariables]` takes any key and is not listed.
pub const KEYS: &[Key] = &[
    live("Settings", "EnableLocalFileLocation", "false"),
    at_start("Agent", "DropInDirectory", "/etc/o365-agent/agent.d"),
    at_start("Agent", "StateDirectory", "/var/lib/o365-agent"),
    at_start("ControlPort", "Listen", "127.0.0.1:7365"),
    at_start("ControlPort", "UnixSocket", ""),
    at_start("ControlPort", "UnixSocketUsers", ""),
    at_start("ControlPort", "TokenFile", ""),
    at_start("TokenStore", "KeyFile", ""),
    at_start("TokenStore", "LockTimeoutSeconds", "30"),
    at_start("TokenStore", "Backend", "file"),
    at_start("TokenStore", "Group", ""),
    at_start("TokenStore", "Connection", ""),
    at_start("TokenStore", "ListenConnection", ""),
    at_start("TokenStore", "Password", ""),
    at_start("TokenStore", "PasswordFile", ""),
    at_start("TokenStore", "PasswordCredential", ""),
    at_start("TokenStore", "Tls", "verify-full"),
    at_start("TokenStore", "TlsRootCertificate", ""),
    at_start("TokenStore", "PoolSize", "2"),
    at_start("TokenStore", "LeaseSeconds", "45"),
    at_start("TokenStore", "RefreshWithoutStore", "false"),
    at_start("Refresh", "RequestTimeoutSeconds", "30"),
    at_start("Refresh", "MinimumValiditySeconds", "60"),
    at_start("Refresh", "BackoffBaseSeconds", "2"),
    at_start("Refresh", "BackoffCapSeconds", "300"),
    at_start("Refresh", "ConcurrentPerHost", "4"),
    live("Proxy", "Host", ""),
    live("Proxy", "Type", "http"),
    live("Proxy", "Port", ""),
    live("Proxy", "User", ""),
    live("Proxy", "Password", ""),
    live("Proxy", "PasswordFile", ""),
    live("Proxy", "PasswordCredential", ""),
    live("Proxy", "Exceptions", ""),
    live("LocalFiles", "Root", ""),
    at_start("Logging", "Format", "auto"),
    live("Logging", "Level", "info"),
    at_start("Limits", "ControlConnections", "128"),
    at_start("Limits", "ConcurrentRuns", "32"),
    at_start("Limits", "RequestBodyBytes", "16777216"),
    live("Limits", "RunTimeoutSeconds", "7200"),
    at_start("Limits", "PageBytes", "16777216"),
    live("Limits", "AnswerRows", "100000"),
    live("Limits", "DrainSeconds", "10"),
    at_start("Limits", "RunHistory", "1000"),
];

/// The section of predefined variables.
pub(super) const VARIABLES_SECTION: &str = "PredefinedJitterbitVariables";

/// The key of that name, matched without regard to case.
pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.section.eq_ignore_ascii_case(section) && key.name.eq_ignore_ascii_case(name))
}

/// Whether keys in that section are ours.
pub(super) fn is_our_section(section: &str) -> bool {
    section.eq_ignore_ascii_case(VARIABLES_SECTION)
        || KEYS.iter().any(|key| key.section.eq_ignore_ascii_case(section))
}
