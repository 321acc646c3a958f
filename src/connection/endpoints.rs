//! Where a connection talks to: the servers of its cloud, or its own. Never resolves a name.

use url::{Host, Url};

use super::values::Values;
use super::{Endpoints, SignInUrls};

/// Reads and checks the two servers.
pub(super) fn check(values: &mut Values<'_>) -> Option<Endpoints> {
    let environment =
        if values.is_given("AzureEnvironment") { values.choice("AzureEnvironment")? } else { "GLOBAL" };
    let Some(endpoints) = cloud(environment) else {
        let (authority, graph) = (own(values, "AuthorityHost"), own(values, "GraphEndpoint"));
        return Some(Endpoints { authority: authority?, graph: graph? });
    };
    for name in ["AuthorityHost", "GraphEndpoint"] {
        if values.is_given(name) {
            values.fault(name, format!("{name} needs AzureEnvironment: CUSTOM, but it is {environment}. Write CUSTOM, or remove {name}."));
        }
    }
    Some(endpoints)
}

/// The servers of a cloud of Microsoft's; `None` for any other word.
pub(crate) fn cloud(environment: &str) -> Option<Endpoints> {
    // Microsoft Learn, "Microsoft Graph national cloud deployments" and "National clouds" of the identity platform.
    let (authority, graph) = match environment {
        "GLOBAL" => ("https://login.microsoftonline.com/", "https://graph.microsoft.com/v1.0/"),
        "USGOVT" => ("https://login.microsoftonline.us/", "https://graph.microsoft.us/v1.0/"),
        "USGOVTDOD" => ("https://login.microsoftonline.us/", "https://dod-graph.microsoft.us/v1.0/"),
        "CHINA" => {
            ("https://login.partner.microsoftonline.cn/", "https://microsoftgraph.chinacloudapi.cn/v1.0/")
        }
        _ => return None,
    };
    let known = |text| Url::parse(text).expect("the table above holds well-formed addresses");
    Some(Endpoints { authority: known(authority), graph: known(graph) })
}

/// Reads and checks the driver's overrides of the addresses below the authority. They may choose a path, not a server:
/// whoever answers there is sent refresh tokens and client secrets.
pub(super) fn sign_in_urls(values: &mut Values<'_>, endpoints: Option<&Endpoints>) -> SignInUrls {
    SignInUrls {
        token: same_origin(values, "OAuthAccessTokenURL", endpoints),
        authorization: same_origin(values, "OAuthAuthorizationURL", endpoints),
    }
}

fn same_origin(values: &mut Values<'_>, name: &'static str, endpoints: Option<&Endpoints>) -> Option<Url> {
    let text = values.text(name)?;
    let authority = &endpoints?.authority;
    let checked = safe(&text).and_then(|url| {
        if url.origin() == authority.origin() {
            return Ok(url);
        }
        Err(format!(
            "It leads to another server than this connection's token server, {}, and whoever answers there is handed \
             its refresh tokens and secrets. Write an address there, or remove {name}; another token server is named \
             with AzureEnvironment: CUSTOM and AuthorityHost.",
            authority.origin().ascii_serialization()
        ))
    });
    checked.map_err(|message| values.fault(name, message)).ok()
}

/// The address of a server that the operator names.
fn own(values: &mut Values<'_>, name: &'static str) -> Option<Url> {
    let Some(text) = values.text(name) else {
        if !values.is_given(name) {
            values.fault(
                name,
                format!("AzureEnvironment CUSTOM needs {name}. Add it, for example {name}: https://host/."),
            );
        }
        return None;
    };
    match server(&text) {
        Ok(url) => Some(url),
        Err(message) => {
            values.fault(name, message);
            None
        }
    }
}

/// An address that a token may be sent to, ending in `/`.
fn server(text: &str) -> Result<Url, String> {
    let mut url = safe(text)?;
    if !url.path().ends_with('/') {
        let path = format!("{}/", url.path());
        url.set_path(&path);
    }
    Ok(url)
}

/// An address that a token may be sent to.
fn safe(text: &str) -> Result<Url, String> {
    // Faults never quote the address as a whole: a password may stand in it.
    let url =
        Url::parse(text).map_err(|error| format!("This is not an address: {error}. Write https://host/."))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "An address must not hold a user or password. Remove everything up to the '@'.".to_owned()
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("An address must not have a '?' or '#' part. Remove it.".to_owned());
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        _ => {
            return Err("Tokens are sent over https only (http on loopback only). Write https://.".to_owned());
        }
    }
    Ok(url)
}

/// Whether only this host can answer at that address.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_safe_to_send_tokens_to() {
        for (text, wanted) in [
            ("https://graph.example/v1.0", Ok("https://graph.example/v1.0/")),
            ("HTTPS://Graph.Example:443/v1.0/", Ok("https://graph.example/v1.0/")),
            ("http://127.0.0.1:9420/v1.0", Ok("http://127.0.0.1:9420/v1.0/")),
            ("http://[::1]:1", Ok("http://[::1]:1/")),
            ("http://localhost:1", Ok("http://localhost:1/")),
            ("http://localhost.evil.example/", Err("https only")),
            ("http://127.0.0.1.evil.example/", Err("https only")),
            ("http://graph.example/", Err("https only")),
            ("ftp://graph.example/", Err("https only")),
            ("file:///etc/passwd", Err("https only")),
            ("https://user:hunter2@graph.example/", Err("user or password")),
            ("https://graph.example/?a=b", Err("'?'")),
            ("https://graph.example/#a", Err("'#'")),
            ("graph.example", Err("not an address")),
        ] {
            match (server(text), wanted) {
                (Ok(url), Ok(wanted)) => assert_eq!(url.as_str(), wanted),
                (Err(message), Err(wanted)) => {
                    assert!(message.contains(wanted) && !message.contains("hunter2"), "{text}: {message}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
