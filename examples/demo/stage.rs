//! The stage of the demonstration: the simulated tenant in this process, the agent in a process of its own, and the
//! drop-ins between them. Never prints.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use o365_sandbox::{
    CONFIDENTIAL_CLIENT_ID, CONFIDENTIAL_CLIENT_SECRET, IssuedTokens, PUBLIC_CLIENT_ID, Sandbox,
    SandboxOptions,
};

/// Set in the process that is the agent.
pub(crate) const CHILD: &str = "O365_AGENT_DEMO_CHILD";

/// Messages in the big mailbox.
const MESSAGES: usize = 20_000;

pub(crate) struct Stage {
    tenant: Sandbox,
    agent: RefCell<Child>,
    folder: tempfile::TempDir,
    signed_in: RefCell<IssuedTokens>,
}

impl Stage {
    /// Starts the tenant and the agent.
    pub(crate) fn build() -> Self {
        let tenant =
            Sandbox::start(SandboxOptions { messages_per_mailbox: MESSAGES, ..SandboxOptions::default() });
        let folder = tempfile::Builder::new().prefix("o365-agent-demo-").tempdir().unwrap();
        fs::create_dir(folder.path().join("agent.d")).unwrap();
        let settings = format!(
            "[Agent]\nDropInDirectory={0}/agent.d\nStateDirectory={0}/state\n[ControlPort]\nListen=127.0.0.1:0\n[Logging]\nLevel=info\n",
            folder.path().display()
        );
        fs::write(folder.path().join("jitterbit.conf"), settings).unwrap();
        let log = fs::File::create(folder.path().join("agent.log")).unwrap();
        let agent = Command::new(std::env::current_exe().unwrap())
            .args(["run", "--config"])
            .arg(folder.path().join("jitterbit.conf"))
            .env(CHILD, "1")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let signed_in = RefCell::new(tenant.issue_delegated_tokens(&tenant.first_user().upn));
        let stage = Self { tenant, agent: RefCell::new(agent), folder, signed_in };
        let began = Instant::now();
        while stage.address().is_none() {
            assert!(began.elapsed() < Duration::from_secs(20), "the agent did not start: {}", stage.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        stage
    }

    pub(crate) fn tenant(&self) -> &Sandbox {
        &self.tenant
    }

    fn address(&self) -> Option<String> {
        let text = fs::read_to_string(self.folder.path().join("state/control-address")).ok()?;
        text.ends_with('\n').then(|| text.trim().to_owned())
    }

    /// `http://127.0.0.1:PORT` of the control port.
    pub(crate) fn control_url(&self) -> String {
        format!("http://{}", self.address().unwrap_or_default())
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.folder.path().join("state/control-token")
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        self.folder.path().join("jitterbit.conf")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("agent.log")).unwrap_or_default()
    }

    /// Saves a drop-in as an editor does: a new file, moved over the old one.
    pub(crate) fn save(&self, name: &str, text: &str) {
        let path = self.folder.path().join("agent.d").join(name);
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// A user's connection with the tokens of their sign-in.
    pub(crate) fn mail_connection(&self, _user: &str, rows: u32) -> String {
        let tokens = self.signed_in.borrow();
        format!(
            "connections:\n  Adele's mailbox:\n    AuthScheme: AzureAD\n    InitiateOAuth: REFRESH\n    OAuthAccessToken: {}\n    OAuthRefreshToken: {}\n    AdvancedConfigurations:\n{}      MaxRows: {rows}\n    activities:\n      By sender:\n        type: Query\n        object: Messages\n        fields: [subject, from_emailAddress_name]\n        conditions: [{{ field: from_emailAddress_address, operator: contains, value: \"[sender{{contoso}}]\" }}]\n        limit: 2\n",
            tokens.access_token,
            tokens.refresh_token,
            self.endpoints()
        )
    }

    /// The same connection after the user has signed in again.
    pub(crate) fn new_sign_in(&self, user: &str, rows: u32) -> String {
        *self.signed_in.borrow_mut() = self.tenant.issue_delegated_tokens(&self.tenant.first_user().upn);
        self.mail_connection(user, rows)
    }

    /// An application's connection with its secret.
    pub(crate) fn app_connection(&self) -> String {
        format!(
            "connections:\n  Contoso directory:\n    AuthScheme: AzureServicePrincipal\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: {CONFIDENTIAL_CLIENT_ID}\n    OAuthClientSecret: '{CONFIDENTIAL_CLIENT_SECRET}'\n    AdvancedConfigurations:\n{}",
            self.endpoints()
        )
    }

    /// A connection that nobody has signed in to yet.
    pub(crate) fn bare_connection(&self) -> String {
        format!(
            "connections:\n  Alex's mailbox:\n    AuthScheme: AzureAD\n    InitiateOAuth: GETANDREFRESH\n    OAuthClientId: {PUBLIC_CLIENT_ID}\n    AdvancedConfigurations:\n{}",
            self.endpoints()
        )
    }

    /// Alex types a device code in and agrees.
    pub(crate) fn type_in(&self, code: &str) -> bool {
        self.tenant.approve_device_code(code, &self.tenant.user(1).upn)
    }

    fn endpoints(&self) -> String {
        format!(
            "      AzureTenant: {}\n      AzureEnvironment: CUSTOM\n      AuthorityHost: {}\n      GraphEndpoint: {}\n",
            self.tenant.tenant_domain(),
            self.tenant.login_url(),
            self.tenant.graph_url()
        )
    }

    /// Revokes the user's sign-in at the tenant.
    pub(crate) fn revoke(&self, _user: &str) {
        self.tenant.revoke_user_tokens(&self.tenant.first_user().upn);
        self.tenant.expire_access_tokens();
    }

    /// A figure of `/proc/PID/status` of the agent, in MiB.
    pub(crate) fn memory_mib(&self, field: &str) -> f64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.agent.borrow().id())).unwrap_or_default();
        let kib = status
            .lines()
            .find(|line| line.starts_with(field))
            .and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }

    /// Waits for the end of the agent, or of the patience of whoever looks at it.
    pub(crate) fn keep(&self) {
        crate::show::print_keep(self);
        let _ended = self.agent.borrow_mut().wait();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let mut agent = self.agent.borrow_mut();
        // SIGTERM, so that the demonstration ends as a service does.
        let _asked = Command::new("kill").arg(agent.id().to_string()).status();
        let _ended = agent.wait();
    }
}
