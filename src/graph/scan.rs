//! Cuts a page into rows while it is still arriving: tokenises the outer object only, finds `@odata.nextLink` and
//! `@odata.count` wherever they stand, and yields each element of `value` as soon as it is complete. Inside an element it
//! follows strings and brackets and nothing else: whoever decodes the row checks the rest. Never holds more than the row
//! that is incomplete.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::follow::{Inside, Kind, ScanFault, kind_of};
use super::rows::RowBatch;

/// Longest next link, in bytes as written.
const LONGEST_TEXT: usize = 64 * 1024;

/// Where in the outer object the next byte belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Start,
    FirstKey,
    NextKey,
    Key,
    Colon,
    Member,
    InMember(Kind),
    AfterMember,
    FirstElement,
    NextElement,
    InElement(Kind),
    AfterElement,
    End,
}

/// The members of the outer object that matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Member {
    Value,
    NextLink,
    Count,
    Context,
    Other,
}

/// What the answer is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    /// Not known yet: everything is kept, because it may be one row.
    Unknown,
    /// A collection: it has a `value` array.
    Collection,
    /// One entity, says its context.
    Entity,
}

/// The scanner of one page.
#[derive(Debug)]
pub(super) struct PageScanner {
    place: Place,
    shape: Shape,
    member: Member,
    inside: Inside,
    /// The key, or the text of a member that matters, as written.
    text: Vec<u8>,
    /// Everything so far, while the answer may be one row.
    whole: Vec<u8>,
    /// The beginning of an element that goes on in the next piece.
    carried: Vec<u8>,
    next_link: Option<String>,
    has_link: bool,
    count: Option<u64>,
    /// Rows of the last piece, to size the next list of ranges.
    last_rows: usize,
}

impl PageScanner {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Start,
            shape: Shape::Unknown,
            member: Member::Other,
            inside: Inside::default(),
            text: Vec::new(),
            whole: Vec::new(),
            carried: Vec::new(),
            next_link: None,
            has_link: false,
            count: None,
            last_rows: 0,
        }
    }

    /// The link to the next page, the first time it is asked for after it was seen.
    pub(super) fn take_new_link(&mut self) -> Option<String> {
        self.next_link.take()
    }

    /// `@odata.count`, once it was seen.
    pub(super) fn count(&self) -> Option<u64> {
        self.count
    }

    /// Takes the next piece and gives the rows that are complete with it.
    pub(super) fn feed(&mut self, piece: Bytes) -> Result<RowBatch, ScanFault> {
        let bytes = &piece[..];
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut first = None;
        let mut element = 0; // where the element that is being followed begins in this piece
        let mut at = 0;
        while at < bytes.len() {
            if let Place::InElement(kind) = self.place {
                let Some(end) = self.inside.follow(kind, bytes, at)? else { break };
                at = end;
                self.place = Place::AfterElement;
                if self.carried.is_empty() {
                    check_scalar(kind, &bytes[element..end])?;
                    if ranges.is_empty() {
                        ranges.reserve(self.last_rows + 1);
                    }
                    ranges.push((offset(element)?, offset(end)?));
                } else {
                    self.carried.extend_from_slice(&bytes[..end]);
                    check_scalar(kind, &self.carried)?;
                    first = Some(Bytes::from(std::mem::take(&mut self.carried)));
                }
                continue;
            }
            let byte = bytes[at];
            if matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
                && !matches!(self.place, Place::Key | Place::InMember(_))
            {
                at += 1;
                continue;
            }
            match self.place {
                Place::AfterElement => {
                    self.place = match byte {
                        b',' => Place::NextElement,
                        b']' => Place::AfterMember,
                        _ => return Err(ScanFault::Invalid("',' or ']' is missing in 'value'")),
                    };
                    at += 1;
                }
                Place::FirstElement if byte == b']' => {
                    self.place = Place::AfterMember;
                    at += 1;
                }
                Place::FirstElement | Place::NextElement => {
                    let kind = kind_of(byte)?;
                    self.place = Place::InElement(kind);
                    element = at;
                    at += self.inside.begin(kind);
                }
                _ => at = self.outer(bytes, at, byte)?,
            }
        }
        if matches!(self.place, Place::InElement(_)) {
            // An element that fills the whole piece began in an earlier one, or at the piece's first byte.
            self.carried.extend_from_slice(&bytes[element..]);
        }
        if self.shape != Shape::Collection {
            self.whole.extend_from_slice(bytes);
        }
        self.last_rows = ranges.len();
        Ok(RowBatch::new(first, piece, ranges))
    }

    /// The end of the answer. An answer without a `value` array is one row.
    pub(super) fn finish(&mut self) -> Result<RowBatch, ScanFault> {
        if self.place != Place::End {
            return Err(ScanFault::Truncated);
        }
        if self.shape == Shape::Collection {
            return Ok(RowBatch::default());
        }
        Ok(RowBatch::new(
            Some(Bytes::from(std::mem::take(&mut self.whole)).trimmed()),
            Bytes::new(),
            Vec::new(),
        ))
    }

    /// One step in the outer object, outside `value`.
    fn outer(&mut self, bytes: &[u8], at: usize, byte: u8) -> Result<usize, ScanFault> {
        let expect = |wanted: u8, next: Place, fault: &'static str| {
            if byte == wanted { Ok(next) } else { Err(ScanFault::Invalid(fault)) }
        };
        match self.place {
            Place::Start => self.place = expect(b'{', Place::FirstKey, "it is not a JSON object")?,
            Place::FirstKey if byte == b'}' => self.place = Place::End,
            Place::FirstKey | Place::NextKey => {
                self.place = expect(b'"', Place::Key, "a member has no name")?;
                self.text.clear();
                self.text.push(byte);
                self.inside.begin(Kind::Text);
            }
            Place::Key => return self.key(bytes, at),
            Place::Colon => self.place = expect(b':', Place::Member, "':' is missing after a name")?,
            Place::Member if byte == b'[' && self.member == Member::Value && self.shape != Shape::Entity => {
                if self.shape == Shape::Collection {
                    return Err(ScanFault::Invalid("it has 'value' twice"));
                }
                self.shape = Shape::Collection;
                self.whole = Vec::new();
                self.place = Place::FirstElement;
            }
            Place::Member => {
                let kind = kind_of(byte)?;
                self.place = Place::InMember(kind);
                self.text.clear();
                let taken = self.inside.begin(kind);
                self.capture(kind, &bytes[at..at + taken])?;
                return Ok(at + taken);
            }
            Place::InMember(kind) => return self.in_member(kind, bytes, at),
            Place::AfterMember => {
                self.place = match byte {
                    b',' => Place::NextKey,
                    b'}' => Place::End,
                    _ => return Err(ScanFault::Invalid("',' or '}' is missing after a member")),
                };
            }
            Place::End => return Err(ScanFault::Invalid("something stands after its end")),
            Place::FirstElement | Place::NextElement | Place::InElement(_) | Place::AfterElement => {
                unreachable!("feed handles the places inside 'value'")
            }
        }
        Ok(at + 1)
    }

    fn key(&mut self, bytes: &[u8], at: usize) -> Result<usize, ScanFault> {
        let end = self.inside.follow(Kind::Text, bytes, at)?;
        self.text.extend_from_slice(&bytes[at..end.unwrap_or(bytes.len())]);
        if self.text.len() > LONGEST_TEXT {
            return Err(ScanFault::Invalid("a member's name is too long"));
        }
        let Some(end) = end else { return Ok(bytes.len()) };
        self.member = member_of(&self.text)?;
        self.place = Place::Colon;
        Ok(end)
    }

    fn in_member(&mut self, kind: Kind, bytes: &[u8], at: usize) -> Result<usize, ScanFault> {
        let end = self.inside.follow(kind, bytes, at)?;
        self.capture(kind, &bytes[at..end.unwrap_or(bytes.len())])?;
        let Some(end) = end else { return Ok(bytes.len()) };
        self.place = Place::AfterMember;
        self.member_is_complete(kind)?;
        Ok(end)
    }

    /// Keeps the text of a member that matters, and of every scalar, which is short and has to be checked.
    fn capture(&mut self, kind: Kind, bytes: &[u8]) -> Result<(), ScanFault> {
        let matters = match kind {
            Kind::Text => matches!(self.member, Member::NextLink | Member::Count | Member::Context),
            Kind::Scalar => true,
            Kind::Nested => false,
        };
        if !matters {
            return Ok(());
        }
        if self.text.len() + bytes.len() > LONGEST_TEXT {
            return Err(ScanFault::Invalid("its link, context or a number is longer than 64 KiB"));
        }
        self.text.extend_from_slice(bytes);
        Ok(())
    }

    fn member_is_complete(&mut self, kind: Kind) -> Result<(), ScanFault> {
        check_scalar(kind, &self.text)?;
        match (self.member, kind) {
            (Member::NextLink, Kind::Text) => {
                if std::mem::replace(&mut self.has_link, true) {
                    return Err(ScanFault::Invalid("it has two links to the next page"));
                }
                self.next_link = Some(unquote(&self.text)?);
            }
            (Member::NextLink, Kind::Scalar) if self.text == b"null" => {}
            (Member::NextLink, _) => return Err(ScanFault::Invalid("its link to the next page is not text")),
            // A count may be written as text (OData JSON Format, IEEE754Compatible).
            (Member::Count, Kind::Scalar) => self.count = serde_json::from_slice(&self.text).ok(),
            (Member::Count, Kind::Text) => self.count = unquote(&self.text)?.parse().ok(),
            // One entity may have an array property named `value`; only its context tells it from a collection.
            (Member::Context, Kind::Text)
                if self.shape == Shape::Unknown && unquote(&self.text)?.ends_with("/$entity") =>
            {
                self.shape = Shape::Entity;
            }
            _ => {}
        }
        Ok(())
    }
}

fn member_of(key: &[u8]) -> Result<Member, ScanFault> {
    if key.contains(&b'\\') {
        let plain = serde_json::to_vec(&unquote(key)?)
            .map_err(|_| ScanFault::Invalid("a member's name is not text"))?;
        // Written anew, a name has a backslash only where it must; then it is none of ours.
        return if plain.contains(&b'\\') { Ok(Member::Other) } else { member_of(&plain) };
    }
    Ok(match key {
        b"\"value\"" => Member::Value,
        b"\"@odata.nextLink\"" => Member::NextLink,
        b"\"@odata.count\"" => Member::Count,
        b"\"@odata.context\"" => Member::Context,
        _ => Member::Other,
    })
}

fn unquote(text: &[u8]) -> Result<String, ScanFault> {
    serde_json::from_slice(text).map_err(|_| ScanFault::Invalid("a text in it is not valid JSON"))
}

fn check_scalar(kind: Kind, text: &[u8]) -> Result<(), ScanFault> {
    match kind {
        Kind::Scalar => serde_json::from_slice::<IgnoredAny>(text)
            .map(drop)
            .map_err(|_| ScanFault::Invalid("a number or word in it is not JSON")),
        Kind::Text | Kind::Nested => Ok(()),
    }
}

fn offset(at: usize) -> Result<u32, ScanFault> {
    u32::try_from(at).map_err(|_| ScanFault::Invalid("a piece of it is larger than 4 GiB"))
}

/// Cutting the white space around a single row.
trait Trimmed {
    fn trimmed(self) -> Self;
}

impl Trimmed for Bytes {
    fn trimmed(self) -> Self {
        let row = self.trim_ascii();
        self.slice_ref(row)
    }
}

/// Cuts a page that is there as a whole, given to the scanner in pieces of `piece` bytes: its rows and the link to the
/// next page. For fuzz targets; outside of them no page is ever held whole.
///
/// # Errors
/// What is wrong with the page.
#[doc(hidden)]
pub fn scan_page(page: &[u8], piece: usize) -> Result<(Vec<Vec<u8>>, Option<String>), String> {
    let mut scanner = PageScanner::new();
    let (mut rows, mut link) = (Vec::new(), None);
    let mut take = |batch: RowBatch| rows.extend(batch.rows().map(<[u8]>::to_vec));
    for piece in page.chunks(piece.max(1)) {
        take(scanner.feed(Bytes::copy_from_slice(piece)).map_err(|fault| format!("{fault:?}"))?);
        link = scanner.take_new_link().or(link);
    }
    take(scanner.finish().map_err(|fault| format!("{fault:?}"))?);
    Ok((rows, link))
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
