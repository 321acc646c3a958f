//! What the heads of a content's answers say about it, and whether a later answer goes on where an earlier one broke off
//! (RFC 9110 sections 13.1.5, 14 and 15.3.7). Never reads a body.

use http::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, StatusCode};

/// What is known of a content from its first answer.
#[derive(Debug, Default)]
pub(super) struct ContentHead {
    /// Its whole length.
    pub(super) total: Option<u64>,
    pub(super) media_type: Option<String>,
    tag: Option<String>,
    modified: Option<String>,
    seen: bool,
}

/// Why an answer cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadFault {
    /// It is of another version of the content.
    Changed,
    /// It breaks a rule.
    Odd(String),
}

impl ContentHead {
    /// Takes an answer to a request for everything from `from` on. Tells how many bytes of it to pass over.
    pub(super) fn accept(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        length: Option<u64>,
        from: u64,
    ) -> Result<u64, HeadFault> {
        let odd = |what: &str| Err(HeadFault::Odd(what.to_owned()));
        let (skip, total) = match status {
            StatusCode::PARTIAL_CONTENT => match content_range(headers) {
                Some((first, total)) if first == from => (0, total.or(length.map(|length| from + length))),
                _ => return odd("it answers with another range than the one asked for"),
            },
            // Ranges may be ignored, and must be when the content has changed since the tag in If-Range.
            StatusCode::OK => (from, length),
            _ => return odd("it answers with neither the content nor a range of it"),
        };
        let (tag, modified) = (text(headers, ETAG), text(headers, LAST_MODIFIED));
        if self.seen {
            let differ = |known: &Option<String>, now: &Option<String>| matches!((known, now), (Some(known), Some(now)) if known != now);
            let other_length = matches!((self.total, total), (Some(known), Some(now)) if known != now);
            if differ(&self.tag, &tag) || differ(&self.modified, &modified) || other_length {
                return Err(HeadFault::Changed);
            }
        } else {
            (self.tag, self.modified) = (tag, modified);
            self.media_type = text(headers, CONTENT_TYPE);
            self.seen = true;
        }
        self.total = self.total.or(total);
        Ok(skip)
    }

    /// Whether a later answer can be known to be of the same content: by its tag, by when it was changed, or because the
    /// whole is checked against a digest at the end.
    pub(super) fn can_resume(&self, has_digest: bool) -> bool {
        has_digest || self.strong_tag().is_some() || (self.modified.is_some() && self.total.is_some())
    }

    /// The tag for If-Range, which takes only a strong one.
    pub(super) fn strong_tag(&self) -> Option<String> {
        self.tag.clone().filter(|tag| tag.starts_with('"'))
    }
}

/// First byte and whole length of `Content-Range: bytes 0-9/10`; the length may be `*`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let first = range.split_once('-')?.0.trim().parse().ok()?;
    match total.trim() {
        "*" => Some((first, None)),
        total => Some((first, Some(total.parse().ok()?))),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(named: &[(HeaderName, &str)]) -> HeaderMap {
        named.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn an_answer_goes_on_only_with_the_same_content() {
        let first = [(ETAG, "\"a\""), (LAST_MODIFIED, "Mon, 23 Nov 2026 10:00:00 GMT")];
        for (status, named, length, expected) in [
            (206, vec![(ETAG, "\"a\""), (CONTENT_RANGE, "bytes 4-9/10")], Some(6), Ok(0)),
            (206, vec![(CONTENT_RANGE, "bytes 4-9/*")], Some(6), Ok(0)),
            (200, vec![(ETAG, "\"a\"")], Some(10), Ok(4)),
            (200, vec![(ETAG, "\"b\"")], Some(10), Err(HeadFault::Changed)),
            (200, vec![], Some(11), Err(HeadFault::Changed)),
            (206, vec![(CONTENT_RANGE, "bytes 4-10/11")], Some(7), Err(HeadFault::Changed)),
            (
                206,
                vec![(LAST_MODIFIED, "Mon, 23 Nov 2026 10:00:01 GMT"), (CONTENT_RANGE, "bytes 4-9/10")],
                Some(6),
                Err(HeadFault::Changed),
            ),
        ] {
            let mut head = ContentHead::default();
            assert_eq!(head.accept(StatusCode::OK, &headers(&first), Some(10), 0), Ok(0));
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(head.accept(status, &headers(&named), length, 4), expected, "{status} {named:?}");
            assert_eq!(head.total, Some(10));
        }
        for range in ["bytes 3-9/10", "items 4-9/10", "bytes */10", "4-9/10", "bytes 4-9/x"] {
            let mut head = ContentHead::default();
            let named = headers(&[(CONTENT_RANGE, range)]);
            let accepted = head.accept(StatusCode::PARTIAL_CONTENT, &named, Some(6), 4);
            assert!(matches!(accepted, Err(HeadFault::Odd(_))), "{range}");
        }
        assert!(ContentHead::default().accept(StatusCode::NO_CONTENT, &HeaderMap::new(), None, 0).is_err());
    }

    #[test]
    fn what_nothing_identifies_is_not_gone_on_with() {
        for (named, length, digest, resumable) in [
            (vec![], Some(10), false, false),
            (vec![], Some(10), true, true),
            (vec![(ETAG, "\"a\"")], None, false, true),
            (vec![(ETAG, "W/\"a\"")], Some(10), false, false),
            (vec![(LAST_MODIFIED, "x")], Some(10), false, true),
            (vec![(LAST_MODIFIED, "x")], None, false, false),
        ] {
            let mut head = ContentHead::default();
            head.accept(StatusCode::OK, &headers(&named), length, 0).unwrap();
            assert_eq!(head.can_resume(digest), resumable, "{named:?}");
        }
    }
}
