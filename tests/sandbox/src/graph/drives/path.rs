//! Addresses inside a drive: by id, by path with colons, and what is asked of the item.
//! Never looks whether the item is there.

use crate::graph::errors::GraphError;
use crate::graph::route::Whose;

/// Whose drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DriveOf {
    /// A user's own.
    User(Whose),
    /// A group's.
    Group(String),
    /// The one with that id.
    Id(String),
}

/// What is asked of a drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DrivePath {
    /// Whose drive.
    pub(crate) of: DriveOf,
    /// The item that the path starts from; `None` is the drive itself.
    pub(crate) anchor: Option<String>,
    /// The names of the path from there.
    pub(crate) names: Vec<String>,
    /// What is done with the item.
    pub(crate) verb: Verb,
}

/// What is done with an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verb {
    /// The item itself.
    Itself,
    /// All drives of the owner.
    Drives,
    /// What lies in it.
    Children,
    /// Its bytes.
    Content,
    /// A session for a large upload.
    UploadSession,
    /// A copy of it.
    Copy,
    /// What changed below it, since a token.
    Delta(Option<String>),
    /// What is called so below it.
    Search(String),
}

/// Reads the segments after the drive.
pub(crate) fn parse(of: DriveOf, words: &[String]) -> Result<DrivePath, GraphError> {
    let path = |anchor: &str, names: Vec<String>, verb: Verb| DrivePath {
        of: of.clone(),
        anchor: Some(anchor.to_owned()),
        names,
        verb,
    };
    let (anchor, rest) = match words {
        [] => return Ok(DrivePath { of, anchor: None, names: Vec::new(), verb: Verb::Itself }),
        [word, rest @ ..] if same(word, "root") || same(word, "root:") => (word.as_str(), rest),
        [items, id, rest @ ..] if same(items, "items") => (id.as_str(), rest),
        // On the drive itself these two mean the root.
        [word] => return Ok(path("root", Vec::new(), verb(word)?)),
        [word, ..] => return Err(unknown(word)),
    };
    let (anchor, names, rest) = match anchor.strip_suffix(':') {
        None => (anchor, Vec::new(), rest),
        Some(anchor) => {
            let end = rest.iter().position(|name| name.ends_with(':')).map_or(rest.len(), |end| end + 1);
            let names = rest[..end].iter().map(|name| name.trim_end_matches(':').to_owned());
            (anchor, names.filter(|name| !name.is_empty()).collect(), &rest[end..])
        }
    };
    match rest {
        [] => Ok(path(anchor, names, Verb::Itself)),
        [word] => Ok(path(anchor, names, verb(word)?)),
        [children, name, content] if same(children, "children") && same(content, "content") => {
            let mut names = names;
            names.push(name.clone());
            Ok(path(anchor, names, Verb::Content))
        }
        [word, ..] => Err(unknown(word)),
    }
}

fn verb(word: &str) -> Result<Verb, GraphError> {
    let lower = word.to_ascii_lowercase();
    let name = lower.strip_prefix("microsoft.graph.").unwrap_or(&lower);
    let argument = |start: &str| {
        let text = word[word.len() - name.len()..].get(start.len()..)?.strip_suffix(')')?;
        Some(text.trim_matches('\'').replace("''", "'"))
    };
    match name {
        "children" => Ok(Verb::Children),
        "content" => Ok(Verb::Content),
        "createuploadsession" => Ok(Verb::UploadSession),
        "copy" => Ok(Verb::Copy),
        "delta" | "delta()" => Ok(Verb::Delta(None)),
        _ if name.starts_with("delta(token=") => Ok(Verb::Delta(argument("delta(token="))),
        _ if name.starts_with("search(q=") => Ok(Verb::Search(argument("search(q=").unwrap_or_default())),
        _ => Err(unknown(word)),
    }
}

fn same(word: &str, known: &str) -> bool {
    word.eq_ignore_ascii_case(known)
}

fn unknown(segment: &str) -> GraphError {
    GraphError::bad_request(format!("Resource not found for the segment '{segment}'."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_colons_end_where_the_colon_is() {
        let read = |path: &str| {
            let words: Vec<String> = path.split('/').map(str::to_owned).collect();
            let path = parse(DriveOf::Id("d".into()), &words).unwrap();
            (path.anchor.unwrap_or_default(), path.names.join("/"), path.verb)
        };
        let cases = [
            ("root", ("root", "", Verb::Itself)),
            ("root/children", ("root", "", Verb::Children)),
            ("root:/A/B.txt", ("root", "A/B.txt", Verb::Itself)),
            ("root:/A/B.txt:/content", ("root", "A/B.txt", Verb::Content)),
            ("items/01X/createUploadSession", ("01X", "", Verb::UploadSession)),
            ("items/01X:/new.txt:/createUploadSession", ("01X", "new.txt", Verb::UploadSession)),
            ("items/01X/children/new.txt/content", ("01X", "new.txt", Verb::Content)),
            ("root/delta(token='abc')", ("root", "", Verb::Delta(Some("abc".into())))),
            ("root/search(q='Q1 It''s')", ("root", "", Verb::Search("Q1 It's".into()))),
        ];
        for (path, (anchor, names, verb)) in cases {
            assert_eq!(read(path), (anchor.to_owned(), names.to_owned(), verb), "{path}");
        }
    }
}
