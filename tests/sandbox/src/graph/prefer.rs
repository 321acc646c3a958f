//! The `Prefer` header: what a client asks for and what was done about it.
//! Never fails: a preference that is not understood is ignored, as the standard demands.

use crate::answer::Call;

/// The preferences that the service knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prefer {
    /// `IdType="ImmutableId"`.
    pub(crate) immutable_ids: bool,
    /// `odata.maxpagesize`.
    pub(crate) max_page_size: Option<usize>,
    /// `outlook.timezone`.
    pub(crate) time_zone: Option<String>,
    /// `outlook.body-content-type="text"`.
    pub(crate) text_bodies: bool,
    /// `return=minimal`.
    pub(crate) minimal: bool,
}

impl Prefer {
    /// Reads all `Prefer` headers of a request.
    pub(crate) fn of(call: &Call) -> Self {
        let mut prefer = Self::default();
        let values = call.headers.iter().filter(|(name, _)| name == "prefer");
        for piece in values.flat_map(|(_, value)| value.split(',')) {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            let value = value.split(';').next().unwrap_or_default().trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "idtype" => prefer.immutable_ids = value.eq_ignore_ascii_case("ImmutableId"),
                "odata.maxpagesize" | "maxpagesize" => {
                    prefer.max_page_size = value.parse().ok().filter(|size| *size > 0);
                }
                "outlook.timezone" => prefer.time_zone = Some(value.to_owned()),
                "outlook.body-content-type" => prefer.text_bodies = value.eq_ignore_ascii_case("text"),
                "return" => prefer.minimal = value.eq_ignore_ascii_case("minimal"),
                _ => {}
            }
        }
        prefer
    }

    /// The `Preference-Applied` header, if anything was.
    pub(crate) fn applied(&self) -> Option<String> {
        let mut pieces = Vec::new();
        if self.immutable_ids {
            pieces.push("IdType=\"ImmutableId\"".to_owned());
        }
        if let Some(size) = self.max_page_size {
            pieces.push(format!("odata.maxpagesize={size}"));
        }
        if let Some(zone) = &self.time_zone {
            pieces.push(format!("outlook.timezone=\"{zone}\""));
        }
        if self.text_bodies {
            pieces.push("outlook.body-content-type=\"text\"".to_owned());
        }
        if self.minimal {
            pieces.push("return=minimal".to_owned());
        }
        (!pieces.is_empty()).then(|| pieces.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferences_may_share_a_header_or_not() {
        let header = |value: &str| ("prefer".to_owned(), value.to_owned());
        let call = Call {
            headers: vec![
                header("IdType=\"ImmutableId\", odata.maxpagesize=50"),
                header("outlook.timezone=\"UTC\", something-else"),
            ],
            ..Call::default()
        };
        let prefer = Prefer::of(&call);
        assert!(prefer.immutable_ids && !prefer.minimal);
        assert_eq!(prefer.max_page_size, Some(50));
        assert_eq!(
            prefer.applied().unwrap(),
            "IdType=\"ImmutableId\", odata.maxpagesize=50, outlook.timezone=\"UTC\""
        );
    }
}
