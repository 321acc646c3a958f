//! Drives settings, drop-ins and connections through the library, as the agent does: the fixtures in
//! `tests/fixtures/dropins` go through scan and registry, and each bad one must give exactly its `.expected` lines
//! (`line: key: message`) while everything that was in force stays in force.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use o365_agent::connection::{
    AuthScheme, ClientCredential, ConnectionSet, InitiateOAuth, ProxyKind, Registry, ServerTrust,
    StoreLocation, check_directory, substitute_json,
};
use o365_agent::dropin::scan;
use o365_agent::error::Fault;
use o365_agent::settings::{self, Settings, ThisHost};

const GOOD: &str = "connections:\n  Kept:\n    AuthScheme: AzureAD\n    OAuthAccessToken: at\n";

fn fixtures(prefix: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/dropins");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with(prefix) && name.ends_with(".yaml") {
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// Settings for a fixture: its first line may hold one line of the [Settings] section.
fn settings_for(text: &str) -> Settings {
    let line = text.lines().next().and_then(|line| line.strip_prefix("# settings: ")).unwrap_or_default();
    let conf = format!("[Settings]\n{line}\n");
    settings::parse(Some(Path::new("jitterbit.conf")), &conf, &ThisHost::new()).unwrap().settings
}

struct Directory {
    folder: tempfile::TempDir,
    registry: Registry,
    host: ThisHost,
}

impl Directory {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().display().to_string();
        let host = ThisHost::with_environment(move |name| match name {
            "CREDENTIALS_DIRECTORY" => Some(directory.clone()),
            "SALES_TOKEN" => Some("from the environment".to_owned()),
            "EMPTY" => Some(String::new()),
            "BLANK" => Some(" \t".to_owned()),
            _ => None,
        });
        Self { folder, registry: Registry::new(), host }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn apply(&self, settings: &Settings) -> o365_agent::connection::Changes {
        self.registry.apply(&scan(self.folder.path()), settings, &self.host)
    }

    fn generation(&self, name: &str) -> Option<u64> {
        self.registry.get(name).map(|connection| connection.generation.number())
    }
}

fn lines(faults: &[Fault], folder: &Path) -> String {
    faults
        .iter()
        .map(|fault| {
            let line = fault.line.map_or("-".to_owned(), |line| line.to_string());
            let message = fault.message.replace(env!("CARGO_PKG_VERSION"), "@VERSION@");
            format!("{line}: {}: {}\n", fault.key, message.replace(folder.to_str().unwrap(), "@FOLDER@"))
        })
        .collect()
}

#[test]
fn every_bad_drop_in_says_exactly_what_is_wrong_and_hurts_only_itself() {
    let fixtures = fixtures("bad-");
    assert!(fixtures.len() >= 60, "{} fixtures", fixtures.len());
    let mut wrong = String::new();
    for (name, text) in fixtures {
        let directory = Directory::new();
        let text = text.replace("@FOLDER@", directory.folder.path().to_str().unwrap());
        let settings = settings_for(&text);
        directory.write("fixture.yaml", GOOD);
        directory.write("other.yaml", &GOOD.replace("Kept", "Other"));
        directory.write("token", "unused");
        directory.write("blank", " \n");
        assert!(directory.apply(&settings).faults.is_empty());
        let before = (directory.generation("Kept"), directory.generation("Other"));
        directory.write("fixture.yaml", &text);
        let changes = directory.apply(&settings);
        let found = lines(&changes.faults, directory.folder.path());
        let expected_file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/dropins")
            .join(name.replace(".yaml", ".expected"));
        if found != std::fs::read_to_string(expected_file).unwrap_or_default() {
            wrong.push_str(&format!("=== {name}\n{found}"));
        }
        assert!(changes.is_empty(), "{name}: nothing may change");
        assert!(changes.faults.iter().all(|fault| fault.file == directory.path("fixture.yaml")), "{name}");
        assert_eq!(
            (directory.generation("Kept"), directory.generation("Other")),
            before,
            "{name}: last good is kept"
        );
        assert_eq!(directory.registry.current().files[0].state, "kept_last_good", "{name}");
        // The same file on a fresh agent: it is refused, the other one serves.
        let fresh = check_directory(directory.folder.path(), &settings, &directory.host);
        assert_eq!(lines(&fresh.faults, directory.folder.path()), found, "{name}: check says the same");
        assert_eq!(names(&fresh), ["Other"], "{name}");
        assert_eq!(fresh.files[0].state, "rejected", "{name}");
        // Repaired: a new version is in force, and no fault is left.
        directory.write("fixture.yaml", &format!("{GOOD}    Timeout: 7\n"));
        let changes = directory.apply(&settings);
        assert_eq!((changes.changed.len(), changes.unchanged, changes.faults.len()), (1, 1, 0), "{name}");
    }
    assert!(wrong.is_empty(), "these differ from their .expected:\n{wrong}");
}

fn names(set: &ConnectionSet) -> Vec<&str> {
    set.connections.keys().map(|name| name.as_str()).collect()
}

#[test]
fn every_good_drop_in_is_taken() {
    let fixtures = fixtures("good-");
    assert!(fixtures.len() >= 14, "{} fixtures", fixtures.len());
    for (name, text) in fixtures {
        let directory = Directory::new();
        let token = directory.path("token");
        directory.write("token", "from a file\n");
        std::fs::set_permissions(&token, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let settings = settings_for(&text);
        directory.write("fixture.yaml", &text.replace("@FOLDER@", directory.folder.path().to_str().unwrap()));
        let changes = directory.apply(&settings);
        assert_eq!(lines(&changes.faults, directory.folder.path()), "", "{name}");
        // A second look at the same files changes nothing.
        let again = directory.apply(&settings);
        assert!(again.is_empty() && again.unchanged == changes.added.len(), "{name}");
        look_closer(&name, &directory);
    }
}

/// What the good fixtures must come to.
fn look_closer(name: &str, directory: &Directory) {
    let set = directory.registry.current();
    let token = |connection: &str| {
        let connection = directory.registry.get(connection).unwrap();
        connection.auth.seed.access_token.as_ref().map(|token| token.expose().clone())
    };
    match name {
        "good-secret-forms.yaml" => {
            for (connection, wanted) in [
                ("Inline", "a[b"),
                ("File", "from a file"),
                ("Credential", "from a file"),
                ("Environment", "from the environment"),
            ] {
                assert_eq!(token(connection).as_deref(), Some(wanted), "{connection}");
            }
            assert!(!format!("{set:?}").contains("from a file"), "secrets are not in Debug");
        }
        "good-every-property.yaml" => {
            let sales = directory.registry.get("Sales").unwrap();
            assert_eq!(
                (sales.auth.scheme, sales.auth.initiate),
                (AuthScheme::AzureAd, InitiateOAuth::Refresh)
            );
            assert!(matches!(sales.auth.credential, ClientCredential::Secret(_)));
            assert_eq!(sales.endpoints.authority.as_str(), "http://127.0.0.1:9411/");
            assert_eq!(sales.endpoints.graph.as_str(), "https://graph.example/v1.0/");
            assert_eq!(sales.store, StoreLocation::Memory("sales".to_owned()));
            assert_eq!(sales.auth.seed.expires_in.unwrap().as_secs(), 3599);
            assert_eq!(sales.auth.seed.issued_at.unwrap().as_seconds(), 1_700_000_000);
            assert_eq!(
                (sales.max_rows, sales.page_size, sales.mailbox_concurrency),
                (Some(1000), Some(100), 2)
            );
            assert_eq!((sales.read_only, sales.timeout.as_secs()), (true, 30));
            let proxy = sales.proxy.as_ref().unwrap();
            assert_eq!(
                (proxy.host.as_str(), proxy.port, proxy.user.as_deref()),
                ("proxy.example", 3128, Some("agent"))
            );
            assert_eq!(proxy.exceptions, ["localhost", "*.example"]);
            let user = sales.user_id.as_ref().unwrap();
            assert_eq!(user.resolve(&|_| None).as_deref(), Ok("sales@contoso.com"));
            assert!(set.files[0].notices.is_empty());
        }
        "good-properties-without-effect.yaml" => {
            let noticed: Vec<&str> = set.files[0].notices.iter().map(|notice| notice.key.as_str()).collect();
            for property in ["RTK", "Verbosity", "Logfile", "UseConnectionPooling", "Timeout"] {
                assert!(
                    noticed.contains(&format!("connections.Sales.{property}").as_str()),
                    "{property}: {noticed:?}"
                );
            }
            assert_eq!(noticed.len(), 5, "{noticed:?}");
        }
        "good-transport.yaml" => {
            let connection = |name: &str| directory.registry.get(name).unwrap();
            let proxy = |name: &str| {
                let proxy = connection(name).proxy.clone().unwrap();
                (proxy.kind, proxy.host, proxy.port, proxy.exceptions.len())
            };
            assert!(
                matches!(connection("Text").server_trust, ServerTrust::Certificates(ref all) if all.len() == 1)
            );
            assert!(
                matches!(connection("Pin").server_trust, ServerTrust::Thumbprint(pin) if pin[31] == 0xff)
            );
            assert_eq!(connection("Loopback").server_trust, ServerTrust::AnyOnLoopback);
            assert_eq!(proxy("Socks"), (ProxyKind::Socks5, "wall.example".to_owned(), 1080, 1));
            assert_eq!(proxy("Tunnel"), (ProxyKind::Http, "wall.example".to_owned(), 80, 0));
            assert_eq!(proxy("Tls proxy"), (ProxyKind::Https, "proxy.example".to_owned(), 80, 0));
            let client = connection("Client");
            assert_eq!(
                (client.auth.scheme, client.is_delegated()),
                (AuthScheme::AzureServicePrincipal, false)
            );
            assert_eq!(
                connection("Scopes").auth.scope.as_deref(),
                Some("Mail.Read Mail.Send https://graph.microsoft.com/User.Read")
            );
            let urls = &connection("Urls").sign_in_urls;
            assert!(urls.token.is_some() && urls.authorization.is_some());
        }
        "good-variables.yaml" => {
            let sales = directory.registry.get("Sales").unwrap();
            assert_eq!(sales.auth.tenant.as_deref(), Some("contoso.onmicrosoft.com"));
            assert_eq!(sales.timeout.as_secs(), 45);
            let request = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let fixed = request("tenant", "evil.example");
            let message = sales.variable_lookup(&fixed).err().unwrap();
            assert!(message.contains("'tenant'") && message.contains("AzureTenant"), "{message}");
            assert!(
                sales.variable_lookup(&request("timeout", "1")).is_err(),
                "also one that had only its default"
            );
            assert!(sales.variable_lookup(&request("tenant", "contoso.onmicrosoft.com")).is_ok());
            let mailbox = request("mailbox", "me@contoso.com");
            let lookup = sales.variable_lookup(&mailbox).unwrap();
            assert_eq!(sales.user_id.as_ref().unwrap().resolve(&lookup).as_deref(), Ok("me@contoso.com"));
        }
        "good-activities.yaml" => {
            let sales = directory.registry.get("Sales").unwrap();
            assert_eq!(sales.activities.len(), 5);
            let body = &sales.activities["New contact"].body;
            let lookup = |name: &str| (name == "first").then(|| "[Ada]".to_owned());
            let resolved = substitute_json(body, &lookup).unwrap();
            assert_eq!(resolved["records"][0]["givenName"], "[Ada]");
            assert_eq!(resolved["records"][0]["emailAddresses"][0]["address"], "[x]");
            assert_eq!(resolved["continueOnError"], true);
            assert!(body.get("type").is_none());
            assert_eq!(sales.activities["Unread mail"].body["limit"], 50);
        }
        _ => assert!(!set.connections.is_empty() || name == "good-empty.yaml", "{name}"),
    }
}

#[test]
fn a_name_in_two_files_changes_neither() {
    let directory = Directory::new();
    let settings = settings_for("");
    directory.write("a.yaml", GOOD);
    directory.write("b.yaml", &GOOD.replace("Kept", "Other"));
    directory.apply(&settings);
    let before = (directory.generation("Kept"), directory.generation("Other"));
    directory.write("b.yaml", &GOOD.replace("at\n", "another\n"));
    let changes = directory.apply(&settings);
    assert!(changes.is_empty());
    assert_eq!((directory.generation("Kept"), directory.generation("Other")), before);
    let files: Vec<_> = changes.faults.iter().map(|fault| fault.file.clone()).collect();
    assert_eq!(files, [directory.path("a.yaml"), directory.path("b.yaml")]);
    assert!(
        changes
            .faults
            .iter()
            .all(|fault| fault.message.contains("a.yaml and b.yaml") && fault.line == Some(2))
    );
    // Moved for good: it is gone from the first file, so the second one has it.
    directory.write("a.yaml", "connections: {}\n");
    let changes = directory.apply(&settings);
    assert_eq!((changes.faults.len(), changes.changed.len(), changes.removed.len()), (0, 1, 1));
}

#[test]
fn a_kept_connection_still_owns_its_name_and_its_store() {
    let directory = Directory::new();
    let settings = settings_for("# settings: EnableLocalFileLocation=true");
    let store = format!("    OAuthSettingsLocation: {}/store.json\n", directory.folder.path().display());
    directory.write("a.yaml", &format!("{GOOD}{store}"));
    directory.apply(&settings);
    let before = directory.generation("Kept");
    directory.write("a.yaml", "connections: [\n");
    directory.write("b.yaml", GOOD);
    directory.write("c.yaml", &format!("{}{store}", GOOD.replace("Kept", "Thief")));
    let changes = directory.apply(&settings);
    assert!(changes.is_empty(), "{changes:?}");
    assert_eq!(directory.generation("Kept"), before);
    let messages: String = changes.faults.iter().map(|fault| format!("{fault}\n")).collect();
    assert!(
        messages.contains("stands in a.yaml and b.yaml") && messages.contains("in the same file"),
        "{messages}"
    );
    assert!(directory.registry.current().refused.contains_key("Thief"));
}

#[test]
fn a_variable_belongs_to_one_file_and_goes_back_with_it() {
    let directory = Directory::new();
    let settings = settings_for("");
    let uses = GOOD.replace("Kept", "Uses") + "    AzureTenant: \"[tenant]\"\n";
    directory.write("uses.yaml", &uses);
    directory.write("vars.yaml", "variables: {tenant: one.example}\n");
    directory.apply(&settings);
    let tenant = || directory.registry.get("Uses").unwrap().auth.tenant.clone();
    assert_eq!(tenant().as_deref(), Some("one.example"));
    directory.write("vars.yaml", "variables: {tenant: two.example}\nnonsense: 1\n");
    assert!(directory.apply(&settings).is_empty(), "a faulty file's variables stay as they were");
    directory.write("vars.yaml", "variables: {tenant: two.example}\n");
    assert_eq!(directory.apply(&settings).changed.len(), 1);
    assert_eq!(tenant().as_deref(), Some("two.example"));
    directory.write("more.yaml", "variables: {tenant: three.example}\n");
    let changes = directory.apply(&settings);
    assert!(changes.is_empty() && changes.faults.len() == 2, "{changes:?}");
    std::fs::remove_file(directory.path("more.yaml")).unwrap();
    std::fs::remove_file(directory.path("vars.yaml")).unwrap();
    let changes = directory.apply(&settings);
    assert!(changes.is_empty(), "the user of a variable that is gone keeps its last good version");
    assert!(changes.faults[0].message.contains("'tenant' is not set"));
}

#[test]
fn a_new_secret_behind_the_same_reference_is_a_change() {
    let directory = Directory::new();
    let settings = settings_for("");
    directory.write("token", "one");
    directory.write("a.yaml", &GOOD.replace("at\n", "{ credential: token }\n"));
    assert_eq!(directory.apply(&settings).added.len(), 1);
    directory.write("token", "two");
    assert_eq!(directory.apply(&settings).changed.len(), 1);
    assert_eq!(directory.apply(&settings).unchanged, 1);
}

#[test]
fn a_missing_directory_takes_nothing_away() {
    let directory = Directory::new();
    let settings = settings_for("");
    directory.write("a.yaml", GOOD);
    directory.apply(&settings);
    let mut scanner =
        o365_agent::dropin::Scanner::new(directory.folder.path(), o365_agent::clock::Clock::machine());
    while scanner.look().1 {
        std::thread::yield_now();
    }
    let elsewhere = directory.folder.path().with_extension("away");
    std::fs::rename(directory.folder.path(), &elsewhere).unwrap();
    let (snapshot, _) = scanner.look();
    std::fs::rename(&elsewhere, directory.folder.path()).unwrap();
    let changes = directory.registry.apply(&snapshot, &settings, &directory.host);
    assert!(changes.is_empty() && changes.faults.len() == 1 && changes.unchanged == 1, "{changes:?}");
}

#[test]
fn examples_are_taken_as_they_stand() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = Directory::new();
    let settings = settings_for("");
    let mut count = 0;
    for entry in std::fs::read_dir(root.join("agent.d")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let Some(name) = name.strip_suffix(".example") else {
            assert_eq!(name, "README.md", "only examples live here, so that nothing is loaded unasked");
            continue;
        };
        assert!(o365_agent::dropin::is_drop_in_name(name));
        directory.write(name, &std::fs::read_to_string(&path).unwrap());
        count += 1;
    }
    for credential in
        ["sales-access-token", "sales-refresh-token", "reports-client-secret", "shared-access-token"]
    {
        directory.write(credential, "secret");
    }
    let changes = directory.apply(&settings);
    assert_eq!(lines(&changes.faults, directory.folder.path()), "");
    assert!(count >= 3 && changes.added.len() >= count);
}

#[test]
fn a_real_jitterbit_file_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conf/jitterbit.conf");
    let location = settings::Location { path, required: true };
    let loaded = settings::load(&location, &ThisHost::new()).unwrap();
    assert!(loaded.settings.enable_local_file_location);
    assert_eq!(loaded.settings.predefined_variables["Tenant.Name"], "contoso.onmicrosoft.com");
    assert_eq!(loaded.settings.drop_in_directory, Path::new("/etc/o365-agent/agent.d"));
    let foreign: Vec<_> =
        loaded.notices.iter().filter(|notice| notice.level == settings::NoticeLevel::Info).collect();
    assert!(foreign[0].text.message.contains("[JavaBackend]"), "{foreign:?}");
    assert!(
        loaded.notices.iter().all(|notice| notice.level == settings::NoticeLevel::Info),
        "{:?}",
        loaded.notices
    );
    let _shared: Arc<Settings> = Arc::new(loaded.settings);
}
