//! Follows one JSON value over pieces: strings by their quotes and backslashes, nesting by its brackets. Never decodes it.

use memchr::memchr2;

/// Deepest nesting that is followed; serde_json, which decodes the rows, goes no deeper either.
const DEEPEST: u32 = 128;

/// Why an answer is not a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ScanFault {
    /// It ends in the middle.
    Truncated,
    /// It is not what JSON or OData allows; says what is wrong.
    Invalid(&'static str),
}

/// What kind of value is being followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Text,
    Nested,
    Scalar,
}

/// Where inside the value the last piece ended.
#[derive(Debug, Default)]
pub(super) struct Inside {
    depth: u32,
    /// One bit a level, 1 for `{`, so that `[1}` does not pass for the end of a row.
    braces: u128,
    in_text: bool,
    escaped: bool,
}

impl Inside {
    /// Begins a value; says how many bytes of it are taken care of.
    pub(super) fn begin(&mut self, kind: Kind) -> usize {
        *self = Self { in_text: kind == Kind::Text, ..Self::default() };
        usize::from(kind == Kind::Text)
    }

    /// Follows the value from `at`; the offset after its end, or `None` when it goes on in the next piece.
    #[inline]
    pub(super) fn follow(&mut self, kind: Kind, bytes: &[u8], at: usize) -> Result<Option<usize>, ScanFault> {
        match kind {
            Kind::Nested => self.nested(bytes, at),
            Kind::Text => Ok(self.text(bytes, at)),
            Kind::Scalar => {
                let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\r' | b'\t');
                Ok(bytes[at..].iter().position(ends).map(|found| at + found))
            }
        }
    }

    fn text(&mut self, bytes: &[u8], mut at: usize) -> Option<usize> {
        loop {
            if self.escaped {
                bytes.get(at)?;
                self.escaped = false;
                at += 1;
            }
            let found = at + memchr2(b'"', b'\\', &bytes[at..])?;
            at = found + 1;
            if bytes[found] == b'"' {
                self.in_text = false;
                return Some(at);
            }
            self.escaped = true;
        }
    }

    fn nested(&mut self, bytes: &[u8], mut at: usize) -> Result<Option<usize>, ScanFault> {
        loop {
            if self.in_text {
                let Some(end) = self.text(bytes, at) else { return Ok(None) };
                at = end;
            }
            // Between strings stand one to three bytes as a rule: a plain loop beats any search.
            loop {
                let Some(&byte) = bytes.get(at) else { return Ok(None) };
                at += 1;
                match byte {
                    b'"' => {
                        self.in_text = true;
                        break;
                    }
                    b'{' | b'[' => {
                        if self.depth == DEEPEST {
                            return Err(ScanFault::Invalid("it is nested more than 128 levels deep"));
                        }
                        self.depth += 1;
                        self.braces = self.braces << 1 | u128::from(byte == b'{');
                    }
                    b'}' | b']' => {
                        if (self.braces & 1 == 1) != (byte == b'}') {
                            return Err(ScanFault::Invalid("its brackets do not match"));
                        }
                        self.braces >>= 1;
                        self.depth -= 1;
                        if self.depth == 0 {
                            return Ok(Some(at));
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What kind of value begins with `byte`.
pub(super) fn kind_of(byte: u8) -> Result<Kind, ScanFault> {
    match byte {
        b'"' => Ok(Kind::Text),
        b'{' | b'[' => Ok(Kind::Nested),
        b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => Ok(Kind::Scalar),
        _ => Err(ScanFault::Invalid("a value is missing or not JSON")),
    }
}
