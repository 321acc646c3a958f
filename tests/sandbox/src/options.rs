//! What a test may choose about the tenant, and the facts that are the same in every sandbox.
//! Never holds anything that changes while the sandbox runs.

use crate::throttle::RateLimit;
use crate::tls::TlsFiles;
use std::time::Duration;

/// The tenant's id, unless the options say otherwise.
pub const DEFAULT_TENANT_ID: &str = "7b0f31ab-4d6e-4c55-9d1c-2f8a1d0c6e10";
/// The tenant's first verified domain, unless the options say otherwise.
pub const DEFAULT_TENANT_DOMAIN: &str = "contoso.onmicrosoft.com";
/// The client id of the confidential application (it has a secret and application roles).
pub const CONFIDENTIAL_CLIENT_ID: &str = "3f6c1f9e-52d7-4a0b-8f53-9c7e6a1b2d34";
/// The valid secret: its characters break any client that does not form-encode.
pub const CONFIDENTIAL_CLIENT_SECRET: &str = "pA8Q~x+/7k=Zt%26&u9-_.mN=w+R/e%";
/// A secret of the same application that has expired.
pub const EXPIRED_CLIENT_SECRET: &str = "oLd7Q~s+ecret=/that&ended%";
/// The client id of the public application (delegated sign-in, no secret).
pub const PUBLIC_CLIENT_ID: &str = "9d2b7c40-1e3a-4f86-b0a5-64c8f7e2d915";
/// Where browsers may be sent back to; for loopback addresses the port does not count.
pub const REDIRECT_URIS: &[&str] =
    &["http://localhost", "http://127.0.0.1", "http://localhost/back", "https://agent.contoso.example/back"];
/// The delegated permissions that are consented for the public application.
pub const DELEGATED_SCOPES: &[&str] = &[
    "Calendars.ReadWrite",
    "Contacts.ReadWrite",
    "Files.ReadWrite.All",
    "Group.ReadWrite.All",
    "Mail.ReadWrite",
    "Mail.Send",
    "Tasks.ReadWrite",
    "Bookings.ReadWrite.All",
    "Bookings.Manage.All",
    "LicenseAssignment.ReadWrite.All",
    "User.Read",
    "User.ReadWrite.All",
];
/// The application roles that an administrator granted to the confidential application.
pub const APPLICATION_ROLES: &[&str] = &[
    "Calendars.ReadWrite",
    "Contacts.ReadWrite",
    "Files.ReadWrite.All",
    "Group.ReadWrite.All",
    "Mail.ReadWrite",
    "Mail.Send",
    "Tasks.ReadWrite.All",
    "Bookings.ReadWrite.All",
    "Bookings.Manage.All",
    "LicenseAssignment.ReadWrite.All",
    "User.ReadWrite.All",
];

/// What happens to a refresh token that has been used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    /// Every use gives a new refresh token and the old ones go on working (as Entra documents it).
    #[default]
    Lenient,
    /// Every use gives a new one; using an old one again revokes the whole family.
    Strict,
}

/// How to set up a sandbox tenant; `Default` is a small, quick one.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Port of the sign-in service on 127.0.0.1; 0 lets the system choose.
    pub login_port: u16,
    /// Port of Graph on 127.0.0.1; 0 lets the system choose.
    pub graph_port: u16,
    /// The tenant's id.
    pub tenant_id: String,
    /// The tenant's domain: the right half of every user name.
    pub tenant_domain: String,
    /// Messages in the first user's mailbox.
    pub messages_per_mailbox: usize,
    /// Messages in every other mailbox.
    pub messages_in_other_mailboxes: usize,
    /// Users of the directory: the first 25 have well-known names, the others are generated.
    pub users: usize,
    /// Contacts in each mailbox.
    pub contacts_per_mailbox: usize,
    /// Events in each mailbox.
    pub events_per_mailbox: usize,
    /// Calendars in each mailbox, the default one included.
    pub calendars_per_mailbox: usize,
    /// How long an access token lives.
    pub access_token_lifetime: Duration,
    /// When set, token answers carry `refresh_in` with it.
    pub refresh_in: Option<Duration>,
    /// How long a device code lives, in whole seconds.
    pub device_code_lifetime: Duration,
    /// How long a client has to wait between two polls, in whole seconds.
    pub device_code_interval: Duration,
    /// How long an authorization code lives.
    pub authorization_code_lifetime: Duration,
    /// What becomes of used refresh tokens.
    pub rotation: Rotation,
    /// The service time: added to the answer of every Graph request and to that of each part of a batch.
    pub page_latency: Duration,
    /// How many requests one mailbox serves at once.
    pub mailbox_concurrency: usize,
    /// Whether going over `mailbox_concurrency` is answered with 429.
    pub enforce_mailbox_concurrency: bool,
    /// Puts `@odata.nextLink` after `value`, where it usually stands before it.
    pub next_link_after_value: bool,
    /// How long a new message stays out of the search folder that lists all messages of a mailbox; its own folder shows it
    /// at once.
    pub search_lag: Duration,
    /// Whether a second event with a `transactionId` is refused with `ErrorDuplicateTransactionId` instead of answered with
    /// the first one. The service was seen to do either.
    pub refuse_known_transactions: bool,
    /// How many requests one mailbox serves in a span of time; each part of a batch counts.
    pub mailbox_rate: Option<RateLimit>,
    /// How many requests the tenant serves in a span of time; each part of a batch counts.
    pub tenant_rate: Option<RateLimit>,
    /// How many resource units the directory serves in a span of time.
    pub directory_units: Option<RateLimit>,
    /// Whether users' drives are personal ones, which tell SHA-1 and SHA-256 too.
    pub personal_drives: bool,
    /// How long an upload session lives, in whole seconds.
    pub upload_session_lifetime: Duration,
    /// Serves https instead of http, with this certificate.
    pub tls: Option<TlsFiles>,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            login_port: 0,
            graph_port: 0,
            tenant_id: DEFAULT_TENANT_ID.to_owned(),
            tenant_domain: DEFAULT_TENANT_DOMAIN.to_owned(),
            messages_per_mailbox: 200,
            messages_in_other_mailboxes: 40,
            users: 25,
            contacts_per_mailbox: 60,
            events_per_mailbox: 80,
            calendars_per_mailbox: 3,
            access_token_lifetime: Duration::from_secs(3600),
            refresh_in: None,
            device_code_lifetime: Duration::from_secs(900),
            device_code_interval: Duration::from_secs(5),
            authorization_code_lifetime: Duration::from_secs(600),
            rotation: Rotation::Lenient,
            page_latency: Duration::ZERO,
            mailbox_concurrency: 4,
            enforce_mailbox_concurrency: true,
            next_link_after_value: false,
            search_lag: Duration::ZERO,
            refuse_known_transactions: false,
            mailbox_rate: None,
            tenant_rate: None,
            directory_units: None,
            personal_drives: false,
            upload_session_lifetime: Duration::from_secs(3_600),
            tls: None,
        }
    }
}
