//! The handle on a running sandbox: starts it, says where it listens, steers it, stops it.
//! Never async: it works from any test, and from the demo.

use crate::controls::{self, IssuedTokens};
use crate::data::directory::{ADMINISTRATOR, WITHOUT_MAILBOX};
use crate::entra::identity::ArcChallenge;
use crate::faults::Fault;
use crate::http::{Service, listen, serve};
use crate::options::SandboxOptions;
use crate::state::{RecordedRequest, Shared, Stats};
use crate::tls::TlsFiles;
use serde_json::Value;
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// A user of the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxUser {
    /// The object id.
    pub id: String,
    /// The user principal name, which is the mail address too.
    pub upn: String,
    /// The display name.
    pub display_name: String,
}

/// A running sandbox; dropping it stops it.
#[derive(Debug)]
pub struct Sandbox {
    shared: Shared,
    login_url: String,
    graph_origin: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Starts a tenant and returns once it listens.
    ///
    /// # Panics
    /// When a port cannot be bound; [`Sandbox::try_start`] answers the error instead.
    pub fn start(options: SandboxOptions) -> Self {
        Self::try_start(options).expect("a sandbox needs its two loopback ports to be free")
    }

    /// Like [`Sandbox::start`], for callers that want the error.
    pub fn try_start(options: SandboxOptions) -> io::Result<Self> {
        let (ready, started) = mpsc::channel::<io::Result<(Shared, String, String)>>();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new().name("o365-sandbox".to_owned()).spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(problem) => {
                    let _ = ready.send(Err(problem));
                    return;
                }
            };
            runtime.block_on(run(options, &ready, stopped));
            // Requests that hang on purpose must not keep the thread.
            runtime.shutdown_background();
        })?;
        let (shared, login_url, graph_origin) =
            started.recv().map_err(|_| io::Error::other("the sandbox ended before it listened"))??;
        Ok(Self { shared, login_url, graph_origin, stop: Some(stop), thread: Some(thread) })
    }

    /// `http://127.0.0.1:PORT` of the sign-in service; https with [`SandboxOptions::tls`], as the other two.
    pub fn login_url(&self) -> &str {
        &self.login_url
    }

    /// `http://127.0.0.1:PORT/v1.0` of Graph.
    pub fn graph_url(&self) -> String {
        format!("{}/v1.0", self.graph_origin)
    }

    /// `http://127.0.0.1:PORT` of Graph.
    pub fn graph_origin(&self) -> &str {
        &self.graph_origin
    }

    /// The tenant's id.
    pub fn tenant_id(&self) -> String {
        self.shared.lock().options.tenant_id.clone()
    }

    /// The tenant's domain.
    pub fn tenant_domain(&self) -> String {
        self.shared.lock().options.tenant_domain.clone()
    }

    /// The user of that row in the directory; the first 25 have fixed names.
    pub fn user(&self, number: u32) -> SandboxUser {
        let user = self.shared.lock().tenant.facts(number);
        SandboxUser { id: user.id, upn: user.upn, display_name: user.name }
    }

    /// The user with the big mailbox: Adele Vance.
    pub fn first_user(&self) -> SandboxUser {
        self.user(0)
    }

    /// The user that administers the tenant.
    pub fn administrator(&self) -> SandboxUser {
        self.user(ADMINISTRATOR)
    }

    /// A user that has no mailbox.
    pub fn user_without_mailbox(&self) -> SandboxUser {
        self.user(WITHOUT_MAILBOX)
    }

    /// Everything a client must be told, as JSON.
    pub fn facts(&self) -> Value {
        controls::facts(&self.shared.lock())
    }

    /// Signs a user in to the public application, as a third-party tool would do it.
    ///
    /// # Panics
    /// When there is no such user.
    pub fn issue_delegated_tokens(&self, user: &str) -> IssuedTokens {
        self.issue_delegated(user, None)
    }

    /// The same with an access token that lives for another time; zero is an expired one.
    ///
    /// # Panics
    /// When there is no such user.
    pub fn issue_delegated_tokens_for(&self, user: &str, lifetime: Duration) -> IssuedTokens {
        self.issue_delegated(user, Some(lifetime))
    }

    /// Signs the confidential application in on its own; there is no refresh token.
    pub fn issue_app_token(&self) -> IssuedTokens {
        controls::issue_app_token(&mut self.shared.lock(), None)
    }

    /// Registers the certificates of a PEM text on the confidential application; answers how many there were.
    pub fn register_certificate(&self, pem: &str) -> usize {
        self.shared.lock().credentials.register(pem)
    }

    /// Makes the confidential application trust that federated token, and no other.
    pub fn trust_federated_token(&self, token: &str) {
        self.shared.lock().credentials.trust_federated_token(token);
    }

    /// Makes the Azure Arc service ask for the proof in that file.
    pub fn set_arc_challenge(&self, file: impl Into<std::path::PathBuf>, proof: &str) {
        let challenge = ArcChallenge { file: file.into(), proof: proof.to_owned() };
        self.shared.lock().arc_challenge = Some(challenge);
    }

    /// The latest requests to the machine's identity services, oldest first.
    pub fn identity_requests(&self) -> Vec<RecordedRequest> {
        self.shared.lock().identity_requests.iter().cloned().collect()
    }

    /// A user types a device code in and agrees. Whether there is such a code.
    pub fn approve_device_code(&self, user_code: &str, upn: &str) -> bool {
        controls::decide_device_code(&mut self.shared.lock(), user_code, Some(upn))
    }

    /// Somebody types a device code in and refuses. Whether there is such a code.
    pub fn decline_device_code(&self, user_code: &str) -> bool {
        controls::decide_device_code(&mut self.shared.lock(), user_code, None)
    }

    /// Does what a browser does at an authorization address when that user signs in and agrees: the address that it is
    /// sent back to, or the service's refusal to send it anywhere.
    pub fn authorize(&self, url: &str, upn: &str) -> Result<String, String> {
        controls::authorize(&mut self.shared.lock(), url, Some(upn))
    }

    /// The same with a user who does not agree.
    pub fn refuse(&self, url: &str) -> Result<String, String> {
        controls::authorize(&mut self.shared.lock(), url, None)
    }

    /// Who sits in front of browsers that ask for an authorization address over HTTP; nobody gets a sign-in page.
    pub fn sign_in_browser(&self, upn: Option<&str>) {
        self.shared.lock().sign_ins.browser_user = upn.map(str::to_owned);
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.shared.lock().stats.clone()
    }

    /// Sets the counters back to zero; the recorded requests stay.
    pub fn reset_stats(&self) {
        self.shared.lock().stats = Stats::default();
    }

    /// The latest posts to the token endpoint, oldest first.
    pub fn token_requests(&self) -> Vec<RecordedRequest> {
        self.shared.lock().token_requests.iter().cloned().collect()
    }

    /// The latest requests to Graph, oldest first.
    pub fn graph_requests(&self) -> Vec<RecordedRequest> {
        self.shared.lock().graph_requests.iter().cloned().collect()
    }

    /// Forgets the recorded requests.
    pub fn clear_requests(&self) {
        let mut state = self.shared.lock();
        state.token_requests.clear();
        state.graph_requests.clear();
    }

    /// Plans a fault.
    pub fn inject(&self, fault: Fault) {
        self.shared.lock().faults.inject(fault);
    }

    /// Forgets the planned faults.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }

    /// Makes a user's refresh tokens stop working (AADSTS50173); answers how many there were.
    pub fn revoke_user_tokens(&self, user: &str) -> usize {
        controls::revoke_user_tokens(&mut self.shared.lock(), user)
    }

    /// Makes Graph refuse every access token issued so far.
    pub fn expire_access_tokens(&self) {
        self.shared.lock().tokens.cancel_access();
    }

    /// Sets how long the access tokens live that are issued from now on.
    pub fn set_access_token_lifetime(&self, lifetime: Duration) {
        self.shared.lock().options.access_token_lifetime = lifetime;
    }

    /// Sets what is added to the answer of every Graph request.
    pub fn set_page_latency(&self, latency: Duration) {
        self.shared.lock().options.page_latency = latency;
    }

    /// Puts `@odata.nextLink` after `value` (or before it, which is the usual place).
    pub fn set_next_link_after_value(&self, after: bool) {
        let mut state = self.shared.lock();
        state.options.next_link_after_value = after;
        state.pages.clear();
    }

    fn issue_delegated(&self, user: &str, lifetime: Option<Duration>) -> IssuedTokens {
        controls::issue_delegated_tokens(&mut self.shared.lock(), user, lifetime)
            .expect("the user is one of the tenant's, as the documentation demands")
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn run(
    options: SandboxOptions,
    ready: &mpsc::Sender<io::Result<(Shared, String, String)>>,
    stopped: oneshot::Receiver<()>,
) {
    let sockets =
        async { Ok::<_, io::Error>((listen(options.login_port).await?, listen(options.graph_port).await?)) };
    let ((login, login_address), (graph, graph_address)) = match sockets.await {
        Ok(sockets) => sockets,
        Err(problem) => {
            let _ = ready.send(Err(problem));
            return;
        }
    };
    let tls = match options.tls.as_ref().map(TlsFiles::acceptor).transpose() {
        Ok(tls) => tls,
        Err(problem) => {
            let _ = ready.send(Err(problem));
            return;
        }
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let login_url = format!("{scheme}://{login_address}");
    let graph_origin = format!("{scheme}://{graph_address}");
    let shared = Shared::new(options, login_url.clone(), graph_origin.clone());
    tokio::spawn(serve(login, tls.clone(), shared.clone(), Service::Login));
    tokio::spawn(serve(graph, tls, shared.clone(), Service::Graph));
    let _ = ready.send(Ok((shared, login_url, graph_origin)));
    // An error means that the handle is gone, which is a stop as well.
    let _ = stopped.await;
}
