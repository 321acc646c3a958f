//! [`CheckedUrl`]: a URL that was compared, parsed, with the connection's Graph root. Only such a URL can carry the
//! bearer token. Never follows, never guesses: what is odd is refused.

use percent_encoding::percent_decode_str;
use url::{Position, Url};

use crate::error::clean_foreign_text;

use super::GraphError;

/// Longest link to a next page, in bytes. Graph's skip tokens are a few kilobytes; hyper takes at most 65,534.
const LONGEST_LINK: usize = 32 * 1024;

/// A URL with the scheme, host and port of the connection's Graph root, without user information and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CheckedUrl(Url);

impl CheckedUrl {
    /// A path with query below `root`, as a caller wrote it: `me/messages?$select=id`.
    ///
    /// # Errors
    /// [`GraphError::BadRequest`] when it could lead outside `root` or has an empty segment (a missing id).
    pub(super) fn below_root(root: &Url, path_and_query: &str) -> Result<Self, GraphError> {
        let refuse = |what: &str| GraphError::BadRequest {
            what: format!("the path '{}' {what}", clean_foreign_text(before_query(path_and_query))),
        };
        check_text(path_and_query).map_err(refuse)?;
        let path = before_query(path_and_query);
        if path.starts_with('/') {
            return Err(refuse("begins with a slash; give it relative to GraphEndpoint"));
        }
        if path.contains("//") {
            return Err(refuse("has an empty segment; was an id left empty?"));
        }
        check_segments(path).map_err(refuse)?;
        let url = Url::parse(&format!("{root}{path_and_query}")).map_err(|_| refuse("is not a URL path"))?;
        if !same_origin(root, &url) || !url.path().starts_with(root.path()) {
            return Err(refuse("leads outside GraphEndpoint"));
        }
        Ok(Self(url))
    }

    /// The link to a next page, as Graph gave it. Its path and query are sent as they came: percent-escapes (`%23`,
    /// `%2B`), `$`, `|` and the like stay untouched. Two things cannot stay, because reqwest takes only a parsed URL: a
    /// `'` in the query goes out as `%27`, and characters that RFC 3986 allows nowhere (space, `"`, `<`, `>`, non-ASCII)
    /// go out percent-encoded. OData decodes both to the same text (OData URL Conventions, section 2).
    ///
    /// A relative link is resolved against `root`.
    ///
    /// # Errors
    /// [`GraphError::BadAnswer`] when it leads to another origin or is not a plain link.
    pub(super) fn next_link(root: &Url, link: &str) -> Result<Self, GraphError> {
        let refuse = |what: &str| GraphError::BadAnswer { what: format!("its link to the next page {what}") };
        if link.is_empty() || link.len() > LONGEST_LINK {
            return Err(refuse("is empty or longer than 32 KiB"));
        }
        check_text(link).map_err(refuse)?;
        let raw = before_query(link);
        if raw.starts_with("//") {
            return Err(refuse("has no scheme"));
        }
        let url = match Url::parse(link) {
            Ok(url) => url,
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                root.join(link).map_err(|_| refuse("is not a URL"))?
            }
            Err(_) => return Err(refuse("is not a URL")),
        };
        if !same_origin(root, &url) {
            let origin = clean_foreign_text(&url[..Position::BeforePath]);
            let without_user = origin.rsplit('@').next().unwrap_or_default();
            return Err(refuse(&format!("leads away from GraphEndpoint, to '{without_user}'")));
        }
        let (authority, path) = split_authority(raw);
        if authority.contains('@') || !authority.is_ascii() {
            return Err(refuse("has user information or a host name outside ASCII"));
        }
        check_segments(path).map_err(refuse)?;
        Ok(Self(url))
    }

    /// The URL to send to.
    pub(super) fn as_url(&self) -> &Url {
        &self.0
    }

    /// The path alone, for logs: queries may hold what people searched for.
    pub(super) fn path(&self) -> &str {
        self.0.path()
    }
}

/// Whether the parsed URL would be sent to the very place `root` names.
fn same_origin(root: &Url, url: &Url) -> bool {
    root.scheme() == url.scheme()
        && root.host().is_some()
        && root.host() == url.host()
        && root.port_or_known_default() == url.port_or_known_default()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
}

fn before_query(text: &str) -> &str {
    text.split_once('?').map_or(text, |(path, _)| path)
}

/// `("https://host:1", "/path")` of an absolute link, `("", path)` of a relative one.
fn split_authority(raw: &str) -> (&str, &str) {
    let Some(after_scheme) = raw.find("://").map(|found| found + 3) else { return ("", raw) };
    let path = raw[after_scheme..].find('/').map_or(raw.len(), |found| after_scheme + found);
    raw.split_at(path)
}

/// What the URL parser would silently drop or turn into something else is refused before it is parsed.
pub(super) fn check_text(text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) {
        return Err("has a control character");
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err("begins or ends with a space");
    }
    if text.contains('#') {
        return Err("has a fragment; write '#' as %23");
    }
    if before_query(text).contains('\\') {
        return Err("has a backslash; write it as %5C");
    }
    Ok(())
}

/// Refuses segments that a server could take for "here" or "one up", also when they are percent-encoded, and encoded
/// control characters.
fn check_segments(path: &str) -> Result<(), &'static str> {
    for segment in path.split('/') {
        let decoded = percent_decode_str(segment).decode_utf8_lossy();
        if decoded.split(['/', '\\']).any(|part| matches!(part, "." | "..")) {
            return Err("has a segment '.' or '..'");
        }
        if decoded.chars().any(char::is_control) {
            return Err("has an encoded control character");
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "checked_url_tests.rs"]
mod tests;
