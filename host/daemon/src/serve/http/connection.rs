//! One connection: one request, answered within its time, or a stream of events.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;

use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::authority::{self, Fault};
use super::places::Place;
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
pub async fn serve<S>(stream: TokioIo<S>, peer: Peer, context: Context, mut place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (phases, phase) = watch::channel(Phase::Request);
    let lost = place.is_lost();
    let place = &place;
    let service = service_fn(|request: Request<Incoming>| {
        let (context, phases) = (context.clone(), phases.clone());
        async move {
            place.asked();
            let answer = answer(&request, peer, &context, &phases).await;
            if *phases.borrow() == Phase::Stream {
                place.leave(); // streams are counted by themselves
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits::HEAD)
        .max_header_size(limits::HEAD_SIZE)
        .keep_alive(false);
    let connection = http.serve_connection(stream, service);
    // An error is a client that went away or spoke something else.
    tokio::select! {
        () = within_limits(async { drop(connection.await) }, phase) => {}
        () = lost => {}
    }
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
    match authority::check(request, peer == Peer::Network { loopback: true }) {
        Ok(()) => {}
        Err(Fault::Malformed) => {
            return plain(StatusCode::BAD_REQUEST, "a request names the host that it is meant for once, in `Host`\n");
        }
        Err(Fault::Elsewhere) => {
            let text = "this address is for this machine alone: ask for it by its number or as localhost\n";
            return plain(StatusCode::MISDIRECTED_REQUEST, text);
        }
    }
    match request.uri().path() {
        "/events" if request.method() == Method::GET => {
            events::stream(&context.feed, phases.clone()).unwrap_or_else(respond::busy)
        }
        _ => respond::to(request, context).await,
    }
}
