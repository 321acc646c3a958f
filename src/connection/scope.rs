//! `Scope`: the permissions to ask for, checked against what the token server's grant can give. Never asks the server.

use super::values::Values;
use super::{Auth, AuthScheme, Endpoints, InitiateOAuth};

const NAME: &str = "Scope";

/// The scopes, each once, separated by one space. Spaces and commas separate them in the property.
pub(super) fn read(values: &mut Values<'_>) -> Option<String> {
    let text = values.text(NAME)?;
    let mut scopes: Vec<&str> = Vec::new();
    for scope in text.split([' ', ',', '\t', '\n', '\r']).filter(|scope| !scope.is_empty()) {
        // RFC 6749 section 3.3: printable ASCII without '"' and '\'.
        if !scope.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\') {
            values.fault(
                NAME,
                format!("'{}' is not a scope. Write names such as Mail.Read.", scope.escape_debug()),
            );
        }
        if !scopes.iter().any(|known| known.eq_ignore_ascii_case(scope)) {
            scopes.push(scope);
        }
    }
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

/// Whether the scopes fit the way of signing in and the cloud.
pub(super) fn check(values: &mut Values<'_>, auth: &Auth, endpoints: Option<&Endpoints>) {
    let Some(scopes) = &auth.scope else { return };
    let is_application = auth.scheme != AuthScheme::AzureAd
        && auth.initiate != InitiateOAuth::Off
        && auth.seed.refresh_token.is_none();
    for scope in scopes.split(' ') {
        // "Microsoft identity platform and the OAuth 2.0 client credentials flow": the resource with `.default`. Other
        // authorization servers (AzureEnvironment: CUSTOM) may name an application's scopes.
        let is_entra = endpoints.is_none_or(|endpoints| is_microsoft(&endpoints.graph));
        if is_application && is_entra && !scope.ends_with("/.default") {
            let message = format!(
                "An application is given all that an administrator granted it, and cannot ask for {scope}. \
                 Write a resource with /.default, or remove Scope."
            );
            return values.fault(NAME, message);
        }
        // Tokens of one cloud are useless in another ("Microsoft Graph national cloud deployments").
        let resource = url::Url::parse(scope).ok().filter(|url| url.has_host());
        if let (Some(resource), Some(endpoints)) = (resource, endpoints)
            && is_microsoft(&endpoints.graph)
            && resource.host_str() != endpoints.graph.host_str()
        {
            let message = format!(
                "The scope {scope} gives tokens for another server than this connection's Graph, {}. \
                 Write a scope of that server, or remove Scope.",
                endpoints.graph.origin().ascii_serialization()
            );
            return values.fault(NAME, message);
        }
    }
}

fn is_microsoft(graph: &url::Url) -> bool {
    ["GLOBAL", "USGOVT", "USGOVTDOD", "CHINA"]
        .into_iter()
        .filter_map(super::endpoints::cloud)
        .any(|cloud| cloud.graph.host_str() == graph.host_str())
}
