//! Where a content comes from: base64 in the call, the body of the call, or a local file. Only as much of it stands in
//! memory as one piece of an upload has.

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};

use super::given::Given;
use super::local_files::{LocalFiles, LocalPath};
use super::run::Doing;
use crate::activity::error::ActivityError;
use crate::files::ConfinedFile;
use crate::graph::UploadContent;

/// The body of a call.
pub struct ContentStream {
    /// Its announced length.
    pub length: Option<u64>,
    /// Its pieces; an error says, as the end of a sentence, why it broke off.
    pub pieces: BoxStream<'static, Result<Bytes, String>>,
}

impl std::fmt::Debug for ContentStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ContentStream").field("length", &self.length).finish_non_exhaustive()
    }
}

/// What a call says about its content; nothing is opened yet.
#[derive(Debug)]
pub(super) enum Source {
    Bytes(Bytes),
    Local(LocalPath),
    /// The body of the call.
    Body,
}

impl Source {
    /// Exactly one of ContentBytes, LocalFile and the body.
    pub(super) fn read(
        given: &Given<'_>,
        files: &LocalFiles,
        has_content: bool,
    ) -> Result<Self, ActivityError> {
        let mut sources = Vec::new();
        if let Some(text) = given.text("ContentBytes")? {
            let bytes = decode(text).ok_or_else(|| given.fault("ContentBytes", "is not base64"))?;
            sources.push(Self::Bytes(bytes));
        }
        if let Some(path) = given.text("LocalFile")? {
            sources.push(Self::Local(files.path("LocalFile", path)?));
        }
        if has_content {
            sources.push(Self::Body);
        }
        let mut sources = sources.into_iter();
        match (sources.next(), sources.next()) {
            (Some(source), None) => Ok(source),
            (None, _) => Err(given.fault(
                "ContentBytes",
                "is missing: give the content in base64, as LocalFile, or as the body of the call (Content-Type: application/octet-stream)",
            )),
            (Some(_), Some(_)) => {
                Err(given.fault("ContentBytes", "is one of several contents: give one of ContentBytes, LocalFile and a body"))
            }
        }
    }

    /// Opens it; the body of the call is taken for it.
    pub(super) async fn open(self, doing: &Doing<'_>) -> Result<Content, ActivityError> {
        match self {
            Self::Bytes(bytes) => Ok(Content::Bytes(bytes)),
            Self::Local(path) => path.open().await.map(Content::File),
            Self::Body => {
                let missing =
                    || ActivityError::request("bad_request", "The call has no body. Send the content.");
                let stream = doing.take_body().ok_or_else(missing)?;
                Ok(Content::Stream(Streamed { stream, waiting: VecDeque::new(), held: 0, taken: 0 }))
            }
        }
    }
}

/// Bytes of a base64 text, whose lines may be broken.
pub(super) fn decode(text: &str) -> Option<Bytes> {
    let decoded = match text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        true => STANDARD.decode(text.split_ascii_whitespace().collect::<String>()),
        false => STANDARD.decode(text),
    };
    decoded.ok().map(Bytes::from)
}

/// A content that is there.
pub(super) enum Content {
    Bytes(Bytes),
    File(Arc<ConfinedFile>),
    Stream(Streamed),
}

/// A body with what was received of it and not taken yet.
pub(super) struct Streamed {
    stream: ContentStream,
    waiting: VecDeque<Bytes>,
    held: usize,
    taken: u64,
}

impl Content {
    /// The whole of it, when it is smaller than `limit`; a body without a length is received until that is known.
    ///
    /// # Errors
    /// A sentence, when it cannot be read, or is a larger body without a length.
    pub(super) async fn below(&mut self, limit: usize) -> Result<Option<Bytes>, ActivityError> {
        let failed = |what: String| {
            ActivityError::request("content_failed", format!("The content cannot be used: {what}."))
        };
        match self.known_length() {
            Some(length) if length >= limit as u64 => Ok(None),
            Some(length) => {
                let length = usize::try_from(length).unwrap_or(limit);
                let bytes = self.read(0, length).await.map_err(failed)?;
                match bytes.len() == length {
                    true => Ok(Some(bytes)),
                    false => Err(failed(format!("it ended after {} of {length} bytes", bytes.len()))),
                }
            }
            None => {
                let bytes = self.read(0, limit).await.map_err(failed)?;
                if bytes.len() < limit {
                    return Ok(Some(bytes));
                }
                let message = format!(
                    "The content has no length and is not smaller than {limit} bytes. Send it with Content-Length: Microsoft Graph \
                     must be told the size of a large content before the first byte."
                );
                Err(ActivityError::request("length_required", message))
            }
        }
    }

    fn known_length(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File(file) => Some(file.length()),
            Self::Stream(streamed) => streamed.stream.length,
        }
    }
}

impl UploadContent for Content {
    fn length(&self) -> u64 {
        self.known_length().unwrap_or_default()
    }

    fn can_rewind(&self) -> bool {
        !matches!(self, Self::Stream(_))
    }

    fn read(&mut self, from: u64, length: usize) -> BoxFuture<'_, Result<Bytes, String>> {
        match self {
            Self::Bytes(bytes) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
                let end = from.saturating_add(length).min(bytes.len());
                let piece = bytes.slice(from..end);
                async move { Ok(piece) }.boxed()
            }
            Self::File(file) => {
                let file = Arc::clone(file);
                async move {
                    match tokio::task::spawn_blocking(move || file.read_at(from, length)).await {
                        Ok(read) => read.map(Bytes::from).map_err(|error| error.to_string()),
                        Err(_) => Err("the agent is stopping".to_owned()),
                    }
                }
                .boxed()
            }
            Self::Stream(streamed) => streamed.read(from, length).boxed(),
        }
    }
}

impl Streamed {
    /// The next `length` bytes, fewer at the end of the body.
    async fn read(&mut self, from: u64, length: usize) -> Result<Bytes, String> {
        if from != self.taken {
            return Err("a body cannot be read a second time; send it again".to_owned());
        }
        while self.held < length {
            match self.stream.pieces.next().await {
                Some(piece) => {
                    let piece = piece?;
                    self.held += piece.len();
                    self.waiting.push_back(piece);
                }
                None => break,
            }
        }
        let length = length.min(self.held);
        let mut whole = BytesMut::with_capacity(length);
        while whole.len() < length {
            let Some(mut piece) = self.waiting.pop_front() else { break };
            let wanted = length - whole.len();
            if piece.len() > wanted {
                whole.extend_from_slice(&piece.split_to(wanted));
                self.waiting.push_front(piece);
            } else {
                whole.extend_from_slice(&piece);
            }
        }
        self.held -= whole.len();
        self.taken += whole.len() as u64;
        Ok(whole.freeze())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use futures_util::stream;

    use super::*;

    fn body(pieces: &[&'static str], length: Option<u64>) -> Content {
        let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
        let stream = ContentStream { length, pieces: stream::iter(pieces).boxed() };
        Content::Stream(Streamed { stream, waiting: VecDeque::new(), held: 0, taken: 0 })
    }

    #[tokio::test]
    async fn a_body_comes_in_pieces_of_any_size() {
        let mut content = body(&["ab", "", "cdefg", "h"], Some(8));
        let mut seen = Vec::new();
        for (from, length) in [(0, 3), (3, 1), (4, 4), (8, 5)] {
            seen.push(String::from_utf8(content.read(from, length).await.unwrap().to_vec()).unwrap());
        }
        assert_eq!(seen, ["abc", "d", "efgh", ""]);
        assert!(content.read(0, 1).await.unwrap_err().contains("second time"));
    }

    #[tokio::test]
    async fn small_contents_are_taken_whole_and_large_ones_need_a_length() {
        for (pieces, length, small) in
            [(&["abc"][..], Some(3), Some("abc")), (&["abc"], None, Some("abc")), (&["abcde"], Some(5), None)]
        {
            let taken = body(pieces, length).below(4).await.unwrap();
            assert_eq!(taken.as_deref(), small.map(str::as_bytes), "{pieces:?}");
        }
        let error = body(&["abcde"], None).below(4).await.unwrap_err();
        assert_eq!(error.code(), "length_required");
        let error = body(&["ab"], Some(3)).below(4).await.unwrap_err();
        assert!(error.message().contains("ended after 2 of 3"), "{error}");
    }
}
