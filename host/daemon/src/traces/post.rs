//! One request to a collector, with whatever comes back: a status, bounded in size and time. Nothing is followed, and nothing
//! of the answer is believed but what it says of itself.

use std::io;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderMap, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::endpoint::{Endpoint, Target};
use super::otlp;

/// Longest wait for the rest of an answer whose status is known.
const ANSWER: Duration = Duration::from_secs(2);
/// Most bytes of an answer that are read; what OTLP answers is some dozens.
const MOST_ANSWER: usize = 64 << 10;
/// Most bytes of its head.
const MOST_HEAD: usize = 16 << 10;
/// Longest pause that a collector can ask for.
const LONGEST_PAUSE: u64 = 300;

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was taken, but for so many spans, for this reason.
    Taken(Option<(u64, String)>),
    /// It never will be.
    Refused(String),
    /// It may be later, not before this pause.
    Later(String, Option<Duration>),
}

/// Sends `body` within `limit`.
pub async fn post(endpoint: &Endpoint, body: Vec<u8>, limit: Duration) -> Answer {
    match timeout(limit, send(endpoint, Bytes::from(body))).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::Later(error.to_string(), None),
        Err(_) => Answer::Later(format!("it did not answer within {} s", limit.as_secs()), None),
    }
}

async fn send(endpoint: &Endpoint, body: Bytes) -> io::Result<Answer> {
    match endpoint.target() {
        Target::Tcp(addresses) => speak(TcpStream::connect(addresses.as_slice()).await?, endpoint, body).await,
        Target::Unix(path) => speak(UnixStream::connect(path).await?, endpoint, body).await,
    }
}

async fn speak<S>(stream: S, endpoint: &Endpoint, body: Bytes) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let request = Request::post(endpoint.path())
        .header(HOST, endpoint.host())
        .header(USER_AGENT, concat!("ruleward/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(CONNECTION, "close")
        .body(Full::new(body))
        .map_err(io::Error::other)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MOST_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(in_full)?;
        Ok(judge(response).await)
    };
    let mut exchange = std::pin::pin!(exchange);
    // The connection is driven beside it, and dropped with it. Its own errors reach the exchange.
    tokio::select! {
        biased;
        answer = &mut exchange => return answer,
        _ = connection => {}
    }
    exchange.await
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
        // It has taken the request: an answer that does not end, or is too long, changes nothing about that.
        let answer = timeout(ANSWER, Limited::new(body, MOST_ANSWER).collect()).await;
        let answer = answer.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes);
        return Answer::Taken(answer.and_then(|answer| otlp::rejected(&answer)));
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

/// Seconds; a date is not understood.
fn pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST_PAUSE)))
}
