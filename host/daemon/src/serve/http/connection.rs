//! One connection: one request, answered within its time, or a stream of events.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::header::HOST;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::respond::{self, plain};
use super::{Context, events, limits};

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The socket in the runtime directory.
    Socket,
    /// An address.
    Network {
        /// Only this machine reaches it.
        loopback: bool,
    },
}

/// Serves one connection to its end. `place` is given back then.
pub async fn serve<S>(stream: TokioIo<S>, peer: Peer, context: Context, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (phases, phase) = watch::channel(Phase::Request);
    let service = service_fn(|request: Request<Incoming>| {
        let (context, phases) = (context.clone(), phases.clone());
        async move { Ok::<_, Infallible>(answer(&request, peer, &context, &phases).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD)
        .max_header_size(limits::HEAD_SIZE)
        .keep_alive(false);
    let connection = http.serve_connection(stream, service);
    // An error is a client that went away or spoke something else.
    within_limits(async { drop(connection.await) }, phase).await;
    drop(place);
}

/// What a connection is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// A request with its answer.
    Request,
    /// A stream of events.
    Stream,
    /// A stream whose end has come, from our side.
    Over,
}

/// Ends what takes too long: a request soon, a stream after an hour, or soon after its end if the client does not take it.
async fn within_limits(connection: impl Future<Output = ()>, mut phase: watch::Receiver<Phase>) {
    let mut connection = pin!(connection);
    if timeout(limits::REQUEST, &mut connection).await.is_ok() || *phase.borrow() == Phase::Request {
        return;
    }
    let over = async {
        // An error: whoever sends the stream is gone, which ends it as well.
        let _ = phase.wait_for(|phase| *phase == Phase::Over).await;
        sleep(limits::STALL).await;
    };
    tokio::select! {
        () = connection => {}
        () = over => {}
        () = sleep(limits::STREAM) => {}
    }
}

async fn answer(
    request: &Request<Incoming>,
    peer: Peer,
    context: &Context,
    phases: &watch::Sender<Phase>,
) -> Response<Body> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "this server only shows: GET and HEAD\n");
    }
    if !host_is_local(request, peer) {
        let text = "this address is for this machine alone: ask for it by its number or as localhost\n";
        return plain(StatusCode::MISDIRECTED_REQUEST, text);
    }
    match request.uri().path() {
        "/events" if request.method() == Method::GET => {
            events::stream(&context.feed, phases.clone()).unwrap_or_else(respond::busy)
        }
        _ => respond::to(request, context).await,
    }
}

/// On loopback, a page from elsewhere whose name was made to lead here (DNS rebinding) must not read what is shown.
fn host_is_local(request: &Request<Incoming>, peer: Peer) -> bool {
    if peer != (Peer::Network { loopback: true }) {
        return true;
    }
    let Some(host) = request.headers().get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    is_local_host(host)
}

pub(super) fn is_local_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => return rest.split_once(']').is_some_and(|(ip, _)| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::Ipv4Addr>().is_ok()
}
