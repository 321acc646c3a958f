//! What an answer says about how near its service is to throttling, and how far a refusal reaches. Pure; never trusts a
//! number to be sane.

use std::time::Duration;

use http::HeaderMap;

/// The longest period that a rate limit is believed to cover.
const LONGEST_RESET: Duration = Duration::from_secs(600);

/// The word of a service on its own limits.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub(in crate::graph) struct Pressure {
    /// Resource units that the request was counted as (`x-ms-resource-unit`).
    pub(super) units: Option<u32>,
    /// The used part of the limit, 0.8 to 1.8 (`x-ms-throttle-limit-percentage`); said only from 0.8.
    pub(super) percentage: Option<f64>,
    /// What is left of a rate limit (`RateLimit-*`).
    pub(super) left: Option<Left>,
}

/// What is left of a rate limit: OneDrive and SharePoint say so when most of it is used ("Avoid getting throttled or
/// blocked in SharePoint Online", after the IETF draft "RateLimit header fields for HTTP").
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Left {
    pub(super) limit: f64,
    pub(super) remaining: f64,
    pub(super) reset: Duration,
}

impl Pressure {
    pub(in crate::graph) fn of(headers: &HeaderMap) -> Self {
        let number = |name: &str| {
            let text = headers.get(name)?.to_str().ok()?;
            // `RateLimit-Limit: 100, 100;w=60` begins with the limit that counts.
            let first = text.split([',', ';']).next().unwrap_or_default().trim();
            first
                .trim_end_matches('%')
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite() && *number >= 0.0)
        };
        let left = || {
            let (limit, remaining) = (number("ratelimit-limit")?, number("ratelimit-remaining")?);
            let reset = Duration::from_secs_f64(number("ratelimit-reset")?.min(LONGEST_RESET.as_secs_f64()));
            Some(Left { limit, remaining, reset })
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bounded the line before"
        )]
        let units = number("x-ms-resource-unit").map(|units| units.min(1e6) as u32);
        Self { units, percentage: number("x-ms-throttle-limit-percentage"), left: left() }
    }
}

impl Left {
    /// The time between two requests that makes what is left last; `None` when there is enough. With nothing left it is
    /// the whole time until the limit begins anew.
    pub(super) fn gap(self) -> Option<Duration> {
        if self.reset.is_zero() || self.remaining > self.limit * 0.2 {
            return None;
        }
        Some(self.reset.div_f64(self.remaining.max(1.0)))
    }
}

/// How far a refusal for too many requests reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ThrottleScope {
    /// The mailbox, or the service in the tenant: the answer names nothing wider.
    #[default]
    Narrow,
    /// Everything of the tenant.
    Tenant,
    /// Everything of the app, in every tenant.
    Application,
}

impl ThrottleScope {
    /// `x-ms-throttle-scope`: `<Scope>/<Limit>/<ApplicationId>/<TenantId|UserId|ResourceId>`.
    pub(in crate::graph) fn of(headers: &HeaderMap) -> Self {
        let text =
            headers.get("x-ms-throttle-scope").and_then(|value| value.to_str().ok()).unwrap_or_default();
        match text.split('/').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "tenant" | "tenant_application" => Self::Tenant,
            "application" => Self::Application,
            _ => Self::Narrow,
        }
    }

    /// The word for metrics.
    pub(in crate::graph) fn word(self, of_mailbox: bool) -> &'static str {
        match (self, of_mailbox) {
            (Self::Application, _) => "application",
            (Self::Tenant, _) => "tenant",
            (Self::Narrow, true) => "mailbox",
            (Self::Narrow, false) => "service",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn what_services_say() {
        let directory = headers(&[("x-ms-resource-unit", "3"), ("x-ms-throttle-limit-percentage", "0.85")]);
        let said = Pressure::of(&directory);
        assert_eq!((said.units, said.percentage, said.left), (Some(3), Some(0.85), None));
        for (limit, remaining, reset, gap) in [
            ("1200", "600", "30", None),
            ("1200", "120", "30", Some(250)),
            ("1200, 1200;w=60", "0", "30", Some(30_000)),
            ("1200", "0", "0", None),
            ("1200", "0", "1e9", Some(600_000)),
            ("x", "0", "30", None),
            ("1200", "-1", "30", None),
        ] {
            let lines =
                [("ratelimit-limit", limit), ("ratelimit-remaining", remaining), ("ratelimit-reset", reset)];
            let found = Pressure::of(&headers(&lines)).left.and_then(Left::gap);
            assert_eq!(found, gap.map(Duration::from_millis), "{limit} {remaining} {reset}");
        }
        assert_eq!(Pressure::of(&HeaderMap::new()), Pressure::default());
    }

    #[test]
    fn how_far_a_refusal_reaches() {
        for (text, scope) in [
            ("Tenant_Application/ReadWrite/a/b", ThrottleScope::Tenant),
            ("Tenant/Read/a/b", ThrottleScope::Tenant),
            ("application/Write/a/b", ThrottleScope::Application),
            ("User/ReadWrite/a/b", ThrottleScope::Narrow),
            ("", ThrottleScope::Narrow),
        ] {
            assert_eq!(ThrottleScope::of(&headers(&[("x-ms-throttle-scope", text)])), scope, "{text}");
        }
        assert_eq!(ThrottleScope::of(&HeaderMap::new()), ThrottleScope::Narrow);
    }

    proptest! {
        #[test]
        fn any_header_is_read(text in "[ -~]{0,30}") {
            let lines = [("ratelimit-limit", text.as_str()), ("ratelimit-remaining", &text), ("ratelimit-reset", &text),
                ("x-ms-resource-unit", &text), ("x-ms-throttle-scope", &text)];
            let _said = (Pressure::of(&headers(&lines)).left.and_then(Left::gap), ThrottleScope::of(&headers(&lines)));
        }
    }
}
