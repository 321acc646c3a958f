//! The listening sockets, and how an outcome becomes bytes on a connection.
//! Never listens on anything but 127.0.0.1.

use crate::answer::{Answer, Call};
use crate::data::content::Slice;
use crate::faults::FaultAction;
use crate::state::Shared;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited, combinators::BoxBody};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Larger request bodies are refused: an attachment goes by an upload session above 4 MB.
const LARGEST_REQUEST: usize = 8 * 1024 * 1024;
/// Contents of files may be larger: up to 250 MB in one request, and fragments of up to 60 MiB.
const LARGEST_CONTENT: usize = 250 * 1024 * 1024;
/// What is read of a content at once.
const PIECE: usize = 256 * 1024;

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is answered.
    Answer(Answer),
    /// The connection ends without an answer.
    Cut,
    /// The connection ends inside the answer's body.
    CutAfter(Answer, usize),
    /// No answer, and the connection stays open.
    Hang,
    /// The answer's body never ends.
    Endless,
}

/// Which of the services a socket belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// Token endpoint and the sandbox's own controls.
    Login,
    /// Graph.
    Graph,
    /// Uploads and downloads.
    Content,
}

/// Opens a socket on the loopback address.
pub(crate) async fn listen(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Accepts connections until the runtime ends.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Shared, service: Service) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        // Small answers must not wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        let (shared, tls) = (shared.clone(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => talk(stream, shared, service).await,
                // A client that does not trust the certificate goes away here.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        talk(stream, shared, service).await;
                    }
                }
            }
        });
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(stream: S, shared: Shared, service: Service) {
    let handler = service_fn(move |request| handle(shared.clone(), service, request));
    // A connection that the client or a fault breaks is the client's business.
    let _ = hyper::server::conn::http1::Builder::new()
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), handler)
        .await;
}

async fn handle(
    shared: Shared,
    service: Service,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, io::Error>>, io::Error> {
    let (head, body) = request.into_parts();
    let mut call = head_of(&head);
    // The front end does not wait for a body whose end nobody announced (RFC 9110 section 15.5.12).
    let announced = ["content-length", "transfer-encoding"].iter().any(|name| call.header(name).is_some());
    if service == Service::Graph && !announced && ["POST", "PUT", "PATCH"].contains(&call.method.as_str()) {
        return Ok(response(Answer::text(411, "text/html", "<h2>Length Required</h2>")));
    }
    let fault = (service == Service::Content)
        .then(|| shared.lock().take_content_fault(&call.method, &call.target))
        .flatten();
    if let Some(FaultAction::CutUpload(bytes)) = fault {
        swallow(body, bytes).await;
        return Err(io::Error::other("the upload is cut on purpose"));
    }
    let largest = match service {
        Service::Content => LARGEST_CONTENT,
        Service::Graph if call.method == "PUT" => LARGEST_CONTENT,
        _ => LARGEST_REQUEST,
    };
    match Limited::new(body, largest).collect().await {
        Ok(collected) => call.body = collected.to_bytes(),
        Err(_) => return Ok(response(Answer::empty(413))),
    }
    let outcome = match service {
        Service::Login => crate::login::serve(&shared, &call).await,
        Service::Graph => crate::graph::serve(&shared, call).await,
        Service::Content => crate::content::serve(&shared, &call, fault).await,
    };
    match outcome {
        Outcome::Answer(answer) => Ok(response(answer)),
        Outcome::Cut => Err(io::Error::other("the connection is cut on purpose")),
        Outcome::CutAfter(answer, sent) => Ok(cut_response(answer, sent)),
        Outcome::Hang => std::future::pending().await,
        Outcome::Endless => {
            let answer = Answer::text(200, "application/json", Bytes::new());
            Ok(with_body(answer, BoxBody::new(EndlessBody { started: false })))
        }
    }
}

fn head_of(parts: &hyper::http::request::Parts) -> Call {
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let target = parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    Call { method: parts.method.as_str().to_owned(), target, headers, body: Bytes::new() }
}

/// Reads so many bytes of a body and no more.
async fn swallow(mut body: Incoming, most: usize) {
    let mut read = 0;
    while read < most {
        match body.frame().await {
            Some(Ok(frame)) => read += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}

fn response(answer: Answer) -> Response<BoxBody<Bytes, io::Error>> {
    if let Some(slice) = answer.slice.clone() {
        return with_body(answer, BoxBody::new(SliceBody { slice, sent: 0, cut_after: None, waited: false }));
    }
    let body = Full::new(answer.body.clone()).map_err(|never: Infallible| match never {});
    with_body(answer, BoxBody::new(body))
}

fn cut_response(answer: Answer, sent: usize) -> Response<BoxBody<Bytes, io::Error>> {
    if let Some(slice) = answer.slice.clone() {
        return with_body(
            answer,
            BoxBody::new(SliceBody { slice, sent: 0, cut_after: Some(sent as u64), waited: false }),
        );
    }
    let length = answer.body.len().max(sent + 1);
    let first = answer.body.slice(..sent.min(answer.body.len()));
    with_body(answer, BoxBody::new(CutBody { first: Some(first), length: length as u64 }))
}

fn with_body(answer: Answer, body: BoxBody<Bytes, io::Error>) -> Response<BoxBody<Bytes, io::Error>> {
    let mut builder = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        builder = builder.header(name, value);
    }
    builder.body(body).unwrap_or_else(|_| {
        // Only a fault or an admin call can name an impossible header or status.
        let note = Full::new(Bytes::from_static(b"The injected fault is not valid HTTP."));
        let mut response = Response::new(BoxBody::new(note.map_err(|never: Infallible| match never {})));
        *response.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// Promises a length, sends the beginning and then fails.
struct CutBody {
    first: Option<Bytes>,
    length: u64,
}

impl Body for CutBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match self.first.take() {
            Some(first) if !first.is_empty() => {
                context.waker().wake_by_ref();
                Poll::Ready(Some(Ok(Frame::data(first))))
            }
            _ => Poll::Ready(Some(Err(io::Error::other("the body is cut on purpose")))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

/// A content, piece by piece; cut after so many bytes if a fault says so.
struct SliceBody {
    slice: Slice,
    sent: u64,
    cut_after: Option<u64>,
    waited: bool,
}

impl Body for SliceBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let end = self.cut_after.unwrap_or(u64::MAX).min(self.slice.length);
        let most = (end - self.sent).min(PIECE as u64) as usize;
        if most == 0 {
            let cut = end < self.slice.length;
            if cut && !self.waited {
                // What was written so far goes out before the connection ends.
                self.waited = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(cut.then(|| Err(io::Error::other("the body is cut on purpose"))));
        }
        let piece = self.slice.content.read(self.slice.start + self.sent, most);
        if let Ok(piece) = &piece {
            self.sent += piece.len() as u64;
        }
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.slice.length - self.sent)
    }
}

/// White space inside a page that never closes.
struct EndlessBody {
    started: bool,
}

impl Body for EndlessBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        static FILLER: [u8; 16_384] = [b' '; 16_384];
        let chunk: &'static [u8] = if self.started { &FILLER } else { b"{\"value\":[" };
        self.started = true;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(chunk)))))
    }
}
