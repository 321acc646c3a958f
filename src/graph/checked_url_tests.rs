//! Hostile links and paths. The one promise: whatever comes out goes to the connection's own origin.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn root() -> Url {
    Url::parse("https://graph.microsoft.com/v1.0/").unwrap()
}

#[test]
fn hostile_next_links_are_refused() {
    for link in [
        // another host, port or scheme
        "https://evil.example/v1.0/users",
        "http://graph.microsoft.com/v1.0/users",
        "https://graph.microsoft.com:444/v1.0/users",
        "https://graph.microsoft.com:80/v1.0/users",
        "ftp://graph.microsoft.com/v1.0/users",
        "ws://graph.microsoft.com/v1.0/users",
        "file:///etc/passwd",
        "data:text/plain,x",
        "javascript:alert(1)",
        "blob:https://graph.microsoft.com/x",
        "https://graph.microsoft.us/v1.0/users",
        // user information
        "https://graph.microsoft.com@evil.example/v1.0/users",
        "https://user@graph.microsoft.com/v1.0/users",
        "https://user:pass@graph.microsoft.com/v1.0/users",
        "https://@graph.microsoft.com/v1.0/users",
        "https://:@graph.microsoft.com/v1.0/users",
        "https://graph.microsoft.com:443@evil.example/",
        "https://graph.microsoft.com%40evil.example/",
        // names that look alike
        "https://graph.microsoft.com.evil.example/v1.0/users",
        "https://evil-graph.microsoft.com/v1.0/users",
        "https://evilgraph.microsoft.com/v1.0/users",
        "https://graph.microsoft.com./v1.0/users",
        "https://graph.microsoft.co/v1.0/users",
        "https://gr\u{430}ph.microsoft.com/v1.0/users",
        "https://xn--grph-8cd.microsoft.com/v1.0/users",
        "https://graph.microsoft.com\u{3002}evil.example/",
        "https://graph\u{ff0e}microsoft\u{ff0e}com/v1.0/users",
        // addresses
        "https://127.0.0.1/v1.0/users",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[::ffff:13.107.1.1]/",
        "https://169.254.169.254/metadata/identity/oauth2/token",
        // without a scheme
        "//evil.example/v1.0/users",
        "//graph.microsoft.com/v1.0/users",
        "///evil.example/",
        "/\\evil.example/",
        "\\\\evil.example\\x",
        "https:\\\\evil.example\\x",
        "https:/\\evil.example/",
        "https:evil.example",
        "https:///evil.example/",
        "https://evil.example\\@graph.microsoft.com/",
        "https://evil.example?@graph.microsoft.com/",
        "https://evil.example#@graph.microsoft.com/",
        // control characters, spaces, fragments
        "https://graph.microsoft.com/v1.0/users\r\nHost: evil.example",
        "https://graph.microsoft\t.com/v1.0/users",
        "https://evil.example\t@graph.microsoft.com/",
        " https://graph.microsoft.com/v1.0/users",
        "https://graph.microsoft.com/v1.0/users ",
        "https://graph.microsoft.com/v1.0/users\u{0}",
        "https://graph.microsoft.com/v1.0/users?$skiptoken=a#b",
        // one up
        "https://graph.microsoft.com/v1.0/../beta/users",
        "https://graph.microsoft.com/v1.0/%2e%2e/beta",
        "https://graph.microsoft.com/v1.0/.%2E/beta",
        "../../evil",
        "",
    ] {
        let error = CheckedUrl::next_link(&root(), link);
        assert!(matches!(error, Err(GraphError::BadAnswer { .. })), "{link:?} came through as {error:?}");
    }
    assert!(CheckedUrl::next_link(&root(), &format!("users?x={}", "x".repeat(LONGEST_LINK))).is_err());
}

#[test]
fn next_links_are_sent_as_they_came() {
    let same = "https://graph.microsoft.com/v1.0/";
    for path_and_query in [
        "users?$skiptoken=RFNwdAIAAQAAABg6%23%2B%2f%2F%25",
        "users?%24skiptoken=X'",
        "users('a%20b')/messages?$skip=10&$top=10",
        "users?$skiptoken=a+b%20c~-_.!*();:@,/?|^`{}[]\\",
        "teams/19:abc@thread.tacv2/messages?$skiptoken=1~%23%23a",
        "me/mailFolders/AAMk|x=/messages/delta?$deltatoken=a%2Eb&x",
        "users?",
        "users?&&a==b",
    ] {
        let url = CheckedUrl::next_link(&root(), &format!("{same}{path_and_query}")).unwrap();
        let sent = &url.as_url()[Position::BeforePath..];
        // A quote in the query is all that reqwest's URL type changes.
        let expected = match path_and_query.split_once('?') {
            Some((path, query)) => format!("/v1.0/{path}?{}", query.replace('\'', "%27")),
            None => format!("/v1.0/{path_and_query}"),
        };
        assert_eq!(sent, expected);
        // What goes over the wire is this text, as hyper reads it.
        assert_eq!(
            url.as_url().as_str().parse::<http::Uri>().unwrap().path_and_query().unwrap().as_str(),
            sent
        );
    }
    // Bytes that no URL may hold are encoded, because they cannot be sent otherwise.
    let url =
        CheckedUrl::next_link(&root(), "https://graph.microsoft.com/v1.0/users?$filter=a eq \"é\"").unwrap();
    assert_eq!(url.as_url().query(), Some("$filter=a%20eq%20%22%C3%A9%22"));
}

#[test]
fn the_same_origin_is_recognised_in_its_spellings() {
    for (link, sent) in [
        (
            "https://graph.microsoft.com/v1.0/users?$skiptoken=1",
            "https://graph.microsoft.com/v1.0/users?$skiptoken=1",
        ),
        ("HTTPS://GRAPH.Microsoft.COM:443/v1.0/users", "https://graph.microsoft.com/v1.0/users"),
        ("https://graph.microsoft.com/beta/users", "https://graph.microsoft.com/beta/users"),
        ("users?$skiptoken=1", "https://graph.microsoft.com/v1.0/users?$skiptoken=1"),
        ("/v1.0/users?$skiptoken=1", "https://graph.microsoft.com/v1.0/users?$skiptoken=1"),
        (
            "users?next=https://evil.example",
            "https://graph.microsoft.com/v1.0/users?next=https://evil.example",
        ),
    ] {
        assert_eq!(CheckedUrl::next_link(&root(), link).unwrap().as_url().as_str(), sent, "{link}");
    }
}

#[test]
fn hostile_paths_are_refused() {
    for path in [
        "/me/messages",
        "//evil.example/x",
        "https://evil.example/x",
        "http:\\\\evil.example",
        "\\\\evil.example",
        "me\\messages",
        "..",
        "../beta/me",
        "me/../../beta",
        "me/..",
        "%2e%2e/beta",
        "me/.%2e/x",
        "me/%2E./x",
        "./me",
        "me/./x",
        "me/%2e",
        "..%2f..%2fbeta",
        "x/..%5c..%5cbeta",
        "users//messages",
        "me/messages#x",
        "me/messages?$select=a#b",
        "me/mess\r\nages",
        "me/\u{0}",
        "me/%00",
        "me/%0d%0aX",
        "me/messages?$filter=a\nb",
        " me",
        "me ",
    ] {
        let error = CheckedUrl::below_root(&root(), path);
        assert!(matches!(error, Err(GraphError::BadRequest { .. })), "{path:?} came through as {error:?}");
    }
}

#[test]
fn good_paths_stay_below_the_root() {
    for (path, sent) in [
        ("me/messages?$select=id", "me/messages?$select=id"),
        ("", ""),
        ("$batch", "$batch"),
        ("users/a..b@contoso.com/messages", "users/a..b@contoso.com/messages"),
        ("me/drive/root:/a%20b/c.txt:/content", "me/drive/root:/a%20b/c.txt:/content"),
        ("users?$search=\"displayName:x\"", "users?$search=%22displayName:x%22"),
        ("users?$filter=a eq 'b//c/../d'", "users?$filter=a%20eq%20%27b//c/../d%27"),
        ("me/messages('x')/@evil.example", "me/messages('x')/@evil.example"),
    ] {
        let url = CheckedUrl::below_root(&root(), path).unwrap();
        assert_eq!(url.as_url().as_str(), format!("https://graph.microsoft.com/v1.0/{sent}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_outside_the_origin_ever_gets_through(
        parts in prop::collection::vec(prop::sample::select(vec![
            "https:", "http:", "//", "/", "\\", "graph.microsoft.com", "evil.example", "@", ":", ":443", ":444", "v1.0", "..", "%2e", ".", "?", "#",
            "\t", "\u{ff0e}", "\u{3002}", "xn--", "%40", "%2f", "[::1]", "127.1", " ", "user", "$skiptoken=a", "é",
        ]), 0..9),
    ) {
        let text = parts.concat();
        for checked in [CheckedUrl::next_link(&root(), &text), CheckedUrl::below_root(&root(), &text)].into_iter().flatten() {
            // Judged by another parser than the one that let it through.
            let uri: http::Uri = checked.as_url().as_str().parse().unwrap();
            prop_assert_eq!(uri.scheme_str(), Some("https"));
            prop_assert_eq!(uri.authority().map(|authority| authority.as_str()), Some("graph.microsoft.com"));
        }
        if let Ok(checked) = CheckedUrl::below_root(&root(), &text) {
            prop_assert!(checked.path().starts_with("/v1.0/"));
        }
    }
}
