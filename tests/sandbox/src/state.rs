//! Everything that changes while a sandbox runs, behind one lock.
//! Never held over an await: the services lock, work and unlock.

use crate::answer::Call;
use crate::data::documents::Documents;
use crate::data::drives::{Actor, Drives};
use crate::data::seeds;
use crate::data::tenant::{Tenant, UserFacts};
use crate::entra::assertion::Credentials;
use crate::entra::identity::ArcChallenge;
use crate::entra::sign_in::SignIns;
use crate::entra::store::TokenStore;
use crate::faults::{FaultAction, FaultPlan};
use crate::graph::cache::PageCache;
use crate::graph::uploads::Upload;
use crate::options::SandboxOptions;
use crate::random::Fresh;
use crate::throttle::Throttle;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many requests of each kind are remembered.
const REMEMBERED_REQUESTS: usize = 2_000;

/// How much of a body is remembered.
const LONGEST_REMEMBERED: usize = 256 * 1024;

/// What happened so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Posts to the token endpoint, refused ones included.
    pub token_posts: u64,
    /// Access tokens issued by the token endpoint.
    pub tokens_issued: u64,
    /// Refresh tokens used more than once.
    pub refresh_reuses: u64,
    /// Requests to Graph, refused ones included; a batch counts once.
    pub graph_requests: u64,
    /// Single requests inside batches.
    pub batch_parts: u64,
    /// Answers with 429, from faults as well as from the limits.
    pub throttled: u64,
    /// Graph answers with 401.
    pub unauthorized: u64,
    /// Rows sent in pages.
    pub rows_sent: u64,
    /// Rows created, changed or deleted.
    pub writes: u64,
    /// Requests to the content service.
    pub content_requests: u64,
    /// Requests to the content service that brought a token.
    pub tokens_given_away: u64,
    /// Bytes that upload sessions took.
    pub bytes_uploaded: u64,
    /// The most requests that one mailbox had in work at the same time.
    pub max_concurrent_per_mailbox: u64,
    /// Faults that hit a request.
    pub faults_hit: u64,
    /// The same by what they did.
    pub faults_by_kind: BTreeMap<String, u64>,
    /// Requests that were repeated before the `Retry-After` of their refusal had passed.
    pub early_repeats: u64,
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedRequest {
    /// When it arrived, in milliseconds since 1970.
    pub at_millis: u64,
    /// The HTTP method.
    pub method: String,
    /// Path and query, as sent.
    pub path_and_query: String,
    /// Header names (lower case) and values, in order.
    pub headers: Vec<(String, String)>,
    /// The first 256 KiB of the body; bytes that are not UTF-8 are replaced.
    pub body: String,
}

impl RecordedRequest {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The decoded fields of a form body.
    pub fn form(&self) -> Vec<(String, String)> {
        crate::answer::decoded_pairs(&self.body)
    }
}

/// The state.
#[derive(Debug)]
pub(crate) struct State {
    /// The options; some can be changed while it runs.
    pub(crate) options: SandboxOptions,
    /// `http://127.0.0.1:PORT` of Graph.
    pub(crate) graph_origin: String,
    /// `http://127.0.0.1:PORT` of the sign-in service.
    pub(crate) login_origin: String,
    /// `http://127.0.0.1:PORT` of the content service.
    pub(crate) content_origin: String,
    /// The drives that somebody opened.
    pub(crate) drives: Drives,
    /// Groups, plans, bookings and their like.
    pub(crate) documents: Documents,
    /// Limits and the record of requests.
    pub(crate) throttle: Throttle,
    /// Upload sessions by their secret.
    pub(crate) uploads: HashMap<String, Upload>,
    /// The latest requests to the content service, without their bodies.
    pub(crate) content_requests: VecDeque<RecordedRequest>,
    /// How often something of that name was created.
    pub(crate) created: HashMap<String, u32>,
    /// The directory and mailboxes.
    pub(crate) tenant: Tenant,
    /// Certificates and federated tokens of the confidential application.
    pub(crate) credentials: Credentials,
    /// Azure Arc's challenge; without one its answers come at once.
    pub(crate) arc_challenge: Option<ArcChallenge>,
    /// The latest requests to the machine's identity services.
    pub(crate) identity_requests: VecDeque<RecordedRequest>,
    /// Tokens.
    pub(crate) tokens: TokenStore,
    /// Sign-ins under way.
    pub(crate) sign_ins: SignIns,
    /// Planned faults.
    pub(crate) faults: FaultPlan,
    /// Rendered pages.
    pub(crate) pages: PageCache,
    /// Fresh identifiers.
    pub(crate) fresh: Fresh,
    /// Counters.
    pub(crate) stats: Stats,
    /// Requests in work per mailbox.
    pub(crate) in_work: HashMap<String, usize>,
    /// The latest posts to the token endpoint.
    pub(crate) token_requests: VecDeque<RecordedRequest>,
    /// The latest requests to Graph.
    pub(crate) graph_requests: VecDeque<RecordedRequest>,
}

impl State {
    /// Counts something that was written, and the name of what was created.
    pub(crate) fn count_write(&mut self, created: Option<&str>) {
        self.stats.writes += 1;
        if let Some(name) = created {
            *self.created.entry(name.to_owned()).or_insert(0) += 1;
        }
    }

    /// Counts a fault that hits a request.
    pub(crate) fn count_fault(&mut self, fault: Option<FaultAction>) -> Option<FaultAction> {
        if let Some(fault) = &fault {
            self.stats.faults_hit += 1;
            *self.stats.faults_by_kind.entry(fault.kind()).or_insert(0) += 1;
        }
        fault
    }

    /// The fault for a request to the content service.
    pub(crate) fn take_content_fault(&mut self, method: &str, path_and_query: &str) -> Option<FaultAction> {
        let fault = self.faults.take_for_content(method, path_and_query);
        self.count_fault(fault)
    }

    /// A group as the owner of its drive.
    pub(crate) fn group_actor(&self, group: &str) -> Option<Actor> {
        let row = self.documents.get("groups", group)?;
        let text =
            |name: &str| row.fields.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        Some(Actor { id: row.id.clone(), name: text("displayName"), address: text("mail") })
    }

    /// A group as the owner of a mailbox; groups without mail have none.
    pub(crate) fn group_mailbox(&self, group: &str) -> Option<UserFacts> {
        let actor = self.group_actor(group)?;
        let has_mailbox = !actor.address.is_empty();
        Some(UserFacts {
            key: u32::MAX,
            id: actor.id,
            upn: actor.address,
            name: actor.name,
            administrator: false,
            has_mailbox,
        })
    }

    /// Opens every drive of the tenant, so that any id can be found.
    pub(crate) fn open_all_drives(&mut self) {
        let personal = self.options.personal_drives;
        for key in self.tenant.users.keys() {
            let user = self.tenant.facts(key);
            let owner = Actor { id: user.id, name: user.name, address: user.upn };
            self.drives.of(&owner, false, personal);
        }
        let groups: Vec<String> = self.documents.table("groups").rows().map(|row| row.id.clone()).collect();
        for owner in groups.iter().filter_map(|group| self.group_actor(group)).collect::<Vec<_>>() {
            self.drives.of(&owner, true, personal);
        }
    }
}

/// The state as the servers and the handle share it.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Mutex<State>>);

impl Shared {
    /// The state of a tenant that listens at these origins.
    pub(crate) fn new(
        options: SandboxOptions,
        login_origin: String,
        graph_origin: String,
        content_origin: String,
    ) -> Self {
        let tenant = Tenant::new(&options);
        let documents = seeds::documents(&tenant);
        Self(Arc::new(Mutex::new(State {
            options,
            graph_origin,
            login_origin,
            content_origin,
            drives: Drives::default(),
            documents,
            throttle: Throttle::default(),
            uploads: HashMap::new(),
            content_requests: VecDeque::new(),
            created: HashMap::new(),
            tenant,
            credentials: Credentials::default(),
            arc_challenge: None,
            identity_requests: VecDeque::new(),
            tokens: TokenStore::default(),
            sign_ins: SignIns::default(),
            faults: FaultPlan::default(),
            pages: PageCache::default(),
            fresh: Fresh::new(),
            stats: Stats::default(),
            in_work: HashMap::new(),
            token_requests: VecDeque::new(),
            graph_requests: VecDeque::new(),
        })))
    }

    /// Locks the state; a panic elsewhere must not take the sandbox down with it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers a request and forgets the oldest when there are too many.
pub(crate) fn remember(ring: &mut VecDeque<RecordedRequest>, call: &Call) {
    if ring.len() == REMEMBERED_REQUESTS {
        ring.pop_front();
    }
    ring.push_back(RecordedRequest {
        at_millis: crate::time::now_millis(),
        method: call.method.clone(),
        path_and_query: call.target.clone(),
        headers: call.headers.clone(),
        body: String::from_utf8_lossy(&call.body[..call.body.len().min(LONGEST_REMEMBERED)]).into_owned(),
    });
}
