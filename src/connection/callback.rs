//! Where a browser returns to after a sign-in, and the code that a person brought back by hand. Opens no port.

use url::{Host, Url};

use super::values::Values;
use crate::secret::Secret;

/// What operators register as redirect address, because the driver they know has it as default.
const DEFAULT: &str = "http://localhost:33333";

/// What belongs to a person's sign-in.
#[derive(Debug, Default)]
pub struct SignInSettings {
    /// `OAuthVerifier`: the code of a sign-in that was made elsewhere; redeemed once.
    pub verifier: Option<Secret>,
    /// `CallbackURL` (default `http://localhost:33333`).
    pub callback: Callback,
}

/// A redirect address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    text: String,
    url: Url,
}

/// Where to listen for a browser's return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loopback {
    /// The addresses of this host that the name in the address can mean; the first one must be had.
    pub addresses: Vec<std::net::IpAddr>,
    /// The port; 0 = any.
    pub port: u16,
    /// The path that the browser asks for.
    pub path: String,
}

impl Default for Callback {
    fn default() -> Self {
        Self::parse(DEFAULT).expect("the constant above is a well-formed loopback address")
    }
}

impl Callback {
    /// Checks an address.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .map_err(|error| format!("This is not an address: {error}. Write for example {DEFAULT}."))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(
                "A redirect address must not hold a user or password. Remove everything up to the '@'."
                    .to_owned(),
            );
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("A redirect address must not have a '?' or '#' part. Remove it.".to_owned());
        }
        let callback = Self { text: text.to_owned(), url };
        match callback.url.scheme() {
            "https" => Ok(callback),
            "http" if callback.loopback().is_some() => Ok(callback),
            // The code in a redirect is worth a sign-in, and on the network anybody could read it.
            _ => Err(format!(
                "A redirect address is https, or http on this host. Write for example {DEFAULT}."
            )),
        }
    }

    /// The address as the app registration has it: byte for byte, because the server compares it so.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same address with another port, for a listener that was given any free one.
    pub fn with_port(&self, port: u16) -> String {
        let mut url = self.url.clone();
        if url.port_or_known_default() == Some(port) || url.set_port(Some(port)).is_err() {
            return self.text.clone();
        }
        // The parser writes `/` for an empty path, which would be another address to the server.
        let text = url.as_str();
        let text = if self.text.ends_with('/') { text } else { text.trim_end_matches('/') };
        text.to_owned()
    }

    /// Where to listen, when the address is one of this host (RFC 8252 section 7.3). Plain http only: there is no
    /// certificate for `localhost`.
    pub fn loopback(&self) -> Option<Loopback> {
        use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
        let addresses = match self.url.host()? {
            // A browser may try either; RFC 8252 section 8.3 warns that `localhost` is not always both.
            Host::Domain("localhost") => {
                vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            }
            Host::Ipv4(address) if address.is_loopback() => vec![IpAddr::V4(address)],
            Host::Ipv6(address) if address.is_loopback() => vec![IpAddr::V6(address)],
            _ => return None,
        };
        let port = self.url.port_or_known_default()?;
        (self.url.scheme() == "http").then(|| Loopback { addresses, port, path: self.url.path().to_owned() })
    }
}

/// Reads and checks `OAuthVerifier` and `CallbackURL`.
pub(super) fn check(values: &mut Values<'_>) -> SignInSettings {
    let verifier = values.secret("OAuthVerifier");
    let callback = match values.text("CallbackURL").map(|text| Callback::parse(text.trim())) {
        None => Callback::default(),
        Some(Ok(callback)) => callback,
        Some(Err(message)) => {
            values.fault("CallbackURL", message);
            Callback::default()
        }
    };
    SignInSettings { verifier, callback }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn loopback_addresses_are_listened_on_and_others_are_not() {
        let rows: &[(&str, Option<(u16, &str)>)] = &[
            ("http://localhost:33333", Some((33333, "/"))),
            ("http://localhost:0/back", Some((0, "/back"))),
            ("http://127.0.0.1:8400/", Some((8400, "/"))),
            ("http://[::1]:8400/x/y", Some((8400, "/x/y"))),
            ("https://agent.contoso.com/back", None),
            ("https://localhost/back", None),
        ];
        for (text, expected) in rows {
            let callback = Callback::parse(text).unwrap();
            let found = callback.loopback().map(|loopback| (loopback.port, loopback.path));
            assert_eq!(found, expected.map(|(port, path)| (port, path.to_owned())), "{text}");
            assert_eq!(callback.as_str(), *text);
        }
        assert_eq!(Callback::default().loopback().unwrap().addresses.len(), 2);
    }

    #[test]
    fn the_registered_spelling_survives_a_change_of_port() {
        let with = |text: &str, port| Callback::parse(text).unwrap().with_port(port);
        assert_eq!(with("http://localhost:0", 4711), "http://localhost:4711");
        assert_eq!(with("http://localhost:0/", 4711), "http://localhost:4711/");
        assert_eq!(with("http://[::1]:0/back", 4711), "http://[::1]:4711/back");
        assert_eq!(with("http://localhost:33333", 33333), "http://localhost:33333");
    }

    #[test]
    fn addresses_that_would_leak_a_code_are_refused() {
        for (text, word) in [
            ("http://agent.contoso.com/", "https"),
            ("http://u:p@localhost/", "user or password"),
            ("http://localhost/?a=b", "'?'"),
            ("http://localhost/#x", "'#'"),
            ("localhost:33333", "https"),
            ("", "not an address"),
        ] {
            assert!(Callback::parse(text).unwrap_err().contains(word), "{text}");
        }
    }
}
