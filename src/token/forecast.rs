//! When the things a connection signs in with come to their end, and how far ahead that is worth a warning. Pure: knows
//! no token, asks no server, writes nothing.

use std::time::Duration;

use crate::clock::Timestamp;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// A refresh token ends after so long without use; each refresh brings one with a new life (Microsoft identity platform,
/// "Refresh tokens in the Microsoft identity platform", "Token lifetime"). Apps registered as single-page get 24 hours,
/// which no answer tells; policies can shorten both.
const REFRESH_TOKEN_IDLE: Duration = Duration::from_secs(90 * 24 * 3600);
/// A warning is due when this many days are left, or less.
const WARNED_AHEAD: [u64; 3] = [1, 7, 30];

/// A thing that ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// The access token; renewed by itself where the connection can.
    AccessToken,
    /// The refresh token.
    RefreshToken,
    /// `OAuthClientSecret`, as far as `OAuthClientSecretExpires` tells.
    ClientSecret,
    /// The certificate that signs client assertions.
    Certificate,
}

impl Credential {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::AccessToken, Self::RefreshToken, Self::ClientSecret, Self::Certificate];

    /// The word used in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::RefreshToken => "refresh_token",
            Self::ClientSecret => "client_secret",
            Self::Certificate => "certificate",
        }
    }

    /// What to do before it ends.
    pub(super) fn remedy(self) -> &'static str {
        match self {
            Self::AccessToken => "Paste a new OAuthAccessToken, or let the agent refresh it (InitiateOAuth).",
            Self::RefreshToken => {
                "Find out why the connection is not refreshed; after its end a person must sign in again."
            }
            Self::ClientSecret => {
                "Make a new client secret in the app registration, then set OAuthClientSecret and OAuthClientSecretExpires."
            }
            Self::Certificate => "Add a new certificate to the app registration, then set OAuthJWTCert.",
        }
    }
}

/// When one of them ends.
#[derive(Clone, PartialEq, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialForecast {
    /// What ends.
    pub credential: Credential,
    /// When.
    pub expires_at: Timestamp,
    /// Whether that is assumed from the usual lifetime and not told by anybody.
    pub assumed: bool,
    /// Whether the agent renews it by itself, so that nobody has to be warned.
    pub renewed: bool,
}

/// What is known about a connection's credentials.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// The access token's end, and whether the agent can fetch the next one.
    pub(super) access: Option<(Timestamp, bool)>,
    /// When the refresh token was made, which is when it was last used.
    pub(super) refreshed_at: Option<Timestamp>,
    /// `OAuthClientSecretExpires`.
    pub(super) client_secret: Option<Timestamp>,
    /// The certificate's last day.
    pub(super) certificate: Option<Timestamp>,
}

/// The forecast, in the order of [`Credential::ALL`].
pub(super) fn forecast(known: Known) -> Vec<CredentialForecast> {
    let row = |credential, expires_at: Option<Timestamp>, assumed, renewed| {
        expires_at.map(|expires_at| CredentialForecast { credential, expires_at, assumed, renewed })
    };
    let idle_end = known.refreshed_at.map(|at| at.plus(REFRESH_TOKEN_IDLE));
    [
        row(
            Credential::AccessToken,
            known.access.map(|(at, _)| at),
            false,
            known.access.is_some_and(|(_, renewed)| renewed),
        ),
        row(Credential::RefreshToken, idle_end, true, false),
        row(Credential::ClientSecret, known.client_secret, false, false),
        row(Credential::Certificate, known.certificate, false, false),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The warning that is due at `now`: how many days are left at most (1, 7 or 30), or 0 after the end. `None`: no reason
/// to worry yet.
pub(super) fn warning(forecast: &CredentialForecast, now: Timestamp) -> Option<u64> {
    if forecast.renewed {
        return None;
    }
    let left = forecast.expires_at.until(now);
    if left.is_zero() {
        return Some(0);
    }
    WARNED_AHEAD.into_iter().find(|days| left <= DAY * u32::try_from(*days).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    #[test]
    fn the_forecast_says_what_is_known_and_what_is_assumed() {
        assert!(forecast(Known::default()).is_empty());
        let rows = forecast(Known {
            access: Some((NOW.plus(DAY), true)),
            refreshed_at: Some(NOW),
            client_secret: Some(NOW.plus(DAY * 40)),
            certificate: Some(NOW.plus(DAY * 2)),
        });
        let shown: Vec<_> =
            rows.iter().map(|row| (row.credential.as_str(), row.assumed, warning(row, NOW))).collect();
        assert_eq!(
            shown,
            [
                ("access_token", false, None),
                ("refresh_token", true, None),
                ("client_secret", false, None),
                ("certificate", false, Some(7))
            ]
        );
        assert_eq!(rows[1].expires_at, NOW.plus(DAY * 90));
    }

    #[test]
    fn warnings_come_thirty_seven_and_one_day_ahead() {
        let row = CredentialForecast {
            credential: Credential::ClientSecret,
            expires_at: NOW,
            assumed: false,
            renewed: false,
        };
        for (days, due) in [
            (31, None),
            (30, Some(30)),
            (8, Some(30)),
            (7, Some(7)),
            (2, Some(7)),
            (1, Some(1)),
            (0, Some(0)),
        ] {
            assert_eq!(warning(&row, NOW.minus(DAY * days)), due, "{days} days ahead");
        }
        assert_eq!(warning(&row, NOW.plus(DAY)), Some(0));
    }
}
