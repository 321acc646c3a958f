//! Splits the text of a `$filter` into tokens.
//! Never knows what the tokens mean.

/// A token and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    /// The position of its first byte.
    pub(crate) at: usize,
    /// What it is.
    pub(crate) kind: TokenKind,
}

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    /// A name, a keyword or a path such as `from/emailAddress/address`.
    Word(String),
    /// A quoted string, with doubled quotes undone.
    Text(String),
    /// A number.
    Number(f64),
    /// A date or a point in time, in nanoseconds since 1970.
    Instant(i128),
    /// `(`.
    Open,
    /// `)`.
    Close,
    /// `,`.
    Comma,
    /// `:`.
    Colon,
}

/// Splits the text; the error is the position of what is wrong.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, usize> {
    let bytes = text.as_bytes();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            b' ' | b'\t' => {
                at += 1;
                continue;
            }
            b'(' => single(&mut at, TokenKind::Open),
            b')' => single(&mut at, TokenKind::Close),
            b',' => single(&mut at, TokenKind::Comma),
            b':' => single(&mut at, TokenKind::Colon),
            b'\'' => quoted(text, &mut at).ok_or(start)?,
            byte if byte.is_ascii_digit() || byte == b'-' => {
                at += 1;
                // Colon, plus and T occur inside points in time.
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || b".:+-".contains(&bytes[at]))
                {
                    at += 1;
                }
                literal(&text[start..at]).ok_or(start)?
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' || byte == b'@' => {
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || b"_/.$@".contains(&bytes[at]))
                {
                    at += 1;
                }
                TokenKind::Word(text[start..at].to_owned())
            }
            _ => return Err(start),
        };
        tokens.push(Token { at: start, kind });
    }
    Ok(tokens)
}

fn single(at: &mut usize, kind: TokenKind) -> TokenKind {
    *at += 1;
    kind
}

fn quoted(text: &str, at: &mut usize) -> Option<TokenKind> {
    let bytes = text.as_bytes();
    let mut content = String::new();
    let mut from = *at + 1;
    loop {
        let length = bytes[from..].iter().position(|byte| *byte == b'\'')?;
        content.push_str(&text[from..from + length]);
        from += length + 1;
        if bytes.get(from) == Some(&b'\'') {
            content.push('\'');
            from += 1;
        } else {
            *at = from;
            return Some(TokenKind::Text(content));
        }
    }
}

fn literal(text: &str) -> Option<TokenKind> {
    if let Ok(number) = text.parse() {
        return Some(TokenKind::Number(number));
    }
    // A point in time without an offset is no literal of the language.
    let is_date = text.len() == 10;
    let has_offset =
        text.ends_with(['Z', 'z']) || text.get(10..).is_some_and(|rest| rest.contains(['+', '-']));
    (is_date || has_offset).then(|| crate::time::parse_nanos(text)).flatten().map(TokenKind::Instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_numbers_and_instants_are_read() {
        let kinds: Vec<TokenKind> = tokens("subject eq 'it''s' and x ge 2026-01-01T00:00:00Z")
            .unwrap()
            .into_iter()
            .map(|token| token.kind)
            .collect();
        assert_eq!(kinds[2], TokenKind::Text("it's".into()));
        assert_eq!(kinds[6], TokenKind::Instant(1_767_225_600_000_000_000));
        assert_eq!(tokens("a eq -12.5").unwrap()[2].kind, TokenKind::Number(-12.5));
        for (text, at) in
            [("subject eq 'open", 11), ("a eq 2026-13-01", 5), ("a = 1", 2), ("a eq 2026-01-01T00:00:00", 5)]
        {
            assert_eq!(tokens(text), Err(at), "{text}");
        }
    }
}
