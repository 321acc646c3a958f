//! Every connection property the agent knows: what kind of value it has, which auth schemes take it, and what becomes
//! of it. Facts only; `check.rs` and its neighbours apply them.

use super::AuthScheme;

/// What kind of value a property has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// Text that is never shown; may be a reference `{file:}`, `{credential:}` or `{env:}`.
    Secret,
    /// `true` or `false`, also `1` or `0`.
    Boolean,
    /// A whole number in a range.
    Integer(i64, i64),
    /// One of some words, in any case.
    Choice(&'static [&'static str]),
    /// An http or https address.
    Url,
    /// An absolute path.
    Path,
}

/// What becomes of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It has its effect.
    Used,
    /// It has no meaning here and does no harm: accepted, with this sentence as a notice.
    Ignored(&'static str),
    /// Ignoring it would make the connection behave otherwise than asked: refused with this sentence, unless it has
    /// one of these harmless values.
    Refused(&'static str, &'static [&'static str]),
    /// It belongs to a way of signing in that this version does not support yet.
    Unsupported,
}

/// One property.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// Its name as operators know it.
    pub name: &'static str,
    /// What kind of value it has.
    pub kind: Kind,
    /// The auth schemes that take it.
    pub schemes: &'static [AuthScheme],
    /// What becomes of it.
    pub usage: Use,
    /// What it is for, in a sentence.
    pub help: &'static str,
}

const ALL: &[AuthScheme] = &[
    AuthScheme::AzureAd,
    AuthScheme::AzureMsi,
    AuthScheme::AzureServicePrincipal,
    AuthScheme::AzureServicePrincipalCert,
];
/// All but the managed identity, which the machine itself vouches for.
const WITH_OAUTH: &[AuthScheme] =
    &[AuthScheme::AzureAd, AuthScheme::AzureServicePrincipal, AuthScheme::AzureServicePrincipalCert];
const WITH_SECRET: &[AuthScheme] = &[AuthScheme::AzureAd, AuthScheme::AzureServicePrincipal];
const WITH_CERTIFICATE: &[AuthScheme] =
    &[AuthScheme::AzureServicePrincipal, AuthScheme::AzureServicePrincipalCert];
const ONLY_MACHINE: &[AuthScheme] = &[AuthScheme::AzureMsi];
const SIGN_IN: &[AuthScheme] = &[AuthScheme::AzureAd];

/// The words of `AuthScheme`.
pub(super) const AUTH_SCHEMES: &[&str] =
    &["AzureAD", "AzureMSI", "AzureServicePrincipal", "AzureServicePrincipalCert"];
/// The words of `InitiateOAuth`.
pub(super) const INITIATE: &[&str] = &["OFF", "GETANDREFRESH", "REFRESH"];
/// The words of `AzureEnvironment`.
pub(super) const ENVIRONMENTS: &[&str] = &["GLOBAL", "USGOVT", "USGOVTDOD", "CHINA", "CUSTOM"];
/// The words of `OAuthJWTCertType`.
const CERTIFICATE_TYPES: &[&str] = &[
    "USER",
    "MACHINE",
    "PFXFILE",
    "PFXBLOB",
    "JKSFILE",
    "JKSBLOB",
    "PEMKEY_FILE",
    "PEMKEY_BLOB",
    "PUBLIC_KEY_FILE",
    "PUBLIC_KEY_BLOB",
    "SSHPUBLIC_KEY_FILE",
    "SSHPUBLIC_KEY_BLOB",
    "P7BFILE",
    "PPKFILE",
    "XMLFILE",
    "XMLBLOB",
];

/// The words of `ManagedIdentitySource`, in the order in which the environment is asked for them.
pub const MANAGED_IDENTITY_SOURCES: &[&str] =
    &["SERVICEFABRIC", "APPSERVICE", "AZUREML", "ARC", "CLOUDSHELL", "KUBERNETES", "IMDS"];

const OWN_LOG: &str = "The agent writes its own log; see [Logging] in jitterbit.conf.";
const OWN_POOL: &str = "The agent keeps its own connections to Microsoft Graph open.";
const NO_CACHE: &str = "The agent keeps no copy of the data.";
const NO_LISTS: &str = "It narrows what a driver shows in its metadata; the agent shows all objects.";
const OWN_ISSUER: &str = "Entra wants the client id there, and the agent writes it.";

const fn used(
    name: &'static str,
    kind: Kind,
    schemes: &'static [AuthScheme],
    help: &'static str,
) -> Property {
    Property { name, kind, schemes, usage: Use::Used, help }
}

const fn other(name: &'static str, kind: Kind, usage: Use, help: &'static str) -> Property {
    Property { name, kind, schemes: ALL, usage, help }
}

/// All properties, those of the connection screen first.
pub const PROPERTIES: &[Property] = &[
    used(
        "ConnectionName",
        Kind::Text,
        ALL,
        "The connection's name again; it must equal the key it stands under.",
    ),
    used(
        "AuthScheme",
        Kind::Choice(AUTH_SCHEMES),
        ALL,
        "How the agent gets the right to talk to Microsoft Graph.",
    ),
    used(
        "InitiateOAuth",
        Kind::Choice(INITIATE),
        WITH_OAUTH,
        "Who gets and refreshes tokens: OFF, REFRESH or GETANDREFRESH.",
    ),
    used("OAuthAccessToken", Kind::Secret, WITH_OAUTH, "The access token to begin with, or to use as it is."),
    used("OAuthRefreshToken", Kind::Secret, WITH_OAUTH, "The refresh token to begin with."),
    used("OAuthClientId", Kind::Text, ALL, "The application's id."),
    used("OAuthClientSecret", Kind::Secret, WITH_SECRET, "The application's secret."),
    used("OAuthJWTCert", Kind::Secret, WITH_CERTIFICATE, "The application's certificate."),
    used(
        "OAuthJWTCertType",
        Kind::Choice(CERTIFICATE_TYPES),
        WITH_CERTIFICATE,
        "What kind of thing OAuthJWTCert is.",
    ),
    used("OAuthJWTCertPassword", Kind::Secret, WITH_CERTIFICATE, "The password of OAuthJWTCert."),
    used("OAuthJWTCertSubject", Kind::Text, WITH_CERTIFICATE, "Which certificate of OAuthJWTCert to take."),
    used(
        "OAuthJWTCertThumbprint",
        Kind::Text,
        WITH_CERTIFICATE,
        "The thumbprint of the certificate, for a key that comes without one.",
    ),
    used(
        "OAuthJWTCertificate",
        Kind::Secret,
        WITH_CERTIFICATE,
        "The certificate of a key that comes without one: a path or its contents.",
    ),
    used(
        "OAuthJWTKey",
        Kind::Secret,
        WITH_CERTIFICATE,
        "The private key of a certificate that comes without one: a path or its contents.",
    ),
    used(
        "OAuthAssertionAlgorithm",
        Kind::Choice(&["PS256", "RS256"]),
        WITH_CERTIFICATE,
        "How client assertions are signed: PS256, or RS256 for older servers.",
    ),
    used(
        "OAuthAssertionSendX5c",
        Kind::Boolean,
        WITH_CERTIFICATE,
        "Whether client assertions carry the certificate chain.",
    ),
    used(
        "ManagedIdentitySource",
        Kind::Choice(MANAGED_IDENTITY_SOURCES),
        ONLY_MACHINE,
        "What vouches for the machine, instead of what its environment tells.",
    ),
    Property {
        name: "OAuthJWTIssuer",
        kind: Kind::Text,
        schemes: WITH_CERTIFICATE,
        usage: Use::Ignored(OWN_ISSUER),
        help: "The issuer of the client assertion.",
    },
    Property {
        name: "OAuthJWTSubject",
        kind: Kind::Text,
        schemes: WITH_CERTIFICATE,
        usage: Use::Ignored(OWN_ISSUER),
        help: "The subject of the client assertion.",
    },
    used(
        "UseProxySettings",
        Kind::Boolean,
        ALL,
        "Whether to use the agent's proxy, [Proxy] in jitterbit.conf.",
    ),
    used("AzureTenant", Kind::Text, ALL, "The tenant, as a domain or an id."),
    used(
        "AzureEnvironment",
        Kind::Choice(ENVIRONMENTS),
        ALL,
        "The cloud: GLOBAL, USGOVT, USGOVTDOD, CHINA or CUSTOM.",
    ),
    used("AuthorityHost", Kind::Url, ALL, "The token server of AzureEnvironment CUSTOM."),
    used("GraphEndpoint", Kind::Url, ALL, "The Graph root with its version, of AzureEnvironment CUSTOM."),
    used("Scope", Kind::Text, WITH_OAUTH, "The scopes to ask for, separated by spaces or commas."),
    used(
        "OAuthSettingsLocation",
        Kind::Path,
        WITH_OAUTH,
        "The file this connection's tokens are kept in, or memory://id.",
    ),
    used(
        "OAuthExpiresIn",
        Kind::Integer(1, 31_536_000),
        WITH_OAUTH,
        "The lifetime of OAuthAccessToken in seconds.",
    ),
    used(
        "OAuthTokenTimestamp",
        Kind::Integer(0, 253_402_300_799_999),
        WITH_OAUTH,
        "When OAuthAccessToken was made, in milliseconds since 1970.",
    ),
    used(
        "OAuthClientSecretExpires",
        Kind::Text,
        WITH_SECRET,
        "The day OAuthClientSecret ends, as 2027-03-31; the agent warns 30, 7 and 1 day ahead.",
    ),
    used(
        "OAuthVerifier",
        Kind::Secret,
        SIGN_IN,
        "The authorization code of a sign-in on another machine; redeemed once, with CallbackURL.",
    ),
    used(
        "CallbackURL",
        Kind::Url,
        SIGN_IN,
        "Where the browser returns to after a sign-in, as in the app registration.",
    ),
    used("UserId", Kind::Text, ALL, "The mailbox or user that activities act on unless they say otherwise."),
    used("Readonly", Kind::Boolean, ALL, "Refuses Create, Update, Delete and Execute."),
    used(
        "MaxRows",
        Kind::Integer(-1, 1_000_000_000_000),
        ALL,
        "The most rows of a query that gives no limit; -1 = no cap.",
    ),
    used(
        "DirectoryRetrievalDepth",
        Kind::Integer(-1, 1000),
        ALL,
        "How deep queries of Files and MailFolders go: 0 = the first level, -1 = all of them; default 5.",
    ),
    used("Pagesize", Kind::Integer(1, 1000), ALL, "The rows asked for per page."),
    used("Timeout", Kind::Integer(0, 3600), ALL, "The seconds one answer may take."),
    used(
        "MailboxConcurrency",
        Kind::Integer(1, 16),
        ALL,
        "How many requests may run at once against one mailbox.",
    ),
    used("ProxyServer", Kind::Text, ALL, "This connection's own proxy."),
    used("ProxyPort", Kind::Integer(1, 65_535), ALL, "The port of ProxyServer."),
    used("ProxyUser", Kind::Text, ALL, "The user for ProxyServer."),
    used("ProxyPassword", Kind::Secret, ALL, "The password for ProxyServer."),
    used("ProxyExceptions", Kind::Text, ALL, "Hosts reached without ProxyServer, separated by semicolons."),
    used(
        "ProxyAuthScheme",
        Kind::Choice(&["BASIC", "DIGEST", "NONE", "NEGOTIATE", "NTLM", "PROPRIETARY"]),
        ALL,
        "How to sign in to ProxyServer: BASIC or NONE.",
    ),
    used(
        "ProxyAutoDetect",
        Kind::Boolean,
        ALL,
        "Whether to take the proxy from the agent's environment: https_proxy, http_proxy, all_proxy and no_proxy.",
    ),
    used(
        "ProxySSLType",
        Kind::Choice(&["AUTO", "ALWAYS", "NEVER", "TUNNEL"]),
        ALL,
        "Whether to speak TLS to ProxyServer itself: ALWAYS, or not.",
    ),
    other(
        "OAuthVersion",
        Kind::Text,
        Use::Refused("Only OAuth 2.0 is spoken. Write 2.0.", &["2.0", "2"]),
        "The version of OAuth.",
    ),
    used(
        "OAuthGrantType",
        Kind::Choice(&["CODE", "CLIENT"]),
        ALL,
        "With AzureAD: CODE for a user, CLIENT for the application itself.",
    ),
    used(
        "OAuthAuthorizationURL",
        Kind::Url,
        WITH_OAUTH,
        "Another address for signing in, on the token server.",
    ),
    used("OAuthAccessTokenURL", Kind::Url, WITH_OAUTH, "Another address for tokens, on the token server."),
    used(
        "SSLServerCert",
        Kind::Text,
        ALL,
        "A certificate to accept besides those the host trusts: PEM text, a file, or a SHA-256 thumbprint.",
    ),
    used(
        "FirewallType",
        Kind::Choice(&["NONE", "TUNNEL", "SOCKS4", "SOCKS5"]),
        ALL,
        "The kind of firewall: NONE, TUNNEL or SOCKS5.",
    ),
    used("FirewallServer", Kind::Text, ALL, "The firewall's host."),
    used(
        "FirewallPort",
        Kind::Integer(0, 65_535),
        ALL,
        "The firewall's port; 0 = the usual one of its type.",
    ),
    used("FirewallUser", Kind::Text, ALL, "The firewall's user."),
    used("FirewallPassword", Kind::Secret, ALL, "The firewall's password."),
    other(
        "AutoCache",
        Kind::Boolean,
        Use::Refused(NO_CACHE, &["false", "0"]),
        "Whether to answer from a copy.",
    ),
    other(
        "Offline",
        Kind::Boolean,
        Use::Refused(NO_CACHE, &["false", "0"]),
        "Whether to answer from the copy only.",
    ),
    other("CacheConnection", Kind::Secret, Use::Ignored(NO_CACHE), "Where the copy is."),
    other("CacheDriver", Kind::Text, Use::Ignored(NO_CACHE), "What keeps the copy."),
    other("CacheProvider", Kind::Text, Use::Ignored(NO_CACHE), "What keeps the copy."),
    other("CacheLocation", Kind::Text, Use::Ignored(NO_CACHE), "Where the copy is."),
    other("CacheMetadata", Kind::Boolean, Use::Ignored(NO_CACHE), "Whether to copy the metadata."),
    other("CacheTolerance", Kind::Integer(0, i64::MAX), Use::Ignored(NO_CACHE), "How old the copy may be."),
    other(
        "UserDefinedViews",
        Kind::Text,
        Use::Refused("Views in a file are not supported. Save the query as an activity instead.", &[]),
        "A file with views.",
    ),
    other(
        "Other",
        Kind::Text,
        Use::Refused("The driver's hidden settings have no meaning here. Remove it.", &[]),
        "Hidden settings.",
    ),
    other(
        "SupportEnhancedSQL",
        Kind::Boolean,
        Use::Ignored("The agent decides by itself what Graph can do and what it does itself."),
        "Whether to do what the service cannot.",
    ),
    other(
        "UseClientSidePaging",
        Kind::Boolean,
        Use::Ignored(
            "The agent asks for the next page while it reads one, and reads several mailboxes side by side, by itself.",
        ),
        "Whether to ask for pages side by side.",
    ),
    other(
        "PseudoColumns",
        Kind::Text,
        Use::Ignored("Pseudo columns can always be used."),
        "Pseudo columns shown as columns.",
    ),
    other(
        "BatchSize",
        Kind::Integer(0, i64::MAX),
        Use::Ignored("Writes go to Graph in its own batches of 20."),
        "Records per batch.",
    ),
    other("BrowsableSchemas", Kind::Text, Use::Ignored(NO_LISTS), "Schemas to show."),
    other("Tables", Kind::Text, Use::Ignored(NO_LISTS), "Tables to show."),
    other("Views", Kind::Text, Use::Ignored(NO_LISTS), "Views to show."),
    other(
        "Location",
        Kind::Text,
        Use::Ignored("The agent reads no schema files."),
        "The folder of schema files.",
    ),
    other("Logfile", Kind::Text, Use::Ignored(OWN_LOG), "The driver's log file."),
    other("Verbosity", Kind::Text, Use::Ignored(OWN_LOG), "How much the driver logs."),
    other("LogModules", Kind::Text, Use::Ignored(OWN_LOG), "What the driver logs."),
    other("MaxLogFileSize", Kind::Text, Use::Ignored(OWN_LOG), "How large the driver's log grows."),
    other(
        "MaxLogFileCount",
        Kind::Integer(i64::MIN, i64::MAX),
        Use::Ignored(OWN_LOG),
        "How many log files the driver keeps.",
    ),
    other("RTK", Kind::Secret, Use::Ignored("The agent needs no licence key."), "The driver's licence key."),
    other("ConnectOnOpen", Kind::Boolean, Use::Ignored(OWN_POOL), "Whether to connect at once."),
    other(
        "ConnectionLifeTime",
        Kind::Integer(0, i64::MAX),
        Use::Ignored(OWN_POOL),
        "How long a pooled connection lives.",
    ),
    other("UseConnectionPooling", Kind::Boolean, Use::Ignored(OWN_POOL), "Whether to pool connections."),
    other("PoolMaxSize", Kind::Integer(0, i64::MAX), Use::Ignored(OWN_POOL), "The largest pool."),
    other("PoolMinSize", Kind::Integer(0, i64::MAX), Use::Ignored(OWN_POOL), "The smallest pool."),
    other(
        "PoolIdleTimeout",
        Kind::Integer(0, i64::MAX),
        Use::Ignored(OWN_POOL),
        "How long a pooled connection idles.",
    ),
    other(
        "PoolWaitTime",
        Kind::Integer(0, i64::MAX),
        Use::Ignored(OWN_POOL),
        "How long to wait for a pooled connection.",
    ),
];

/// The property of that name, matched without regard to case and spaces.
pub fn find(name: &str) -> Option<&'static Property> {
    PROPERTIES.iter().find(|property| {
        let mut given = name.chars().filter(|character| *character != ' ');
        let mut known = property.name.chars();
        loop {
            match (given.next(), known.next()) {
                (None, None) => return true,
                (Some(one), Some(other)) if one.eq_ignore_ascii_case(&other) => {}
                _ => return false,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_matched_loosely() {
        for property in PROPERTIES {
            assert_eq!(find(property.name).map(|found| found.help), Some(property.help), "{}", property.name);
            assert!(property.help.ends_with('.'), "{}", property.name);
        }
        assert_eq!(find("OAuth Client Id").map(|property| property.name), Some("OAuthClientId"));
        assert_eq!(find("PAGE SIZE").map(|property| property.name), Some("Pagesize"));
        assert!(find("OAuth_Client_Id").is_none());
        assert!(find("OAuthClientI").is_none() && find("").is_none());
    }
}
