//! The connection to a collector: one request on each, and whatever comes back is a status, bounded
//! in size and time. Nothing is followed, and nothing of the answer is believed but what it says of
//! itself.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::super::{Endpoint, Target};

/// Longest request, connection and answer included.
const REQUEST: Duration = Duration::from_secs(10);
/// Longest wait for the rest of an answer whose status is known.
const ANSWER: Duration = Duration::from_secs(2);
/// Most bytes of an answer that are read; what OTLP answers is some dozens.
const MOST_ANSWER: usize = 64 << 10;
/// Most bytes of its head.
const MOST_HEAD: usize = 16 << 10;
/// Longest pause that a collector can ask for, in seconds.
const LONGEST_PAUSE: u64 = 300;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was taken, but for so many spans, for this reason.
    Taken(Option<(usize, String)>),
    /// It never will be.
    Refused(String),
    /// It may be later, not before this pause.
    Later(String, Option<Duration>),
}

/// For one endpoint. What opentelemetry-otlp says of a failure is its own words, so the answer is
/// kept here.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    answer: Mutex<Option<Answer>>,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = match timeout(REQUEST, self.send(request.into_body())).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => Answer::Later(error.to_string(), None),
            Err(_) => Answer::Later(format!("it did not answer within {} s", REQUEST.as_secs()), None),
        };
        let taken = matches!(answer, Answer::Taken(_));
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        if taken { Ok(Response::default()) } else { Err("it was not taken".into()) }
    }
}

impl Client {
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, answer: Mutex::default() }
    }

    /// What came of the last request.
    pub fn take_answer(&self) -> Option<Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn send(&self, body: Bytes) -> io::Result<Answer> {
        match self.endpoint.target() {
            Target::Tcp(addresses) => self.speak(TcpStream::connect(addresses.as_slice()).await?, body).await,
            Target::Unix(path) => self.speak(UnixStream::connect(path).await?, body).await,
        }
    }

    async fn speak<S>(&self, stream: S, body: Bytes) -> io::Result<Answer>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let request = Request::post(self.endpoint.path())
            .header(HOST, self.endpoint.host())
            .header(USER_AGENT, concat!("ruleward/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header(CONNECTION, "close")
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        let handshake = http1::Builder::new().max_buf_size(MOST_HEAD).handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(io::Error::other)?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(in_full)?;
            Ok(judge(response).await)
        };
        let mut exchange = std::pin::pin!(exchange);
        // The connection is driven beside it, and dropped with it. Its own errors reach the
        // exchange.
        tokio::select! {
            biased;
            answer = &mut exchange => return answer,
            _ = connection => {}
        }
        exchange.await
    }
}

/// hyper's errors leave the reason to their source.
fn in_full(error: hyper::Error) -> io::Error {
    match std::error::Error::source(&error) {
        Some(source) => io::Error::other(format!("{error}: {source}")),
        None => io::Error::other(error),
    }
}

async fn judge(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let status = head.status;
    if status.is_success() {
        // It has taken the request: an answer that does not end, or is too long, changes nothing
        // about that.
        let answer = timeout(ANSWER, Limited::new(body, MOST_ANSWER).collect()).await;
        let answer = answer.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes);
        return Answer::Taken(answer.and_then(rejected));
    }
    let reason = format!("it answered {status}");
    // As OTLP has it.
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::Later(reason, pause(&head.headers)),
        _ if status.is_redirection() => Answer::Refused(format!("{reason}; redirections are not followed")),
        _ => Answer::Refused(reason),
    }
}

/// How many spans a collector that took the request did not take, with its reason. None: all were
/// taken, or it said nothing that is understood.
pub fn rejected(answer: Bytes) -> Option<(usize, String)> {
    let partial = ExportTraceServiceResponse::decode(answer).ok()?.partial_success?;
    let count = usize::try_from(partial.rejected_spans).ok().filter(|count| *count > 0)?;
    Some((count, partial.error_message))
}

/// Seconds; a date is not understood.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST_PAUSE)))
}
