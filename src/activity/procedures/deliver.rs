//! Where a downloaded content goes: to the caller as a stream, into the answer as base64, or into a local file, which
//! appears whole or not at all and goes on where an earlier download stopped. Never keeps more in memory than a bound.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::Call;
use super::given::Given;
use super::local_files::LocalPath;
use super::run::Doing;
use crate::activity::error::ActivityError;
use crate::files::PartialFile;
use crate::graph::{Digests, Download, DownloadRequest, GraphError, Verified};

/// The most bytes of contents that are answered as base64; the JSON is held in memory more than once.
pub(super) const LARGEST_IN_ANSWER: u64 = 8 * 1024 * 1024;
/// No drive holds a larger file.
pub(super) const LARGEST: u64 = 250 * 1024 * 1024 * 1024;
/// Bytes gathered for one write into a local file.
const WRITE_AT_ONCE: usize = 1024 * 1024;
/// Downloads that are begun anew when a content broke off that cannot be gone on with.
const ATTEMPTS: u32 = 3;

/// What a piece of work came to.
#[derive(Debug)]
pub(super) enum Delivered {
    Value(Value),
    Content(Box<StreamedContent>),
}

/// A content that the caller takes as a stream.
#[derive(Debug)]
pub(super) struct StreamedContent {
    pub(super) download: Download,
    pub(super) name: String,
}

/// Where a content goes.
#[derive(Clone, Debug)]
pub(super) enum Destination {
    Stream,
    /// At most so many bytes.
    Answer(u64),
    Local {
        path: LocalPath,
        overwrite: bool,
    },
}

impl Destination {
    /// From LocalFile, Overwrite and what the caller takes.
    pub(super) fn read(given: &Given<'_>, call: Call<'_>) -> Result<Self, ActivityError> {
        let overwrite = given.boolean("Overwrite", true)?;
        match given.text("LocalFile")? {
            Some(_) if call.wants_stream => Err(given.fault(
                "LocalFile",
                "cannot stand beside Accept: application/octet-stream: the content goes to one of both",
            )),
            Some(path) => Ok(Self::Local { path: call.local_files.path("LocalFile", path)?, overwrite }),
            None if call.wants_stream => Ok(Self::Stream),
            None => Ok(Self::Answer(LARGEST_IN_ANSWER)),
        }
    }
}

/// What is downloaded.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) request: DownloadRequest,
    /// The file name to suggest.
    pub(super) name: String,
    /// A text that is the same only for the same content; absent when nothing identifies it, so that nothing can be
    /// gone on with.
    pub(super) identity: Option<String>,
}

/// Takes a content to where it goes. For the answer and a local file the outputs `Size`, `ContentType`, `Verified` and
/// `ContentBytes` or `LocalFile` are added to `outputs`.
pub(super) async fn deliver(
    doing: &Doing<'_>,
    wanted: Wanted,
    destination: &Destination,
    mut outputs: Map<String, Value>,
) -> Result<Delivered, ActivityError> {
    let mut attempt = 1;
    loop {
        let result = match destination {
            Destination::Stream => return stream(doing, wanted).await,
            Destination::Answer(limit) => into_answer(doing, &wanted, *limit, &mut outputs).await,
            Destination::Local { path, overwrite } => {
                into_file(doing, &wanted, path, *overwrite, &mut outputs).await
            }
        };
        match result {
            Ok(()) => return Ok(Delivered::Value(Value::Object(outputs))),
            Err(ActivityError::Graph(GraphError::Unreachable { what })) if attempt < ATTEMPTS => {
                tracing::info!(connection = %doing.live.connection.name, request_id = %doing.context.request_id, what,
                    "A download broke off and is begun again.");
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn stream(doing: &Doing<'_>, wanted: Wanted) -> Result<Delivered, ActivityError> {
    let mut download =
        doing.live.graph.download(wanted.request, 0, Digests::default(), doing.context.clone()).await?;
    // A slow caller must not keep others from the mailbox.
    download.leave_lane();
    Ok(Delivered::Content(Box::new(StreamedContent { download, name: wanted.name })))
}

async fn into_answer(
    doing: &Doing<'_>,
    wanted: &Wanted,
    limit: u64,
    outputs: &mut Map<String, Value>,
) -> Result<(), ActivityError> {
    let mut request = wanted.request.clone();
    request.limit = limit;
    if request.size.is_some_and(|size| size > limit) {
        return Err(too_large_for_an_answer());
    }
    let mut download = doing.live.graph.download(request, 0, Digests::default(), doing.context.clone()).await;
    let mut bytes = Vec::new();
    let download = match &mut download {
        Ok(download) => download,
        Err(GraphError::TooLarge { .. }) => return Err(too_large_for_an_answer()),
        Err(error) => return Err(error.clone().into()),
    };
    loop {
        match download.next().await {
            Ok(Some(piece)) => bytes.extend_from_slice(&piece),
            Ok(None) => break,
            Err(GraphError::TooLarge { .. }) => return Err(too_large_for_an_answer()),
            Err(error) => return Err(error.into()),
        }
    }
    outputs.insert("Size".to_owned(), Value::from(bytes.len()));
    describe(outputs, download.media_type(), download.verified());
    outputs.insert("ContentBytes".to_owned(), Value::from(STANDARD.encode(&bytes)));
    Ok(())
}

fn too_large_for_an_answer() -> ActivityError {
    let message = format!(
        "The content has more than the {LARGEST_IN_ANSWER} bytes that one JSON answer holds. Take it as a stream with Accept: \
         application/octet-stream, or into a file with LocalFile."
    );
    ActivityError::NotShowable { message }
}

fn describe(outputs: &mut Map<String, Value>, media_type: Option<&str>, verified: Option<Verified>) {
    if let Some(media_type) = media_type {
        outputs.entry("ContentType").or_insert_with(|| Value::from(media_type));
    }
    if let Some(verified) = verified {
        outputs.insert("Verified".to_owned(), Value::from(verified.as_str()));
    }
}

async fn into_file(
    doing: &Doing<'_>,
    wanted: &Wanted,
    path: &LocalPath,
    overwrite: bool,
    outputs: &mut Map<String, Value>,
) -> Result<(), ActivityError> {
    // Without an identity a download always begins anew, over what an earlier one may have left.
    let identity = wanted.identity.clone().unwrap_or_default();
    let partial = path.begin(identity, overwrite).await?;
    let resumable = wanted.identity.is_some();
    let (mut partial, digests) = path
        .blocking(move || {
            let (mut partial, mut digests) = (partial, Digests::default());
            partial.review(|piece| digests.update(piece))?;
            Ok((partial, digests))
        })
        .await?;
    let (mut from, mut digests) = (partial.length(), digests);
    if wanted.request.size.is_none_or(|size| from >= size) || !resumable {
        (from, digests) = (0, Digests::default());
        partial = path.blocking(move || partial.restart().map(|()| partial).map_err(Into::into)).await?;
    }
    if from > 0 {
        tracing::info!(connection = %doing.live.connection.name, request_id = %doing.context.request_id, from,
            "A download goes on where an earlier one stopped.");
    }
    let begun = doing.live.graph.download(wanted.request.clone(), from, digests, doing.context.clone()).await;
    let mut download = match begun {
        Ok(download) => download,
        Err(error) => return Err(given_up(partial, resumable, error).into()),
    };
    let mut waiting = Vec::with_capacity(WRITE_AT_ONCE);
    loop {
        let piece = match download.next().await {
            Ok(piece) => piece,
            Err(error) => {
                let partial = add(path, partial, waiting).await?;
                return Err(given_up(partial, resumable, error).into());
            }
        };
        let last = piece.is_none();
        if let Some(piece) = piece {
            waiting.extend_from_slice(&piece);
        }
        if last || waiting.len() >= WRITE_AT_ONCE {
            partial = add(path, partial, std::mem::replace(&mut waiting, Vec::with_capacity(WRITE_AT_ONCE)))
                .await?;
        }
        if last {
            break;
        }
    }
    outputs.insert("Size".to_owned(), Value::from(partial.length()));
    describe(outputs, download.media_type(), download.verified());
    let written = path.blocking(move || partial.finish()).await?;
    outputs.insert("LocalFile".to_owned(), Value::from(written.display().to_string()));
    Ok(())
}

async fn add(
    path: &LocalPath,
    mut partial: PartialFile,
    bytes: Vec<u8>,
) -> Result<PartialFile, ActivityError> {
    path.blocking(move || {
        partial.add(&bytes)?;
        Ok(partial)
    })
    .await
}

/// What was received stays for the next call, unless it is known to be wrong or nothing could go on with it.
fn given_up(partial: PartialFile, resumable: bool, error: GraphError) -> GraphError {
    if !resumable || matches!(error, GraphError::BadAnswer { .. } | GraphError::Refused(_)) {
        partial.discard();
    }
    error
}
